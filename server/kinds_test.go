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
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/storetest"
)

// machines is a server with a person, the account of the control plane and a service account, each with one minute at 400 ms in a
// workspace of the first template that has been running since 10 hours before the day.
func machines(t *testing.T, database string) *patient {
	t.Helper()
	return machinesWith(t, database, nil, "human", "system", "service")
}

// machinesWith is machines with other kinds, on a server with other options.
func machinesWith(t *testing.T, database string, options func(*server.Options), kinds ...string) *patient {
	t.Helper()
	p := newPatient(t, database, options)
	change := &insightsv1.ApplyCatalogRequest{}
	for i, kind := range kinds {
		change.Users = append(change.Users, &insightsv1.User{
			Id: p.Users[i].String(), Username: fmt.Sprintf("user%d", i), Kind: kind, OrganizationIds: []string{p.Organization.String()},
		})
	}
	p.Apply(t, p.controlPlane, change)
	p.everybody(t, func(r *insightsv1.AgentReport) { r.CollectedAt, r.ConnectionMedianLatencyMs = before(24, 0), 400 })
	for user := range p.Users {
		at := before(46, 0)
		p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][user].String(), TemplateVersionId: p.version, Number: 1, Transition: "start",
			Status: "succeeded", CreatedAt: at, StartedAt: at, FinishedAt: at,
		}}}})
	}
	return p
}

var wholeDay = url.Values{"start_time": {"2023-08-14T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}}

// Lists of users say of what kind each is, and are about people, unless other actors are asked for: all their figures are. Kinds are the
// older name of that.
func TestKindsOfUsers(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := machines(t, open(t))
			for of, want := range map[string][]string{
				"":                     {"user0 human"},
				"actor=all":            {"user0 human", "user1 system", "user2 service"},
				"actor=person":         {"user0 human"},
				"actor=service,system": {"user1 system", "user2 service"},
				"kind=human":           {"user0 human"},
				"kind=system":          {"user1 system"},
				"kind=service,system":  {"user1 system", "user2 service"},
			} {
				params, err := url.ParseQuery("sort=username&" + of)
				if err != nil {
					t.Fatal(err)
				}
				for name, values := range wholeDay {
					params[name] = values
				}
				for path, total := range map[string]func(report map[string]any) any{
					"user-activity": func(report map[string]any) any { return report["total_seconds"] },
					"user-latency": func(report map[string]any) any {
						return 60 * report["total_latency_ms"].(map[string]any)["samples"].(float64)
					},
				} {
					status, body := p.Get(t, p.owner, "/api/v2/insights/"+path, params)
					report, ok := body["report"].(map[string]any)
					if status != http.StatusOK || !ok {
						t.Fatalf("%s of %q: %d %v", path, of, status, body)
					}
					var got []string
					for _, u := range report["users"].([]any) {
						user, _ := u.(map[string]any)
						got = append(got, fmt.Sprintf("%s %s", user["username"], user["kind"]))
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s of %q (-want +got):\n%s", path, of, diff)
					}
					if n := float64(len(want)); report["total_users"] != n || total(report) != 60*n {
						t.Errorf("%s of %q: %v users, %v seconds, want %v", path, of, report["total_users"], total(report), n)
					}
				}
			}
			both := url.Values{
				"kind": {"human"}, "actor": {"person"}, "start_time": wholeDay["start_time"], "end_time": wholeDay["end_time"],
			}
			if status, body := p.Get(t, p.owner, "/api/v2/insights/user-activity", both); status != http.StatusBadRequest {
				t.Errorf("by kind and by actor: %d %v", status, body)
			}
			params := url.Values{"kind": {"human,robot"}, "start_time": wholeDay["start_time"], "end_time": wholeDay["end_time"]}
			for _, path := range []string{"user-activity", "user-latency"} {
				status, body := p.Get(t, p.owner, "/api/v2/insights/"+path, params)
				text := fmt.Sprint(body)
				if status != http.StatusBadRequest || !strings.Contains(text, "must be one of [human system service]") {
					t.Errorf("%s of an unknown kind: %d %s", path, status, text)
				}
			}
		})
	}
}

// That there is nobody of a kind has no reason, as long as there is somebody.
func TestNobodyOfAKind(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.everybody(t, nil)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	activity := servertest.Must(t, client.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
		StartTime: "2023-08-15T00:00:00Z", EndTime: "2023-08-15T13:00:00Z", Kind: []string{"system"},
	}).GetReport()
	latency := servertest.Must(t, client.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
		StartTime: "2023-08-15T00:00:00Z", EndTime: "2023-08-15T13:00:00Z", Kind: []string{"system"},
	}).GetReport()
	if len(activity.GetUsers())+len(latency.GetUsers())+len(activity.GetReasons())+len(latency.GetReasons()) > 0 {
		t.Errorf("%v and %v", activity, latency)
	}
}

