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
// higher number than the one it lies within. Instead of a channel it names NoChannel or Ignored. Of those whom the population leaves out
// nothing is shown: then all that matters is whether it is Ignored.
type ChannelOf func(template int, kind Kind, app string, shown bool) (channel, within int)

// What is no channel.
const (
	// NoChannel is activity that no channel shows. As the channel that another lies within it means: in none.
	NoChannel = -1
	// Ignored is no activity for this question.
	Ignored = -2
)

// Detail is what a Counter counts only if it is asked to, because it takes time or memory.
type Detail func(*Counter)

// Users asks for Tally.Users, and for ChannelTally.Users of all channels.
func Users(c *Counter) { c.users = true }

// IntervalMinutes asks for UserTally.IntervalMinutes, and so for Users.
func IntervalMinutes(c *Counter) { c.users, c.intervalMinutes = true, true }

// Peaks asks for Tally.Peaks.
func Peaks(c *Counter) { c.atOnce = true }

// UsersOf asks for ChannelTally.Users and Tally.UsersIn of some channels, which are named by one lane at a time.
func UsersOf(channels func(channel int) bool) Detail {
	return func(c *Counter) { c.usersOf = channels }
}

// MinutesPerQuarter is how many minutes share one of [Tally.Peaks]: the hours of every zone are made of whole quarters.
const MinutesPerQuarter = 15

// Counter counts usage in one pass over the days of a window and fills every section of an answer. Apps, logins and, behind
// the connection gate, sessions are usage, unless the question ignores them; so are estimates where nothing was measured. A
// minute of a user counts once, in however many templates and apps and at however many seats.
//
// Persons whom the population leaves out are not in any of that: it is only counted how many were active, and how long.
//
// Users, each a person, belong to lanes by their number. Lanes count beside each other, each its users of a day one after the
// other, each of them over all templates, in accumulators that are emptied for the next. What lasts are the counts, and per user
// short chains of links. Where nothing is asked of each user, the people of a template are counted together as far as its total tells.
type Counter struct {
	window     Window
	population Population
	size       int // number of templates
	calendar   calendar
	lanes      []lane

	// Of the day:
	totals  []total // per source
	codes   []int32 // of the totals
	minutes []int32 // of a source, by code

	classes []uint32 // of sets, by channel, of a source; 0: none yet
	owned   []int32  // channels with a class

	users, intervalMinutes, atOnce bool // asked for
	usersOf                        func(channel int) bool
	peaks                          []int32 // as Tally.Peaks

	asking    sync.Mutex
	channelOf ChannelOf
}

// maxLanes bounds the lanes of one question, which is not alone.
const maxLanes = 4

// lane counts some of the users.
type lane struct {
	of        *Counter
	share     share
	users     []userCount
	presences []presence      // of the users
	roster    roster          // numbers are indexes in users
	templates bitset          // with any usage
	usersIn   map[int]*bitset // per template with usage, if users of channels are asked for
	channels  []channelCount
	intervals []intervalCount
	links     []link // the first is unused: 0 ends a chain
	estimated bool   // some of the usage

	shown, others, inTotal meaning

	// Of the day:
	sources []Source[*Table]
	blocks  []block   // the first is unused: 0 ends a chain
	today   []int32   // users, in the order of their appearance
	usedIn  []uint64  // per source, half hours that are added from sums
	usersOf []*bitset // per source, of usersIn
	met     []met     // whose total tells, unless they are met again, by source
	apart   []apart   // by source
	parted  int       // how many of them were looked at

	// Of the user:
	inTemplate halfHours // any activity in the template of the block
	inAny      halfHours // any activity in all of them
	inChannel  []halfHours
	touched    bitset       // channels
	summed     []summedDay  // that have activity, if the day is added from sums
	sums       []channelUse // by channel, of a user whose day is added from sums
	summedIn   []int32      // channels with such a sum
	ofSets     []int32      // by total of a source, the channel that has the set

	atOnce []int32 // users in each minute of the day; nil: nobody asked

	panicked any // what ended the day's count before its time
}

type channelCount struct {
	minutes, launches int64
	users             int
	within            int32 // channel, or NoChannel
	templates         bitset
	late, later       bitset // users in the last half hour of the day before, and of the day
	named             bool   // its users are asked for, and not all users
	usersOf           bitset // then
}

type intervalCount struct {
	users     int
	templates bitset
}

type userCount struct {
	person, minutes int64
	active          int32 // number of intervals with activity
	templates       int32 // chain of links
	channels        int32 // chain of links
	inIntervals     int32 // chain of links, the latest interval first; empty unless asked for
	actor           Actor
}

