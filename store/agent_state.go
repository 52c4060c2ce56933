package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
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
		last_seen_at = CASE WHEN excluded.last_seen_at > agent_states.last_seen_at THEN excluded.last_seen_at ELSE agent_states.last_seen_at
		END,
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
		err := retryConflicts(ctx, func() error { return s.dialect.classify(s.dialect.touch(ctx, s.writes.WithContext(ctx), batch)) })
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

func (d postgresDialect) touch(ctx context.Context, db *gorm.DB, agents []AgentState) error {
	const insert = `INSERT INTO agent_states (` + touchColumns + `) SELECT ` + touchColumns + ` FROM ` + touchGiven + `
		WHERE EXISTS (SELECT 1 FROM agents WHERE agents.id = given.agent_id)` + touchTail
	return updateOrInsert(ctx, d, db, touchPostgres, insert, agents, func(agents []AgentState) []any {
		ids, versions, regions, legacy := make([][16]byte, len(agents)), make([]string, len(agents)), make([]string, len(agents)),
			make([]*bool, len(agents))
		first, last, direct, relayed := make([]int64, len(agents)), make([]int64, len(agents)), make([]int64, len(agents)),
			make([]int64, len(agents))
		for i, a := range agents {
			ids[i], versions[i], regions[i], legacy[i] = a.AgentID, a.Version, a.DERPRegion, a.LegacySessions
			first[i], last[i], direct[i], relayed[i] = a.FirstConnectedAt.micros(), a.LastSeenAt.micros(), a.DirectAt.micros(),
				a.RelayedAt.micros()
		}
		return []any{ids, versions, first, last, legacy, direct, relayed, regions}
	})
}

func (sqliteDialect) touch(ctx context.Context, db *gorm.DB, agents []AgentState) error {
	const statement = `INSERT INTO agent_states (` + touchColumns +
		`) SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM agents WHERE id = ?)` + touchTail
	return executeEach(ctx, db, statement, agents, func(a AgentState) []any {
		return []any{
			a.AgentID, a.Version, a.FirstConnectedAt, a.LastSeenAt, a.LegacySessions, a.DirectAt, a.RelayedAt, a.DERPRegion, a.AgentID,
		}
	}, func() {})
}

// AgentCondition is the state of an agent as the control plane tells it.
type AgentCondition struct {
	AgentID        uuid.UUID `gorm:"primaryKey"`
	At             Instant   // of the event that says so
	Status         string    // connecting, connected, disconnected or timeout
	LifecycleState string
	AppHealth      map[string]string `gorm:"serializer:json"` // of its apps by slug
}

// RecordAgentConditions keeps the newest condition of each agent.
func (s *Store) RecordAgentConditions(ctx context.Context, conditions []AgentCondition) error {
	return recordNewest(ctx, s, conditions, func(c AgentCondition) uuid.UUID { return c.AgentID }, nil)
}
