package server

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

const openMetrics = "application/openmetrics-text; version=1.0.0"

// scrape asks a handler for its metrics in a format and returns the type and the text.
func scrape(t testing.TB, h http.Handler, accept string) (contentType, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: status %d: %s", w.Code, w.Body)
	}
	return w.Header().Get("Content-Type"), w.Body.String()
}

// parseMetrics reads a scrape as Prometheus does, and returns the values by series and the types by family.
func parseMetrics(t testing.TB, contentType, body string) (samples map[string]float64, types map[string]model.MetricType) {
	t.Helper()
	p, err := textparse.New([]byte(body), contentType, labels.NewSymbolTable(), textparse.ParserOptions{OpenMetricsSkipSTSeries: true})
	if err != nil {
		t.Fatalf("Prometheus warns about the scrape: %v", err)
	}
	samples, types = map[string]float64{}, map[string]model.MetricType{}
	helps := map[string]bool{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("Prometheus does not read the scrape: %v\n%s", err, body)
		}
		switch entry {
		case textparse.EntryHelp:
			name, help := p.Help()
			helps[string(name)] = len(help) > 0
		case textparse.EntryType:
			name, kind := p.Type()
			types[string(name)] = kind
		case textparse.EntrySeries:
			_, _, value := p.Series()
			var l labels.Labels
			p.Labels(&l)
			if _, again := samples[l.String()]; again {
				t.Errorf("series %s is there twice", l)
			}
			samples[l.String()] = value
			counted := strings.HasPrefix(l.Get(model.MetricNameLabel), "insights_") && strings.HasSuffix(l.Get(model.MetricNameLabel), "_total")
			if strings.HasPrefix(contentType, "application/openmetrics-text") && counted && p.StartTimestamp() == 0 {
				t.Errorf("counter %s does not say when it began", l)
			}
		case textparse.EntryUnit:
			if name, unit := p.Unit(); !strings.HasSuffix(string(name), "_"+string(unit)) {
				t.Errorf("family %s has the unit %s", name, unit)
			}
		case textparse.EntryInvalid, textparse.EntryComment, textparse.EntryHistogram:
			t.Errorf("the scrape has an entry of kind %d", entry)
		}
	}
	for name, kind := range types {
		if !helps[name] || kind == model.MetricTypeUnknown {
			t.Errorf("family %s has type %s, help %v", name, kind, helps[name])
		}
	}
	return samples, types
}

func TestMetricsHandler(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "insights_ingest_reports_total", Help: "H."}))
	handler := newExposition(registry, 0).handler()
	const text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	for name, c := range map[string]struct {
		method, path, accept, encoding string
		status                         int
		contentType                    string
	}{
		"root":        {method: "GET", path: "/", status: 200, contentType: text},
		"metrics":     {method: "GET", path: "/metrics", status: 200, contentType: text},
		"head":        {method: "HEAD", path: "/metrics", status: 200, contentType: text},
		"query":       {method: "GET", path: "/metrics?name[]=insights_ingest_reports_total", status: 200, contentType: text},
		"any format":  {method: "GET", path: "/metrics", accept: "*/*", status: 200, contentType: text},
		"openmetrics": {method: "GET", path: "/metrics", accept: openMetrics, status: 200, contentType: openMetrics + "; charset=utf-8; escaping=underscores"},
		"openmetrics at root, as Prometheus asks": {
			method: "GET", path: "/", accept: "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1", encoding: "gzip",
			status: 200, contentType: openMetrics + "; charset=utf-8; escaping=underscores",
		},
		"gzip":       {method: "GET", path: "/metrics", encoding: "gzip", status: 200, contentType: text},
		"other path": {method: "GET", path: "/other", status: 404, contentType: "text/plain; charset=utf-8"},
		"below":      {method: "GET", path: "/metrics/", status: 404, contentType: "text/plain; charset=utf-8"},
		"write":      {method: "POST", path: "/metrics", status: 405, contentType: "text/plain; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Accept", c.accept)
			r.Header.Set("Accept-Encoding", c.encoding)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("Content-Type") != c.contentType {
				t.Fatalf("status %d, type %q; want %d, %q", w.Code, w.Header().Get("Content-Type"), c.status, c.contentType)
			}
			if got := w.Header().Get("Content-Encoding"); got != c.encoding {
				t.Fatalf("encoding %q, want %q", got, c.encoding)
			}
			if c.status != 200 {
				return
			}
			var body io.Reader = w.Body
			if c.encoding == "gzip" {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			content, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(content, []byte("insights_ingest_reports_total 0")) {
				t.Errorf("the answer lacks insights_ingest_reports_total:\n%s", content)
			}
			if ends := bytes.HasSuffix(content, []byte("# EOF\n")); ends != strings.HasPrefix(c.contentType, openMetrics) {
				t.Errorf("the answer ends with # EOF: %v", ends)
			}
		})
	}
}

