package exposition

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/model"

	"github.com/template-insights/insights/server/servertest/wiretest"
)

// pageOf is a metrics page of these producers alone.
func pageOf(producers ...producer) *Endpoint {
	e := New(prometheus.NewRegistry(), DefaultSeriesBudget)
	e.Registry = prometheus.NewRegistry() // what the page tells of itself is left out
	for _, p := range producers {
		e.MustAdd(p)
	}
	return e
}

// scripted is a producer that writes what a test says.
type scripted struct {
	Samples

	order []*Family
	begin func() // of each rendering
}

func (s scripted) Families() []*Family { return s.order }

func (s scripted) Produce(p *Writer) {
	if s.begin != nil {
		s.begin()
	}
	s.Samples.Produce(p, s.order)
}

// one is a producer of one family.
func one(f *Family, all ...sample) scripted {
	p := scripted{Samples: Samples{}, order: []*Family{f}}
	for _, s := range all {
		p.Add(f, s.value, s.labels...).ZeroAt(s.since)
	}
	return p
}

func TestExpositionText(t *testing.T) {
	t.Parallel()
	newest := func(values []float64) float64 { return values[len(values)-1] }
	for name, c := range map[string]expositionCase{
		"gauge": {
			family:  Family{Name: "g", Help: "A \"gauge\".\nTwo \\ lines.", Kind: GaugeFamily, Labels: []string{"b", "a"}},
			samples: []sample{of(2.5, "2", "x"), of(1e9, "1", "y")},
			text:    "# HELP g A \"gauge\".\\nTwo \\\\ lines.\n# TYPE g gauge\ng{b=\"1\",a=\"y\"} 1e+09\ng{b=\"2\",a=\"x\"} 2.5\n",
			open:    "# HELP g A \\\"gauge\\\".\\nTwo \\\\ lines.\n# TYPE g gauge\ng{b=\"1\",a=\"y\"} 1e+09\ng{b=\"2\",a=\"x\"} 2.5\n",
		},
		"no labels": {
			family:  Family{Name: "g", Help: "H.", Kind: GaugeFamily},
			samples: []sample{of(0)},
			text:    "# HELP g H.\n# TYPE g gauge\ng 0\n",
		},
		"odd values": {
			family:  Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}},
			samples: []sample{of(math.NaN(), "1"), of(math.Inf(1), "2"), of(math.Inf(-1), "3")},
			text:    "# HELP g H.\n# TYPE g gauge\ng{l=\"1\"} NaN\ng{l=\"2\"} +Inf\ng{l=\"3\"} -Inf\n",
		},
		"odd labels": {
			family: Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}},
			samples: []sample{
				of(1, ""), of(2, "a\"b\\c\nd\r\te"), of(3, "cut \xe2\x98 short"), of(4, "nul \x00"), of(5, "snow ☃"),
			},
			text: "# HELP g H.\n# TYPE g gauge\ng{l=\"\"} 1\ng{l=\"a\\\"b\\\\c\\nd\r\te\"} 2\ng{l=\"cut \uFFFD short\"} 3\n" +
				"g{l=\"nul \uFFFD\"} 4\ng{l=\"snow ☃\"} 5\n",
		},
		"counter": {
			family:  Family{Name: "c_total", Help: "H.", Kind: CounterFamily, Labels: []string{"l"}},
			samples: []sample{of(1, "b"), of(2, "a"), of(4, "b")},
			text:    "# HELP c_total H.\n# TYPE c_total counter\nc_total{l=\"a\"} 2\nc_total{l=\"b\"} 5\n",
			open:    "# HELP c H.\n# TYPE c counter\nc_total{l=\"a\"} 2\nc_total{l=\"b\"} 5\n",
		},
		"counter that began": {
			family: Family{Name: "c_total", Help: "H.", Kind: CounterFamily, Labels: []string{"l"}},
			samples: []sample{
				of(1, "b").from(time.UnixMilli(2000)), of(2, "a").from(time.UnixMilli(1_700_000_000_125)),
				of(4, "b").from(time.UnixMilli(1000)), of(8, "b"), of(16, "c"),
			},
			text: "# HELP c_total H.\n# TYPE c_total counter\nc_total{l=\"a\"} 2\nc_total{l=\"b\"} 13\nc_total{l=\"c\"} 16\n",
			open: "# HELP c H.\n# TYPE c counter\nc_total{l=\"a\"} 2\nc_created{l=\"a\"} 1.700000000125e+09\nc_total{l=\"b\"} 13\n" +
				"c_created{l=\"b\"} 1\nc_total{l=\"c\"} 16\n",
		},
		"counter that does not say so": {
			family:  Family{Name: "c", Help: "H.", Kind: CounterFamily},
			samples: []sample{of(1)},
			text:    "# HELP c H.\n# TYPE c counter\nc 1\n",
			open:    "# HELP c H.\n# TYPE c unknown\nc 1\n",
		},
		"equal gauges": {
			family:  Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}},
			samples: []sample{of(1, "z"), of(2, "a"), of(3, "z")},
			text:    "# HELP g H.\n# TYPE g gauge\ng{l=\"a\"} 2\ng{l=\"z\"} 4\n",
		},
		"equal gauges, the newest counts": {
			family:  Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}, Combine: newest},
			samples: []sample{of(9, "z"), of(2, "a"), of(3, "z"), of(1, "z")},
			text:    "# HELP g H.\n# TYPE g gauge\ng{l=\"a\"} 2\ng{l=\"z\"} 1\n",
		},
		"equal gauges among many": manySeries(3 * maxFew),
		"no series":               {family: Family{Name: "g", Help: "H.", Kind: GaugeFamily}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := pageOf(one(&c.family, c.samples...))
			contentType, body := wiretest.Scrape(t, page, "text/plain")
			if diff := cmp.Diff(c.text, body); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			text, _ := wiretest.ParseMetrics(t, contentType, body)
			want := c.text
			if c.open != "" {
				want = c.open
			}
			contentType, body = wiretest.Scrape(t, page, wiretest.OpenMetrics)
			if diff := cmp.Diff(want+"# EOF\n", body); diff != "" {
				t.Errorf("OpenMetrics (-want +got):\n%s", diff)
			}
			if c.open == "" || c.family.Kind != CounterFamily || strings.HasSuffix(c.family.Name, "_total") {
				open, _ := wiretest.ParseMetrics(t, contentType, body)
				if diff := cmp.Diff(text, open, cmp.Comparer(sameValue)); diff != "" {
					t.Errorf("OpenMetrics says something else than the text (-text +open):\n%s", diff)
				}
			}
		})
	}
}

