package chaos

import (
	"context"
	"crypto/tls"
	"slices"
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
		reporters[i] = client.NewReporter(conn, agent.token)
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
	t.Logf("%d agents connected in %v: %d MiB, %.1f KiB for each, %.1f in use; %.1f %% of a core", len(f.agents), connected.Round(time.Millisecond),
		now, float64(now-empty)*1024/float64(len(f.agents)), live/float64(len(f.agents)), 100*used.Seconds()/watched.Seconds())
	f.wake(ctx, t, reporters) // the first time everyone is looked up
	awake := f.wake(ctx, t, reporters)
	t.Logf("all report at once: p50 %v, p99 %v, max %v", quantile(awake, 0.5), quantile(awake, 0.99), quantile(awake, 1))
	p.kill()
	p = startServer(t, config)
	back := f.wake(ctx, t, reporters)
	t.Logf("server killed and started again, all have reported: 50 %% after %v, 99 %% after %v, 100 %% after %v", quantile(back, 0.5), quantile(back, 0.99), quantile(back, 1))
	if back[len(back)-1] > time.Minute {
		t.Errorf("the last was back after %v", back[len(back)-1])
	}
	cancel()
	running.Wait()
	p.checkMemory(t, faultMemory+int(agentMemory*float64(len(f.agents))))
	stored, stray := f.stored(t)
	v := judge(f.ledger.read(t, len(f.agents)), stored)
	if !v.clean() || stray > 0 || v.acked != 3*len(f.agents) {
		t.Errorf("%v, %d stray", v, stray)
	}
	t.Log(v)
	p.stop(t)
}

// wake lets every agent report once, at the same time, and returns how long it took each until it was acknowledged, in order.
func (f *fleet) wake(ctx context.Context, t *testing.T, reporters []*client.Reporter) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	took := make([]time.Duration, len(reporters))
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
			took[i] = time.Since(begin)
		})
	}
	waking.Wait()
	slices.Sort(took)
	return took
}
