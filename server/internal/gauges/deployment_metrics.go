// Package gauges reads the database in the background and keeps snapshots of it as metric families: the deployment every
// 30 seconds, the insights of the last five minutes every 15. It knows nothing of calls, callers and streams.
package gauges

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/server/internal/exposition"
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
// that existing dashboards and alerts know from Coder; the organization stands beside them, so that nobody can name what is theirs like
// what is somebody else's and change its series.
var (
	agentsUpFamily = &exposition.Family{
		Name: "coderd_agents_up", Kind: exposition.GaugeFamily,
		Help:   "The number of active agents per workspace.",
		Labels: []string{"template_name", "username", "workspace_name", "template_version", exposition.OrganizationLabel},
	}
	agentsConnectionsFamily = &exposition.Family{
		Name: "coderd_agents_connections", Kind: exposition.GaugeFamily,
		Help: "Agent connections with statuses.",
		Labels: []string{
			"agent_name", "username", "workspace_name", "status", "lifecycle_state", "tailnet_node", exposition.OrganizationLabel,
		},
	}
	agentsAppsFamily = &exposition.Family{
		Name: "coderd_agents_apps", Kind: exposition.GaugeFamily,
		Help:   "Agent applications with statuses.",
		Labels: []string{"agent_name", "username", "workspace_name", "app_name", "health", exposition.OrganizationLabel},
	}
	firstConnectionFamily = &exposition.Family{
		Name: "coderd_agents_first_connection_seconds", Kind: exposition.HistogramFamily,
		Help:    "Duration from the creation of a workspace agent to its first connection, in seconds.",
		Labels:  []string{"template_name", "agent_name", "username", "workspace_name", exposition.OrganizationLabel},
		Buckets: []float64{1, 10, 30, 60, 120, 300, 600, 1800, 3600}, Native: true,
	}
	skewedConnectionsFamily = &exposition.Family{
		Name: "insights_agents_first_connection_skewed", Kind: exposition.GaugeFamily,
		Help: "Agents left out of coderd_agents_first_connection_seconds because they connected before they were made: clocks differ.",
	}
	latestBuildStatusFamily = &exposition.Family{
		Name: "coderd_workspace_latest_build_status", Kind: exposition.GaugeFamily,
		Help: "The current workspace statuses by template, transition, and owner.",
		Labels: []string{
			"status", "template_name", "template_version", "workspace_owner", "workspace_transition", exposition.OrganizationLabel,
		},
	}
	latestBuildFamily = &exposition.Family{
		Name: "coderd_api_workspace_latest_build", Kind: exposition.GaugeFamily,
		Help:   "The latest workspace builds with a status.",
		Labels: []string{"status"},
	}
	latestBuildTotalFamily = &exposition.Family{
		Name: "coderd_api_workspace_latest_build_total", Kind: exposition.GaugeFamily,
		Help:   "DEPRECATED: use coderd_api_workspace_latest_build instead.",
		Labels: []string{"status"},
	}
	activeUsersHourFamily = &exposition.Family{
		Name: "coderd_api_active_users_duration_hour", Kind: exposition.GaugeFamily,
		Help: "The number of users that have been active within the last hour: who used the control plane where one is followed, " +
			"workspaces elsewhere. Every account counts, or those of --metrics-actors.",
	}
	jobTimingsFamily = &exposition.Family{
		Name: "coderd_provisionerd_job_timings_seconds", Kind: exposition.HistogramFamily,
		Help:    "The provisioner job time duration in seconds.",
		Labels:  []string{"provisioner", "status"},
		Buckets: []float64{1, 10, 30, 60, 300, 600, 1800, 3600},
	}
	jobsCurrentFamily = &exposition.Family{
		Name: "coderd_provisionerd_jobs_current", Kind: exposition.GaugeFamily,
		Help:   "The number of currently running provisioner jobs.",
		Labels: []string{"provisioner"},
	}
)

