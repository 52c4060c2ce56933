package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// serve runs a server until stop is called.
func serve(t *testing.T, database, address string) (srv *server.Server, stop func()) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	srv, err = server.New(server.Options{
		Store: s, Logger: slog.New(slog.DiscardHandler), Clock: clock,
		GRPCAddress: address, HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
		IngestMaxAge: 24 * time.Hour, ReportInterval: 45 * time.Second, UsageStats: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error("server:", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return srv, stop
}

func clock() time.Time { return storetest.Now }

// proxy passes connections on until it is told to cut them.
type proxy struct {
	net.Listener
	target string

	mu    sync.Mutex
	conns []net.Conn
	work  sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: target}
	p.work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.target)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.work.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
			p.work.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.work.Wait()
	})
	return p
}

// cut breaks everything that is connected.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// startReporter runs a reporter of the fixture's first agent until the test ends.
func startReporter(t *testing.T, f *storetest.Fixture, address string, agent uuid.UUID) *client.Reporter {
	t.Helper()
	return runReporter(t, f, address, store.Token{PrincipalKind: access.KindAgent, PrincipalID: agent})
}

// runReporter runs a reporter with a token until the test ends.
func runReporter(t *testing.T, f *storetest.Fixture, address string, token store.Token) *client.Reporter {
	t.Helper()
	secrets, err := f.CreateTokens(t.Context(), []store.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, address, secrets[0].Reveal())
	return run(t, conn, client.NewReporter(conn))
}

// dial connects to a server with a token, and soon again when that fails.
func dial(t *testing.T, address, token string) *grpc.ClientConn {
	t.Helper()
	conn, err := client.NewConn(address, client.Token(token), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: 10 * time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// run lets a reporter work until the test ends.
func run(t *testing.T, conn *grpc.ClientConn, r *client.Reporter) *client.Reporter {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("run returned %v", err)
		}
		_ = conn.Close()
	})
	return r
}

// report reports one minute of use.
func report(t *testing.T, r *client.Reporter, agent uuid.UUID, minute int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := r.Report(ctx, &insightsv1.AgentReport{
		AgentId: agent.String(), CollectedAt: timestamppb.New(storetest.Now.Add(-time.Duration(minute) * time.Minute)),
		ConnectionCount: 1, SessionCounts: map[string]int64{"ssh": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wantMinutes(t *testing.T, f *storetest.Fixture, r *client.Reporter, want int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatal("flush:", err)
	}
	var got int64
	if users := f.Ask(t).Activity; len(users) > 0 {
		got = users[0].Minutes
	}
	if got != want {
		t.Errorf("%d minutes are stored, want %d", got, want)
	}
}

func TestReporterSurvivesCuts(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	p := newProxy(t, srv.GRPCAddress())
	r := startReporter(t, f, p.Addr().String(), f.Agents[0][0])
	for i := range 600 {
		report(t, r, f.Agents[0][0], i)
		if i%150 == 100 {
			p.cut()
		}
	}
	wantMinutes(t, f, r, 600)
	if got := r.Interval(); got != 45*time.Second {
		t.Errorf("interval %v, want the server's", got)
	}
}

func TestReporterGoesToTheNextServer(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, stop := serve(t, f.Database, storetest.FreeAddress(t))
	r := startReporter(t, f, srv.GRPCAddress(), f.Agents[0][0])
	for i := range 200 {
		report(t, r, f.Agents[0][0], i)
		if i == 100 {
			stop() // it drains: the reporter lets go, and finds the next one
			serve(t, f.Database, srv.GRPCAddress())
		}
	}
	wantMinutes(t, f, r, 200)
}

// A report that no server would read is refused at once, and does not hold up the next one.
func TestReporterRefusesHugeReports(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	r := startReporter(t, f, srv.GRPCAddress(), f.Agents[0][0])
	huge := func(bytes int) *insightsv1.AgentReport {
		return &insightsv1.AgentReport{
			AgentId: f.Agents[0][0].String(), CollectedAt: timestamppb.New(storetest.Now), AgentVersion: strings.Repeat("v", bytes),
		}
	}
	if err := r.Report(t.Context(), huge(255<<10)); err == nil {
		t.Error("a report of more than 255 KiB is no error")
	}
	if err := r.Report(t.Context(), huge(254<<10)); err != nil { // the server reads it, and rejects it for its version
		t.Error(err)
	}
	report(t, r, f.Agents[0][0], 1)
	wantMinutes(t, f, r, 1)
}

// A report that is rejected for good does not hold up the next one.
func TestReporterDropsWhatIsRejectedForGood(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	r := startReporter(t, f, srv.GRPCAddress(), f.Agents[0][0])
	permanent := &insightsv1.AgentReport{AgentId: f.Agents[0][0].String(), CollectedAt: timestamppb.New(storetest.Now.Add(-48 * time.Hour))}
	if err := r.Report(t.Context(), permanent); err != nil { // too old: settled without being stored
		t.Fatal(err)
	}
	report(t, r, f.Agents[0][0], 1)
	wantMinutes(t, f, r, 1)
}

// A report that may succeed later waits before it is sent again, however much happens meanwhile.
func TestReporterPausesAfterRejection(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for ten seconds: make test")
	}
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	id := uuid.New()
	_, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: id, Role: access.RoleControlPlane})
	if err != nil {
		t.Fatal(err)
	}
	r := runReporter(t, f, srv.GRPCAddress(), store.Token{PrincipalKind: access.KindService, PrincipalID: id})
	late := uuid.New() // an agent that the catalog learns of later
	report(t, r, late, 0)
	begin := time.Now()
	for i := range 100 {
		report(t, r, f.Agents[0][0], i)
		waitForMinutes(t, f, int64(i+1))
	}
	rejected := rejections(t, srv)
	if most := 1 + int(time.Since(begin)/(5*time.Second)); rejected < 1 || rejected > most {
		t.Errorf("the report was sent and rejected %d times in %v, want at most %d", rejected, time.Since(begin), most)
	}
	c := store.Catalog{Agents: []store.Agent{{ID: late, WorkspaceID: f.Workspaces[0][1], Name: "late"}}}
	refusals, err := f.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	wantMinutes(t, f, r, 100)
	if users := f.Ask(t).Activity; len(users) != 2 || users[1].UserID != f.Users[1] || users[1].Minutes != 1 {
		t.Errorf("in the end: %+v; want the late report too", users)
	}
}

