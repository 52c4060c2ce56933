package store_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// newDatabases name a database without tables, of each kind.
var newDatabases = map[string]func(*testing.T) string{
	"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "new.db") },
	"postgres": func(t *testing.T) string { return storetest.EmptyPostgres(t) },
}

// backup is a database as a backup.
func backup(t *testing.T, database string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := store.Backup(t.Context(), store.Options{Database: database}, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restore(t *testing.T, database string, backup []byte) error {
	t.Helper()
	return store.Restore(t.Context(), store.Options{Database: database}, bytes.NewReader(backup))
}

// linesOf are the lines of a backup.
func linesOf(t *testing.T, backup []byte) []string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(text)))
}

// rowsOf are the rows of a backup behind their tables and columns, in an order that does not depend on the database.
func rowsOf(t *testing.T, backup []byte) []string {
	t.Helper()
	lines := linesOf(t, backup)
	var table string
	var rows []string
	for _, line := range lines[1 : len(lines)-1] {
		if strings.HasPrefix(line, "{") {
			table = line
			continue
		}
		rows = append(rows, table+line)
	}
	slices.Sort(rows)
	return rows
}

// zip makes a backup of lines.
func zip(t *testing.T, lines []string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, strings.Join(lines, "")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill puts values of every type into a database, and returns a token that lets in.
func fill(t *testing.T, f *storetest.Fixture) access.Token {
	t.Helper()
	app := f.Row(1, 2, 19, 0b1110)
	app.Kind, app.App, app.Connected = minute.App, `"quoted" 'app'? \ ünï <&>`, false
	latency := f.Row(0, 0, 18, 0b11)
	latency.Kind, latency.App, latency.Connected, latency.Bins = minute.Connection, "", false, []byte{100, 110}
	f.MustMerge(t, f.Row(0, 0, 18, 0b1111), app, latency, f.Row(0, 1, 23, 0b101))
	report, err := f.Fold(t.Context())
	if err != nil || report.Pages != 2 || report.Rows != 3 {
		t.Fatalf("fold: %+v, %v; want one template with latencies, one without and a row left", report, err)
	}
	token, err := f.FirstToken(t.Context(), "")
	errs := []error{err}
	version, yes := uuid.New(), true
	refusals, err := f.ApplyCatalog(t.Context(), store.Catalog{
		Versions: []store.TemplateVersion{
			{ID: version, TemplateID: f.Templates[0], Name: "v1", Parameters: []store.Parameter{{Name: "region", Type: "string"}}},
			{ID: uuid.New(), TemplateID: f.Templates[1]},
		},
		Groups: []store.Group{{ID: uuid.New(), OrganizationID: f.Organization, Name: "people", Everyone: true, UserIDs: f.Users[:2]}},
		Apps:   []store.App{{AgentID: f.Agents[0][0], Slug: "ide", DisplayName: "IDE\nin two lines"}},
	}, store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true})
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	now := store.At(storetest.Now)
	errs = append(
		errs, err,
		f.TouchAgents(t.Context(), []store.AgentState{
			{AgentID: f.Agents[0][0], FirstConnectedAt: now, LastSeenAt: now, LegacySessions: &yes},
			{AgentID: f.Agents[0][1], LastSeenAt: now},
		}),
		f.RecordAgentConditions(t.Context(), []store.AgentCondition{
			{AgentID: f.Agents[0][0], At: now, Status: "connected", AppHealth: map[string]string{"ide": "healthy"}},
		}),
		f.RecordJobs(t.Context(), []store.Job{
			{ID: uuid.New(), At: now, OrganizationID: f.Organization, Provisioner: "terraform", StartedAt: now},
		}),
		f.RecordBuilds(t.Context(), []store.Build{{
			ID: uuid.New(), At: now, WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], TemplateVersionID: version, Number: 1,
			Transition: "start",
		}}),
		f.RecordStatusChanges(t.Context(), []store.UserStatusChange{{UserID: f.Users[0], At: now, Status: "dormant"}}),
		f.RecordControlPlaneSeries(
			t.Context(), []store.ControlPlaneSeries{{Name: "coderd_license_active_users", Labels: "{}", Value: 0.1, ReportedAt: now}},
			storetest.Now,
		),
		f.RecordAudit(t.Context(), store.KindCommandLine, uuid.Nil, "test", "nothing"),
	)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return token
}