// presence is what each day looks at of a user: small, so that much of it lies near.
type presence struct {
	blocks  int32 // chain of blocks, of the day
	met     int32 // 0: not; or one more than the place among those who were met
	reached int32 // 0: no activity; or one more than the intervals up to the last with activity
	out     bool  // left out by the population
}

// link is a template, a channel or an interval that a user used.
type link struct {
	key, next int32
	minutes   int32 // in the channel or interval
}

// block is a user in one source: blocks of its table.
type block struct {
	source int32
	blocks span
	next   int32
	apart  bool // not as the total of the source has it
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
		l.of, l.share, l.roster = c, of.share(i, len(c.lanes)), newRoster(of)
		l.templates, l.links = bitsets(1, templates)[0], make([]link, 1)
		l.shown, l.others = meaning{shown: true, known: lookups{}}, meaning{known: lookups{}}
		for _, s := range bitsets(len(w.Bounds), templates) {
			l.intervals = append(l.intervals, intervalCount{templates: s})
		}
	}
	for _, ask := range details {
		ask(c)
	}
	if c.usersOf != nil {
		for i := range c.lanes {
			c.lanes[i].usersIn = map[int]*bitset{}
		}
	}
	if c.atOnce && w.Start < w.End {
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
	c.inLanes(func(l *lane) { l.collect(sources) })
	c.addTotals(sources)
	c.inLanes((*lane).count)
	if c.peaks != nil {
		c.raisePeaks(day)
	}
	return nil
}

// inLanes does something in all lanes at a time.
func (c *Counter) inLanes(do func(*lane)) {
	guarded := func(l *lane) {
		defer func() { l.panicked = recover() }()
		do(l)
	}
	var doing sync.WaitGroup
	for i := range c.lanes[1:] {
		doing.Go(func() { guarded(&c.lanes[i+1]) })
	}
	guarded(&c.lanes[0])
	doing.Wait()
	for i := range c.lanes {
		if p := c.lanes[i].panicked; p != nil {
			panic(p) // here, where the caller can recover from it
		}
	}
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

// count counts the users of the day that are the lane's: those of whom totals tell, and the others one by one.
func (l *lane) count() {
	l.countMet()
	for _, n := range l.joinTotals() {
		if l.presences[n].out {
			l.countOther(n)
		} else {
			l.countUser(n)
		}
	}
	l.tellTemplates()
}

// lookups are what is known of the channels of each template, by code. What was resolved on the day before holds for a day of the same
// apps.
type lookups map[int]lookup

// lookup has the channel of each code of tables with these apps.
type lookup struct {
	apps     []string
	channels []int32
}

// of returns the lookup of each source. At first nothing is resolved but what is no usage.
func (known lookups) of(sources []Source[*Table]) [][]int32 {
	all := make([][]int32, len(sources))
	for i, s := range sources {
		l, ok := known[s.Template]
		if !ok || !slices.Equal(l.apps, s.Table.apps) {
			l = lookup{s.Table.apps, slices.Repeat([]int32{unresolved}, s.Table.codes())}
			l.channels[noUsage] = Ignored
			known[s.Template] = l
		}
		all[i] = l.channels
	}
	return all
}

// collect begins a day: it finds the lane's users and chains the blocks of each.
func (l *lane) collect(sources []Source[*Table]) {
	l.sources, l.others.codes, l.inTotal.codes = sources, nil, nil
	l.shown.of(sources)
	l.usedIn = append(l.usedIn[:0], make([]uint64, len(sources))...)
	l.findUsers()
	l.blocks, l.today, l.met, l.apart, l.parted = append(l.blocks[:0], block{}), l.today[:0], l.met[:0], l.apart[:0], 0
	if l.presences == nil {
		l.expect(sources)
	}
	for source, s := range l.sources {
		walk := l.roster.in(s.Template)
		if l.of.together() && s.Table.sums != nil {
			l.meet(source, &walk)
		} else {
			for person, blocks := range l.share.near(&s.Table.blocks) {
				n := walk.number(person)
				l.know(n, l.of.population.As(person))
				l.chain(n, source, blocks)
			}
		}
		walk.end()
		for person, blocks := range l.share.far(&s.Table.blocks) {
			n := l.roster.number(person)
			l.know(n, l.of.population.As(person))
			l.chain(n, source, blocks)
		}
	}
	l.beginNight()
}

// expect makes room for the people of the first day, of whom most come again.
func (l *lane) expect(sources []Source[*Table]) {
	people := 0
	for _, s := range sources {
		people += len(s.Table.subjects) / len(l.of.lanes)
	}
	l.presences, l.roster.numbers = make([]presence, 0, people), make(map[int64]int32, people)
}

// know makes a place for a user who is new.
func (l *lane) know(n int32, person int64) {
	if int(n) == len(l.presences) {
		l.presences = append(l.presences, presence{out: !l.of.population.Counted.Has(l.of.population.Actors[person])})
	}
}

// chain adds the blocks of a person in a source to those of a user, who is counted one by one from now on.
func (l *lane) chain(n int32, source int, blocks span) {
	p := &l.presences[n]
	if p.met != 0 { // not alone
		m := &l.met[p.met-1]
		p.met, m.user = 0, nobody
		l.chain(n, int(m.source), l.sources[m.source].Table.upTo(m.block))
	}
	if missing := int(n) + 1 - len(l.users); missing > 0 {
		l.users = append(l.users, make([]userCount, missing)...)
	}
	if u := &l.users[n]; u.person == 0 {
		u.person = l.of.population.As(PersonOf(l.sources[source].Table.subjects[blocks.from]))
		u.actor = l.of.population.Actors[u.person]
	}
	if p.blocks == 0 {
		l.today = append(l.today, n)
	}
	b := block{source: int32(source), blocks: blocks, next: p.blocks}
	b.apart = l.isApart(&b, p)
	l.blocks = append(l.blocks, b)
	p.blocks = int32(len(l.blocks) - 1)
}

// countUser counts the blocks of a user.
func (l *lane) countUser(n int32) {
	if l.addSum(n) {
		return
	}
	u, p := &l.users[n], &l.presences[n]
	for ; p.blocks != 0; p.blocks = l.blocks[p.blocks].next {
		b := l.blocks[p.blocks]
		l.gather(b)
		if l.inTemplate.used == 0 {
			continue
		}
		template := l.sources[b.source].Template
		l.templates.add(template)
		l.usesTemplate(n, b.source)
		for i := range l.of.calendar.pieces {
			if p := &l.of.calendar.pieces[i]; l.inTemplate.meets(&p.masks) {
				l.intervals[p.interval].templates.add(template)
			}
		}
		l.inTemplate.drainInto(&l.inAny)
	}
	if l.inAny.used != 0 {
		p.reached = max(p.reached, 1)
	}
	for i := range l.of.calendar.pieces {
		if p := &l.of.calendar.pieces[i]; l.inAny.meets(&p.masks) {
			l.countInterval(n, p.interval)
			if l.of.intervalMinutes {
				l.addIntervalMinutes(u, p.interval, l.inAny.count(&p.masks))
			}
		}
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
			l.countChannel(n, int32(i*64+bit))
		}
	}
}

