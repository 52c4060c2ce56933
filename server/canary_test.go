package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// canary is in every name of the organization that nobody of the other one may learn of.
const canary = "kanarie"

// Who belongs to one organization meets a server in which the other one might as well not exist. The same script is run against
// two servers, of which only one holds the other organization: all answers are equal, byte by byte, and no name and no id of the
// other organization is in any of them or in the log. What the script tries to write there changes nothing.
func TestCanary(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			own, other := tenant{word: "acme", age: 20 * 24 * time.Hour}, tenant{word: canary, age: 300 * 24 * time.Hour}
			own.sam = []string{own.id("organization", 0)}
			alone := newCanaryServer(t, open(t), own)
			own.sam = append(own.sam, other.id("organization", 0))
			other.sam = own.sam
			beside := newCanaryServer(t, open(t), own, other)
			inspector := beside.Token(t, access.RoleOrganizationAdmin, uuid.MustParse(other.id("organization", 0)))
			before := beside.inspect(t, other, inspector)
			quiet := len(beside.log.All())

			t.Run("script", func(t *testing.T) {
				for name, s := range map[string]*canaryServer{"alone": alone, "beside": beside} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						s.run(t, canaryScript(t, own, other))
					})
				}
			})
			compareAnswers(t, alone.answers, beside.answers)
			beside.run(t, []canaryCall{
				{insightsv1.CatalogService_ApplyCatalog_FullMethodName, takeOver(own, other)},
				{insightsv1.IngestService_ReportEvents_FullMethodName, takeOverBuild(own, other)},
			})
			texts := slices.Concat(beside.log.All()[quiet:], beside.unordered, beside.pageTokens)
			for _, a := range beside.answers {
				texts = append(texts, a.text)
			}
			for _, text := range texts {
				if found := findCanary(text, other); found != "" {
					t.Errorf("%s in %.2000s", found, text)
				}
			}
			beside.checkMetrics(t, other)
			if diff := cmp.Diff(before, beside.inspect(t, other, inspector)); diff != "" {
				t.Errorf("what others see of their organization changed:\n%s", diff)
			}
		})
	}
}

// findCanary finds a name of a tenant, or an id that nobody else names, in a text; also in the base64 of page tokens.
func findCanary(text string, other tenant) string {
	for _, run := range pageTokenForm.FindAllString(text, -1) {
		text += string(servertest.DecodePart([]byte(run)))
	}
	if strings.Contains(text, other.word) {
		return other.word
	}
	for _, rest := range strings.Split(text, other.mark())[1:] {
		if id := other.mark() + rest[:min(28, len(rest))]; !other.guessed(id) {
			return id
		}
	}
	return ""
}

var pageTokenForm = regexp.MustCompile(`[A-Za-z0-9_-]{24,}`)

// compareAnswers wants the same questions, among them those for further pages, and the same answers.
func compareAnswers(t *testing.T, want, got []canaryAnswer) {
	t.Helper()
	if len(want) < 2000 {
		t.Errorf("%d answers only", len(want))
	}
	t.Logf("%d answers compared", len(want))
	const most = 10
	differ := 0
	for i := range max(len(want), len(got)) {
		var a, b canaryAnswer
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a == b {
			continue
		}
		if differ++; differ <= most {
			t.Errorf(
				"an answer tells of others: %.300s, beside them %.300s (-alone +beside them):\n%s", a.question, b.question,
				cmp.Diff(a.text, b.text),
			)
		}
		if a.question != b.question {
			t.Error("from here on the questions differ")
			break
		}
	}
	if differ > most {
		t.Errorf("%d answers differ in all", differ)
	}
}

// canaryAnswer is all that came back, and on what.
type canaryAnswer struct{ question, text string }

