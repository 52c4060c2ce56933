package usage_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

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
	if err := addPage(f.db.Writes, usage.Place{Template: template, Day: day}, parts[0], parts[1]); err != nil {
		t.Fatal(err)
	}
}

// addPage puts a page where those of format 1 are.
func addPage(tx *gorm.DB, at usage.Place, page, latency []byte) error {
	return tx.Exec(`INSERT INTO usage_day (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)`,
		at.Template, at.Day, page, latency).Error
}

// minutesOn are the minutes of a person in a template on day 0, as another engine counts them that remembers nothing.
func (f *fixture) minutesOn(t *testing.T, subject int64, template uuid.UUID) int64 {
	t.Helper()
	_, e := f.engine(t, storetest.Now)
	start := time.Unix(0, 0)
	x, w := usage.NewIndex([]uuid.UUID{template}, false), minute.NewWindow(start, start.Add(24*time.Hour))
	tally, err := e.Count(t.Context(), x, minute.Everyone, w,
		func(template int, kind minute.Kind, _ string, _ bool) (channel, within int) {
			if kind == minute.Login {
				return minute.Ignored, minute.NoChannel
			}
			return template, minute.NoChannel
		}, minute.Users)
	if err != nil {
		t.Fatal(err)
	}
	return answer{Tally: tally}.minutes(subject)
}

// some is so many pages, of whatever size.
func some(pages int) usage.Amount { return usage.Amount{Pages: pages, Bytes: math.MaxInt} }

// count is the number of rows of a table.
func (f *fixture) count(t *testing.T, table string) (n int64) {
	t.Helper()
	if err := f.db.Reads.Raw("SELECT COUNT(*) FROM " + table).Row().Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Damaged pages of format 1, more than one call takes and the last in their table, keep no other page from being rewritten.
func rewriteGoesPastDamage(t *testing.T, f *fixture) {
	whole := make([]uuid.UUID, 4)
	for i := range whole {
		whole[i] = uuid.New()
		f.addFormer(t, whole[i], 0)
	}
	for i := range 3 {
		f.addFormer(t, f.templates[0], int32(i+1))
	}
	past, left := 0, int64(len(whole)+3)
	failed := map[string]bool{}
	for calls := 1; left > int64(past); calls++ {
		if calls > 4 {
			t.Fatal("rewriting does not come to an end")
		}
		var more int
		var err error
		if more, left, err = f.Rewrite(t.Context(), past, some(2)); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				failed[line] = true
			}
		}
		past += more
	}
	if left != 3 {
		t.Errorf("%d pages left, want the 3 damaged ones", left)
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
				_, left, err := e.Rewrite(ctx, 0, some(2))
				if err != nil {
					t.Error("rewrite:", err)
					return
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
	rows, err := usage.RowsOf(t.Context(), f.Engine, []int64{minute.PersonOf(former)}, usage.Latencies)
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
		for _, connections := range []*gorm.DB{pool.Lookups, pool.Writes} {
			after(t, connections, func() {
				if statements++; statements == stop {
					deleting.Go(func() {
						if err := f.DropLatencies(ctx, []uuid.UUID{template}); err != nil {
							t.Error(err)
						}
					})
					time.Sleep(20 * time.Millisecond) // it is done by then, or waits
				}
			})
		}
		_, _, err := e.Rewrite(ctx, 0, some(10))
		deleting.Wait()
		completed = statements < stop
		cancel()
		if err != nil {
			t.Errorf("deletion after statement %d: %v", stop, err)
		}
		rows, err := usage.RowsOf(t.Context(), f.Engine, []int64{minute.PersonOf(former)}, usage.Latencies)
		if err != nil {
			t.Fatal(err)
		}
		if left := rows[usage.Place{Template: template}]; len(left) > 0 && !completed {
			t.Errorf("deletion after statement %d: %d rows of latencies are left", stop, len(left))
		}
	}
}

// In whichever order pages of format 1 lie, their room is given back while they are rewritten: the files grow by less than half.
func rewriteKeepsDisk(t *testing.T, f *fixture) {
	for name, order := range map[string]func(a, b usage.Place) int{
		"oldest first": usage.ComparePlaces,
		"newest first": func(a, b usage.Place) int { return usage.ComparePlaces(b, a) },
		"by template":  func(a, b usage.Place) int { return bytes.Compare(a.Template[:], b.Template[:]) },
	} {
		var places []usage.Place
		for range 8 {
			template := uuid.New()
			for day := range int32(20) {
				places = append(places, usage.Place{Template: template, Day: day})
			}
		}
		slices.SortStableFunc(places, order)
		before := f.disk(t)
		f.addLarge(t, places)
		full := f.disk(t)
		_, left, err := f.Rewrite(t.Context(), 0, usage.Amount{Pages: 8, Bytes: 1})
		if err != nil || left != int64(len(places)-1) {
			t.Fatalf("%s: of %d pages %d are left when bytes of one were to be rewritten: %v", name, len(places), left, err)
		}
		for left > 0 {
			if _, left, err = f.Rewrite(t.Context(), 0, some(8)); err != nil {
				t.Fatal(err)
			}
			if size := f.disk(t); size-before > (full-before)*3/2 {
				t.Fatalf("%s: %d bytes of pages take %d when %d of them are left", name, full-before, size-before, left)
			}
		}
	}
}

// addLarge puts pages of some kilobytes where those of format 1 are.
func (f *fixture) addLarge(t *testing.T, places []usage.Place) {
	t.Helper()
	err := f.db.InTransaction(t.Context(), func(tx *gorm.DB) error {
		for _, at := range places {
			rows := make([]minute.Row, 400)
			for i := range rows {
				rows[i] = minute.Row{HalfHour: at.Day * minute.HalfHoursPerDay, Subject: minute.SubjectOf(int64(1+i), 0), Minutes: 1}
			}
			page, err := minute.EncodePage(at.Day, rows)
			if err != nil {
				return err
			}
			if err := addPage(tx, at, page.Usage, []byte{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// disk is how many bytes the files of pages have, on SQLite the file of all.
func (f *fixture) disk(t *testing.T) (n int64) {
	t.Helper()
	size := `SELECT pg_total_relation_size('usage_day') + pg_total_relation_size('usage_pages')`
	if strings.HasPrefix(f.database, "sqlite:") {
		size = `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`
	}
	if err := f.db.Reads.Raw(size).Row().Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
