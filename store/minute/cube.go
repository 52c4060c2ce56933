package minute

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// NoValue is the value of a dimension that something has none of.
const NoValue int64 = -1

// MaxDimensions is how many dimensions a cube tells apart.
const MaxDimensions = 2

// Dimension gives usage its values: by what was used, at which seat, when. One of its fields is set. All functions may be called by
// several lanes at a time, but for OfUse.
type Dimension struct {
	// OfTemplate is the value of a template.
	OfTemplate func(template int) int64
	// OfUse is the value of an app of a kind, Session or App, measured or estimated, in a template.
	OfUse func(template int, kind Kind, app string) int64
	// OfSubject is the value of a person at a seat.
	OfSubject func(subject int64) int64
	// OfHalfHour is the values of a person at a seat in a half hour, each once; it may have several or none.
	OfHalfHour func(subject int64, halfHour int32) []int64
	// OfMinute is the values of minutes: stretches of time that are ascending and do not overlap.
	OfMinute []Stretch
}

// Stretch is the minutes from one until before another, counted from the Unix epoch, that have a value.
type Stretch struct {
	Start, End int64
	Value      int64
}

// Filter narrows usage to that which has one of some values, or to that which has none of them.
type Filter struct {
	Dimension

	Values map[int64]bool
	Not    bool
}

// passes reports whether usage with some values is in the filter.
func (f *Filter) passes(values ...int64) bool {
	return slices.ContainsFunc(values, func(v int64) bool { return f.Values[v] }) != f.Not
}

// Cut says how a cube cuts usage.
type Cut struct {
	// Window is the minutes that are counted. Its intervals are days, in whichever zone: see Cell.Days.
	Window Window
	// Of is whom the cube counts; the others go into the whole of Cube.Others.
	Of Population
	// Dimensions tell cells apart, at most MaxDimensions. Usage without a value in one of them is in the whole alone.
	Dimensions []Dimension
	// Filters narrow everything, the whole too.
	Filters []Filter
	// WorkspaceOf numbers the workspace of a subject, from 0, NoValue if none is known. Nil: workspaces are not counted.
	WorkspaceOf func(subject int64) int64
	// Peaks asks for Cell.Peak, which takes memory.
	Peaks bool
	// MaxCells bounds the memory: of all cells together no more entries are kept, of persons, workspaces and days of peaks. 0: no bound.
	MaxCells int
}

// ErrCells says that a cube would need more memory than it may.
var ErrCells = errors.New("too many cells")

// CellKey is the values of a cell, by dimension; NoValue beyond the dimensions that the cube has.
type CellKey [MaxDimensions]int64

// Whole is the key of the cell that everything belongs to, with and without values.
var Whole = CellKey{NoValue, NoValue}

// Cell is the usage with some values. A minute of a person in it counts once, at however many seats, in whatever it was spent on.
type Cell struct {
	// Minutes are those with use, added up over the persons.
	Minutes int64
	// People is the number of distinct persons.
	People int64
	// Launches are the runs of consecutive half hours with use, added up over the persons.
	Launches int64
	// Days are those with use, added up over the persons.
	Days int64
	// Workspaces is the number of distinct workspaces with use; 0 unless asked for.
	Workspaces int64
	// Peak is the greatest number of persons in one minute; 0 unless asked for.
	Peak int64
}

// CountedCell is a cell and its values.
type CountedCell struct {
	Key CellKey
	Cell
}

// OfUses reports whether a dimension or a filter is about what was used.
func (c *Cut) OfUses() bool {
	return slices.ContainsFunc(c.Dimensions, func(d Dimension) bool { return d.OfUse != nil }) ||
		slices.ContainsFunc(c.Filters, func(f Filter) bool { return f.OfUse != nil })
}