// TestMetricsFirstScrape: what may be counted later is there from the start, so that a rate sees its first step.
func TestMetricsFirstScrape(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, page := newMetrics(registry), newExposition(registry, 0)
	waiting := 0
	m.watchQueue(func() int { return waiting })
	contentType, body := scrape(t, page, "")
	samples, _ := parseMetrics(t, contentType, body)
	for _, name := range []string{
		"insights_ingest_reports_total", "insights_ingest_rows_total", "insights_ingest_commit_seconds_count", "insights_ingest_lag_seconds_count",
		"insights_ingest_queue_length", "insights_ingest_streams", "insights_fold_pages_total", "insights_fold_rows_total", "insights_fold_seconds_count",
	} {
		if value, ok := samples[seriesName(name, nil)]; !ok || value != 0 {
			t.Errorf("%s: %v, %v; want a zero", name, value, ok)
		}
	}
	rejected := func(reason string) string {
		return seriesName("insights_ingest_rejected_total", map[string]string{"reason": reason})
	}
	for _, reason := range []string{"invalid", "reserved", "conflict", "limit"} {
		if value, ok := samples[seriesName("insights_agent_series_dropped_total", map[string]string{"reason": reason})]; !ok || value != 0 {
			t.Errorf("series dropped for reason %s: %v, %v; want a zero", reason, value, ok)
		}
	}
	reasons := []string{"invalid", "too_old", "too_new", "unknown_agent", "deleted", "refused"}
	for _, reason := range reasons {
		if value, ok := samples[rejected(reason)]; !ok || value != 0 {
			t.Errorf("rejected for reason %s: %v, %v; want a zero", reason, value, ok)
		}
	}
	waiting = 7
	m.reject(causeTooOld)
	m.reject(causeTooOld)
	contentType, body = scrape(t, page, "")
	samples, _ = parseMetrics(t, contentType, body)
	if got := samples[rejected("too_old")]; got != 2 {
		t.Errorf("rejected as too old: %v, want 2", got)
	}
	if got := samples[seriesName("insights_ingest_queue_length", nil)]; got != 7 {
		t.Errorf("queue length: %v, want 7", got)
	}
}

// newBusy is a server in whose metrics every family has series.
func newBusy(t *testing.T) *deployment {
	t.Helper()
	d := newDeployment(t, storetest.SQLite(t), func(c *Options) { c.CollectAgentStats = true })
	d.feed(t)
	d.apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
		Id: d.published, TemplateId: d.golang, Name: "v2", Parameters: []*insightsv1.Parameter{{Name: "region", Type: "string"}},
	}}})
	build := d.build(d.dev, d.published, 4, "start", "succeeded")
	build.GetBuild().Parameters = []*insightsv1.BuildParameter{{Name: "region", Value: "eu"}}
	d.reportEvents(t, d.controlPlane, []*insightsv1.Event{build})
	r := sessionAt(d.agent, 1, storetest.Now)
	r.ConnectionMedianLatencyMs, r.DerpRegion = 10, "Nuremberg"
	r.Metrics = []*insightsv1.Metric{
		metric("coderd_agentstats_startup_script_seconds", "gauge", 4, "success", "true"), metric("agent_scripts_executed_total", "counter", 1, "success", "true"),
	}
	d.reportStats(t, d.controlPlane, []*insightsv1.AgentReport{r})
	d.get(t, d.controlPlane, "/api/v2/access/me", nil)
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// givenNames are families whose names break a rule of good names, because dashboards know them so.
var givenNames = map[string]string{
	"coderd_api_workspace_latest_build_total": `non-counter metrics should not have "_total" suffix`,
	"coderd_agentstats_connection_count":      `non-histogram and non-summary metrics should not have "_count" suffix`,
}

func TestMetricsLint(t *testing.T) {
	t.Parallel()
	_, body := newBusy(t).scrape(t, "text/plain")
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
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed: on Debian, apt-get install prometheus")
	}
	_, body := newBusy(t).scrape(t, "text/plain")
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

// TestMetricsFormats: both formats say the same of the families that are ours.
func TestMetricsFormats(t *testing.T) {
	t.Parallel()
	d := newBusy(t)
	foreign := func(series string, _ float64) bool {
		return !strings.Contains(series, `"insights_`) && !strings.Contains(series, `"coderd_`)
	}
	contentType, body := d.scrape(t, "text/plain")
	text, textTypes := parseMetrics(t, contentType, body)
	contentType, body = d.scrape(t, openMetrics)
	open, openTypes := parseMetrics(t, contentType, body)
	for _, family := range []string{"go_goroutines", "process_open_fds", "go_build_info", "promhttp_metric_handler_requests_total", "promhttp_metric_handler_errors_total", "grpc_server_handled_total"} {
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
