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
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// patient is a server whose answers are to be explained. Three people have a workspace of each of two templates.
type patient struct {
	*running
	*storetest.Fixture

	controlPlane, owner string
	version             string // of the first template
}

// before is a moment of the day of the fixture, in hours and minutes before noon.
func before(hours, minutes int) *timestamppb.Timestamp {
	return timestamppb.New(storetest.Now.Add(-time.Duration(hours)*time.Hour - time.Duration(minutes)*time.Minute))
}

// ofUsage are the sections that are empty where nobody used anything.
var ofUsage = []string{"active_users", "apps_usage", "user_activity", "user_latency"}

func newPatient(t *testing.T, database string, change func(*server.Options)) *patient {
	t.Helper()
	f := storetest.NewFixture(t, database)
	p := &patient{Fixture: f, running: run(t, f.Database, storetest.Now, change), version: uuid.NewString()}
	p.controlPlane, p.owner = p.Token(t, access.RoleControlPlane, servertest.Everywhere),
		p.Token(t, access.RoleOwner, servertest.Everywhere)
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
		Id: p.version, TemplateId: f.Templates[0].String(), Name: "v", Parameters: []*insightsv1.Parameter{{Name: "size", Type: "string"}},
	}}})
	return p
}

// session is a report of an agent of the first template that has a session and everything else right.
func (p *patient) session(user int, at *timestamppb.Timestamp, change func(*insightsv1.AgentReport)) *insightsv1.AgentReport {
	r := &insightsv1.AgentReport{
		AgentId: p.Agents[0][user].String(), CollectedAt: at, ConnectionCount: 1, SessionCounts: map[string]int64{"vscode": 1},
		ConnectionMedianLatencyMs: 20, PeersP2P: 1,
	}
	if change != nil {
		change(r)
	}
	return r
}

// send reports and has the states of the agents written, as happens every minute.
func (p *patient) send(t *testing.T, reports ...*insightsv1.AgentReport) {
	t.Helper()
	p.ReportStats(t, p.controlPlane, reports)
	if err := p.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// everybody reports from all agents of the first template.
func (p *patient) everybody(t *testing.T, change func(*insightsv1.AgentReport)) {
	t.Helper()
	for user := range p.Users {
		p.send(t, p.session(user, before(0, 1), change))
	}
}

func (p *patient) build(t *testing.T, at *timestamppb.Timestamp, values ...string) {
	t.Helper()
	b := &insightsv1.Build{
		Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][0].String(), TemplateVersionId: p.version, Number: 1, Transition: "start",
		Status: "succeeded", CreatedAt: at, Reason: "a_reason_to_come", InitiatorKind: "service", Preset: "Large",
		DailyCost: 12, InstanceTypes: []string{"m5.large", "c7.large", "m5.large"},
	}
	for _, v := range values {
		b.Parameters = append(b.Parameters, &insightsv1.BuildParameter{Name: "size", Value: v})
	}
	p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{{At: at, Kind: &insightsv1.Event_Build{Build: b}}})
}

func (p *patient) declare(t *testing.T, slugs ...string) {
	t.Helper()
	change := &insightsv1.ApplyCatalogRequest{}
	for _, slug := range slugs {
		change.Apps = append(change.Apps, &insightsv1.App{AgentId: p.Agents[0][0].String(), Slug: slug})
	}
	p.Apply(t, p.controlPlane, change)
}

func (p *patient) open(t *testing.T, slug string) {
	t.Helper()
	p.ReportSessions(t, p.controlPlane, []*insightsv1.AppSession{{
		AgentId: p.Agents[0][0].String(), UserId: p.Users[0].String(), SlugOrPort: slug, AccessMethod: "path", StartedAt: before(0, 3),
		EndedAt: before(0, 1),
	}})
}

