package server_test

import (
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/model"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/storetest"
)

// newBusy is a server in whose metrics every family has series.
func newBusy(t *testing.T) *deployment {
	t.Helper()
	d := newDeployment(t, storetest.SQLite(t), func(c *server.Options) { c.CollectAgentStats = true })
	d.feed(t)
	d.Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
		Id: d.published, TemplateId: d.golang, Name: "v2", Parameters: []*insightsv1.Parameter{{Name: "region", Type: "string"}},
	}}})
	build := d.build(d.dev, d.published, 4, "start", "succeeded")
	build.GetBuild().Parameters = []*insightsv1.BuildParameter{{Name: "region", Value: "eu"}}
	d.ReportEvents(t, d.controlPlane, []*insightsv1.Event{build})
	r := wiretest.SessionAt(d.agent, 1, storetest.Now)
	r.ConnectionMedianLatencyMs, r.DerpRegion = 10, "Nuremberg"
	r.Metrics = []*insightsv1.Metric{
		wiretest.Metric("coderd_agentstats_startup_script_seconds", "gauge", 4, "success", "true"),
		wiretest.Metric("agent_scripts_executed_total", "counter", 1, "success", "true"),
	}
	d.ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{r})
	d.Get(t, d.controlPlane, "/api/v2/access/me", nil)
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// givenNames are families whose names break a rule of good names, because dashboards know them so.
var givenNames = map[string]string{
	"coderd_api_workspace_latest_build_total": `non-counter metrics should not have "_total" suffix`,
	"coderd_agentstats_connection_count":      `non-histogram and non-summary metrics should not have "_count" suffix`,
	"coderd_agentstats_session_count":         `non-histogram and non-summary metrics should not have "_count" suffix`,
}

func TestMetricsLint(t *testing.T) {
	t.Parallel()
	_, body := newBusy(t).Scrape(t, "text/plain")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if givenNames[p.Metric] != p.Text {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestMetricsPromtool(t *testing.T) {
	if testing.Short() {
		t.Skip("needs promtool: make test")
	}
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed: on Debian, apt-get install prometheus")
	}
	_, body := newBusy(t).Scrape(t, "text/plain")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	check.WaitDelay = 10 * time.Second
	out, err := check.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: there are problems
		t.Fatalf("promtool check metrics: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if name, text, _ := strings.Cut(strings.TrimSpace(line), " "); givenNames[name] != text {
			t.Errorf("promtool check metrics: %s", line)
		}
	}
}

// TestMetricsStrict: a parser of another language, which takes no name twice, reads all families.
func TestMetricsStrict(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Python: make test")
	}
	t.Parallel()
	contentType, body := newBusy(t).Scrape(t, wiretest.OpenMetrics)
	_, want := wiretest.ParseMetrics(t, contentType, body)
	got := wiretest.ParseStrictly(t, body)
	for name, kind := range want {
		if got[name] != string(kind) {
			t.Errorf("family %s is a %s for Prometheus and a %q for Python", name, kind, got[name])
		}
	}
	if len(got) != len(want) || len(got) < 90 {
		t.Errorf("%d families for Prometheus, %d for Python, want at least 90 of both", len(want), len(got))
	}
}

// TestMetricsFormats: both formats say the same of the families that are ours.
func TestMetricsFormats(t *testing.T) {
	t.Parallel()
	d := newBusy(t)
	foreign := func(series string, _ float64) bool {
		return !strings.Contains(series, `"insights_`) && !strings.Contains(series, `"coderd_`)
	}
	contentType, body := d.Scrape(t, "text/plain")
	text, textTypes := wiretest.ParseMetrics(t, contentType, body)
	contentType, body = d.Scrape(t, wiretest.OpenMetrics)
	open, openTypes := wiretest.ParseMetrics(t, contentType, body)
	for _, family := range []string{
		"go_goroutines", "process_open_fds", "go_build_info", "promhttp_metric_handler_requests_total",
		"promhttp_metric_handler_errors_total", "grpc_server_handled_total",
	} {
		if !strings.Contains(body, "\n# TYPE "+strings.TrimSuffix(family, "_total")+" ") {
			t.Errorf("the scrape lacks %s", family)
		}
	}
	maps.DeleteFunc(text, foreign)
	maps.DeleteFunc(open, foreign)
	if len(text) < 60 || !maps.Equal(text, open) {
		t.Errorf("text:\n%v\nOpenMetrics:\n%v", slices.Sorted(maps.Keys(text)), slices.Sorted(maps.Keys(open)))
	}
	for name, want := range textTypes {
		if want == model.MetricTypeCounter {
			name = strings.TrimSuffix(name, "_total")
		}
		// The Go runtime's families hold a gauge and a counter whose names differ in _total alone.
		if got := openTypes[name]; got != want && name != "go_memstats_alloc_bytes" {
			t.Errorf("family %s is a %s as text and a %s in OpenMetrics", name, want, got)
		}
	}
}
