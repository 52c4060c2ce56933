package fleet

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// controlPlane is what the control plane of a company does as time goes by: it rebuilds one workspace after the other, and
// tells what only it knows.
type controlPlane struct {
	company *Company
	builds  int
	running *provisioning
}

// provisioning is a build and the job that does it.
type provisioning struct {
	build *insightsv1.Build
	job   *insightsv1.JobEvent
}

// events are what there is to say of it at a moment.
func (p *provisioning) events(at time.Time) []*insightsv1.Event {
	return []*insightsv1.Event{
		{At: timestamppb.New(at), Kind: &insightsv1.Event_Build{Build: p.build}},
		{At: timestamppb.New(at), Kind: &insightsv1.Event_Job{Job: p.job}},
	}
}

// begin starts it.
func (p *provisioning) begin(at time.Time) {
	p.build.StartedAt, p.job.StartedAt = timestamppb.New(at), timestamppb.New(at)
	p.build.Status, p.job.Status = "running", "running"
}

// end ends it.
func (p *provisioning) end(at time.Time, status string) {
	p.build.FinishedAt, p.job.FinishedAt = timestamppb.New(at), timestamppb.New(at)
	p.build.Status, p.job.Status = status, status
}

// provision asks for a build of a workspace that starts it.
func (c *Company) provision(w *workspace, number int64, at time.Time) *provisioning {
	return &provisioning{
		build: &insightsv1.Build{
			Id: c.id().String(), WorkspaceId: w.id.String(), TemplateVersionId: w.version.GetId(), Number: number,
			Transition: "start", Status: "pending", CreatedAt: timestamppb.New(at), Parameters: w.parameters(number), Reason: "dashboard",
			InitiatorKind: "person",
		},
		job: &insightsv1.JobEvent{
			Id: c.id().String(), OrganizationId: w.organization, Provisioner: "terraform", Type: "workspace_build", Status: "pending",
			CreatedAt: timestamppb.New(at),
		},
	}
}

// parameters are the values that the owner of a workspace chose for a build.
func (w *workspace) parameters(number int64) []*insightsv1.BuildParameter {
	var values []*insightsv1.BuildParameter
	for _, p := range w.version.GetParameters() {
		value := p.GetDefaultValue()
		if options := p.GetOptions(); len(options) > 0 && w.seed>>number%3 == 0 {
			value = options[int(w.seed>>8%uint64(len(options)))].GetValue()
		}
		values = append(values, &insightsv1.BuildParameter{Name: p.GetName(), Value: value})
	}
	return values
}

// ready is the state of an agent that works, with its apps: one in fifty is not well.
func (w *workspace) ready(apps []string, at time.Time) *insightsv1.Event {
	health := map[string]string{}
	for i, slug := range apps {
		if health[slug] = "healthy"; (w.seed>>i)%50 == 0 {
			health[slug] = "unhealthy"
		}
	}
	return &insightsv1.Event{At: timestamppb.New(at), Kind: &insightsv1.Event_Agent{Agent: &insightsv1.AgentEvent{
		AgentId: w.agent.String(), Status: "connected", LifecycleState: "ready", AppHealth: health,
	}}}
}

// report is what the control plane says at a moment, after what it said an interval before.
func (p *controlPlane) report(at time.Time, interval time.Duration) *insightsv1.ReportEventsRequest {
	// A login that is said twice is one.
	request := &insightsv1.ReportEventsRequest{Metrics: p.company.series(at), Events: p.company.logins(at.Add(-2*interval), at)}
	if p.running != nil {
		status := "succeeded"
		if p.builds%20 == 0 {
			status = "failed"
		}
		p.running.end(at, status)
		request.Events = append(request.Events, p.running.events(at)...)
	}
	w := p.company.workspaces[p.builds%len(p.company.workspaces)]
	p.builds++
	w.builds++
	p.running = p.company.provision(w, w.builds, at)
	p.running.begin(at)
	request.Events = append(request.Events, p.running.events(at)...)
	return request
}

// Numbers of the control plane's own.
const (
	daemons            = 3
	seats              = users + 50
	rateLimit          = 5000 // calls per hour
	validationsPerHour = 240
	prebuilt           = 4 // workspaces of each preset
	claimsPerHour      = 6
	creationsPerHour   = 9
)