// ofHalfHours reports whether a dimension or a filter is about half hours.
func (c *Cut) ofHalfHours() bool {
	return slices.ContainsFunc(c.Dimensions, func(d Dimension) bool { return d.OfHalfHour != nil }) ||
		slices.ContainsFunc(c.Filters, func(f Filter) bool { return f.OfHalfHour != nil })
}

// cutting is what cubes of usage and of latencies have in common: how the rows of a day fall into cells.
type cutting struct {
	cut      Cut
	calendar calendar

	// Of the day:
	clip     dayMasks                                  // minutes of the window that pass the filters of minutes
	portions [MaxDimensions][HalfHoursPerDay][]portion // by dimension of minutes
	whole    uint64                                    // the half hours of the clip with all their minutes
	split    uint64                                    // the half hours that an edge of the clip or of an interval cuts
	spans    [MaxDimensions][]daySpan                  // by dimension of minutes

	asking sync.Mutex
}

// portion is the minutes of a half hour that have a value.
type portion struct {
	mask  Mask
	value int64
}

// Cube counts usage in one pass over the days of a window, cut into cells by the values of its dimensions. What is usage, the
// connection gate included, is what it is for a [Counter], and logins never are.
type Cube struct {
	cutting

	lanes  []cubeLane
	peaks  map[CellKey]int32
	ofDays bool                              // nothing is asked of a half hour by itself, so that sums of days may tell
	days   [MaxDimensions]map[int64]dayRange // of the values of dimensions of minutes
}

// dayRange is the first and the last day of something.
type dayRange struct{ first, last int32 }

var everyDay = dayRange{math.MinInt32, math.MaxInt32}

// dayRanges returns the days of each value of stretches.
func dayRanges(stretches []Stretch) map[int64]dayRange {
	ranges := make(map[int64]dayRange, len(stretches))
	for _, s := range stretches {
		of, known := ranges[s.Value]
		if !known {
			of.first = int32(floorDiv(s.Start, minutesPerDay))
		}
		of.last = int32(floorDiv(s.End-1, minutesPerDay))
		ranges[s.Value] = of
	}
	return ranges
}

// daysOf returns the days with minutes that have some values.
func (c *Cube) daysOf(key CellKey) dayRange {
	of := everyDay
	for i, days := range c.days {
		if d, known := days[key[i]]; known {
			of.first, of.last = max(of.first, d.first), min(of.last, d.last)
		}
	}
	return of
}

// NewCube returns a cube that has counted nothing.
func NewCube(c Cut) *Cube {
	q := &Cube{cutting: cutting{cut: c, calendar: calendar{window: c.Window}}, peaks: map[CellKey]int32{}}
	q.ofDays = !c.Peaks && !c.ofHalfHours()
	for i, d := range c.Dimensions {
		q.days[i] = dayRanges(d.OfMinute)
	}
	q.lanes = make([]cubeLane, min(runtime.GOMAXPROCS(0), maxLanes))
	for i := range q.lanes {
		q.lanes[i] = cubeLane{
			view: view{cutting: &q.cutting}, of: q, share: c.Of.share(i, len(q.lanes)), roster: newRoster(c.Of),
			numbers: map[CellKey]int32{Whole: 0}, cells: []cubeCell{{key: Whole, days: everyDay}}, members: map[cubeMember]membership{},
			workspaces: map[cubeMember]struct{}{}, slots: make([]cubeSlot, 1),
		}
		q.lanes[i].into = q.lanes[i].put
	}
	return q
}

// Add counts a day. The sources are all of that day, at most one per template, and days come in ascending order. It fails with ErrCells
// when there are more cells than the cut allows.
func (c *Cube) Add(day int32, sources []Source[*Table]) error {
	for _, s := range sources {
		if s.Table.day != day {
			return fmt.Errorf("cut usage of day %d: unfit table of day %d for template %d", day, s.Table.day, s.Template)
		}
	}
	if err := c.turn(day); err != nil {
		return fmt.Errorf("cut usage: %w", err)
	}
	var counting sync.WaitGroup
	for i := range c.lanes[1:] {
		counting.Go(func() { c.lanes[i+1].count(sources) })
	}
	c.lanes[0].count(sources)
	counting.Wait()
	kept := 0
	for i := range c.lanes {
		l := &c.lanes[i]
		if l.panicked != nil {
			panic(l.panicked) // here, where the caller can recover from it
		}
		kept += l.kept() + len(l.workspaces) + peakWeight*len(l.atOnce)
	}
	if c.tooMany(kept) {
		return ErrCells
	}
	c.raisePeaks()
	return nil
}

