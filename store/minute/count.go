package minute

import (
	"fmt"
	"math/bits"
)

// Source is what one template has of one day: a [*Table] of usage, or a [*LatencyTable].
type Source[T any] struct {
	// Template is the caller's index of the template.
	Template int
	// Table holds the rows.
	Table T
}

// ChannelOf names the channel in which an app of a kind, Session, App or Login, is counted when it is used in a template,
// and the channel that this one lies within: what happens in a channel happens in that one as well. A channel has a higher
// number than the one it lies within. Instead of a channel it names NoChannel or Ignored.
type ChannelOf func(template int, kind Kind, app string) (channel, within int)

// What is no channel.
const (
	// NoChannel is activity that no channel shows. As the channel that another lies within it means: in none.
	NoChannel = -1
	// Ignored is no activity for this question.
	Ignored = -2
)

// Counter counts usage in one pass over the days of a window and fills every section of an answer. Apps, logins and, behind
// the connection gate, sessions are usage, unless the question ignores them. A minute of a user counts once, in however many
// templates and apps.
//
// The users of a day are counted one after the other, each over all its templates, in accumulators that are emptied for
// the next. What lasts are the counts, and per user short chains of links.
type Counter struct {
	window    Window
	channelOf ChannelOf
	size      int    // number of templates
	templates bitset // with any usage
	channels  []channelCount
	intervals []intervalCount
	users     []userCount
	subjects  map[int64]int32 // to the index in users
	links     []link          // the first is unused: 0 ends a chain
	calendar  calendar

	// Of the day:
	sources []Source[*Table]
	lookups [][]int32 // per source, kind and app: the channel
	blocks  []block   // the first is unused: 0 ends a chain
	today   []int32   // users, in the order of their appearance

	// Of the user:
	inTemplate halfHours // any activity in the template of the block
	inAny      halfHours // any activity in all of them
	inChannel  []halfHours
	touched    bitset // channels
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
	subject, minutes int64
	intervals        int32 // those up to the last with activity: its index plus one
	active           int32 // number of intervals with activity
	templates        int32 // chain of links
	channels         int32 // chain of links
	blocks           int32 // chain of blocks
}

// link is a template or a channel that a user used.
type link struct {
	key, next int32
	last      int32 // the half hour in which the channel was last used
	minutes   int32 // in the channel
}

// block is the rows of a user in one source.
type block struct {
	source   int32
	from, to int32
	next     int32
}

// unresolved is a lookup for which channelOf was not asked yet.
const unresolved = -3

// NewCounter returns a counter that has counted nothing. templates says how many there are. channelOf is asked once for each
// kind and app of a table that has usage in the window; it may go on to number channels while the counter runs.
func NewCounter(w Window, templates int, channelOf ChannelOf) *Counter {
	c := &Counter{
		window:    w,
		channelOf: channelOf,
		size:      templates,
		templates: bitsets(1, templates)[0],
		intervals: make([]intervalCount, len(w.Bounds)),
		subjects:  make(map[int64]int32),
		links:     make([]link, 1),
		calendar:  calendar{window: w},
	}
	for i, s := range bitsets(len(w.Bounds), templates) {
		c.intervals[i].templates = s
	}
	return c
}

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
	c.collect(sources)
	for _, u := range c.today {
		c.countUser(&c.users[u])
	}
	return nil
}

// collect finds the users of the day and chains the blocks of each.
func (c *Counter) collect(sources []Source[*Table]) {
	c.sources = sources
	c.lookups = c.lookups[:0]
	c.blocks = append(c.blocks[:0], block{})
	c.today = c.today[:0]
	for source, s := range sources {
		lookup := make([]int32, (int(Login)+1)*len(s.Table.apps))
		for i := range lookup {
			lookup[i] = unresolved
		}
		c.lookups = append(c.lookups, lookup)
		from := int32(0)
		for i, subject := range s.Table.subjects {
			at, known := c.subjects[subject]
			if !known {
				at = int32(len(c.users))
				c.users = append(c.users, userCount{subject: subject})
				c.subjects[subject] = at
			}
			u := &c.users[at]
			if u.blocks == 0 {
				c.today = append(c.today, at)
			}
			c.blocks = append(c.blocks, block{source: int32(source), from: from, to: s.Table.ends[i], next: u.blocks})
			u.blocks = int32(len(c.blocks) - 1)
			from = s.Table.ends[i]
		}
	}
}

