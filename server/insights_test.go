package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// company is a server with two organizations of one template each, in which one person uses SSH: in the first template
// in the last minute of 25 March 2023 and the first of the 26th in Berlin, in the second in the last of the 26th, which
// has 23 hours there.
type company struct {
	*running
	organizations, templates [2]uuid.UUID
	agents                   [2]string
	user                     string
}

func newCompany(t *testing.T) *company {
	t.Helper()
	c := &company{running: run(t, storetest.SQLite(t), wiretest.Instant(t, "2023-03-28T12:00:00Z"), nil), user: uuid.NewString()}
	change := &insightsv1.ApplyCatalogRequest{}
	for i := range c.templates {
		c.organizations[i], c.templates[i], c.agents[i] = uuid.New(), uuid.New(), uuid.NewString()
		workspace, version := uuid.NewString(), uuid.NewString()
		change.Organizations = append(change.Organizations, &insightsv1.Organization{
			Id: c.organizations[i].String(), Name: fmt.Sprint("o", i),
		})
		change.Templates = append(change.Templates, &insightsv1.Template{
			Id: c.templates[i].String(), OrganizationId: c.organizations[i].String(), Name: "t",
		})
		change.TemplateVersions = append(change.TemplateVersions, &insightsv1.TemplateVersion{
			Id: version, TemplateId: c.templates[i].String(), Name: "v", Parameters: []*insightsv1.Parameter{
				{Name: "region", Type: "string", Description: "**Where** it runs"}, {Name: "secret", Type: "string", Sensitive: true},
			},
		})
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: c.user, TemplateId: c.templates[i].String(), Name: "w",
		})
		change.Agents = append(change.Agents, &insightsv1.Agent{Id: c.agents[i], WorkspaceId: workspace, Name: "main"})
	}
	change.Users = []*insightsv1.User{{Id: c.user, Username: "ann", AvatarUrl: "/ann.png"}}
	controlPlane := c.Token(t, access.RoleControlPlane, servertest.Everywhere)
	c.Apply(t, controlPlane, change)
	report := func(agent, at string) *insightsv1.AgentReport {
		return &insightsv1.AgentReport{
			AgentId: agent, CollectedAt: timestamppb.New(wiretest.Instant(t, at)), Interval: durationpb.New(30 * time.Second),
			ConnectionCount: 1, SessionCounts: map[string]int64{"ssh": 1},
		}
	}
	c.ReportStats(t, controlPlane, []*insightsv1.AgentReport{
		report(c.agents[0], "2023-03-25T23:59:30+01:00"), report(c.agents[0], "2023-03-26T00:00:00+01:00"),
		report(c.agents[1], "2023-03-26T23:59:30+02:00"),
	})
	created := timestamppb.New(wiretest.Instant(t, "2023-03-26T12:00:00Z"))
	c.ReportEvents(t, controlPlane, []*insightsv1.Event{{At: created, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
		Id: uuid.NewString(), WorkspaceId: change.GetWorkspaces()[0].GetId(), TemplateVersionId: change.GetTemplateVersions()[0].GetId(),
		Number: 1, Transition: "start", Status: "succeeded", CreatedAt: created,
		Parameters: []*insightsv1.BuildParameter{{Name: "region", Value: "eu"}, {Name: "secret", Value: "hunter2"}},
	}}}})
	return c
}

func ids(list ...uuid.UUID) []string { return call.Texts(call.Union(slices.Clone(list))) }

