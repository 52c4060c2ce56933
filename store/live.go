package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// WorkspaceName is what people call a workspace. An owner has one workspace of a name at a time.
type WorkspaceName struct {
	TemplateName
	Owner     string // username
	Workspace string
}

// workspaceNames are the columns of a [WorkspaceName] in a statement with namesOfWorkspaces.
const (
	workspaceNames    = `organizations.name AS organization, templates.name AS template, users.username AS owner, workspaces.name AS workspace`
	namesOfWorkspaces = ` JOIN templates ON templates.id = workspaces.template_id JOIN organizations ON organizations.id = templates.organization_id
		JOIN users ON users.id = workspaces.owner_id `
)

// LiveWorkspace is a workspace that is not deleted.
type LiveWorkspace struct {
	WorkspaceName
	Version    string // name of the template version of the newest build; empty without a build, as are the next two
	Transition string
	Status     string
	Agents     int64 // that are not deleted
}

// LiveWorkspaces lists the workspaces of the templates of a scope that are not deleted. The newest build is the one with
// the highest number, and of equal ones the highest id.
func (s *Store) LiveWorkspaces(ctx context.Context, scope access.Scope) ([]LiveWorkspace, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.whereColumn("workspaces.template_id", "workspaces.deleted_at = 0")
	query := s.reads.WithContext(ctx).Raw(`SELECT `+workspaceNames+`, COALESCE(template_versions.name, ''),
			COALESCE(newest.transition, ''), COALESCE(newest.status, ''), COALESCE(living.agents, 0)
		FROM workspaces `+namesOfWorkspaces+`
		LEFT JOIN (SELECT workspace_id, COUNT(*) AS agents FROM agents WHERE deleted_at = 0 GROUP BY workspace_id) AS living ON living.workspace_id = workspaces.id
		LEFT JOIN builds AS newest ON newest.id = (SELECT id FROM builds WHERE workspace_id = workspaces.id ORDER BY number DESC, id DESC LIMIT 1)
		LEFT JOIN template_versions ON template_versions.id = newest.template_version_id
		WHERE `+condition, args...)
	var live []LiveWorkspace
	err = s.dialect.read(query, func(r records) error {
		var w LiveWorkspace
		return r.each(func() error {
			live = append(live, w)
			return nil
		}, &w.Organization, &w.Template, &w.Owner, &w.Workspace, &w.Version, &w.Transition, &w.Status, &w.Agents)
	})
	if err != nil {
		return nil, fmt.Errorf("read workspaces: %w", err)
	}
	return live, nil
}

// LiveAgent is an agent that is not deleted, of a workspace that is not.
type LiveAgent struct {
	ID uuid.UUID
	WorkspaceName
	Agent          string
	LastSeenAt     Instant // its newest report; never is zero
	Status         string  // as the control plane told last; empty if it never did, as are the next two
	LifecycleState string
	AppHealth      map[string]string
}

// LiveAgents lists the agents of the templates of a scope that are not deleted.
func (s *Store) LiveAgents(ctx context.Context, scope access.Scope) ([]LiveAgent, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.whereColumn("workspaces.template_id", "workspaces.deleted_at = 0 AND agents.deleted_at = 0")
	query := s.reads.WithContext(ctx).Raw(`SELECT agents.id, `+workspaceNames+`, agents.name, COALESCE(agent_states.last_seen_at, 0),
			COALESCE(agent_conditions.status, ''), COALESCE(agent_conditions.lifecycle_state, ''), COALESCE(agent_conditions.app_health, '')
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id `+namesOfWorkspaces+`
		LEFT JOIN agent_states ON agent_states.agent_id = agents.id LEFT JOIN agent_conditions ON agent_conditions.agent_id = agents.id
		WHERE `+condition, args...)
	var live []LiveAgent
	err = s.dialect.read(query, func(r records) error {
		var a LiveAgent
		var health []byte
		return r.each(func() error {
			if a.AppHealth = nil; len(health) > 0 {
				if err := json.Unmarshal(health, &a.AppHealth); err != nil {
					return err
				}
			}
			live = append(live, a)
			return nil
		}, r.id(&a.ID), &a.Organization, &a.Template, &a.Owner, &a.Workspace, &a.Agent, &a.LastSeenAt, &a.Status, &a.LifecycleState, r.bytes(&health))
	})
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	return live, nil
}

// LiveApps lists the apps that agents declare which are not deleted, by agent. An app without a display name goes by its
// slug.
func (s *Store) LiveApps(ctx context.Context, scope access.Scope) (map[uuid.UUID][]App, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.whereColumn("workspaces.template_id", "workspaces.deleted_at = 0 AND agents.deleted_at = 0")
	var found []App
	err = s.reads.WithContext(ctx).Raw(`SELECT apps.agent_id, apps.slug, CASE WHEN apps.display_name = '' THEN apps.slug ELSE apps.display_name END AS display_name
		FROM apps JOIN agents ON agents.id = apps.agent_id JOIN workspaces ON workspaces.id = agents.workspace_id WHERE `+condition, args...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read apps: %w", err)
	}
	apps := map[uuid.UUID][]App{}
	for _, a := range found {
		apps[a.AgentID] = append(apps[a.AgentID], a)
	}
	return apps, nil
}
