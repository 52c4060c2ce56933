package minute

import (
	"slices"
	"time"
)

// Period is the time from a moment on until before another.
type Period struct {
	From time.Time // zero: since always
	To   time.Time // zero: for ever
}

func (p Period) isEmpty() bool { return !p.To.IsZero() && !p.From.Before(p.To) }

// Unite returns the time of all periods as ascending ones that neither overlap nor touch.
func Unite(periods []Period) []Period {
	sorted := slices.DeleteFunc(slices.Clone(periods), Period.isEmpty)
	slices.SortFunc(sorted, func(a, b Period) int { return a.From.Compare(b.From) })
	var united []Period
	for _, p := range sorted {
		last := len(united) - 1
		if last < 0 || !united[last].To.IsZero() && united[last].To.Before(p.From) {
			united = append(united, p)
			continue
		}
		united[last].To = later(united[last].To, p.To)
	}
	return united
}

// later is the later one of two ends.
func later(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return b
	}
	return a
}

// Until returns what of the periods lies before a moment, as Unite does.
func Until(periods []Period, end time.Time) []Period {
	cut := slices.Clone(periods)
	for i := range cut {
		if p := &cut[i]; p.To.IsZero() || end.Before(p.To) {
			p.To = end
		}
	}
	return Unite(cut)
}
