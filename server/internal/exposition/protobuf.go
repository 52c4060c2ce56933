package exposition

import (
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/store"
)

// metricField is the number of the field of a family that holds its metrics.
const metricField = 4

// protoKinds are the kinds of families in protobuf.
var protoKinds = map[FamilyKind]dto.MetricType{
	CounterFamily: dto.MetricType_COUNTER, GaugeFamily: dto.MetricType_GAUGE, HistogramFamily: dto.MetricType_HISTOGRAM,
}

// protoMetric writes series in protobuf, one at a time into the same memory: a family of many is never there as messages.
type protoMetric struct {
	pairs  []*dto.LabelPair // all that were ever needed
	metric dto.Metric
}

// appendHeader adds what a family says before its metrics.
func (m *protoMetric) appendHeader(b []byte, f *Family) []byte {
	return m.append(b, &dto.MetricFamily{Name: &f.Name, Help: &f.Help, Type: protoKinds[f.Kind].Enum()})
}

// appendSample adds a counter or gauge.
func (m *protoMetric) appendSample(b []byte, kind FamilyKind, labels []byte, value float64, since int64) []byte {
	m.setLabels(labels)
	if kind == CounterFamily {
		m.metric.Counter = &dto.Counter{Value: &value, CreatedTimestamp: created(since)}
	} else {
		m.metric.Gauge = &dto.Gauge{Value: &value}
	}
	return m.appendMetric(b)
}

// appendDistribution adds a histogram with its buckets, and those of a native one if the family is one too.
func (m *protoMetric) appendDistribution(b []byte, f *Family, labels []byte, d DistributionSeries, since int64) []byte {
	m.setLabels(labels)
	count := uint64(d.Count)
	h := &dto.Histogram{SampleCount: &count, SampleSum: &d.Sum, CreatedTimestamp: created(since)}
	for i, n := range d.Below {
		below := uint64(n)
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &d.Bounds[i], CumulativeCount: &below})
	}
	if f.Native {
		d.native().addTo(h)
	}
	m.metric.Histogram = h
	return m.appendMetric(b)
}

// appendMetric adds the metric as a field of its family.
func (m *protoMetric) appendMetric(b []byte) []byte {
	b = protowire.AppendTag(b, metricField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(proto.Size(&m.metric)))
	b = m.append(b, &m.metric)
	m.metric.Counter, m.metric.Gauge, m.metric.Histogram = nil, nil, nil
	return b
}

// append adds a message. Marshaling fails for strings that are not UTF-8, of which there are none.
func (m *protoMetric) append(b []byte, message proto.Message) []byte {
	b, err := proto.MarshalOptions{}.MarshalAppend(b, message)
	if err != nil {
		panic(err)
	}
	return b
}

// setLabels reads labels from the form in which series keep them.
func (m *protoMetric) setLabels(labels []byte) {
	m.metric.Label = m.metric.Label[:0]
	for text := string(labels); text != ""; {
		name, rest, _ := strings.Cut(text, `="`)
		end := 0
		for rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		value := rest[:end]
		if strings.Contains(value, `\`) {
			value = plainText.Replace(value)
		}
		text = strings.TrimPrefix(rest[end+1:], ",")
		n := len(m.metric.Label)
		if n == len(m.pairs) {
			m.pairs = append(m.pairs, &dto.LabelPair{})
		}
		m.pairs[n].Name, m.pairs[n].Value = &name, &value
		m.metric.Label = append(m.metric.Label, m.pairs[n])
	}
}

// plainText undoes the escapes of labels.
var plainText = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\"`, `"`)

// created is when something was 0; nil: nobody knows.
func created(since int64) *timestamppb.Timestamp {
	if since == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(since))
}

const (
	perDoubling     = 1 << store.NativeSchema // buckets of a native histogram
	zeroThreshold   = 1.0 / (1 << 30)         // what is at most that is in the zero bucket: no duration that is told is shorter
	lowestDoublings = 4                       // below the lowest bound of a histogram in which what is below it is spread
)

// nativeBound is the upper bound of a native bucket.
func nativeBound(i int) float64 { return math.Exp2(float64(i) / perDoubling) }

// nativeBucket is the native bucket of a positive value.
func nativeBucket(v float64) int {
	i := int(math.Ceil(math.Log2(v) * perDoubling))
	for nativeBound(i) < v { // rounding
		i++
	}
	for nativeBound(i-1) >= v {
		i--
	}
	return i
}

// nativeCounts are the counts of a native histogram.
type nativeCounts struct {
	zero     int64
	positive map[int]int64
}

// native are the counts of native buckets. Where nobody counted them they are those of the classic buckets, spread evenly over the
// width of each, as Prometheus does when it estimates a quantile; what is above the highest bound is just above it. They never
// fall while those of the classic buckets rise, and the same counts are spread alike on every server.
func (d DistributionSeries) native() nativeCounts {
	c := nativeCounts{positive: map[int]int64{}}
	if d.Native != nil {
		c.zero = d.Count
		for _, n := range d.Native {
			c.positive[n.Bucket] += n.Count
			c.zero -= n.Count
		}
		return c
	}
	lower, before := 0.0, int64(0)
	for i, upper := range d.Bounds {
		n := d.Below[i] - before
		before = d.Below[i]
		switch {
		case upper <= zeroThreshold:
			c.zero += n
		case lower <= zeroThreshold:
			last := nativeBucket(upper)
			c.spread(n, last-lowestDoublings*perDoubling, last, 0, upper)
		default:
			c.spread(n, nativeBucket(math.Nextafter(lower, math.Inf(1))), nativeBucket(upper), lower, upper)
		}
		lower = upper
	}
	if n := d.Count - before; n > 0 {
		if lower <= zeroThreshold {
			c.zero += n
		} else {
			c.positive[nativeBucket(math.Nextafter(lower, math.Inf(1)))] += n
		}
	}
	return c
}

// spread spreads n values between two bounds over native buckets from first to last. Halving the buckets keeps both parts from
// falling when n rises.
func (c nativeCounts) spread(n int64, first, last int, lower, upper float64) {
	if n <= 0 {
		return
	}
	if first == last {
		c.positive[first] += n
		return
	}
	middle := (first + last) >> 1
	at := nativeBound(middle)
	left := int64(math.Floor(float64(n)*(at-lower)/(upper-lower) + 0.5))
	left = min(left, n)
	c.spread(left, first, middle, lower, at)
	c.spread(n-left, middle+1, last, at, upper)
}

// addTo adds the counts to a histogram, as spans of buckets with the differences between their counts.
func (c nativeCounts) addTo(h *dto.Histogram) {
	h.Schema, h.ZeroThreshold, h.ZeroCount = proto.Int32(store.NativeSchema), proto.Float64(zeroThreshold), proto.Uint64(uint64(c.zero))
	buckets := make([]int, 0, len(c.positive))
	for i := range c.positive {
		buckets = append(buckets, i)
	}
	slices.Sort(buckets)
	next, last := 0, int64(0)
	for _, i := range buckets {
		if len(h.PositiveSpan) == 0 || i != next {
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(i - next)), Length: proto.Uint32(0)})
		}
		*h.PositiveSpan[len(h.PositiveSpan)-1].Length++
		h.PositiveDelta = append(h.PositiveDelta, c.positive[i]-last)
		next, last = i+1, c.positive[i]
	}
}
