package exposition

import (
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
)

// protobuf is what a Prometheus asks for that takes native histograms.
const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited," +
	"application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

// familiesOf reads a scrape with the library.
func familiesOf(t *testing.T, contentType, body string) map[string]*dto.MetricFamily {
	t.Helper()
	all := map[string]*dto.MetricFamily{}
	for decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.Format(contentType)); ; {
		var f dto.MetricFamily
		switch err := decoder.Decode(&f); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatalf("the library does not read the scrape as %s: %v", contentType, err)
		}
		if all[f.GetName()] != nil {
			t.Errorf("family %s is there twice", f.GetName())
		}
		all[f.GetName()] = &f
	}
}

// distributed is a producer of histograms.
type distributed map[*Family][]DistributionSeries

func (d distributed) Families() []*Family { return slices.Collect(maps.Keys(d)) }

func (d distributed) Produce(p *Writer) {
	for f, all := range d {
		p.Distributions(f, all)
	}
}

// Protobuf says what the text says, and when counters began.
func TestProtobuf(t *testing.T) {
	t.Parallel()
	gauge := &Family{Name: "g", Help: "A \"gauge\".\n", Kind: GaugeFamily, Labels: []string{"l", "m"}}
	counter := &Family{Name: "c_total", Help: "H.", Kind: CounterFamily, Labels: []string{"l"}}
	waits := &Family{Name: "w_seconds", Help: "H.", Kind: HistogramFamily, Labels: []string{"l"}}
	all := scripted{Samples: Samples{}, order: []*Family{gauge, counter}}
	for _, value := range []string{"", "a\"b\\c\\n\nd", `\`, `",x="`, "snow ☃", "cut \xe2\x98"} {
		all.Add(gauge, 2.5, value, "1")
		all.Add(gauge, math.Inf(-1), value, "2")
		all.Add(counter, 3, value).ZeroAt(time.UnixMilli(1500))
	}
	waiting := distributed{waits: {{
		Labels: []string{"x"}, Bounds: []float64{1, 10},
		Distribution: store.Distribution{Count: 6, Sum: 40.5, Below: []int64{1, 4}, Since: store.At(time.Unix(7, 0))},
	}}}
	page := New(prometheus.NewRegistry(), 4)
	page.MustAdd(all)
	page.MustAdd(waiting)
	contentType, body := wiretest.Scrape(t, page, protobuf)
	if !strings.HasPrefix(contentType, string(expfmt.FmtProtoDelim)) {
		t.Fatalf("content type %s", contentType)
	}
	got := familiesOf(t, contentType, body)
	contentType, body = wiretest.Scrape(t, page, "text/plain")
	text := familiesOf(t, contentType, body)
	begins := map[string]time.Time{"c_total": time.UnixMilli(1500), "w_seconds": time.Unix(7, 0)}
	for name, f := range got {
		if strings.HasPrefix(name, "promhttp") || strings.HasPrefix(name, "insights_") {
			continue
		}
		want := text[name]
		for i, m := range f.GetMetric() {
			began := m.GetCounter().GetCreatedTimestamp().AsTime()
			if m.Histogram != nil {
				began = m.GetHistogram().GetCreatedTimestamp().AsTime()
				m.Histogram.CreatedTimestamp = nil
				h := want.GetMetric()[i].GetHistogram()
				h.Bucket = h.GetBucket()[:len(h.GetBucket())-1] // what the infinite one says the count does
			}
			if m.Counter != nil {
				m.Counter.CreatedTimestamp = nil
			}
			if at, counts := begins[name]; counts && !began.Equal(at) {
				t.Errorf("%s began at %v, want %v", name, began, at)
			}
		}
		if diff := cmp.Diff(want.String(), f.String()); diff != "" {
			t.Errorf("%s (-text +protobuf):\n%s", name, diff)
		}
	}
	if len(got) != len(text) || len(got["g"].GetMetric()) != 4 {
		t.Errorf("%d families in protobuf, %d in text; %d gauges, want the budget of 4", len(got), len(text), len(got["g"].GetMetric()))
	}
}

// nativeOf reads the native histogram of a page of one histogram, as Prometheus does.
func nativeOf(t *testing.T, all ...DistributionSeries) *histogram.Histogram {
	t.Helper()
	page := pageOf(distributed{{Name: "w_seconds", Help: "H.", Kind: HistogramFamily, Native: true}: all})
	contentType, body := wiretest.Scrape(t, page, protobuf)
	p, err := textparse.New([]byte(body), contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		entry, err := p.Next()
		if err != nil {
			t.Fatalf("no native histogram: %v", err)
		}
		if entry == textparse.EntryHistogram {
			_, _, h, _ := p.Histogram()
			if err := h.Validate(); err != nil {
				t.Fatalf("Prometheus refuses the native histogram: %v", err)
			}
			return h
		}
	}
}

// A native histogram holds as many values as the classic one, where that says they are.
func TestNative(t *testing.T) {
	t.Parallel()
	bounds := []float64{1, 10, 30, 60, 120, 300, 600, 1800, 3600}
	for name, below := range map[string][]int64{ // and the count
		"none":      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"one":       {0, 0, 0, 1, 1, 1, 1, 1, 1, 1},
		"short":     {7, 7, 7, 7, 7, 7, 7, 7, 7, 7},
		"many":      {3, 500, 90_001, 90_002, 1_000_000, 1_000_000, 1_000_001, 1_000_001, 1_000_007, 1_000_007},
		"very long": {0, 0, 0, 0, 0, 0, 0, 0, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := DistributionSeries{Bounds: bounds}
			d.Count, d.Sum, d.Below = below[len(bounds)], 1, below[:len(bounds)]
			h := nativeOf(t, d)
			if h.Schema != store.NativeSchema || h.Count != uint64(d.Count) {
				t.Errorf("schema %d and count %d, want %d and %d", h.Schema, h.Count, store.NativeSchema, d.Count)
			}
			for i, bound := range bounds {
				// The native bucket that holds a bound holds values on both sides of it.
				low, high := uint64(0), h.ZeroCount
				for b := h.PositiveBucketIterator(); b.Next(); {
					if b.At().Upper <= bound {
						low += b.At().Count
					}
					if b.At().Lower < bound {
						high += b.At().Count
					}
				}
				if want := uint64(below[i]); low > want || high < want {
					t.Errorf("%d to %d values are at most %v, want %d", low, high, bound, want)
				}
			}
		})
	}
}

// What was counted by native buckets is shown as it was counted, and added up over equal labels.
func TestNativeCounted(t *testing.T) {
	t.Parallel()
	of := func(count int64, native ...store.NativeCount) DistributionSeries {
		d := DistributionSeries{Bounds: []float64{1}}
		d.Count, d.Below, d.Native = count, []int64{count}, native
		return d
	}
	h := nativeOf(
		t, of(4, store.NativeCount{Bucket: -3, Count: 1}, store.NativeCount{Bucket: 5, Count: 2}),
		of(3, store.NativeCount{Bucket: 5, Count: 3}),
	)
	got := map[int]uint64{}
	for b := h.PositiveBucketIterator(); b.Next(); {
		if b.At().Count > 0 {
			got[int(math.Round(math.Log2(b.At().Upper)*8))] += b.At().Count
		}
	}
	if diff := cmp.Diff(map[int]uint64{-3: 1, 5: 5}, got); diff != "" || h.ZeroCount != 1 || h.Count != 7 {
		t.Errorf("%d values, %d of them 0, the others (-want +got):\n%s", h.Count, h.ZeroCount, diff)
	}
}

// Whatever comes to a histogram, no native bucket of it falls: Prometheus would take that for a restart.
func TestNativeRises(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	bounds := []float64{0.25, 1, 3, 10, 300}
	d := DistributionSeries{Bounds: bounds, Distribution: store.Distribution{Below: make([]int64, len(bounds))}}
	before := nativeOf(t, d).ToFloat(nil)
	for range 300 {
		for range 1 + r.IntN(5) {
			value := math.Exp(r.Float64()*10 - 4)
			for i, bound := range bounds {
				if value <= bound {
					d.Below[i]++
				}
			}
			d.Count, d.Sum = d.Count+1, d.Sum+value
		}
		now := nativeOf(t, d).ToFloat(nil)
		if now.DetectReset(before) {
			t.Fatalf("after %d values a bucket fell: %v, before %v", d.Count, now, before)
		}
		before = now
	}
}
