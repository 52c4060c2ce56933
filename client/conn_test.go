package client_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// refusing answers the first calls with an error.
type refusing struct {
	insightsv1.UnimplementedInsightsServiceServer
	insightsv1.UnimplementedIngestServiceServer
	insightsv1.UnimplementedCatalogServiceServer
	code    codes.Code
	refused int64 // so many calls
	calls   atomic.Int64
}

func (s *refusing) answer() error {
	if s.calls.Add(1) <= s.refused {
		return status.Error(s.code, "not now")
	}
	return nil
}

// ListTemplates implements [insightsv1.InsightsServiceServer].
func (s *refusing) ListTemplates(context.Context, *insightsv1.ListTemplatesRequest) (*insightsv1.ListTemplatesResponse, error) {
	return &insightsv1.ListTemplatesResponse{}, s.answer()
}

// ReportStats implements [insightsv1.IngestServiceServer].
func (s *refusing) ReportStats(context.Context, *insightsv1.ReportStatsRequest) (*insightsv1.ReportStatsResponse, error) {
	return &insightsv1.ReportStatsResponse{}, s.answer()
}

// ReportAppSessions implements [insightsv1.IngestServiceServer].
func (s *refusing) ReportAppSessions(
	context.Context, *insightsv1.ReportAppSessionsRequest,
) (*insightsv1.ReportAppSessionsResponse, error) {
	return &insightsv1.ReportAppSessionsResponse{}, s.answer()
}

// ReportEvents implements [insightsv1.IngestServiceServer].
func (s *refusing) ReportEvents(context.Context, *insightsv1.ReportEventsRequest) (*insightsv1.ReportEventsResponse, error) {
	return &insightsv1.ReportEventsResponse{}, s.answer()
}

// ApplyCatalog implements [insightsv1.CatalogServiceServer].
func (s *refusing) ApplyCatalog(context.Context, *insightsv1.ApplyCatalogRequest) (*insightsv1.ApplyCatalogResponse, error) {
	return &insightsv1.ApplyCatalogResponse{}, s.answer()
}

// Questions and batches of usage are sent again when the server is unavailable; nothing else is, and for no other reason.
func TestConnSendsAgain(t *testing.T) {
	t.Parallel()
	question := func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := insightsv1.NewInsightsServiceClient(conn).ListTemplates(ctx, &insightsv1.ListTemplatesRequest{})
		return err
	}
	report := func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := insightsv1.NewIngestServiceClient(conn).ReportStats(ctx, &insightsv1.ReportStatsRequest{})
		return err
	}
	sessions := func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := insightsv1.NewIngestServiceClient(conn).ReportAppSessions(ctx, &insightsv1.ReportAppSessionsRequest{})
		return err
	}
	events := func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := insightsv1.NewIngestServiceClient(conn).ReportEvents(ctx, &insightsv1.ReportEventsRequest{})
		return err
	}
	change := func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := insightsv1.NewCatalogServiceClient(conn).ApplyCatalog(ctx, &insightsv1.ApplyCatalogRequest{})
		return err
	}
	for name, c := range map[string]struct {
		call    func(context.Context, *grpc.ClientConn) error
		refused int64
		code    codes.Code
		calls   int64
		want    codes.Code
	}{
		"unavailable twice":      {question, 2, codes.Unavailable, 3, codes.OK},
		"unavailable for longer": {question, 100, codes.Unavailable, 5, codes.Unavailable},
		"a wrong question":       {question, 1, codes.InvalidArgument, 1, codes.InvalidArgument},
		"too many questions":     {question, 1, codes.ResourceExhausted, 1, codes.ResourceExhausted},
		"a batch of reports":     {report, 2, codes.Unavailable, 3, codes.OK},
		"a batch of sessions":    {sessions, 2, codes.Unavailable, 3, codes.OK},
		"a batch of events":      {events, 2, codes.Unavailable, 3, codes.OK},
		"a change":               {change, 1, codes.Unavailable, 1, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv, service := grpc.NewServer(), &refusing{code: c.code, refused: c.refused}
			insightsv1.RegisterInsightsServiceServer(srv, service)
			insightsv1.RegisterIngestServiceServer(srv, service)
			insightsv1.RegisterCatalogServiceServer(srv, service)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			defer func() {
				srv.Stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			conn, err := client.NewConn(l.Addr().String(), client.Token("secret"), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := status.Code(c.call(t.Context(), conn)); got != c.want || service.calls.Load() != c.calls {
				t.Errorf("%v after %d calls, want %v after %d", got, service.calls.Load(), c.want, c.calls)
			}
		})
	}
}

// Without an option that says otherwise nothing travels in the clear.
func TestConnIsEncrypted(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0") // without TLS
	conn, err := client.NewConn(srv.GRPCAddress(), client.Token("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = insightsv1.NewAccessServiceClient(conn).WhoAmI(t.Context(), &insightsv1.WhoAmIRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a call to a server without TLS: %v, want UNAVAILABLE", err)
	}
}

// A token that changes in its file is in force with the next call.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	srv, _ := serve(t, f.Database, "127.0.0.1:0")
	secrets, err := f.CreateTokens(t.Context(), []store.Token{
		{PrincipalKind: access.KindUser, PrincipalID: f.Users[0]}, {PrincipalKind: access.KindUser, PrincipalID: f.Users[1]},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	conn, err := client.NewConn(srv.GRPCAddress(), client.TokenFile(file), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	whoAmI := func() (string, codes.Code) {
		answer, err := insightsv1.NewAccessServiceClient(conn).WhoAmI(t.Context(), &insightsv1.WhoAmIRequest{})
		return answer.GetUsername(), status.Code(err)
	}
	if _, code := whoAmI(); code != codes.Unauthenticated {
		t.Errorf("without a file: %v", code)
	}
	for text, want := range map[string]struct {
		name string
		code codes.Code
	}{
		"\n":                             {"", codes.Unauthenticated},
		"tia_nobody\n":                   {"", codes.Unauthenticated},
		secrets[0].Reveal():              {"user0", codes.OK},
		" " + secrets[1].Reveal() + "\n": {"user1", codes.OK},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name, code := whoAmI(); name != want.name || code != want.code {
			t.Errorf("%.6q: %q %v, want %+v", text, name, code, want)
		}
	}
}
