package chaos

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/template-insights/insights/client"
	"github.com/template-insights/insights/store/storetest"
)

// Many agents are connected over TLS and say nothing, wake all at once, and come back all at once when the server was killed.
func TestIdleAgents(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	database := storetest.SQLite(t)
	f := newFleet(t, database, *idle)
	config := newServerConfig(t, database)
	config.TLS = newTLSFiles(t, a)
	p := startServer(t, config)
	p.awaitTCP(t)
	empty, _ := p.memory()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	trust := credentials.NewTLS(&tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12})
	var running sync.WaitGroup
	reporters := make([]*client.Reporter, len(f.agents))
	begin := time.Now()
	for i, agent := range f.agents {
		// With the patience of gRPC's defaults: who gives up a handshake after a second and begins another makes a crowd worse.
		conn, err := grpc.NewClient("passthrough:"+p.GRPC, grpc.WithTransportCredentials(trust))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reporters[i] = client.NewReporter(conn, grpc.PerRPCCredentials(client.Token(agent.token)))
		running.Go(func() { _ = reporters[i].Run(ctx) })
	}
	awaitWithin(t, patience+time.Duration(len(f.agents))*50*time.Millisecond, "a stream of every agent", func() bool {
		return p.metric(t, "insights_ingest_streams") == float64(len(f.agents))
	})
	connected := time.Since(begin)
	used := p.processorTime()
	const watched = 3 * time.Second
	<-time.After(watched)
	used = p.processorTime() - used
	now, _ := p.memory()
	live := p.metric(t, "go_memstats_next_gc_bytes") / 2 / 1024 // what the last collection found in use
	t.Logf("%d agents connected in %v: %d MiB, %.1f KiB for each, %.1f in use; %.1f %% of a core", len(f.agents),
		connected.Round(time.Millisecond),
		now, float64(now-empty)*1024/float64(len(f.agents)), live/float64(len(f.agents)), 100*used.Seconds()/watched.Seconds())
	t.Logf("all report at once, for the first time: acknowledged after %v", f.wake(ctx, t, reporters))
	some := reporters[:min(1000, len(reporters))]
	t.Logf("some report at once, later: acknowledged after %v", f.wake(ctx, t, some))
	p.kill()
	p = startServer(t, config)
	t.Logf("the server was killed and started again, all report: acknowledged after %v", f.wake(ctx, t, reporters))
	cancel()
	running.Wait()
	p.checkMemory(t, faultMemory+int(agentMemory*float64(len(f.agents))))
	stored, stray := f.stored(t)
	v := judge(f.ledger.read(t, len(f.agents)), stored)
	if !v.clean() || stray > 0 || v.acked != 2*len(f.agents)+len(some) {
		t.Errorf("%v, %d stray", v, stray)
	}
	t.Log(v)
	p.stop(t)
}

// wake lets the agents of reporters report once, all at the same time, and returns how long it took each until it was acknowledged.
func (f *fleet) wake(ctx context.Context, t *testing.T, reporters []*client.Reporter) *delays {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var took delays
	var waking sync.WaitGroup
	begin := time.Now()
	for i, r := range reporters {
		waking.Go(func() {
			n, report := f.agents[i].think()
			err := r.Report(ctx, report)
			if err == nil {
				err = r.Flush(ctx)
			}
			if err != nil {
				t.Errorf("agent %d: %v", i, err)
				return
			}
			f.ledger.note(wasAcked, i, n)
			took.add(time.Since(begin))
		})
	}
	waking.Wait()
	return &took
}
