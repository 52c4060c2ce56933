package minute

import (
	"fmt"
	"math/bits"
)

// LatencyCounter collects latency samples in one pass over the days of a window: one per template, person and minute, the lowest
// of those at the seats of the person. Estimates are samples where nothing was measured.
type LatencyCounter struct {
	calendar   calendar
	population Population
	roster     roster
	people     []*histogram // by number in the roster; nil: is left out
	spare      []histogram  // allocated ahead of the people
	sampler    sampler
}

// histogram is the number of samples in each bin, and in all of them.
type histogram struct {
	bins    [binCount]uint32
	samples int64
}

// sampler finds the samples of rows. Between two persons it is empty.
type sampler struct {
	shared [HalfHoursPerDay]lowestBins
}

// lowestBins are the lowest bins of the minutes of a half hour in which a person has several rows.
type lowestBins struct {
	minutes Mask
	bins    [MinutesPerHalfHour]byte
}

// NewLatencyCounter returns a counter without samples, for those of a population.
func NewLatencyCounter(w Window, of Population) *LatencyCounter {
	return &LatencyCounter{calendar: calendar{window: w}, population: of, roster: newRoster(of)}
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
		walk := c.roster.in(s.Template)
		for person, blocks := range s.Table.people() {
			at := walk.number(person)
			if int(at) == len(c.people) {
				c.people = append(c.people, c.histogram(person))
			}
			if h := c.people[at]; h != nil && !s.Table.sums.addTo(h, blocks.to-1, &c.calendar) {
				c.sampler.collect(h, s.Table, s.Table.rowsOf(blocks), &c.calendar.clip)
			}
		}
		walk.end()
	}
	return nil
}

// histogram returns a histogram for a person, nil for one who is left out.
func (c *LatencyCounter) histogram(person int64) (h *histogram) {
	if !c.population.counts(person) {
		return nil
	}
	if len(c.spare) == 0 {
		c.spare = make([]histogram, 64)
	}
	h, c.spare = &c.spare[0], c.spare[1:]
	return h
}

// collect adds the samples of the rows of a person that are in the clip.
func (s *sampler) collect(h *histogram, t *LatencyTable, rows span, clip *dayMasks) {
	var seen, shared, measured uint64 // half hours: with a row, with several, with a measured one
	for i := rows.from; i < rows.to; i++ {
		half := uint64(1) << t.halfHour[i]
		shared |= seen & half
		seen |= half
		if Kind(t.kind[i]) == Connection {
			measured |= half
		}
	}
	for i := rows.from; i < rows.to; i++ {
		half, minutes, bins := t.halfHour[i], Mask(t.minutes[i]), t.rowBins(int(i))
		if Kind(t.kind[i]) != Connection && measured>>half&1 != 0 {
			continue
		}
		if shared>>half&1 != 0 {
			s.shared[half].lower(minutes, bins)
			continue
		}
		h.add(minutes, bins, clip[half])
	}
	for ; shared != 0; shared &= shared - 1 {
		half := bits.TrailingZeros64(shared)
		s.shared[half].drainInto(h, clip[half])
	}
}

// lower adds the bins of a row.
func (l *lowestBins) lower(m Mask, bins []byte) {
	for _, bin := range bins {
		if at := bits.TrailingZeros32(uint32(m)); l.minutes>>at&1 == 0 || bin < l.bins[at] {
			l.bins[at] = bin
		}
		l.minutes |= m & -m
		m &= m - 1
	}
}

// drainInto moves the bins of the minutes in a mask to a histogram, and drops the others.
func (l *lowestBins) drainInto(h *histogram, clip Mask) {
	for rest := l.minutes & clip; rest != 0; rest &= rest - 1 {
		h.bins[l.bins[bits.TrailingZeros32(uint32(rest))]]++
		h.samples++
	}
	l.minutes = 0
}

// Samples returns the number of samples of a person.
func (c *LatencyCounter) Samples(person int64) int64 { return c.of(person).samples }

// Percentile returns the latency in milliseconds below which the part p, 0 to 1, of a person's samples lies: the linear
// interpolation between the two nearest samples at (n-1)·p, as PERCENTILE_CONT of SQL. It is -1 without samples.
func (c *LatencyCounter) Percentile(person int64, p float64) float64 {
	return c.of(person).percentile(p)
}

// noSamples is the histogram of somebody without samples. It is only read.
var noSamples histogram

// of returns the histogram of a person.
func (c *LatencyCounter) of(person int64) *histogram {
	if number, known := c.roster.numbers[person]; known && c.people[number] != nil {
		return c.people[number]
	}
	return &noSamples
}

// Together returns a counter in which the samples of all these people are those of person 0.
func (c *LatencyCounter) Together(people []int64) *LatencyCounter {
	together := &histogram{}
	for _, person := range people {
		h := c.of(person)
		for bin, count := range &h.bins {
			together.bins[bin] += count
		}
		together.samples += h.samples
	}
	return &LatencyCounter{roster: roster{numbers: map[int64]int32{0: 0}}, people: []*histogram{together}}
}

// add counts the bins of the minutes that are in a mask.
func (h *histogram) add(m Mask, bins []byte, clip Mask) {
	h.samples += int64((m & clip).Count())
	if m&^clip == 0 {
		for _, bin := range bins {
			h.bins[bin]++
		}
		return
	}
	for _, bin := range bins {
		if m&-m&clip != 0 {
			h.bins[bin]++
		}
		m &= m - 1
	}
}

func (h *histogram) percentile(p float64) float64 {
	n := h.samples
	if n == 0 {
		return -1
	}
	at := float64(n-1) * p
	below := int64(at)
	bin, next := h.pair(below)
	a, b := BinValue(bin), BinValue(next)
	return a + (b-a)*(at-float64(below))
}

// bin returns the bin of the i-th sample, counted from 0, in ascending order.
func (h *histogram) bin(i int64) byte {
	bin, _ := h.pair(i)
	return bin
}

// pair returns the bin of the i-th sample, counted from 0, in ascending order, and that of the sample after it, or of itself if it is the
// last.
func (h *histogram) pair(i int64) (bin, next byte) {
	for at, count := range &h.bins {
		if i -= int64(count); i >= 0 {
			continue
		}
		bin = byte(at)
		if i < -1 {
			return bin, bin
		}
		for after, count := range h.bins[at+1:] {
			if count > 0 {
				return bin, bin + 1 + byte(after)
			}
		}
		return bin, bin
	}
	return binCount - 1, binCount - 1
}