// series are those that only the control plane knows. Counters began with the company's history.
func (c *Company) series(at time.Time) []*insightsv1.Metric {
	hours, active := at.Sub(c.now.Add(-month)).Hours(), 0.0
	for _, u := range c.Catalog.GetUsers() {
		if u.GetStatus() == "active" {
			active++
		}
	}
	var s seriesList
	for name, value := range map[string]float64{
		"coderd_license_active_users": active, "coderd_license_limit_users": seats, "coderd_license_user_limit_enabled": 1,
		"coderd_license_errors": 0, "coderd_license_warnings": 0, "coderd_provisionerd_num_daemons": daemons,
	} {
		s.add("gauge", name, value)
	}
	next := at.Truncate(time.Hour).Add(time.Hour)
	left := next.Sub(at)
	used := math.Floor((1 - left.Hours()) * validationsPerHour)
	for name, value := range map[string]float64{
		"rate_limit": rateLimit, "rate_limit_total": rateLimit, "rate_limit_used": used, "rate_limit_remaining": rateLimit - used,
		"rate_limit_next_reset_unix": float64(next.Unix()), "rate_limit_reset_in_seconds": math.Floor(left.Seconds()),
	} {
		s.add("gauge", "coderd_oauth2_external_requests_"+name, value, "name", "github", "resource", "core")
	}
	s.add(
		"counter", "coderd_oauth2_external_requests_total", math.Floor(hours*validationsPerHour), "name", "github", "source",
		"ValidateToken", "status_code", "200",
	)
	claims, created := math.Floor(hours*claimsPerHour), math.Floor(hours*creationsPerHour)
	for i, organization := range c.Catalog.GetOrganizations() {
		preset := []string{
			"template_name", c.Catalog.GetTemplates()[i].GetName(), "preset_name", "large", "organization_name", organization.GetName(),
		}
		s.add("gauge", "coderd_prebuilt_workspaces_desired", prebuilt, preset...)
		s.add("gauge", "coderd_prebuilt_workspaces_running", prebuilt, preset...)
		s.add("gauge", "coderd_prebuilt_workspaces_eligible", prebuilt-1, preset...)
		s.add("gauge", "coderd_prebuilt_workspaces_preset_hard_limited", 0, preset...)
		s.add("counter", "coderd_prebuilt_workspaces_created_total", claims+prebuilt, preset...)
		s.add("counter", "coderd_prebuilt_workspaces_failed_total", math.Floor(claims/50), preset...)
		s.add("counter", "coderd_prebuilt_workspaces_claimed_total", claims, preset...)
		s.add("counter", "coderd_workspace_creation_total", created, preset...)
		s.addHistogram("coderd_prebuilt_workspace_claim_duration_seconds", claims, 8, preset...)
		s.addHistogram("coderd_workspace_creation_duration_seconds", created, 40, append(preset, "type", "regular")...)
		s.addHistogram("coderd_template_workspace_build_duration_seconds", created, 50,
			"template_name", c.Catalog.GetTemplates()[i].GetName(), "transition", "start", "status", "success", "is_prebuild", "false",
			"organization_name", organization.GetName())
	}
	return s
}

// seriesList collects series.
type seriesList []*insightsv1.Metric

// add adds a series with labels, each a name and a value.
func (s *seriesList) add(kind, name string, value float64, labels ...string) {
	m := &insightsv1.Metric{Name: name, Type: kind, Value: value, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	*s = append(*s, m)
}

// addHistogram adds the series of a histogram whose values are that many seconds on average.
func (s *seriesList) addHistogram(name string, count, seconds float64, labels ...string) {
	for _, bucket := range []struct {
		bound string
		part  float64
	}{{"1", 0}, {"10", 0.4}, {"60", 0.9}, {"300", 1}, {"+Inf", 1}} {
		s.add("histogram", name+"_bucket", math.Floor(count*bucket.part), append(labels, "le", bucket.bound)...)
	}
	s.add("histogram", name+"_sum", count*seconds, labels...)
	s.add("histogram", name+"_count", count, labels...)
}
