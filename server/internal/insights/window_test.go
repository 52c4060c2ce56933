package insights

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

func TestParseQuestionFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now, start, end, zone string
		want                  []string // beginning of each fault
	}{
		"offset of no zone": {
			start: "2023-08-15T00:00:00+05:37", end: "2023-08-16T00:00:00Z",
			want: []string{`start_time: Query param "start_time" must have an offset that is a multiple of 15 minutes`},
		},
		"offset of no zone at the end": {
			start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00-00:01",
			want: []string{`end_time: Query param "end_time" must have an offset that is a multiple of 15 minutes`},
		},
		"quarter of an hour": {start: "2023-08-15T00:00:00+05:45", end: "2023-08-16T00:00:00+05:45"},
		"coming hour is that of the offset": {
			now: "2023-08-22T15:40:30Z", start: "2023-08-15T00:00:00+05:30", end: "2023-08-22T22:00:00+05:30",
		},
		"after the coming hour of the offset": {
			now: "2023-08-22T15:20:30Z", start: "2023-08-15T00:00:00+05:30", end: "2023-08-22T22:00:00+05:30",
			want: []string{`end_time: Query param "end_time" must not be in the future`},
		},
		"zone beats offset": {zone: "Europe/Berlin", start: "2023-08-14T22:00:00Z", end: "2023-08-15T22:00:00Z"},
		"midnight of the offset, not of the zone": {
			zone: "Europe/Berlin", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z",
			want: []string{`start_time: Query param "start_time" must have the clock set to 00:00:00, got 2023-08-15T02:00:00+02:00`},
		},
		"day without midnight": {
			zone: "Africa/Cairo", start: "2023-04-28T01:00:00+03:00", end: "2023-04-29T00:00:00+03:00",
		},
		"hour of a past day": {
			start: "2023-08-15T00:00:00+09:00", end: "2023-08-22T21:00:00+09:00",
			want: []string{`end_time: Query param "end_time" must have the clock set to 00:00:00, got 2023-08-22T21:00:00+09:00`},
		},
		"hour of a past day in the zone": {zone: "Asia/Tokyo", start: "2023-08-15T00:00:00+09:00", end: "2023-08-22T12:00:00Z"},
		"minutes of a past day in the zone": {
			zone: "Asia/Tokyo", start: "2023-08-15T00:00:00+09:00", end: "2023-08-22T12:30:00Z",
			want: []string{`end_time: Query param "end_time" must have the clock set to 21:00:00, got 2023-08-22T21:30:00+09:00`},
		},
		"hour of the present day in the zone": {zone: "Asia/Tokyo", start: "2023-08-15T00:00:00+09:00", end: "2023-08-22T16:00:00Z"},
		"unknown zone": {
			zone: "Mars/Olympus", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "},
		},
		"zone of the server": {zone: "Local", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "}},
		"path above": {
			zone: "../../etc/passwd", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "},
		},
		"path from the root": {
			zone: "/usr/share/zoneinfo/UTC", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "},
		},
		"path through a zone": {
			zone: "Europe/../UTC", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "},
		},
		"file beside the zones": {
			zone: "localtime", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "},
		},
		"folder of zones": {zone: "Europe", start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", want: []string{"timezone: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.now == "" {
				c.now = "2023-08-22T15:20:30Z"
			}
			_, err := parseQuestion(
				&insightsv1.GetUserActivityRequest{StartTime: c.start, EndTime: c.end, Timezone: c.zone}, wiretest.Instant(t, c.now),
			)
			got := wiretest.Faults(t, err)
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want it to begin with %q", got[i], want)
				}
			}
		})
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start, end, zone, step string
		want                   []string // where the intervals begin
		count                  int      // of intervals, instead
		fault                  string
	}{
		"none":         {start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z"},
		"empty window": {start: "2023-08-15T00:00:00Z", end: "2023-08-15T00:00:00Z", step: "day"},
		"days of +5:45": {
			start: "2023-08-15T00:00:00+05:45", end: "2023-08-17T00:00:00+05:45", step: "day",
			want: []string{"2023-08-15T00:00:00+05:45", "2023-08-16T00:00:00+05:45"},
		},
		"day of 23 hours": {
			zone: "Europe/Berlin", start: "2023-03-26T00:00:00+01:00", end: "2023-03-28T00:00:00+02:00", step: "day",
			want: []string{"2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00"},
		},
		"week that lacks an hour": {
			zone: "Europe/Berlin", start: "2023-03-21T00:00:00+01:00", end: "2023-03-27T00:00:00+02:00", step: "week",
			want: []string{"2023-03-21T00:00:00+01:00"},
		},
		"weeks with an hour more": {
			zone: "America/New_York", start: "2022-11-01T00:00:00-04:00", end: "2022-11-15T00:00:00-05:00", step: "week",
			want: []string{"2022-11-01T00:00:00-04:00", "2022-11-08T00:00:00-05:00"},
		},
		"a week and five days": {
			zone: "Europe/Berlin", start: "2023-03-21T00:00:00+01:00", end: "2023-04-02T00:00:00+02:00", step: "week",
			fault: "Last report interval",
		},
		"a leap year": {start: "2022-03-01T00:00:00Z", end: "2023-03-02T00:00:00Z", step: "day", count: 366},
		"more than a year": {
			start: "2022-03-01T00:00:00Z", end: "2023-03-03T00:00:00Z", step: "day",
			fault: `"end_time" must be at most 366 days after "start_time"`,
		},
		"years in weeks": {start: "1970-01-06T00:00:00Z", end: "2023-08-22T00:00:00Z", step: "week", count: 2798},
		"month":          {start: "2023-08-15T00:00:00Z", end: "2023-08-16T00:00:00Z", step: "month", fault: "must be one of [day week]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, err := parseQuestion(
				&insightsv1.GetUserActivityRequest{StartTime: c.start, EndTime: c.end, Timezone: c.zone},
				wiretest.Instant(t, "2023-08-22T15:20:30Z"),
			)
			if err != nil {
				t.Fatal(err)
			}
			q.interval, err = q.choose(c.step)
			told := strings.Join(append(wiretest.Faults(t, err), wiretest.DetailOf(err)), " ")
			if (err != nil) != (c.fault != "") || !strings.Contains(told, c.fault) {
				t.Fatalf("got %q, want %q", told, c.fault)
			}
			if err == nil {
				q.split()
			}
			var got []string
			for _, b := range q.window.Bounds {
				got = append(got, q.show(b))
			}
			if c.count != 0 {
				if len(got) != c.count {
					t.Errorf("%d intervals, want %d", len(got), c.count)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("intervals (-want +got):\n%s", diff)
			}
		})
	}
}

