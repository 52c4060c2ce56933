package minute

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones below, whatever the machine has

	"github.com/google/go-cmp/cmp"
)

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNewWindow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		start, end             string
		wantStart, wantEnd     int64
		wantFirst, wantLastDay int32
	}{
		{"1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z", 1440, 2880, 1, 1},
		{"1970-01-02T00:00:00Z", "1970-01-03T00:01:00Z", 1440, 2881, 1, 2},
		{"1970-01-02T00:00:00.000000001Z", "1970-01-02T00:01:01Z", 1441, 1442, 1, 1},
		{"1970-01-01T00:00:10Z", "1970-01-01T00:00:50Z", 1, 1, 0, -1},
		{"1970-01-02T00:00:00Z", "1970-01-02T00:00:00Z", 1440, 1440, 0, -1},
		{"1970-01-02T00:00:00Z", "1970-01-01T00:00:00Z", 1440, 0, 0, -1},
		{"1969-12-31T23:58:30Z", "1970-01-01T00:00:00Z", -1, 0, -1, -1},
		{"1970-01-02T00:00:00+05:45", "1970-01-03T00:00:00+05:45", 1440 - 345, 2880 - 345, 0, 1},
	}
	for _, tt := range tests {
		w := NewWindow(moment(t, tt.start), moment(t, tt.end))
		if w.Start != tt.wantStart || w.End != tt.wantEnd {
			t.Errorf("%s to %s is %d to %d, want %d to %d", tt.start, tt.end, w.Start, w.End, tt.wantStart, tt.wantEnd)
		}
		if first, last := w.Days(); first != tt.wantFirst || last != tt.wantLastDay {
			t.Errorf("%s to %s has days %d to %d, want %d to %d", tt.start, tt.end, first, last, tt.wantFirst, tt.wantLastDay)
		}
	}
}

// A day begins when its date is shown for the first time, also in years that only the rule of a zone tells of.
func TestStartOfDay(t *testing.T) {
	t.Parallel()
	for _, zone := range zones {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for day := range int64(150 * 365) {
			start := StartOfDay(1970, 1, 1+int(day), location)
			if daysFromEpoch(start) < day || daysFromEpoch(start.Add(-time.Second)) >= day {
				t.Errorf("day %d of %s begins at %v", day, zone, start)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name, zone, start, end string // local times
		days                   int
		want                   []time.Duration // lengths of the intervals
	}{
		{"empty", "UTC", "2023-08-15 00:00", "2023-08-15 00:00", 1, nil},
		{"three days", "UTC", "2023-08-15 00:00", "2023-08-18 00:00", 1, []time.Duration{day, day, day}},
		{"the last is cut", "UTC", "2023-08-15 00:00", "2023-08-16 05:00", 1, []time.Duration{day, 5 * time.Hour}},
		{"weeks", "UTC", "2023-08-01 00:00", "2023-08-14 00:00", 7, []time.Duration{7 * day, 6 * day}},
		{"quarter hours", "Asia/Kathmandu", "2023-08-15 00:00", "2023-08-17 00:00", 1, []time.Duration{day, day}},
		{"spring", "Europe/Berlin", "2024-03-30 00:00", "2024-04-02 00:00", 1, []time.Duration{day, 23 * time.Hour, day}},
		{"autumn", "Europe/Berlin", "2024-10-26 00:00", "2024-10-29 00:00", 1, []time.Duration{day, 25 * time.Hour, day}},
		{
			"half an hour", "Australia/Lord_Howe", "2024-10-05 00:00", "2024-10-08 00:00", 1,
			[]time.Duration{day, 23*time.Hour + 30*time.Minute, day},
		},
		{"midnight is skipped", "America/Sao_Paulo", "2018-11-03 00:00", "2018-11-06 00:00", 1, []time.Duration{day, 23 * time.Hour, day}},
		{
			"midnight of the first day is skipped", "America/Sao_Paulo", "2018-11-04 01:00", "2018-11-06 00:00", 1,
			[]time.Duration{23 * time.Hour, day},
		},
		{"midnight is repeated", "America/Havana", "2024-11-02 00:00", "2024-11-05 00:00", 1, []time.Duration{day, 25 * time.Hour, day}},
		{"a day is skipped", "Pacific/Apia", "2011-12-29 00:00", "2012-01-01 00:00", 1, []time.Duration{day, day}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			local := func(text string) time.Time {
				m, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			start, end := local(tt.start), local(tt.end)
			w := NewWindow(start, end).Split(start, end, tt.days)
			var got []time.Duration
			for i := range w.Bounds {
				a, b := w.interval(i)
				got = append(got, time.Duration(b-a)*time.Minute)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(w.Bounds) > 0 && w.Bounds[0] != w.Start {
				t.Errorf("the first interval begins at %d, the window at %d", w.Bounds[0], w.Start)
			}
		})
	}
}

func TestSplitKeepsTheMinutes(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 19*60+32)
	start, end := time.Date(1930, 8, 15, 0, 0, 0, 0, zone), time.Date(1930, 8, 17, 0, 0, 10, 0, zone)
	w := NewWindow(start, end).Split(start, end, 1)
	// The end of the second day and that of the window fall into one minute: there is no third interval of no minutes.
	if len(w.Bounds) != 2 || w.Bounds[0] != w.Start || w.End-w.Bounds[1] != minutesPerDay {
		t.Errorf("window %+v", w)
	}
}
