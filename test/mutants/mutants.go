package main

// mutant is a bug that somebody might make, and the test that has to notice.
type mutant struct {
	name    string // what goes wrong
	file    string // in the module
	old     string // what stands there, exactly once
	mutated string // what stands there instead
	pkg     string // of the test
	test    string // also a part of one: TestSQLite/retention
}

// mutants are the planted bugs, in the order in which a report travels through the code.
var mutants = []mutant{
	// Taking reports.
	{
		"minutes of an interval are rounded down", "server/internal/ingest/report.go",
		"max(1, int64((interval+time.Minute-1)/time.Minute))", "max(1, int64(interval/time.Minute))",
		"server/internal/ingest", "FuzzReport",
	},
	{
		"a report reaches back before 1970", "server/internal/ingest/report.go",
		"first := max(0, last-r.minutes+1)", "first := last - r.minutes + 1",
		"server/internal/ingest", "FuzzReport",
	},
	{
		"a latency belongs to the first minute of its interval", "server/internal/ingest/report.go",
		"Bins: []byte{minute.Bin(r.latency)}}, last, last", "Bins: []byte{minute.Bin(r.latency)}}, first, first",
		"server/internal/ingest", "FuzzReport",
	},
	{
		"an app session includes the minute at which it ends", "server/internal/ingest/report.go",
		"(ended.UnixMicro()+minuteMicros-1)/minuteMicros-1 //", "ended.UnixMicro()/minuteMicros //",
		"server/internal/ingest", "FuzzAppSession",
	},
	{
		"reports from the future are taken", "server/internal/ingest/report.go",
		"case at.After(l.newest):", "case at.After(l.newest.AddDate(100, 0, 0)):",
		"server", "TestStreamRejects",
	},
	{
		"reports of any age are taken", "server/internal/ingest/report.go",
		"case at.Before(l.oldest):", "case at.Before(l.oldest.AddDate(-100, 0, 0)):",
		"server", "TestStreamRejects",
	},
	{
		"an agent that the catalog does not know yet is turned away for good", "server/internal/ingest/report.go",
		`is not in the catalog", what, id), false}`, `is not in the catalog", what, id), true}`,
		"server", "TestUnknownAndDeletedAgents",
	},
	{
		"each agent is looked for by itself", "store/directory.go",
		"if first = d.next == nil || len(d.next.agents) == maxLookup; first {", "if first = true; first {",
		"store", "TestDirectoryLooksForManyAtOnce",
	},
	{
		"a server places by what it knew before its own change", "store/directory.go",
		"view == nil || view.changes != d.store.catalogChanges.Load() ||", "view == nil ||",
		"server", "TestOwnerChangesHoldAtOnce",
	},
	{
		"what was known of the catalog counts for ever", "store/directory.go",
		"|| time.Since(view.begun) > viewLifetime {", "|| view.begun.IsZero() {",
		"store", "TestDirectoryFollowsOtherServers",
	},
	{
		"a change that comes while its server reads the version goes unnoticed", "store/directory.go",
		"	d.newest.Store(view)\n", "	view.changes = d.store.catalogChanges.Load()\n	d.newest.Store(view)\n",
		"store", "TestDirectoryForgetsWhatChangesMeanwhile",
	},
	{
		"what changes while it is read is remembered as it was", "store/directory.go",
		"if d.newest.Load().version.Equal(view.version.Time) {", "if d.newest.Load() != nil {",
		"store", "TestDirectoryForgetsWhatChangesMeanwhile",
	},
	{
		"workspaces that change keep their version", "store/directory.go",
		"SET changed_at = ? WHERE id IN ?`, version, batch)", "SET changed_at = ? WHERE id IN ?`, Instant{}, batch)",
		"store", "TestDirectoryFollowsOtherServers",
	},
	{
		"the version of the catalog falls with the clock of a server", "store/directory.go",
		"ELSE stored.version + 1 END", "ELSE excluded.version END",
		"store", "TestDirectorySeesChangesOfSlowClocks",
	},
	{
		"other servers do not learn of a privacy mode", "store/privacy_mode.go",
		"return raiseVersion(tx, nil)", "return nil",
		"store", "TestDirectoryFollowsOtherServers",
	},
	{
		"other servers do not learn of owners that got a pseudonym", "store/privacy_treatment.go",
		"err := raiseVersion(tx, changed)", "err := raiseVersion(tx, changed[:0])",
		"store", "TestDirectoryFollowsOtherServers",
	},
	{
		"an agent that is written again stays deleted", "store/applier.go",
		"			touched = append(touched, x.WorkspaceID)\n", "			_ = touched\n",
		"server", "TestDeletionsHoldAtOnce",
	},
	{
		"a stream ends when the catalog cannot be read", "server/internal/ingest/stream.go",
		"if err == nil || !store.Unavailable(err) {", "if err == nil || wait > 0 {",
		"server", "TestReportsWaitForTheCatalog",
	},
	{
		"an agent learns which agents there are", "server/internal/ingest/ingest.go",
		"if caller.Agent != r.agent && !caller.Holds(access.IngestAny) {",
		"if caller.Agent == uuid.Nil && !caller.Holds(access.IngestAny) {",
		"server", "TestAgentReportsForItselfAlone",
	},
	{
		"a rejected report is acknowledged as stored", "server/internal/ingest/stream.go",
		"		s.reject(number, rejected)\n", "		s.settle(number, r.collected, nil)\n",
		"server", "TestStreamRejects",
	},
	{
		"a sequence that does not rise is taken", "server/internal/ingest/stream.go",
		"if message.GetSequence() <= sequence {", "if message.GetSequence() < sequence {",
		"server", "TestStreamRejects",
	},
	{
		"agents are not told that the server stops", "server/server.go",
		"\ts.ingest.Drain()\n", "",
		"server", "TestDrain",
	},
	{
		"a stream takes a connection for known that it only saw the session of", "server/internal/ingest/stream.go",
		" || r.Connected && !known.Connected {", " {",
		"server", "TestStreamRemembersOnlyWhatIsStored",
	},
	{
		"a stream remembers minutes of another half hour", "server/internal/ingest/stream.go",
		"if c.HalfHour == r.HalfHour && c.Subject", "if c.Subject",
		"server", "TestStreamRemembersOnlyWhatIsStored",
	},

	{
		"parts within parts of a message are not counted", "server/internal/rest/message_parts.go",
		"countParts(field.Message(), within, parts)", "countParts(field.Message(), within, new(int))",
		"server/internal/rest", "TestMessageParts",
	},
	{
		"an old stream is cut instead of asked to go", "server/internal/ingest/stream.go",
		"time.AfterFunc(streamAge(g.options.MaxStreamAge), s.sendDrain)", "time.AfterFunc(streamAge(g.options.MaxStreamAge), func() {})",
		"test/chaos", "TestNewReplicaGetsLoad",
	},

	// Making them durable.
	{
		"acknowledged before the commit", "server/internal/ingest/commit.go",
		"	err := c.merge(ctx, rows)\n",
		"	for _, e := range batch {\n		e.settle(nil)\n	}\n	batch = nil\n	err := c.merge(ctx, rows)\n",
		"server", "TestNothingIsAcknowledgedBeforeItsCommit",
	},
	{
		"acknowledged although the commit failed", "server/internal/ingest/commit.go",
		"return background.Contain(func() error { return c.store.Merge(ctx, rows) })",
		"return background.Contain(func() error { _ = c.store.Merge(ctx, rows); return nil })",
		"server", "TestNothingIsAcknowledgedBeforeItsCommit",
	},
	{
		"a failed commit is not tried again", "server/internal/ingest/commit.go",
		"if err == nil || isFault(err) {", "if err == nil || err != nil {",
		"server", "TestNothingIsAcknowledgedBeforeItsCommit",
	},
	{
		"acknowledged although the database refused it", "server/internal/ingest/commit.go",
		"		e.settle(err)\n	}\n}\n", "		e.settle(nil)\n	}\n}\n",
		"server", "TestPoisonReport",
	},
	{
		"one poison report fails its neighbours", "server/internal/ingest/commit.go",
		"if isFault(err) && len(batch) > 1 {", "if isFault(err) && len(batch) > 1<<20 {",
		"server", "TestPoisonReport",
	},
	{
		"a panic in a commit ends the server", "server/internal/ingest/commit.go",
		"return background.Contain(func() error { return c.store.Merge(ctx, rows) })", "return c.store.Merge(ctx, rows)",
		"test/chaos", "TestPanicAtFailpoints/sqlite",
	},
	{
		"rows that wait for a commit have no bound", "server/internal/ingest/commit.go",
		"size := int64(min(len(e.rows), commitRoom))", "size := int64(min(len(e.rows), 0))",
		"server/internal/ingest", "TestCommitterHoldsBack",
	},
	{
		"settled rows keep their room", "server/internal/ingest/commit.go",
		"		c.room.Release(size)\n		settle(err)\n", "		settle(err)\n",
		"server/internal/ingest", "TestCommitterHoldsBack",
	},
	{
		"minutes are replaced, not united", "store/usage/merge.go",
		"minutes = usage_rows.minutes | excluded.minutes,", "minutes = excluded.minutes,",
		"store/usage", "TestSQLite/gate_and_latencies_come_apart",
	},
	{
		"a connection is forgotten", "store/usage/merge.go",
		"connected = usage_rows.connected OR excluded.connected,", "connected = excluded.connected,",
		"store/usage", "TestPostgres/gate_and_latencies_come_apart",
	},
	{
		"a later latency counts", "store/usage/merge.go",
		"ELSE usage_rows.latencies || excluded.latencies END", "ELSE excluded.latencies || usage_rows.latencies END",
		"store/usage", "TestSQLite/gate_and_latencies_come_apart",
	},
	{
		"a late connection is not written", "store/usage/merge.go",
		" OR excluded.connected > usage_rows.connected`", "`",
		"store/usage", "TestSQLite/gate_and_latencies_come_apart",
	},
	{
		"a user gets the number of another", "store/people.go",
		"known[f.UserID] = f.Person", "known[f.UserID] = found[0].Person",
		"store", "TestSQLite/subjects_are_given_once",
	},

	// Seats.
	{
		"a person has one seat", "store/seats.go",
		"SET seats = seats + 1 WHERE", "SET seats = 1 WHERE",
		"store", "TestSQLite/subjects_are_given_once",
	},
	{
		"two persons of one user are counted as two", "store/minute/roster.go",
		"person = r.of.As(person)", "person += 0 * r.of.As(person)",
		"store/minute", "TestCountsPersonsOfOneUser",
	},
	{
		"a person who comes to a user who is one stays for itself", "store/actors.go",
		"of.CountedAs[person] = as", "of.CountedAs[as] = as",
		"store", "TestPersonsOfOneUser/sqlite",
	},
	{
		"new usage goes to the person who is counted as another", "store/people.go",
		"WHERE user_id IN ? AND counted_as IS NULL`", "WHERE user_id IN ? ORDER BY counted_as IS NOT NULL`",
		"store", "TestPersonsOfOneUser/sqlite",
	},
	{
		"own data are those of one person", "store/my_data.go",
		"usage.RowsOf(ctx, o.store.usage, o.people, usage.Latencies)", "usage.RowsOf(ctx, o.store.usage, o.people[:1], usage.Latencies)",
		"store", "TestPersonsOfOneUser/sqlite",
	},
	{
		"a visitor brings back the id of a workspace that was erased", "store/people.go",
		"return erased[v.Workspace] }), err", "return false && erased[v.Workspace] }), err",
		"store", "TestVisitBesideErasure/sqlite",
	},
	{
		"a seat that another owner takes has no region", "server/internal/ingest/agents.go",
		"r.region != s.region || subject != s.seat {", "r.region != s.region {",
		"server/internal/ingest", "TestRegionOfASeat",
	},
	{
		"seats stay at the ids of workspaces that were erased", "store/eraser.go",
		"WHERE seats.workspace_id = renamed.id`, ids)", "WHERE seats.workspace_id = renamed.value`, ids)",
		"store", "TestErase/sqlite",
	},
	{
		"seats go before the usage of their last day", "store/retention.go",
		"At(h.Usage.Truncate(24*time.Hour))", "At(h.Usage.Truncate(time.Minute))",
		"store", "TestRetentionLeavesNothing/sqlite",
	},
	{
		"seats of people who are gone stay for ever", "store/retention.go",
		"`DELETE FROM seats WHERE subject >> 24 IN", "`DELETE FROM seats WHERE subject IN",
		"store", "TestRetentionLeavesNothing/sqlite",
	},
	{
		"the gate and what beats estimates are those of a seat", "store/minute/table.go",
		"	for _, blocks := range t.people() {\n		rows := t.rowsOf(blocks)\n		var open uint64 ",
		"	for block := range t.subjects {\n		rows := span{int32(t.start(block)), t.ends[block]}\n		var open uint64 ",
		"store/minute", "TestCounterRules",
	},
	{
		"an import brings an estimate of what was measured at a seat", "store/usage/unstored.go",
		"		at := place{template, minute.PersonOf(r.Subject), r.HalfHour, r.Kind}\n",
		"		at := place{template, r.Subject, r.HalfHour, r.Kind}\n",
		"store/usage", "TestSQLite/what_is_not_stored",
	},
	{
		"of two seats the higher latency counts", "store/minute/percentile.go",
		"|| bin < l.bins[at] {", "|| bin > l.bins[at] {",
		"store/minute", "TestPercentile",
	},
	{
		"numbers of format 1 are taken for seats", "store/usage/former.go",
		"		return minute.SubjectOf(minute.PersonOf(old), 0)\n", "		return old\n",
		"store/usage", "TestSQLite/rewrite_beside_all",
	},
	{
		"two users whose numbers share the upper part are one in pages", "store/usage/former.go",
		"WHERE former_subject IS NOT NULL`", "WHERE former_subject < 0`",
		"store", "TestUpgradeNumbersPeople/sqlite",
	},
	{
		"two users whose numbers share the upper part are one in rows", "store/migrations/00021_people.sqlite.sql",
		"COALESCE(person, subject >> 24) << 24", "(subject >> 24) << 24",
		"store", "TestUpgradeIsAFence/sqlite",
	},
	{
		"an upgrade loses what servers of before take meanwhile", "store/migrations/00021_people.postgres.sql",
		"IN ACCESS EXCLUSIVE MODE", "IN ACCESS SHARE MODE",
		"store", "TestUpgradeIsAFence/postgres",
	},
	{
		"two numbers of one person are two blocks of a page", "store/minute/read.go",
		"subjects[i-1] < subjects[i])", "subjects[i-1] <= subjects[i])",
		"store/minute", "TestRecordedPageOfFormat1",
	},
	{
		"a page of format 1 is rewritten as it was before somebody changed it", "store/usage/page.go",
		"`DELETE FROM usage_day WHERE template_id = ? AND day = ? AND version = ?`",
		"`DELETE FROM usage_day WHERE template_id = ? AND day = ? AND version >= 0 * ?`",
		"store/usage", "TestPostgres/rewrite_beside_deletion",
	},
	{
		"latencies in pages of format 1 are not deleted", "store/usage/latencies.go",
		"`UPDATE usage_day SET", "`UPDATE usage_pages SET",
		"store/usage", "TestPostgres/rewrite_beside_deletion",
	},
	{
		"damaged pages keep others from being rewritten", "store/usage/former.go",
		"			failed++\n", "			failed += 0\n",
		"store/usage", "TestSQLite/rewrite_goes_past_damage",
	},
	{
		"large pages are rewritten as quickly as small ones", "store/usage/former.go",
		"if rewritten >= most.Bytes {", "if rewritten < 0 {",
		"store/usage", "TestSQLite/rewrite_keeps_disk",
	},
	{
		"the room of pages that were rewritten is in the middle of their table", "store/usage/former.go",
		"e.db.Position()+` DESC LIMIT", "e.db.Position()+` LIMIT",
		"store/usage", "TestPostgres/rewrite_keeps_disk",
	},
	{
		"the room of pages that were rewritten is given back when all are", "store/usage/former.go",
		"emptied >= left/shrinkPart {", "left == 0 {",
		"store/usage", "TestPostgres/rewrite_keeps_disk",
	},
	{
		"my data names workspaces of another app", "store/my_data.go",
		"known && of(r) &&", "known && !of(r) &&",
		"server", "TestGetMyData",
	},

	// Names of people.
	{
		"a user who was renamed keeps the name from before", "store/applier.go",
		"len(c.Users)+len(c.Deleted.Users) > 0", "len(c.Deleted.Users) > 0",
		"store", "TestNamesFollowChanges",
	},
	{
		"a user who was erased is still named", "store/eraser.go",
		"return raiseNames(tx)", "return nil",
		"store", "TestNamesFollowChanges",
	},
	{
		"a user who was hidden is still named", "store/privacy_treatment.go",
		"return raiseNames(tx)", "return nil",
		"store", "TestNamesFollowChanges",
	},
	{
		"a user beyond retention is still named", "store/retention.go",
		"return raiseNames(tx)", "return nil",
		"store", "TestNamesFollowChanges",
	},
	{
		"people of equal rank are in any order", "server/internal/call/paginate.go",
		"equal := list[from:to]; len(equal) > 1 {", "equal := list[from:to]; len(equal) > 1<<30 {",
		"server", "TestPeoplePages",
	},
	{
		"what a user did under another number is in no group", "store/query.go",
		"of[r.of.As(minute.PersonOf(subject))]", "of[minute.PersonOf(subject)]",
		"store", "TestPersonsOfOneUser",
	},
	{
		"an app has the last of its names", "store/query.go",
		`other == "" || name < other`, `other == "" || name > other`,
		"store", "TestSQLite/queries_by_app",
	},
	{
		"who has another number counts by what nobody says of it", "store/minute/actor.go",
		"p.Actors[p.As(person)]", "p.Actors[person]",
		"store/minute", "TestCountsPersonsOfOneUser",
	},
	{
		"pages of one person take no memory", "store/usage/page_cache.go",
		"return pageFrame + t.Size()", "return t.Size()",
		"store/usage", "TestPagesAreSized",
	},

	// Folding.
	{
		"half hours that are not over are folded", "store/usage/fold.go",
		"e.clock().Add(-FoldAge).Unix()", "e.clock().Unix()",
		"store/usage", "TestSQLite/fold_changes_no_answer",
	},
	{
		"half hours are folded an hour after they ended", "store/usage/fold.go",
		"const FoldAge = 5 * time.Minute", "const FoldAge = time.Hour",
		"store/usage", "TestSQLite/age_of_what_is_folded",
	},
	{
		"servers fold before a half hour is old enough", "server/internal/ingest/upkeep.go",
		"Truncate(foldEvery).Add(foldEvery + store.FoldAge)", "Truncate(foldEvery).Add(foldEvery)",
		"server/internal/ingest", "TestUntilFold",
	},
	{
		"a question joins a look that began before it", "store/usage/looks.go",
		"	delete(s.next, at)\n	s.mu.Unlock()\n	l.found, l.err = read(ctx)\n",
		"	s.mu.Unlock()\n	l.found, l.err = read(ctx)\n	s.mu.Lock()\n	delete(s.next, at)\n	s.mu.Unlock()\n",
		"store/usage", "TestLooksAreNoOlderThanQuestions",
	},
	{
		"a question that is given up takes others with it", "store/usage/looks.go",
		"l.abandoned = l.err != nil && ctx.Err() != nil", "l.abandoned = false",
		"store/usage", "TestLooksThatFail",
	},
	{
		"a replica waits for looks at the primary", "store/usage/looks.go",
		"looking := s.of(at.from)", "looking := s.of(nil)",
		"store/usage", "TestLooksAreShared",
	},
	{
		"rows of the day are deleted that were not folded", "store/usage/fold.go",
		"rows, err := openRows(tx.Raw(`DELETE FROM usage_rows WHERE template_id = ? AND half_hour IN ?\n" +
			"			RETURNING `+openColumns, template, halfHours))",
		"rows, err := openRows(tx.Raw(`SELECT `+openColumns+` FROM usage_rows WHERE template_id = ? AND half_hour IN ?`,\n" +
			"			template, halfHours))\n" +
			"		tx.Exec(`DELETE FROM usage_rows WHERE template_id = ? AND half_hour / 48 = ?`, template, day)",
		"store/usage", "TestSQLite/fold_changes_no_answer",
	},
	{
		"folding is not a transaction", "store/usage/fold.go",
		"	err := e.db.InOneTransactionOn(ctx, template, func(tx *gorm.DB) error {\n",
		"	apart := func(f func(*gorm.DB) error) error { return f(e.db.Writes.WithContext(ctx)) }\n" +
			"	err := apart(func(tx *gorm.DB) error {\n",
		"store/usage", "TestSQLite/stopped_fold_loses_nothing",
	},
	{
		"a page is written over a newer one", "store/usage/page.go",
		"WHERE usage_pages.version = ?`", "WHERE usage_pages.version <> -1 - ?`",
		"store/usage", "TestFoldBesideFold",
	},
	{
		"a conflict of pages is no error", "store/usage/page.go",
		"&& done.RowsAffected == 0 {", "&& done.RowsAffected < 0 {",
		"store/usage", "TestFoldBesideFold",
	},
	{
		"a page forgets what it had", "store/usage/fold.go",
		"minute.Union(earlier, minute.Normalize(later))", "minute.Union(earlier[:0], minute.Normalize(later))",
		"store/usage", "TestSQLite/fold_changes_no_answer",
	},
	{
		"a late latency wins over the page's", "store/usage/fold.go",
		"minute.Union(earlier, minute.Normalize(later))", "minute.Union(minute.Normalize(later), earlier)",
		"store/usage", "TestSQLite/fold_changes_no_answer",
	},
	{
		"a fold waits for whoever holds its rows", "store/db/postgres.go",
		`return tx.Exec("SET LOCAL lock_timeout = '100ms'").Error`, `return tx.Exec("SET LOCAL lock_timeout = '60s'").Error`,
		"store/usage", "TestFoldGivesWay",
	},
	{
		"retention takes a day too many", "store/retention.go",
		"`DELETE FROM usage_pages WHERE day < ?`", "`DELETE FROM usage_pages WHERE day <= ?`",
		"store", "TestSQLite/retention",
	},
	{
		"much goes unannounced", "store/retention.go",
		"wanted.Days*10 <= wanted.Stored", "wanted.Days <= wanted.Stored",
		"store", "TestAnnounce",
	},
	{
		"a day a day is announced", "store/retention.go",
		"wanted.Days <= everydayLoss ||", "wanted.Days <= 0 ||",
		"store", "TestAnnounce",
	},
	{
		"more goes than was announced", "store/retention.go",
		"before != nil && before.Keep <= wanted.Keep &&", "before != nil &&",
		"store", "TestAnnounce",
	},
	{
		"a clock that is set back is believed", "store/retention.go",
		"if step.Abs() > brakeDay ||", "if step > brakeDay ||",
		"store", "TestDoubtedClock",
	},
	{
		"deletion is held for ever", "store/retention.go",
		"m.Steady < brakeDay && m.Held < longestDoubt", "m.Steady < brakeDay",
		"store", "TestDoubtedClock",
	},
	{
		"a restart begins the day of an announcement anew", "store/retention.go",
		"before[a.Kind] = a\n", "_ = a\n",
		"store", "TestRetentionBrake/sqlite",
	},

	// Backing up and restoring.
	{
		"a backup is not of one moment", "store/archive/backup.go",
		"&sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}", "&sql.TxOptions{ReadOnly: true}",
		"store", "TestBackupIsSnapshot/postgres",
	},
	{
		"no bytes are backed up as NULL", "store/archive/backup.go",
		"		if v == nil {\n", "		if false {\n",
		"store", "TestBackupMoves/sqlite_to_postgres",
	},
	{
		"a letter of a backup may change", "store/archive/restore.go",
		"; got != want {", "; got.Rows != want.Rows {",
		"store", "TestRestoreErrors/a_letter_is_wrong",
	},
	{
		"what is behind the end of a backup is not read", "store/archive/restore.go",
		"!errors.Is(err, io.EOF)", "err != nil && !errors.Is(err, io.EOF)",
		"store", "TestRestoreErrors/two_backups",
	},
	{
		"a backup is restored into tables of today", "store/archive/restore.go",
		"d.MigrateTo(ctx, b.header.Schema)", "d.Migrate(ctx)",
		"store", "TestUpgrade/sqlite",
	},

	// Erasing.
	{
		"an erased user comes back with the catalog", "store/applier.go",
		"		if a.erased[x.ID] {\n			return a.gone(), true\n		}\n", "",
		"store", "TestErase/sqlite",
	},
	{
		"an erased user comes back with an older backup", "store/eraser.go",
		"err := s.SyncTombstones(ctx); err != nil && !errors", "err := error(nil); err != nil && !errors",
		"store", "TestErase/sqlite",
	},
	{
		"a server's list lacks whom another server erased", "server/internal/admin/erase.go",
		"err := e.store.SyncTombstones(ctx); err != nil && !errors", "err := error(nil); err != nil && !errors",
		"server", "TestEraseUserNeedsList",
	},
	{
		"a server that cannot write its list says that it can erase", "store/tombstones.go",
		"	return s.list.add(nil)\n", "	return nil\n",
		"server", "TestEraseUserNeedsList",
	},
	{
		"metrics of another server name people for half a minute", "server/internal/admin/erase.go",
		"n == e.seen && modes.Equal(e.modes)", "n == e.seen",
		"server", "TestMetricsFollowModes",
	},
	{
		"an answer about two organizations names people of one", "server/internal/insights/disclosure.go",
		"	if mode == store.PrivacyFull {\n		return nil\n	}\n	*avatar",
		"	if mode != \"\" {\n		return nil\n	}\n	*avatar",
		"server", "TestMixedAnswersHideEverybody",
	},
	{
		"the alias of a mixed answer is the later pseudonym", "store/pseudonym.go",
		"s.key.Pseudonym(s.key.Pseudonym(user))", "s.key.Pseudonym(user)",
		"server", "TestMixedAnswersHideEverybody",
	},
	{
		"a stricter mode of the deployment passes over looser organizations", "server/internal/admin/privacy_mode.go",
		"		if o.GetLooser() {\n", "		if o.GetLooser() && o.GetMode() == \"\" {\n",
		"server", "TestPrivacyModeOverrides",
	},
	{
		"a flag overrides the privacy mode that an officer set", "store/privacy_mode.go",
		"tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&row)", "tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&row)",
		"store", "TestSQLite",
	},
	{
		"the mode of one organization decides for the deployment", "store/privacy_mode.go",
		"	_, set := m.set[uuid.Nil]\n	return set\n", "	return len(m.set) > 0\n",
		"store", "TestSQLite",
	},
	{
		"an import says nothing of a privacy mode that nobody decided on", "cmd/insights/import.go",
		"		mode, err := f.choose(ctx, c, to)\n		if err == nil && mode != \"\" {\n",
		"		if mode := store.PrivacyMode(f.PrivacyMode); mode != \"\" {\n",
		"cmd/insights", "TestPrivacyModeWithoutATerminal",
	},
	{
		"a server does not say that nobody decided on a privacy mode", "cmd/insights/privacy_mode.go",
		"logger.WarnContext(ctx, undecided)", "logger.DebugContext(ctx, undecided)",
		"cmd/insights", "TestServeDecidesOnce",
	},
	{
		"nobody at a terminal is asked for a privacy mode", "cmd/insights/privacy_mode.go",
		"isTerminal(c.in) && isTerminal(c.err)", "isTerminal(c.in) && isTerminal(c.out)",
		"cmd/insights", "TestPrivacyModeIsAsked",
	},
	{
		"the privacy report leaves no trace", "cmd/insights/privacy_report.go",
		"	if err := audit(ctx, s, privacyReportAction, f); err != nil {\n		return err\n	}\n", "",
		"cmd/insights", "TestPrivacyReport",
	},
	{
		"a deletion that is announced should be gone", "cmd/insights/privacy_report.go",
		"waits = waits || now.Before(a.Due().Add(2*time.Hour))", "waits = waits || a.At.IsZero()",
		"cmd/insights", "TestRetentionOf",
	},
	{
		"a server's longer retention makes nothing later", "cmd/insights/privacy_report.go",
		"longest = max(longest, keep)", "longest = cmp.Or(longest, keep)",
		"cmd/insights", "TestRetentionOf",
	},
	{
		"servers that disagree pass for one", "cmd/insights/privacy_report.go",
		"return setting.of(p) != setting.of(r.Servers[0])", "return false",
		"cmd/insights", "TestPrivacyReportOfServers",
	},
	{
		"a server that ended still promises", "store/retention.go",
		"At(now.Add(-PromiseSilence))).Scan(&all)", "At(now.Add(-9*PromiseSilence))).Scan(&all)",
		"store", "TestPromises",
	},
	{
		"no server says that it tells the use of AI tools of each person", "server/server.go",
		"AIPerPerson: o.AIPerPerson, Timezone:", "AIPerPerson: false, Timezone:",
		"server", "TestServersSayWhatTheyPromise",
	},
	{
		"a server says to nobody what it promises", "server/internal/ingest/upkeep.go",
		"return g.store.RecordPromise(ctx, g.id, g.options.Promise)", "return nil",
		"server", "TestServersSayWhatTheyPromise",
	},
	{
		"nobody knows what a privacy mode was before", "store/privacy_mode.go",
		`fmt.Sprintf("from=%s mode=%s", previous, mode)`, `fmt.Sprintf("from=%s mode=%s", mode, mode)`,
		"store", "TestSQLite/privacy_mode_decided_once",
	},
	{
		"the officer is not told why a picture is kept", "store/inventory/columns.txt",
		"a picture shows who it is", "",
		"store", "TestColumns",
	},
	{
		"the diagnosis calls usage what is announced of the trail", "server/internal/insights/findings.go",
		"a.Kind == kept.kind\n", "a.Kind != kept.kind\n",
		"server/internal/insights", "TestFindDeletions",
	},
	{
		"deletion is held where everything is kept for ever", "server/internal/insights/findings.go",
		"held.Doubted && kept.retention > 0", "held.Doubted",
		"server/internal/insights", "TestFindDeletions",
	},
	{
		"the diagnosis does not ask what is held", "server/internal/insights/diagnosis.go",
		"	d.findDeletions(held)\n", "	held = store.Brake{}\n	d.findDeletions(held)\n",
		"server", "TestRetentionIsAnnounced/sqlite",
	},
	{
		"looks through a group's role are those of nobody", "store/audit.go",
		"WHERE role_bindings.principal_kind = ?\n", "WHERE role_bindings.principal_kind = ? AND 1 = 0\n",
		"cmd/insights", "TestPrivacyReport",
	},
	{
		"latencies that should be gone are not reported", "store/retention.go",
		"AS at FROM ` + usage.Pages + ` WHERE length(latency) > 0\n", "AS at FROM ` + usage.Pages + ` WHERE 1 = 0\n",
		"cmd/insights", "TestPrivacyReport",
	},
	{
		"an organization that inherits keeps its own mode", "store/privacy_mode.go",
		"	own.Mode = deployment.Mode\n", "",
		"store", "TestSQLite",
	},
	{
		"an answer that a pooler cut off is a fault of the program", "store/db/dialect.go",
		"untyped.MatchString(err.Error())", "false",
		"store", "TestGarbledAnswer",
	},
	{
		"an exported file is a look like others", "server/internal/call/address.go",
		"len(md.Get(ExportKey)) > 0", "len(md.Get(ExportKey)) > 9",
		"server", "TestExportRefusals",
	},
	{
		"what was acknowledged is not waited for on a replica", "store/replica/replica.go",
		"{ s.changes.Add(1) }", "{}",
		"store", "TestReplicas",
	},
	{
		"a replica that is too far behind answers", "store/replica/replica.go",
		"behind > longest", "false",
		"store", "TestReplicas",
	},
	{
		"a server that was promoted answers as a replica", "store/replica/replica.go",
		"case !at.replays:", "case false:",
		"store", "TestReplicas",
	},
	{
		"a server of another cluster or database is taken for a replica", "store/replica/replica.go",
		"err == nil && at.identity != p.identity", "err == nil && at.identity == p.identity",
		"store", "TestReplicaOfNothing",
	},
	{
		"a replica of a primary from before seems current", "store/replica/replica.go",
		"case at.timeline != p.timeline:", "case false:",
		"store", "TestReplicasInTrouble",
	},
	{
		"a replica that replayed nothing seems current", "store/replica/replica.go",
		"case !at.replayed.Valid:", "case false:",
		"store/replica", "TestBehind",
	},
	{
		"a replica that hangs takes the time of the others", "store/replica/replica.go",
		"r.reach(ctx, p, needed, s.longest, patience/time.Duration(len(candidates)))", "r.reach(asking, p, needed, s.longest, patience)",
		"store", "TestReplicasInTrouble",
	},
	{
		"who leaves puts replicas out", "store/replica/replica.go",
		"case ctx.Err() != nil: // who asks", "case false: // who asks",
		"store", "TestReplicasInTrouble",
	},
	{
		"migrations go to any database", "store/db/migrations.go",
		"err == nil && own != its", "own == \"\" && own != its",
		"store", "TestMigrationDatabase",
	},
	{
		"what came after an announcement goes with it", "store/retention.go",
		" && wanted.Days <= before.Days+everydayLoss", "",
		"store", "TestAnnounce",
	},
	{
		"a clock that jumps again and again holds deletion for ever", "store/retention.go",
		"m.Steady == 2*brakeDay {", "m.Steady >= brakeDay {",
		"store", "TestDoubtEnds",
	},
	{
		"a backup brings announcements along", "store/archive/restore.go",
		"slices.Contains(tables, table)", "false",
		"store", "TestRestoreForgetsAnnouncements",
	},
	{
		"a question reads rows of the primary and pages of a replica", "store/usage/read.go",
		"query := e.database(ctx).Raw(`SELECT `+openColumns", "query := e.db.Reads.WithContext(ctx).Raw(`SELECT `+openColumns",
		"store", "TestReplicas",
	},
	{
		"the answer of a replica says that it is of now", "server/internal/insights/replicas.go",
		".Add(-store.Behind(ctx))", ".Add(0 * store.Behind(ctx))",
		"server/internal/insights", "TestFromReplica",
	},
	{
		"a question that its replica failed fails", "server/internal/insights/replicas.go",
		"err == nil || choice.Replica == nil ||", "true || choice.Replica == nil ||",
		"server/internal/insights", "TestFromReplica",
	},
	{
		"the file keeps what was erased", "store/db/sqlite.go",
		`Exec("VACUUM")`, `Exec("SELECT 1")`,
		"store", "TestErase/sqlite",
	},
	{
		"statements behind a pooler are prepared", "store/db/postgres.go",
		`= "cache_describe"`, `= "cache_statement"`,
		"store/usage", "TestPooler/merge_is_union",
	},
	{
		"a single statement behind a pooler has the settings of whoever came before", "store/db/postgres.go",
		"func (d postgres) write(db *gorm.DB, f func(db *gorm.DB) error) error {\n	if !d.pooler {",
		"func (d postgres) write(db *gorm.DB, f func(db *gorm.DB) error) error {\n	if true {",
		"store", "TestWriteSettings",
	},
	{
		"a transaction behind a pooler has the settings of whoever came before", "store/db/db.go",
		"		if err := d.begin(tx); err != nil {\n			return err\n		}\n", "",
		"store", "TestWriteSettings",
	},
	{
		"nobody says that a pooler has to be named", "store/db/postgres.go",
		`case "42P05", "08P01":`, `case "42P05":`,
		"store", "TestPoolerNeedsToBeNamed",
	},
	{
		"a migration goes through a pooler", "store/db/migrations.go",
		"		if o.Pooler {\n			return nil, ErrPooler\n		}\n", "",
		"store", "TestPoolerNeedsToBeNamed",
	},
	{
		"a value that does not fit is tried for ever", "store/db/postgres.go",
		"strings.Contains(err.Error(), unencodable)", "false",
		"store", "TestRefusedRow",
	},
	{
		"Postgres compiles the plans of those who write", "store/db/postgres.go",
		`	"jit": "off",`, "",
		"store", "TestWriteSettings",
	},
	{
		"every user who is hidden is moved alone", "store/privacy_treatment.go",
		"changed, err := s.moveUsers(tx, ids, Instant{})", `var changed []uuid.UUID
			var err error
			for id, pseudonym := range ids {
				if changed, err = s.moveUsers(tx, pairs[uuid.UUID]{id: pseudonym}, Instant{}); err != nil {
					return err
				}
			}`,
		"store", "TestStatementsDoNotGrowWithUsers/sqlite",
	},
	{
		"a confined control plane puts anybody into its groups", "store/applier.go",
		"!a.erased[*id] && !a.mayNameUser(a.users[*id]) })", "false })",
		"store", "TestSQLite/catalog_stays_in_its_organization",
	},
	{
		"a confined control plane says that anybody was in its groups", "store/group_members.go",
		"	for i := range g.Members {\n", "	for i := range g.Members[:0] {\n",
		"store", "TestSQLite/catalog_stays_in_its_organization",
	},
	{
		"who leaves a group was never in it", "store/group_members.go",
		"minute.Until(periods, now.Time)", "minute.Until(periods[:0], now.Time)",
		"store", "TestSQLite/groups_keep_their_past",
	},
	{
		"who comes back into a group was in it meanwhile", "store/group_members.go",
		"minute.Period{From: now.Time})", "minute.Period{})",
		"store", "TestSQLite/groups_keep_their_past",
	},
	{
		"members that are taken back stay members", "store/group_members.go",
		"	after := membership{}\n", "	after := membership{}\n	maps.Copy(after, m)\n",
		"store", "TestSQLite/groups_keep_their_past",
	},
	{
		"who left a group keeps its roles", "store/group_members.go",
		"OR group_members.to_at > ?)", "OR group_members.to_at > ? OR 1 = 1)",
		"store", "TestSQLite/groups_keep_their_past",
	},
	{
		"somebody has the roles of a group before they come into it", "store/group_members.go",
		"group_members.from_at <= ? AND", "(group_members.from_at <= ? OR 1 = 1) AND",
		"store", "TestSQLite/times_of_members",
	},
	{
		"somebody comes into a group in the far future", "store/group_members.go",
		"now.Add(memberAhead)", "now.Add(1000 * memberAhead)",
		"store", "TestSQLite/times_of_members",
	},
	{
		"who left a group on the first day that stays was not in it", "store/retention.go",
		"to_at > 0 AND to_at <= ?`, []any{used}", "to_at > 0 AND to_at <= ?`, []any{At(h.Usage)}",
		"store", "TestSQLite/past_of_groups_expires",
	},
	{
		"who sees a group sees the deployment", "store/access/principal.go",
		"g.Permission == perm && g.Group == uuid.Nil && covers(g)", "g.Permission == perm && covers(g)",
		"store/access", "TestRights",
	},
	{
		"a role about a group is one about another", "store/role_binding.go",
		"AND template_id = ? AND group_id = ?\",\n", "AND template_id = ? AND (group_id = ? OR 1 = 1)\",\n",
		"store", "TestSQLite/roles",
	},
	{
		"periods that overlap end with the first", "store/minute/period.go",
		"if b.IsZero() || !a.IsZero() && a.Before(b) {", "if b.IsZero() {",
		"store/minute", "TestPeriods",
	},
	{
		"who comes within a half hour is a member from its begin", "store/minute/membership.go",
		"if t.Unix() > h*seconds || t.Nanosecond() > 0 {", "if h < 0 {",
		"store/minute", "TestMembership",
	},
	{
		"a group that is imported for the first time has no past", "cmd/insights/coder/importer.go",
		"if !known[g.ID] {", "if known[g.ID] {",
		"cmd/insights/coder", "TestImportCatalog",
	},
	{
		"who comes into a group between two imports was always in it", "cmd/insights/coder/importer.go",
		"if !known[g.ID] {", "if known != nil {",
		"cmd/insights/coder", "TestImportCatalog",
	},
	{
		"a seat is at a workspace that is not here", "cmd/insights/coder/importer.go",
		"c.workspace != uuid.Nil && !here {", "c.workspace != uuid.Nil && !here && used == nil {",
		"cmd/insights/coder", "TestImportSeatsAndMedians",
	},
	{
		"latencies are imported where totals alone are kept", "cmd/insights/coder/importer.go",
		"c.kind.HasBins() && mode.AtLeast(store.PrivacyAggregate)", "c.kind.HasBins() && mode.AtLeast(store.PrivacyOff)",
		"cmd/insights/coder", "TestImportObeysPrivacyModes",
	},
	{
		"builds are imported where nothing may be kept", "cmd/insights/coder/importer.go",
		"return modeOf(b.TemplateID) == store.PrivacyOff })", "return modeOf(b.TemplateID) == \"\" })",
		"cmd/insights/coder", "TestImportObeysPrivacyModes",
	},
	{
		"service accounts of Coder are imported as people", "cmd/insights/coder/database.go",
		"THEN 'service'\"", "THEN 'human'\"",
		"cmd/insights/coder", "TestPopulation",
	},
	{
		"organizations have one name", "store/applier.go",
		"if others > 0 {", "if others > 1 {",
		"store", "TestSQLite/organizations_have_names_alone",
	},
	{
		"a name that an organization had stays taken", "store/applier.go",
		"		o.holders[before]--\n", "",
		"store", "TestSQLite/organizations_have_names_alone",
	},
	{
		"two servers give one name at once", "store/applier.go",
		"if err := a.store.db.Lock(a.tx, \"organizations\", db.LockWrites); err != nil {", "if err := error(nil); err != nil {",
		"store", "TestNamesOfOrganizationsAtOnce",
	},
	{
		"organizations of one name keep it in an upgrade", "store/migrations/00017_names_of_organizations.sql",
		"lower(other.name) = lower(organizations.name)", "other.name = organizations.name",
		"store", "TestUpgradeTellsNamesakesApart/sqlite",
	},
	{
		"agents of two organizations are one series", "server/internal/gauges/deployment_metrics.go",
		"status, lifecycle, unknownLabel, w.Organization)", "status, lifecycle, unknownLabel, unknownLabel)",
		"server", "TestDeploymentMetrics",
	},
	{
		"series of the control plane stay with the name of an organization", "server/internal/ingest/control_plane_series.go",
		"= organization.String() //", "= k.organizations[organization] //",
		"server", "TestNamesakesChangeNoSeries",
	},
	{
		"who claims the id of another organization learns what it is of", "store/applier.go",
		"if !a.authority.Organization(organizationOf(old)) {", "if false {",
		"server", "TestForeignIDsCannotBeClaimed",
	},
	{
		"an agent of another organization is erased with one's own workspace", "store/applier.go",
		"a.erased[x.WorkspaceID] && !a.confined", "a.erased[x.WorkspaceID]",
		"server", "TestForeignIDsCannotBeClaimed",
	},
	{
		"a workspace of another organization is erased with one's own user", "store/applier.go",
		"a.erased[x.OwnerID] && !a.confined", "a.erased[x.OwnerID]",
		"server", "TestForeignIDsCannotBeClaimed",
	},
	{
		"owners of other organizations are told from unknown ones", "store/applier.go",
		"!known || !a.mayNameUser(organizations) {", "!known || organizations == nil {",
		"server", "TestForeignIsUnknown",
	},
	{
		"versions of other organizations are told from unknown ones", "server/internal/ingest/events.go",
		"of, known := k.versions[b.TemplateVersionID]\n	if !known || !caller.HoldsIn(access.IngestAny, k.templates[of]) {",
		"of, known := k.versions[b.TemplateVersionID]\n	if !known {",
		"server", "TestForeignIsUnknown",
	},
	{
		"names have characters that nobody sees", "store/session_names.go",
		`r >= '\u200b' && r <= '\u200f'`, "false",
		"server/internal/admin", "TestParseCatalogFaults",
	},
	{
		"names have ends of lines", "store/session_names.go",
		`r >= '\u2028' && r <= '\u202e'`, `r >= '\u202a' && r <= '\u202e'`,
		"server/internal/ingest", "TestReportLimits",
	},
	{
		"a change of the catalog ends with the deadline of its caller", "server/internal/admin/catalog.go",
		"context.WithTimeout(context.WithoutCancel(ctx), catalogTimeout)", "context.WithTimeout(ctx, catalogTimeout)",
		"server/internal/admin", "TestCatalogOutlastsDeadline",
	},
	{
		"a change of the catalog is made again for each caller who sends it", "server/internal/admin/catalog.go",
		`fmt.Sprintf("%x of %v", sha256.Sum256(content), caller)`, `fmt.Sprintf("%x of %v %p", sha256.Sum256(content), caller, ctx)`,
		"server/internal/admin", "TestCatalogOutlastsDeadline",
	},
	{
		"the audit trail names who was erased", "store/eraser.go",
		"e.rights, e.workspaces, e.trail}", "e.rights, e.workspaces}",
		"store", "TestErase/sqlite",
	},
	{
		"groups that an erased user left still name the user", "store/eraser.go",
		"`DELETE FROM group_members WHERE user_id IN ?`", "`DELETE FROM group_members WHERE user_id IN ? AND to_at = 0`",
		"store", "TestErase/sqlite",
	},
	{
		"an erased service account was a person", "store/eraser.go",
		"Kind: u.Kind, Status", "Kind: Human, Status",
		"store", "TestSQLite/actors",
	},
	{
		"where an erased user came from is kept", "store/eraser.go",
		"`DELETE FROM seat_regions WHERE subject IN", "`DELETE FROM seat_regions WHERE subject < 0 AND subject IN",
		"store", "TestColumnsAreTreatedAsTold",
	},
	{
		"what an erased user typed is kept", "store/eraser.go",
		"				b.Parameters[j].Value = \"\"\n", "				b.Parameters[j].Value += \"\"\n",
		"store", "TestColumnsAreTreatedAsTold",
	},
	{
		"builds of an erased user keep their ids", "store/eraser.go",
		"b.ID, b.WorkspaceID = uuid.New(), left[b.WorkspaceID]", "b.WorkspaceID = left[b.WorkspaceID]",
		"store", "TestErase/sqlite",
	},
	{
		"two erased users are one", "store/eraser.go",
		"e.nobody[id] = uuid.New()", "e.nobody[id] = uuid.Max",
		"store", "TestErase/sqlite",
	},
	{
		"what is read while somebody is erased is remembered", "store/directory.go",
		"	d.memory.Store(newMemory())\n}\n", "	d.memory.Load().agents.Purge()\n	d.memory.Load().subjects.Purge()\n}\n",
		"store", "TestDirectoryForgetsWhatIsBeingRead",
	},
	{
		"people of whom no catalog tells are kept under their own ids", "store/pseudonym.go",
		"		ids[user] = s.key.Pseudonym(user)\n", "",
		"store", "TestPseudonyms",
	},
	{
		"the files of SQLite still hold what was hidden", "store/privacy_treatment.go",
		"if err := s.db.Scrub(ctx); err != nil {", "if err := ctx.Err(); err != nil {",
		"store", "TestPseudonyms",
	},
	{
		"latencies stay where totals alone are kept", "store/privacy_treatment.go",
		"s.templatesFrom(ctx, modes, PrivacyAggregate)", "s.templatesFrom(ctx, modes, PrivacyOff)",
		"store", "TestColumnsAreTreatedAsTold",
	},
	{
		"a mode is taken for treated while servers may still write by the one before", "store/privacy_treatment.go",
		"begin.Sub(r.Since.Time) < settleTime", "begin.Sub(r.Since.Time) < 0",
		"store", "TestPseudonyms",
	},
	{
		"a workspace keeps its name in a template that hides names", "store/privacy_treatment.go",
		"\"template_id IN ? OR owner_id", "\"template_id IN ? AND 1 = 0 OR owner_id",
		"store", "TestNamesOfWorkspacesAreHidden",
	},
	{
		"a workspace of somebody who is hidden keeps its name", "store/privacy_treatment.go",
		"\"template_id IN ? OR owner_id IN (SELECT id FROM pseudonyms)\"", "\"template_id IN ?\"",
		"store", "TestNamesOfWorkspacesAreHidden",
	},
	{
		"usage is imported where nothing may be kept", "cmd/insights/coder/importer.go",
		"mode == store.PrivacyOff || c.kind", "c.kind",
		"cmd/insights/coder", "TestImportObeysPrivacyModes",
	},
	{
		"erased people are imported again", "cmd/insights/coder/importer.go",
		"return erased[c.user] || ", "return len(erased) < 0 || ",
		"cmd/insights/coder", "TestImportObeysPrivacyModes",
	},
	{
		"whoever starts a prebuilt workspace takes it", "cmd/insights/coder/builds.go",
		"	WHEN workspaces.owner_id <> '` + prebuilds + `' AND EXISTS", "	WHEN EXISTS",
		"cmd/insights/coder", "TestImportOrigins",
	},
	{
		"erased people's workspaces forget how long they run", "store/eraser.go",
		"TTLSeconds: w.TTLSeconds, DeletedAt", "DeletedAt",
		"store", "TestErase",
	},
	{
		"a schema without system accounts is read", "cmd/insights/coder/database.go",
		"case version < OldestSchema ||", "case",
		"cmd/insights/coder", "TestOpenRefuses",
	},
	{
		"roles that all members have are not imported", "cmd/insights/coder/roles.go",
		"roles || default_org_member_roles AS roles", "roles",
		"cmd/insights/coder", "TestImportDefaultRoles",
	},
	{
		"a template without a display name gets its name for one", "cmd/insights/coder/catalog.go",
		"= plain(t.DisplayName), instant(created)", "= cmp.Or(plain(t.DisplayName), t.Name), instant(created)",
		"cmd/insights/coder", "TestImportDisplayNames",
	},
	{
		"a template's dormancy is its time to live", "cmd/insights/coder/catalog.go",
		"seconds(ttl), seconds(dormant), seconds(gone)", "seconds(ttl), seconds(ttl), seconds(gone)",
		"cmd/insights/coder", "TestImportSettingsAndCosts",
	},
	{
		"an estimate is of the last of several workspaces", "cmd/insights/coder/ran.go",
		"		if running != 0 {\n			return uuid.Nil, 0\n		}\n		id = t.workspace",
		"		running, id = 0, t.workspace",
		"cmd/insights/coder", "TestEstimatesFindTheirWorkspace",
	},
	{
		"a workspace that somebody else owned before leaves no doubt", "cmd/insights/coder/ran.go",
		"if added[b.by] || b.Transition", "if !added[b.by] || b.Transition",
		"cmd/insights/coder", "TestEstimatesFindTheirWorkspace",
	},
	{
		"a prebuilt workspace is its owner's before it is taken", "cmd/insights/coder/ran.go",
		"return by.String() != prebuilds", "return by.String() != \"\"",
		"cmd/insights/coder", "TestEstimatesFindTheirWorkspace",
	},
	{
		"an estimate lies where its workspace did not run", "cmd/insights/coder/estimate.go",
		"slices.Concat(minutesOf(ran&^known), minutesOf(all&^ran&^known))", "minutesOf(all &^ known)",
		"cmd/insights/coder", "TestEstimateKeepsNumbers",
	},
	{
		"an estimate is stored again at another seat", "store/usage/unstored.go",
		"return key{at, 0, r.App}", "return key{at, r.Subject, r.App}",
		"store/usage", "TestSQLite/what_is_not_stored",
	},
	{
		"logins that failed are imported", "cmd/insights/coder/usage.go",
		"AND status_code < 400", "AND status_code < 500",
		"cmd/insights/coder", "TestImportLogins",
	},
	{
		"the mode of the deployment holds for logins of all organizations", "cmd/insights/coder/importer.go",
		"mode = modeOfUser(c.user)", "mode = modeOf(uuid.Nil)",
		"cmd/insights/coder", "TestImportLogins",
	},
	{
		"the role of the importer may read the addresses of users", "deploy/coder/grants.sql",
		"('audit_logs', 'time user_id action status_code')", "('audit_logs', 'time user_id action status_code ip')",
		"cmd/insights/coder", "TestGrants",
	},
	{
		"a dry run counts everybody", "cmd/insights/coder/actors.go",
		"if actor := store.ActorOf(kind); actor == minute.Person", "if actor := store.ActorOf(kind); actor != minute.System",
		"cmd/insights/coder", "TestPopulation",
	},
	{
		"a stop ends the task of a workspace", "cmd/insights/coder/catalog.go",
		"AND transition = 'start' AND job_status", "AND job_status",
		"cmd/insights/coder", "TestImportOrigins",
	},

	// What became of workspaces.
	{
		"an end that nobody knows is guessed", "store/workspace/history.go",
		"ends[i] = runEnd{told, false}", "ends[i] = runEnd{told, true}",
		"store/workspace", "TestHistories",
	},
	{
		"a start counts for the half hour in which it began", "store/workspace/history.go",
		"(first(changes[i].at()) + halfHour - 1) / halfHour", "first(changes[i].at()) / halfHour",
		"store/workspace", "TestHistories",
	},
	{
		"use that may have been elsewhere leaves a workspace unattended", "store/workspace/attendance.go",
		"silent.Without(use.Somewhere)", "silent",
		"store/workspace", "TestHistories",
	},
	{
		"an agent that never connected is left out", "store/workspace/ready.go",
		"			r.NeverConnected++\n", "",
		"store/workspace", "TestTimeToReady",
	},

	// Session keys of Coder.
	{
		"a limited key gives all roles of its user", "server/internal/call/identity.go",
		"if i.limits == nil || i.whole.Load() {", "if i.limits == nil || !i.whole.Load() {",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"an allow list that names one template limits nothing", "server/internal/guard/coder_keys.go",
		"narrows := func(target string) bool { return target != \"*:*\" }", "narrows := func(target string) bool { return target == \"\" }",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"an empty allow list limits nothing", "server/internal/guard/coder_keys.go",
		"return !listed || len(allowed) > 0 && ", "return !listed || len(allowed) == 0 || ",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"the one scope of older releases hides the list of scopes", "server/internal/guard/coder_keys.go",
		"scopes = append(scopes, scope)", "scopes = []string{scope}",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"the description of another key counts", "server/internal/guard/coder_keys.go",
		" || key != id || owner != user {", " || key == user.String() || owner == uuid.Nil {",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"one template that Coder allows is enough", "server/internal/guard/coder_keys.go",
		"len(allowed) < len(rights)", "len(allowed) == 0",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"a key that sees a part sees the deployment", "server/internal/insights/daus.go",
		"err != nil || !everything {", "err != nil || !everything && err != nil {",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"an organization is asked about without a look at the key", "server/internal/guard/authorize.go",
		"\tif err == nil {\n\t\tscope, err = call.WithinKey(ctx, a.Store, scope, false)\n\t}\n", "",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"a key is told to have rights that Coder denies", "server/internal/admin/access.go",
		"p = p.Within(permission, scope, organizations)", "_ = p.Within(permission, scope, organizations)",
		"server", "TestSessionKeysOfCoder",
	},
	{
		"a key that may not read its user says that the service is away", "server/internal/guard/coder_sessions.go",
		"http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:", "http.StatusUnauthorized, http.StatusForbidden:",
		"server", "TestCoderSessions",
	},
	{
		"keys are shown to whom Coder sends callers", "server/internal/guard/coder_sessions.go",
		"func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }", "nil",
		"server", "TestCoderInTrouble",
	},
	{
		"rights are asked about again by each question", "server/internal/guard/coder_keys.go",
		"k.sessions.rights.Add(right, coderAnswer[bool]{may, asked.Add(CoderTTL)})",
		"k.sessions.rights.Add(right, coderAnswer[bool]{may, asked})",
		"server", "TestKeysAskSeldom",
	},
	{
		"a question asks Coder about any number of templates", "server/internal/guard/coder_keys.go",
		"if calls+callsFor(single) > MaxRightsCalls {", "if calls < 0 {",
		"server", "TestKeysAskSeldom",
	},
	{
		"the cookie of Coder may change things", "server/internal/guard/session_cookie.go",
		"s.coder && safe && len(cookies) == 0", "s.coder && (safe || r != nil) && len(cookies) == 0",
		"server", "TestCookieOfCoder",
	},
	{
		"REST of everybody waits with session keys", "server/internal/rest/gateway.go",
		"		return l.keys\n", "		return l.own\n",
		"server", "TestNobodyElseWaitsForCoder",
	},
	{
		"a question has its place until it is answered, not until that is sent", "server/internal/guard/requests.go",
		"md.Get(RequestKey)", `md.Get("")`,
		"server/internal/guard", "TestRequestsKeepTheirPlace",
	},
	{
		"unsent answers are not bounded over all", "server/internal/guard/requests.go",
		"if bytes > 0 && !r.room.TryAcquire(bytes) {", "if bytes > answerRoom {",
		"server/internal/guard", "TestRoomForAnswers",
	},
	{
		"small answers wait behind large ones", "server/internal/guard/requests.go",
		"case expected == 0:", "case expected < 0:",
		"server/internal/guard", "TestSmallAnswersDoNotWait",
	},
	{
		"nobody expects a large answer after a large one", "server/internal/guard/requests.go",
		"r.expected[method] = min(size, answerRoom)", "r.expected[method] = 0",
		"server/internal/guard", "TestRoomForAnswers",
	},
	{
		"a request that is alone has no more room than others", "server/internal/guard/requests.go",
		"bytes = min(bytes, answerRoom-q.room)", "bytes = min(bytes, answerRoom)",
		"server/internal/guard", "TestRequestsDoNotWaitForEachOther",
	},
	{
		"who reads nothing is cut with the answer's deadline alone", "server/internal/guard/unsent.go",
		"part := time.Now().Add(sendTimeout);", "part := time.Now().Add(AnswerTimeout);",
		"server/internal/rest", "TestSlowReadersAreCut",
	},
	{
		"parts that are taken in time make an answer last for ever", "server/internal/guard/unsent.go",
		"part.Before(all) {", "!part.IsZero() {",
		"server/internal/guard", "TestSlowReadersOverGRPCAreCut",
	},
	{
		"who reads nothing over gRPC keeps its connection", "server/internal/guard/unsent.go",
		"func() { _ = c.Close() })", "func() {})",
		"server/internal/guard", "TestSlowReadersOverGRPCAreCut",
	},
	{
		"a part that is taken gives no time for the next one", "server/internal/guard/unsent.go",
		"		u.cut.Reset(time.Until(PartDeadline(u.request.deadline)))\n", "",
		"server/internal/guard", "TestSlowReadersOverGRPCAreCut",
	},
	{
		"an answer over gRPC is over when the transport has it", "server/internal/guard/requests.go",
		"if q.conn != nil {", "if q.rest && q.conn != nil {",
		"server/internal/guard", "TestAnswersOverGRPCKeepTheirRoom",
	},
	{
		"one part that is sent gives the room of the whole answer back", "server/internal/guard/unsent.go",
		"c.unsent[u], u.parts == 0", "c.unsent[u], u.parts >= 0",
		"server/internal/guard", "TestAnswersOverGRPCKeepTheirRoom",
	},
	{
		"small answers never give the place of their question back", "server/internal/guard/unsent.go",
		"max(proto.Size(u.answer), minPart)", "proto.Size(u.answer)",
		"server/internal/guard", "TestAnswersOverGRPCArrive",
	},
	{
		"a connection that breaks keeps the room of its answers", "server/internal/guard/unsent.go",
		"		u.end()\n	}\n	return c.Conn.Close()", "		u.cut.Stop()\n	}\n	return c.Conn.Close()",
		"server/internal/guard", "TestAnswersOverGRPCKeepTheirRoom",
	},
	{
		"questions of a user wait with those by the session key", "server/internal/guard/ratelimit.go",
		"limitedCaller{p.Kind, p.ID, call.IsLimited(ctx)}", "limitedCaller{p.Kind, p.ID, false}",
		"server", "TestNobodyElseWaitsForCoder",
	},
	{
		"a question that failed goes on asking", "server/internal/guard/coder_sessions.go",
		"	if err := ctx.Err(); err != nil {\n		return answer, err // nobody",
		"	if err := ctx.Err(); err != nil && len(what) == 0 {\n		return answer, err // nobody",
		"server", "TestFailedQuestionsAskNoMore",
	},
	{
		"of two fields of one name the last counts", "server/internal/guard/coder_sessions.go",
		"seen[folded] = true", "seen[folded] = false",
		"server/internal/guard", "TestIsWholeKey",
	},
	{
		"streams of tokens wait for Coder", "server/internal/guard/authenticate.go",
		"			a.checkStreams(ctx)\n",
		"			a.checkForeignStreams(ctx, credential.byCoder)\n			a.checkStreams(ctx)\n",
		"server", "TestStreamsOfKeys",
	},

	// Counting.
	{
		"pages are read before rows", "store/usage/read.go",
		"		for ; next < day; next++ {\n",
		"		if open, err = e.openDays(ctx, x, first, last, of.open); err != nil {\n			return err\n		}\n" +
			"		for ; next < day; next++ {\n",
		"store/usage", "TestSQLite/fold_beside_question",
	},
	{
		"a page that begins again is taken for the one before", "store/usage/page.go",
		"1+rand.Int64N(math.MaxInt64/2)", "p.Version+1+0*rand.Int64N(math.MaxInt64/2)",
		"store", "TestSQLite/retention",
	},
	{
		"a template without a page is left out", "store/usage/read.go",
		"		pages = append(pages, minute.Source[T]{Template: template, Table: of.of(day, rows)})\n",
		"		_, _ = template, rows\n",
		"store/usage", "TestSQLite/merge_is_union",
	},
	{
		"the last day of a window is lost when it is not whole", "store/minute/window.go",
		"int32(floorDiv(w.End-1, minutesPerDay))", "int32(floorDiv(w.End, minutesPerDay)) - 1",
		"store/minute", "TestNewWindow",
	},
	{
		"the minute at which a window ends is in it", "store/minute/calendar.go",
		"b := min(max(to-start, a), MinutesPerHalfHour)", "b := min(max(to-start+1, a), MinutesPerHalfHour)",
		"store/minute", "TestCounterRules",
	},
	{
		"at the end of a window the wrong side counts", "store/minute/calendar.go",
		"		masks[i] = 1<<b - 1<<a\n",
		"		masks[i] = 1<<b - 1<<a\n		if 0 < b && b < MinutesPerHalfHour {\n			masks[i] = fullMask &^ (1<<b - 1)\n" +
			"		}\n",
		"store/minute", "TestCounterRules",
	},
	{
		"an interval that goes on the next day is lost", "store/minute/calendar.go",
		"			c.next = i + 1\n", "			c.next = i + 2\n",
		"store/minute", "TestCounterRules",
	},
	{
		"the gate is that of a row, not of its half hour", "store/minute/table.go",
		"!= Session || open>>t.halfHour[i]&1 != 0", "!= Session || open&0|t.connectedBit(int(i)) != 0",
		"store/minute", "TestCounterRules",
	},
	{
		"there is no gate", "store/minute/table.go",
		"!= Session || open>>t.halfHour[i]&1 != 0", "!= Session || open>>t.halfHour[i]&1 < 2",
		"store/minute", "TestCounterRules",
	},
	{
		"a cell that several lanes have is there for each", "store/minute/cube.go",
		"place, known := c.placeOf(own.key, places[:i])", "place, known := c.placeOf(own.key, places[:0])",
		"store/minute", "TestCubeAgainstReference",
	},
	{
		"a run of half hours in a cell ends at midnight", "store/minute/cube.go",
		"		} else if in.halfHour == first-1 {\n", "		} else if in.halfHour == first-100 {\n",
		"store/minute", "TestCubeRules",
	},
	{
		"a person in two cells in turn is new in each again", "store/minute/cube.go",
		"		l.members[memberOf(p.last, person)] = p.inLast\n", "		l.members[memberOf(p.last, person)] = membership{}\n",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"who comes back to a cell on its last day is new", "store/minute/cube.go",
		"day == end && p.inLast.halfHour < day*HalfHoursPerDay", "day > end",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"who was in a cell on its first day is new on the second", "store/minute/cube.go",
		"l.cells[cell].days.first < day {", "l.cells[cell].days.first+1 < day {",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"persons in cells take no memory", "store/minute/cube.go",
		"		l.inCells++\n", "		l.inCells += 0\n",
		"store/minute", "TestCubeBounds",
	},
	{
		"a cell is over after its first day", "store/minute/cube.go",
		"max(of.first, d.first), min(of.last, d.last)", "max(of.first, d.first), min(of.last, d.first)",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"half hours in several templates are added up in a cell", "store/minute/cube_days.go",
		"used&all != 0 ||", "used&all > 1<<50 ||",
		"store/minute", "TestCubeOfSums",
	},
	{
		"a half hour that an edge cuts is in a cell as a whole", "store/minute/cube_days.go",
		"if used&l.of.split != 0 || used&^l.of.whole != 0 ||", "if used&^(l.of.whole|l.of.split) != 0 ||",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"all seats of a day have the values of the first", "store/minute/cube_days.go",
		"		case in != passes || in && l.values != d.values:\n", "		case in != passes:\n",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"all half hours of a day have one value", "store/minute/cube_days.go",
		"used&^spans[at].halfHours != 0 {", "used&spans[at].halfHours == 0 {",
		"store/minute", "TestCubeSumsGiveWay",
	},
	{
		"minutes in two apps of a cell at once are added up", "store/minute/cube_days.go",
		"n := bits.OnesCount32(at & cells[i].apps); n > 1 {", "n := bits.OnesCount32(at & cells[i].apps); n > 9 {",
		"store/minute", "TestCubeOfSums",
	},
	{
		"a day at two seats is of one workspace", "store/minute/cube_days.go",
		"if len(subjects) > 1 && l.of.cut.WorkspaceOf != nil {", "if len(subjects) > 9 && l.of.cut.WorkspaceOf != nil {",
		"store/minute", "TestCubeOfSums",
	},
	{
		"pages that are kept are cut row by row", "store/minute/cube.go",
		"q.ofDays = !c.Peaks && !c.ofHalfHours()", "q.ofDays = c.Peaks && !c.ofHalfHours()",
		"store/minute", "TestCubeOfSums",
	},
	{
		"a filter lets through what it is to leave out", "store/minute/cube.go",
		"return f.Values[v] }) != f.Not\n", "return f.Values[v] })\n",
		"store/minute", "TestCubeAgainstReference",
	},
	{
		"a workspace with people in two lanes counts twice", "store/minute/cube.go",
		"visited[memberOf(places[i][at.cell()], at.of())]", "visited[memberOf(places[i][at.cell()], at.of()+int32(i)<<20)]",
		"store/minute", "TestCubeAgainstReference",
	},
	{
		"a question by dimensions takes memory without end", "store/minute/cube.go",
		"return c.cut.MaxCells > 0 && kept > c.cut.MaxCells }", "return c.cut.MaxCells > 0 && kept > 1<<40 }",
		"store/minute", "TestCubeBounds",
	},
	{
		"the difference between a day and its hours tells of few", "server/internal/query/hours.go",
		"		closed = append(closed, first+least)\n", "		closed = append(closed, closed[0])\n",
		"server/internal/query", "TestClosedHours",
	},
	{
		"quiet hours are told of a template that few used in another hour", "server/internal/query/hours.go",
		"		case n < fewest:\n", "		case n > 0 && n < fewest:\n",
		"server/internal/query", "TestClosedHours",
	},
	{
		"the hour of a machine is the difference between everybody and people", "server/internal/query/hours.go",
		"Actors: actor.Alone(), Window: w,", "Actors: q.actors&(actor.Alone()|q.actors), Window: w,",
		"server", "TestQueryClosesHoursOfMachines",
	},
	{
		"who had samples alone before is not there", "server/internal/query/workspaces.go",
		"f.People == 0 && f.Latency.Samples == 0 &&", "f.People == 0 &&",
		"server/internal/query", "TestJoinWhatWasBefore",
	},
	{
		"a sample is of one of the apps that were used", "store/minute/cube_latency.go",
		"!= 0 && !slices.Contains(*used, *use) {", "!= 0 && len(*used) == 0 {",
		"store/minute", "TestLatencyCubeRules",
	},
	{
		"a latency of an app is that of every half hour", "store/minute/cube_latency.go",
		"		c.used[half] = c.used[half][:0]\n", "		c.used[half] = c.used[half][0:]\n",
		"store/minute", "TestLatencyCubeRules",
	},
	{
		"windows cut hours of few out of days", "server/internal/query/hours.go",
		"				closed.whole = closed.whole || part\n", "				closed.whole = closed.whole || false\n",
		"server", "TestQueryCutsDays",
	},
	{
		"hours of one person are told with those of machines", "server/internal/query/hours.go",
		"range q.actors.List() {", "range q.actors.List()[len(q.actors.List())-1:] {",
		"server", "TestQueryCutsDays",
	},
	{
		"hours of many people with few latencies are told", "server/internal/query/hours.go",
		"Latency: q.asks(latency), Time", "Latency: false, Time",
		"server", "TestQueryClosesHours",
	},
	{
		"who may see the members of a group sees everybody", "store/query.go",
		"len(groups) > 0 {\n		members :=", "len(groups) > 100 {\n		members :=",
		"server", "TestQueryMembers",
	},
	{
		"few members of a group are told of", "server/internal/query/table.go",
		"	if q.floor == 0 {\n", "	if q.floor >= 0 {\n",
		"server", "TestQueryMembers",
	},
	{
		"answers about few people leave no trace", "server/internal/query/query.go",
		"	if q.people(t.whole.Figures) < fewest {\n", "	if q.people(t.whole.Figures) < 0 {\n",
		"server", "TestQueryAudit",
	},
	{
		"an hour tells of one visitor among many owners", "server/internal/query/workspaces.go",
		"	}, f.Time.Visitors[:]...)", "	})",
		"server", "TestQueryWorkspaces",
	},
	{
		"an hour of machines tells of one person who visits with them", "store/query_workspaces.go",
		"kindVisited+int(d.of.Actors[v.person])", "kindVisited+0*int(d.of.Actors[v.person])",
		"server", "TestQueryClosesVisitorsOfEachActor",
	},
	{
		"hours of the week tell of one person", "server/internal/insights/capacity.go",
		"peaks.Hours(q.start.Location(), fewUsers)", "peaks.Hours(q.start.Location(), 0)",
		"server", "TestCapacityHoursTellOfMany",
	},
	{
		"whoever sees members of a group is told when a template was first used", "server/internal/query/query.go",
		"	if q.floor == 0 { // else", "	if true { // else",
		"server", "TestQueryMembers",
	},
	{
		"use in a workspace that nobody knows is waste", "store/query_workspaces.go",
		"Somewhere: workspace.MinutesOf(somewhere...)", "Somewhere: nil",
		"store", "TestSQLite/queries_of_workspaces",
	},
	{
		"what others own is counted", "store/query_workspaces.go",
		"return r.q.Actors.Has(w.actor) }", "return w.actor >= 0 }",
		"store", "TestSQLite/queries_of_workspaces",
	},
	{
		"a workspace runs with what it is only about to start with", "store/query_workspaces.go",
		"return cmp.Compare(s.from, m+1)", "return cmp.Compare(s.from, m+minute.MinutesPerHalfHour+1)",
		"store", "TestSQLite/queries_of_workspaces",
	},
	{
		"workspaces without a bound", "store/query_workspaces.go",
		"	if r.q.MaxCells > 0 && r.all.bytes+more >", "	if r.q.MaxCells < 0 && r.all.bytes+more >",
		"store", "TestSQLite/bounds_of_workspaces",
	},
	{
		"builds of any time", "store/query_workspaces.go",
		"if kept.asked < r.q.Window.Start || kept.asked >= r.q.Window.End {", "if kept.asked < 0 {",
		"store", "TestSQLite/bounds_of_workspaces",
	},
	{
		"what a workspace ran with when the window began is forgotten", "store/query_workspaces.go",
		"s.From < window.End && window.Start < s.To", "s.From < window.End && window.Start <= s.From",
		"store", "TestSQLite/queries_of_workspaces",
	},
	{
		"a metric is written under the name of another", "server/internal/query/metrics.go",
		"**float64 { return &v.ReadyP95Seconds }", "**float64 { return &v.ReadyP50Seconds }",
		"server/internal/query", "TestMetrics",
	},
	{
		"a file may have no more rows than an answer", "server/internal/query/query.go",
		"		most = maxExported\n", "		most = maxRows\n",
		"server", "TestExportManyRows",
	},
	{
		"who waits for an agent in vain waited no longer than for the build", "store/query_workspaces.go",
		"started && way.Ready() {", "started {",
		"store", "TestSQLite/queries_of_workspaces",
	},
	{
		"a query shows a value that looks like a credential", "store/hidden_values.go",
		"case suspects[i] && len(owners[atom]) < fewestOwners:", "case suspects[i] && len(owners[atom]) < 0:",
		"store", "TestSQLite/queries_by_parameters",
	},
	{
		"a query shows what was not sensitive when it was chosen", "store/hidden_values.go",
		"		p.Sensitive = sensitive[p.key]\n", "",
		"store", "TestSQLite/queries_by_parameters",
	},
	{
		"who may see totals asks by user", "server/internal/query/query.go",
		"	if !call.NamesPeople(req) {\n", "	if call.NamesPeople(req) || true {\n",
		"server", "TestQueryAccess",
	},
	{
		"who looks for names of people leaves no trace", "server/internal/guard/audit.go",
		"ok && !call.IsPersonal(q.GetDimension()) {", "ok && q != nil {",
		"server", "TestQueryValuesAudit",
	},
	{
		"values of filters are not found by their id", "server/internal/query/values.go",
		"!label.Contains(r.keys[0].label, search) && !label.Contains(r.keys[0].value, search)", "!label.Contains(r.keys[0].label, search)",
		"server", "TestQueryValues",
	},
	{
		"values of filters begin with the least used", "server/internal/query/values.go",
		"cmp.Compare(b.Item.Minutes, a.Item.Minutes)", "cmp.Compare(a.Item.Minutes, b.Item.Minutes)",
		"server", "TestQueryValues",
	},
	{
		"the command line compares with a window that is not over", "cmd/insights/query.go",
		"	if !compares && (last > 0 || ranged) {\n", "	if last > 0 || ranged {\n",
		"cmd/insights", "TestQueryWindow",
	},
	{
		"every half hour is a launch", "store/minute/count.go",
		"return int64(bits.OnesCount64(u.used &^ (u.used << 1)))", "return int64(bits.OnesCount64(u.used))",
		"store/minute", "TestCounterRules",
	},
	{
		"a run of half hours ends at midnight", "store/minute/count.go",
		"if used&1 != 0 && count.late.take(int(n)) {", "if used&1 != 0 && count.late.take(int(n)) && n < 0 {",
		"store/minute", "TestCounterRules",
	},
	{
		"a user in two templates counts twice", "store/minute/count.go",
		"		l.inTemplate.drainInto(&l.inAny)\n", "		u.minutes += l.inTemplate.drainInto(&l.inAny)\n",
		"store/minute", "TestCounterRules",
	},
	{
		"the users at once are those of the last minute", "store/minute/count.go",
		"			*peak = max(*peak, users)\n", "			*peak = users\n",
		"store/minute", "TestCounterRules",
	},
	{
		"an interval that goes on the next day begins anew", "store/minute/count.go",
		"if u.inIntervals == 0 || l.links[u.inIntervals].key != int32(interval) {",
		"if u.inIntervals >= 0 || l.links[u.inIntervals].key != int32(interval) {",
		"store/minute", "TestCounterRules",
	},
	{
		"accounts of services and the system are people", "store/actors.go",
		"kindsOf(minute.People.Others()),", "kindsOf(minute.NoActors),",
		"store", "TestSQLite/actors",
	},
	{
		"workspaces whose owners nobody knows are those of machines", "store/parameter_usage.go",
		"kinds, people := kindsOf(actors), actors.Has(minute.Person)", "kinds, people := kindsOf(actors), actors == minute.NoActors",
		"store", "TestSQLite/actors",
	},
	{
		"whoever does not say whose figures is told those of everybody", "store/minute/actor.go",
		"		return People, \"\", true\n", "		return Everybody, \"\", true\n",
		"store/minute", "TestParseActors",
	},
	{
		"workspaces of accounts that are left out choose parameters", "store/parameter_usage.go",
		"kindsOf(actors.Others())", "kindsOf(minute.NoActors)",
		"store", "TestSQLite/actors",
	},
	{
		"who is left out counts where people do", "store/minute/count.go",
		"out: !l.of.population.Counted.Has(l.of.population.Actors[person])}", "out: !l.of.population.Counted.Has(Person)}",
		"store/minute", "TestCounterAgainstReference",
	},
	{
		"what a question ignores is activity of those whom it leaves out", "store/minute/count.go",
		"l.channel(&l.others, b.source, code) != Ignored {", "l.channel(&l.others, b.source, code) != unresolved {",
		"store/minute", "TestCounterAgainstReference",
	},
	{
		"latencies of those who are left out count", "store/minute/percentile.go",
		"if !c.population.counts(person) {", "if !c.population.counts(person) && person < 0 {",
		"store/minute", "TestLatencyCounterAgainstReference",
	},
	{
		"half hours in several templates are added up", "store/minute/count_sums.go",
		"case active && (ignored || d.used&all != 0):", "case active && ignored:",
		"store/minute", "TestSumsTell",
	},
	{
		"a half hour that an edge cuts is added as a whole", "store/minute/count_sums.go",
		"if d.used&c.cut != 0 || d.used&^c.whole != 0 {", "if d.used&^c.whole != 0 {",
		"store/minute", "TestSumsTell",
	},
	{
		"an interval cuts no half hour", "store/minute/calendar.go",
		"p.whole, c.cut = whole, c.cut|cut", "p.whole, c.cut = whole|cut, c.cut",
		"store/minute", "TestSumsTell",
	},
	{
		"minutes with two apps of a family are added up", "store/minute/count_sums.go",
		"			list[i].apps++\n", "			list[i].apps += 0\n",
		"store/minute", "TestSumsTell",
	},
	{
		"a day is added with its minutes outside of the window", "store/minute/count_sums.go",
		"if d.used&c.cut != 0 || d.used&^c.whole != 0 {", "if d.used&c.cut != 0 {",
		"store/minute", "TestSumsTell",
	},
	{
		"what a question ignores is in the sum", "store/minute/count_sums.go",
		"case active && (ignored || d.used&all != 0):", "case active && d.used&all != 0:",
		"store/minute", "TestSumsTell",
	},
	{
		"minutes before an interval are in it", "store/minute/sums.go",
		"	if before > 0 {\n", "	if before > 1 {\n",
		"store/minute", "TestSumsTell",
	},
	{
		"the sum of a person is looked for at the first seat", "store/minute/count_sums.go",
		"source: b.source, block: b.blocks.to - 1}", "source: b.source, block: b.blocks.from}",
		"store/minute", "TestSumsTell",
	},
	{
		"latencies of a whole day are added for a part of it", "store/minute/latency_sums.go",
		"s == nil || s.days[block].used&^c.whole != 0 {", "s == nil || s.days[block].used == 0 {",
		"store/minute", "TestPercentile",
	},
	{
		"pages that are kept are counted from rows", "store/minute/count_sums.go",
		"		if d.sums == nil {\n", "		if d.sums == nil || b.next >= 0 {\n",
		"store/minute", "TestSumsTell",
	},
	{
		"minutes with several apps at once are those of one set", "store/minute/sums.go",
		"			m &^= in\n", "			m &= fullMask\n",
		"store/minute", "TestSumsAgainstReference",
	},
	{
		"the day of somebody with very many apps has none", "store/minute/count_sums.go",
		"		case !ignored:\n			return false", "		case !ignored && all != 0:\n			return false",
		"store/minute", "TestSumsOfManyApps",
	},
	{
		"who goes on in another template begins again", "store/minute/count_totals.go",
		"in := channelUse{used: of.used & l.usedBy(&l.blocks[i])}", "in := channelUse{used: of.used &^ (of.used << 1)}",
		"store/minute", "TestTotalsTell",
	},
	{
		"who uses two templates is in the last interval alone", "store/minute/count_totals.go",
		"	l.countIntervals(n, all)\n", "	l.countIntervals(n, l.usedBy(&l.blocks[first]))\n",
		"store/minute", "TestTotalsTell",
	},
	{
		"whom the population leaves out stays in the total", "store/minute/count_totals.go",
		"if b := &l.blocks[i]; l.of.totals[b.source].told {", "if b := &l.blocks[i]; l.of.totals[b.source].told && !b.apart {",
		"store/minute", "TestTotalsTell",
	},
	{
		"what two editors of a family share counts twice", "store/minute/count_totals.go",
		"	return min(a, b)\n", "	return min(a, b, NoChannel)\n",
		"store/minute", "TestTotalsTell",
	},
	{
		"machines can be asked about under pseudonyms", "server/internal/insights/actors.go",
		"actors == minute.People || mode == store.PrivacyFull && floor == 0", "actors == minute.People || floor == 0",
		"server", "TestActorsOfSmallGroups",
	},
	{
		"a few machines are told of where small groups are hidden", "server/internal/insights/actors.go",
		"			o.Actors -= o.Actors % floor\n", "			o.Actors -= 0 % floor\n",
		"server", "TestActorsOfSmallGroups",
	},
	{
		"gauges with Coder's names are of people", "server/internal/gauges/deployment_metrics.go",
		"		return minute.Everybody\n", "		return minute.People\n",
		"server/internal/gauges", "TestInsightsActors",
	},
	{
		"a table has one field of two that hold its rows", "server/internal/rest/export_table.go",
		`"report.apps_usage,unknown_usage", ""}`, `"report.apps_usage", ""}`,
		"server/internal/rest", "TestEveryListIsExported",
	},
	{
		"the editors of no family are in no table", "server/internal/rest/export_table.go",
		`"report.apps_usage,unknown_usage.editors", "editor"}`, `"report.apps_usage.editors", "editor"}`,
		"server", "TestExportProperties",
	},
	{
		"a table has the value that stands for none", "server/internal/rest/export_cell.go",
		"return m.Get(f).Float() == none", "return m.Get(f).Float() == none-1",
		"server/internal/rest", "TestEmptyCells",
	},
	{
		"a table has a number of what is suppressed", "server/internal/rest/export_cell.go",
		"return m.Get(reason).Bool()", "return reason == nil",
		"server", "TestExportProperties",
	},
	{
		"what JSON leaves out is empty text in a table", "server/internal/rest/export_cell.go",
		"return !m.Has(f)", "return f.HasPresence() && !m.Has(f)",
		"server/internal/rest", "TestEmptyCells",
	},
	{
		"a spreadsheet reads an export in the code page of its machine", "server/internal/rest/export_csv.go",
		"line: []byte(byteOrderMark)}", "line: nil}",
		"server", "TestExports",
	},
	{
		"the date beside a time is that of the time's offset", "server/internal/rest/export_table.go",
		"	if w.zone != nil {\n", "	if w.zone != nil && false {\n",
		"server/internal/rest", "TestEmptyCells",
	},
	{
		"an export forgets the time zone of the question", "server/internal/rest/export.go",
		"	if name == \"\" {\n		return nil, nil\n", "	if true {\n		return nil, nil\n",
		"server", "TestExportDates",
	},
	{
		"gauges leave out editors of no family", "server/internal/gauges/insights_metrics.go",
		"range insights.Entries() {", "range insights.Apps {",
		"server/internal/gauges", "TestInsightsNames",
	},
	{
		"a spreadsheet runs what an export holds", "server/internal/rest/export_csv.go",
		"	if size > 0 && strings.ContainsRune(formulaStarts, first) {\n",
		"	if size > 2 && strings.ContainsRune(formulaStarts, first) {\n",
		"server/internal/rest", "TestCSVCells",
	},
	{
		"uniting rows keeps the later minutes only", "store/minute/row.go",
		"	earlier.Minutes |= later.Minutes\n", "	earlier.Minutes = later.Minutes\n",
		"store/minute", "TestUnion",
	},
	{
		"percentiles take the nearest sample", "store/minute/percentile.go",
		"return a + (b-a)*(at-float64(below))", "return a + 0*b",
		"store/minute", "TestPercentile",
	},
	{
		"a minute's last latency counts", "store/minute/latency.go",
		"m&bit == 0 {\n			m |= bit\n", "m&bit <= bit {\n			m |= bit\n",
		"store/minute", "FuzzParseLatencies",
	},
	{
		"a day begins where the clock repeats an evening", "server/internal/insights/window.go",
		`|| t.Equal(startOfDay(t))`, `|| t.Equal(startOfDay(t)) || dayOf(t.Add(-time.Second)) != dayOf(t)`,
		"server/internal/insights", "FuzzQuestion",
	},
	{
		"few people are counted where small groups are hidden", "store/publication.go",
		"if len(t.Users) < floor {", "if len(t.Users) == 0 {",
		"store", "TestSQLite/floor_of_what_was_published",
	},
	{
		"an app of few people is told where small groups are hidden", "store/publication.go",
		"if c.Users >= floor {", "if c.Users > 0 {",
		"store", "TestSQLite/floor_of_what_was_published",
	},
	{
		"a value that few people chose is told", "store/publication.go",
		"if len(chosen.people) < floor {", "if len(chosen.people) == 0 {",
		"store", "TestSQLite/floor_of_what_was_published",
	},
	{
		"numbers of people are not rounded where small groups are hidden", "store/publication.go",
		"{ return len(in.people) - len(in.people)%p.multiple }", "{ return len(in.people) }",
		"server", "TestPublishedProperties",
	},
	{
		"a stricter floor leaves what was published", "store/publication.go",
		"if err != nil || len(people) < p.least {", "if err != nil || len(people) == 0 {",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"a laxer floor tells more exactly what was published", "store/publication.go",
		"p.multiple = max(p.multiple, then)", "p.multiple = max(p.multiple, 1)",
		"store", "TestSQLite/floor_of_what_was_published",
	},
	{
		"a laxer floor cuts more exactly what was published", "store/publication.go",
		"c.multiple = max(c.multiple, then)", "c.multiple = max(c.multiple, 1)",
		"store", "TestSQLite/floor_of_what_was_published",
	},
	{
		"a few machines are published", "store/publication.go",
		"if len(o.People) >= floor {", "if len(o.People) > 0 {",
		"store", "TestSQLite/machines_of_what_was_published",
	},
	{
		"an app of few people is cut", "store/publication.go",
		"if app.People < c.least || !c.passes(template, day, app) {", "if !c.passes(template, day, app) {",
		"store", "TestSQLite/queries_of_what_was_published",
	},
	{
		"a template that few used has a row where small groups are hidden", "store/publication.go",
		"if err != nil || len(people) < c.least {", "if err != nil {",
		"store", "TestSQLite/queries_of_what_was_published",
	},
	{
		"filters let other published atoms pass", "store/publication.go",
		"f.of, template, day, app)] == f.not", "f.of, template, day, app)] != f.not",
		"store", "TestSQLite/queries_of_what_was_published",
	},
	{
		"users by status are not rounded where small groups are hidden", "store/users.go",
		"count[of[row.Day]] -= count[of[row.Day]] % multiple", "count[of[row.Day]] -= 0 % multiple",
		"store", "TestSQLite/statuses_are_published_once",
	},
	{
		"users by status are told of organizations that may not be read", "store/users.go",
		"case !includes(p.Organizations):", "case !includes(p.Organizations) && p.Users == 0:",
		"store", "TestSQLite/statuses_are_published_once",
	},
	{
		"an account by status counts as people when it is published", "store/users.go",
		"Actor: ActorOf(u.Kind), Organizations: u.OrganizationIDs})", "Actor: minute.Person, Organizations: u.OrganizationIDs})",
		"store", "TestSQLite/statuses_are_published_once",
	},
	{
		"a report does not say that its numbers are withheld", "server/internal/insights/published_reports.go",
		"ActiveUsers: int64(published.ActiveUsers), SmallGroupsHidden: true,", "ActiveUsers: int64(published.ActiveUsers),",
		"server", "TestPublishedReports",
	},
	{
		"an import publishes again what was published", "store/publication.go",
		"return tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(rows, writeBatch).Error",
		"return tx.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(rows, writeBatch).Error",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"a template with use of few counts as one without any", "store/publication.go",
		"if t := counter.Tally(); len(t.Users) > 0 || len(t.Others) > 0 {", "if t := counter.Tally(); len(t.Users) >= floor {",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"days are published while an import runs", "store/publication.go",
		"	return imports > 0, nil", "	return false, nil",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"days are published before a system that is followed told of them", "store/publication.go",
		"end.After(patient) {", "end.After(patient) && false {",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"who was told to end is waited for", "store/imports.go",
		"		if told {", "		if told && false {",
		"store", "TestSQLite/who_follows_another_system",
	},
	{
		"a follower that was killed in an import hides how late it is", "store/imports.go",
		" || r.FollowedUntil.Before(now) {", " {",
		"store", "TestSQLite/who_follows_another_system",
	},
	{
		"an import ends with the first week of builds", "cmd/insights/coder/importer.go",
		"more, until = true, w.to", "more, until = false, w.to",
		"cmd/insights/coder", "TestNinetyDaysClaimNothing",
	},
	{
		"an import that died holds days back for ever", "store/publication.go",
		"Add(-importPatience)", "Add(-1000 * importPatience)",
		"store", "TestSQLite/publication_gives_way",
	},
	{
		"days are published while the clock is in doubt", "server/internal/ingest/upkeep.go",
		"if err != nil || held.Doubted {", "if err != nil {",
		"server/internal/ingest", "TestPublish",
	},
	{
		"a day is published before it is over", "store/publication.go",
		"last := minute.DateOf(s.clock().Add(-p.After).In(p.Zone)) - 1", "last := minute.DateOf(s.clock().Add(-p.After).In(p.Zone))",
		"store", "TestSQLite/publication_in_order",
	},
	{
		"what was published outlives retention", "store/retention.go",
		"`DELETE FROM published_days WHERE day < ?`, []any{day(h.Usage)}}", "`DELETE FROM published_days WHERE day < ?`, []any{0}}",
		"store", "TestSQLite/days_are_published_once",
	},
	{
		"reports are stored in the privacy mode off", "server/internal/ingest/ingest.go",
		"return g.options.UsageStats && mode != store.PrivacyOff", "return g.options.UsageStats",
		"server", "TestPrivacyModes",
	},
	{
		"whoever looks is named in the audit trail", "store/audit.go",
		"if err == nil && kind == access.KindUser {", "if err == nil && kind == access.KindUser && len(target) == 0 {",
		"store", "TestPseudonyms",
	},
	{
		"a user who is new is named", "store/catalog.go",
		"shall[u.ID] = s.key.Pseudonym(u.ID)", "shall[u.ID] = idIn(was, u.ID)",
		"store", "TestPseudonyms",
	},
	{
		"values of sensitive parameters are shown", "store/parameter_usage.go",
		"	if u.Definition.Sensitive {\n", "	if u.Definition.Sensitive && len(now) < 0 {\n",
		"store", "TestSQLite/parameters_of_newest_versions",
	},
	{
		"values of sensitive parameters are kept", "store/builds.go",
		"if d.Name == p.Name && d.Sensitive {", "if d.Name == p.Name && d.Sensitive && d.Type == \"\" {",
		"store", "TestSQLite/parameters_of_newest_starts",
	},
	{
		"a start that failed changes what a workspace runs with", "store/parameter_usage.go",
		"`transition = 'start' AND status = 'succeeded'`", "`transition = 'start'`",
		"store", "TestSQLite/parameters_of_newest_starts",
	},
	{
		"a stop changes what a workspace runs with", "store/parameter_usage.go",
		"`transition = 'start' AND status = 'succeeded'`", "`status = 'succeeded'`",
		"store", "TestSQLite/parameters_of_newest_starts",
	},
	{
		"workspaces of erased people are for development", "store/eraser.go",
		"TemplateID: w.TemplateID, Purpose: w.Purpose, CreatedAt", "TemplateID: w.TemplateID, CreatedAt",
		"store", "TestColumnsAreTreatedAsTold",
	},
	{
		"anything is a reason of a build", "server/internal/ingest/events.go",
		`case b.Reason != "" && !buildReason.MatchString(b.Reason):`, `case len(b.Reason) > 1000:`,
		"server", "TestControlPlaneRejections",
	},
	{
		"a stop takes a prebuilt workspace", "server/internal/ingest/events.go",
		`case b.Prebuild != none && b.Transition != "start":`, `case b.Prebuild != none && b.Transition == "":`,
		"server", "TestControlPlaneRejections",
	},
	{
		"of two starts of one number the lower id counts", "store/parameter_usage.go",
		"bytes.Compare(a.id[:], b.id[:]))", "bytes.Compare(b.id[:], a.id[:]))",
		"store", "TestSQLite/parameters_of_newest_starts",
	},
	{
		"a start that another one follows later than the window is none of the window", "store/parameter_usage.go",
		"s.superseded < to", "s.superseded-60000000 < to",
		"store", "TestSQLite/parameters_of_random_builds",
	},
	{
		"a start is superseded by one that was created before it", "store/builds.go",
		"LEAD(number) OVER starts > number AND LEAD(created_at) OVER starts >= created_at", "LEAD(number) OVER starts > number",
		"store", "TestSQLite/parameters_of_random_builds",
	},
	{
		"starts stay superseded by a build that was corrected", "store/builds.go",
		"builds.superseded_at <> known.superseded_at", "builds.superseded_at > known.superseded_at",
		"store", "TestSQLite/parameters_of_random_builds",
	},
	{
		"a start is marked by one that another transaction corrects", "store/db/postgres.go",
		"SELECT pg_advisory_xact_lock(", "SELECT pg_try_advisory_xact_lock(",
		"store", "TestSupersededByWhatIsCorrectedMeanwhile/postgres",
	},
	{
		"what workspaces were started with stays after a build", "store/builds.go",
		`return raiseParameters(tx, "id IN ?", templates)`, "return nil",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"what workspaces were started with stays after a release", "store/hidden_values.go",
		`return raiseParameters(tx, "id = ?", template)`, "return nil",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"what workspaces were started with stays after a version", "store/applier.go",
		"len(c.Versions) > 0 {", "len(c.Versions) < 0 {",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"what workspaces were started with stays after an erasure", "store/eraser.go",
		"slices.Collect(maps.Keys(e.templates))", "[]uuid.UUID{}",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"what workspaces were started with stays after retention", "store/retention.go",
		`return raiseParameters(tx, "1 = 1")`, "return nil",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"free text stays in memory", "store/privacy_treatment.go",
		`return raiseParameters(tx, "id = ?", template)`, "return nil",
		"store", "TestParametersFollowChanges/sqlite",
	},
	{
		"a window that begins before what is remembered is answered from it", "store/parameter_usage.go",
		" || t.since > since", "",
		"store", "TestSQLite/parameters_of_random_builds",
	},
	{
		"a question that cannot be written down is answered", "server/internal/guard/audit.go",
		"answer, err = nil, unrecorded", "_ = unrecorded",
		"server", "TestNoAnswerWithoutTrail/sqlite",
	},
	{
		"a build leaves its workspace", "store/builds.go",
		`"builds.workspace_id = excluded.workspace_id"`, `"builds.id = excluded.id"`,
		"store", "TestBuildsStayInTheirWorkspaces/sqlite",
	},
	{
		"a build that was corrected no longer counts as it did", "store/builds.go",
		"`builds.outcomes | excluded.outcomes`", "`excluded.outcomes`",
		"store", "TestSQLite/corrections_lower_no_count",
	},
	{
		"the duration of a job changes after it was counted", "store/jobs.go",
		"`COALESCE(jobs.outcome_micros, excluded.outcome_micros)`", "`COALESCE(excluded.outcome_micros, jobs.outcome_micros)`",
		"store", "TestSQLite/corrections_lower_no_count",
	},
	{
		"an agent is made at another time after its connection was counted", "store/applier.go",
		"x.CreatedAt = known //", "_ = known //",
		"store", "TestSQLite/first_connections",
	},
	{
		"values that look like credentials are shown", "store/publication.go",
		"len(c.people) < fewestOwners", "len(c.people) < 1",
		"store", "TestSQLite/values_that_look_like_credentials",
	},
	{
		"looking at long values has no end", "store/parameter_usage.go",
		"err != nil { // looking at", "false { // looking at",
		"store", "TestSQLite/values_take_time_to_look_at",
	},
	{
		"a list in free text is no list", "store/hidden_values.go",
		"membersOf(Parameter{Type: listType}, value)", "membersOf(p, value)",
		"store", "TestSQLite/values_that_look_like_credentials",
	},
	{
		"metrics show what is no longer released", "server/internal/admin/parameter_release.go",
		"previous && !req.GetReleased()", "false",
		"server", "TestParameterRelease",
	},
	{
		"the release of one parameter is one of all", "store/hidden_values.go",
		"s.released[parameterRelease{template, p.Name}]", "len(s.released) > 0",
		"server", "TestParameterRelease",
	},
	{
		"a reference to a password is a password", "store/credential/credential.go",
		"|| !reference.MatchString(found[1]) {", "|| found[1] != \"\" {",
		"store/credential", "TestReferences",
	},
	{
		"every value of a parameter has a series", "server/internal/gauges/insights_metrics.go",
		"shown > mostValues {", "shown > 100*mostValues {",
		"server/internal/gauges", "TestInsightsManyValues",
	},
	{
		"the report advises a default that is hidden", "server/internal/insights/optimization.go",
		"v.Orphan || v.Hidden}", "v.Orphan}",
		"server", "TestOptimizationReport",
	},
	{
		"a rating is of what lies between two samples", "store/minute/rating.go",
		"h.bin((n*percent+99)/100 - 1)", "h.bin(n * percent / 100)",
		"store/minute", "TestRating",
	},
	{
		"the support report has a border of its own", "server/internal/insights/reports/support.go",
		"u.RatingP95 == minute.Poor", "u.P95 > 300",
		"server", "TestSlowIsSlowEverywhere",
	},
	{
		"weeks are chosen for a window that is none", "server/internal/insights/window.go",
		"case day && !week:", "case day && !week && young:",
		"server/internal/insights", "TestDefaultIntervalOfWindow",
	},
	{
		"the choice of the server is checked like that of a caller", "server/internal/insights/window.go",
		"return q.suited.GetInterval(), nil", "return q.suited.GetInterval(), q.fits(q.suited.GetInterval())",
		"server/internal/insights", "TestDefaultIntervalOfWindow",
	},
	{
		"an error leaves out a value that is right", "server/internal/call/errors.go",
		"Invalid(MessageInvalidValue, NotOneOf(field, allowed...))", "Invalid(MessageInvalidValue, NotOneOf(field, allowed[1:]...))",
		"server/internal/insights", "TestParseSections",
	},
	{
		"a search sees letters in one Unicode form only", "store/label/label.go",
		"strings.Contains(Fold(name), Fold(part))", "strings.Contains(strings.ToLower(name), strings.ToLower(part))",
		"server", "TestNamesInAnyForm",
	},
	{
		"upper case has places of its own in lists", "store/label/label.go",
		"c.KeyFromString(&c.buffer, Fold(name))", "c.KeyFromString(&c.buffer, name)",
		"store/label", "TestAlike",
	},
	{
		"lists order names by their bytes", "store/people.go",
		"return label.Key(username) +", "return username +",
		"server", "TestNamesInAnyForm",
	},
	{
		"remembered users have no place among others", "store/people.go",
		"p.Place = PlaceOf(p.Username, p.ID)", `p.Place = ""`,
		"server", "TestNamesInAnyForm",
	},
	{
		"suppressed rows stand among others", "server/internal/query/table.go",
		"			return math.MaxInt64\n", "			return math.MinInt64\n",
		"server/internal/query", "TestPositions",
	},
	{
		"a message that is not there is written as an empty one", "server/internal/rest/json.go",
		"field.form = nullableForm", "field.form = oneValue",
		"server/internal/rest", "TestJSON",
	},
	{
		"a deleted user passes for one who is there", "store/user_usage.go",
		"Deleted: person.DeletedAt != 0,", "Deleted: false,",
		"server", "TestDeletedSaySo",
	},
	{
		"the older activity API keeps quiet about who was deleted", "store/activity.go",
		"Deleted: p.DeletedAt != 0}", "Deleted: false}",
		"server", "TestDeletedSaySo",
	},
	{
		"the time of machines is added to that of people", "store/template_insights.go",
		"s.count(ctx, x, actors, w, func(", "s.count(ctx, x, minute.Everybody, w, func(",
		"server", "TestROIOfPeople",
	},
	{
		"workspaces of machines run for people", "store/query_workspaces.go",
		"	if r.q.Time && r.counts(*w) {\n", "	if r.q.Time {\n",
		"server", "TestROIOfPeople",
	},
	{
		"who was active and is locked out now is not eligible", "server/internal/insights/reports/roi.go",
		"		eligible[u.UserID] = true\n", "",
		"server", "TestROIOfPeople",
	},
	{
		"a question about some kinds of users is about people", "server/internal/insights/actors.go",
		"		of |= 1 << store.ActorOf(kind)\n", "		of |= 1 << minute.Person\n",
		"server", "TestKindsOfUsers",
	},
	{
		"nobody of a kind is explained as if there were nobody", "server/internal/insights/diagnosis.go",
		"*o.activity == 0 && !o.narrowed}", "*o.activity == 0}",
		"server", "TestNobodyOfAKind",
	},
	{
		"a product of JetBrains is of no family", "store/apps/apps.go",
		"strings.CutPrefix(key, byMaker)", "strings.CutPrefix(key, JetBrains+\"-\")",
		"store/apps", "TestOf",
	},
	{
		"what a definition leaves out of an app is forgotten", "store/apps/apps.go",
		"Family: cmp.Or(d.Family, known.Family),", "Family: cmp.Or(d.Family, Unknown),",
		"store/apps", "TestExtend",
	},
	{
		"a family that gets another name loses its floor", "store/apps/apps.go",
		"cmp.Or(d.Together, f.Together)", "d.Together",
		"store/apps", "TestExtend",
	},
	{
		"names that accounts send who are left out take the room of others", "store/app_channels.go",
		"if !numbered && !shown {", "if false {",
		"store", "TestSQLite/names_of_those_who_are_left_out",
	},
	{
		"a family of apps is told of fewer people than its floor", "store/app_channels.go",
		"case of.Users < together:", "case false:",
		"store", "TestSQLite/families_with_a_floor",
	},
	{
		"a template of few is named where a family has a floor", "store/app_channels.go",
		"return t.UsersIn[channel][template] < c.together(channel)", "return t.UsersIn[channel][template] < 1",
		"store", "TestSQLite/families_with_a_floor",
	},
	{
		"a tool that few use is the difference of a family and its tools", "store/app_channels.go",
		"if !c.isEntry(channel) && few[c.within(channel)] {", "if false {",
		"server", "TestAIFamily",
	},
	{
		"a workspace app has no floor", "store/app_channels.go",
		"return c.known.Together(NormalizeSessionName(", "return 0 * c.known.Together(NormalizeSessionName(",
		"server", "TestAIFamily",
	},
	{
		"a workspace app of another spelling has no floor", "store/app_channels.go",
		"c.known.Together(NormalizeSessionName(c.identities[channel-c.firstIdentity()].Slug))",
		"c.known.Together(c.identities[channel-c.firstIdentity()].Slug)",
		"server", "TestAIFamily",
	},
	{
		"that nobody used what has a floor is told", "store/app_channels.go",
		"if c.together(channel) == 0 && (channel", "if c.together(channel) >= 0 && (channel",
		"server", "TestAIFamily",
	},
	{
		"users are listed with what is told of several together", "server/internal/insights/people.go",
		"if a.Together == 0 {", "if a.Together >= 0 {",
		"server", "TestAIFamily",
	},
	{
		"the support report tells of fewer people than the floor", "server/internal/insights/reports/support.go",
		"if p.GetUsers() >= int64(a.Together) {", "if p.GetUsers() > 0 {",
		"server", "TestAIFamily",
	},
	{
		"the older activity API has a category of what has a floor", "server/internal/insights/activity.go",
		"if known.Together(name) > 0 {", "if known.Together(name) < 0 {",
		"server", "TestAIFamily",
	},
	{
		"agents are shown with what has a floor", "server/internal/ingest/agent_stats.go",
		"known.Together(app) == 0, float64(n)}", "true, float64(n)}",
		"server", "TestAIFamily",
	},
	{
		"the older activity API has IDEs of its own", "server/internal/insights/activity.go",
		"return known.Of(name).IDE", "return known.Of(name).Family == apps.VSCode",
		"server", "TestFamiliesAreOneList",
	},
	{
		"the hours of a week are those of Greenwich", "server/internal/insights/reports/peaks.go",
		"*60, 0).In(location)", "*60, 0).UTC()",
		"server/internal/insights/reports", "TestPeaksHours",
	},
	{
		"half of the workspaces make a default", "server/internal/insights/reports/default_change.go",
		"2*c.Workspaces > total", "2*c.Workspaces >= total",
		"server/internal/insights/reports", "TestAdviseDefault",
	},
	{
		"a table is exported that nobody is told of", "server/internal/rest/export_table.go",
		`{"diagnosis", insightsv1`, `{"findings", insightsv1`,
		"server/internal/rest", "TestExportTablesAreDocumented",
	},
	{
		"required parameters are described as optional", "server/internal/rest/openapi/main.go",
		`[]byte("${1}true")`, `[]byte("${1}false")`,
		"server/internal/rest/openapi", "TestCorrect",
	},

	// Showing metrics.
	{
		"a counter and a gauge of one name are one family", "server/internal/exposition/family.go",
		"as, claims = unknownFamily, claims[:1]", "claims = claims[:1]",
		"server/internal/exposition", "TestExpositionNames",
	},
	{
		"a gauge has the name of when a counter began", "server/internal/exposition/family.go",
		"return []string{name, base, base + createdSuffix}", "return []string{name, base}",
		"server/internal/ingest", "TestForwarded",
	},
	{
		"agents forward families whose samples have one name", "server/internal/ingest/agent_forwarded.go",
		"case f.byName[claim] != nil:", "case claim == name && f.byName[claim] != nil:",
		"server/internal/ingest", "TestForwarded",
	},
	{
		"an agent keeps a name that is the control plane's", "server/internal/ingest/agent_forwarded.go",
		"if of.expires <= now || claimed {", "if of.expires <= now || claimed && of.own != nil {",
		"server/internal/ingest", "TestForwardedGivesWay",
	},
	{
		"whoever takes protobuf gets text", "server/internal/exposition/exposition.go",
		"expfmt.NegotiateAccept(r.Header, expfmt.FmtProtoDelim, ", "expfmt.NegotiateAccept(r.Header, ",
		"server/internal/exposition", "TestProtobuf",
	},
	{
		"a native bucket holds what came last", "server/internal/exposition/protobuf.go",
		"c.positive[first] += n\n\t\treturn", "c.positive[first] = n\n\t\treturn",
		"server/internal/exposition", "TestNative",
	},
	{
		"a native histogram knows no more than the classic one", "server/internal/exposition/protobuf.go",
		"if d.Native != nil {", "if false {",
		"server/internal/exposition", "TestNativeCounted",
	},
	{
		"agents that took no time move when others come", "store/first_connections.go",
		"c.Native = []NativeCount{} //", "//",
		"store", "TestSQLite/first_connections",
	},
	{
		"a name loses the values of workspaces that were deleted", "store/first_connections.go",
		"MAX(MAX(`+deletedOr+`)) OVER (PARTITION BY `+names+`) AS shown", "MAX(`+deletedOr+`) AS shown",
		"store", "TestSQLite/first_connections",
	},
	{
		"sessions beyond the bound of names are lost", "server/internal/ingest/app_names.go",
		"sessions[otherSession] = min(sessions[otherSession], math.MaxInt64-sessions[name]) + sessions[name]", "_ = math.MaxInt64",
		"server/internal/ingest", "TestNamesOfATemplate",
	},
	{
		"an app is its own family", "server/internal/ingest/agent_stats.go",
		"s.Add(a.open, append(labels, a.app, a.family)...)", "s.Add(a.open, append(labels, a.app, a.app)...)",
		"server/internal/ingest", "TestAgentStats",
	},
	{
		"a series of the control plane is kept with a person's id", "server/internal/ingest/control_plane_series.go",
		"labels[exposition.InitiatorLabel] = hex.EncodeToString(hash[:])",
		"labels[exposition.InitiatorLabel] = who + hex.EncodeToString(hash[:0])",
		"server", "TestControlPlaneFamilies",
	},
	{
		"a histogram is shown that does not add up", "server/internal/gauges/control_plane_shown.go",
		"|| h.buckets[n-1].below != *h.count ||", "||",
		"server", "TestControlPlaneFamilies",
	},
	{
		"histograms of two people are mixed into one", "server/internal/gauges/control_plane_shown.go",
		"fmt.Sprintf(\"%q\", labels)", "\"\"",
		"server/internal/gauges", "TestControlPlaneHistograms",
	},
	{
		"a histogram with one label more is no native one any more", "server/internal/exposition/control_plane_families.go",
		"one.Native = f.Kind == HistogramFamily && replaced != nil && replaced.Native", "_ = replaced",
		"server/internal/definitions", "TestDefinitions",
	},
	{
		"an operator's file takes a name of this service", "server/internal/definitions/definitions.go",
		"err = c.check(s.options.Own)", "_ = c.check(s.options.Own)",
		"server/internal/definitions", "TestDefinitionsFaults",
	},
	{
		"a file of definitions that is wrong is in force", "server/internal/definitions/definitions.go",
		"c, err = parse(text)", "c, _ = parse(text)",
		"server/internal/definitions", "TestDefinitionsChange",
	},
	// Who may what.
	{
		"the access rule is not asked when a stream opens", "server/internal/guard/authorize.go",
		"!call.PrincipalOf(stream.Context()).Holds(r.Permission) {", `!ok || r.Permission == "" {`,
		"server", "TestStreamFollowsItsRoles",
	},
	{
		"the access rule is not asked for the messages of a stream", "server/internal/guard/authorize.go",
		"\t_, err := s.authorizer.Authorize(s.Context(), s.method, m)\n\treturn err\n", "	return nil\n",
		"server", "TestStreamFollowsItsRoles",
	},
	{
		"an RPC without a rule is served", "server/internal/guard/authorize.go",
		`return Rule{}, errors.New("there is none")`, "return Rule{Permission: access.Authenticated}, nil",
		"server/internal/guard", "TestRPCWithoutRuleStopsTheStart",
	},
	{
		"templates of an organization are those of all", "server/internal/insights/templates.go",
		`(within == "" || isOrganization(owner, within))`, "true",
		"server", "TestTemplateSearch",
	},
	{
		"an organization that the caller does not see is one without templates", "server/internal/insights/templates.go",
		`if within != "" && !slices.ContainsFunc(`, `if within == "-" && !slices.ContainsFunc(`,
		"server", "TestTemplateSearch",
	},
	{
		"a search finds deleted templates", "server/internal/insights/template_search.go",
		`terms["deleted"] = []string{"false"}`, `_ = terms`,
		"server", "TestTemplateSearch",
	},
	{
		"a caller is told roles in organizations as roles for the deployment", "store/role_binding.go",
		"if b == (access.Binding{Role: b.Role}) {", "if b.Role != \"\" {",
		"server", "TestCurrentUser",
	},
	{
		"who a service is, is looked up among users", "server/internal/admin/access.go",
		"	if p.Kind == access.KindUser {\n		of, err :=", "	if p.Kind != \"\" {\n		of, err :=",
		"server", "TestCurrentUser",
	},
	{
		"the organization of a template is not looked at", "store/access/decide.go",
		"if !exists || !p.holdsOn(perm, id, organizationID) {", "if !exists || !p.holdsOn(perm, id, organizationID) && !p.Holds(perm) {",
		"store/access", "TestTemplatesOfOneBinding",
	},
	{
		"who may see no template sees all", "store/access/decide.go",
		"		return Scope{}, ErrNotFound\n	}\n	return scopeOf(templates), nil\n",
		"		return Scope{all: true}, nil\n	}\n	return scopeOf(templates), nil\n",
		"store/access", "TestTemplatesAsNaive",
	},
	{
		"an empty scope covers everything", "store/access/scope.go",
		"	return s.all\n", "	return s.all || len(s.templates) == 0\n",
		"store/access", "TestZeroScopeCoversNothing",
	},
	{
		"a template without an organization is one of every grant without", "store/access/principal.go",
		"return organization != uuid.Nil && g.Organization == organization\n", "return g.Organization == organization\n",
		"store/access", "TestWithinNoOrganization",
	},
	{
		"an agent's role works for others", "store/access/principal.go",
		"if (p.Kind == KindAgent) != (b.Role == RoleAgent) {", "if p.Kind == KindAgent && b.Role == \"\" {",
		"store/access", "TestKinds",
	},
	{
		"a token with another secret verifies", "store/access/token.go",
		"subtle.ConstantTimeCompare(t.Hash(), hash) == 1", "subtle.ConstantTimeCompare(t.Hash()[:1], hash[:min(1, len(hash))]) == 1",
		"store/access", "FuzzParseToken",
	},
	{
		"expired tokens count", "store/tokens.go",
		"expired := !found.ExpiresAt.IsZero() && !now.Before(found.ExpiresAt.Time)", "expired := !found.ExpiresAt.IsZero() && now.IsZero()",
		"store", "TestSQLite/tokens",
	},
	{
		"revoked tokens count", "store/tokens.go",
		"|| expired || !found.RevokedAt.IsZero() {", "|| expired {",
		"store", "TestSQLite/tokens",
	},
	{
		"the use of a token is noted all the time", "store/tokens.go",
		"batch, At(now.Add(-time.Minute))", "batch, At(now)",
		"store", "TestSQLite/tokens",
	},
	{
		"a stream outlives its token", "store/tokens.go",
		" AND tokens.revoked_at = 0", "",
		"server", "TestRevokedTokenEndsItsStream",
	},
	{
		"a token for one call lets in again", "store/tokens.go",
		"if err == nil && p.Once {", "if err == nil && p.Once && p.Kind == \"\" {",
		"store", "TestSQLite/tokens_for_one_call",
	},
	{
		"roles and tokens are remembered from before a change", "server/internal/guard/authenticate.go",
		"&& known.changes == a.store.AccessChanges() {", "{",
		"server", "TestRightsHoldAtOnce",
	},
	{
		"a stream keeps a role that was taken back", "server/internal/guard/authenticate.go",
		"if s.open.isAgent() || s.open.knows(s.authenticator.store.AccessChanges()) {", "if s.open.identity != nil {",
		"server", "TestStreamLosesItsRoleAtOnce",
	},
	{
		"a token that was revoked lets in for a while", "store/tokens.go",
		"	defer s.accessChanges.Add(1)\n", "",
		"server", "TestRightsHoldAtOnce",
	},
	{
		"who is suspended by an event may call for a while", "store/users.go",
		"defer s.accessChanges.Add(1)", "defer func() {}()",
		"server", "TestRightsHoldAtOnce",
	},
	{
		"a session that ended lets in for a while", "store/sign_in.go",
		"	defer s.accessChanges.Add(1)\n", "",
		"server", "TestRightsHoldAtOnce",
	},
	{
		"members of groups change without notice", "store/catalog.go",
		"return len(c.Users)+len(c.Groups)+", "return len(c.Users)+",
		"server", "TestRightsHoldAtOnce",
	},
	{
		"metrics name people after the mode hides them", "server/internal/admin/privacy_mode.go",
		"if err := p.erasures.follow(ctx); err != nil {", "if err := ctx.Err(); err != nil {",
		"server", "TestMetricsObeyModesAtOnce",
	},
	{
		"a snapshot that was begun before somebody was erased is shown", "server/internal/gauges/latest.go",
		"if l.drops == begun {", "if l.drops >= begun {",
		"server/internal/gauges", "TestLatest",
	},
	{
		"a token for one call is remembered", "server/internal/guard/authenticate.go",
		"err != nil || found.principal.Once {", "err != nil {",
		"server", "TestSignInLink",
	},
	{
		"a session outlives what began it", "store/sign_in.go",
		"p.Until.Before(until) {", "until.IsZero() {",
		"store", "TestSQLite/sessions",
	},
	{
		"a session goes on when the token that began it is revoked", "store/tokens.go",
		"id = ? OR (parent_id = ? AND parent_id <> '')", "id = ? OR (parent_id = ? AND parent_id = '')",
		"store", "TestSQLite/sessions",
	},
	{
		"the page of another port uses the session", "server/internal/guard/session_cookie.go",
		`site != "same-origin" && site != "none" ||`, `site == "cross-site" ||`,
		"server", "TestSessionCountsForThePageAlone",
	},
	{
		"a form of another site uses the session", "server/internal/guard/session_cookie.go",
		" || crossOrigin.Check(r) != nil {", " {",
		"server", "TestSessionCountsForThePageAlone",
	},
	{
		"a code that another browser asked for signs in", "server/internal/rest/oidc_sign_in.go",
		`[]byte(derive("state", kept.Value))) == 0 {`, `[]byte(derive("state", kept.Value))) == 2 {`,
		"server", "TestIssuerSignIn",
	},
	{
		"a token of the issuer for another request signs in", "server/internal/rest/oidc_sign_in.go",
		`if err != nil || shown.Nonce != derive("nonce", kept.Value) {`, "if err != nil || shown.Nonce == kept.Value {",
		"server", "TestIssuerSignIn",
	},
	{
		"the first of several credentials counts", "server/internal/guard/authenticate.go",
		"if len(found) != 1 {", "if len(found) == 0 {",
		"server/internal/guard", "FuzzCredential",
	},
	{
		"the issuer's tokens for another service count", "server/internal/guard/oidc.go",
		"ClientID: v.Config.Audience,", "SkipClientIDCheck: true,",
		"server", "TestIssuerTokens",
	},
	{
		"the issuer's tokens never expire", "server/internal/guard/oidc.go",
		"!ok || end <= float64(now.Add(-JwtLeeway).Unix())", "!ok || end < 0",
		"server", "TestIssuerTokens",
	},
	{
		"a client says where it calls from", "server/internal/rest/gateway.go",
		`"traceparent", "x-request-id"}, name)`, `"traceparent", "x-request-id", call.CallerAddressKey}, name)`,
		"server/internal/rest", "FuzzHeader",
	},
	{
		"the first address that a proxy names is believed", "server/internal/rest/gateway.go",
		"for i := len(hops) - 1; i >= 0 && isTrusted(client); i-- {", "for i := 0; i < len(hops) && isTrusted(client); i++ {",
		"server/internal/rest", "TestClientAddress",
	},
	{
		"files of certificates are not read again", "server/tls_files.go",
		"if stamps == w.stamps {", "if len(stamps) > 0 {",
		"test/chaos", "TestClientAuthorityRotation",
	},
	{
		"a database that is away is an error of the server's own", "server/internal/call/errors.go",
		"case store.Unavailable(err):", "case store.Unavailable(err) && err == nil:",
		"test/chaos", "TestOutage",
	},
	{
		"a page token of another list is taken", "server/internal/call/paginate.go",
		"return append(text, question.Descriptor().FullName()...)", "return append(text[:0], question.Descriptor().FullName()...)",
		"server/internal/call", "FuzzPageToken",
	},
	{
		"a page token outlives a change of a privacy mode", "store/page_token_key.go",
		"	if !current {\n", "	if !current && question == nil {\n",
		"server", "TestPageTokenIsSealed",
	},
	{
		"a page token can be read", "server/internal/call/paginate.go",
		"(p.key.Seal(append(binary.AppendVarint(nil, last.Rank), last.ID...), p.question))",
		"(append(p.key.Seal(append(binary.AppendVarint(nil, last.Rank), last.ID...), p.question), last.ID...))",
		"server", "TestPageTokenIsSealed",
	},
	{
		"an empty entry of a list is left out", "server/internal/rest/rest.go",
		"members = append(members, strings.TrimSpace(member))",
		`if member = strings.TrimSpace(member); member != "" {
				members = append(members, member)
			}`,
		"server", "TestEmptyEntriesAreRefused",
	},
	{
		"new tokens are compressed", "server/internal/rest/compress.go",
		"if holdsSecret(answer.ProtoReflect().Descriptor()) {", "if false && holdsSecret(answer.ProtoReflect().Descriptor()) {",
		"server", "TestSecretsAreNotCompressed",
	},
	{
		"what is compressed is compressed again", "server/internal/rest/compress.go",
		"return !strings.HasPrefix(contentType, ", "return contentType != strings.ToUpper(",
		"server", "TestAnswersAreCompressed",
	},
	{
		"health is known of the whole server alone", "server/health.go",
		"for service := range s.GetServiceInfo() {", "for service := range map[string]bool{} {",
		"server", "TestHealthOfServices",
	},
	{
		"an empty window looks like one without usage", "server/internal/insights/findings.go",
		"if d.q.empty() { // whatever", "if d.q.empty() && len(d.found) > 0 { // whatever",
		"server", "TestEmptyWindowSaysSo",
	},
	{
		"a row of the list of templates has the use of all", "server/internal/insights/template_usage.go",
		"	ctx = call.WithScope(ctx, alone)\n", "	_ = alone\n",
		"server", "TestTemplateUsage",
	},
	{
		"a row of the list of templates tells of small groups", "server/internal/insights/template_usage.go",
		"q.scope, q.actors, q.window, q.floor)", "q.scope, q.actors, q.window, question{}.floor)",
		"server", "TestTemplateUsage",
	},
	{
		"a row of the list of templates is compared with itself", "server/internal/insights/template_usage.go",
		`s.countUsage(ctx, windowBefore{req}, "")`, `s.countUsage(ctx, req, "")`,
		"server", "TestTemplateUsage",
	},
	{
		"an error about the window before names the other", "server/internal/insights/window.go",
		"if _, ok := r.(windowBefore); ok {", "if _, ok := r.(windowBefore); ok && r == nil {",
		"server", "TestTemplateUsageRefusals",
	},
	{
		"a server that alone cannot commit stays ready", "server/health.go",
		"case unable && now.Sub(h.others) < 3*healthInterval:", "case unable && now.Sub(h.others) < -healthInterval:",
		"server", "TestReadinessOfWhoAloneCannotCommit",
	},
	{
		"a server whose neighbors cannot commit either is not ready", "server/health.go",
		"if h.mark != 0 && mark > h.mark {", "if true {",
		"server", "TestReadinessOfWhoAloneCannotCommit",
	},
	{
		"metrics take a replica that is left out for one that is used", "server/internal/insights/replicas.go",
		"if r.Used() {", "if r != nil {",
		"server/internal/insights", "TestFromReplica",
	},
	{
		"metrics count questions that a replica failed", "server/internal/insights/replicas.go",
		"if err == nil && choice.Replica != nil {", "if choice.Replica != nil {",
		"server/internal/insights", "TestFromReplica",
	},
	{
		"work that fails again and again is told of every time", "server/internal/background/background.go",
		"if o.failed == 1 || time.Since(o.said) >= sayEvery {", "if o.failed > 0 {",
		"server/internal/background", "TestOutcomesAreToldNowAndThen",
	},
	{
		"nobody learns that work succeeds again", "server/internal/background/background.go",
		"		o.logger.InfoContext(ctx, \"background work succeeds again\", \"doing\", o.doing, \"failed\", o.failed)\n", "",
		"server/internal/background", "TestOutcomesAreToldNowAndThen",
	},
	{
		"a field of a body is called a query parameter", "server/internal/rest/rest.go",
		"body.Message = call.MessageInvalidFields\n	}\n	for", "}\n	for",
		"server", "TestGateway",
	},
	{
		"what is wrong with a field of a body calls it a parameter", "server/internal/rest/rest.go",
		"strings.TrimPrefix(v.GetDetail(), call.Param(v.GetField()))", "v.GetDetail()",
		"server", "TestGateway",
	},
	{
		"a deletion that was carried out is told as taken back", "store/retention.go",
		"!r.Confirmed && now.Before(a.Due())", "!r.Confirmed",
		"store", "TestRetentionBrake",
	},
	{
		"nobody learns that an announcement is taken back", "store/retention.go",
		"			if !goes && !b.Doubted", "			if goes && !b.Doubted",
		"store", "TestRetentionBrake",
	},
	{
		"an error does not say why the server is not ready", "server/internal/guard/error_steps.go",
		"call.NotReady(s.notReady(true), known.Cause)", `call.NotReady("", known.Cause)`,
		"server", "TestReadinessOfWhoAloneCannotCommit",
	},
	{
		"reports that cannot be committed are called for", "server/health.go",
		"case !failing.IsZero() && now.Sub(failing) >= healthPatience:", "case !failing.IsZero() && now.Sub(failing) >= time.Hour:",
		"server", "TestReadinessForIngest/sqlite",
	},
	{
		"a server that is told to end lets nobody in at once", "server/server.go",
		"time.Sleep(s.options.DrainDelay)", "time.Sleep(0 * s.options.DrainDelay)",
		"server", "TestDrainDelay",
	},
	{
		"an address without a port is taken", "server/listen_address.go",
		`if err != nil || port == "" {`, "if err != nil {",
		"cmd/insights", "TestCommandLine",
	},
	{
		"OpenAPI 3.1 does not say that a time may be null", "server/internal/rest/openapi/convert.go",
		`field.Value.Type = &openapi3.Types{openapi3.TypeString, null}`, `field.Value.Type = &openapi3.Types{openapi3.TypeString}`,
		"server/internal/rest/openapi", "TestConvert",
	},

	// Metrics.
	{
		"a panel drops the organization with the server", "deploy/grafana/insights.json",
		"max without (instance, pod, job) (coderd_agents_up", "max by (template_name, username, workspace_name) (coderd_agents_up",
		"deploy", "TestSeveralServers",
	},
	{
		"a panel counts an agent once for each server", "deploy/grafana/insights.json",
		"sum by (app) (max without (instance, pod, job) (label_replace", "sum by (app) ((label_replace",
		"deploy", "TestSeveralServers",
	},
	{
		"agents of two organizations share a series", "server/internal/ingest/agent_stats.go",
		"var perAgent = agentLabels[:4]", "var perAgent = agentLabels[:3]",
		"deploy", "TestSeveralServers",
	},
	{
		"organizations are added up with what is aggregated", "server/internal/ingest/agent_stats.go",
		"chosen = append(slices.Clone(by), exposition.OrganizationLabel)", "chosen = by",
		"server/internal/ingest", "TestAgentStatsAggregation",
	},
	{
		"a container may get privileges", "deploy/compose.yaml",
		"cap_drop: [ALL]\n    security_opt: [\"no-new-privileges:true\"]\n    mem_limit: 1g", "cap_drop: [ALL]\n    mem_limit: 1g",
		"deploy", "TestCompose",
	},

	// Commands that an operator types.
	{
		"looking at a database makes one", "store/db/db.go",
		"if file, ok := d.(sqlite); ok {\n		if _, err := os.Stat(file.path); err != nil {",
		"if file, ok := d.(sqlite); ok && false {\n		if _, err := os.Stat(file.path); err != nil {",
		"cmd/insights", "TestWhatMakesADatabase",
	},
	{
		"a command brings a schema up to date by the way", "cmd/insights/migrate.go",
		"return store.Open(ctx, f.options())", "return openDatabase(ctx, f.options())",
		"cmd/insights", "TestWhatMakesADatabase",
	},
	{
		"a file takes the place of a pipe", "cmd/insights/output.go",
		"case !info.Mode().IsRegular():", "case info.IsDir():",
		"cmd/insights", "TestOutput",
	},
	{
		"a file takes the place of a link", "cmd/insights/output.go",
		"target := followLinks(output)", "target := output",
		"cmd/insights", "TestOutput",
	},
	{
		"what another program began to write is taken for whole", "cmd/insights/output.go",
		"gone != nil || !os.SameFile(mine, there)", "gone != nil",
		"cmd/insights", "TestOutput",
	},
	{
		"what the shell appends to is replaced", "cmd/insights/output.go",
		"case c.writesTo(info):", "case false:",
		"cmd/insights", "TestOutputToStandardOutput",
	},
	{
		"a server starts on a database that is half restored", "store/db/migrations.go",
		"if slices.Contains(tables, UnfinishedRestore) {", "if false {",
		"store", "TestHalfRestored",
	},
	{
		"the mark of a restore goes before its rows are there", "store/archive/restore.go",
		"tx.Exec(`DROP TABLE ` + db.UnfinishedRestore)", "d.Writes.Exec(`DROP TABLE ` + db.UnfinishedRestore)",
		"store", "TestHalfRestored/postgres",
	},
	{
		"a backup is restored beside the tables of others", "store/archive/restore.go",
		"if len(tables) > 0 {", "if version > 0 {",
		"store", "TestRestoreBesideOthers",
	},
	{
		"a report about support lists workspaces of no age", "store/workspaces.go",
		"workspaces.created_at > 0 AND ", "",
		"server", "TestSupportReport",
	},
	{
		"a report about support lists who has just come", "store/workspaces.go",
		`AND users.created_at < ?"`, `AND users.created_at < ? + 1000000000000000"`,
		"server", "TestSupportReport",
	},
	{
		"a promise of the database is not read back", "server/database_settings.go",
		"if s.Ours && !s.Holds && !allowDataLoss {", "if false {",
		"cmd/insights", "TestServeKeepsItsPromise",
	},
	{
		"SQLite does not wait for the disk", "store/db/sqlite.go",
		`"synchronous(FULL)"`, `"synchronous(NORMAL)"`,
		"store", "TestSettings/sqlite",
	},
	{
		"a check says the first trouble alone", "server/server.go",
		"errors.Join(err, guardErr, ingestErr, insightsErr, gateway.Check()); err != nil", "errors.Join(err, guardErr); err != nil",
		"cmd/insights", "TestServeCheck",
	},
	{
		"a check makes what it looks at", "store/db/db.go",
		"errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0", "err == nil && info.Size() == 0",
		"store", "TestCheckTouchesNothing",
	},
	{
		"a check ends at the first fault of the command line", "cmd/insights/main.go",
		"case err == nil && (faults == nil || line.Serve.Check):", "case err == nil && faults == nil:",
		"cmd/insights", "TestServeCheck",
	},
	{
		"a variable at fault hides the other faults", "cmd/insights/faults.go",
		"			flag.Tag.Envs = nil\n", "",
		"cmd/insights", "TestServeSaysAllFaultsOfVariables",
	},
	{
		"ranges of flags are not held", "cmd/insights/faults.go",
		"checkRanges(command.Flags())", "checkRanges(nil)",
		"cmd/insights", "TestCommandLine",
	},

	// The agent's side.
	{
		"a rejected report is sent again at once", "client/reporter.go",
		"time.Now().Add(rejectPause)", "time.Now()",
		"client", "TestReporterPausesAfterRejection",
	},
	{
		"what was not acknowledged is not sent again", "client/reporter.go",
		"case q.sequence == 0 || q.sequence > answer.GetAcknowledgedSequence():", "case q.sequence == 0:",
		"client", "TestReporterSurvivesCuts",
	},
	{
		"what waits is taken for settled", "client/reporter.go",
		"case q.sequence == 0 || q.sequence > answer.GetAcknowledgedSequence():", "case q.sequence > answer.GetAcknowledgedSequence():",
		"client", "TestReporterPausesAfterRejection",
	},
	{
		"a batch of usage is sent once", "client/conn.go",
		`{"service": "insights.v1.IngestService", "method": "ReportStats"},`, ``,
		"client", "TestConnSendsAgain",
	},
	{
		"a change is sent again", "client/conn.go",
		`{"service": "insights.v1.InsightsService"},`,
		`{"service": "insights.v1.InsightsService"}, {"service": "insights.v1.CatalogService"},`,
		"client", "TestConnSendsAgain",
	},
	{
		"two processes write to one spool", "client/spool.go",
		"if err := lock(file); err != nil {", "if err := error(nil); err != nil {",
		"client", "TestSpoolIsLocked",
	},
	{
		"what is behind a damaged record of a spool is lost", "client/spool.go",
		"for skipped := int64(1); skipped < int64(len(rest)); skipped++ {", "for skipped := int64(len(rest)); skipped < 0; skipped++ {",
		"client", "TestSpoolSkipsDamage",
	},
	{
		"a full disk holds the agent up", "client/spool.go",
		`return fmt.Errorf("write to spool: %w", err)`, "return errSpoolFull",
		"test/chaos", "TestDiskFullSpool",
	},
}
