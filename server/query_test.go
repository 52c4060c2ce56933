package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// crowd gives the first template so many more people, each with an agent.
func (p *patient) crowd(t *testing.T, people int) (agents []string) {
	t.Helper()
	return p.crowdOf(t, people, "")
}

// crowdOf is a crowd of accounts of a kind.
func (p *patient) crowdOf(t *testing.T, people int, kind string) (agents []string) {
	t.Helper()
	c := &insightsv1.ApplyCatalogRequest{}
	for i := range people {
		user, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
		agents = append(agents, agent)
		c.Users = append(c.Users, &insightsv1.User{Id: user, Username: fmt.Sprint(kind, "member", i), Kind: kind})
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: user, TemplateId: p.Templates[0].String(), Name: "w",
		})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
	}
	p.Apply(t, p.controlPlane, c)
	return agents
}

// work is a minute of each of some agents.
func (p *patient) work(t *testing.T, at *timestamppb.Timestamp, agents ...string) {
	t.Helper()
	var reports []*insightsv1.AgentReport
	for _, agent := range agents {
		reports = append(reports, p.session(0, at, func(r *insightsv1.AgentReport) { r.AgentId = agent }))
	}
	p.ReportStats(t, p.controlPlane, reports)
}

// figuresOf are the rows of an answer as text, in their order, and the totals.
func figuresOf(answer *insightsv1.QueryUsageResponse) (rows []string) {
	text := func(v *insightsv1.QueryValues) string {
		b, _ := json.Marshal(v)
		return strings.NewReplacer(`"`, "", "{", "", "}", "").Replace(string(b))
	}
	for _, r := range append(answer.GetRows(), &insightsv1.QueryRow{
		Keys: []*insightsv1.QueryKey{{Label: "all"}}, Values: answer.GetTotals().GetValues(), Before: answer.GetTotals().GetBefore(),
		Suppressed: answer.GetTotals().GetSuppressed(),
	}) {
		var labels []string
		for _, k := range r.GetKeys() {
			labels = append(labels, k.GetLabel())
		}
		line := strings.Join(labels, " × ") + ": " + text(r.GetValues())
		if r.GetSuppressed() {
			line += "suppressed"
		}
		if r.GetBefore() != nil {
			line += " before " + text(r.GetBefore())
		}
		rows = append(rows, line)
	}
	return rows
}

// august is a question about two days of which the second is that of the sessions.
func august(change func(*insightsv1.QueryUsageRequest)) *insightsv1.QueryUsageRequest {
	req := &insightsv1.QueryUsageRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Metrics: []string{"active_users", "used_seconds"},
	}
	change(req)
	return req
}

