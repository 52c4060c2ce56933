package coder

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// What a child process follows, and where to.
const (
	childDatabase = "FOLLOW_TEST_DATABASE"
	childFrom     = "FOLLOW_TEST_FROM"
	childInterval = "FOLLOW_TEST_INTERVAL" // empty: all the time
)

// quicken makes an importer look for what is new all the time.
func (i *Importer) quicken() {
	i.interval, i.term = 20*time.Millisecond, 300*time.Millisecond
}

// follower is a child process that follows until it is ended.
func follower() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	to, err := store.Open(ctx, store.Options{Database: os.Getenv(childDatabase)})
	if err == nil {
		var from *Database
		if from, err = Open(ctx, os.Getenv(childFrom)); err == nil {
			interval, _ := time.ParseDuration(os.Getenv(childInterval))
			o := Options{Interval: interval, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
			var i *Importer
			if i, err = NewImporter(ctx, from, to, o); err == nil {
				if interval == 0 {
					i.quicken()
				}
				err = i.Follow(ctx)
			}
		}
	}
	if err != nil {
		slog.Error("follow", "error", err)
		return 1
	}
	return 0
}

// live adds a report and a session that go on now.
func (w *world) live(t testing.TB, n int) {
	t.Helper()
	w.liveAt(t, n, time.Now())
}

// liveAt adds them at a moment.
func (w *world) liveAt(t testing.TB, n int, at time.Time) {
	t.Helper()
	r := report{at: at, template: n % 2, user: n % 3, vscode: true, connections: 1, latency: float64(5 + n)}
	s := session{template: n % 2, user: (n + 1) % 3, app: "code", started: at, ended: at.Add(time.Second)}
	w.reports, w.sessions = append(w.reports, r), append(w.sessions, s)
	w.exec(t, `INSERT INTO workspace_agent_stats (created_at, user_id, template_id, workspace_id, connection_count,
		connection_median_latency_ms, session_counts)
		VALUES ($1, $2, $3, $4, 1, $5, '{"vscode": 1}')`, r.at, w.users[r.user], w.templates[r.template],
		w.workspaces[r.template][r.user], r.latency)
	w.exec(t, `INSERT INTO workspace_app_stats (user_id, workspace_id, access_method, slug_or_port, session_started_at, session_ended_at)
		VALUES ($1, $2, 'path', $3, $4, $5)`, w.users[s.user], w.workspaces[s.template][s.user], s.app, s.started, s.ended)
}

