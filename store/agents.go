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
}

// touchAgent keeps the first connection, and the version that was known if a report names none.
var touchAgent = clause.OnConflict{
	Columns: []clause.Column{{Name: "agent_id"}},
	DoUpdates: clause.Assignments(map[string]any{
		"version":      gorm.Expr("CASE WHEN excluded.version = '' THEN agent_states.version ELSE excluded.version END"),
		"last_seen_at": gorm.Expr("CASE WHEN excluded.last_seen_at > agent_states.last_seen_at THEN excluded.last_seen_at ELSE agent_states.last_seen_at END"),
	}),
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