// What is restored is what was backed up, whichever database it was and is: all rows, all answers, and who may come in.
func TestBackupMoves(t *testing.T) {
	t.Parallel()
	for from, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		f := storetest.NewFixture(t, open(t))
		token := fill(t, f)
		made, want := backup(t, f.Database), f.Ask(t)
		for to, newDatabase := range newDatabases {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				database := newDatabase(t)
				if err := restore(t, database, made); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(rowsOf(t, made), rowsOf(t, backup(t, database))); diff != "" {
					t.Errorf("rows (-before +after):\n%s", diff)
				}
				moved := storetest.Fixture{Store: storetest.Open(t, database, storetest.Now), Everything: f.Everything}
				if diff := cmp.Diff(want, moved.Ask(t)); diff != "" {
					t.Errorf("answers (-before +after):\n%s", diff)
				}
				if _, err := moved.Authenticate(t.Context(), token); err != nil {
					t.Errorf("the token of before: %v", err)
				}
				if err := restore(t, database, made); err == nil || !strings.Contains(err.Error(), "not empty") {
					t.Errorf("restoring again: %v", err)
				}
			})
		}
	}
}

// Nobody waited for what a backup announces, its clock is not that of now, and its servers do not run here.
func TestRestoreForgetsAnnouncements(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	for _, statement := range []string{
		`INSERT INTO announced_deletions (kind, keep, days, stored, at) VALUES ('usage', 1, 400, 401, 1)`,
		`INSERT INTO clock_mark (id, at, steady, held) VALUES (1, 1, 1, 1)`,
		`INSERT INTO promises (server, at, privacy_floor, timezone, usage_retention, latency_retention, audit_retention)
			VALUES ('x', 1, 5, 'UTC', 0, 0, 0)`,
	} {
		if err := f.ExecForTest(statement); err != nil {
			t.Fatal(err)
		}
	}
	made := backup(t, f.Database)
	for name, newDatabase := range newDatabases {
		database := newDatabase(t)
		if err := restore(t, database, made); err != nil {
			t.Fatal(err)
		}
		s := storetest.Open(t, database, storetest.Now)
		for _, table := range []string{"announced_deletions", "clock_mark", "promises"} {
			if n := stored(t, s, `SELECT COUNT(*) FROM `+table); n != 0 {
				t.Errorf("%s: %d rows of %s", name, n, table)
			}
		}
	}
}

// firstWrite does something before the first write.
type firstWrite struct {
	io.Writer
	do   func()
	once sync.Once
}

func (w *firstWrite) Write(b []byte) (int, error) {
	w.once.Do(w.do)
	return w.Writer.Write(b)
}

// A backup is of the moment when it began: what a fold moves and a report adds meanwhile is in neither place too often or too rarely.
func TestBackupIsSnapshot(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			f.MustMerge(t, f.Row(0, 0, 18, 0b1111), f.Row(1, 1, 19, 0b11))
			want := rowsOf(t, backup(t, f.Database))
			var made bytes.Buffer
			meanwhile := func() {
				if report, err := f.Fold(t.Context()); err != nil || report.Rows != 2 {
					t.Errorf("fold beside a backup: %+v, %v", report, err)
				}
				f.MustMerge(t, f.Row(0, 0, 20, 1))
			}
			err := store.Backup(t.Context(), store.Options{Database: f.Database}, &firstWrite{Writer: &made, do: meanwhile})
			if err != nil {
				t.Fatal(err)
			}
			if storetest.CitusWorkers(f.Database) != nil { // no moment is that of all nodes: what moves is there once or twice
				checkBetween(t, f, made.Bytes())
				return
			}
			if diff := cmp.Diff(want, rowsOf(t, made.Bytes())); diff != "" {
				t.Errorf("rows (-when it began +in the backup):\n%s", diff)
			}
			if now := rowsOf(t, backup(t, f.Database)); slices.Equal(now, want) {
				t.Error("nothing happened meanwhile")
			}
		})
	}
}

