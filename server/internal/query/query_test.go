package query

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

func at(t *testing.T, zone, text string) time.Time {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	moment, err := time.ParseInLocation("2006-01-02 15:04", text, location)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestIntervals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, zone, start, end string
		q                      question
		want                   []string // where intervals begin in the window; + for those that are cut
	}{
		{
			"days over a change of the clock", "Europe/Berlin", "2023-10-28 00:00", "2023-10-31 00:00",
			question{interval: intervalDay},
			[]string{"2023-10-28 00:00", "2023-10-29 00:00", "2023-10-30 00:00"},
		},
		{
			"weeks from Monday", "Europe/Berlin", "2023-10-25 00:00", "2023-11-07 00:00",
			question{interval: intervalWeek, weekStart: time.Monday},
			[]string{"2023-10-25 00:00+", "2023-10-30 00:00", "2023-11-06 00:00+"},
		},
		{
			"weeks from Sunday", "Europe/Berlin", "2023-10-25 00:00", "2023-11-07 00:00",
			question{interval: intervalWeek, weekStart: time.Sunday},
			[]string{"2023-10-25 00:00+", "2023-10-29 00:00", "2023-11-05 00:00+"},
		},
		{
			"months", "Asia/Kathmandu", "2023-01-31 00:00", "2023-03-02 00:00",
			question{interval: intervalMonth},
			[]string{"2023-01-31 00:00+", "2023-02-01 00:00", "2023-03-01 00:00+"},
		},
		{
			"hours of a short day", "Europe/Berlin", "2023-03-26 00:00", "2023-03-26 05:00",
			question{interval: intervalHour},
			[]string{"2023-03-26 00:00", "2023-03-26 01:00", "2023-03-26 03:00", "2023-03-26 04:00"},
		},
		{
			"hours of a day half an hour longer", "Australia/Lord_Howe", "2023-04-02 00:00", "2023-04-02 03:00",
			question{interval: intervalHour},
			[]string{
				"2023-04-02 00:00", "2023-04-02 01:00", "2023-04-02 01:30", "2023-04-02 02:00",
			},
		},
		{
			"a day without midnight", "America/Santiago", "2023-09-02 00:00", "2023-09-04 00:00",
			question{interval: intervalDay},
			[]string{"2023-09-02 00:00", "2023-09-03 01:00"},
		},
		{
			"a day that is not over", "UTC", "2023-12-31 00:00", "2024-01-01 12:00",
			question{interval: intervalDay},
			[]string{"2023-12-31 00:00", "2024-01-01 00:00+"},
		},
		{"nothing", "UTC", "2023-12-31 00:00", "2023-12-31 00:00", question{interval: intervalDay}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start, end := at(t, tt.zone, tt.start), at(t, tt.zone, tt.end)
			var got []string
			var last time.Time
			for i, in := range tt.q.intervals(start, end) {
				if i > 0 && !in.start.Equal(last) {
					t.Errorf("%v does not follow %v", in.start, last)
				}
				last = in.end
				text := in.start.Format("2006-01-02 15:04")
				if in.cut(end.AddDate(1, 0, 0)) {
					text += "+"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || len(got) > 0 && !last.Equal(end) {
				t.Errorf("ends at %v (-want +got):\n%s", last, diff)
			}
		})
	}
}

func TestHoursOfWeek(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		number int64
		label  string
	}{
		"2023-08-14 00:00": {0, "Mon 00:00"}, "2023-08-14 23:00": {23, "Mon 23:00"}, "2023-08-15 00:00": {24, "Tue 00:00"},
		"2023-08-20 23:00": {167, "Sun 23:00"},
	} {
		n := hourOfWeek(at(t, "UTC", text))
		if n != want.number || hourKey(n).label != want.label {
			t.Errorf("%s: %d %s, want %v", text, n, hourKey(n).label, want)
		}
	}
	// The hour that a clock shows twice is one hour of the week.
	q := question{by: []string{dimensionHourOfWeek}}
	var minutes int64
	for _, s := range q.times(at(t, "Europe/Berlin", "2023-10-29 00:00"), at(t, "Europe/Berlin", "2023-10-30 00:00"))[0] {
		if s.Value == 6*24+2 {
			minutes += s.End - s.Start
		}
	}
	if minutes != 120 {
		t.Errorf("Sunday 02:00 has %d minutes, want 120", minutes)
	}
}

