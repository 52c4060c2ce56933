package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

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
		if err := s.lookups.WithContext(ctx).Where("id = ?", p.Token).Take(&shown).Error; err != nil {
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
	err := s.write(ctx, func(db *gorm.DB) error {
		return db.Model(&Token{}).Where("id = ? AND purpose = ? AND revoked_at = 0", id, PurposeSession).
			Update("revoked_at", At(s.clock())).Error
	})
	if err != nil {
		return fmt.Errorf("end session %s: %w", id, err)
	}
	return nil
}
