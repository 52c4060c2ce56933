package chaos

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

// The network between agents and server cuts everything into pieces, is far and narrow, and breaks again and again.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	database := storetest.SQLite(t)
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	proxy := newProxy(t, p.GRPC)
	load := f.report(t, manner{address: proxy.Listen})
	f.awaitAll(t)
	proxy.add(t, "slicer", toServer, map[string]any{"average_size": 64, "size_variation": 32, "delay": 50})
	proxy.add(t, "latency", fromServer, map[string]any{"latency": 20 + random.IntN(80), "jitter": 20})
	proxy.add(t, "bandwidth", toServer, map[string]any{"rate": 200})
	for range *kills {
		f.awaitAcks(t, 100)
		proxy.Stop() // cuts all connections, whatever is on its way
		if err := proxy.Start(); err != nil {
			t.Fatal(err)
		}
		f.awaitAcks(t, 1)
	}
	load.stop()
	f.check(t, p.GRPC)
	t.Logf("%d streams, %d resent", f.streams(), f.resent())
	if f.resent() == 0 {
		t.Error("nothing was resent")
	}
	p.stop(t)
}

// The network goes without a word while agents are connected and idle: the server finds out by itself, and the agents by
// themselves.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	proxy := newProxy(t, p.GRPC)
	load := f.report(t, manner{address: proxy.Listen, every: time.Second})
	f.awaitAll(t)
	proxy.blackHole(t)
	begin := time.Now()
	p.awaitStreams(t, 0)
	noticed := time.Since(begin)
	proxy.heal()
	begin = time.Now()
	p.awaitStreams(t, len(f.agents))
	t.Logf("the server gave up the streams after %v; %v after the network healed all were back", noticed.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
	if noticed > 40*time.Second {
		t.Errorf("the server gave up the streams after %v, want 30 s, and a little", noticed)
	}
	load.stop()
	f.check(t, p.GRPC)
	p.stop(t)
}

// Agents that send without end and never read what they are answered, and one that sends as fast as it is let, are in nobody's
// way, and cost the server little.
func TestNoisyNeighbors(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 24)
	quiet, deaf, loud := f.agents[:8], f.agents[8:16], f.agents[16:]
	p := startServer(t, newServerConfig(t, database))
	var others delays // of those who are loud, who do not count
	for _, a := range loud {
		a.delays = &others
	}
	load := f.reportAs(t, quiet, manner{address: p.GRPC, every: 20 * time.Millisecond})
	await(t, "acknowledgements", func() bool { return quiet[0].settled.Load() > 20 })
	measure := func() []time.Duration {
		f.delays.take()
		for end := time.Now().Add(*outage / 2); time.Now().Before(end); {
			<-time.After(50 * time.Millisecond)
		}
		return f.delays.take()
	}
	alone := measure()
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	for _, a := range deaf {
		sending.Go(func() { a.shout(ctx, p.GRPC) })
	}
	beside := measure()
	noise := f.reportAs(t, loud, manner{address: p.GRPC, window: 500})
	besideAll := measure()
	cancel()
	sending.Wait()
	noise.stop()
	load.stop()
	t.Logf("acknowledgements of quiet agents: alone %d, p50 %v, p99 %v; beside agents that never read %d, p50 %v, p99 %v; and others that flood %d, p50 %v, p99 %v",
		len(alone), quantile(alone, 0.5), quantile(alone, 0.99), len(beside), quantile(beside, 0.5), quantile(beside, 0.99), len(besideAll), quantile(besideAll, 0.5), quantile(besideAll, 0.99))
	if len(beside) == 0 || len(besideAll) == 0 || len(others.take()) == 0 {
		t.Error("somebody was not heard at all")
	}
	p.checkMemory(t, faultMemory)
	f.check(t, p.GRPC)
	p.stop(t)
}

// shout sends reports until the context is done, and reads nothing.
func (a *agent) shout(ctx context.Context, address string) {
	conn, err := manner{address: address}.dial()
	if err != nil {
		return
	}
	defer conn.Close()
	stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token))
	if err != nil {
		return
	}
	for sequence := uint64(1); ctx.Err() == nil; sequence++ {
		_, report := a.think()
		report.Sequence = sequence
		if stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}) != nil {
			return
		}
	}
}