func TestQueryUsage(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			group := uuid.NewString()
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Groups: []*insightsv1.Group{{
				Id: group, OrganizationId: p.Organization.String(), Name: "team", UserIds: nil,
				Members: []*insightsv1.GroupMember{{UserId: p.Users[0].String(), To: before(23, 45)}},
			}}})
			// User 0 works in both templates in one minute, user 1 in another; on the day before only user 1 did.
			p.work(t, before(24, 0), p.Agents[0][0].String(), p.Agents[1][0].String())
			p.work(t, before(23, 30), p.Agents[0][0].String(), p.Agents[0][1].String())
			p.work(t, before(48, 0), p.Agents[0][1].String())
			client := insightsv1.NewInsightsServiceClient(p.Conn)
			for _, tt := range []struct {
				name   string
				change func(*insightsv1.QueryUsageRequest)
				want   []string
			}{
				{"nothing apart", func(*insightsv1.QueryUsageRequest) {}, []string{"all: active_users:2,used_seconds:240"}},
				{"all metrics", func(r *insightsv1.QueryUsageRequest) {
					r.Metrics = []string{"launches", "active_days", "peak_users", "workspaces"}
				}, []string{"all: launches:3,active_days:3,peak_users:2,workspaces:3"}},
				{"latency", func(r *insightsv1.QueryUsageRequest) {
					r.Metrics, r.Dimensions = []string{"latency_samples"}, []string{"user"}
				}, []string{"user0: latency_samples:3", "user1: latency_samples:2", "all: latency_samples:5"}},
				{"latency by app", func(r *insightsv1.QueryUsageRequest) {
					r.Metrics, r.Dimensions = []string{"latency_samples"}, []string{"app"}
				}, []string{"VS Code: latency_samples:5", "all: latency_samples:5"}},
				{"latency of another family", func(r *insightsv1.QueryUsageRequest) {
					r.Metrics, r.Filters = []string{"latency_samples"}, []string{"family=ssh"}
				}, []string{"all: latency_samples:0"}},
				{"templates", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"template"} }, []string{
					"template0: active_users:2,used_seconds:240", "template1: active_users:1,used_seconds:60",
					"all: active_users:2,used_seconds:240",
				}},
				{"users and days, by name", func(r *insightsv1.QueryUsageRequest) {
					r.Dimensions, r.Interval, r.OrderBy = []string{"user", "interval"}, "day", "user"
				}, []string{
					"user0 × 2023-08-14: active_users:1,used_seconds:120", "user1 × 2023-08-13: active_users:1,used_seconds:60",
					"user1 × 2023-08-14: active_users:1,used_seconds:60", "all: active_users:2,used_seconds:240",
				}},
				{"a group in its time", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"group"} }, []string{
					"team: active_users:1,used_seconds:60", "all: active_users:2,used_seconds:240",
				}},
				{"outside of the group", func(r *insightsv1.QueryUsageRequest) {
					r.Dimensions, r.Filters = []string{"workspace"}, []string{"group!=" + group}
				}, []string{
					"user0/w: active_users:1,used_seconds:60", "user1/w: active_users:1,used_seconds:120",
					"all: active_users:2,used_seconds:180",
				}},
				{"days, last first", func(r *insightsv1.QueryUsageRequest) {
					r.Dimensions, r.Interval, r.OrderBy, r.Filters = []string{"interval"}, "day", "-interval",
						[]string{"user=" + p.Users[0].String()}
				}, []string{
					"2023-08-14: active_users:1,used_seconds:120", "2023-08-13: active_users:0,used_seconds:0",
					"all: active_users:1,used_seconds:120",
				}},
				{"purposes", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"purpose"} }, []string{
					"development: active_users:2,used_seconds:240", "all: active_users:2,used_seconds:240",
				}},
				{"with the days before", func(r *insightsv1.QueryUsageRequest) {
					r.StartTime, r.Compare, r.Dimensions, r.Interval = "2023-08-14T00:00:00Z", "previous", []string{"interval"}, "day"
				}, []string{
					"2023-08-14: active_users:2,used_seconds:180 before active_users:1,used_seconds:60",
					"all: active_users:2,used_seconds:180 before active_users:1,used_seconds:60",
				}},
				{"before anything was stored", func(r *insightsv1.QueryUsageRequest) {
					r.Compare, r.Dimensions = "weekdays", []string{"template"}
				}, []string{
					"template0: active_users:2,used_seconds:240", "template1: active_users:1,used_seconds:60",
					"all: active_users:2,used_seconds:240",
				}},
			} {
				answer := servertest.Must(t, client.QueryUsage, p.owner, august(tt.change))
				if diff := cmp.Diff(tt.want, figuresOf(answer)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, diff)
				}
			}
			p.postsTheSame(t)
		})
	}
}

