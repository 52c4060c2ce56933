package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
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

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	"github.com/template-insights/insights/cmd/insights/fleet"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// forwardedFamilies is how many families the agents of this test forward.
const forwardedFamilies = 150

// forward lets two new agents of the demo forward many families with all the suffixes that OpenMetrics has, and then some whose
// names those have taken.
func forward(t *testing.T, address, owner string) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	as := func(token string) grpc.CallOption { return grpc.PerRPCCredentials(client.Token(token)) }
	catalog := fleet.NewCompany(demoSeed, time.Now()).Catalog
	workspace := &insightsv1.Workspace{
		Id: uuid.NewString(), OwnerId: catalog.GetUsers()[0].GetId(), TemplateId: catalog.GetTemplates()[0].GetId(), Name: "forwarding",
	}
	agents := []*insightsv1.Agent{
		{Id: uuid.NewString(), WorkspaceId: workspace.GetId(), Name: "a"},
		{Id: uuid.NewString(), WorkspaceId: workspace.GetId(), Name: "b"},
	}
	applied, err := insightsv1.NewCatalogServiceClient(conn).ApplyCatalog(t.Context(), &insightsv1.ApplyCatalogRequest{
		Workspaces: []*insightsv1.Workspace{workspace}, Agents: agents,
	}, as(owner))
	if err != nil || len(applied.GetRejected()) > 0 {
		t.Fatal(err, applied)
	}
	tokens, err := insightsv1.NewAccessServiceClient(conn).CreateAgentTokens(t.Context(), &insightsv1.CreateAgentTokensRequest{
		AgentIds: []string{agents[0].GetId(), agents[1].GetId()},
	}, as(owner))
	if err != nil {
		t.Fatal(err)
	}
	suffixes := []string{"", "_total", "_created", "_count", "_sum", "_bucket", "_info", "_gcount", "_seconds", "_ratio"}
	for i, token := range tokens.GetTokens() {
		r := &insightsv1.AgentReport{
			AgentId: token.GetAgentId(), CollectedAt: timestamppb.Now(), Interval: durationpb.New(5 * time.Minute),
		}
		for n := range forwardedFamilies / 2 {
			suffix := suffixes[n%len(suffixes)]
			name, kind := fmt.Sprintf("tool_n%d_%d%s", i, n, suffix), "gauge"
			if suffix == "_total" {
				kind = "counter"
			}
			r.Metrics = append(r.Metrics, wiretest.Metric(name, kind, float64(n), "odd", `a"b\c`))
		}
		for _, clash := range []string{"tool_n%d_1", "tool_n%d_1_created", "tool_n%d_0_total"} {
			kind := "gauge"
			if strings.HasSuffix(clash, "_total") {
				kind = "counter"
			}
			r.Metrics = append(r.Metrics, wiretest.Metric(fmt.Sprintf(clash, i), kind, 1))
		}
		answer, err := insightsv1.NewIngestServiceClient(conn).ReportStats(
			t.Context(), &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{r}}, as(token.GetSecret()),
		)
		if err != nil || len(answer.GetRejected()) > 0 {
			t.Fatal(err, answer)
		}
	}
}

// installed finds a program that a test needs.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: on Debian, apt-get install prometheus", name)
	}
	return path
}

// scrapeAs asks for metrics in a format.
func scrapeAs(t *testing.T, metrics, accept string) (contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return resp.Header.Get("Content-Type"), string(text)
}

// formats are what a Prometheus asks for that wants a format.
var formats = map[string]string{
	"text":        "text/plain;version=0.0.4",
	"openmetrics": "application/openmetrics-text;version=1.0.0",
	"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited," +
		"application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75," +
		"text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
}

// scraping is a Prometheus that scrapes a page in every format, each as a job of its own.
type scraping struct {
	url string

	mu       sync.Mutex
	warnings []string
}

func newScraping(t *testing.T, metrics string) *scraping {
	t.Helper()
	target, err := url.Parse(metrics)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	config := "global: {scrape_interval: 1s}\nscrape_configs:\n"
	for _, format := range slices.Sorted(maps.Keys(formats)) {
		proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
			r.Out.Header.Set("Accept", formats[format])
		}})
		t.Cleanup(proxy.Close)
		config += fmt.Sprintf("- {job_name: %s, static_configs: [{targets: [%q]}]}\n", format, proxy.Listener.Addr())
	}
	path := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	program := exec.CommandContext(
		ctx, installed(t, "prometheus"), "--config.file="+path, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address=127.0.0.1:0", "--enable-feature=native-histograms",
	)
	program.Cancel = func() error { return program.Process.Signal(syscall.SIGTERM) }
	program.WaitDelay = 30 * time.Second
	log, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	s, listening, read := &scraping{}, make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		at := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			line := lines.Text()
			if found := at.FindStringSubmatch(line); found != nil {
				listening <- found[1]
			}
			if strings.Contains(line, "level=warn") || strings.Contains(line, "level=error") {
				s.mu.Lock()
				s.warnings = append(s.warnings, line)
				s.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-read
		_ = program.Wait() // a signal ends it
	})
	select {
	case address := <-listening:
		s.url = "http://" + address
	case <-time.After(patience):
		t.Fatal("Prometheus does not listen")
	}
	return s
}