// causes are the findings, each with what brings it about and what it says.
var causes = map[string]struct {
	config     func(*server.Options)
	seed       func(*testing.T, *patient)
	start, end string // of the question; empty: the month up to the coming hour
	want       string // reason, affected of total, times, as told of the first template
	sections   []string
	message    string // part of it
}{
	"collection off": {
		config:   func(c *server.Options) { c.UsageStats = false },
		seed:     func(t *testing.T, p *patient) { p.everybody(t, nil) },
		want:     "collection_off 0/0 - -",
		sections: []string{"parameters_usage", "active_users", "apps_usage", "user_activity", "user_latency"}, message: "not stored",
	},
	"beyond retention, in part": {
		config:   func(c *server.Options) { c.UsageRetention, c.LatencyRetention = 5*24*time.Hour, 14*24*time.Hour },
		seed:     func(t *testing.T, p *patient) { p.everybody(t, nil) },
		want:     "beyond_retention 0/0 2023-08-10T12:00:00Z -",
		sections: []string{"active_users", "apps_usage", "user_activity", "parameters_usage"}, message: "kept for 5 days",
	},
	"latency beyond retention": {
		config: func(c *server.Options) { c.LatencyRetention = 24 * time.Hour },
		seed:   func(t *testing.T, p *patient) { p.everybody(t, nil) },
		want:   "beyond_retention 0/0 2023-08-14T12:00:00Z -", sections: []string{"user_latency"}, message: "kept for 1 day",
	},
	"out of range": {
		seed: func(t *testing.T, p *patient) {
			p.send(t, p.session(0, before(24*20, 14), nil), p.session(1, before(24*3, 50), nil))
			if _, err := p.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.send(t, p.session(2, before(2, 7), nil))
		},
		start: "2023-08-01T00:00:00Z", end: "2023-08-08T00:00:00Z",
		want: "out_of_range 0/0 2023-07-26T00:00:00Z 2023-08-15T10:00:00Z", sections: ofUsage, message: "between 2023-07-26",
	},
	"an empty window": {
		seed:  func(t *testing.T, p *patient) { p.send(t, p.session(0, before(24*20, 14), nil)) },
		start: "2023-08-01T00:00:00Z", end: "2023-08-01T00:00:00Z",
		want: "empty_window 0/0 - -", sections: append([]string{"parameters_usage"}, ofUsage...), message: "window is empty",
	},
	"no workspaces": {
		seed: func(t *testing.T, p *patient) {
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Workspaces: []*insightsv1.Workspace{
				{
					Id: p.Workspaces[0][0].String(), OwnerId: p.Users[0].String(), TemplateId: p.Templates[0].String(), Name: "w",
					DeletedAt: before(24*30, 0),
				},
				{
					Id: p.Workspaces[0][1].String(), OwnerId: p.Users[0].String(), TemplateId: p.Templates[0].String(), Name: "w",
					DeletedAt: before(24*30, 0),
				},
				{
					Id: p.Workspaces[0][2].String(), OwnerId: p.Users[0].String(), TemplateId: p.Templates[0].String(), Name: "w",
					CreatedAt: before(0, 1),
				},
			}})
		},
		end: "2023-08-15T00:00:00Z", want: "no_workspaces 0/0 - -", sections: ofUsage, message: "Nobody had a workspace",
	},
	"collecting": {
		seed: func(t *testing.T, p *patient) {
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Agents: []*insightsv1.Agent{
				{Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][0].String(), Name: "main", CreatedAt: before(0, 2)},
			}})
		},
		want: "collecting 4/4 2023-08-15T11:58:00Z -", sections: ofUsage, message: "has not reported yet",
	},
	"no connections": {
		seed: func(t *testing.T, p *patient) {
			p.build(t, before(5, 0))
			p.everybody(t, func(r *insightsv1.AgentReport) { r.ConnectionCount = 0 }) // open editors without a connection
		},
		want: "no_connections 3/3 - 2023-08-15T07:00:00Z", sections: ofUsage, message: "3 workspaces existed",
	},
	"agents offline": {
		seed: func(t *testing.T, p *patient) {
			p.send(t, p.session(0, before(0, 1), nil), p.session(1, before(3, 0), nil)) // the third never reported
		},
		want: "agents_offline 2/3 - 2023-08-15T11:59:00Z", sections: ofUsage, message: "2 of 3 agents did not report in the last 5m0s",
	},
	"agent too old": {
		seed: func(t *testing.T, p *patient) {
			p.everybody(t, nil)
			p.send(t, p.session(1, before(0, 1), func(r *insightsv1.AgentReport) { r.SessionCounts, r.SessionCountSsh = nil, 1 }))
		},
		want: "agent_too_old 1/3 - -", sections: []string{"apps_usage"}, message: "older form",
	},
	"app never seen": {
		seed: func(t *testing.T, p *patient) {
			p.everybody(t, nil)
			p.declare(t, "wiki", "b", "c", "d", "e", "f", "g")
			p.open(t, "wiki")
		},
		want: "app_never_seen 6/7 - -", sections: []string{"apps_usage"},
		message: "6 of 7 declared apps were not used in the window: b, c, d, e, f and 1 more.",
	},
	"undeclared apps": {
		seed: func(t *testing.T, p *patient) { p.open(t, "8080") },
		want: "undeclared_apps 0/0 - -", sections: []string{"apps_usage"}, message: "Only ports",
	},
	"no latency samples": {
		seed: func(t *testing.T, p *patient) {
			p.send(
				t, p.session(0, before(0, 1), nil),
				p.session(1, before(0, 1), func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = -0.001 }),
			)
		},
		want: "no_latency_samples 1/2 - -", sections: []string{"user_latency"}, message: "1 of 2 active users",
	},
	"relayed only": {
		seed: func(t *testing.T, p *patient) {
			p.everybody(t, nil)
			for _, user := range []int{0, 2} { // the one had a direct connection before, within the window
				p.send(
					t,
					p.session(user, before(0, 1), func(r *insightsv1.AgentReport) { r.PeersP2P, r.PeersDerp, r.DerpRegion = 0, 1, "fra" }),
				)
			}
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Agents: []*insightsv1.Agent{{
					Id: "00000000-0000-0000-0000-00000000000a", WorkspaceId: p.Workspaces[0][0].String(), Name: "second",
					CreatedAt: before(5, 0),
				}},
			})
			p.send(t, &insightsv1.AgentReport{
				AgentId: "00000000-0000-0000-0000-00000000000a", CollectedAt: before(0, 1), PeersDerp: 2, DerpRegion: "syd",
			})
		},
		want: "relayed_only 1/4 - -", sections: []string{"user_latency"}, message: "in region syd.",
	},
	"no builds": {
		seed: func(t *testing.T, p *patient) { p.everybody(t, nil) },
		want: "no_builds 0/0 - -", sections: []string{"parameters_usage"}, message: "ever reported",
	},
	"no build that started a workspace": {
		seed: func(t *testing.T, p *patient) {
			p.everybody(t, nil)
			for i, b := range []struct{ transition, status string }{
				{"start", "failed"}, {"start", "canceled"}, {"start", "running"}, {"stop", "succeeded"}, {"delete", "succeeded"},
			} {
				p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{{At: before(24, 0), Kind: &insightsv1.Event_Build{
					Build: &insightsv1.Build{
						Id: uuid.NewString(), WorkspaceId: p.Workspaces[0][0].String(), TemplateVersionId: p.version, Number: int64(i + 1),
						Transition: b.transition, Status: b.status, CreatedAt: before(24, 0),
						Parameters: []*insightsv1.BuildParameter{{Name: "size", Value: "big"}},
					},
				}}})
			}
		},
		want: "no_builds 0/0 - -", sections: []string{"parameters_usage"}, message: "ever reported",
	},
	"builds out of range": {
		seed: func(t *testing.T, p *patient) { p.build(t, before(24*40, 0), "big") },
		want: "out_of_range 1/1 2023-07-06T12:00:00Z 2023-07-06T12:00:00Z", sections: []string{"parameters_usage"},
		message: "1 build between",
	},
	"no parameters": {
		seed: func(t *testing.T, p *patient) { p.build(t, before(24, 0)) },
		want: "no_parameters 1/1 - -", sections: []string{"parameters_usage"}, message: "without values",
	},
}

