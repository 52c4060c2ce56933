package exposition

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/template-insights/insights/server/servertest/wiretest"
)

func TestMetricsHandler(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "insights_ingest_reports_total", Help: "H."}))
	handler := New(registry, 0).Handler()
	const text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	for name, c := range map[string]struct {
		method, path, accept, encoding string
		status                         int
		contentType                    string
	}{
		"root":       {method: "GET", path: "/", status: 200, contentType: text},
		"metrics":    {method: "GET", path: "/metrics", status: 200, contentType: text},
		"head":       {method: "HEAD", path: "/metrics", status: 200, contentType: text},
		"query":      {method: "GET", path: "/metrics?name[]=insights_ingest_reports_total", status: 200, contentType: text},
		"any format": {method: "GET", path: "/metrics", accept: "*/*", status: 200, contentType: text},
		"openmetrics": {
			method: "GET", path: "/metrics", accept: wiretest.OpenMetrics, status: 200,
			contentType: wiretest.OpenMetrics + "; charset=utf-8; escaping=underscores",
		},
		"openmetrics at root, as Prometheus asks": {
			method: "GET", path: "/", accept: "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
			encoding: "gzip", status: 200, contentType: wiretest.OpenMetrics + "; charset=utf-8; escaping=underscores",
		},
		"protobuf, as Prometheus asks for native histograms": {
			method: "GET", path: "/metrics", accept: protobuf, encoding: "gzip", status: 200,
			contentType: string(expfmt.FmtProtoDelim) + "; escaping=underscores",
		},
		"protobuf below OpenMetrics": {
			method: "GET", path: "/metrics", status: 200, contentType: wiretest.OpenMetrics + "; charset=utf-8; escaping=underscores",
			accept: "application/openmetrics-text;version=1.0.0;q=0.5," +
				"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.4",
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
			if strings.HasPrefix(c.contentType, "application/vnd") {
				if familiesOf(t, c.contentType, string(content))["insights_ingest_reports_total"] == nil {
					t.Error("the answer lacks insights_ingest_reports_total")
				}
				return
			}
			if !bytes.Contains(content, []byte("insights_ingest_reports_total 0")) {
				t.Errorf("the answer lacks insights_ingest_reports_total:\n%s", content)
			}
			if ends := bytes.HasSuffix(content, []byte("# EOF\n")); ends != strings.HasPrefix(c.contentType, wiretest.OpenMetrics) {
				t.Errorf("the answer ends with # EOF: %v", ends)
			}
		})
	}
}
