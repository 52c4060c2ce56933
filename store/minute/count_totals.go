package minute

// total is how a source counts whose people are counted together.
type total struct {
	told  bool    // it counts so
	named bool    // some of its channels are those whose users are asked for
	codes []int32 // channel by code; NoChannel: only people apart used it
}

// apart is minutes of an app that are in the totals of a source, and do not belong to the question.
type apart struct {
	source  int32
	code    uint32
	minutes int32
}

// together reports whether people may be counted together at all: nothing is asked of each.
func (c *Counter) together() bool { return !c.users && !c.atOnce }

// isApart reports whether the total of a source has the day of a person otherwise than the question, or not at all: where the population
// leaves him out, where an edge of the window or of an interval cuts his half hours, or he is in part outside of the window.
func (l *lane) isApart(b *block, p *presence) bool {
	s, c := l.sources[b.source].Table.sums, &l.of.calendar
	if s == nil || !l.of.together() {
		return true
	}
	d := &s.days[b.blocks.to-1]
	if d.alone || !p.out && d.used&c.cut == 0 && d.used&^c.whole == 0 {
		return d.alone
	}
	for _, a := range s.appsOf(b.blocks.to - 1) {
		l.apart = append(l.apart, apart{b.source, a.code, int32(a.minutes)})
	}
	return true
}

// addTotals adds what the people of each source did together, where its total tells.
func (c *Counter) addTotals(sources []Source[*Table]) {
	c.totals, c.codes = append(c.totals[:0], make([]total, len(sources))...), c.codes[:0]
	if !c.together() {
		return
	}
	for i, s := range sources {
		if s.Table.sums != nil {
			c.totals[i] = c.totalOf(int32(i), s.Table)
		}
		if c.totals[i].told {
			c.lanes[0].addTotal(s.Table.sums.totals, c.totals[i].codes)
		}
	}
}

// totalOf says how a source counts. Its total does not tell where an app is ignored, and where a channel has apps of which it has no sets.
func (c *Counter) totalOf(source int32, t *Table) (of total) {
	from := len(c.codes)
	c.codes = append(c.codes, make([]int32, t.codes())...)
	of.codes = c.codes[from:]
	minutes := c.minutesOf(source, t)
	defer c.disown()
	for _, a := range t.sums.totals[1:] {
		if a.rest != 0 {
			continue
		}
		of.codes[a.code] = NoChannel
		if minutes[a.code] == 0 {
			continue
		}
		channel := c.resolve(source, a.code)
		if channel == Ignored {
			return total{}
		}
		of.codes[a.code] = channel
		for channels := c.lanes[0].channels; channel >= 0; channel = channels[channel].within {
			if !c.own(channel, t.setClass(a.code)) {
				return total{}
			}
			of.named = of.named || channels[channel].named
		}
	}
	of.told = true
	return of
}

// minutesOf returns the minutes of each code in the total of a source, without those that are apart.
func (c *Counter) minutesOf(source int32, t *Table) []int32 {
	c.minutes = append(c.minutes[:0], make([]int32, t.codes())...)
	for _, a := range t.sums.totals[1:] {
		if a.rest == 0 {
			c.minutes[a.code] = a.minutes
		}
	}
	for i := range c.lanes {
		l := &c.lanes[i]
		for ; l.parted < len(l.apart) && l.apart[l.parted].source == source; l.parted++ {
			c.minutes[l.apart[l.parted].code] -= l.apart[l.parted].minutes
		}
	}
	return c.minutes
}

// resolve returns the channel of a code of a source, and lets all lanes know it.
func (c *Counter) resolve(source int32, code uint32) (channel int32) {
	for i := range c.lanes {
		channel = c.lanes[i].channel(&c.lanes[i].shown, source, code)
	}
	return channel
}

// own notes that a channel has apps of a class of sets, and reports whether it has no others.
func (c *Counter) own(channel int32, class uint32) bool {
	for len(c.classes) <= int(channel) {
		c.classes = append(c.classes, 0)
	}
	if c.classes[channel] == 0 {
		c.classes[channel] = class
		c.owned = append(c.owned, channel)
	}
	return c.classes[channel] == class
}

// disown forgets the classes of channels.
func (c *Counter) disown() {
	for _, channel := range c.owned {
		c.classes[channel] = 0
	}
	c.owned = c.owned[:0]
}

// addTotal adds a total to the channels that it means.
func (l *lane) addTotal(totals []setTotal, codes []int32) {
	l.ofSets = append(l.ofSets[:0], NoChannel)
	for i := range totals[1:] {
		t := &totals[i+1]
		channel := codes[t.code]
		if t.rest != 0 {
			channel = l.common(channel, l.ofSets[t.rest])
		}
		l.ofSets = append(l.ofSets, channel)
		for ; channel >= 0; channel = l.channels[channel].within {
			l.channels[channel].minutes += int64(t.minutes)
			l.channels[channel].launches += int64(t.launches)
		}
	}
}

// common returns the highest channel that each of two is or lies within.
func (l *lane) common(a, b int32) int32 {
	for a != b && a >= 0 && b >= 0 {
		if a > b {
			a = l.channels[a].within
		} else {
			b = l.channels[b].within
		}
	}
	return min(a, b)
}

// met is a user with one block of days in a source, that of a person at the last seat.
type met struct{ user, source, block int32 }

// nobody is who was met, and met again.
const nobody = -1

