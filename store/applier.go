package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/label"
)

// Authority limits what a change of the catalog may touch.
type Authority struct {
	// Organization says whether items of an organization may be written.
	Organization func(uuid.UUID) bool
	// ManageAccess says whether the members of a group that holds grants may be changed.
	ManageAccess bool
}

// Refusal says why one item of a request was not taken; the others were.
type Refusal struct {
	List      string // the name of the list that the item is in
	Index     int    // its position there
	Reason    string
	Permanent bool // false: may succeed when sent again, because something that it refers to may come later
}

// ApplyCatalog writes a change of the catalog in one transaction. Items of the same request may refer to each other.
// What an item belongs to (organization of a template, template of a workspace, workspace of an agent) never changes. Users
// who were erased, and what would be theirs, do not come back.
func (s *Store) ApplyCatalog(ctx context.Context, c Catalog, authority Authority) ([]Refusal, error) {
	defer s.catalogChanges.Add(1)
	if c.changesAccess() {
		defer s.accessChanges.Add(1)
	}
	var refusals []Refusal
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		c, entered, err := s.enter(tx, c)
		if err != nil {
			return err
		}
		a := applier{store: s, tx: tx, now: At(s.clock()), authority: authority, entrance: entered}
		a.confined = !authority.Organization(uuid.Nil)
		err = a.apply(c)
		refusals = a.refusals
		if err == nil && len(a.buried) > 0 {
			err = s.bury(tx, a.buried)
		}
		if err == nil && len(c.Versions) > 0 {
			err = a.raiseParameters(c.Versions)
		}
		if err == nil && len(a.changed) > 0 {
			err = raiseVersion(tx, a.changed)
		}
		if err == nil && len(c.Users)+len(c.Deleted.Users) > 0 {
			err = raiseNames(tx)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("apply catalog: %w", err)
	}
	return refusals, nil
}

// applier applies one change. Its maps know the parents of everything that the change names.
type applier struct {
	store     *Store
	tx        *gorm.DB
	now       Instant
	authority Authority
	confined  bool // the caller may not write everything
	refusals  []Refusal
	entrance  entrance

	erased  map[uuid.UUID]bool // users, and workspaces and agents of erased ones
	buried  []uuid.UUID        // workspaces and agents that turned out to be theirs
	changed []uuid.UUID        // workspaces whose agents may belong elsewhere than before

	organizations map[uuid.UUID]uuid.UUID // to itself
	templates     map[uuid.UUID]uuid.UUID // to organization
	versions      map[uuid.UUID]uuid.UUID // to template
	groups        map[uuid.UUID]uuid.UUID // to organization
	workspaces    map[uuid.UUID]uuid.UUID // to template
	agents        map[uuid.UUID]uuid.UUID // to workspace
	users         map[uuid.UUID][]uuid.UUID
	created       map[uuid.UUID]Instant // of agents
}

func (a *applier) apply(c Catalog) error {
	steps := []func(Catalog) error{
		a.load, a.writeOrganizations, a.writeTemplates, a.writeVersions, a.writeUsers, a.writeGroups,
		a.writeWorkspaces, a.writeAgents, a.writeApps, a.markDeleted,
	}
	for _, step := range steps {
		if err := step(c); err != nil {
			return err
		}
	}
	return nil
}

