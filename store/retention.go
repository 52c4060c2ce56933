package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// Retention is how long data is kept, as the settings of a server say; zero: for ever.
type Retention struct {
	Usage, Latency, Audit time.Duration
	Confirmed             bool // what is beyond it goes at once, however much it is
}

// Brake is what may be deleted now, and what may not yet.
type Brake struct {
	Horizons  Horizons       // what may not be deleted yet has none
	Doubted   bool           // the clock jumped within a day, or is not that of this server: nothing may be deleted
	Announced []Announcement // what goes a day after it was announced, or goes now
	Due       bool           // some of that goes now
	TakenBack []Announcement // what was announced before, and does not go: the settings want less
}

// Announcement is a deletion that waits for a day, so that whoever did not mean it can take the settings back.
type Announcement struct {
	Kind   string        // ExpiredUsage, ExpiredLatency or ExpiredAudit
	Keep   time.Duration // the retention
	Days   int64         // how many go
	Stored int64         // of so many
	At     Instant       // when it was announced
}

// Due is when it is carried out, by the clock of the database.
func (a Announcement) Due() time.Time { return a.At.Add(brakeDay) }

const (
	brakeDay = 24 * time.Hour // how long an announcement waits, and a clock that jumped; a jump is longer
	// With the day of an announcement nothing waits for longer than seven days.
	longestDoubt = 6 * brakeDay
	// Days that go unannounced, however few are stored: two midnights may lie between two deletions.
	everydayLoss = 2
)

// clockMark is what all servers know of the clock that retention goes by: that of the database, which with SQLite is the machine's.
type clockMark struct {
	At     Instant       // when a server looked last; zero: none has yet
	Steady time.Duration // for how long it has not jumped, up to the two days that a doubt and an announcement take
	Held   time.Duration // for how long nothing was deleted because it jumped
}

// next is the mark of a server that looks now, whose own clock may be another one. Who looks again after more than a day cannot know
// whether the clock jumped or all servers were away; such a step counts as a day of waiting.
func (m clockMark) next(now, own time.Time) clockMark {
	if m.At.IsZero() {
		m = clockMark{At: At(now), Steady: 2 * brakeDay}
	}
	step := now.Sub(m.At.Time)
	passed := min(max(step, 0), brakeDay)
	m.At = At(now)
	if m.Steady < brakeDay {
		m.Held += passed
	}
	m.Steady = min(m.Steady+passed, 2*brakeDay)
	if step.Abs() > brakeDay || now.Sub(own).Abs() > brakeDay {
		m.Steady = 0
	}
	if m.Steady == 2*brakeDay {
		m.Held = 0
	}
	return m
}

func (m clockMark) doubted() bool { return m.Steady < brakeDay && m.Held < longestDoubt }

// announce decides on one kind of data: what is announced from now on, nil for nothing, and whether the deletion that is wanted now is
// to wait. The day of an announcement begins again when more is wanted than was announced, by a
// shorter retention or of days that came since.
func announce(before *Announcement, wanted Announcement, confirmed bool) (_ *Announcement, wait bool) {
	if confirmed || wanted.Days <= everydayLoss || wanted.Days*10 <= wanted.Stored {
		return nil, false
	}
	now := wanted.At.Time
	if before != nil && before.Keep <= wanted.Keep && wanted.Days <= before.Days+everydayLoss {
		wanted.At, wanted.Days = before.At, min(wanted.Days, before.Days)
	}
	return &wanted, now.Before(wanted.Due())
}