// canaryServer is a server with one tenant or two, and what callers of the first were answered.
type canaryServer struct {
	*running
	log     *servertest.LogBuffer
	routes  map[string]wiretest.Route
	rest    bool // whether the script comes over REST as well
	callers []canaryCaller
	answers []canaryAnswer

	pageTokens []string // what they hold is sealed, each time in another way: their places and sizes are compared
	unordered  []string // answers with events, tokens and grants, whose ids and order are random: they are not compared
}

// ordered is an answer without what is random in it.
func (s *canaryServer) ordered(answer proto.Message) {
	if mine, ok := answer.(*insightsv1.GetMyDataResponse); ok {
		text, err := protojson.Marshal(mine)
		s.unordered = append(s.unordered, fmt.Sprint(string(text), err))
		mine.Viewers, mine.Actions, mine.Tokens, mine.RoleBindings = nil, nil, nil, nil
	}
}

func newCanaryServer(t *testing.T, database string, own tenant, others ...tenant) *canaryServer {
	t.Helper()
	s := &canaryServer{log: &servertest.LogBuffer{}, routes: wiretest.Routes(t), rest: strings.HasPrefix(database, "sqlite:")}
	s.running = run(t, database, storetest.Now, func(c *server.Options) { c.Logger = servertest.WatchLog(t, database, s.log) })
	for _, x := range append(others, own) {
		x.settle(t, s.running)
	}
	// All days at once, so that none is published on one of the two servers only while they are asked.
	storetest.PublishAnew(t, s.Store, database, store.Publication{Floor: 5, Zone: time.UTC, After: -24 * time.Hour})
	for _, x := range others {
		x.callers(t, s.running)
		// The person who works for both is somebody there.
		sam := store.RoleBinding{
			PrincipalKind: access.KindUser, PrincipalID: uuid.MustParse(samID), Role: access.RoleOrganizationAuditor,
			OrganizationID: uuid.MustParse(x.id("organization", 0)),
		}
		if _, err := s.Store.GrantRole(t.Context(), sam); err != nil {
			t.Fatal(err)
		}
	}
	s.callers = own.callers(t, s.running)
	return s
}

// inspect is what somebody who may sees of a tenant.
func (s *canaryServer) inspect(t *testing.T, x tenant, token string) string {
	t.Helper()
	var seen strings.Builder
	for _, q := range questions(t, uuid.MustParse(x.id("template", 0))) {
		q = q.until(presentHour)
		status, _, text := s.Fetch(t, http.Header{"Coder-Session-Token": {token}}, q.url())
		fmt.Fprintln(&seen, q.path, status, strings.ReplaceAll(string(text), "},", "},\n"))
	}
	if findCanary(seen.String(), x) == "" {
		t.Error("who may does not see the canary either")
	}
	return seen.String()
}

// namingFamilies are those whose names and labels existing dashboards know, with people, workspaces or agents among them.
var namingFamilies = []string{
	"coderd_agents_up", "coderd_agents_connections", "coderd_agents_apps", "coderd_agents_first_connection_seconds",
	"coderd_workspace_builds_total", "coderd_workspace_latest_build_status",
}

// checkMetrics: metrics are for the operator, and by contract they show the names of all templates and organizations. People,
// workspaces and agents are named by the families above alone, as long as nothing else is asked for, and ids by none.
func (s *canaryServer) checkMetrics(t *testing.T, other tenant) {
	t.Helper()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, text := s.Scrape(t, "")
	for _, shown := range []string{
		other.name("template", 0), other.name("organization", 0), other.name("user", 0), `template_name="twin"`,
	} {
		if !strings.Contains(text, shown) {
			t.Errorf("the scrape does not show %s", shown)
		}
	}
	if strings.Contains(text, other.mark()) {
		t.Error("the scrape shows ids")
	}
	for line := range strings.Lines(text) {
		named := slices.ContainsFunc([]string{"user", "agent", "workspace", "group", "token"}, func(kind string) bool {
			return strings.Contains(line, other.word+"-"+kind+"-")
		})
		if named && !slices.ContainsFunc(namingFamilies, func(family string) bool { return strings.HasPrefix(line, family) }) {
			t.Errorf("the scrape shows %s", line)
		}
	}
}

