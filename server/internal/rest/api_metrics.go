package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// apiMetrics is how REST is used, under the names that existing dashboards know from Coder. What
// callers choose freely is in no label: paths are those of the routes.
type apiMetrics struct {
	concurrent *prometheus.GaugeVec
	latencies  *prometheus.HistogramVec
	processed  *prometheus.CounterVec
}

func newAPIMetrics(registry prometheus.Registerer) *apiMetrics {
	factory := promauto.With(registry)
	return &apiMetrics{
		concurrent: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "coderd_api_concurrent_requests",
			Help: "The number of concurrent API requests.",
		}, []string{"method", "path"}),
		latencies: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "coderd_api_request_latencies_seconds",
			Help:    "Latency distribution of requests in seconds.",
			Buckets: []float64{0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.500, 1, 5, 10, 30},
		}, []string{"method", "path"}),
		processed: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "coderd_api_requests_processed_total",
			Help: "The total number of processed API requests.",
		}, []string{"code", "method", "path"}),
	}
}

// What stands in labels for methods that HTTP does not know and for paths without a route.
const otherLabel = "other"

var httpMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect,
	http.MethodOptions, http.MethodTrace,
}

// instrument counts the requests of a handler, behind which a mux finds the routes of the server's own handlers.
func (m *apiMetrics) instrument(mux *http.ServeMux, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now() // the real clock: how long answers take is measured
		_, pattern := mux.Handler(r)
		u := &underway{m: m, method: r.Method, path: ownRoute(pattern)}
		if !slices.Contains(httpMethods, u.method) {
			u.method = otherLabel
		}
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		u.count(1)
		defer func() {
			u.count(-1)
			m.latencies.WithLabelValues(u.method, u.path).Observe(time.Since(begin).Seconds())
			m.processed.WithLabelValues(strconv.Itoa(answer.status), u.method, u.path).Inc()
		}()
		next.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), underwayKey{}, u)))
	})
}

// underway is a request that is being answered, with its labels as far as they are known.
type underway struct {
	m            *apiMetrics
	method, path string
}

// underwayKey is where it is in the context of the request.
type underwayKey struct{}

func (u *underway) count(n float64) { u.m.concurrent.WithLabelValues(u.method, u.path).Add(n) }

// noteRoute tells instrument which route of the gateway a request took.
func noteRoute(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, parameters map[string]string) {
		u, counted := r.Context().Value(underwayKey{}).(*underway)
		if pattern, found := runtime.HTTPPattern(r.Context()); found && counted {
			u.count(-1)
			u.path = strings.ReplaceAll(pattern.String(), "=*}", "}")
			u.count(1)
		}
		next(w, r, parameters)
	}
}

// ownRoute is the route of a pattern of the server's own handlers.
func ownRoute(pattern string) string {
	_, own, _ := strings.Cut(pattern, "/")
	if own == "" || strings.HasSuffix(own, "/") { // a pattern of many paths, none of which the gateway knows
		return otherLabel
	}
	return "/" + strings.TrimSuffix(own, "{$}")
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote && status >= http.StatusOK { // others go before the answer
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the writer itself.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