// number asks for one number; false: there is none yet.
func (s *scraping) number(t *testing.T, query string) (float64, bool) {
	t.Helper()
	_, body := get(t, s.url+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), "")
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return 0, false // it is not ready
	}
	if answer.Error != "" {
		t.Fatalf("%s: %s", query, answer.Error)
	}
	if len(answer.Data.Result) != 1 {
		return 0, false
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil && !math.IsNaN(value)
}

// wait asks until there is a number that suits.
func (s *scraping) wait(t *testing.T, query string, suits func(float64) bool) float64 {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		value, there := s.number(t, query)
		if there && suits(value) {
			return value
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v, %t", query, value, there)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Whoever reads metrics reads all of the demo, whatever its agents forward: promtool, the strict parser of another language, and
// a Prometheus in each format. Native histograms say what the classic ones do.
func TestMetricReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Prometheus and Python: make test")
	}
	t.Parallel()
	p := start(
		t, "demo", "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0", "--report-interval=5s",
	)
	address := p.wait(t, `gRPC\s+(\S+)`)[0]
	metrics := p.wait(t, `metrics\s+(\S+)`)[0]
	owner := p.wait(t, `owner\s+(tia_\S+)`)[0]
	forward(t, address, owner)

	s := newScraping(t, metrics)
	for _, format := range slices.Sorted(maps.Keys(formats)) {
		s.wait(t, fmt.Sprintf(`count(count by (__name__) ({__name__=~"tool_n.*", job=%q}))`, format), func(n float64) bool {
			return n == forwardedFamilies
		})
	}
	for family, within := range map[string]float64{ // doublings that both may be apart
		"coderd_workspace_creation_duration_seconds": 0.25, "coderd_prebuilt_workspace_claim_duration_seconds": 0.25,
		"coderd_agents_first_connection_seconds": 1, // its native buckets know more than its classic ones
	} {
		for _, quantile := range []float64{0.5, 0.95} {
			classic := s.wait(t, fmt.Sprintf(
				`histogram_quantile(%v, sum by (le) (%s_bucket{job="openmetrics"}))`, quantile, family,
			), func(n float64) bool { return n > 0 })
			s.wait(t, fmt.Sprintf(`histogram_quantile(%v, sum(%s{job="protobuf"}))`, quantile, family), func(n float64) bool {
				return math.Abs(math.Log2(n/classic)) < within
			})
		}
		s.wait(t, fmt.Sprintf(`histogram_count(sum(%s{job="protobuf"}))`, family), func(n float64) bool { return n > 0 })
	}
	s.wait(t, `count(up == 1)`, func(n float64) bool { return int(n) == len(formats) })

	_, text := scrapeAs(t, metrics, formats["text"])
	check := exec.CommandContext(t.Context(), installed(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(text)
	out, err := check.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: there are problems
		t.Fatalf("promtool check metrics: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// Names that dashboards know are as they are, and agents choose theirs.
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "tool_") && !slices.Contains(givenNames, name) {
			t.Errorf("promtool check metrics: %s", line)
		}
	}
	_, open := scrapeAs(t, metrics, formats["openmetrics"])
	forwarded := 0
	for name := range wiretest.ParseStrictly(t, open) {
		if strings.HasPrefix(name, "tool_n") {
			forwarded++
		}
	}
	if forwarded != forwardedFamilies {
		t.Errorf("the strict parser sees %d forwarded families, want %d", forwarded, forwardedFamilies)
	}
	if !strings.Contains(text, `insights_agent_series_dropped_total{reason="conflict"} 6`+"\n") {
		t.Error("6 series whose names are taken are not counted")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.warnings) > 0 {
		t.Errorf("Prometheus warns:\n%s", strings.Join(s.warnings, "\n"))
	}
}

// givenNames are families whose names break a rule of good names, because dashboards know them so.
var givenNames = []string{
	"coderd_api_workspace_latest_build_total", "coderd_agentstats_connection_count", "coderd_agentstats_session_count",
	"coderd_oauth2_external_requests_rate_limit_total",
}
