package ingest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// TestMetricsFirstScrape: what may be counted later is there from the start, so that a rate sees its first step.
func TestMetricsFirstScrape(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, page := newMetrics(registry), exposition.New(registry, 0)
	waiting := 0
	m.watchQueue(func() int { return waiting })
	contentType, body := wiretest.Scrape(t, page, "")
	samples, _ := wiretest.ParseMetrics(t, contentType, body)
	for _, name := range []string{
		"insights_ingest_reports_total", "insights_ingest_rows_total", "insights_ingest_commit_seconds_count",
		"insights_ingest_lag_seconds_count",
		"insights_ingest_queue_length", "insights_ingest_streams", "insights_fold_pages_total", "insights_fold_rows_total",
		"insights_fold_seconds_count",
	} {
		if value, ok := samples[wiretest.SeriesName(name, nil)]; !ok || value != 0 {
			t.Errorf("%s: %v, %v; want a zero", name, value, ok)
		}
	}
	rejected := func(reason string) string {
		return wiretest.SeriesName("insights_ingest_rejected_total", map[string]string{"reason": reason})
	}
	for _, reason := range []string{"invalid", "reserved", "conflict", "limit"} {
		value, ok := samples[wiretest.SeriesName("insights_agent_series_dropped_total", map[string]string{"reason": reason})]
		if !ok || value != 0 {
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
	contentType, body = wiretest.Scrape(t, page, "")
	samples, _ = wiretest.ParseMetrics(t, contentType, body)
	if got := samples[rejected("too_old")]; got != 2 {
		t.Errorf("rejected as too old: %v, want 2", got)
	}
	if got := samples[wiretest.SeriesName("insights_ingest_queue_length", nil)]; got != 7 {
		t.Errorf("queue length: %v, want 7", got)
	}
}
