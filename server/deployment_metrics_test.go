package server_test

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/internal/gauges"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// deployment is a server whose database holds two organizations with a template of the same name.
type deployment struct {
	*running
	controlPlane       string // token
	acme, beta         string
	ann, bob           string
	golang, other      string // templates
	dev, bare, gone    string // workspaces
	agent, goneAgent   string
	version, published string
}

func newDeployment(t *testing.T, database string, change func(*server.Options)) *deployment {
	t.Helper()
	d := &deployment{running: run(t, database, storetest.Now, change)}
	d.controlPlane = d.Token(t, access.RoleControlPlane, servertest.Everywhere)
	for _, id := range []*string{
		&d.acme, &d.beta, &d.ann, &d.bob, &d.golang, &d.other, &d.dev, &d.bare, &d.gone, &d.agent, &d.goneAgent, &d.version, &d.published,
	} {
		*id = uuid.NewString()
	}
	user := func(id, name string) *insightsv1.User {
		return &insightsv1.User{Id: id, Username: name, Kind: "human", Status: "active", OrganizationIds: []string{d.acme, d.beta}}
	}
	d.Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: d.acme, Name: "acme"}, {Id: d.beta, Name: "beta"}},
		Users:         []*insightsv1.User{user(d.ann, "ann"), user(d.bob, "bob")},
		Templates: []*insightsv1.Template{
			{Id: d.golang, OrganizationId: d.acme, Name: "go"}, {Id: d.other, OrganizationId: d.beta, Name: "go"},
		},
		TemplateVersions: []*insightsv1.TemplateVersion{
			{Id: d.version, TemplateId: d.golang, Name: "v1"}, {Id: d.published, TemplateId: d.golang, Name: "v2"},
		},
		Workspaces: []*insightsv1.Workspace{
			{Id: d.dev, OwnerId: d.ann, TemplateId: d.golang, Name: "dev"},
			{Id: d.bare, OwnerId: d.bob, TemplateId: d.other, Name: "bare"},
			{Id: d.gone, OwnerId: d.bob, TemplateId: d.golang, Name: "dev"},
		},
		Agents: []*insightsv1.Agent{
			{Id: d.agent, WorkspaceId: d.dev, Name: "main", CreatedAt: ago(time.Minute)},
			{Id: d.goneAgent, WorkspaceId: d.gone, Name: "main", CreatedAt: ago(time.Minute)},
		},
		Apps: []*insightsv1.App{{AgentId: d.agent, Slug: "ide", DisplayName: "IDE"}, {AgentId: d.agent, Slug: "k9s", DisplayName: "K9s"}},
	})
	return d
}

// ago is a moment before the one at which a deployment lives.
func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(storetest.Now.Add(-d)) }

func (d *deployment) build(workspace, version string, number int64, transition, status string) *insightsv1.Event {
	return &insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
		Id: uuid.NewString(), WorkspaceId: workspace, TemplateVersionId: version, Number: number, Transition: transition, Status: status,
		CreatedAt: ago(time.Hour),
	}}}
}

func (d *deployment) job(status string, seconds time.Duration) *insightsv1.Event {
	return &insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_Job{Job: &insightsv1.JobEvent{
		Id: uuid.NewString(), OrganizationId: d.acme, Provisioner: "terraform", Type: "workspace_build", Status: status,
		CreatedAt: ago(time.Hour), StartedAt: ago(time.Minute), FinishedAt: ago(time.Minute - seconds*time.Second),
	}}}
}

func (d *deployment) agentEvent(agent, status, lifecycle string, health map[string]string) *insightsv1.Event {
	return &insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_Agent{Agent: &insightsv1.AgentEvent{
		AgentId: agent, Status: status, LifecycleState: lifecycle, AppHealth: health,
	}}}
}

