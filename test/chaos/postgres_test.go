package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// durableCluster starts a Postgres that syncs, of the test's own, with a database of the current schema.
func durableCluster(t *testing.T) (*storetest.Cluster, string) {
	t.Helper()
	c, err := storetest.StartCluster("shared_buffers=64MB", "autovacuum=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	database, err := c.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
		t.Fatal(err)
	}
	return c, database
}

// killBackend kills one process that serves a connection of the service.
func killBackend(ctx context.Context, c *storetest.Cluster, random *rand.Rand, t *testing.T, database string) error {
	db := openTables(t, database)
	defer db.Close()
	var pids []int
	each(t, db, "SELECT pid FROM pg_stat_activity WHERE application_name = 'insights'", func(scan func(...any) error) error {
		var pid int
		err := scan(&pid)
		pids = append(pids, pid)
		return err
	})
	if len(pids) == 0 {
		return fmt.Errorf("no backend among %v", c.Backends())
	}
	return syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL)
}

// Postgres dies in every way under load: one backend, all of it, immediately, and fast. The server stays up, its streams stay
// open, nothing is acknowledged meanwhile, and it goes on by itself.
func TestKillPostgres(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	cluster, database := durableCluster(t)
	f := newFleet(t, database, 16)
	p := startServer(t, newServerConfig(t, database))
	load, events := f.report(t, manner{address: p.GRPC}), f.tell(t, p.GRPC)
	f.awaitAll(t)
	streams := f.streams()
	ways := map[string]func() error{
		"backend": func() error { return killBackend(t.Context(), cluster, random, t, database) },
		"whole":   func() error { return restartAfter(cluster, cluster.Kill) },
		"immediate": func() error {
			return restartAfter(cluster, func() error { return cluster.Shutdown(true) })
		},
		"fast": func() error {
			return restartAfter(cluster, func() error { return cluster.Shutdown(false) })
		},
	}
	names := []string{"backend", "whole", "immediate", "fast"}
	recoveries := map[string]*delays{}
	for _, name := range names {
		recoveries[name] = &delays{}
	}
	for i := range *postgresKills {
		name := names[i%len(names)]
		f.awaitAcks(t, 50)
		<-time.After(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		if err := ways[name](); err != nil {
			t.Fatal(name, err)
		}
		recoveries[name].add(f.awaitAcks(t, 1))
	}
	events.stop()
	load.stop()
	f.check(t, p.GRPC)
	_, most := p.memory()
	for _, name := range names {
		t.Logf("%s: from Postgres ready (backend: from the kill) to the first acknowledgement: %v", name, recoveries[name])
	}
	t.Logf("%d agents, %d streams broke, at most %d MiB", len(f.agents), f.streams()-streams, most)
	if f.streams() != streams {
		t.Errorf("%d streams broke", f.streams()-streams)
	}
	p.stop(t)
	events.check(t)
}

func restartAfter(c *storetest.Cluster, end func() error) error {
	if err := end(); err != nil {
		return err
	}
	return c.Start()
}

// Connections to Postgres break exactly when rows are committed: half of them before the statement arrives, half after it was
// committed and before the answer arrives. The server cannot know which, merges again, and acknowledges no more than is stored.
func TestCutAtCommit(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 8)
	proxy, through := proxyDatabase(t, database)
	p := startServer(t, newServerConfig(t, through))
	load := f.report(t, manner{address: p.GRPC})
	f.awaitAcks(t, 100)
	cutCommits.before.Store(0)
	cutCommits.after.Store(0)
	proxy.add(t, "cut_commit", toServer, map[string]any{"every": 3})
	await(t, "cuts before the statement arrives", func() bool { return cutCommits.before.Load() >= int64(*cuts) })
	proxy.heal()
	f.awaitAcks(t, 100)
	proxy.add(t, "cut_commit", fromServer, map[string]any{"every": 3, "after": true})
	await(t, "cuts before the answer arrives", func() bool { return cutCommits.after.Load() >= int64(*cuts) })
	proxy.heal()
	f.awaitAcks(t, 100)
	load.stop()
	f.check(t, p.GRPC)
	t.Logf(
		"%d statements never arrived, %d were committed and their answer never arrived", cutCommits.before.Load(), cutCommits.after.Load(),
	)
	p.stop(t)
}

// Statements fail at random: refused for now, for want of memory, because of another transaction, by an error of no kind that
// the server knows.
func TestRandomErrors(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 8)
	db := openTables(t, database)
	defer db.Close()
	for _, statement := range []string{
		`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		CASE floor(random() * 12)
		WHEN 0 THEN RAISE EXCEPTION 'serialization' USING ERRCODE = '40001';
		WHEN 1 THEN RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200';
		WHEN 2 THEN RAISE EXCEPTION 'of no kind' USING ERRCODE = 'P0001';
		WHEN 3 THEN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100';
		ELSE NULL; END CASE; RETURN NULL; END $$`,
		"CREATE TRIGGER fail AFTER INSERT OR DELETE ON usage_rows FOR EACH STATEMENT EXECUTE FUNCTION fail()",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	p := startServer(t, newServerConfig(t, database))
	load := f.report(t, manner{address: p.GRPC})
	f.awaitAcks(t, 1)
	await(t, "20 failed commits", func() bool { return p.metric(t, "insights_ingest_commit_failures_total") >= 20 })
	load.stop()
	f.check(t, p.GRPC)
	t.Logf("%v commits failed", p.metric(t, "insights_ingest_commit_failures_total"))
	p.stop(t)
}

// The service loses its right to write, then to connect, and gets them back. It never crashes, answers questions while it may
// read, and its password is nowhere in its log.
func TestPermissionLost(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 4)
	db := openTables(t, database)
	defer db.Close()
	const password = "pa55word-of-the-service"
	role := "service_of_permission_lost"
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	exec("CREATE ROLE " + role + " LOGIN PASSWORD '" + password + "'")
	exec("GRANT ALL ON ALL TABLES IN SCHEMA public TO " + role)
	as, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	as.User = url.UserPassword(role, password)
	p := startServer(t, newServerConfig(t, as.String()))
	load := f.report(t, manner{address: p.GRPC, every: time.Millisecond})
	f.awaitAcks(t, 50)
	for name, c := range map[string]struct{ lose, regain string }{
		"write":   {"REVOKE INSERT, UPDATE ON usage_rows FROM " + role, "GRANT INSERT, UPDATE ON usage_rows TO " + role},
		"connect": {"ALTER ROLE " + role + " NOLOGIN", "ALTER ROLE " + role + " LOGIN"},
		"read-only": {
			"ALTER ROLE " + role + " SET default_transaction_read_only = on", "ALTER ROLE " + role + " RESET default_transaction_read_only",
		},
	} {
		failures := p.metric(t, "insights_ingest_commit_failures_total")
		exec(c.lose)
		if name != "write" { // connections that are open keep what they had
			exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'")
		}
		await(t, "commits that fail", func() bool { return p.metric(t, "insights_ingest_commit_failures_total") > failures })
		before := f.awaitSilence(t)
		if name == "write" {
			f.mustAsk(t, p.GRPC)
		}
		if now := f.acked.Load(); now != before {
			t.Errorf("%s: %d acknowledgements for what cannot be stored", name, now-before)
		}
		exec(c.regain)
		if name != "write" {
			exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'")
		}
		f.awaitRecovery(t, name)
	}
	load.stop()
	f.check(t, p.GRPC)
	if strings.Contains(p.readLog(), password) {
		t.Error("the password is in the log")
	}
	p.stop(t)
}
