package reports

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store/minute"
)

// quarterOf is the quarter of an hour that a moment lies in.
func quarterOf(at time.Time) int64 { return at.Unix() / 60 / minute.MinutesPerQuarter }

func TestPeaksBetween(t *testing.T) {
	t.Parallel()
	p := Peaks{First: 2, Users: []int32{1, 5, 2}} // from minute 30 to minute 75
	for name, c := range map[string]struct{ start, end, want int64 }{
		"all":                   {30, 75, 5},
		"more than there is":    {0, 1000, 5},
		"a quarter":             {60, 75, 2},
		"a minute of a quarter": {59, 60, 5},
		"two quarters touched":  {59, 61, 5},
		"nothing":               {45, 45, 0},
		"before":                {0, 30, 0},
		"after":                 {75, 90, 0},
	} {
		if got := p.Between(c.start, c.end); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestPeaksHours(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	kathmandu, err := time.LoadLocation("Asia/Kathmandu")
	if err != nil {
		t.Fatal(err)
	}
	twoWeeks := make([]int32, 7*24*4+5)
	twoWeeks[0], twoWeeks[3], twoWeeks[7*24*4] = 4, 6, 3
	for name, c := range map[string]struct {
		first    time.Time
		users    []int32
		location *time.Location
		want     []hourLoad // the first ones
		hours    int
		fewest   int64
	}{
		"none": {time.Unix(0, 0), nil, time.UTC, nil, 0, 0},
		"an hour has the greatest of its quarters": {
			time.Date(2023, 8, 13, 23, 0, 0, 0, time.UTC),
			[]int32{1, 3, 2, 0, 7},
			time.UTC,
			[]hourLoad{{time.Monday, 0, 7, 7}, {time.Sunday, 23, 3, 3}},
			2, 0,
		},
		"the mean is that of the weeks": {
			time.Date(2023, 8, 14, 0, 0, 0, 0, time.UTC), twoWeeks, time.UTC,
			[]hourLoad{{time.Monday, 0, 6, 4.5}, {time.Monday, 1, 0, 0}},
			7 * 24, 0,
		},
		"clocks are those of the location": {
			time.Date(2023, 8, 13, 22, 0, 0, 0, time.UTC),
			[]int32{1, 1, 1, 1, 2},
			berlin,
			[]hourLoad{{time.Monday, 0, 1, 1}, {time.Monday, 1, 2, 2}},
			2, 0,
		},
		"hours begin where its clocks say": {
			time.Date(2023, 8, 13, 18, 0, 0, 0, time.UTC), []int32{2, 1, 1, 1, 1}, kathmandu, // at 23:45
			[]hourLoad{{time.Monday, 0, 1, 1}, {time.Sunday, 23, 2, 2}}, 2, 0,
		},
		"an hour that the clocks show twice is one": {
			time.Date(2023, 10, 29, 0, 0, 0, 0, time.UTC),
			[]int32{1, 1, 1, 1, 5, 5, 5, 5, 2},
			berlin,
			[]hourLoad{{time.Sunday, 2, 5, 5}, {time.Sunday, 3, 2, 2}},
			2, 0,
		},
		"an hour that they skip is not there": {
			time.Date(2023, 3, 26, 0, 45, 0, 0, time.UTC),
			[]int32{1, 2},
			berlin,
			[]hourLoad{{time.Sunday, 1, 1, 1}, {time.Sunday, 3, 2, 2}},
			2, 0,
		},
		"an hour of few is one of nobody": {
			time.Date(2023, 8, 14, 0, 0, 0, 0, time.UTC), twoWeeks, time.UTC,
			[]hourLoad{{time.Monday, 0, 6, 3}, {time.Monday, 1, 0, 0}},
			7 * 24, 5,
		},
	} {
		got := Peaks{quarterOf(c.first), c.users}.Hours(c.location, c.fewest)
		if len(got) != c.hours {
			t.Errorf("%s: %d hours, want %d", name, len(got), c.hours)
			continue
		}
		if diff := cmp.Diff(c.want, got[:len(c.want)]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