func TestDiagnosis(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		for name, c := range causes {
			t.Run(database+"/"+name, func(t *testing.T) {
				t.Parallel()
				p := newPatient(t, open(t), c.config)
				if c.seed != nil {
					c.seed(t, p)
				}
				params := url.Values{
					"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T13:00:00Z"}, "template_ids": {p.Templates[0].String()},
				}
				if c.start != "" {
					params.Set("start_time", c.start)
				}
				if c.end != "" {
					params.Set("end_time", c.end)
				}
				found := p.diagnose(t, p.owner, params)
				i := slices.IndexFunc(found, func(f finding) bool { return f.String() == c.want && slices.Equal(f.Sections, c.sections) })
				if i < 0 {
					t.Fatalf("found %v, want %s for %v", found, c.want, c.sections)
				}
				if !strings.Contains(found[i].Message, c.message) || found[i].NextStep == "" ||
					!slices.Equal(found[i].Templates, []string{p.Templates[0].String()}) {
					t.Errorf("found %+v, want it to say %q", found[i], c.message)
				}
				p.checkReasons(t, params, found)
			})
		}
	}
}

// finding is one as REST tells it.
type finding struct {
	Reason    string
	Sections  []string
	Templates []string `json:"template_ids"`
	Affected  int
	Total     int
	First     string `json:"first_at"`
	Last      string `json:"last_at"`
	Message   string
	NextStep  string `json:"next_step"`
}

func (f finding) String() string {
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("%s %d/%d %s %s", f.Reason, f.Affected, f.Total, or(f.First), or(f.Last))
}

