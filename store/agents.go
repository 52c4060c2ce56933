package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
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

// TouchAgents notes that agents reported. The first connection stays what it was when first noted.
func (s *Store) TouchAgents(ctx context.Context, agents []AgentState) error {
	agents = slices.Clone(agents)
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
