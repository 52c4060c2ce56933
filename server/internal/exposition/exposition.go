// Package exposition writes metric families and their series as text or protobuf that Prometheus reads. Producers hand it series from
// memory. It knows nothing of what the families mean, and asks no database during a scrape.
package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Bounds of the scrapes. A scrape reads memory only, so what exceeds them is a client that does not read its answer, or
// too many of them.
const (
	maxScrapes    = 8                // at a time; the next one gets 503
	scrapeTimeout = 10 * time.Second // of sending an answer
)

// DefaultSeriesBudget is how many label sets of one family a scrape shows when nothing else is said: two for each of
// 100,000 agents.
const DefaultSeriesBudget = 200_000

// Endpoint is the metrics page: the families of the producers and those of a registry. A page is rendered once into
// memory, compressed to a small part of its text, for all scrapes that wait for the same form of it, and one at a time.
// So it costs the same however many ask, and a slow reader holds nothing but those bytes.
type Endpoint struct {
	Registry  *prometheus.Registry
	budget    int
	producers []producer
	dropped   *prometheus.CounterVec
	failures  *prometheus.CounterVec

	inFlight chan struct{}
	turn     chan struct{} // of the rendering at work
	last     room          // that the last whole page took; it is that of the rendering at work

	mu         sync.Mutex
	renderings map[pageForm]*rendering // that are waited for
}

// pageForm is what scrapes may ask for.
type pageForm struct {
	format expfmt.FormatType
	only   string // names of families, separated by blanks; empty: all
}

// rendering is a page on its way.
type rendering struct {
	done chan struct{}
	page []byte // compressed
	err  error
}

// New shows what a registry gathers beside its producers. budget is how many label sets of one family a scrape shows;
// zero: DefaultSeriesBudget.
func New(registry *prometheus.Registry, budget int) *Endpoint {
	if budget == 0 {
		budget = DefaultSeriesBudget
	}
	factory := promauto.With(registry)
	e := &Endpoint{
		Registry: registry, budget: budget,
		inFlight: make(chan struct{}, maxScrapes), turn: make(chan struct{}, 1), renderings: map[pageForm]*rendering{},
		dropped: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "insights_metrics_series_dropped_total",
			Help: "Series that a scrape left out because their family has more than the budget, of which those stay whose labels sort " +
				"first, or because another family has its name.",
		}, []string{"family"}),
		failures: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "promhttp_metric_handler_errors_total",
			Help: "Total number of internal errors encountered by the promhttp metric handler.",
		}, []string{"cause"}),
	}
	e.failures.WithLabelValues("gathering")
	e.failures.WithLabelValues("encoding")
	return e
}

// MustAdd adds a producer before the first scrape. Two families that take the same name are an error of the program.
func (e *Endpoint) MustAdd(p producer) {
	e.producers = append(e.producers, p)
	takenBy := map[string]string{}
	for _, f := range e.Families() {
		for _, name := range Claims(f.Name, f.Kind) {
			if other, taken := takenBy[name]; taken {
				panic(fmt.Sprintf("two families take the name %s: %s and %s", name, other, f.Name))
			}
			takenBy[name] = f.Name
		}
	}
	for _, f := range p.Families() {
		e.dropped.WithLabelValues(f.Name)
	}
}

