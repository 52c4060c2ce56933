package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// thing is what the table names: a template with what belongs to it, or an organization alone.
type thing struct {
	organization, template, version, workspace, agent uuid.UUID
	token                                             string // id of a token of the agent
}

// neighbors are the two organizations of the table in a server.
type neighbors struct {
	*running
	*callWorld
}

func newNeighbors(t *testing.T, configure ...func(*server.Options)) *neighbors {
	t.Helper()
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) {
		c.PrivacyFloor = 1
		for _, set := range configure {
			set(c)
		}
	})
	return &neighbors{r, newCallWorld(t, r.harness)}
}

// callWorld is two organizations in a server: A with the templates a1, a2 and gone, which is deleted, and B with b1. To each template
// belong a version, a workspace, an agent and a token. "unknown" is what nobody ever heard of.
type callWorld struct {
	server       *harness
	controlPlane string // a token
	owner        string // of all workspaces: a user's id
	things       map[string]thing
}

func newCallWorld(t *testing.T, s *harness) *callWorld {
	t.Helper()
	w := &callWorld{server: s, owner: uuid.NewString(), things: map[string]thing{
		"A": {organization: organizationA}, "B": {organization: organizationB},
	}}
	w.controlPlane = s.token(t, access.RoleControlPlane, everywhere)
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: organizationA.String(), Name: "A"}, {Id: organizationB.String(), Name: "B"}},
		Users:         []*insightsv1.User{{Id: w.owner, Username: "ann", OrganizationIds: call.Texts([]uuid.UUID{organizationA, organizationB})}},
	}
	contract := map[string]string{"gone": uuid.NewString()}
	for id, name := range contractTemplates {
		contract[name] = id
	}
	for name, id := range contract {
		x := thing{organizationA, uuid.MustParse(id), uuid.New(), uuid.New(), uuid.New(), access.NewToken().ID()}
		switch name {
		case "b1":
			x.organization = organizationB
		case "unknown":
			x.organization = uuid.New()
			w.things[name] = x
			continue
		}
		change.Templates = append(change.Templates, &insightsv1.Template{Id: id, OrganizationId: x.organization.String(), Name: name})
		change.TemplateVersions = append(change.TemplateVersions, w.version(x))
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{Id: x.workspace.String(), OwnerId: w.owner, TemplateId: id, Name: name})
		change.Agents = append(change.Agents, &insightsv1.Agent{Id: x.agent.String(), WorkspaceId: x.workspace.String(), Name: "main"})
		x.token = s.issue(t, store.Token{PrincipalKind: access.KindAgent, PrincipalID: x.agent}).ID()
		w.things[name] = x
	}
	s.apply(t, w.controlPlane, change)
	s.apply(t, w.controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Templates: []string{contract["gone"]}}})
	var reports []*insightsv1.AgentReport
	for _, name := range []string{"a1", "a2", "gone", "b1"} {
		reports = append(reports, used(w.things[name], storetest.Now.Add(-24*time.Hour), 1))
	}
	s.reportStats(t, w.controlPlane, reports)
	return w
}

// issue makes a token.
func (r *harness) issue(t testing.TB, token store.Token) access.Token {
	t.Helper()
	tokens, err := r.store.CreateTokens(t.Context(), []store.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0]
}

