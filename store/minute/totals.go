package minute

import (
	"cmp"
	"math/bits"
	"slices"
)

// setTotal is what all people of a table did with a set of apps on a day, for each channel that has the whole set: with one app, its
// minutes and launches; with several, what has to be added to those of all smaller sets within, so that a channel that has several apps
// has the minutes and launches of their union. Minutes at once in two apps, for example, are once too many in those of the apps, so that
// they are negative in the total of the two.
type setTotal struct {
	rest, code        uint32 // the set is that of another total, which comes before this one, and one more app
	minutes, launches int32
}

// maxTogether bounds the session apps of a person's day that is in the totals.
const maxTogether = 4

// isSession reports whether a code is that of sessions, measured or estimated.
func (t *Table) isSession(code uint32) bool {
	of, _ := Kind(int(code-1) / len(t.apps)).Measured()
	return of == Session
}

// setClass is the same for codes that may be in one set: all sessions have one, each app besides has one of its own.
func (t *Table) setClass(code uint32) uint32 {
	if t.isSession(code) {
		return 1
	}
	return 2 + (code-1)%uint32(len(t.apps))
}

// addTotals adds the day of a person to the totals. It reports false, and has added nothing, where the day is not of the kind that they
// have room for: sets are those of session apps. Of one app besides there are either measurements or estimates.
func (s *summing) addTotals(apps []appSum) bool {
	s.sessions = s.sessions[:0]
	for i, a := range apps {
		if s.isSession(a.code) {
			s.sessions = append(s.sessions, i)
		} else if slices.ContainsFunc(apps[:i], func(b appSum) bool { return s.setClass(a.code) == s.setClass(b.code) }) {
			return false
		}
	}
	if len(s.sessions) > maxTogether {
		return false
	}
	for _, a := range apps {
		if !s.isSession(a.code) {
			s.addTotal(s.totalOf(0, a.code), channelUse{a.used, int64(a.minutes)}.total())
		}
	}
	slices.SortFunc(s.sessions, func(a, b int) int { return cmp.Compare(apps[a].code, apps[b].code) })
	var of [1 << maxTogether]useTotal
	sets := 1 << len(s.sessions)
	for set := 1; set < sets; set++ {
		of[set] = s.union(apps, set).total()
	}
	for i := range s.sessions {
		for set := range sets {
			if set>>i&1 != 0 {
				of[set].subtract(of[set^1<<i])
			}
		}
	}
	for set := 1; set < sets; set++ {
		if of[set] != (useTotal{}) {
			s.addTotal(s.setTotalOf(apps, set), of[set])
		}
	}
	return true
}

// useTotal is what use adds to a channel.
type useTotal struct{ minutes, launches int32 }

func (u channelUse) total() useTotal { return useTotal{int32(u.minutes), int32(u.launches())} }

func (u *useTotal) subtract(other useTotal) {
	u.minutes, u.launches = u.minutes-other.minutes, u.launches-other.launches
}

// union returns the use of a channel that has some of the session apps of a person.
func (s *summing) union(apps []appSum, set int) (use channelUse) {
	in := uint32(0)
	for ; set != 0; set &= set - 1 {
		i := s.sessions[bits.TrailingZeros(uint(set))]
		in |= 1 << i
		use.used |= apps[i].used
		use.minutes += int64(apps[i].minutes)
	}
	for _, t := range s.at {
		if n := bits.OnesCount32(t.apps & in); n > 1 {
			use.minutes -= int64((n - 1) * t.minutes)
		}
	}
	return use
}

// setTotalOf returns the number of the total of some of the session apps.
func (s *summing) setTotalOf(apps []appSum, set int) (number uint32) {
	for ; set != 0; set &= set - 1 {
		number = s.totalOf(number, apps[s.sessions[bits.TrailingZeros(uint(set))]].code)
	}
	return number
}

// totalOf returns the number of the total of a set, that of another and one more app.
func (s *summing) totalOf(rest, code uint32) uint32 {
	of := appSet{rest, code}
	number, known := s.numbers[of]
	if !known {
		number = uint32(len(s.totals))
		s.totals, s.numbers[of] = append(s.totals, setTotal{rest: rest, code: code}), number
	}
	return number
}

func (s *summing) addTotal(number uint32, use useTotal) {
	t := &s.totals[number]
	t.minutes, t.launches = t.minutes+use.minutes, t.launches+use.launches
}
