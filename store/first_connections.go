package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/template-insights/insights/store/access"
)

// FirstConnections is how long it took the agents of one name in the workspaces of one name to connect for the first time,
// in seconds from when they were made.
type FirstConnections struct {
	WorkspaceName
	Agent string
	Distribution
}

// FirstConnections spreads the times until the first connection over bounds in ascending order. Each agent that ever
// connected counts once, for ever, deleted ones too; names are left out whose workspaces were all deleted before since. An
// agent that seems to have connected before it was made, because clocks differ, is left out and counted as skewed.
func (s *Store) FirstConnections(
	ctx context.Context, scope access.Scope, bounds []float64, since time.Time,
) (spread []FirstConnections, skewed int64, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, 0, err
	}
	const from = ` FROM agent_states JOIN agents ON agents.id = agent_states.agent_id
		JOIN workspaces ON workspaces.id = agents.workspace_id `
	db := s.db.Reads.WithContext(ctx)
	condition, args := x.WhereColumn(
		"workspaces.template_id",
		"agents.created_at > 0 AND agent_states.first_connected_at > 0 AND agent_states.first_connected_at < agents.created_at",
	)
	if err := db.Raw(`SELECT COUNT(*)`+from+`WHERE `+condition, args...).Scan(&skewed).Error; err != nil {
		return nil, 0, fmt.Errorf("count skewed first connections: %w", err)
	}
	const begin, end = "agents.created_at", "agent_states.first_connected_at"
	columns, args := distribution(end+" - "+begin, begin, bounds)
	condition, args = x.WhereColumn(
		"workspaces.template_id", "agents.created_at > 0 AND agent_states.first_connected_at >= agents.created_at",
		append([]any{At(since)}, args...)...,
	)
	// Names are shown or left out as a whole, whatever buckets their values are in.
	const names = `organizations.name, templates.name, users.username, workspaces.name, agents.name`
	rows, err := db.Raw(`SELECT * FROM (SELECT MAX(MAX(`+deletedOr+`)) OVER (PARTITION BY `+names+`) AS shown, `+workspaceNames+`,
			agents.name AS agent, `+nativeBucket(begin, end)+` AS bucket, `+columns+from+namesOfWorkspaces+`WHERE `+condition+`
			GROUP BY `+names+`, bucket) AS spread
		WHERE shown >= ? ORDER BY organization, template, owner, workspace, agent, bucket`, append(args, At(since))...).Rows()
	if err != nil {
		return nil, 0, fmt.Errorf("read first connections: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var shown, bucket sql.NullInt64
		c := FirstConnections{Distribution: newDistribution(bounds)}
		if err := c.scan(rows, &shown, &c.Organization, &c.Template, &c.Owner, &c.Workspace, &c.Agent, &bucket); err != nil {
			return nil, 0, fmt.Errorf("read first connections: %w", err)
		}
		c.Native = []NativeCount{} // counted, also where all of them took no time
		if bucket.Valid {
			c.Native = append(c.Native, NativeCount{int(bucket.Int64), c.Count})
		}
		if n := len(spread); n > 0 && spread[n-1].WorkspaceName == c.WorkspaceName && spread[n-1].Agent == c.Agent {
			spread[n-1].Add(c.Distribution)
		} else {
			spread = append(spread, c)
		}
	}
	return spread, skewed, rows.Err()
}

// shownSince leaves out names whose workspaces were all deleted before a moment, which it takes twice. What it lets through
// is counted over all workspaces of the name, so that a count never falls while it is shown.
const shownSince = `HAVING MAX(` + deletedOr + `) >= ?`

// deletedOr is when a workspace was deleted, or the moment that it takes while there is one.
const deletedOr = `CASE WHEN workspaces.deleted_at = 0 THEN ? ELSE workspaces.deleted_at END`
