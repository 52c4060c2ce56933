package store

import (
	"context"

	"github.com/google/uuid"
)

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
