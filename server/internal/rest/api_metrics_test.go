package rest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A request is counted while it lasts, whatever its handler does, and the connection's own abilities stay reachable.
func TestInstrument(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := newAPIMetrics(registry)
	value := func(name string) float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return -1
	}
	handler := m.instrument(http.NewServeMux(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if got := value("coderd_api_concurrent_requests"); got != 1 {
			t.Errorf("%v requests at a time, want 1", got)
		}
		w.WriteHeader(http.StatusEarlyHints)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	got := []float64{value("coderd_api_concurrent_requests"), value("coderd_api_requests_processed_total")}
	if !slices.Equal(got, []float64{0, 1}) {
		t.Errorf("requests at a time and in all: %v, want 0 and 1", got)
	}
}
