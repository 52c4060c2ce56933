package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// apiSeries are the series of REST and streams as a scrape shows them, without the durations, which nobody can foresee.
func (r *running) apiSeries(t *testing.T) map[string]float64 {
	t.Helper()
	contentType, body := r.Scrape(t, "text/plain")
	samples, _ := wiretest.ParseMetrics(t, contentType, body)
	ours := map[string]float64{}
	for series, value := range samples {
		if strings.HasPrefix(series, `{__name__="coderd_api_`) && !strings.Contains(series, `_sum"`) &&
			!strings.Contains(series, `_bucket"`) && !strings.Contains(series, "active_users") {
			ours[series] = value
		}
	}
	return ours
}

func TestAPIMetrics(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	header := http.Header{"Coder-Session-Token": {owner}}
	for range 50 { // what callers choose freely
		r.Fetch(t, header, "/api/v2/templates/"+uuid.NewString()+"/daus")
		r.Fetch(t, header, "/api/v2/"+uuid.NewString())
		r.Fetch(t, header, "/"+uuid.NewString())
	}
	r.Fetch(t, header, "/api/v2/insights/daus?tz_offset=0")
	r.Fetch(t, header, "/api/v2/insights/daus?nonsense=1")
	r.Fetch(t, nil, "/livez")
	r.Fetch(t, nil, "/")
	for i := range 20 {
		req, err := http.NewRequestWithContext(
			t.Context(), fmt.Sprintf("BREW%d", i), "http://"+r.HTTPAddress()+"/api/v2/insights/daus", nil,
		)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	want := wiretest.SeriesOf(t, `
		coderd_api_concurrent_requests{method="GET",path="/api/v2/templates/{template_id}/daus"} 0
		coderd_api_concurrent_requests{method="GET",path="/api/v2/insights/daus"} 0
		coderd_api_concurrent_requests{method="GET",path="/livez"} 0
		coderd_api_concurrent_requests{method="GET",path="/"} 0
		coderd_api_concurrent_requests{method="GET",path="other"} 0
		coderd_api_concurrent_requests{method="other",path="other"} 0
		coderd_api_concurrent_websockets{path="/insights.v1.IngestService/StreamStats"} 0
		coderd_api_websocket_durations_seconds_count{path="/insights.v1.IngestService/StreamStats"} 0
		coderd_api_requests_processed_total{code="200",method="GET",path="/api/v2/templates/{template_id}/daus"} 50
		coderd_api_request_latencies_seconds_count{method="GET",path="/api/v2/templates/{template_id}/daus"} 50
		coderd_api_requests_processed_total{code="404",method="GET",path="other"} 100
		coderd_api_request_latencies_seconds_count{method="GET",path="other"} 100
		coderd_api_requests_processed_total{code="200",method="GET",path="/api/v2/insights/daus"} 1
		coderd_api_requests_processed_total{code="400",method="GET",path="/api/v2/insights/daus"} 1
		coderd_api_request_latencies_seconds_count{method="GET",path="/api/v2/insights/daus"} 2
		coderd_api_requests_processed_total{code="200",method="GET",path="/livez"} 1
		coderd_api_request_latencies_seconds_count{method="GET",path="/livez"} 1
		coderd_api_requests_processed_total{code="200",method="GET",path="/"} 1
		coderd_api_request_latencies_seconds_count{method="GET",path="/"} 1
		coderd_api_requests_processed_total{code="405",method="other",path="other"} 20
		coderd_api_request_latencies_seconds_count{method="other",path="other"} 20
		`)
	if diff := cmp.Diff(want, r.apiSeries(t)); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// The streams of agents are the websockets.
func TestAPIMetricsOfStreams(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	stream, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(
		servertest.As(t.Context(), r.Token(t, access.RoleControlPlane, servertest.Everywhere)),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	count := wiretest.SeriesName("coderd_api_websocket_durations_seconds_count", map[string]string{
		"path": "/insights.v1.IngestService/StreamStats",
	})
	open := wiretest.SeriesName("coderd_api_concurrent_websockets", map[string]string{
		"path": "/insights.v1.IngestService/StreamStats",
	})
	eventually(t, "the stream is open", func() bool { return r.apiSeries(t)[open] == 1 })
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	eventually(t, "the stream has ended", func() bool { got := r.apiSeries(t); return got[open] == 0 && got[count] == 1 })
}

// Without an address there is no metrics page.
func TestWithoutPrometheus(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.PrometheusAddress = "" })
	if got := r.PrometheusAddress(); got != "" {
		t.Errorf("metrics are at %s", got)
	}
	if status, _, _ := r.Fetch(t, nil, "/livez"); status != http.StatusOK {
		t.Errorf("the rest does not work: %d", status)
	}
}
