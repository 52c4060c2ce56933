package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// installation is all that a large installation has: a primary with two standbys, of which one has what was committed, and which answer
// questions, a pooler before it, and three servers.
type installation struct {
	primary, first, second *storetest.Cluster
	pooler                 *storetest.Pooler
	servers                []*process
	balancer               *balancer
	fleet                  *fleet
}

func newInstallation(t *testing.T, agents int) *installation {
	t.Helper()
	primary, database := durableCluster(t)
	in := &installation{primary: primary}
	for _, standby := range []**storetest.Cluster{&in.first, &in.second} {
		c, err := primary.StartStandby(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
		})
		*standby = c
	}
	if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
		t.Fatal(err)
	}
	var err error
	if in.pooler, err = primary.StartPooler(8, "server_login_retry = 1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, ended := in.pooler.Log(); t.Failed() {
			t.Logf("log of the pooler, which ended by itself: %v\n%s", ended, lastLines(text, 30))
		}
		if err := in.pooler.Stop(); err != nil {
			t.Error(err)
		}
	})
	at := func(c *storetest.Cluster) string {
		return strings.Replace(database, fmt.Sprint(":", primary.Port, "/"), fmt.Sprint(":", c.Port, "/"), 1)
	}
	// What is read past the servers comes from whoever is the primary.
	in.fleet = newFleet(t, strings.Replace(
		database, fmt.Sprint(":", primary.Port, "/"),
		fmt.Sprintf(":%d,127.0.0.1:%d,127.0.0.1:%d/", primary.Port, in.first.Port, in.second.Port), 1,
	)+"&target_session_attrs=primary", agents)
	in.balancer = newBalancer(t)
	for range 3 {
		config := newServerConfig(t, in.pooler.URL(database))
		config.Pooler, config.Replicas = true, []string{at(in.first), at(in.second)}
		in.servers = append(in.servers, startServer(t, config))
	}
	for _, p := range in.servers {
		p.awaitReady(t, true)
	}
	in.balancer.set(in.servers...)
	return in
}

// newer is the standby that has more of the primary's log: at least one has all that was committed.
func (in *installation) newer(t *testing.T) *storetest.Cluster {
	t.Helper()
	newest, most := in.first, int64(-1)
	for _, c := range []*storetest.Cluster{in.first, in.second} {
		db := openTables(t, c.URL("postgres"))
		defer db.Close()
		var received sql.NullInt64
		err := db.QueryRowContext(t.Context(), `SELECT CAST(pg_last_wal_receive_lsn() - '0/0' AS bigint)`).Scan(&received)
		if err != nil {
			t.Fatal(err)
		}
		if received.Int64 > most {
			newest, most = c, received.Int64
		}
	}
	return newest
}

// ask asks questions one after the other until the context is done, as often as the server asks for it, and counts the answers.
func (in *installation) ask(ctx context.Context, t *testing.T, answers, retries *atomic.Int64) {
	conn := dial(t, in.balancer.listener.Addr().String())
	defer conn.Close()
	for ctx.Err() == nil {
		switch err := retried(ctx, always, retries, func() error { return in.fleet.ask(ctx, conn) }); {
		case err == nil:
			answers.Add(1)
		case ctx.Err() == nil:
			t.Error("question:", err)
			for _, p := range in.servers {
				for line := range strings.Lines(p.readLog()) {
					if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "fold") {
						t.Log(line)
					}
				}
			}
			return
		}
	}
}

