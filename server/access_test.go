package server_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
)

// codeOf makes a unary call and returns how it ended.
func codeOf[Q, A proto.Message](
	t *testing.T, call func(context.Context, Q, ...grpc.CallOption) (A, error), token string, req Q,
) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), token), time.Minute)
	defer cancel()
	_, err := call(ctx, req)
	return status.Code(err)
}

func TestTokensAndRoles(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	owner, service := c.Token(t, access.RoleOwner, servertest.Everywhere), insightsv1.NewAccessServiceClient(c.Conn)
	person := &insightsv1.Principal{Kind: "user", Id: c.user}
	created := servertest.Must(t, service.CreateToken, owner, &insightsv1.CreateTokenRequest{Principal: person, Name: "laptop"})

	who := servertest.Must(t, service.WhoAmI, created.GetSecret(), &insightsv1.WhoAmIRequest{})
	if who.GetUsername() != "ann" || who.GetPrincipal().GetId() != c.user || len(who.GetGrants()) != 0 {
		t.Errorf("who am I: %v", who)
	}
	ask := &insightsv1.GetUserActivityRequest{
		StartTime: "2023-03-26T00:00:00Z", EndTime: "2023-03-27T00:00:00Z", TemplateIds: []string{c.templates[0].String()},
	}
	insights := insightsv1.NewInsightsServiceClient(c.Conn)
	sees := func() bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(servertest.As(t.Context(), created.GetSecret()), time.Minute)
		defer cancel()
		_, err := insights.GetUserActivity(ctx, ask)
		if err != nil && status.Code(err) != codes.NotFound {
			t.Fatal(err)
		}
		return err == nil
	}
	if sees() {
		t.Error("a person without roles sees insights")
	}
	grant := &insightsv1.GrantRoleRequest{Principal: person, Role: "template-admin", TemplateId: c.templates[0].String()}
	binding := servertest.Must(t, service.GrantRole, owner, grant).GetRoleBinding()
	if again := servertest.Must(t, service.GrantRole, owner, grant).GetRoleBinding(); !proto.Equal(again, binding) {
		t.Errorf("the same grant again: %v, want %v", again, binding)
	}
	eventually(t, "granted", sees)
	if got := servertest.Must(
		t, service.ListRoleBindings, owner, &insightsv1.ListRoleBindingsRequest{Principal: person},
	).GetRoleBindings(); len(got) != 1 || !proto.Equal(got[0], binding) {
		t.Errorf("bindings of the person: %v", got)
	}
	servertest.Must(t, service.RevokeRole, owner, &insightsv1.RevokeRoleRequest{RoleBindingId: binding.GetId()})
	eventually(t, "revoked", func() bool { return !sees() })

	for name, got := range map[string]codes.Code{
		"unknown user": codeOf(t, service.CreateToken, owner, &insightsv1.CreateTokenRequest{
			Principal: &insightsv1.Principal{Kind: "user", Id: uuid.NewString()},
		}),
		"unknown binding": codeOf(t, service.RevokeRole, owner, &insightsv1.RevokeRoleRequest{RoleBindingId: uuid.NewString()}),
		"unknown token":   codeOf(t, service.RevokeToken, owner, &insightsv1.RevokeTokenRequest{TokenId: "nothing"}),
		"unknown group": codeOf(t, service.GrantRole, owner, &insightsv1.GrantRoleRequest{
			Principal: person, Role: "view-group-insights", GroupId: uuid.NewString(),
		}),
		"unknown template": codeOf(t, service.GrantRole, owner, &insightsv1.GrantRoleRequest{
			Principal: person, Role: "template-admin", TemplateId: uuid.NewString(),
		}),
	} {
		if got != codes.NotFound {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, req := range map[string]*insightsv1.CreateTokenRequest{
		"kind":    {Principal: &insightsv1.Principal{Kind: "group", Id: c.user}},
		"id":      {Principal: &insightsv1.Principal{Kind: "user", Id: "ann"}},
		"expired": {Principal: person, ExpiresAt: timestamppb.New(c.Options.Clock())},
		"name":    {Principal: person, Name: "a\nb"},
	} {
		if got := codeOf(t, service.CreateToken, owner, req); got != codes.InvalidArgument {
			t.Errorf("bad %s: %v", name, got)
		}
	}
}

// A role about the members of a group is granted, listed and told, and answers no question that is about templates.
func TestRoleAboutGroup(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	owner, service := c.Token(t, access.RoleOwner, servertest.Everywhere), insightsv1.NewAccessServiceClient(c.Conn)
	person, group := &insightsv1.Principal{Kind: "user", Id: c.user}, uuid.NewString()
	c.Apply(t, c.Token(t, access.RoleControlPlane, servertest.Everywhere), &insightsv1.ApplyCatalogRequest{Groups: []*insightsv1.Group{
		{Id: group, OrganizationId: c.organizations[0].String(), Name: "team", UserIds: []string{c.user}},
	}})
	secret := servertest.Must(t, service.CreateToken, owner, &insightsv1.CreateTokenRequest{Principal: person}).GetSecret()
	for name, req := range map[string]*insightsv1.GrantRoleRequest{
		"group_id: role \"view-group-insights\" needs a group":                {Role: "view-group-insights"},
		"group_id: role \"view-insights-aggregate\" does not bind to a group": {Role: "view-insights-aggregate", GroupId: group},
		"group_id: must be a UUID":                                            {Role: "view-group-insights", GroupId: "team"},
		"group_id: a role binds to one organization, template or group alone": {
			Role: "view-group-insights", GroupId: group, TemplateId: c.templates[0].String(),
		},
	} {
		req.Principal = person
		_, err := service.GrantRole(servertest.As(t.Context(), owner), req)
		if got := wiretest.Faults(t, err); !slices.Equal(got, []string{name}) {
			t.Errorf("%v: %q, want %q", req, got, name)
		}
	}
	binding := servertest.Must(t, service.GrantRole, owner, &insightsv1.GrantRoleRequest{
		Principal: person, Role: "view-group-insights", GroupId: group,
	}).GetRoleBinding()
	listed := servertest.Must(t, service.ListRoleBindings, owner, &insightsv1.ListRoleBindingsRequest{Principal: person}).GetRoleBindings()
	if len(listed) != 1 || !proto.Equal(listed[0], binding) || binding.GetGroupId() != group {
		t.Errorf("bindings %v, want %v about %s", listed, binding, group)
	}
	want := &insightsv1.Grant{Permission: "view_insights_aggregate", GroupId: group}
	grants := servertest.Must(t, service.WhoAmI, secret, &insightsv1.WhoAmIRequest{}).GetGrants()
	if len(grants) != 1 || !proto.Equal(grants[0], want) {
		t.Errorf("grants %v, want %v", grants, want)
	}
	if got := codeOf(t, insightsv1.NewInsightsServiceClient(c.Conn).GetTemplateInsights, secret, &insightsv1.GetTemplateInsightsRequest{
		StartTime: "2023-03-26T00:00:00Z", EndTime: "2023-03-27T00:00:00Z",
	}); got != codes.NotFound {
		t.Errorf("insights of templates: %v", got)
	}
}

// eventually waits for what is promised to be in force within five seconds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	eventuallyWithin(t, 5*time.Second, what, holds)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in force after %v", what, limit)
		}
	}
}