func TestWindowBefore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ comparison, zone, start, end, from, to string }{
		{comparePrevious, "UTC", "2023-08-07 00:00", "2023-08-14 00:00", "2023-07-31 00:00", "2023-08-07 00:00"},
		{comparePrevious, "Europe/Berlin", "2023-03-26 00:00", "2023-03-28 00:00", "2023-03-24 00:00", "2023-03-26 00:00"},
		{compareWeekdays, "UTC", "2023-08-13 00:00", "2023-08-15 00:00", "2023-08-06 00:00", "2023-08-08 00:00"},
		{compareWeekdays, "UTC", "2023-08-01 00:00", "2023-08-09 00:00", "2023-07-18 00:00", "2023-07-26 00:00"},
		{compareWeekdays, "UTC", "2023-08-07 00:00", "2023-08-14 00:00", "2023-07-31 00:00", "2023-08-07 00:00"},
		{compareYear, "UTC", "2024-02-29 00:00", "2024-03-02 00:00", "2023-02-28 00:00", "2023-03-02 00:00"},
		{comparePrevious, "UTC", "2023-08-13 10:00", "2023-08-14 10:00", "2023-08-12 10:00", "2023-08-13 10:00"},
		{comparePrevious, "UTC", "2023-08-13 10:00", "2023-08-14 11:00", "2023-08-11 10:00", "2023-08-12 11:00"},
		{compareWeekdays, "UTC", "2023-08-13 00:00", "2023-08-13 11:00", "2023-08-06 00:00", "2023-08-06 11:00"},
		{compareYear, "UTC", "2024-02-29 10:00", "2024-03-02 00:00", "2023-02-28 10:00", "2023-03-02 00:00"},
		{comparePrevious, "Australia/Lord_Howe", "2023-10-02 02:00", "2023-10-03 00:00", "2023-10-01 03:00", "2023-10-02 00:00"},
	} {
		q := question{comparison: tt.comparison, start: at(t, tt.zone, tt.start), end: at(t, tt.zone, tt.end)}
		from, to := q.windowBefore()
		if !from.Equal(at(t, tt.zone, tt.from)) || !to.Equal(at(t, tt.zone, tt.to)) {
			t.Errorf("%s of %s to %s: %v to %v", tt.comparison, tt.start, tt.end, from, to)
		}
	}
}

func TestClosedHours(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		people []int64
		want   []int
	}{
		{"nobody", []int64{0, 0, 0}, nil},
		{"many in each hour", []int64{5, 0, 9}, nil},
		{"few in one", []int64{0, 7, 4, 6, 6, 9}, []int{0, 2, 3}},
		{"few in all", []int64{1, 0, 2}, []int{0, 1, 2}},
	} {
		got := closedOfDay(0, tt.people)
		if slices.Sort(got); !slices.Equal(tt.want, got) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	// Each day closes its own hours.
	all := hours(at(t, "UTC", "2023-08-13 00:00"), at(t, "UTC", "2023-08-15 00:00"))
	people := make([]int64, len(all))
	people[3], people[40], people[41] = 8, 1, 8
	if closed := closedHours(all, [][]int64{people, make([]int64, len(all))}); len(closed) != 24 || slices.Min(closed) != 24 {
		t.Errorf("closed: %v", closed)
	}
}

// people are figures of so many persons of whom nothing else is told.
func people(n int64) *store.Figures { return &store.Figures{Cell: minute.Cell{People: n}} }

// A row of few is closed though no template closed it: somebody came after it was counted.
func TestCloseFew(t *testing.T) {
	t.Parallel()
	rows := table{rows: []row{{Figures: people(fewest - 1)}, {Figures: people(fewest)}, {Figures: people(0)}}}
	rows.close(question{by: []string{dimensionHourOfWeek}}, closings{}, false)
	for i, want := range []bool{true, false, false} {
		if r := rows.rows[i]; r.suppressed != want || want && r.People != 0 {
			t.Errorf("row %d: %+v, want suppressed %v", i, r, want)
		}
	}
}

