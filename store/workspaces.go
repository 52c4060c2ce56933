package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
)

// LiveWorkspace is a workspace that is not deleted.
type LiveWorkspace struct {
	WorkspaceName
	Version string // name of the template version that it runs with: of its newest start that succeeded, or else of its newest build
	Newest  LiveBuild
	Agents  []LiveAgent
}

// LiveBuild is the newest build of a workspace, whatever became of it; all is empty without a build.
type LiveBuild struct {
	Version    string // name of the template version
	Transition string
	Status     string
}

// LiveAgent is an agent that is not deleted.
type LiveAgent struct {
	ID             uuid.UUID
	Agent          string
	LastSeenAt     Instant // its newest report; never is zero
	Status         string  // as the control plane told last; empty if it never did, as are the next two
	LifecycleState string
	AppHealth      map[string]string
}

// LiveWorkspaces lists the workspaces of the templates of a scope that are not deleted, with their agents. The newest build is the
// one with the highest number, and of equal ones the highest id.
func (s *Store) LiveWorkspaces(ctx context.Context, scope access.Scope) ([]LiveWorkspace, error) {
	live, at, err := s.liveNames(ctx, scope)
	if err == nil {
		err = s.addNewestBuilds(ctx, live, at)
	}
	if err == nil {
		err = s.addAgents(ctx, live, at)
	}
	if err != nil {
		return nil, fmt.Errorf("read workspaces: %w", err)
	}
	return live, nil
}

// liveNames lists workspaces with their names alone, and says where in the list each is. Names are found in memory: for all
// workspaces of a deployment that costs half of what joins in the database do.
func (s *Store) liveNames(ctx context.Context, scope access.Scope) (live []LiveWorkspace, at map[uuid.UUID]int, err error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, nil, err
	}
	templates, err := s.TemplateNames(ctx, x.IDs)
	if err != nil {
		return nil, nil, err
	}
	usernames := map[uuid.UUID]string{}
	err = s.db.Rows(s.db.Reads.WithContext(ctx).Raw(`SELECT id, username FROM users`), func(r db.Records) error {
		var id uuid.UUID
		var name string
		return r.Each(func() error {
			usernames[id] = name
			return nil
		}, r.ID(&id), &name)
	})
	if err != nil {
		return nil, nil, err
	}
	at = map[uuid.UUID]int{}
	err = s.db.Rows(s.db.Reads.WithContext(ctx).Raw(`SELECT id, template_id, owner_id, name FROM workspaces WHERE deleted_at = 0`),
		func(r db.Records) error {
			var id, template, owner uuid.UUID
			var w LiveWorkspace
			return r.Each(func() error {
				var shown, known bool
				w.TemplateName, shown = templates[template]
				if w.Owner, known = usernames[owner]; shown && known { // not if it was made just now
					at[id] = len(live)
					live = append(live, w)
				}
				return nil
			}, r.ID(&id), r.ID(&template), r.ID(&owner), &w.Workspace)
		})
	return live, at, err
}

func (s *Store) addNewestBuilds(ctx context.Context, live []LiveWorkspace, at map[uuid.UUID]int) error {
	query := s.db.Reads.WithContext(ctx).Raw(`SELECT workspaces.id, COALESCE(running.name, ''), COALESCE(built.name, ''), newest.transition,
			newest.status
		FROM workspaces JOIN builds AS newest ON newest.id = (SELECT id FROM builds WHERE workspace_id = workspaces.id
		ORDER BY number DESC, id DESC LIMIT 1)
		LEFT JOIN template_versions AS built ON built.id = newest.template_version_id
		LEFT JOIN template_versions AS running ON running.id = CASE WHEN newest.transition = 'start' AND newest.status = 'succeeded'
			THEN newest.template_version_id ELSE COALESCE((SELECT template_version_id FROM builds
			WHERE workspace_id = workspaces.id AND ` + changesWorkspace + ` ORDER BY number DESC, id DESC LIMIT 1),
			newest.template_version_id) END
		WHERE workspaces.deleted_at = 0`)
	return s.db.Rows(query, func(r db.Records) error {
		var workspace uuid.UUID
		var version string
		var newest LiveBuild
		return r.Each(func() error {
			if i, ok := at[workspace]; ok {
				live[i].Version, live[i].Newest = version, newest
			}
			return nil
		}, r.ID(&workspace), &version, &newest.Version, &newest.Transition, &newest.Status)
	})
}

