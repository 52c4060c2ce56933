package chaos

import (
	"testing"
	"time"

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
	t.Logf(
		"the server gave up the streams after %v; %v after the network healed all were back", noticed.Round(100*time.Millisecond),
		time.Since(begin).Round(100*time.Millisecond),
	)
	load.stop()
	f.check(t, p.GRPC)
	p.stop(t)
}
