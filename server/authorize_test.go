package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// openService registers a service in the contract whose RPC has no access rule.
func openService(t *testing.T) map[string]grpc.ServiceInfo {
	t.Helper()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("open.proto"), Package: proto.String("open"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("OpenService"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Leak"), InputType: proto.String(".open.Empty"), OutputType: proto.String(".open.Empty")},
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
		t.Fatal(err)
	}
	return map[string]grpc.ServiceInfo{"open.OpenService": {}}
}

func TestRPCWithoutRuleStopsTheStart(t *testing.T) {
	t.Parallel()
	if _, err := readRules(openService(t)); err == nil || !strings.Contains(err.Error(), "open.OpenService.Leak") {
		t.Errorf("an RPC without a rule: %v; want an error that names it", err)
	}
	if _, err := readRules(map[string]grpc.ServiceInfo{"nobody.Knows": {}}); err == nil {
		t.Error("a service outside the contract is let in")
	}
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	all, err := readRules(r.grpc.GetServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	for service, info := range r.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if _, ok := all[method]; !ok && !isPublic(method) {
				t.Errorf("%s has no rule", method)
			}
		}
	}
}

// The chain is the same for unary calls and for streams, and its order is that of the documentation.
func TestChain(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	var names []string
	for _, s := range chain(r.config.Logger, nil, r.authenticate, newRateLimiter(0), &authorizer{}) {
		names = append(names, s.name)
		if s.unary == nil || s.stream == nil {
			t.Errorf("%s is missing for one kind of calls", s.name)
		}
	}
	if diff := cmp.Diff([]string{"metrics", "log", "errors", "deadline", "recovery", "authentication", "rate", "access", "audit"}, names); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
}

