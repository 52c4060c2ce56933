package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
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

// builtIn are builds with the workspace, the template and the organization that they are of.
const builtIn = `builds JOIN workspaces ON workspaces.id = builds.workspace_id JOIN templates ON templates.id = workspaces.template_id
	JOIN organizations ON organizations.id = templates.organization_id `

// BuildTimings spreads the times that builds took. Their labels are template, name of the version, transition and status.
func (s *Store) BuildTimings(ctx context.Context, scope access.Scope, bounds []float64) ([]Spread, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn("workspaces.template_id", "1 = 1")
	timings, err := s.spread(
		ctx, []string{"templates.name", "COALESCE(template_versions.name, '')", "outcome.transition", "outcome.status"},
		"builds.started_at", "builds.finished_at", bounds, false,
		builtIn+`JOIN (`+buildOutcomes+`) AS outcome ON (builds.outcomes & outcome.flag) <> 0
		LEFT JOIN template_versions ON template_versions.id = builds.outcome_version_id WHERE `+condition, args...,
	)
	if err != nil {
		return nil, fmt.Errorf("read how long builds took: %w", err)
	}
	return timings, nil
}

// CreationTimings spreads the times of the first builds of workspaces that succeeded, and of the builds that took a prebuilt workspace.
// Their labels are organization, template, preset, and of PrebuildSteps what the build did.
func (s *Store) CreationTimings(ctx context.Context, scope access.Scope, bounds []float64) ([]Spread, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn(
		"workspaces.template_id", "(builds.outcomes & ?) <> 0 AND (builds.number = 1 OR builds.prebuild = 'claimed')",
		buildOutcome("start", "succeeded"),
	)
	timings, err := s.spread(
		ctx, []string{"organizations.name", "templates.name", "builds.preset", "builds.prebuild"},
		"builds.started_at", "builds.finished_at",
		bounds, true, builtIn+`WHERE `+condition, args...,
	)
	if err != nil {
		return nil, fmt.Errorf("read how long workspaces took to be created: %w", err)
	}
	return timings, nil
}

// Creations counts the workspaces of a template with a preset that came in one way.
type Creations struct {
	TemplateName
	Preset   string
	Prebuild string // of PrebuildSteps what their build did
	Builds   int64  // that were asked for; of those that have nothing to do with prebuilt workspaces, those that succeeded
	Failed   int64
}

// Creations counts the prebuilt workspaces that were created, and those that were taken, and the others that ever started.
func (s *Store) Creations(ctx context.Context, scope access.Scope) ([]Creations, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.WhereColumn("workspaces.template_id", `builds.transition = 'start' AND (builds.prebuild = 'claimed'
		OR builds.prebuild = 'created' AND builds.number = 1 OR builds.prebuild = 'none' AND builds.number = (SELECT MIN(first.number)
		FROM builds AS first WHERE first.workspace_id = builds.workspace_id AND (first.outcomes & ?) <> 0))`,
		buildOutcome("start", "succeeded"))
	var all []Creations
	err = s.db.Reads.WithContext(ctx).Raw(`SELECT organizations.name AS organization, templates.name AS template, builds.preset,
			builds.prebuild, COUNT(*) AS builds, SUM(CASE WHEN (builds.outcomes & ?) <> 0 THEN 1 ELSE 0 END) AS failed
		FROM `+builtIn+`WHERE `+condition+` GROUP BY organizations.name, templates.name, builds.preset, builds.prebuild`,
		append([]any{buildOutcome("start", "failed")}, args...)...).Scan(&all).Error
	if err != nil {
		return nil, fmt.Errorf("count workspaces that were created: %w", err)
	}
	return all, nil
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
// where names are hidden, and nothing is of users who were erased. A build stays in its workspace: events that say otherwise are left out.
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
	merge, err := newestOf[buildRow](s, map[string]string{
		"outcomes":           `builds.outcomes | excluded.outcomes`,
		"outcome_version_id": `CASE WHEN builds.outcomes = 0 THEN excluded.outcome_version_id ELSE builds.outcome_version_id END`,
	})
	if err != nil {
		return err
	}
	merge.Where.Exprs = []clause.Expression{clause.Expr{SQL: "builds.workspace_id = excluded.workspace_id"}}
	// Those of a workspace together, which are looked at together; buildLocks keep two writers from a deadlock.
	byWorkspace := func(a, b buildRow) int {
		return cmp.Or(bytes.Compare(a.WorkspaceID[:], b.WorkspaceID[:]), bytes.Compare(a.ID[:], b.ID[:]))
	}
	return eachOnce(rows, func(b buildRow) uuid.UUID { return b.ID }, byWorkspace, func(batch []buildRow) error {
		workspaces, templates := make([]uuid.UUID, len(batch)), make([]uuid.UUID, len(batch))
		for i, b := range batch {
			workspaces[i], templates[i] = b.WorkspaceID, b.TemplateID
		}
		err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
			if err := s.db.LockNumbers(tx, buildLocks(workspaces)); err != nil {
				return err
			}
			if err := tx.Clauses(merge).Create(&batch).Error; err != nil {
				return err
			}
			if err := markSuperseded(tx, workspaces); err != nil {
				return err
			}
			return raiseParameters(tx, "id IN ?", templates)
		})
		if err != nil {
			return fmt.Errorf("record builds: %w", err)
		}
		return nil
	})
}

