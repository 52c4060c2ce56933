package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Placement says whose usage the reports of an agent are: what the catalog knows of it at this moment.
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

// Directory answers where agents belong from memory. It is refreshed every second with what changed, by whichever
// server, so it is at most that much behind the catalog.
type Directory struct {
	store *Store

	mu       sync.RWMutex
	agents   map[uuid.UUID]knownAgent
	subjects map[uuid.UUID]int64

	modes atomic.Pointer[PrivacyModes] // nil: not read yet
	seen  changes                      // by Refresh
}

// changes tells one state of the latest changes of workspaces from another.
type changes struct {
	since Instant
	count int64
	sum   int64 // of the microseconds since then: also a change by a server whose clock is behind makes it another one
}

// knownAgent is a placement as of a change of its workspace.
type knownAgent struct {
	Placement
	changed Instant
}

// maxDirectory bounds the entries of each map of a directory: about 150 MB when full.
const maxDirectory = 1 << 20

// NewDirectory returns an empty directory. Its owner calls Refresh.
func (s *Store) NewDirectory() *Directory {
	return &Directory{store: s, agents: map[uuid.UUID]knownAgent{}, subjects: map[uuid.UUID]int64{}}
}

// Place returns where an agent belongs; ok is false for an agent that is not in the catalog (yet).
func (d *Directory) Place(ctx context.Context, agent uuid.UUID) (p Placement, ok bool, err error) {
	modes, err := d.PrivacyModes(ctx)
	if err != nil {
		return Placement{}, false, err
	}
	known, ok, err := d.place(ctx, agent)
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

// place finds an agent in memory, or else in the catalog.
func (d *Directory) place(ctx context.Context, agent uuid.UUID) (known knownAgent, ok bool, err error) {
	d.mu.RLock()
	known, ok = d.agents[agent]
	d.mu.RUnlock()
	if ok {
		return known, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	known, ok, err = d.store.placement(ctx, agent)
	if err != nil || !ok {
		return knownAgent{}, false, err
	}
	if known.Subject == 0 { // the owner's first report ever
		subjects, err := d.store.Subjects(ctx, []uuid.UUID{known.Owner})
		if err != nil {
			return knownAgent{}, false, err
		}
		known.Subject = subjects[known.Owner]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	makeRoom(d.agents)
	d.agents[agent] = known
	return known, true, nil
}

// Subject returns the number of a user; ok is false for a user who is not in the catalog (yet).
func (d *Directory) Subject(ctx context.Context, user uuid.UUID) (subject int64, ok bool, err error) {
	d.mu.RLock()
	subject, ok = d.subjects[user]
	d.mu.RUnlock()
	if ok {
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
	if err != nil {
		return 0, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	makeRoom(d.subjects)
	d.subjects[user] = subjects[kept]
	return subjects[kept], true, nil
}

// makeRoom drops an entry, whichever comes first, when a map is full.
func makeRoom[V any](m map[uuid.UUID]V) {
	if len(m) < maxDirectory {
		return
	}
	for key := range m {
		delete(m, key)
		return
	}
}

// directoryOverlap is how far Refresh looks back: longer than clocks of servers differ and than a change of the
// catalog takes to commit.
const directoryOverlap = 30 * time.Second

// Refresh reads the privacy modes and forgets the agents of workspaces that changed since they were looked up. It is called by
// one at a time.
func (d *Directory) Refresh(ctx context.Context) error {
	if _, err := d.refreshModes(ctx); err != nil {
		return fmt.Errorf("refresh directory: %w", err)
	}
	// The moment moves in steps, so that the same changes are the same until there is another one: after a large one all of
	// it is read once and not every second.
	now := changes{since: At(time.Now().Truncate(directoryOverlap).Add(-directoryOverlap))}
	db := d.store.lookups.WithContext(ctx)
	if err := db.Raw(`SELECT COUNT(*), COALESCE(CAST(SUM(changed_at - ?) AS bigint), 0) FROM workspaces WHERE changed_at > ?`, now.since, now.since).Row().Scan(&now.count, &now.sum); err != nil {
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
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range changed {
		if known, ok := d.agents[c.ID]; ok && !known.changed.Equal(c.ChangedAt.Time) {
			delete(d.agents, c.ID)
		}
	}
	return nil
}

// Forget forgets everything, because users were erased.
func (d *Directory) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.agents)
	clear(d.subjects)
}

// placement reads where an agent belongs. An owner who has no subject yet has 0.
func (s *Store) placement(ctx context.Context, agent uuid.UUID) (knownAgent, bool, error) {
	p := knownAgent{Placement: Placement{Agent: agent}}
	var agentDeleted, workspaceDeleted Instant
	err := s.lookups.WithContext(ctx).Raw(`SELECT agents.workspace_id, workspaces.template_id, templates.organization_id, workspaces.owner_id,
			COALESCE(subjects.subject, 0), agents.deleted_at, workspaces.deleted_at, workspaces.changed_at
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id JOIN templates ON templates.id = workspaces.template_id
		LEFT JOIN subjects ON subjects.user_id = workspaces.owner_id WHERE agents.id = ?`, agent).Row().
		Scan(&p.Workspace, &p.Template, &p.Organization, &p.Owner, &p.Subject, &agentDeleted, &workspaceDeleted, &p.changed)
	if errors.Is(err, sql.ErrNoRows) {
		return knownAgent{}, false, nil
	}
	if err != nil {
		return knownAgent{}, false, fmt.Errorf("look for agent %s: %w", agent, err)
	}
	p.DeletedAt = workspaceDeleted.Time
	if p.DeletedAt.IsZero() || !agentDeleted.IsZero() && agentDeleted.Before(p.DeletedAt) {
		p.DeletedAt = agentDeleted.Time
	}
	return p, true, nil
}
