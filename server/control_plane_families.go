package server

import (
	"slices"
	"strings"
	"time"
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
