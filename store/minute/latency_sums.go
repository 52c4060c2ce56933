package minute

// latencySums is what a latency table says of whole days: for each person, over all seats and with the estimates that count, the number
// of samples in each bin that has any.
type latencySums struct {
	days   []latencyStart // by block, that of a person at the last seat; one more ends the last
	bins   []byte         // of a person, ascending
	counts []uint16       // of each of the bins
}

// latencyStart is where the sum of a person begins.
type latencyStart struct {
	used uint64 // the half hours with rows
	bins int32  // the first
}

// size is about how much memory the sums hold.
func (s *latencySums) size() int {
	if s == nil {
		return 0
	}
	return 16*cap(s.days) + cap(s.bins) + 2*cap(s.counts)
}

// Sum adds up the day of each person, as [Table.Sum] does.
func (t *LatencyTable) Sum() {
	s, h, from := &latencySums{days: make([]latencyStart, 0, len(t.subjects)+1)}, &histogram{}, &sampler{}
	for _, blocks := range t.people() {
		for range blocks.to - blocks.from - 1 {
			s.days = append(s.days, latencyStart{0, int32(len(s.bins))}) // the other seats
		}
		rows := t.rowsOf(blocks)
		s.days = append(s.days, latencyStart{t.used(rows), int32(len(s.bins))})
		from.collect(h, t, rows, &wholeDay)
		for bin, n := range &h.bins {
			if n > 0 {
				s.bins, s.counts = append(s.bins, byte(bin)), append(s.counts, uint16(n))
			}
		}
		*h = histogram{}
	}
	s.days = append(s.days, latencyStart{0, int32(len(s.bins))})
	t.sums = s
}

// wholeDay is all minutes of a day.
var wholeDay = masksBetween(0, 0, minutesPerDay)

// used returns the half hours of rows.
func (t *LatencyTable) used(rows span) (halfHours uint64) {
	for _, half := range t.halfHour[rows.from:rows.to] {
		halfHours |= 1 << half
	}
	return halfHours
}

// addTo adds the sum of a person to a histogram. It reports false, and has added nothing, where the window has a part of the day.
func (s *latencySums) addTo(h *histogram, block int32, c *calendar) bool {
	if s == nil || s.days[block].used&^c.whole != 0 {
		return false
	}
	from, to := s.days[block].bins, s.days[block+1].bins
	bins, samples := s.bins[from:to], h.samples
	for i, n := range s.counts[from:to][:len(bins)] {
		h.bins[bins[i]] += uint32(n)
		samples += int64(n)
	}
	h.samples = samples
	return true
}
