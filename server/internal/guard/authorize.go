package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// publicServices are outside the access rules: whether the server is well is no secret, and reflection is served only
// when it is switched on. Nothing else is.
var publicServices = []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}

// IsPublic reports whether a method is outside of the access rules.
func IsPublic(method string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return slices.Contains(publicServices, service)
}

// Rule is the access rule of one RPC.
type Rule struct {
	Permission access.Permission
	ScopeField protoreflect.Name
	Confine    bool
	Audit      bool
	Groups     bool
}

// Rules are those of all RPCs, by full method name.
type Rules map[string]Rule

// permissionOf maps the contract's names to the rights that roles are made of.
var permissionOf = map[insightsv1.Permission]access.Permission{
	insightsv1.Permission_PERMISSION_AUTHENTICATED:           access.Authenticated,
	insightsv1.Permission_PERMISSION_VIEW_INSIGHTS:           access.ViewInsights,
	insightsv1.Permission_PERMISSION_VIEW_INSIGHTS_AGGREGATE: access.ViewInsightsAggregate,
	insightsv1.Permission_PERMISSION_READ_USERS:              access.ReadUsers,
	insightsv1.Permission_PERMISSION_MANAGE_ACCESS:           access.ManageAccess,
	insightsv1.Permission_PERMISSION_MANAGE_PRIVACY:          access.ManagePrivacy,
	insightsv1.Permission_PERMISSION_READ_AUDIT:              access.ReadAudit,
	insightsv1.Permission_PERMISSION_APPLY_CATALOG:           access.ApplyCatalog,
	insightsv1.Permission_PERMISSION_INGEST:                  access.Ingest,
	insightsv1.Permission_PERMISSION_INGEST_ANY:              access.IngestAny,
	insightsv1.Permission_PERMISSION_READ_OWN:                access.ReadOwn,
	insightsv1.Permission_PERMISSION_RESOLVE_PSEUDONYMS:      access.ResolvePseudonyms,
}

// ReadRules reads the rules of everything that is served from the contract. One RPC without a rule is an error: the
// server does not start with it.
func ReadRules(served map[string]grpc.ServiceInfo) (Rules, error) {
	all := Rules{}
	for service := range served {
		if slices.Contains(publicServices, service) {
			continue
		}
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			return nil, fmt.Errorf("read access rules of %s: %w", service, err)
		}
		methods := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			r, err := ReadRule(methods.Get(i))
			if err != nil {
				return nil, fmt.Errorf("read access rule of %s: %w", methods.Get(i).FullName(), err)
			}
			all[fmt.Sprintf("/%s/%s", service, methods.Get(i).Name())] = r
		}
	}
	return all, nil
}

// ReadRule reads the access rule of an RPC; to have none is an error.
func ReadRule(method protoreflect.MethodDescriptor) (Rule, error) {
	if !proto.HasExtension(method.Options(), insightsv1.E_Access) {
		return Rule{}, errors.New("there is none")
	}
	declared := proto.GetExtension(method.Options(), insightsv1.E_Access).(*insightsv1.AccessRule)
	permission, ok := permissionOf[declared.GetPermission()]
	if !ok {
		return Rule{}, fmt.Errorf("permission %v is not one to be held", declared.GetPermission())
	}
	r := Rule{permission, protoreflect.Name(declared.GetScopeField()), declared.GetConfine(), declared.GetAudit(), declared.GetGroups()}
	if r.Audit && method.IsStreamingClient() {
		return Rule{}, errors.New("a stream cannot be audited as one call")
	}
	if r.ScopeField != "" && method.Input().Fields().ByName(r.ScopeField) == nil {
		return Rule{}, fmt.Errorf("the request has no field %s", r.ScopeField)
	}
	return r, nil
}

// Authorizer decides by the access rules. What has no rule is refused.
type Authorizer struct {
	Store *store.Store
	Rules Rules // set before the first call
}

func (a *Authorizer) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if IsPublic(info.FullMethod) {
		return handler(ctx, req)
	}
	ctx, err := a.Authorize(ctx, info.FullMethod, req)
	if err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (a *Authorizer) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if IsPublic(info.FullMethod) {
		return handler(srv, stream)
	}
	// Who may not send a single message may not open the stream either.
	r, ok := a.Rules[info.FullMethod]
	if !ok {
		return access.ErrForbidden
	}
	if err := r.useKey(stream.Context()); err != nil {
		return err
	}
	if !call.PrincipalOf(stream.Context()).Holds(r.Permission) {
		return access.ErrForbidden
	}
	return handler(srv, &authorizedStream{stream, a, info.FullMethod})
}

