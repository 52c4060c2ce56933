package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// setMode sets the mode of the fixture's organization.
func (p *patient) setMode(t *testing.T, mode store.PrivacyMode) {
	t.Helper()
	service := insightsv1.NewPrivacyServiceClient(p.Conn)
	servertest.Must(t, service.SetPrivacyMode, p.owner, &insightsv1.SetPrivacyModeRequest{
		OrganizationId: p.Organization.String(), Mode: string(mode),
	})
	got := servertest.Must(t, service.GetPrivacyMode, p.owner, &insightsv1.GetPrivacyModeRequest{OrganizationId: p.Organization.String()})
	if got.GetMode() != string(mode) || !got.GetSince().AsTime().Equal(storetest.Now) {
		t.Errorf("mode: %v", got)
	}
}

// kept is how many minutes of use and how many latencies of everyone are stored.
func (p *patient) kept(t *testing.T) (minutes, samples int64) {
	t.Helper()
	users, total, err := p.UserLatency(
		t.Context(), p.Everything, minute.People, minute.NewWindow(storetest.Now.AddDate(0, 0, -7), storetest.Now.AddDate(0, 0, 1)),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		minutes += u.Minutes
	}
	return minutes, total.Samples
}

// In the mode aggregate nothing is told of single users and no latency kept; in the mode off nothing is kept, and answers say so.
func TestPrivacyModes(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), func(c *server.Options) { c.CollectAgentStats = true })
	p.send(t, p.session(0, before(24, 0), nil))
	questions := insightsv1.NewInsightsServiceClient(p.Conn)
	window := &insightsv1.GetTemplateInsightsRequest{StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z"}
	if answer := servertest.Must(t, questions.GetTemplateInsights, p.owner, window); answer.GetCollectionMode() != "" ||
		answer.GetFloor() != 0 || answer.GetReport().GetActiveUsers() != 1 {
		t.Errorf("mode full: %v", answer)
	}
	minutes, samples := p.kept(t)

	p.setMode(t, store.PrivacyAggregate)
	p.send(t, p.session(1, before(23, 0), nil))
	if m, s := p.kept(t); m != minutes+1 || s != samples {
		t.Errorf("mode aggregate: %d minutes and %d latencies, before %d and %d", m, s, minutes, samples)
	}
	for name, got := range map[string]codes.Code{
		"activity": codeOf(t, questions.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
			StartTime: window.GetStartTime(), EndTime: window.GetEndTime(),
		}),
		"latency": codeOf(t, questions.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
			StartTime: window.GetStartTime(), EndTime: window.GetEndTime(), TemplateIds: []string{p.Templates[0].String()},
		}),
		"older activity": codeOf(t, questions.GetActivity, p.owner, &insightsv1.GetActivityRequest{
			Start: window.GetStartTime(), End: window.GetEndTime(), Interval: "1 day",
		}),
	} {
		if got != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, got)
		}
	}
	status, body := p.Get(t, p.owner, "/api/v2/insights/user-activity", url.Values{
		"start_time": {window.GetStartTime()}, "end_time": {window.GetEndTime()},
	})
	if detail, _ := body["detail"].(string); status != 400 || !strings.Contains(detail, "aggregate") {
		t.Errorf("over REST: %d %v", status, body)
	}
	answer := servertest.Must(t, questions.GetTemplateInsights, p.owner, window)
	if answer.GetCollectionMode() != "aggregate" || answer.GetFloor() != insights.DefaultPrivacyFloor ||
		!answer.GetReport().GetSuppressed() || answer.GetReport().GetActiveUsers() != 0 {
		t.Errorf("mode aggregate: %v", answer)
	}

	p.setMode(t, store.PrivacyOff)
	minutes, samples = p.kept(t)
	p.send(t, p.session(2, before(22, 0), nil))
	p.ReportSessions(t, p.controlPlane, []*insightsv1.AppSession{{
		AgentId: p.Agents[0][2].String(), UserId: p.Users[2].String(), AccessMethod: "path", SlugOrPort: "wiki", StartedAt: before(21, 2),
		EndedAt: before(21, 0),
	}})
	p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{
		{At: before(21, 0), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: p.Users[2].String()}}},
		{At: before(21, 0), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][2].String(), TemplateVersionId: p.version, Number: 1, Transition: "start",
			Status: "succeeded", CreatedAt: before(21, 0),
		}}},
	})
	if m, s := p.kept(t); m != minutes || s != samples {
		t.Errorf("mode off: %d minutes and %d latencies, before %d and %d", m, s, minutes, samples)
	}
	facts, err := p.Facts(t.Context(), p.Everything, storetest.Now.AddDate(0, 0, -7), storetest.Now, storetest.Now)
	if err != nil || facts[0].Starts+facts[1].Starts != 0 {
		t.Errorf("mode off: facts %v, %v", facts, err)
	}
	found := servertest.Must(t, questions.GetDiagnosis, p.owner, &insightsv1.GetDiagnosisRequest{
		StartTime: window.GetStartTime(), EndTime: window.GetEndTime(),
	})
	if found.GetCollectionMode() != "off" || found.GetFindings()[0].GetReason() != insights.ReasonOff ||
		len(found.GetFindings()[0].GetTemplateIds()) != 2 {
		t.Errorf("mode off: %v", found)
	}
}