// checkBetween checks that a backup of the usage of TestBackupIsSnapshot, restored, has what was there when it began, and nothing that
// never was.
func checkBetween(t *testing.T, f *storetest.Fixture, made []byte) {
	t.Helper()
	database := newDatabases["sqlite"](t)
	if err := restore(t, database, made); err != nil {
		t.Fatal(err)
	}
	moved := storetest.Open(t, database, storetest.Now)
	minutes := func(s *store.Store) (n int64) {
		t.Helper()
		insights, err := s.TemplateInsights(
			t.Context(), f.Everything, minute.People,
			minute.NewWindow(storetest.Now.Add(-12*time.Hour), storetest.Now.Add(12*time.Hour)), store.Floor{},
		)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range insights.Entries() {
			n += e.Minutes
		}
		return n
	}
	if got, now := minutes(moved), minutes(f.Store); got < 6 || got > now {
		t.Errorf("the backup has %d minutes of 6 when it began and %d when it ended", got, now)
	}
}

// A restore that did not end leaves a mark: nothing works on the database, whichever command, until the restore is repeated.
func TestHalfRestored(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	fill(t, f)
	made := backup(t, f.Database)
	for name, newDatabase := range newDatabases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := store.Options{Database: newDatabase(t)}
			if err := restore(t, o.Database, made[:len(made)/2]); !errors.Is(err, store.ErrBackup) {
				t.Fatalf("restoring half a backup: %v", err)
			}
			_, opened := store.Open(t.Context(), o)
			for what, err := range map[string]error{
				"open": opened, "migrate": store.Migrate(t.Context(), o), "backup": store.Backup(t.Context(), o, io.Discard),
			} {
				if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "repeat insights restore") {
					t.Errorf("%s: %v", what, err)
				}
			}
			var both sync.WaitGroup // they are not in each other's way
			errs := make([]error, 2)
			for i := range errs {
				both.Go(func() { errs[i] = restore(t, o.Database, made) })
			}
			both.Wait()
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("restoring twice at once: %v", errs)
			}
			if diff := cmp.Diff(rowsOf(t, made), rowsOf(t, backup(t, o.Database))); diff != "" {
				t.Errorf("rows (-in the backup +there):\n%s", diff)
			}
		})
	}
}

// What a database holds that is not ours is not mixed with a backup.
func TestRestoreBesideOthers(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "theirs.db")
	theirs, err := sql.Open("sqlite", strings.TrimPrefix(database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if _, err := theirs.ExecContext(t.Context(), "CREATE TABLE theirs (id integer)"); err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFixture(t, storetest.SQLite(t))
	if err := restore(t, database, backup(t, f.Database)); err == nil || !strings.Contains(err.Error(), "it has a table theirs") {
		t.Errorf("restore: %v", err)
	}
	var tables int
	if err := theirs.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sqlite_schema").Scan(&tables); err != nil || tables != 1 {
		t.Errorf("%d tables, %v; want 1", tables, err)
	}
}

