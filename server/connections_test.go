package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Connections beyond the limit are closed at once, and the others go on.
func TestConnectionLimitsOfListeners(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) {
		c.MaxConnections, c.Logger = 6, slog.New(slog.DiscardHandler)
	})
	for name, address := range map[string]string{"gRPC": r.GRPCAddress(), "HTTP": r.HTTPAddress(), "Prometheus": r.PrometheusAddress()} {
		var open []net.Conn
		for range 3 {
			open = append(open, dial(t, address))
		}
		if _, err := dial(t, address).Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("%s: one connection too many: %v", name, err)
		}
		for _, conn := range open {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
		// It takes the server a moment to notice.
		wiretest.WaitFor(t, 10*time.Second, "room for another connection", func() bool {
			conn := dial(t, address)
			defer conn.Close()
			if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, err := conn.Read(make([]byte, 1)) // gRPC greets, HTTP waits
			return err == nil || errors.Is(err, context.DeadlineExceeded) || isTimeout(err)
		})
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func isReset(err error) bool {
	var of *net.OpError
	return errors.As(err, &of) && strings.Contains(of.Error(), "reset")
}

func isTimeout(err error) bool {
	var of net.Error
	return errors.As(err, &of) && of.Timeout()
}

// Headers have a limit on both transports, above what the longest token needs, and what REST takes the gateway can pass on.
func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	const allowedByHTTP = server.MaxHTTPHeader + 4<<10
	tokens := (rest.MaxPassed - len(r.HTTPAddress())) / (len("session-token") + 1 + 32) // as many of one letter as may be passed on
	for name, c := range map[string]struct {
		header http.Header
		status int
	}{
		"a long header": {
			http.Header{"Coder-Session-Token": {owner}, "X-Request-Id": {strings.Repeat("x", allowedByHTTP-1<<10)}}, 200,
		},
		"too long a header": {
			http.Header{"Coder-Session-Token": {owner}, "X-Request-Id": {strings.Repeat("x", allowedByHTTP+4<<10)}}, 431,
		},
		"a token as long as an issuer's": {http.Header{"Authorization": {"Bearer " + strings.Repeat("x", guard.MaxJWT)}}, 401},
		"a token as long as headers go":  {http.Header{"Authorization": {"Bearer " + strings.Repeat("x", allowedByHTTP-1<<10)}}, 401},
		"many tokens":                    {http.Header{"Session-Token": slices.Repeat([]string{"x"}, tokens)}, 401},
		"too many tokens":                {http.Header{"Session-Token": slices.Repeat([]string{"x"}, tokens+1)}, 431},
		"many addresses": {
			http.Header{"Coder-Session-Token": {owner}, "X-Forwarded-For": {strings.Repeat("198.51.100.1, ", 800)}}, 200,
		},
		"many addresses and tokens": {
			http.Header{"Session-Token": slices.Repeat([]string{"x"}, 250), "X-Forwarded-For": {strings.Repeat("198.51.100.1, ", 800)}},
			431,
		},
		"many headers that nobody reads": {http.Header{"Coder-Session-Token": {owner}, "X": slices.Repeat([]string{"x"}, 2000)}, 200},
		"many headers beside two of these": {
			http.Header{"Coder-Session-Token": {owner}, "Session-Token": {owner}, "Cookie": {strings.Repeat("a=b; ", 2000)}}, 401,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status, _, text := r.Fetch(t, c.header, "/api/v2/access/me"); status != c.status {
				t.Errorf("%d %s, want %d", status, text, c.status)
			}
		})
	}
	client := insightsv1.NewAccessServiceClient(r.Conn)
	// the server says how much it takes, and the client keeps to it
	for size, want := range map[int]codes.Code{rest.MaxGRPCHeader - 1<<10: codes.OK, rest.MaxGRPCHeader + 1: codes.Internal} {
		_, err := client.WhoAmI(
			metadata.AppendToOutgoingContext(servertest.As(t.Context(), owner), "x-request-id", strings.Repeat("x", size)),
			&insightsv1.WhoAmIRequest{},
		)
		if status.Code(err) != want {
			t.Errorf("a header of %d bytes: %v, want %v", size, err, want)
		}
	}
}

// So many calls are open on one connection and no more; another connection is not held up.
func TestCallsOfOneConnection(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	ingest := insightsv1.NewIngestServiceClient(r.Conn)
	ctx, cancel := context.WithCancel(servertest.As(t.Context(), controlPlane))
	defer cancel()
	var last insightsv1.IngestService_StreamStatsClient
	for i := range server.MaxCalls {
		stream, err := ingest.StreamStats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		last = stream
	}
	waiting, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	_, err := insightsv1.NewAccessServiceClient(r.Conn).WhoAmI(waiting, &insightsv1.WhoAmIRequest{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("one call more: %v", err)
	}
	if status, _, _ := r.Fetch(t, http.Header{"Coder-Session-Token": {controlPlane}}, "/api/v2/access/me"); status != http.StatusOK {
		t.Errorf("a call over another connection: %d", status)
	}
	if err := last.CloseSend(); err != nil {
		t.Fatal(err)
	}
	servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).WhoAmI, controlPlane, &insightsv1.WhoAmIRequest{})
}

// Nothing that the server imports registers a compressor of gRPC, so that a small message cannot become a large one: a client of the same
// process names all of them.
func TestNoCompression(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan []string, 1)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		names, err := grpc.ClientSupportedCompressors(stream.Context())
		asked <- names
		return err
	}))
	defer s.Stop()
	go func() { _ = s.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.Invoke(t.Context(), "/a/b", &insightsv1.WhoAmIRequest{}, &insightsv1.WhoAmIResponse{})
	if names := strings.Join(<-asked, ", "); names != "" {
		t.Errorf("gRPC knows %s", names)
	}
}