// grant gives a role.
func (r *harness) grant(t testing.TB, b store.RoleBinding) store.RoleBinding {
	t.Helper()
	b, err := r.store.GrantRole(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func used(x thing, at time.Time, sequence int) *insightsv1.AgentReport {
	return &insightsv1.AgentReport{
		AgentId: x.agent.String(), Sequence: uint64(sequence), CollectedAt: timestamppb.New(at), ConnectionCount: 1, ConnectionMedianLatencyMs: 5,
		SessionCounts: map[string]int64{"ssh": 1},
	}
}

func (w *callWorld) version(x thing) *insightsv1.TemplateVersion {
	return &insightsv1.TemplateVersion{Id: x.version.String(), TemplateId: x.template.String(), Name: "v1"}
}

// about are the things that a scope of the table names.
func (w *callWorld) about(scope string) []thing {
	switch scope {
	case "none":
		return nil
	case "mixed":
		return []thing{w.things["a1"], w.things["b1"]}
	default:
		return []thing{w.things[scope]}
	}
}

// templateIDs are the templates of things.
func templatesOf(about []thing) (ids []string) {
	for _, x := range about {
		ids = append(ids, x.template.String())
	}
	return ids
}

// organizationOf is the organization of the first of things, if there is one.
func organizationOf(about []thing) string {
	if len(about) == 0 {
		return ""
	}
	return about[0].organization.String()
}

// makeCall makes a valid request of an RPC about some things of a world.
type makeCall func(t testing.TB, w *callWorld, about []thing) proto.Message

// callStart and callEnd are the window of questions.
const callStart, callEnd = "2023-08-14T00:00:00Z", "2023-08-15T00:00:00Z"

// calls has a valid request of every RPC by its name. Where an RPC is about agents, workspaces, versions, tokens or role bindings, a
// template stands for the one of those that belongs to it.
var calls = map[string]makeCall{
	"GetTemplateInsights": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetTemplateInsightsRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetUserActivity": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetUserActivityRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetUserLatency": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetUserLatencyRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetDiagnosis": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetDiagnosisRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetCapacityReport": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetCapacityReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetOptimizationReport": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetOptimizationReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetSupportReport": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetSupportReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetROIReport": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetROIReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetTemplateDAUs": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetTemplateDAUsRequest{TemplateId: strings.Join(templatesOf(about), "")}
	},
	"GetDeploymentDAUs": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetDeploymentDAUsRequest{}
	},
	"GetUserStatusCounts": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetUserStatusCountsRequest{}
	},
	"GetActivity": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetActivityRequest{Start: callStart, End: callEnd, Interval: "1 day", Org: organizationOf(about)}
	},
	"ListTemplates": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ListTemplatesRequest{}
	},
	"ListOrganizations": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ListOrganizationsRequest{}
	},
	"WhoAmI": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.WhoAmIRequest{}
	},
	"SignIn": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.SignInRequest{}
	},
	"SignOut": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.SignOutRequest{}
	},
	"CreateToken": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.CreateTokenRequest{Principal: &insightsv1.Principal{Kind: "agent", Id: about[0].agent.String()}}
	},
	"RevokeToken": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.RevokeTokenRequest{TokenId: about[0].token}
	},
	"ListTokens": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ListTokensRequest{PageSize: 1}
	},
	"GrantRole": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GrantRoleRequest{Principal: &insightsv1.Principal{Kind: "user", Id: w.owner}, Role: "template-admin", TemplateId: templatesOf(about)[0]}
	},
	"RevokeRole": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		binding := uuid.New()
		if about[0] != w.things["unknown"] {
			binding = w.server.grant(t, store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleTemplateAdmin, TemplateID: about[0].template}).ID
		}
		return &insightsv1.RevokeRoleRequest{RoleBindingId: binding.String()}
	},
	"ListRoleBindings": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ListRoleBindingsRequest{PageSize: 1}
	},
	"ListAuditEvents": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ListAuditEventsRequest{PageSize: 1}
	},
	"CreateAgentTokens": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		req := &insightsv1.CreateAgentTokensRequest{}
		for _, x := range about {
			req.AgentIds = append(req.AgentIds, x.agent.String())
		}
		return req
	},
	"ApplyCatalog": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		req := &insightsv1.ApplyCatalogRequest{}
		for _, x := range about {
			req.TemplateVersions = append(req.TemplateVersions, w.version(x))
		}
		return req
	},
	"ReportEvents": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		req := &insightsv1.ReportEventsRequest{}
		for _, x := range about {
			req.Events = append(req.Events, &insightsv1.Event{At: timestamppb.New(storetest.Now), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
				Id: x.version.String(), WorkspaceId: x.workspace.String(), TemplateVersionId: x.version.String(), Number: 1, Transition: "start", Status: "succeeded", CreatedAt: timestamppb.New(storetest.Now),
			}}})
		}
		return req
	},
	"ReportStats": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		var reports []*insightsv1.AgentReport
		for i, x := range about {
			reports = append(reports, used(x, storetest.Now, i+1))
		}
		return &insightsv1.ReportStatsRequest{Reports: reports}
	},
	"StreamStats": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		var reports []*insightsv1.AgentReport
		for i, x := range about {
			reports = append(reports, used(x, storetest.Now, i+1))
		}
		return &insightsv1.StreamStatsRequest{Reports: reports}
	},
	"ReportAppSessions": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		req := &insightsv1.ReportAppSessionsRequest{}
		for _, x := range about {
			req.Sessions = append(req.Sessions, &insightsv1.AppSession{
				AgentId: x.agent.String(), UserId: w.owner, AccessMethod: "path", SlugOrPort: "wiki", StartedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), EndedAt: timestamppb.New(storetest.Now),
			})
		}
		return req
	},
	"SetPrivacyMode": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.SetPrivacyModeRequest{OrganizationId: organizationOf(about), Mode: "full"}
	},
	"GetPrivacyMode": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetPrivacyModeRequest{OrganizationId: organizationOf(about)}
	},
	"ResolvePseudonym": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.ResolvePseudonymRequest{UserId: uuid.NewString()}
	},
	"EraseUser": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		user := uuid.NewString()
		w.server.apply(t, w.controlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user, Username: "leaving"}}})
		return &insightsv1.EraseUserRequest{UserId: user}
	},
	"GetMyData": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &insightsv1.GetMyDataRequest{}
	},
	"Check": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &grpc_health_v1.HealthCheckRequest{}
	},
	"Watch": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &grpc_health_v1.HealthCheckRequest{}
	},
	"List": func(t testing.TB, w *callWorld, about []thing) proto.Message {
		return &grpc_health_v1.HealthListRequest{}
	},
}