// canaryCall is one call of the script.
type canaryCall struct {
	method  string
	request proto.Message
}

// run makes all calls as everyone, over gRPC and, on one of the databases, REST, and notes the answers.
func (s *canaryServer) run(t *testing.T, script []canaryCall) {
	for _, c := range s.callers {
		for _, call := range script {
			s.callGRPC(t, c, call)
			if s.rest {
				s.callREST(t, c, call)
			}
		}
		s.stream(t, c, script)
	}
}

// note writes an answer down. token asks for the page after it; empty: there is none.
func (s *canaryServer) note(c canaryCaller, transport string, call canaryCall, token string, answer ...any) {
	if token != "" {
		s.pageTokens = append(s.pageTokens, token)
	}
	question, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(call.request)
	if err != nil {
		question = []byte(err.Error())
	}
	s.answers = append(s.answers, canaryAnswer{
		s.maskPageTokens(fmt.Sprintf("%s over %s: %s %s", c.name, transport, call.method, strings.ReplaceAll(string(question), " ", ""))),
		s.maskPageTokens(newSecrets.ReplaceAllString(fmt.Sprint(answer...), "")),
	})
}

// maskPageTokens leaves of page tokens which they are and how long.
func (s *canaryServer) maskPageTokens(text string) string {
	for i, token := range s.pageTokens {
		text = strings.ReplaceAll(text, token, fmt.Sprintf("(page token %d of %d bytes)", i, len(token)))
	}
	return text
}

// newSecrets are the only random part of the answers: the tokens that a control plane makes, and those of sessions.
var newSecrets = regexp.MustCompile(`"token_id":"[a-z2-7]{10}","secret":"[^"]+"|tia_[a-z2-7]{10}_[a-z2-7]{52}`)

// callGRPC asks for a list page by page.
func (s *canaryServer) callGRPC(t *testing.T, c canaryCaller, call canaryCall) {
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), c.token), time.Minute)
	defer cancel()
	answer := s.newAnswer(t, call.method)
	var header, trailer metadata.MD
	err := s.Conn.Invoke(ctx, call.method, call.request, answer, grpc.Header(&header), grpc.Trailer(&trailer))
	if made, ok := answer.(*insightsv1.CreateAgentTokensResponse); ok {
		for _, token := range made.GetTokens() {
			token.TokenId, token.Secret = "", ""
		}
	}
	s.ordered(answer)
	body, marshalErr := proto.MarshalOptions{Deterministic: true}.Marshal(answer)
	reason, statusErr := proto.MarshalOptions{Deterministic: true}.Marshal(status.Convert(err).Proto())
	if err := errors.Join(marshalErr, statusErr); err != nil {
		t.Fatal(err)
	}
	token := ""
	if field := answer.ProtoReflect().Descriptor().Fields().ByName("next_page_token"); field != nil {
		token = answer.ProtoReflect().Get(field).String()
	}
	s.note(
		c, "gRPC", call, token,
		fmt.Sprintf("%v %v %v %q %q", status.Code(err), map[string][]string(header), map[string][]string(trailer), body, reason),
	)
	nextPage(call, token, func(next canaryCall) { s.callGRPC(t, c, next) })
}