// load reads the parents of all that the change names, from the leaves to the organizations.
func (a *applier) load(c Catalog) (err error) {
	var agents, workspaces, templates, versions, groups, organizations, users []uuid.UUID
	for _, x := range c.Apps {
		agents = append(agents, x.AgentID)
	}
	for _, x := range c.Agents {
		agents, workspaces = append(agents, x.ID), append(workspaces, x.WorkspaceID)
	}
	for _, x := range c.Workspaces {
		workspaces, templates, users = append(workspaces, x.ID), append(templates, x.TemplateID), append(users, x.OwnerID)
	}
	for _, x := range c.Versions {
		versions, templates = append(versions, x.ID), append(templates, x.TemplateID)
	}
	for _, x := range c.Templates {
		templates, organizations = append(templates, x.ID), append(organizations, x.OrganizationID)
	}
	for _, x := range c.Groups {
		groups, organizations = append(groups, x.ID), append(organizations, x.OrganizationID)
	}
	for _, x := range c.Users {
		users, organizations = append(users, x.ID), append(organizations, x.OrganizationIDs...)
	}
	agents, workspaces = append(agents, c.Deleted.Agents...), append(workspaces, c.Deleted.Workspaces...)
	templates, groups, users = append(templates, c.Deleted.Templates...), append(groups, c.Deleted.Groups...),
		append(users, c.Deleted.Users...)

	if a.erased, err = a.store.erased(a.tx, slices.Concat(users, members(c.Groups), workspaces, agents)); err != nil {
		return err
	}
	if a.agents, err = parents(a.tx, "agents", "workspace_id", agents); err != nil {
		return err
	}
	if a.created, err = a.agentsCreated(agents); err != nil {
		return err
	}
	if a.workspaces, err = parents(a.tx, "workspaces", "template_id", values(workspaces, a.agents)); err != nil {
		return err
	}
	if a.versions, err = parents(a.tx, "template_versions", "template_id", versions); err != nil {
		return err
	}
	if a.templates, err = parents(a.tx, "templates", "organization_id", values(values(templates, a.workspaces), a.versions)); err != nil {
		return err
	}
	if a.groups, err = parents(a.tx, "groups", "organization_id", groups); err != nil {
		return err
	}
	for _, u := range a.entrance.users {
		users = append(users, u.was)
	}
	if a.confined { // whom may it put into its groups?
		users = append(users, members(c.Groups)...)
	}
	if a.users, err = organizationsOfUsers(a.tx, users); err != nil {
		return err
	}
	a.entrance.known = maps.Clone(a.users)
	for id, u := range a.entrance.users {
		if organizations, known := a.users[u.was]; known {
			a.users[id] = organizations
		}
	}
	a.organizations, err = parents(a.tx, "organizations", "id", values(values(organizations, a.templates), a.groups))
	return err
}

// members are the users of groups.
func members(groups []Group) (users []uuid.UUID) {
	for i := range groups {
		for _, id := range groups[i].users() {
			users = append(users, *id)
		}
	}
	return users
}

// values adds the values of a map to a list.
func values(list []uuid.UUID, m map[uuid.UUID]uuid.UUID) []uuid.UUID {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

func (a *applier) agentsCreated(ids []uuid.UUID) (map[uuid.UUID]Instant, error) {
	created := make(map[uuid.UUID]Instant, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []Agent
		if err := a.tx.Select("id", "created_at").Where("id IN ?", batch).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read agents: %w", err)
		}
		for _, f := range found {
			created[f.ID] = f.CreatedAt
		}
	}
	return created, nil
}

// write upserts the items of a list that pass a check. The check returns why an item cannot be taken, or "". Of two
// items with one key the later counts.
func write[T any](a *applier, list string, items []T, key func(*T) any, check func(*T) (reason string, permanent bool)) error {
	accepted := make([]T, 0, len(items))
	position := make(map[any]int, len(items))
	for i := range items {
		if reason, permanent := check(&items[i]); reason != "" {
			a.refusals = append(a.refusals, Refusal{list, i, reason, permanent})
			continue
		}
		if p, again := position[key(&items[i])]; again {
			accepted[p] = items[i]
			continue
		}
		position[key(&items[i])] = len(accepted)
		accepted = append(accepted, items[i])
	}
	if len(accepted) == 0 {
		return nil
	}
	if err := a.tx.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(accepted, writeBatch).Error; err != nil {
		return fmt.Errorf("write %s: %w", list, err)
	}
	return nil
}

// writeBatch bounds the rows of one INSERT.
const writeBatch = 500

// taken is the reason to refuse an id that something has which the caller may not write. It says neither whose it is nor what.
const taken = "id: is not free"

// belongs is the rule for everything with a parent: the parent is known, is allowed, and stays the same. A parent that is not
// allowed looks like one that is not known.
func (a *applier) belongs(
	what string, id, parent uuid.UUID, known, parents map[uuid.UUID]uuid.UUID, organizationOf func(parent uuid.UUID) uuid.UUID,
) (string, bool) {
	if _, ok := parents[parent]; !ok || !a.authority.Organization(organizationOf(parent)) {
		return fmt.Sprintf("%s %s is not in the catalog", what, parent), false
	}
	if old, ok := known[id]; ok && old != parent {
		if !a.authority.Organization(organizationOf(old)) {
			return taken, true
		}
		return what + " cannot change", true
	}
	known[id] = parent
	return "", false
}

func itself(organization uuid.UUID) uuid.UUID { return organization }

func (a *applier) organizationOfTemplate(id uuid.UUID) uuid.UUID { return a.templates[id] }

func (a *applier) organizationOfWorkspace(id uuid.UUID) uuid.UUID {
	return a.templates[a.workspaces[id]]
}

