// Package servertest runs a server for tests that reach it as users do, in a world of two organizations, and has a valid call for
// every RPC. Tests outside of the server use it as well as those of its rooms.
package servertest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Databases are those that every promise holds on.
var Databases = map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres}

// Server is a server in a test, reached as users reach it.
type Server struct {
	*server.Server
	Store   *store.Store
	Options server.Options
	Conn    *grpc.ClientConn
	Stop    func() // makes it stop, and does not wait for that
}

// Run starts a server whose clock stands still, and stops it with the test. change may change its options; nil: nothing does.
func Run(t testing.TB, database string, now time.Time, change func(*server.Options)) *Server {
	t.Helper()
	t.Helper()
	c := server.Options{
		Store: storetest.Open(t, database, now), Logger: WatchLog(t, database),
		Clock:       func() time.Time { return now },
		GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
		IngestMaxAge: 7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second,
		UsageStats: true,
	}
	if change != nil {
		change(&c)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	conn, err := grpc.NewClient(s.GRPCAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return &Server{Server: s, Store: c.Store, Options: c, Conn: conn, Stop: stop}
}

// As returns a context for gRPC calls with a token.
func As(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// Token makes a service with a role and returns its token.
func (r *Server) Token(t testing.TB, role access.Role, organization uuid.UUID) string {
	t.Helper()
	id := uuid.New()
	_, err := r.Store.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: access.KindService, PrincipalID: id, Role: role, OrganizationID: organization,
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := r.Store.CreateTokens(t.Context(), []store.Token{
		{Name: string(role), PrincipalKind: access.KindService, PrincipalID: id},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0].Reveal()
}

// Scrape asks for the metrics in a format and returns the type and the text.
func (r *Server) Scrape(t testing.TB, accept string) (contentType, body string) {
	t.Helper()
	return ScrapeOf(t, r.PrometheusAddress(), accept)
}

// ScrapeOf does it at an address.
func ScrapeOf(t testing.TB, address, accept string) (contentType, body string) {
	t.Helper()
	status, answered, text := FetchFrom(t, address, http.Header{"Accept": {accept}}, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("scrape: status %d: %s", status, text)
	}
	if secret := FindSecret(text, ""); secret != "" {
		t.Errorf("the scrape holds the secret %s", secret)
	}
	return answered.Get("Content-Type"), string(text)
}

// Get asks over REST and returns the status and the body.
func (r *Server) Get(t testing.TB, token, path string, params url.Values) (int, map[string]any) {
	t.Helper()
	var body map[string]any
	return r.getJSON(t, token, path, params, &body), body
}

// GetInto asks over REST for an answer of a known form, which has to come.
func (r *Server) GetInto(t testing.TB, token, path string, params url.Values, answer any) {
	t.Helper()
	if status := r.getJSON(t, token, path, params, answer); status != http.StatusOK {
		t.Fatalf("%s %s: %d", path, params.Encode(), status)
	}
}

func (r *Server) getJSON(t testing.TB, token, path string, params url.Values, body any) (status int) {
	t.Helper()
	status, _, text := r.Fetch(t, http.Header{"Coder-Session-Token": {token}}, path+"?"+params.Encode())
	if err := json.Unmarshal(text, body); err != nil {
		t.Fatalf("%s %s: %v: %s", path, params.Encode(), err, text)
	}
	return status
}

// Fetch makes any GET request over REST and returns what came back.
func (r *Server) Fetch(t testing.TB, header http.Header, pathAndQuery string) (status int, answered http.Header, text []byte) {
	t.Helper()
	return FetchFrom(t, r.HTTPAddress(), header, pathAndQuery)
}

// FetchFrom makes any GET request over REST at an address and returns what came back.
func FetchFrom(t testing.TB, address string, header http.Header, pathAndQuery string) (status int, answered http.Header, text []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+pathAndQuery, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	return Exchange(t, req)
}

// Exchange makes any HTTP request and returns what came back.
func Exchange(t testing.TB, req *http.Request) (status int, answered http.Header, text []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, text
}

// Must makes a unary call that has to succeed.
func Must[Q, A proto.Message](t testing.TB, call func(context.Context, Q, ...grpc.CallOption) (A, error), token string, req Q) A {
	t.Helper()
	ctx, cancel := context.WithTimeout(As(t.Context(), token), time.Minute)
	defer cancel()
	answer, err := call(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Everywhere is the organization of a role that is held in all of them.
var Everywhere = uuid.Nil

// Apply changes the catalog; nothing of it may be rejected.
func (r *Server) Apply(t testing.TB, token string, change *insightsv1.ApplyCatalogRequest) {
	t.Helper()
	answer := Must(t, insightsv1.NewCatalogServiceClient(r.Conn).ApplyCatalog, token, change)
	WantAll(t, answer.GetRejected())
}

// ReportStats reports for agents; nothing may be rejected.
func (r *Server) ReportStats(t testing.TB, token string, reports []*insightsv1.AgentReport) {
	t.Helper()
	answer := Must(t, insightsv1.NewIngestServiceClient(r.Conn).ReportStats, token, &insightsv1.ReportStatsRequest{Reports: reports})
	WantAll(t, answer.GetRejected())
}

// ReportSessions reports sessions of apps; nothing may be rejected.
func (r *Server) ReportSessions(t testing.TB, token string, sessions []*insightsv1.AppSession) {
	t.Helper()
	answer := Must(
		t, insightsv1.NewIngestServiceClient(r.Conn).ReportAppSessions, token, &insightsv1.ReportAppSessionsRequest{Sessions: sessions},
	)
	WantAll(t, answer.GetRejected())
}

// ReportEvents reports events; nothing may be rejected.
func (r *Server) ReportEvents(t testing.TB, token string, events []*insightsv1.Event) {
	t.Helper()
	answer := Must(t, insightsv1.NewIngestServiceClient(r.Conn).ReportEvents, token, &insightsv1.ReportEventsRequest{Events: events})
	WantAll(t, answer.GetRejected())
}

// WantAll fails the test if an item was rejected.
func WantAll(t testing.TB, rejected []*insightsv1.Rejection) {
	t.Helper()
	if len(rejected) > 0 {
		t.Fatalf("%d items rejected, the first: %v", len(rejected), rejected[0])
	}
}

// Issue makes a token.
func (r *Server) Issue(t testing.TB, token store.Token) access.Token {
	t.Helper()
	tokens, err := r.Store.CreateTokens(t.Context(), []store.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0]
}

// Grant gives a role.
func (r *Server) Grant(t testing.TB, b store.RoleBinding) store.RoleBinding {
	t.Helper()
	b, err := r.Store.GrantRole(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