// meet finds the lane's users of a source with sums.
func (l *lane) meet(source int, walk *walk) {
	t, c := l.sources[source].Table, &l.of.calendar
	from, _ := t.of(l.share.first)
	_, end := t.of(l.share.last)
	for block := from; block < end; block++ {
		d := &t.sums.days[block]
		if d.used == 0 {
			continue // another seat, or nothing that counts
		}
		person := PersonOf(t.subjects[block])
		as := person
		if len(l.of.population.CountedAs) > 0 {
			if as = l.of.population.As(person); !l.share.has(as) {
				continue
			}
		}
		n := walk.number(person)
		l.know(n, as)
		p := &l.presences[n]
		if p.met|p.blocks != 0 || p.out || d.alone || d.used&c.cut != 0 || d.used&^c.whole != 0 {
			l.chain(n, source, t.upTo(int32(block)))
			continue
		}
		l.met = append(l.met, met{n, int32(source), int32(block)})
		p.met = int32(len(l.met))
	}
}

// countMet counts whom only one total tells of. Whose does not is chained.
func (l *lane) countMet() {
	for i := range l.met {
		m := &l.met[i]
		if m.user == nobody {
			continue
		}
		l.presences[m.user].met = 0
		if l.of.totals[m.source].told {
			l.countIntervals(m.user, l.sources[m.source].Table.sums.days[m.block].used)
			l.countDay(m.user, m.source, m.block)
		} else {
			l.chain(m.user, int(m.source), l.sources[m.source].Table.upTo(m.block))
		}
	}
}

// joinTotals counts whom several totals tell of. It takes the others out of the totals and returns them.
func (l *lane) joinTotals() (apart []int32) {
	if !l.of.together() {
		return l.today
	}
	apart = l.today[:0]
	for _, n := range l.today {
		if l.join(n) {
			continue
		}
		for i := l.presences[n].blocks; i != 0; i = l.blocks[i].next {
			if b := &l.blocks[i]; l.of.totals[b.source].told {
				l.takeOut(b)
			}
		}
		apart = append(apart, n)
	}
	return apart
}

// join counts a user of whom several totals tell, who used one template after the other. It reports false, and has counted nothing, where
// they do not. Runs of half hours that go on in another template were counted as launches in both.
func (l *lane) join(n int32) bool {
	all := uint64(0)
	for i := l.presences[n].blocks; i != 0; i = l.blocks[i].next {
		b := &l.blocks[i]
		if b.apart || !l.of.totals[b.source].told || l.usedBy(b)&all != 0 {
			return false
		}
		all |= l.usedBy(b)
	}
	first := l.presences[n].blocks
	l.presences[n].blocks = 0
	l.countIntervals(n, all)
	for i := first; i != 0; i = l.blocks[i].next {
		b := &l.blocks[i]
		l.countDay(n, b.source, b.blocks.to-1)
		for _, a := range l.sources[b.source].Table.sums.appsOf(b.blocks.to - 1) {
			for channel := l.of.totals[b.source].codes[a.code]; channel >= 0; channel = l.channels[channel].within {
				if l.sums[channel].used == 0 {
					l.summedIn = append(l.summedIn, channel)
				}
				l.sums[channel].used |= a.used
			}
		}
	}
	for _, channel := range l.summedIn {
		of := l.sums[channel]
		l.sums[channel] = channelUse{}
		l.channels[channel].launches += of.launches()
		for i := first; i != 0; i = l.blocks[i].next {
			in := channelUse{used: of.used & l.usedBy(&l.blocks[i])}
			l.channels[channel].launches -= in.launches()
		}
	}
	l.summedIn = l.summedIn[:0]
	return true
}

// usedBy returns the half hours with usage of a block that has sums.
func (l *lane) usedBy(b *block) uint64 {
	return l.sources[b.source].Table.sums.days[b.blocks.to-1].used
}

// countIntervals counts a user in the intervals of all half hours with use on the day.
func (l *lane) countIntervals(n int32, used uint64) {
	for i := range l.of.calendar.pieces {
		if p := &l.of.calendar.pieces[i]; used&p.whole != 0 {
			l.countInterval(n, p.interval)
		}
	}
}

// countDay counts a user in a source on a day, but for what the total tells and the intervals.
func (l *lane) countDay(n, source, block int32) {
	s, of := l.sources[source].Table.sums, &l.of.totals[source]
	used := s.days[block].used
	if used == 0 {
		return
	}
	l.usedIn[source] |= used
	l.usesTemplate(n, source)
	l.presences[n].reached = max(l.presences[n].reached, 1)
	if used&midnight == 0 && !of.named {
		return
	}
	for _, a := range s.appsOf(block) {
		for channel := of.codes[a.code]; channel >= 0; channel = l.channels[channel].within {
			count := &l.channels[channel]
			count.overMidnight(n, a.used)
			if count.named {
				count.usersOf.put(int(n))
			}
		}
	}
}

// takeOut takes the day of a user out of the total of a source, if it is in there.
func (l *lane) takeOut(b *block) {
	d := summedDay{sums: l.sources[b.source].Table.sums, source: b.source, block: b.blocks.to - 1}
	if d.days[d.block].alone {
		return
	}
	if l.inTotal.codes == nil {
		l.inTotal.ofTotals(l.of.totals, l.sources)
	}
	l.addChannels(&l.inTotal, &d)
	for _, channel := range l.summedIn {
		of := &l.sums[channel]
		l.channels[channel].minutes -= of.minutes
		l.channels[channel].launches -= of.launches()
		*of = channelUse{}
	}
	l.summedIn = l.summedIn[:0]
}
