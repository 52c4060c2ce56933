package server_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Six people work at noon, Greenwich time, of a Sunday and a Monday, after three weeks of rest.
func TestCapacityReport(t *testing.T) {
	t.Parallel()
	r, owner, _ := crowd(t, 6)
	client := insightsv1.NewInsightsServiceClient(r.Conn)
	templates := servertest.Must(t, client.ListTemplates, owner, &insightsv1.ListTemplatesRequest{}).GetTemplates()
	ids := []uuid.UUID{uuid.MustParse(templates[0].GetId()), uuid.MustParse(templates[1].GetId())}
	req := &insightsv1.GetCapacityReportRequest{StartTime: "2023-07-17T00:00:00+05:30", EndTime: "2023-08-15T17:00:00+05:30"}
	got := servertest.Must(t, client.GetCapacityReport, owner, req).GetReport()
	busy := map[string]*insightsv1.HourLoad{}
	for _, h := range got.GetHours() {
		if h.GetPeakUsers() > 0 {
			busy[h.GetWeekday()] = h
		}
	}
	if len(got.GetHours()) != 7*24 || got.GetHours()[0].GetWeekday() != "monday" || got.GetHours()[0].GetHour() != 0 ||
		got.GetHours()[167].GetWeekday() != "sunday" {
		t.Errorf("hours of the week: %v", got.GetHours())
	}
	if diff := cmp.Diff(map[string]*insightsv1.HourLoad{
		"sunday": {Weekday: "sunday", Hour: 17, PeakUsers: 6, MeanPeakUsers: 1.5},
		"monday": {Weekday: "monday", Hour: 17, PeakUsers: 6, MeanPeakUsers: 1.2},
	}, busy, protocmp.Transform()); diff != "" {
		t.Errorf("busy hours (-want +got):\n%s", diff)
	}
	got.Hours = nil
	midnight := func(day string) string { return "2023-" + day + "T00:00:00+05:30" }
	want := &insightsv1.CapacityReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(call.Union(ids)), ActiveUsers: 6, PeakUsers: 6,
		Weeks: []*insightsv1.WeekLoad{
			{StartTime: midnight("07-17"), EndTime: midnight("07-24")},
			{StartTime: midnight("07-24"), EndTime: midnight("07-31")},
			{StartTime: midnight("07-31"), EndTime: midnight("08-07")},
			{StartTime: midnight("08-07"), EndTime: midnight("08-14"), PeakUsers: 6, ActiveUsers: 6},
		},
		Projection: []*insightsv1.ProjectedWeek{
			{StartTime: midnight("08-14"), EndTime: midnight("08-21"), PeakUsers: 6, High: 12.928},
			{StartTime: midnight("08-21"), EndTime: midnight("08-28"), PeakUsers: 7.8, High: 16.2285},
			{StartTime: midnight("08-28"), EndTime: midnight("09-04"), PeakUsers: 9.6, High: 19.6876},
			{StartTime: midnight("09-04"), EndTime: midnight("09-11"), PeakUsers: 11.4, High: 23.2389},
		},
		SparseTemplates: []*insightsv1.SparseTemplate{
			{TemplateId: templates[0].GetId(), Name: "template0", DisplayName: "template0", ActiveUsers: 3, Seconds: 720, Workspaces: 6},
			{TemplateId: templates[1].GetId(), Name: "template1", DisplayName: "template1", ActiveUsers: 3, Seconds: 720, Workspaces: 6},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateApprox(0, 0.001)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	req.TemplateIds = []string{templates[0].GetId()}
	if got := servertest.Must(t, client.GetCapacityReport, owner, req).GetReport(); got.GetPeakUsers() != 3 || len(got.GetHours()) > 0 {
		t.Errorf("three people: a peak of %d and %d hours, which tell when single people work", got.GetPeakUsers(), len(got.GetHours()))
	}
}

// Four people and one work in hours in which the report tells nothing, and six in one of which it tells how many, but of no other week.
func TestCapacityHoursTellOfMany(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	agents := p.crowd(t, 6)
	p.work(t, before(24, 0), agents...)          // Monday, 12:00
	p.work(t, before(24+7*24, 0), agents[:4]...) // the Monday before
	p.work(t, before(22, 0), agents[0])          // 14:00
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	got := servertest.Must(t, client.GetCapacityReport, p.owner, &insightsv1.GetCapacityReportRequest{
		StartTime: "2023-08-01T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
	}).GetReport()
	var busy []string
	for _, h := range got.GetHours() {
		if h.GetPeakUsers() > 0 {
			busy = append(busy, fmt.Sprint(h.GetWeekday(), " ", h.GetHour(), ": ", h.GetPeakUsers(), " ", h.GetMeanPeakUsers()))
		}
	}
	if diff := cmp.Diff([]string{"monday 12: 6 3"}, busy); diff != "" {
		t.Errorf("busy hours (-want +got):\n%s", diff)
	}
}

// An unused option, an unused app and a default that 5 of 8 change are found, and nothing else.
func TestOptimizationReport(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	version := uuid.NewString()
	options := func(values ...string) (list []*insightsv1.ParameterOption) {
		for _, v := range values {
			list = append(list, &insightsv1.ParameterOption{Name: "Size " + v, Value: v})
		}
		return list
	}
	change := &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
		Id: version, TemplateId: p.Templates[0].String(), Name: "v2", CreatedAt: before(48, 0), Parameters: []*insightsv1.Parameter{
			{Name: "cpu", DisplayName: "Cores", Type: "number", DefaultValue: "4", Options: options("4", "8", "16")},
			{Name: "region", Type: "string", DefaultValue: "eu", Options: options("eu", "us")},
			{Name: "secret", Type: "string", DefaultValue: "none", Sensitive: true},
			{Name: "remote", Type: "string", DefaultValue: "none"},
		},
	}}}
	var events []*insightsv1.Event
	for i := range 8 {
		workspace, cpu := uuid.NewString(), "8"
		if i >= 5 {
			cpu = "4"
		}
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: p.Users[0].String(), TemplateId: p.Templates[0].String(), Name: fmt.Sprintf("w%d", i),
		})
		events = append(events, &insightsv1.Event{At: before(24, 0), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: workspace, TemplateVersionId: version, Number: 1, Transition: "start", Status: "succeeded",
			CreatedAt: before(24, 0),
			Parameters: []*insightsv1.BuildParameter{
				{Name: "cpu", Value: cpu},
				{Name: "region", Value: []string{"eu", "us"}[i%2]},
				{Name: "secret", Value: "x"},
				{Name: "remote", Value: "https://ada:hunter2@acme.io"},
			},
		}}})
	}
	p.Apply(t, p.controlPlane, change)
	p.ReportEvents(t, p.controlPlane, events)
	p.declare(t, "wiki", "docs")
	p.open(t, "wiki")
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Apps: []*insightsv1.App{{AgentId: p.Agents[1][0].String(), Slug: "of a template that nobody used"}},
	})

	req := &insightsv1.GetOptimizationReportRequest{StartTime: "2023-08-01T00:00:00Z", EndTime: "2023-08-15T13:00:00Z"}
	got := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).GetOptimizationReport, p.owner, req).GetReport()
	template := []string{p.Templates[0].String()}
	want := &insightsv1.OptimizationReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: template,
		UnusedApps: []*insightsv1.UnusedApp{{TemplateId: template[0], TemplateName: "template0", Slug: "docs", DisplayName: "docs"}},
		UnusedOptions: []*insightsv1.UnusedOption{
			{TemplateIds: template, ParameterName: "cpu", DisplayName: "Cores", Value: "16", Workspaces: 8},
		},
		DefaultChanges: []*insightsv1.DefaultChange{{
			TemplateIds: template, ParameterName: "cpu", DisplayName: "Cores", DefaultValue: "4", Value: "8", Workspaces: 5,
			TotalWorkspaces: 8, Message: "62 % of 8 workspaces change cpu from 4 to 8: consider 8 as the default.",
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

// The first user is slow, the second works a lot, and the third does not show up.
func TestSupportReport(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			slow := func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = 400 }
			for m := range 10 {
				p.send(t, p.session(0, before(30, m), slow))
			}
			p.send(t, p.session(1, before(30, 0), slow)) // one sample
			for tens := range 6 {
				p.send(t, p.session(1, before(29, 10*tens), func(r *insightsv1.AgentReport) {
					r.Interval, r.ConnectionMedianLatencyMs, r.SessionCounts = durationpb.New(10*time.Minute), -1,
						map[string]int64{"ssh": 1}
				}))
			}
			// The second one took over an older workspace, and nobody knows how old that of the third one is.
			for user, name := range []string{"user0", "user1", "user2"} {
				for i, template := range p.Templates {
					p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Workspaces: []*insightsv1.Workspace{{
						Id: p.Workspaces[i][user].String(), OwnerId: p.Users[user].String(), TemplateId: template.String(),
						Name: name, CreatedAt: before(24*30, 0),
					}}})
				}
			}
			late, newcomer, unknown, old := uuid.NewString(), uuid.NewString(), uuid.NewString(), before(24*30, 0)
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Users: []*insightsv1.User{
					{Id: late, Username: "late", CreatedAt: old},
					{Id: newcomer, Username: "newcomer", CreatedAt: before(0, 1)},
					{Id: unknown, Username: "unknown"},
				},
				Workspaces: []*insightsv1.Workspace{
					{Id: uuid.NewString(), OwnerId: late, TemplateId: p.Templates[0].String(), Name: "new", CreatedAt: before(24, 0)},
					{Id: uuid.NewString(), OwnerId: newcomer, TemplateId: p.Templates[0].String(), Name: "old", CreatedAt: old},
					{Id: uuid.NewString(), OwnerId: unknown, TemplateId: p.Templates[0].String(), Name: "of no age"},
				},
			})
			req := &insightsv1.GetSupportReportRequest{StartTime: "2023-08-08T00:00:00Z", EndTime: "2023-08-15T00:00:00Z"}
			got := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).GetSupportReport, p.owner, req).GetReport()
			used, both := []string{p.Templates[0].String()}, ids(p.Templates[:]...)
			want := &insightsv1.SupportReport{
				StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: used,
				HighLatencyUsers: []*insightsv1.HighLatencyUser{
					{TemplateIds: used, UserId: p.Users[0].String(), Username: "user0", P50: 400, P95: 400, Samples: 10, Kind: "human"},
				},
				LowUsageUsers: []*insightsv1.LowUsageUser{
					{TemplateIds: both, UserId: p.Users[2].String(), Username: "user2", Workspaces: 2},
					{TemplateIds: both, UserId: p.Users[0].String(), Username: "user0", Workspaces: 2, Seconds: 600, ActiveDays: 1},
				},
				AppPreferences: []*insightsv1.AppPreference{
					{Type: "builtin", Slug: "vscode", DisplayName: "Visual Studio Code", Users: 2, PreferredBy: 1, Seconds: 660},
					{Type: "builtin", Slug: "ssh", DisplayName: "SSH", Users: 1, PreferredBy: 1, Seconds: 3600},
				},
			}
			if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateApprox(0.025, 0)); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

