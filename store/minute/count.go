package minute

import (
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"sync"
)

// Source is what one template has of one day: a [*Table] of usage, or a [*LatencyTable].
type Source[T any] struct {
	// Template is the caller's index of the template.
	Template int
	// Table holds the rows.
	Table T
}

// ChannelOf names the channel in which an app of a kind, Session, App or Login, measured or estimated, is counted when it is used
// in a template, and the channel that this one lies within: what happens in a channel happens in that one as well. A channel has a
// higher number than the one it lies within. Instead of a channel it names NoChannel or Ignored.
type ChannelOf func(template int, kind Kind, app string) (channel, within int)

// What is no channel.
const (
	// NoChannel is activity that no channel shows. As the channel that another lies within it means: in none.
	NoChannel = -1
	// Ignored is no activity for this question.
	Ignored = -2
)

// Detail is what a Counter counts only if it is asked to, because it takes memory.
type Detail int

const (
	// Peaks asks for Tally.Peaks.
	Peaks Detail = iota
	// IntervalMinutes asks for UserTally.IntervalMinutes.
	IntervalMinutes
)

// MinutesPerQuarter is how many minutes share one of [Tally.Peaks]: the hours of every zone are made of whole quarters.
const MinutesPerQuarter = 15

// Counter counts usage in one pass over the days of a window and fills every section of an answer. Apps, logins and, behind
// the connection gate, sessions are usage, unless the question ignores them; so are estimates where nothing was measured. A
// minute of a user counts once, in however many templates and apps and at however many seats.
//
// Persons whom the population leaves out are not in any of that: it is only counted how many were active, and how long.
//
// Users, each a person, belong to lanes, which count beside each other. A lane counts its users of a day one after the other,
// each over all templates, in accumulators that are emptied for the next. What lasts are the counts, and per user short chains
// of links.
type Counter struct {
	window     Window
	population Population
	size       int // number of templates
	calendar   calendar
	lanes      []lane

	peaks           []int32 // as Tally.Peaks; nil: nobody asked
	intervalMinutes bool

	asking    sync.Mutex
	channelOf ChannelOf
}

// maxLanes bounds the lanes of one question, which is not alone.
const maxLanes = 4

// lane counts some of the users.
type lane struct {
	of        *Counter
	number    int
	users     []userCount
	people    map[int64]int32 // to the index in users
	templates bitset          // with any usage
	channels  []channelCount
	intervals []intervalCount
	links     []link // the first is unused: 0 ends a chain
	estimated bool   // some of the usage

	// Of the day:
	sources []Source[*Table]
	lookups [][]int32 // per source and code of a row: the channel
	ignored [][]int32 // the same for persons who are left out: Ignored or NoChannel; nil before the first of them
	blocks  []block   // the first is unused: 0 ends a chain
	today   []int32   // users, in the order of their appearance

	// Of the user:
	inTemplate halfHours // any activity in the template of the block
	inAny      halfHours // any activity in all of them
	inChannel  []halfHours
	touched    bitset // channels

	atOnce []int32 // users in each minute of the day; nil: nobody asked

	panicked any // what ended the day's count before its time
}

type channelCount struct {
	minutes, launches int64
	users             int
	within            int32 // channel, or NoChannel
	templates         bitset
}

type intervalCount struct {
	users     int
	templates bitset
}

type userCount struct {
	person, minutes int64
	intervals       int32 // those up to the last with activity: its index plus one
	active          int32 // number of intervals with activity
	templates       int32 // chain of links
	channels        int32 // chain of links
	blocks          int32 // chain of blocks
	inIntervals     int32 // chain of links, the latest interval first; empty unless asked for
	actor           Actor
}

// link is a template, a channel or an interval that a user used.
type link struct {
	key, next int32
	last      int32 // the half hour in which the channel was last used
	minutes   int32 // in the channel or interval
}

// block is the rows of a user in one source.
type block struct {
	source int32
	rows   span
	next   int32
}

