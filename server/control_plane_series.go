package server

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// seriesLifetime is how long a series of the control plane is shown after it was reported last.
const seriesLifetime = 10 * time.Minute

// organizationLabel names the organization that a series is about. A family without it is about the whole deployment.
const organizationLabel = "organization_name"

// Labels of the families of the control plane.
var (
	noLabels        = []string{}
	rateLimitLabels = []string{"name", "resource"}
	presetLabels    = []string{"template_name", "preset_name", organizationLabel}
)

// controlPlaneFamilies are the families whose values nobody but the control plane knows. The list is closed: their names,
// types and labels are those that existing dashboards and alerts know from Coder.
var controlPlaneFamilies = []*family{
	{name: "coderd_license_active_users", help: "The number of active users.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_license_limit_users", help: "The user seats limit based on the active Coder license.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_license_user_limit_enabled", help: "Returns 1 if the current license enforces the user limit.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_license_errors", help: "The number of active license errors.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_license_warnings", help: "The number of active license warnings.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_oauth2_external_requests_rate_limit", help: "The total number of allowed requests per interval.", kind: gaugeFamily, labels: rateLimitLabels},
	{
		name: "coderd_oauth2_external_requests_rate_limit_total",
		help: "DEPRECATED: use coderd_oauth2_external_requests_rate_limit instead.", kind: gaugeFamily, labels: rateLimitLabels,
	},
	{name: "coderd_oauth2_external_requests_rate_limit_remaining", help: "The remaining number of allowed requests in this interval.", kind: gaugeFamily, labels: rateLimitLabels},
	{name: "coderd_oauth2_external_requests_rate_limit_used", help: "The number of requests made in this interval.", kind: gaugeFamily, labels: rateLimitLabels},
	{name: "coderd_oauth2_external_requests_rate_limit_next_reset_unix", help: "Unix timestamp of the next interval.", kind: gaugeFamily, labels: rateLimitLabels},
	{name: "coderd_oauth2_external_requests_rate_limit_reset_in_seconds", help: "Seconds until the next interval.", kind: gaugeFamily, labels: rateLimitLabels},
	{
		name: "coderd_oauth2_external_requests_total",
		help: "The total number of api calls made to external oauth2 providers. 'status_code' will be 0 if the request failed with no response.",
		kind: counterFamily, labels: []string{"name", "source", "status_code"},
	},
	{name: "coderd_provisionerd_num_daemons", help: "The number of provisioner daemons.", kind: gaugeFamily, labels: noLabels},
	{name: "coderd_prebuilt_workspaces_desired", help: "Target number of prebuilt workspaces that should be available.", kind: gaugeFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_running", help: "Current number of prebuilt workspaces that are in a running state.", kind: gaugeFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_eligible", help: "Current number of prebuilt workspaces that are eligible to be claimed.", kind: gaugeFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_created_total", help: "Total number of prebuilt workspaces that have been created.", kind: counterFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_failed_total", help: "Total number of prebuilt workspaces that failed to build.", kind: counterFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_claimed_total", help: "Total number of prebuilt workspaces that were claimed by users.", kind: counterFamily, labels: presetLabels},
	{name: "coderd_prebuilt_workspaces_preset_hard_limited", help: "1 if a preset has reached its limit of failed builds.", kind: gaugeFamily, labels: presetLabels},
	{
		name: "coderd_prebuilt_workspace_claim_duration_seconds",
		help: "Time to claim a prebuilt workspace, in seconds.", kind: histogramFamily, labels: presetLabels,
	},
	{
		name: "coderd_workspace_creation_total",
		help: "Total number of regular workspaces, not prebuilt ones, that were created.", kind: counterFamily, labels: presetLabels,
	},
	{
		name: "coderd_workspace_creation_duration_seconds",
		help: "Time to create a workspace, in seconds.", kind: histogramFamily, labels: append([]string{"type"}, presetLabels...),
	},
	{
		name: "coderd_template_workspace_build_duration_seconds",
		help: "Time from the creation of a workspace build until its agents are ready or failed, in seconds.", kind: histogramFamily,
		labels: []string{"template_name", "transition", "status", "is_prebuild", organizationLabel},
	},
}

// controlPlaneFamily finds the family of a series, and for that of a histogram what part of it the series is.
func controlPlaneFamily(series string) (f *family, suffix string) {
	for _, f := range controlPlaneFamilies {
		if f.kind != histogramFamily && f.name == series {
			return f, ""
		}
		suffix, within := strings.CutPrefix(series, f.name)
		if f.kind == histogramFamily && within && slices.Contains([]string{bucketSuffix, sumSuffix, countSuffix}, suffix) {
			return f, suffix
		}
	}
	return nil, ""
}

// series checks a series against its family and the caller's grant.
func (k eventParents) series(caller access.Principal, m *insightsv1.Metric, now time.Time) (s store.ControlPlaneSeries, rejected *rejection) {
	f, suffix := controlPlaneFamily(m.GetName())
	if f == nil {
		return s, invalidItem("name: family %q is none of the control plane", shorten(m.GetName()))
	}
	if m.GetType() != string(f.kind) {
		return s, invalidItem("type: family %s is a %s", f.name, f.kind)
	}
	if v := m.GetValue(); math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && f.kind != gaugeFamily {
		return s, invalidItem("value: must be a finite number, and only that of a gauge may be negative")
	}
	names := f.labels
	if suffix == bucketSuffix {
		names = append(slices.Clone(names), boundLabel)
	}
	given := slices.Collect(maps.Keys(m.GetLabels()))
	if slices.Sort(given); !slices.Equal(given, slices.Sorted(slices.Values(names))) {
		return s, invalidItem("labels: series %s has the labels %v", m.GetName(), names)
	}
	labels := maps.Clone(m.GetLabels())
	for _, name := range names {
		if err := checkText(labels[name]); err != nil {
			return s, invalidItem("labels.%s: %v", name, err)
		}
	}
	if suffix == bucketSuffix {
		bound, err := strconv.ParseFloat(labels[boundLabel], 64)
		if err != nil || math.IsNaN(bound) {
			return s, invalidItem("labels.%s: must be a number or +Inf", boundLabel)
		}
		labels[boundLabel] = strconv.FormatFloat(bound, 'g', -1, 64) // one text for one bound
	}
	if rejected := k.mayReport(caller, f, labels[organizationLabel]); rejected != nil {
		return s, rejected
	}
	text, err := json.Marshal(labels) // in the order of the names
	if err != nil {
		return s, invalidItem("labels: %v", err)
	}
	return store.ControlPlaneSeries{Name: m.GetName(), Labels: string(text), Value: m.GetValue(), ReportedAt: store.At(now)}, nil
}

// mayReport says why a caller may not report a family, for an organization if it has organizations.
func (k eventParents) mayReport(caller access.Principal, f *family, organization string) *rejection {
	if !slices.Contains(f.labels, organizationLabel) {
		if !caller.HoldsEverywhere(access.IngestAny) {
			return invalidItem("name: family %s is about the whole deployment, and the caller's grant is not", f.name)
		}
		return nil
	}
	for id, name := range k.organizations {
		if name == organization && caller.HoldsIn(access.IngestAny, id) {
			return nil
		}
	}
	return &rejection{causeUnknown, fmt.Sprintf("labels.%s: organization %q is not in the catalog", organizationLabel, organization), false}
}

// addControlPlane adds what the control plane reported. A histogram is shown when all of it is there.
func (s *deploymentSnapshot) addControlPlane(reported []store.ControlPlaneSeries) error {
	histograms := map[string]*reportedHistogram{}
	for _, r := range reported {
		var labels map[string]string
		if err := json.Unmarshal([]byte(r.Labels), &labels); err != nil {
			return fmt.Errorf("read labels of %s: %w", r.Name, err)
		}
		f, suffix := controlPlaneFamily(r.Name)
		if f == nil {
			continue // of a newer server
		}
		values := make([]string, len(f.labels))
		for i, name := range f.labels {
			values[i] = labels[name]
		}
		if f.kind != histogramFamily {
			s.add(f, r.Value, values...)
			continue
		}
		key := f.name + strings.Join(values, "\x00")
		h, known := histograms[key]
		if !known {
			h = &reportedHistogram{family: f, labels: values}
			histograms[key] = h
		}
		h.add(suffix, labels[boundLabel], r.Value)
	}
	for _, h := range histograms {
		if d, whole := h.series(); whole {
			s.distributions[h.family] = append(s.distributions[h.family], d)
		}
	}
	return nil
}

// reportedHistogram is what is known of one label set of a histogram.
type reportedHistogram struct {
	family     *family
	labels     []string
	buckets    []reportedBucket
	sum, count *float64
}

type reportedBucket struct{ bound, below float64 }

func (h *reportedHistogram) add(suffix, bound string, value float64) {
	switch suffix {
	case sumSuffix:
		h.sum = &value
	case countSuffix:
		h.count = &value
	case bucketSuffix:
		b, _ := strconv.ParseFloat(bound, 64) // it was one when it was taken
		h.buckets = append(h.buckets, reportedBucket{b, value})
	}
}

// series puts the parts together, if all are there that every histogram has.
func (h *reportedHistogram) series() (d distributionSeries, whole bool) {
	slices.SortFunc(h.buckets, func(a, b reportedBucket) int { return cmp.Compare(a.bound, b.bound) })
	n := len(h.buckets)
	if h.sum == nil || h.count == nil || n == 0 || !math.IsInf(h.buckets[n-1].bound, 1) {
		return d, false
	}
	d = distributionSeries{labels: h.labels, Distribution: store.Distribution{Count: int64(*h.count), Sum: *h.sum}}
	for _, b := range h.buckets[:n-1] {
		d.bounds, d.Below = append(d.bounds, b.bound), append(d.Below, int64(b.below))
	}
	return d, true
}