// Families lists the families of all producers by name: those outside the registry, with or without series.
func (e *Endpoint) Families() []*Family {
	var all []*Family
	for _, p := range e.producers {
		all = append(all, p.Families()...)
	}
	slices.SortFunc(all, func(a, b *Family) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Handler serves the page at / and /metrics: protobuf or OpenMetrics to who asks for it, the classic text format to the others,
// and the families of the parameters name[] alone where there are any.
func (e *Endpoint) Handler() http.Handler {
	scrape := promhttp.InstrumentMetricHandler(e.Registry, e)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", scrape)
	mux.Handle("GET /metrics", scrape)
	return mux
}

// ServeHTTP implements [http.Handler].
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case e.inFlight <- struct{}{}:
		defer func() { <-e.inFlight }()
	default:
		http.Error(w, fmt.Sprintf("%d scrapes at a time are enough, try again later", maxScrapes), http.StatusServiceUnavailable)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.FmtProtoDelim, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtText)
	only := r.URL.Query()["name[]"]
	slices.Sort(only)
	page, err := e.page(r, pageForm{format.FormatType(), strings.Join(slices.Compact(only), " ")})
	if err != nil {
		http.Error(w, "no metrics now: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	w.Header().Add("Vary", "Accept-Encoding")
	// Not every writer has deadlines; that of the server has its own as well.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTimeout)) // connections know the real clock alone
	if AcceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(page)
		return
	}
	text, err := gzip.NewReader(bytes.NewReader(page))
	if err == nil {
		_, _ = io.Copy(w, text) // what fails is the connection
	}
}

// AcceptsGzip says whether a client takes compressed answers.
func AcceptsGzip(h http.Header) bool {
	for encoding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, quality, _ := strings.Cut(strings.ReplaceAll(encoding, " ", ""), ";")
		if name == "gzip" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(quality, "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}

// page returns a page of a form: that of a rendering at work or in line, or else of a new one. Its values are those of
// when the rendering began, which is at most as long ago as renderings take.
func (e *Endpoint) page(r *http.Request, form pageForm) ([]byte, error) {
	e.mu.Lock()
	one, shared := e.renderings[form]
	if !shared {
		one = &rendering{done: make(chan struct{}), err: errors.New("rendering failed")}
		e.renderings[form] = one
	}
	e.mu.Unlock()
	if !shared {
		e.run(form, one)
	}
	select {
	case <-one.done:
		return one.page, one.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// run renders a page when it is its turn. Whoever waits is woken even if a producer panics.
func (e *Endpoint) run(form pageForm, one *rendering) {
	e.turn <- struct{}{}
	defer func() {
		<-e.turn
		e.mu.Lock()
		delete(e.renderings, form)
		e.mu.Unlock()
		close(one.done)
	}()
	one.page, one.err = e.render(form)
}

// room is how much a page takes while it is written. A page of as many series as the last one has it from the beginning: buffers
// that grow leave several times their size to the garbage collector.
type room struct {
	text, series int // of the largest family
	page         int // compressed
}

// larger has room for a little more than there was.
func larger(n int) int { return n + n/16 }

// render writes a page: the producers' families first, so that the registry's tell what became of them.
func (e *Endpoint) render(form pageForm) ([]byte, error) {
	var expected room
	if form.only == "" {
		expected = e.last
	}
	var compressed bytes.Buffer
	compressed.Grow(larger(expected.page))
	out, err := gzip.NewWriterLevel(&compressed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	p := &Writer{
		out: out, format: form.format, only: map[string]bool{}, budget: e.budget, taken: map[string]bool{},
		dropped: func(family string, n int) { e.dropped.WithLabelValues(family).Add(float64(n)) },
		series: Series{
			text: make([]byte, 0, larger(expected.text)), entries: make([]seriesEntry, 0, larger(expected.series)),
		},
	}
	for name := range strings.FieldsSeq(form.only) {
		p.only[name] = true
	}
	for _, producer := range e.producers {
		producer.Produce(p)
	}
	e.gather(p)
	if p.openMetrics() {
		p.text = append(p.text, "# EOF\n"...)
	}
	p.flush()
	err = errors.Join(p.err, out.Close())
	if form.only == "" {
		e.last = p.took
		e.last.page = compressed.Len()
	}
	return compressed.Bytes(), err
}

// formatOf is how the library calls the formats.
var formatOf = map[expfmt.FormatType]expfmt.Format{
	expfmt.TypeProtoDelim: expfmt.FmtProtoDelim, expfmt.TypeOpenMetrics: expfmt.FmtOpenMetrics_1_0_0, expfmt.TypeTextPlain: expfmt.FmtText,
}

// gather writes the families of the registry. One that fails, or whose name is taken, is counted and left out; the others stay.
func (e *Endpoint) gather(p *Writer) {
	families, err := e.Registry.Gather()
	if err != nil {
		e.failures.WithLabelValues("gathering").Inc()
	}
	p.flush()
	for _, f := range families {
		if !p.wants(f.GetName()) {
			continue
		}
		as, free := p.take(f.GetName(), FamilyKind(strings.ToLower(f.GetType().String())))
		if !free {
			e.failures.WithLabelValues("gathering").Inc()
			continue
		}
		if as == unknownFamily && p.openMetrics() {
			f = untyped(f)
		}
		var encoded bytes.Buffer
		if err := expfmt.NewEncoder(&encoded, formatOf[p.format], expfmt.WithCreatedLines()).Encode(f); err != nil {
			e.failures.WithLabelValues("encoding").Inc()
			continue
		}
		if p.err == nil {
			_, p.err = p.out.Write(encoded.Bytes())
		}
	}
}

// untyped is a family of counters that does not say that it is one.
func untyped(counters *dto.MetricFamily) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: counters.Name, Help: counters.Help, Type: dto.MetricType_UNTYPED.Enum()}
	for _, m := range counters.GetMetric() {
		f.Metric = append(f.Metric, &dto.Metric{Label: m.GetLabel(), Untyped: &dto.Untyped{Value: m.GetCounter().Value}})
	}
	return f
}
