package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
)

// KindGroup is the kind of a group of users: it may hold roles, but never calls.
const KindGroup access.Kind = "group"

// RoleBinding gives a role to a user, a service or a group.
type RoleBinding struct {
	ID             uuid.UUID
	PrincipalKind  access.Kind
	PrincipalID    uuid.UUID
	Role           access.Role
	OrganizationID uuid.UUID // uuid.Nil: not bound to one
	TemplateID     uuid.UUID // uuid.Nil: not bound to one
	CreatedAt      Instant   `gorm:"autoCreateTime:false"`
}

// Binding is what the access rules see of it.
func (b RoleBinding) Binding() access.Binding {
	return access.Binding{Role: b.Role, Organization: b.OrganizationID, Template: b.TemplateID}
}

// GrantRole gives a role and returns its binding; the same grant again is the same binding. The error names the field
// that does not fit the role.
func (s *Store) GrantRole(ctx context.Context, b RoleBinding) (RoleBinding, error) {
	if err := b.Binding().Validate(); err != nil {
		return RoleBinding{}, err
	}
	b.ID, b.CreatedAt = uuid.New(), At(s.clock())
	db := s.writes.WithContext(ctx)
	if err := db.Clauses(clause.OnConflict{DoNothing: true}).Create(&b).Error; err != nil {
		return RoleBinding{}, fmt.Errorf("grant role: %w", s.dialect.classify(err))
	}
	var kept RoleBinding
	err := db.Where("principal_kind = ? AND principal_id = ? AND role = ? AND organization_id = ? AND template_id = ?",
		b.PrincipalKind, b.PrincipalID, b.Role, b.OrganizationID, b.TemplateID).Take(&kept).Error
	if err != nil {
		return RoleBinding{}, fmt.Errorf("grant role: %w", err)
	}
	return kept, nil
}

// RevokeRole takes a role back; an unknown binding is ErrUnknown.
func (s *Store) RevokeRole(ctx context.Context, id uuid.UUID) error {
	tx := s.writes.WithContext(ctx).Where("id = ?", id).Delete(&RoleBinding{})
	if tx.Error != nil {
		return fmt.Errorf("revoke role: %w", tx.Error)
	}
	if tx.RowsAffected == 0 {
		return fmt.Errorf("role binding %s %w", id, ErrUnknown)
	}
	return nil
}

// RoleBindings lists all bindings, the oldest first.
func (s *Store) RoleBindings(ctx context.Context) ([]RoleBinding, error) {
	var bindings []RoleBinding
	if err := s.reads.WithContext(ctx).Order("created_at, id").Find(&bindings).Error; err != nil {
		return nil, fmt.Errorf("list role bindings: %w", err)
	}
	return bindings, nil
}

// bindings are the roles of the principals of one kind.
func (s *Store) bindings(ctx context.Context, kind access.Kind, ids []uuid.UUID) ([]access.Binding, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []RoleBinding
	if err := s.lookups.WithContext(ctx).Where("principal_kind = ? AND principal_id IN ?", kind, ids).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("look up roles: %w", err)
	}
	bindings := make([]access.Binding, len(found))
	for i, b := range found {
		bindings[i] = b.Binding()
	}
	return bindings, nil
}
