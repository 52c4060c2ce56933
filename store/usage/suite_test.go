package usage_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestSQLite(t *testing.T)   { run(t, storetest.SQLite) }
func TestPostgres(t *testing.T) { run(t, storetest.Postgres) }
func TestPooler(t *testing.T)   { run(t, storetest.Pooled) }

// run runs what every database must do for usage.
func run(t *testing.T, open func(testing.TB) string) {
	for name, test := range map[string]func(*testing.T, *fixture){
		"merge is union":                mergeIsUnion,
		"gate and latencies come apart": gateAndLatenciesApart,
		"fold changes no answer":        foldChangesNoAnswer,
		"age of what is folded":         ageOfFolded,
		"folders and writers at once":   foldersAndWriters,
		"stopped fold loses nothing":    stoppedFold,
		"fold beside question":          foldBesideQuestion,
		"what is not stored":            unstored,
		"rows of one subject":           rowsOfOne,
		"dropped latencies":             droppedLatencies,
		"rewrite goes past damage":      rewriteGoesPastDamage,
		"rewrite beside all":            rewriteBesideAll,
		"rewrite beside deletion":       rewriteBesideDeletion,
		"rewrite keeps disk":            rewriteKeepsDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newFixture(t, open(t)))
		})
	}
}

// fixture is an engine whose clock stands still and whose page cache is small.
type fixture struct {
	*usage.Engine
	db        *db.DB
	database  string
	templates [2]uuid.UUID
}

// Subjects of usage, of three people.
const (
	ann int64 = (11 + iota) << minute.SeatBits
	bob
	cid
)

var people = []int64{ann, bob, cid}

func newFixture(t *testing.T, database string) *fixture {
	t.Helper()
	f := &fixture{database: database, templates: [2]uuid.UUID{uuid.New(), uuid.New()}}
	f.db, f.Engine = f.engine(t, storetest.Now)
	return f
}

// engine is another engine on the database of the fixture, at another time.
func (f *fixture) engine(t testing.TB, now time.Time) (*db.DB, *usage.Engine) {
	t.Helper()
	d := storetest.OpenDB(t, f.database)
	return d, usage.New(d, func() time.Time { return now }, 16<<10)
}

// row is a connected half hour of a session at a time of the day of storetest.Now.
func (f *fixture) row(template int, subject int64, halfHour int32, minutes minute.Mask) usage.OpenRow {
	day := int32(storetest.Now.Unix()/86400) * minute.HalfHoursPerDay
	return usage.OpenRow{Template: f.templates[template], Row: minute.Row{
		HalfHour: day + halfHour, Subject: subject, Kind: minute.Session, App: "vscode", Minutes: minutes, Connected: true,
	}}
}

func (f *fixture) latency(template int, subject int64, halfHour int32, minutes minute.Mask, bins ...byte) usage.OpenRow {
	r := f.row(template, subject, halfHour, minutes)
	r.Kind, r.App, r.Connected, r.Bins = minute.Connection, "", false, bins
	return r
}

