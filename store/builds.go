package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// EndedBuilds counts the builds of workspaces of one name that ended in one way.
type EndedBuilds struct {
	WorkspaceName
	Version    string // name of the template version; empty if it is not in the catalog
	Transition string
	Status     string // succeeded, failed or canceled
	Builds     int64
	Since      Instant // when the first of them was created: none had ended before
}

// EndedBuilds counts all builds that ended, of deleted workspaces too; names are left out whose workspaces were all deleted
// before since. A build that was corrected counts with every transition and status with which an event ever told that it ended, and
// with the version of the first of these events: so no count falls.
func (s *Store) EndedBuilds(ctx context.Context, scope access.Scope, since time.Time) ([]EndedBuilds, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn("workspaces.template_id", "1 = 1")
	var ended []EndedBuilds
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT `+workspaceNames+`, COALESCE(template_versions.name, '') AS version, outcome.transition,
			outcome.status, CAST(SUM(ended.builds) AS bigint) AS builds, MIN(ended.since) AS since
		FROM (SELECT workspace_id, outcome_version_id, outcomes, COUNT(*) AS builds, MIN(created_at) AS since FROM builds
			WHERE outcomes <> 0 GROUP BY workspace_id, outcome_version_id, outcomes) AS ended
		JOIN (`+buildOutcomes+`) AS outcome ON (ended.outcomes & outcome.flag) <> 0
		JOIN workspaces ON workspaces.id = ended.workspace_id `+namesOfWorkspaces+`
		LEFT JOIN template_versions ON template_versions.id = ended.outcome_version_id
		WHERE `+condition+
		` GROUP BY organizations.name, templates.name, users.username, workspaces.name, COALESCE(template_versions.name, ''),
			outcome.transition, outcome.status `+shownSince, append(args, At(since), At(since))...).Scan(&ended).Error
	if err != nil {
		return nil, fmt.Errorf("count builds: %w", err)
	}
	return ended, nil
}

func templatesOf(builds []Build) (ids []uuid.UUID) {
	for _, b := range builds {
		ids = append(ids, b.TemplateID)
	}
	return ids
}

// withoutFreeText leaves only the values that a template version itself names: of options, of switches, and the default.
func withoutFreeText(chosen []BuildParameter, v TemplateVersion) []BuildParameter {
	return slices.DeleteFunc(chosen, func(c BuildParameter) bool {
		return c.Value != "" && !slices.ContainsFunc(v.Parameters, func(p Parameter) bool {
			return p.Name == c.Name && (p.Type == "bool" || namesValue(p, c.Value))
		})
	})
}

// RecordBuilds keeps builds as their newest events say they are. Values of sensitive parameters are never kept, free text is not
// where names are hidden, and nothing is of users who were erased.
func (s *Store) RecordBuilds(ctx context.Context, builds []Build) error {
	workspaces := make([]uuid.UUID, len(builds))
	for i, b := range builds {
		workspaces[i] = b.WorkspaceID
	}
	erased, err := s.Erased(ctx, workspaces)
	if err != nil {
		return err
	}
	builds = slices.DeleteFunc(slices.Clone(builds), func(b Build) bool { return erased[b.WorkspaceID] })
	if len(builds) == 0 {
		return nil
	}
	ids := map[uuid.UUID]bool{}
	for _, b := range builds {
		ids[b.TemplateVersionID] = true
	}
	versions, err := s.versionsOf(ctx, ids)
	if err != nil {
		return err
	}
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return err
	}
	organizations, err := parents(s.db.Lookups.WithContext(ctx), "templates", "organization_id", templatesOf(builds))
	if err != nil {
		return err
	}
	for i, b := range builds {
		b.Parameters = slices.Clone(b.Parameters)
		for j, p := range b.Parameters {
			for _, d := range versions[b.TemplateVersionID].Parameters {
				if d.Name == p.Name && d.Sensitive {
					b.Parameters[j].Value = ""
				}
			}
		}
		if modes.Of(organizations[b.TemplateID]).AtLeast(PrivacyPseudonym) {
			b.Parameters = withoutFreeText(b.Parameters, versions[b.TemplateVersionID])
		}
		builds[i] = b
	}
	rows := make([]buildRow, len(builds))
	for i, b := range builds {
		rows[i] = buildRow{b, buildOutcome(b.Transition, b.Status), b.TemplateVersionID}
	}
	return recordNewest(ctx, s, rows, func(b buildRow) uuid.UUID { return b.ID }, map[string]string{
		"outcomes":           `builds.outcomes | excluded.outcomes`,
		"outcome_version_id": `CASE WHEN builds.outcomes = 0 THEN excluded.outcome_version_id ELSE builds.outcome_version_id END`,
	})
}

// buildRow is a build with what counters count of it.
type buildRow struct {
	Build
	Outcomes         int64     // bits of buildOutcome
	OutcomeVersionID uuid.UUID // the version of which the first outcome was told
}

// TableName implements the naming of GORM.
func (buildRow) TableName() string { return "builds" }

// recordNewest keeps events in their table: one row for each id, as the newest event says. Columns in united are written otherwise: by
// their expressions, in which excluded is the event that comes. Events may be repeated and come in any order: of two of one moment the
// later to come counts.
func recordNewest[E any](ctx context.Context, s *Store, events []E, key func(E) uuid.UUID, united map[string]string) error {
	statement := gorm.Statement{DB: s.db.Writes}
	if err := statement.Parse(new(E)); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	table, id := statement.Schema.Table, statement.Schema.PrioritizedPrimaryField.DBName
	merge := clause.OnConflict{Columns: []clause.Column{{Name: id}}}
	for _, column := range statement.Schema.DBNames {
		if column == id {
			continue
		}
		value, ok := united[column]
		if !ok {
			value = fmt.Sprintf("CASE WHEN excluded.at >= %[1]s.at THEN excluded.%[2]s ELSE %[1]s.%[2]s END", table, column)
		}
		merge.DoUpdates = append(merge.DoUpdates, clause.Assignment{
			Column: clause.Column{Name: column}, Value: clause.Expr{SQL: value},
		})
	}
	for len(events) > 0 {
		var now, later []E // a statement writes a row once
		seen := make(map[uuid.UUID]bool, len(events))
		for _, e := range events {
			if id := key(e); seen[id] {
				later = append(later, e)
			} else {
				seen[id] = true
				now = append(now, e)
			}
		}
		// In the order of their ids, so that two writers wait for each other instead of deadlocking.
		slices.SortFunc(now, func(a, b E) int {
			idA, idB := key(a), key(b)
			return slices.Compare(idA[:], idB[:])
		})
		for batch := range slices.Chunk(now, writeBatch) {
			err := s.db.Write(ctx, func(db *gorm.DB) error { return db.Clauses(merge).Create(&batch).Error })
			if err != nil {
				return fmt.Errorf("record %s: %w", table, err)
			}
		}
		events = later
	}
	return nil
}

// RunningTime is how long the workspaces of each template of a scope were running in [start, end), summed over the workspaces that
// belong to some actors. A workspace runs from the end of a start that succeeded to the begin of the next build that did, or to its
// deletion. Templates without any are absent.
func (s *Store) RunningTime(
	ctx context.Context, scope access.Scope, actors minute.Actors, start, end time.Time,
) (map[uuid.UUID]time.Duration, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	from, to := At(start), At(end)
	condition, args := x.WhereColumn("builds.template_id", "builds.status = 'succeeded' AND builds.created_at < ?", to)
	var found []struct {
		TemplateID uuid.UUID
		Micros     int64
	}
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT template_id,
		CAST(SUM(CASE WHEN ended < ? THEN ended ELSE ? END - CASE WHEN began > ? THEN began ELSE ? END) AS bigint) AS micros
		FROM (SELECT builds.template_id, builds.transition, CASE WHEN builds.finished_at > 0 THEN builds.finished_at ELSE builds.created_at
		END AS began,
				COALESCE(LEAD(CASE WHEN builds.started_at > 0 THEN builds.started_at ELSE builds.created_at END)
					OVER (PARTITION BY builds.workspace_id ORDER BY builds.number, builds.id), NULLIF(workspaces.deleted_at, 0), ?) AS ended
			FROM builds JOIN workspaces ON workspaces.id = builds.workspace_id
				JOIN users ON users.id = workspaces.owner_id AND users.kind IN ? WHERE `+condition+`) AS runs
		WHERE transition = 'start' AND ended > began AND ended > ? AND began < ? GROUP BY template_id`,
		append(append([]any{to, to, from, from, to, kindsOf(actors)}, args...), from, to)...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("add up the time that workspaces were running: %w", err)
	}
	running := make(map[uuid.UUID]time.Duration, len(found))
	for _, f := range found {
		running[f.TemplateID] = time.Duration(f.Micros) * time.Microsecond
	}
	return running, nil
}
