package minute

import (
	"cmp"
	"math/bits"
	"slices"
)

// Tally is what a Counter found in its window. Templates are the caller's indexes, ascending.
type Tally struct {
	// Templates are those with any usage.
	Templates []int
	// ActiveUsers is the number of distinct users with any usage.
	ActiveUsers int
	// Users are these users, ordered by person. Nil unless the counter was asked for it.
	Users []UserTally
	// Channels has an entry for each channel up to the last that was used.
	Channels []ChannelTally
	// UsersIn is, of each channel that the counter was asked for and that was used, how many of its users used each template in
	// whichever way.
	UsersIn map[int][]int
	// Intervals has an entry for each interval of the window, used or not.
	Intervals []IntervalTally
	// Peaks has an entry for each quarter of an hour from the one in which the window starts to the one in which it ends: the
	// greatest number of users with any activity in one minute. Nil unless the counter was asked for it.
	Peaks []int32
	// Estimated is whether some of the usage was estimated, not measured.
	Estimated bool
	// Others has an entry for each actor that the population leaves out and that was active, in their order.
	Others []OtherTally
}

// OtherTally is the usage of the persons of one actor that is left out.
type OtherTally struct {
	// Actor is what these persons are.
	Actor Actor
	// People are those with any usage, ascending.
	People []int64
	// Minutes are those with any activity of each, in whichever templates, added up.
	Minutes int64
}

// UserTally is the usage of one user.
type UserTally struct {
	// Person stands for the user.
	Person int64
	// Minutes are those with any activity, in whichever templates.
	Minutes int64
	// Templates are those that the user used.
	Templates []int
	// Intervals is the number of intervals with any activity.
	Intervals int
	// Channels are those that the user used, ascending.
	Channels []UserChannel
	// IntervalMinutes are those with any activity in each interval that has any, oldest first. Nil unless the counter was asked
	// for it.
	IntervalMinutes []int64
}

// UserChannel is the usage of one channel by one user.
type UserChannel struct {
	// Channel is the number that ChannelOf gave.
	Channel int
	// Minutes are those with use.
	Minutes int64
}

// ChannelTally is the usage of one channel: an entry of the answer, for one or several apps.
type ChannelTally struct {
	// Minutes are those with use, added up over the users.
	Minutes int64
	// Launches are the runs of consecutive half hours with use, added up over the users.
	Launches int64
	// Users is the number of distinct users. 0 unless the counter was asked for it.
	Users int
	// Templates are those in which it was used.
	Templates []int
}

// IntervalTally is the usage in one interval.
type IntervalTally struct {
	// Start and End are in minutes since the Unix epoch: Start <= m < End.
	Start, End int64
	// ActiveUsers is the number of distinct users with any activity.
	ActiveUsers int
	// Templates are those with any activity.
	Templates []int
}

// Tally returns what was counted so far.
func (c *Counter) Tally() Tally {
	channels := 0
	for _, l := range c.lanes {
		channels = max(channels, len(l.channels))
	}
	t := Tally{Channels: make([]ChannelTally, channels), Intervals: make([]IntervalTally, len(c.window.Bounds)), Peaks: c.peaks}
	of, inChannel, inInterval := bitsets(1, c.size)[0], bitsets(channels, c.size), bitsets(len(t.Intervals), c.size)
	for _, l := range c.lanes {
		t.Estimated = t.Estimated || l.estimated
		of.union(l.templates)
		for i, ch := range l.channels {
			to := &t.Channels[i]
			to.Minutes, to.Launches, to.Users = to.Minutes+ch.minutes, to.Launches+ch.launches, to.Users+ch.users
			inChannel[i].union(ch.templates)
		}
		for i, in := range l.intervals {
			t.Intervals[i].ActiveUsers += in.users
			inInterval[i].union(in.templates)
		}
	}
	t.Templates = of.list()
	for i := range t.Channels {
		t.Channels[i].Templates = inChannel[i].list()
	}
	for i := range t.Intervals {
		t.Intervals[i].Start, t.Intervals[i].End = c.window.interval(i)
		t.Intervals[i].Templates = inInterval[i].list()
	}
	if c.usersOf != nil {
		t.UsersIn = map[int][]int{}
	}
	for i := range c.lanes {
		c.lanes[i].addUsersOf(&t)
		for _, p := range c.lanes[i].presences {
			if p.reached > 0 {
				t.ActiveUsers++
			}
		}
	}
	if c.users {
		t.Users = c.userTallies()
	}
	t.Others = c.others()
	return t
}

// addUsersOf adds the users of channels that are asked for, if not all are.
func (l *lane) addUsersOf(t *Tally) {
	for channel := range l.channels {
		users := l.channels[channel].usersOf
		if len(users) == 0 {
			continue
		}
		if !l.of.users {
			t.Channels[channel].Users += users.count()
		}
		in := t.UsersIn[channel]
		if in == nil {
			in = make([]int, l.of.size)
			t.UsersIn[channel] = in
		}
		for template, active := range l.usersIn {
			in[template] += active.countIn(users)
		}
	}
}