// newWorkspaceBuildsFamily is the family whose labels depend on whom it shall suit: the older page names the transition
// action, and the owner by an address that this service does not know.
func newWorkspaceBuildsFamily(seed bool) *exposition.Family {
	f := &exposition.Family{
		Name: "coderd_workspace_builds_total", Kind: exposition.CounterFamily,
		Help: "The number of workspaces started, updated, or deleted.",
		Labels: []string{
			"workspace_owner", "workspace_name", "template_name", "template_version", "workspace_transition", "status",
			exposition.OrganizationLabel,
		},
	}
	if seed {
		f.Labels = append(f.Labels, "action", "owner_email")
	}
	return f
}

// newFirstConnectionFamily is the family as whom it shall suit has it: newer releases of Coder do not say whose agents they are.
func newFirstConnectionFamily(coder bool) *exposition.Family {
	f := *firstConnectionFamily
	if coder {
		f.Labels = []string{"template_name", "agent_name", exposition.OrganizationLabel}
	}
	return &f
}

// unknownLabel stands in labels for what nobody told.
const unknownLabel = "unknown"

// endStatuses are the statuses of jobs that ended, and what the families of jobs call them.
var endStatuses = map[string]string{"succeeded": "success", "failed": "failed", "canceled": "canceled"}

// Deployment shows what the database knows of the whole deployment. Its owner refreshes it in the background; a
// scrape only hands out what is there. Before the first refresh that is nothing, and a family that nobody feeds is absent.
type Deployment struct {
	store    *store.Store
	options  Options
	logger   *slog.Logger
	seed     bool // with the labels of CompatSeed
	coder    bool // with the names and labels of CompatCoder
	builds   *exposition.Family
	first    *exposition.Family     // of first connections
	seconds  []prometheus.Histogram // of reading about agents, under each of its names
	atOnce   chan struct{}          // asks for a refresh
	snapshot latest[snapshot]
}

type snapshot struct {
	exposition.Samples
	distributions map[*exposition.Family][]exposition.DistributionSeries
}

// Options say what the gauges are read from and how they are named. All fields without "nil" in their comment are needed.
type Options struct {
	Store    *store.Store
	Logger   *slog.Logger
	Clock    func() time.Time
	Registry prometheus.Registerer // of what the gauges tell about themselves
	// whose names and labels metrics have besides the usual ones: CompatSeed, CompatCoder; nil: nobody's
	MetricsCompat []string
	// whose usage and workspaces gauges with Coder's names count: names of minute.ParseActors; nil: everybody's, as Coder does
	MetricsActors []string
	OnlineWithin  time.Duration            // how long ago an agent that is online reported at most
	ControlPlane  *exposition.ControlPlane // the families that the control plane may report
}

// Sets of further names and labels of metrics, for dashboards that need them.
const (
	CompatSeed  = "seed"  // labels of the older documentation: action and owner_email, which holds the username
	CompatCoder = "coder" // names and labels that Coder gives its metrics today and the documentation does not
)

func (o Options) check() error {
	for _, compat := range o.MetricsCompat {
		if compat != CompatSeed && compat != CompatCoder {
			return fmt.Errorf("metrics are compatible with %s and %s, not with %q", CompatSeed, CompatCoder, compat)
		}
	}
	if _, unknown, ok := minute.ParseActors(o.MetricsActors); !ok {
		return fmt.Errorf("metrics are about some of %v, not about %q", minute.ActorNames(), unknown)
	}
	return nil
}

// actors are those whose usage and workspaces gauges with Coder's names count.
func (o Options) actors() minute.Actors {
	if o.MetricsActors == nil {
		return minute.Everybody
	}
	actors, _, _ := minute.ParseActors(o.MetricsActors)
	return actors
}

