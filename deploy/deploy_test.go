// Package deploy holds what operators start the service with. Its tests hold the files against each other, and against a
// running server and a Prometheus that scrapes it.
package deploy

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// readYAML reads a file into a value.
func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
}

// program finds a program that the tests need. With -short the test is skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs " + name + ": make test")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: scripts/test-deps.sh says in which package of Debian it is", name)
	}
	return path
}

// The operator scrapes what the monitor selects by the labels of a service and the name of a port of it, in its namespace.
func TestServiceMonitorSelectsService(t *testing.T) {
	t.Parallel()
	type metadata struct {
		Namespace string
		Labels    map[string]string
	}
	var service struct {
		Metadata metadata
		Spec     struct {
			ClusterIP string `yaml:"clusterIP"`
			Selector  map[string]string
			Ports     []struct {
				Name       string
				Port       int
				TargetPort int `yaml:"targetPort"`
			}
		}
	}
	var monitor struct {
		Metadata metadata
		Spec     struct {
			JobLabel string `yaml:"jobLabel"`
			Selector struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			Endpoints []struct{ Port string }
		}
	}
	readYAML(t, "kubernetes/service.yaml", &service)
	readYAML(t, "kubernetes/servicemonitor.yaml", &monitor)
	if service.Metadata.Namespace == "" || service.Metadata.Namespace != monitor.Metadata.Namespace {
		t.Errorf("service in %q, monitor in %q", service.Metadata.Namespace, monitor.Metadata.Namespace)
	}
	if len(monitor.Spec.Selector.MatchLabels) == 0 {
		t.Error("the monitor selects everything")
	}
	for label, want := range monitor.Spec.Selector.MatchLabels {
		if got := service.Metadata.Labels[label]; got != want {
			t.Errorf("the monitor wants a service with %s %q, it has %q", label, want, got)
		}
	}
	if len(service.Spec.Ports) != 1 || len(monitor.Spec.Endpoints) != 1 || service.Spec.Ports[0].Name != monitor.Spec.Endpoints[0].Port {
		t.Errorf("the service has the ports %v, the monitor scrapes %v", service.Spec.Ports, monitor.Spec.Endpoints)
	}
	for _, port := range service.Spec.Ports {
		if port.Port != 2112 || port.TargetPort != 2112 {
			t.Errorf("port %+v, want 2112", port)
		}
	}
	if service.Spec.ClusterIP != "None" || len(service.Spec.Selector) == 0 {
		t.Errorf("cluster IP %q and selector %v: not headless, or without pods", service.Spec.ClusterIP, service.Spec.Selector)
	}
	if job := service.Metadata.Labels[monitor.Spec.JobLabel]; job != scrapeConfig(t).ScrapeConfigs[0].JobName {
		t.Errorf("the job is called %q in Kubernetes only", job)
	}
}

// prometheusConfig is what the tests read of prometheus.yml.
type prometheusConfig struct {
	ScrapeConfigs []struct {
		JobName       string                       `yaml:"job_name"`
		StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
	} `yaml:"scrape_configs"`
}

func scrapeConfig(t *testing.T) prometheusConfig {
	t.Helper()
	var c prometheusConfig
	readYAML(t, "prometheus/prometheus.yml", &c)
	if len(c.ScrapeConfigs) != 1 || len(c.ScrapeConfigs[0].StaticConfigs) != 1 || len(c.ScrapeConfigs[0].StaticConfigs[0].Targets) != 1 {
		t.Fatalf("want one job with one target, got %+v", c)
	}
	return c
}

func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	for _, args := range [][]string{
		{"check", "config", "prometheus/prometheus.yml"},
		{"check", "rules", "prometheus/alerts.yml"},
		{"test", "rules", "prometheus/alerts_test.yml"},
	} {
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "WARNING") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each alert has a test in which it fires: promtool does not ask for one.
func TestAlertsAreTested(t *testing.T) {
	t.Parallel()
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name     string           `yaml:"alertname"`
				Expected []map[string]any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "prometheus/alerts_test.yml", &tests)
	fires := map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("no test lets %s fire", a.Alert)
		}
	}
}

// alert is what the tests read of an alert rule.
type alert struct{ Alert, Expr string }

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, "prometheus/alerts.yml", &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no alerts")
	}
	return all
}

