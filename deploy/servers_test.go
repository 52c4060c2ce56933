package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// answers are what a question finds, by what its legend shows of the labels, or by the values of its labels. What is 0 is left out.
type answers map[string]float64

// onServers are what the dashboard shows of twoServers.
var onServers = map[string]answers{
	"Active users in the last hour":                 {"people": 2},
	"Agents that report":                            {"go": 4},
	"Parameters":                                    {"acme/go: region = eu": 4, "beta/go: region = eu": 4}, // one definition
	"Active users by template":                      {"acme/go": 2, "beta/go": 2},
	"App usage by template":                         {"acme/go": 120, "beta/go": 120},
	"App usage by app":                              {"Visual Studio Code": 240},
	"Sessions by app":                               {"vscode": 4},
	"Connection latency":                            {"median": 0.03, "95th percentile": 0.057},
	"First connection, 95th percentile by template": {"go": 54},
}

// documentedOnServers are the answers to the questions of the documentation, in their order. nil: it is about more time than
// there is here.
var documentedOnServers = []answers{
	{"go": 4},
	nil,
	{"go": 54},
	{"go": 54},
	{"acme/go/dev/ada": 1, "beta/go/dev/ada": 1},
	{"acme/go": 2, "beta/go": 2},
	nil,
	{"ada": 2, "bob": 2},
}

// TestSeveralServers: a Prometheus that scrapes two servers finds everybody once, and keeps organizations apart that share
// names of templates, users, workspaces and agents.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	binary := program(t, "prometheus")
	prometheus := scrapeServers(t, binary, twoServers(t))
	d := readDashboard(t, "grafana/insights.json")
	for _, p := range d.Panels {
		got := answers{}
		for _, target := range p.Targets {
			maps.Copy(got, find(t, prometheus, filled(target.Expr), target.LegendFormat))
		}
		if diff := cmp.Diff(onServers[p.Title], got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.Title, diff)
		}
	}
	documented := documentedQuestions(t)
	if len(documented) != len(documentedOnServers) {
		t.Fatalf("%d documented questions, want %d", len(documented), len(documentedOnServers))
	}
	for i, want := range documentedOnServers {
		if want == nil {
			continue
		}
		if diff := cmp.Diff(want, find(t, prometheus, documented[i], ""), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", documented[i], diff)
		}
	}
}

