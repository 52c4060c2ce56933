package coder

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
)

// maxValue is the number of bytes of the value of a parameter; longer ones are left out.
const maxValue = 8 << 10

// prebuild is the expression for what a build does to a prebuilt workspace: the first that is not asked for by who keeps prebuilt
// workspaces takes one, unless it is still theirs.
const prebuild = `CASE WHEN workspace_builds.transition <> 'start' THEN 'none'
	WHEN workspace_builds.initiator_id = '` + prebuilds + `' THEN 'created'
	WHEN workspaces.owner_id <> '` + prebuilds + `' AND EXISTS (SELECT FROM workspace_builds AS before
		WHERE before.workspace_id = workspaces.id AND before.build_number = workspace_builds.build_number - 1
			AND before.initiator_id = '` + prebuilds + `') THEN 'claimed'
	ELSE 'none' END`

// builds calls f with the builds whose jobs moved on in a window, those of a workspace together: the store looks at all builds of a
// workspace when it writes one.
func (d *Database) builds(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func([]store.Build) error) error {
	err := each(ctx, tx, `SELECT workspace_builds.id, provisioner_jobs.updated_at, workspaces.id, workspaces.template_id,
			workspace_builds.template_version_id,
			workspace_builds.build_number, workspace_builds.transition::text, provisioner_jobs.job_status::text,
			workspace_builds.reason::text, CASE WHEN users.id IS NULL THEN '' ELSE `+d.shape.kind("person")+` END,
			COALESCE((SELECT name FROM template_version_presets WHERE id = workspace_builds.template_version_preset_id), ''),
			`+prebuild+`, workspace_builds.created_at, provisioner_jobs.started_at, provisioner_jobs.completed_at,
			(SELECT jsonb_object_agg(name, value) FROM workspace_build_parameters WHERE workspace_build_id = workspace_builds.id
			AND length(value) <= $4),
			(SELECT COALESCE(SUM(GREATEST(daily_cost, 0)), 0) FROM workspace_resources WHERE job_id = provisioner_jobs.id),
			ARRAY(SELECT DISTINCT instance_type FROM workspace_resources WHERE job_id = provisioner_jobs.id AND instance_type <> ''
			ORDER BY instance_type)
		FROM workspace_builds JOIN provisioner_jobs ON provisioner_jobs.id = workspace_builds.job_id
		JOIN workspaces ON workspaces.id = workspace_builds.workspace_id
		LEFT JOIN users ON users.id = workspace_builds.initiator_id
		WHERE ($1::uuid IS NULL OR workspaces.organization_id = $1)
			AND provisioner_jobs.updated_at >= $2 AND provisioner_jobs.updated_at < $3
		ORDER BY workspace_builds.workspace_id`, scanBuild, f, organization, w.from, w.to, maxValue)
	if err != nil {
		return fmt.Errorf("read builds: %w", err)
	}
	return nil
}

func scanBuild(row pgx.CollectableRow) (b store.Build, err error) {
	var at, created, started, finished *time.Time
	var values map[string]string
	err = row.Scan(
		&b.ID, &at, &b.WorkspaceID, &b.TemplateID, &b.TemplateVersionID, &b.Number, &b.Transition, &b.Status,
		&b.Reason, &b.InitiatorKind, &b.Preset, &b.Prebuild, &created, &started, &finished, &values,
		&b.DailyCost, &b.InstanceTypes,
	)
	for i, name := range b.InstanceTypes {
		b.InstanceTypes[i] = plain(name)
	}
	b.Preset = plain(b.Preset)
	b.At, b.CreatedAt, b.StartedAt, b.FinishedAt = instant(at), instant(created), instant(started), instant(finished)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.Parameters = append(b.Parameters, store.BuildParameter{Name: plain(name), Value: values[name]})
	}
	return b, err
}

// statusChanges calls f with the changes of the status of users in a window.
func (d *Database) statusChanges(
	ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func([]store.UserStatusChange) error,
) error {
	err := each(ctx, tx, `SELECT user_id, changed_at, new_status::text FROM user_status_changes
		WHERE changed_at >= $2 AND changed_at < $3
		AND ($1::uuid IS NULL OR user_id IN (SELECT user_id FROM organization_members WHERE organization_id = $1))`,
		func(row pgx.CollectableRow) (c store.UserStatusChange, err error) {
			var at *time.Time
			err = row.Scan(&c.UserID, &at, &c.Status)
			c.At = instant(at)
			return c, err
		}, f, organization, w.from, w.to)
	if err != nil {
		return fmt.Errorf("read status changes: %w", err)
	}
	return nil
}

func (i *Importer) recordJobs(ctx context.Context, jobs []store.Job) error {
	if i.dry {
		return nil
	}
	return i.to.RecordJobs(ctx, jobs)
}

// jobs calls f with the jobs that moved on in a window. A job that builds a workspace has the id of the build.
func (d *Database) jobs(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func([]store.Job) error) error {
	err := each(ctx, tx, `SELECT COALESCE(workspace_builds.id, provisioner_jobs.id), provisioner_jobs.updated_at, organization_id,
			provisioner::text, type::text, job_status::text, provisioner_jobs.created_at, started_at, completed_at
		FROM provisioner_jobs LEFT JOIN workspace_builds ON workspace_builds.job_id = provisioner_jobs.id
		WHERE ($1::uuid IS NULL OR organization_id = $1) AND provisioner_jobs.updated_at >= $2 AND provisioner_jobs.updated_at < $3`,
		func(row pgx.CollectableRow) (j store.Job, err error) {
			var at, created, started, finished *time.Time
			err = row.Scan(&j.ID, &at, &j.OrganizationID, &j.Provisioner, &j.Type, &j.Status, &created, &started, &finished)
			j.At, j.CreatedAt, j.StartedAt, j.FinishedAt = instant(at), instant(created), instant(started), instant(finished)
			return j, err
		}, f, organization, w.from, w.to)
	if err != nil {
		return fmt.Errorf("read jobs: %w", err)
	}
	return nil
}

// firstJob is when the first job moved on, or now if there is none. If since is not zero it is that moment.
func (d *Database) firstJob(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, since time.Time) (time.Time, error) {
	if !since.IsZero() {
		return since, nil
	}
	var first *time.Time
	err := tx.QueryRow(ctx, `SELECT MIN(updated_at) FROM provisioner_jobs WHERE $1::uuid IS NULL OR organization_id = $1`, organization).
		Scan(&first)
	if err != nil {
		return since, fmt.Errorf("look for the first job: %w", err)
	}
	if first == nil {
		return time.Now(), nil
	}
	return *first, nil
}