// decide is the brake of a server: what is wanted now of each kind, after what was announced before. A clock that jumped makes nothing
// due, so what was announced before is announced again when it is believed.
func (m clockMark) decide(before map[string]Announcement, wanted []Announcement, confirmed bool) Brake {
	b := Brake{Doubted: m.doubted()}
	if b.Doubted {
		return b
	}
	for _, w := range wanted {
		var earlier *Announcement
		if a, ok := before[w.Kind]; ok {
			earlier = &a
		}
		a, wait := announce(earlier, w, confirmed)
		if a != nil {
			b.Announced = append(b.Announced, *a)
			b.Due = b.Due || !wait
		}
		if wait {
			continue
		}
		horizon := w.At.Add(-w.Keep)
		switch w.Kind {
		case ExpiredUsage:
			b.Horizons.Usage = horizon
		case ExpiredLatency:
			b.Horizons.Latency = horizon
		case ExpiredAudit:
			b.Horizons.Audit = horizon
		}
	}
	return b
}

// Kinds of data that expires.
const (
	ExpiredUsage   = "usage"   // pages and rows
	ExpiredLatency = "latency" // pages that lost their latencies, and rows
	ExpiredCatalog = "catalog" // users, workspaces, agents, and rows about them
	ExpiredBuilds  = "builds"  // deleted builds, and builds that lost the values of their parameters
	ExpiredAudit   = "audit"   // events
	ExpiredTokens  = "tokens"
)

// ExpiredKinds is the closed list of these kinds.
var ExpiredKinds = []string{ExpiredUsage, ExpiredLatency, ExpiredCatalog, ExpiredBuilds, ExpiredAudit, ExpiredTokens}

// BrakedKinds are those of which many days at once are announced. The others follow them.
var BrakedKinds = []string{ExpiredUsage, ExpiredLatency, ExpiredAudit}

// storedDays are the statements that count the days of which something is stored, before the one that is their only argument. What the
// retention of usage takes of the catalog and of builds counts as well.
var storedDays = map[string]string{
	ExpiredUsage: `SELECT COUNT(*) FROM (SELECT day FROM ` + usage.Pages + ` WHERE day < @day
		UNION SELECT half_hour / 48 FROM usage_rows WHERE half_hour < @day * 48
		UNION SELECT created_at / 86400000000 FROM builds WHERE parameters IS NOT NULL AND created_at < @day * 86400000000
		UNION SELECT deleted_at / 86400000000 FROM workspaces WHERE ` + strings.ReplaceAll(oldWorkspaces, "?", "@day * 86400000000") + `
		) AS days`,
	ExpiredLatency: `SELECT COUNT(*) FROM (SELECT day FROM ` + usage.Pages + ` WHERE day < @day AND length(latency) > 0
		UNION SELECT half_hour / 48 FROM usage_rows WHERE half_hour < @day * 48 AND ` + usage.LatencyRows + `) AS days`,
	ExpiredAudit: `SELECT COUNT(DISTINCT at / 86400000000) FROM audit_events WHERE at < @day * 86400000000`,
}

// afterAll is a day after all that are stored.
const afterAll = 1 << 20

// wanted is what a retention takes now of each kind that is not kept for ever.
func (s *Store) wanted(ctx context.Context, r Retention, now time.Time) ([]Announcement, error) {
	var all []Announcement
	for _, w := range []Announcement{
		{Kind: ExpiredUsage, Keep: r.Usage}, {Kind: ExpiredLatency, Keep: r.Latency}, {Kind: ExpiredAudit, Keep: r.Audit},
	} {
		if w.Keep == 0 {
			continue
		}
		w.At = At(now)
		for _, count := range []struct {
			of     *int64
			before int64
		}{{&w.Days, now.Add(-w.Keep).Unix() / 86400}, {&w.Stored, afterAll}} {
			row := s.db.Reads.WithContext(ctx).Raw(storedDays[w.Kind], sql.Named("day", count.before)).Row()
			if err := row.Scan(count.of); err != nil {
				return nil, fmt.Errorf("count days of %s: %w", w.Kind, err)
			}
			if w.Days <= everydayLoss {
				break // how many are stored does not matter
			}
		}
		all = append(all, w)
	}
	return all, nil
}

