package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// TemplateName is what people call a template. Two templates of an organization have the same name when all but one of
// them are deleted.
type TemplateName struct {
	Organization string
	Template     string
}

// TemplateNames returns the names of templates, deleted ones too. Unknown ids are absent.
func (s *Store) TemplateNames(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]TemplateName, error) {
	names := make(map[uuid.UUID]TemplateName, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []struct {
			ID                     uuid.UUID
			Organization, Template string
		}
		err := s.db.Reads.WithContext(ctx).Raw(`SELECT templates.id, organizations.name AS organization, templates.name AS template
			FROM templates JOIN organizations ON organizations.id = templates.organization_id WHERE templates.id IN ?`,
			batch).Scan(&found).Error
		if err != nil {
			return nil, fmt.Errorf("read names of templates: %w", err)
		}
		for _, f := range found {
			names[f.ID] = TemplateName{f.Organization, f.Template}
		}
	}
	return names, nil
}

// WorkspaceName is what people call a workspace. An owner has one workspace of a name at a time.
type WorkspaceName struct {
	TemplateName
	Owner     string // username
	Workspace string
}

// workspaceNames are the columns of a [WorkspaceName] in a statement with namesOfWorkspaces.
const (
	workspaceNames = `organizations.name AS organization, templates.name AS template, users.username AS owner,
		workspaces.name AS workspace`
	namesOfWorkspaces = ` JOIN templates ON templates.id = workspaces.template_id
		JOIN organizations ON organizations.id = templates.organization_id
		JOIN users ON users.id = workspaces.owner_id `
)

// AgentName is what people call an agent, and its workspace.
type AgentName struct {
	Agent string
	WorkspaceName
}

// AgentNames returns the names of agents, all as of one moment. Unknown ids are absent, and so is an agent that was deleted
// or whose workspace was.
func (s *Store) AgentNames(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]AgentName, error) {
	query := `SELECT agents.id, agents.name, ` + workspaceNames + `
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id ` + namesOfWorkspaces +
		`WHERE agents.deleted_at = 0 AND workspaces.deleted_at = 0`
	var arguments []any
	if len(ids) <= readBatch { // reading the names of all is quicker than looking for more
		query += " AND agents.id IN ?"
		arguments = append(arguments, ids)
	}
	wanted := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	rows, err := s.db.Reads.WithContext(ctx).Raw(query, arguments...).Rows()
	if err != nil {
		return nil, fmt.Errorf("read names of agents: %w", err)
	}
	defer rows.Close()
	names := make(map[uuid.UUID]AgentName, len(ids))
	for rows.Next() {
		var id uuid.UUID
		var n AgentName
		if err := rows.Scan(&id, &n.Agent, &n.Organization, &n.Template, &n.Owner, &n.Workspace); err != nil {
			return nil, fmt.Errorf("read names of agents: %w", err)
		}
		if wanted[id] {
			names[id] = n
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read names of agents: %w", err)
	}
	return names, nil
}
