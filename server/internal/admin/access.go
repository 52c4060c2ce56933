package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Limits of the AccessService.
const (
	defaultPage    = 100
	maxAgentTokens = 1000
)

// Access is the AccessService: tokens and roles.
type Access struct {
	insightsv1.UnimplementedAccessServiceServer

	store    *store.Store
	clock    func() time.Time
	insights *insights.Service
	cookie   guard.SessionCookie
}

// NewAccess is the AccessService. insights tells whose days a caller may ask about, and cookie is where a browser keeps a session.
func NewAccess(s *store.Store, clock func() time.Time, insights *insights.Service, cookie guard.SessionCookie) *Access {
	return &Access{store: s, clock: clock, insights: insights, cookie: cookie}
}

// CreateToken implements [insightsv1.AccessServiceServer].
func (a *Access) CreateToken(ctx context.Context, req *insightsv1.CreateTokenRequest) (*insightsv1.CreateTokenResponse, error) {
	kind, id, err := a.principal(ctx, req.GetPrincipal(), access.KindUser, access.KindService, access.KindAgent)
	if err != nil {
		return nil, err
	}
	if err := call.CheckText(req.GetName()); err != nil {
		return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: "name", Detail: err.Error()})
	}
	expires, err := a.expiry(req.GetExpiresAt())
	if err != nil {
		return nil, err
	}
	token := store.Token{Name: req.GetName(), PrincipalKind: kind, PrincipalID: id, ExpiresAt: expires}
	secrets, err := a.store.CreateTokens(ctx, []store.Token{token})
	if err != nil {
		return nil, err
	}
	token.ID, token.CreatedAt = secrets[0].ID(), store.At(a.clock())
	return &insightsv1.CreateTokenResponse{Token: tokenMessage(token), Secret: secrets[0].Reveal()}, nil
}

// RevokeToken implements [insightsv1.AccessServiceServer].
func (a *Access) RevokeToken(ctx context.Context, req *insightsv1.RevokeTokenRequest) (*insightsv1.RevokeTokenResponse, error) {
	return &insightsv1.RevokeTokenResponse{}, a.store.RevokeToken(ctx, req.GetTokenId())
}

// ListTokens implements [insightsv1.AccessServiceServer].
func (a *Access) ListTokens(ctx context.Context, req *insightsv1.ListTokensRequest) (*insightsv1.ListTokensResponse, error) {
	at, err := call.OpenPage(ctx, a.store, req, defaultPage)
	if err != nil {
		return nil, err
	}
	tokens, err := a.store.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	named, err := a.filter(ctx, req.GetPrincipal())
	if err != nil {
		return nil, err
	}
	tokens = slices.DeleteFunc(tokens, func(t store.Token) bool { return !named(t.PrincipalKind, t.PrincipalID) })
	page, next := call.Cut(at, tokens, func(t store.Token) call.Position {
		return call.Position{Rank: -t.CreatedAt.UnixMicro(), ID: t.ID}
	})
	answer := &insightsv1.ListTokensResponse{NextPageToken: next}
	for _, t := range page {
		answer.Tokens = append(answer.Tokens, tokenMessage(t))
	}
	return answer, nil
}

// GrantRole implements [insightsv1.AccessServiceServer].
func (a *Access) GrantRole(ctx context.Context, req *insightsv1.GrantRoleRequest) (*insightsv1.GrantRoleResponse, error) {
	kind, id, err := a.principal(ctx, req.GetPrincipal(), access.KindUser, access.KindService, store.KindGroup)
	if err != nil {
		return nil, err
	}
	role, err := access.ParseRole(req.GetRole())
	if err != nil || role == access.RoleAgent {
		return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{
			Field: "role", Detail: fmt.Sprintf("unknown role %q", req.GetRole()),
		})
	}
	b := store.RoleBinding{PrincipalKind: kind, PrincipalID: id, Role: role}
	for _, scope := range []struct {
		field, text string
		to          *uuid.UUID
	}{
		{"organization_id", req.GetOrganizationId(), &b.OrganizationID},
		{"template_id", req.GetTemplateId(), &b.TemplateID},
		{"group_id", req.GetGroupId(), &b.GroupID},
	} {
		if scope.text == "" {
			continue
		}
		if *scope.to, err = call.ParseID(scope.text); err != nil {
			return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: scope.field, Detail: err.Error()})
		}
	}
	if err := a.store.CheckScope(ctx, b.Binding()); err != nil {
		return nil, err
	}
	if b, err = a.store.GrantRole(ctx, b); err != nil {
		return nil, err
	}
	return &insightsv1.GrantRoleResponse{RoleBinding: bindingMessage(b)}, nil
}