// feed reports something of everything, twice, because events are repeated.
func (d *deployment) feed(t *testing.T) {
	t.Helper()
	events := []*insightsv1.Event{
		d.build(d.dev, d.version, 1, "start", "failed"), d.build(d.dev, d.version, 2, "start", "succeeded"),
		d.build(d.dev, d.published, 3, "start", "succeeded"),
		d.build(d.gone, d.version, 1, "start", "succeeded"), d.build(d.gone, d.version, 2, "delete", "canceled"),
		d.job("succeeded", 10), d.job("succeeded", 20), d.job("failed", 1), d.job("running", 0),
		d.agentEvent(d.agent, "connected", "ready", map[string]string{"ide": "healthy"}),
		{At: ago(10 * time.Minute), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: d.ann}}},
		{At: ago(2 * time.Hour), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: d.bob}}},
	}
	metric := func(name, kind string, value float64, labels map[string]string) *insightsv1.Metric {
		return &insightsv1.Metric{Name: name, Type: kind, Value: value, Labels: labels}
	}
	claims := func(suffix string, value float64, le string) *insightsv1.Metric {
		labels := map[string]string{"template_name": "go", "preset_name": "big", "organization_name": "acme"}
		if le != "" {
			labels["le"] = le
		}
		return metric("coderd_prebuilt_workspace_claim_duration_seconds"+suffix, "histogram", value, labels)
	}
	series := []*insightsv1.Metric{
		metric("coderd_license_active_users", "gauge", 7, nil),
		metric("coderd_oauth2_external_requests_total", "counter", 12, map[string]string{
			"name": "github", "source": "ValidateToken", "status_code": "200",
		}),
		metric("coderd_prebuilt_workspaces_desired", "gauge", 3, map[string]string{
			"template_name": "go", "preset_name": "big", "organization_name": "acme",
		}),
		claims("_bucket", 1, "5.0"), claims("_bucket", 1, "1"), claims("_bucket", 2, "+Inf"), claims("_sum", 63.5, ""),
		claims("_count", 2, ""),
		// the rest is missing
		metric("coderd_workspace_creation_duration_seconds_sum", "histogram", 1, map[string]string{
			"type": "regular", "template_name": "go", "preset_name": "", "organization_name": "acme",
		}),
	}
	for range 2 {
		answer := servertest.Must(
			t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, d.controlPlane,
			&insightsv1.ReportEventsRequest{Events: events, Metrics: series},
		)
		servertest.WantAll(t, answer.GetRejected())
	}
	report := func(agent string, at *timestamppb.Timestamp) *insightsv1.AgentReport {
		return &insightsv1.AgentReport{AgentId: agent, CollectedAt: at}
	}
	d.ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{
		report(d.agent, ago(50*time.Second)), report(d.agent, ago(0)), report(d.goneAgent, ago(2*time.Minute)),
	})
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{
		Templates: []*insightsv1.Template{{Id: d.golang, OrganizationId: d.acme, Name: "golang"}},
		Deleted:   &insightsv1.DeletedItems{Workspaces: []string{d.gone}},
	})
}

// deploymentSeries are the series of the collector as a scrape of a server shows them, in both formats.
func (r *running) deploymentSeries(t *testing.T) map[string]float64 {
	t.Helper()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var formats []map[string]float64
	for _, accept := range []string{"text/plain", wiretest.OpenMetrics} {
		contentType, body := r.Scrape(t, accept)
		samples, _ := wiretest.ParseMetrics(t, contentType, body)
		ours := map[string]float64{}
		for series, value := range samples {
			if isOfDeployment(series) {
				ours[wiretest.WholeBound.Replace(series)] = value
			}
		}
		formats = append(formats, ours)
	}
	if diff := cmp.Diff(formats[0], formats[1]); diff != "" {
		t.Errorf("formats differ (-text +OpenMetrics):\n%s", diff)
	}
	return formats[0]
}

// isOfDeployment reports whether a series is about the deployment, and not about this server or its agents of now.
func isOfDeployment(series string) bool {
	name := strings.TrimPrefix(series, `{__name__="`)
	begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return begins("insights_agents_") || begins("coderd_") && !slices.ContainsFunc([]string{
		"coderd_api_request", "coderd_api_concurrent_", "coderd_api_websocket_", "coderd_agentstats_", "coderd_metrics_collector_",
		"coderd_prometheusmetrics_",
	}, begins)
}