// A follower that is killed again and again, at any moment, ends with what one import without interruption has. FOLLOW_KILLS
// says how often.
func TestFollowKilled(t *testing.T) {
	t.Parallel()
	kills := 3
	if text := os.Getenv("FOLLOW_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t, codertest.Newest, 2)
	database := storetest.Postgres(t)
	to := openStore(t, database)
	for n := range kills {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDatabase+"="+database, childFrom+"="+w.url)
		child.Stderr = os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Every other time while it follows, otherwise at any moment.
		moment := time.After(rand.N(2 * time.Second))
		if n%2 == 1 {
			moment = nil
		}
		begin := time.Now()
		for alive := true; alive; {
			w.live(t, n)
			select {
			case <-moment:
				alive = false
			case <-time.After(20 * time.Millisecond):
				until, err := to.ImportedUntil(t.Context(), "coder "+w.organization.String())
				if err != nil {
					t.Fatal(err)
				}
				if moment == nil && until.After(begin) {
					moment = time.After(rand.N(500 * time.Millisecond))
				}
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
	}
	whole := openStore(t, storetest.Postgres(t))
	r := runImport(t, w.url, to, Options{})
	runImport(t, w.url, whole, Options{})
	w.check(t, to)
	if diff := cmp.Diff(ask(t, whole, w.begin), ask(t, to, w.begin)); diff != "" {
		t.Errorf("after %d kills: %s", kills, diff)
	}
	t.Logf("%d kills; the last import added %+v", kills, r)
}

// What happens in the deployment is here without another import, a workspace of a new template too, and what nobody may see any
// more is gone.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	w.exec(t, `UPDATE users SET rbac_roles = '{auditor}' WHERE id = $1`, w.users[0])
	to := openStore(t, storetest.SQLite(t))
	i, done := newImporter(t, w.url, to, Options{})
	defer done()
	i.quicken()
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- i.Follow(ctx) }()
	auditors := func() (n int) {
		bindings, err := to.RoleBindings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bindings {
			if b.Role == "auditor" {
				n++
			}
		}
		return n
	}
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.After(30 * time.Second); !is(); {
			select {
			case <-deadline:
				t.Fatal(what)
			case err := <-followed:
				t.Fatal("following ended:", err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	wait("the past does not come", func() bool { return auditors() == 1 })
	w.exec(t, `UPDATE users SET rbac_roles = '{}' WHERE id = $1`, w.users[0])
	before := time.Now().Truncate(time.Minute)
	w.live(t, 0)
	wait("the role stays", func() bool { return auditors() == 0 })
	wait("what is new does not come", func() bool { return len(ask(t, to, before).Activity) == 2 })
	stop()
	if err := <-followed; err != nil {
		t.Error(err)
	}

	// As after a break of an hour, in which work went on.
	i.until = time.Now().Add(-time.Hour)
	for ago := 65 * time.Minute; ago >= 0; ago -= 5 * time.Minute {
		w.liveAt(t, int(ago/time.Minute)%6, time.Now().Add(-ago))
	}
	if err := i.usage(t.Context(), window{from: since(i.until)}, i.unlessRecent); err != nil {
		t.Fatal(err)
	}
	w.check(t, to)
}

// countLogs counts the records with a message.
type countLogs struct {
	slog.Handler
	message string
	count   *atomic.Int64
}

func (c countLogs) Enabled(context.Context, slog.Level) bool { return true }

func (c countLogs) Handle(_ context.Context, r slog.Record) error {
	if r.Message == c.message {
		c.count.Add(1)
	}
	return nil
}

// Of two processes one follows. The other one takes over when it ends, and one whose place was taken leaves it, and comes back after that.
func TestFollowOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	database := storetest.Postgres(t)
	to := openStore(t, database)
	var begun [2]atomic.Int64
	var end [2]func()
	for n := range end {
		i, done := newImporter(t, w.url, openStore(t, database), Options{})
		i.quicken()
		i.logger = slog.New(countLogs{slog.DiscardHandler, "following", &begun[n]})
		ctx, stop := context.WithCancel(t.Context())
		followed := make(chan error, 1)
		go func() { followed <- i.Follow(ctx) }()
		end[n] = sync.OnceFunc(func() {
			stop()
			if err := <-followed; err != nil {
				t.Errorf("process %d: %v", n, err)
			}
			done()
		})
		defer end[n]()
	}
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.After(time.Minute); !is(); {
			select {
			case <-deadline:
				t.Fatal(what)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	wait("nobody follows", func() bool { return begun[0].Load()+begun[1].Load() > 0 })
	time.Sleep(time.Second) // some terms
	first := 0
	if begun[1].Load() > 0 {
		first = 1
	}
	second := 1 - first
	if begun[first].Load() != 1 || begun[second].Load() != 0 {
		t.Fatalf("%d and %d begin to follow", begun[0].Load(), begun[1].Load())
	}
	followed, err := to.Followed(t.Context())
	if err != nil || len(followed) != 1 || followed[0].UsageUntil.Before(followed[0].Until) || followed[0].Until.IsZero() {
		t.Errorf("followed: %+v, %v", followed, err)
	}

	end[first]()
	wait("nobody takes over", func() bool { return begun[second].Load() == 1 })
	err = storetest.OpenDB(t, database).Writes.Exec(
		`UPDATE imports SET follower = 'another', followed_until = ?`, store.At(time.Now().Add(2*time.Second)),
	).Error
	if err != nil {
		t.Fatal(err)
	}
	wait("it does not come back", func() bool { return begun[second].Load() == 2 })
	end[second]()
	if follows, err := to.Follow(t.Context(), "coder "+w.organization.String(), "third", time.Hour); err != nil || !follows {
		t.Errorf("a third one in the end: %v, %v", follows, err)
	}
}

// What Coder has is here within 15 seconds, at the fastest pace that the documents recommend.
func TestFollowKeepsPace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	to := openStore(t, storetest.SQLite(t))
	i, done := newImporter(t, w.url, to, Options{Interval: 5 * time.Second})
	defer done()
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- i.Follow(ctx) }()
	before := time.Now().Truncate(time.Minute)
	minutes := func() (n int64) {
		for _, of := range ask(t, to, before).Insights {
			for _, app := range of.Apps {
				if app.Slug == "vscode" {
					n += app.Minutes
				}
			}
		}
		return n
	}
	for n := range w.users { // the first comes with the past
		w.live(t, n)
		begin := time.Now()
		for minutes() <= int64(n) {
			if time.Since(begin) > 15*time.Second {
				t.Fatalf("report %d does not come", n)
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("report %d came after %v", n, time.Since(begin).Round(100*time.Millisecond))
	}
	stop()
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

// Of the sessions of apps a look reads those that the one before it saw and newer ones. One that went on after it was quiet comes when all
// are read again.
func TestFollowSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	to := openStore(t, storetest.SQLite(t))
	i, done := newImporter(t, w.url, to, Options{})
	defer done()
	var ids [2]int64
	for n, ago := range []time.Duration{3 * time.Minute, 3 * overlap} { // one goes on, one is quiet
		w.liveAt(t, n, time.Now().Add(-ago))
		if err := w.conn.QueryRow(t.Context(), `SELECT MAX(id) FROM workspace_app_stats`).Scan(&ids[n]); err != nil {
			t.Fatal(err)
		}
	}
	last := len(w.sessions)
	goOn := func(n int) {
		t.Helper()
		at := time.Now()
		w.exec(t, `UPDATE workspace_app_stats SET session_ended_at = $2 WHERE id = $1`, ids[n], at)
		w.sessions[last-2+n].ended = at
	}
	w.exec(t, `ALTER SEQUENCE workspace_app_stats_id_seq RESTART WITH 1000000`)
	w.live(t, 2)
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		if err := i.usage(t.Context(), window{from: since(i.until)}, i.unlessRecent); err != nil {
			t.Fatal(err)
		}
	}
	look()
	goOn(0)
	w.live(t, 3)
	look()
	w.check(t, to)
	goOn(1)
	look()
	if slices.Contains(i.sessions.ids, ids[1]) {
		t.Error("all sessions were read")
	}
	i.sessions.whole = time.Now().Add(-sessionsWhole)
	look()
	w.check(t, to)
}