// twoServers are the addresses of the metrics of two servers on one database. Ada and Bob have a workspace dev of a template go
// with an agent main in each of the organizations acme and beta. Ada's agent of acme reports to both servers, the others to one:
// Bob's namesakes to one each.
func twoServers(t *testing.T) []string {
	t.Helper()
	type object = map[string]any
	var servers []*servertest.Server
	database := storetest.Postgres(t)
	for range 2 {
		servers = append(servers, servertest.Run(t, database, storetest.Now, func(o *server.Options) { o.CollectAgentStats = true }))
	}
	controlPlane := servers[0].Token(t, access.RoleControlPlane, servertest.Everywhere)
	send := func(to *servertest.Server, path string, body object) {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+to.HTTPAddress()+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Coder-Session-Token", controlPlane)
		req.Header.Set("Content-Type", "application/json")
		status, _, answer := servertest.Exchange(t, req)
		if status != http.StatusOK || bytes.Contains(answer, []byte(`"reason"`)) {
			t.Fatalf("%s: %d: %s", path, status, answer)
		}
	}
	now := storetest.Now.Add(-2 * time.Minute)

	organizations := map[string]string{"acme": uuid.NewString(), "beta": uuid.NewString()}
	users := map[string]string{"ada": uuid.NewString(), "bob": uuid.NewString()}
	catalog := object{}
	add := func(kind string, item object) string {
		if item["id"] == nil {
			item["id"] = uuid.NewString()
		}
		list, _ := catalog[kind].([]object)
		catalog[kind] = append(list, item)
		return item["id"].(string)
	}
	for name, id := range organizations {
		add("organizations", object{"id": id, "name": name})
	}
	for name, id := range users {
		add("users", object{
			"id": id, "username": name, "kind": "human", "status": "active",
			"organization_ids": slices.Collect(maps.Values(organizations)),
		})
	}
	var events []object
	build := func(workspace, version string, number int, status string) {
		events = append(events, object{"at": now, "build": object{
			"id": uuid.NewString(), "workspace_id": workspace, "template_version_id": version, "number": number, "transition": "start",
			"status": status, "created_at": now.Add(-time.Minute), "parameters": []object{{"name": "region", "value": "eu"}},
		}})
	}
	reports := []struct {
		server int
		of     string
		at     time.Duration // after now
		median float64       // round trip in milliseconds
	}{
		{0, "acme/ada", 0, 40}, {1, "acme/ada", time.Second, 40}, {0, "acme/bob", 0, 20}, {1, "beta/ada", 0, 20}, {1, "beta/bob", 0, 60},
	}
	took := map[string]time.Duration{ // to connect
		"acme/ada": 20 * time.Second, "acme/bob": 20 * time.Second, "beta/ada": 20 * time.Second, "beta/bob": 50 * time.Second,
	}
	agents := map[string]string{}
	for organization, id := range organizations {
		template := add("templates", object{"organization_id": id, "name": "go"})
		version := add("template_versions", object{
			"template_id": template, "name": "v1", "parameters": []object{{"name": "region", "type": "string"}},
		})
		for user, owner := range users {
			workspace := add("workspaces", object{"owner_id": owner, "template_id": template, "name": "dev"})
			name := organization + "/" + user
			agents[name] = add("agents", object{"workspace_id": workspace, "name": "main", "created_at": now.Add(-took[name])})
			build(workspace, version, 2, "succeeded")
			if user == "ada" {
				build(workspace, version, 1, "failed")
			}
		}
	}
	send(servers[0], "/api/v2/catalog", catalog)
	send(servers[0], "/api/v2/ingest/events", object{"events": events})
	for _, r := range reports {
		send(servers[r.server], "/api/v2/ingest/stats", object{"reports": []object{{
			"agent_id": agents[r.of], "collected_at": now.Add(r.at), "connection_count": 1, "session_counts": object{"vscode": 1},
			"connection_median_latency_ms": r.median,
		}}})
	}
	var addresses []string
	for _, s := range servers {
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, s.PrometheusAddress())
	}
	return addresses
}

