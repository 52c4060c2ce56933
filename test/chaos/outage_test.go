package chaos

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/store/storetest"
)

// What a server may have in memory, in MiB.
const (
	faultMemory = 256 // in any fault
	agentMemory = 0.1 // and for each of many agents that are connected
)

// checkMemory fails if the server ever had more in memory than it may.
func (p *process) checkMemory(t *testing.T, limit int) {
	t.Helper()
	if raceEnabled {
		limit *= 4 // the race detector has its own memory
	}
	now, most := p.memory()
	t.Logf("%d MiB in memory, %d at most", now, most)
	if most > limit {
		t.Errorf("%d MiB in memory at most, want no more than %d", most, limit)
	}
}

// The database is gone while agents send as fast as they are let: nothing is acknowledged, streams stay open, memory stays
// bounded, callers are asked to try again, and work goes on as soon as it is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 64)
	proxy, through := proxyDatabase(t, database)
	p := startServer(t, newServerConfig(t, through))
	load := f.report(t, manner{address: p.GRPC, window: 300})
	f.awaitAll(t)
	streams := f.streams()
	healthy, _ := p.memory()
	proxy.Stop()
	p.awaitReady(t, false)
	begin := time.Now()
	f.checkUnavailable(t, p)
	acked := f.awaitSilence(t)
	<-time.After(*outage - time.Since(begin))
	if n := f.acked.Load() - acked; n != 0 {
		t.Errorf("%d acknowledgements without a database", n)
	}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	f.awaitRecovery(t, fmt.Sprintf("outage of %v, %d MiB before", time.Since(begin).Round(time.Second), healthy))
	load.stop()
	p.checkMemory(t, faultMemory)
	if n := f.streams() - streams; n > 0 {
		t.Errorf("%d streams broke", n)
	}
	f.check(t, p.GRPC)
	p.stop(t)
}

// checkUnavailable asks over both transports while nothing can be answered.
func (f *fleet) checkUnavailable(t *testing.T, p *process) {
	t.Helper()
	conn := dial(t, p.GRPC)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.ask(ctx, conn); status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) < 2 {
		t.Errorf("question without a database: %v %v, want Unavailable and when to retry", err, status.Convert(err).Details())
	}
	today := time.Now().UTC().Truncate(24 * time.Hour).Format(time.RFC3339)
	req, err := http.NewRequestWithContext(
		ctx, http.MethodGet, "http://"+p.HTTP+"/api/v2/insights/user-activity?start_time="+today+"&end_time="+today, nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Coder-Session-Token", f.auditor)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("REST without a database: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

// The database, or the network to it, stands still or swallows everything without a word. Every call to it ends, the server is
// not ready meanwhile, no goroutine is left, and it goes on within five seconds after.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	for name, swallow := range map[string]func(*testing.T, proxy){
		"swallows": func(t *testing.T, p proxy) { p.blackHole(t) },
		"stands still": func(t *testing.T, p proxy) {
			p.add(t, "hold", toServer, nil)
			p.add(t, "hold", fromServer, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := storetest.Postgres(t)
			f := newFleet(t, database, 8)
			proxy, through := proxyDatabase(t, database)
			p := startServer(t, newServerConfig(t, through))
			load := f.report(t, manner{address: p.GRPC, every: 2 * time.Millisecond})
			f.awaitAcks(t, 50)
			before := p.metric(t, "go_goroutines")
			swallow(t, proxy)
			noticed := p.awaitReady(t, false)
			acked := f.awaitSilence(t)
			<-time.After(*outage)
			if n := f.acked.Load() - acked; n != 0 {
				t.Errorf("%d acknowledgements without a database", n)
			}
			proxy.heal()
			f.awaitRecovery(t, "a database that "+name)
			ready := p.awaitReady(t, true)
			t.Logf(
				"not ready %v after it began, ready again %v after the first acknowledgement", noticed.Round(time.Millisecond),
				ready.Round(time.Millisecond),
			)
			load.stop()
			await(t, "goroutines as before", func() bool { return p.metric(t, "go_goroutines") <= before+10 })
			f.check(t, p.GRPC)
			p.stop(t)
		})
	}
}

// The database is slow: far away, and then behind a lock that someone holds. Acknowledgements take longer, and that is all.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 16)
	proxy, through := proxyDatabase(t, database)
	p := startServer(t, newServerConfig(t, through))
	load := f.report(t, manner{address: p.GRPC})
	f.awaitAcks(t, 200)
	before, _ := p.memory()
	proxy.add(t, "latency", fromServer, map[string]any{"latency": 500, "jitter": 200})
	f.delays.take()
	f.awaitAcks(t, 500)
	slow := f.delays.take()
	if status, _ := fetch(t, "http://"+p.HTTP+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz of a server with a slow database: %d", status)
	}
	proxy.heal()
	db := openTables(t, database)
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE usage_rows IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	acked := f.awaitSilence(t)
	<-time.After(*outage / 2)
	if n := f.acked.Load() - acked; n != 0 {
		t.Errorf("%d acknowledgements of rows that are behind a lock", n)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	took := f.awaitAcks(t, 1000)
	load.stop()
	after, _ := p.memory()
	t.Logf("500 ms away: %v; 1000 more %v after a lock; %d MiB before, %d after", slow, took.Round(time.Millisecond), before, after)
	p.checkMemory(t, faultMemory)
	f.check(t, p.GRPC)
	p.stop(t)
}

// Questions that hang take all connections for questions. Reports do not notice, and a caller who goes away takes the question
// along, down to the database.
func TestQuestionsDoNotStarveIngest(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	load := f.report(t, manner{address: p.GRPC, every: 5 * time.Millisecond})
	f.awaitAcks(t, 100)
	f.delays.take()
	f.awaitAcks(t, 500)
	alone := f.delays.take()
	db := openTables(t, database)
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE usage_pages IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p.GRPC)
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range 200 {
		asking.Go(func() { _ = f.ask(ctx, conn) })
	}
	waiting := func() (n int) {
		each(
			t, db,
			"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'insights-reads' AND datname = current_database() AND "+
				"wait_event_type = 'Lock'",
			func(scan func(...any) error) error { return scan(&n) },
		)
		return n
	}
	const own = 2 // that the server's metrics ask for themselves
	await(t, "questions that hang", func() bool { return waiting() > own })
	f.delays.take()
	f.awaitAcks(t, 500)
	beside := f.delays.take()
	cancel()
	begin := time.Now()
	await(t, "no question in the database", func() bool { return waiting() <= own })
	gone := time.Since(begin)
	asking.Wait()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	t.Logf(
		"acknowledgements alone: %v; beside 200 questions that hang: %v; questions leave the database %v after their caller", alone, beside,
		gone.Round(time.Millisecond),
	)
	load.stop()
	f.check(t, p.GRPC)
	p.stop(t)
}