// usesTemplate notes that a user used the template of a source, if anybody asked.
func (l *lane) usesTemplate(n, source int32) {
	if l.of.users {
		l.chained(&l.users[n].templates, int32(l.sources[source].Template))
	}
	if l.usersIn != nil {
		l.usersOf[source].put(int(n))
	}
}

// findUsers finds where the users of each source of a day are noted, if anybody asked.
func (l *lane) findUsers() {
	if l.usersIn == nil {
		return
	}
	l.usersOf = l.usersOf[:0]
	for _, s := range l.sources {
		users := l.usersIn[s.Template]
		if users == nil {
			users = &bitset{}
			l.usersIn[s.Template] = users
		}
		l.usersOf = append(l.usersOf, users)
	}
}

// countOther counts the blocks of a person who is left out.
func (l *lane) countOther(n int32) {
	if l.others.codes == nil {
		l.others.of(l.sources)
	}
	if l.addOtherSum(n) {
		return
	}
	for p := &l.presences[n]; p.blocks != 0; p.blocks = l.blocks[p.blocks].next {
		l.gatherOther(l.blocks[p.blocks])
	}
	l.users[n].minutes += l.inAny.drain()
}

// gatherOther unions the minutes of a block of a person who is left out.
func (l *lane) gatherOther(b block) {
	source, clip := l.sources[b.source], &l.of.calendar.clip
	rows := source.Table.rowsOf(b.blocks)
	for i := rows.from; i < rows.to; i++ {
		half, code := source.Table.halfHour[i], source.Table.code[i]
		m := Mask(source.Table.minutes[i]) & clip[half]
		if m != 0 && l.channel(&l.others, b.source, code) != Ignored {
			l.inAny.add(half, m)
		}
	}
}

// countInterval counts a user with activity in an interval, once.
func (l *lane) countInterval(n int32, interval int) {
	if p := &l.presences[n]; p.reached < int32(interval)+2 {
		p.reached = int32(interval) + 2
		l.intervals[interval].users++
		if l.of.users {
			l.users[n].active++
		}
	}
}

// addIntervalMinutes adds the minutes of a day to an interval. Days come in ascending order, so only the latest interval of the
// chain can go on.
func (l *lane) addIntervalMinutes(u *userCount, interval int, minutes int64) {
	if u.inIntervals == 0 || l.links[u.inIntervals].key != int32(interval) {
		l.links = append(l.links, link{key: int32(interval), next: u.inIntervals})
		u.inIntervals = int32(len(l.links) - 1)
	}
	l.links[u.inIntervals].minutes += int32(minutes)
}

