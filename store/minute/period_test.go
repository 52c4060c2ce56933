package minute

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// anyPeriods are up to n periods about a day, a few of them empty, without a beginning or without an end.
func anyPeriods(r *rand.Rand, day time.Time, n int) (periods []Period) {
	moment := func() time.Time {
		if r.IntN(6) == 0 {
			return time.Time{}
		}
		t := day.Add(time.Duration(r.IntN(52)-2) * 30 * time.Minute)
		return t.Add([]time.Duration{0, 0, time.Microsecond, -time.Microsecond, 61 * time.Second, 13 * time.Minute}[r.IntN(6)])
	}
	for range r.IntN(n + 1) {
		periods = append(periods, Period{moment(), moment()})
	}
	return periods
}

// within says naively whether a moment is in one of the periods.
func within(periods []Period, t time.Time) bool {
	return slices.ContainsFunc(periods, func(p Period) bool { return !t.Before(p.From) && (p.To.IsZero() || t.Before(p.To)) })
}

// Periods that are united or cut are the same time as before, in order and apart from each other.
func TestPeriods(t *testing.T) {
	t.Parallel()
	day := time.Date(2023, 8, 15, 0, 0, 0, 0, time.UTC)
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 1))
		periods := anyPeriods(r, day, 5)
		before, end := slices.Clone(periods), day.Add(time.Duration(r.IntN(48))*30*time.Minute)
		united, cut := Unite(periods), Until(periods, end)
		if !slices.Equal(before, periods) {
			t.Fatalf("seed %d: %v became %v", seed, before, periods)
		}
		moments := []time.Time{{}, end, end.Add(-1), day.AddDate(1, 0, 0)}
		for _, p := range periods {
			for _, m := range []time.Time{p.From, p.To} {
				moments = append(moments, m, m.Add(1), m.Add(time.Hour))
				if !m.IsZero() {
					moments = append(moments, m.Add(-1))
				}
			}
		}
		for _, m := range moments {
			if got, want := within(united, m), within(periods, m); got != want {
				t.Fatalf("seed %d: %v united are %v: %v in it is %v", seed, periods, united, m, got)
			}
			if got, want := within(cut, m), within(periods, m) && m.Before(end); got != want {
				t.Fatalf("seed %d: %v until %v are %v: %v in it is %v", seed, periods, end, cut, m, got)
			}
		}
		for _, list := range [][]Period{united, cut} {
			for i, p := range list {
				if p.isEmpty() || i > 0 && !list[i-1].To.Before(p.From) || p.To.IsZero() && i < len(list)-1 {
					t.Fatalf("seed %d: %v are not apart: %v", seed, periods, list)
				}
			}
		}
	}
}
