package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
)

// OrganizationsOf returns the organization of each of the templates that the catalog knows, deleted ones too; of all
// templates when no ids are given.
func (s *Store) OrganizationsOf(ctx context.Context, templates []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	if len(templates) > 0 {
		return parents(s.db.Lookups.WithContext(ctx), "templates", "organization_id", templates)
	}
	var all []Template
	if err := s.db.Lookups.WithContext(ctx).Select("id", "organization_id").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	organizations := make(map[uuid.UUID]uuid.UUID, len(all))
	for _, t := range all {
		organizations[t.ID] = t.OrganizationID
	}
	return organizations, nil
}

// OrganizationsOfGroups reads the organizations of groups. Unknown ids are absent.
func (s *Store) OrganizationsOfGroups(ctx context.Context, groups []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.db.Lookups.WithContext(ctx), "groups", "organization_id", groups)
}

// organizationsOfScope are the organizations of the templates that a scope lists.
func (s *Store) organizationsOfScope(ctx context.Context, scope access.Scope) (map[uuid.UUID]bool, error) {
	within, templates := map[uuid.UUID]bool{}, scope.Templates()
	if len(templates) == 0 {
		return within, nil // OrganizationsOf takes this for all templates
	}
	organizations, err := s.OrganizationsOf(ctx, templates)
	if err != nil {
		return nil, err
	}
	for _, id := range organizations {
		within[id] = true
	}
	return within, nil
}

// WorkspaceTemplates returns the template of each of the workspaces that the catalog knows.
func (s *Store) WorkspaceTemplates(ctx context.Context, workspaces []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.db.Lookups.WithContext(ctx), "workspaces", "template_id", workspaces)
}

// GroupsOf returns the ids of the groups of an organization that are not deleted.
func (s *Store) GroupsOf(ctx context.Context, organization uuid.UUID) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	live := s.db.Lookups.WithContext(ctx).Model(&Group{}).Where("organization_id = ? AND deleted_at = 0", organization)
	if err := live.Pluck("id", &ids).Error; err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return ids, nil
}

// VersionTemplates returns the template of each of the template versions that the catalog knows.
func (s *Store) VersionTemplates(ctx context.Context, versions []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.db.Lookups.WithContext(ctx), "template_versions", "template_id", versions)
}

// BuildWorkspaces returns the workspace of each of the builds that are known.
func (s *Store) BuildWorkspaces(ctx context.Context, builds []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return parents(s.db.Lookups.WithContext(ctx), "builds", "workspace_id", builds)
}

// UserOrganizations returns the organizations of each of the users that the catalog knows.
func (s *Store) UserOrganizations(ctx context.Context, users []uuid.UUID) (map[uuid.UUID][]uuid.UUID, error) {
	db := s.db.Lookups.WithContext(ctx)
	kept, err := s.keptAs(db, users)
	if err != nil {
		return nil, err
	}
	organizations, err := organizationsOfUsers(db, values(users, kept))
	for outside, pseudonym := range kept {
		organizations[outside] = organizations[pseudonym]
	}
	return organizations, err
}

// OrganizationNames returns the name of each organization of the catalog.
func (s *Store) OrganizationNames(ctx context.Context) (map[uuid.UUID]string, error) {
	return readOrganizationNames(s.db.Lookups.WithContext(ctx))
}

func readOrganizationNames(tx *gorm.DB) (map[uuid.UUID]string, error) {
	var all []Organization
	if err := tx.Select("id", "name").Find(&all).Error; err != nil {
		return nil, fmt.Errorf("read organizations: %w", err)
	}
	names := make(map[uuid.UUID]string, len(all))
	for _, o := range all {
		names[o.ID] = o.Name
	}
	return names, nil
}

// readBatch bounds the ids of one IN list.
const readBatch = 5000

// parents reads what rows of a table belong to. Unknown ids are absent.
func parents(tx *gorm.DB, table, column string, ids []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	found := make(map[uuid.UUID]uuid.UUID, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var rows []struct{ ID, Parent uuid.UUID }
		err := tx.Table(table).Select("id", column+" AS parent").Where("id IN ?", batch).Scan(&rows).Error
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", table, err)
		}
		for _, r := range rows {
			found[r.ID] = r.Parent
		}
	}
	return found, nil
}

// organizationsOfUsers reads the organizations of users. Unknown ids are absent.
func organizationsOfUsers(tx *gorm.DB, ids []uuid.UUID) (map[uuid.UUID][]uuid.UUID, error) {
	organizations := make(map[uuid.UUID][]uuid.UUID, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []User
		if err := tx.Select("id", "organization_ids").Where("id IN ?", batch).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
		for _, f := range found {
			organizations[f.ID] = f.OrganizationIDs
		}
	}
	return organizations, nil
}

// AgentOrganizations returns the organization of each of the agents that the catalog knows.
func (s *Store) AgentOrganizations(ctx context.Context, agents []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	organizations := make(map[uuid.UUID]uuid.UUID, len(agents))
	for batch := range slices.Chunk(agents, readBatch) {
		var rows []struct{ ID, Organization uuid.UUID }
		err := s.db.Lookups.WithContext(ctx).Raw(`SELECT agents.id, templates.organization_id AS organization FROM agents
			JOIN workspaces ON workspaces.id = agents.workspace_id JOIN templates ON templates.id = workspaces.template_id
			WHERE agents.deleted_at = 0 AND agents.id IN ?`, batch).Scan(&rows).Error
		if err != nil {
			return nil, fmt.Errorf("read organizations of agents: %w", err)
		}
		for _, r := range rows {
			organizations[r.ID] = r.Organization
		}
	}
	return organizations, nil
}

// FindPrincipal returns the id under which a user, agent or group is kept, and ErrUnknown if the catalog does not hold it. A
// service is known to nobody.
func (s *Store) FindPrincipal(ctx context.Context, kind access.Kind, id uuid.UUID) (uuid.UUID, error) {
	tables := map[access.Kind]string{access.KindUser: "users", access.KindAgent: "agents", KindGroup: "groups"}
	table, inCatalog := tables[kind]
	if !inCatalog {
		return id, nil
	}
	if kind == access.KindUser {
		var err error
		if id, err = s.KeptAs(ctx, id); err != nil {
			return id, err
		}
	}
	return id, s.checkKnown(ctx, table, id)
}

// CheckScope fails with ErrUnknown if the catalog does not hold what a binding is limited to.
func (s *Store) CheckScope(ctx context.Context, b access.Binding) error {
	for table, id := range map[string]uuid.UUID{"organizations": b.Organization, "templates": b.Template, "groups": b.Group} {
		if id == uuid.Nil {
			continue
		}
		if err := s.checkKnown(ctx, table, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkKnown(ctx context.Context, table string, id uuid.UUID) error {
	found, err := parents(s.db.Lookups.WithContext(ctx), table, "id", []uuid.UUID{id})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s %s %w", table, id, ErrUnknown)
	}
	return nil
}
