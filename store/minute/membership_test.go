package minute

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Of 5,000 random worlds of members who come and go, the membership of every minute is that at the first moment of its half hour.
func TestMembership(t *testing.T) {
	t.Parallel()
	day := time.Date(2023, 8, 15, 0, 0, 0, 0, time.UTC)
	first := day.Unix() / 60
	var members, others int
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 2))
		for range 1 + r.IntN(3) {
			periods := anyPeriods(r, day, 5)
			m := MembershipOf(periods)
			for at := first - 90; at < first+minutesPerDay+90; at++ {
				begin := time.Unix((at-at%MinutesPerHalfHour)*60, 0)
				got, want := m.Has(int32(at/MinutesPerHalfHour)), within(periods, begin)
				if got != want {
					t.Fatalf("seed %d: %v at minute %d: member %v, want %v of %v", seed, periods, at-first, got, want, begin.UTC())
				}
				if want {
					members++
				} else {
					others++
				}
			}
		}
	}
	if members == 0 || others == 0 {
		t.Errorf("%d minutes of members, %d of others", members, others)
	}
}

// A half hour counts by its first moment, whatever happens within it.
func TestMembershipWithinHalfHours(t *testing.T) {
	t.Parallel()
	noon := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	during := func(from, to time.Duration) Period { return Period{noon.Add(from), noon.Add(to)} }
	for name, c := range map[string]struct {
		periods []Period
		want    string // the half hours from half past eleven on: x in which one is a member
	}{
		"nobody":                  {nil, "....."},
		"whole half hours":        {[]Period{during(0, time.Hour)}, ".xx.."},
		"begins a moment later":   {[]Period{during(time.Microsecond, time.Hour)}, "..x.."},
		"ends a moment later":     {[]Period{during(0, time.Microsecond)}, ".x..."},
		"ends a second before":    {[]Period{during(0, 30*time.Minute-time.Second)}, ".x..."},
		"within a half hour":      {[]Period{during(time.Minute, 29*time.Minute)}, "....."},
		"away within a half hour": {[]Period{during(0, time.Minute), during(2*time.Minute, time.Hour)}, ".xx.."},
		"away at a half hour":     {[]Period{during(0, 30*time.Minute), during(31*time.Minute, 90*time.Minute)}, ".x.x."},
		"ends before it begins":   {[]Period{during(time.Hour, 0)}, "....."},
		"one in another":          {[]Period{during(0, time.Hour), during(time.Minute, 2*time.Minute)}, ".xx.."},
		"since always":            {[]Period{{To: noon}}, "x...."},
		"for ever":                {[]Period{{From: noon}}, ".xxxx"},
		"always":                  {[]Period{{}}, "xxxxx"},
	} {
		var got strings.Builder
		m := MembershipOf(c.periods)
		for h := range int32(len(c.want)) {
			if m.Has(int32(noon.Unix()/1800) - 1 + h) {
				got.WriteByte('x')
			} else {
				got.WriteByte('.')
			}
		}
		if got.String() != c.want {
			t.Errorf("%s: %s, want %s", name, &got, c.want)
		}
	}
}