// request is a valid request of an RPC about some things. An RPC that is not among the calls fails the test.
func (w *callWorld) request(t testing.TB, rpc string, about []thing) proto.Message {
	t.Helper()
	makeRequest, known := calls[rpc]
	if !known {
		t.Fatalf("no call for %s: add one", rpc)
	}
	return makeRequest(t, w, about)
}

// answer is how a call ended: the outcome, what was answered, and everything that the caller can see of a refusal.
type answer struct {
	outcome  outcome
	response proto.Message
	text     string
}

// outcomeOf tells the outcomes by code. A request that names nothing may be invalid to those who are let in, and a service
// that is not built yet says so.
func outcomeOf(t testing.TB, err error, scope string) outcome {
	t.Helper()
	switch code := status.Code(err); {
	case code == codes.OK, code == codes.Unimplemented, code == codes.InvalidArgument && scope == "none":
		return allowed
	case code == codes.Unauthenticated:
		return unauthenticated
	case code == codes.PermissionDenied:
		return forbidden
	case code == codes.NotFound:
		return notFound
	default:
		t.Errorf("neither let in nor refused: %v", err)
		return ""
	}
}

// turnedAway returns the items that an answer turns away, without the ids that they name.
func turnedAway(response proto.Message, about []thing) string {
	field := response.ProtoReflect().Descriptor().Fields().ByName("rejected")
	if field == nil || response.ProtoReflect().Get(field).List().Len() == 0 {
		return ""
	}
	text, _ := protojson.Marshal(response)
	var compact bytes.Buffer
	_ = json.Compact(&compact, text) // protojson varies its blanks
	return anonymize(compact.String(), about)
}

