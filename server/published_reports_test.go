package server_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// ofFive publishes days when they are over, from five people on.
var ofFive = store.Publication{Floor: 5, Zone: time.UTC}

// hiddenPatient is one in whose first template nine people chose a value that is not the default and worked yesterday, in the second one
// three, which was published.
func hiddenPatient(t *testing.T) *patient {
	t.Helper()
	p := newPatient(t, storetest.SQLite(t), nil)
	version := uuid.NewString()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
		Id: version, TemplateId: p.Templates[0].String(), Name: "v2", CreatedAt: before(72, 0),
		Parameters: []*insightsv1.Parameter{{Name: "size", Type: "string", DefaultValue: "small"}},
	}}})
	p.version = version
	c := &insightsv1.ApplyCatalogRequest{}
	var agents []string
	for i := range 9 {
		user, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
		agents = append(agents, agent)
		c.Users = append(c.Users, &insightsv1.User{Id: user, Username: fmt.Sprint("member", i)})
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: user, TemplateId: p.Templates[0].String(), Name: "w",
		})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
	}
	p.Apply(t, p.controlPlane, c)
	for _, w := range c.GetWorkspaces() {
		p.startBig(t, w.GetId())
	}
	p.work(t, before(24, 0), agents...)
	p.work(t, before(24, 0), p.Agents[1][0].String(), p.Agents[1][1].String(), p.Agents[1][2].String())
	storetest.PublishAnew(t, p.Store, p.Database, ofFive)
	return p
}

// startBig is a start of a workspace yesterday, with a value that is not the default.
func (p *patient) startBig(t *testing.T, workspace string) {
	t.Helper()
	at := before(25, 0)
	p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
		Id: uuid.NewString(), WorkspaceId: workspace, TemplateVersionId: p.version, Number: 1, Transition: "start", Status: "succeeded",
		CreatedAt: at, Parameters: []*insightsv1.BuildParameter{{Name: "size", Value: "big"}},
	}}}})
}

// oneMore is the work of one person in the first template yesterday that comes late. With them there are ten.
func (p *patient) oneMore(t *testing.T) {
	t.Helper()
	p.startBig(t, p.Workspaces[0][0].String())
	p.work(t, before(24, 0), p.Agents[0][0].String())
	storetest.Publish(t, p.Store, ofFive)
}

const startOfReports, endOfReports = "2023-08-01T00:00:00Z", "2023-08-15T00:00:00Z"

// reports are the three reports that are told where small groups are hidden.
func (p *patient) reports(t *testing.T, token string) []proto.Message {
	t.Helper()
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	return []proto.Message{
		servertest.Must(t, client.GetCapacityReport, token, &insightsv1.GetCapacityReportRequest{
			StartTime: startOfReports, EndTime: endOfReports,
		}),
		servertest.Must(t, client.GetOptimizationReport, token, &insightsv1.GetOptimizationReportRequest{
			StartTime: startOfReports, EndTime: endOfReports,
		}),
		servertest.Must(t, client.GetROIReport, token, &insightsv1.GetROIReportRequest{StartTime: startOfReports, EndTime: endOfReports}),
	}
}

func partsWithheld(reason string, parts ...string) (list []*insightsv1.WithheldPart) {
	for _, part := range parts {
		list = append(list, &insightsv1.WithheldPart{Part: part, Reason: reason})
	}
	return list
}

// publishedReports are the reports about the nine, in a privacy mode.
func (p *patient) publishedReports(mode string) []proto.Message {
	const asOf = endOfReports
	template, people := p.Templates[0].String(), []string{"person"}
	return []proto.Message{
		&insightsv1.GetCapacityReportResponse{
			Report: &insightsv1.CapacityReport{
				StartTime: startOfReports, EndTime: endOfReports, TemplateIds: []string{template}, ActiveUsers: 5, SmallGroupsHidden: true,
				Weeks: []*insightsv1.WeekLoad{
					{StartTime: startOfReports, EndTime: "2023-08-08T00:00:00Z", SmallGroupsHidden: true},
					{StartTime: "2023-08-08T00:00:00Z", EndTime: endOfReports, ActiveUsers: 5, SmallGroupsHidden: true},
				},
			},
			DataAsOf: asOf, Actors: people, CollectionMode: mode, Floor: 5, LateExcluded: true,
			Withheld: slices.Concat(
				partsWithheld("not_in_published_days", "peak_users", "hours", "weeks.peak_users", "projection"),
				partsWithheld("small_groups", "sparse_templates"),
			),
		},
		&insightsv1.GetOptimizationReportResponse{
			Report: &insightsv1.OptimizationReport{
				StartTime: startOfReports, EndTime: endOfReports, TemplateIds: []string{template},
				DefaultChanges: []*insightsv1.DefaultChange{{
					TemplateIds: []string{template}, ParameterName: "size", DisplayName: "size", DefaultValue: "small", Value: "big",
					Workspaces: 9, TotalWorkspaces: 9,
					Message: "100 % of 9 workspaces change size from small to big: consider big as the default.",
				}},
			},
			DataAsOf: asOf, Actors: people, CollectionMode: mode, Floor: 5, LateExcluded: true,
			Withheld: partsWithheld("small_groups", "unused_apps", "unused_options"),
		},
		&insightsv1.GetROIReportResponse{
			Report: &insightsv1.ROIReport{
				StartTime: startOfReports, EndTime: endOfReports, TemplateIds: []string{template}, ActiveUsers: 5, Adoption: -1,
				Utilization: -1, SmallGroupsHidden: true,
				Templates: []*insightsv1.TemplateROI{{
					TemplateId: template, Name: "template0", DisplayName: "template0", ActiveUsers: 5, Utilization: -1,
					SmallGroupsHidden: true,
				}},
			},
			DataAsOf: asOf, Actors: people, CollectionMode: mode, Floor: 5, LateExcluded: true,
			Withheld: slices.Concat(
				partsWithheld("not_in_published_days", "active_seconds", "running_seconds", "utilization", "templates.active_seconds",
					"templates.running_seconds", "templates.utilization"),
				partsWithheld("present", "eligible_users", "adoption"),
			),
		},
	}
}

