package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

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

// The touch keeps the first connection, and what was known where the new reports say nothing. Agents that are no longer in the
// catalog are left out. What is written is called excluded, as ON CONFLICT does.
const (
	touchColumns = `agent_id, version, first_connected_at, last_seen_at, legacy_sessions, direct_at, relayed_at, derp_region`
	touchSet     = ` SET version = CASE WHEN excluded.version = '' THEN agent_states.version ELSE excluded.version END,
		derp_region = CASE WHEN excluded.derp_region = '' THEN agent_states.derp_region ELSE excluded.derp_region END,
		legacy_sessions = COALESCE(excluded.legacy_sessions, agent_states.legacy_sessions),
		last_seen_at = CASE WHEN excluded.last_seen_at > agent_states.last_seen_at THEN excluded.last_seen_at ELSE agent_states.last_seen_at END,
		direct_at = CASE WHEN excluded.direct_at > agent_states.direct_at THEN excluded.direct_at ELSE agent_states.direct_at END,
		relayed_at = CASE WHEN excluded.relayed_at > agent_states.relayed_at THEN excluded.relayed_at ELSE agent_states.relayed_at END`
	touchTail = ` ON CONFLICT (agent_id) DO UPDATE` + touchSet
)

// TouchAgents notes that agents reported. The first connection stays what it was when first noted. Agents that are no longer in
// the catalog are left out.
func (s *Store) TouchAgents(ctx context.Context, agents []AgentState) error {
	agents = slices.Clone(agents)
	slices.SortFunc(agents, func(a, b AgentState) int { return slices.Compare(a.AgentID[:], b.AgentID[:]) })
	for batch := range slices.Chunk(agents, writeBatch) {
		err := retryConflicts(ctx, func() error { return s.dialect.classify(s.dialect.touch(ctx, s.writes, batch)) })
		if err != nil {
			return fmt.Errorf("note %d agents: %w", len(batch), err)
		}
	}
	return nil
}

const touchGiven = `unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bigint[], $7::bigint[], $8::text[])
	WITH ORDINALITY AS given(` + touchColumns + `, number)`

// touchPostgres updates the agents that reported before, which are most, as mergePostgres does.
const touchPostgres = `WITH given AS MATERIALIZED (SELECT * FROM ` + touchGiven + `), updated AS (
		UPDATE agent_states` + touchSet + ` FROM given AS excluded WHERE agent_states.agent_id = excluded.agent_id RETURNING excluded.number
	)
	SELECT COALESCE(string_agg(CAST(number AS text), ',' ORDER BY number), '') FROM given WHERE number NOT IN (SELECT number FROM updated)`

func (postgresDialect) touch(ctx context.Context, db *gorm.DB, agents []AgentState) error {
	const insert = `INSERT INTO agent_states (` + touchColumns + `) SELECT ` + touchColumns + ` FROM ` + touchGiven + `
		WHERE EXISTS (SELECT 1 FROM agents WHERE agents.id = given.agent_id)` + touchTail
	return updateOrInsert(ctx, db, touchPostgres, insert, agents, func(agents []AgentState) []any {
		ids, versions, regions, legacy := make([][16]byte, len(agents)), make([]string, len(agents)), make([]string, len(agents)), make([]*bool, len(agents))
		first, last, direct, relayed := make([]int64, len(agents)), make([]int64, len(agents)), make([]int64, len(agents)), make([]int64, len(agents))
		for i, a := range agents {
			ids[i], versions[i], regions[i], legacy[i] = a.AgentID, a.Version, a.DERPRegion, a.LegacySessions
			first[i], last[i], direct[i], relayed[i] = a.FirstConnectedAt.micros(), a.LastSeenAt.micros(), a.DirectAt.micros(), a.RelayedAt.micros()
		}
		return []any{ids, versions, first, last, legacy, direct, relayed, regions}
	})
}

func (sqliteDialect) touch(ctx context.Context, db *gorm.DB, agents []AgentState) error {
	const statement = `INSERT INTO agent_states (` + touchColumns + `) SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM agents WHERE id = ?)` + touchTail
	return executeEach(ctx, db, statement, agents, func(a AgentState) []any {
		return []any{a.AgentID, a.Version, a.FirstConnectedAt, a.LastSeenAt, a.LegacySessions, a.DirectAt, a.RelayedAt, a.DERPRegion, a.AgentID}
	}, func() {})
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
