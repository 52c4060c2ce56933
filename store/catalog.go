package store

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
)

// The catalog holds what is; it comes from the control plane. What is deleted stays, marked, because its usage stays.

// Organization owns templates.
type Organization struct {
	ID          uuid.UUID
	Name        string
	DisplayName string
}

// Template is a blueprint of workspaces. It belongs to one organization.
type Template struct {
	ID             uuid.UUID
	OrganizationID uuid.UUID
	Name           string
	DisplayName    string
	Icon           string
	CreatedAt      Instant `gorm:"autoCreateTime:false"`
	DeletedAt      Instant

	DefaultTTLSeconds         int64 // how long its workspaces run unless they are used or say otherwise; 0: until somebody stops them
	DormantAfterSeconds       int64 // of no use, after which a workspace is dormant; 0: never
	DeleteDormantAfterSeconds int64 // after which a dormant workspace is deleted; 0: never
}

// TemplateVersion is one revision of a template with the parameters that it asks for.
type TemplateVersion struct {
	ID         uuid.UUID
	TemplateID uuid.UUID
	Name       string
	CreatedAt  Instant     `gorm:"autoCreateTime:false"`
	Parameters []Parameter `gorm:"serializer:json"`
}

// Parameter is the definition of a template parameter.
type Parameter struct {
	Name         string            `json:"name"`
	DisplayName  string            `json:"display_name"`
	Type         string            `json:"type"`
	Description  string            `json:"description"`
	DefaultValue string            `json:"default_value"`
	Sensitive    bool              `json:"sensitive"`
	Options      []ParameterOption `json:"options"`
}

// ParameterOption is one of the values that a parameter offers.
type ParameterOption struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Value       string `json:"value"`
	Icon        string `json:"icon"`
}

// User is a person, or a system or service account. There is no e-mail address and no real name.
type User struct {
	ID              uuid.UUID
	Username        string
	AvatarURL       string
	Kind            string      // one of UserKinds
	Status          string      // one of UserStatuses
	OrganizationIDs []uuid.UUID `gorm:"serializer:json"`
	CreatedAt       Instant     `gorm:"autoCreateTime:false"`
	DeletedAt       Instant
}

// Human is the kind of users that are people. The others are accounts that work by themselves: those of the control plane are
// system, all others service.
const Human = "human"

// UserKinds are the kinds of users.
var UserKinds = []string{Human, "system", "service"}

// UserStatuses are the statuses of users; whoever has no other one has the first.
var UserStatuses = []string{"active", "dormant", "suspended"}

// Group is a set of users of an organization.
type Group struct {
	ID             uuid.UUID
	OrganizationID uuid.UUID
	Name           string
	Everyone       bool          // it has all members of its organization
	DeletedAt      Instant       // its members of before stay
	UserIDs        []uuid.UUID   `gorm:"-"` // of a change: who is in it from now on
	Members        []GroupMember `gorm:"-"` // of a change, instead of UserIDs unless nil: who was and is in it at all times
}

// Workspace is an environment made from a template. It keeps its template for ever; its owner may change.
type Workspace struct {
	ID         uuid.UUID
	OwnerID    uuid.UUID
	TemplateID uuid.UUID
	Name       string
	Purpose    string  // one of WorkspacePurposes
	TTLSeconds int64   // how long it runs unless it is used; 0: until somebody stops it
	CreatedAt  Instant `gorm:"autoCreateTime:false"`
	DeletedAt  Instant
	ChangedAt  Instant // version of the catalog since which its agents belong where they do; when it took the place of an erased one
}

// WorkspacePurposes are what workspaces are for; one of which nobody says it is for the first.
var WorkspacePurposes = []string{"development", "ai_task", "prebuild"}

// Agent runs in a workspace and reports its usage. It keeps its workspace for ever.
type Agent struct {
	ID          uuid.UUID
	WorkspaceID uuid.UUID
	Name        string
	CreatedAt   Instant `gorm:"autoCreateTime:false"`
	DeletedAt   Instant
}

// App is a workspace app that an agent declares.
type App struct {
	AgentID     uuid.UUID `gorm:"primaryKey"`
	Slug        string    `gorm:"primaryKey"`
	DisplayName string
	Icon        string
}

// TemplateApp is what an app of a template is called: the definition of the newest agent that declared it.
type TemplateApp struct {
	TemplateID  uuid.UUID `gorm:"primaryKey"`
	Slug        string    `gorm:"primaryKey"`
	DisplayName string
	Icon        string
	DeclaredAt  Instant // when that agent was created
}

// InitiatorKinds are the kinds of who asks for builds.
var InitiatorKinds = []string{"person", "service", "system"}

// PrebuildSteps are what builds do to prebuilt workspaces; one of which nobody says it does the first, which is nothing.
var PrebuildSteps = []string{"none", "created", "claimed"}

// Build is one build of a workspace, with the value of each parameter.
type Build struct {
	ID                uuid.UUID
	At                Instant // of the event that says so
	WorkspaceID       uuid.UUID
	TemplateID        uuid.UUID // of the workspace
	TemplateVersionID uuid.UUID
	Number            int64
	Transition        string // start, stop or delete
	Status            string
	Reason            string   // why it was asked for; empty: not known
	InitiatorKind     string   // one of InitiatorKinds; empty: not known
	Preset            string   // name; empty: none
	Prebuild          string   // one of PrebuildSteps
	DailyCost         int64    // of its resources together, in the unit of the control plane; 0: nothing, or not known
	InstanceTypes     []string `gorm:"serializer:json"` // of its resources, ascending
	CreatedAt         Instant  `gorm:"autoCreateTime:false"`
	StartedAt         Instant
	FinishedAt        Instant
	Parameters        []BuildParameter `gorm:"serializer:json"`
}

// BuildParameter is the value of a parameter in one build.
type BuildParameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// UserStatusChange says which status a user has from a moment on.
type UserStatusChange struct {
	UserID uuid.UUID `gorm:"primaryKey"`
	At     Instant   `gorm:"primaryKey"`
	Status string
}

// Catalog is a change of the catalog: what to write and what to mark as deleted.
type Catalog struct {
	Organizations []Organization
	Templates     []Template
	Versions      []TemplateVersion
	Users         []User
	Groups        []Group
	Workspaces    []Workspace
	Agents        []Agent
	Apps          []App
	Deleted       Deleted
}

// changesAccess reports whether the change may be one of whom credentials let in, or of what they may.
func (c Catalog) changesAccess() bool {
	return len(c.Users)+len(c.Groups)+len(c.Deleted.Users)+len(c.Deleted.Groups)+len(c.Deleted.Agents) > 0
}

// Deleted lists what is gone, by id. Unknown ids are ignored: they are as deleted as can be.
type Deleted struct {
	Templates  []uuid.UUID
	Users      []uuid.UUID
	Workspaces []uuid.UUID
	Agents     []uuid.UUID
	Groups     []uuid.UUID
}

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
		c.Groups[i] = c.Groups[i].clone()
		ids = append(ids, c.Groups[i].users()...)
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
	known, strangers := db.Pairs[uuid.UUID]{}, db.Pairs[uuid.UUID]{}
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
