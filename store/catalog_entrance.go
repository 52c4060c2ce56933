package store

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// entrance translates the users of a change of the catalog. The control plane names users by their own ids and names. The entrance
// replaces these by the pseudonyms and aliases under which the privacy modes let the catalog keep the users.
type entrance struct {
	key    *PrivacyKey // nil: nobody can be hidden
	modes  PrivacyModes
	hidden map[uuid.UUID]bool // ids that are pseudonyms
	users  map[uuid.UUID]entering
	known  map[uuid.UUID][]uuid.UUID // organizations of users as they were before
	recent Instant                   // every call that is still under way began after it
}

// entering is a user of the change, by the id that the user has after the change.
type entering struct {
	Identity

	was uuid.UUID // the id that the user has before the change, if the catalog knows the user
}

const needsKey = "the privacy mode hides names, which needs a privacy key: see --privacy-key-file"

// enter returns the change with the ids and names under which the catalog may keep its users.
func (s *Store) enter(tx *gorm.DB, c Catalog) (Catalog, entrance, error) {
	e := entrance{key: s.key, hidden: map[uuid.UUID]bool{}, users: map[uuid.UUID]entering{}, recent: At(s.clock().Add(-time.Hour))}
	var err error
	if e.modes, err = readPrivacyModes(tx); err != nil || s.key == nil {
		return c, e, err
	}
	c.Users, c.Workspaces, c.Groups, c.Deleted.Users = slices.Clone(c.Users), slices.Clone(c.Workspaces), slices.Clone(c.Groups),
		slices.Clone(c.Deleted.Users)
	var ids []*uuid.UUID // all places of the change with the id of a user; those of c.Users come first
	for i := range c.Users {
		ids = append(ids, &c.Users[i].ID)
	}
	for i := range c.Workspaces {
		ids = append(ids, &c.Workspaces[i].OwnerID)
	}
	for i := range c.Groups {
		c.Groups[i].UserIDs = slices.Clone(c.Groups[i].UserIDs)
		for j := range c.Groups[i].UserIDs {
			ids = append(ids, &c.Groups[i].UserIDs[j])
		}
	}
	for i := range c.Deleted.Users {
		ids = append(ids, &c.Deleted.Users[i])
	}
	outside := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		outside[i] = *id
	}
	was, err := s.keptAs(tx, outside)
	if err != nil {
		return c, e, err
	}
	shall := maps.Clone(was)
	for _, u := range c.Users { // the last one of an id counts
		if delete(shall, u.ID); e.modes.OfUser(u.OrganizationIDs).AtLeast(PrivacyPseudonym) {
			shall[u.ID] = s.key.Pseudonym(u.ID)
		}
	}
	for _, pseudonym := range shall {
		e.hidden[pseudonym] = true
	}
	for i, id := range ids {
		*id = idIn(shall, outside[i])
	}
	for i := range c.Users {
		u := &c.Users[i]
		e.users[u.ID] = entering{Identity{outside[i], u.Username}, idIn(was, outside[i])}
		if e.hidden[u.ID] {
			u.Username, u.AvatarURL = userAlias(u.ID), ""
		}
	}
	return c, e, nil
}

// settle moves the rows of written users from the id before the change to the id after it. It seals the identity of a user with a
// pseudonym, and deletes the sealed identity of a user without. It returns the workspaces of the users that it moved.
func (s *Store) settle(tx *gorm.DB, e entrance, written []uuid.UUID) (workspaces []uuid.UUID, err error) {
	var hidden []Identity
	var named []uuid.UUID // pseudonyms of users without
	known, strangers := pairs[uuid.UUID]{}, pairs[uuid.UUID]{}
	for _, id := range written {
		u, entered := e.users[id]
		if !entered {
			continue
		}
		if e.hidden[id] {
			hidden = append(hidden, u.Identity)
		} else {
			named = append(named, e.key.Pseudonym(id))
		}
		if u.was == id {
			continue
		}
		if _, before := e.known[u.was]; before {
			known[u.was] = id
		} else {
			strangers[u.was] = id
		}
	}
	if err := sealIdentities(tx, e.key, hidden); err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(named, readBatch) {
		if err := tx.Where("id IN ?", batch).Delete(&pseudonymRow{}).Error; err != nil {
			return nil, err
		}
	}
	if workspaces, err = s.moveUsers(tx, known, Instant{}); err != nil {
		return nil, err
	}
	moved, err := s.moveUsers(tx, strangers, e.recent) // only calls that are under way can have named them
	return append(workspaces, moved...), err
}

// nameWorkspace replaces the name of a workspace by its alias if the privacy mode hides the name. It returns false if that needs a
// privacy key and there is none.
func (e entrance) nameWorkspace(w *Workspace, organization uuid.UUID) bool {
	if !e.hidden[w.OwnerID] && !e.modes.Of(organization).AtLeast(PrivacyPseudonym) {
		return true
	}
	if e.key == nil {
		return false
	}
	w.Name = workspaceAlias(e.key, w.ID)
	return true
}
