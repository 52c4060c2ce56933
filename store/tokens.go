package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
)

// Token is what is kept of a credential: never the secret, only its hash.
type Token struct {
	ID            string
	Hash          []byte
	Name          string // for people
	PrincipalKind access.Kind
	PrincipalID   uuid.UUID
	CreatedAt     Instant `gorm:"autoCreateTime:false"`
	ExpiresAt     Instant // zero: does not expire
	RevokedAt     Instant
	LastUsedAt    Instant // exact to a minute
	Purpose       Purpose
	ParentID      string // of a session: the token that began it
}

// Purpose is what a token is good for.
type Purpose string

// The purposes of tokens.
const (
	PurposeCalls   Purpose = ""        // any number of calls
	PurposeSignIn  Purpose = "sign-in" // one call, whatever becomes of it
	PurposeSession Purpose = "session" // calls of a browser
)

// Errors of authentication and access management.
var (
	// ErrUnauthenticated means that a token lets nobody in: unknown, wrong, expired, revoked, or its principal is gone.
	ErrUnauthenticated = errors.New("token is not valid")
	// ErrUnknown means that the named thing does not exist.
	ErrUnknown = errors.New("does not exist")
)

// CreateTokens makes one credential for each of the given tokens, of which name, principal, expiry, purpose and parent count,
// and returns the secrets in the same order. They can never be read again.
func (s *Store) CreateTokens(ctx context.Context, tokens []Token) ([]access.Token, error) {
	secrets, rows := make([]access.Token, len(tokens)), slices.Clone(tokens)
	for i := range rows {
		secrets[i] = access.NewToken()
		rows[i].ID, rows[i].Hash, rows[i].CreatedAt = secrets[i].ID(), secrets[i].Hash(), At(s.clock())
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if err := s.db.Write(ctx, func(db *gorm.DB) error { return db.CreateInBatches(rows, writeBatch).Error }); err != nil {
		return nil, fmt.Errorf("create tokens: %w", err)
	}
	return secrets, nil
}

// RevokeToken ends a token and the sessions that it began. Revoking it again changes nothing; an unknown one is ErrUnknown.
func (s *Store) RevokeToken(ctx context.Context, id string) error {
	defer s.accessChanges.Add(1)
	var known int64
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		done := db.Model(&Token{}).Where("id = ? OR (parent_id = ? AND parent_id <> '')", id, id).
			Update("revoked_at", gorm.Expr("CASE WHEN revoked_at = 0 THEN ? ELSE revoked_at END", At(s.clock())))
		known = done.RowsAffected
		return done.Error
	})
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", id, err)
	}
	if known == 0 {
		return fmt.Errorf("token %s %w", id, ErrUnknown)
	}
	return nil
}

// Tokens lists all tokens, the newest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	var tokens []Token
	if err := s.db.Reads.WithContext(ctx).Omit("hash").Order("created_at DESC, id").Find(&tokens).Error; err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return tokens, nil
}

// noHash stands in for the hash of an unknown token, so that unknown and wrong take the same time.
var noHash = make([]byte, 32)

// Authenticate finds the principal behind a token with all that it holds. ErrUnauthenticated covers every reason to
// turn a token away.
func (s *Store) Authenticate(ctx context.Context, token access.Token) (access.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found := Token{Hash: noHash}
	err := s.db.Lookups.WithContext(ctx).Where("id = ?", token.ID()).Limit(1).Find(&found).Error
	if err != nil {
		return access.Principal{}, fmt.Errorf("look up token: %w", err)
	}
	now := s.clock()
	expired := !found.ExpiresAt.IsZero() && !now.Before(found.ExpiresAt.Time)
	if !token.Verify(found.Hash) || expired || !found.RevokedAt.IsZero() {
		return access.Principal{}, ErrUnauthenticated
	}
	p := access.Principal{
		Kind: found.PrincipalKind, ID: found.PrincipalID, Name: found.Name, Token: found.ID, Until: found.ExpiresAt.Time,
		Once: found.Purpose == PurposeSignIn,
	}
	switch p.Kind {
	case access.KindAgent:
		err = s.agentPrincipal(ctx, &p)
	case access.KindUser:
		err = s.userPrincipal(ctx, &p)
	default:
		var held access.Principal
		held, err = s.Holding(ctx, p.Kind, p.ID)
		p.Grants = held.Grants
	}
	if err == nil && p.Once {
		err = s.spendToken(ctx, found.ID, now)
	}
	if err != nil {
		return access.Principal{}, err
	}
	return p, nil
}