// buildLocks are the numbers that are locked to write builds of workspaces, ascending. One transaction at a time writes builds of a
// workspace: another one would mark by builds that this one corrects. Some workspaces share a number, because Postgres has room for few.
func buildLocks(workspaces []uuid.UUID) []int64 {
	var numbers []int64
	for _, id := range workspaces {
		numbers = append(numbers, int64(id[len(id)-1]%64))
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// neverSuperseded is superseded_at of a build that no other is known to take the place of.
const neverSuperseded = `9223372036854775807`

// markSuperseded notes from when on the starts of workspaces are not the newest ones any more. It has to be called in each transaction that
// writes builds, before raiseParameters, with buildLocks held unless nobody else knows the workspaces. A start without a mark costs time, a
// wrong mark hides it: what is noted is true of the builds as they are.
func markSuperseded(tx *gorm.DB, workspaces []uuid.UUID) error {
	err := tx.Exec(`UPDATE builds SET superseded_at = known.superseded_at FROM (
			SELECT id, CASE WHEN transition <> 'start' THEN 0 ELSE `+neverSuperseded+` END AS superseded_at
			FROM builds WHERE workspace_id IN ? AND NOT (`+changesWorkspace+`)
			UNION ALL SELECT id, CASE WHEN LEAD(number) OVER starts > number AND LEAD(created_at) OVER starts >= created_at
				THEN LEAD(created_at) OVER starts ELSE `+neverSuperseded+` END AS superseded_at
			FROM builds WHERE workspace_id IN ? AND `+changesWorkspace+` WINDOW starts AS (PARTITION BY workspace_id ORDER BY number, id)
		) AS known WHERE known.id = builds.id AND builds.superseded_at <> known.superseded_at`,
		workspaces, workspaces).Error
	if err != nil {
		return fmt.Errorf("mark starts that are not the newest: %w", err)
	}
	return nil
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
	merge, err := newestOf[E](s, united)
	if err != nil {
		return err
	}
	byKey := func(a, b E) int {
		idA, idB := key(a), key(b)
		return bytes.Compare(idA[:], idB[:])
	}
	return eachOnce(events, key, byKey, func(batch []E) error {
		if err := s.db.Write(ctx, func(db *gorm.DB) error { return db.Clauses(merge).Create(&batch).Error }); err != nil {
			return fmt.Errorf("record events: %w", err)
		}
		return nil
	})
}

// newestOf is how recordNewest merges an event with what is there.
func newestOf[E any](s *Store, united map[string]string) (merge clause.OnConflict, err error) {
	statement := gorm.Statement{DB: s.db.Writes}
	if err := statement.Parse(new(E)); err != nil {
		return merge, fmt.Errorf("record events: %w", err)
	}
	table, id := statement.Schema.Table, statement.Schema.PrioritizedPrimaryField.DBName
	merge.Columns = []clause.Column{{Name: id}}
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
	return merge, nil
}

// eachOnce hands events to f in batches that have none with the same key, in an order in which two writers wait for each other instead of
// deadlocking. Of one key the events stay in their order.
func eachOnce[E any](events []E, key func(E) uuid.UUID, order func(a, b E) int, f func(batch []E) error) error {
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
		slices.SortFunc(now, order)
		for batch := range slices.Chunk(now, writeBatch) {
			if err := f(batch); err != nil {
				return err
			}
		}
		events = later
	}
	return nil
}
