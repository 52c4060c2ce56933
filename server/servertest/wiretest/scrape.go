package wiretest

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/template-insights/insights/store/storetest"
)

// WholeBound undoes what Prometheus makes of the bounds of buckets: 1.0 of 1.
var WholeBound = strings.NewReplacer(`.0", `, `", `, `.0"}`, `"}`)

// SeriesOf reads series from lines of the text format.
func SeriesOf(t *testing.T, lines string) map[string]float64 {
	t.Helper()
	samples, _ := ParseMetrics(t, "text/plain; version=0.0.4", strings.ReplaceAll(lines, "\t", ""))
	return samples
}

// SeriesName is the name of a series as ParseMetrics tells it.
func SeriesName(name string, l map[string]string) string {
	all := map[string]string{model.MetricNameLabel: name}
	maps.Copy(all, l)
	return labels.FromMap(all).String()
}

// OnEachDatabase runs a test on SQLite and on Postgres.
func OnEachDatabase(t *testing.T, test func(t *testing.T, database string)) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// OpenMetrics is the media type that asks for OpenMetrics.
const OpenMetrics = "application/openmetrics-text; version=1.0.0"

// Scrape asks a handler for its metrics in a format and returns the type and the text.
func Scrape(t testing.TB, h http.Handler, accept string) (contentType, body string) {
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

// untold is the counter whose name without _total is that of a gauge. OpenMetrics would take both for one family.
const untold = "go_memstats_alloc_bytes_total"

// ParseMetrics reads a scrape as Prometheus does, and returns the values by series and the types by family.
func ParseMetrics(t testing.TB, contentType, body string) (samples map[string]float64, types map[string]model.MetricType) {
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
			counted := strings.HasPrefix(l.Get(model.MetricNameLabel), "insights_") &&
				strings.HasSuffix(l.Get(model.MetricNameLabel), "_total")
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
		if !helps[name] || kind == model.MetricTypeUnknown && name != untold {
			t.Errorf("family %s has type %s, help %v", name, kind, helps[name])
		}
	}
	return samples, types
}

// ParseProduced is ParseMetrics without what an endpoint tells of itself.
func ParseProduced(t testing.TB, contentType, body string) (samples map[string]float64, types map[string]model.MetricType) {
	t.Helper()
	samples, types = ParseMetrics(t, contentType, body)
	for _, own := range []string{"insights_metrics_series_dropped_total", "promhttp_metric_handler_errors_total"} {
		delete(types, own)
		delete(types, strings.TrimSuffix(own, "_total"))
		maps.DeleteFunc(samples, func(series string, _ float64) bool { return strings.HasPrefix(series, `{__name__="`+own) })
	}
	return samples, types
}