// NewDeployment fails if an option is out of its range.
func NewDeployment(c Options) (*Deployment, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &Deployment{
		store: c.Store, options: c, logger: c.Logger, atOnce: make(chan struct{}, 1), seed: slices.Contains(c.MetricsCompat, CompatSeed),
		coder: slices.Contains(c.MetricsCompat, CompatCoder),
	}
	d.builds, d.first = newWorkspaceBuildsFamily(d.seed), newFirstConnectionFamily(d.coder)
	names := []string{"coderd_metrics_collector_agents_execution_seconds"}
	if d.coder {
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

// Families implements [producer].
func (c *Deployment) Families() []*exposition.Family {
	return append([]*exposition.Family{
		agentsUpFamily, agentsConnectionsFamily, agentsAppsFamily, c.first, skewedConnectionsFamily, latestBuildStatusFamily,
		latestBuildFamily, latestBuildTotalFamily, c.builds, activeUsersHourFamily, jobTimingsFamily, jobsCurrentFamily,
	}, c.options.ControlPlane.Families()...)
}

// Produce implements [producer].
func (c *Deployment) Produce(p *exposition.Writer) {
	snapshot := c.snapshot.load()
	if snapshot == nil {
		return
	}
	for _, f := range c.Families() {
		if f.Kind == exposition.HistogramFamily {
			p.Distributions(f, snapshot.distributions[f])
		} else {
			snapshot.Produce(p, []*exposition.Family{f})
		}
	}
}

// Run keeps the snapshot fresh until the context is done.
func (c *Deployment) Run(ctx context.Context) {
	background.KeepFresh(ctx, deploymentEvery, c.atOnce, c.logger, "deployment", c.Refresh)
}

// Forget drops the snapshot and asks for one without those who were erased or are hidden now.
func (c *Deployment) Forget(context.Context) error {
	c.snapshot.drop()
	c.Nudge()
	return nil
}

// Nudge asks for a new snapshot.
func (c *Deployment) Nudge() { background.Nudge(c.atOnce) }

// Refresh replaces the snapshot by one of the present.
func (c *Deployment) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deploymentTimeout)
	defer cancel()
	begun := c.snapshot.begin()
	now := c.options.Clock()
	scope, err := metricsScope(ctx, c.store, store.PrivacyPseudonym)
	if err != nil {
		return err
	}
	s := &snapshot{exposition.Samples{}, map[*exposition.Family][]exposition.DistributionSeries{}}
	begin := time.Now() // the real clock: how long reading takes is measured
	for _, read := range []func(context.Context, access.Scope, time.Time, *snapshot) error{c.readWorkspaces, c.readFirstConnections} {
		if err := read(ctx, scope, now, s); err != nil {
			return err
		}
	}
	for _, h := range c.seconds {
		h.Observe(time.Since(begin).Seconds())
	}
	for _, read := range []func(context.Context, access.Scope, time.Time, *snapshot) error{
		c.readBuilds, c.readJobs, c.readControlPlane, c.readActiveUsers, c.readImported,
	} {
		if err := read(ctx, scope, now, s); err != nil {
			return err
		}
	}
	c.snapshot.store(s, begun)
	return nil
}

func (c *Deployment) readWorkspaces(ctx context.Context, scope access.Scope, now time.Time, s *snapshot) error {
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
		s.Add(agentsUpFamily, float64(len(w.Agents)), w.Template, w.Owner, w.Workspace, w.Version, w.Organization)
		if b := w.Newest; b.Status != "" {
			s.Add(latestBuildStatusFamily, 1, b.Status, w.Template, b.Version, w.Owner, b.Transition, w.Organization)
			latest[b.Status]++
		}
		for _, a := range w.Agents {
			c.addAgent(s, w, a, apps[a.ID], now)
		}
	}
	if len(latest) == 0 {
		return nil
	}
	for _, status := range store.JobStatuses {
		s.Add(latestBuildFamily, float64(latest[status]), status)
		s.Add(latestBuildTotalFamily, float64(latest[status]), status)
	}
	return nil
}

func (c *Deployment) addAgent(s *snapshot, w store.LiveWorkspace, a store.LiveAgent, apps []store.App, now time.Time) {
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
	s.Add(agentsConnectionsFamily, 1, a.Agent, w.Owner, w.Workspace, status, lifecycle, unknownLabel, w.Organization)
	for _, app := range apps {
		health, told := a.AppHealth[app.Slug]
		if !told {
			health = "disabled" // as an app without a health check
		}
		s.Add(agentsAppsFamily, 1, a.Agent, w.Owner, w.Workspace, app.DisplayName, health, w.Organization)
	}
}