// authorizedStream checks the rule on every message, because rights may change while the stream is open.
type authorizedStream struct {
	grpc.ServerStream
	authorizer *Authorizer
	method     string
}

func (s *authorizedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	_, err := s.authorizer.Authorize(s.Context(), s.method, m)
	return err
}

// Authorize decides about one request and returns the context with its scope.
func (a *Authorizer) Authorize(ctx context.Context, method string, req any) (context.Context, error) {
	r, ok := a.Rules[method]
	if !ok {
		return nil, access.ErrForbidden
	}
	if err := r.useKey(ctx); err != nil {
		return nil, err
	}
	p := call.PrincipalOf(ctx)
	if r.ScopeField == "" {
		return ctx, r.check(p)
	}
	message := req.(proto.Message).ProtoReflect()
	field := message.Descriptor().Fields().ByName(r.ScopeField)
	switch r.ScopeField {
	case "template_ids", "template_id":
		return a.authorizeTemplates(ctx, r, p, message, field)
	case "org":
		return a.authorizeOrganization(ctx, r, p, message.Get(field).String())
	default: // the id of one organization
		return ctx, r.checkOrganization(p, message.Get(field).String())
	}
}

// useKey finds out whether a session key of Coder gives the rights of its user that are more than a limited one may carry.
func (r Rule) useKey(ctx context.Context) error {
	if call.MayCarry(r.Permission) {
		return nil
	}
	return call.UseWholeKey(ctx)
}

// check decides about a request without a scope.
func (r Rule) check(p access.Principal) error {
	if r.Confine && p.Holds(r.Permission) ||
		!r.Confine && (r.Permission == access.Authenticated && p.Holds(r.Permission) || p.HoldsEverywhere(r.Permission)) {
		return nil
	}
	return access.ErrForbidden
}

// checkOrganization decides about a request that names an organization, or none.
func (r Rule) checkOrganization(p access.Principal, text string) error {
	if text == "" {
		if r.check(p) != nil {
			return access.ErrNotFound
		}
		return nil
	}
	organization, err := uuid.Parse(text)
	if err != nil {
		return call.Invalid(call.MessageInvalidValues, invalidIDs(string(r.ScopeField), []string{text}))
	}
	if !p.HoldsIn(r.Permission, organization) {
		return access.ErrNotFound
	}
	return nil
}

// authorizeTemplates decides about a request that names templates, or none: then it is about those the caller may see.
func (a *Authorizer) authorizeTemplates(
	ctx context.Context, r Rule, p access.Principal, message protoreflect.Message, field protoreflect.FieldDescriptor,
) (context.Context, error) {
	requested, faults := templateIDs(message, field)
	if faults = append(call.MissingTimes(message.Interface()), faults...); len(faults) > 0 {
		return nil, call.Invalid(call.MessageInvalidValues, faults...)
	}
	organization, err := askedOrganization(message, len(requested) > 0)
	if err != nil {
		return nil, err
	}
	scope, err := a.templateScope(ctx, r, p, requested, organization)
	if r.Groups && len(p.About(r.Permission)) > 0 && errors.Is(err, access.ErrNotFound) {
		scope, err = a.memberScope(ctx, r.Permission, requested, organization)
	}
	if err != nil {
		return nil, err
	}
	return call.WithScope(ctx, scope), nil
}

// templateScope is what the caller may see of the templates that are requested, of those of an organization, or of all.
func (a *Authorizer) templateScope(
	ctx context.Context, r Rule, p access.Principal, requested []uuid.UUID, organization uuid.UUID,
) (access.Scope, error) {
	switch {
	case !p.Holds(r.Permission) || len(requested) == 0 && !r.Confine && !p.HoldsEverywhere(r.Permission):
		return access.Scope{}, access.ErrNotFound
	case organization == uuid.Nil:
		return call.VisibleScope(ctx, a.Store, r.Permission, requested)
	default:
		return a.organizationScope(ctx, r.Permission, organization)
	}
}

