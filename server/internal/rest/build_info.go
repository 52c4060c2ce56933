package rest

import (
	"encoding/json"
	"net/http"
)

// buildInfo is what clients of Coder ask a server before they sign in. Nobody needs a token for it, so it tells the version of the program
// alone; everything else has the zero value of its type.
type buildInfo struct {
	ExternalURL           string `json:"external_url"`
	Version               string `json:"version"`
	DashboardURL          string `json:"dashboard_url"`
	Telemetry             bool   `json:"telemetry"`
	WorkspaceProxy        bool   `json:"workspace_proxy"`
	AgentAPIVersion       string `json:"agent_api_version"`
	ProvisionerAPIVersion string `json:"provisioner_api_version"`
	UpgradeMessage        string `json:"upgrade_message"`
	DeploymentID          string `json:"deployment_id"`
	WebPushPublicKey      string `json:"webpush_public_key"`
}

// serveBuildInfo tells the version of the program.
func (o Options) serveBuildInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", JSONMarshaler{}.ContentType(nil))
	_ = json.NewEncoder(w).Encode(buildInfo{Version: o.Version})
}