// peakWeight is how much more than a person the minutes of a day of a cell take.
const peakWeight = minutesPerDay / 16

func (c *cutting) tooMany(kept int) bool { return c.cut.MaxCells > 0 && kept > c.cut.MaxCells }

// turn goes on to a day, which must be after the one before: it prepares what dimensions and filters of minutes say of it.
func (c *cutting) turn(day int32) error {
	if err := c.calendar.turn(day); err != nil {
		return err
	}
	c.clip = c.calendar.clip
	for _, f := range c.cut.Filters {
		if f.OfMinute == nil {
			continue
		}
		var in dayMasks
		for _, s := range f.OfMinute {
			if f.Values[s.Value] {
				unite(&in, masksBetween(day, s.Start, s.End))
			}
		}
		for half := range c.clip {
			if f.Not {
				in[half] = ^in[half]
			}
			c.clip[half] &= in[half]
		}
	}
	c.whole, c.split = c.clip.halfHours()
	c.split |= c.calendar.cut
	begin, end := int64(day)*minutesPerDay, int64(day+1)*minutesPerDay
	for i, d := range c.cut.Dimensions {
		c.spans[i] = c.spans[i][:0]
		for half := range c.portions[i] {
			c.portions[i][half] = c.portions[i][half][:0]
		}
		for _, s := range d.OfMinute {
			if s.End <= begin || s.Start >= end {
				continue
			}
			masks := masksBetween(day, s.Start, s.End)
			for half, mask := range masks {
				if mask != 0 {
					c.portions[i][half] = append(c.portions[i][half], portion{mask, s.Value})
				}
			}
			whole, _ := masks.halfHours()
			c.spans[i] = append(c.spans[i], daySpan{s.Value, whole})
		}
	}
	return nil
}

func unite(to *dayMasks, masks dayMasks) {
	for half, mask := range masks {
		to[half] |= mask
	}
}

// raisePeaks adds up the persons of all lanes in each minute of the day.
func (c *Cube) raisePeaks() {
	if !c.cut.Peaks {
		return
	}
	together := map[CellKey]*[minutesPerDay]int32{}
	for i := range c.lanes {
		l := &c.lanes[i]
		for cell, minutes := range l.atOnce {
			key := l.cells[cell].key
			if together[key] == nil {
				together[key] = minutes
				continue
			}
			for m, people := range minutes {
				together[key][m] += people
			}
		}
		clear(l.atOnce)
	}
	for key, minutes := range together {
		c.peaks[key] = max(c.peaks[key], slices.Max(minutes[:]))
	}
}

// Cells returns what was counted so far: the whole, which comes first, and every cell with use, each once.
func (c *Cube) Cells() []CountedCell {
	most := 0
	for i := range c.lanes {
		most += len(c.lanes[i].cells)
	}
	cells, places := make([]CountedCell, 0, most), make([][]int32, len(c.lanes)) // by lane, where its cells are in the list
	visited := map[cubeMember]struct{}{}                                         // workspaces, which may have people in several lanes
	for i := range c.lanes {
		l := &c.lanes[i]
		places[i] = make([]int32, len(l.cells))
		for n := range l.cells {
			own := &l.cells[n]
			place, known := c.placeOf(own.key, places[:i])
			if !known {
				place = int32(len(cells))
				cells = append(cells, CountedCell{own.key, Cell{Peak: int64(c.peaks[own.key])}})
			}
			places[i][n] = place
			cell := &cells[place]
			cell.Minutes, cell.People, cell.Launches = cell.Minutes+own.Minutes, cell.People+own.People, cell.Launches+own.Launches
			cell.Days += own.Days
		}
		for at := range l.workspaces {
			visited[memberOf(places[i][at.cell()], at.of())] = struct{}{}
		}
	}
	for at := range visited {
		cells[at.cell()].Workspaces++
	}
	return cells
}