// memberScope is the same of the members of the groups that the caller may see.
func (a *Authorizer) memberScope(
	ctx context.Context, permission access.Permission, requested []uuid.UUID, organization uuid.UUID,
) (access.Scope, error) {
	p := call.PrincipalOf(ctx)
	organizations, err := a.Store.OrganizationsOf(ctx, nil)
	if err != nil {
		return access.Scope{}, err
	}
	if organization != uuid.Nil {
		maps.DeleteFunc(organizations, func(_, of uuid.UUID) bool { return of != organization })
	}
	groups, err := a.Store.OrganizationsOfGroups(ctx, p.About(permission))
	if err != nil {
		return access.Scope{}, err
	}
	scope, err := access.Members(p, permission, requested, organizations, groups)
	if err != nil {
		return access.Scope{}, err
	}
	return call.WithinKey(ctx, a.Store, scope, len(requested) > 0)
}

// askedOrganization reads the organization that a question about templates may name instead of them.
func askedOrganization(message protoreflect.Message, named bool) (uuid.UUID, error) {
	const field = "organization_id"
	f := message.Descriptor().Fields().ByName(field)
	if f == nil || message.Get(f).String() == "" {
		return uuid.Nil, nil
	}
	text := message.Get(f).String()
	organization, err := uuid.Parse(text)
	switch {
	case err != nil:
		return uuid.Nil, call.Invalid(call.MessageInvalidValues, invalidIDs(field, []string{text}))
	case named:
		return uuid.Nil, call.InvalidParam(field, "cannot be used together with %q", "template_ids")
	}
	return organization, nil
}

// organizationScope is those templates of an organization that the caller may see, at least one.
func (a *Authorizer) organizationScope(ctx context.Context, permission access.Permission, organization uuid.UUID) (access.Scope, error) {
	organizations, err := a.Store.OrganizationsOf(ctx, nil)
	if err != nil {
		return access.Scope{}, err
	}
	maps.DeleteFunc(organizations, func(_, of uuid.UUID) bool { return of != organization })
	if len(organizations) == 0 {
		return access.Scope{}, access.ErrNotFound
	}
	p := call.PrincipalOf(ctx)
	var requested []uuid.UUID
	if p.HoldsEverywhere(permission) {
		requested = slices.Collect(maps.Keys(organizations)) // naming none is everything, for them
	}
	scope, err := access.Templates(p, permission, requested, organizations)
	if err != nil {
		return access.Scope{}, err
	}
	return call.WithinKey(ctx, a.Store, scope, false)
}

// authorizeOrganization decides about a request for the templates of an organization, or, if it names none, for all that
// the caller may see.
func (a *Authorizer) authorizeOrganization(ctx context.Context, r Rule, p access.Principal, text string) (context.Context, error) {
	if err := r.checkOrganization(p, text); err != nil {
		return nil, err
	}
	var templates []uuid.UUID
	if text != "" {
		var err error
		if templates, err = a.Store.TemplatesOf(ctx, uuid.MustParse(text)); err != nil {
			return nil, err
		}
		if len(templates) == 0 {
			return ctx, nil // the scope of no templates
		}
	}
	scope, err := call.TemplateScope(ctx, a.Store, r.Permission, templates)
	if err == nil {
		scope, err = call.WithinKey(ctx, a.Store, scope, false)
	}
	if err != nil {
		return nil, err
	}
	return call.WithScope(ctx, scope), nil
}

// templateIDs reads the scope field of a request and says what is wrong with it.
func templateIDs(message protoreflect.Message, field protoreflect.FieldDescriptor) ([]uuid.UUID, []call.FieldError) {
	var texts []string
	if field.IsList() {
		list := message.Get(field).List()
		for i := range list.Len() {
			texts = append(texts, list.Get(i).String())
		}
	} else if text := message.Get(field).String(); text != "" {
		texts = append(texts, text)
	}
	ids := make([]uuid.UUID, 0, len(texts))
	var bad []string
	for _, text := range texts {
		id, err := uuid.Parse(text)
		if err != nil {
			bad = append(bad, text)
			continue
		}
		ids = append(ids, id)
	}
	if len(bad) > 0 {
		return nil, []call.FieldError{invalidIDs(string(field.Name()), bad)}
	}
	return ids, nil
}

// invalidIDs says which of the ids in a field are none, or some of them if they are many.
func invalidIDs(field string, bad []string) call.FieldError {
	const most = 10
	more := ""
	if len(bad) > most {
		more = fmt.Sprintf(" and %d more", len(bad)-most)
		bad = bad[:most]
	}
	shown := make([]string, len(bad))
	for i, text := range bad {
		if shown[i] = call.Shorten(text); text == "" {
			shown[i] = `""`
		}
	}
	return call.FieldError{
		Field: field, Detail: fmt.Sprintf("Query param %q has invalid values: %s%s", field, strings.Join(shown, ", "), more),
	}
}