func (s *canaryServer) newAnswer(t *testing.T, method string) proto.Message {
	t.Helper()
	answer, err := protoregistry.GlobalTypes.FindMessageByName(wiretest.Method(t, method).Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	return answer.New().Interface()
}

// nextPage asks for the page after an answer, if there is one.
func nextPage(call canaryCall, token string, ask func(canaryCall)) {
	if token == "" {
		return
	}
	next := proto.Clone(call.request)
	next.ProtoReflect().Set(next.ProtoReflect().Descriptor().Fields().ByName("page_token"), protoreflect.ValueOfString(token))
	ask(canaryCall{call.method, next})
}

// callREST does the same over REST.
func (s *canaryServer) callREST(t *testing.T, c canaryCaller, call canaryCall) {
	req := s.routes[call.method].Request(t.Context(), t, "http://"+s.HTTPAddress(), call.request)
	if req == nil {
		return
	}
	req.Header.Set("Coder-Session-Token", c.token)
	code, header, body := servertest.Exchange(t, req)
	header.Del("Date")
	mine := new(insightsv1.GetMyDataResponse)
	if call.method == insightsv1.PrivacyService_GetMyData_FullMethodName && code == http.StatusOK {
		if err := protojson.Unmarshal(body, mine); err != nil {
			t.Error(err)
		}
		s.ordered(mine)
		body = []byte(prototext.Format(mine))
	}
	var page struct {
		Token string `json:"next_page_token"`
	}
	_ = json.Unmarshal(body, &page)                                 // a body of another form has none
	s.note(c, "REST", call, page.Token, code, header, string(body)) // maps are printed in order
	nextPage(call, page.Token, func(next canaryCall) { s.callREST(t, c, next) })
}

// stream sends each report of the script over a stream of its own, and notes what is rejected and how it ends.
func (s *canaryServer) stream(t *testing.T, c canaryCaller, script []canaryCall) {
	for _, call := range script {
		reports, ok := call.request.(*insightsv1.ReportStatsRequest)
		if !ok {
			continue
		}
		sent := proto.CloneOf(&insightsv1.StreamStatsRequest{Reports: reports.GetReports()})
		for i, report := range sent.GetReports() {
			report.Sequence = uint64(i + 1)
		}
		ctx, cancel := context.WithTimeout(servertest.As(t.Context(), c.token), time.Minute)
		defer cancel()
		stream, err := insightsv1.NewIngestServiceClient(s.Conn).StreamStats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(sent) // what Recv says counts
		_ = stream.CloseSend()
		var rejected []*insightsv1.StreamRejection
		var acknowledged uint64
		for {
			answer, err := stream.Recv()
			if err != nil {
				trailer := stream.Trailer()
				delete(trailer, "content-type") // there unless an answer was sent before
				s.note(
					c, "stream", canaryCall{insightsv1.IngestService_StreamStats_FullMethodName, sent}, "", acknowledged, rejected,
					status.Convert(err).Proto(), map[string][]string(trailer),
				)
				break
			}
			rejected, acknowledged = append(rejected, answer.GetRejected()...), answer.GetAcknowledgedSequence()
		}
	}
}

// canaryScript is everything that a caller of one tenant can ask, also about the other one as far as its ids can be guessed, and
// about what does not exist.
func canaryScript(t testing.TB, own, other tenant) (script []canaryCall) {
	t.Helper()
	add := func(method string, requests ...proto.Message) {
		for _, r := range requests {
			script = append(script, canaryCall{method, r})
		}
	}
	scriptWrites(own, other, add)
	scriptQuestions(t, own, other, add)
	scriptAccess(own, other, add)
	return script
}

// presentHour is the end of the hour of [storetest.Now].
const presentHour = "2023-08-15T13:00:00Z"

// nowhere is an id that no server knows.
var nowhere = uuid.NewSHA1(uuid.NameSpaceOID, []byte("nowhere")).String()

// scriptWrites are attempts to write: what is one's own, and what belongs, or refers, to the other tenant or to nothing.
func scriptWrites(own, other tenant, add func(string, ...proto.Message)) {
	organization := own.id("organization", 0)
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: organization, Name: own.name("organization", 0), DisplayName: "Acme"}},
		Users:         []*insightsv1.User{{Id: own.id("user", 2), Username: own.name("user", 2), OrganizationIds: []string{organization}}},
		Deleted:       &insightsv1.DeletedItems{},
	}
	for i, x := range []string{other.id("organization", 0), nowhere} {
		fresh := func(kind string) string { return own.id(kind, 50+i) }
		parent := func(kind string) string { return []string{other.id(kind, 0), nowhere}[i] }
		change.Organizations = append(change.Organizations, &insightsv1.Organization{Id: x, Name: "taken"})
		change.Templates = append(change.Templates, &insightsv1.Template{Id: fresh("template"), OrganizationId: x, Name: "taken"})
		change.TemplateVersions = append(change.TemplateVersions, &insightsv1.TemplateVersion{
			Id: fresh("version"), TemplateId: parent("template"), Name: "taken",
		})
		change.Users = append(change.Users,
			&insightsv1.User{Id: fresh("user"), Username: "taken", OrganizationIds: []string{x}},
			&insightsv1.User{Id: fresh("user"), Username: "taken", OrganizationIds: []string{organization, x}})
		change.Groups = append(change.Groups,
			&insightsv1.Group{Id: fresh("group"), OrganizationId: x, Name: "taken"},
			&insightsv1.Group{Id: own.id("group", 60+i), OrganizationId: organization, Name: "mixed", UserIds: []string{parent("user")}})
		change.Workspaces = append(change.Workspaces,
			&insightsv1.Workspace{Id: fresh("workspace"), OwnerId: own.id("user", 0), TemplateId: parent("template"), Name: "taken"},
			&insightsv1.Workspace{Id: own.id("workspace", 60+i), OwnerId: parent("user"), TemplateId: own.id("template", 0), Name: "lent"})
		change.Agents = append(change.Agents,
			&insightsv1.Agent{Id: fresh("agent"), WorkspaceId: parent("workspace"), Name: "taken"},
			&insightsv1.Agent{Id: own.id("agent", 60+i), WorkspaceId: own.id("workspace", 60+i), Name: "lent"})
		change.Apps = append(change.Apps, &insightsv1.App{AgentId: parent("agent"), Slug: "taken"})
		d := change.GetDeleted()
		d.Templates, d.Users, d.Workspaces = append(d.Templates, parent("template")), append(d.Users, parent("user")),
			append(d.Workspaces, parent("workspace"))
		d.Agents, d.Groups = append(d.Agents, parent("agent")), append(d.Groups, parent("group"))
	}
	add(insightsv1.CatalogService_ApplyCatalog_FullMethodName, change, &insightsv1.ApplyCatalogRequest{})

	at := timestamppb.New(storetest.Now.Add(-30 * time.Hour))
	agents := []string{own.id("agent", 0), own.id("agent", 60), other.id("agent", 0), nowhere, "x"}
	users := []string{own.id("user", 0), samID, other.id("user", 0), nowhere, "x"}
	all := &insightsv1.ReportStatsRequest{}
	sessions, events := &insightsv1.ReportAppSessionsRequest{}, &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{{Name: "m"}}}
	for _, agent := range agents {
		report := &insightsv1.AgentReport{AgentId: agent, CollectedAt: at, ConnectionCount: 1, SessionCounts: map[string]int64{"ssh": 1}}
		all.Reports = append(all.Reports, report)
		add(insightsv1.IngestService_ReportStats_FullMethodName, &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{report}})
		for _, user := range users {
			sessions.Sessions = append(sessions.Sessions, &insightsv1.AppSession{
				AgentId: agent, UserId: user, AccessMethod: "path", SlugOrPort: "wiki", StartedAt: at,
				EndedAt: timestamppb.New(at.AsTime().Add(time.Minute)),
			})
		}
	}
	add(insightsv1.IngestService_ReportStats_FullMethodName, all)
	add(insightsv1.IngestService_ReportAppSessions_FullMethodName, sessions)
	for _, user := range users {
		events.Events = append(events.Events,
			&insightsv1.Event{At: at, Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: user}}},
			&insightsv1.Event{
				At: at, Kind: &insightsv1.Event_UserStatus{UserStatus: &insightsv1.UserStatusEvent{UserId: user, Status: "active"}},
			})
	}
	for _, workspace := range []string{own.id("workspace", 0), other.id("workspace", 0), nowhere} {
		for _, version := range []string{own.id("version", 0), other.id("version", 0), nowhere} {
			build := own.build(0)
			build.Id, build.WorkspaceId, build.TemplateVersionId = uuid.NewSHA1(uuid.NameSpaceOID, []byte(workspace+version)).String(),
				workspace, version
			events.Events = append(events.Events, &insightsv1.Event{At: at, Kind: &insightsv1.Event_Build{Build: build}})
		}
	}
	events.Events = append(events.Events,
		&insightsv1.Event{At: at, Kind: &insightsv1.Event_Agent{Agent: &insightsv1.AgentEvent{AgentId: other.id("agent", 0)}}},
		&insightsv1.Event{
			At: at, Kind: &insightsv1.Event_Job{Job: &insightsv1.JobEvent{Id: nowhere, OrganizationId: other.id("organization", 0)}},
		})
	add(insightsv1.IngestService_ReportEvents_FullMethodName, events)
}