// The services of the compose file find their files, each other, and settings that the server has.
func TestCompose(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Build       struct{ Context, Dockerfile string }
			Environment map[string]string
			Volumes     []string
			SecurityOpt []string `yaml:"security_opt"`
			MemLimit    string   `yaml:"mem_limit"`
		}
	}
	readYAML(t, "compose.yaml", &compose)
	for name, service := range compose.Services {
		if !slices.Equal(service.SecurityOpt, []string{"no-new-privileges:true"}) || service.MemLimit == "" {
			t.Errorf("%s may get privileges (%v), or take all memory (limit %q)", name, service.SecurityOpt, service.MemLimit)
		}
		for _, volume := range service.Volumes {
			if from, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(from, ".") {
				if _, err := os.Stat(from); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	insights := compose.Services["insights"]
	if _, err := os.Stat(filepath.Join(insights.Build.Context, insights.Build.Dockerfile)); err != nil {
		t.Errorf("the image of the server: %v", err)
	}
	_, port, _ := strings.Cut(insights.Environment["INSIGHTS_PROMETHEUS_ADDRESS"], ":")
	if got := scrapeConfig(t).ScrapeConfigs[0].StaticConfigs[0].Targets[0]; got != "insights:"+port {
		t.Errorf("Prometheus scrapes %s, the server listens on port %q of insights", got, port)
	}
	// The program refuses variables that set no flag.
	version := exec.CommandContext(t.Context(), build(t), "version")
	for name, value := range insights.Environment {
		version.Env = append(version.Env, name+"="+value)
	}
	if out, err := version.CombinedOutput(); err != nil {
		t.Errorf("with the environment of the compose file: %v\n%s", err, out)
	}
	var sources struct{ Datasources []struct{ URL, Type string } }
	readYAML(t, "grafana/provisioning/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" ||
		sources.Datasources[0].Type != "prometheus" {
		t.Errorf("data sources: %+v", sources.Datasources)
	}
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "grafana/provisioning/dashboards/insights.yaml", &providers)
	if len(providers.Providers) != 1 ||
		!slices.Contains(compose.Services["grafana"].Volumes, "./grafana:"+providers.Providers[0].Options.Path+":ro") {
		t.Errorf(
			"Grafana looks for dashboards at %+v, the compose file mounts %v", providers.Providers, compose.Services["grafana"].Volumes,
		)
	}
}

// The unit is one that systemd understands and thinks well of, and the settings beside it are those of the server.
func TestSystemd(t *testing.T) {
	t.Parallel()
	analyze := program(t, "systemd-analyze")
	text, err := os.ReadFile("systemd/insights.service")
	if err != nil {
		t.Fatal(err)
	}
	server := build(t)
	here := strings.Replace(string(text), "ExecStart=/usr/local/bin/insights serve", "ExecStart="+server+" serve", 1)
	if here == string(text) {
		t.Error("the unit starts something else")
	}
	if !regexp.MustCompile(`(?m)^MemoryMax=\d+G$`).Match(text) || !strings.Contains(string(text), "\nNoNewPrivileges=yes\n") {
		t.Error("the program may take all memory, or get privileges")
	}
	unit := filepath.Join(t.TempDir(), "insights.service")
	if err := os.WriteFile(unit, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", unit},
		{"security", "--no-pager", "--offline=yes", "--threshold=15", unit}, // 1.5 of 10
	} {
		if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	settings, err := os.ReadFile("systemd/insights.env")
	if err != nil {
		t.Fatal(err)
	}
	version := exec.CommandContext(t.Context(), server, "version")
	for _, setting := range regexp.MustCompile(`(?m)^#?(INSIGHTS_\w+=.*)$`).FindAllStringSubmatch(string(settings), -1) {
		version.Env = append(version.Env, setting[1])
	}
	if out, err := version.CombinedOutput(); err != nil || len(version.Env) < 5 {
		t.Errorf("with the settings %v: %v\n%s", version.Env, err, out)
	}
}

// building lets one test build at a time, so that the next one finds everything compiled.
var building sync.Mutex

// build builds the program as make build does. With -short the test is skipped.
func build(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program: make test")
	}
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(t.TempDir(), "insights")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "../cmd/insights")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

// patience is how long the tests wait for programs and for data, on a busy machine.
const patience = 4 * time.Minute

// run starts a program that ends with the test, and waits for a line of its output. It returns what the expression's group
// matched.
func run(t *testing.T, expression, path string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, args...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 30 * time.Second
	r, w := io.Pipe()
	command.Stdout, command.Stderr = w, w
	if err := command.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	found, read := make(chan string, 1), make(chan struct{})
	var seen strings.Builder // whoever waited for read may look
	go func() {
		defer close(read)
		re, waiting := regexp.MustCompile(expression), true
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if waiting {
				fmt.Fprintln(&seen, lines.Text())
				if groups := re.FindStringSubmatch(lines.Text()); groups != nil {
					waiting = false
					found <- groups[1]
				}
			}
		}
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // a signal ends it
		_ = w.Close()
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		<-read
	})
	select {
	case group := <-found:
		return group
	case <-ended:
	case <-time.After(patience):
		stop()
		<-ended
	}
	<-read
	t.Fatalf("%s ended, or was ended after %v, without %q:\n%s", filepath.Base(path), patience, expression, seen.String())
	return ""
}