// postsTheSame: the question can be a body as well.
func (p *patient) postsTheSame(t *testing.T) {
	t.Helper()
	params := url.Values{
		"start_time": {"2023-08-13T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}, "metrics": {"active_users,launches"},
		"dimensions": {"template"}, "filters": {"app=vscode,app=ssh"},
	}
	status, want := p.Get(t, p.owner, "/api/v2/insights/query", params)
	if rows, _ := want["rows"].([]any); status != http.StatusOK || len(rows) != 2 {
		t.Fatalf("GET: %d %v", status, want)
	}
	code, _, text := p.running.send(t, http.MethodPost, "/api/v2/insights/query", http.Header{
		"Coder-Session-Token": {p.owner}, "Content-Type": {"application/json"},
	})
	if code != http.StatusBadRequest || !strings.Contains(string(text), "start_time") {
		t.Errorf("POST of nothing: %d %s", code, text)
	}
	body, err := json.Marshal(map[string]any{
		"start_time": "2023-08-13T00:00:00Z", "end_time": "2023-08-15T00:00:00Z", "metrics": []string{"active_users", "launches"},
		"dimensions": []string{"template"}, "filters": []string{"app=vscode", "app=ssh"},
	})
	if err != nil {
		t.Fatal(err)
	}
	target := "http://" + p.HTTPAddress() + "/api/v2/insights/query"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Coder-Session-Token", p.owner)
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("POST: %d %v", answer.StatusCode, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("POST (-GET +POST):\n%s", diff)
	}
}

// What does not go together is refused, and named.
func TestQueryRefuses(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprint("app=a", i)
	}
	for _, tt := range []struct {
		name   string
		change func(*insightsv1.QueryUsageRequest)
		field  string
	}{
		{"no metric", func(r *insightsv1.QueryUsageRequest) { r.Metrics = nil }, "metrics"},
		{"running time in an app", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Filters = []string{"running_seconds"}, []string{"app=vscode"}
		}, "metrics"},
		{"unattended time of editors", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions = []string{"used_seconds", "unattended_seconds"}, []string{"editor"}
		}, "metrics"},
		{"failed builds of regions", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions = []string{"failed_builds"}, []string{"region"}
		}, "metrics"},
		{"builds of hours of the week", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions = []string{"ready_p50_seconds"}, []string{"hour_of_week"}
		}, "metrics"},
		{"three dimensions", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"app", "user", "template"} }, "dimensions"},
		{"a parameter as a metric", func(r *insightsv1.QueryUsageRequest) { r.Metrics = []string{"parameter:size"} }, "metrics"},
		{"a parameter without a name", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"parameter:"} }, "dimensions"},
		{"a parameter twice", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions = []string{"parameter:size", "parameter:size"}
		}, "dimensions"},
		{"a parameter of no name", func(r *insightsv1.QueryUsageRequest) { r.Filters = []string{"parameter:\x00=big"} }, "filters"},
		{"hours of parameters", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Filters = []string{"hour_of_week"}, []string{"parameter:size=big"}
		}, "filters"},
		{"51 filters", func(r *insightsv1.QueryUsageRequest) { r.Filters = many }, "filters"},
		{"a value twice", func(r *insightsv1.QueryUsageRequest) { r.Filters = []string{"app=a", "app=b", "app=a"} }, "filters"},
		{"with and without", func(r *insightsv1.QueryUsageRequest) { r.Filters = []string{"app=a", "app!=b"} }, "filters"},
		{"peaks of users", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions = []string{"peak_users"}, []string{"user"}
		}, "metrics"},
		{"peaks in an app", func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Filters = []string{"peak_users"}, []string{"app=vscode"}
		}, "metrics"},
		{"an interval without its dimension", func(r *insightsv1.QueryUsageRequest) { r.Interval = "day" }, "interval"},
		{"hours of months", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.Dimensions, r.Interval = "2023-07-13T00:00:00Z", []string{"interval"}, "hour"
		}, "end_time"},
		{"hours of users", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Interval = []string{"interval", "user"}, "hour"
		}, "dimensions"},
		{"hours of an app", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Filters = []string{"hour_of_week"}, []string{"app=vscode"}
		}, "filters"},
		{"part of a past day by user", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime, r.Timezone = "2023-08-12T22:00:00Z", "2023-08-14T11:00:00Z", "Europe/Berlin"
			r.Dimensions = []string{"user"}
		}, "end_time"},
		{"a midnight of another offset, an hour later, of an app", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime, r.Filters = "2023-08-14T00:00:00Z", "2023-08-14T00:00:00-01:00", []string{"app=vscode"}
		}, "end_time"},
		{"a late begin of a group", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.Dimensions = "2023-08-13T05:00:00Z", []string{"group"}
		}, "start_time"},
		{"a comparison with part of a past day by app", func(r *insightsv1.QueryUsageRequest) {
			r.EndTime, r.Compare, r.Dimensions = "2023-08-15T11:00:00Z", "previous", []string{"app"}
		}, "compare"},
		{"a begin within an hour", func(r *insightsv1.QueryUsageRequest) { r.StartTime = "2023-08-13T05:30:00Z" }, "start_time"},
		{"an end within an hour of the start's clock", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime = "2023-08-13T00:00:00+05:45", "2023-08-14T10:00:00Z"
		}, "end_time"},
		{"more than a year", func(r *insightsv1.QueryUsageRequest) { r.StartTime = "2022-08-13T00:00:00Z" }, "end_time"},
		{"an order of another question", func(r *insightsv1.QueryUsageRequest) { r.OrderBy = "launches" }, "order_by"},
	} {
		_, err := client.QueryUsage(servertest.As(t.Context(), p.owner), august(tt.change))
		if got := wiretest.Faults(t, err); len(got) != 1 || !strings.HasPrefix(got[0], tt.field) {
			t.Errorf("%s: %v, want the field %s", tt.name, got, tt.field)
		}
	}
}

