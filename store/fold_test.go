package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// A fold that is stopped after any of its statements, while writers merge into the very rows that it takes, loses
// nothing.
func TestStoppedFoldLosesNothing(t *testing.T) {
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			var want int64
			completed := false
			for stop := 1; !completed; stop++ {
				if stop > 20 {
					t.Fatal("the fold never completes")
				}
				bit := minute.Mask(1) << stop
				f.MustMerge(t, f.Row(0, 0, 18, bit))
				want++
				ctx, cancel := context.WithCancel(t.Context())
				folder := storetest.Open(t, f.Database, storetest.Now)
				statements := 0
				if err := folder.AfterWrite(func() {
					if statements++; statements == stop {
						cancel()
					}
				}); err != nil {
					t.Fatal(err)
				}
				var writers sync.WaitGroup
				for user := range 2 {
					writers.Go(func() { f.MustMerge(t, f.Row(0, user+1, 18, bit), f.Row(0, 0, 18, bit)) })
				}
				report, err := folder.Fold(ctx)
				completed = ctx.Err() == nil && err == nil && report.Pages == 1
				cancel()
				writers.Wait()
				for _, u := range f.Ask(t).Activity {
					if u.Minutes != want {
						t.Errorf("stopped after statement %d: %s has %d minutes, want %d", stop, u.Username, u.Minutes, want)
					}
				}
			}
			if _, err := f.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, u := range f.Ask(t).Activity {
				if u.Minutes != want {
					t.Errorf("in the end: %s has %d minutes, want %d", u.Username, u.Minutes, want)
				}
			}
		})
	}
}

// Two folds of one page at once: the one that read it before the other wrote it gives way, and nothing is lost.
func TestFoldBesideFold(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.Postgres(t))
	other := storetest.Open(t, f.Database, storetest.Now.Add(-6*time.Hour)) // half hours from 10 on are too young for it
	completed, folded := false, 0
	for stop := 1; !completed; stop++ {
		if stop > 10 {
			t.Fatal("the fold never completes")
		}
		f.MustMerge(t, f.Row(0, 0, 18, 1<<stop))
		folder := storetest.Open(t, f.Database, storetest.Now)
		statements := 0
		if err := folder.AfterWrite(func() {
			if statements++; statements == stop {
				f.MustMerge(t, f.Row(0, 1, int32(stop-1), 1)) // of the same page
				report, err := other.Fold(t.Context())
				if err != nil {
					t.Error(err)
				}
				folded += report.Rows
			}
		}); err != nil {
			t.Fatal(err)
		}
		_, err := folder.Fold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		completed = statements < stop
		for _, u := range f.Ask(t).Activity {
			want := int64(stop)
			if completed && u.UserID == f.Users[1] {
				want-- // the other fold had no turn
			}
			if u.Minutes != want {
				t.Errorf("beside statement %d: %s has %d minutes, want %d", stop, u.Username, u.Minutes, want)
			}
		}
	}
	if folded < 2 {
		t.Errorf("the other fold had %d turns", folded)
	}
}

// A fold between any two statements of a question changes nothing of its answer.
func TestFoldBesideQuestion(t *testing.T) {
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			ask := func(reader *store.Store, want int) {
				t.Helper()
				day := storetest.Now.Truncate(24 * time.Hour)
				users, _, err := reader.UserActivity(t.Context(), f.Everything, minute.NewWindow(day, day.Add(24*time.Hour)))
				if err != nil || len(users) != 1 || users[0].Minutes != int64(want) {
					t.Errorf("%+v, %v; want %d minutes", users, err, want)
				}
			}
			for stop, folded := 1, true; folded; stop++ {
				folded = false
				reader := storetest.Open(t, f.Database, storetest.Now)
				if stop%2 == 0 { // it may remember the page of the fold before
					ask(reader, stop-1)
				}
				f.MustMerge(t, f.Row(0, 0, 18, 1<<stop))
				statements := 0
				if err := reader.AfterRead(func() {
					if statements++; statements == stop {
						report, err := f.Fold(t.Context())
						folded = err == nil && report.Rows == 1
					}
				}); err != nil {
					t.Fatal(err)
				}
				ask(reader, stop)
				if stop == 1 && !folded {
					t.Error("nothing was folded")
				}
			}
		})
	}
}

// A fold gives way to a transaction that holds one of its rows, and the rows stay.
func TestFoldGivesWay(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.Postgres(t))
	f.MustMerge(t, f.Row(0, 0, 18, 1))
	holder := storetest.Open(t, f.Database, storetest.Now)
	held, release := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := holder.HoldRows(held, release); err != nil {
			t.Error(err)
		}
	})
	<-held
	begin := time.Now()
	report, err := f.Fold(t.Context())
	if err != nil || report != (store.FoldReport{Late: 1}) {
		t.Errorf("fold beside a lock: %+v, %v; want one page left for later", report, err)
	}
	if waited := time.Since(begin); waited > 5*time.Second {
		t.Errorf("fold waited %v", waited)
	}
	close(release)
	wait.Wait()
	if report, err := f.Fold(t.Context()); err != nil || report.Rows != 1 {
		t.Errorf("fold after the lock: %+v, %v", report, err)
	}
}

// A damaged page is an error that names it, never a silent zero.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	f.MustMerge(t, f.Row(0, 0, 18, 1))
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.ExecForTest("UPDATE usage_day SET usage = substr(usage, 1, length(usage) / 2)"); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.UserActivity(t.Context(), f.Everything, minute.NewWindow(storetest.Now.Truncate(24*time.Hour), storetest.Now))
	if err == nil || !containsAll(err.Error(), "usage page of template", f.Templates[0].String(), "day 19584") {
		t.Errorf("reading a damaged page: %v", err)
	}
}
