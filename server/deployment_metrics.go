package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

const (
	deploymentEvery   = 30 * time.Second
	deploymentTimeout = 2 * time.Minute // of one refresh

	// Counters and histograms of workspaces are shown for that long after the last workspace of the name was deleted, so
	// that Prometheus sees their last steps. What they show are counts over rows that are kept for ever: they do not fall.
	shownAfterDeletion = 24 * time.Hour
)

// Families that are read from the database, so that every server shows the same of them. Their names and labels are those
// that existing dashboards and alerts know from Coder; the organization stands beside the template.
var (
	agentsUpFamily = &family{
		name: "coderd_agents_up", kind: gaugeFamily,
		help:   "The number of active agents per workspace.",
		labels: []string{"template_name", "username", "workspace_name", "template_version", organizationLabel},
	}
	agentsConnectionsFamily = &family{
		name: "coderd_agents_connections", kind: gaugeFamily,
		help:   "Agent connections with statuses.",
		labels: []string{"agent_name", "username", "workspace_name", "status", "lifecycle_state", "tailnet_node"},
	}
	agentsAppsFamily = &family{
		name: "coderd_agents_apps", kind: gaugeFamily,
		help:   "Agent applications with statuses.",
		labels: []string{"agent_name", "username", "workspace_name", "app_name", "health"},
	}
	firstConnectionFamily = &family{
		name: "coderd_agents_first_connection_seconds", kind: histogramFamily,
		help:    "Duration from the creation of a workspace agent to its first connection, in seconds.",
		labels:  []string{"template_name", "agent_name", "username", "workspace_name"},
		buckets: []float64{1, 10, 30, 60, 120, 300, 600, 1800, 3600},
	}
	skewedConnectionsFamily = &family{
		name: "insights_agents_first_connection_skewed", kind: gaugeFamily,
		help: "Agents left out of coderd_agents_first_connection_seconds because they connected before they were made: clocks differ.",
	}
	latestBuildStatusFamily = &family{
		name: "coderd_workspace_latest_build_status", kind: gaugeFamily,
		help:   "The current workspace statuses by template, transition, and owner.",
		labels: []string{"status", "template_name", "template_version", "workspace_owner", "workspace_transition", organizationLabel},
	}
	latestBuildFamily = &family{
		name: "coderd_api_workspace_latest_build", kind: gaugeFamily,
		help:   "The latest workspace builds with a status.",
		labels: []string{"status"},
	}
	latestBuildTotalFamily = &family{
		name: "coderd_api_workspace_latest_build_total", kind: gaugeFamily,
		help:   "DEPRECATED: use coderd_api_workspace_latest_build instead.",
		labels: []string{"status"},
	}
	activeUsersHourFamily = &family{
		name: "coderd_api_active_users_duration_hour", kind: gaugeFamily,
		help: "The number of users that have been active within the last hour.",
	}
	jobTimingsFamily = &family{
		name: "coderd_provisionerd_job_timings_seconds", kind: histogramFamily,
		help:    "The provisioner job time duration in seconds.",
		labels:  []string{"provisioner", "status"},
		buckets: []float64{1, 10, 30, 60, 300, 600, 1800, 3600},
	}
	jobsCurrentFamily = &family{
		name: "coderd_provisionerd_jobs_current", kind: gaugeFamily,
		help:   "The number of currently running provisioner jobs.",
		labels: []string{"provisioner"},
	}
)

// newWorkspaceBuildsFamily is the family whose labels depend on whom it shall suit: the older page names the transition
// action, and the owner by an address that this service does not know.
func newWorkspaceBuildsFamily(seed bool) *family {
	f := &family{
		name: "coderd_workspace_builds_total", kind: counterFamily,
		help:   "The number of workspaces started, updated, or deleted.",
		labels: []string{"workspace_owner", "workspace_name", "template_name", "template_version", "workspace_transition", "status", organizationLabel},
	}
	if seed {
		f.labels = append(f.labels, "action", "owner_email")
	}
	return f
}

// unknownLabel stands in labels for what nobody told.
const unknownLabel = "unknown"

// endStatuses are the statuses of jobs that ended, and what the families of jobs call them.
var endStatuses = map[string]string{"succeeded": "success", "failed": "failed", "canceled": "canceled"}

// deploymentCollector shows what the database knows of the whole deployment. Its owner refreshes it in the background; a
// scrape only hands out what is there. Before the first refresh that is nothing, and a family that nobody feeds is absent.
type deploymentCollector struct {
	store    *store.Store
	options  gaugesOptions
	logger   *slog.Logger
	seed     bool // with the labels of CompatSeed
	builds   *family
	seconds  []prometheus.Histogram // of reading about agents, under each of its names
	atOnce   chan struct{}          // asks for a refresh
	snapshot atomic.Pointer[deploymentSnapshot]
}