// placeOf returns where a cell is in a list, if one of the first lanes has it.
func (c *Cube) placeOf(key CellKey, places [][]int32) (place int32, known bool) {
	for i, of := range places {
		if n, has := c.lanes[i].numbers[key]; has {
			return of[n], true
		}
	}
	return 0, false
}

// Others returns whom the population leaves out, of what passes the filters.
func (c *Cube) Others() (others []OtherTally) {
	for _, a := range c.cut.Of.Counted.Others().List() {
		of := OtherTally{Actor: a}
		for i := range c.lanes {
			for n := range c.lanes[i].persons {
				if p := &c.lanes[i].persons[n]; p.actor == a && p.minutes > 0 {
					of.People, of.Minutes = append(of.People, p.person), of.Minutes+p.minutes
				}
			}
		}
		if of.Minutes > 0 {
			slices.Sort(of.People)
			others = append(others, of)
		}
	}
	return others
}

// cubeLane counts some of the persons.
type cubeLane struct {
	view

	into       func(CellKey, uint8, Mask) // put
	of         *Cube
	share      share
	roster     roster // numbers are indexes in persons
	persons    []cubePerson
	numbers    map[CellKey]int32         // to the index in cells
	cells      []cubeCell                // the first is the whole
	members    map[cubeMember]membership // but for the last cell of each person, and where nobody came back after it
	inCells    int                       // how many persons are in all cells but the whole, together
	workspaces map[cubeMember]struct{}

	// Of the day:
	sources []Source[*Table]
	uses    [][]useView // per source and code of a row
	blocks  []cubeBlock // the first is unused: 0 ends a chain
	today   []int32     // persons
	atOnce  map[int32]*[minutesPerDay]int32

	// Of the person:
	slots  []cubeSlot // of the cells that the person touches; the first is unused
	used   int        // how many of them
	others halfHours
	last   CellKey // the cell of the row before, and its slot
	inLast int32

	summed   []summedSeat // of those whose day is added from sums
	summedIn []summedCell

	panicked any // what ended the day's count before its time
}

type cubePerson struct {
	person, minutes int64 // the minutes of those who are left out
	actor           Actor
	counted         bool
	known           bool       // in the whole
	blocks          int32      // chain
	inWhole, inLast membership // of the whole, and of the cell that the person was counted in last
	last            int32      // that cell; 0: none
}

// cubeBlock is where the seats of a person lie in one source.
type cubeBlock struct {
	source, next int32
	blocks       span
}

// cubeCell is what a lane counted of a cell.
type cubeCell struct {
	Cell

	key  CellKey
	days dayRange // on which anybody can be in it
	slot int32    // of the person that is being counted; 0: none
}

// cubeMember is a cell, in the upper half, and a person, by index, or a workspace in it. One number is quicker to look up than two.
type cubeMember uint64

func memberOf(cell, of int32) cubeMember { return cubeMember(cell)<<32 | cubeMember(uint32(of)) }

func (m cubeMember) cell() int32 { return int32(m >> 32) }
func (m cubeMember) of() int32   { return int32(uint32(m)) }

// membership is how far somebody's use of a cell is counted: the last half hour with use, and the last day, plus one.
type membership struct{ halfHour, day int32 }

// cubeSlot gathers the minutes of a day of one person in one cell.
type cubeSlot struct {
	minutes halfHours
	summed  channelUse // from sums, instead of minutes
	cell    int32
	subject int64 // the last whose workspace was noted
}

