package coder

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// Who used Coder during the last hour, its provisioners, its version and its prebuilt workspaces are figures of each import, jobs and the
// state of agents are as Coder has them, and what agents reported is handed over once.
func TestFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 1)
	preset, version := uuid.New(), uuid.New()
	w.exec(t, `UPDATE users SET last_seen_at = now() -
		CASE username WHEN 'user0' THEN INTERVAL '59 minutes' ELSE INTERVAL '61 minutes' END`)
	w.exec(t, `INSERT INTO users (id, username, is_service_account, last_seen_at) VALUES (gen_random_uuid(), 'ci', true, now())`)
	w.exec(t, `INSERT INTO users (id, username, is_system) VALUES ($1, 'prebuilds', true)`, prebuilds)
	w.exec(t, `INSERT INTO licenses (jwt, exp) VALUES ('key', now() - INTERVAL '1 day')`)
	w.exec(t, `INSERT INTO provisioner_daemons (id, name, last_seen_at, version, key_id) VALUES
		(gen_random_uuid(), 'a', now(), 'v2.30.0+abc', '00000000-0000-0000-0000-000000000001'),
		(gen_random_uuid(), 'b', now(), 'v2.29.0', gen_random_uuid()),
		(gen_random_uuid(), 'c', now() - INTERVAL '1 day', 'v2.28.0', '00000000-0000-0000-0000-000000000001')`)
	w.exec(t, `INSERT INTO template_version_presets (id, template_version_id, name, desired_instances) VALUES ($1, $2, 'large', 3)`,
		preset, version)
	w.exec(t, `UPDATE templates SET active_version_id = $1 WHERE id = $2`, version, w.templates[0])
	for _, workspace := range w.workspaces[0][:2] {
		w.exec(t, `UPDATE workspaces SET owner_id = $1 WHERE id = $2`, prebuilds, workspace)
		w.exec(t, `UPDATE workspace_builds SET template_version_preset_id = $1 WHERE workspace_id = $2`, preset, workspace)
	}
	w.exec(t, `UPDATE workspace_agents SET lifecycle_state = 'ready', first_connected_at = now(), last_connected_at = now(),
		started_at = now() - INTERVAL '4 seconds', ready_at = now() WHERE id = $1`, w.agents[0][0])
	w.exec(t, `INSERT INTO workspace_agent_stats
		(created_at, agent_id, user_id, template_id, connection_median_latency_ms, rx_bytes, session_counts)
		VALUES (now(), $1, $2, $3, 5, 10, '{"vscode": 2}'), (now() - INTERVAL '30 seconds', $1, $2, $3, 7, 20, '{}')`,
		w.agents[0][0], w.users[0], w.templates[0])

	to := openStore(t, storetest.Postgres(t))
	i, done := newImporter(t, w.url, to, Options{})
	defer done()
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	series, err := to.ControlPlaneSeries(t.Context(), time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range series {
		got[s.Name+s.Labels] = s.Value
	}
	large := `{"organization_name":"` + w.organization.String() + `","preset_name":"large","template_name":"template0"}`
	if diff := cmp.Diff(map[string]float64{
		store.ActiveUsersHour + `{"actor":"person"}`: 1, store.ActiveUsersHour + `{"actor":"service"}`: 1,
		store.ActiveUsersHour + `{"actor":"system"}`: 0,
		"coderd_license_user_limit_enabled{}":        0, "coderd_provisionerd_num_daemons{}": 2,
		`coderd_build_info{"revision":"abc","version":"v2.30.0+abc"}`: 1,
		"coderd_prebuilt_workspaces_desired" + large:                  3, "coderd_prebuilt_workspaces_running" + large: 2,
		"coderd_prebuilt_workspaces_eligible" + large: 1,
	}, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	workspaces, err := to.LiveWorkspaces(t.Context(), storetest.Everything(t))
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, workspace := range workspaces {
		for _, a := range workspace.Agents {
			states[a.Status+" "+a.LifecycleState]++
		}
	}
	if diff := cmp.Diff(map[string]int{"connected ready": 1, "connecting created": 5}, states); diff != "" {
		t.Errorf("agents (-want +got):\n%s", diff)
	}
	enqueued, err := to.EnqueuedBuilds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := (store.EnqueuedBuilds{
		Provisioner: "terraform", Reason: "initiator", Transition: "start", Builds: 12,
	}); !slices.Contains(enqueued, want) {
		t.Errorf("builds that were asked for: %+v, want %+v among them", enqueued, want)
	}

	var shown []*insightsv1.AgentReport
	i.show = func(reports []*insightsv1.AgentReport) { shown = append(shown, reports...) }
	for range 2 {
		if err := i.showAgents(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(shown) != 1 {
		t.Fatalf("reports that are shown: %v", shown)
	}
	r := shown[0]
	if r.GetAgentId() != w.agents[0][0].String() || r.GetRxBytes() != 30 || r.GetConnectionMedianLatencyMs() != 5 ||
		r.GetSessionCounts()["vscode"] != 2 || r.GetMetrics()[0].GetValue() != 4 {
		t.Errorf("report that is shown: %v", r)
	}
}