// BrakeRetention says what a server may delete now of what is beyond retention. Servers call it every hour: all of one database judge the
// clock and wait for the same announcements, which end when a server comes that would not delete so much.
func (s *Store) BrakeRetention(ctx context.Context, r Retention) (Brake, error) {
	now, err := s.db.Now(s.db.Writes.WithContext(ctx), s.clock)
	if err != nil {
		return Brake{}, fmt.Errorf("read the clock of %s: %w", s, err)
	}
	wanted, err := s.wanted(ctx, r, now)
	if err != nil {
		return Brake{}, err
	}
	var b Brake
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		// From here to the end of the transaction other servers wait.
		err := tx.Exec(`INSERT INTO clock_mark (id, at, steady, held) VALUES (1, 0, 0, 0)
			ON CONFLICT (id) DO UPDATE SET at = clock_mark.at`).Error
		if err != nil {
			return err
		}
		var mark clockMark
		if err := tx.Raw(`SELECT at, steady, held FROM clock_mark`).Scan(&mark).Error; err != nil {
			return err
		}
		announced, err := announcements(tx)
		if err != nil {
			return err
		}
		before := map[string]Announcement{}
		for _, a := range announced {
			before[a.Kind] = a
		}
		mark = mark.next(now, s.clock())
		b = mark.decide(before, wanted, r.Confirmed)
		for _, a := range announced {
			goes := slices.ContainsFunc(b.Announced, func(other Announcement) bool { return other.Kind == a.Kind })
			if !goes && !b.Doubted && !r.Confirmed && now.Before(a.Due()) {
				b.TakenBack = append(b.TakenBack, a)
			}
		}
		err = tx.Exec(`UPDATE clock_mark SET at = ?, steady = ?, held = ?`, mark.At, int64(mark.Steady), int64(mark.Held)).Error
		if err != nil {
			return err
		}
		if err := tx.Exec(`DELETE FROM announced_deletions`).Error; err != nil {
			return err
		}
		for _, a := range b.Announced {
			err := tx.Exec(`INSERT INTO announced_deletions (kind, keep, days, stored, at) VALUES (?, ?, ?, ?, ?)`,
				a.Kind, int64(a.Keep), a.Days, a.Stored, a.At).Error
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Brake{}, fmt.Errorf("brake retention: %w", err)
	}
	return b, nil
}

// HeldDeletions is what the last server that looked found to wait, without horizons.
func (s *Store) HeldDeletions(ctx context.Context) (b Brake, err error) {
	var mark clockMark
	db := s.db.Lookups.WithContext(ctx)
	if err = db.Raw(`SELECT at, steady, held FROM clock_mark`).Scan(&mark).Error; err == nil {
		b.Doubted = !mark.At.IsZero() && mark.doubted()
		b.Announced, err = announcements(db)
	}
	if err != nil {
		return Brake{}, fmt.Errorf("read what retention waits with: %w", err)
	}
	return b, nil
}

// Promise is what a server does for people, as its settings say.
type Promise struct {
	PrivacyFloor int    // how many people take part in what is published
	AIPerPerson  bool   `gorm:"column:ai_per_person"` // the use of AI tools is told of each person, not of as many together
	Timezone     string // whose days are published
	Retention
}

// Promises are those of the servers that run.
type Promises struct {
	Promise
	Servers int64 // that run with just these settings
}

// PromiseSilence is after how long a server that does not say any more what it promises counts as one that ended.
const PromiseSilence = time.Minute

// RecordPromise says what a server promises, by an id of its own. Servers do so a few times within PromiseSilence.
func (s *Store) RecordPromise(ctx context.Context, server uuid.UUID, p Promise) error {
	err := s.db.InQuietTransaction(ctx, func(tx *gorm.DB) error {
		now, err := s.db.Now(tx, s.clock)
		if err != nil {
			return err
		}
		if err := tx.Exec(`DELETE FROM promises WHERE at < ?`, At(now.Add(-PromiseSilence))).Error; err != nil {
			return err
		}
		return tx.Exec(`INSERT INTO promises
			(server, at, privacy_floor, ai_per_person, timezone, usage_retention, latency_retention, audit_retention)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server) DO UPDATE SET at = excluded.at`, server.String(), At(now), p.PrivacyFloor,
			p.AIPerPerson, p.Timezone, int64(p.Usage), int64(p.Latency), int64(p.Audit)).Error
	})
	if err != nil {
		return fmt.Errorf("record what the server promises: %w", err)
	}
	return nil
}

