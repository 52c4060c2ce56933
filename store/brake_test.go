package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What becomes of what retention would take: it goes, or it waits since when.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	before := func(ago, keep time.Duration) *Announcement {
		return &Announcement{Kind: ExpiredUsage, Keep: keep, Days: 40, Stored: 100, At: At(now.Add(-ago))}
	}
	for name, test := range map[string]struct {
		before       *Announcement
		keep         time.Duration
		days, stored int64
		confirmed    bool
		since        time.Duration // how long ago what is announced was announced; -1: nothing is
		wait         bool
	}{
		"nothing is stored":              {nil, 30 * day, 0, 0, false, -1, false},
		"a day a day":                    {nil, 400 * day, 1, 401, false, -1, false},
		"a day of two":                   {nil, day, 1, 2, false, -1, false},
		"two midnights of three":         {nil, day, 2, 3, false, -1, false},
		"more than a day a day, of few":  {nil, day, 3, 4, false, 0, true},
		"a tenth":                        {nil, 90 * day, 10, 100, false, -1, false},
		"more than a tenth":              {nil, 89 * day, 11, 100, false, 0, true},
		"more than a tenth, confirmed":   {nil, 89 * day, 11, 100, true, -1, false},
		"everything":                     {nil, 89 * day, 100, 100, false, 0, true},
		"an hour later":                  {before(time.Hour, 60*day), 60 * day, 40, 100, false, time.Hour, true},
		"almost a day later":             {before(day-time.Minute, 60*day), 60 * day, 40, 100, false, day - time.Minute, true},
		"a day later":                    {before(day, 60*day), 60 * day, 40, 100, false, day, false},
		"days later":                     {before(5*day, 60*day), 60 * day, 40, 100, false, 5 * day, false},
		"a day later, less":              {before(day, 60*day), 80 * day, 20, 100, false, day, false},
		"a day later, more":              {before(day, 60*day), 59 * day, 41, 100, false, 0, true},
		"a day later, days that came":    {before(day, 60*day), 60 * day, 43, 100, false, 0, true},
		"taken back":                     {before(time.Hour, 60*day), 90 * day, 10, 100, false, -1, false},
		"confirmed":                      {before(time.Hour, 60*day), 60 * day, 40, 100, true, -1, false},
		"before a clock that was ahead":  {before(-time.Hour, 60*day), 60 * day, 40, 100, false, -time.Hour, true},
		"taken back when it was due":     {before(2*day, 60*day), 95 * day, 5, 100, false, -1, false},
		"carried out when it was due":    {before(2*day, 60*day), 60 * day, 0, 60, false, -1, false},
		"more than any day has, for all": {nil, day, 1 << 40, 1 << 40, false, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wanted := Announcement{Kind: ExpiredUsage, Keep: test.keep, Days: test.days, Stored: test.stored, At: At(now)}
			got, wait := announce(test.before, wanted, test.confirmed)
			var want *Announcement
			if test.since != -1 {
				a := wanted
				a.At = At(now.Add(-test.since))
				want = &a
			}
			if diff := cmp.Diff(want, got); diff != "" || wait != test.wait {
				t.Errorf("waits: %v, announced (-want +got):\n%s", wait, diff)
			}
		})
	}
}

// For how many looks, an hour apart, a clock is doubted that behaves in a way.
func TestDoubtedClock(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	begin := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	hours := func(n int, step time.Duration) (steps []time.Duration) {
		for range n {
			steps = append(steps, step)
		}
		return steps
	}
	after := func(steps ...time.Duration) []time.Duration { return append(steps, hours(40, time.Hour)...) }
	for name, test := range map[string]struct {
		steps   []time.Duration           // of the clock from one look to the next
		own     func(n int) time.Duration // how far ahead the clock of the server is at a look
		doubted []int                     // looks that doubt it, from the first to the one after the last; nil: none
	}{
		"steady":               {steps: hours(48, time.Hour)},
		"away for a night":     {steps: append([]time.Duration{time.Hour, 14 * time.Hour}, hours(9, time.Hour)...)},
		"away for a day":       {steps: append([]time.Duration{time.Hour, day}, hours(9, time.Hour)...)},
		"set back by an hour":  {steps: append([]time.Duration{time.Hour, -time.Hour}, hours(30, time.Hour)...)},
		"forward by years":     {steps: after(time.Hour, 5000*day), doubted: []int{2, 26}},
		"forward by centuries": {steps: after(time.Hour, 1<<63-1), doubted: []int{2, 26}},
		"back by years":        {steps: after(time.Hour, -5000*day), doubted: []int{2, 26}},
		"forward and back again": {
			steps:   append([]time.Duration{time.Hour, 9 * day, time.Hour, time.Hour, -9 * day}, hours(40, time.Hour)...),
			doubted: []int{2, 29},
		},
		"on once a week": {steps: hours(20, 7*day), doubted: []int{1, 7}},
		"another one than that of the server": {
			steps: hours(200, time.Hour), own: func(int) time.Duration { return -2 * day }, doubted: []int{0, 6 * 24},
		},
		"another one for some hours": {
			steps: hours(60, time.Hour),
			own: func(n int) time.Duration {
				if 5 <= n && n < 10 {
					return 2 * day
				}
				return 0
			},
			doubted: []int{5, 9 + 24},
		},
		"almost that of the server": {steps: hours(30, time.Hour), own: func(int) time.Duration { return day }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.own == nil {
				test.own = func(int) time.Duration { return 0 }
			}
			now := begin
			mark := clockMark{}.next(now, now.Add(test.own(0)))
			var doubted []int
			for n := 0; ; n++ {
				if mark.doubted() {
					doubted = append(doubted, n)
				}
				if n == len(test.steps) {
					break
				}
				now = now.Add(test.steps[n])
				mark = mark.next(now, now.Add(test.own(n+1)))
			}
			var want []int
			for n := 0; test.doubted != nil && n < test.doubted[1]-test.doubted[0]; n++ {
				want = append(want, test.doubted[0]+n)
			}
			if diff := cmp.Diff(want, doubted); diff != "" {
				t.Errorf("looks that doubt the clock (-want +got):\n%s", diff)
			}
		})
	}
}

// A clock that jumps again and again as soon as it is believed does not hold deletion for ever.
func TestDoubtEnds(t *testing.T) {
	t.Parallel()
	now := time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)
	mark, believed, longest := clockMark{}.next(now, now), 0, 0
	for hour := range 60 * 24 {
		step := time.Hour
		if hour%47 == 46 {
			step = 3 * brakeDay
		}
		now = now.Add(step)
		mark = mark.next(now, now)
		if believed++; mark.doubted() {
			believed = 0
		}
		longest = max(longest, believed)
	}
	if longest < 2*24 {
		t.Errorf("in 60 days the clock was believed for %d hours at most, and an announcement takes a day", longest)
	}
}