func (f *fixture) mustMerge(t testing.TB, rows ...usage.OpenRow) {
	t.Helper()
	if err := f.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// answer is what is known of the day of storetest.Now.
type answer struct {
	Tally   minute.Tally
	Latency map[int64]latency
}

type latency struct {
	Samples int64
	P50     float64
}

func (a answer) minutes(subject int64) int64 {
	for _, u := range a.Tally.Users {
		if u.Person == minute.PersonOf(subject) {
			return u.Minutes
		}
	}
	return 0
}

// ask asks an engine for all of it.
func (f *fixture) ask(t testing.TB, e *usage.Engine) answer {
	t.Helper()
	start := storetest.Now.Truncate(24 * time.Hour)
	w, x := minute.NewWindow(start, start.Add(24*time.Hour)), usage.NewIndex(f.templates[:], true)
	tally, err := e.Count(t.Context(), x, minute.Everyone, w, func(template int, _ minute.Kind, _ string, _ bool) (channel, within int) {
		return template, minute.NoChannel
	}, minute.Peaks, minute.Users)
	if err != nil {
		t.Fatal(err)
	}
	counter := minute.NewLatencyCounter(w, minute.Everyone)
	if err := usage.EachDay(t.Context(), e, x, w, usage.Latencies, counter.Add); err != nil {
		t.Fatal(err)
	}
	a := answer{tally, map[int64]latency{}}
	for _, subject := range people {
		a.Latency[subject] = latency{counter.Samples(minute.PersonOf(subject)), counter.Percentile(minute.PersonOf(subject), 0.5)}
	}
	return a
}

func mergeIsUnion(t *testing.T, f *fixture) {
	rows := []usage.OpenRow{
		f.row(0, ann, 18, 0b1111), f.row(0, ann, 18, 0b11000), f.row(1, ann, 18, 0b100001), // overlap of two templates
		f.row(0, bob, 23, 1), f.latency(0, ann, 18, 0b11, 100, 110), f.latency(0, ann, 18, 0b110, 120, 130),
	}
	f.mustMerge(t, rows...)
	want := f.ask(t, f.Engine)
	if got := want.minutes(ann); got != 6 {
		t.Errorf("in two templates: %d minutes, want 6", got)
	}
	if got := want.Latency[ann].P50; got != minute.BinValue(110) {
		t.Errorf("P50 = %v, want the first sample of each minute: %v", got, minute.BinValue(110))
	}
	for range 5 {
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		for _, r := range rows {
			f.mustMerge(t, r)
		}
		if diff := cmp.Diff(want, f.ask(t, f.Engine)); diff != "" {
			t.Fatalf("resending changed the answer (-first +again):\n%s", diff)
		}
	}
}

// What reports say one after the other about one half hour is united in the database.
func gateAndLatenciesApart(t *testing.T, f *fixture) {
	behindGate := func(minutes minute.Mask) usage.OpenRow {
		r := f.row(0, ann, 18, minutes)
		r.Connected = false
		return r
	}
	for i, step := range []struct {
		row  usage.OpenRow
		want int64
	}{
		{behindGate(0b1), 0},
		{f.row(0, ann, 18, 0b1), 1},
		{behindGate(0b10), 2},
		{behindGate(0b1), 2},
		{f.row(0, ann, 18, 0b100), 3},
		{f.latency(0, ann, 18, 0b1, 100), 3},
		{f.latency(0, ann, 18, 0b11, 200, 210), 3},
		{f.latency(0, ann, 18, 0b1, 250), 3},
	} {
		f.mustMerge(t, step.row)
		if got := f.ask(t, f.Engine).minutes(ann); got != step.want {
			t.Errorf("after row %d: %d minutes, want %d", i, got, step.want)
		}
	}
	want := latency{2, (minute.BinValue(100) + minute.BinValue(210)) / 2}
	if got := f.ask(t, f.Engine).Latency[ann]; got != want {
		t.Errorf("%+v; want the first sample of each of two minutes, %+v", got, want)
	}
}

func foldChangesNoAnswer(t *testing.T, f *fixture) {
	rows := []usage.OpenRow{
		f.row(0, ann, 18, 0b1111), f.row(1, ann, 19, 0b1), f.latency(0, ann, 18, 0b11, 100, 110), f.row(0, cid, 22, 1),
		f.row(0, bob, 23, 0b101),
	}
	f.mustMerge(t, rows...)
	want := f.ask(t, f.Engine)
	report, err := f.Fold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Half hour 23 ended at noon: too young at 12:00.
	if diff := cmp.Diff(usage.FoldReport{Pages: 2, Rows: 4}, report); diff != "" {
		t.Errorf("fold (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, f.ask(t, f.Engine)); diff != "" {
		t.Errorf("fold changed the answer (-before +after):\n%s", diff)
	}
	// Late, repeated and contradicting rows after the fold: bits unite, the earlier latency stays.
	f.mustMerge(t, append(rows, f.latency(0, ann, 18, 0b1, 200))...)
	if diff := cmp.Diff(want, f.ask(t, f.Engine)); diff != "" {
		t.Errorf("a repeat after the fold changed the answer:\n%s", diff)
	}
	// The second fold takes the repeats too; the third adds to the page what is in no row any more.
	for late, rows := range [][]usage.OpenRow{
		{f.row(0, ann, 18, 0b10000)}, {f.row(0, ann, 18, 0b100000), f.latency(0, ann, 18, 0b1001, 200, 130)},
	} {
		f.mustMerge(t, rows...)
		before := f.ask(t, f.Engine)
		if got, want := before.minutes(ann), want.minutes(ann)+int64(late+1); got != want {
			t.Errorf("late minute: got %d minutes, want %d", got, want)
		}
		if _, err := f.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, f.ask(t, f.Engine)); diff != "" {
			t.Errorf("fold %d changed the answer:\n%s", late+2, diff)
		}
	}
}

// A half hour is folded as soon as it ended five minutes ago, and the running one never.
func ageOfFolded(t *testing.T, f *fixture) {
	f.mustMerge(t, f.row(0, ann, 22, 1), f.row(0, ann, 23, 1), f.row(0, ann, 24, 1), f.row(0, ann, 25, 1))
	for _, c := range []struct {
		after time.Duration // noon
		rows  int
	}{
		{-25*time.Minute - time.Second, 0},
		{-25 * time.Minute, 1},
		{0, 0},
		{5*time.Minute - time.Second, 0},
		{5 * time.Minute, 1},
		{34 * time.Minute, 0},
		{35 * time.Minute, 1},
	} {
		_, at := f.engine(t, storetest.Now.Add(c.after))
		if report, err := at.Fold(t.Context()); err != nil || report.Rows != c.rows {
			t.Errorf("%v after noon %d rows were folded, %v; want %d", c.after, report.Rows, err, c.rows)
		}
		if got := f.ask(t, f.Engine).minutes(ann); got != 4 {
			t.Errorf("%v after noon: %d minutes, want 4", c.after, got)
		}
	}
}

// Three writers, two folders and a reader at once: every bit written must be there in the end, and no reader may see fewer than were
// acknowledged before it asked.
func foldersAndWriters(t *testing.T, f *fixture) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, second := f.engine(t, storetest.Now)
	var work, background sync.WaitGroup
	done := make(chan struct{})
	for _, e := range []*usage.Engine{f.Engine, second} {
		background.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := e.Fold(ctx); err != nil {
					t.Error("fold:", err)
					return
				}
			}
		})
	}
	const halfHours = 20 // all of them old enough to be folded
	for writer, subject := range people {
		work.Go(func() {
			e := []*usage.Engine{f.Engine, second}[writer%2]
			var acknowledged int64
			for _, bit := range rand.Perm(30) {
				var rows []usage.OpenRow
				for h := range int32(halfHours) {
					rows = append(rows, f.row(0, subject, h, 1<<bit), f.row(1, subject, h, 1<<bit))
				}
				if err := e.Merge(ctx, rows); err != nil {
					t.Error("merge:", err)
					return
				}
				acknowledged += halfHours
				if got := f.ask(t, e).minutes(subject); got < acknowledged {
					t.Errorf("writer %d: %d minutes acknowledged, %d in the answer", writer, acknowledged, got)
				}
			}
		})
	}
	work.Wait()
	close(done)
	background.Wait()
	for _, subject := range people {
		if got := f.ask(t, f.Engine).minutes(subject); got != halfHours*30 {
			t.Errorf("subject %d: %d minutes, want %d", subject, got, halfHours*30)
		}
	}
}

