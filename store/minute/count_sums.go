package minute

import "slices"

// meaning is what rows mean for those who are shown, or for those who are left out.
type meaning struct {
	shown bool
	known lookups

	// Of the day; codes are nil before anybody comes:
	codes   [][]int32      // per source and code of a row: the channel
	sets    [][]setMeaning // per source, of the sets of apps of its sums
	surplus []surplus      // of the sets
	room    []setMeaning
}

// setMeaning is what it means when the apps of a set are used at once.
type setMeaning struct {
	resolved bool
	surplus  span
}

// surplus is how many apps of a set a channel has beyond the first: so often minutes of it were added too much.
type surplus struct{ channel, apps int32 }

// of begins a day.
func (m *meaning) of(sources []Source[*Table]) {
	m.codes = m.known.of(sources)
	m.forget(sources)
}

// ofTotals begins a day of totals.
func (m *meaning) ofTotals(totals []total, sources []Source[*Table]) {
	m.codes = make([][]int32, len(totals))
	for i := range totals {
		m.codes[i] = totals[i].codes
	}
	m.forget(sources)
}

// forget makes room for the sets of the sources, of which nothing is known yet.
func (m *meaning) forget(sources []Source[*Table]) {
	m.sets, m.surplus = m.sets[:0], m.surplus[:0]
	sets := 0
	for _, s := range sources {
		sets += s.Table.sums.setCount()
	}
	m.room = slices.Grow(m.room[:0], sets)[:sets]
	clear(m.room)
	all := m.room
	for _, s := range sources {
		n := s.Table.sums.setCount()
		m.sets, all = append(m.sets, all[:n]), all[n:]
	}
}

// setCount returns the number of sets.
func (s *sums) setCount() int {
	if s == nil {
		return 0
	}
	return len(s.sets)
}

// surplusOf returns what a set of a source adds too much to channels, all of whose apps are resolved.
func (l *lane) surplusOf(m *meaning, source int32, set uint32) []surplus {
	of := &m.sets[source][set]
	if !of.resolved {
		of.resolved, of.surplus.from = true, int32(len(m.surplus))
		for sets := l.sources[source].Table.sums.sets; set != 0; set = sets[set].rest {
			for c := m.codes[source][sets[set].code]; c >= 0; c = l.channels[c].within {
				m.surplus = countApp(m.surplus, int(of.surplus.from), c)
			}
		}
		found := slices.DeleteFunc(m.surplus[of.surplus.from:], func(s surplus) bool { return s.apps == 0 })
		m.surplus = m.surplus[:int(of.surplus.from)+len(found)]
		of.surplus.to = int32(len(m.surplus))
	}
	return m.surplus[of.surplus.from:of.surplus.to]
}

// countApp counts an app of a channel in a list from a place on. The first adds nothing too much.
func countApp(list []surplus, from int, channel int32) []surplus {
	for i := from; i < len(list); i++ {
		if list[i].channel == channel {
			list[i].apps++
			return list
		}
	}
	return append(list, surplus{channel, 0})
}

// summedDay is the sum of a user's day in a source.
type summedDay struct {
	*sums

	used          uint64
	source, block int32
}

// addSum counts the day of a user from sums. It reports false, and has counted nothing, where rows have to tell.
func (l *lane) addSum(n int32) bool {
	if !l.sumsTell(n, &l.shown) {
		return false
	}
	for i := range l.of.calendar.pieces {
		l.addPiece(n, &l.of.calendar.pieces[i])
	}
	for i := range l.summed {
		d := &l.summed[i]
		l.usedIn[d.source] |= d.used
		l.presences[n].reached = max(l.presences[n].reached, 1)
		l.usesTemplate(n, d.source)
		l.users[n].minutes += d.total(d.block)
		if len(l.channels) > 0 {
			l.addChannels(&l.shown, d)
		}
	}
	for _, channel := range l.summedIn {
		l.countUse(n, channel, l.sums[channel])
		l.sums[channel] = channelUse{}
	}
	l.summedIn = l.summedIn[:0]
	return true
}