// Nothing finer than a day is told of few people, nor does a difference tell it.
func TestQueryClosesHours(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 7)
	var reports []*insightsv1.AgentReport
	for i, agent := range agents { // 12:00, of one with a latency
		reports = append(reports, p.session(0, before(24, 0), func(r *insightsv1.AgentReport) {
			if r.AgentId = agent; i > 0 {
				r.ConnectionMedianLatencyMs = 0
			}
		}))
	}
	p.ReportStats(t, p.controlPlane, reports)
	p.work(t, before(23, 0), agents[:6]...) // 13:00: the fewest of five or more
	p.work(t, before(20, 0), agents[0])     // 16:00
	p.work(t, before(48, 0), agents[:5]...) // the day before
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	told := func(change func(*insightsv1.QueryUsageRequest)) (rows []string) {
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(change))
		for _, r := range answer.GetRows() {
			if r.GetSuppressed() && r.GetValues().ActiveUsers != nil {
				t.Errorf("%v", r)
			}
			if !r.GetSuppressed() && r.GetValues().GetActiveUsers() > 0 {
				rows = append(rows, fmt.Sprint(r.GetKeys()[0].GetValue(), " ", r.GetValues().GetActiveUsers()))
			}
		}
		if !slices.Equal(answer.GetWithheld(), []string{"small_groups"}) {
			t.Errorf("withheld: %v", answer.GetWithheld())
		}
		if answer.GetTotals().GetValues().GetActiveUsers() != 7 {
			t.Errorf("totals: %v", answer.GetTotals())
		}
		return rows
	}
	for _, tt := range []struct {
		name   string
		change func(*insightsv1.QueryUsageRequest)
		want   []string
	}{
		{
			"hours", func(r *insightsv1.QueryUsageRequest) { r.Dimensions, r.Interval = []string{"interval"}, "hour" },
			[]string{"2023-08-14T12:00:00Z 7", "2023-08-13T12:00:00Z 5"},
		},
		{
			"hours of templates", func(r *insightsv1.QueryUsageRequest) {
				r.Dimensions, r.Interval = []string{"interval", "template"}, "hour"
			},
			[]string{"2023-08-14T12:00:00Z 7", "2023-08-13T12:00:00Z 5"},
		},
		{
			"hours of the week", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"hour_of_week"} },
			[]string{"12 7", "156 5"},
		},
		{
			"hours of the week by day", func(r *insightsv1.QueryUsageRequest) {
				r.Dimensions, r.Interval = []string{"interval", "hour_of_week"}, "day"
			},
			[]string{"2023-08-14T00:00:00Z 7", "2023-08-13T00:00:00Z 5"},
		},
		{
			"hours with their latencies", func(r *insightsv1.QueryUsageRequest) {
				r.Metrics, r.Dimensions = append(r.Metrics, "latency_samples"), []string{"hour_of_week"}
			},
			[]string{"156 5"}, // of 12:00 the next day one latency is known
		},
	} {
		if diff := cmp.Diff(tt.want, told(tt.change)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	hours := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
		r.Dimensions, r.Interval = []string{"interval"}, "hour"
	}))
	suppressed := 0
	for _, r := range hours.GetRows() {
		if r.GetSuppressed() {
			suppressed++
		}
	}
	if len(hours.GetRows()) != 48 || suppressed != 23 {
		t.Errorf("%d rows, %d of them suppressed, want 48 and all hours of the day but one", len(hours.GetRows()), suppressed)
	}
}

// The hour of a machine is no difference between everybody and people: it closes hours where it is counted, and there alone.
func TestQueryClosesHoursOfMachines(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 6)
	robot, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Users:      []*insightsv1.User{{Id: robot, Username: "robot", Kind: "service"}},
		Workspaces: []*insightsv1.Workspace{{Id: workspace, OwnerId: robot, TemplateId: p.Templates[0].String(), Name: "w"}},
		Agents:     []*insightsv1.Agent{{Id: agent, WorkspaceId: workspace, Name: "main"}},
	})
	p.work(t, before(24, 0), append(agents, agent)...)
	p.work(t, before(48, 0), agents...)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct {
		actors, want []string
	}{
		{nil, []string{"2023-08-14T12:00:00Z 6", "2023-08-13T12:00:00Z 6"}},
		{[]string{"all"}, []string{"2023-08-13T12:00:00Z 6"}},
		{[]string{"service"}, nil},
	} {
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Interval, r.OrderBy, r.Actor = []string{"interval"}, "hour", "-interval", tt.actors
		}))
		var told []string
		for _, r := range answer.GetRows() {
			if r.GetValues().GetActiveUsers() > 0 {
				told = append(told, fmt.Sprint(r.GetKeys()[0].GetValue(), " ", r.GetValues().GetActiveUsers()))
			}
		}
		if diff := cmp.Diff(tt.want, told); diff != "" {
			t.Errorf("actors %v (-want +got):\n%s", tt.actors, diff)
		}
	}
}