// gone is the reason to refuse what belongs to a user who was erased, which is nobody's business who is confined.
func (a *applier) gone() string {
	if a.confined {
		return taken
	}
	return "the user was erased"
}

// bury refuses a workspace or an agent of a user who was erased, also when it comes alone the next time.
func (a *applier) bury(id uuid.UUID) (string, bool) {
	if !a.erased[id] {
		a.erased[id] = true
		a.buried = append(a.buried, id)
	}
	return a.gone(), true
}

const outside = "organization is not one that the caller may write"

func (a *applier) writeOrganizations(c Catalog) error {
	names, err := a.organizationNames(c)
	if err != nil {
		return err
	}
	return write(a, "organizations", c.Organizations, func(x *Organization) any { return x.ID }, func(x *Organization) (string, bool) {
		if !a.authority.Organization(x.ID) {
			return outside, true
		}
		if !names.give(x.ID, x.Name) {
			return "name: another organization has it", false // not which
		}
		a.organizations[x.ID] = x.ID
		return "", false
	})
}

// organizationNames are the names of organizations, and how many have one that is alike.
type organizationNames struct {
	names   map[uuid.UUID]string
	holders map[string]int // by folded name
}

// organizationNames reads them. If one is to change, no other transaction changes one until this one ends.
func (a *applier) organizationNames(c Catalog) (organizationNames, error) {
	names, err := readOrganizationNames(a.tx)
	if err == nil && slices.ContainsFunc(c.Organizations, func(x Organization) bool { return names[x.ID] != x.Name }) {
		if err := a.store.db.Lock(a.tx, "organizations", db.LockWrites); err != nil {
			return organizationNames{}, fmt.Errorf("lock organizations: %w", err)
		}
		names, err = readOrganizationNames(a.tx)
	}
	o := organizationNames{names, make(map[string]int, len(names))}
	for _, name := range names {
		o.holders[label.Fold(name)]++
	}
	return o, err
}

// give names an organization, unless another one has such a name. What it is called already it may be called for ever.
func (o organizationNames) give(id uuid.UUID, name string) bool {
	was, known := o.names[id]
	if known && was == name {
		return true
	}
	before, now := label.Fold(was), label.Fold(name)
	others := o.holders[now]
	if known && before == now {
		others--
	}
	if others > 0 {
		return false
	}
	if known {
		o.holders[before]--
	}
	o.holders[now]++
	o.names[id] = name
	return true
}

func (a *applier) writeTemplates(c Catalog) error {
	return write(a, "templates", c.Templates, func(x *Template) any { return x.ID }, func(x *Template) (string, bool) {
		return a.belongs("organization", x.ID, x.OrganizationID, a.templates, a.organizations, itself)
	})
}

func (a *applier) writeVersions(c Catalog) error {
	return write(a, "template_versions", c.Versions, func(x *TemplateVersion) any { return x.ID }, func(x *TemplateVersion) (string, bool) {
		return a.belongs("template", x.ID, x.TemplateID, a.versions, a.templates, a.organizationOfTemplate)
	})
}

// raiseParameters raises the versions of parameters of the templates that versions belong to.
func (a *applier) raiseParameters(versions []TemplateVersion) error {
	templates := map[uuid.UUID]bool{}
	for _, v := range versions {
		templates[v.TemplateID] = true
	}
	return raiseParameters(a.tx, "id IN ?", slices.Collect(maps.Keys(templates)))
}

// mayWriteUser says whether the caller may write a user that is, or is to be, in these organizations.
func (a *applier) mayWriteUser(organizations []uuid.UUID) bool {
	if len(organizations) == 0 {
		return a.authority.Organization(uuid.Nil)
	}
	return !slices.ContainsFunc(organizations, func(id uuid.UUID) bool { return !a.authority.Organization(id) })
}

// mayNameUser says whether the caller may give a workspace to a user of these organizations, or put them into a group: one that it may
// write is enough.
func (a *applier) mayNameUser(organizations []uuid.UUID) bool {
	return !a.confined || slices.ContainsFunc(organizations, a.authority.Organization)
}

func (a *applier) writeUsers(c Catalog) error {
	var written []uuid.UUID
	err := write(a, "users", c.Users, func(x *User) any { return x.ID }, func(x *User) (string, bool) {
		old, known := a.users[x.ID]
		if !a.mayWriteUser(x.OrganizationIDs) {
			return outside, true
		}
		if known && !a.mayWriteUser(old) {
			return taken, true
		}
		if a.entrance.key == nil && a.entrance.modes.OfUser(x.OrganizationIDs).AtLeast(PrivacyPseudonym) {
			return needsKey, false
		}
		if a.erased[x.ID] {
			return a.gone(), true
		}
		a.users[x.ID] = x.OrganizationIDs
		written = append(written, x.ID)
		return "", false
	})
	if err != nil {
		return err
	}
	moved, err := a.store.settle(a.tx, a.entrance, written)
	a.changed = append(a.changed, moved...)
	return err
}