// count counts the persons of the day that are the lane's.
func (l *cubeLane) count(sources []Source[*Table]) {
	defer func() { l.panicked = recover() }()
	l.sources, l.uses = sources, make([][]useView, len(sources))
	if l.of.cut.Peaks && l.atOnce == nil {
		l.atOnce = map[int32]*[minutesPerDay]int32{}
	}
	for i, s := range sources {
		l.uses[i] = make([]useView, s.Table.codes())
		l.uses[i][noUsage].known = true
	}
	l.collect()
	for _, i := range l.today {
		if l.of.tooMany(l.kept()) {
			return // the cube fails
		}
		p := &l.persons[i]
		if !p.counted || !l.addSums(p) {
			for ; p.blocks != 0; p.blocks = l.blocks[p.blocks].next {
				l.gather(l.blocks[p.blocks], p.counted)
			}
		}
		if p.counted {
			l.settle(i)
		} else {
			p.minutes += l.others.drain()
		}
	}
}

// kept is how many persons are in all cells of the lane together.
func (l *cubeLane) kept() int { return int(l.cells[0].People) + l.inCells }

// collect finds the lane's persons of the day and chains the sources of each.
func (l *cubeLane) collect() {
	l.blocks, l.today = append(l.blocks[:0], cubeBlock{}), l.today[:0]
	for source, s := range l.sources {
		walk := l.roster.in(s.Template)
		for person, blocks := range l.share.near(&s.Table.blocks) {
			l.chain(walk.number(person), person, source, blocks)
		}
		walk.end()
		for person, blocks := range l.share.far(&s.Table.blocks) {
			l.chain(l.roster.number(person), person, source, blocks)
		}
	}
}

// chain adds the seats of a person in a source.
func (l *cubeLane) chain(n int32, person int64, source int, blocks span) {
	if int(n) == len(l.persons) {
		as := l.of.cut.Of.As(person)
		actor := l.of.cut.Of.Actors[as]
		l.persons = append(l.persons, cubePerson{person: as, actor: actor, counted: l.of.cut.Of.Counted.Has(actor)})
	}
	p := &l.persons[n]
	if p.blocks == 0 {
		l.today = append(l.today, n)
	}
	l.blocks = append(l.blocks, cubeBlock{int32(source), p.blocks, blocks})
	p.blocks = int32(len(l.blocks) - 1)
}

// gather unions the minutes of a person in a source that are in the window, are usage and pass the filters.
func (l *cubeLane) gather(b cubeBlock, counted bool) {
	t := l.sources[b.source].Table
	for block := int(b.blocks.from); block < int(b.blocks.to); block++ {
		if !l.look(t.subjects[block]) {
			continue
		}
		for i := t.start(block); i < t.start(block+1); i++ {
			half, code := t.halfHour[i], t.code[i]
			m := Mask(t.minutes[i]) & l.of.clip[half]
			if m == 0 || code == noUsage {
				continue
			}
			use := l.use(b.source, code)
			if !use.passes || !l.lookAt(t.day*HalfHoursPerDay+int32(half)) {
				continue
			}
			if !counted {
				l.others.add(half, m)
				continue
			}
			l.spread(use, half, m, l.into)
		}
	}
}

// use returns what dimensions and filters say of a code that is not noUsage.
func (l *cubeLane) use(source int32, code uint32) *useView {
	use := &l.uses[source][code]
	if !use.known {
		kind, app := l.sources[source].Table.decode(code)
		*use = l.of.lookUp(l.sources[source].Template, kind, app)
	}
	return use
}

// put unions minutes of a half hour of the person into a cell.
func (l *cubeLane) put(key CellKey, half uint8, m Mask) {
	slot := l.slotFor(key) // may make room for more slots
	s := &l.slots[slot]
	s.minutes.add(half, m)
	l.visit(s)
}