func (s *Store) addAgents(ctx context.Context, live []LiveWorkspace, at map[uuid.UUID]int) error {
	query := s.db.Reads.WithContext(ctx).Raw(`SELECT agents.id, agents.workspace_id, agents.name, COALESCE(agent_states.last_seen_at, 0),
			COALESCE(agent_conditions.status, ''), COALESCE(agent_conditions.lifecycle_state, ''), COALESCE(agent_conditions.app_health, '')
		FROM agents LEFT JOIN agent_states ON agent_states.agent_id = agents.id
		LEFT JOIN agent_conditions ON agent_conditions.agent_id = agents.id WHERE agents.deleted_at = 0`)
	return s.db.Rows(query, func(r db.Records) error {
		var a LiveAgent
		var workspace uuid.UUID
		var health []byte
		return r.Each(func() error {
			i, ok := at[workspace]
			if !ok {
				return nil
			}
			if a.AppHealth = nil; len(health) > 0 {
				if err := json.Unmarshal(health, &a.AppHealth); err != nil {
					return fmt.Errorf("agent %s: %w", a.ID, err)
				}
			}
			live[i].Agents = append(live[i].Agents, a)
			return nil
		}, r.ID(&a.ID), r.ID(&workspace), &a.Agent, &a.LastSeenAt, &a.Status, &a.LifecycleState, r.Bytes(&health))
	})
}

// LiveApps lists the apps that agents declare which are not deleted, by agent. An app without a display name goes by its
// slug.
func (s *Store) LiveApps(ctx context.Context, scope access.Scope) (map[uuid.UUID][]App, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn("workspaces.template_id", "workspaces.deleted_at = 0 AND agents.deleted_at = 0")
	var found []App
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT apps.agent_id, apps.slug, CASE WHEN apps.display_name = '' THEN apps.slug
		ELSE apps.display_name END AS display_name
		FROM apps JOIN agents ON agents.id = apps.agent_id JOIN workspaces ON workspaces.id = agents.workspace_id WHERE `+condition,
		args...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read apps: %w", err)
	}
	apps := map[uuid.UUID][]App{}
	for _, a := range found {
		apps[a.AgentID] = append(apps[a.AgentID], a)
	}
	return apps, nil
}

// Owner is someone with workspaces.
type Owner struct {
	UserID     uuid.UUID
	Username   string
	AvatarURL  string
	Templates  []uuid.UUID // of the workspaces, ascending
	Workspaces int64
}

// Owners lists the users that are some actors, were there before a moment and own workspaces of the templates of a scope that were
// created before it and are not deleted, by id. Workspaces of which nobody said when they were created are left out: they may be new.
func (s *Store) Owners(ctx context.Context, scope access.Scope, actors minute.Actors, before time.Time) ([]Owner, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn(
		"workspaces.template_id",
		"workspaces.deleted_at = 0 AND workspaces.created_at > 0 AND workspaces.created_at < ? AND users.created_at < ?"+
			" AND users.deleted_at = 0 AND users.kind IN ?", At(before), At(before), kindsOf(actors),
	)
	rows, err := s.db.Reads.WithContext(ctx).Raw(`SELECT users.id, users.username, users.avatar_url, workspaces.template_id, COUNT(*)
		FROM workspaces JOIN users ON users.id = workspaces.owner_id
		WHERE `+condition+
		` GROUP BY users.id, users.username, users.avatar_url, workspaces.template_id ORDER BY users.id, workspaces.template_id`,
		args...).Rows()
	if err != nil {
		return nil, fmt.Errorf("read owners of workspaces: %w", err)
	}
	defer rows.Close()
	var owners []Owner
	for rows.Next() {
		var next Owner
		var template uuid.UUID
		if err := rows.Scan(&next.UserID, &next.Username, &next.AvatarURL, &template, &next.Workspaces); err != nil {
			return nil, fmt.Errorf("read owners of workspaces: %w", err)
		}
		if last := len(owners) - 1; last >= 0 && owners[last].UserID == next.UserID {
			owners[last].Templates = append(owners[last].Templates, template)
			owners[last].Workspaces += next.Workspaces
			continue
		}
		next.Templates = []uuid.UUID{template}
		owners = append(owners, next)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read owners of workspaces: %w", err)
	}
	return owners, nil
}
