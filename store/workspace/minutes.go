package workspace

import (
	"cmp"
	"slices"
)

// Span is a stretch of whole minutes since the Unix epoch: From is part of it, To is not.
type Span struct{ From, To int64 }

// Minutes is a set of minutes: spans that are not empty, ascending, with a minute at least between two of them. Nil is the empty set.
type Minutes []Span

// MinutesOf is the set of all minutes of some spans, which may overlap and may be empty.
func MinutesOf(spans ...Span) (m Minutes) {
	spans = slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.From >= s.To })
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	for _, s := range spans {
		if last := len(m) - 1; last >= 0 && s.From <= m[last].To {
			m[last].To = max(m[last].To, s.To)
		} else {
			m = append(m, s)
		}
	}
	return m
}

// Union is all minutes of one set or the other.
func (m Minutes) Union(other Minutes) Minutes { return MinutesOf(slices.Concat(m, other)...) }

// Intersect is all minutes of both sets.
func (m Minutes) Intersect(other Minutes) (both Minutes) {
	for i, j := 0, 0; i < len(m) && j < len(other); {
		if s := (Span{max(m[i].From, other[j].From), min(m[i].To, other[j].To)}); s.From < s.To {
			both = append(both, s)
		}
		if m[i].To < other[j].To {
			i++
		} else {
			j++
		}
	}
	return both
}

// Without is all minutes of the set that the other one does not have.
func (m Minutes) Without(other Minutes) (left Minutes) {
	j := 0
	for _, s := range m {
		for j < len(other) && other[j].To <= s.From {
			j++
		}
		for _, o := range other[j:] {
			if o.From >= s.To {
				break
			}
			if s.From < o.From {
				left = append(left, Span{s.From, o.From})
			}
			s.From = o.To
		}
		if s.From < s.To {
			left = append(left, s)
		}
	}
	return left
}

// Count is the number of minutes.
func (m Minutes) Count() (n int64) {
	for _, s := range m {
		n += s.To - s.From
	}
	return n
}