func TestDeploymentMetrics(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		d := newDeployment(t, database, nil)
		d.feed(t)
		lasting := `
			coderd_agents_up{template_name="golang",username="ann",workspace_name="dev",template_version="v2",organization_name="acme"} 1
			coderd_agents_up{template_name="go",username="bob",workspace_name="bare",template_version="",organization_name="beta"} 0
			coderd_agents_connections{agent_name="main",username="ann",workspace_name="dev",status="connected",lifecycle_state="ready",tailnet_node="unknown",organization_name="acme"} 1
			coderd_agents_apps{agent_name="main",username="ann",workspace_name="dev",app_name="IDE",health="healthy",organization_name="acme"} 1
			coderd_agents_apps{agent_name="main",username="ann",workspace_name="dev",app_name="K9s",health="disabled",organization_name="acme"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="1"} 0
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="10"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="30"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="60"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="120"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="300"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="600"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="1800"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="3600"} 1
			coderd_agents_first_connection_seconds_bucket{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme",le="+Inf"} 1
			coderd_agents_first_connection_seconds_sum{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme"} 10
			coderd_agents_first_connection_seconds_count{template_name="golang",agent_name="main",username="ann",workspace_name="dev",organization_name="acme"} 1
			insights_agents_first_connection_skewed 1
			coderd_workspace_latest_build_status{status="succeeded",template_name="golang",template_version="v2",workspace_owner="ann",workspace_transition="start",organization_name="acme"} 1
			coderd_api_workspace_latest_build{status="pending"} 0
			coderd_api_workspace_latest_build{status="running"} 0
			coderd_api_workspace_latest_build{status="succeeded"} 1
			coderd_api_workspace_latest_build{status="failed"} 0
			coderd_api_workspace_latest_build{status="canceling"} 0
			coderd_api_workspace_latest_build{status="canceled"} 0
			coderd_api_workspace_latest_build_total{status="pending"} 0
			coderd_api_workspace_latest_build_total{status="running"} 0
			coderd_api_workspace_latest_build_total{status="succeeded"} 1
			coderd_api_workspace_latest_build_total{status="failed"} 0
			coderd_api_workspace_latest_build_total{status="canceling"} 0
			coderd_api_workspace_latest_build_total{status="canceled"} 0
			coderd_workspace_builds_total{workspace_owner="ann",workspace_name="dev",template_name="golang",template_version="v1",workspace_transition="start",status="failed",organization_name="acme"} 1
			coderd_workspace_builds_total{workspace_owner="ann",workspace_name="dev",template_name="golang",template_version="v1",workspace_transition="start",status="success",organization_name="acme"} 1
			coderd_workspace_builds_total{workspace_owner="ann",workspace_name="dev",template_name="golang",template_version="v2",workspace_transition="start",status="success",organization_name="acme"} 1
			coderd_provisionerd_jobs_current{provisioner="terraform"} 1
			` + jobTimings
		today := lasting + `
			coderd_workspace_builds_total{workspace_owner="bob",workspace_name="dev",template_name="golang",template_version="v1",workspace_transition="start",status="success",organization_name="acme"} 1
			coderd_workspace_builds_total{workspace_owner="bob",workspace_name="dev",template_name="golang",template_version="v1",workspace_transition="delete",status="canceled",organization_name="acme"} 1
			coderd_api_active_users_duration_hour 1
			coderd_license_active_users 7
			coderd_oauth2_external_requests_total{name="github",source="ValidateToken",status_code="200"} 12
			coderd_prebuilt_workspaces_desired{template_name="go",preset_name="big",organization_name="acme"} 3
			coderd_prebuilt_workspace_claim_duration_seconds_bucket{template_name="go",preset_name="big",organization_name="acme",le="1"} 1
			coderd_prebuilt_workspace_claim_duration_seconds_bucket{template_name="go",preset_name="big",organization_name="acme",le="5"} 1
			coderd_prebuilt_workspace_claim_duration_seconds_bucket{template_name="go",preset_name="big",organization_name="acme",le="+Inf"} 2
			coderd_prebuilt_workspace_claim_duration_seconds_sum{template_name="go",preset_name="big",organization_name="acme"} 63.5
			coderd_prebuilt_workspace_claim_duration_seconds_count{template_name="go",preset_name="big",organization_name="acme"} 2
			`
		replica := run(t, database, storetest.Now, nil)
		for name, r := range map[string]*running{"server": d.running, "replica": replica} {
			if diff := cmp.Diff(wiretest.SeriesOf(t, today), r.deploymentSeries(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			_, body := r.Scrape(t, wiretest.OpenMetrics)
			for family, began := range map[string]time.Duration{
				"coderd_agents_first_connection_seconds": time.Minute, "coderd_provisionerd_job_timings_seconds": time.Minute,
				"coderd_workspace_builds": time.Hour,
			} {
				want := strconv.FormatFloat(float64(storetest.Now.Add(-began).UnixMilli())/1000, 'g', -1, 64)
				lines := regexp.MustCompile(`(?m)^`+family+`_created\{.*\} (.*)$`).FindAllStringSubmatch(body, -1)
				if len(lines) == 0 || slices.ContainsFunc(lines, func(line []string) bool { return line[1] != want }) {
					t.Errorf("%s: want %s to have begun at %s, got %q", name, family, want, lines)
				}
			}
		}
		// Who comes the day after finds what lasts, and nothing of the workspace that is gone.
		tomorrow := run(t, database, storetest.Now.Add(25*time.Hour), nil)
		diff := cmp.Diff(wiretest.SeriesOf(t, lasting+"coderd_api_active_users_duration_hour 0\n"), tomorrow.deploymentSeries(t))
		if diff != "" {
			t.Errorf("the day after (-want +got):\n%s", diff)
		}
	})
}

