package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/storetest"
)

// What the file of an operator names, the control plane may report; it is shown as a metric, and whoever is signed in sees where
// it comes from. A file that is wrong keeps the server from starting.
func TestDefinitionsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "definitions.yaml")
	text := "metric_families:\n- {name: acme_queue_total, type: counter, help: Jobs that were queued., labels: [organization_name]}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDeployment(t, storetest.SQLite(t), func(o *server.Options) { o.Definitions = path })
	reported := servertest.Must(t, insightsv1.NewIngestServiceClient(d.Conn).ReportEvents, d.controlPlane, &insightsv1.ReportEventsRequest{
		Metrics: []*insightsv1.Metric{wiretest.Metric("acme_queue_total", "counter", 3, "organization_name", "acme")},
	})
	servertest.WantAll(t, reported.GetRejected())
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, body := d.Scrape(t, wiretest.OpenMetrics); !strings.Contains(body, "\nacme_queue_total{organization_name=\"acme\"} 3\n") {
		t.Errorf("the family is not shown:\n%s", body)
	}
	var answer struct {
		File           string
		Error          string
		MetricFamilies []struct {
			Name, Type, Help, Origin string
			Labels                   []string
		} `json:"metric_families"`
	}
	d.GetInto(t, d.controlPlane, "/api/v2/definitions", nil, &answer)
	origins := map[string]string{}
	for _, f := range answer.MetricFamilies {
		origins[f.Name] = f.Origin
	}
	if answer.File != "definitions.yaml" || answer.Error != "" || origins["acme_queue_total"] != "definitions.yaml:2" ||
		origins["coder_pubsub_connected"] != "built-in" {
		t.Errorf("definitions: %+v", answer)
	}

	o := d.Options
	o.Definitions = filepath.Join(t.TempDir(), "definitions.yaml")
	if err := os.WriteFile(o.Definitions, []byte("metric_families:\n- {name: up, type: gauge, help: H.}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(o); err == nil || !strings.Contains(err.Error(), "definitions.yaml: line 2: metric_families[0].name") {
		t.Errorf("a file that is wrong: %v", err)
	}
}
