package minute

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Membership is the half hours of which somebody is a member of a group: those at whose beginning they are, which so count as a
// whole.
type Membership struct {
	runs []run // ascending, neither overlapping nor touching
}

// run is half hours from the first until before the end.
type run struct{ first, end int32 }

// MembershipOf returns the half hours of the time in which somebody is a member.
func MembershipOf(periods []Period) (m Membership) {
	for _, p := range Unite(periods) {
		r := run{ceilHalfHour(p.From), ceilHalfHour(p.To)}
		if p.To.IsZero() {
			r.end = math.MaxInt32
		}
		last := len(m.runs) - 1
		switch {
		case r.first == r.end: // within a half hour
		case last >= 0 && m.runs[last].end == r.first:
			m.runs[last].end = r.end
		default:
			m.runs = append(m.runs, r)
		}
	}
	return m
}

// Has reports whether the member is one in a half hour, counted from the Unix epoch.
func (m Membership) Has(halfHour int32) bool {
	next, _ := slices.BinarySearchFunc(m.runs, halfHour, func(r run, h int32) int { return cmp.Compare(r.end, h+1) })
	return next < len(m.runs) && m.runs[next].first <= halfHour
}

// ceilHalfHour returns the first half hour that does not begin before t.
func ceilHalfHour(t time.Time) int32 {
	seconds := int64(MinutesPerHalfHour * 60)
	h := floorDiv(t.Unix(), seconds)
	if t.Unix() > h*seconds || t.Nanosecond() > 0 {
		h++
	}
	return int32(h)
}