// scrapeServers is the address of a Prometheus that has scraped servers. Like one in Kubernetes it labels what it scrapes.
func scrapeServers(t *testing.T, binary string, addresses []string) string {
	t.Helper()
	var targets []any
	for i, address := range addresses {
		targets = append(targets, map[string]any{"targets": []string{address}, "labels": map[string]string{
			"job": fmt.Sprintf("insights-%d", i), "pod": fmt.Sprintf("insights-%d", i), "namespace": "insights",
		}})
	}
	config, err := json.Marshal(map[string]any{"scrape_configs": []any{
		map[string]any{"job_name": "insights", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": targets},
	}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	prometheus := "http://" + run(t, `msg="Listening on" address=(\S+)`, binary,
		"--config.file="+filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address=127.0.0.1:0")
	for deadline := time.Now().Add(patience); ; {
		up, ready := query(t, prometheus, "sum(up)")
		if ready && len(up) == 1 && up[0].value == float64(len(addresses)) {
			return prometheus
		}
		if time.Now().After(deadline) {
			t.Fatalf("not scraped after %v: %v", patience, up)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// find asks a question.
func find(t *testing.T, prometheus, expr, legend string) answers {
	t.Helper()
	found, _ := query(t, prometheus, expr)
	got := answers{}
	for _, s := range found {
		delete(s.labels, "namespace")
		name := inLegend.ReplaceAllStringFunc(legend, func(label string) string { return s.labels[strings.Trim(label, "{}")] })
		if legend == "" {
			var values []string
			for _, label := range slices.Sorted(maps.Keys(s.labels)) {
				values = append(values, s.labels[label])
			}
			name = strings.Join(values, "/")
		}
		if _, twice := got[name]; twice {
			t.Errorf("%s: two series %s", expr, name)
		}
		got[name] = s.value
	}
	maps.DeleteFunc(got, func(_ string, value float64) bool { return value == 0 })
	return got
}

// TestQuestionsOverTime: documented questions about a time find what happened in it, on whichever server.
func TestQuestionsOverTime(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	type object = map[string]any
	// Values of one server or of two, one a minute.
	one := func(series, values string) object { return object{"series": series, "values": values} }
	both := func(values map[string]string) (all []object) {
		for series, v := range values {
			for _, instance := range []string{"a", "b"} {
				all = append(all, one(strings.Replace(series, "{", fmt.Sprintf("{instance=%q, ", instance), 1), v))
			}
		}
		return all
	}
	var tests []object
	for i, c := range map[int]struct {
		series []object
		want   map[string]float64
	}{
		// One agent moved after half an hour, and was shown by both for two minutes; the other one stayed.
		1: {
			[]object{
				one(`agent_scripts_executed_total{instance="a", username="ada", template_name="go"}`, "100+1x29 129 129 stale"),
				one(`agent_scripts_executed_total{instance="b", username="ada", template_name="go"}`, "_x30 130+1x60"),
				one(`agent_scripts_executed_total{instance="b", username="bob", template_name="go"}`, "7+2x90"),
			},
			map[string]float64{`{template_name="go"}`: 180},
		},
		// One more agent of an old workspace, and the first one of a new one; a third was there before.
		3: {
			both(map[string]string{
				`coderd_agents_first_connection_seconds_bucket{username="ada", template_name="go", le="10"}`:   "0x90",
				`coderd_agents_first_connection_seconds_bucket{username="ada", template_name="go", le="30"}`:   "1x40 2x50",
				`coderd_agents_first_connection_seconds_bucket{username="ada", template_name="go", le="60"}`:   "1x40 2x50",
				`coderd_agents_first_connection_seconds_bucket{username="ada", template_name="go", le="+Inf"}`: "1x40 2x50",
				`coderd_agents_first_connection_seconds_bucket{username="bob", template_name="go", le="10"}`:   "_x40 0x50",
				`coderd_agents_first_connection_seconds_bucket{username="bob", template_name="go", le="30"}`:   "_x40 0x50",
				`coderd_agents_first_connection_seconds_bucket{username="bob", template_name="go", le="60"}`:   "_x40 1x50",
				`coderd_agents_first_connection_seconds_bucket{username="bob", template_name="go", le="+Inf"}`: "_x40 1x50",
				`coderd_agents_first_connection_seconds_bucket{username="cyd", template_name="go", le="10"}`:   "5x90",
				`coderd_agents_first_connection_seconds_bucket{username="cyd", template_name="go", le="30"}`:   "5x90",
				`coderd_agents_first_connection_seconds_bucket{username="cyd", template_name="go", le="60"}`:   "5x90",
				`coderd_agents_first_connection_seconds_bucket{username="cyd", template_name="go", le="+Inf"}`: "5x90",
			}),
			map[string]float64{`{template_name="go"}`: 57},
		},
		// The first one of a workspace, a fourth one, and one of long ago.
		4: {
			both(map[string]string{
				`coderd_workspace_builds_total{status="failed", workspace_name="new"}`:    "_x40 1x50",
				`coderd_workspace_builds_total{status="failed", workspace_name="old"}`:    "3x40 4x50",
				`coderd_workspace_builds_total{status="failed", workspace_name="mended"}`: "1x90",
				`coderd_workspace_builds_total{status="success", workspace_name="old"}`:   "1x40 2x50",
			}),
			map[string]float64{`{workspace_name="new"}`: 1, `{workspace_name="old"}`: 1},
		},
	} {
		var want []object
		for labels, value := range c.want {
			want = append(want, object{"labels": labels, "value": value})
		}
		expr := "round(" + documentedQuestions(t)[i] + ", 0.001)" // promtool wants the last digit
		tests = append(tests, object{
			"interval": "1m", "input_series": c.series,
			"promql_expr_test": []object{{"expr": expr, "eval_time": "80m", "exp_samples": want}},
		})
	}
	text, err := yaml.Marshal(object{"evaluation_interval": "1m", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "questions.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}
