package exposition

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// SeriesLifetime is how long a series of the control plane is shown after it was reported last.
const SeriesLifetime = 10 * time.Minute

// OrganizationLabel names the organization that a series is about. A family without it is about the whole deployment.
const OrganizationLabel = "organization_name"

// InitiatorLabel names the person who caused what a series counts. Any series of the control plane may have it; the page shows
// none, and adds the series up.
const InitiatorLabel = "initiator_id"

// Labels of the families of the control plane.
var (
	noLabels        = []string{}
	rateLimitLabels = []string{"name", "resource"}
	presetLabels    = []string{"template_name", "preset_name", OrganizationLabel}
)

// ControlPlaneFamilies are the families whose values nobody but the control plane knows. Their names, types and labels are those
// that existing dashboards and alerts know from Coder.
var ControlPlaneFamilies = slices.Concat([]*Family{
	{Name: "coderd_license_active_users", Help: "The number of active users.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coderd_license_limit_users", Help: "The user seats limit based on the active Coder license.", Kind: GaugeFamily,
		Labels: noLabels,
	},
	{
		Name: "coderd_license_user_limit_enabled", Help: "Returns 1 if the current license enforces the user limit.", Kind: GaugeFamily,
		Labels: noLabels,
	},
	{Name: "coderd_license_errors", Help: "The number of active license errors.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coderd_license_warnings", Help: "The number of active license warnings.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coderd_oauth2_external_requests_rate_limit", Help: "The total number of allowed requests per interval.", Kind: GaugeFamily,
		Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_rate_limit_total",
		Help: "DEPRECATED: use coderd_oauth2_external_requests_rate_limit instead.", Kind: GaugeFamily, Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_rate_limit_remaining", Help: "The remaining number of allowed requests in this interval.",
		Kind: GaugeFamily, Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_rate_limit_used", Help: "The number of requests made in this interval.", Kind: GaugeFamily,
		Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_rate_limit_next_reset_unix", Help: "Unix timestamp of the next interval.", Kind: GaugeFamily,
		Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_rate_limit_reset_in_seconds", Help: "Seconds until the next interval.", Kind: GaugeFamily,
		Labels: rateLimitLabels,
	},
	{
		Name: "coderd_oauth2_external_requests_total",
		Help: "The total number of api calls made to external oauth2 providers. 'status_code' will be 0 if the request failed with no " +
			"response.",
		Kind: CounterFamily, Labels: []string{"name", "source", "status_code"},
	},
	{Name: "coderd_provisionerd_num_daemons", Help: "The number of provisioner daemons.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coderd_prebuilt_workspaces_desired", Help: "Target number of prebuilt workspaces that should be available.",
		Kind: GaugeFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_running", Help: "Current number of prebuilt workspaces that are in a running state.",
		Kind: GaugeFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_eligible", Help: "Current number of prebuilt workspaces that are eligible to be claimed.",
		Kind: GaugeFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_created_total", Help: "Total number of prebuilt workspaces that have been created.",
		Kind: CounterFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_failed_total", Help: "Total number of prebuilt workspaces that failed to build.",
		Kind: CounterFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_claimed_total", Help: "Total number of prebuilt workspaces that were claimed by users.",
		Kind: CounterFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_preset_hard_limited", Help: "1 if a preset has reached its limit of failed builds.",
		Kind: GaugeFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspace_claim_duration_seconds",
		Help: "Time to claim a prebuilt workspace, in seconds.", Kind: HistogramFamily, Labels: presetLabels, Native: true,
	},
	{
		Name: "coderd_workspace_creation_total",
		Help: "Total number of regular workspaces, not prebuilt ones, that were created.", Kind: CounterFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_workspace_creation_duration_seconds",
		Help: "Time to create a workspace, in seconds.", Kind: HistogramFamily, Labels: append([]string{"type"}, presetLabels...),
		Native: true,
	},
	{
		Name: "coderd_template_workspace_build_duration_seconds",
		Help: "Time from the creation of a workspace build until its agents are ready or failed, in seconds.", Kind: HistogramFamily,
		Labels: []string{"template_name", "transition", "status", "is_prebuild", OrganizationLabel},
	},
}, gatewayFamilies, serverFamilies)

// ownPrefixes are those of the names of this service, its libraries and Prometheus.
var ownPrefixes = []string{
	"insights_", "go_", "process_", "promhttp_", "grpc_", "scrape_", "coderd_agents_", "coderd_agentstats_", "coderd_api_",
	"coderd_insights_",
}

// Reserved says whether a name is for families of this service, its libraries or Prometheus, as far as that can be told by its
// beginning.
func Reserved(name string) bool {
	return name == "up" || slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// ControlPlane is the list of families that the control plane may report: those above, and further ones, which may change while
// the server runs.
type ControlPlane struct {
	list atomic.Pointer[controlPlaneList]
}

type controlPlaneList struct {
	families []*Family
	byName   map[string]*Family
	claimed  map[string]bool
}

// NewControlPlane has no further families.
func NewControlPlane() *ControlPlane {
	c := &ControlPlane{}
	c.Extend(nil)
	return c
}

// Extend replaces the further families. One of them with the name of a family of above takes its place; a histogram that takes the
// place of one that is a native one too is so as well.
func (c *ControlPlane) Extend(further []*Family) {
	l := &controlPlaneList{byName: map[string]*Family{}, claimed: map[string]bool{}}
	for _, f := range ControlPlaneFamilies {
		l.byName[f.Name] = f
	}
	for _, f := range further {
		one := *f
		replaced := l.byName[f.Name]
		one.Native = f.Kind == HistogramFamily && replaced != nil && replaced.Native
		l.byName[f.Name] = &one
	}
	for _, name := range slices.Sorted(maps.Keys(l.byName)) {
		f := l.byName[name]
		l.families = append(l.families, f)
		for _, claim := range Claims(f.Name, f.Kind) {
			l.claimed[claim] = true
		}
	}
	c.list.Store(l)
}

// Families are all of them, by name.
func (c *ControlPlane) Families() []*Family { return c.list.Load().families }

// Claims says whether one of the families takes a name.
func (c *ControlPlane) Claims(name string) bool { return c.list.Load().claimed[name] }

// Family finds the family of a series, and for that of a histogram what part of it the series is.
func (c *ControlPlane) Family(series string) (f *Family, suffix string) {
	byName := c.list.Load().byName
	if f := byName[series]; f != nil && f.Kind != HistogramFamily {
		return f, ""
	}
	for _, suffix := range []string{BucketSuffix, SumSuffix, CountSuffix} {
		name, ok := strings.CutSuffix(series, suffix)
		if f := byName[name]; ok && f != nil && f.Kind == HistogramFamily {
			return f, suffix
		}
	}
	return nil, ""
}
