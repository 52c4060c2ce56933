package store

import (
	"github.com/google/uuid"
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
	UserIDs        []uuid.UUID `gorm:"-"` // kept as GroupMember
}

// GroupMember says that a user is in a group.
type GroupMember struct {
	GroupID uuid.UUID `gorm:"primaryKey"`
	UserID  uuid.UUID `gorm:"primaryKey"`
}

// Workspace is an environment made from a template. It keeps its template for ever; its owner may change.
type Workspace struct {
	ID         uuid.UUID
	OwnerID    uuid.UUID
	TemplateID uuid.UUID
	Name       string
	CreatedAt  Instant `gorm:"autoCreateTime:false"`
	DeletedAt  Instant
	ChangedAt  Instant // version of the catalog since which its agents belong where they do; when it took the place of an erased one
}

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
	CreatedAt         Instant `gorm:"autoCreateTime:false"`
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