const jobTimings = `
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="1"} 0
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="10"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="30"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="60"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="300"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="600"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="1800"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="3600"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="success",le="+Inf"} 2
	coderd_provisionerd_job_timings_seconds_sum{provisioner="terraform",status="success"} 30
	coderd_provisionerd_job_timings_seconds_count{provisioner="terraform",status="success"} 2
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="1"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="10"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="30"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="60"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="300"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="600"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="1800"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="3600"} 1
	coderd_provisionerd_job_timings_seconds_bucket{provisioner="terraform",status="failed",le="+Inf"} 1
	coderd_provisionerd_job_timings_seconds_sum{provisioner="terraform",status="failed"} 1
	coderd_provisionerd_job_timings_seconds_count{provisioner="terraform",status="failed"} 1
	`

// Of a deployment that tells nothing there is nothing to show, but for the two numbers that are zero then.
func TestDeploymentMetricsAbsent(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	want := wiretest.SeriesOf(t, "coderd_api_active_users_duration_hour 0\ninsights_agents_first_connection_skewed 0\n")
	if diff := cmp.Diff(want, r.deploymentSeries(t)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// Without the control plane's word an agent's reports tell whether it is connected.
func TestAgentConnectionsByReports(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	d := newDeployment(t, database, nil)
	status := func(now time.Time) (found []string) {
		t.Helper()
		r := run(t, database, now, nil)
		for series := range r.deploymentSeries(t) {
			for _, s := range []string{"connecting", "connected", "disconnected", "timeout"} {
				if strings.Contains(series, "coderd_agents_connections") && strings.Contains(series, `username="ann"`) &&
					strings.Contains(series, `status="`+s+`"`) {
					found = append(found, s)
				}
			}
		}
		return found
	}
	if got := status(storetest.Now); !slices.Equal(got, []string{"connecting"}) {
		t.Errorf("before the first report: %v", got)
	}
	d.ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{{AgentId: d.agent, CollectedAt: ago(0)}})
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := status(storetest.Now.Add(5 * time.Minute)); !slices.Equal(got, []string{"connected"}) {
		t.Errorf("after five minutes: %v", got)
	}
	if got := status(storetest.Now.Add(6 * time.Minute)); !slices.Equal(got, []string{"disconnected"}) {
		t.Errorf("after six minutes: %v", got)
	}
}

// With the compatibility switch the older labels and the other name are there too, the owner's address is the username, and first
// connections do not say whose they are.
func TestMetricsCompat(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, storetest.SQLite(t), func(c *server.Options) {
		c.MetricsCompat = []string{gauges.CompatSeed, gauges.CompatCoder}
	})
	d.ReportEvents(t, d.controlPlane, []*insightsv1.Event{d.build(d.dev, d.version, 1, "stop", "succeeded")})
	connected := store.At(storetest.Now.Add(-50 * time.Second))
	if err := d.Options.Store.TouchAgents(t.Context(), []store.AgentState{
		{AgentID: uuid.MustParse(d.agent), FirstConnectedAt: connected},
		{AgentID: uuid.MustParse(d.goneAgent), FirstConnectedAt: connected},
	}); err != nil {
		t.Fatal(err)
	}
	got := d.deploymentSeries(t)
	maps.DeleteFunc(got, func(series string, _ float64) bool {
		return !strings.HasPrefix(series, `{__name__="coderd_workspace_builds_total"`) &&
			!strings.HasPrefix(series, `{__name__="coderd_agents_first_connection_seconds_count"`)
	})
	want := wiretest.SeriesOf(t,
		`coderd_workspace_builds_total{workspace_owner="ann",workspace_name="dev",template_name="go",template_version="v1",workspace_transition="stop",status="success",organization_name="acme",action="stop",owner_email="ann"} 1
		coderd_agents_first_connection_seconds_count{template_name="go",agent_name="main",organization_name="acme"} 2
		`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	_, body := d.Scrape(t, "text/plain")
	for _, name := range []string{
		"coderd_metrics_collector_agents_execution_seconds", "coderd_prometheusmetrics_agents_execution_seconds",
	} {
		if !strings.Contains(body, "# TYPE "+name+" histogram\n") || strings.Contains(body, name+"_count 0\n") {
			t.Errorf("the collection of agents is not in %s", name)
		}
	}
	o := d.Options
	o.MetricsCompat = []string{"grafana"}
	if _, err := server.New(o); err == nil || !strings.Contains(err.Error(), "grafana") {
		t.Errorf("unknown compatibility: %v", err)
	}
}

// While a control plane is followed, its own count of who used it is shown, of the accounts that are wanted, and what it does not report is
// counted of what was imported.
func TestMetricsOfFollowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actors []string
		active string
	}{"everybody": {nil, "5"}, "people": {[]string{"person"}, "3"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, storetest.SQLite(t), func(o *server.Options) { o.MetricsActors = c.actors })
			d.ReportEvents(t, d.controlPlane, []*insightsv1.Event{d.build(d.dev, d.version, 1, "start", "succeeded")})
			report := func(name, labels string, value float64) {
				t.Helper()
				if err := d.Options.Store.RecordControlPlaneSeries(t.Context(), []store.ControlPlaneSeries{
					{Name: name, Labels: labels, Value: value, ReportedAt: store.At(storetest.Now)},
				}, storetest.Now); err != nil {
					t.Fatal(err)
				}
			}
			report(store.ActiveUsersHour, `{"actor":"person"}`, 3)
			report(store.ActiveUsersHour, `{"actor":"service"}`, 2)
			report("coderd_license_active_users", `{}`, 9)
			if _, err := d.Options.Store.Follow(t.Context(), "coder", "somebody", time.Minute); err != nil {
				t.Fatal(err)
			}
			got := d.deploymentSeries(t)
			for series, value := range wiretest.SeriesOf(t, "coderd_api_active_users_duration_hour "+c.active+`
				coderd_license_active_users 9
				coderd_api_total_user_count{status="active"} 2
				coderd_workspace_creation_total{template_name="go",preset_name="",organization_name="acme"} 1
			`) {
				if got[series] != value {
					t.Errorf("%s is %v, want %v", series, got[series], value)
				}
			}
		})
	}
}

