package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
)

// ErrNotFirst means that the database has, or once had, an owner.
var ErrNotFirst = errors.New("there is, or was, an owner already")

// FirstToken makes a service that owns the deployment and returns its token. It works once per database, and never where an
// owner was made in another way: whoever repeats it later gets ErrNotFirst and nothing else. With the token it decides on a privacy mode,
// as DecidePrivacyMode does; without one (empty) it leaves that to others.
func (s *Store) FirstToken(ctx context.Context, mode PrivacyMode) (access.Token, error) {
	secret, now := access.NewToken(), At(s.clock())
	b := RoleBinding{ID: uuid.New(), PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleOwner, CreatedAt: now}
	token := Token{
		ID: secret.ID(), Hash: secret.Hash(), Name: "first owner", PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID,
		CreatedAt: now,
	}
	event := AuditEvent{uuid.New(), now, KindCommandLine, uuid.Nil, "token first", "token=" + token.ID}
	defer s.catalogChanges.Add(1)
	err := s.inTransaction(ctx, func(tx *gorm.DB) error {
		first := tx.Exec(`INSERT INTO first_tokens (id, token_id) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`, token.ID)
		if first.Error != nil {
			return first.Error
		}
		var owners int64
		if err := tx.Model(&RoleBinding{}).Where("role = ?", access.RoleOwner).Count(&owners).Error; err != nil {
			return err
		}
		if first.RowsAffected == 0 || owners > 0 {
			return ErrNotFirst
		}
		for _, row := range []any{&b, &token, &event} {
			if err := tx.Create(row).Error; err != nil {
				return err
			}
		}
		if mode == "" {
			return nil
		}
		_, err := s.decidePrivacyMode(tx, mode)
		return err
	})
	if err != nil {
		return access.Token{}, fmt.Errorf("make the first token: %w", err)
	}
	return secret, nil
}
