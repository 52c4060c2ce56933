package store

import (
	"context"
	"fmt"
	"time"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Horizons are the moments before which data is no longer kept, by its kind; a zero one keeps everything.
type Horizons struct {
	// Usage is sessions, apps and logins of UTC days that ended before, and of what ended before: workspaces with their agents and
	// builds, users; and values of parameters that were chosen before.
	Usage   time.Time
	Latency time.Time // latencies of UTC days that ended before
	Audit   time.Time // events of the audit trail, and tokens that ended before
}

// Kinds of what expires.
const (
	ExpiredUsage   = "usage"   // pages and rows
	ExpiredLatency = "latency" // pages that lost theirs, and rows
	ExpiredCatalog = "catalog" // users, workspaces, agents, and what was told of them
	ExpiredBuilds  = "builds"  // those that lost the values of their parameters too
	ExpiredAudit   = "audit"   // events
	ExpiredTokens  = "tokens"
)

// ExpiredKinds is the closed list of them.
var ExpiredKinds = []string{ExpiredUsage, ExpiredLatency, ExpiredCatalog, ExpiredBuilds, ExpiredAudit, ExpiredTokens}

// What is deleted of the catalog. Workspaces that ended go when all of their name did, because metrics count builds and agents by
// it and must not fall; so do their agents and builds. A user who was deleted goes after the last workspace.
const (
	oldWorkspaces = `deleted_at > 0 AND deleted_at < ? AND NOT EXISTS (SELECT 1 FROM workspaces AS namesake WHERE namesake.owner_id = workspaces.owner_id
		AND namesake.template_id = workspaces.template_id AND namesake.name = workspaces.name AND (namesake.deleted_at = 0 OR namesake.deleted_at >= ?))`
	oldUsers = `deleted_at > 0 AND deleted_at < ? AND NOT EXISTS (SELECT 1 FROM workspaces WHERE owner_id = users.id)`
	ofOld    = ` IN (SELECT id FROM users WHERE ` + oldUsers + `)`
)

// without is the condition that what a column of a table refers to is gone.
func without(column, table string) string {
	return ` NOT EXISTS (SELECT 1 FROM ` + table + ` AS referred WHERE referred.id = ` + column + `)`
}

// Expire deletes what lies beyond the horizons, and what nothing refers to any more, and returns by kind how many pages and rows it
// deleted or emptied. What arrives for such a day afterwards is deleted the next time.
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
		// With the version a fold that read the page before starts again.
		{ExpiredLatency, h.Latency, `UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`, []any{[]byte{}, day(h.Latency)}},
		{ExpiredLatency, h.Latency, `DELETE FROM usage_open WHERE kind = 2 AND half_hour < ?`, []any{day(h.Latency) * minute.HalfHoursPerDay}},
		{ExpiredCatalog, h.Usage, `DELETE FROM workspaces WHERE ` + oldWorkspaces, []any{usage, usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM agents WHERE` + without("agents.workspace_id", "workspaces"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_states WHERE` + without("agent_states.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM agent_conditions WHERE` + without("agent_conditions.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM apps WHERE` + without("apps.agent_id", "agents"), nil},
		{ExpiredCatalog, h.Usage, `DELETE FROM subjects WHERE user_id` + ofOld, []any{usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE user_id` + ofOld, []any{usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM group_members WHERE user_id` + ofOld, []any{usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM role_bindings WHERE principal_kind = ? AND principal_id` + ofOld, []any{access.KindUser, usage}},
		{ExpiredTokens, h.Usage, `DELETE FROM tokens WHERE principal_kind = ? AND principal_id` + ofOld, []any{access.KindUser, usage}},
		{ExpiredCatalog, h.Usage, `DELETE FROM users WHERE ` + oldUsers, []any{usage}},
		// The status at the horizon is that of the newest change before.
		{ExpiredCatalog, h.Usage, `DELETE FROM user_status_changes WHERE at < ? AND EXISTS (SELECT 1 FROM user_status_changes AS later
			WHERE later.user_id = user_status_changes.user_id AND later.at > user_status_changes.at AND later.at < ?)`, []any{usage, usage}},
		{ExpiredBuilds, h.Usage, `DELETE FROM builds WHERE` + without("builds.workspace_id", "workspaces"), nil},
		{ExpiredBuilds, h.Usage, `UPDATE builds SET parameters = NULL WHERE parameters IS NOT NULL AND created_at < ?`, []any{usage}},
		{ExpiredAudit, h.Audit, `DELETE FROM audit_events WHERE at < ?`, []any{audit}},
		{ExpiredTokens, h.Audit, `DELETE FROM tokens WHERE expires_at > 0 AND expires_at < ? OR revoked_at > 0 AND revoked_at < ?`, []any{audit, audit}},
		{ExpiredTokens, h.Audit, `DELETE FROM tokens WHERE created_at < ? AND principal_kind = ? AND` + without("tokens.principal_id", "agents"), []any{audit, access.KindAgent}},
	} {
		if statement.before.IsZero() {
			continue
		}
		err := retryConflicts(ctx, func() error {
			tx := s.writes.WithContext(ctx).Exec(statement.text, statement.args...)
			if tx.Error == nil {
				expired[statement.kind] += tx.RowsAffected
			}
			return s.dialect.classify(tx.Error)
		})
		if err != nil {
			return expired, fmt.Errorf("delete what is beyond retention: %w", err)
		}
	}
	return expired, nil
}