// A window that cuts a day takes hours out of it, and none that is closed.
func TestQueryCutsDays(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 7)
	machines := p.crowdOf(t, 5, "system")
	p.work(t, before(24, 0), agents...)     // 12:00
	p.work(t, before(23, 0), agents[:6]...) // 13:00: the fewest of five or more
	p.work(t, before(20, 0), agents[0])     // 16:00
	p.work(t, before(48, 0), agents[:5]...) // the day before
	p.work(t, before(72, 0), agents[:5]...) // and the day before that, where one works with many machines
	p.work(t, before(70, 0), append(machines, agents[0])...)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct {
		name, start, end string
		change           func(*insightsv1.QueryUsageRequest)
		want             []string
	}{
		{"an hour of many", "2023-08-14T12:00:00Z", "2023-08-14T13:00:00Z", nil, []string{"all: active_users:7"}},
		{"the last hours of a day", "2023-08-13T12:00:00Z", "2023-08-14T00:00:00Z", nil, []string{"all: active_users:5"}},
		{"hours of nobody", "2023-08-13T13:00:00Z", "2023-08-14T00:00:00Z", nil, []string{"all: active_users:0"}},
		{"the hour of one", "2023-08-14T16:00:00Z", "2023-08-14T17:00:00Z", nil, []string{"all: suppressed"}},
		{"the fewest of many", "2023-08-14T13:00:00Z", "2023-08-14T14:00:00Z", nil, []string{"all: suppressed"}},
		{"all but the hour of one", "2023-08-12T00:00:00Z", "2023-08-14T16:00:00Z", nil, []string{"all: suppressed"}},
		{"templates", "2023-08-14T12:00:00Z", "2023-08-14T14:00:00Z", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions = []string{"template"}
		}, []string{"all: suppressed"}},
		{"days", "2023-08-13T12:00:00Z", "2023-08-14T14:00:00Z", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Interval = []string{"interval"}, "day"
		}, []string{"2023-08-13: active_users:5", "2023-08-14: suppressed", "all: suppressed"}},
		{"hours", "2023-08-14T12:00:00Z", "2023-08-14T14:00:00Z", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Interval = []string{"interval"}, "hour"
		}, []string{"2023-08-14 12:00: active_users:7", "2023-08-14 13:00: suppressed", "all: suppressed"}},
		{"the same hours before", "2023-08-14T12:00:00Z", "2023-08-14T13:00:00Z", func(r *insightsv1.QueryUsageRequest) {
			r.Compare = "previous"
		}, []string{"all: active_users:7 before active_users:5"}},
		{"today until an hour, compared", "2023-08-15T00:00:00Z", "2023-08-15T12:00:00Z", func(r *insightsv1.QueryUsageRequest) {
			r.Compare = "previous"
		}, []string{"all: active_users:0"}},
	} {
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime, r.Metrics = tt.start, tt.end, []string{"active_users"}
			if tt.change != nil {
				tt.change(r)
			}
		}))
		if diff := cmp.Diff(tt.want, figuresOf(answer)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	p.closesEachActor(t)
}

// closesEachActor: hours of few people are not told together with those of many machines, nor is who else was active in hours.
func (p *patient) closesEachActor(t *testing.T) {
	t.Helper()
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct {
		actor string
		want  []string
	}{
		{"person", nil}, {"system", []string{"14:00 5"}}, {"all", nil},
	} {
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime, r.Actor = "2023-08-12T00:00:00Z", "2023-08-13T00:00:00Z", []string{tt.actor}
			r.Dimensions, r.Interval = []string{"interval"}, "hour"
		}))
		var told []string
		for _, r := range answer.GetRows() {
			if n := r.GetValues().GetActiveUsers(); n > 0 {
				told = append(told, fmt.Sprint(r.GetKeys()[0].GetLabel()[11:], " ", n))
			}
		}
		if diff := cmp.Diff(tt.want, told); diff != "" {
			t.Errorf("hours of %s (-want +got):\n%s", tt.actor, diff)
		}
		answer = servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.EndTime, r.Actor = "2023-08-12T14:00:00Z", "2023-08-12T15:00:00Z", []string{tt.actor}
		}))
		if len(answer.GetOtherActors()) > 0 {
			t.Errorf("besides %s: %v", tt.actor, answer.GetOtherActors())
		}
	}
}

// The trail has what names people, and answers about few.
func TestQueryAudit(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 5)
	p.work(t, before(24, 0), agents...)
	p.work(t, before(23, 0), p.Agents[1][0].String())
	p.work(t, before(48, 0), agents[0])
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct {
		name   string
		change func(*insightsv1.QueryUsageRequest)
		noted  int
	}{
		{"many people", func(*insightsv1.QueryUsageRequest) {}, 0},
		{"by user", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"user"} }, 1},
		{"not in a workspace", func(r *insightsv1.QueryUsageRequest) {
			r.Filters = []string{"workspace!=" + p.Workspaces[0][0].String()}
		}, 1},
		{"few people", func(r *insightsv1.QueryUsageRequest) { r.TemplateIds = []string{p.Templates[1].String()} }, 1},
		{"few people by a filter", func(r *insightsv1.QueryUsageRequest) {
			r.Filters = []string{"template=" + p.Templates[1].String()}
		}, 1},
		{"many people, but few before", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.Compare = "2023-08-14T00:00:00Z", "previous"
		}, 1},
		{"few people by name", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.TemplateIds = []string{"user"}, []string{p.Templates[1].String()}
		}, 1},
	} {
		earlier := len(p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{}))
		servertest.Must(t, client.QueryUsage, p.owner, august(tt.change))
		events := p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{})
		if len(events)-earlier != tt.noted {
			t.Errorf("%s: %d events, want %d: %v", tt.name, len(events)-earlier, tt.noted, events)
		}
	}
}

