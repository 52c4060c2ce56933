package minute

import (
	"fmt"
	"math/bits"
	"slices"
)

// SumKinds is how many kinds of minutes a SumCube adds up at most.
const SumKinds = 3 + int(ActorKinds)

// SumCell is what was added up of the subjects with some values, by kind.
type SumCell struct {
	// Minutes are added up over the subjects.
	Minutes [SumKinds]int64
	// People is the number of distinct persons behind them.
	People [SumKinds]int64
	// Samples came with minutes, in any order.
	Samples []float64
}

// SumCube adds up minutes of things that have one owner each, such as workspaces and builds, cut into cells as a [Cube] cuts usage. What a
// dimension calls a subject is a number of such a thing. Dimensions and filters by use are not for it, nor are populations.
type SumCube struct {
	view

	into    func(CellKey, uint8, Mask) // put
	cells   map[CellKey]*sumCell
	members map[sumMember]struct{}
	samples int

	adding sumEntry
	whole  *sumCell
	last   CellKey // the cell, other than the whole, of the minutes before
	inLast *sumCell
}

type sumCell struct {
	SumCell

	number int
	owner  [SumKinds]int64 // whose minutes came last
}

// sumMember is a person behind minutes of a kind in a cell.
type sumMember struct {
	cell, kind int
	person     int64
}

// sumEntry is what is being added.
type sumEntry struct {
	kind   int
	person int64
	sample *float64
}

// everyUse passes filters by use, and has no value.
var everyUse = useView{known: true, passes: true, values: Whole}

// NewSumCube returns a cube that has added nothing up.
func NewSumCube(c Cut) *SumCube {
	q := &SumCube{
		view:  view{cutting: &cutting{cut: c, calendar: calendar{window: c.Window}}},
		cells: map[CellKey]*sumCell{}, members: map[sumMember]struct{}{}, whole: &sumCell{},
	}
	q.cells[Whole] = q.whole
	q.into = q.put
	return q
}

// Turn goes on to a day in UTC, which must be after the one before. It fails with ErrCells as [Cube.Add] does.
func (c *SumCube) Turn(day int32) error {
	if err := c.turn(day); err != nil {
		return fmt.Errorf("add up minutes: %w", err)
	}
	if c.tooMany(len(c.cells) + len(c.members) + c.samples) {
		return ErrCells
	}
	return nil
}

// Look turns to a subject, and reports whether it passes the filters that are not about time. If not, nothing may be added of it.
func (c *SumCube) Look(subject int64) bool { return c.look(subject) }

// Add adds those of the minutes from one until before another, counted from the Unix epoch, that are in the day and in the window. They
// are of the subject and of a kind, below SumKinds, and a person is behind them, numbered as the caller likes, but not 0. A sample comes
// once into each cell that has any of the minutes, if they lie in one half hour; nil: none.
func (c *SumCube) Add(kind int, person, from, to int64, sample *float64) {
	c.adding = sumEntry{kind, person, sample}
	begin := int64(c.calendar.day) * minutesPerDay
	from, to = max(from, begin), min(to, begin+minutesPerDay)
	for from < to {
		half := (from - begin) / MinutesPerHalfHour
		start := begin + half*MinutesPerHalfHour
		next := min(to, start+MinutesPerHalfHour)
		m := Mask(1)<<(next-start) - Mask(1)<<(from-start)
		if m &= c.clip[half]; m != 0 && c.lookAt(c.calendar.day*HalfHoursPerDay+int32(half)) {
			c.spread(&everyUse, uint8(half), m, c.into)
		}
		from = next
	}
}

// put adds minutes to a cell.
func (c *SumCube) put(key CellKey, _ uint8, m Mask) {
	cell := c.inLast
	if key == Whole {
		cell = c.whole
	} else if cell == nil || key != c.last {
		if cell = c.cells[key]; cell == nil {
			cell = &sumCell{number: len(c.cells)}
			c.cells[key] = cell
		}
		c.last, c.inLast = key, cell
	}
	kind, person := c.adding.kind, c.adding.person
	cell.Minutes[kind] += int64(bits.OnesCount32(uint32(m)))
	if cell.owner[kind] != person {
		cell.owner[kind] = person
		at := sumMember{cell.number, kind, person}
		if _, known := c.members[at]; !known {
			c.members[at] = struct{}{}
			cell.People[kind]++
		}
	}
	if c.adding.sample != nil {
		cell.Samples = append(cell.Samples, *c.adding.sample)
		c.samples++
	}
}

// Cells returns what was added up so far: the whole, and every cell with minutes.
func (c *SumCube) Cells() map[CellKey]SumCell {
	cells := make(map[CellKey]SumCell, len(c.cells))
	for key, cell := range c.cells {
		cells[key] = cell.SumCell
	}
	return cells
}

// Percentile returns the value below which the part p, 0 to 1, of some samples lies, of which there is at least one, as
// [LatencyCounter.Percentile] does.
func Percentile(samples []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	at := float64(len(sorted)-1) * p
	below := int(at)
	a, b := sorted[below], sorted[min(below+1, len(sorted)-1)]
	return a + (b-a)*(at-float64(below))
}

// EachUse calls f for every stretch of minutes, counted from the Unix epoch, in which a subject used something, whatever it was: what a
// [Cube] counts. Several stretches may share minutes.
func (t *Table) EachUse(f func(subject, from, to int64)) {
	login := make(map[uint32]bool)
	for block, subject := range t.subjects {
		for i := t.start(block); i < t.start(block+1); i++ {
			code := t.code[i]
			if code == noUsage {
				continue
			}
			is, known := login[code]
			if !known {
				kind, _ := t.decode(code)
				is = kind == Login
				login[code] = is
			}
			if is {
				continue
			}
			start := (int64(t.day)*HalfHoursPerDay + int64(t.halfHour[i])) * MinutesPerHalfHour
			for rest := uint32(t.minutes[i]); rest != 0; {
				from := bits.TrailingZeros32(rest)
				length := bits.TrailingZeros32(^(rest >> from))
				f(subject, start+int64(from), start+int64(from+length))
				rest &^= (1<<length - 1) << from
			}
		}
	}
}