type deploymentSnapshot struct {
	samples
	distributions map[*family][]distributionSeries
}

// gaugesOptions say what the gauges are read from and how they are named. All fields without "nil" in their comment are needed.
type gaugesOptions struct {
	Store         *store.Store
	Logger        *slog.Logger
	Clock         func() time.Time
	Registry      prometheus.Registerer // of what the gauges tell about themselves
	MetricsCompat []string              // whose names and labels metrics have besides the usual ones: CompatSeed, CompatCoder; nil: nobody's
	OnlineWithin  time.Duration         // how long ago an agent that is online reported at most
}

// Sets of further names and labels of metrics, for dashboards that need them.
const (
	CompatSeed  = "seed"  // labels of the older documentation: action and owner_email, which holds the username
	CompatCoder = "coder" // names that Coder gives its metrics today and the documentation does not
)

func (o gaugesOptions) check() error {
	for _, compat := range o.MetricsCompat {
		if compat != CompatSeed && compat != CompatCoder {
			return fmt.Errorf("metrics are compatible with %s and %s, not with %q", CompatSeed, CompatCoder, compat)
		}
	}
	return nil
}

// newDeploymentCollector fails if an option is out of its range.
func newDeploymentCollector(c gaugesOptions) (*deploymentCollector, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &deploymentCollector{store: c.Store, options: c, logger: c.Logger, atOnce: make(chan struct{}, 1), seed: slices.Contains(c.MetricsCompat, CompatSeed)}
	d.builds = newWorkspaceBuildsFamily(d.seed)
	names := []string{"coderd_metrics_collector_agents_execution_seconds"}
	if slices.Contains(c.MetricsCompat, CompatCoder) {
		names = append(names, "coderd_prometheusmetrics_agents_execution_seconds")
	}
	for _, name := range names {
		//metricsdocgen:skip the names are among the hand-kept metrics
		d.seconds = append(d.seconds, promauto.With(c.Registry).NewHistogram(prometheus.HistogramOpts{
			Name:    name,
			Help:    "Histogram for duration of agents metrics collection in seconds.",
			Buckets: []float64{0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.500, 1, 5, 10, 30},
		}))
	}
	return d, nil
}

// families implements [producer].
func (c *deploymentCollector) families() []*family {
	return append([]*family{
		agentsUpFamily, agentsConnectionsFamily, agentsAppsFamily, firstConnectionFamily, skewedConnectionsFamily, latestBuildStatusFamily,
		latestBuildFamily, latestBuildTotalFamily, c.builds, activeUsersHourFamily, jobTimingsFamily, jobsCurrentFamily,
	}, controlPlaneFamilies...)
}

// produce implements [producer].
func (c *deploymentCollector) produce(p *metricsPage) {
	snapshot := c.snapshot.Load()
	if snapshot == nil {
		return
	}
	for _, f := range c.families() {
		if f.kind == histogramFamily {
			p.distributions(f, snapshot.distributions[f])
		} else {
			snapshot.produce(p, []*family{f})
		}
	}
}

// run keeps the snapshot fresh until the context is done.
func (c *deploymentCollector) run(ctx context.Context) {
	keepFresh(ctx, deploymentEvery, c.atOnce, c.logger, "deployment", c.refresh)
}

// forget asks for a snapshot without those who were erased.
func (c *deploymentCollector) forget(context.Context) error {
	nudge(c.atOnce)
	return nil
}

// refresh replaces the snapshot by one of the present.
func (c *deploymentCollector) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deploymentTimeout)
	defer cancel()
	now := c.options.Clock()
	scope, err := metricsScope(ctx, c.store, store.PrivacyPseudonym)
	if err != nil {
		return err
	}
	s := &deploymentSnapshot{samples{}, map[*family][]distributionSeries{}}
	begin := time.Now()
	for _, read := range []func(context.Context, access.Scope, time.Time, *deploymentSnapshot) error{c.readWorkspaces, c.readFirstConnections} {
		if err := read(ctx, scope, now, s); err != nil {
			return err
		}
	}
	for _, h := range c.seconds {
		h.Observe(time.Since(begin).Seconds())
	}
	for _, read := range []func(context.Context, access.Scope, time.Time, *deploymentSnapshot) error{c.readBuilds, c.readActiveUsers, c.readJobs, c.readControlPlane} {
		if err := read(ctx, scope, now, s); err != nil {
			return err
		}
	}
	c.snapshot.Store(s)
	return nil
}

