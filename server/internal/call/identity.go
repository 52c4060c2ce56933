package call

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

type identityKey struct{}

// Identity is who makes a call. On a stream the principal may change, or lose rights, from message to message.
type Identity struct {
	principal atomic.Pointer[access.Principal]
	limits    *KeyLimits  // of the credential; nil: it gives all rights of the principal
	whole     atomic.Bool // the credential gave all rights of the principal a moment ago
}

// KeyLimits are the limits of a credential that may give less than all rights of its principal.
type KeyLimits struct {
	// Whole asks whether it gives all of them.
	Whole func(ctx context.Context) (bool, error)
	// Everything asks whether it may see the insights of everything that there is.
	Everything func(ctx context.Context) (bool, error)
	// Within returns what it may see of a scope. organizationOf holds the organizations of the templates of the scope, as far as
	// the catalog knows them. Of templates that the caller named it must be allowed each; otherwise what it is not allowed is
	// left out. Nothing left is access.ErrNotFound.
	Within func(ctx context.Context, scope access.Scope, named bool, organizationOf map[uuid.UUID]uuid.UUID) (access.Scope, error)
}

// limitedPermissions are those that a limited credential may carry: questions, lists of what may be seen, and own data.
// Everything else needs one without limits.
var limitedPermissions = []access.Permission{access.Authenticated, access.ViewInsights, access.ViewInsightsAggregate, access.ReadOwn}

// WithIdentity returns a context of calls of a principal. limits are those of the credential; nil: it has none.
func WithIdentity(ctx context.Context, p access.Principal, limits *KeyLimits) (context.Context, *Identity) {
	i := &Identity{limits: limits}
	i.SetPrincipal(p)
	return context.WithValue(ctx, identityKey{}, i), i
}

// SetPrincipal changes who makes the call, or what they may.
func (i *Identity) SetPrincipal(p access.Principal) { i.principal.Store(&p) }

// Kind returns the kind of principal that makes the call.
func (i *Identity) Kind() access.Kind { return i.principal.Load().Kind }

// identityOf is who makes a call; without one it is no one.
func identityOf(ctx context.Context) *Identity {
	if i, ok := ctx.Value(identityKey{}).(*Identity); ok {
		return i
	}
	_, i := WithIdentity(ctx, access.Principal{}, nil)
	return i
}

// PrincipalOf returns who makes a call, with the rights that the credential gives.
func PrincipalOf(ctx context.Context) access.Principal {
	i := identityOf(ctx)
	p := *i.principal.Load()
	if i.limits == nil || i.whole.Load() {
		return p
	}
	return p.Only(limitedPermissions...)
}

// IsLimited reports whether the credential of a call may give less than all rights of the principal.
func IsLimited(ctx context.Context) bool { return identityOf(ctx).limits != nil }

// UseWholeKey gives the caller all rights of the principal if the credential does: one with limits gives few until its issuer
// says that they are none.
func UseWholeKey(ctx context.Context) error {
	i := identityOf(ctx)
	if i.limits == nil {
		return nil
	}
	whole, err := i.limits.Whole(ctx)
	i.whole.Store(err == nil && whole)
	return err
}

// MayCarry reports whether a limited credential may carry a permission.
func MayCarry(permission access.Permission) bool {
	return slices.Contains(limitedPermissions, permission)
}
