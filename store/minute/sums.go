package minute

import (
	"math/bits"
	"slices"
)

// sums is what a usage table says of whole days, whatever is asked: for each person, over all seats, behind the gate and with the
// estimates that count.
type sums struct {
	days    []sumStart // by block, that of a person at the last seat; one more ends the last
	running []uint16   // minutes of a person with usage until the end of each half hour that has any
	apps    []appSum
	shared  []overlap
	sets    []appSet // the first is empty

	totals []setTotal // of all people together; the first is of no apps
}

// sumStart is where the sum of a person begins.
type sumStart struct {
	used                  uint64 // the half hours that have usage
	running, apps, shared int32  // the first of each; no apps: rows have to tell
	alone                 bool   // the totals are without the person
}

// appSum is the use of one app of one kind.
type appSum struct {
	used    uint64 // the half hours that have any
	code    uint32
	minutes uint16
}

// overlap is the minutes of a day in which a person used the apps of a set, two or more, at once, and no others.
type overlap struct {
	set     uint32
	minutes uint16
}

// appSet is apps, each of one kind, by their codes: those of another set, which comes before this one, and one more.
type appSet struct{ rest, code uint32 }

// maxApps bounds the apps and the overlaps of a person's day, of which nearly everybody has a few.
const maxApps = 32

// appsOf returns what the person of a block used.
func (s *sums) appsOf(block int32) []appSum { return s.apps[s.days[block].apps:s.days[block+1].apps] }

// sharedOf returns the overlaps of it.
func (s *sums) sharedOf(block int32) []overlap {
	return s.shared[s.days[block].shared:s.days[block+1].shared]
}

// minutes returns how many minutes with usage of a person there are in half hours that follow one another.
func (s *sums) minutes(block int32, halfHours uint64) int64 {
	d := &s.days[block]
	in := bits.OnesCount64(d.used & halfHours)
	if in == 0 {
		return 0
	}
	before := bits.OnesCount64(d.used & (halfHours&-halfHours - 1))
	minutes := s.running[int(d.running)+before+in-1]
	if before > 0 {
		minutes -= s.running[int(d.running)+before-1]
	}
	return int64(minutes)
}

// total returns how many minutes with usage the person of a block has.
func (s *sums) total(block int32) int64 {
	if end := s.days[block+1].running; end > s.days[block].running {
		return int64(s.running[end-1])
	}
	return 0
}

// size is about how much memory the sums hold.
func (s *sums) size() int {
	if s == nil {
		return 0
	}
	return 24*cap(s.days) + 2*cap(s.running) + 16*cap(s.apps) + 8*cap(s.shared) + 8*cap(s.sets) + 16*cap(s.totals)
}

// Sum adds up the day of each person, so that counters need not look at rows where a whole day is asked for. It is for a table that
// is kept, to be counted again and again; nobody else may use the table meanwhile.
func (t *Table) Sum() {
	s := &summing{
		Table: t, sums: &sums{days: make([]sumStart, 0, len(t.subjects)+1), sets: make([]appSet, 1), totals: make([]setTotal, 1)},
		of: make([]int32, t.codes()), sets: map[appSet]uint32{}, numbers: map[appSet]uint32{},
	}
	for _, blocks := range t.people() {
		for range blocks.to - blocks.from - 1 {
			s.begin(0) // the other seats
		}
		s.add(t.rowsOf(blocks))
	}
	s.begin(0)
	// Kept for long, so without the room that growing left.
	s.running, s.sums.apps, s.shared = slices.Clone(s.running), slices.Clone(s.sums.apps), slices.Clone(s.shared)
	s.totals = slices.Clone(s.totals)
	t.sums = s.sums
}

// summing is how sums come about. Its accumulators are empty between two persons.
type summing struct {
	*Table
	*sums

	any   halfHours
	of    []int32 // by code, the number of what the person used, counted from 1
	codes []uint32
	inApp []halfHours // by number
	at    []together
	sets  map[appSet]uint32
	inSet []uint32

	sessions []int             // which of the apps of a person
	numbers  map[appSet]uint32 // of totals, by that of the rest and the app
}

// together is an overlap in the making. Its apps are a bit for each number.
type together struct {
	apps    uint32
	minutes int
}

// add appends the sum of a person.
func (s *summing) add(rows span) {
	for i := rows.from; i < rows.to; i++ {
		code, half, m := s.code[i], s.halfHour[i], Mask(s.Table.minutes[i])
		if code == noUsage || m == 0 {
			continue
		}
		if s.of[code] == 0 {
			s.codes = append(s.codes, code)
			s.of[code] = int32(len(s.codes))
			if len(s.inApp) < len(s.codes) {
				s.inApp = append(s.inApp, halfHours{})
			}
		}
		s.inApp[s.of[code]-1].add(half, m)
		s.any.add(half, m)
	}
	s.begin(s.any.used)
	minutes := 0
	for rest := s.any.used; rest != 0; rest &= rest - 1 {
		half := bits.TrailingZeros64(rest)
		minutes += s.any.minutes[half].Count()
		s.running = append(s.running, uint16(minutes))
		if len(s.codes) <= maxApps {
			s.divide(half, 0, 0, s.any.minutes[half])
		}
	}
	s.any.drain()
	first := len(s.sums.apps)
	told := len(s.codes) <= maxApps && len(s.at) <= maxApps
	for i, code := range s.codes {
		a := appSum{used: s.inApp[i].used, code: code}
		a.minutes = uint16(s.inApp[i].drain())
		if told {
			s.sums.apps = append(s.sums.apps, a)
		}
		s.of[code] = 0
	}
	s.days[len(s.days)-1].alone = len(s.codes) > 0 && (!told || !s.addTotals(s.sums.apps[first:]))
	for _, t := range s.at {
		if told {
			s.shared = append(s.shared, overlap{s.setOf(t.apps), uint16(t.minutes)})
		}
	}
	s.codes, s.at = s.codes[:0], s.at[:0]
}

// divide adds minutes of a half hour, in which the person used some of the apps before the next, to the overlaps that they belong to.
func (s *summing) divide(half, next int, apps uint32, m Mask) {
	for ; next < len(s.codes); next++ {
		if in := s.inApp[next].minutes[half] & m; in == m {
			apps |= 1 << next
		} else if in != 0 {
			s.divide(half, next+1, apps|1<<next, in)
			m &^= in
		}
	}
	if apps&(apps-1) == 0 {
		return // one app
	}
	i := 0
	for i < len(s.at) && s.at[i].apps != apps {
		i++
	}
	if i == len(s.at) {
		s.at = append(s.at, together{apps: apps})
	}
	s.at[i].minutes += m.Count()
}

// setOf returns the number of a set of what the person used.
func (s *summing) setOf(apps uint32) (set uint32) {
	s.inSet = s.inSet[:0]
	for ; apps != 0; apps &= apps - 1 {
		s.inSet = append(s.inSet, s.codes[bits.TrailingZeros32(apps)])
	}
	slices.Sort(s.inSet) // a set that several people used has one number
	for _, code := range s.inSet {
		larger := appSet{set, code}
		number, known := s.sets[larger]
		if !known {
			number = uint32(len(s.sums.sets))
			s.sums.sets, s.sets[larger] = append(s.sums.sets, larger), number
		}
		set = number
	}
	return set
}

// begin begins the sum of a block, or ends the last.
func (s *summing) begin(used uint64) {
	s.days = append(s.days, sumStart{used, int32(len(s.running)), int32(len(s.sums.apps)), int32(len(s.shared)), false})
}