// Everyone meets the same wall on every RPC: without a token nobody gets in, a member gets nothing.
func TestEveryRPCIsClosed(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	member := r.token(t, access.RoleMember, everywhere)
	rules, err := readRules(r.grpc.GetServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	for method, rule := range rules {
		call := func(token string) codes.Code {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if token != "" {
				ctx = as(ctx, token)
			}
			if strings.HasSuffix(method, "/StreamStats") {
				stream, err := insightsv1.NewIngestServiceClient(r.conn).StreamStats(ctx)
				if err == nil {
					_, err = stream.Recv()
				}
				return status.Code(err)
			}
			return status.Code(r.conn.Invoke(ctx, method, &insightsv1.WhoAmIRequest{}, &insightsv1.WhoAmIResponse{}))
		}
		if got := call(""); got != codes.Unauthenticated {
			t.Errorf("%s without a token: %v", method, got)
		}
		if got := call(access.NewToken().Reveal()); got != codes.Unauthenticated {
			t.Errorf("%s with an unknown token: %v", method, got)
		}
		got := call(member)
		switch {
		case rule.permission == access.Authenticated, rule.permission == access.ReadOwn:
			if got == codes.Unauthenticated || got == codes.PermissionDenied || got == codes.NotFound {
				t.Errorf("%s as a member: %v", method, got)
			}
		case got == codes.InvalidArgument && rule.scopeField == "template_ids":
			// What is missing is said before who may.
		case rule.scopeField != "" && got != codes.NotFound, rule.scopeField == "" && got != codes.PermissionDenied:
			t.Errorf("%s as a member: %v", method, got)
		}
	}
}

// rbac are the cases that say who may ask what.
type rbac struct {
	Templates []struct{ ID, Organization string }
	Subjects  []struct {
		Name, Role   string
		Organization string
		ACL          map[string]string `json:"template_acl"`
	}
	Cases []struct {
		Subject, Endpoint, Case string
		TemplateIDs             []string `json:"template_ids"`
		Status                  int
		Answers                 []string `json:"answers_for_templates"`
	}
}

func TestWhoMayAskWhat(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/contract/rbac.json")
	if err != nil {
		t.Fatal(err)
	}
	var v rbac
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	organizations := map[string]uuid.UUID{"orgA": uuid.New(), "orgB": uuid.New(), "": uuid.Nil}
	change := &insightsv1.ApplyCatalogRequest{}
	for name, id := range organizations {
		if name != "" {
			change.Organizations = append(change.Organizations, &insightsv1.Organization{Id: id.String(), Name: name})
		}
	}
	for _, template := range v.Templates {
		change.Templates = append(change.Templates, &insightsv1.Template{Id: template.ID, OrganizationId: organizations[template.Organization].String(), Name: template.ID})
	}
	r.apply(t, r.token(t, access.RoleControlPlane, everywhere), change)
	tokens := map[string]string{}
	for _, s := range v.Subjects {
		tokens[s.Name] = r.rbacToken(t, s.Role, organizations[s.Organization], s.ACL)
	}
	for _, c := range v.Cases {
		params := url.Values{}
		if _, ok := validatedQuestions[c.Endpoint].request.(windowRequest); ok {
			params = url.Values{"start_time": {"2023-08-14T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}}
		}
		if len(c.TemplateIDs) > 0 {
			params.Set("template_ids", strings.Join(c.TemplateIDs, ","))
		}
		code, body := r.get(t, tokens[c.Subject], c.Endpoint, params)
		if code != c.Status {
			t.Errorf("%s asks %s, %s: %d, want %d: %v", c.Subject, c.Endpoint, c.Case, code, c.Status, body)
		}
		if len(c.Answers) > 0 { // nobody has a workspace, which the diagnosis says of each template of the answer
			var answer struct{ Findings []finding }
			r.getInto(t, tokens[c.Subject], "/api/v2/insights/diagnosis", params, &answer)
			if diff := cmp.Diff(c.Answers, answer.Findings[0].Templates); diff != "" {
				t.Errorf("%s asks %s, %s: answers are about (-want +got):\n%s", c.Subject, c.Endpoint, c.Case, diff)
			}
		}
		if code == http.StatusNotFound {
			if diff := cmp.Diff(map[string]any{"message": messageNotFound}, body); diff != "" {
				t.Errorf("%s asks %s, %s: the body tells more than it may:\n%s", c.Subject, c.Endpoint, c.Case, diff)
			}
		}
	}
}

// rbacToken makes a subject of the cases. The custom role among them is the single permission.
func (r *running) rbacToken(t *testing.T, role string, organization uuid.UUID, acl map[string]string) string {
	t.Helper()
	role = strings.ReplaceAll(strings.Replace(role, "org_", "organization_", 1), "_", "-")
	if role == "custom" {
		role = string(access.RoleViewInsights)
	}
	if role == string(access.RoleMember) {
		organization = uuid.Nil
	}
	id := uuid.New()
	bindings := []store.RoleBinding{{Role: access.Role(role), OrganizationID: organization}}
	for template, level := range acl {
		if level == "admin" {
			bindings = append(bindings, store.RoleBinding{Role: access.RoleTemplateAdmin, TemplateID: uuid.MustParse(template)})
		}
	}
	for _, b := range bindings {
		b.PrincipalKind, b.PrincipalID = access.KindService, id
		if _, err := r.store.GrantRole(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	secrets, err := r.store.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindService, PrincipalID: id}})
	if err != nil {
		t.Fatal(err)
	}
	return secrets[0].Reveal()
}

// A stream that says nothing ends soon after its token was revoked.
func TestRevokedTokenEndsItsStream(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	secrets, err := c.store.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: uuid.MustParse(c.agents[0])}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(as(t.Context(), secrets[0].Reveal()), 20*time.Second)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(c.conn).StreamStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	owner := c.token(t, access.RoleOwner, everywhere)
	must(t, insightsv1.NewAccessServiceClient(c.conn).RevokeToken, owner, &insightsv1.RevokeTokenRequest{TokenId: secrets[0].ID()})
	begin := time.Now()
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("stream after its token was revoked: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// What an ordinary client says about where it calls from is not believed.
func TestCallerAddressIsNotForged(t *testing.T) {
	t.Parallel()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(callerAddressKey, "203.0.113.7"))
	if got := callerAddress(ctx); got != "" {
		t.Errorf("address without a peer: %q", got)
	}
}
