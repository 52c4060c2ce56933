package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/db"
)

// DeletedUser is the username that takes the place of every erased user's.
const DeletedUser = "deleted user"

// EraseUser removes every trace of a person for ever. The person's usage stays: it becomes the usage of a new user with a random id
// and no name, so totals and numbers of users do not change. EraseUser fails with ErrUnknown if the database never knew the user, and
// with ErrNoPrivacyKey if the store has no key. After any other error call it again: erasing twice is no error, and the second call
// removes what the first one could not.
func (s *Store) EraseUser(ctx context.Context, user uuid.UUID) error {
	if s.key == nil {
		return fmt.Errorf("erase user: %w", ErrNoPrivacyKey)
	}
	known, err := parents(s.db.Lookups.WithContext(ctx), "users", "id", []uuid.UUID{user, s.key.Pseudonym(user)})
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	used, err := s.knownPeople(s.db.Lookups.WithContext(ctx), []uuid.UUID{user})
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	erased, err := s.Erased(ctx, []uuid.UUID{user})
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	if len(known) == 0 && len(used) == 0 && !erased[user] {
		return fmt.Errorf("erase user: %s %w", user, ErrUnknown)
	}
	if err := s.erase(ctx, []uuid.UUID{user}); err != nil {
		return err
	}
	return s.db.Scrub(ctx)
}

// namedUsers are the ids of all users that the database names anywhere.
const namedUsers = `SELECT id FROM users UNION SELECT user_id FROM people UNION SELECT user_id FROM user_status_changes
	UNION SELECT user_id FROM group_members UNION SELECT owner_id FROM workspaces
	UNION SELECT principal_id FROM role_bindings WHERE principal_kind = 'user' UNION SELECT principal_id FROM tokens
	WHERE principal_kind = 'user'
	UNION SELECT principal_id FROM audit_events WHERE principal_kind = 'user'`

// KeepErased erases users a second time, and returns their number, if the database names them although they were erased. An older
// backup brings such users back, and so does a change that commits at the moment of the erasure.
func (s *Store) KeepErased(ctx context.Context) (int, error) {
	// Who was erased is kept away from the database even by a server that cannot write its list.
	if err := s.SyncTombstones(ctx); err != nil && !errors.Is(err, ErrNotListed) {
		return 0, err
	}
	var named []uuid.UUID
	if err := s.db.Lookups.WithContext(ctx).Raw(namedUsers).Scan(&named).Error; err != nil {
		return 0, fmt.Errorf("read ids of users: %w", err)
	}
	back, err := s.Erased(ctx, named)
	if err != nil || len(back) == 0 {
		return 0, err
	}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(back)), eraseBatch) {
		if err := s.erase(ctx, batch); err != nil {
			return 0, err
		}
	}
	return len(back), s.db.Scrub(ctx)
}

// eraseBatch bounds the users of one transaction.
const eraseBatch = 100

// erase erases the ids of users and the pseudonyms of these ids in one transaction.
func (s *Store) erase(ctx context.Context, users []uuid.UUID) error {
	defer s.accessChanges.Add(1)
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		if err := s.db.Lock(tx, "tombstones", db.LockAll); err != nil {
			return err
		}
		e := eraser{
			store: s, tx: tx, now: At(s.clock()), nobody: db.Pairs[uuid.UUID]{}, owned: map[uuid.UUID]bool{},
			templates: map[uuid.UUID]bool{},
		}
		for _, user := range users {
			for _, id := range []uuid.UUID{user, s.key.Pseudonym(user)} {
				e.users = append(e.users, id)
				e.nobody[id] = uuid.New()
			}
		}
		if err := e.erase(); err != nil {
			return err
		}
		if err := s.bury(tx, slices.AppendSeq(append([]uuid.UUID{uuid.Nil}, e.users...), maps.Keys(e.owned))); err != nil {
			return err
		}
		if err := raiseParameters(tx, "id IN ?", slices.Collect(maps.Keys(e.templates))); err != nil {
			return err
		}
		return raiseNames(tx)
	})
	if err != nil {
		return fmt.Errorf("erase user: %w", err)
	}
	return nil
}

// eraser erases users.
type eraser struct {
	store  *Store
	tx     *gorm.DB
	now    Instant
	users  []uuid.UUID
	nobody db.Pairs[uuid.UUID] // of each user the new user, who gets everything that stays
	owned  map[uuid.UUID]bool  // workspaces and agents of the users
	names  []string            // of the users

	templates map[uuid.UUID]bool // of their builds
}