// The server's own choice suits the age of the templates and the window, and refuses none.
func TestDefaultIntervalOfWindow(t *testing.T) {
	t.Parallel()
	const now = "2023-08-22T15:20:30Z"
	for name, c := range map[string]struct {
		start, end, zone string
		young, old       string // interval, reason and number of intervals for templates of a day and of ten years
	}{
		"empty": {
			"2023-08-15T00:00:00Z", "2023-08-15T00:00:00Z", "", "day younger_than_5_weeks 0", "week 5_weeks_or_older 0",
		},
		"a day": {
			"2023-08-15T00:00:00Z", "2023-08-16T00:00:00Z", "", "day younger_than_5_weeks 1", "day window_not_whole_weeks 1",
		},
		"six days": {
			"2023-08-15T00:00:00Z", "2023-08-21T00:00:00Z", "", "day younger_than_5_weeks 6", "week 5_weeks_or_older 1",
		},
		"a week": {
			"2023-08-15T00:00:00Z", "2023-08-22T00:00:00Z", "", "day younger_than_5_weeks 7", "week 5_weeks_or_older 1",
		},
		"a week, some time": {
			"2023-08-15T00:00:00Z", "2023-08-22T15:00:00Z", "", "day younger_than_5_weeks 8", "day window_not_whole_weeks 8",
		},
		"ten days": {
			"2023-08-12T00:00:00Z", "2023-08-22T00:00:00Z", "", "day younger_than_5_weeks 10", "day window_not_whole_weeks 10",
		},
		"a leap year": {
			"2022-03-01T00:00:00Z", "2023-03-02T00:00:00Z", "", "day younger_than_5_weeks 366", "day window_not_whole_weeks 366",
		},
		"more than a year": {
			"2022-03-01T00:00:00Z", "2023-03-03T00:00:00Z", "", "week window_over_366_days 53", "week 5_weeks_or_older 53",
		},
		"whole weeks of two years": {
			"2021-08-24T00:00:00Z", "2023-08-22T00:00:00Z", "", "week window_over_366_days 104", "week 5_weeks_or_older 104",
		},
		"all there is": {
			"1970-01-02T00:00:00Z", "2023-08-22T16:00:00Z", "", "week window_over_366_days 2799", "week 5_weeks_or_older 2799",
		},
		"a week that lacks an hour": {
			"2023-03-21T00:00:00+01:00", "2023-03-27T00:00:00+02:00", "Europe/Berlin", "day younger_than_5_weeks 6",
			"week 5_weeks_or_older 1",
		},
	} {
		for age, want := range map[time.Duration]string{24 * time.Hour: c.young, 10 * 365 * 24 * time.Hour: c.old} {
			q, err := parseQuestion(
				&insightsv1.GetUserActivityRequest{StartTime: c.start, EndTime: c.end, Timezone: c.zone}, wiretest.Instant(t, now),
			)
			if err != nil {
				t.Fatal(name, err)
			}
			q.suited = q.suits(wiretest.Instant(t, now).Add(-age))
			if q.interval, err = q.choose("default"); err != nil {
				t.Errorf("%s, templates of %v: %v", name, age, err)
				continue
			}
			q.split()
			if got := fmt.Sprint(q.interval, " ", q.suited.GetReason(), " ", len(q.window.Bounds)); got != want {
				t.Errorf("%s, templates of %v: %s, want %s", name, age, got, want)
			}
		}
	}
}

