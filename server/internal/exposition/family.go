package exposition

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"
)

// FamilyKind is the type of a family, as the text formats spell it.
type FamilyKind string

// Kinds of families.
const (
	CounterFamily   FamilyKind = "counter"
	GaugeFamily     FamilyKind = "gauge"
	HistogramFamily FamilyKind = "histogram"
	SummaryFamily   FamilyKind = "summary" // of libraries alone
	unknownFamily   FamilyKind = "unknown"
)

// Suffixes of series.
const (
	totalSuffix   = "_total"   // of a counter
	createdSuffix = "_created" // of when a counter or histogram began, in seconds of the Unix epoch
	BucketSuffix  = "_bucket"  // of a histogram
	SumSuffix     = "_sum"
	CountSuffix   = "_count"
	BoundLabel    = "le" // of a bucket
)

// Family describes a family of the metrics page that may have too many series for a registry. Its series are held by a
// producer and written straight to the page.
type Family struct {
	Name    string
	Help    string
	Kind    FamilyKind
	Labels  []string  // in the order in which the producer gives their values
	Buckets []float64 // upper bounds of a histogram, rising, without the infinite one
	Native  bool      // a histogram that is a native one too, where a scrape takes protobuf

	// combine says what becomes of gauges that fall on the same labels; nil adds them up. Counters always add up.
	Combine func(values []float64) float64
}

// Claims are the names that a family takes for itself. OpenMetrics calls a counter by its name without _total, and adds
// suffixes to the names of samples: no two families of a page may take the same name there.
func Claims(name string, kind FamilyKind) []string {
	base, total := strings.CutSuffix(name, totalSuffix)
	switch {
	case kind == CounterFamily && total:
		return []string{name, base, base + createdSuffix}
	case kind == HistogramFamily:
		return []string{name, name + BucketSuffix, name + SumSuffix, name + CountSuffix, name + createdSuffix}
	case kind == SummaryFamily:
		return []string{name, name + SumSuffix, name + CountSuffix, name + createdSuffix}
	default:
		return []string{name}
	}
}

// producer holds the series of some families in memory, or in a snapshot of the database.
type producer interface {
	// Families are those that the producer may write now, whether or not they have series.
	Families() []*Family
	// Produce writes those of the families that have series, each with one call of Writer.family, or of
	// [Writer.Distributions] if it is a histogram. Scrapes wait for it: it must read memory only.
	Produce(p *Writer)
}

// Samples are the series of a snapshot by family: what a producer keeps that refreshes in the background.
type Samples map[*Family]*Series

// Add adds a sample to a family, as [Series.Add] does.
func (s Samples) Add(f *Family, value float64, labels ...string) *seriesEntry {
	if s[f] == nil {
		s[f] = &Series{}
		s[f].begin(f)
	}
	return s[f].Add(value, labels...)
}

// Produce writes the samples of the families in their order.
func (s Samples) Produce(p *Writer, families []*Family) {
	for _, f := range families {
		if s[f] != nil && p.wants(f.Name) {
			p.Write(s[f])
		}
	}
}

// Writer is a metrics page that is being written, in one of the formats.
type Writer struct {
	out     io.Writer
	format  expfmt.FormatType
	only    map[string]bool // the families that are asked for; empty: all
	budget  int             // label sets of one family that are written
	dropped func(family string, labelSets int)

	taken  map[string]bool // names that families of this page claim
	series Series
	took   room   // by the families that were filled so far
	text   []byte // not yet written; of protobuf: the family at hand
	metric protoMetric
	err    error // of out
}

// flushAt is how much text is collected before it is written.
const flushAt = 64 << 10

// Series collects the samples of one family. They are kept as the text of their labels, one after the other: a family of
// 100,000 series is two allocations that the next family uses again. While a family that adds up has few label sets, each
// is kept once: that is what a family of many agents that is added up by template comes to.
type Series struct {
	family  *Family
	text    []byte
	entries []seriesEntry
	sorted  bool           // as they came
	few     map[string]int // label sets to entries; nil: not kept once
	run     []float64
}

// maxFew bounds the label sets that are kept once.
const maxFew = 1024

type seriesEntry struct {
	start, end int // of the labels in the text
	value      float64
	since      int64 // in milliseconds of the Unix epoch: when a counter was 0; 0: nobody knows
}

// wants says whether a family is asked for.
func (p *Writer) wants(name string) bool { return len(p.only) == 0 || p.only[name] }