// One of three people who could be active is, and workspaces run for 34 hours of the day.
func TestROIReport(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			p.send(t, p.session(0, before(24, 0), nil))
			elsewhere := uuid.NewString()
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Organizations: []*insightsv1.Organization{{Id: elsewhere, Name: "elsewhere"}},
				Users: []*insightsv1.User{
					{Id: uuid.NewString(), Username: "away", Status: "suspended", OrganizationIds: []string{p.Organization.String()}},
					{Id: uuid.NewString(), Username: "robot", Kind: "service", OrganizationIds: []string{p.Organization.String()}},
					{Id: uuid.NewString(), Username: "new", OrganizationIds: []string{p.Organization.String()}, CreatedAt: before(1, 0)},
					{Id: uuid.NewString(), Username: "stranger", OrganizationIds: []string{elsewhere}},
				},
			})
			build := func(user int, number int64, transition, status string, started, finished *timestamppb.Timestamp) {
				p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{{At: finished, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
					Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][user].String(), TemplateVersionId: p.version, Number: number,
					Transition: transition, Status: status, CreatedAt: started, StartedAt: started, FinishedAt: finished,
				}}}})
			}
			build(0, 1, "start", "succeeded", before(20, 10), before(20, 0))
			build(0, 2, "stop", "failed", before(15, 0), before(15, 0))
			build(0, 3, "stop", "succeeded", before(10, 0), before(9, 0))
			build(1, 7, "start", "succeeded", before(200, 0), before(200, 0)) // and never stopped
			build(2, 1, "start", "failed", before(20, 0), before(20, 0))

			client := insightsv1.NewInsightsServiceClient(p.Conn)
			req := &insightsv1.GetROIReportRequest{
				StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", TemplateIds: []string{p.Templates[0].String()},
			}
			got := servertest.Must(t, client.GetROIReport, p.owner, req).GetReport()
			// The first ran from 16:00 to the end of the day, the second all day long.
			const running = 8*3600 + 24*3600
			want := &insightsv1.ROIReport{
				StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: req.GetTemplateIds(), EligibleUsers: 3,
				ActiveUsers: 1, Adoption: 1.0 / 3, ActiveSeconds: 60, RunningSeconds: running, Utilization: 60.0 / running,
				Templates: []*insightsv1.TemplateROI{{
					TemplateId: p.Templates[0].String(), Name: "template0", DisplayName: "template0", ActiveUsers: 1, ActiveSeconds: 60,
					RunningSeconds: running, Utilization: 60.0 / running,
				}},
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			req.StartTime, req.EndTime, req.TemplateIds = "2023-08-15T00:00:00Z", "2023-08-15T13:00:00Z", []string{p.Templates[1].String()}
			got = servertest.Must(t, client.GetROIReport, p.owner, req).GetReport()
			if got.GetAdoption() != 0 || got.GetUtilization() != -1 || got.GetEligibleUsers() != 4 {
				t.Errorf("a template without use and builds: %v", got)
			}
			req.TemplateIds = nil
			got = servertest.Must(t, client.GetROIReport, p.owner, req).GetReport()
			// The first stopped at 2:00, and of the day only twelve hours are over.
			if got.GetRunningSeconds() != 2*3600+12*3600 || got.GetEligibleUsers() != 5 {
				t.Errorf("today: %v", got)
			}
			none := servertest.Must(t, client.GetROIReport, p.Token(t, access.RoleOrganizationAuditor, p.Organization), req).GetReport()
			if none.GetEligibleUsers() != 4 || math.Abs(none.GetAdoption()) > 0 {
				t.Errorf("the organization alone: %v", none)
			}
		})
	}
}
