package coder

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/workspace"
)

// ran is which workspaces of people ran in a window, and when.
type ran map[tenant][]tenancy

// tenant is somebody who has workspaces of a template.
type tenant struct{ template, user uuid.UUID }

// tenancy is the time in which a workspace ran and was that of a tenant.
type tenancy struct {
	workspace uuid.UUID
	surely    workspace.Minutes
	perhaps   workspace.Minutes // all of surely among them
}

// only is the workspace in which the user of a cell was in its half hour, and the minutes in which it ran then: uuid.Nil unless
// that was the only one of the template that may have run and may have been the user's, and both are certain.
func (r ran) only(c cell) (id uuid.UUID, running minute.Mask) {
	begin := int64(c.halfHour) * minute.MinutesPerHalfHour
	half := workspace.Minutes{{From: begin, To: begin + minute.MinutesPerHalfHour}}
	for _, t := range r[tenant{c.template, c.user}] {
		if t.perhaps.Intersect(half).Count() == 0 {
			continue
		}
		if running != 0 {
			return uuid.Nil, 0
		}
		id = t.workspace
		for _, s := range t.surely.Intersect(half) {
			for m := s.From; m < s.To; m++ {
				running |= 1 << (m - begin)
			}
		}
		if running == 0 {
			return uuid.Nil, 0
		}
	}
	return id, running
}

// startedBuild is a build with who asked for it.
type startedBuild struct {
	workspace.Build

	by uuid.UUID
}

// life is a workspace with the builds that tell of a window.
type life struct {
	id, template, owner uuid.UUID
	deleted             time.Time
	builds              []startedBuild
}

// runs says when the workspace ran after the starts of some: from each of them to the next stop, delete or start of others.
func (l life) runs(until time.Time, of func(by uuid.UUID) bool) workspace.Runs {
	builds := make([]workspace.Build, len(l.builds))
	for i, b := range l.builds {
		if builds[i] = b.Build; !of(b.by) && b.Transition == "start" {
			builds[i].Transition = "stop"
		}
	}
	return workspace.NewHistory(builds, l.deleted, until).Runs()
}

// add adds the workspace to those of its owner, for the time since the owner of prebuilt workspaces gave it away, and perhaps to
// those of everybody else who started it: Coder does not say who owned a workspace before.
func (r ran) add(l life, until time.Time) {
	owners := l.runs(until, func(by uuid.UUID) bool { return by.String() != prebuilds })
	own := tenant{l.template, l.owner}
	r[own] = append(r[own], tenancy{l.id, owners.Running, owners.Running.Union(owners.Unsure)})
	added := map[uuid.UUID]bool{l.owner: true}
	for _, b := range l.builds {
		if added[b.by] || b.Transition != "start" {
			continue
		}
		added[b.by] = true
		theirs := l.runs(until, func(by uuid.UUID) bool { return by == b.by })
		t := tenant{l.template, b.by}
		r[t] = append(r[t], tenancy{workspace: l.id, perhaps: theirs.Running.Union(theirs.Unsure)})
	}
}

// workspacesThatRan reads the builds that tell when workspaces ran in a window: of each workspace those since the newest that was
// done before the window. What it returns of a half hour does not depend on the window around it.
func (d *Database) workspacesThatRan(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window) (ran, error) {
	var lives []life
	err := each(ctx, tx, `SELECT workspaces.id, workspaces.template_id, workspaces.owner_id, `+deletedAt+`,
			workspace_builds.id, workspace_builds.build_number, workspace_builds.transition::text, job_status = 'succeeded',
			workspace_builds.created_at, started_at, completed_at, workspace_builds.initiator_id
		FROM workspaces
		LEFT JOIN LATERAL (SELECT build_number, transition FROM workspace_builds AS done
			JOIN provisioner_jobs AS job ON job.id = done.job_id
			WHERE done.workspace_id = workspaces.id AND job.job_status = 'succeeded' AND job.completed_at < $2
			ORDER BY build_number DESC LIMIT 1) AS before ON true
		JOIN workspace_builds ON workspace_builds.workspace_id = workspaces.id AND workspace_builds.created_at < $3
			AND workspace_builds.build_number >= COALESCE(before.build_number + CAST(before.transition <> 'start' AS int), 0)
		JOIN provisioner_jobs ON provisioner_jobs.id = workspace_builds.job_id
		WHERE ($1::uuid IS NULL OR workspaces.organization_id = $1)
			AND workspaces.template_id IN (SELECT template_id FROM template_usage_stats WHERE start_time >= $2 AND start_time < $3)
		ORDER BY workspaces.id`, scanLife, func(builds []life) error {
		for _, b := range builds {
			if last := len(lives) - 1; last >= 0 && lives[last].id == b.id {
				lives[last].builds = append(lives[last].builds, b.builds...)
			} else {
				lives = append(lives, b)
			}
		}
		return nil
	}, organization, w.from, w.to)
	if err != nil {
		return nil, err
	}
	r := ran{}
	for _, l := range lives {
		r.add(l, w.to)
	}
	return r, nil
}

// scanLife reads a workspace with one of its builds.
func scanLife(row pgx.CollectableRow) (l life, err error) {
	var b startedBuild
	var deleted, began, ended *time.Time
	err = row.Scan(
		&l.id, &l.template, &l.owner, &deleted, &b.ID, &b.Number, &b.Transition, &b.Succeeded, &b.Asked, &began, &ended, &b.by,
	)
	b.Began, b.Ended = instant(began).Time, instant(ended).Time
	l.deleted, l.builds = instant(deleted).Time, []startedBuild{b}
	return l, err
}
