package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Placement says where the reports of an agent belong, as the catalog has it at this moment.
type Placement struct {
	Agent        uuid.UUID
	Workspace    uuid.UUID
	Template     uuid.UUID
	Organization uuid.UUID
	Owner        uuid.UUID
	Subject      int64       // of the owner
	DeletedAt    time.Time   // when the workspace or the agent was deleted; zero while it lives
	Mode         PrivacyMode // of the organization
}

// Directory remembers where agents belong. Its owner refreshes it every second with the changes that any server made, so a Directory is
// at most one second behind the catalog.
type Directory struct {
	store  *Store
	memory atomic.Pointer[memory]

	mu   sync.Mutex
	next *lookup // the lookup that callers may still join; nil: none

	looking chan struct{}                // holds one for each lookup at work
	modes   atomic.Pointer[PrivacyModes] // nil: not read yet

	refreshing sync.Mutex // held by Refresh
	seen       changes    // the changes that the last Refresh read
}

// memory holds the placements and the subjects that a directory remembers. Forget replaces the memory by an empty one: a lookup that
// began before Forget writes into the old memory, which nobody reads any more.
type memory struct {
	agents   *lru.Cache[uuid.UUID, knownAgent]
	subjects *lru.Cache[uuid.UUID, int64]
}

func newMemory() *memory {
	return &memory{newLRU[uuid.UUID, knownAgent](maxDirectory), newLRU[uuid.UUID, int64](maxDirectory)}
}

// newLRU makes a cache of a size above zero, which cannot fail.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err)
	}
	return cache
}

// changes is a fingerprint of the latest changes of workspaces: another change makes another fingerprint.
type changes struct {
	since Instant
	count int64
	sum   int64 // of the microseconds from since to each change; a change by a server with a slow clock changes the sum, not the maximum
}

// knownAgent is the placement of an agent, with the time of the last change of its workspace that the placement includes.
type knownAgent struct {
	Placement
	changed Instant
}

// lookup is one statement for the agents of many callers, who all ask at the same time when a server starts.
type lookup struct {
	agents []uuid.UUID
	ended  chan struct{} // closed when the fields below are set

	found     map[uuid.UUID]knownAgent
	err       error
	abandoned bool // the caller that ran it gave up; the others ask again
}

const (
	maxLookup  = 500 // agents of a lookup
	maxLooking = 2   // lookups at work; callers that come meanwhile share the next lookup
)

// maxDirectory bounds the agents and the users that a directory remembers: about 280 MB and 130 MB when full.
const maxDirectory = 1 << 20

// NewDirectory returns an empty directory. Its owner calls Refresh.
func (s *Store) NewDirectory() *Directory {
	d := &Directory{store: s, looking: make(chan struct{}, maxLooking)}
	d.memory.Store(newMemory())
	return d
}

// Place returns where an agent belongs; ok is false for an agent that is not in the catalog (yet).
func (d *Directory) Place(ctx context.Context, agent uuid.UUID) (p Placement, ok bool, err error) {
	known, ok, err := d.place(ctx, agent)
	if err != nil {
		return Placement{}, false, err
	}
	modes, err := d.PrivacyModes(ctx)
	p = known.Placement
	p.Mode = modes.Of(p.Organization)
	return p, ok, err
}