func (p *patient) diagnose(t *testing.T, token string, params url.Values) []finding {
	t.Helper()
	var answer struct {
		Findings []finding
		DataAsOf string `json:"data_as_of"`
	}
	p.GetInto(t, token, "/api/v2/insights/diagnosis", params, &answer)
	if answer.DataAsOf != "2023-08-15T12:00:00Z" {
		t.Errorf("data as of %s", answer.DataAsOf)
	}
	return slices.DeleteFunc(answer.Findings, func(f finding) bool { // the cluster of the tests does without, for speed
		return f.Reason == "weak_database" && strings.Contains(f.Message, " fsync=off and full_page_writes=off: ")
	})
}

// A database that may lose what was acknowledged is a finding, a line of the log and a metric.
func TestWeakDatabase(t *testing.T) {
	t.Parallel()
	for database, weak := range map[string]bool{"postgres": true, "sqlite": false} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, servertest.Databases[database](t), nil)
			answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).GetDiagnosis, p.owner, &insightsv1.GetDiagnosisRequest{
				StartTime: "2023-08-08T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
			})
			found := slices.ContainsFunc(answer.GetFindings(), func(f *insightsv1.Finding) bool { return f.GetReason() == "weak_database" })
			if found != weak {
				t.Errorf("findings: %v", answer.GetFindings())
			}
		})
	}
}

// checkReasons holds the reports to it that every empty section has a reason, which is the first finding about it.
func (p *patient) checkReasons(t *testing.T, params url.Values, found []finding) {
	t.Helper()
	type reason struct{ Section, Reason string }
	var templates struct {
		Report struct {
			ActiveUsers int                     `json:"active_users"`
			Apps        []struct{ Seconds int } `json:"apps_usage"`
			Unknown     *struct{}               `json:"unknown_usage"`
			Parameters  []any                   `json:"parameters_usage"`
			Reasons     []reason
		}
	}
	var activity, latency struct {
		Report struct {
			Users   []any
			Reasons []reason
		}
	}
	p.GetInto(t, p.owner, "/api/v2/insights/templates", params, &templates)
	p.GetInto(t, p.owner, "/api/v2/insights/user-activity", params, &activity)
	p.GetInto(t, p.owner, "/api/v2/insights/user-latency", params, &latency)
	reasons := slices.Concat(templates.Report.Reasons, activity.Report.Reasons, latency.Report.Reasons)
	anyApp := templates.Report.Unknown != nil
	for _, a := range templates.Report.Apps {
		anyApp = anyApp || a.Seconds > 0
	}
	for section, empty := range map[string]bool{
		"active_users": templates.Report.ActiveUsers == 0, "apps_usage": !anyApp, "parameters_usage": len(templates.Report.Parameters) == 0,
		"user_activity": len(activity.Report.Users) == 0, "user_latency": len(latency.Report.Users) == 0,
	} {
		i := slices.IndexFunc(reasons, func(r reason) bool { return r.Section == section })
		first := slices.IndexFunc(found, func(f finding) bool { return slices.Contains(f.Sections, section) })
		switch {
		case empty && (i < 0 || first < 0):
			t.Errorf("%s is empty without a reason: %v, %v", section, reasons, found)
		case empty && reasons[i].Reason != found[first].Reason:
			t.Errorf("%s is empty for %s, but the first finding is %v", section, reasons[i].Reason, found[first])
		case !empty && i >= 0 && !slices.ContainsFunc(found, func(f finding) bool {
			return f.Reason == reasons[i].Reason && slices.Contains(f.Sections, section)
		}):
			t.Errorf("%s is partial for %s, which is no finding: %v", section, reasons[i].Reason, found)
		}
	}
}

// Where all is well nothing is found, and answers give no reasons.
func TestDiagnosisOfTheHealthy(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), func(c *server.Options) {
		c.UsageRetention, c.LatencyRetention = 400*24*time.Hour, 90*24*time.Hour
	})
	p.everybody(t, nil)
	p.declare(t, "wiki")
	p.open(t, "wiki")
	p.build(t, before(24, 0), "big")
	params := url.Values{
		"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T13:00:00Z"}, "template_ids": {p.Templates[0].String()},
	}
	if found := p.diagnose(t, p.owner, params); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	for _, path := range []string{"templates", "user-activity", "user-latency"} {
		_, body := p.Get(t, p.owner, "/api/v2/insights/"+path, params)
		if report, _ := body["report"].(map[string]any); report["reasons"] != nil {
			t.Errorf("%s: reasons %v", path, report["reasons"])
		}
	}
}