// Promises returns what the servers promise that run now, those of most servers first, and the time that retention goes by.
func (s *Store) Promises(ctx context.Context) (all []Promises, now time.Time, err error) {
	db := s.db.Lookups.WithContext(ctx)
	if now, err = s.db.Now(db, s.clock); err == nil {
		err = db.Raw(`SELECT privacy_floor, ai_per_person, timezone, usage_retention AS usage, latency_retention AS latency,
			audit_retention AS audit, COUNT(*) AS servers
			FROM promises WHERE at >= ? GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 7 DESC, 1, 2, 3, 4, 5, 6`,
			At(now.Add(-PromiseSilence))).Scan(&all).Error
	}
	if err != nil {
		return nil, now, fmt.Errorf("read what servers promise: %w", err)
	}
	return all, now, nil
}

func announcements(db *gorm.DB) (all []Announcement, err error) {
	err = db.Raw(`SELECT kind, keep, days, stored, at FROM announced_deletions ORDER BY kind`).Scan(&all).Error
	return all, err
}

// Horizons are the moments before which the store deletes data, by the kind of data. A zero horizon keeps everything.
type Horizons struct {
	// Usage is the horizon, by the end of UTC days, of sessions, apps and logins; of users and of workspaces, with seats, agents and
	// builds, by their deletion; and of the values of parameters, by their build.
	Usage   time.Time
	Latency time.Time // latencies of UTC days that ended before
	Audit   time.Time // events of the audit trail, and tokens that ended before
}

// Conditions on rows of the catalog that expire. Metrics count builds and agents by the names of owner, template and workspace, and a
// count must not fall. So a deleted workspace expires, with its agents and builds, when all workspaces with the same names are deleted
// and beyond the horizon. A deleted user expires after the last workspace of the user.
const (
	oldWorkspaces = `deleted_at > 0 AND deleted_at < ? AND NOT EXISTS (SELECT 1 FROM workspaces AS namesake
		WHERE namesake.owner_id = workspaces.owner_id
		AND namesake.template_id = workspaces.template_id AND namesake.name = workspaces.name
		AND (namesake.deleted_at = 0 OR namesake.deleted_at >= ?))`
	oldUsers = `deleted_at > 0 AND deleted_at < ? AND NOT EXISTS (SELECT 1 FROM workspaces WHERE owner_id = users.id)`
	ofOld    = ` IN (SELECT id FROM users WHERE ` + oldUsers + `)`
)

// without is the condition that no row of a table has the id that a column holds.
func without(column, table string) string {
	return ` NOT EXISTS (SELECT 1 FROM ` + table + ` AS referred WHERE referred.id = ` + column + `)`
}