// gather unions the minutes of a block that are in the window and pass the gate: in its template and in the channels.
func (l *lane) gather(b block) {
	source, clip := l.sources[b.source], &l.of.calendar.clip
	lookup, rows := l.shown.codes[b.source], source.Table.rowsOf(b.blocks)
	minutes, code := source.Table.minutes[rows.from:rows.to], source.Table.code[rows.from:rows.to]
	for i, half := range source.Table.halfHour[rows.from:rows.to] {
		m, channel := Mask(minutes[i])&clip[half], lookup[code[i]]
		if m == 0 || channel == Ignored {
			continue
		}
		if channel == unresolved {
			if channel = l.channel(&l.shown, b.source, code[i]); channel == Ignored {
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

// channel returns the channel of the rows of a source with a code. It looks it up once.
func (l *lane) channel(m *meaning, number int32, code uint32) int32 {
	if known := m.codes[number][code]; known != unresolved {
		return known
	}
	source := l.sources[number]
	kind, app := source.Table.decode(code)
	kind, estimate := kind.Measured()
	channel, within := l.of.ask(source.Template, kind, app, m.shown)
	if !m.shown {
		channel = min(channel, NoChannel)
	}
	m.codes[number][code] = int32(channel)
	l.estimated = l.estimated || m.shown && estimate && channel != Ignored
	if channel >= 0 {
		l.provide(channel, within).templates.add(source.Template)
		if within >= 0 {
			l.provide(within, NoChannel).templates.add(source.Template)
		}
	}
	return int32(channel)
}

// ask lets one lane at a time ask for a channel.
func (c *Counter) ask(template int, kind Kind, app string, shown bool) (channel, within int) {
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.channelOf(template, kind, app, shown)
}

// isNamed lets one lane at a time ask whether the users of a channel are asked for.
func (c *Counter) isNamed(channel int) bool {
	c.asking.Lock()
	defer c.asking.Unlock()
	return c.usersOf(channel)
}

// provide returns the count of a channel, which may be a new one.
func (l *lane) provide(channel, within int) *channelCount {
	for len(l.channels) <= channel {
		named := l.of.usersOf != nil && l.of.isNamed(len(l.channels))
		l.channels = append(l.channels, channelCount{within: NoChannel, templates: bitsets(1, l.of.size)[0], named: named})
		l.inChannel, l.sums = append(l.inChannel, halfHours{}), append(l.sums, channelUse{})
	}
	for len(l.touched)*64 < len(l.channels) {
		l.touched = append(l.touched, 0)
	}
	if within >= 0 {
		l.channels[channel].within = int32(within)
	}
	return &l.channels[channel]
}

// countChannel counts the day of a user in a channel by its minutes.
func (l *lane) countChannel(n, channel int32) {
	in := &l.inChannel[channel]
	of := channelUse{used: in.used}
	if within := l.channels[channel].within; within >= 0 {
		l.touched.add(int(within))
		of.minutes = in.drainInto(&l.inChannel[within])
	} else {
		of.minutes = in.drain()
	}
	l.countUse(n, channel, of)
}

// channelUse is how a user used a channel on the day.
type channelUse struct {
	used    uint64 // the half hours
	minutes int64
}

// launches returns the runs of half hours.
func (u *channelUse) launches() int64 { return int64(bits.OnesCount64(u.used &^ (u.used << 1))) }

// countUse counts the day of a user in a channel.
func (l *lane) countUse(n, channel int32, of channelUse) {
	count := &l.channels[channel]
	count.launches += of.launches()
	count.minutes += of.minutes
	count.overMidnight(n, of.used)
	if l.of.users {
		in, added := l.chained(&l.users[n].channels, channel)
		if added {
			count.users++
		}
		in.minutes += int32(of.minutes)
	}
	if count.named {
		count.usersOf.put(int(n))
	}
}

// midnight is the half hours after one and before the next.
const midnight = 1 | 1<<(HalfHoursPerDay-1)

// overMidnight takes back the launch of a run that began on the day before, once for each user, and notes who is late.
func (count *channelCount) overMidnight(n int32, used uint64) {
	if used&1 != 0 && count.late.take(int(n)) {
		count.launches--
	}
	if used>>(HalfHoursPerDay-1)&1 != 0 {
		count.later.put(int(n))
	}
}

// beginNight turns to the runs of half hours that the day before ended with.
func (l *lane) beginNight() {
	for i := range l.channels {
		count := &l.channels[i]
		if count.late, count.later = count.later, count.late; !l.of.calendar.follows {
			clear(count.late)
		}
		clear(count.later)
	}
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
