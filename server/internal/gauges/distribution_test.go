package gauges

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
)

// Distributions of the same labels add up, those beyond the budget are left out and counted.
func TestDistributions(t *testing.T) {
	t.Parallel()
	f := &exposition.Family{
		Name: "waits_seconds", Help: "Waits.", Kind: exposition.HistogramFamily, Labels: []string{"who"}, Buckets: []float64{0.5, 2},
	}
	s := &snapshot{distributions: map[*exposition.Family][]exposition.DistributionSeries{}}
	for _, one := range []struct {
		who string
		store.Distribution
	}{
		{"z", store.Distribution{Count: 1, Sum: 0, Below: []int64{1, 1}}},
		{`a"`, store.Distribution{Count: 3, Sum: 9, Below: []int64{1, 2}, Since: store.At(time.Unix(20, 0))}},
		{"m", store.Distribution{Count: 1, Sum: 5, Below: []int64{0, 0}}},
		{`a"`, store.Distribution{Count: 1, Sum: 1, Below: []int64{0, 1}, Since: store.At(time.Unix(10, 5e8))}},
	} {
		s.addDistribution(f, one.Distribution, one.who)
	}
	registry := prometheus.NewRegistry()
	page := exposition.New(registry, 2)
	page.MustAdd(distributing{f, s})
	for _, accept := range []string{"text/plain", wiretest.OpenMetrics} {
		contentType, body := wiretest.Scrape(t, page, accept)
		got, _ := wiretest.ParseProduced(t, contentType, body)
		whole := map[string]float64{}
		for series, value := range got {
			whole[wiretest.WholeBound.Replace(series)] = value
		}
		want := wiretest.SeriesOf(t, `waits_seconds_bucket{who="a\"",le="0.5"} 1
			waits_seconds_bucket{who="a\"",le="2"} 3
			waits_seconds_bucket{who="a\"",le="+Inf"} 4
			waits_seconds_sum{who="a\""} 10
			waits_seconds_count{who="a\""} 4
			waits_seconds_bucket{who="m",le="0.5"} 0
			waits_seconds_bucket{who="m",le="2"} 0
			waits_seconds_bucket{who="m",le="+Inf"} 1
			waits_seconds_sum{who="m"} 5
			waits_seconds_count{who="m"} 1
			`)
		if diff := cmp.Diff(want, whole); diff != "" {
			t.Errorf("%s (-want +got):\n%s", accept, diff)
		}
		created := "waits_seconds_created{who=\"a\\\"\"} 10.5\n"
		if strings.Contains(body, created) != (accept == wiretest.OpenMetrics) || strings.Count(body, "waits_seconds_created{") > 1 {
			t.Errorf("%s: want %q in OpenMetrics alone, and nothing of what began nobody knows when:\n%s", accept, created, body)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, dropping := range families {
		if dropping.GetName() == "insights_metrics_series_dropped_total" {
			if dropped := dropping.GetMetric()[0].GetCounter().GetValue(); dropped != 2 {
				t.Errorf("%v label sets were dropped in two scrapes, want one in each", dropped)
			}
			return
		}
	}
	t.Error("nothing tells what was dropped")
}

// distributing is a producer of one histogram.
type distributing struct {
	family   *exposition.Family
	snapshot *snapshot
}

func (d distributing) Families() []*exposition.Family { return []*exposition.Family{d.family} }

func (d distributing) Produce(p *exposition.Writer) {
	p.Distributions(d.family, d.snapshot.distributions[d.family])
}