// A stricter mode of the deployment names organizations with looser ones before it is set. One that inherits follows, and all that
// have their own are listed.
func TestPrivacyModeOverrides(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	service := insightsv1.NewPrivacyServiceClient(p.Conn)
	set := func(organization string, mode store.PrivacyMode, keep bool) error {
		_, err := service.SetPrivacyMode(servertest.As(t.Context(), p.owner), &insightsv1.SetPrivacyModeRequest{
			OrganizationId: organization, Mode: string(mode), KeepLooserModes: keep,
		})
		return err
	}
	get := func(organization string) *insightsv1.GetPrivacyModeResponse {
		return servertest.Must(t, service.GetPrivacyMode, p.owner, &insightsv1.GetPrivacyModeRequest{OrganizationId: organization})
	}
	own := p.Organization.String()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Organizations: []*insightsv1.Organization{{Id: own, Name: "acme"}}})
	if got := get(own); !got.GetInherited() || got.GetMode() != "full" || got.GetMeaning() != store.PrivacyFull.Meaning() {
		t.Errorf("nobody set a mode: %v", got)
	}
	p.setMode(t, store.PrivacyPseudonym)
	if err := set("", store.PrivacyPseudonym, false); err != nil {
		t.Errorf("no organization is looser: %v", err)
	}
	refused := status.Convert(set("", store.PrivacyAggregate, false))
	if said := fmt.Sprint(refused.Details()); refused.Code() != codes.FailedPrecondition ||
		!strings.Contains(said, "PRIVACY_MODE_LOOSER") || !strings.Contains(said, "acme (pseudonym, "+own+")") {
		t.Errorf("an organization is looser: %v, %s", refused, said)
	}
	if got := get(""); got.GetMode() != "pseudonym" || len(got.GetOverrides()) != 1 || got.GetOverrides()[0].GetLooser() {
		t.Errorf("the mode was refused: %v", got)
	}
	if err := set("", store.PrivacyAggregate, true); err != nil {
		t.Error(err)
	}
	got := get("")
	if o := got.GetOverrides(); len(o) != 1 || got.GetMode() != "aggregate" || !o[0].GetLooser() || o[0].GetOrganizationName() != "acme" ||
		o[0].GetMode() != "pseudonym" || o[0].GetMeaning() != store.PrivacyPseudonym.Meaning() {
		t.Errorf("an organization keeps a looser mode: %v", got)
	}
	if err := set(own, store.PrivacyInherit, false); err != nil {
		t.Error(err)
	}
	if got := get(own); !got.GetInherited() || got.GetMode() != "aggregate" || got.GetTreatedAt() != nil ||
		len(get("").GetOverrides()) > 0 {
		t.Errorf("the organization inherits: %v", got)
	}
	if err := set("", store.PrivacyInherit, false); status.Code(err) != codes.InvalidArgument {
		t.Errorf("the deployment inherits: %v", err)
	}
	stranger := uuid.NewString()
	if err := set(stranger, store.PrivacyFull, false); status.Code(err) != codes.NotFound {
		t.Errorf("setting the mode of an unknown organization: %v", err)
	}
	code := codeOf(t, service.GetPrivacyMode, p.owner, &insightsv1.GetPrivacyModeRequest{OrganizationId: stranger})
	if code != codes.NotFound {
		t.Errorf("the mode of an unknown organization: %v", code)
	}
}

