package coder

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
)

// people are the parts of the catalog that are few and change in any way: they are read whole.
func (d *Database) people(ctx context.Context, tx pgx.Tx, organization *uuid.UUID) (store.Catalog, error) {
	var c store.Catalog
	for _, read := range []func() error{
		func() (err error) {
			c.Organizations, err = collect(
				ctx, tx, `SELECT id, name, display_name FROM organizations WHERE $1::uuid IS NULL OR id = $1`, scanOrganization,
				organization,
			)
			return err
		},
		func() (err error) {
			c.Templates, err = collect(ctx, tx, `SELECT id, organization_id, name, display_name, icon, created_at,
				CASE WHEN deleted THEN updated_at END, default_ttl, time_til_dormant, time_til_dormant_autodelete
				FROM templates WHERE $1::uuid IS NULL OR organization_id = $1`, scanTemplate, organization)
			return err
		},
		func() (err error) {
			c.Users, err = collect(ctx, tx, `SELECT id, username, avatar_url, `+d.shape.kind(store.Human)+`, status::text, created_at,
					CASE WHEN deleted THEN COALESCE(deletions.last, updated_at) END,
					ARRAY(SELECT organization_id FROM organization_members WHERE user_id = users.id
					AND ($1::uuid IS NULL OR organization_id = $1) ORDER BY organization_id)
				FROM users LEFT JOIN (SELECT user_id, MAX(deleted_at) AS last FROM user_deleted GROUP BY user_id) AS deletions
					ON deletions.user_id = users.id
				WHERE $1::uuid IS NULL OR id IN (SELECT user_id FROM organization_members WHERE organization_id = $1
					UNION SELECT owner_id FROM workspaces WHERE organization_id = $1)`, scanUser, organization)
			return err
		},
		func() (err error) {
			// The group of everyone has the id of its organization and no list of members.
			c.Groups, err = collect(ctx, tx, `SELECT id, organization_id, name, ARRAY(SELECT user_id FROM group_members
					WHERE group_id = groups.id
					UNION SELECT user_id FROM organization_members WHERE organization_id = groups.id ORDER BY 1)
				FROM groups WHERE $1::uuid IS NULL OR organization_id = $1`, scanGroup, organization)
			return err
		},
		func() (err error) {
			c.Workspaces, err = collect(ctx, tx, `SELECT id, owner_id, template_id, name, `+d.shape.purpose()+`, created_at, `+deletedAt+`,
				COALESCE(ttl, 0)
				FROM workspaces WHERE $1::uuid IS NULL OR organization_id = $1`, scanWorkspace, organization)
			return err
		},
	} {
		if err := read(); err != nil {
			return c, fmt.Errorf("read the catalog: %w", err)
		}
	}
	return c, nil
}

// deletedAt is the expression for when a workspace was deleted: NULL if it was not.
const deletedAt = `CASE WHEN workspaces.deleted THEN COALESCE((SELECT MAX(created_at) FROM workspace_builds
	WHERE workspace_id = workspaces.id AND transition = 'delete'), workspaces.updated_at) END`

// purpose is the expression for the purpose of a row of workspaces. Whether it is for a task, its newest start says that succeeded.
func (s shape) purpose() string {
	task := ""
	if s.AITasks {
		task = ` WHEN (SELECT has_ai_task FROM workspace_builds JOIN provisioner_jobs ON provisioner_jobs.id = workspace_builds.job_id
			WHERE workspace_id = workspaces.id AND transition = 'start' AND job_status = 'succeeded'
			ORDER BY build_number DESC LIMIT 1) THEN 'ai_task'`
	}
	return `CASE WHEN owner_id = '` + prebuilds + `' THEN 'prebuild'` + task + ` ELSE 'development' END`
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, tx pgx.Tx, query string, scan pgx.RowToFunc[T], args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// instant is a time of Coder here; none is never.
func instant(t *time.Time) store.Instant {
	if t == nil {
		return store.Instant{}
	}
	return store.At(*t)
}

// seconds is a length of time of Coder, which keeps nanoseconds, here.
func seconds(d time.Duration) int64 { return max(0, int64(d/time.Second)) }

// maxName is the number of bytes of a name.
const maxName = 128

// plain makes a name of a text: it drops what names may not hold and cuts what is too long.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if store.IsControl(r) {
			return -1
		}
		return r
	}, text)
	if len(text) > maxName {
		text = strings.ToValidUTF8(text[:maxName], "")
	}
	return text
}

