package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"gorm.io/gorm"
)

// Placement says where the reports of an agent belong, as the catalog has it at this moment.
type Placement struct {
	Agent        uuid.UUID
	Workspace    uuid.UUID
	Template     uuid.UUID
	Organization uuid.UUID
	Owner        uuid.UUID
	Subject      int64       // of the owner at the workspace
	DeletedAt    time.Time   // when the workspace or the agent was deleted; zero while it lives
	Mode         PrivacyMode // of the organization
}

// Directory remembers where agents belong. A placement that it returns is never older than a second, and never older than a change that
// its Store made before. Its owner refreshes it often enough that nobody waits for that.
type Directory struct {
	store  *Store
	memory atomic.Pointer[memory]
	newest atomic.Pointer[catalogView] // nil: none yet

	mu   sync.Mutex // held when next, newest or the memory of agents changes
	next *lookup    // the lookup that callers may still join; nil: none

	looking chan struct{} // holds one for each lookup at work
	viewing chan struct{} // holds one while the version is read
}

// catalogView is what a directory knows of the catalog as a whole. All changes up to its version are in the memory of the directory.
type catalogView struct {
	version Instant
	modes   PrivacyModes
	changes int64     // of the store, before it was read
	begun   time.Time // when reading it began
}

// viewLifetime is how long a view counts from the moment at which reading it began.
const viewLifetime = time.Second

// memory holds the placements and the subjects that a directory remembers. Forget replaces the memory by an empty one: a lookup that
// began before Forget writes into the old memory, which nobody reads any more.
type memory struct {
	agents   *lru.Cache[uuid.UUID, Placement] // without mode
	subjects *lru.Cache[Visit, int64]
}

func newMemory() *memory {
	return &memory{newLRU[uuid.UUID, Placement](maxDirectory), newLRU[Visit, int64](maxDirectory)}
}

// newLRU makes a cache of a size above zero, which cannot fail.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err)
	}
	return cache
}

// lookup is what many callers ask at the same time: when a server starts, for all their agents, and when the newest view is too old,
// for another one.
type lookup struct {
	agents []uuid.UUID
	ended  chan struct{} // closed when the fields below are set

	view      *catalogView // current, or read after the last caller joined
	found     map[uuid.UUID]Placement
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
	d := &Directory{store: s, looking: make(chan struct{}, maxLooking), viewing: make(chan struct{}, 1)}
	d.memory.Store(newMemory())
	return d
}

// Place returns where an agent belongs; ok is false for an agent that is not in the catalog (yet).
func (d *Directory) Place(ctx context.Context, agent uuid.UUID) (p Placement, ok bool, err error) {
	view, found := d.current(), map[uuid.UUID]Placement(nil)
	if view != nil {
		p, ok = d.memory.Load().agents.Get(agent)
	}
	if !ok {
		if view, found, err = d.look(ctx, agent); err != nil {
			return Placement{}, false, fmt.Errorf("look for agent %s: %w", agent, err)
		}
		p, ok = found[agent]
	}
	p.Mode = view.modes.Of(p.Organization)
	return p, ok, nil
}

// PrivacyModes are the modes that hold, no older than a placement.
func (d *Directory) PrivacyModes(ctx context.Context) (PrivacyModes, error) {
	view := d.current()
	if view == nil {
		var err error
		if view, _, err = d.look(ctx); err != nil {
			return PrivacyModes{}, fmt.Errorf("look for privacy modes: %w", err)
		}
	}
	return view.modes, nil
}

// current is the newest view if it counts: if it is young, and no older than a change that this server made.
func (d *Directory) current() *catalogView {
	view := d.newest.Load()
	if view == nil || view.changes != d.store.catalogChanges.Load() || time.Since(view.begun) > viewLifetime {
		return nil
	}
	return view
}

// look asks for agents together with all who ask at the same time. The view that it returns is current or was read after the call began,
// however long the database took to answer.
func (d *Directory) look(ctx context.Context, agents ...uuid.UUID) (*catalogView, map[uuid.UUID]Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	for ctx.Err() == nil {
		l, first := d.join(agents)
		if first {
			d.run(ctx, l)
		}
		select {
		case <-l.ended:
			if !l.abandoned {
				return l.view, l.found, l.err
			}
		case <-ctx.Done():
		}
	}
	return nil, nil, ctx.Err()
}

