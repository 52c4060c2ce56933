package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/internal/gauges"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// describedFamily is what the documentation says of a family.
type describedFamily struct {
	Kind   string
	Labels string // ascending, with blanks between them
}

// The metrics page of a server, the two files of metrics and the table of the documentation tell of the same families.
func TestMetricsDocs(t *testing.T) {
	t.Parallel()
	static, scanned := readDescribed(t, "../scripts/metricsdocgen/metrics"), readDescribed(t, "../scripts/metricsdocgen/generated_metrics")
	documented := documentedFamilies(t)

	t.Run("files", func(t *testing.T) {
		t.Parallel()
		merged := maps.Clone(scanned)
		maps.Copy(merged, static)
		if diff := cmp.Diff(merged, documented); diff != "" {
			t.Errorf("the documentation is not what the files say (-files +documentation):\n%s", diff)
		}
	})
	t.Run("every name and label", func(t *testing.T) {
		t.Parallel()
		live := liveFamilies(t, gauges.CompatSeed, gauges.CompatCoder)
		for name, f := range liveFamilies(t) { // a switch takes labels away, too
			if len(f.Labels) > len(live[name].Labels) {
				live[name] = f
			}
		}
		if diff := cmp.Diff(live, documented); diff != "" {
			t.Errorf("the documentation is not what a server shows (-server +documentation):\n%s", diff)
		}
	})
	t.Run("scan", func(t *testing.T) {
		t.Parallel()
		live := liveFamilies(t)
		maps.DeleteFunc(live, func(name string, _ describedFamily) bool {
			_, found := scanned[name]
			_, kept := static[name]
			return kept && !found
		})
		if diff := cmp.Diff(live, scanned); diff != "" {
			t.Errorf("the scan is not what a server shows (-server +scan):\n%s", diff)
		}
	})
}

// Of all families that a server may show, no two take the same name in OpenMetrics, but for a gauge and a counter of the Go
// runtime: of those the counter is told under its whole name.
func TestMetricsNames(t *testing.T) {
	t.Parallel()
	live := liveFamilies(t, gauges.CompatSeed, gauges.CompatCoder)
	takenBy := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		for _, claim := range exposition.Claims(name, exposition.FamilyKind(live[name].Kind)) {
			takenBy[claim] = append(takenBy[claim], name)
		}
	}
	maps.DeleteFunc(takenBy, func(_ string, by []string) bool { return len(by) == 1 })
	want := map[string][]string{"go_memstats_alloc_bytes": {"go_memstats_alloc_bytes", "go_memstats_alloc_bytes_total"}}
	if diff := cmp.Diff(want, takenBy); diff != "" {
		t.Errorf("names that several families take (-want +got):\n%s", diff)
	}
}

// newLive is a server that shows all that it can.
func newLive(t *testing.T, compat ...string) *Server {
	t.Helper()
	database := storetest.Postgres(t)
	s, err := store.Open(t.Context(), store.Options{Database: database, ReadDatabases: []string{database}})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Store: s, Logger: slog.New(slog.DiscardHandler), GRPCAddress: "127.0.0.1:0",
		HTTPAddress: "127.0.0.1:0", IngestMaxAge: time.Hour, ReportInterval: time.Minute, UsageStats: true, CollectAgentStats: true,
		MetricsCompat: compat,
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.closeListeners(), r.gateway.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// liveFamilies are those that a server may show.
func liveFamilies(t *testing.T, compat ...string) map[string]describedFamily {
	t.Helper()
	r := newLive(t, compat...)
	// Families of the registry have no labels before their first series.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // nobody answers
	defer cancel()
	r.gateway.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v2/templates", nil))
	followed := r.options.Store
	r.FollowFails(false)
	if _, err := followed.Follow(t.Context(), "coder", "a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		followed.SetImportedUntil(t.Context(), "coder", storetest.Now, storetest.Now), r.ingest.Refresh(t.Context()),
	); err != nil {
		t.Fatal(err)
	}
	all := map[string]describedFamily{}
	page := r.page
	for _, f := range page.Families() {
		all[f.Name] = describedFamily{string(f.Kind), strings.Join(slices.Sorted(slices.Values(f.Labels)), " ")}
	}
	registered, err := page.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range registered {
		all[f.GetName()] = described(f)
	}
	return all
}

func described(f *dto.MetricFamily) describedFamily {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return describedFamily{strings.ToLower(f.GetType().String()), strings.Join(slices.Sorted(maps.Keys(names)), " ")}
}

func readDescribed(t *testing.T, path string) map[string]describedFamily {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	all := map[string]describedFamily{}
	for name, f := range families {
		all[name] = described(f)
	}
	return all
}

// documentedFamilies reads the table of the documentation, whose names ascend.
func documentedFamilies(t *testing.T) map[string]describedFamily {
	t.Helper()
	_, table, _ := strings.Cut(metricsDocs(t), "<!-- Code generated")
	all, last := map[string]describedFamily{}, ""
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |\n"), " | ")
		if len(cells) != 4 {
			t.Fatalf("row %q has %d cells", line, len(cells))
		}
		name := strings.Trim(cells[0], "`")
		if name <= last {
			t.Errorf("%s stands behind %s", name, last)
		}
		last = name
		all[name] = describedFamily{cells[1], strings.ReplaceAll(cells[3], "`", "")}
	}
	return all
}

func metricsDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/admin/integrations/prometheus.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