func (a *applier) writeGroups(c Catalog) error {
	written := map[uuid.UUID]Group{}
	granted, err := a.groupsWithGrants(c)
	if err != nil {
		return err
	}
	err = write(a, "groups", c.Groups, func(x *Group) any { return x.ID }, func(x *Group) (string, bool) {
		reason, permanent := a.belongs("organization", x.ID, x.OrganizationID, a.groups, a.organizations, itself)
		if reason != "" {
			return reason, permanent
		}
		if granted[x.ID] && !a.authority.ManageAccess {
			return "group holds grants: changing its members needs manage_access", true
		}
		if slices.ContainsFunc(x.users(), func(id *uuid.UUID) bool { return !a.erased[*id] && !a.mayNameUser(a.users[*id]) }) {
			return "a member is not in the catalog", false
		}
		if reason := x.tooNew(a.now); reason != "" {
			return reason, false
		}
		written[x.ID] = x.without(a.erased)
		return "", false
	})
	if err != nil {
		return err
	}
	return writeMembers(a.tx, written, a.now)
}

func (a *applier) groupsWithGrants(c Catalog) (map[uuid.UUID]bool, error) {
	ids := c.Deleted.Groups
	for _, g := range c.Groups {
		ids = append(ids, g.ID)
	}
	granted := map[uuid.UUID]bool{}
	for batch := range slices.Chunk(ids, readBatch) {
		var found []uuid.UUID
		err := a.tx.Model(&RoleBinding{}).Where(
			"principal_kind = ? AND principal_id IN ?", "group", batch,
		).Distinct().Pluck("principal_id", &found).Error
		if err != nil {
			return nil, fmt.Errorf("read grants of groups: %w", err)
		}
		for _, id := range found {
			granted[id] = true
		}
	}
	return granted, nil
}

func (a *applier) writeWorkspaces(c Catalog) error {
	return write(a, "workspaces", c.Workspaces, func(x *Workspace) any { return x.ID }, func(x *Workspace) (string, bool) {
		if a.erased[x.ID] || a.erased[x.OwnerID] && !a.confined { // else the owner is not in the catalog
			return a.bury(x.ID)
		}
		if organizations, known := a.users[x.OwnerID]; !known || !a.mayNameUser(organizations) {
			return "owner is not in the catalog", false // without the id, which may be a pseudonym by now
		}
		organization := a.templates[x.TemplateID]
		if a.authority.Organization(organization) && !a.entrance.nameWorkspace(x, organization) {
			return needsKey, false
		}
		reason, permanent := a.belongs("template", x.ID, x.TemplateID, a.workspaces, a.templates, a.organizationOfTemplate)
		if reason == "" {
			a.changed = append(a.changed, x.ID)
		}
		return reason, permanent
	})
}

func (a *applier) writeAgents(c Catalog) error {
	var touched []uuid.UUID
	err := write(a, "agents", c.Agents, func(x *Agent) any { return x.ID }, func(x *Agent) (string, bool) {
		if a.erased[x.ID] || a.erased[x.WorkspaceID] && !a.confined {
			return a.bury(x.ID)
		}
		if known := a.created[x.ID]; !known.IsZero() {
			x.CreatedAt = known // a histogram counts from it, which must not fall
		}
		a.created[x.ID] = x.CreatedAt
		reason, permanent := a.belongs("workspace", x.ID, x.WorkspaceID, a.agents, a.workspaces, a.organizationOfWorkspace)
		if reason == "" {
			touched = append(touched, x.WorkspaceID)
		}
		return reason, permanent
	})
	if err != nil {
		return err
	}
	return a.touch(touched)
}

// touch marks workspaces whose agents changed. It writes them, because raiseVersion may only write what the transaction holds.
func (a *applier) touch(workspaces []uuid.UUID) error {
	for batch := range slices.Chunk(workspaces, writeBatch) {
		if err := a.tx.Model(&Workspace{}).Where("id IN ?", batch).Update("changed_at", At(time.Now())).Error; err != nil {
			return fmt.Errorf("mark workspaces as changed: %w", err)
		}
	}
	a.changed = append(a.changed, workspaces...)
	return nil
}

