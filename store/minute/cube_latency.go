package minute

import (
	"fmt"
	"math/bits"
	"slices"
)

// LatencyCell is the latency samples with some values.
type LatencyCell struct {
	// Samples is their number, at least 1.
	Samples int64
	// People is the number of distinct persons who have them.
	People int64
	// P50 and P95 are percentiles in milliseconds, as LatencyCounter.Percentile has them.
	P50, P95 float64
}

// LatencyCube collects latency samples by cells in one pass over the days of a window. A sample is one per template, person, minute and
// cell: the lowest at those seats of the person that are in the cell. To dimensions and filters of uses a sample is what its person used in
// its template and half hour, at whichever seat and minute; it is in the cells of each such use.
type LatencyCube struct {
	view

	into  func(CellKey, uint8, Mask) // put
	cells map[CellKey]*latencyCell
	kept  int // persons in cells

	// Of the template, if the cut is of uses:
	usage *Table    // nil: there is none
	uses  []useView // per code of a row

	// Of the person:
	used  [HalfHoursPerDay][]useView // what passes, in each half hour, each with other values
	slots map[CellKey]*latencySlot
	spare []*latencySlot
	row   struct { // that is being put into cells
		minutes Mask
		bins    []byte
	}
}

// latencyCell is what was collected of a cell.
type latencyCell struct {
	histogram

	people map[int64]struct{}
}

// latencySlot gathers the samples of a day of one person in one template and cell.
type latencySlot struct {
	used   uint64 // half hours
	lowest [HalfHoursPerDay]lowestBins
}

// histogramWeight is how many entries a histogram counts for in Cut.MaxCells.
const histogramWeight = 16

// NewLatencyCube returns a cube without samples. It counts neither workspaces nor peaks.
func NewLatencyCube(c Cut) *LatencyCube {
	q := &LatencyCube{
		view:  view{cutting: &cutting{cut: c, calendar: calendar{window: c.Window}}},
		cells: map[CellKey]*latencyCell{}, slots: map[CellKey]*latencySlot{},
	}
	q.into = q.put
	return q
}

// Add takes the samples of a day, as Cube.Add takes usage, and if the cut is of uses the usage of that day beside them.
func (c *LatencyCube) Add(day int32, sources []Source[*LatencyTable], usage []Source[*Table]) error {
	for _, s := range sources {
		if s.Table.day != day {
			return fmt.Errorf("cut latencies of day %d: unfit table of day %d for template %d", day, s.Table.day, s.Template)
		}
	}
	if err := c.turn(day); err != nil {
		return fmt.Errorf("cut latencies: %w", err)
	}
	ofUses := c.cut.OfUses()
	for _, s := range sources {
		of := c.lookUpTemplate(s.Template)
		if !of.passes {
			continue
		}
		if ofUses {
			c.lookUpUsage(s.Template, usage)
		} else {
			for half := range c.used {
				c.used[half] = append(c.used[half][:0], of)
			}
		}
		for person := range s.Table.people() {
			if c.cut.Of.counts(person) {
				if ofUses {
					c.lookUpUses(s.Template, person)
				}
				c.gather(s.Table, person)
				c.settle(c.cut.Of.As(person))
			}
			if c.tooMany(histogramWeight*len(c.cells) + c.kept) {
				return ErrCells
			}
		}
	}
	return nil
}

// lookUpUsage turns to the usage of a template.
func (c *LatencyCube) lookUpUsage(template int, usage []Source[*Table]) {
	c.usage = nil
	if at := slices.IndexFunc(usage, func(s Source[*Table]) bool { return s.Template == template }); at >= 0 {
		c.usage = usage[at].Table
		c.uses = make([]useView, c.usage.codes())
		c.uses[noUsage].known = true
	}
}

// lookUpUses notes what a person used in the template.
func (c *LatencyCube) lookUpUses(template int, person int64) {
	for half := range c.used {
		c.used[half] = c.used[half][:0]
	}
	if c.usage == nil {
		return
	}
	first, end := c.usage.of(person)
	for i := c.usage.start(first); i < c.usage.start(end); i++ {
		use := &c.uses[c.usage.code[i]]
		if !use.known {
			kind, app := c.usage.decode(c.usage.code[i])
			*use = c.lookUp(template, kind, app)
		}
		if used := &c.used[c.usage.halfHour[i]]; use.passes && c.usage.minutes[i] != 0 && !slices.Contains(*used, *use) {
			*used = append(*used, *use)
		}
	}
}

// gather puts the samples of a person into the slots of their cells.
func (c *LatencyCube) gather(t *LatencyTable, person int64) {
	first, end := t.of(person)
	var measured uint64 // half hours with a row that is no estimate, at whichever seat
	for i := t.start(first); i < t.start(end); i++ {
		if Kind(t.kind[i]) == Connection {
			measured |= 1 << t.halfHour[i]
		}
	}
	for block := first; block < end; block++ {
		if !c.look(t.subjects[block]) {
			continue
		}
		for i := t.start(block); i < t.start(block+1); i++ {
			half := t.halfHour[i]
			m, used := Mask(t.minutes[i])&c.clip[half], c.used[half]
			if m == 0 || len(used) == 0 || Kind(t.kind[i]) != Connection && measured>>half&1 != 0 ||
				!c.lookAt(t.day*HalfHoursPerDay+int32(half)) {
				continue
			}
			c.row.minutes, c.row.bins = Mask(t.minutes[i]), t.rowBins(i)
			for u := range used {
				c.spread(&used[u], half, m, c.into)
			}
		}
	}
}

// put adds the samples of some minutes of the row to a cell.
func (c *LatencyCube) put(key CellKey, half uint8, m Mask) {
	s := c.slots[key]
	if s == nil {
		if n := len(c.spare); n > 0 {
			s, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			s = &latencySlot{}
		}
		c.slots[key] = s
	}
	s.used |= 1 << half
	lowest := &s.lowest[half]
	for rest, i := c.row.minutes, 0; rest != 0; rest, i = rest&(rest-1), i+1 {
		at := bits.TrailingZeros32(uint32(rest))
		if m>>at&1 == 0 {
			continue
		}
		if bin := c.row.bins[i]; lowest.minutes>>at&1 == 0 || bin < lowest.bins[at] {
			lowest.bins[at] = bin
		}
		lowest.minutes |= 1 << at
	}
}

// settle moves the samples of the person into the histograms, and empties the slots.
func (c *LatencyCube) settle(person int64) {
	for key, s := range c.slots {
		cell := c.cells[key]
		if cell == nil {
			cell = &latencyCell{people: map[int64]struct{}{}}
			c.cells[key] = cell
		}
		if _, known := cell.people[person]; !known {
			cell.people[person] = struct{}{}
			c.kept++
		}
		for ; s.used != 0; s.used &= s.used - 1 {
			s.lowest[bits.TrailingZeros64(s.used)].drainInto(&cell.histogram, fullMask)
		}
		c.spare = append(c.spare, s)
	}
	clear(c.slots)
}

// Cells returns what was collected so far: every cell with samples, the whole among them.
func (c *LatencyCube) Cells() map[CellKey]LatencyCell {
	cells := make(map[CellKey]LatencyCell, len(c.cells))
	for key, c := range c.cells {
		cells[key] = LatencyCell{c.samples, int64(len(c.people)), c.percentile(0.5), c.percentile(0.95)}
	}
	return cells
}
