package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// retention: days that ended before the moments go, of pages and of the present, and nothing else.
func retention(t *testing.T, f *Fixture) {
	midnight := Now.Truncate(24 * time.Hour)
	on := func(daysAgo int32, r store.OpenRow) store.OpenRow {
		r.HalfHour -= daysAgo * minute.HalfHoursPerDay
		return r
	}
	var rows []store.OpenRow
	for _, daysAgo := range []int32{0, 1, 2, 3, 4} {
		rows = append(rows, on(daysAgo, f.Row(0, 0, 20, 0b11)), on(daysAgo, f.latency(0, 0, 20, 0b11, 100, 110)))
	}
	week := minute.NewWindow(midnight.AddDate(0, 0, -7), Now)
	kept := func() (minutes, samples int64) {
		t.Helper()
		users, _, err := f.UserLatency(t.Context(), f.Everything, minute.People, week)
		if err != nil || len(users) != 1 {
			t.Fatal(users, err)
		}
		return users[0].Minutes, users[0].Samples
	}
	expire := func(usageBefore, latencyBefore time.Time) int64 {
		t.Helper()
		n, err := f.Expire(t.Context(), store.Horizons{Usage: usageBefore, Latency: latencyBefore})
		if err != nil {
			t.Fatal(err)
		}
		return n[store.ExpiredUsage] + n[store.ExpiredLatency]
	}
	want := func(what string, minutes, samples int64) {
		t.Helper()
		gotMinutes, gotSamples := kept()
		if diff := cmp.Diff([]int64{minutes, samples}, []int64{gotMinutes, gotSamples}); diff != "" {
			t.Errorf("%s: minutes and samples (-want +got):\n%s", what, diff)
		}
	}
	f.MustMerge(t, rows...)
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.MustMerge(t, rows...) // late, so that every day is in a page and in rows
	if n := expire(time.Time{}, time.Time{}); n != 0 {
		t.Errorf("without a limit %d pages and rows are gone", n)
	}
	want("without a limit", 10, 10)
	// Noon of the day before yesterday: the day itself stays.
	if n := expire(time.Time{}, Now.AddDate(0, 0, -2)); n != 4 {
		t.Errorf("latencies of two days: %d pages and rows are gone, want 4", n)
	}
	want("latencies of three days", 10, 6)
	if n := expire(Now.AddDate(0, 0, -3), Now.AddDate(0, 0, -2)); n != 2 {
		t.Errorf("usage of a day: %d pages and rows are gone, want 2", n)
	}
	want("usage of four days", 8, 6)
	if n := expire(Now.AddDate(0, 0, -3), Now.AddDate(0, 0, -2)); n != 0 {
		t.Errorf("again %d pages and rows are gone", n)
	}
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after another fold", 8, 6)
	// The page of a day that begins again is another one, whatever is remembered of the first.
	f.MustMerge(t, on(4, f.Row(0, 0, 20, 0b1)))
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("a day that began again", 9, 6)
}