// sample is what a test adds to a family.
type sample struct {
	value  float64
	labels []string
	since  time.Time // a counter was 0 then
}

// of makes a sample.
func of(value float64, labels ...string) sample { return sample{value: value, labels: labels} }

// from says when a counter was 0.
func (s sample) from(at time.Time) sample {
	s.since = at
	return s
}

// expositionCase is a family with its samples and what becomes of them.
type expositionCase struct {
	family     Family
	samples    []sample
	text, open string // open: the same as text
}

// manySeries is a family of n label sets in some order, each of them twice.
func manySeries(n int) expositionCase {
	c := expositionCase{
		family: Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}}, text: "# HELP g H.\n# TYPE g gauge\n",
	}
	for i := range 2 * n {
		c.samples = append(c.samples, of(float64(i), fmt.Sprintf("%06d", i*7919%n)))
	}
	values := make([]float64, n)
	for i := range 2 * n {
		values[i*7919%n] += float64(i)
	}
	for i, value := range values {
		c.text += fmt.Sprintf("g{l=\"%06d\"} %v\n", i, value)
	}
	return c
}

// sameValue also takes NaN for itself.
func sameValue(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// TestExpositionNames: no family takes a name that another one of the page has. What comes first has it; a counter that comes later
// has its whole name, if that is free.
func TestExpositionNames(t *testing.T) {
	t.Parallel()
	counter, gauge := CounterFamily, GaugeFamily
	for name, c := range map[string]struct {
		families []Family // in this order
		library  []prometheus.Collector
		open     map[string]model.MetricType // by OpenMetrics
		lines    string                      // of OpenMetrics, that are there
		left     int                         // series that are left out
	}{
		"a gauge and a counter": {
			families: []Family{{Name: "x", Kind: gauge}, {Name: "x_total", Kind: counter}},
			open:     map[string]model.MetricType{"x": "gauge", "x_total": "unknown"}, lines: "# TYPE x_total unknown\nx_total 1\n",
		},
		"a counter and a gauge": {
			families: []Family{{Name: "x_total", Kind: counter}, {Name: "x", Kind: gauge}},
			open:     map[string]model.MetricType{"x": "counter"}, left: 1,
		},
		"a gauge and the beginning of a counter": {
			families: []Family{{Name: "x_created", Kind: gauge}, {Name: "x_total", Kind: counter}},
			open:     map[string]model.MetricType{"x_created": "gauge", "x_total": "unknown"},
		},
		"a gauge and the counter of its name": {
			families: []Family{{Name: "x_total", Kind: gauge}, {Name: "x_total", Kind: counter}},
			open:     map[string]model.MetricType{"x_total": "gauge"}, left: 1,
		},
		"a gauge called as what a counter is called": {
			families: []Family{{Name: "x", Kind: gauge}, {Name: "x_total", Kind: gauge}},
			open:     map[string]model.MetricType{"x": "gauge", "x_total": "gauge"},
		},
		"a library": {
			families: []Family{{Name: "x_count", Kind: gauge}, {Name: "y", Kind: gauge}, {Name: "z_sum", Kind: gauge}},
			library: []prometheus.Collector{
				prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Help: "H."}),
				prometheus.NewSummary(prometheus.SummaryOpts{Name: "z", Help: "H."}),
				prometheus.NewCounter(prometheus.CounterOpts{Name: "y_total", Help: "H."}),
			},
			open:  map[string]model.MetricType{"x_count": "gauge", "y": "gauge", "y_total": "unknown", "z_sum": "gauge"},
			lines: "# TYPE y_total unknown\ny_total 0.0\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := New(prometheus.NewRegistry(), 0)
			all := scripted{Samples: Samples{}}
			for _, f := range c.families {
				f.Help = "H."
				all.order = append(all.order, &f)
				all.Add(&f, 1).ZeroAt(time.Unix(1, 0))
			}
			page.producers = append(page.producers, all) // MustAdd would not have them
			own := page.Registry
			page.Registry = prometheus.NewRegistry()
			page.Registry.MustRegister(c.library...)
			_, open := wiretest.Scrape(t, page, wiretest.OpenMetrics)
			got := map[string]model.MetricType{}
			for line := range strings.Lines(open) {
				if words := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
					got[words[2]] = model.MetricType(words[3])
				}
			}
			if diff := cmp.Diff(c.open, got); diff != "" || !strings.Contains(open, c.lines) {
				t.Errorf("families (-want +got), without %q:\n%s\n%s", c.lines, diff, open)
			}
			counted, err := own.Gather()
			if err != nil {
				t.Fatal(err)
			}
			left := 0.0
			for _, f := range counted {
				for _, m := range f.GetMetric() {
					if f.GetName() == "insights_metrics_series_dropped_total" {
						left += m.GetCounter().GetValue()
					}
				}
			}
			if left != float64(c.left) {
				t.Errorf("%v series are counted as left out, want %d", left, c.left)
			}
			// The text format and protobuf have the kinds that families have.
			_, text := wiretest.Scrape(t, page, "text/plain")
			for _, f := range c.families {
				if c.left == 0 && !strings.Contains(text, fmt.Sprintf("# TYPE %s %s\n", f.Name, f.Kind)) {
					t.Errorf("text lacks the %s %s:\n%s", f.Kind, f.Name, text)
				}
			}
		})
	}
}