// takeOver are attempts to make what belongs to the other tenant one's own. That an id is taken cannot be hidden from who wants
// to give it to something else, so the answers are not those of a server without the other tenant.
func takeOver(own, other tenant) *insightsv1.ApplyCatalogRequest {
	organization := own.id("organization", 0)
	return &insightsv1.ApplyCatalogRequest{
		Templates:        []*insightsv1.Template{{Id: other.id("template", 0), OrganizationId: organization, Name: "taken"}},
		TemplateVersions: []*insightsv1.TemplateVersion{{Id: other.id("version", 0), TemplateId: own.id("template", 0), Name: "taken"}},
		Users:            []*insightsv1.User{{Id: other.id("user", 0), Username: "taken", OrganizationIds: []string{organization}}},
		Groups: []*insightsv1.Group{
			{Id: other.id("group", 0), OrganizationId: organization, Name: "taken"},
			{Id: other.id("group", 1), OrganizationId: organization, Name: "taken"},
		},
		Workspaces: []*insightsv1.Workspace{
			{Id: other.id("workspace", 0), OwnerId: own.id("user", 0), TemplateId: own.id("template", 0), Name: "taken"},
		},
		Agents: []*insightsv1.Agent{{Id: other.id("agent", 0), WorkspaceId: own.id("workspace", 0), Name: "taken"}},
	}
}