// People are the population of every figure of the return on investment: of those who are active, of their time and of what runs for
// them, in the whole and in each template.
func TestROIOfPeople(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := machines(t, open(t))
			// Somebody else was active and is gone or locked out since: active people are eligible.
			p.send(t, p.session(1, before(24, 30), nil))
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{
				Id: p.Users[2].String(), Username: "user2", Status: "suspended", OrganizationIds: []string{p.Organization.String()},
			}}})
			client := insightsv1.NewInsightsServiceClient(p.Conn)
			got := servertest.Must(t, client.GetROIReport, p.owner, &insightsv1.GetROIReportRequest{
				StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"),
			}).GetReport()
			const people, running = 2, 2 * 24 * 3600
			want := &insightsv1.ROIReport{
				StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"), TemplateIds: ids(p.Templates[0]),
				EligibleUsers: people, ActiveUsers: people, Adoption: 1, ActiveSeconds: people * 60, RunningSeconds: running,
				Utilization: people * 60.0 / running,
				Templates: []*insightsv1.TemplateROI{{
					TemplateId: p.Templates[0].String(), Name: "template0", DisplayName: "template0", ActiveUsers: people,
					ActiveSeconds: people * 60, RunningSeconds: running, Utilization: people * 60.0 / running,
				}},
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			activity := servertest.Must(t, client.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
				StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"), Kind: []string{"human"},
			}).GetReport()
			if activity.GetTotalUsers() != got.GetActiveUsers() || activity.GetTotalSeconds() != got.GetActiveSeconds() {
				t.Errorf("people by name: %v", activity)
			}
		})
	}
}

// Somebody was deleted and another has the name since: wherever the two are listed they can be told apart.
func TestDeletedSaySo(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			slow := func(user int) {
				for m := range 10 {
					p.ReportStats(t, p.controlPlane, []*insightsv1.AgentReport{
						p.session(user, before(24, m), func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = 400 }),
					})
				}
			}
			slow(0)
			slow(1)
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Users: ids(p.Users[0])}})
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Users: []*insightsv1.User{{Id: p.Users[1].String(), Username: "user0", OrganizationIds: []string{p.Organization.String()}}},
			})
			deleted := map[string]bool{p.Users[0].String(): true, p.Users[1].String(): false}
			window := insightsv1.GetUserActivityRequest{StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time")}
			client, lists := insightsv1.NewInsightsServiceClient(p.Conn), map[string]map[string]bool{}
			list := func(name, username, id string, deleted bool) {
				if username != "user0" {
					t.Errorf("%s: %s is called %s", name, id, username)
				}
				if lists[name] == nil {
					lists[name] = map[string]bool{}
				}
				lists[name][id] = deleted
			}
			for _, u := range servertest.Must(t, client.GetUserActivity, p.owner, &window).GetReport().GetUsers() {
				list("activity", u.GetUsername(), u.GetUserId(), u.GetDeleted())
			}
			for _, u := range servertest.Must(t, client.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
				StartTime: window.GetStartTime(), EndTime: window.GetEndTime(),
			}).GetReport().GetUsers() {
				list("latency", u.GetUsername(), u.GetUserId(), u.GetDeleted())
			}
			for _, u := range servertest.Must(t, client.GetSupportReport, p.owner, &insightsv1.GetSupportReportRequest{
				StartTime: window.GetStartTime(), EndTime: window.GetEndTime(),
			}).GetReport().GetHighLatencyUsers() {
				list("slow", u.GetUsername(), u.GetUserId(), u.GetDeleted())
			}
			for _, u := range servertest.Must(t, client.GetActivity, p.owner, &insightsv1.GetActivityRequest{
				Start: window.GetStartTime(), End: window.GetEndTime(), Interval: "1 day",
			}).GetUsers() {
				list("older activity", u.GetUsername(), u.GetId(), u.GetDeleted())
			}
			for _, name := range []string{"activity", "latency", "slow", "older activity"} {
				if diff := cmp.Diff(deleted, lists[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			// The answer over REST has the field only where it is true, a file in each row.
			status, body := p.Get(t, p.owner, "/api/v2/insights/user-activity", wholeDay)
			text := fmt.Sprint(body)
			if status != http.StatusOK || strings.Count(text, "deleted:true") != 1 || strings.Contains(text, "deleted:false") {
				t.Errorf("over REST: %d %s", status, text)
			}
			for _, table := range []string{"user-activity", "user-latency", "high-latency-users", "activity-users"} {
				params := url.Values{"start_time": wholeDay["start_time"], "end_time": wholeDay["end_time"], "format": {"ndjson"}}
				if table == "activity-users" {
					params = url.Values{
						"start": wholeDay["start_time"], "end": wholeDay["end_time"], "interval": {"1 day"}, "format": {"ndjson"},
					}
				}
				status, _, text := p.Fetch(
					t, http.Header{"Coder-Session-Token": {p.owner}}, "/api/v2/insights/export/"+table+"?"+params.Encode(),
				)
				if status != http.StatusOK || strings.Count(string(text), `"deleted":true`) != 1 ||
					strings.Count(string(text), `"deleted":false`) != 1 || strings.Count(string(text), `"kind":"human"`) != 2 {
					t.Errorf("table %s: %d %s", table, status, text)
				}
			}

			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Templates: ids(p.Templates[0])}})
			rows := servertest.Must(t, client.GetROIReport, p.owner, &insightsv1.GetROIReportRequest{
				StartTime: window.GetStartTime(), EndTime: window.GetEndTime(),
			}).GetReport().GetTemplates()
			if len(rows) != 1 || !rows[0].GetDeleted() {
				t.Errorf("a deleted template: %v", rows)
			}
		})
	}
}