// Whoever knows the day of each template and of all together, and every row that is told about some templates, learns of hours in sums
// alone: in the sum of what a template closed on a day at least five people are, or it told nothing of that day.
func TestClosedHoursTellNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		templates := rapid.SliceOfN(rapid.SliceOfN(rapid.Int64Range(0, 9), 24, 24), 1, 4).Draw(t, "people by template and hour")
		closed := make([]map[int]bool, len(templates))
		for i, people := range templates {
			closed[i] = map[int]bool{}
			for _, hour := range closedOfDay(0, people) {
				closed[i][hour] = true
			}
		}
		asked := rapid.SliceOfNDistinct(rapid.IntRange(0, len(templates)-1), 1, -1, rapid.ID[int]).Draw(t, "templates")
		for _, template := range asked {
			most, all := int64(0), true
			for hour, people := range templates[template] {
				told := !slices.ContainsFunc(asked, func(i int) bool { return closed[i][hour] })
				if told && people > 0 && people < fewest {
					t.Fatalf("hour %d of template %d is told", hour, template)
				}
				if closed[template][hour] {
					most = max(most, people)
				} else {
					all = false
				}
			}
			if len(closed[template]) > 0 && most < fewest && !all {
				t.Fatalf("the difference of the day and hours of template %d is of %d people", template, most)
			}
			// Neither do windows that take hours out of the day.
			begin := rapid.IntRange(0, 23).Draw(t, "begin")
			end := rapid.IntRange(begin+1, 24).Draw(t, "end")
			told, inside, beyond := true, int64(0), int64(0)
			for hour, people := range templates[template] {
				if begin <= hour && hour < end {
					inside, told = max(inside, people), told && !closed[template][hour]
				} else {
					beyond = max(beyond, people)
				}
			}
			if told && (inside > 0 && inside < fewest || beyond > 0 && beyond < fewest) {
				t.Fatalf("hours %d to %d are told: of %d people, and %d are in the others", begin, end, inside, beyond)
			}
		}
	})
}

// What is there on one side of a comparison alone is told as well: use, and samples without use, but not what is there without either.
func TestJoinWhatWasBefore(t *testing.T) {
	t.Parallel()
	named := func(name string, f *store.Figures) row {
		return row{keys: []*key{{QueryKey: store.QueryKey{Value: name}, value: name}}, Figures: f, period: timeless}
	}
	start := at(t, "UTC", "2023-08-14 00:00")
	q := question{by: []string{"user"}, start: start, end: startOfDay(start.AddDate(0, 0, 1)), comparison: comparePrevious}
	before := table{rows: []row{
		named("used", people(1)), named("measured", &store.Figures{Latency: minute.LatencyCell{Samples: 1}}),
		named("neither", people(0)),
	}}
	now := table{whole: row{Figures: people(0)}}
	now.join(before, q, start.AddDate(0, 0, -9))
	var got []string
	for _, r := range now.rows {
		got = append(got, r.keys[0].value)
	}
	if slices.Sort(got); !slices.Equal([]string{"measured", "used"}, got) {
		t.Errorf("rows of %v, want of what was used and of what was measured", got)
	}
}

// Rows stand in their order whatever their labels are made of, and the opposite order is the opposite.
func TestPositions(t *testing.T) {
	t.Parallel()
	named := func(name string, people int64) row {
		return row{keys: []*key{{value: name, label: name}}, Figures: &store.Figures{Cell: minute.Cell{People: people}}}
	}
	rows := []row{named("b", 1), named("a", 1), named("ab", 3), named("", 2), named("Ä", 1), {suppressed: true, keys: named("c", 0).keys}}
	for _, tt := range []struct {
		order order
		want  []string
	}{
		{order{metricActiveUsers, true}, []string{"ab", "", "a", "Ä", "b", "c"}},
		{order{metricActiveUsers, false}, []string{"a", "Ä", "b", "", "ab", "c"}},
		{order{"user", false}, []string{"", "a", "Ä", "ab", "b", "c"}},
		{order{"user", true}, []string{"c", "b", "ab", "Ä", "a", ""}},
	} {
		q := question{metrics: []string{metricActiveUsers}, by: []string{"user"}, order: tt.order}
		sorted, _ := table{rows: rows}.page(q, call.Page{})
		var got []string
		for _, r := range sorted {
			got = append(got, r.Item.keys[0].label)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.order, diff)
		}
	}
}