func takeOverBuild(own, other tenant) *insightsv1.ReportEventsRequest {
	build := own.build(0)
	build.Id = other.id("build", 0)
	return &insightsv1.ReportEventsRequest{
		Events: []*insightsv1.Event{{At: timestamppb.New(storetest.Now), Kind: &insightsv1.Event_Build{Build: build}}},
	}
}

// scriptQuestions are all questions, about all sets of templates.
func scriptQuestions(t testing.TB, own, other tenant, add func(string, ...proto.Message)) {
	t.Helper()
	const start, end = "2023-08-10T00:00:00Z", presentHour
	for _, q := range questions(t, uuid.MustParse(own.id("template", 0))) {
		add(q.method, q.request) // about days that are over
		q = q.until(presentHour)
		add(q.method, q.request)
		for _, templates := range [][]string{
			{own.id("template", 0)},
			{own.id("template", 1)},
			{own.id("template", 2)},
			{own.id("template", 0), own.id("template", 1)},
			{other.id("template", 0)},
			{own.id("template", 1), other.id("template", 0)},
			{nowhere},
			{own.id("template", 1), nowhere},
			{"x"},
		} {
			if asked := q.about(templates); asked != nil {
				add(q.method, asked)
			}
		}
	}
	for _, template := range []string{own.id("template", 0), own.id("template", 1), other.id("template", 0), nowhere} {
		add(insightsv1.InsightsService_GetTemplate_FullMethodName, &insightsv1.GetTemplateRequest{TemplateId: template})
		add(insightsv1.InsightsService_GetTemplateDAUs_FullMethodName, &insightsv1.GetTemplateDAUsRequest{
			TemplateId: template, TzOffset: 14,
		})
	}
	for _, organization := range []string{"", own.id("organization", 0), other.id("organization", 0), nowhere, "x"} {
		for _, q := range []string{
			"", "deleted:true", canary[:4], "name:" + canary[:4], "organization:" + canary, "organization:" + nowhere,
		} {
			add(insightsv1.InsightsService_ListTemplates_FullMethodName, &insightsv1.ListTemplatesRequest{
				Q: &q, Organization: organization,
			})
		}
	}
	add(insightsv1.InsightsService_GetTemplateInsights_FullMethodName,
		&insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end, Interval: "default", Sections: []string{"report"}},
		&insightsv1.GetTemplateInsightsRequest{
			StartTime: "2023-07-01T00:00:00+05:45", EndTime: "2023-08-01T00:00:00+05:45", Interval: "week",
		},
		&insightsv1.GetTemplateInsightsRequest{StartTime: end, EndTime: start}, &insightsv1.GetTemplateInsightsRequest{})
	// The first letters of all names of the other tenant, which are in those of nothing else.
	for i, search := range []string{"", "user", "s", canary[:4]} {
		sort := []string{"", "user_id", "username", "nothing"}[i]
		add(insightsv1.InsightsService_GetUserActivity_FullMethodName, &insightsv1.GetUserActivityRequest{
			StartTime: start, EndTime: end, Search: search, Sort: sort, PageSize: 2,
		})
		add(insightsv1.InsightsService_GetUserLatency_FullMethodName, &insightsv1.GetUserLatencyRequest{
			StartTime: start, EndTime: end, Search: search, Sort: sort, PageSize: 2,
		})
	}
	add(
		insightsv1.InsightsService_GetUserActivity_FullMethodName,
		&insightsv1.GetUserActivityRequest{StartTime: start, EndTime: end, PageToken: "x"},
		&insightsv1.GetUserActivityRequest{StartTime: start, EndTime: end, PageSize: -1},
	)
	for _, org := range []string{"", own.id("organization", 0), other.id("organization", 0), nowhere, "x"} {
		for _, category := range []string{"", "login", "app"} {
			add(insightsv1.InsightsService_GetActivity_FullMethodName, &insightsv1.GetActivityRequest{
				Start: start, End: end, Interval: "1 day", Org: org, Category: category,
			})
		}
	}
	add(insightsv1.InsightsService_GetActivity_FullMethodName, &insightsv1.GetActivityRequest{})
	add(insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, &insightsv1.GetDeploymentDAUsRequest{Timezone: "Europe/Berlin"})
	add(insightsv1.InsightsService_GetUserStatusCounts_FullMethodName, &insightsv1.GetUserStatusCountsRequest{TzOffset: 99})
}

