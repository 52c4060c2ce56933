package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Horizons are the moments before which the store deletes data, by the kind of data. A zero horizon keeps everything.
type Horizons struct {
	// Usage is the horizon of sessions, apps and logins, by the end of their UTC day; of users and of workspaces, with agents and
	// builds, by their deletion; and of the values of parameters, by their build.
	Usage   time.Time
	Latency time.Time // latencies of UTC days that ended before
	Audit   time.Time // events of the audit trail, and tokens that ended before
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
	usage, audit := At(h.Usage), At(h.Audit)
	for _, statement := range []struct {
		kind   string
		before time.Time
		text   string
		args   []any
	}{
		{ExpiredUsage, h.Usage, `DELETE FROM usage_day WHERE day < ?`, []any{day(h.Usage)}},
		{ExpiredUsage, h.Usage, `DELETE FROM usage_open WHERE half_hour < ?`, []any{day(h.Usage) * minute.HalfHoursPerDay}},
		// A fold that read the page before this statement finds another version and starts again.
		{
			ExpiredLatency, h.Latency, `UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`,
			[]any{[]byte{}, day(h.Latency)},
		},
		{
			ExpiredLatency, h.Latency, `DELETE FROM usage_open WHERE kind = 2 AND half_hour < ?`,
			[]any{day(h.Latency) * minute.HalfHoursPerDay},
		},
		{ExpiredCatalog, h.Usage, `DELETE FROM workspaces WHERE ` + oldWorkspaces, []any{usage, usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM agents WHERE` + without("agents.workspace_id", "workspaces"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_states WHERE` + without("agent_states.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_conditions WHERE` + without("agent_conditions.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM apps WHERE` + without("apps.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM subjects WHERE user_id` + ofOld, []any{usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE user_id` + ofOld, []any{usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM group_members WHERE user_id` + ofOld, []any{usage}},
		{
			ExpiredCatalog, h.Usage, `DELETE FROM role_bindings WHERE principal_kind = ? AND principal_id` + ofOld,
			[]any{access.KindUser, usage},
		},
		{ExpiredTokens, h.Usage, `DELETE FROM tokens WHERE principal_kind = ? AND principal_id` + ofOld, []any{access.KindUser, usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM users WHERE ` + oldUsers, []any{usage}},
		// The newest change before the horizon stays: it tells the status at the horizon.
		{
			ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE at < ? AND EXISTS (SELECT 1 FROM user_status_changes AS later
			WHERE later.user_id = user_status_changes.user_id AND later.at > user_status_changes.at AND later.at < ?)`,
			[]any{usage, usage},
		},
		{ExpiredBuilds, h.Usage, `DELETE FROM builds WHERE` + without("builds.workspace_id", "workspaces"), nil},
		{ExpiredBuilds, h.Usage, `UPDATE builds SET parameters = NULL WHERE parameters IS NOT NULL AND created_at < ?`, []any{usage}},
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
		err := s.write(ctx, func(db *gorm.DB) error {
			done := db.Exec(statement.text, statement.args...)
			rows = done.RowsAffected
			return done.Error
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
		ExpiredUsage: `SELECT CAST(day AS bigint) * 86400000000 AS at FROM usage_day
			UNION ALL SELECT CAST(half_hour AS bigint) * 1800000000 FROM usage_open`,
		ExpiredLatency: `SELECT CAST(day AS bigint) * 86400000000 AS at FROM usage_day WHERE length(latency) > 0
			UNION ALL SELECT CAST(half_hour AS bigint) * 1800000000 FROM usage_open WHERE kind = 2`,
		ExpiredCatalog: `SELECT deleted_at AS at FROM users WHERE deleted_at > 0
			UNION ALL SELECT deleted_at FROM workspaces WHERE deleted_at > 0`,
		ExpiredBuilds: `SELECT created_at AS at FROM builds WHERE parameters IS NOT NULL`,
		ExpiredAudit:  `SELECT at FROM audit_events`,
		ExpiredTokens: `SELECT expires_at AS at FROM tokens WHERE expires_at > 0
			UNION ALL SELECT revoked_at FROM tokens WHERE revoked_at > 0`,
	} {
		var at sql.Null[Instant]
		if err := s.reads.WithContext(ctx).Raw(`SELECT min(at) FROM (` + times + `) AS times`).Row().Scan(&at); err != nil {
			return nil, fmt.Errorf("look for the oldest %s: %w", kind, err)
		}
		if at.Valid {
			oldest[kind] = at.V
		}
	}
	return oldest, nil
}