func (e *eraser) erase() error {
	for _, step := range []func() error{e.people, e.statuses, e.rights, e.workspaces, e.trail} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// people replaces each user by a new user without a name, who counts as deleted from now on.
func (e *eraser) people() error {
	err := e.tx.Exec(`DELETE FROM seat_regions WHERE subject IN (SELECT seats.subject FROM people JOIN seats
		ON seats.subject >> 24 = people.person WHERE people.user_id IN ?)`, e.users).Error
	if err != nil {
		return err
	}
	err = e.tx.Exec(`UPDATE people SET user_id = erased.value FROM `+e.store.db.Pairs("uuid")+` AS erased
		WHERE people.user_id = erased.id`, e.nobody).Error
	if err != nil {
		return err
	}
	if err := e.tx.Exec(`DELETE FROM pseudonyms WHERE id IN ?`, e.users).Error; err != nil {
		return err
	}
	var users, left []User
	if err := e.tx.Where("id IN ?", e.users).Find(&users).Error; err != nil || len(users) == 0 {
		return err
	}
	for _, u := range users {
		if u.Username != "" {
			e.names = append(e.names, u.Username)
		}
		left = append(left, User{
			ID: e.nobody[u.ID], Username: DeletedUser, Kind: u.Kind, Status: u.Status, OrganizationIDs: u.OrganizationIDs,
			CreatedAt: blurBegin(u.CreatedAt), DeletedAt: blurEnd(e.deleted(u.DeletedAt)),
		})
	}
	if err := e.tx.CreateInBatches(left, writeBatch).Error; err != nil {
		return err
	}
	return e.tx.Exec(`DELETE FROM users WHERE id IN ?`, e.users).Error
}

// deleted returns the time at which a user or a workspace was deleted, or now if it is not deleted yet.
func (e *eraser) deleted(at Instant) Instant {
	if at.IsZero() {
		return e.now
	}
	return at
}

// blur is the unit to which the eraser rounds the times of an account, because an exact time could identify the person. In every time
// zone the windows of questions begin and end at full quarters of an hour. So the eraser rounds beginnings down and ends up, and no
// answer changes.
const blur = 15 * time.Minute

func blurBegin(at Instant) Instant {
	if at.IsZero() {
		return at
	}
	return At(at.Truncate(blur))
}

func blurEnd(at Instant) Instant {
	if at.IsZero() {
		return at
	}
	return At(at.Add(blur - time.Microsecond).Truncate(blur))
}

// statuses gives the status changes of each user to the new user, with rounded times.
func (e *eraser) statuses() error {
	var changes, left []UserStatusChange
	if err := e.tx.Where("user_id IN ?", e.users).Order("user_id, at").Find(&changes).Error; err != nil {
		return err
	}
	for _, c := range changes {
		c.UserID, c.At = e.nobody[c.UserID], blurEnd(c.At)
		if n := len(left); n > 0 && left[n-1].UserID == c.UserID && left[n-1].At.Equal(c.At.Time) {
			left = left[:n-1]
		}
		left = append(left, c)
	}
	if len(left) > 0 {
		if err := e.tx.CreateInBatches(left, writeBatch).Error; err != nil {
			return err
		}
	}
	return e.tx.Exec(`DELETE FROM user_status_changes WHERE user_id IN ?`, e.users).Error
}

// rights removes the tokens of the users, the sessions that began with these tokens, role bindings and memberships in groups.
func (e *eraser) rights() error {
	const own = `(SELECT id FROM tokens WHERE principal_kind = ? AND principal_id IN ?)`
	if err := e.tx.Exec(`DELETE FROM tokens WHERE parent_id <> '' AND parent_id IN `+own, access.KindUser, e.users).Error; err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM tokens WHERE principal_kind = ? AND principal_id IN ?`,
		`DELETE FROM role_bindings WHERE principal_kind = ? AND principal_id IN ?`,
	} {
		if err := e.tx.Exec(statement, access.KindUser, e.users).Error; err != nil {
			return err
		}
	}
	return e.tx.Exec(`DELETE FROM group_members WHERE user_id IN ?`, e.users).Error
}

// workspaces gives the workspaces and builds of the users to the new users, under new ids, without names, and with the times at which
// they were made. It removes the agents of the workspaces.
func (e *eraser) workspaces() error {
	var workspaces []Workspace
	if err := e.tx.Where("owner_id IN ?", e.users).Find(&workspaces).Error; err != nil {
		return err
	}
	for batch := range slices.Chunk(workspaces, readBatch) {
		ids, left, now := db.Pairs[uuid.UUID]{}, make([]Workspace, len(batch)), At(time.Now())
		for i, w := range batch {
			e.owned[w.ID] = true
			left[i] = Workspace{
				ID: uuid.New(), OwnerID: e.nobody[w.OwnerID], TemplateID: w.TemplateID, Purpose: w.Purpose, CreatedAt: w.CreatedAt,
				TTLSeconds: w.TTLSeconds, DeletedAt: e.deleted(w.DeletedAt), ChangedAt: now,
			}
			ids[w.ID] = left[i].ID
		}
		old := slices.Collect(maps.Keys(ids))
		if err := e.agents(old); err != nil {
			return err
		}
		if err := e.builds(old, ids); err != nil {
			return err
		}
		// The seats of visitors as well: they stay where the workspace is.
		if err := e.tx.Exec(`UPDATE seats SET workspace_id = renamed.value FROM `+e.store.db.Pairs("uuid")+` AS renamed
			WHERE seats.workspace_id = renamed.id`, ids).Error; err != nil {
			return err
		}
		if err := e.tx.CreateInBatches(left, writeBatch).Error; err != nil {
			return err
		}
		if err := e.tx.Exec(`DELETE FROM workspaces WHERE id IN ?`, old).Error; err != nil {
			return err
		}
	}
	return nil
}

// agents removes the agents of workspaces.
func (e *eraser) agents(workspaces []uuid.UUID) error {
	var agents []uuid.UUID
	if err := e.tx.Model(&Agent{}).Where("workspace_id IN ?", workspaces).Pluck("id", &agents).Error; err != nil {
		return err
	}
	for _, id := range agents {
		e.owned[id] = true
	}
	for batch := range slices.Chunk(agents, readBatch) {
		for _, statement := range []string{
			`DELETE FROM apps WHERE agent_id IN ?`, `DELETE FROM agent_states WHERE agent_id IN ?`,
			`DELETE FROM agent_conditions WHERE agent_id IN ?`, `DELETE FROM agents WHERE id IN ?`,
		} {
			if err := e.tx.Exec(statement, batch).Error; err != nil {
				return err
			}
		}
		err := e.tx.Exec(`DELETE FROM tokens WHERE principal_kind = ? AND principal_id IN ?`, access.KindAgent, batch).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// builds moves the builds of workspaces to the workspaces that take their place. It empties every value of a parameter that the
// template did not offer.
func (e *eraser) builds(workspaces []uuid.UUID, left db.Pairs[uuid.UUID]) error {
	var builds []buildRow
	if err := e.tx.Where("workspace_id IN ?", workspaces).Find(&builds).Error; err != nil || len(builds) == 0 {
		return err
	}
	var versions []TemplateVersion
	err := e.tx.Where("id IN (SELECT template_version_id FROM builds WHERE workspace_id IN ?)", workspaces).Find(&versions).Error
	if err != nil {
		return err
	}
	definitions := map[uuid.UUID][]Parameter{}
	for _, v := range versions {
		definitions[v.ID] = v.Parameters
	}
	for i := range builds {
		b := &builds[i]
		b.ID, b.WorkspaceID = uuid.New(), left[b.WorkspaceID]
		e.templates[b.TemplateID] = true
		for j := range b.Parameters {
			if !isOffered(definitions[b.TemplateVersionID], b.Parameters[j]) {
				b.Parameters[j].Value = ""
			}
		}
	}
	if err := e.tx.CreateInBatches(builds, writeBatch).Error; err != nil {
		return err
	}
	if err := markSuperseded(e.tx, slices.Collect(maps.Values(left))); err != nil {
		return err
	}
	return e.tx.Exec(`DELETE FROM builds WHERE workspace_id IN ?`, workspaces).Error
}

// isOffered reports whether the template offered the value. Any other value is free text of the user.
func isOffered(definitions []Parameter, p BuildParameter) bool {
	i := slices.IndexFunc(definitions, func(d Parameter) bool { return d.Name == p.Name })
	if i < 0 || len(definitions[i].Options) == 0 {
		return i >= 0 && definitions[i].Type == "bool" && (p.Value == "true" || p.Value == "false")
	}
	return offered(definitions[i:i+1], membersOf(definitions[i], p.Value))
}

// trail removes the users from the audit trail, both as the callers of actions and as their targets. The actions themselves stay. Events
// about tokens may name agents of the users by id, so trail looks at all of these events.
func (e *eraser) trail() error {
	err := e.tx.Exec(`UPDATE audit_events SET principal_id = erased.value FROM `+e.store.db.Pairs("uuid")+` AS erased
		WHERE principal_id = erased.id`, e.nobody).Error
	if err != nil {
		return err
	}
	names := make([]*regexp.Regexp, len(e.names))
	condition, args := `action LIKE '%oken%'`, []any{}
	search := func(word string) {
		condition, args = condition+` OR LOWER(target) LIKE LOWER(?) ESCAPE '!'`, append(args, "%"+likeEscaper.Replace(word)+"%")
	}
	for i, name := range e.names {
		names[i] = wordPattern(inJSON(name))
		search(inJSON(name))
	}
	for _, id := range e.users {
		search(id.String())
	}
	return e.store.rewriteTrail(e.tx, func(target string) string { return e.unnamed(target, names) }, condition, args...)
}

// unnamed replaces names of users, the ids of the users, and the ids of their workspaces and agents in a text.
func (e *eraser) unnamed(text string, names []*regexp.Regexp) string {
	text = replaceIDs(text, func(id uuid.UUID) (string, bool) {
		_, user := e.nobody[id]
		return erasedWord, user || e.owned[id]
	})
	for _, name := range names {
		text = replaceWord(text, name, erasedWord)
	}
	return text
}
