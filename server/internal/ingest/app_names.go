package ingest

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
)

// Bounds of the names of apps that a template collects, on one server: rows, pages and answers stay small whatever agents
// call their sessions and however many ports people open. What is beyond is counted under another name, and lost nowhere.
const (
	MaxAppNames = 500 // of one template in a UTC day, beside the names that the service knows and the apps that agents declare
	MaxNewNames = 64  // that one agent may add to them in a minute: as many as one report may have
)

// Names under which the names beyond the bounds are counted.
const (
	otherSession = store.UnknownSession
	otherApp     = "[other]" // no slug looks like it
)

// appNames remembers the names of apps of the present day.
type appNames struct {
	store *store.Store
	clock func() time.Time

	mu        sync.Mutex
	day       int64
	minute    int64
	templates map[uuid.UUID]map[string]struct{}
	added     map[uuid.UUID]int // in this minute, by agent
}

func newAppNames(s *store.Store, clock func() time.Time) *appNames {
	return &appNames{store: s, clock: clock, templates: map[uuid.UUID]map[string]struct{}{}, added: map[uuid.UUID]int{}}
}

// bound bounds the names of the sessions that an agent of a template has open: sessions of apps beyond the bounds become those of
// another name. It returns the names that are left, ascending.
func (n *appNames) bound(known *apps.List, p store.Placement, sessions map[string]int64) []string {
	for _, name := range slices.Sorted(maps.Keys(sessions)) {
		if name != otherSession && !known.Listed(name) && !n.admit(p.Template, p.Agent, name) {
			sessions[otherSession] = min(sessions[otherSession], math.MaxInt64-sessions[name]) + sessions[name]
			delete(sessions, name)
		}
	}
	return slices.Sorted(maps.Keys(sessions))
}

// app is the name of an app that was visited through a proxy.
func (n *appNames) app(ctx context.Context, p store.Placement, name string) (string, error) {
	if name == store.TerminalApp || n.admit(p.Template, uuid.Nil, name) {
		return name, nil
	}
	declared, err := n.store.DeclaresApp(ctx, p.Template, name)
	if err != nil || declared {
		return name, err
	}
	return otherApp, nil
}

// admit adds a name to those of a template if there is room. The agent is uuid.Nil for a proxy, which may add any number in a
// minute.
func (n *appNames) admit(template, agent uuid.UUID, name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock().Unix()
	if day := now / (24 * 60 * 60); day != n.day {
		n.day = day
		clear(n.templates)
	}
	if minute := now / 60; minute != n.minute {
		n.minute = minute
		clear(n.added)
	}
	names := n.templates[template]
	if _, known := names[name]; known {
		return true
	}
	if len(names) == MaxAppNames || n.added[agent] == MaxNewNames {
		return false
	}
	if names == nil {
		names = map[string]struct{}{}
		n.templates[template] = names
	}
	names[name] = struct{}{}
	if agent != uuid.Nil {
		n.added[agent]++
	}
	return true
}