func (c *deploymentCollector) readWorkspaces(ctx context.Context, scope access.Scope, now time.Time, s *deploymentSnapshot) error {
	workspaces, err := c.store.LiveWorkspaces(ctx, scope)
	if err != nil {
		return err
	}
	apps, err := c.store.LiveApps(ctx, scope)
	if err != nil {
		return err
	}
	latest := map[string]int{}
	for _, w := range workspaces {
		s.add(agentsUpFamily, float64(len(w.Agents)), w.Template, w.Owner, w.Workspace, w.Version, w.Organization)
		if w.Status != "" {
			s.add(latestBuildStatusFamily, 1, w.Status, w.Template, w.Version, w.Owner, w.Transition, w.Organization)
			latest[w.Status]++
		}
		for _, a := range w.Agents {
			c.addAgent(s, w, a, apps[a.ID], now)
		}
	}
	if len(latest) == 0 {
		return nil
	}
	for _, status := range store.JobStatuses {
		s.add(latestBuildFamily, float64(latest[status]), status)
		s.add(latestBuildTotalFamily, float64(latest[status]), status)
	}
	return nil
}

func (c *deploymentCollector) addAgent(s *deploymentSnapshot, w store.LiveWorkspace, a store.LiveAgent, apps []store.App, now time.Time) {
	status, lifecycle := a.Status, a.LifecycleState
	if status == "" { // nobody tells, but its reports do
		switch lifecycle = unknownLabel; {
		case a.LastSeenAt.IsZero():
			status = "connecting"
		case a.LastSeenAt.Before(now.Add(-c.options.OnlineWithin)):
			status = "disconnected"
		default:
			status = "connected"
		}
	}
	s.add(agentsConnectionsFamily, 1, a.Agent, w.Owner, w.Workspace, status, lifecycle, unknownLabel)
	for _, app := range apps {
		health, told := a.AppHealth[app.Slug]
		if !told {
			health = "disabled" // as an app without a health check
		}
		s.add(agentsAppsFamily, 1, a.Agent, w.Owner, w.Workspace, app.DisplayName, health)
	}
}

func (c *deploymentCollector) readFirstConnections(ctx context.Context, scope access.Scope, now time.Time, s *deploymentSnapshot) error {
	connections, skewed, err := c.store.FirstConnections(ctx, scope, firstConnectionFamily.buckets, now.Add(-shownAfterDeletion))
	if err != nil {
		return err
	}
	for _, f := range connections {
		s.addDistribution(firstConnectionFamily, f.Distribution, f.Template, f.Agent, f.Owner, f.Workspace)
	}
	s.add(skewedConnectionsFamily, float64(skewed))
	return nil
}

func (c *deploymentCollector) readBuilds(ctx context.Context, scope access.Scope, now time.Time, s *deploymentSnapshot) error {
	ended, err := c.store.EndedBuilds(ctx, scope, now.Add(-shownAfterDeletion))
	if err != nil {
		return err
	}
	for _, e := range ended {
		labels := []string{e.Owner, e.Workspace, e.Template, e.Version, e.Transition, endStatuses[e.Status], e.Organization}
		if c.seed {
			labels = append(labels, e.Transition, e.Owner)
		}
		s.add(c.builds, float64(e.Builds), labels...).zeroAt(e.Since.Time)
	}
	return nil
}

func (c *deploymentCollector) readActiveUsers(ctx context.Context, _ access.Scope, now time.Time, s *deploymentSnapshot) error {
	scope, err := metricsScope(ctx, c.store, store.PrivacyFull)
	if err != nil {
		return err
	}
	hour := []minute.Window{minute.NewWindow(now.Add(-time.Hour), now)}
	activity, err := c.store.Activity(ctx, scope, hour, func(minute.Kind, string) bool { return true })
	if err != nil {
		return err
	}
	s.add(activeUsersHourFamily, float64(len(activity.Windows[0])))
	return nil
}

func (c *deploymentCollector) readJobs(ctx context.Context, _ access.Scope, _ time.Time, s *deploymentSnapshot) error {
	timings, err := c.store.JobTimings(ctx, jobTimingsFamily.buckets)
	if err != nil {
		return err
	}
	for _, t := range timings {
		s.addDistribution(jobTimingsFamily, t.Distribution, t.Provisioner, endStatuses[t.Status])
	}
	running, err := c.store.RunningJobs(ctx)
	if err != nil {
		return err
	}
	for provisioner, jobs := range running {
		s.add(jobsCurrentFamily, float64(jobs), provisioner)
	}
	return nil
}

func (c *deploymentCollector) readControlPlane(ctx context.Context, _ access.Scope, now time.Time, s *deploymentSnapshot) error {
	series, err := c.store.ControlPlaneSeries(ctx, now.Add(-seriesLifetime))
	if err != nil {
		return err
	}
	if err := s.addControlPlane(series); err != nil {
		return fmt.Errorf("show series of the control plane: %w", err)
	}
	return nil
}

// addDistribution adds a distribution over the family's buckets.
func (s *deploymentSnapshot) addDistribution(f *family, d store.Distribution, labels ...string) {
	s.distributions[f] = append(s.distributions[f], distributionSeries{labels, f.buckets, d})
}
