package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/db"
)

// AgentState is what an agent's reports say about the agent itself.
type AgentState struct {
	AgentID          uuid.UUID   `gorm:"primaryKey"`
	Version          string      // empty: not known
	FirstConnectedAt Instant     // its first report ever
	LastSeenAt       Instant     // its last
	LegacySessions   *bool       // whether its last sessions came in the older form, which knows four apps; nil: not known
	DirectAt         Instant     // when it last reached a peer directly
	RelayedAt        Instant     // when it last reached a peer through a relay
	DERPRegion       string      `gorm:"column:derp_region"` // of its relay; empty: not known
	Reached          *SeatRegion `gorm:"-"`                  // what is to be kept of its seat; nil: nothing new
}

// SeatRegion is through which relay somebody reached a seat, from a half hour on.
type SeatRegion struct {
	Subject  int64
	HalfHour int32 // counted from the Unix epoch
	Region   string
}

// seatRegions says how regions of seats are kept: where one differs from the one before. Of a half hour the last one counts.
var seatRegions = db.Upsert[SeatRegion]{
	Table:   "seat_regions",
	Columns: []string{"subject", "half_hour", "region"},
	Types:   []string{"bigint", "int", "text"},
	Key:     []string{"subject", "half_hour"},
	Set:     `region = excluded.region`,
	Changes: `seat_regions.region <> excluded.region`,
	Among: `given.region <> COALESCE((SELECT earlier.region FROM seat_regions AS earlier WHERE earlier.subject = given.subject
		AND earlier.half_hour < given.half_hour ORDER BY earlier.half_hour DESC LIMIT 1), '')`,
	Arrays: func(regions []SeatRegion) []any {
		subjects, halfHours, names := make([]int64, len(regions)), make([]int32, len(regions)), make([]string, len(regions))
		for i, r := range regions {
			subjects[i], halfHours[i], names[i] = r.Subject, r.HalfHour, r.Region
		}
		return []any{subjects, halfHours, names}
	},
	Values: func(r SeatRegion) []any { return []any{r.Subject, r.HalfHour, r.Region} },
}

// touchedAgents says how the states of agents are kept: the first connection stays, and what was known where the new reports say nothing.
// Agents that are no longer in the catalog are left out.
var touchedAgents = db.Upsert[AgentState]{
	Table: "agent_states",
	Columns: []string{
		"agent_id", "version", "first_connected_at", "last_seen_at", "legacy_sessions", "direct_at", "relayed_at", "derp_region",
	},
	Types: []string{"uuid", "text", "bigint", "bigint", "bool", "bigint", "bigint", "text"},
	Key:   []string{"agent_id"},
	Set: `version = CASE WHEN excluded.version = '' THEN agent_states.version ELSE excluded.version END,
		derp_region = CASE WHEN excluded.derp_region = '' THEN agent_states.derp_region ELSE excluded.derp_region END,
		legacy_sessions = COALESCE(excluded.legacy_sessions, agent_states.legacy_sessions),
		last_seen_at = CASE WHEN excluded.last_seen_at > agent_states.last_seen_at THEN excluded.last_seen_at ELSE agent_states.last_seen_at
		END,
		direct_at = CASE WHEN excluded.direct_at > agent_states.direct_at THEN excluded.direct_at ELSE agent_states.direct_at END,
		relayed_at = CASE WHEN excluded.relayed_at > agent_states.relayed_at THEN excluded.relayed_at ELSE agent_states.relayed_at END`,
	Among: `EXISTS (SELECT 1 FROM agents WHERE agents.id = given.agent_id)`,
	Arrays: func(agents []AgentState) []any {
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
	},
	Values: func(a AgentState) []any {
		return []any{a.AgentID, a.Version, a.FirstConnectedAt, a.LastSeenAt, a.LegacySessions, a.DirectAt, a.RelayedAt, a.DERPRegion}
	},
}

// TouchAgents notes that agents reported. The first connection stays what it was when first noted. Agents that are no longer in
// the catalog are left out.
func (s *Store) TouchAgents(ctx context.Context, agents []AgentState) error {
	agents = slices.Clone(agents)
	slices.SortFunc(agents, func(a, b AgentState) int { return slices.Compare(a.AgentID[:], b.AgentID[:]) })
	if err := db.UpsertAll(ctx, s.db, touchedAgents, agents); err != nil {
		return fmt.Errorf("note %d agents: %w", len(agents), err)
	}
	reached := map[[2]int64]SeatRegion{} // a seat may have several agents
	for _, a := range agents {
		if r := a.Reached; r != nil {
			reached[[2]int64{r.Subject, int64(r.HalfHour)}] = *r
		}
	}
	regions := slices.SortedFunc(maps.Values(reached), func(a, b SeatRegion) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.HalfHour, b.HalfHour))
	})
	if err := db.UpsertAll(ctx, s.db, seatRegions, regions); err != nil {
		return fmt.Errorf("note regions of %d seats: %w", len(regions), err)
	}
	return nil
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