// A wrong value is told all the right ones.
func TestChooseInterval(t *testing.T) {
	t.Parallel()
	_, err := question{}.choose("month")
	if told := strings.Join(append(wiretest.Faults(t, err), wiretest.DetailOf(err)), " "); !strings.Contains(told, "[day week]") ||
		!strings.Contains(told, "default") {
		t.Error(told)
	}
}

// Fractions of a second are not looked at: they must not cost the first minute either.
func TestFractionOfSecond(t *testing.T) {
	t.Parallel()
	req := &insightsv1.GetUserActivityRequest{StartTime: "2023-08-15T00:00:00.5Z", EndTime: "2023-08-16T00:00:00.999999999Z"}
	q, err := parseQuestion(req, wiretest.Instant(t, "2023-08-22T15:20:30Z"))
	if err != nil {
		t.Fatal(err)
	}
	day := wiretest.Instant(t, "2023-08-15T00:00:00Z").Unix() / 60
	if q.window.Start != day || q.window.End != day+24*60 {
		t.Errorf("window is %+v, want the minutes from %d to %d", q.window, day, day+24*60)
	}
}

func TestParseSections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names             []string
		report, intervals bool
		fault             string
	}{
		{names: nil, report: true, intervals: true},
		{names: []string{"report"}, report: true},
		{names: []string{"interval_reports"}, intervals: true},
		{names: []string{"interval_reports", "report"}, report: true, intervals: true},
		{names: []string{"report", "reports"}, fault: "sections: must be one of [interval_reports report]"},
	} {
		report, intervals, err := parseSections(c.names)
		if report != c.report || intervals != c.intervals || strings.Join(wiretest.Faults(t, err), "") != c.fault {
			t.Errorf("%v: got %v, %v, %v", c.names, report, intervals, err)
		}
	}
}
