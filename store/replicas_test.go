package store_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/replica"
	"github.com/template-insights/insights/store/storetest"
)

// A question that a replica answers is answered as the primary was at a moment: of what was folded meanwhile nothing is missing and
// nothing is there twice, and what this program acknowledged is there.
func TestReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	t.Parallel()
	clusters, urls := storetest.StartReplicas(t, 2)
	open := func(longest time.Duration, now time.Time) *storetest.Fixture {
		s, err := store.Open(t.Context(), store.Options{
			Database: urls[0], ReadDatabases: urls[1:], MaxReplicaLag: longest, Clock: func() time.Time { return now }, PageCache: 16 << 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return &storetest.Fixture{Store: s, Everything: storetest.Everything(t)}
	}
	f := storetest.NewFixture(t, urls[0]) // another program on the database
	f.MustMerge(t, f.Row(0, 0, 18, 0b1111), f.Row(1, 1, 20, 0b1111))
	before := f.Ask(t)
	reader := open(time.Hour, storetest.Now)
	eventually(t, "both replicas have the rows", func() bool {
		answers := map[string]bool{}
		for range 2 {
			ctx, c := reader.WithReplica(t.Context())
			if c.Replica != nil && cmp.Equal(reader.AskIn(ctx, t), before) {
				answers[c.Replica.Name] = true
			}
		}
		return len(answers) == 2
	})
	pauseReplay(t, clusters[1])
	if report, err := open(0, storetest.Now.AddDate(0, 0, 3)).Fold(t.Context()); err != nil || report.Pages == 0 {
		t.Fatalf("fold: %+v %v", report, err)
	}
	f.MustMerge(t, f.Row(0, 2, 19, 0b11))
	after := f.Ask(t)
	paused, current := "127.0.0.1:"+port(urls[1]), "127.0.0.1:"+port(urls[2])
	sawBefore, sawAfter := false, false
	eventually(t, "one replica answers as before, the other one as now", func() bool {
		ctx, c := reader.WithReplica(t.Context())
		if c.Replica == nil {
			t.Fatalf("no replica answers: %v", c.LeftOut)
		}
		got, behind := reader.AskIn(ctx, t), store.Behind(ctx)
		switch {
		case answers(c, paused):
			if sawBefore = true; behind == 0 || !cmp.Equal(got, before) {
				t.Errorf("the replica that is paused, %v behind: %s", behind, cmp.Diff(before, got))
			}
		case !answers(c, current):
			t.Fatalf("replica %s", c.Replica.Name)
		case cmp.Equal(got, after):
			sawAfter = true
		case !betweenAnswers(got, before, after): // not there yet
			t.Errorf("the replica that is current: %s", cmp.Diff(after, got))
		}
		return sawBefore && sawAfter
	})

	strict, later := open(time.Nanosecond, storetest.Now), open(time.Hour, storetest.Now)
	writer := open(time.Hour, storetest.Now)
	for minute := range 5 {
		rows := []store.OpenRow{f.Row(0, 2, 21, 1<<minute)}
		if err := writer.Merge(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		ctx, c := writer.WithReplica(t.Context())
		if got, want := writer.AskIn(ctx, t), f.Ask(t); !cmp.Equal(got, want) {
			t.Errorf("after an acknowledgement, of replica %v: %s", c.Replica, cmp.Diff(want, got))
		}
		if _, c := strict.WithReplica(t.Context()); answers(c, paused) {
			t.Error("a replica answers that is too far behind")
		}
	}
	// What others take over is a primary, and no replica any more.
	if err := clusters[2].Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, c := later.WithReplica(t.Context()); answers(c, current) {
			t.Error("a server answers that was promoted")
		}
	}
}

// betweenAnswers reports whether each of the questions was answered as before or as after: what is between may have come while they were
// asked, one after the other.
func betweenAnswers(got, before, after storetest.Answer) bool {
	is := func(got, before, after any) bool { return cmp.Equal(got, before) || cmp.Equal(got, after) }
	return is(got.Insights, before.Insights, after.Insights) && is(got.Activity, before.Activity, after.Activity) &&
		is(got.Latency, before.Latency, after.Latency)
}

// A replica that hangs keeps no other from answering, and one of a primary from before has another log.
func TestReplicasInTrouble(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	t.Parallel()
	clusters, urls := storetest.StartReplicas(t, 2)
	f := storetest.NewFixture(t, urls[0]) // another program on the database
	open := func(database string) *store.Store {
		s, err := store.Open(t.Context(), store.Options{Database: database, ReadDatabases: urls[1:], MaxReplicaLag: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	before := open(urls[0])
	seen := map[string]bool{}
	eventually(t, "both replicas answer", func() bool {
		if err := f.MarkCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, c := before.WithReplica(t.Context())
		if c.Replica != nil {
			seen[c.Replica.Name] = true
		}
		return len(seen) == 2
	})
	hung, healthy := "127.0.0.1:"+port(urls[1]), "127.0.0.1:"+port(urls[2])
	freeze(t, clusters[1], syscall.SIGSTOP)
	for range 4 {
		if _, c := before.WithReplica(t.Context()); !answers(c, healthy) {
			t.Errorf("beside a replica that hangs %v answers, left out: %v", c.Replica, c.LeftOut)
		}
	}
	// Who leaves while a replica has yet to replay what was acknowledged puts none out.
	pauseReplay(t, clusters[2])
	if err := before.Merge(t.Context(), []store.OpenRow{f.Row(0, 0, 18, 1)}); err != nil {
		t.Fatal(err)
	}
	leaving, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, c := before.WithReplica(leaving); c.LeftOut != nil || leaving.Err() == nil {
		t.Errorf("who asked has gone, left out: %v", c.LeftOut)
	}
	if err := clusters[2].Exec(t.Context(), "postgres", `SELECT pg_wal_replay_resume()`); err != nil {
		t.Fatal(err)
	}
	if _, c := before.WithReplica(t.Context()); !answers(c, healthy) {
		t.Errorf("after a caller who has gone %v answers, left out: %v", c.Replica, c.LeftOut)
	}
	freeze(t, clusters[1], syscall.SIGCONT)

	if err := clusters[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := clusters[2].Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := open(urls[2])
	for range 4 {
		if _, c := after.WithReplica(t.Context()); answers(c, hung) {
			t.Error("a replica answers that follows the primary of before")
		}
	}
}

// freeze sends a signal to all processes of a server.
func freeze(t *testing.T, c *storetest.Cluster, signal syscall.Signal) {
	t.Helper()
	for _, pid := range append(c.Backends(), c.PID()) {
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
	}
}

// answers says whether the choice is the replica at an address.
func answers(c replica.Choice, address string) bool {
	return c.Replica != nil && strings.HasSuffix(c.Replica.Name, address)
}

// What is no replica of the database is refused, and one that does not answer is not waited for.
func TestReplicaOfNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	t.Parallel()
	database := storetest.Postgres(t)
	_, urls := storetest.StartReplicas(t, 0)
	for url, want := range map[string]string{
		urls[0]:               "is no replica of the database",
		storetest.Postgres(t): "is no replica of the database",
		strings.Replace(database, "/test", "/nothing", 1): "3D000",
		storetest.SQLite(t):                             "of one server",
		"postgres://u:secret@127.0.0.1:1,127.0.0.1:2/x": "of one server",
	} {
		s, err := store.Open(t.Context(), store.Options{Database: database, ReadDatabases: []string{url}})
		if err == nil {
			t.Errorf("%s is taken", url)
			s.Close()
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	s, err := store.Open(t.Context(), store.Options{Database: database, ReadDatabases: []string{"postgres://u@127.0.0.1:1/x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, c := s.WithReplica(t.Context()); c.Replica != nil || c.LeftOut == nil {
		t.Error("a replica answers that is not there")
	}
	s, err = store.Open(t.Context(), store.Options{Database: database, ReadDatabases: []string{database}, MaxReplicaLag: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, c := s.WithReplica(t.Context()); c.Replica != nil {
		t.Error("the primary answers as its own replica")
	}
}

// Migrations go past a pooler to the same database, and to no other.
func TestMigrationDatabase(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	for other, want := range map[string]string{
		storetest.Postgres(t): "is not postgres database",
		storetest.SQLite(t):   "one of Postgres",
	} {
		o := store.Options{Database: database, MigrationDatabase: other}
		if err := store.Migrate(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", other, err, want)
		}
	}
	if err := store.Migrate(t.Context(), store.Options{Database: database, MigrationDatabase: database}); err != nil {
		t.Error(err)
	}
}

func pauseReplay(t *testing.T, c *storetest.Cluster) {
	t.Helper()
	if err := c.Exec(t.Context(), "postgres", `SELECT pg_wal_replay_pause()`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "replay is paused", func() bool {
		return c.Exec(t.Context(), "postgres", `SELECT 1 / CAST(pg_get_wal_replay_pause_state() = 'paused' AS integer)`) == nil
	})
}

func port(url string) string {
	_, rest, _ := strings.Cut(url, "@127.0.0.1:")
	port, _, _ := strings.Cut(rest, "/")
	return port
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