// addPiece counts a user whose day is added from sums in a part of an interval.
func (l *lane) addPiece(n int32, p *piece) {
	for i := range l.summed {
		d := &l.summed[i]
		if d.used&p.whole == 0 {
			continue
		}
		l.countInterval(n, p.interval)
		if l.of.intervalMinutes {
			l.addIntervalMinutes(&l.users[n], p.interval, d.minutes(d.block, p.whole))
		}
	}
}

// addChannels adds a sum to the use of channels.
func (l *lane) addChannels(m *meaning, d *summedDay) {
	apps, codes := d.appsOf(d.block), m.codes[d.source]
	for i := range apps {
		for channel := codes[apps[i].code]; channel >= 0; channel = l.channels[channel].within {
			of := &l.sums[channel]
			if of.used == 0 {
				l.summedIn = append(l.summedIn, channel)
			}
			of.used |= apps[i].used
			of.minutes += int64(apps[i].minutes)
		}
	}
	shared, sets := d.sharedOf(d.block), m.sets[d.source]
	for i := range shared {
		if of := &sets[shared[i].set]; of.resolved && of.surplus.from == of.surplus.to {
			continue // most sets have one app of each channel
		}
		for _, s := range l.surplusOf(m, d.source, shared[i].set) {
			l.sums[s.channel].minutes -= int64(s.apps) * int64(shared[i].minutes)
		}
	}
}

// addOtherSum counts the day of a person who is left out from sums, and reports false where rows have to tell.
func (l *lane) addOtherSum(n int32) bool {
	if !l.sumsTell(n, &l.others) {
		return false
	}
	for _, d := range l.summed {
		l.users[n].minutes += d.total(d.block)
	}
	return true
}

// sumsTell reports whether sums tell of a user's day what is asked, and lists the blocks that have activity in the window then. Rows tell
// of users at once, of those who used two templates in a half hour, of those in whose half hours there is an edge of the window or of an
// interval, and where the window or the question has a part of what was used in a template.
func (l *lane) sumsTell(n int32, m *meaning) bool {
	l.summed = l.summed[:0]
	if l.atOnce != nil {
		return false
	}
	c, all := &l.of.calendar, uint64(0)
	for i := l.presences[n].blocks; i != 0; {
		b := &l.blocks[i]
		i = b.next
		d := summedDay{sums: l.sources[b.source].Table.sums, source: b.source, block: b.blocks.to - 1}
		if d.sums == nil {
			return false
		}
		if d.used = d.days[d.block].used; d.used&(c.whole|c.cut) == 0 {
			continue
		}
		if d.used&c.cut != 0 || d.used&^c.whole != 0 {
			return false
		}
		active, ignored := l.activity(m, &d)
		switch {
		case active && (ignored || d.used&all != 0):
			return false
		case active:
			l.summed, all = append(l.summed, d), all|d.used
		case !ignored:
			return false // there are no apps
		}
	}
	l.presences[n].blocks = 0
	return true
}

// activity reports whether there is activity in a sum, and whether there is some that is ignored.
func (l *lane) activity(m *meaning, d *summedDay) (active, ignored bool) {
	apps, codes := d.appsOf(d.block), m.codes[d.source]
	for i := range apps {
		channel := codes[apps[i].code]
		if channel == unresolved {
			channel = l.channel(m, d.source, apps[i].code)
		}
		active, ignored = active || channel != Ignored, ignored || channel == Ignored
	}
	return active, ignored
}

// tellTemplates notes the templates of a day that is added from sums.
func (l *lane) tellTemplates() {
	for i, used := range l.usedIn {
		if used == 0 {
			continue
		}
		l.templates.add(l.sources[i].Template)
		for j := range l.of.calendar.pieces {
			if p := &l.of.calendar.pieces[j]; used&p.whole != 0 {
				l.intervals[p.interval].templates.add(l.sources[i].Template)
			}
		}
	}
}