// Family writes a family with the series that fill adds. Without any, or when nobody asked for it, nothing is written.
func (p *Writer) Family(f *Family, fill func(*Series)) {
	if !p.wants(f.Name) {
		return
	}
	p.series.begin(f)
	fill(&p.series)
	p.took.text, p.took.series = max(p.took.text, len(p.series.text)), max(p.took.series, len(p.series.entries))
	p.Write(&p.series)
}

// Write writes the series of a family, if there are any.
func (p *Writer) Write(s *Series) {
	if len(s.entries) == 0 {
		return
	}
	s.sort()
	f := s.family
	as, free := p.take(f.Name, f.Kind)
	if free {
		p.writeHeader(f, as)
	}
	sets, shown := 0, 0
	s.runs(func(labels []byte, values []float64, since int64) {
		if sets++; !free || sets > p.budget {
			return
		}
		shown++
		value := f.combined(values)
		if p.format == expfmt.TypeProtoDelim {
			p.text = p.metric.appendSample(p.text, f.Kind, labels, value, since)
			return
		}
		p.writeLine(f.Name, "", labels, "", value)
		if as == CounterFamily {
			p.writeCreated(strings.TrimSuffix(f.Name, totalSuffix), labels, since)
		}
		p.flushText()
	})
	p.end(f, sets-shown)
}

// take takes the names of a family for this page, and says of what kind it is there in OpenMetrics. A counter whose name
// without _total, or the time of whose beginning, is another family's stands under its whole name as a family of unknown type.
// Any other family whose name is taken is not free: it is left out.
func (p *Writer) take(name string, kind FamilyKind) (as FamilyKind, free bool) {
	as = kind
	claims := Claims(name, kind)
	if kind == CounterFamily && slices.ContainsFunc(claims[1:], func(n string) bool { return p.taken[n] }) {
		as, claims = unknownFamily, claims[:1]
	}
	if slices.ContainsFunc(claims, func(n string) bool { return p.taken[n] }) {
		return as, false
	}
	for _, n := range claims {
		p.taken[n] = true
	}
	return as, true
}

// end ends a family, of which so many label sets were left out.
func (p *Writer) end(f *Family, left int) {
	p.flush()
	if left > 0 {
		p.dropped(f.Name, left)
	}
}

// begin makes room for the series of a family.
func (s *Series) begin(f *Family) {
	s.family, s.text, s.entries, s.sorted, s.few = f, s.text[:0], s.entries[:0], true, nil
	if f.Kind == CounterFamily || f.Kind == GaugeFamily && f.Combine == nil {
		s.few = map[string]int{}
	}
}

// Add adds the value of a counter or gauge. There is one label value for each label of the family; what the formats
// cannot hold of it is replaced.
func (s *Series) Add(value float64, labels ...string) *seriesEntry {
	if len(labels) != len(s.family.Labels) {
		panic(fmt.Sprintf("%s has the labels %v, not %d", s.family.Name, s.family.Labels, len(labels)))
	}
	return s.AddWith("", value, labels...)
}

// AddWith adds a sample with values of the first labels of its family, and the other labels as text, in the form that
// [AppendLabel] gives them.
func (s *Series) AddWith(others string, value float64, labels ...string) *seriesEntry {
	start := len(s.text)
	for i, value := range labels {
		s.text = AppendLabel(s.text, start, s.family.Labels[i], value)
	}
	if others != "" && len(s.text) > start {
		s.text = append(s.text, ',')
	}
	s.text = append(s.text, others...)
	if s.few != nil {
		if i, ok := s.few[string(s.text[start:])]; ok {
			s.entries[i].value += value
			s.text = s.text[:start]
			return &s.entries[i]
		}
		if len(s.few) == maxFew {
			s.few = nil
		} else {
			s.few[string(s.text[start:])] = len(s.entries)
		}
	}
	if n := len(s.entries); s.sorted && n > 0 {
		last := s.entries[n-1]
		s.sorted = bytes.Compare(s.text[last.start:last.end], s.text[start:]) <= 0
	}
	s.entries = append(s.entries, seriesEntry{start: start, end: len(s.text), value: value})
	return &s.entries[len(s.entries)-1]
}

// ZeroAt notes when a counter was 0; the zero time says that nobody knows.
func (e *seriesEntry) ZeroAt(at time.Time) { e.since = earlier(e.since, millis(at)) }