// waitForMinutes asks until so many minutes are stored.
func waitForMinutes(t *testing.T, f *storetest.Fixture, want int64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if users := f.Ask(t).Activity; len(users) > 0 && users[0].Minutes == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d minutes are not stored after a minute", want)
		}
	}
}

// rejections is how many reports a server has rejected because it does not know the agent.
func rejections(t *testing.T, srv *server.Server) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + srv.PrometheusAddress() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), `insights_ingest_rejected_total{reason="unknown_agent"} `)
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		t.Fatalf("no count of rejections: %v", err)
	}
	return n
}

// Report waits while there is no room in memory or in the spool, gives up with its context, and goes on when there is room.
func TestReporterIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 32 << 10
	folder := t.TempDir()
	for name, c := range map[string]struct {
		reporter    func(*grpc.ClientConn) *client.Reporter
		least, most int // reports that find room
	}{
		"in memory": {func(conn *grpc.ClientConn) *client.Reporter { return client.NewReporter(conn) }, 256, 256},
		"on disk": {func(conn *grpc.ClientConn) *client.Reporter {
			return client.NewSpoolingReporter(conn, openSpool(t, folder, bound))
		}, bound / 100, bound / 60},
	} {
		t.Run(name, func(t *testing.T) {
			f := storetest.NewFixture(t, storetest.SQLite(t))
			srv, _ := serve(t, f.Database, "127.0.0.1:0")
			secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
			if err != nil {
				t.Fatal(err)
			}
			conn := dial(t, srv.GRPCAddress(), secrets[0].Reveal())
			r, n := c.reporter(conn), 0
			for ; err == nil && n < 10_000; n++ {
				at := storetest.Now.Add(-time.Duration(n%600) * time.Minute)
				patience, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				err = r.Report(patience, &insightsv1.AgentReport{
					AgentId: f.Agents[0][0].String(), CollectedAt: timestamppb.New(at), ConnectionCount: 1,
					SessionCounts: map[string]int64{"ssh": 1},
				})
				cancel()
			}
			if n--; !errors.Is(err, context.DeadlineExceeded) || n < c.least || n > c.most {
				t.Errorf("%v after %d reports, want the end of the context after %d to %d", err, n, c.least, c.most)
			}
			run(t, conn, r) // now there is room
			report(t, r, f.Agents[0][0], 0)
			wantMinutes(t, f, r, int64(min(n, 600)))
		})
	}
}

// openSpool opens a spool that is closed with the test.
func openSpool(t *testing.T, folder string, maxBytes int64) *client.Spool {
	t.Helper()
	s, err := client.OpenSpool(folder, maxBytes)
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

// More reports than fit into memory wait on disk, outlive their process, and are sent by the next one.
func TestSpoolOutlivesReporter(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	folder := t.TempDir()
	nobody, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	for part := range 3 {
		spool, err := client.OpenSpool(folder, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r := client.NewSpoolingReporter(nobody, spool) // it never runs
		for i := range 200 {
			report(t, r, f.Agents[0][0], part*200+i)
		}
		if err := spool.Close(); err != nil {
			t.Fatal(err)
		}
	}
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, srv.GRPCAddress(), secrets[0].Reveal())
	r := run(t, conn, client.NewSpoolingReporter(conn, openSpool(t, folder, 1<<20)))
	report(t, r, f.Agents[0][0], 600)
	wantMinutes(t, f, r, 601)
}