// userTallies returns the tallies of all users. Their lists lie in one piece of memory.
func (c *Counter) userTallies() []UserTally {
	links, users, active := 0, 0, 0
	for _, l := range c.lanes {
		links, users = links+len(l.links), users+len(l.users)
		for i := range l.users {
			if c.intervalMinutes {
				active += int(l.users[i].active)
			}
		}
	}
	links -= active // of templates and channels alone
	templates, used, inIntervals := make([]int, 0, links), make([]UserChannel, 0, links), make([]int64, 0, active)
	tallies := make([]UserTally, 0, users)
	for i := range c.lanes {
		l := &c.lanes[i]
		for _, j := range l.ascending() {
			if u := &l.users[j]; u.minutes > 0 && c.population.Counted.Has(u.actor) {
				templates, used = l.appendTemplates(templates[len(templates):], u), l.appendChannels(used[len(used):], u)
				inIntervals = l.appendIntervalMinutes(inIntervals[len(inIntervals):], u)
				tallies = append(tallies, UserTally{
					Person: u.person, Minutes: u.minutes, Templates: slices.Clip(templates), Intervals: int(u.active),
					Channels: slices.Clip(used), IntervalMinutes: slices.Clip(inIntervals),
				})
			}
		}
	}
	return tallies
}

// ascending returns the indexes of the lane's users, ordered by person. All persons of the next lane come after them.
func (l *lane) ascending() []int32 {
	order := make([]int32, len(l.users))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(l.users[a].person, l.users[b].person) })
	return order
}

// others adds up who is left out over the lanes.
func (c *Counter) others() (others []OtherTally) {
	for _, a := range c.population.Counted.Others().List() {
		of := OtherTally{Actor: a}
		for _, l := range c.lanes {
			for _, u := range l.users {
				if u.actor == a && u.minutes > 0 {
					of.People, of.Minutes = append(of.People, u.person), of.Minutes+u.minutes
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

// appendTemplates appends the templates of a user to an empty list, ascending.
func (l *lane) appendTemplates(out []int, u *userCount) []int {
	for i := u.templates; i != 0; i = l.links[i].next {
		out = append(out, int(l.links[i].key))
	}
	slices.Sort(out)
	return out
}

// appendChannels appends the channels of a user to an empty list, ascending.
func (l *lane) appendChannels(out []UserChannel, u *userCount) []UserChannel {
	for i := u.channels; i != 0; i = l.links[i].next {
		out = append(out, UserChannel{int(l.links[i].key), int64(l.links[i].minutes)})
	}
	slices.SortFunc(out, func(a, b UserChannel) int { return cmp.Compare(a.Channel, b.Channel) })
	return out
}

// appendIntervalMinutes appends the minutes of a user in each interval that has any to an empty list, oldest first.
func (l *lane) appendIntervalMinutes(out []int64, u *userCount) []int64 {
	for i := u.inIntervals; i != 0; i = l.links[i].next {
		out = append(out, int64(l.links[i].minutes))
	}
	slices.Reverse(out)
	return out
}

// bitset is a set of small numbers.
type bitset []uint64

// bitsets returns n empty sets of numbers below size, in one piece of memory.
func bitsets(n, size int) []bitset {
	words := (size + 63) / 64
	all, sets := make(bitset, n*words), make([]bitset, n)
	for i := range sets {
		sets[i] = all[i*words : (i+1)*words]
	}
	return sets
}

func (s bitset) has(i int) bool { return s[i>>6]>>(i&63)&1 != 0 }
func (s bitset) add(i int)      { s[i>>6] |= 1 << (i & 63) }

// put adds a number to a set that grows for it.
func (s *bitset) put(i int) {
	if words := i>>6 + 1; words > len(*s) {
		*s = append(*s, make(bitset, words-len(*s))...)
	}
	s.add(i)
}

// take takes a number out of a set that may be too small for it, and reports whether it was there.
func (s bitset) take(i int) bool {
	if i>>6 >= len(s) || !s.has(i) {
		return false
	}
	s[i>>6] &^= 1 << (i & 63)
	return true
}

// count returns how many numbers there are.
func (s bitset) count() (n int) { return s.countIn(s) }

// countIn returns how many of the numbers are in another set.
func (s bitset) countIn(other bitset) (n int) {
	for i := range min(len(s), len(other)) {
		n += bits.OnesCount64(s[i] & other[i])
	}
	return n
}

// union adds the numbers of another set for the same size.
func (s bitset) union(other bitset) {
	for i, word := range other {
		s[i] |= word
	}
}

// list returns the numbers in the set, ascending.
func (s bitset) list() []int {
	var out []int
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			out = append(out, i*64+bits.TrailingZeros64(word))
		}
	}
	return out
}
