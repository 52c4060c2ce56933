package call

import (
	"context"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

type scopeKey struct{}

// ScopeOf returns the templates that a call may read, as its access rule decided. Without a decision it is empty.
func ScopeOf(ctx context.Context) access.Scope {
	scope, _ := ctx.Value(scopeKey{}).(access.Scope)
	return scope
}

// WithScope returns the context of a call that may read these templates.
func WithScope(ctx context.Context, scope access.Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, scope)
}

// VisibleScope returns what the caller may see of the templates that are requested, or of all, with the credential of this call.
func VisibleScope(ctx context.Context, s *store.Store, permission access.Permission, requested []uuid.UUID) (access.Scope, error) {
	scope, err := TemplateScope(ctx, s, permission, requested)
	if err != nil {
		return access.Scope{}, err
	}
	return WithinKey(ctx, s, scope, len(requested) > 0)
}

// SeesEverything reports whether the credential of this call may see the insights of everything that there is, if the principal may.
func SeesEverything(ctx context.Context) (bool, error) {
	limits := identityOf(ctx).limits
	if limits == nil {
		return true, nil
	}
	return limits.Everything(ctx)
}

// WithinKey returns what the caller's session key of Coder may see of a scope, if it is such a key that the caller shows.
func WithinKey(ctx context.Context, s *store.Store, scope access.Scope, named bool) (access.Scope, error) {
	limits := identityOf(ctx).limits
	if limits == nil {
		return scope, nil
	}
	organizations, err := s.OrganizationsOf(ctx, scope.Templates())
	if err != nil {
		return access.Scope{}, err
	}
	return limits.Within(ctx, scope, named, organizations)
}

// TemplateScope returns what the principal may see of the templates that are requested, or of all, whatever the credential.
func TemplateScope(ctx context.Context, s *store.Store, permission access.Permission, requested []uuid.UUID) (access.Scope, error) {
	p := PrincipalOf(ctx)
	var organizations map[uuid.UUID]uuid.UUID
	if !p.HoldsEverywhere(permission) {
		var err error
		if organizations, err = s.OrganizationsOf(ctx, requested); err != nil {
			return access.Scope{}, err
		}
	}
	return access.Templates(p, permission, requested, organizations)
}