// RevokeRole implements [insightsv1.AccessServiceServer].
func (a *Access) RevokeRole(ctx context.Context, req *insightsv1.RevokeRoleRequest) (*insightsv1.RevokeRoleResponse, error) {
	id, err := call.ParseID(req.GetRoleBindingId())
	if err != nil {
		return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: "role_binding_id", Detail: err.Error()})
	}
	return &insightsv1.RevokeRoleResponse{}, a.store.RevokeRole(ctx, id)
}

// ListRoleBindings implements [insightsv1.AccessServiceServer].
func (a *Access) ListRoleBindings(
	ctx context.Context, req *insightsv1.ListRoleBindingsRequest,
) (*insightsv1.ListRoleBindingsResponse, error) {
	at, err := call.OpenPage(ctx, a.store, req, defaultPage)
	if err != nil {
		return nil, err
	}
	bindings, err := a.store.RoleBindings(ctx)
	if err != nil {
		return nil, err
	}
	named, err := a.filter(ctx, req.GetPrincipal())
	if err != nil {
		return nil, err
	}
	bindings = slices.DeleteFunc(bindings, func(b store.RoleBinding) bool { return !named(b.PrincipalKind, b.PrincipalID) })
	page, next := call.Cut(at, bindings, func(b store.RoleBinding) call.Position {
		return call.Position{Rank: b.CreatedAt.UnixMicro(), ID: b.ID.String()}
	})
	answer := &insightsv1.ListRoleBindingsResponse{NextPageToken: next}
	for _, b := range page {
		answer.RoleBindings = append(answer.RoleBindings, bindingMessage(b))
	}
	return answer, nil
}

// WhoAmI implements [insightsv1.AccessServiceServer].
func (a *Access) WhoAmI(ctx context.Context, _ *insightsv1.WhoAmIRequest) (*insightsv1.WhoAmIResponse, error) {
	p, err := a.rights(ctx)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.WhoAmIResponse{Principal: &insightsv1.Principal{Kind: string(p.Kind), Id: p.ID.String()}}
	if p.Kind == access.KindUser {
		answer.Username = p.Name
	}
	for _, g := range p.Grants {
		answer.Grants = append(answer.Grants, &insightsv1.Grant{
			Permission: string(g.Permission), OrganizationId: call.OptionalID(g.Organization), TemplateId: call.OptionalID(g.Template),
			GroupId: call.OptionalID(g.Group),
		})
	}
	answer.InsightsTimezone, err = a.insights.Timezone(ctx)
	return answer, err
}

// GetCurrentUser implements [insightsv1.AccessServiceServer].
func (a *Access) GetCurrentUser(
	ctx context.Context, _ *insightsv1.GetCurrentUserRequest,
) (*insightsv1.GetCurrentUserResponse, error) {
	p, never := call.PrincipalOf(ctx), timestamppb.New(time.Time{})
	user := &insightsv1.CurrentUser{
		Id: p.ID.String(), CreatedAt: never, UpdatedAt: never, LastSeenAt: never, Status: store.UserStatuses[0], IsServiceAccount: true,
	}
	if p.Kind == access.KindUser {
		of, err := a.store.CatalogUser(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		user.Username, user.AvatarUrl, user.CreatedAt = of.Username, of.AvatarURL, cmp.Or(call.Timestamp(of.CreatedAt), never)
		user.Status, user.IsServiceAccount = cmp.Or(of.Status, user.Status), cmp.Or(of.Kind, store.Human) != store.Human
		user.OrganizationIds = slices.Sorted(slices.Values(call.Texts(of.OrganizationIDs)))
	}
	roles, err := a.store.DeploymentRoles(ctx, p.Kind, p.ID)
	for _, role := range roles {
		user.Roles = append(user.Roles, &insightsv1.CurrentUserRole{Name: string(role)})
	}
	return &insightsv1.GetCurrentUserResponse{User: user}, err
}

// rights are those of the principal that the credential of this call gives.
func (a *Access) rights(ctx context.Context) (access.Principal, error) {
	if err := call.UseWholeKey(ctx); err != nil {
		return access.Principal{}, err
	}
	p := call.PrincipalOf(ctx)
	if !call.IsLimited(ctx) {
		return p, nil
	}
	organizations, err := a.store.OrganizationsOf(ctx, nil)
	if err != nil {
		return access.Principal{}, err
	}
	// Who holds ViewInsights holds ViewInsightsAggregate. Nothing that is found is the scope of nothing, and so is what is too
	// much to ask about: questions have to name templates then.
	scope, err := call.VisibleScope(ctx, a.store, access.ViewInsightsAggregate, nil)
	if err != nil && !errors.Is(err, access.ErrNotFound) && status.Code(err) != codes.InvalidArgument {
		return access.Principal{}, err
	}
	for _, permission := range []access.Permission{access.ViewInsights, access.ViewInsightsAggregate} {
		p = p.Within(permission, scope, organizations)
	}
	return p, nil
}

// CreateAgentTokens implements [insightsv1.AccessServiceServer].
func (a *Access) CreateAgentTokens(
	ctx context.Context, req *insightsv1.CreateAgentTokensRequest,
) (*insightsv1.CreateAgentTokensResponse, error) {
	expires, err := a.expiry(req.GetExpiresAt())
	if err != nil {
		return nil, err
	}
	if n := len(req.GetAgentIds()); n < 1 || n > maxAgentTokens {
		return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{
			Field: "agent_ids", Detail: fmt.Sprintf("%d ids, want 1 to %d", n, maxAgentTokens),
		})
	}
	var agents []uuid.UUID
	var tokens []store.Token
	for _, text := range req.GetAgentIds() {
		id, err := call.ParseID(text)
		if err != nil || slices.Contains(agents, id) {
			return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{
				Field: "agent_ids", Detail: fmt.Sprintf("%q: want different UUIDs", text),
			})
		}
		agents = append(agents, id)
		tokens = append(tokens, store.Token{PrincipalKind: access.KindAgent, PrincipalID: id, ExpiresAt: expires})
	}
	organizations, err := a.store.AgentOrganizations(ctx, agents)
	if err != nil {
		return nil, err
	}
	for _, id := range agents {
		organization, known := organizations[id]
		if !known || !call.PrincipalOf(ctx).HoldsIn(access.ApplyCatalog, organization) {
			return nil, access.ErrNotFound
		}
	}
	secrets, err := a.store.CreateTokens(ctx, tokens)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.CreateAgentTokensResponse{}
	for i, secret := range secrets {
		answer.Tokens = append(answer.Tokens, &insightsv1.AgentToken{
			AgentId: agents[i].String(), TokenId: secret.ID(), Secret: secret.Reveal(),
		})
	}
	return answer, nil
}