func (c *Deployment) readFirstConnections(ctx context.Context, scope access.Scope, now time.Time, s *snapshot) error {
	since := now.Add(-shownAfterDeletion)
	if c.coder { // a count of many workspaces would fall when one of them is no longer shown
		since = time.Time{}
	}
	connections, skewed, err := c.store.FirstConnections(ctx, scope, c.first.Buckets, since)
	if err != nil {
		return err
	}
	for _, f := range connections {
		labels := []string{f.Template, f.Agent, f.Owner, f.Workspace, f.Organization}
		if c.coder {
			labels = []string{f.Template, f.Agent, f.Organization}
		}
		s.addDistribution(c.first, f.Distribution, labels...)
	}
	s.Add(skewedConnectionsFamily, float64(skewed))
	return nil
}

func (c *Deployment) readBuilds(ctx context.Context, scope access.Scope, now time.Time, s *snapshot) error {
	ended, err := c.store.EndedBuilds(ctx, scope, now.Add(-shownAfterDeletion))
	if err != nil {
		return err
	}
	for _, e := range ended {
		labels := []string{e.Owner, e.Workspace, e.Template, e.Version, e.Transition, endStatuses[e.Status], e.Organization}
		if c.seed {
			labels = append(labels, e.Transition, e.Owner)
		}
		s.Add(c.builds, float64(e.Builds), labels...).ZeroAt(e.Since.Time)
	}
	return nil
}

// readActiveUsers counts who used a workspace, unless the control plane that is followed says who used itself.
func (c *Deployment) readActiveUsers(ctx context.Context, _ access.Scope, now time.Time, s *snapshot) error {
	if s.Samples[activeUsersHourFamily] != nil {
		return nil
	}
	scope, err := metricsScope(ctx, c.store, store.PrivacyFull)
	if err != nil {
		return err
	}
	hour := []minute.Window{minute.NewWindow(now.Add(-time.Hour), now)}
	activity, err := c.store.Activity(ctx, scope, c.options.actors(), hour, func(minute.Kind, string) bool { return true })
	if err != nil {
		return err
	}
	s.Add(activeUsersHourFamily, float64(len(activity.Windows[0])))
	return nil
}

func (c *Deployment) readJobs(ctx context.Context, _ access.Scope, _ time.Time, s *snapshot) error {
	timings, err := c.store.JobTimings(ctx, jobTimingsFamily.Buckets)
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
		s.Add(jobsCurrentFamily, float64(jobs), provisioner)
	}
	return nil
}

func (c *Deployment) readControlPlane(ctx context.Context, _ access.Scope, now time.Time, s *snapshot) error {
	series, err := c.store.ControlPlaneSeries(ctx, now.Add(-exposition.SeriesLifetime))
	if err != nil {
		return err
	}
	organizations, err := c.store.OrganizationNames(ctx)
	if err != nil {
		return err
	}
	for _, r := range series {
		if r.Name != store.ActiveUsersHour {
			continue
		}
		var of struct{ Actor string }
		if err := json.Unmarshal([]byte(r.Labels), &of); err != nil {
			return fmt.Errorf("read labels of %s: %w", r.Name, err)
		}
		value := 0.0
		if actors, _, known := minute.ParseActors([]string{of.Actor}); known && actors&c.options.actors() != 0 {
			value = r.Value
		}
		s.Add(activeUsersHourFamily, value)
	}
	if err := s.addControlPlane(c.options.ControlPlane, series, organizations); err != nil {
		return fmt.Errorf("show series of the control plane: %w", err)
	}
	return nil
}

// addDistribution adds a distribution over the family's buckets.
func (s *snapshot) addDistribution(f *exposition.Family, d store.Distribution, labels ...string) {
	s.distributions[f] = append(s.distributions[f], exposition.DistributionSeries{Labels: labels, Bounds: f.Buckets, Distribution: d})
}
