package minute

import (
	"fmt"
)

// LatencyCounter collects latency samples in one pass over the days of a window: one per template, subject and minute.
type LatencyCounter struct {
	calendar calendar
	subjects map[int64]*histogram
	spare    []histogram // allocated ahead of the subjects
}

// histogram is the number of samples in each bin.
type histogram [binCount]uint32

// NewLatencyCounter returns a counter without samples.
func NewLatencyCounter(w Window) *LatencyCounter {
	return &LatencyCounter{calendar: calendar{window: w}, subjects: make(map[int64]*histogram)}
}

// Add takes the samples of a day. The sources are all of that day, at most one per template, and days come in ascending
// order.
func (c *LatencyCounter) Add(day int32, sources []Source[*LatencyTable]) error {
	if err := c.calendar.turn(day); err != nil {
		return fmt.Errorf("count latencies: %w", err)
	}
	for _, s := range sources {
		if s.Table.day != day {
			return fmt.Errorf("count latencies of day %d: unfit table of day %d for template %d", day, s.Table.day, s.Template)
		}
	}
	for _, s := range sources {
		from := int32(0)
		for i, subject := range s.Table.subjects {
			c.collect(c.of(subject), s.Table, int(from), int(s.Table.ends[i]))
			from = s.Table.ends[i]
		}
	}
	return nil
}

// of returns the histogram of a subject.
func (c *LatencyCounter) of(subject int64) *histogram {
	h := c.subjects[subject]
	if h == nil {
		if len(c.spare) == 0 {
			c.spare = make([]histogram, 64)
		}
		h, c.spare = &c.spare[0], c.spare[1:]
		c.subjects[subject] = h
	}
	return h
}

// collect adds the samples of rows that are in the window.
func (c *LatencyCounter) collect(h *histogram, t *LatencyTable, from, to int) {
	for i := from; i < to; i++ {
		clip, m := c.calendar.clip[t.halfHour[i]], Mask(t.minutes[i])
		if m&^clip == 0 {
			for _, bin := range t.rowBins(i) {
				h[bin]++
			}
			continue
		}
		for _, bin := range t.rowBins(i) {
			if m&-m&clip != 0 {
				h[bin]++
			}
			m &= m - 1
		}
	}
}

// Samples returns the number of samples of a subject.
func (c *LatencyCounter) Samples(subject int64) int64 { return c.subjects[subject].samples() }

// Percentile returns the latency in milliseconds below which the part p, 0 to 1, of a subject's samples lies: the linear
// interpolation between the two nearest samples at (n-1)·p, as PERCENTILE_CONT of SQL. It is -1 without samples.
func (c *LatencyCounter) Percentile(subject int64, p float64) float64 {
	return c.subjects[subject].percentile(p)
}

// Together returns a counter in which the samples of all these subjects are those of subject 0.
func (c *LatencyCounter) Together(subjects []int64) *LatencyCounter {
	together := &histogram{}
	for _, subject := range subjects {
		if h := c.subjects[subject]; h != nil {
			for bin, count := range h {
				together[bin] += count
			}
		}
	}
	return &LatencyCounter{subjects: map[int64]*histogram{0: together}}
}

// samples is the number of samples; a subject without any has no histogram.
func (h *histogram) samples() (n int64) {
	if h != nil {
		for _, count := range h {
			n += int64(count)
		}
	}
	return n
}

func (h *histogram) percentile(p float64) float64 {
	n := h.samples()
	if n == 0 {
		return -1
	}
	at := float64(n-1) * p
	below := int64(at)
	a, b := BinValue(h.bin(below)), BinValue(h.bin(min(below+1, n-1)))
	return a + (b-a)*(at-float64(below))
}

// bin returns the bin of the i-th sample, counted from 0, in ascending order.
func (h *histogram) bin(i int64) byte {
	for bin, count := range h {
		if i -= int64(count); i < 0 {
			return byte(bin)
		}
	}
	return binCount - 1
}