// An answer about two organizations hides everybody where one of them hides its people: also who is named when asked about alone. The alias
// is not the pseudonym that the person has later.
func TestMixedAnswersHideEverybody(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	organization, zoe, template := uuid.NewString(), uuid.NewString(), uuid.NewString()
	workspace, agent := uuid.NewString(), uuid.NewString()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: organization, Name: "beta"}},
		Templates:     []*insightsv1.Template{{Id: template, OrganizationId: organization, Name: "zoo"}},
		Users: []*insightsv1.User{{
			Id: zoe, Username: "zoe", Kind: "human", Status: "active", AvatarUrl: "https://example.com/zoe.png",
			OrganizationIds: []string{organization},
		}},
		Workspaces: []*insightsv1.Workspace{{Id: workspace, OwnerId: zoe, TemplateId: template, Name: "den"}},
		Agents:     []*insightsv1.Agent{{Id: agent, WorkspaceId: workspace, Name: "main"}},
	})
	p.send(t, p.session(0, before(24, 0), nil), p.session(0, before(24, 0), func(r *insightsv1.AgentReport) { r.AgentId = agent }))
	p.setMode(t, store.PrivacyPseudonym)
	questions := insightsv1.NewInsightsServiceClient(p.Conn)
	const start, end = "2023-08-14T00:00:00Z", "2023-08-15T00:00:00Z"
	activity := func(search string, templates ...string) (users map[string]string, text string) {
		t.Helper()
		answer := servertest.Must(t, questions.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
			StartTime: start, EndTime: end, Search: search, TemplateIds: templates,
		})
		users = map[string]string{}
		for _, u := range answer.GetReport().GetUsers() {
			users[u.GetUsername()] = u.GetUserId()
		}
		return users, answer.String()
	}
	if alone, _ := activity("", template); alone["zoe"] != zoe {
		t.Errorf("in a mode that names people: %v", alone)
	}
	mixed, text := activity("")
	latency := servertest.Must(t, questions.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{StartTime: start, EndTime: end})
	older := servertest.Must(t, questions.GetActivity, p.owner, &insightsv1.GetActivityRequest{Start: start, End: end, Interval: "1 day"})
	support := servertest.Must(t, questions.GetSupportReport, p.owner, &insightsv1.GetSupportReportRequest{StartTime: start, EndTime: end})
	for question, answer := range map[string]string{
		"activity": text, "latency": latency.String(), "older": older.String(), "support": support.String(),
	} {
		if strings.Contains(answer, "zoe") || strings.Contains(answer, zoe) {
			t.Errorf("%s names somebody: %s", question, answer)
		}
	}
	if len(mixed) != 2 || len(older.GetUsers()) != 2 {
		t.Errorf("people in the answers: %v, %v", mixed, older)
	}
	if found, _ := activity("zoe"); len(found) > 0 {
		t.Errorf("a search finds by a name that is hidden: %v", found)
	}
	servertest.Must(t, insightsv1.NewPrivacyServiceClient(p.Conn).SetPrivacyMode, p.owner, &insightsv1.SetPrivacyModeRequest{
		OrganizationId: organization, Mode: string(store.PrivacyPseudonym),
	})
	if err := p.Treat(t.Context()); err != nil {
		t.Fatal(err)
	}
	later, _ := activity("", template)
	for name, id := range later {
		if len(later) != 1 || name == "zoe" || mixed[name] == id {
			t.Errorf("the pseudonym %s was known from the answer about both: %v", name, mixed)
		}
	}
}

// Every server leaves names out of its metrics within five seconds when a mode hides them, not only the one that was told.
func TestMetricsFollowModes(t *testing.T) {
	t.Parallel()
	collect := func(c *server.Options) { c.CollectAgentStats = true }
	p := newPatient(t, storetest.Postgres(t), collect)
	other := &patient{Fixture: p.Fixture, running: run(t, p.Database, storetest.Now, collect), controlPlane: p.controlPlane}
	other.send(t, p.session(0, before(0, 1), nil))
	page := func() string {
		_, text := other.Scrape(t, "text/plain")
		return text
	}
	eventually(t, "metrics of agents and workspaces", func() bool { return strings.Count(page(), `username="user0"`) > 10 })
	p.setMode(t, store.PrivacyAggregate)
	eventually(t, "leave out who is hidden", func() bool { return !strings.Contains(page(), `user0`) })
}

