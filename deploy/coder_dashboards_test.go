package deploy

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/storetest"
)

// emptyBesideCoder are the expressions of Coder's dashboards that find nothing on a server that follows its database, and why.
var emptyBesideCoder = map[string]string{
	`quantile(0.5, coder_pubsub_send_latency_seconds{})`:                 "measured by Coder's servers in their memory",
	`quantile(0.5, coder_pubsub_receive_latency_seconds{})`:              "measured by Coder's servers in their memory",
	`quantile(0.9, coder_pubsub_send_latency_seconds{})`:                 "measured by Coder's servers in their memory",
	`quantile(0.9, coder_pubsub_receive_latency_seconds{})`:              "measured by Coder's servers in their memory",
	`sum(increase(coder_pubsub_latency_measure_errs_total{}[1m]))`:       "counted by Coder's servers in their memory",
	`sum(coderd_provisionerd_num_daemons{` + onProvisioner + `})`:        "scraped from the pods of provisioners, which stay as they are",
	`min(agent_config_last_load_successful{job="` + grafanaAgent + `"})`: "tells of the Grafana agent, which tells it itself",
	`max(coderd_license_limit_users{})`:                                  "stands in the license key alone, which is not for us to read",
}

const (
	onProvisioner = `pod=~"coder-provisioner.*", namespace="coder"`
	grafanaAgent  = "coder-observability/grafana-agent/grafana-agent"
)

// dashboardVariables are what stands for $ in coder_dashboards.txt.
var dashboardVariables = strings.NewReplacer(
	"$coderd", `pod=~"coder.*", pod!~".*provisioner.*", namespace="coder"`, "$provisionerd", onProvisioner,
	"$preset", `template_name=~"docker", preset_name=~"large"`, "$workspace", `workspace_name=~".*"`, "$template", `template_name=~".*"`,
)

// coderQuestions reads coder_dashboards.txt. Where an expression stands is what it is of.
func coderQuestions(t *testing.T) (all []question) {
	t.Helper()
	file, err := os.Open("testdata/coder_dashboards.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if lines.Text() == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Split(lines.Text(), "|")
		if len(f) != 5 {
			t.Fatalf("%q has %d fields", lines.Text(), len(f))
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		all = append(all, question{of: f[0], expr: expression(f[1], f[2], f[3], f[4])})
	}
	return all
}

// expression applies functions to what a family and labels select.
func expression(functions, by, family, labels string) string {
	if strings.Contains(family, "*") {
		labels, family = strings.Trim(labels+`, __name__=~"`+family+`"`, ", "), ""
	}
	expr := family + "{" + dashboardVariables.Replace(labels) + "}"
	for _, f := range slices.Backward(strings.Split(functions, ", ")) {
		name, parameter, _ := strings.Cut(f, " ")
		switch {
		case slices.Contains([]string{"rate", "increase", "sum_over_time"}, name):
			expr = name + "(" + expr + "[1m])"
		case parameter != "":
			expr = name + "(" + parameter + ", " + expr + ")"
		case by != "" && name != "floor" && name != "round":
			if strings.Contains(by, "app") {
				expr = `label_replace(` + expr + `, "app", "$1", "__name__", "coderd_agentstats_session_count_(.*)")`
			}
			expr, by = name+" by ("+by+") ("+expr+")", ""
		default:
			expr = name + "(" + expr + ")"
		}
	}
	return expr
}

// Each expression of Coder's public dashboards and alerts finds data on a server that follows a database of Coder, but for a few that are
// named.
func TestDashboardsOfCoder(t *testing.T) {
	t.Parallel()
	binary := program(t, "prometheus")
	open := coderQuestions(t)
	places, known := 0, map[string]bool{}
	for _, q := range open {
		places += strings.Count(q.of, ";") + 1
		known[q.expr] = true
	}
	if len(emptyBesideCoder) > 8 {
		t.Errorf("%d expressions are empty", len(emptyBesideCoder))
	}
	for expr := range emptyBesideCoder {
		if !known[expr] {
			t.Errorf("nobody asks %s", expr)
		}
	}
	t.Logf("%d expressions in %d places", len(known), places)
	open = slices.DeleteFunc(open, func(q question) bool { return emptyBesideCoder[q.expr] != "" })

	from, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	deployment, err := os.ReadFile("testdata/coder_deployment.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.PgConn().Exec(t.Context(), codertest.Schema(codertest.Newest)+string(deployment)).ReadAll(); err != nil {
		t.Fatal(err)
	}
	var building sync.WaitGroup
	defer building.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	building.Go(func() { // so that rates have something to count
		for ctx.Err() == nil {
			_, err := conn.Exec(ctx, `INSERT INTO provisioner_jobs (id, organization_id, started_at, completed_at)
				SELECT gen_random_uuid(), id, now() - INTERVAL '5 seconds', now() FROM organizations`)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	addresses := run(t, `http=(\S+ prometheus=\S+)`, build(t), "serve", "--database="+storetest.Postgres(t), "--follow-coder="+from,
		"--follow-interval=1s", "--prometheus-collect-agent-stats", "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
		"--prometheus-address=127.0.0.1:0")
	api, metrics, _ := strings.Cut(addresses, " prometheus=")
	resp, err := http.Get("http://" + api + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	folder := t.TempDir()
	config := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs: [{job_name: coder, static_configs: [{targets: [%q], labels: {pod: coder-insights, namespace: coder}}]}]
`, metrics)), 0o600); err != nil {
		t.Fatal(err)
	}
	prometheus := "http://" + run(t, `msg="Listening on" address=(\S+)`, binary, "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(folder, "data"), "--web.listen-address=127.0.0.1:0", "--enable-feature=native-histograms")
	awaitAnswers(t, prometheus, open)
}

// awaitAnswers waits until each question has an answer.
func awaitAnswers(t *testing.T, prometheus string, open []question) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var lacking []string
		open = slices.DeleteFunc(open, func(q question) bool {
			lacks := q.ask(t, prometheus)
			if lacks != "" {
				lacking = append(lacking, fmt.Sprintf("%s: %s: %s", q.of, q.expr, lacks))
			}
			return lacks == ""
		})
		if len(open) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("without data after %v:\n%s", patience, strings.Join(lacking, "\n"))
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Second):
		}
	}
}