// Every family of the list is taken by its name and shown, with the labels that it has, and a label that is not told is empty. Series
// that name a person are added up over people, and nobody's id is kept.
func TestControlPlaneFamilies(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, storetest.SQLite(t), nil)
	request, want := &insightsv1.ReportEventsRequest{}, map[string]float64{}
	report := func(name string, kind exposition.FamilyKind, value float64, labels map[string]string, person string) {
		m := &insightsv1.Metric{Name: name, Type: string(kind), Value: value, Labels: maps.Clone(labels)}
		if person != "" {
			m.Labels["initiator_id"] = person
		}
		request.Metrics = append(request.Metrics, m)
		want[wiretest.SeriesName(name, labels)] += value
	}
	const whole, part = "coder_ai_gateway_tokens_total", "coder_pubsub_publishes_total"
	for _, f := range exposition.ControlPlaneFamilies {
		labels := map[string]string{}
		for _, name := range f.Labels {
			labels[name] = "some " + name
		}
		if slices.Contains(f.Labels, exposition.OrganizationLabel) {
			labels[exposition.OrganizationLabel] = "acme"
		}
		switch {
		case f.Kind == exposition.HistogramFamily:
			report(f.Name+"_sum", f.Kind, 40, labels, "")
			report(f.Name+"_count", f.Kind, 5, labels, "")
			for bound, n := range map[string]float64{"1": 2, "60": 4, "+Inf": 5} {
				labels["le"] = bound
				report(f.Name+"_bucket", f.Kind, n, labels, "")
			}
		case f.Name == whole:
			report(f.Name, f.Kind, 3, labels, d.ann)
			report(f.Name, f.Kind, 4, labels, d.bob)
		case f.Name == part:
			report(f.Name, f.Kind, 3, nil, "")
		default:
			report(f.Name, f.Kind, 3, labels, "")
		}
	}
	delete(want, wiretest.SeriesName(part, nil))
	want[wiretest.SeriesName(part, map[string]string{"success": ""})] = 3
	broken := "coderd_agentapi_metadata_batch_size" // its buckets do not add up
	for _, m := range request.GetMetrics() {
		if m.GetName() == broken+"_count" {
			m.Value = 6
		}
	}
	maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.Contains(series, `"`+broken) })
	answer := servertest.Must(t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, d.controlPlane, request)
	if len(answer.GetRejected()) > 0 {
		t.Fatalf("rejected: %v", answer.GetRejected())
	}
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, body := d.Scrape(t, wiretest.OpenMetrics)
	if !testing.Short() {
		wiretest.ParseStrictly(t, body)
	}
	if strings.Contains(body, "initiator_id") {
		t.Error("a family names a person")
	}
	// Counters whose names do not say so are of no known type in OpenMetrics.
	contentType, body := d.Scrape(t, "text/plain")
	got, _ := wiretest.ParseMetrics(t, contentType, body)
	shown := map[string]float64{}
	for series, value := range got {
		if _, wanted := want[wiretest.WholeBound.Replace(series)]; wanted || strings.HasPrefix(series, `{__name__="`+broken) {
			shown[wiretest.WholeBound.Replace(series)] = value
		}
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
	kept, err := d.Store.ControlPlaneSeries(t.Context(), storetest.Now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range kept {
		if strings.Contains(series.Labels, d.ann) || strings.Contains(series.Labels, d.bob) {
			t.Errorf("%s is kept with the id of a person: %s", series.Name, series.Labels)
		}
	}
}

// Whatever a confined control plane calls what is its own, the series of another organization stay as they are, and its own go with it.
func TestNamesakesChangeNoSeries(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, storetest.SQLite(t), nil)
	d.feed(t)
	about := func(organization string) map[string]float64 {
		series := d.deploymentSeries(t)
		maps.DeleteFunc(series, func(name string, _ float64) bool {
			return !strings.Contains(name, `organization_name="`+organization+`"`)
		})
		return series
	}
	want := about("acme")
	confined := d.Token(t, access.RoleControlPlane, uuid.MustParse(d.beta))
	called := func(organization string) []*insightsv1.Rejection {
		user, template, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
		answer := servertest.Must(t, insightsv1.NewCatalogServiceClient(d.Conn).ApplyCatalog, confined, &insightsv1.ApplyCatalogRequest{
			Organizations: []*insightsv1.Organization{{Id: d.beta, Name: organization}},
			Users: []*insightsv1.User{
				{Id: user, Username: "ann", Kind: "human", Status: "active", OrganizationIds: []string{d.beta}},
			},
			Templates:  []*insightsv1.Template{{Id: template, OrganizationId: d.beta, Name: "golang"}},
			Workspaces: []*insightsv1.Workspace{{Id: workspace, OwnerId: user, TemplateId: template, Name: "dev"}},
			Agents:     []*insightsv1.Agent{{Id: agent, WorkspaceId: workspace, Name: "main", CreatedAt: ago(time.Minute)}},
			Apps:       []*insightsv1.App{{AgentId: agent, Slug: "ide", DisplayName: "IDE"}},
		})
		d.ReportEvents(t, confined, []*insightsv1.Event{d.agentEvent(agent, "connected", "ready", map[string]string{"ide": "healthy"})})
		d.ReportStats(t, confined, []*insightsv1.AgentReport{{AgentId: agent, CollectedAt: ago(0)}})
		return answer.GetRejected()
	}
	series := &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{{
		Name: "coderd_prebuilt_workspaces_desired", Type: "gauge", Value: 9,
		Labels: map[string]string{"template_name": "go", "preset_name": "big", "organization_name": "beta"},
	}}}
	servertest.WantAll(t, servertest.Must(t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, confined, series).GetRejected())
	rejections(t, called("Acme"), &insightsv1.Rejection{List: "organizations"})
	rejections(t, called("gamma"))
	if diff := cmp.Diff(want, about("acme")); diff != "" {
		t.Errorf("series of the other organization (-before +after):\n%s", diff)
	}
	own := about("gamma")
	desired := `{__name__="coderd_prebuilt_workspaces_desired", organization_name="gamma", preset_name="big", template_name="go"}`
	if got := own[desired]; got != 9 {
		t.Errorf("what was reported under the old name is %v under the new one, want 9: %v", got, own)
	}

	d.Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{Organizations: []*insightsv1.Organization{{Id: d.acme, Name: "beta"}}})
	if diff := cmp.Diff(len(want), len(about("beta"))); diff != "" {
		t.Errorf("series of who is called so now (-before +after):\n%s", diff)
	}
}

