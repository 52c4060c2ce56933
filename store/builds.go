package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
)

// ParameterUsage is the use of one parameter definition: which values the workspaces chose.
type ParameterUsage struct {
	Templates  []uuid.UUID // that have the parameter, ascending
	Definition Parameter
	Values     []ParameterValue // by value
}

// ParameterValue is one value and the number of workspaces with it. Values of a sensitive parameter are all shown as
// the empty string.
type ParameterValue struct {
	Value string
	Count int64
}

// ParameterUsage answers by the newest build of each workspace among those created in [start, end). Definitions that
// differ in any part but the default are entries of their own; one that nobody has a value for is left out. The order
// is that of name, type, display name, description and options.
func (s *Store) ParameterUsage(ctx context.Context, scope access.Scope, start, end time.Time) ([]ParameterUsage, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	builds, err := s.latestBuilds(ctx, x, start, end)
	if err != nil {
		return nil, err
	}
	versions, err := s.versionsOf(ctx, builds)
	if err != nil {
		return nil, err
	}
	type group struct {
		definition Parameter
		templates  map[uuid.UUID]bool
		values     map[string]int64
	}
	groups := map[string]*group{}
	for _, b := range builds {
		values := map[string]string{}
		for _, p := range b.Parameters {
			values[p.Name] = p.Value
		}
		for _, p := range versions[b.TemplateVersionID].Parameters {
			key := parameterKey(p)
			g := groups[key]
			if g == nil {
				g = &group{p, map[uuid.UUID]bool{}, map[string]int64{}}
				groups[key] = g
			}
			g.templates[b.TemplateID] = true
			if value, ok := values[p.Name]; ok {
				g.values[value]++
			}
		}
	}
	var usage []ParameterUsage
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g := groups[key]
		if len(g.values) == 0 {
			continue
		}
		u := ParameterUsage{Definition: g.definition}
		u.Templates = slices.SortedFunc(maps.Keys(g.templates), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		for _, value := range slices.Sorted(maps.Keys(g.values)) {
			u.Values = append(u.Values, ParameterValue{value, g.values[value]})
		}
		usage = append(usage, u)
	}
	return usage, nil
}

// parameterKey is equal for equal definitions and sorts like their parts, one after the other.
func parameterKey(p Parameter) string {
	options, _ := json.Marshal(p.Options) // strings only: cannot fail
	sensitive := ""
	if p.Sensitive {
		sensitive = "sensitive"
	}
	return strings.Join([]string{p.Name, p.Type, p.DisplayName, p.Description, string(options), sensitive}, "\x00")
}

// latestBuilds are the builds with the highest number of each workspace among those created in [start, end).
func (s *Store) latestBuilds(ctx context.Context, x templateIndex, start, end time.Time) ([]Build, error) {
	condition, args := x.where("created_at >= ? AND created_at < ?", At(start), At(end))
	var builds []Build
	if err := s.reads.WithContext(ctx).Where(condition, args...).Order("workspace_id, number").Find(&builds).Error; err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	latest := builds[:0]
	for i, b := range builds {
		if i+1 == len(builds) || builds[i+1].WorkspaceID != b.WorkspaceID {
			latest = append(latest, b)
		}
	}
	return latest, nil
}

func (s *Store) versionsOf(ctx context.Context, builds []Build) (map[uuid.UUID]TemplateVersion, error) {
	versions := map[uuid.UUID]TemplateVersion{}
	for _, b := range builds {
		versions[b.TemplateVersionID] = TemplateVersion{}
	}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(versions)), readBatch) {
		var found []TemplateVersion
		if err := s.reads.WithContext(ctx).Where("id IN ?", batch).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read template versions: %w", err)
		}
		for _, v := range found {
			versions[v.ID] = v
		}
	}
	return versions, nil
}

// RecordBuilds keeps builds. A build that is known already is written over: events may be repeated, and a later one
// knows more. Values of sensitive parameters are never kept.
func (s *Store) RecordBuilds(ctx context.Context, builds []Build) error {
	if len(builds) == 0 {
		return nil
	}
	versions, err := s.versionsOf(ctx, builds)
	if err != nil {
		return err
	}
	kept := make([]Build, 0, len(builds))
	position := map[uuid.UUID]int{}
	for _, b := range builds {
		b.Parameters = slices.Clone(b.Parameters)
		for i, p := range b.Parameters {
			for _, d := range versions[b.TemplateVersionID].Parameters {
				if d.Name == p.Name && d.Sensitive {
					b.Parameters[i].Value = ""
				}
			}
		}
		if i, again := position[b.ID]; again {
			kept[i] = b
			continue
		}
		position[b.ID] = len(kept)
		kept = append(kept, b)
	}
	slices.SortFunc(kept, func(a, b Build) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	err = retryConflicts(ctx, func() error {
		return s.dialect.classify(s.writes.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(kept, writeBatch).Error)
	})
	if err != nil {
		return fmt.Errorf("record builds: %w", err)
	}
	return nil
}