// TestExpositionBudget: of a family with too many label sets those that sort first stay, whatever their order was, and
// the rest is counted.
func TestExpositionBudget(t *testing.T) {
	t.Parallel()
	big := &Family{Name: "big", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}}
	exact := &Family{Name: "exact_total", Help: "H.", Kind: CounterFamily, Labels: []string{"l"}}
	all := Samples{}
	for i := range 10 {
		all.Add(big, 1, fmt.Sprint((i*7)%10))
		all.Add(big, 1, fmt.Sprint(i))
		all.Add(exact, 1, fmt.Sprint(i%4))
	}
	registry := prometheus.NewRegistry()
	e := New(registry, 4)
	e.MustAdd(scripted{Samples: all, order: []*Family{big, exact}})
	for scrapes := 1; scrapes <= 2; scrapes++ {
		contentType, body := wiretest.Scrape(t, e, "text/plain")
		got, _ := wiretest.ParseMetrics(t, contentType, body)
		want := map[string]float64{
			wiretest.SeriesName("insights_metrics_series_dropped_total", map[string]string{"family": "big"}):         float64(6 * scrapes),
			wiretest.SeriesName("insights_metrics_series_dropped_total", map[string]string{"family": "exact_total"}): 0,
		}
		for i := range 4 {
			want[wiretest.SeriesName("big", map[string]string{"l": fmt.Sprint(i)})] = 2
			want[wiretest.SeriesName("exact_total", map[string]string{"l": fmt.Sprint(i)})] = []float64{3, 3, 2, 2}[i]
		}
		maps.DeleteFunc(got, func(series string, _ float64) bool {
			return strings.Contains(series, "promhttp")
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("scrape %d (-want +got):\n%s", scrapes, diff)
		}
	}
}

