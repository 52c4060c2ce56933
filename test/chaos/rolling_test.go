package chaos

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

// balancer passes connections on to replicas in turn, as a load balancer does that knows nothing of what they carry. It leaves
// out those that do not listen or say that they are not ready.
type balancer struct {
	listener net.Listener
	turn     atomic.Int64
	passing  sync.WaitGroup

	mu       sync.Mutex
	replicas []*process
	open     map[net.Conn]struct{}
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, open: map[net.Conn]struct{}{}}
	b.passing.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.passing.Go(func() { b.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for conn := range b.open {
			_ = conn.Close()
		}
		b.mu.Unlock()
		b.passing.Wait()
	})
	return b
}

// set says which replicas there are.
func (b *balancer) set(replicas ...*process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas = slices.Clone(replicas)
}

// pass carries one connection.
func (b *balancer) pass(conn net.Conn) {
	defer conn.Close()
	b.mu.Lock()
	replicas := b.replicas
	b.mu.Unlock()
	for range replicas {
		p := replicas[int(b.turn.Add(1))%len(replicas)]
		server, err := net.DialTimeout("tcp", p.GRPC, time.Second)
		if err != nil {
			continue
		}
		defer server.Close()
		b.mu.Lock()
		b.open[conn], b.open[server] = struct{}{}, struct{}{}
		b.mu.Unlock()
		var both sync.WaitGroup
		for _, way := range [][2]net.Conn{{conn, server}, {server, conn}} {
			both.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
				_ = way[1].Close()
			})
		}
		both.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.open, conn)
		delete(b.open, server)
		return
	}
}

// Three replicas are restarted one after the other, again and again, while agents stream and others call. Every stopped replica
// ends well and soon, agents are told to go, and no call fails that is tried again when the server asks for it.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 16)
	replicas := make([]*process, 3)
	for i := range replicas {
		replicas[i] = startServer(t, newServerConfig(t, database))
		replicas[i].awaitReady(t, true)
	}
	b := newBalancer(t)
	b.set(replicas...)
	address := b.listener.Addr().String()
	load := f.report(t, manner{address: address})
	events := f.tell(t, address)
	f.awaitAll(t)
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var calls, retries atomic.Int64
	for range 4 {
		callers.Go(func() {
			conn := dial(t, address)
			defer conn.Close()
			ingest := insightsv1.NewIngestServiceClient(conn)
			for ctx.Err() == nil {
				n, report := f.agents[0].think()
				err := retried(ctx, 5, &retries, func() error {
					_, err := f.reportOnce(ctx, ingest, report)
					return err
				})
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Error("report:", err)
					return
				}
				f.ledger.note(wasAcked, 0, n)
				if err := retried(ctx, 5, &retries, func() error { return f.ask(ctx, conn) }); err != nil && ctx.Err() == nil {
					t.Error("question:", err)
					return
				}
				calls.Add(2)
			}
		})
	}
	var slowest time.Duration
	for range *rolls {
		for i, p := range replicas {
			f.awaitAcks(t, 200)
			begin := time.Now()
			p.stop(t)
			slowest = max(slowest, time.Since(begin))
			replicas[i] = startServer(t, p.serverConfig)
			replicas[i].awaitReady(t, true)
			b.set(replicas...)
		}
	}
	cancel()
	callers.Wait()
	events.stop()
	load.stop()
	f.check(t, replicas[0].GRPC)
	drains := int64(0)
	for _, a := range f.agents {
		drains += a.drains.Load()
	}
	t.Logf(
		"%d restarts, the slowest stop took %v; %d calls, %d tries again, none failed; %d streams, %d of them told to go", 3**rolls,
		slowest.Round(time.Millisecond), calls.Load(), retries.Load(), f.streams(), drains,
	)
	if drains == 0 || calls.Load() == 0 {
		t.Errorf("the campaign proves nothing: %d streams told to go, %d calls", drains, calls.Load())
	}
	for _, p := range replicas {
		p.stop(t)
	}
	events.check(t)
}

// A replica that comes later gets its share: streams are asked to end when they are old, and their agents come back over new
// connections.
func TestNewReplicaGetsLoad(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 12)
	config := newServerConfig(t, database)
	config.MaxStreamAge = 4 * time.Second
	old := startServer(t, config)
	b := newBalancer(t)
	b.set(old)
	load := f.report(t, manner{address: b.listener.Addr().String(), every: 20 * time.Millisecond})
	f.awaitAll(t)
	config.GRPC, config.HTTP, config.Prometheus = storetest.FreeAddress(t), storetest.FreeAddress(t), storetest.FreeAddress(t)
	late := startServer(t, config)
	late.awaitReady(t, true)
	b.set(old, late)
	begin := time.Now()
	await(t, "a third of all streams", func() bool { return late.metric(t, "insights_ingest_streams") >= float64(len(f.agents)/3) })
	t.Logf(
		"with a stream age of %v a third of the streams was there after %v", config.MaxStreamAge,
		time.Since(begin).Round(100*time.Millisecond),
	)
	load.stop()
	f.check(t, late.GRPC)
	if f.resent() > 0 {
		t.Errorf("%d reports were resent: streams broke instead of being ended", f.resent())
	}
	old.stop(t)
	late.stop(t)
}