// Single persons are told to those who may see them, and where small groups are hidden little is told.
func TestQueryAccess(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 6)
	p.work(t, before(24, 0), agents...)
	p.work(t, before(24, 0), p.Agents[1][0].String())
	storetest.PublishAnew(t, p.Store, p.Database, store.Publication{Floor: 5, Zone: time.UTC})
	totals := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	byUser := func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"user"} }
	byGroup := func(r *insightsv1.QueryUsageRequest) {
		r.Metrics, r.Dimensions = []string{"active_users"}, []string{"group"}
	}
	byDay := func(r *insightsv1.QueryUsageRequest) {
		r.Metrics, r.Dimensions, r.Interval = []string{"active_users"}, []string{"interval"}, "day"
	}
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	check := func(name, token string, change func(*insightsv1.QueryUsageRequest), want codes.Code) {
		t.Helper()
		if got := codeOf(t, client.QueryUsage, token, august(change)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	check("users to who sees all", p.owner, byUser, codes.OK)
	check("users to who sees totals", totals, byUser, codes.NotFound)
	check("groups to who sees totals", totals, byGroup, codes.FailedPrecondition)
	check("days to who sees totals", totals, byDay, codes.OK)
	want := []string{"2023-08-14: active_users:5", "2023-08-13: suppressed", "all: active_users:5"}
	if diff := cmp.Diff(want, figuresOf(servertest.Must(t, client.QueryUsage, totals, august(byDay)))); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	// One person used the second template: it has no row, as one that nobody used.
	want = []string{"template0: active_users:5", "all: active_users:5"}
	if diff := cmp.Diff(want, figuresOf(servertest.Must(t, client.QueryUsage, totals, august(func(r *insightsv1.QueryUsageRequest) {
		r.Metrics, r.Dimensions = []string{"active_users"}, []string{"template"}
	})))); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
	report := servertest.Must(t, client.GetROIReport, totals, &insightsv1.GetROIReportRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
	}).GetReport()
	if diff := cmp.Diff([]string{p.Templates[0].String()}, report.GetTemplateIds()); diff != "" {
		t.Errorf("templates of the report (-want +got):\n%s", diff)
	}
	p.setMode(t, store.PrivacyPseudonym)
	check("users under pseudonyms", p.owner, byUser, codes.FailedPrecondition)
	check("groups under pseudonyms", p.owner, byGroup, codes.FailedPrecondition)
	check("days under pseudonyms", p.owner, byDay, codes.OK)
	check("seconds under pseudonyms", p.owner, func(*insightsv1.QueryUsageRequest) {}, codes.FailedPrecondition)
}