// scriptAccess are the calls about access and privacy.
func scriptAccess(own, other tenant, add func(string, ...proto.Message)) {
	add(insightsv1.AccessService_WhoAmI_FullMethodName, &insightsv1.WhoAmIRequest{})
	add(insightsv1.AccessService_GetCurrentUser_FullMethodName, &insightsv1.GetCurrentUserRequest{})
	add(insightsv1.DefinitionsService_GetDefinitions_FullMethodName, &insightsv1.GetDefinitionsRequest{})
	add(insightsv1.AccessService_SignIn_FullMethodName, &insightsv1.SignInRequest{})
	add(insightsv1.AccessService_SignOut_FullMethodName, &insightsv1.SignOutRequest{})
	add(insightsv1.AccessService_ListTokens_FullMethodName, &insightsv1.ListTokensRequest{})
	add(insightsv1.AccessService_ListRoleBindings_FullMethodName, &insightsv1.ListRoleBindingsRequest{})
	add(
		insightsv1.AccessService_ListAuditEvents_FullMethodName, &insightsv1.ListAuditEventsRequest{},
		&insightsv1.ListAuditEventsRequest{PageSize: 1},
	)
	add(insightsv1.AccessService_RevokeToken_FullMethodName, &insightsv1.RevokeTokenRequest{TokenId: "aaaaaaaaaa"})
	add(insightsv1.AccessService_RevokeRole_FullMethodName, &insightsv1.RevokeRoleRequest{RoleBindingId: nowhere})
	add(insightsv1.PrivacyService_GetMyData_FullMethodName, &insightsv1.GetMyDataRequest{})
	for _, agent := range []string{own.id("agent", 0), own.id("agent", 60), other.id("agent", 0), nowhere, "x"} {
		add(insightsv1.AccessService_CreateAgentTokens_FullMethodName, &insightsv1.CreateAgentTokensRequest{AgentIds: []string{agent}})
	}
	add(insightsv1.AccessService_CreateAgentTokens_FullMethodName, &insightsv1.CreateAgentTokensRequest{
		AgentIds: []string{own.id("agent", 0), other.id("agent", 0)},
	})
	for _, user := range []string{own.id("user", 0), other.id("user", 0), nowhere} {
		who := &insightsv1.Principal{Kind: "user", Id: user}
		add(insightsv1.AccessService_CreateToken_FullMethodName, &insightsv1.CreateTokenRequest{Principal: who, Name: "n"})
		add(insightsv1.AccessService_ListTokens_FullMethodName, &insightsv1.ListTokensRequest{Principal: who})
		add(insightsv1.AccessService_ListRoleBindings_FullMethodName, &insightsv1.ListRoleBindingsRequest{Principal: who})
		add(insightsv1.AccessService_ListAuditEvents_FullMethodName, &insightsv1.ListAuditEventsRequest{Principal: who})
		add(insightsv1.AccessService_GrantRole_FullMethodName, &insightsv1.GrantRoleRequest{Principal: who, Role: "owner"})
		add(insightsv1.PrivacyService_EraseUser_FullMethodName, &insightsv1.EraseUserRequest{UserId: user})
		add(insightsv1.PrivacyService_ResolvePseudonym_FullMethodName, &insightsv1.ResolvePseudonymRequest{UserId: user})
	}
	for _, organization := range []string{"", own.id("organization", 0), other.id("organization", 0), nowhere} {
		add(insightsv1.PrivacyService_SetPrivacyMode_FullMethodName, &insightsv1.SetPrivacyModeRequest{
			OrganizationId: organization, Mode: "full",
		})
		add(insightsv1.PrivacyService_GetPrivacyMode_FullMethodName, &insightsv1.GetPrivacyModeRequest{OrganizationId: organization})
	}
	for _, template := range []string{own.id("template", 0), other.id("template", 0), nowhere} {
		add(insightsv1.PrivacyService_SetParameterRelease_FullMethodName, &insightsv1.SetParameterReleaseRequest{
			TemplateId: template, ParameterName: "image", Released: true,
		})
	}
}

// The script holds every RPC that is served: one that is added later has to be part of it.
func TestCanaryScriptIsComplete(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	asked, routes := map[string]bool{insightsv1.IngestService_StreamStats_FullMethodName: true}, wiretest.Routes(t)
	for _, call := range canaryScript(t, tenant{word: "acme"}, tenant{word: canary}) {
		asked[call.method] = true
		if routes[call.method].Path == "" {
			t.Errorf("%s has no route", call.method)
		}
	}
	for service, info := range r.ServiceInfo() {
		for _, m := range info.Methods {
			if method := "/" + service + "/" + m.Name; !guard.IsPublic(method) && !asked[method] {
				t.Errorf("nobody asks for %s", method)
			}
		}
	}
}
