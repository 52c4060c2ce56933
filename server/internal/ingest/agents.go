package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
)

// Bounds of what is written about agents.
const (
	touchAfter = 2 * time.Minute                 // reports later than this are written if they say nothing but that the agent is there
	touchQuiet = int64(time.Minute / touchEvery) // turns without a report after which an agent is silent
	touchBatch = 1000                            // agents written at a time; what a deadline cuts off is written at the next turn
)

// agentsSeen keeps what reports say about the agents themselves, and how much of it is still to be written.
type agentsSeen struct {
	mu     sync.Mutex
	states map[uuid.UUID]*agentSeen
	turn   int64 // of writing, the one to come
}

// agentSeen is one agent.
type agentSeen struct {
	store.AgentState
	changed  bool          // in more than the times
	reached  store.Instant // its last report with connections through a relay that is known
	region   string        // of that relay
	seat     int64         // that was reached so: a workspace that gets another owner is another seat
	reported int64         // the turn before which it reported last
	written  store.Instant // LastSeenAt at the last turn that took it
}

func (a *agentsSeen) note(r agentReport, subject int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.states == nil {
		a.states = map[uuid.UUID]*agentSeen{}
	}
	at := store.At(r.collected)
	s := a.states[r.agent]
	if s == nil {
		s = &agentSeen{AgentState: store.AgentState{AgentID: r.agent, FirstConnectedAt: at}, changed: true}
		a.states[r.agent] = s
	}
	s.reported = a.turn
	if r.version != "" && r.version != s.Version {
		s.Version, s.changed = r.version, true
	}
	if at.Before(s.FirstConnectedAt.Time) { // reports of the past come in any order
		s.FirstConnectedAt, s.changed = at, true
	}
	for _, seen := range []struct {
		is bool
		at *store.Instant
	}{{true, &s.LastSeenAt}, {r.direct > 0, &s.DirectAt}, {r.relayed > 0, &s.RelayedAt}} {
		if seen.is && at.After(seen.at.Time) {
			s.changed = s.changed || seen.at.IsZero()
			*seen.at = at
		}
	}
	if r.region != "" && r.region != s.DERPRegion {
		s.DERPRegion, s.changed = r.region, true
	}
	if r.region != "" && r.connections > 0 && at.After(s.reached.Time) {
		if s.reached = at; r.region != s.region || subject != s.seat {
			s.region, s.seat, s.changed = r.region, subject, true
			s.Reached = &store.SeatRegion{Subject: subject, HalfHour: int32(at.Unix() / 1800), Region: r.region}
		}
	}
	if len(r.sessions) > 0 && (s.LegacySessions == nil || *s.LegacySessions != r.legacy) {
		legacy := r.legacy // not a pointer into the report, which would stay with it
		s.LegacySessions, s.changed = &legacy, true
	}
}

// due are the agents to be written at this turn: those that changed, those that were last written long ago, and those that
// fell silent. Agents of which everything is written and that are silent are forgotten. Turns are so frequent that the agents
// of many reports are due one after the other and not all at once.
func (a *agentsSeen) due() []store.AgentState {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []store.AgentState
	for id, s := range a.states {
		ahead, silent := s.LastSeenAt.Sub(s.written.Time), a.turn-s.reported >= touchQuiet
		switch {
		case s.changed || ahead >= touchAfter || silent && ahead > 0:
			due = append(due, s.AgentState)
			s.changed, s.written, s.Reached = false, s.LastSeenAt, nil
		case silent:
			delete(a.states, id)
		}
	}
	a.turn++
	return due
}

// again makes agents due that could not be written.
func (a *agentsSeen) again(states []store.AgentState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, unwritten := range states {
		s := a.states[unwritten.AgentID]
		if s.changed = true; s.Reached == nil {
			s.Reached = unwritten.Reached
		}
	}
}

// touchAgents writes what is due. A call waits for another one: what one could not write must not look written to the other.
func (g *Service) touchAgents(ctx context.Context) error {
	g.touching.Lock()
	defer g.touching.Unlock()
	for due := g.seen.due(); len(due) > 0; {
		batch := due[:min(len(due), touchBatch)]
		if err := g.store.TouchAgents(ctx, batch); err != nil {
			g.seen.again(due)
			return err
		}
		due = due[len(batch):]
	}
	return nil
}