// unresolved is a lookup for which channelOf was not asked yet.
const unresolved = -3

// NewCounter returns a counter that has counted nothing, for a population. templates says how many there are. channelOf is asked for
// the kinds and apps of a table that have usage in the window, by one lane at a time and at most once by each for those who count and
// once for those who are left out; it may go on to number channels while the counter runs. The details are counted besides.
func NewCounter(w Window, of Population, templates int, channelOf ChannelOf, details ...Detail) *Counter {
	c := &Counter{
		window:     w,
		population: of,
		channelOf:  channelOf,
		size:       templates,
		calendar:   calendar{window: w},
		lanes:      make([]lane, min(runtime.GOMAXPROCS(0), maxLanes)),
	}
	for i := range c.lanes {
		l := &c.lanes[i]
		l.of, l.number, l.people, l.templates, l.links = c, i, make(map[int64]int32), bitsets(1, templates)[0], make([]link, 1)
		for _, s := range bitsets(len(w.Bounds), templates) {
			l.intervals = append(l.intervals, intervalCount{templates: s})
		}
	}
	c.intervalMinutes = slices.Contains(details, IntervalMinutes)
	if slices.Contains(details, Peaks) && w.Start < w.End {
		c.peaks = make([]int32, floorDiv(w.End-1, MinutesPerQuarter)-w.firstQuarter()+1)
		for i := range c.lanes {
			c.lanes[i].atOnce = make([]int32, minutesPerDay)
		}
	}
	return c
}

// firstQuarter numbers the quarter of an hour in which the window starts, counted from the Unix epoch.
func (w Window) firstQuarter() int64 { return floorDiv(w.Start, MinutesPerQuarter) }

// Add counts a day. The sources are all of that day, at most one per template, and days come in ascending order.
func (c *Counter) Add(day int32, sources []Source[*Table]) error {
	if err := c.calendar.turn(day); err != nil {
		return fmt.Errorf("count usage: %w", err)
	}
	seen := bitsets(1, c.size)[0]
	for _, s := range sources {
		if s.Table.day != day || s.Template < 0 || s.Template >= c.size || seen.has(s.Template) {
			return fmt.Errorf("count usage of day %d: unfit table of day %d for template %d", day, s.Table.day, s.Template)
		}
		seen.add(s.Template)
	}
	var counting sync.WaitGroup
	for i := range c.lanes[1:] {
		counting.Go(func() { c.lanes[i+1].count(sources) })
	}
	c.lanes[0].count(sources)
	counting.Wait()
	for _, l := range c.lanes {
		if l.panicked != nil {
			panic(l.panicked) // here, where the caller can recover from it
		}
	}
	if c.peaks != nil {
		c.raisePeaks(day)
	}
	return nil
}

// raisePeaks adds up the users of all lanes in each minute of the day.
func (c *Counter) raisePeaks(day int32) {
	for m := range minutesPerDay {
		users := int32(0)
		for _, l := range c.lanes {
			users += l.atOnce[m]
			l.atOnce[m] = 0
		}
		if users > 0 {
			peak := &c.peaks[floorDiv(int64(day)*minutesPerDay+int64(m), MinutesPerQuarter)-c.window.firstQuarter()]
			*peak = max(*peak, users)
		}
	}
}

// count counts the users of the day that are the lane's.
func (l *lane) count(sources []Source[*Table]) {
	defer func() { l.panicked = recover() }()
	l.sources, l.lookups, l.ignored = sources, lookupsOf(sources), nil
	l.collect()
	for _, i := range l.today {
		if u := &l.users[i]; l.of.population.Counted.Has(u.actor) {
			l.countUser(u)
		} else {
			l.countOther(u)
		}
	}
}

// lookupsOf returns lookups in which nothing is resolved but what is no usage.
func lookupsOf(sources []Source[*Table]) [][]int32 {
	lookups := make([][]int32, len(sources))
	for i, s := range sources {
		lookups[i] = make([]int32, s.Table.codes())
		for code := range lookups[i] {
			lookups[i][code] = unresolved
		}
		lookups[i][noUsage] = Ignored
	}
	return lookups
}

