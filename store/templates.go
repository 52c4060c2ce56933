package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/label"
)

// Templates lists the templates of a scope, deleted ones too, by name, then id.
func (s *Store) Templates(ctx context.Context, scope access.Scope) ([]Template, error) {
	templates, err := s.templates(ctx, scope)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(templates, func(a, b Template) int { return slices.Compare(a.ID[:], b.ID[:]) })
	label.Sort(templates, func(t Template) string { return t.Name })
	return templates, nil
}

func (s *Store) templates(ctx context.Context, scope access.Scope) ([]Template, error) {
	db := s.db.Reads.WithContext(ctx)
	var templates []Template
	if scope.All() {
		if err := db.Find(&templates).Error; err != nil {
			return nil, fmt.Errorf("read templates: %w", err)
		}
		return templates, nil
	}
	for batch := range slices.Chunk(scope.Templates(), readBatch) {
		var found []Template
		if err := db.Where("id IN ?", batch).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read templates: %w", err)
		}
		templates = append(templates, found...)
	}
	return templates, nil
}

// Organizations lists the organizations of the templates of a scope, by name, then id.
func (s *Store) Organizations(ctx context.Context, scope access.Scope) ([]Organization, error) {
	templates, err := s.templates(ctx, scope)
	if err != nil {
		return nil, err
	}
	ids := map[uuid.UUID]bool{}
	for _, t := range templates {
		ids[t.OrganizationID] = true
	}
	var all []Organization
	if err := s.db.Reads.WithContext(ctx).Find(&all).Error; err != nil {
		return nil, fmt.Errorf("read organizations: %w", err)
	}
	all = slices.DeleteFunc(all, func(o Organization) bool { return !ids[o.ID] })
	slices.SortFunc(all, func(a, b Organization) int { return slices.Compare(a.ID[:], b.ID[:]) })
	label.Sort(all, func(o Organization) string { return o.Name })
	return all, nil
}

// OldestTemplate is when the oldest template of a scope was made; zero if the catalog says it of none.
func (s *Store) OldestTemplate(ctx context.Context, scope access.Scope) (Instant, error) {
	templates, err := s.templates(ctx, scope)
	var oldest Instant
	for _, t := range templates {
		if !t.CreatedAt.IsZero() && (oldest.IsZero() || t.CreatedAt.Before(oldest.Time)) {
			oldest = t.CreatedAt
		}
	}
	return oldest, err
}

// TemplatesOf returns the ids of the templates of an organization, deleted ones too. An unknown organization is ErrUnknown.
func (s *Store) TemplatesOf(ctx context.Context, organization uuid.UUID) ([]uuid.UUID, error) {
	db := s.db.Reads.WithContext(ctx)
	var known int64
	if err := db.Model(&Organization{}).Where("id = ?", organization).Count(&known).Error; err != nil {
		return nil, fmt.Errorf("read organization %s: %w", organization, err)
	}
	if known == 0 {
		return nil, fmt.Errorf("organization %s %w", organization, ErrUnknown)
	}
	var ids []uuid.UUID
	if err := db.Model(&Template{}).Where("organization_id = ?", organization).Pluck("id", &ids).Error; err != nil {
		return nil, fmt.Errorf("read templates of organization %s: %w", organization, err)
	}
	return ids, nil
}

// versionsOf are the versions with these ids that are known.
func (s *Store) versionsOf(ctx context.Context, ids map[uuid.UUID]bool) (map[uuid.UUID]TemplateVersion, error) {
	versions := make(map[uuid.UUID]TemplateVersion, len(ids))
	for batch := range slices.Chunk(slices.Collect(maps.Keys(ids)), readBatch) {
		var found []TemplateVersion
		if err := s.db.Reads.WithContext(ctx).Where("id IN ?", batch).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read template versions: %w", err)
		}
		for _, v := range found {
			versions[v.ID] = v
		}
	}
	return versions, nil
}
