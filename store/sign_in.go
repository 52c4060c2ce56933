package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
)

// SignIn makes a session for a principal, which ends after the given time or with the credential that the principal showed,
// whichever is first, and returns its token and when it ends.
func (s *Store) SignIn(ctx context.Context, p access.Principal, longest time.Duration) (access.Token, time.Time, error) {
	until := s.clock().Add(longest)
	if !p.Until.IsZero() && p.Until.Before(until) {
		until = p.Until
	}
	session := Token{Name: p.Name, PrincipalKind: p.Kind, PrincipalID: p.ID, ExpiresAt: At(until), Purpose: PurposeSession}
	if p.Token != "" {
		var shown Token
		if err := s.db.Lookups.WithContext(ctx).Where("id = ?", p.Token).Take(&shown).Error; err != nil {
			return access.Token{}, until, fmt.Errorf("look up token: %w", err)
		}
		session.ParentID = cmp.Or(shown.ParentID, shown.ID) // a session of a session ends with the first token as well
	}
	secrets, err := s.CreateTokens(ctx, []Token{session})
	if err != nil {
		return access.Token{}, until, err
	}
	return secrets[0], session.ExpiresAt.Time, nil
}

// SignOut ends a session. An id that is not one of a session changes nothing.
func (s *Store) SignOut(ctx context.Context, id string) error {
	defer s.accessChanges.Add(1)
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		return db.Model(&Token{}).Where("id = ? AND purpose = ? AND revoked_at = 0", id, PurposeSession).
			Update("revoked_at", At(s.clock())).Error
	})
	if err != nil {
		return fmt.Errorf("end session %s: %w", id, err)
	}
	return nil
}

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
	err := s.db.InTransaction(ctx, func(tx *gorm.DB) error {
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