// The support report names whom the list of latencies rates as poor, whatever the percentile between two samples is.
func TestSlowIsSlowEverywhere(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	var reports []*insightsv1.AgentReport
	for user, latencies := range [][2]float64{{290, 2000}, {100, 310}, {290, 310}} {
		for m := range 20 {
			latency := latencies[0]
			if m < 1+user { // one, two or three of twenty
				latency = latencies[1]
			}
			reports = append(reports, p.session(user, before(24, m), func(r *insightsv1.AgentReport) {
				r.ConnectionMedianLatencyMs = latency
			}))
		}
	}
	p.ReportStats(t, p.controlPlane, reports)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	var poor, named, rated []string
	for _, u := range servertest.Must(t, client.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
		StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"), Sort: "username",
	}).GetReport().GetUsers() {
		l := u.GetLatencyMs()
		rated = append(rated, fmt.Sprintf("%s %s %s, %t", u.GetUsername(), l.GetRating(), l.GetRatingP95(), l.GetP95() > 300))
		if l.GetRatingP95() == "poor" {
			poor = append(poor, u.GetUsername())
		}
	}
	for _, u := range servertest.Must(t, client.GetSupportReport, p.owner, &insightsv1.GetSupportReportRequest{
		StartTime: wholeDay.Get("start_time"), EndTime: wholeDay.Get("end_time"),
	}).GetReport().GetHighLatencyUsers() {
		named = append(named, u.GetUsername())
	}
	slices.Sort(named)
	if diff := cmp.Diff([]string{
		"user0 moderate moderate, true", "user1 good poor, true", "user2 moderate poor, true",
	}, rated); diff != "" {
		t.Errorf("ratings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(poor, named); diff != "" {
		t.Errorf("who is slow (-in the list +in the report):\n%s", diff)
	}
}

// Names that differ in case or Unicode form alone are alike, in searches, orders and over pages.
func TestNamesInAnyForm(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			names := []string{"zoe", "\u00c4nne", "anton"}
			change := &insightsv1.ApplyCatalogRequest{}
			for i, name := range names {
				change.Users = append(change.Users, &insightsv1.User{
					Id: p.Users[i].String(), Username: name, OrganizationIds: []string{p.Organization.String()},
				})
			}
			for i, name := range []string{"Zebra", "apple"} {
				change.Templates = append(change.Templates, &insightsv1.Template{
					Id: p.Templates[i].String(), OrganizationId: p.Organization.String(), Name: name,
				})
			}
			p.Apply(t, p.controlPlane, change)
			p.everybody(t, func(r *insightsv1.AgentReport) { r.CollectedAt = timestamppb.New(storetest.Now.Add(-24 * time.Hour)) })
			for _, path := range []string{"user-activity", "user-latency"} {
				for search, want := range map[string][]string{
					"":              {"\u00c4nne", "anton", "zoe"},
					"A\u0308N":      {"\u00c4nne"},
					"\u00e4nn":      {"\u00c4nne"},
					"N":             {"\u00c4nne", "anton"},
					"\uff21\uff2e":  {"anton"}, // of full width
					"a\u0308\u0308": nil,
				} {
					params := url.Values{"sort": {"username"}, "search": {search}, "page_size": {"1"}}
					for name, values := range wholeDay {
						params[name] = values
					}
					var got []string
					for range len(names) + 1 {
						status, body := p.Get(t, p.owner, "/api/v2/insights/"+path, params)
						page, next := people(t, status, body)
						got = append(got, page...)
						if next == "" {
							break
						}
						params.Set("page_token", next)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s, search %q (-want +got):\n%s", path, search, diff)
					}
				}
			}
			if got := p.list(t, p.owner, "/api/v2/templates"); !slices.Equal(got, []string{"apple", "Zebra"}) {
				t.Errorf("templates: %v", got)
			}
		})
	}
}