// What is damaged, incomplete or newer is refused, and nothing of it stays.
func TestRestoreErrors(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	fill(t, f)
	made := backup(t, f.Database)
	lines := linesOf(t, made)
	if len(lines) < 10 || !strings.Contains(lines[1], `"columns"`) {
		t.Fatalf("a backup begins differently: %.300s", lines)
	}
	// changed is the backup with one line replaced.
	changed := func(i int, old, by string) []byte {
		if !strings.Contains(lines[i], old) {
			t.Fatalf("no %q in %s", old, lines[i])
		}
		all := slices.Clone(lines)
		all[i] = strings.Replace(all[i], old, by, 1)
		return zip(t, all)
	}
	organization := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"acme"`) })
	flipped := slices.Clone(made)
	flipped[len(flipped)/2] ^= 0x10
	for name, c := range map[string]struct {
		backup []byte
		is     error
		says   string
	}{
		"nothing":                 {nil, store.ErrBackup, "EOF"},
		"something else":          {[]byte("PK hello, this is no gzip"), store.ErrBackup, "gzip"},
		"JSON of something else":  {zip(t, []string{"{}\n"}), store.ErrBackup, "does not begin like one"},
		"cut off":                 {made[:len(made)/2], store.ErrBackup, "EOF"},
		"without its end":         {zip(t, lines[:len(lines)-1]), store.ErrBackup, "EOF"},
		"a bit is wrong":          {flipped, store.ErrBackup, ""},
		"a letter is wrong":       {changed(organization, "acme", "Acme"), store.ErrBackup, "checksum"},
		"a row is missing":        {zip(t, slices.Delete(slices.Clone(lines), organization, organization+1)), store.ErrBackup, "checksum"},
		"more behind the end":     {zip(t, append(slices.Clone(lines), "{}\n")), store.ErrBackup, "follows"},
		"two backups":             {append(slices.Clone(made), made...), store.ErrBackup, "follows"},
		"other format":            {changed(0, `"format":1`, `"format":2`), store.ErrBackup, "format is 2"},
		"newer schema":            {changed(0, `"schema":`, `"schema":9`), store.ErrSchema, "newer"},
		"unknown table":           {changed(1, `"agent_conditions"`, `"x"`), store.ErrBackup, `no table "x"`},
		"table of the migrations": {changed(1, `"agent_conditions"`, `"goose_db_version"`), store.ErrBackup, "no table"},
		"unknown column":          {changed(1, `"lifecycle_state"`, `"x"`), store.ErrBackup, `no column "x"`},
		"short row":               {changed(2, `[`, `["x"] [`), store.ErrBackup, "agent_conditions"},
		"row of another type":     {changed(2, `"connected"`, `7`), store.ErrBackup, "column status"},
		"row of no table":         {zip(t, slices.Delete(slices.Clone(lines), 1, 2)), store.ErrBackup, "no table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := newDatabases["sqlite"](t)
			if err := restore(t, database, c.backup); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error: %v; want %v that says %q", err, c.is, c.says)
			}
			if err := restore(t, database, made); err != nil {
				t.Fatalf("restoring the whole backup then: %v", err)
			}
			if diff := cmp.Diff(rowsOf(t, made), rowsOf(t, backup(t, database))); diff != "" {
				t.Errorf("rows (-in the backup +there):\n%s", diff)
			}
		})
	}
}

// A large restore takes several statements, of large pages and of many rows.
func TestRestoreInParts(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	events := `INSERT INTO audit_events SELECT printf('00000000-0000-0000-0000-%012d', i), i, 'test',
		'00000000-0000-0000-0000-000000000000', 'test', printf('%d', i)
		FROM (WITH RECURSIVE numbers(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM numbers WHERE i < 1201) SELECT i FROM numbers)`
	if err := f.ExecForTest(events); err != nil {
		t.Fatal(err)
	}
	for day := range 3 {
		if err := f.ExecForTest(
			"INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)",
			f.Templates[0], day, bytes.Repeat([]byte{byte(day)}, 700<<10), []byte{},
		); err != nil {
			t.Fatal(err)
		}
	}
	made := backup(t, f.Database)
	for name, newDatabase := range newDatabases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := newDatabase(t)
			if err := restore(t, database, made); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rowsOf(t, made), rowsOf(t, backup(t, database))) {
				t.Error("rows are missing or differ")
			}
		})
	}
}

// There is nothing to back up without tables.
func TestBackupOfNothing(t *testing.T) {
	t.Parallel()
	for name, newDatabase := range newDatabases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := store.Backup(t.Context(), store.Options{Database: newDatabase(t)}, io.Discard)
			if says := map[string]string{"sqlite": "which insights migrate makes", "postgres": "nothing to back up"}[name]; err == nil ||
				!strings.Contains(err.Error(), says) {
				t.Errorf("error: %v", err)
			}
		})
	}
}