// countUser counts the blocks of a user.
func (c *Counter) countUser(u *userCount) {
	for ; u.blocks != 0; u.blocks = c.blocks[u.blocks].next {
		b := c.blocks[u.blocks]
		c.gather(b)
		if c.inTemplate.used == 0 {
			continue
		}
		template := c.sources[b.source].Template
		c.templates.add(template)
		c.chained(&u.templates, int32(template))
		for i := range c.calendar.pieces {
			if p := &c.calendar.pieces[i]; c.inTemplate.meets(&p.masks) {
				c.intervals[p.interval].templates.add(template)
			}
		}
		c.inTemplate.unionInto(&c.inAny)
		c.inTemplate.drain()
	}
	for i := range c.calendar.pieces {
		if p := &c.calendar.pieces[i]; u.intervals <= int32(p.interval) && c.inAny.meets(&p.masks) {
			c.intervals[p.interval].users++
			u.active++
			u.intervals = int32(p.interval) + 1
		}
	}
	u.minutes += c.inAny.drain()
	// From the highest down: what lies within another channel goes into it before that one is counted.
	for i := len(c.touched) - 1; i >= 0; i-- {
		for c.touched[i] != 0 {
			bit := bits.Len64(c.touched[i]) - 1
			c.touched[i] &^= 1 << bit
			c.countChannel(u, int32(i*64+bit))
		}
	}
}

// gather unions the minutes of a block that are in the window and pass the gate: in its template and in the channels.
func (c *Counter) gather(b block) {
	t, lookup, to := c.sources[b.source].Table, c.lookups[b.source], int(b.to)
	halfHour, kinds, minutes := t.halfHour[:to], t.kind[:to], t.minutes[:to]
	var open uint64 // the half hours whose gate is open
	for i := int(b.from); i < to; i++ {
		open |= t.connectedBit(i) << halfHour[i]
	}
	for i := int(b.from); i < to; i++ {
		half, kind := halfHour[i], Kind(kinds[i])
		m := Mask(minutes[i]) & c.calendar.clip[half]
		if m == 0 || kind == Connection || kind == Session && open>>half&1 == 0 {
			continue
		}
		app := t.app(i)
		at := int(kind)*len(t.apps) + app
		if lookup[at] == unresolved {
			lookup[at] = c.resolve(c.sources[b.source].Template, kind, t.apps[app])
		}
		channel := lookup[at]
		if channel == Ignored {
			continue
		}
		c.inTemplate.add(half, m)
		if channel >= 0 {
			c.touched.add(int(channel))
			c.inChannel[channel].add(half, m)
		}
	}
}

// resolve looks up the channel of an app that is used in a template.
func (c *Counter) resolve(template int, kind Kind, app string) int32 {
	channel, within := c.channelOf(template, kind, app)
	if channel < 0 {
		return int32(channel)
	}
	c.provide(channel, within).templates.add(template)
	if within >= 0 {
		c.provide(within, NoChannel).templates.add(template)
	}
	return int32(channel)
}

// provide returns the count of a channel, which may be a new one.
func (c *Counter) provide(channel, within int) *channelCount {
	for len(c.channels) <= channel {
		c.channels = append(c.channels, channelCount{within: NoChannel, templates: bitsets(1, c.size)[0]})
		c.inChannel = append(c.inChannel, halfHours{})
	}
	for len(c.touched)*64 < len(c.channels) {
		c.touched = append(c.touched, 0)
	}
	if within >= 0 {
		c.channels[channel].within = int32(within)
	}
	return &c.channels[channel]
}

// countChannel counts the day of a user in a channel. A run of half hours with use that began the day before goes on.
func (c *Counter) countChannel(u *userCount, channel int32) {
	count, in, first := &c.channels[channel], &c.inChannel[channel], c.calendar.day*HalfHoursPerDay
	l, added := c.chained(&u.channels, channel)
	starts := in.used &^ (in.used << 1)
	if added {
		count.users++
	} else if l.last == first-1 {
		starts &^= 1
	}
	count.launches += int64(bits.OnesCount64(starts))
	l.last = first + int32(bits.Len64(in.used)) - 1
	if count.within >= 0 {
		c.touched.add(int(count.within))
		in.unionInto(&c.inChannel[count.within])
	}
	minutes := in.drain()
	count.minutes += minutes
	l.minutes += int32(minutes)
}

// chained returns the link of a key in a chain, and whether it had to be added.
func (c *Counter) chained(chain *int32, key int32) (l *link, added bool) {
	for i := *chain; i != 0; i = c.links[i].next {
		if c.links[i].key == key {
			return &c.links[i], false
		}
	}
	c.links = append(c.links, link{key: key, next: *chain})
	*chain = int32(len(c.links) - 1)
	return &c.links[*chain], true
}