// TestExpositionOnly: name[] chooses families of producers and of the registry.
func TestExpositionOnly(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	page := New(registry, 0)
	registry.MustRegister(
		collectors.NewGoCollector(), prometheus.NewGauge(prometheus.GaugeOpts{Name: "insights_ingest_streams", Help: "H."}),
	)
	a, b := &Family{Name: "a", Help: "H.", Kind: GaugeFamily}, &Family{Name: "b", Help: "H.", Kind: GaugeFamily}
	both := Samples{}
	both.Add(a, 1)
	both.Add(b, 2)
	page.MustAdd(scripted{Samples: both, order: []*Family{a, b}})
	for query, want := range map[string][]string{
		"name[]=a":                         {"a"},
		"name[]=b&name[]=a&name[]=b":       {"a", "b"},
		"name[]=b&name[]=go_goroutines":    {"b", "go_goroutines"},
		"name[]=insights_ingest_rows":      nil,
		"name[]=insights_ingest_streams":   {"insights_ingest_streams"},
		"name[]=nobody+knows&name[]=a%20b": {"a", "b"},
	} {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics?"+query, nil))
		_, types := wiretest.ParseMetrics(t, w.Header().Get("Content-Type"), w.Body.String())
		if got := slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
			t.Errorf("%s: families %v, want %v", query, got, want)
		}
	}
}

// TestExpositionShared: scrapes that arrive while a page of their form is on its way get that page; those of another form
// wait for their turn, and one more than is enough is turned away.
func TestExpositionShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		renderings := 0
		p := one(&Family{Name: "g", Help: "H.", Kind: GaugeFamily}, of(1))
		p.begin = func() {
			renderings++ // the race detector sees two at a time
			<-proceed
		}
		e := pageOf(p)
		ask := func(accept string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			return w
		}
		var scrapes sync.WaitGroup
		for i := range maxScrapes {
			scrapes.Go(func() {
				w := ask([]string{"text/plain", wiretest.OpenMetrics}[i%2])
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\ng 1\n") {
					t.Errorf("a scrape got status %d: %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		if renderings != 1 {
			t.Errorf("%d renderings at a time", renderings)
		}
		if w := ask("text/plain"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("one scrape more than is enough: status %d", w.Code)
		}
		close(proceed)
		scrapes.Wait()
		if renderings != 2 {
			t.Errorf("%d renderings for two forms", renderings)
		}
		if w := ask("text/plain"); w.Code != http.StatusOK || renderings != 3 {
			t.Errorf("the next scrape: status %d, %d renderings", w.Code, renderings)
		}
	})
}

// TestExpositionPanic: a producer that fails takes its scrape with it, and nothing else.
func TestExpositionPanic(t *testing.T) {
	t.Parallel()
	fail := true
	p := one(&Family{Name: "g", Help: "H.", Kind: GaugeFamily}, of(1))
	p.begin = func() {
		if fail {
			panic("producer")
		}
	}
	e := pageOf(p)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}()
	fail = false
	contentType, body := wiretest.Scrape(t, e, "text/plain")
	if _, types := wiretest.ParseMetrics(t, contentType, body); types["g"] != model.MetricTypeGauge {
		t.Errorf("after a panic:\n%s", body)
	}
}

type brokenCollector struct{}

var brokenDesc = prometheus.NewDesc("broken", "H.", nil, nil)

func (brokenCollector) Describe(descs chan<- *prometheus.Desc) { descs <- brokenDesc }

func (brokenCollector) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.NewInvalidMetric(brokenDesc, errors.New("broken"))
}

// TestExpositionGatherError: a family of the registry that fails is counted, and the page comes without it.
func TestExpositionGatherError(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	page := New(registry, 0)
	registry.MustRegister(collectors.NewGoCollector(), brokenCollector{})
	_, _ = wiretest.Scrape(t, page, "text/plain")
	contentType, body := wiretest.Scrape(t, page, "text/plain")
	got, types := wiretest.ParseMetrics(t, contentType, body)
	if got[wiretest.SeriesName("promhttp_metric_handler_errors_total", map[string]string{"cause": "gathering"})] < 1 ||
		types["broken"] != "" || types["go_goroutines"] == "" {
		t.Errorf("with a broken family:\n%s", body)
	}
}