// Everything in a large installation is killed in turn while agents report and others ask: the servers, the pooler, the standbys, the
// primary, and at last the primary for good, so that a standby takes over. Nothing acknowledged is lost, and nothing counts twice.
func TestKillEverything(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, 16)
	f, address := in.fleet, in.balancer.listener.Addr().String()
	load, events := f.report(t, manner{address: address}), f.tell(t, address)
	f.awaitAll(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asking sync.WaitGroup
	var answers, retries atomic.Int64
	for range 2 {
		asking.Go(func() { in.ask(ctx, t, &answers, &retries) })
	}
	restart := func(c *storetest.Cluster) func() error {
		return func() error {
			if err := c.Kill(); err != nil {
				return err
			}
			return c.Start()
		}
	}
	parts := []struct {
		name string
		kill func() error
	}{
		{"the pooler", func() error { return in.pooler.Move(in.primary) }},
		{"a standby", restart(in.first)},
		{"the other standby", restart(in.second)},
		{"the primary", restart(in.primary)},
	}
	for i := range in.servers {
		parts = append(parts, struct {
			name string
			kill func() error
		}{fmt.Sprint("server ", i+1), func() error {
			in.servers[i].kill()
			in.servers[i] = startServer(t, in.servers[i].serverConfig)
			in.servers[i].awaitReady(t, true)
			in.balancer.set(in.servers...)
			return nil
		}})
	}
	for range *rounds {
		for _, part := range parts {
			f.awaitAcks(t, 200)
			if err := part.kill(); err != nil {
				t.Fatalf("kill %s: %v", part.name, err)
			}
			f.awaitRecovery(t, "a kill of "+part.name)
		}
	}
	f.awaitAcks(t, 200)
	if err := in.primary.Kill(); err != nil {
		t.Fatal(err)
	}
	f.awaitSilence(t)
	next := in.newer(t)
	// It waits for no standby: the other one still follows the primary that is gone.
	for _, statement := range []string{
		"SELECT pg_promote(wait_seconds => 60)", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()",
	} {
		if err := next.Exec(t.Context(), "postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.pooler.Move(next); err != nil {
		t.Fatal(err)
	}
	f.awaitRecovery(t, "a standby that took over")
	f.awaitAcks(t, 500)
	before := answers.Load()
	await(t, "answers after it", func() bool { return answers.Load() > before+5 })
	cancel()
	asking.Wait()
	events.stop()
	load.stop()
	f.check(t, address)
	for _, p := range in.servers {
		p.stop(t)
	}
	events.check(t)
	t.Logf("%d answers, %d tries again", answers.Load(), retries.Load())
}

// The primary is away and replicas are there: nobody could do better than the servers, so all stay ready, questions say why they are not
// answered, agents are asked to wait, and their streams go on when it is back.
func TestPrimaryAway(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, 8)
	f, address := in.fleet, in.balancer.listener.Addr().String()
	load := f.report(t, manner{address: address, every: 2 * time.Millisecond})
	f.awaitAll(t)
	streams := f.streams()
	if err := in.primary.Kill(); err != nil {
		t.Fatal(err)
	}
	acked := f.awaitSilence(t)
	conn := dial(t, address)
	defer conn.Close()
	probes, refused := 0, 0
	for begin := time.Now(); time.Since(begin) < *away; time.Sleep(500 * time.Millisecond) {
		for _, p := range in.servers {
			probes++
			if code, text := fetch(t, "http://"+p.HTTP+"/readyz"); code != http.StatusOK {
				t.Fatalf("/readyz %v after the primary went away: %d %s", time.Since(begin).Round(time.Second), code, text)
			}
		}
		asking, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := f.ask(asking, conn); status.Code(err) != codes.Unavailable {
			t.Errorf("a question without the primary: %v", err)
		}
		cancel()
		refused++
	}
	if code, text := fetch(t, "http://"+in.servers[0].HTTP+"/readyz?for=ingest"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz?for=ingest without the primary: %d %s", code, text)
	}
	if n := f.acked.Load() - acked; n != 0 {
		t.Errorf("%d acknowledgements without the primary", n)
	}
	if err := in.primary.Start(); err != nil {
		t.Fatal(err)
	}
	f.awaitRecovery(t, fmt.Sprintf("a primary that was away for %v", *away))
	t.Logf("%d probes, all ready; %d questions refused for now", probes, refused)
	load.stop()
	if n := f.streams() - streams; n > 0 {
		t.Errorf("%d streams broke", n)
	}
	f.check(t, address)
	for _, p := range in.servers {
		p.stop(t)
	}
}