// dashboard is what the tests read of a dashboard.
type dashboard struct {
	UID, Title string
	Panels     []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

// question is an expression that must find data.
type question struct {
	of, expr string
	labels   []string // that series must have, for the legend
}

var (
	inLegend    = regexp.MustCompile(`\{\{(\w+)\}\}`)
	promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")
)

// selectors are questions for what an expression selects. The expression itself may find nothing: an alert when all is
// well, a rate when nothing happened yet.
func selectors(t *testing.T, of, expr string) []question {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", of, err)
	}
	all := []question{{of: of, expr: "(" + expr + ") or vector(0)"}} // it is no error
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			s.OriginalOffset = 0 // the past of what there is now
			all = append(all, question{of: of, expr: s.String()})
		}
		return nil
	})
	if len(all) == 1 {
		t.Errorf("%s selects nothing", of)
	}
	return all
}

// dashboards are embedded so that planted bugs reach them: those are in what the compiler sees.
//
//go:embed grafana/*.json
var dashboards embed.FS

func readDashboard(t *testing.T, path string) dashboard {
	t.Helper()
	text, err := dashboards.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	if d.UID == "" || len(d.Panels) == 0 {
		t.Errorf("%s has no uid or no panels", path)
	}
	return d
}

// filled is an expression with the variables that Grafana fills in: all templates, and a window of some scrapes.
func filled(expr string) string {
	return strings.NewReplacer("$__rate_interval", "15s", "$template", ".*").Replace(expr)
}

// documentedQuestions are the examples in the documentation.
func documentedQuestions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/admin/integrations/prometheus.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range promqlBlock.FindAllStringSubmatch(string(text), -1) {
		all = append(all, block[1])
	}
	if len(all) == 0 {
		t.Error("the documentation has no examples")
	}
	return all
}

// questions are the expressions of all panels, and the selectors of all alerts and of the examples in the documentation.
func questions(t *testing.T) []question {
	t.Helper()
	var all []question
	for _, path := range []string{"grafana/insights.json", "grafana/operations.json"} {
		d := readDashboard(t, path)
		for _, p := range d.Panels {
			if len(p.Targets) == 0 {
				t.Errorf("%s: %s shows nothing", path, p.Title)
			}
			for _, target := range p.Targets {
				q := question{of: d.Title + ": " + p.Title, expr: filled(target.Expr)}
				for _, label := range inLegend.FindAllStringSubmatch(target.LegendFormat, -1) {
					q.labels = append(q.labels, label[1])
				}
				all = append(all, q)
			}
		}
	}
	for _, a := range alerts(t) {
		all = append(all, selectors(t, a.Alert, a.Expr)...)
	}
	for _, example := range documentedQuestions(t) {
		all = append(all, selectors(t, "documentation", example)...)
	}
	return all
}

// sample is a series in an answer of Prometheus.
type sample struct {
	labels map[string]string
	value  float64
}

// query asks Prometheus about the present; it may not be ready yet.
func query(t *testing.T, prometheus, expr string) (found []sample, ready bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, prometheus+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, false
	}
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	if answer.Error != "" {
		t.Fatalf("%s: %s", expr, answer.Error)
	}
	for _, series := range answer.Data.Result {
		text, _ := series.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		found = append(found, sample{series.Metric, value})
	}
	return found, true
}

// ask asks Prometheus and says what the answer lacks.
func (q question) ask(t *testing.T, prometheus string) (lacks string) {
	t.Helper()
	found, ready := query(t, prometheus, q.expr)
	if !ready {
		return "Prometheus is not ready"
	}
	numbers, labels := 0, map[string]bool{}
	for _, s := range found {
		for label := range s.labels {
			labels[label] = true
		}
		if !math.IsNaN(s.value) {
			numbers++
		}
	}
	for _, label := range q.labels {
		if !labels[label] {
			return fmt.Sprintf("no label %s, which the legend shows, in %d series", label, len(found))
		}
	}
	if numbers == 0 {
		return fmt.Sprintf("no number in %d series", len(found))
	}
	return ""
}

// A Prometheus with our configuration, but for the target and the pace, scrapes a demo: each panel has data, and each alert
// looks at series that there are.
func TestPrometheusFindsData(t *testing.T) {
	t.Parallel()
	binary := program(t, "prometheus")
	metrics := run(t, `metrics\s+http://(\S+)/metrics`, build(t), "demo",
		"--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0", "--report-interval=1s")

	folder := t.TempDir()
	for _, name := range []string{"prometheus.yml", "alerts.yml"} {
		text, err := os.ReadFile(filepath.Join("prometheus", name))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.NewReplacer(
			scrapeConfig(t).ScrapeConfigs[0].StaticConfigs[0].Targets[0], metrics, "interval: 15s", "interval: 1s",
		).Replace(string(text))
		if err := os.WriteFile(filepath.Join(folder, name), []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prometheus := "http://" + run(t, `msg="Listening on" address=(\S+)`, binary,
		"--config.file="+filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address=127.0.0.1:0")

	// A demo has no replicas and follows nothing: alerts_test.yml holds what is said of them.
	open := slices.DeleteFunc(questions(t), func(q question) bool {
		return strings.Contains(q.expr, "insights_replica_") || strings.Contains(q.expr, "insights_follow_")
	})
	t.Logf("%d expressions", len(open))
	awaitAnswers(t, prometheus, open)
}
