package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm/clause"
)

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