func scanOrganization(row pgx.CollectableRow) (o store.Organization, err error) {
	err = row.Scan(&o.ID, &o.Name, &o.DisplayName)
	o.DisplayName = plain(o.DisplayName)
	return o, err
}

func scanTemplate(row pgx.CollectableRow) (t store.Template, err error) {
	var created, deleted *time.Time
	var ttl, dormant, gone time.Duration
	err = row.Scan(&t.ID, &t.OrganizationID, &t.Name, &t.DisplayName, &t.Icon, &created, &deleted, &ttl, &dormant, &gone)
	t.DefaultTTLSeconds, t.DormantAfterSeconds, t.DeleteDormantAfterSeconds = seconds(ttl), seconds(dormant), seconds(gone)
	t.DisplayName, t.CreatedAt, t.DeletedAt = plain(t.DisplayName), instant(created), instant(deleted)
	return t, err
}

func scanUser(row pgx.CollectableRow) (u store.User, err error) {
	var created, deleted *time.Time
	err = row.Scan(&u.ID, &u.Username, &u.AvatarURL, &u.Kind, &u.Status, &created, &deleted, &u.OrganizationIDs)
	u.Username, u.CreatedAt, u.DeletedAt = plain(u.Username), instant(created), instant(deleted)
	return u, err
}

func scanGroup(row pgx.CollectableRow) (g store.Group, err error) {
	err = row.Scan(&g.ID, &g.OrganizationID, &g.Name, &g.UserIDs)
	g.Name, g.Everyone = plain(g.Name), g.ID == g.OrganizationID
	return g, err
}

// sinceAlways returns a group whose members have always been in it: Coder does not say since when they are.
func sinceAlways(g store.Group) store.Group {
	g.Members = make([]store.GroupMember, len(g.UserIDs))
	for i, user := range g.UserIDs {
		g.Members[i].UserID = user
	}
	g.UserIDs = nil
	return g
}

func scanWorkspace(row pgx.CollectableRow) (w store.Workspace, err error) {
	var created, deleted *time.Time
	var ttl time.Duration
	err = row.Scan(&w.ID, &w.OwnerID, &w.TemplateID, &w.Name, &w.Purpose, &created, &deleted, &ttl)
	w.TTLSeconds = seconds(ttl)
	w.CreatedAt, w.DeletedAt = instant(created), instant(deleted)
	return w, err
}

// chunk is how many items are taken over at a time.
const chunk = 5000

// each calls f with the rows of a query, some at a time. They need not fit into memory.
func each[T any](ctx context.Context, tx pgx.Tx, query string, scan pgx.RowToFunc[T], f func([]T) error, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var items []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return err
		}
		if items = append(items, item); len(items) == chunk {
			if err := f(items); err != nil {
				return err
			}
			items = nil
		}
	}
	if err := rows.Err(); err != nil || len(items) == 0 {
		return err
	}
	return f(items)
}

// versions calls f with the versions of templates that changed in a window: their parameters come with the job that reads the version.
func (d *Database) versions(
	ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func([]store.TemplateVersion) error,
) error {
	err := each(ctx, tx, `SELECT template_versions.id, template_versions.template_id, template_versions.name, template_versions.created_at,
			COALESCE((
			SELECT jsonb_agg(jsonb_build_object('name', name, 'display_name', display_name, 'type', type, 'description', description,
				'default_value', default_value, 'options', options) ORDER BY display_order, name)
			FROM template_version_parameters WHERE template_version_id = template_versions.id), '[]')
		FROM template_versions JOIN provisioner_jobs ON provisioner_jobs.id = template_versions.job_id
		WHERE template_id IS NOT NULL AND ($1::uuid IS NULL OR template_versions.organization_id = $1)
			AND (template_versions.updated_at >= $2 AND template_versions.updated_at < $3
			OR provisioner_jobs.updated_at >= $2 AND provisioner_jobs.updated_at < $3)`, scanVersion, f, organization, w.from, w.to)
	if err != nil {
		return fmt.Errorf("read template versions: %w", err)
	}
	return nil
}

