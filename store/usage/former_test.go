package usage_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

// former is the person in the page of day 0 that a program of before wrote.
const former int64 = 5 << minute.SeatBits

// formerMinutes are those of connected sessions and of apps of that person.
const formerMinutes = 3 + 1

// addFormer gives a template that page on a day. Of another day than 0 it is damaged.
func (f *fixture) addFormer(t *testing.T, template uuid.UUID, day int32) {
	t.Helper()
	var parts [2][]byte
	for i, name := range []string{"usage", "latency"} {
		var err error
		if parts[i], err = os.ReadFile("../minute/testdata/format1/" + name + ".arrow"); err != nil {
			t.Fatal(err)
		}
	}
	err := f.db.Writes.Exec(`INSERT INTO usage_day (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)`,
		template, day, parts[0], parts[1]).Error
	if err != nil {
		t.Fatal(err)
	}
}

// minutesOn are the minutes of a person in a template on day 0, as another engine counts them that remembers nothing.
func (f *fixture) minutesOn(t *testing.T, subject int64, template uuid.UUID) int64 {
	t.Helper()
	_, e := f.engine(t, storetest.Now)
	start := time.Unix(0, 0)
	x, w := usage.NewIndex([]uuid.UUID{template}, false), minute.NewWindow(start, start.Add(24*time.Hour))
	tally, err := e.Count(t.Context(), x, minute.Everyone, w,
		func(template int, kind minute.Kind, _ string) (channel, within int) {
			if kind == minute.Login {
				return minute.Ignored, minute.NoChannel
			}
			return template, minute.NoChannel
		})
	if err != nil {
		t.Fatal(err)
	}
	return answer{Tally: tally}.minutes(subject)
}

// count is the number of rows of a table.
func (f *fixture) count(t *testing.T, table string) (n int64) {
	t.Helper()
	if err := f.db.Reads.Raw("SELECT COUNT(*) FROM " + table).Row().Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Damaged pages of format 1, more than one call takes and of the newest days, keep no other page from being rewritten.
func rewriteGoesPastDamage(t *testing.T, f *fixture) {
	for i := range 3 {
		f.addFormer(t, f.templates[0], int32(i+1))
	}
	whole := make([]uuid.UUID, 4)
	for i := range whole {
		whole[i] = uuid.New()
		f.addFormer(t, whole[i], 0)
	}
	var last *usage.Place
	failed := map[string]bool{}
	for calls := 1; ; calls++ {
		if calls > 4 {
			t.Fatal("rewriting does not come to an end")
		}
		var left int64
		var err error
		if last, left, err = f.Rewrite(t.Context(), last, 2); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				failed[line] = true
			}
		}
		if last == nil {
			if left != 3 || calls != 4 {
				t.Errorf("%d pages left after %d calls, want the 3 damaged ones after 4", left, calls)
			}
			break
		}
	}
	if len(failed) != 3 {
		t.Errorf("damaged pages are told as %v", failed)
	}
	for line := range failed {
		if !strings.Contains(line, f.templates[0].String()) {
			t.Errorf("%q does not name the template of the damaged page", line)
		}
	}
	if n := f.count(t, "usage_pages"); n != 4 {
		t.Errorf("%d pages of format 2, want 4", n)
	}
	for _, template := range whole {
		if got := f.minutesOn(t, former, template); got != formerMinutes {
			t.Errorf("%d minutes of a rewritten page, want %d", got, formerMinutes)
		}
	}
}