// principal reads a principal of one of the allowed kinds and makes sure that the catalog holds it.
func (a *Access) principal(ctx context.Context, m *insightsv1.Principal, allowed ...access.Kind) (access.Kind, uuid.UUID, error) {
	kind, err := call.OneOf("principal.kind", access.Kind(m.GetKind()), allowed...)
	if err != nil {
		return "", uuid.Nil, err
	}
	id, err := call.ParseID(m.GetId())
	if err != nil {
		return "", uuid.Nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: "principal.id", Detail: err.Error()})
	}
	id, err = a.store.FindPrincipal(ctx, kind, id)
	return kind, id, err
}

// expiry reads when a token ends.
func (a *Access) expiry(t *timestamppb.Timestamp) (store.Instant, error) {
	if t == nil {
		return store.Instant{}, nil
	}
	if t.CheckValid() != nil || !t.AsTime().After(a.clock()) {
		return store.Instant{}, call.Invalid(call.MessageInvalidValue, call.FieldError{
			Field: "expires_at", Detail: "must be in the future",
		})
	}
	return store.At(t.AsTime()), nil
}

// filter returns whether a principal is the one that a list is asked about; without one all are.
func (a *Access) filter(ctx context.Context, of *insightsv1.Principal) (named func(access.Kind, uuid.UUID) bool, err error) {
	if of == nil {
		return func(access.Kind, uuid.UUID) bool { return true }, nil
	}
	wanted := of.GetId()
	if id, err := call.ParseID(wanted); err == nil && of.GetKind() == string(access.KindUser) {
		if id, err = a.store.KeptAs(ctx, id); err != nil {
			return nil, err
		}
		wanted = id.String()
	}
	return func(kind access.Kind, id uuid.UUID) bool {
		return of.GetKind() == string(kind) && wanted == id.String()
	}, nil
}

func tokenMessage(t store.Token) *insightsv1.Token {
	return &insightsv1.Token{
		Id: t.ID, Name: t.Name, Principal: &insightsv1.Principal{Kind: string(t.PrincipalKind), Id: t.PrincipalID.String()},
		CreatedAt: call.Timestamp(t.CreatedAt), ExpiresAt: call.Timestamp(t.ExpiresAt), RevokedAt: call.Timestamp(t.RevokedAt),
		LastUsedAt: call.Timestamp(t.LastUsedAt), Purpose: string(t.Purpose),
	}
}

func bindingMessage(b store.RoleBinding) *insightsv1.RoleBinding {
	return &insightsv1.RoleBinding{
		Id: b.ID.String(), Principal: &insightsv1.Principal{Kind: string(b.PrincipalKind), Id: b.PrincipalID.String()},
		Role: string(b.Role), OrganizationId: call.OptionalID(b.OrganizationID), TemplateId: call.OptionalID(b.TemplateID),
		GroupId: call.OptionalID(b.GroupID), CreatedAt: call.Timestamp(b.CreatedAt),
	}
}
