package coder

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
)

// figure is a family of metrics whose values a deployment's database has now. Its statement yields labels and values.
type figure struct{ name, statement string }

// figures are counts of the whole deployment: nothing of them is about one person.
func (s shape) figures() []figure {
	const (
		alive = ` FROM provisioner_daemons WHERE last_seen_at > now() - INTERVAL '90 seconds'` // they say so every 30
		// prebuilt workspaces are those that run for a preset of the version that a template has now.
		presets = `SELECT jsonb_build_object('organization_name', templates.organization_id, 'template_name', templates.name,
				'preset_name', presets.name), `
		ofTemplates = ` FROM template_version_presets AS presets JOIN templates ON templates.active_version_id = presets.template_version_id
			WHERE NOT templates.deleted AND presets.desired_instances IS NOT NULL`
		running = `(SELECT COUNT(*) FROM workspaces JOIN LATERAL (
				SELECT job_id, transition, template_version_preset_id FROM workspace_builds
				WHERE workspace_id = workspaces.id ORDER BY build_number DESC LIMIT 1) AS newest ON true
			JOIN provisioner_jobs ON provisioner_jobs.id = newest.job_id
			WHERE workspaces.owner_id = '` + prebuilds + `' AND NOT workspaces.deleted AND newest.transition = 'start'
				AND job_status = 'succeeded' AND newest.template_version_preset_id = presets.id`
		ready = ` AND NOT EXISTS (SELECT FROM workspace_resources JOIN workspace_agents ON resource_id = workspace_resources.id
				WHERE workspace_resources.job_id = newest.job_id AND lifecycle_state <> 'ready')`
	)
	return []figure{
		// Coder notes on both the key and its user that a key was used, at most once an hour. Of the key nothing may be read.
		{store.ActiveUsersHour, `SELECT jsonb_build_object('actor', ` + s.kind("person") + `),
			COUNT(*) FILTER (WHERE last_seen_at > now() - INTERVAL '1 hour') FROM users WHERE NOT deleted GROUP BY 1`},
		{"coderd_license_user_limit_enabled", `SELECT '{}'::jsonb, CAST(EXISTS (SELECT FROM licenses WHERE exp > now()) AS int)`},
		{"coderd_provisionerd_num_daemons", `SELECT '{}'::jsonb, COUNT(*)` + alive},
		// Those that are part of the control plane have its version.
		{"coderd_build_info", `SELECT jsonb_build_object('version', version, 'revision', split_part(version, '+', 2)), 1` + alive + `
			AND key_id = '00000000-0000-0000-0000-000000000001' AND version <> '' GROUP BY version`},
		{"coderd_prebuilt_workspaces_desired", presets + `presets.desired_instances` + ofTemplates},
		{"coderd_prebuilt_workspaces_running", presets + running + `)` + ofTemplates},
		{"coderd_prebuilt_workspaces_eligible", presets + running + ready + `)` + ofTemplates},
	}
}

// seriesLifetime is how long a figure counts.
const seriesLifetime = 10 * time.Minute

// figures imports the figures of a whole deployment.
func (i *Importer) figures(ctx context.Context, tx pgx.Tx) (all []store.ControlPlaneSeries, err error) {
	if i.organization != nil {
		return nil, nil
	}
	for _, f := range i.from.shape.figures() {
		series, err := collect(ctx, tx, f.statement, func(row pgx.CollectableRow) (s store.ControlPlaneSeries, err error) {
			var labels map[string]string
			if err := row.Scan(&labels, &s.Value); err != nil {
				return s, err
			}
			text, err := json.Marshal(labels)
			s.Name, s.Labels = f.name, string(text)
			return s, err
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.name, err)
		}
		all = append(all, series...)
	}
	return all, nil
}

func (i *Importer) recordFigures(ctx context.Context, all []store.ControlPlaneSeries) error {
	if i.dry || i.organization != nil {
		return nil
	}
	now := time.Now()
	for n := range all {
		all[n].ReportedAt = store.At(now)
	}
	return i.to.RecordControlPlaneSeries(ctx, all, now.Add(-seriesLifetime))
}

