package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// TemplateName is what people call a template. Two templates of an organization have the same name when all but one of
// them are deleted.
type TemplateName struct {
	Organization string
	Template     string
}

// TemplateNames returns the names of templates, deleted ones too. Unknown ids are absent.
func (s *Store) TemplateNames(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]TemplateName, error) {
	names := make(map[uuid.UUID]TemplateName, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []struct {
			ID                     uuid.UUID
			Organization, Template string
		}
		err := s.reads.WithContext(ctx).Raw(`SELECT templates.id, organizations.name AS organization, templates.name AS template
			FROM templates JOIN organizations ON organizations.id = templates.organization_id WHERE templates.id IN ?`, batch).Scan(&found).Error
		if err != nil {
			return nil, fmt.Errorf("read names of templates: %w", err)
		}
		for _, f := range found {
			names[f.ID] = TemplateName{f.Organization, f.Template}
		}
	}
	return names, nil
}