// visit notes the workspace of the subject in a cell, if anybody asked.
func (l *cubeLane) visit(s *cubeSlot) {
	if l.of.cut.WorkspaceOf != nil && s.subject != l.subject {
		s.subject = l.subject
		if workspace := l.of.cut.WorkspaceOf(s.subject); workspace != NoValue {
			l.workspaces[memberOf(s.cell, int32(workspace))] = struct{}{}
		}
	}
}

// slotFor returns the slot of the cell with some values for the person that is being counted.
func (l *cubeLane) slotFor(key CellKey) int32 {
	if key == Whole {
		return l.slotOf(0)
	}
	if l.inLast == 0 || key != l.last {
		number, known := l.numbers[key]
		if !known {
			number = int32(len(l.cells))
			if len(l.cells) == cap(l.cells) { // by half, as append does, so many would be copied five times
				l.cells = slices.Grow(l.cells, len(l.cells))
			}
			l.cells = append(l.cells, cubeCell{key: key, days: l.of.daysOf(key)})
			l.numbers[key] = number
		}
		l.last, l.inLast = key, l.slotOf(number)
	}
	return l.inLast
}

// slotOf returns the slot of a cell for the person that is being counted.
func (l *cubeLane) slotOf(cell int32) int32 {
	c := &l.cells[cell]
	if c.slot == 0 {
		l.used++
		if l.used == len(l.slots) {
			l.slots = append(l.slots, cubeSlot{})
		}
		c.slot = int32(l.used)
		l.slots[c.slot].cell, l.slots[c.slot].subject = cell, 0
	}
	return c.slot
}

// settle counts the day of a person in each cell, and empties the slots.
func (l *cubeLane) settle(person int32) {
	first := l.of.calendar.day * HalfHoursPerDay
	p := &l.persons[person]
	for i := 1; i <= l.used; i++ {
		s := &l.slots[i]
		cell := &l.cells[s.cell]
		cell.slot = 0
		used := s.minutes.used | s.summed.used
		if used == 0 {
			continue // sums without anything that passes
		}
		in, known := l.membershipOf(p, person, s.cell)
		starts := used &^ (used << 1)
		if !known {
			cell.People++
		} else if in.halfHour == first-1 {
			starts &^= 1
		}
		cell.Launches += int64(bits.OnesCount64(starts))
		in.halfHour = first + int32(bits.Len64(used)) - 1
		for j := range l.of.calendar.pieces {
			piece := &l.of.calendar.pieces[j]
			if in.day <= int32(piece.interval) && (s.summed.used&piece.whole != 0 || s.minutes.meets(&piece.masks)) {
				cell.Days++
				in.day = int32(piece.interval) + 1
			}
		}
		if l.atOnce != nil {
			if l.atOnce[s.cell] == nil {
				l.atOnce[s.cell] = new([minutesPerDay]int32)
			}
			s.minutes.addTo(l.atOnce[s.cell][:])
		}
		cell.Minutes += s.minutes.drain() + s.summed.minutes
		s.summed = channelUse{}
	}
	l.used, l.inLast = 0, 0
}

// membershipOf returns how far the use of a cell by a person is counted, and whether the person was in it.
func (l *cubeLane) membershipOf(p *cubePerson, person, cell int32) (in *membership, known bool) {
	if cell == 0 {
		known, p.known = p.known, true
		return &p.inWhole, known
	}
	if cell == p.last {
		return &p.inLast, true
	}
	day := l.of.calendar.day
	// Nobody comes back to a cell that is over, nor, on its last day, to one in which that day was counted.
	end := l.cells[p.last].days.last
	if p.last != 0 && (day < end || day == end && p.inLast.halfHour < day*HalfHoursPerDay) {
		l.members[memberOf(p.last, person)] = p.inLast
	}
	p.last, p.inLast = cell, membership{}
	if l.cells[cell].days.first < day {
		p.inLast, known = l.members[memberOf(cell, person)]
	}
	if !known {
		l.inCells++
	}
	return &p.inLast, known
}