// Where small groups are hidden, windows that are not whole days of the deployment that are over are refused, whoever asks: in
// another mode, or without the right to see more.
func TestOnlyClosedDaysArePublished(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	questions, who := insightsv1.NewInsightsServiceClient(p.Conn), insightsv1.NewAccessServiceClient(p.Conn)
	if zone := servertest.Must(t, who.WhoAmI, p.owner, &insightsv1.WhoAmIRequest{}).GetInsightsTimezone(); zone != "" {
		t.Errorf("the owner's days are those of %q", zone)
	}
	if zone := servertest.Must(t, who.WhoAmI, limited, &insightsv1.WhoAmIRequest{}).GetInsightsTimezone(); zone != "UTC" {
		t.Errorf("the days of totals are those of %q", zone)
	}
	check := func(token string) {
		t.Helper()
		for _, tt := range []struct {
			start, end string
			want       codes.Code
		}{
			{"2023-08-08T00:00:00Z", "2023-08-15T00:00:00Z", codes.OK},
			{"2023-08-15T00:00:00Z", "2023-08-15T00:00:00Z", codes.OK},
			{"2023-08-08T00:00:00+01:00", "2023-08-15T00:00:00+01:00", codes.InvalidArgument},
			{"2023-08-08T00:00:00Z", "2023-08-15T12:00:00Z", codes.InvalidArgument},
		} {
			if got := codeOf(t, questions.GetTemplateInsights, token, &insightsv1.GetTemplateInsightsRequest{
				StartTime: tt.start, EndTime: tt.end,
			}); got != tt.want {
				t.Errorf("from %s to %s: %v, want %v", tt.start, tt.end, got, tt.want)
			}
			got := codeOf(t, questions.GetDiagnosis, token, &insightsv1.GetDiagnosisRequest{StartTime: tt.start, EndTime: tt.end})
			if got != tt.want {
				t.Errorf("diagnosis from %s to %s: %v, want %v", tt.start, tt.end, got, tt.want)
			}
		}
		got := codeOf(t, questions.GetDeploymentDAUs, token, &insightsv1.GetDeploymentDAUsRequest{TzOffset: 1})
		if got != codes.InvalidArgument {
			t.Errorf("days of another zone: %v", got)
		}
		answer := servertest.Must(t, questions.GetTemplateDAUs, token, &insightsv1.GetTemplateDAUsRequest{
			TemplateId: p.Templates[0].String(),
		})
		days := answer.GetEntries()
		if len(days) != insights.PastDays || days[insights.PastDays-1].GetDate() != "2023-08-14" || !days[0].GetSuppressed() {
			t.Errorf("%d days: %v", len(days), days)
		}
	}
	check(limited)
	if got := codeOf(t, questions.GetUserActivity, limited, &insightsv1.GetUserActivityRequest{
		StartTime: "2023-08-08T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
	}); got != codes.NotFound {
		t.Errorf("single users to who may see totals: %v", got)
	}
	p.setMode(t, store.PrivacyAggregate)
	check(p.owner)
	for _, field := range servertest.Must(
		t, questions.GetUserStatusCounts, p.owner, &insightsv1.GetUserStatusCountsRequest{},
	).GetStatusCounts().GetActive() {
		if field.GetCount()%insights.DefaultPrivacyFloor != 0 {
			t.Errorf("status counts: %v", field)
		}
	}
}

