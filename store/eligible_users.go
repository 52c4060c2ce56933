package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// EligibleUsers are the people, not accounts of another kind, who could have used the templates of a scope before a moment: those in
// the organizations of the templates, or all with a scope of everything, who had been created, and were neither deleted by then nor
// are suspended.
func (s *Store) EligibleUsers(ctx context.Context, scope access.Scope, end time.Time) (map[uuid.UUID]bool, error) {
	within, err := s.organizationsOfScope(ctx, scope)
	if err != nil {
		return nil, err
	}
	var people []User
	err = s.reads.WithContext(ctx).Select("id", "organization_ids").
		Where(
			"kind = ? AND status <> 'suspended' AND created_at < ? AND (deleted_at = 0 OR deleted_at >= ?)", Human, At(end), At(end),
		).Find(&people).Error
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	eligible := map[uuid.UUID]bool{}
	for _, p := range people {
		if scope.All() || slices.ContainsFunc(p.OrganizationIDs, func(id uuid.UUID) bool { return within[id] }) {
			eligible[p.ID] = true
		}
	}
	return eligible, nil
}