// anonymize takes the ids of things out of a text.
func anonymize(text string, about []thing) string {
	for _, x := range about {
		for _, id := range []uuid.UUID{x.organization, x.template, x.version, x.workspace, x.agent} {
			text = strings.ReplaceAll(text, id.String(), "ID")
		}
	}
	return text
}

// visible is all that a gRPC caller can see of an error.
func visible(err error, header, trailer metadata.MD) string {
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(status.Convert(err).Proto())
	return fmt.Sprintf("%s %v", text, metadata.Join(header, trailer)) // which of the two says it depends on what a stream said before
}

// callGRPC makes a call over gRPC, as a stream of one message if the RPC is one.
func (w *neighbors) callGRPC(t testing.TB, method protoreflect.MethodDescriptor, headers map[string]string, req proto.Message, scope string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), time.Minute)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	response := kind.New().Interface()
	var header, trailer metadata.MD
	if method.IsStreamingServer() {
		response, header, trailer, err = w.stream(ctx, method, name, req, response)
	} else {
		err = w.conn.Invoke(ctx, name, req, response, grpc.Header(&header), grpc.Trailer(&trailer))
	}
	a := answer{outcome: outcomeOf(t, err, scope), response: response, text: visible(err, header, trailer)}
	if turned := turnedAway(response, w.about(scope)); a.outcome == allowed && turned != "" {
		a.outcome, a.text = rejected, turned
	}
	return a
}

// stream sends one message and reads until the server says what became of it.
func (w *neighbors) stream(ctx context.Context, method protoreflect.MethodDescriptor, name string, req, response proto.Message) (proto.Message, metadata.MD, metadata.MD, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}, name)
	if err != nil {
		return response, nil, nil, err
	}
	if err := stream.SendMsg(req); err != nil && err != io.EOF { //nolint:errorlint // io.EOF: RecvMsg says why
		return response, nil, nil, err
	}
	_ = stream.CloseSend()
	for {
		next := response.ProtoReflect().New().Interface()
		if err = stream.RecvMsg(next); err != nil {
			break
		}
		proto.Merge(response, next)
		if !method.IsStreamingClient() {
			break // one answer is enough of a stream without an end
		}
	}
	if err == io.EOF { //nolint:errorlint // it is never wrapped
		err = nil
	}
	header, _ := stream.Header()
	return response, header, stream.Trailer(), err
}

// restCodes are the statuses of REST as codes.
var restCodes = map[int]codes.Code{
	200: codes.OK, 400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.NotFound, 501: codes.Unimplemented,
}

// callREST makes a call over REST. It says false if REST cannot.
func (w *neighbors) callREST(t testing.TB, to route, method protoreflect.MethodDescriptor, headers map[string]string, req proto.Message, scope string) (answer, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := to.request(ctx, t, "http://"+w.HTTPAddress(), req)
	if r == nil {
		return answer{}, false
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	httpStatus, answered, body := exchange(t, r)
	code, known := restCodes[httpStatus]
	if !known {
		code = codes.Unknown
	}
	a := answer{outcome: outcomeOf(t, status.Error(code, string(body)), scope), text: fmt.Sprintf("%d %v %s", httpStatus, seen(answered), body)}
	if httpStatus != http.StatusOK {
		return a, true
	}
	if to.list { // the name of the list is not in the answer
		body = fmt.Appendf(nil, `{%q: %s}`, method.Output().Fields().Get(0).Name(), body)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	a.response = kind.New().Interface()
	if err := protojson.Unmarshal(body, a.response); err != nil {
		t.Fatalf("%s: %v: %s", method.FullName(), err, body)
	}
	if turned := turnedAway(a.response, w.about(scope)); turned != "" {
		a.outcome, a.text = rejected, turned
	}
	return a, true
}

// seen are the headers of an answer but for the time of day.
func seen(h http.Header) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name != "Date" {
			lines = append(lines, fmt.Sprintf("%s: %s", name, h[name]))
		}
	}
	return lines
}