// Where names are hidden, nothing that leaves a server names anyone: over gRPC and REST, in metrics and in the log.
func TestHiddenNamesAppearNowhere(t *testing.T) {
	t.Parallel()
	log := &servertest.LogBuffer{}
	database := storetest.SQLite(t)
	p := newPatient(t, database, func(c *server.Options) { c.CollectAgentStats, c.Logger = true, servertest.WatchLog(t, database, log) })
	change := &insightsv1.ApplyCatalogRequest{}
	for i, user := range p.Users {
		change.Users = append(change.Users, &insightsv1.User{
			Id: user.String(), Username: canary + "-user", AvatarUrl: "https://img/" + canary,
			OrganizationIds: []string{p.Organization.String()},
		})
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: p.Workspaces[0][i].String(), OwnerId: user.String(), TemplateId: p.Templates[0].String(), Name: canary + "-workspace",
		})
	}
	p.Apply(t, p.controlPlane, change)
	p.send(t, p.session(0, before(24, 0), nil), p.session(1, before(0, 0), nil))
	paths := []string{"/api/v2/access/me", "/api/v2/access/tokens", "/api/v2/access/role-bindings", "/api/v2/access/audit-events"}
	for _, q := range questions(t, p.Templates[0]) {
		paths = append(paths, q.url())
		for _, table := range rest.ExportTables {
			if table.Method == q.method {
				params := url.Values{}
				wiretest.AddParams(params, "", q.request.ProtoReflect())
				paths = append(paths, "/api/v2/insights/export/"+table.Name+"?"+params.Encode())
			}
		}
	}
	var refused []string
	show := func(token string) string {
		t.Helper()
		if err := p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, all := p.Scrape(t, "")
		for _, path := range paths {
			status, _, text := p.Fetch(t, http.Header{"Coder-Session-Token": {token}}, path)
			if all += path + string(text); status != http.StatusOK {
				refused = append(refused, fmt.Sprintf("%s: %d %.200s", path, status, text))
			}
		}
		return all
	}
	accounts := insightsv1.NewAccessServiceClient(p.Conn)
	person := func() *insightsv1.Principal { return &insightsv1.Principal{Kind: "user", Id: p.Users[0].String()} }
	servertest.Must(t, accounts.GrantRole, p.owner, &insightsv1.GrantRoleRequest{Principal: person(), Role: "auditor"})
	own := servertest.Must(t, accounts.CreateToken, p.owner, &insightsv1.CreateTokenRequest{Principal: person()}).GetSecret()
	if named := show(p.owner); strings.Count(named, canary) < 5 || len(refused) > 0 || !strings.Contains(named, p.Users[0].String()) {
		t.Errorf("mode full names nobody, and refuses %q: %s", refused, named)
	}

	p.setMode(t, store.PrivacyPseudonym)
	if err := p.Treat(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the person is known under a pseudonym", func() bool {
		return strings.HasPrefix(servertest.Must(t, accounts.WhoAmI, own, &insightsv1.WhoAmIRequest{}).GetUsername(), "user-")
	})
	quiet := len(log.All())
	p.Apply(t, p.controlPlane, change)
	p.send(t, p.session(2, before(1, 0), nil))
	p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{
		{At: before(1, 0), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: p.Users[0].String()}}},
		{
			At:   before(1, 0),
			Kind: &insightsv1.Event_UserStatus{UserStatus: &insightsv1.UserStatusEvent{UserId: p.Users[0].String(), Status: "active"}},
		},
	})
	servertest.Must(t, accounts.GrantRole, p.owner, &insightsv1.GrantRoleRequest{Principal: person(), Role: "user-admin"})
	tokens := servertest.Must(t, accounts.ListTokens, p.owner, &insightsv1.ListTokensRequest{Principal: person()}).GetTokens()
	if len(tokens) != 1 {
		t.Errorf("tokens of the person: %v", tokens)
	}
	check := func(mode string) string {
		t.Helper()
		all := show(own) + show(p.owner) + strings.Join(log.All()[quiet:], "")
		for _, word := range []string{canary, p.Users[0].String(), p.Users[1].String(), p.Users[2].String()} {
			if at := strings.Index(all, word); at >= 0 {
				t.Errorf("mode %s tells %s: %s", mode, word, all[max(0, at-300):min(len(all), at+100)])
			}
		}
		return all
	}
	all := check("pseudonym")
	if strings.Count(all, `"username":"user-`) < 2 || !strings.Contains(all, `coderd_agents_up{template_name="template0",username="user-`) {
		t.Error("there are no pseudonyms either")
	}
	p.setMode(t, store.PrivacyAggregate)
	if all := check("aggregate"); strings.Contains(all, `username="user-`) || strings.Contains(all, `workspace_name="workspace-`) {
		t.Error("mode aggregate: metrics show single users")
	}
}