// spendToken ends a token with its first use. Of several uses at the same time one is the first.
func (s *Store) spendToken(ctx context.Context, id string, now time.Time) error {
	var spent int64
	err := s.db.Write(ctx, func(db *gorm.DB) error {
		done := db.Model(&Token{}).Where("id = ? AND revoked_at = 0", id).Updates(map[string]any{
			"revoked_at": At(now), "last_used_at": At(now),
		})
		spent = done.RowsAffected
		return done.Error
	})
	if err != nil {
		return fmt.Errorf("spend token: %w", err)
	}
	if spent == 0 {
		return ErrUnauthenticated
	}
	return nil
}

// TouchTokens notes that tokens were used now, unless that was noted within the last minute.
func (s *Store) TouchTokens(ctx context.Context, ids []string) error {
	now := s.clock()
	for batch := range slices.Chunk(ids, readBatch) {
		err := s.db.Write(ctx, func(db *gorm.DB) error {
			return db.Model(&Token{}).Where("id IN ? AND last_used_at < ?", batch, At(now.Add(-time.Minute))).
				Update("last_used_at", At(now)).Error
		})
		if err != nil {
			return fmt.Errorf("note use of tokens: %w", err)
		}
	}
	return nil
}

// User is a person who showed in another way who they are, with all that they hold. ErrUnauthenticated covers every reason to
// turn them away.
func (s *Store) User(ctx context.Context, id uuid.UUID) (access.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	kept, err := s.KeptAs(ctx, id)
	if err != nil {
		return access.Principal{}, err
	}
	p := access.Principal{Kind: access.KindUser, ID: kept}
	if err := s.userPrincipal(ctx, &p); err != nil {
		return access.Principal{}, err
	}
	return p, nil
}

// agentPrincipal is an agent that still exists; it may report for itself and nothing else.
func (s *Store) agentPrincipal(ctx context.Context, p *access.Principal) error {
	var alive int64
	if err := s.db.Lookups.WithContext(ctx).Model(&Agent{}).Where("id = ? AND deleted_at = 0", p.ID).Count(&alive).Error; err != nil {
		return fmt.Errorf("look up agent: %w", err)
	}
	if alive == 0 {
		return ErrUnauthenticated
	}
	p.Agent = p.ID
	*p = p.With(access.Binding{Role: access.RoleAgent})
	return nil
}

// userPrincipal is a person who is neither gone nor suspended, with their own roles and those of their groups.
func (s *Store) userPrincipal(ctx context.Context, p *access.Principal) error {
	var user User
	tx := s.db.Lookups.WithContext(ctx).Where("id = ?", p.ID).Limit(1).Find(&user)
	if tx.Error != nil {
		return fmt.Errorf("look up user: %w", tx.Error)
	}
	if tx.RowsAffected == 0 || !user.DeletedAt.IsZero() || user.Status == "suspended" {
		return ErrUnauthenticated
	}
	p.Name = user.Username
	held, err := s.Holding(ctx, p.Kind, p.ID)
	p.Grants = held.Grants
	return err
}

// Holding is a user or a service with the roles that are theirs now: their own, and those of the groups of a user. It does not
// ask whether they may call.
func (s *Store) Holding(ctx context.Context, kind access.Kind, id uuid.UUID) (access.Principal, error) {
	p := access.Principal{Kind: kind, ID: id}
	held, err := s.bindings(ctx, kind, []uuid.UUID{id})
	if err != nil || kind != access.KindUser {
		return p.With(held...), err
	}
	var groups []uuid.UUID
	now := At(s.clock())
	member := s.db.Lookups.WithContext(ctx).Model(&GroupMember{}).Where("user_id = ? AND "+isMember, id, now, now)
	if err := member.Pluck("group_id", &groups).Error; err != nil {
		return p, fmt.Errorf("look up groups of user: %w", err)
	}
	shared, err := s.bindings(ctx, KindGroup, groups)
	return p.With(append(held, shared...)...), err
}

// ValidAgentTokens says which of the tokens of agents still let their agent in.
func (s *Store) ValidAgentTokens(ctx context.Context, ids []string) (map[string]bool, error) {
	valid := make(map[string]bool, len(ids))
	for batch := range slices.Chunk(ids, readBatch) {
		var found []string
		err := s.db.Lookups.WithContext(ctx).Raw(`SELECT tokens.id FROM tokens JOIN agents ON agents.id = tokens.principal_id
			WHERE tokens.id IN ? AND tokens.principal_kind = ? AND tokens.revoked_at = 0
			AND (tokens.expires_at = 0 OR tokens.expires_at > ?) AND agents.deleted_at = 0`,
			batch, access.KindAgent, At(s.clock())).Scan(&found).Error
		if err != nil {
			return nil, fmt.Errorf("check tokens of agents: %w", err)
		}
		for _, id := range found {
			valid[id] = true
		}
	}
	return valid, nil
}