// writeApps keeps what each agent declares and, per template, the newest declaration of each slug.
func (a *applier) writeApps(c Catalog) error {
	var newest []TemplateApp
	err := write(a, "apps", c.Apps, func(x *App) any { return App{AgentID: x.AgentID, Slug: x.Slug} }, func(x *App) (string, bool) {
		if a.erased[x.AgentID] && !a.confined {
			return a.gone(), true
		}
		workspace, known := a.agents[x.AgentID]
		template := a.workspaces[workspace]
		if !known || !a.authority.Organization(a.templates[template]) {
			return fmt.Sprintf("agent %s is not in the catalog", x.AgentID), false
		}
		newest = append(newest, TemplateApp{template, x.Slug, x.DisplayName, x.Icon, a.created[x.AgentID]})
		return "", false
	})
	if err != nil {
		return err
	}
	slices.Reverse(newest) // of one app the newest counts, and of equal ones the last
	slices.SortStableFunc(newest, func(a, b TemplateApp) int {
		return cmp.Or(compareTemplateApps(a, b), b.DeclaredAt.Compare(a.DeclaredAt.Time))
	})
	newest = slices.CompactFunc(newest, func(a, b TemplateApp) bool { return compareTemplateApps(a, b) == 0 })
	if len(newest) == 0 {
		return nil
	}
	if err := a.tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "template_id"}, {Name: "slug"}},
		DoUpdates: clause.AssignmentColumns([]string{"display_name", "icon", "declared_at"}),
		Where:     clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "excluded.declared_at >= template_apps.declared_at"}}},
	}).CreateInBatches(newest, writeBatch).Error; err != nil {
		return fmt.Errorf("write apps of templates: %w", err)
	}
	return nil
}

// compareTemplateApps is the order of the table's key.
func compareTemplateApps(a, b TemplateApp) int {
	return cmp.Or(bytes.Compare(a.TemplateID[:], b.TemplateID[:]), strings.Compare(a.Slug, b.Slug))
}

// markDeleted marks what is gone. An item outside the caller's organizations is left alone, as if it were unknown.
func (a *applier) markDeleted(c Catalog) error {
	own := func(ids []uuid.UUID, organization func(uuid.UUID) uuid.UUID) []uuid.UUID {
		return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return !a.authority.Organization(organization(id)) })
	}
	ofAgent := func(id uuid.UUID) uuid.UUID { return a.organizationOfWorkspace(a.agents[id]) }

	agents := own(c.Deleted.Agents, ofAgent)
	var touched []uuid.UUID
	for _, id := range agents {
		touched = append(touched, a.agents[id])
	}
	users := slices.DeleteFunc(slices.Clone(c.Deleted.Users), func(id uuid.UUID) bool { return !a.mayWriteUser(a.users[id]) })
	workspaces := own(c.Deleted.Workspaces, a.organizationOfWorkspace)
	for _, step := range []struct {
		model any
		ids   []uuid.UUID
	}{
		{&Template{}, own(c.Deleted.Templates, a.organizationOfTemplate)}, {&User{}, users}, {&Workspace{}, workspaces}, {&Agent{}, agents},
	} {
		if err := a.mark(step.model, step.ids); err != nil {
			return err
		}
	}
	if err := a.touch(append(touched, workspaces...)); err != nil {
		return err
	}
	return a.deleteGroups(c)
}

func (a *applier) deleteGroups(c Catalog) error {
	granted, err := a.groupsWithGrants(c)
	if err != nil {
		return err
	}
	gone := map[uuid.UUID]Group{} // without members
	for i, id := range c.Deleted.Groups {
		organization, known := a.groups[id]
		if !known || !a.authority.Organization(organization) {
			continue
		}
		if granted[id] && !a.authority.ManageAccess {
			a.refusals = append(a.refusals, Refusal{"deleted.groups", i, "group holds grants: deleting it needs manage_access", true})
			continue
		}
		gone[id] = Group{ID: id}
	}
	if err := a.mark(&Group{}, slices.Collect(maps.Keys(gone))); err != nil {
		return err
	}
	return writeMembers(a.tx, gone, a.now)
}

// mark notes of rows of a model that they were deleted, unless they were already.
func (a *applier) mark(model any, ids []uuid.UUID) error {
	for batch := range slices.Chunk(ids, writeBatch) {
		if err := a.tx.Model(model).Where("id IN ? AND deleted_at = 0", batch).Update("deleted_at", a.now).Error; err != nil {
			return fmt.Errorf("mark as deleted: %w", err)
		}
	}
	return nil
}