// Two servers rewrite while others fold into the same pages, questions are asked, and latencies are deleted: at every moment all minutes
// are counted, each once, and in the end there are no pages of format 1.
func rewriteBesideAll(t *testing.T, f *fixture) {
	templates := make([]uuid.UUID, 8)
	for i := range templates {
		templates[i] = uuid.New()
		f.addFormer(t, templates[i], 0)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var work, background sync.WaitGroup
	done := make(chan struct{})
	beside := func(what string, act func(e *usage.Engine) error) {
		_, e := f.engine(t, storetest.Now)
		background.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := act(e); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	beside("fold", func(e *usage.Engine) error {
		_, err := e.Fold(ctx)
		return err
	})
	beside("drop latencies", func(e *usage.Engine) error { return e.DropLatencies(ctx, templates[:4]) })
	beside("question", func(*usage.Engine) error {
		for i, template := range templates {
			if got := f.minutesOn(t, former, template); got != formerMinutes {
				t.Errorf("template %d: %d minutes, want %d", i, got, formerMinutes)
			}
		}
		return nil
	})
	var folded int64
	work.Go(func() {
		_, e := f.engine(t, storetest.Now)
		for bit := range 10 {
			for _, template := range templates {
				r := f.row(0, ann, 18, 1<<bit)
				r.Template, r.HalfHour = template, 18
				if err := e.Merge(ctx, []usage.OpenRow{r}); err != nil {
					t.Error("merge:", err)
					return
				}
			}
			folded++
		}
	})
	for range 2 {
		_, e := f.engine(t, storetest.Now)
		work.Go(func() {
			for {
				var last *usage.Place
				left := int64(1)
				var err error
				for first := true; first || last != nil; first = false {
					if last, left, err = e.Rewrite(ctx, last, 2); err != nil {
						t.Error("rewrite:", err)
						return
					}
				}
				if left == 0 {
					return
				}
			}
		})
	}
	work.Wait()
	close(done)
	background.Wait()
	if n := f.count(t, "usage_day"); n != 0 {
		t.Errorf("%d pages of format 1 are left", n)
	}
	for i, template := range templates {
		want := [2]int64{formerMinutes, folded}
		if got := [2]int64{f.minutesOn(t, former, template), f.minutesOn(t, ann, template)}; got != want {
			t.Errorf("template %d: minutes %v, want %v", i, got, want)
		}
	}
	rows, err := usage.RowsOf(t.Context(), f.Engine, minute.PersonOf(former), usage.Latencies)
	if err != nil {
		t.Fatal(err)
	}
	for i, template := range templates {
		samples := 0
		for _, r := range rows[usage.Place{Template: template}] {
			samples += r.Minutes.Count()
			if minute.SeatOf(r.Subject) != 0 {
				t.Errorf("a row of before is at seat %d", minute.SeatOf(r.Subject))
			}
		}
		if want := 5 * (i / 4); samples != want { // they were deleted of the first four
			t.Errorf("template %d has %d samples, want %d", i, samples, want)
		}
	}
}

// A page of format 1 whose latencies are deleted while it is rewritten loses them, whichever comes first.
func rewriteBesideDeletion(t *testing.T, f *fixture) {
	for stop, completed := 1, false; !completed; stop++ {
		if stop > 20 {
			t.Fatal("rewriting never completes")
		}
		template := uuid.New()
		f.addFormer(t, template, 0)
		ctx, cancel := context.WithCancel(t.Context())
		pool, e := f.engine(t, storetest.Now)
		var deleting sync.WaitGroup
		statements := 0
		after(t, pool.Writes, func() {
			if statements++; statements == stop {
				deleting.Go(func() {
					if err := f.DropLatencies(ctx, []uuid.UUID{template}); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(20 * time.Millisecond) // it is done by then, or waits
			}
		})
		_, _, err := e.Rewrite(ctx, nil, 10)
		deleting.Wait()
		completed = statements < stop
		cancel()
		if err != nil {
			t.Errorf("deletion after statement %d: %v", stop, err)
		}
		rows, err := usage.RowsOf(t.Context(), f.Engine, minute.PersonOf(former), usage.Latencies)
		if err != nil {
			t.Fatal(err)
		}
		if left := rows[usage.Place{Template: template}]; len(left) > 0 && !completed {
			t.Errorf("deletion after statement %d: %d rows of latencies are left", stop, len(left))
		}
	}
}