func scanVersion(row pgx.CollectableRow) (v store.TemplateVersion, err error) {
	var created *time.Time
	err = row.Scan(&v.ID, &v.TemplateID, &v.Name, &created, &v.Parameters)
	v.CreatedAt = instant(created)
	if len(v.Parameters) == 0 {
		v.Parameters = nil
	}
	for i := range v.Parameters {
		p := &v.Parameters[i]
		p.Name = plain(p.Name)
		p.DisplayName = plain(p.DisplayName)
		if len(p.Options) == 0 {
			p.Options = nil
		}
	}
	return v, err
}

// equipped is an agent with the apps that it declared.
type equipped struct {
	agent store.Agent
	apps  []store.App
}

// agents calls f with the agents that came or went in a window, and their apps, which come with them. An agent is gone when the next
// build begins. Which ones these are is found first, by reading agents and builds once each: no more is joined than what they come to.
func (d *Database) agents(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func(store.Catalog) error) error {
	err := each(ctx, tx, `SELECT workspace_agents.id, workspaces.id, workspace_agents.name, workspace_agents.created_at, next.created_at,
			COALESCE((SELECT jsonb_agg(jsonb_build_object('slug', slug, 'display_name', display_name, 'icon', icon) ORDER BY slug)
			FROM workspace_apps WHERE agent_id = workspace_agents.id), '[]')
		FROM workspace_agents JOIN workspace_resources ON workspace_resources.id = workspace_agents.resource_id
		JOIN workspace_builds ON workspace_builds.job_id = workspace_resources.job_id
		JOIN workspaces ON workspaces.id = workspace_builds.workspace_id
		LEFT JOIN workspace_builds AS next ON next.workspace_id = workspace_builds.workspace_id
			AND next.build_number = workspace_builds.build_number + 1
		WHERE ($1::uuid IS NULL OR workspaces.organization_id = $1) AND workspace_agents.id IN (
			SELECT id FROM workspace_agents WHERE created_at >= $2 AND created_at < $3
			UNION ALL SELECT gone.id FROM workspace_builds AS begun
			JOIN workspace_builds AS before ON before.workspace_id = begun.workspace_id AND before.build_number = begun.build_number - 1
			JOIN workspace_resources ON workspace_resources.job_id = before.job_id
			JOIN workspace_agents AS gone ON gone.resource_id = workspace_resources.id
			WHERE begun.created_at >= $2 AND begun.created_at < $3)`, scanAgent, func(agents []equipped) error {
		var c store.Catalog
		for _, a := range agents {
			c.Agents, c.Apps = append(c.Agents, a.agent), append(c.Apps, a.apps...)
		}
		return f(c)
	}, organization, w.from, w.to)
	if err != nil {
		return fmt.Errorf("read agents: %w", err)
	}
	return nil
}

func scanAgent(row pgx.CollectableRow) (equipped, error) {
	var a store.Agent
	var created, deleted *time.Time
	var declared []struct {
		Slug        string `json:"slug"`
		DisplayName string `json:"display_name"`
		Icon        string `json:"icon"`
	}
	err := row.Scan(&a.ID, &a.WorkspaceID, &a.Name, &created, &deleted, &declared)
	a.CreatedAt, a.DeletedAt = instant(created), instant(deleted)
	var apps []store.App
	for _, d := range declared {
		if slug := plain(d.Slug); slug != "" {
			apps = append(apps, store.App{AgentID: a.ID, Slug: slug, DisplayName: cmp.Or(plain(d.DisplayName), slug), Icon: d.Icon})
		}
	}
	return equipped{a, apps}, err
}