// collect finds the lane's users of the day and chains the blocks of each.
func (l *lane) collect() {
	l.blocks = append(l.blocks[:0], block{})
	l.today = l.today[:0]
	lanes := uint64(len(l.of.lanes))
	for source, s := range l.sources {
		for person, rows := range s.Table.people() {
			if int(uint64(person)%lanes) != l.number {
				continue
			}
			at, known := l.people[person]
			if !known {
				at = int32(len(l.users))
				l.users = append(l.users, userCount{person: person, actor: l.of.population.Actors[person]})
				l.people[person] = at
			}
			u := &l.users[at]
			if u.blocks == 0 {
				l.today = append(l.today, at)
			}
			l.blocks = append(l.blocks, block{source: int32(source), rows: rows, next: u.blocks})
			u.blocks = int32(len(l.blocks) - 1)
		}
	}
}

// countUser counts the blocks of a user.
func (l *lane) countUser(u *userCount) {
	for ; u.blocks != 0; u.blocks = l.blocks[u.blocks].next {
		b := l.blocks[u.blocks]
		l.gather(b)
		if l.inTemplate.used == 0 {
			continue
		}
		template := l.sources[b.source].Template
		l.templates.add(template)
		l.chained(&u.templates, int32(template))
		for i := range l.of.calendar.pieces {
			if p := &l.of.calendar.pieces[i]; l.inTemplate.meets(&p.masks) {
				l.intervals[p.interval].templates.add(template)
			}
		}
		l.inTemplate.drainInto(&l.inAny)
	}
	for i := range l.of.calendar.pieces {
		if p := &l.of.calendar.pieces[i]; u.intervals <= int32(p.interval) && l.inAny.meets(&p.masks) {
			l.intervals[p.interval].users++
			u.active++
			u.intervals = int32(p.interval) + 1
		}
	}
	if l.of.intervalMinutes {
		l.countIntervals(u)
	}
	if l.atOnce != nil {
		l.inAny.addTo(l.atOnce)
	}
	u.minutes += l.inAny.drain()
	// From the highest down: what lies within another channel goes into it before that one is counted.
	for i := len(l.touched) - 1; i >= 0; i-- {
		for l.touched[i] != 0 {
			bit := bits.Len64(l.touched[i]) - 1
			l.touched[i] &^= 1 << bit
			l.countChannel(u, int32(i*64+bit))
		}
	}
}

// countOther counts the blocks of a person who is left out.
func (l *lane) countOther(u *userCount) {
	if l.ignored == nil {
		l.ignored = lookupsOf(l.sources)
	}
	for ; u.blocks != 0; u.blocks = l.blocks[u.blocks].next {
		l.gatherOther(l.blocks[u.blocks])
	}
	u.minutes += l.inAny.drain()
}

// gatherOther unions the minutes of a block of a person who is left out.
func (l *lane) gatherOther(b block) {
	source, ignored, clip := l.sources[b.source], l.ignored[b.source], &l.of.calendar.clip
	for i := b.rows.from; i < b.rows.to; i++ {
		half, code := source.Table.halfHour[i], source.Table.code[i]
		m := Mask(source.Table.minutes[i]) & clip[half]
		if m == 0 {
			continue
		}
		if ignored[code] == unresolved {
			kind, app := source.Table.decode(code)
			kind, _ = kind.Measured()
			channel, _ := l.of.ask(source.Template, kind, app)
			ignored[code] = int32(min(channel, NoChannel))
		}
		if ignored[code] != Ignored {
			l.inAny.add(half, m)
		}
	}
}

