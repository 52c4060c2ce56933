package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Questions, metrics and the older activity API know the same editors by the same names.
func TestFamiliesAreOneList(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(o *server.Options) { o.CollectAgentStats = true })
	report := func(at time.Time) *insightsv1.AgentReport {
		return &insightsv1.AgentReport{
			AgentId: f.Agents[0][0].String(), CollectedAt: timestamppb.New(at), ConnectionCount: 1,
			SessionCounts: map[string]int64{
				"JetBrains-Toolbox": 1, "PyCharm": 1, "jetbrains_gateway": 1, "Code Insiders": 1, "code-insiders": 1, "kiro": 1, "zed": 1,
				"my-editor": 1,
			},
		}
	}
	r.ReportStats(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), []*insightsv1.AgentReport{
		report(storetest.Now.Add(-time.Minute)),
		{
			AgentId: f.Agents[0][1].String(), CollectedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), ConnectionCount: 1,
			SessionCounts: map[string]int64{"PyCharm": 1},
		},
	})
	owner, client := r.Token(t, access.RoleOwner, servertest.Everywhere), insightsv1.NewInsightsServiceClient(r.Conn)
	answer := servertest.Must(t, client.GetTemplateInsights, owner, &insightsv1.GetTemplateInsightsRequest{
		StartTime: "2023-08-15T00:00:00Z", EndTime: "2023-08-15T13:00:00Z",
	}).GetReport()
	got := map[string]map[string]string{}
	for _, a := range append(answer.GetAppsUsage(), answer.GetUnknownUsage()) {
		for _, e := range a.GetEditors() {
			if got[a.GetFamily()] == nil {
				got[a.GetFamily()] = map[string]string{}
			}
			got[a.GetFamily()][e.GetName()] = e.GetDisplayName()
		}
	}
	if diff := cmp.Diff(map[string]map[string]string{
		"vscode": {"code_insiders": "VS Code Insiders", "code insiders": "VS Code Insiders", "kiro": "Kiro"},
		"jetbrains": {
			"jetbrains_toolbox": "JetBrains Toolbox", "pycharm": "PyCharm", "jetbrains_gateway": "JetBrains Gateway",
		},
		"ssh": {"zed": "Zed"}, "unknown": {"my_editor": "my_editor"},
	}, got); diff != "" {
		t.Errorf("editors by family (-want +got):\n%s", diff)
	}
	status, body := r.Get(t, owner, activityPath, url.Values{
		"start": {"2023-08-15T00:00:00Z"}, "end": {"2023-08-15T13:00:00Z"}, "interval": {"1 day"}, "category": {"ide"},
	})
	if got := perWeek(t, body, f); status != http.StatusOK || len(got) != 1 ||
		!strings.Contains(got[0], " user0 1") || !strings.Contains(got[0], " user1 1") {
		t.Errorf("the older API: %d %v", status, got)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	contentType, page := r.Scrape(t, "text/plain")
	samples, _ := wiretest.ParseMetrics(t, contentType, page)
	for family, sessions := range map[string]float64{"vscode": 3, "jetbrains": 4, "ssh": 1, "unknown": 1} {
		counted := 0.0
		for series, value := range samples {
			if strings.Contains(series, `"coderd_agentstats_session_count_`+family+`"`) {
				counted += value
			}
		}
		if counted != sessions {
			t.Errorf("%v sessions of the family %s in metrics, want %v", counted, family, sessions)
		}
	}
}
