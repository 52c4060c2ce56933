package gauges

import (
	"context"
	"slices"
	"time"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Bounds of the histograms of builds, which are those of Coder.
var (
	buildBounds = []float64{1, 10, 30, 60, 300, 600, 1800, 3600}
	claimBounds = []float64{1, 5, 10, 20, 30, 60, 120, 180, 240, 300}
	waitBounds  = []float64{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 900, 1800}
)

// readImported counts what the control plane does not tell while it is followed, of what was imported. A family that somebody reports stays
// as it is reported.
func (c *Deployment) readImported(ctx context.Context, _ access.Scope, _ time.Time, s *snapshot) error {
	followed, err := c.store.Followed(ctx)
	if err != nil || len(followed) == 0 {
		return err
	}
	scope, err := metricsScope(ctx, c.store, store.PrivacyPseudonym)
	if err != nil {
		return err
	}
	i := imported{s, c.options.ControlPlane, map[*exposition.Family]bool{}}
	for _, f := range c.options.ControlPlane.Families() {
		i.told[f] = s.Samples[f] != nil || len(s.distributions[f]) > 0
	}
	for _, read := range []func(context.Context, *store.Store, access.Scope) error{i.users, i.jobs, i.builds, i.creations} {
		if err := read(ctx, c.store, scope); err != nil {
			return err
		}
	}
	return nil
}

// imported adds families of the control plane to a snapshot.
type imported struct {
	to       *snapshot
	families *exposition.ControlPlane
	told     map[*exposition.Family]bool // is reported
}

// labels are those of a series, by name: a file of definitions may have changed which ones a family has.
type labels map[string]string

func (l labels) of(f *exposition.Family) []string {
	values := make([]string, len(f.Labels))
	for i, name := range f.Labels {
		values[i] = l[name]
	}
	return values
}

// add adds to a counter or gauge.
func (i imported) add(name string, value int64, l labels) {
	if f, _ := i.families.Family(name); f != nil && !i.told[f] {
		i.to.Add(f, float64(value), l.of(f)...)
	}
}

// spread adds to a histogram.
func (i imported) spread(name string, bounds []float64, d store.Distribution, l labels) {
	f, _ := i.families.Family(name + exposition.CountSuffix)
	if f != nil && !i.told[f] {
		one := exposition.DistributionSeries{Labels: l.of(f), Bounds: bounds, Distribution: d}
		i.to.distributions[f] = append(i.to.distributions[f], one)
	}
}

// users counts the users by status, and those that have a seat.
func (i imported) users(ctx context.Context, from *store.Store, _ access.Scope) error {
	counts, err := from.UserCounts(ctx)
	if err != nil {
		return err
	}
	seats := int64(0)
	for _, c := range counts {
		i.add("coderd_api_total_user_count", c.Users, labels{"status": c.Status})
		if c.Kind == store.Human && c.Status == "active" {
			seats += c.Users
		}
	}
	i.add("coderd_license_active_users", seats, nil)
	return nil
}

func (i imported) jobs(ctx context.Context, from *store.Store, _ access.Scope) error {
	waits, err := from.QueueWaits(ctx, waitBounds)
	if err != nil {
		return err
	}
	for _, w := range waits {
		i.spread("coderd_provisioner_job_queue_wait_seconds", waitBounds, w.Distribution, labels{
			"provisioner_type": w.Labels[0], "job_type": w.Labels[1], "transition": w.Labels[2], "build_reason": w.Labels[3],
		})
	}
	enqueued, err := from.EnqueuedBuilds(ctx)
	if err != nil {
		return err
	}
	for _, e := range enqueued { // what could not be enqueued is in no database
		i.add("coderd_workspace_builds_enqueued_total", e.Builds, labels{
			"provisioner_type": e.Provisioner, "build_reason": e.Reason, "transition": e.Transition, "status": "success",
		})
	}
	return nil
}

func (i imported) builds(ctx context.Context, from *store.Store, scope access.Scope) error {
	timings, err := from.BuildTimings(ctx, scope, buildBounds)
	if err != nil {
		return err
	}
	for _, t := range timings {
		i.spread("coderd_provisionerd_workspace_build_timings_seconds", buildBounds, t.Distribution, labels{
			"template_name": t.Labels[0], "template_version": t.Labels[1], "workspace_transition": t.Labels[2],
			"status": endStatuses[t.Labels[3]],
		})
	}
	return nil
}

// creations counts workspaces that came, prebuilt and not, and how long that took.
func (i imported) creations(ctx context.Context, from *store.Store, scope access.Scope) error {
	bounds := slices.Compact(slices.Sorted(slices.Values(slices.Concat(buildBounds, claimBounds))))
	timings, err := from.CreationTimings(ctx, scope, bounds)
	if err != nil {
		return err
	}
	for _, t := range timings {
		l := labels{
			exposition.OrganizationLabel: t.Labels[0], "template_name": t.Labels[1], "preset_name": t.Labels[2], "type": "regular",
		}
		name, some := "coderd_workspace_creation_duration_seconds", buildBounds
		switch t.Labels[3] {
		case "claimed":
			name, some = "coderd_prebuilt_workspace_claim_duration_seconds", claimBounds
		case "created":
			l["type"] = "prebuild"
		}
		i.spread(name, some, within(t.Distribution, bounds, some), l)
	}
	counts, err := from.Creations(ctx, scope)
	if err != nil {
		return err
	}
	for _, n := range counts {
		l := labels{exposition.OrganizationLabel: n.Organization, "template_name": n.Template, "preset_name": n.Preset}
		switch n.Prebuild {
		case "claimed":
			i.add("coderd_prebuilt_workspaces_claimed_total", n.Builds, l)
		case "created":
			i.add("coderd_prebuilt_workspaces_created_total", n.Builds, l)
			i.add("coderd_prebuilt_workspaces_failed_total", n.Failed, l)
			i.add("coderd_prebuilt_workspaces_claimed_total", 0, l)
		default:
			i.add("coderd_workspace_creation_total", n.Builds, l)
		}
	}
	return nil
}

// within is a distribution over some of its bounds.
func within(d store.Distribution, bounds, some []float64) store.Distribution {
	below := make([]int64, len(some))
	for i, b := range some {
		below[i] = d.Below[slices.Index(bounds, b)]
	}
	d.Below = below
	return d
}
