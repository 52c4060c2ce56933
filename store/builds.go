package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
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
// before since.
func (s *Store) EndedBuilds(ctx context.Context, scope access.Scope, since time.Time) ([]EndedBuilds, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	condition, args := x.whereColumn("workspaces.template_id", "1 = 1")
	var ended []EndedBuilds
	err = s.reads.WithContext(ctx).Raw(`SELECT `+workspaceNames+`, COALESCE(template_versions.name, '') AS version, ended.transition,
			ended.status, CAST(SUM(ended.builds) AS bigint) AS builds, MIN(ended.since) AS since
		FROM (SELECT workspace_id, template_version_id, transition, status, COUNT(*) AS builds, MIN(created_at) AS since FROM builds
			WHERE status IN ('succeeded', 'failed', 'canceled') GROUP BY workspace_id, template_version_id, transition, status) AS ended
		JOIN workspaces ON workspaces.id = ended.workspace_id `+namesOfWorkspaces+`
		LEFT JOIN template_versions ON template_versions.id = ended.template_version_id
		WHERE `+condition+
		` GROUP BY organizations.name, templates.name, users.username, workspaces.name, COALESCE(template_versions.name, ''),
			ended.transition, ended.status `+shownSince, append(args, At(since), At(since))...).Scan(&ended).Error
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
			return p.Name == c.Name &&
				(c.Value == p.DefaultValue || p.Type == "bool" || len(p.Options) > 0 && offered([]Parameter{p}, membersOf(p, c.Value)))
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
	organizations, err := parents(s.lookups.WithContext(ctx), "templates", "organization_id", templatesOf(builds))
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
	return recordNewest(ctx, s, "builds", builds, func(b Build) (uuid.UUID, Instant) { return b.ID, b.At })
}

// recordNewest keeps the newest event of each id in a table. Events may be repeated and come in any order: an older one
// changes nothing, and of two of one moment the later to come counts.
func recordNewest[E any](ctx context.Context, s *Store, table string, events []E, key func(E) (uuid.UUID, Instant)) error {
	newest := make(map[uuid.UUID]E, len(events))
	for _, e := range events {
		id, at := key(e)
		if known, again := newest[id]; again {
			if _, knownAt := key(known); knownAt.After(at.Time) {
				continue
			}
		}
		newest[id] = e
	}
	// In the order of their ids, so that two writers wait for each other instead of deadlocking.
	kept := slices.SortedFunc(maps.Values(newest), func(a, b E) int {
		idA, _ := key(a)
		idB, _ := key(b)
		return slices.Compare(idA[:], idB[:])
	})
	unlessOlder := clause.OnConflict{
		UpdateAll: true, Where: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "excluded.at >= " + table + ".at"}}},
	}
	for batch := range slices.Chunk(kept, writeBatch) {
		err := retryConflicts(ctx, func() error {
			return s.dialect.classify(s.writes.WithContext(ctx).Clauses(unlessOlder).Create(&batch).Error)
		})
		if err != nil {
			return fmt.Errorf("record %s: %w", table, err)
		}
	}
	return nil
}
