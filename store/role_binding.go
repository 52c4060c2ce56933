package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
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
	GroupID        uuid.UUID // uuid.Nil: not bound to the members of one
	CreatedAt      Instant   `gorm:"autoCreateTime:false"`
	Source         string    // of a binding that is kept as another system has it: which; empty: it was granted here
}

// Binding is what the access rules see of it.
func (b RoleBinding) Binding() access.Binding {
	return access.Binding{Role: b.Role, Organization: b.OrganizationID, Template: b.TemplateID, Group: b.GroupID}
}

// GrantRole gives a role and returns its binding; the same grant again is the same binding. The error names the field
// that does not fit the role.
func (s *Store) GrantRole(ctx context.Context, b RoleBinding) (RoleBinding, error) {
	if err := b.Binding().Validate(); err != nil {
		return RoleBinding{}, err
	}
	defer s.accessChanges.Add(1)
	b.ID, b.CreatedAt = uuid.New(), At(s.clock())
	var kept RoleBinding
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&b).Error; err != nil {
			return err
		}
		return tx.Where("principal_kind = ? AND principal_id = ? AND role = ? AND organization_id = ? AND template_id = ? AND group_id = ?",
			b.PrincipalKind, b.PrincipalID, b.Role, b.OrganizationID, b.TemplateID, b.GroupID).Take(&kept).Error
	})
	if err != nil {
		return RoleBinding{}, fmt.Errorf("grant role: %w", err)
	}
	return kept, nil
}

// errDry takes back what a dry run wrote.
var errDry = errors.New("dry run")

// SyncRoles makes the bindings of a source those that it has now, and returns how many it gave and took. Of those that it had
// before it takes none that covers does not want; what was granted here stays, and who was erased gets none. A dry run changes
// nothing. The error names the field of a binding that does not fit its role.
func (s *Store) SyncRoles(
	ctx context.Context, source string, bindings []RoleBinding, covers func(RoleBinding) bool, dry bool,
) (given, taken int, err error) {
	type key struct {
		kind      access.Kind
		principal uuid.UUID
		binding   access.Binding
	}
	keyOf := func(b RoleBinding) key { return key{b.PrincipalKind, b.PrincipalID, b.Binding()} }
	var users []uuid.UUID
	for _, b := range bindings {
		if err := b.Binding().Validate(); err != nil {
			return 0, 0, err
		}
		if b.PrincipalKind == access.KindUser {
			users = append(users, b.PrincipalID)
		}
	}
	defer s.accessChanges.Add(1)
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		ids, err := s.idsToKeep(tx, users)
		if err != nil {
			return err
		}
		missing := make(map[key]RoleBinding, len(bindings))
		for _, b := range bindings {
			if b.PrincipalKind == access.KindUser {
				id, may := ids[b.PrincipalID]
				if !may {
					continue
				}
				b.PrincipalID = id
			}
			b.ID, b.CreatedAt, b.Source = uuid.New(), At(s.clock()), source
			missing[keyOf(b)] = b
		}
		var held []RoleBinding
		if err := tx.Find(&held).Error; err != nil {
			return err
		}
		var gone []uuid.UUID
		for _, b := range held {
			if _, wants := missing[keyOf(b)]; wants {
				delete(missing, keyOf(b))
			} else if b.Source == source && covers(b) {
				gone = append(gone, b.ID)
			}
		}
		given, taken = len(missing), len(gone)
		if dry {
			return errDry
		}
		for batch := range slices.Chunk(gone, writeBatch) {
			if err := tx.Where("id IN ?", batch).Delete(&RoleBinding{}).Error; err != nil {
				return err
			}
		}
		if len(missing) == 0 {
			return nil
		}
		return tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(slices.Collect(maps.Values(missing)), writeBatch).Error
	})
	if err != nil && !errors.Is(err, errDry) {
		return 0, 0, fmt.Errorf("take over roles: %w", err)
	}
	return given, taken, nil
}

// RevokeRole takes a role back; an unknown binding is ErrUnknown.
func (s *Store) RevokeRole(ctx context.Context, id uuid.UUID) error {
	defer s.accessChanges.Add(1)
	var taken int64
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		done := db.Where("id = ?", id).Delete(&RoleBinding{})
		taken = done.RowsAffected
		return done.Error
	})
	if err != nil {
		return fmt.Errorf("revoke role: %w", err)
	}
	if taken == 0 {
		return fmt.Errorf("role binding %s %w", id, ErrUnknown)
	}
	return nil
}

// RoleBindings lists all bindings, the oldest first.
func (s *Store) RoleBindings(ctx context.Context) ([]RoleBinding, error) {
	var bindings []RoleBinding
	if err := s.db.Reads.WithContext(ctx).Order("created_at, id").Find(&bindings).Error; err != nil {
		return nil, fmt.Errorf("list role bindings: %w", err)
	}
	return bindings, nil
}

// DeploymentRoles returns the roles that a principal holds for the whole deployment by themselves, not by a group, by name.
func (s *Store) DeploymentRoles(ctx context.Context, kind access.Kind, id uuid.UUID) (roles []access.Role, err error) {
	held, err := s.bindings(ctx, kind, []uuid.UUID{id})
	for _, b := range held {
		if b == (access.Binding{Role: b.Role}) {
			roles = append(roles, b.Role)
		}
	}
	slices.Sort(roles)
	return roles, err
}

// bindings are the roles of the principals of one kind.
func (s *Store) bindings(ctx context.Context, kind access.Kind, ids []uuid.UUID) ([]access.Binding, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var found []RoleBinding
	if err := s.db.Lookups.WithContext(ctx).Where("principal_kind = ? AND principal_id IN ?", kind, ids).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("look up roles: %w", err)
	}
	bindings := make([]access.Binding, len(found))
	for i, b := range found {
		bindings[i] = b.Binding()
	}
	return bindings, nil
}
