package insights

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStep(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]timeStep{
		"1 day": {days: 1}, "90 day": {days: 90}, "2 weeks": {days: 14}, "1week": {days: 7}, "3 months": {months: 3},
		"1 year": {months: 12}, "1000 days": {days: 1000},
	} {
		if got, err := parseStep(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "day", "0 day", "-1 day", "1001 days", "999999 years", "99999999999999999999 days", "1.5 days", "1 hour", "30 minutes",
		"1  week", " 1 week", "1 week ",
		"1 weekss", "1 fortnight", "1 WEEK", "1 week 2 days", "one week", "1\u00a0week", "1 week\x00", "\u0661 day",
	} {
		if got, err := parseStep(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		step       string
		start, end time.Time
		want       []string
	}{
		"weeks, the last one cut": {
			"1 week", time.Date(2023, 8, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 8, 10, 0, 0, 0, 0, time.UTC),
			[]string{"08-01 168h", "08-08 48h"},
		},
		"months from their last day": {
			"1 month", time.Date(2023, 1, 31, 0, 0, 0, 0, time.UTC), time.Date(2023, 5, 1, 0, 0, 0, 0, time.UTC),
			[]string{"01-31 672h", "02-28 744h", "03-31 720h", "04-30 24h"},
		},
		"a day of 23 hours": {
			"1 day", time.Date(2023, 3, 26, 0, 0, 0, 0, berlin), time.Date(2023, 3, 28, 0, 0, 0, 0, berlin),
			[]string{"03-26 23h", "03-27 24h"},
		},
		"a day of 25 hours in a week": {
			"1 week", time.Date(2023, 10, 23, 0, 0, 0, 0, berlin), time.Date(2023, 10, 30, 0, 0, 0, 0, berlin), []string{"10-23 169h"},
		},
		"a leap year and what is there": {
			"1 year", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC),
			[]string{"02-29 8760h", "02-28 24h"},
		},
		"nothing": {"1 day", time.Date(2023, 8, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 8, 1, 0, 0, 0, 0, time.UTC), nil},
	} {
		every, err := parseStep(c.step)
		if err != nil {
			t.Fatal(err)
		}
		windows, err := every.windows(c.start, c.end)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range windows {
			got = append(got, fmt.Sprintf("%s %dh", time.Unix(60*w.Start, 0).In(c.start.Location()).Format("01-02"), (w.End-w.Start)/60))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := (timeStep{days: 1}).windows(time.Unix(0, 0).UTC(), time.Unix(1e10, 0).UTC()); err == nil {
		t.Error("a step for each of 115,000 days")
	}
}
