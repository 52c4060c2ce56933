package server_test

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

// databases are those that every promise holds on.
var databases = map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres}

// harness is a server in a test, reached as users reach it.
type harness struct {
	*server.Server
	store   *store.Store
	options server.Options
	conn    *grpc.ClientConn
}

// serve starts a server whose clock stands still, and stops it with the test. change may change its options; nil: nothing does.
func serve(t *testing.T, database string, now time.Time, change func(*server.Options)) *harness {
	t.Helper()
	c := server.Options{
		Store: storetest.Open(t, database, now), Logger: watchLog(t, database),
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
	return &harness{Server: s, store: c.Store, options: c, conn: conn}
}

// as returns a context for gRPC calls with a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// token makes a service with a role and returns its token.
func (r *harness) token(t testing.TB, role access.Role, organization uuid.UUID) string {
	t.Helper()
	id := uuid.New()
	_, err := r.store.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: id, Role: role, OrganizationID: organization})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := r.store.CreateTokens(t.Context(), []store.Token{{Name: string(role), PrincipalKind: access.KindService, PrincipalID: id}})
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0].Reveal()
}

// scrape asks for the metrics in a format and returns the type and the text.
func (r *harness) scrape(t testing.TB, accept string) (contentType, body string) {
	t.Helper()
	return scrapeOf(t, r.PrometheusAddress(), accept)
}

// scrapeOf does it at an address.
func scrapeOf(t testing.TB, address, accept string) (contentType, body string) {
	t.Helper()
	status, answered, text := fetchFrom(t, address, http.Header{"Accept": {accept}}, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("scrape: status %d: %s", status, text)
	}
	if secret := findSecret(text, ""); secret != "" {
		t.Errorf("the scrape holds the secret %s", secret)
	}
	return answered.Get("Content-Type"), string(text)
}

// get asks over REST and returns the status and the body.
func (r *harness) get(t testing.TB, token, path string, params url.Values) (int, map[string]any) {
	t.Helper()
	var body map[string]any
	return r.getJSON(t, token, path, params, &body), body
}

// getInto asks over REST for an answer of a known form, which has to come.
func (r *harness) getInto(t testing.TB, token, path string, params url.Values, answer any) {
	t.Helper()
	if status := r.getJSON(t, token, path, params, answer); status != http.StatusOK {
		t.Fatalf("%s %s: %d", path, params.Encode(), status)
	}
}

func (r *harness) getJSON(t testing.TB, token, path string, params url.Values, body any) (status int) {
	t.Helper()
	status, _, text := r.fetch(t, http.Header{"Coder-Session-Token": {token}}, path+"?"+params.Encode())
	if err := json.Unmarshal(text, body); err != nil {
		t.Fatalf("%s %s: %v: %s", path, params.Encode(), err, text)
	}
	return status
}

// fetch makes any GET request over REST and returns what came back.
func (r *harness) fetch(t testing.TB, header http.Header, pathAndQuery string) (status int, answered http.Header, text []byte) {
	t.Helper()
	return fetchFrom(t, r.HTTPAddress(), header, pathAndQuery)
}

func fetchFrom(t testing.TB, address string, header http.Header, pathAndQuery string) (status int, answered http.Header, text []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+pathAndQuery, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	return exchange(t, req)
}

// exchange makes any HTTP request and returns what came back.
func exchange(t testing.TB, req *http.Request) (status int, answered http.Header, text []byte) {
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

// must makes a unary call that has to succeed.
func must[Q, A proto.Message](t testing.TB, call func(context.Context, Q, ...grpc.CallOption) (A, error), token string, req Q) A {
	t.Helper()
	ctx, cancel := context.WithTimeout(as(t.Context(), token), time.Minute)
	defer cancel()
	answer, err := call(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// everywhere is the organization of a role that is held in all of them.
var everywhere = uuid.Nil

func (r *harness) apply(t testing.TB, token string, change *insightsv1.ApplyCatalogRequest) {
	t.Helper()
	answer := must(t, insightsv1.NewCatalogServiceClient(r.conn).ApplyCatalog, token, change)
	wantAll(t, answer.GetRejected())
}

func (r *harness) reportStats(t testing.TB, token string, reports []*insightsv1.AgentReport) {
	t.Helper()
	answer := must(t, insightsv1.NewIngestServiceClient(r.conn).ReportStats, token, &insightsv1.ReportStatsRequest{Reports: reports})
	wantAll(t, answer.GetRejected())
}

func (r *harness) reportSessions(t testing.TB, token string, sessions []*insightsv1.AppSession) {
	t.Helper()
	answer := must(t, insightsv1.NewIngestServiceClient(r.conn).ReportAppSessions, token, &insightsv1.ReportAppSessionsRequest{Sessions: sessions})
	wantAll(t, answer.GetRejected())
}

func (r *harness) reportEvents(t testing.TB, token string, events []*insightsv1.Event) {
	t.Helper()
	answer := must(t, insightsv1.NewIngestServiceClient(r.conn).ReportEvents, token, &insightsv1.ReportEventsRequest{Events: events})
	wantAll(t, answer.GetRejected())
}

func wantAll(t testing.TB, rejected []*insightsv1.Rejection) {
	t.Helper()
	if len(rejected) > 0 {
		t.Fatalf("%d items rejected, the first: %v", len(rejected), rejected[0])
	}
}