// Who sees one template learns nothing of another.
func TestDiagnosisStaysInScope(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	auditor := c.Token(t, access.RoleOrganizationAuditor, c.organizations[1])
	params := url.Values{"start_time": {"2023-03-01T00:00:00Z"}, "end_time": {"2023-03-20T00:00:00Z"}}
	var answer struct{ Findings []finding }
	c.GetInto(t, auditor, "/api/v2/insights/diagnosis", params, &answer)
	var got []string
	for _, f := range answer.Findings {
		if !slices.Equal(f.Templates, []string{c.templates[1].String()}) {
			t.Errorf("%v is about templates %v", f, f.Templates)
		}
		got = append(got, f.String())
	}
	// The build and the usage of the 25th are of the other template.
	want := []string{"out_of_range 0/0 2023-03-26T21:30:00Z 2023-03-26T22:00:00Z", "no_connections 1/1 - -", "no_builds 0/0 - -"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	params.Set("template_ids", c.templates[0].String())
	if status, body := c.Get(t, auditor, "/api/v2/insights/diagnosis", params); status != 404 {
		t.Errorf("diagnosis of a foreign template: %d %v", status, body)
	}
}

// What holds of some templates is said of some: it does not contradict the numbers of all. The answer tells since when there is
// data, as long as small groups are not hidden.
func TestDiagnosisOfSomeTemplates(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.everybody(t, nil)
	p.send(t, &insightsv1.AgentReport{
		AgentId: p.Agents[1][0].String(), CollectedAt: before(24*20, 14), ConnectionCount: 1, SessionCounts: map[string]int64{"vscode": 1},
	})
	diagnose := func(start, end string, templates ...string) (findings []finding, since string) {
		var answer struct {
			Findings []finding
			Since    string `json:"data_since"`
		}
		params := url.Values{"start_time": {start}, "end_time": {end}, "template_ids": {strings.Join(templates, ",")}}
		p.GetInto(t, p.owner, "/api/v2/insights/diagnosis", params, &answer)
		return answer.Findings, answer.Since
	}
	const start, end = "2023-08-01T00:00:00Z", "2023-08-15T13:00:00Z"
	both := []string{p.Templates[0].String(), p.Templates[1].String()}
	found, since := diagnose(start, end, both...)
	i := slices.IndexFunc(found, func(f finding) bool { return f.Reason == "out_of_range" && slices.Contains(f.Sections, "active_users") })
	if i < 0 || !slices.Equal(found[i].Templates, both[1:]) ||
		!strings.HasPrefix(found[i].Message, "Of 1 of 2 templates: there is no usage in the window") {
		t.Errorf("found %+v", found)
	}
	for _, f := range found {
		if told := strings.HasPrefix(f.Message, fmt.Sprintf("Of %d of 2 templates: ", len(f.Templates))); told != (len(f.Templates) < 2) {
			t.Errorf("of templates %v: %s", f.Templates, f.Message)
		}
	}
	if since != "2023-07-26T00:00:00Z" {
		t.Errorf("data since %q", since)
	}
	if found, since = diagnose(start, end, both[1]); found[0].Message[:20] != "There is no usage in" || since != "2023-07-26T00:00:00Z" {
		t.Errorf("found %+v, data since %q", found, since)
	}
	if _, since = diagnose(start, end, both[0]); since != "2023-08-15T00:00:00Z" {
		t.Errorf("data of the first template since %q", since)
	}
	p.setMode(t, store.PrivacyAggregate)
	if _, since = diagnose(start, "2023-08-15T00:00:00Z", both...); since != "" {
		t.Errorf("data since %q where small groups are hidden", since)
	}
}

// A day of a named zone may be asked about up to any full hour, so that the present day has something to be compared with.
func TestHoursOfAPastDay(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.send(t, p.session(0, before(24+2, 30), nil), p.session(1, before(24, 30), nil)) // at 9:30 and 11:30 of the day before
	for end, want := range map[string]float64{"T12:00:00+02:00": 1, "T14:00:00+02:00": 2} {
		params := url.Values{
			"start_time": {"2023-08-14T00:00:00+02:00"}, "end_time": {"2023-08-14" + end}, "timezone": {"Europe/Berlin"},
			"template_ids": {p.Templates[0].String()},
		}
		_, body := p.Get(t, p.owner, "/api/v2/insights/templates", params)
		report, _ := body["report"].(map[string]any)
		if report["active_users"] != want {
			t.Errorf("until %s: %v, want %v users", end, body, want)
		}
		params.Del("timezone")
		if status, body := p.Get(t, p.owner, "/api/v2/insights/templates", params); status != 400 {
			t.Errorf("until %s without a zone: %d %v", end, status, body)
		}
	}
}
