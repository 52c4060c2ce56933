package server

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
)

// agentsSeen collects what reports say about the agents themselves until it is written, once a minute.
type agentsSeen struct {
	mu     sync.Mutex
	states map[uuid.UUID]store.AgentState
}

func (a *agentsSeen) note(r agentReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.states == nil {
		a.states = map[uuid.UUID]store.AgentState{}
	}
	s, known := a.states[r.agent]
	if !known {
		s = store.AgentState{AgentID: r.agent, FirstConnectedAt: store.At(r.collected)}
	}
	if r.version != "" {
		s.Version = r.version
	}
	at := store.At(r.collected)
	if at.Before(s.FirstConnectedAt.Time) { // reports of the past come in any order
		s.FirstConnectedAt = at
	}
	for _, seen := range []struct {
		is bool
		at *store.Instant
	}{{true, &s.LastSeenAt}, {r.direct > 0, &s.DirectAt}, {r.relayed > 0, &s.RelayedAt}} {
		if seen.is && at.After(seen.at.Time) {
			*seen.at = at
		}
	}
	if r.region != "" {
		s.DERPRegion = r.region
	}
	if len(r.sessions) > 0 {
		s.LegacySessions = &r.legacy
	}
	a.states[r.agent] = s
}

// take empties the collection.
func (a *agentsSeen) take() []store.AgentState {
	a.mu.Lock()
	defer a.mu.Unlock()
	states := make([]store.AgentState, 0, len(a.states))
	for _, s := range a.states {
		states = append(states, s)
	}
	clear(a.states)
	return states
}

// touchAgents writes what was collected. If it fails the agents' next reports say the same again.
func (g *ingest) touchAgents(ctx context.Context) error {
	return g.store.TouchAgents(ctx, g.seen.take())
}