func TestListTokensPages(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	owner, service := c.Token(t, access.RoleOwner, servertest.Everywhere), insightsv1.NewAccessServiceClient(c.Conn)
	person := &insightsv1.Principal{Kind: "user", Id: c.user}
	want := map[string]bool{}
	for range 7 {
		want[servertest.Must(t, service.CreateToken, owner, &insightsv1.CreateTokenRequest{Principal: person}).GetToken().GetId()] = true
	}
	got := map[string]bool{}
	for request := (&insightsv1.ListTokensRequest{Principal: person, PageSize: 3}); ; {
		page := servertest.Must(t, service.ListTokens, owner, request)
		for _, token := range page.GetTokens() {
			if got[token.GetId()] {
				t.Errorf("token %s twice", token.GetId())
			}
			got[token.GetId()] = true
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	for _, bad := range []*insightsv1.ListTokensRequest{{PageSize: -1}, {PageSize: call.MaxPage + 1}, {PageToken: "nonsense"}} {
		if got := codeOf(t, service.ListTokens, owner, bad); got != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, got)
		}
	}
}

// A control plane makes tokens for the agents of its organization, and of no other.
func TestAgentTokensStayInTheOrganization(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	confined, service := c.Token(t, access.RoleControlPlane, c.organizations[0]), insightsv1.NewAccessServiceClient(c.Conn)
	issued := servertest.Must(
		t, service.CreateAgentTokens, confined, &insightsv1.CreateAgentTokensRequest{AgentIds: c.agents[:1]},
	).GetTokens()
	who := servertest.Must(t, service.WhoAmI, issued[0].GetSecret(), &insightsv1.WhoAmIRequest{})
	if who.GetPrincipal().GetKind() != "agent" || who.GetPrincipal().GetId() != c.agents[0] {
		t.Errorf("who am I: %v", who)
	}
	for name, ids := range map[string][]string{"foreign": c.agents[:], "unknown": {uuid.NewString()}} {
		got := codeOf(t, service.CreateAgentTokens, confined, &insightsv1.CreateAgentTokensRequest{AgentIds: ids})
		if got != codes.NotFound {
			t.Errorf("%s agent: %v", name, got)
		}
	}
	for name, ids := range map[string][]string{"none": nil, "twice": {c.agents[0], c.agents[0]}, "no id": {"x"}} {
		got := codeOf(t, service.CreateAgentTokens, confined, &insightsv1.CreateAgentTokensRequest{AgentIds: ids})
		if got != codes.InvalidArgument {
			t.Errorf("%s: %v", name, got)
		}
	}
}
