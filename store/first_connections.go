package store

import (
	"context"
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
	db := s.reads.WithContext(ctx)
	condition, args := x.whereColumn(
		"workspaces.template_id",
		"agents.created_at > 0 AND agent_states.first_connected_at > 0 AND agent_states.first_connected_at < agents.created_at",
	)
	if err := db.Raw(`SELECT COUNT(*)`+from+`WHERE `+condition, args...).Scan(&skewed).Error; err != nil {
		return nil, 0, fmt.Errorf("count skewed first connections: %w", err)
	}
	columns, args := distribution("agent_states.first_connected_at - agents.created_at", "agents.created_at", bounds)
	condition, args = x.whereColumn(
		"workspaces.template_id", "agents.created_at > 0 AND agent_states.first_connected_at >= agents.created_at", args...,
	)
	rows, err := db.Raw(`SELECT `+workspaceNames+`, agents.name, `+columns+from+namesOfWorkspaces+`WHERE `+condition+`
		GROUP BY organizations.name, templates.name, users.username, workspaces.name, agents.name `+shownSince,
		append(args, At(since), At(since))...).Rows()
	if err != nil {
		return nil, 0, fmt.Errorf("read first connections: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		c := FirstConnections{Distribution: newDistribution(bounds)}
		if err := c.scan(rows, &c.Organization, &c.Template, &c.Owner, &c.Workspace, &c.Agent); err != nil {
			return nil, 0, fmt.Errorf("read first connections: %w", err)
		}
		spread = append(spread, c)
	}
	return spread, skewed, rows.Err()
}

// shownSince leaves out names whose workspaces were all deleted before a moment, which it takes twice. What it lets through
// is counted over all workspaces of the name, so that a count never falls while it is shown.
const shownSince = `HAVING MAX(CASE WHEN workspaces.deleted_at = 0 THEN ? ELSE workspaces.deleted_at END) >= ?`