// Expire deletes all data beyond the horizons, and rows that belong to a deleted row. It returns by kind how many pages and rows it
// deleted or emptied. If a report for such a day arrives afterwards, the next Expire deletes it.
func (s *Store) Expire(ctx context.Context, h Horizons) (map[string]int64, error) {
	day := func(t time.Time) int32 { return int32(t.Unix() / 86400) } // the first that stays
	expired := map[string]int64{}
	// Whole days: whoever used something on the first day that stays is known as long as that is.
	used, audit := At(h.Usage.Truncate(24*time.Hour)), At(h.Audit)
	for _, statement := range []struct {
		kind   string
		before time.Time
		text   string
		args   []any
	}{
		// In the order in which folds and rewriting move what is there. One that read a page before one of these statements finds another
		// version and starts again.
		{ExpiredUsage, h.Usage, `DELETE FROM usage_rows WHERE half_hour < ?`, []any{day(h.Usage) * minute.HalfHoursPerDay}},
		{ExpiredUsage, h.Usage, `DELETE FROM usage_day WHERE day < ?`, []any{day(h.Usage)}},
		{ExpiredUsage, h.Usage, `DELETE FROM usage_pages WHERE day < ?`, []any{day(h.Usage)}},
		// publications stay: what was published and is gone is not published again.
		{ExpiredUsage, h.Usage, `DELETE FROM published_days WHERE day < ?`, []any{day(h.Usage)}},
		{
			ExpiredLatency, h.Latency, `DELETE FROM usage_rows WHERE ` + usage.LatencyRows + ` AND half_hour < ?`,
			[]any{day(h.Latency) * minute.HalfHoursPerDay},
		},
		{
			ExpiredLatency, h.Latency, `UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`,
			[]any{[]byte{}, day(h.Latency)},
		},
		{
			ExpiredLatency, h.Latency, `UPDATE usage_pages SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`,
			[]any{[]byte{}, day(h.Latency)},
		},
		{ExpiredCatalog, h.Usage, `DELETE FROM workspaces WHERE ` + oldWorkspaces, []any{used, used}},
		// The newest row before the horizon stays: it tells the region at the horizon.
		{
			ExpiredUsage, h.Usage, `DELETE FROM seat_regions WHERE half_hour < ? AND EXISTS (SELECT 1 FROM seat_regions AS later
			WHERE later.subject = seat_regions.subject AND later.half_hour > seat_regions.half_hour AND later.half_hour <= ?)`,
			[]any{day(h.Usage) * minute.HalfHoursPerDay, day(h.Usage) * minute.HalfHoursPerDay},
		},
		{ExpiredCatalog, h.Usage, `DELETE FROM seat_regions WHERE subject IN (SELECT subject FROM seats WHERE` +
			without("seats.workspace_id", "workspaces") + `)`, nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM seats WHERE` + without("seats.workspace_id", "workspaces"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agents WHERE` + without("agents.workspace_id", "workspaces"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_states WHERE` + without("agent_states.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_conditions WHERE` + without("agent_conditions.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM apps WHERE` + without("apps.agent_id", "agents"), nil},
		{
			ExpiredCatalog, h.Usage, `DELETE FROM seats WHERE subject >> 24 IN (SELECT person FROM people WHERE user_id` + ofOld + `)`,
			[]any{used},
		},
		{ExpiredCatalog, h.Usage, `DELETE FROM people WHERE user_id` + ofOld, []any{used}},
		{ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE user_id` + ofOld, []any{used}},
		{ExpiredCatalog, h.Usage, `DELETE FROM group_members WHERE user_id` + ofOld, []any{used}},
		{ExpiredCatalog, h.Usage, `DELETE FROM group_members WHERE to_at > 0 AND to_at <= ?`, []any{used}},
		{
			ExpiredCatalog, h.Usage, `DELETE FROM groups WHERE deleted_at > 0 AND deleted_at <= ?
			AND NOT EXISTS (SELECT 1 FROM group_members WHERE group_id = groups.id)`, []any{used},
		},
		{
			ExpiredCatalog, h.Usage, `DELETE FROM role_bindings WHERE group_id <> ? AND` + without("role_bindings.group_id", "groups"),
			[]any{uuid.Nil},
		},
		{
			ExpiredCatalog, h.Usage, `DELETE FROM role_bindings WHERE principal_kind = ? AND principal_id` + ofOld,
			[]any{access.KindUser, used},
		},
		{ExpiredTokens, h.Usage, `DELETE FROM tokens WHERE principal_kind = ? AND principal_id` + ofOld, []any{access.KindUser, used}},
		{ExpiredCatalog, h.Usage, `DELETE FROM users WHERE ` + oldUsers, []any{used}},
		// The newest change before the horizon stays: it tells the status at the horizon.
		{
			ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE at < ? AND EXISTS (SELECT 1 FROM user_status_changes AS later
			WHERE later.user_id = user_status_changes.user_id AND later.at > user_status_changes.at AND later.at < ?)`,
			[]any{used, used},
		},
		{ExpiredBuilds, h.Usage, `DELETE FROM builds WHERE` + without("builds.workspace_id", "workspaces"), nil},
		{ExpiredBuilds, h.Usage, `UPDATE builds SET parameters = NULL WHERE parameters IS NOT NULL AND created_at < ?`, []any{used}},
		{ExpiredAudit, h.Audit, `DELETE FROM audit_events WHERE at < ?`, []any{audit}},
		{
			ExpiredTokens, h.Audit, `DELETE FROM tokens WHERE expires_at > 0 AND expires_at < ? OR revoked_at > 0 AND revoked_at < ?`,
			[]any{audit, audit},
		},
		{
			ExpiredTokens, h.Audit,
			`DELETE FROM tokens WHERE created_at < ? AND principal_kind = ? AND` + without("tokens.principal_id", "agents"),
			[]any{audit, access.KindAgent},
		},
	} {
		if statement.before.IsZero() {
			continue
		}
		var rows int64
		err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
			done := tx.Exec(statement.text, statement.args...)
			rows = done.RowsAffected
			switch {
			case done.Error != nil || rows == 0:
				return done.Error
			case statement.kind == ExpiredBuilds:
				return raiseParameters(tx, "1 = 1")
			case statement.kind == ExpiredCatalog:
				return raiseNames(tx)
			}
			return nil
		})
		if err != nil {
			return expired, fmt.Errorf("delete what is beyond retention: %w", err)
		}
		expired[statement.kind] += rows
	}
	return expired, nil
}

// Oldest returns when the oldest of what is stored was, by the kind of data, as the horizons of Expire see it: of usage and latencies the
// begin of a day or half hour, of the catalog the deletion of a user or workspace, of builds with values of parameters, events and tokens
// that ended their time. A kind of which there is nothing is absent.
func (s *Store) Oldest(ctx context.Context) (map[string]Instant, error) {
	oldest := map[string]Instant{}
	for kind, times := range map[string]string{
		ExpiredUsage: `SELECT CAST(day AS bigint) * 86400000000 AS at FROM ` + usage.Pages + `
			UNION ALL SELECT CAST(half_hour AS bigint) * 1800000000 FROM usage_rows`,
		ExpiredLatency: `SELECT CAST(day AS bigint) * 86400000000 AS at FROM ` + usage.Pages + ` WHERE length(latency) > 0
			UNION ALL SELECT CAST(half_hour AS bigint) * 1800000000 FROM usage_rows WHERE ` + usage.LatencyRows,
		ExpiredCatalog: `SELECT deleted_at AS at FROM users WHERE deleted_at > 0
			UNION ALL SELECT deleted_at FROM workspaces WHERE deleted_at > 0
			UNION ALL SELECT deleted_at FROM groups WHERE deleted_at > 0
			UNION ALL SELECT to_at FROM group_members WHERE to_at > 0`,
		ExpiredBuilds: `SELECT created_at AS at FROM builds WHERE parameters IS NOT NULL`,
		ExpiredAudit:  `SELECT at FROM audit_events`,
		ExpiredTokens: `SELECT expires_at AS at FROM tokens WHERE expires_at > 0
			UNION ALL SELECT revoked_at FROM tokens WHERE revoked_at > 0`,
	} {
		var at sql.Null[Instant]
		if err := s.db.Reads.WithContext(ctx).Raw(`SELECT min(at) FROM (` + times + `) AS times`).Row().Scan(&at); err != nil {
			return nil, fmt.Errorf("look for the oldest %s: %w", kind, err)
		}
		if at.Valid {
			oldest[kind] = at.V
		}
	}
	return oldest, nil
}