// TestExpositionMustAdd: two producers of one family cannot both be added, and a producer cannot forget a label.
func TestExpositionMustAdd(t *testing.T) {
	t.Parallel()
	f := &Family{Name: "g", Help: "H.", Kind: GaugeFamily, Labels: []string{"l"}}
	for name, mistake := range map[string]func(){
		"same family":    func() { pageOf(one(f), one(f)) },
		"same name":      func() { pageOf(one(f), one(&Family{Name: "g_total", Help: "H.", Kind: CounterFamily})) },
		"no label value": func() { wiretest.Scrape(t, pageOf(one(f, of(1))), "") },
		"one too many":   func() { wiretest.Scrape(t, pageOf(one(f, of(1, "a", "b"))), "") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"":                      false,
		"gzip":                  true,
		"deflate, gzip;q=0.5":   true,
		"br, gzip ; q=0":        false,
		"gzip;q=0.000, deflate": false,
		"gzip;q=1":              true,
		"identity":              false,
		"xgzip":                 false,
	} {
		if got := AcceptsGzip(http.Header{"Accept-Encoding": {header}}); got != want {
			t.Errorf("Accept-Encoding %q: %v, want %v", header, got, want)
		}
	}
}

// adding is a producer that adds its samples anew for each page.
type adding struct {
	order []*Family
	fill  func(*Series)
}

func (a adding) Families() []*Family { return a.order }

func (a adding) Produce(p *Writer) {
	for _, f := range a.order {
		p.Family(f, a.fill)
	}
}

// Pages that are written again and again hold no more memory than the first, and take less on the way than that, whose buffers grew.
func TestPagesDoNotGrow(t *testing.T) {
	family := &Family{Name: "agents", Help: "H.", Kind: GaugeFamily, Labels: []string{"agent_name"}}
	e := pageOf(adding{[]*Family{family}, func(to *Series) {
		for i := range 50_000 {
			to.Add(float64(i), fmt.Sprintf("agent-%06d", i))
		}
	}})
	held := func() (live, taken uint64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.TotalAlloc
	}
	page := func() {
		t.Helper()
		if _, err := e.render(pageForm{}); err != nil {
			t.Fatal(err)
		}
	}
	_, before := held()
	page()
	first, afterFirst := held()
	page()
	_, afterSecond := held()
	for range 10 {
		page()
	}
	if last, _ := held(); last > first+first/20 {
		t.Errorf("%d bytes after the first page, %d after the twelfth", first, last)
	}
	if firstTook, took := afterFirst-before, afterSecond-afterFirst; took > firstTook*2/3 {
		t.Errorf("the first page took %d bytes, the second one %d", firstTook, took)
	}
}

// BenchmarkExposition compares a page of 10 families for 100,000 agents with the same page from the client library, and with
// one that is added up by template.
func BenchmarkExposition(b *testing.B) {
	const agents = 100_000
	names, templates := make([][]string, agents), make([]string, 50)
	for i := range names {
		names[i] = []string{"main", fmt.Sprintf("user-%06d", i), fmt.Sprintf("workspace-%d", i%7)}
	}
	for i := range templates {
		templates[i] = fmt.Sprintf("template-%d", i)
	}
	var families, added []*Family
	for i := range 10 {
		families = append(families, &Family{
			Name: fmt.Sprintf("agents_family_%d", i), Help: "H.", Kind: GaugeFamily,
			Labels: []string{"agent_name", "username", "workspace_name"},
		})
	}
	registry := prometheus.NewRegistry()
	for _, f := range families {
		few := &Family{Name: f.Name, Help: f.Help, Kind: f.Kind, Labels: []string{"template_name"}}
		added = append(added, few)
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.Name, Help: f.Help}, f.Labels)
		registry.MustRegister(vec)
		for i := range agents {
			vec.WithLabelValues(names[i]...).Set(float64(i) * 1.7)
		}
	}
	library := New(prometheus.NewRegistry(), DefaultSeriesBudget)
	library.Registry = registry
	for name, e := range map[string]*Endpoint{
		"producer": pageOf(adding{families, func(to *Series) {
			for i := range agents {
				to.Add(float64(i)*1.7, names[i]...)
			}
		}}),
		"producer by template": pageOf(adding{added, func(to *Series) {
			for i := range agents {
				to.Add(float64(i)*1.7, templates[i%len(templates)])
			}
		}}),
		"registry": library,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page, err := e.render(pageForm{})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(page)), "gzip-bytes")
			}
		})
	}
}