// countIntervals adds the day of a user to the intervals that it touches. Days come in ascending order, so only the latest
// interval of the chain can go on.
func (l *lane) countIntervals(u *userCount) {
	for i := range l.of.calendar.pieces {
		p := &l.of.calendar.pieces[i]
		minutes := l.inAny.count(&p.masks)
		if minutes == 0 {
			continue
		}
		if u.inIntervals == 0 || l.links[u.inIntervals].key != int32(p.interval) {
			l.links = append(l.links, link{key: int32(p.interval), next: u.inIntervals})
			u.inIntervals = int32(len(l.links) - 1)
		}
		l.links[u.inIntervals].minutes += int32(minutes)
	}
}

// gather unions the minutes of a block that are in the window and pass the gate: in its template and in the channels.
func (l *lane) gather(b block) {
	source, lookup, clip := l.sources[b.source], l.lookups[b.source], &l.of.calendar.clip
	minutes, code := source.Table.minutes[b.rows.from:b.rows.to], source.Table.code[b.rows.from:b.rows.to]
	for i, half := range source.Table.halfHour[b.rows.from:b.rows.to] {
		m, channel := Mask(minutes[i])&clip[half], lookup[code[i]]
		if m == 0 || channel == Ignored {
			continue
		}
		if channel == unresolved {
			channel = l.resolve(source, code[i])
			if lookup[code[i]] = channel; channel == Ignored {
				continue
			}
		}
		l.inTemplate.add(half, m)
		if channel >= 0 {
			l.touched.add(int(channel))
			l.inChannel[channel].add(half, m)
		}
	}
}

// resolve looks up the channel of the rows with a code.
func (l *lane) resolve(source Source[*Table], code uint32) int32 {
	kind, app := source.Table.decode(code)
	kind, estimate := kind.Measured()
	channel, within := l.of.ask(source.Template, kind, app)
	l.estimated = l.estimated || estimate && channel != Ignored
	if channel < 0 {
		return int32(channel)
	}
	l.provide(channel, within).templates.add(source.Template)
	if within >= 0 {
		l.provide(within, NoChannel).templates.add(source.Template)
	}
	return int32(channel)
}

// ask lets one lane at a time ask for a channel.
func (c *Counter) ask(template int, kind Kind, app string) (channel, within int) {
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.channelOf(template, kind, app)
}

// provide returns the count of a channel, which may be a new one.
func (l *lane) provide(channel, within int) *channelCount {
	for len(l.channels) <= channel {
		l.channels = append(l.channels, channelCount{within: NoChannel, templates: bitsets(1, l.of.size)[0]})
		l.inChannel = append(l.inChannel, halfHours{})
	}
	for len(l.touched)*64 < len(l.channels) {
		l.touched = append(l.touched, 0)
	}
	if within >= 0 {
		l.channels[channel].within = int32(within)
	}
	return &l.channels[channel]
}

// countChannel counts the day of a user in a channel. A run of half hours with use that began the day before goes on.
func (l *lane) countChannel(u *userCount, channel int32) {
	count, in, first := &l.channels[channel], &l.inChannel[channel], l.of.calendar.day*HalfHoursPerDay
	use, added := l.chained(&u.channels, channel)
	starts := in.used &^ (in.used << 1)
	if added {
		count.users++
	} else if use.last == first-1 {
		starts &^= 1
	}
	count.launches += int64(bits.OnesCount64(starts))
	use.last = first + int32(bits.Len64(in.used)) - 1
	var minutes int64
	if count.within >= 0 {
		l.touched.add(int(count.within))
		minutes = in.drainInto(&l.inChannel[count.within])
	} else {
		minutes = in.drain()
	}
	count.minutes += minutes
	use.minutes += int32(minutes)
}

// chained returns the link of a key in a chain, and whether it had to be added.
func (l *lane) chained(chain *int32, key int32) (of *link, added bool) {
	for i := *chain; i != 0; i = l.links[i].next {
		if l.links[i].key == key {
			return &l.links[i], false
		}
	}
	l.links = append(l.links, link{key: key, next: *chain})
	*chain = int32(len(l.links) - 1)
	return &l.links[*chain], true
}