// Where small groups are hidden, reports tell what was published and name the rest, by mode and to who may see totals alone. One person
// who comes late moves nothing.
func TestPublishedReports(t *testing.T) {
	t.Parallel()
	p := hiddenPatient(t)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	check := func(name, token, mode string) {
		t.Helper()
		if diff := cmp.Diff(p.publishedReports(mode), p.reports(t, token), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	live := func(name string, people, chose int64) {
		t.Helper()
		got := p.reports(t, p.owner)
		capacity, _ := got[0].(*insightsv1.GetCapacityReportResponse)
		optimization, _ := got[1].(*insightsv1.GetOptimizationReportResponse)
		roi, _ := got[2].(*insightsv1.GetROIReportResponse)
		if n := len(capacity.GetWithheld()) + len(optimization.GetWithheld()) + len(roi.GetWithheld()); n > 0 {
			t.Errorf("%s: %d parts are withheld", name, n)
		}
		if capacity.GetReport().GetActiveUsers() != people || capacity.GetReport().GetPeakUsers() != people ||
			optimization.GetReport().GetDefaultChanges()[0].GetWorkspaces() != chose || roi.GetReport().GetActiveUsers() != people ||
			roi.GetReport().GetSmallGroupsHidden() || capacity.GetReport().GetSmallGroupsHidden() {
			t.Errorf("%s: %v", name, got)
		}
	}
	check("totals", limited, "")
	live("in full", 12, 9)
	p.oneMore(t)
	check("totals after one more", limited, "")
	live("in full after one more", 12, 10) // the one was one of three in the other template
	for _, mode := range []store.PrivacyMode{store.PrivacyPseudonym, store.PrivacyAggregate} {
		p.setMode(t, mode)
		check(string(mode), p.owner, string(mode))
		check(string(mode)+", totals", limited, string(mode))
		if got := codeOf(t, insightsv1.NewInsightsServiceClient(p.Conn).GetCapacityReport, p.owner, &insightsv1.GetCapacityReportRequest{
			StartTime: startOfReports, EndTime: "2023-08-15T12:00:00Z",
		}); got != codes.InvalidArgument {
			t.Errorf("%s: part of a day: %v", mode, got)
		}
	}
	p.exportsNothingWithheld(t, limited)
}

// exportsNothingWithheld: what is withheld is no number in a file, and what is told is one.
func (p *patient) exportsNothingWithheld(t *testing.T, token string) {
	t.Helper()
	const days = `"2023-08-01T00:00:00Z","2023-08-01","2023-08-15T00:00:00Z","2023-08-15",`
	template := p.Templates[0].String()
	for table, want := range map[string]string{
		"capacity": days + `"[""` + template + `""]",5,,false,true` + "\r\n",
		"capacity-weeks": `"2023-08-01T00:00:00Z","2023-08-01","2023-08-08T00:00:00Z","2023-08-08",,0,true` + "\r\n" +
			`"2023-08-08T00:00:00Z","2023-08-08","2023-08-15T00:00:00Z","2023-08-15",,5,true` + "\r\n",
		"roi":           days + `"[""` + template + `""]",,5,,,,,false,true` + "\r\n",
		"roi-templates": `"` + template + `","template0","template0",5,,,,false,true` + "\r\n",
	} {
		file := string(p.export(t, token, table, "csv", url.Values{"start_time": {startOfReports}, "end_time": {endOfReports}}))
		if _, rows, _ := strings.Cut(file, "\r\n"); rows != want {
			t.Errorf("%s:\n%s\nwant\n%s", table, rows, want)
		}
	}
}

// Where small groups are hidden, users by status are those of the day that was published, rounded down. A midnight is suppressed if its day
// was not published, or was before users by status were.
func TestPublishedStatusCounts(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	send := func(status string, people int) {
		t.Helper()
		c := &insightsv1.ApplyCatalogRequest{}
		var events []*insightsv1.Event
		for range people {
			u := &insightsv1.User{Id: uuid.NewString(), Username: uuid.NewString(), OrganizationIds: []string{p.Organization.String()}}
			c.Users = append(c.Users, u)
			events = append(events, &insightsv1.Event{At: before(96, 0), Kind: &insightsv1.Event_UserStatus{
				UserStatus: &insightsv1.UserStatusEvent{UserId: u.GetId(), Status: status},
			}})
		}
		p.Apply(t, p.controlPlane, c)
		p.ReportEvents(t, p.controlPlane, events)
	}
	send("active", 9)
	send("dormant", 4)
	p.work(t, before(72, 0), p.Agents[0][0].String()) // days are published from the one before this on
	storetest.PublishAnew(t, p.Store, p.Database, ofFive)
	d := storetest.OpenDB(t, p.Database)
	if err := d.Writes.WithContext(t.Context()).Exec(`DELETE FROM published_days WHERE template_id = ? AND day = ?`,
		uuid.Nil, minute.DateOf(before(72, 0).AsTime())).Error; err != nil { // as if that day had been published without them
		t.Fatal(err)
	}
	p.setMode(t, store.PrivacyAggregate)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	check := func(when string) {
		t.Helper()
		answer := servertest.Must(t, client.GetUserStatusCounts, p.owner, &insightsv1.GetUserStatusCountsRequest{})
		active := answer.GetStatusCounts().GetActive()
		if len(active) != 60 || len(answer.GetStatusCounts().GetDormant())+len(answer.GetStatusCounts().GetSuspended()) > 0 {
			t.Fatalf("%s: %v", when, answer)
		}
		want := []*insightsv1.UserStatusCount{
			{Date: "2023-08-11T00:00:00Z", Suppressed: true}, // before the first day
			{Date: "2023-08-12T00:00:00Z", Count: 5},
			{Date: "2023-08-13T00:00:00Z", Suppressed: true},
			{Date: "2023-08-14T00:00:00Z", Count: 5},
		}
		if diff := cmp.Diff(want, active[56:], protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if answer.GetFloor() != 5 || !answer.GetLateExcluded() || answer.GetDataAsOf() != "2023-08-15T00:00:00Z" {
			t.Errorf("%s: floor %d, late excluded %v, as of %q", when, answer.GetFloor(), answer.GetLateExcluded(), answer.GetDataAsOf())
		}
	}
	check("published")
	send("active", 1)
	send("dormant", 1)
	storetest.Publish(t, p.Store, ofFive)
	check("one more of each")
}

// Where small groups are hidden, the general question cuts what was published, and names what was not.
func TestPublishedQuery(t *testing.T) {
	t.Parallel()
	p := hiddenPatient(t)
	p.setMode(t, store.PrivacyAggregate)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for _, tt := range []struct {
		name                string
		metrics, dimensions string
		filter, interval    string
		want                string // rows, or what a refusal names
	}{
		{
			"days", "active_users,active_days", "interval", "", "day",
			"2023-08-14: active_users:5,active_days:5; 2023-08-13: suppressed; all: active_users:5,active_days:5",
		},
		{"months", "active_users", "interval", "", "month", "2023-08: active_users:5; all: active_users:5"},
		{"organizations", "active_days", "organization", "", "", "acme: active_days:5; all: active_days:5"},
		{"no template", "active_users", "", "template=" + p.Templates[1].String(), "", "all: suppressed"},
		{
			"families", "used_seconds,launches", "family,interval", "", "day",
			"Visual Studio Code × 2023-08-14: used_seconds:540,launches:9; all: used_seconds:540,launches:9",
		},
		{"apps", "used_seconds", "app", "", "", "all: used_seconds:540"},
		{"time without apps", "used_seconds", "template", "", "", "used_seconds without app or family"},
		{"people of apps", "active_users", "family", "", "", "active_users of an app or a family"},
		{"hours", "active_users", "interval", "", "hour", "not tell hour;"},
		{"groups", "active_users", "group", "", "", "not tell group;"},
		{"actors", "active_users", "", "actor=person", "", "not tell actor;"},
		{"most at once", "peak_users", "", "", "", "peak_users"},
	} {
		req := &insightsv1.QueryUsageRequest{
			StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Interval: tt.interval,
			Metrics: strings.Split(tt.metrics, ","),
		}
		if tt.dimensions != "" {
			req.Dimensions = strings.Split(tt.dimensions, ",")
		}
		if tt.filter != "" {
			req.Filters = []string{tt.filter}
		}
		answer, err := client.QueryUsage(servertest.As(t.Context(), p.owner), req)
		if err != nil {
			if s := status.Convert(err); s.Code() != codes.FailedPrecondition || !strings.Contains(fmt.Sprint(s.Details()), tt.want) {
				t.Errorf("%s: %v %v", tt.name, err, s.Details())
			}
			continue
		}
		if diff := cmp.Diff(tt.want, strings.Join(figuresOf(answer), "; ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if !slices.Contains(answer.GetWithheld(), "small_groups") || !answer.GetLateExcluded() || answer.GetFloor() != 5 ||
			slices.Contains(answer.GetWithheld(), "session_apps") != (tt.dimensions == "app") {
			t.Errorf("%s: %v", tt.name, answer)
		}
	}
}