// Days follow the calendar of the time zone; times are shown with the offset that it has at that moment.
func TestIntervalsInTimezone(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	req := &insightsv1.GetTemplateInsightsRequest{
		StartTime: "2023-03-24T23:00:00Z", EndTime: "2023-03-28T00:00:00+02:00", Timezone: "Europe/Berlin", Interval: "day",
		Sections: []string{"interval_reports"},
	}
	answer := servertest.Must(
		t, insightsv1.NewInsightsServiceClient(c.Conn).GetTemplateInsights, c.Token(t, access.RoleOwner, servertest.Everywhere), req,
	)
	day := func(start, end string, users int64, templates ...uuid.UUID) *insightsv1.TemplateInsightsIntervalReport {
		return &insightsv1.TemplateInsightsIntervalReport{
			StartTime: start, EndTime: end, Interval: "day", ActiveUsers: users, TemplateIds: ids(templates...),
		}
	}
	want := &insightsv1.GetTemplateInsightsResponse{
		IntervalReports: []*insightsv1.TemplateInsightsIntervalReport{
			day("2023-03-25T00:00:00+01:00", "2023-03-26T00:00:00+01:00", 1, c.templates[0]),
			day("2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00", 1, c.templates[0], c.templates[1]),
			day("2023-03-27T00:00:00+02:00", "2023-03-28T00:00:00+02:00", 0),
		}, DefaultInterval: &insightsv1.DefaultInterval{Interval: "day", Reason: "age_unknown"}, DataAsOf: "2023-03-28T14:00:00+02:00",
		Actors: []string{"person"},
	}
	if diff := cmp.Diff(want, answer, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestTemplateInsightsReport(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	req := &insightsv1.GetTemplateInsightsRequest{
		StartTime: "2023-03-26T00:00:00+01:00", EndTime: "2023-03-28T00:00:00+02:00", Sections: []string{"report"}, Interval: "week",
	}
	_, err := insightsv1.NewInsightsServiceClient(c.Conn).GetTemplateInsights(
		servertest.As(t.Context(), c.Token(t, access.RoleOwner, servertest.Everywhere)), req,
	)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("two days in weeks: got %v, want InvalidArgument though no intervals are asked for", err)
	}
	req.Interval = "day"
	answer := servertest.Must(
		t, insightsv1.NewInsightsServiceClient(c.Conn).GetTemplateInsights, c.Token(t, access.RoleOwner, servertest.Everywhere), req,
	)
	if answer.GetIntervalReports() != nil {
		t.Errorf("intervals that nobody asked for: %v", answer.GetIntervalReports())
	}
	r := answer.GetReport()
	if r.GetStartTime() != req.GetStartTime() || r.GetEndTime() != req.GetEndTime() {
		t.Errorf("window is %s to %s, want it as asked for", r.GetStartTime(), r.GetEndTime())
	}
	if diff := cmp.Diff(ids(c.templates[:]...), r.GetTemplateIds()); diff != "" || r.GetActiveUsers() != 1 {
		t.Errorf("%d users, templates (-want +got):\n%s", r.GetActiveUsers(), diff)
	}
	ssh := &insightsv1.AppUsage{
		Type: "builtin", Slug: "ssh", DisplayName: "SSH", Icon: "/icon/terminal.svg", Seconds: 120, TimesUsed: 2,
		TemplateIds: r.GetTemplateIds(), Family: "ssh",
		Editors: []*insightsv1.EditorUsage{{
			Name: "ssh", TemplateIds: r.GetTemplateIds(), Seconds: 120, TimesUsed: 2, DisplayName: "SSH", Icon: "/icon/terminal.svg",
		}},
	}
	if diff := cmp.Diff(ssh, r.GetAppsUsage()[3], protocmp.Transform()); diff != "" {
		t.Errorf("SSH (-want +got):\n%s", diff)
	}
	parameters := []*insightsv1.ParameterUsage{
		{
			TemplateIds: ids(c.templates[0]), Name: "region", DisplayName: "region", Type: "string", Description: "Where it runs",
			Values: []*insightsv1.ParameterValue{{Value: "eu", Count: 1}},
		},
		{
			TemplateIds: ids(c.templates[0]), Name: "secret", DisplayName: "secret", Type: "string", Sensitive: true,
			Values: []*insightsv1.ParameterValue{{Count: 1}},
		},
	}
	if diff := cmp.Diff(parameters, r.GetParametersUsage(), protocmp.Transform()); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

// What cannot be read is told all at once, and before anything else.
func TestUnreadableQuestion(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	req := &insightsv1.GetTemplateInsightsRequest{
		TemplateIds: []string{"x", uuid.NewString(), "y"}, Timezone: "Mars/Olympus", Interval: "month",
	}
	_, err := insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateInsights(
		servertest.As(t.Context(), r.Token(t, access.RoleOwner, servertest.Everywhere)), req,
	)
	want := []string{
		`start_time: Query param "start_time" is required`, `end_time: Query param "end_time" is required`,
		`template_ids: Query param "template_ids" has invalid values: x, y`,
	}
	if diff := cmp.Diff(want, wiretest.Faults(t, err)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// An empty entry in a list is somebody's mistake, such as a variable without a value, and not the question about everything.
func TestEmptyEntriesAreRefused(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner, template := r.Token(t, access.RoleOwner, servertest.Everywhere), uuid.New()
	listed := 0
	for _, q := range questions(t, template) {
		m := q.request.ProtoReflect()
		field := m.Descriptor().Fields().ByName("template_ids")
		if field == nil {
			continue
		}
		listed++
		answer := &emptypb.Empty{}
		for _, list := range [][]string{{"", ""}, {template.String(), ""}, {" "}, {"", template.String()}} {
			ids := m.NewField(field)
			for _, id := range list {
				ids.List().Append(protoreflect.ValueOfString(id))
			}
			m.Set(field, ids)
			err := r.Conn.Invoke(servertest.As(t.Context(), owner), q.method, q.request, answer)
			if faults := wiretest.Faults(t, err); len(faults) != 1 || !strings.HasPrefix(faults[0], "template_ids: ") {
				t.Errorf("%s of %q over gRPC: %q", q.method, list, faults)
			}
			m.Clear(field)
			params := q.params()
			params.Set("template_ids", strings.Join(list, ","))
			status, body := r.Get(t, owner, q.path, params)
			if text := fmt.Sprint(body["validations"]); status != http.StatusBadRequest || !strings.Contains(text, "template_ids") {
				t.Errorf("%s of %q: %d %v", q.path, list, status, body)
			}
		}
		params := q.params()
		params.Set("template_ids", "")
		if status, body := r.Get(t, owner, q.path, params); status != http.StatusOK {
			t.Errorf("%s with no value: %d %v", q.path, status, body)
		}
	}
	if listed < 8 {
		t.Errorf("%d questions list templates", listed)
	}
}

// What is asked about no time says so: nobody shall take it for time in which nothing happened.
func TestEmptyWindowSaysSo(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.everybody(t, nil)
	asked := 0
	for _, q := range questions(t, p.Templates[0]) {
		params := withEmptyWindow(q)
		if !params.Has("start_time") && !params.Has("start") {
			continue
		}
		asked++
		for empty, params := range map[bool]url.Values{true: params, false: q.params()} {
			status, _, text := p.Fetch(t, http.Header{"Coder-Session-Token": {p.owner}}, q.path+"?"+params.Encode())
			if status != http.StatusOK || strings.Contains(string(text), "empty_window") != empty {
				t.Errorf("%s, empty: %v: %d %s", q.path, empty, status, text)
			}
		}
	}
	if asked != 12 {
		t.Errorf("%d questions have windows", asked)
	}
}

// Who sees one organization gets its templates alone, and cannot ask for others.
func TestInsightsStayInScope(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	auditor := c.Token(t, access.RoleOrganizationAuditor, c.organizations[1])
	params := url.Values{"start_time": {"2023-03-25T00:00:00Z"}, "end_time": {"2023-03-28T00:00:00Z"}}
	for path, want := range map[string]any{
		"/api/v2/insights/user-activity": []any{map[string]any{
			"template_ids": []any{c.templates[1].String()}, "user_id": c.user, "username": "ann", "avatar_url": "/ann.png", "seconds": 60.0,
			"active_days": 1.0, "median_daily_seconds": 60.0, "kind": "human",
			"apps": []any{map[string]any{"type": "builtin", "slug": "ssh", "display_name": "SSH", "seconds": 60.0}},
		}},
		"/api/v2/insights/user-latency": []any{map[string]any{
			"template_ids": []any{c.templates[1].String()}, "user_id": c.user, "username": "ann", "avatar_url": "/ann.png",
			"latency_ms": map[string]any{"p50": -1.0, "p95": -1.0, "samples": 0.0, "rating": "unknown", "rating_p95": "unknown"},
			"kind":       "human",
		}},
	} {
		params.Del("template_ids")
		code, body := c.Get(t, auditor, path, params)
		report, _ := body["report"].(map[string]any)
		if diff := cmp.Diff(want, report["users"]); code != 200 || diff != "" {
			t.Errorf("%s: %d, users (-want +got):\n%s", path, code, diff)
		}
		if diff := cmp.Diff([]any{c.templates[1].String()}, report["template_ids"]); diff != "" {
			t.Errorf("%s: templates (-want +got):\n%s", path, diff)
		}
		params.Set("template_ids", c.templates[1].String()+","+c.templates[0].String())
		if code, body := c.Get(t, auditor, path, params); code != 404 {
			t.Errorf("%s of a foreign template: %d, %v", path, code, body)
		}
	}
}

// A question about an organization is about those of its templates that the caller may see.
func TestInsightsOfAnOrganization(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	first, second := c.organizations[0].String(), c.organizations[1].String()
	owner, auditor := c.Token(t, access.RoleOwner, servertest.Everywhere), c.Token(t, access.RoleOrganizationAuditor, c.organizations[1])
	for _, asked := range questions(t, c.templates[0]) {
		if !asked.has("organization_id") {
			continue
		}
		for name, q := range map[string]struct {
			token  string
			params url.Values
			status int
			want   []uuid.UUID
		}{
			"an owner, the first":      {owner, url.Values{"organization_id": {first}}, 200, c.templates[:1]},
			"an owner, the second":     {owner, url.Values{"organization_id": {second}}, 200, c.templates[1:]},
			"an owner, an unknown one": {owner, url.Values{"organization_id": {uuid.NewString()}}, 404, nil},
			"an auditor, their own":    {auditor, url.Values{"organization_id": {second}}, 200, c.templates[1:]},
			"an auditor, another":      {auditor, url.Values{"organization_id": {first}}, 404, nil},
			"no id":                    {owner, url.Values{"organization_id": {"acme"}}, 400, nil},
			"together with templates": {
				owner, url.Values{"organization_id": {first}, "template_ids": {c.templates[0].String()}}, 400, nil,
			},
			"someone who sees nothing": {
				c.Token(t, access.RoleMember, servertest.Everywhere), url.Values{"organization_id": {first}}, 404, nil,
			},
			"templates named otherwise": {auditor, url.Values{"template_ids": {c.templates[1].String()}}, 200, c.templates[1:]},
		} {
			q.params.Set("start_time", "2023-03-25T00:00:00Z")
			q.params.Set("end_time", "2023-03-28T00:00:00Z")
			if asked.has("metrics") {
				q.params.Set("metrics", "active_users")
			}
			if asked.has("dimension") {
				q.params.Set("dimension", "template")
			}
			code, body := c.Get(t, q.token, asked.path, q.params)
			if code != q.status {
				t.Errorf("%s: %s: %d, %v", asked.path, name, code, body)
			}
			report, _ := body["report"].(map[string]any)
			if report == nil {
				continue // the diagnosis names no templates
			}
			var want []any
			for _, id := range q.want {
				want = append(want, id.String())
			}
			if diff := cmp.Diff(want, report["template_ids"]); diff != "" {
				t.Errorf("%s: %s: templates (-want +got):\n%s", asked.path, name, diff)
			}
		}
	}
}

// An answer that holds estimates says so, and one that holds none says nothing.
func TestEstimatedUsage(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	token := r.Token(t, access.RoleOwner, uuid.Nil)
	measured, estimate := f.Row(0, 0, 2, 0b111), f.Row(0, 1, 4, 0b11)
	estimate.Kind, estimate.Connected = minute.ImportedSession, false
	window := url.Values{"start_time": {"2023-08-15T00:00:00Z"}, "end_time": {"2023-08-15T12:00:00Z"}}
	for _, want := range []struct {
		rows      []store.OpenRow
		users     float64
		estimated any
	}{{[]store.OpenRow{measured}, 1, nil}, {[]store.OpenRow{estimate}, 2, true}} {
		f.MustMerge(t, want.rows...)
		status, answer := r.Get(t, token, "/api/v2/insights/templates", window)
		report, _ := answer["report"].(map[string]any)
		if status != 200 || report["active_users"] != want.users || report["estimated"] != want.estimated {
			t.Errorf("%d %v, want %v users and estimated %v", status, report, want.users, want.estimated)
		}
		status, answer = r.Get(t, token, "/api/v2/insights/user-activity", window)
		report, _ = answer["report"].(map[string]any)
		if status != 200 || report["total_users"] != want.users || report["estimated"] != want.estimated {
			t.Errorf("user activity: %d %v, want %v users and estimated %v", status, report, want.users, want.estimated)
		}
	}
}