// Who may see the members of a group is told of them alone, in the half hours in which they were members, and never of few.
func TestQueryMembers(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 7)
	p.work(t, before(24, 0), agents...)     // 12:00
	p.work(t, before(22, 0), agents[:6]...) // 14:00
	p.work(t, before(48, 0), agents[:4]...) // the day before
	p.work(t, before(24, 0), p.Agents[1][0].String())
	team, other, foreign := uuid.NewString(), uuid.NewString(), uuid.NewString()
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	members := make([]*insightsv1.GroupMember, len(agents))
	for _, r := range servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
		r.Dimensions, r.Filters = []string{"user"}, []string{"template=" + p.Templates[0].String()}
	})).GetRows() {
		number, err := strconv.Atoi(strings.TrimPrefix(r.GetKeys()[0].GetLabel(), "member"))
		if err != nil {
			t.Fatal(err)
		}
		members[number] = &insightsv1.GroupMember{UserId: r.GetKeys()[0].GetValue()}
	}
	left := &insightsv1.GroupMember{UserId: members[5].GetUserId(), To: before(23, 30)}
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: foreign, Name: "foreign"}},
		Groups: []*insightsv1.Group{
			{Id: team, OrganizationId: p.Organization.String(), Name: "team", Members: append(slices.Clone(members[:5]), left)},
			{Id: other, OrganizationId: p.Organization.String(), Name: "other", Members: members},
		},
	})
	lead := uuid.New()
	p.Grant(t, store.RoleBinding{
		PrincipalKind: access.KindService, PrincipalID: lead, Role: access.RoleViewGroupInsights, GroupID: uuid.MustParse(team),
	})
	token := p.Issue(t, store.Token{PrincipalKind: access.KindService, PrincipalID: lead}).Reveal()
	for _, tt := range []struct {
		name   string
		change func(*insightsv1.QueryUsageRequest)
		want   []string
	}{
		{"all of them", func(*insightsv1.QueryUsageRequest) {}, []string{"all: active_users:6,used_seconds:900"}},
		{"their templates", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"template"} }, []string{
			"template0: active_users:6,used_seconds:900", "all: active_users:6,used_seconds:900",
		}},
		{"groups", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"group"} }, []string{
			"team: active_users:6,used_seconds:900", "all: active_users:6,used_seconds:900",
		}},
		{"not those of another group", func(r *insightsv1.QueryUsageRequest) {
			r.Filters = []string{"group!=" + other}
		}, []string{"all: active_users:6,used_seconds:900"}},
		{"those of another group", func(r *insightsv1.QueryUsageRequest) {
			r.Filters = []string{"group=" + other}
		}, []string{"all: suppressed"}},
		{"days, one of few", func(r *insightsv1.QueryUsageRequest) {
			r.Dimensions, r.Interval = []string{"interval"}, "day"
		}, []string{"2023-08-14: active_users:6,used_seconds:660", "2023-08-13: suppressed", "all: active_users:6,used_seconds:900"}},
		{"with a day of few before", func(r *insightsv1.QueryUsageRequest) {
			r.StartTime, r.Compare = "2023-08-14T00:00:00Z", "previous"
		}, []string{"all: active_users:6,used_seconds:660"}},
		{"in the template of one", func(r *insightsv1.QueryUsageRequest) {
			r.TemplateIds = []string{p.Templates[1].String()}
		}, []string{"all: suppressed"}},
	} {
		answer := servertest.Must(t, client.QueryUsage, token, august(tt.change))
		if diff := cmp.Diff(tt.want, figuresOf(answer)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	// When somebody first used a template, who need not be a member, is not told.
	since := servertest.Must(t, client.QueryUsage, token, august(func(r *insightsv1.QueryUsageRequest) {
		r.TemplateIds, r.Compare = []string{p.Templates[1].String()}, "previous"
	}))
	if w := since.GetBeforeWindow(); w.GetHasDataFrom() != "" || len(since.GetReasons()) > 0 {
		t.Errorf("the template of somebody else has data from %q, reasons %v", w.GetHasDataFrom(), since.GetReasons())
	}
	check := func(name string, change func(*insightsv1.QueryUsageRequest), want codes.Code) {
		t.Helper()
		if got := codeOf(t, client.QueryUsage, token, august(change)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	check("users", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"user"} }, codes.NotFound)
	check("another organization", func(r *insightsv1.QueryUsageRequest) { r.OrganizationId = foreign }, codes.NotFound)
	check("machines beside them", func(r *insightsv1.QueryUsageRequest) { r.Actor = []string{"all"} }, codes.FailedPrecondition)
	check("hours", func(r *insightsv1.QueryUsageRequest) { r.Dimensions = []string{"hour_of_week"} }, codes.InvalidArgument)
	check("an hour", func(r *insightsv1.QueryUsageRequest) { r.StartTime = "2023-08-14T12:00:00Z" }, codes.InvalidArgument)
	p.setMode(t, store.PrivacyPseudonym)
	check("under pseudonyms", func(*insightsv1.QueryUsageRequest) {}, codes.FailedPrecondition)
}

// The window before is told, and until when there are days to compare with.
func TestQueryWindowBefore(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.work(t, before(48, 0), p.Agents[0][0].String())
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct{ compare, start, end string }{
		{"previous", "2023-08-11T00:00:00Z", "2023-08-13T00:00:00Z"},
		{"weekdays", "2023-08-06T00:00:00Z", "2023-08-08T00:00:00Z"},
		{"year", "2022-08-13T00:00:00Z", "2022-08-15T00:00:00Z"},
	} {
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) { r.Compare = tt.compare }))
		w := answer.GetBeforeWindow()
		if w.GetStartTime() != tt.start || w.GetEndTime() != tt.end || w.GetHasDataFrom() != "2023-08-13T00:00:00Z" ||
			answer.GetTotals().GetBefore() != nil || !slices.Equal(answer.GetReasons(), []string{"before_first_record"}) {
			t.Errorf("%s: %v, %v, %v", tt.compare, w, answer.GetTotals(), answer.GetReasons())
		}
	}
	if at, err := time.Parse(time.RFC3339, servertest.Must(t, client.QueryUsage, p.owner, august(
		func(*insightsv1.QueryUsageRequest) {},
	)).GetDataAsOf()); err != nil || !at.Equal(storetest.Now) {
		t.Errorf("as of %v, %v", at, err)
	}
}