// everyFigure are figures of which each is another number.
func everyFigure() store.Figures {
	return store.Figures{
		Cell:    minute.Cell{Minutes: 1, People: 2, Launches: 3, Days: 4, Workspaces: 5, Peak: 6},
		Latency: minute.LatencyCell{Samples: 7, P50: 8, P95: 9},
		Time:    store.TimeFigures{Running: 10, Attended: 11, Unattended: 12, Unknown: 13},
		Builds:  store.BuildFigures{Builds: 14, Failed: 15, Ready: 1, P50: 16, P95: 17},
	}
}

// Each metric writes the field that has its name, and no other.
func TestMetrics(t *testing.T) {
	t.Parallel()
	want := map[string]any{
		"active_users": int64(2), "used_seconds": int64(60), "launches": int64(3), "active_days": int64(4), "peak_users": int64(6),
		"workspaces": int64(5), "latency_p50_ms": 8.0, "latency_p95_ms": 9.0, "latency_samples": int64(7), "running_seconds": int64(600),
		"attended_seconds": int64(660), "unattended_seconds": int64(720), "unknown_seconds": int64(780), "builds": int64(14),
		"failed_builds": int64(15), "ready_p50_seconds": 16.0, "ready_p95_seconds": 17.0,
	}
	told := everyFigure()
	fields := (&insightsv1.QueryValues{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		if !slices.Contains(metrics, name) {
			t.Fatalf("%s is no metric", name)
		}
		got := map[string]any{}
		question{metrics: []string{name}}.values(&told).ProtoReflect().Range(
			func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
				got[string(field.Name())] = value.Interface()
				return true
			})
		if diff := cmp.Diff(map[string]any{name: want[name]}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(metrics) != fields.Len() || len(metricOf) != fields.Len() {
		t.Errorf("%d metrics, %d in the table, %d fields", len(metrics), len(metricOf), fields.Len())
	}
	none := question{metrics: metrics}.values(&store.Figures{})
	if none.LatencyP50Ms != nil || none.LatencyP95Ms != nil || none.ReadyP50Seconds != nil || none.ReadyP95Seconds != nil {
		t.Errorf("times of nothing: %v", none)
	}
}

// An answer has a bound on its rows, and a page does not care how many there are.
func TestTooManyRows(t *testing.T) {
	t.Parallel()
	q := question{metrics: []string{metricActiveUsers}, by: []string{"user"}, order: order{metricActiveUsers, true}}
	many := table{whole: row{Figures: people(0)}, rows: make([]row, 3)}
	for i := range many.rows {
		many.rows[i] = row{Figures: people(1), keys: []*key{{value: strconv.Itoa(i)}}}
	}
	for _, tt := range []struct {
		most int
		page call.Page
		rows int // 0: refused
	}{{3, call.Page{}, 3}, {2, call.Page{}, 0}, {2, call.Page{Size: 3}, 3}} {
		answer := &insightsv1.QueryUsageResponse{}
		err := many.fill(answer, q, tt.page, tt.most)
		if len(answer.GetRows()) != tt.rows || (err == nil) != (tt.rows > 0) {
			t.Errorf("%+v: %d rows, %v", tt, len(answer.GetRows()), err)
		}
	}
}

// BenchmarkValues writes two metrics of 10,000 rows, beside what it took to write all and clear the others by reflection.
func BenchmarkValues(b *testing.B) {
	q, everything := question{metrics: []string{metricActiveUsers, metricSeconds}}, question{metrics: metrics}
	rows := slices.Repeat([]store.Figures{everyFigure()}, 10_000)
	b.Run("asked for", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range rows {
				q.values(&rows[i])
			}
		}
	})
	b.Run("cleared", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range rows {
				v := everything.values(&rows[i]).ProtoReflect()
				fields := v.Descriptor().Fields()
				for n := range fields.Len() {
					if !slices.Contains(q.metrics, string(fields.Get(n).Name())) {
						v.Clear(fields.Get(n))
					}
				}
			}
		}
	})
}