func (i *Importer) recordJobs(ctx context.Context, jobs []store.Job) error {
	if i.dry {
		return nil
	}
	return i.to.RecordJobs(ctx, jobs)
}

// jobs calls f with the jobs that moved on since a moment. A job that builds a workspace has the id of the build.
func (d *Database) jobs(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, since time.Time, f func([]store.Job) error) error {
	err := each(ctx, tx, `SELECT COALESCE(workspace_builds.id, provisioner_jobs.id), provisioner_jobs.updated_at, organization_id,
			provisioner::text, type::text, job_status::text, provisioner_jobs.created_at, started_at, completed_at
		FROM provisioner_jobs LEFT JOIN workspace_builds ON workspace_builds.job_id = provisioner_jobs.id
		WHERE ($1::uuid IS NULL OR organization_id = $1) AND provisioner_jobs.updated_at >= $2`,
		func(row pgx.CollectableRow) (j store.Job, err error) {
			var at, created, started, finished *time.Time
			err = row.Scan(&j.ID, &at, &j.OrganizationID, &j.Provisioner, &j.Type, &j.Status, &created, &started, &finished)
			j.At, j.CreatedAt, j.StartedAt, j.FinishedAt = instant(at), instant(created), instant(started), instant(finished)
			return j, err
		}, f, organization, since)
	if err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	return nil
}

// liveAgent is an agent of the newest build of a workspace.
type liveAgent struct {
	store.AgentCondition

	template  uuid.UUID
	connected *time.Time // for the first time; nil: not yet
	seen      *time.Time
}

// silent is how long an agent may say nothing and is connected, as Coder has it.
const silent = `INTERVAL '30 seconds'`

// conditions calls f with the state of the agents that there are.
func (d *Database) conditions(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, f func([]liveAgent) error) error {
	err := each(ctx, tx, `SELECT workspace_agents.id, now(), workspaces.template_id, CASE WHEN first_connected_at IS NULL THEN 'connecting'
			WHEN disconnected_at > last_connected_at OR last_connected_at < now() - `+silent+` THEN 'disconnected' ELSE 'connected' END,
			lifecycle_state::text, first_connected_at, last_connected_at
		FROM workspaces JOIN LATERAL (SELECT job_id FROM workspace_builds WHERE workspace_id = workspaces.id
			ORDER BY build_number DESC LIMIT 1) AS newest ON true
		JOIN workspace_resources ON workspace_resources.job_id = newest.job_id
		JOIN workspace_agents ON workspace_agents.resource_id = workspace_resources.id
		WHERE NOT workspaces.deleted AND ($1::uuid IS NULL OR workspaces.organization_id = $1)`,
		func(row pgx.CollectableRow) (a liveAgent, err error) {
			var at *time.Time
			err = row.Scan(&a.AgentID, &at, &a.template, &a.Status, &a.LifecycleState, &a.connected, &a.seen)
			a.At = instant(at)
			return a, err
		}, f, organization)
	if err != nil {
		return fmt.Errorf("read the state of agents: %w", err)
	}
	return nil
}

// recordConditions keeps the states of agents that are other ones than before.
func (i *Importer) recordConditions(ctx context.Context, agents []liveAgent) error {
	if i.dry {
		return nil
	}
	modeOf, err := i.modes(ctx)
	if err != nil {
		return err
	}
	var conditions []store.AgentCondition
	var states []store.AgentState
	for _, a := range agents {
		if is := [2]string{a.Status, a.LifecycleState}; modeOf(a.template) != store.PrivacyOff && i.conditions[a.AgentID] != is {
			i.conditions[a.AgentID] = is
			conditions = append(conditions, a.AgentCondition)
			if a.connected != nil {
				states = append(states, store.AgentState{
					AgentID: a.AgentID, FirstConnectedAt: instant(a.connected), LastSeenAt: instant(a.seen),
				})
			}
		}
	}
	if err := i.to.RecordAgentConditions(ctx, conditions); err != nil {
		return err
	}
	return i.to.TouchAgents(ctx, states)
}