// Workspaces and use are in one table, and hours of few owners or visitors are not told.
func TestQueryWorkspaces(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	c, builds := &insightsv1.ApplyCatalogRequest{}, []*insightsv1.Event(nil)
	version := uuid.NewString()
	c.TemplateVersions = []*insightsv1.TemplateVersion{{Id: version, TemplateId: p.Templates[0].String(), Name: "v1"}}
	var agents, users []string
	for i := range 7 {
		user, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
		users, agents = append(users, user), append(agents, agent)
		c.Users = append(c.Users, &insightsv1.User{Id: user, Username: fmt.Sprint("member", i)})
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: user, TemplateId: p.Templates[0].String(), Name: "w",
		})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
		for n, transition := range []string{"start", "stop"} { // from 10:00 to 14:00
			at := before(26-4*n, 0)
			builds = append(builds, &insightsv1.Event{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
				Id: uuid.NewString(), WorkspaceId: workspace, TemplateVersionId: version, Number: int64(n + 1), Transition: transition,
				Status: "succeeded", CreatedAt: at, StartedAt: at, FinishedAt: at,
			}}})
		}
	}
	p.Apply(t, p.controlPlane, c)
	p.ReportEvents(t, p.controlPlane, builds)
	p.work(t, before(24, 0), agents...) // 12:00
	p.work(t, before(25, 0), agents[0]) // 11:00
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	ask := func(change func(*insightsv1.QueryUsageRequest)) *insightsv1.QueryUsageResponse {
		return servertest.Must(t, client.QueryUsage, p.owner, august(change))
	}
	one := ask(func(r *insightsv1.QueryUsageRequest) {
		r.Metrics = []string{"running_seconds", "attended_seconds", "unattended_seconds", "unknown_seconds", "builds", "used_seconds"}
		r.Dimensions, r.Filters = []string{"user"}, []string{"user=" + users[0]}
	})
	want := []string{
		"member0: running_seconds:14400,attended_seconds:120,unattended_seconds:14280,unknown_seconds:0,builds:2,used_seconds:120",
	}
	if got := figuresOf(one); !slices.Equal(sortedFigures(want[0]), sortedFigures(got[0])) {
		t.Errorf("a user: %v, want %v", got[0], want[0])
	}
	hours := func(metric string, dimensions ...string) (told []string) {
		answer := ask(func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions = []string{metric}, append([]string{"interval"}, dimensions...)
			r.Interval, r.OrderBy = "hour", "interval"
		})
		for _, r := range answer.GetRows() {
			if v := r.GetValues(); !r.GetSuppressed() && v.GetRunningSeconds()+v.GetAttendedSeconds()+v.GetBuilds() > 0 {
				told = append(told, fmt.Sprint(r.GetKeys()[0].GetLabel(), " ", v.GetRunningSeconds()+v.GetAttendedSeconds()+v.GetBuilds()))
			}
		}
		return told
	}
	for _, tt := range []struct {
		metric string
		want   []string
	}{
		// One visitor came at 11:00, so of the hours of visitors that with the fewest of five or more, 12:00, is closed as well.
		{"attended_seconds", nil},
		{"running_seconds", nil},
		{"builds", []string{"2023-08-14 10:00 7", "2023-08-14 14:00 7"}},
	} {
		for _, by := range [][]string{nil, {"template"}} {
			if got := hours(tt.metric, by...); !slices.Equal(tt.want, got) {
				t.Errorf("%s by hour and %v: %q, want %q", tt.metric, by, got, tt.want)
			}
		}
	}
}

// One person is at a workspace in an hour in which many machines visit: the hour would tell of that person, because the machines are known.
func TestQueryClosesVisitorsOfEachActor(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	c, agents := &insightsv1.ApplyCatalogRequest{}, []string(nil)
	var builds []*insightsv1.Event
	var visits []*insightsv1.AppSession
	version := uuid.NewString()
	c.TemplateVersions = []*insightsv1.TemplateVersion{{Id: version, TemplateId: p.Templates[0].String(), Name: "v1"}}
	for i := range 6 {
		user, machine, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
		c.Users = append(c.Users, &insightsv1.User{Id: user, Username: fmt.Sprint("member", i)},
			&insightsv1.User{Id: machine, Username: fmt.Sprint("machine", i), Kind: "service"})
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: user, TemplateId: p.Templates[0].String(), Name: "w",
		})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
		builds = append(builds, &insightsv1.Event{At: before(26, 0), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: workspace, TemplateVersionId: version, Number: 1, Transition: "start",
			Status: "succeeded", CreatedAt: before(26, 0), StartedAt: before(26, 0), FinishedAt: before(26, 0),
		}}})
		visits = append(visits, &insightsv1.AppSession{
			AgentId: agent, UserId: machine, AccessMethod: "terminal", StartedAt: before(24, 0), EndedAt: before(23, 58),
		})
		agents = append(agents, agent)
	}
	p.Apply(t, p.controlPlane, c)
	p.ReportEvents(t, p.controlPlane, builds)
	p.ReportSessions(t, p.controlPlane, visits)
	told := func() (hours []string) {
		client := insightsv1.NewInsightsServiceClient(p.Conn)
		answer := servertest.Must(t, client.QueryUsage, p.owner, august(func(r *insightsv1.QueryUsageRequest) {
			r.Metrics, r.Dimensions, r.Interval = []string{"attended_seconds"}, []string{"interval"}, "hour"
		}))
		for _, r := range answer.GetRows() {
			if n := r.GetValues().GetAttendedSeconds(); n > 0 {
				hours = append(hours, fmt.Sprint(r.GetKeys()[0].GetLabel(), " ", n))
			}
		}
		return hours
	}
	if diff := cmp.Diff([]string{"2023-08-14 12:00 720"}, told()); diff != "" {
		t.Errorf("the hour of machines (-want +got):\n%s", diff)
	}
	p.work(t, before(23, 30), agents[0])
	if got := told(); len(got) > 0 {
		t.Errorf("with one person: %q, want nothing", got)
	}
}

// sortedFigures are the parts of a line of figures.
func sortedFigures(line string) []string {
	label, figures, _ := strings.Cut(line, ": ")
	parts := append(strings.Split(figures, ","), label)
	slices.Sort(parts)
	return parts
}