// after calls f after every statement of a pool.
func after(t testing.TB, pool *gorm.DB, f func()) {
	t.Helper()
	after := func(*gorm.DB) { f() }
	callbacks := pool.Callback()
	for _, err := range []error{
		callbacks.Raw().After("*").Register("test", after), callbacks.Query().After("*").Register("test", after),
		callbacks.Row().After("*").Register("test", after),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A fold that is stopped after any of its statements, while writers merge into the very rows that it takes, loses
// nothing.
func stoppedFold(t *testing.T, f *fixture) {
	var want int64
	check := func(when string, stop int) {
		t.Helper()
		for _, subject := range people {
			if got := f.ask(t, f.Engine).minutes(subject); got != want {
				t.Errorf("%s %d: subject %d has %d minutes, want %d", when, stop, subject, got, want)
			}
		}
	}
	completed, stop := false, 1
	for ; !completed; stop++ {
		if stop > 20 {
			t.Fatal("the fold never completes")
		}
		bit := minute.Mask(1) << stop
		f.mustMerge(t, f.row(0, ann, 18, bit))
		want++
		ctx, cancel := context.WithCancel(t.Context())
		pool, folder := f.engine(t, storetest.Now)
		statements := 0
		after(t, pool.Writes, func() {
			if statements++; statements == stop {
				cancel()
			}
		})
		var writers sync.WaitGroup
		for _, subject := range people[1:] {
			writers.Go(func() { f.mustMerge(t, f.row(0, subject, 18, bit), f.row(0, ann, 18, bit)) })
		}
		report, err := folder.Fold(ctx)
		completed = ctx.Err() == nil && err == nil && report.Pages == 1
		cancel()
		writers.Wait()
		check("stopped after statement", stop)
	}
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("in the end, after statement", stop)
}

// A fold between any two statements of a question changes nothing of its answer.
func foldBesideQuestion(t *testing.T, f *fixture) {
	for stop, folded := 1, true; folded; stop++ {
		folded = false
		pool, reader := f.engine(t, storetest.Now)
		if stop%2 == 0 { // it may remember the page of the fold before
			f.ask(t, reader)
		}
		f.mustMerge(t, f.row(0, ann, 18, 1<<stop))
		statements := 0
		after(t, pool.Reads, func() {
			if statements++; statements == stop {
				report, err := f.Fold(t.Context())
				folded = err == nil && report.Rows == 1
			}
		})
		if got := f.ask(t, reader).minutes(ann); got != int64(stop) {
			t.Errorf("a fold after statement %d: %d minutes, want %d", stop, got, stop)
		}
		if stop == 1 && !folded {
			t.Error("nothing was folded")
		}
	}
}

// Rows that add nothing to what is stored are told from those that do.
func unstored(t *testing.T, f *fixture) {
	row := func(halfHour int32, subject int64, kind minute.Kind, app string, m minute.Mask) usage.OpenRow {
		r := f.row(0, subject, halfHour, m)
		r.Kind, r.App, r.Connected = kind, app, false
		if kind == minute.Connection {
			r.Bins = make([]byte, m.Count())
		}
		return r
	}
	unstored := func(rows ...usage.OpenRow) int {
		fresh, err := f.Unstored(t.Context(), rows)
		if err != nil {
			t.Fatal(err)
		}
		return len(fresh)
	}
	const old = -100 * minute.HalfHoursPerDay
	rows := []usage.OpenRow{
		row(0, ann, minute.Session, "ssh", 0b1), row(0, ann, minute.Connection, "", 0b1), row(old, ann, minute.App, "code", 0b11),
		row(old, bob, minute.ImportedSession, "ssh", 0b11), row(old, bob, minute.ImportedSession, "vscode", 0b11),
	}
	if n := unstored(append(rows, rows...)...); n != len(rows) {
		t.Fatalf("%d of %d rows are unstored in an empty database", n, len(rows))
	}
	f.mustMerge(t, rows[:4]...)
	connected := row(0, ann, minute.Session, "ssh", 0b1)
	connected.Connected = true
	for _, where := range []string{"rows", "pages"} {
		for _, c := range []struct {
			name string
			row  usage.OpenRow
			want int
		}{
			{"the same minutes", rows[0], 0},
			{"another minute", row(0, ann, minute.Session, "ssh", 0b11), 1},
			{"another app", row(0, ann, minute.Session, "vscode", 0b1), 1},
			{"another user", row(0, bob, minute.Session, "ssh", 0b1), 1},
			{"an open gate", connected, 1},
			{"a known sample", rows[1], 0},
			{"another sample", row(0, ann, minute.Connection, "", 0b10), 1},
			{"fewer minutes", row(old, ann, minute.App, "code", 0b10), 0},
			{"an estimate where its kind was measured", row(0, ann, minute.ImportedSession, "jetbrains", 0b1), 0},
			{"an estimate where another seat of the person was measured", row(0, ann+1, minute.ImportedSession, "jetbrains", 0b1), 0},
			{"the same minutes at another seat", row(0, ann+1, minute.Session, "ssh", 0b1), 1},
			{"an estimate where another kind was measured", row(old, ann, minute.ImportedSession, "jetbrains", 0b1), 1},
			{"another estimate of the same", row(old, bob, minute.ImportedSession, "ssh", 0b100), 0},
			{"the same estimate at another seat", row(old, bob+1, minute.ImportedSession, "ssh", 0b100), 0},
			{"the estimate of another app", rows[4], 1},
		} {
			if got := unstored(c.row); got != c.want {
				t.Errorf("in %s, %s: %d unstored, want %d", where, c.name, got, c.want)
			}
		}
		if _, err := f.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// All that is stored of one subject comes from rows and pages, and nothing of others.
func rowsOfOne(t *testing.T, f *fixture) {
	f.mustMerge(t, f.row(0, ann, 18, 0b11), f.row(1, ann, 18, 0b100), f.row(0, bob, 18, 0b1000), f.latency(0, ann, 18, 0b1, 7))
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mustMerge(t, f.row(0, ann, 18, 0b110), f.row(0, bob, 19, 1))
	day := int32(storetest.Now.Unix() / 86400)
	used, err := usage.RowsOf(t.Context(), f.Engine, []int64{minute.PersonOf(ann)}, usage.Minutes)
	if err != nil {
		t.Fatal(err)
	}
	want := map[usage.Place][]minute.Row{
		{Template: f.templates[0], Day: day}: {f.row(0, ann, 18, 0b111).Row},
		{Template: f.templates[1], Day: day}: {f.row(1, ann, 18, 0b100).Row},
	}
	if diff := cmp.Diff(want, used); diff != "" {
		t.Errorf("minutes (-want +got):\n%s", diff)
	}
	latencies, err := usage.RowsOf(t.Context(), f.Engine, []int64{minute.PersonOf(ann)}, usage.Latencies)
	if err != nil {
		t.Fatal(err)
	}
	want = map[usage.Place][]minute.Row{{Template: f.templates[0], Day: day}: {f.latency(0, ann, 18, 0b1, 7).Row}}
	if diff := cmp.Diff(want, latencies); diff != "" {
		t.Errorf("latencies (-want +got):\n%s", diff)
	}
	places := slices.SortedFunc(func(yield func(usage.Place) bool) {
		for at := range used {
			if !yield(at) {
				return
			}
		}
	}, usage.ComparePlaces)
	if len(places) != 2 || slices.Compare(places[0].Template[:], places[1].Template[:]) >= 0 {
		t.Errorf("places are %v", places)
	}
}

// Latencies of a template are deleted from rows and pages, others and all minutes stay.
func droppedLatencies(t *testing.T, f *fixture) {
	f.mustMerge(t, f.row(0, ann, 18, 0b11), f.latency(0, ann, 18, 0b1, 7), f.latency(1, bob, 18, 0b1, 9))
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mustMerge(t, f.latency(0, ann, 20, 0b1, 7))
	want := f.ask(t, f.Engine)
	if err := f.DropLatencies(t.Context(), f.templates[:1]); err != nil {
		t.Fatal(err)
	}
	want.Latency[ann] = latency{0, -1}
	if diff := cmp.Diff(want, f.ask(t, f.Engine)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Two folds of one page at once: the one that read it before the other wrote it gives way, and nothing is lost.
func TestFoldBesideFold(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.Postgres(t))
	_, other := f.engine(t, storetest.Now.Add(-6*time.Hour)) // half hours from 11 on are too young for it
	completed, folded := false, 0
	for stop := 1; !completed; stop++ {
		if stop > 10 {
			t.Fatal("the fold never completes")
		}
		f.mustMerge(t, f.row(0, ann, 18, 1<<stop))
		pool, folder := f.engine(t, storetest.Now)
		statements := 0
		after(t, pool.Writes, func() {
			if statements++; statements == stop {
				f.mustMerge(t, f.row(0, bob, int32(stop-1), 1)) // of the same page
				report, err := other.Fold(t.Context())
				if err != nil {
					t.Error(err)
				}
				folded += report.Rows
			}
		})
		if _, err := folder.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		completed = statements < stop
		turns := int64(stop)
		if completed {
			turns-- // the other fold had no turn
		}
		got := f.ask(t, f.Engine)
		if got.minutes(ann) != int64(stop) || got.minutes(bob) != turns {
			t.Errorf("beside statement %d: %d and %d minutes, want %d and %d", stop, got.minutes(ann), got.minutes(bob), stop, turns)
		}
	}
	if folded < 2 {
		t.Errorf("the other fold had %d turns", folded)
	}
}

// A fold gives way to a transaction that holds one of its rows, and the rows stay.
func TestFoldGivesWay(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.Postgres(t))
	f.mustMerge(t, f.row(0, ann, 18, 1))
	holder := storetest.OpenDB(t, f.database).Writes.WithContext(t.Context()).Begin()
	if err := holder.Exec("SELECT 1 FROM usage_rows FOR UPDATE").Error; err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	report, err := f.Fold(t.Context())
	if err != nil || report != (usage.FoldReport{Late: 1}) {
		t.Errorf("fold beside a lock: %+v, %v; want one page left for later", report, err)
	}
	if waited := time.Since(begin); waited > 5*time.Second {
		t.Errorf("fold waited %v", waited)
	}
	if err := holder.Rollback().Error; err != nil {
		t.Fatal(err)
	}
	if report, err := f.Fold(t.Context()); err != nil || report.Rows != 1 {
		t.Errorf("fold after the lock: %+v, %v", report, err)
	}
}

// A damaged page is an error that names it, never a silent zero.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.SQLite(t))
	f.mustMerge(t, f.row(0, ann, 18, 1))
	if _, err := f.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Writes.Exec("UPDATE usage_pages SET usage = substr(usage, 1, length(usage) / 2)").Error; err != nil {
		t.Fatal(err)
	}
	_, err := usage.RowsOf(t.Context(), f.Engine, []int64{minute.PersonOf(ann)}, usage.Minutes)
	for _, part := range []string{"usage page of template", f.templates[0].String(), "day 19584"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("reading a damaged page: %v; want %q", err, part)
		}
	}
}