// millis counts from the Unix epoch; the zero time is 0.
func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// earlier returns the earlier of two instants, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// sort brings equal labels together, in the order in which they came.
func (s *Series) sort() {
	if s.sorted {
		return
	}
	s.sorted = true
	slices.SortFunc(s.entries, func(a, b seriesEntry) int {
		if order := bytes.Compare(s.text[a.start:a.end], s.text[b.start:b.end]); order != 0 {
			return order
		}
		return a.start - b.start
	})
}

// runs calls f with the values of each label set, and when their sum was 0, in the order of the labels.
func (s *Series) runs(f func(labels []byte, values []float64, since int64)) {
	for i := 0; i < len(s.entries); {
		labels := s.text[s.entries[i].start:s.entries[i].end]
		s.run = s.run[:0]
		since := int64(0)
		for ; i < len(s.entries) && bytes.Equal(labels, s.text[s.entries[i].start:s.entries[i].end]); i++ {
			s.run, since = append(s.run, s.entries[i].value), earlier(since, s.entries[i].since)
		}
		f(labels, s.run, since)
	}
}

// flush writes what waits. A family in protobuf has its length before it, so it waits as a whole.
func (p *Writer) flush() {
	if p.format == expfmt.TypeProtoDelim && len(p.text) > 0 && p.err == nil {
		_, p.err = p.out.Write(protowire.AppendVarint(nil, uint64(len(p.text))))
	}
	if p.err == nil {
		_, p.err = p.out.Write(p.text)
	}
	p.text = p.text[:0]
}

// flushText writes text when it is enough.
func (p *Writer) flushText() {
	if len(p.text) >= flushAt {
		p.flush()
	}
}

// openMetrics says whether the page is OpenMetrics.
func (p *Writer) openMetrics() bool { return p.format == expfmt.TypeOpenMetrics }

// writeHeader writes help and type. OpenMetrics calls a counter by its name without _total and knows no other counters.
func (p *Writer) writeHeader(f *Family, as FamilyKind) {
	if p.format == expfmt.TypeProtoDelim {
		p.text = p.metric.appendHeader(p.text, f)
		return
	}
	name, kind, help := f.Name, f.Kind, textHelp.Replace(f.Help)
	if p.openMetrics() {
		kind, help = as, labelText.Replace(f.Help)
		if base, ok := strings.CutSuffix(name, totalSuffix); as == CounterFamily && ok {
			name = base
		} else if as == CounterFamily {
			kind = unknownFamily
		}
	}
	p.text = fmt.Appendf(p.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// combined is the value of a label set on which these values fall.
func (f *Family) combined(values []float64) float64 {
	if len(values) > 1 && f.Kind == GaugeFamily && f.Combine != nil {
		return f.Combine(values)
	}
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}

// writeCreated writes when a counter or the counts of a histogram were 0, which OpenMetrics has a place for.
func (p *Writer) writeCreated(name string, labels []byte, since int64) {
	if p.openMetrics() && since != 0 {
		p.writeLine(name, createdSuffix, labels, "", float64(since)/1000)
	}
}

// bound is the value of the label le: OpenMetrics wants it to look like a number with a fraction.
func (p *Writer) bound(b float64) string {
	text := strconv.FormatFloat(b, 'g', -1, 64)
	if p.openMetrics() && !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// writeLine writes one sample; le is the upper bound of a bucket.
func (p *Writer) writeLine(name, suffix string, labels []byte, le string, value float64) {
	b := append(append(p.text, name...), suffix...)
	if len(labels) > 0 || le != "" {
		b = append(b, '{')
		start := len(b)
		b = append(b, labels...)
		if le != "" {
			b = AppendLabel(b, start, "le", le)
		}
		b = append(b, '}')
	}
	b = strconv.AppendFloat(append(b, ' '), value, 'g', -1, 64)
	p.text = append(b, '\n')
}

// textHelp escapes help for the text format; labelText escapes labels, and help for OpenMetrics. Readers of the text take
// a NUL byte for the end.
var (
	textHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`, "\x00", "\uFFFD")
)

// AppendLabel adds a label to labels that begin at start. A value that is not valid UTF-8 has U+FFFD in its place.
func AppendLabel(b []byte, start int, name, value string) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	b = append(b, name...)
	b = append(b, '=', '"')
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			value = labelText.Replace(strings.ToValidUTF8(value, "\uFFFD"))
			break
		}
	}
	b = append(b, value...)
	return append(b, '"')
}
