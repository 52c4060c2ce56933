package coder

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

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