// join adds agents to the next lookup. The first caller of a lookup has to run it.
func (d *Directory) join(agents []uuid.UUID) (l *lookup, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first = d.next == nil || len(d.next.agents) == maxLookup; first {
		d.next = &lookup{ended: make(chan struct{})}
	}
	d.next.agents = append(d.next.agents, agents...)
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
	d.mu.Unlock()
	if l.view, l.err = d.view(ctx); l.err == nil {
		l.found, l.err = d.find(ctx, l.view, l.agents)
	}
	l.abandoned = l.err != nil && ctx.Err() != nil
}

// view returns the current view, or else reads one.
func (d *Directory) view(ctx context.Context) (*catalogView, error) {
	select {
	case d.viewing <- struct{}{}:
		defer func() { <-d.viewing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if view := d.current(); view != nil { // somebody else read it meanwhile
		return view, nil
	}
	return d.readView(ctx)
}

// find returns the placements of agents from memory, or else from the catalog. It does not remember what it read while the version
// moved: that may be from before.
func (d *Directory) find(ctx context.Context, view *catalogView, agents []uuid.UUID) (map[uuid.UUID]Placement, error) {
	remembered, found := d.memory.Load().agents, make(map[uuid.UUID]Placement, len(agents))
	var unknown []uuid.UUID
	for _, agent := range agents {
		if p, ok := remembered.Get(agent); ok {
			found[agent] = p
		} else {
			unknown = append(unknown, agent)
		}
	}
	if len(unknown) == 0 {
		return found, nil
	}
	read, err := d.store.placements(ctx, unknown)
	if err != nil {
		return nil, err
	}
	maps.Copy(found, read)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest.Load().version.Equal(view.version.Time) {
		for agent, p := range read {
			remembered.Add(agent, p)
		}
	}
	return found, nil
}

// Subjects returns the numbers of users at workspaces that exist, or at no known one. Users who are not in the catalog (yet) have none.
func (d *Directory) Subjects(ctx context.Context, visits []Visit) (map[Visit]int64, error) {
	remembered, subjects := d.memory.Load().subjects, make(map[Visit]int64, len(visits))
	var fresh []Visit
	for _, v := range visits {
		if subject, ok := remembered.Get(v); ok {
			subjects[v] = subject
		} else {
			fresh = append(fresh, v)
		}
	}
	if len(fresh) == 0 {
		return subjects, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	known, err := d.store.inCatalog(ctx, fresh)
	if err != nil {
		return nil, err
	}
	read, err := d.store.Subjects(ctx, known)
	if err != nil {
		return nil, err
	}
	for v, subject := range read {
		remembered.Add(v, subject)
		subjects[v] = subject
	}
	return subjects, nil
}

// inCatalog are the visits of users who are in the catalog.
func (s *Store) inCatalog(ctx context.Context, visits []Visit) ([]Visit, error) {
	db, users := s.db.Lookups.WithContext(ctx), usersOf(visits)
	kept, err := s.keptAs(db, users)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(users))
	for i, user := range users {
		ids[i] = idIn(kept, user)
	}
	known, err := parents(db, "users", "id", ids)
	if err != nil {
		return nil, fmt.Errorf("look for %d users: %w", len(users), err)
	}
	return slices.DeleteFunc(slices.Clone(visits), func(v Visit) bool {
		_, found := known[idIn(kept, v.User)]
		return !found
	}), nil
}

// Refresh reads a view, however young the newest one is.
func (d *Directory) Refresh(ctx context.Context) error {
	select {
	case d.viewing <- struct{}{}:
		defer func() { <-d.viewing }()
	case <-ctx.Done():
		return fmt.Errorf("refresh directory: %w", ctx.Err())
	}
	if _, err := d.readView(ctx); err != nil {
		return fmt.Errorf("refresh directory: %w", err)
	}
	return nil
}

// versionTimeout bounds reading the version: what is at hand then is worth no more waiting, and another connection may answer.
const versionTimeout = 2 * time.Second

// readView reads the version and, if it moved, the modes and which agents changed, which the directory forgets. The caller holds
// d.viewing.
func (d *Directory) readView(ctx context.Context) (*catalogView, error) {
	last := d.newest.Load()
	view := &catalogView{changes: d.store.catalogChanges.Load(), begun: time.Now()} // the real clock: it is about age alone
	reading, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	err := d.store.db.Lookups.WithContext(reading).Raw(`SELECT COALESCE(MAX(version), 0) FROM catalog_version`).Row().Scan(&view.version)
	if err != nil {
		return nil, fmt.Errorf("read version of the catalog: %w", err)
	}
	var changed []uuid.UUID
	if last != nil && last.version.Equal(view.version.Time) {
		view.modes = last.modes
	} else if view.modes, err = d.store.PrivacyModes(ctx); err != nil {
		return nil, err
	} else if last != nil { // without one nothing is remembered
		err = d.store.db.Lookups.WithContext(ctx).Raw(`SELECT agents.id FROM workspaces JOIN agents ON agents.workspace_id = workspaces.id
			WHERE workspaces.changed_at > ?`, last.version).Scan(&changed).Error
		if err != nil {
			return nil, fmt.Errorf("read what changed in the catalog: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	agents := d.memory.Load().agents
	for _, agent := range changed {
		agents.Remove(agent)
	}
	d.newest.Store(view)
	return view, nil
}

// raiseVersion gives the catalog its next version, and the workspaces that changed as well. It is the last thing that a transaction
// does, so that no other one waits for long: whoever reads a version finds all changes up to it committed. The transaction wrote the
// workspaces before, so that it does not wait for one of them while others wait for the version.
//
// A version is a moment in real time, or a microsecond more than the version before if that is later by the clock of another server.
func raiseVersion(tx *gorm.DB, workspaces []uuid.UUID) error {
	version, err := raise(tx, "catalog_version")
	if err != nil {
		return fmt.Errorf("raise version of the catalog: %w", err)
	}
	for batch := range slices.Chunk(workspaces, readBatch) {
		if err := tx.Exec(`UPDATE workspaces SET changed_at = ? WHERE id IN ?`, version, batch).Error; err != nil {
			return fmt.Errorf("mark workspaces as changed: %w", err)
		}
	}
	return nil
}

// nextVersion is the version that takes the place of the stored one, where the present moment is to be inserted.
const nextVersion = `CASE WHEN stored.version < excluded.version THEN excluded.version ELSE stored.version + 1 END`

// raise raises the version that a table holds in its one row, and returns it.
func raise(tx *gorm.DB, table string) (version Instant, err error) {
	err = tx.Raw(`INSERT INTO `+table+` AS stored (id, version) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET version = `+nextVersion+`
		RETURNING version`, At(time.Now())).Row().Scan(&version)
	return version, err
}

// Forget empties the directory. Its owner calls it after users were erased.
func (d *Directory) Forget() {
	d.memory.Store(newMemory())
}

// placements reads the placements of agents, without modes. An agent that the catalog does not know is absent. An owner without a seat
// gets one.
func (s *Store) placements(ctx context.Context, agents []uuid.UUID) (map[uuid.UUID]Placement, error) {
	var rows []struct {
		Agent, Workspace, Template, Organization, Owner uuid.UUID
		Subject                                         int64
		AgentDeleted, WorkspaceDeleted                  Instant
	}
	err := s.db.Lookups.WithContext(ctx).Raw(
		`SELECT agents.id AS agent, agents.workspace_id AS workspace, workspaces.template_id AS template,
			templates.organization_id AS organization, workspaces.owner_id AS owner, COALESCE(seats.subject, 0) AS subject,
			agents.deleted_at AS agent_deleted, workspaces.deleted_at AS workspace_deleted
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id JOIN templates ON templates.id = workspaces.template_id
		LEFT JOIN people ON people.user_id = workspaces.owner_id AND people.counted_as IS NULL
		LEFT JOIN seats ON seats.workspace_id = workspaces.id AND seats.subject >> 24 = people.person
		WHERE agents.id IN ?`, agents).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("look for %d agents: %w", len(agents), err)
	}
	var strangers []Visit
	found := make(map[uuid.UUID]Placement, len(rows))
	for _, r := range rows {
		known := Placement{
			Agent: r.Agent, Workspace: r.Workspace, Template: r.Template, Organization: r.Organization, Owner: r.Owner, Subject: r.Subject,
		}
		known.DeletedAt = r.WorkspaceDeleted.Time
		if known.DeletedAt.IsZero() || !r.AgentDeleted.IsZero() && r.AgentDeleted.Before(known.DeletedAt) {
			known.DeletedAt = r.AgentDeleted.Time
		}
		if r.Subject == 0 {
			strangers = append(strangers, Visit{r.Owner, r.Workspace})
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
		if known.Subject = subjects[Visit{known.Owner, known.Workspace}]; known.Subject == 0 {
			delete(found, agent) // its owner was erased just now
			continue
		}
		found[agent] = known
	}
	return found, nil
}