// PrivacyModes are the modes that held at the last refresh.
func (d *Directory) PrivacyModes(ctx context.Context) (PrivacyModes, error) {
	if modes := d.modes.Load(); modes != nil {
		return *modes, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return d.refreshModes(ctx)
}

func (d *Directory) refreshModes(ctx context.Context) (PrivacyModes, error) {
	modes, err := d.store.PrivacyModes(ctx)
	if err == nil {
		d.modes.Store(&modes)
	}
	return modes, err
}

// place returns the placement of an agent from memory, or else from the catalog.
func (d *Directory) place(ctx context.Context, agent uuid.UUID) (known knownAgent, ok bool, err error) {
	if known, ok = d.memory.Load().agents.Get(agent); ok {
		return known, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	for ctx.Err() == nil {
		l, first := d.join(agent)
		if first {
			d.run(ctx, l)
		}
		select {
		case <-l.ended:
			if !l.abandoned {
				known, ok = l.found[agent]
				return known, ok, l.err
			}
		case <-ctx.Done():
		}
	}
	return knownAgent{}, false, fmt.Errorf("look for agent %s: %w", agent, ctx.Err())
}

// join adds an agent to the next lookup. The first caller of a lookup has to run it.
func (d *Directory) join(agent uuid.UUID) (l *lookup, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first = d.next == nil || len(d.next.agents) == maxLookup; first {
		d.next = &lookup{ended: make(chan struct{})}
	}
	d.next.agents = append(d.next.agents, agent)
	return d.next, first
}

// run waits until fewer than maxLooking lookups are at work, closes the lookup for further callers, and executes it.
func (d *Directory) run(ctx context.Context, l *lookup) {
	defer close(l.ended)
	l.abandoned = true // should this panic
	select {
	case d.looking <- struct{}{}:
		defer func() { <-d.looking }()
	case <-ctx.Done():
	}
	d.mu.Lock()
	if d.next == l {
		d.next = nil
	}
	agents := d.memory.Load().agents
	d.mu.Unlock()
	// Every caller of the lookup needs the modes as well: when a server starts, one reads them here for all.
	if _, l.err = d.PrivacyModes(ctx); l.err == nil {
		l.found, l.err = d.store.placements(ctx, l.agents)
	}
	l.abandoned = l.err != nil && ctx.Err() != nil
	for agent, known := range l.found {
		agents.Add(agent, known)
	}
}

// Subject returns the number of a user; ok is false for a user who is not in the catalog (yet).
func (d *Directory) Subject(ctx context.Context, user uuid.UUID) (subject int64, ok bool, err error) {
	remembered := d.memory.Load().subjects
	if subject, ok = remembered.Get(user); ok {
		return subject, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	kept, err := d.store.KeptAs(ctx, user)
	if err != nil {
		return 0, false, err
	}
	var known int64
	if err := d.store.lookups.WithContext(ctx).Model(&User{}).Where("id = ?", kept).Count(&known).Error; err != nil {
		return 0, false, fmt.Errorf("look for user %s: %w", user, err)
	}
	if known == 0 {
		return 0, false, nil
	}
	subjects, err := d.store.Subjects(ctx, []uuid.UUID{kept})
	if err != nil || subjects[kept] == 0 {
		return 0, false, err
	}
	remembered.Add(user, subjects[kept])
	return subjects[kept], true, nil
}

// directoryOverlap is how far Refresh looks back. It is longer than the clocks of servers differ, and longer than a change of the
// catalog takes to commit.
const directoryOverlap = 30 * time.Second

// changeTime is the moment that a workspace gets as changed_at when it is written. It is that of the real clock, because every
// directory looks for the changes of the last seconds, and the clock of a store may stand still.
func changeTime() Instant { return At(time.Now()) }

// Refresh reads the privacy modes, and forgets an agent if its workspace changed after the lookup of the agent. A Refresh waits for
// another one.
func (d *Directory) Refresh(ctx context.Context) error {
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	if _, err := d.refreshModes(ctx); err != nil {
		return fmt.Errorf("refresh directory: %w", err)
	}
	// The moment moves in steps. Between two steps the fingerprint stays the same until there is another change, so that Refresh reads
	// the agents of a large change once and not every second.
	now := changes{since: At(changeTime().Truncate(directoryOverlap).Add(-directoryOverlap))}
	db := d.store.lookups.WithContext(ctx)
	if err := db.Raw(
		`SELECT COUNT(*), COALESCE(CAST(SUM(changed_at - ?) AS bigint), 0) FROM workspaces WHERE changed_at > ?`, now.since, now.since,
	).Row().Scan(&now.count, &now.sum); err != nil {
		return fmt.Errorf("refresh directory: look for changes: %w", err)
	}
	if now == d.seen {
		return nil
	}
	var changed []struct {
		ID        uuid.UUID
		ChangedAt Instant
	}
	err := db.Raw(`SELECT agents.id, workspaces.changed_at FROM workspaces JOIN agents ON agents.workspace_id = workspaces.id
		WHERE workspaces.changed_at > ?`, now.since).Scan(&changed).Error
	if err != nil {
		return fmt.Errorf("refresh directory: %w", err)
	}
	d.seen = now
	agents := d.memory.Load().agents
	for _, c := range changed {
		if known, ok := agents.Peek(c.ID); ok && !known.changed.Equal(c.ChangedAt.Time) {
			agents.Remove(c.ID)
		}
	}
	return nil
}

// Forget empties the directory. Its owner calls it after users were erased.
func (d *Directory) Forget() {
	d.memory.Store(newMemory())
}

// placements reads the placements of agents. An agent that the catalog does not know is absent. An owner without a subject gets one.
func (s *Store) placements(ctx context.Context, agents []uuid.UUID) (map[uuid.UUID]knownAgent, error) {
	var rows []struct {
		Agent, Workspace, Template, Organization, Owner uuid.UUID
		Subject                                         int64
		AgentDeleted, WorkspaceDeleted, Changed         Instant
	}
	err := s.lookups.WithContext(ctx).Raw(`SELECT agents.id AS agent, agents.workspace_id AS workspace, workspaces.template_id AS template,
			templates.organization_id AS organization, workspaces.owner_id AS owner, COALESCE(subjects.subject, 0) AS subject,
			agents.deleted_at AS agent_deleted, workspaces.deleted_at AS workspace_deleted, workspaces.changed_at AS changed
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id JOIN templates ON templates.id = workspaces.template_id
		LEFT JOIN subjects ON subjects.user_id = workspaces.owner_id WHERE agents.id IN ?`, agents).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("look for %d agents: %w", len(agents), err)
	}
	var strangers []uuid.UUID
	found := make(map[uuid.UUID]knownAgent, len(rows))
	for _, r := range rows {
		known := knownAgent{Placement{
			Agent: r.Agent, Workspace: r.Workspace, Template: r.Template, Organization: r.Organization, Owner: r.Owner, Subject: r.Subject,
		}, r.Changed}
		known.DeletedAt = r.WorkspaceDeleted.Time
		if known.DeletedAt.IsZero() || !r.AgentDeleted.IsZero() && r.AgentDeleted.Before(known.DeletedAt) {
			known.DeletedAt = r.AgentDeleted.Time
		}
		if r.Subject == 0 {
			strangers = append(strangers, r.Owner)
		}
		found[r.Agent] = known
	}
	if len(strangers) == 0 {
		return found, nil
	}
	subjects, err := s.Subjects(ctx, strangers)
	if err != nil {
		return nil, err
	}
	for agent, known := range found {
		if known.Subject != 0 {
			continue
		}
		if known.Subject = subjects[known.Owner]; known.Subject == 0 {
			delete(found, agent) // its owner was erased just now
			continue
		}
		found[agent] = known
	}
	return found, nil
}
