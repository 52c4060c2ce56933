package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
)

// AgentState is what an agent's reports say about the agent itself.
type AgentState struct {
	AgentID          uuid.UUID `gorm:"primaryKey"`
	Version          string    // empty: not known
	FirstConnectedAt Instant   // its first report ever
	LastSeenAt       Instant   // its last
	LegacySessions   *bool     // whether its last sessions came in the older form, which knows four apps; nil: not known
	DirectAt         Instant   // when it last reached a peer directly
	RelayedAt        Instant   // when it last reached a peer through a relay
	DERPRegion       string    `gorm:"column:derp_region"` // of its relay; empty: not known
}

// touchAgent keeps the first connection, and what was known where the new reports say nothing.
var touchAgent = clause.OnConflict{
	Columns: []clause.Column{{Name: "agent_id"}},
	DoUpdates: clause.Assignments(map[string]any{
		"version":         gorm.Expr("CASE WHEN excluded.version = '' THEN agent_states.version ELSE excluded.version END"),
		"derp_region":     gorm.Expr("CASE WHEN excluded.derp_region = '' THEN agent_states.derp_region ELSE excluded.derp_region END"),
		"legacy_sessions": gorm.Expr("COALESCE(excluded.legacy_sessions, agent_states.legacy_sessions)"),
		"last_seen_at":    later("last_seen_at"),
		"direct_at":       later("direct_at"),
		"relayed_at":      later("relayed_at"),
	}),
}

func later(column string) clause.Expr {
	return gorm.Expr("CASE WHEN excluded." + column + " > agent_states." + column + " THEN excluded." + column + " ELSE agent_states." + column + " END")
}

// TouchAgents notes that agents reported. The first connection stays what it was when first noted. Agents that are no longer in
// the catalog are left out.
func (s *Store) TouchAgents(ctx context.Context, agents []AgentState) error {
	ids := make([]uuid.UUID, len(agents))
	for i, a := range agents {
		ids[i] = a.AgentID
	}
	known, err := parents(s.lookups.WithContext(ctx), "agents", "workspace_id", ids)
	if err != nil {
		return err
	}
	agents = slices.DeleteFunc(slices.Clone(agents), func(a AgentState) bool { return known[a.AgentID] == uuid.Nil })
	slices.SortFunc(agents, func(a, b AgentState) int { return slices.Compare(a.AgentID[:], b.AgentID[:]) })
	for batch := range slices.Chunk(agents, writeBatch) {
		err := retryConflicts(ctx, func() error {
			return s.dialect.classify(s.writes.WithContext(ctx).Clauses(touchAgent).Create(&batch).Error)
		})
		if err != nil {
			return fmt.Errorf("note %d agents: %w", len(batch), err)
		}
	}
	return nil
}

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
func (s *Store) FirstConnections(ctx context.Context, scope access.Scope, bounds []float64, since time.Time) (spread []FirstConnections, skewed int64, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, 0, err
	}
	const from = ` FROM agent_states JOIN agents ON agents.id = agent_states.agent_id JOIN workspaces ON workspaces.id = agents.workspace_id `
	db := s.reads.WithContext(ctx)
	condition, args := x.whereColumn("workspaces.template_id", "agents.created_at > 0 AND agent_states.first_connected_at > 0 AND agent_states.first_connected_at < agents.created_at")
	if err := db.Raw(`SELECT COUNT(*)`+from+`WHERE `+condition, args...).Scan(&skewed).Error; err != nil {
		return nil, 0, fmt.Errorf("count skewed first connections: %w", err)
	}
	columns, args := distribution("agents.created_at", "agent_states.first_connected_at", bounds)
	condition, args = x.whereColumn("workspaces.template_id", "agents.created_at > 0 AND agent_states.first_connected_at >= agents.created_at", args...)
	rows, err := db.Raw(`SELECT `+workspaceNames+`, agents.name, `+columns+from+namesOfWorkspaces+`WHERE `+condition+`
		GROUP BY organizations.name, templates.name, users.username, workspaces.name, agents.name `+shownSince, append(args, At(since), At(since))...).Rows()
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