// What breaks a rule is rejected with the name of the field, and its neighbors are not.
func TestControlPlaneRejections(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, storetest.SQLite(t), nil)
	confined := d.Token(t, access.RoleControlPlane, uuid.MustParse(d.beta))
	metric := func(name, kind string, value float64, labels ...string) *insightsv1.Metric {
		m := &insightsv1.Metric{Name: name, Type: kind, Value: value, Labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			m.Labels[labels[i]] = labels[i+1]
		}
		return m
	}
	desired := func(organization string) *insightsv1.Metric {
		return metric(
			"coderd_prebuilt_workspaces_desired", "gauge", 1, "template_name", "go", "preset_name", "", "organization_name", organization,
		)
	}
	job := func(change func(*insightsv1.JobEvent)) *insightsv1.Event {
		e := d.job("succeeded", 1)
		change(e.GetJob())
		return e
	}
	built := func(transition string, change func(*insightsv1.Build)) *insightsv1.ReportEventsRequest {
		e := d.build(d.dev, d.version, 9, transition, "succeeded")
		change(e.GetBuild())
		return &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{e}}
	}
	build := d.build(d.dev, d.version, 1, "start", "succeeded")
	known := d.job("succeeded", 1)
	d.ReportEvents(t, d.controlPlane, []*insightsv1.Event{build, known})
	stolenBuild := d.build(d.gone, d.version, 1, "start", "succeeded")
	stolenBuild.GetBuild().Id = build.GetBuild().GetId()
	for name, c := range map[string]struct {
		token   string
		request *insightsv1.ReportEventsRequest
		reason  string
		retry   bool
	}{
		"unknown family": {
			request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{metric("coderd_agents_up", "gauge", 1)}},
			reason:  `name: family "coderd_agents_up"`,
		},
		"part of no histogram": {
			request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{metric("coderd_license_active_users_sum", "gauge", 1)}},
			reason:  "name: ",
		},
		"histogram as a whole": {
			request: &insightsv1.ReportEventsRequest{
				Metrics: []*insightsv1.Metric{metric("coderd_prebuilt_workspace_claim_duration_seconds", "histogram", 1)},
			},
			reason: "name: ",
		},
		"type": {
			request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{metric("coderd_license_active_users", "counter", 1)}},
			reason:  "type: family coderd_license_active_users is a gauge",
		},
		"not a number": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_license_active_users", "gauge", math.NaN())},
		}, reason: "value: "},
		"negative counter": {
			request: &insightsv1.ReportEventsRequest{
				Metrics: []*insightsv1.Metric{metric("coderd_oauth2_external_requests_total", "counter", -1)},
			},
			reason: "value: ",
		},
		"part of a count": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_provisioner_job_queue_wait_seconds_count", "histogram", 1.5)},
		}, reason: "value: a count must be a whole number"},
		"missing bound": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_provisioner_job_queue_wait_seconds_bucket", "histogram", 1)},
		}, reason: "labels.le: must be a number"},
		"missing organization": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_prebuilt_workspaces_desired", "gauge", 1, "template_name", "go")},
		}, reason: `labels.organization_name: organization ""`, retry: true},
		"further label": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_license_active_users", "gauge", 1, "pod", "x")},
		}, reason: "labels: "},
		"other label": {request: &insightsv1.ReportEventsRequest{
			Metrics: []*insightsv1.Metric{metric("coderd_oauth2_external_requests_rate_limit", "gauge", 1, "name", "x", "pod", "x")},
		}, reason: "labels: "},
		"long label": {request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{
			metric("coderd_oauth2_external_requests_rate_limit", "gauge", 1, "name", "x", "resource", strings.Repeat("x", 129)),
		}}, reason: "labels.resource: "},
		"bound": {request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{
			metric(
				"coderd_prebuilt_workspace_claim_duration_seconds_bucket", "histogram", 1, "template_name", "go", "preset_name", "",
				"organization_name", "acme", "le", "much",
			),
		}}, reason: "labels.le: "},
		"unknown organization of a series": {
			request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{desired("gamma")}},
			reason:  `labels.organization_name: organization "gamma"`, retry: true,
		},
		"other organization of a series": {
			token: confined, request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{desired("acme")}},
			reason: `labels.organization_name: organization "acme"`, retry: true,
		},
		"series of the deployment": {
			token:   confined,
			request: &insightsv1.ReportEventsRequest{Metrics: []*insightsv1.Metric{metric("coderd_license_active_users", "gauge", 1)}},
			reason:  "name: family coderd_license_active_users is about the whole deployment",
		},

		"agent's id": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{d.agentEvent("x", "connected", "ready", nil)}},
			reason:  "agent.agent_id: ",
		},
		"agent's status": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{d.agentEvent(d.agent, "here", "ready", nil)}},
			reason:  "agent.status: ",
		},
		"agent's lifecycle": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{d.agentEvent(d.agent, "connected", "", nil)}},
			reason:  "agent.lifecycle_state: ",
		},
		"app's health": {request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{d.agentEvent(d.agent, "connected", "ready", map[string]string{"ide": "fine"})},
		}, reason: "agent.app_health: "},
		"app's slug": {request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{d.agentEvent(d.agent, "connected", "ready", map[string]string{"": "healthy"})},
		}, reason: "agent.app_health: "},
		"unknown agent": {
			request: &insightsv1.ReportEventsRequest{
				Events: []*insightsv1.Event{d.agentEvent(uuid.NewString(), "connected", "ready", nil)},
			},
			reason: "agent ", retry: true,
		},
		"other agent": {
			token:   confined,
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{d.agentEvent(d.agent, "connected", "ready", nil)}},
			reason:  "agent ", retry: true,
		},

		"job's id": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.Id = "x" })}},
			reason:  "job.id: ",
		},
		"job's organization": {request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.OrganizationId = "" })},
		}, reason: "job.organization_id: "},
		"unknown organization": {request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.OrganizationId = uuid.NewString() })},
		}, reason: "organization ", retry: true},
		"other organization": {
			token: confined, request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{d.job("running", 1)}},
			reason: "organization ", retry: true,
		},
		"stolen job": {token: confined, request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.Id, j.OrganizationId = known.GetJob().GetId(), d.beta })},
		}, reason: "job.organization_id: "},
		"job's provisioner": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.Provisioner = "" })}},
			reason:  "job.provisioner: ",
		},
		"job's type": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.Type = "lunch" })}},
			reason:  "job.type: ",
		},
		"job's status": {request: &insightsv1.ReportEventsRequest{
			Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.Status = "success" })},
		}, reason: "job.status: "},
		"job without a begin": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{job(func(j *insightsv1.JobEvent) { j.CreatedAt = nil })}},
			reason:  "job.created_at: is required",
		},
		"stolen build": {
			request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{stolenBuild}}, reason: "build.workspace_id: ",
		},
		"build's reason": {
			request: built("start", func(b *insightsv1.Build) { b.Reason = "Ann wanted it" }), reason: "build.reason: want 1 to 64",
		},
		"build's long reason": {
			request: built("start", func(b *insightsv1.Build) { b.Reason = strings.Repeat("a", 65) }), reason: "build.reason: ",
		},
		"build's initiator": {
			request: built("start", func(b *insightsv1.Build) { b.InitiatorKind = "human" }), reason: "build.initiator_kind: ",
		},
		"build's preset": {
			request: built("start", func(b *insightsv1.Build) { b.Preset = "a\nb" }), reason: "build.preset: control characters",
		},
		"build's prebuild": {
			request: built("start", func(b *insightsv1.Build) { b.Prebuild = "taken" }), reason: "build.prebuild: must be one of",
		},
		"build's cost": {
			request: built("start", func(b *insightsv1.Build) { b.DailyCost = -1 }), reason: "build.daily_cost: must not be negative",
		},
		"build's instance type": {
			request: built("start", func(b *insightsv1.Build) { b.InstanceTypes = []string{"m5.large", ""} }),
			reason:  "build.instance_types: want 1 to 128 bytes",
		},
		"build's many instance types": {
			request: built("start", func(b *insightsv1.Build) { b.InstanceTypes = make([]string, 65) }),
			reason:  "build.instance_types: 65, at most 64",
		},
		"stop that takes a prebuilt workspace": {
			request: built("stop", func(b *insightsv1.Build) { b.Prebuild = "claimed" }), reason: "build.prebuild: only a start is claimed",
		},
		"nothing that happened": {request: &insightsv1.ReportEventsRequest{Events: []*insightsv1.Event{{At: ago(0)}}}, reason: "kind: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.token == "" {
				c.token = d.controlPlane
			}
			c.request.Metrics = append(c.request.Metrics, desired("beta")) // is fine
			answer := servertest.Must(t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, c.token, c.request)
			if answer.GetAcknowledged() != 1 || len(answer.GetRejected()) != 1 {
				t.Fatalf("%v, want one of two taken", answer)
			}
			if r := answer.GetRejected()[0]; !strings.HasPrefix(r.GetReason(), c.reason) || r.GetPermanent() == c.retry {
				t.Errorf("rejected: %v, want %q", r, c.reason)
			}
		})
	}
}

// An event of an agent whose workspace was deleted before is rejected for good.
func TestEventsOfDeletedAgents(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, storetest.SQLite(t), nil)
	late := d.agentEvent(d.goneAgent, "disconnected", "off", nil)
	late.At = ago(-time.Minute)
	d.Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Workspaces: []string{d.gone}}})
	answer := servertest.Must(t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, d.controlPlane, &insightsv1.ReportEventsRequest{
		Events: []*insightsv1.Event{d.agentEvent(d.goneAgent, "disconnected", "off", nil), late},
	})
	rejections(t, answer.GetRejected(), &insightsv1.Rejection{List: "events", Index: 1, Permanent: true})
}
