package minute

import "math/bits"

// summedSeat is the day of a person in a source, as sums tell it.
type summedSeat struct {
	*sums

	source, block int32
	subject       int64   // at a seat; what dimensions and filters say of it holds at all of them
	values        CellKey // of the seats and of the day
}

// summedCell is a cell that some of the apps of a summed seat go into: a bit for each.
type summedCell struct {
	slot int32
	apps uint32
}

// daySpan is the half hours of a day that have a value with all their minutes.
type daySpan struct {
	value     int64
	halfHours uint64
}

// addSums gathers the day of a person from sums. It reports false, and has gathered nothing, where rows have to tell: of half hours that
// an edge of the window, of an interval or of a filter cuts, or that have different values; of seats that have different values; of those
// who used two templates in a half hour; and where there are no sums.
func (l *cubeLane) addSums(p *cubePerson) bool {
	if !l.of.ofDays {
		return false
	}
	l.summed = l.summed[:0]
	all := uint64(0)
	for i := p.blocks; i != 0; i = l.blocks[i].next {
		b := &l.blocks[i]
		d := summedSeat{sums: l.sources[b.source].Table.sums, source: b.source, block: b.blocks.to - 1}
		if d.sums == nil {
			return false
		}
		used := d.days[d.block].used
		if used&(l.of.whole|l.of.split) == 0 {
			continue
		}
		if used&l.of.split != 0 || used&^l.of.whole != 0 || used&all != 0 || len(d.appsOf(d.block)) == 0 {
			return false
		}
		all |= used
		if !l.lookAtDay(used) {
			return false
		}
		passes, same := l.lookAtSeats(&d, b.blocks)
		if !same {
			return false
		}
		if passes {
			l.summed = append(l.summed, d)
		}
	}
	p.blocks = 0
	for i := range l.summed {
		l.spreadSums(&l.summed[i])
	}
	return true
}

// lookAtSeats reports whether seats pass the filters, and whether dimensions and filters say the same of all of them.
func (l *cubeLane) lookAtSeats(d *summedSeat, blocks span) (passes, same bool) {
	subjects := l.sources[d.source].Table.subjects[blocks.from:blocks.to]
	if len(subjects) > 1 && l.of.cut.WorkspaceOf != nil {
		return false, false
	}
	for i, subject := range subjects {
		switch in := l.look(subject); {
		case i == 0:
			passes, d.subject, d.values = in, subject, l.values
		case in != passes || in && l.values != d.values:
			return false, false
		}
	}
	return passes, true
}

// lookAtDay turns to the values that half hours with use have in dimensions of minutes, and reports whether each has one.
func (l *cubeLane) lookAtDay(used uint64) bool {
	for i := range l.of.cut.Dimensions {
		if of := &l.of.cut.Dimensions[i]; of.OfTemplate != nil || of.OfUse != nil || of.OfSubject != nil {
			continue
		}
		spans, at := l.of.spans[i], 0
		for at < len(spans) && used&^spans[at].halfHours != 0 {
			at++
		}
		if at == len(spans) {
			return false
		}
		l.values[i] = spans[at].value
	}
	return true
}

// spreadSums adds the use of apps to the whole and to the cells whose values they have.
func (l *cubeLane) spreadSums(d *summedSeat) {
	l.subject = d.subject
	apps, cells := d.appsOf(d.block), l.summedIn[:0]
	cells = append(cells, summedCell{slot: l.slotOf(0)})
	for i := range apps {
		use := l.use(d.source, apps[i].code)
		if !use.passes {
			continue
		}
		l.addUse(&cells[0], i, &apps[i])
		key, has := l.keyOf(d, use)
		if !has {
			continue
		}
		slot, at := l.slotFor(key), 1
		for at < len(cells) && cells[at].slot != slot {
			at++
		}
		if at == len(cells) {
			cells = append(cells, summedCell{slot: slot})
		}
		l.addUse(&cells[at], i, &apps[i])
	}
	for _, o := range d.sharedOf(d.block) {
		at := uint32(0)
		for set := o.set; set != 0; set = d.sets[set].rest {
			for i := range apps {
				if apps[i].code == d.sets[set].code {
					at |= 1 << i
				}
			}
		}
		for i := range cells {
			if n := bits.OnesCount32(at & cells[i].apps); n > 1 { // its minutes were added once for each
				l.slots[cells[i].slot].summed.minutes -= int64(n-1) * int64(o.minutes)
			}
		}
	}
	l.summedIn = cells
}

// addUse adds the use of an app to a cell.
func (l *cubeLane) addUse(c *summedCell, app int, of *appSum) {
	c.apps |= 1 << app
	s := &l.slots[c.slot]
	s.summed.used |= of.used
	s.summed.minutes += int64(of.minutes)
	l.visit(s)
}

// keyOf returns the values of a use, and whether it has one in each dimension. Of no dimensions there is nothing but the whole.
func (l *cubeLane) keyOf(d *summedSeat, use *useView) (key CellKey, has bool) {
	key = Whole
	for i := range l.of.cut.Dimensions {
		if of := &l.of.cut.Dimensions[i]; of.OfTemplate != nil || of.OfUse != nil {
			key[i] = use.values[i]
		} else {
			key[i] = d.values[i]
		}
		if key[i] == NoValue {
			return key, false
		}
	}
	return key, len(l.of.cut.Dimensions) > 0
}
