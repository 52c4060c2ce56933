package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Health checks may ask for the server or for each of its services by name, and learn that it stops before it stops.
func TestHealthOfServices(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	client := healthpb.NewHealthClient(r.Conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watched := map[string]healthpb.Health_WatchClient{}
	expect := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := watched[service].Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("watching %q: %v, %v, want %v", service, got, err, want)
		}
	}
	services := []string{""}
	for service := range r.ServiceInfo() {
		services = append(services, service)
	}
	if len(services) < 6 {
		t.Fatalf("services: %q", services)
	}
	for _, service := range append(services, "insights.v1.Nothing") {
		var err error
		if watched[service], err = client.Watch(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil {
			t.Fatal(err)
		}
	}
	for _, service := range services {
		got, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, got, err)
		}
		expect(service, healthpb.HealthCheckResponse_SERVING)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "insights.v1.Nothing"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	expect("insights.v1.Nothing", healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
	r.Stop()
	for _, service := range services {
		expect(service, healthpb.HealthCheckResponse_NOT_SERVING)
	}
}

// readiness is what /readyz says, of calls and of reports alone.
func (r *running) readiness(t *testing.T) (calls, reports string) {
	t.Helper()
	said := [2]string{}
	for i, question := range []string{"/readyz", "/readyz?for=ingest"} {
		code, _, text := r.Fetch(t, nil, question)
		said[i] = strings.TrimSpace(string(text))
		if (code == http.StatusOK) != (said[i] == "ok") || code != http.StatusOK && code != http.StatusServiceUnavailable {
			t.Fatalf("%s: %d %s", question, code, text)
		}
	}
	return said[0], said[1]
}

// awaitReadiness waits until /readyz and health checks over gRPC say that, and returns how long it took.
func (r *running) awaitReadiness(t *testing.T, calls, reports string) time.Duration {
	t.Helper()
	begin := time.Now()
	for said := ""; said != calls+"; "+reports; <-time.After(100 * time.Millisecond) {
		gotCalls, gotReports := r.readiness(t)
		said = gotCalls + "; " + gotReports
		if time.Since(begin) > time.Minute {
			t.Fatalf("readiness: %s, want %s; %s", said, calls, reports)
		}
	}
	took := time.Since(begin)
	for service, want := range map[string]string{
		"": calls, insightsv1.InsightsService_ServiceDesc.ServiceName: calls, insightsv1.IngestService_ServiceDesc.ServiceName: reports,
	} {
		var trailer metadata.MD
		request := &healthpb.HealthCheckRequest{Service: service}
		got, err := healthpb.NewHealthClient(r.Conn).Check(t.Context(), request, grpc.Trailer(&trailer))
		said := append(trailer.Get("insights-not-serving"), "ok")[0]
		if err != nil || said != want || (got.GetStatus() == healthpb.HealthCheckResponse_SERVING) != (want == "ok") {
			t.Errorf("%q: %v %q, %v; want %q", service, got, said, err, want)
		}
	}
	return took
}

func TestReadinessOfNothingElse(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	code, _, text := r.Fetch(t, nil, "/readyz?for=lunch")
	if code != http.StatusBadRequest || !strings.Contains(string(text), "for: want") {
		t.Errorf("ready for lunch: %d %s", code, text)
	}
}

// A server whose database does not answer is not ready.
func TestReadinessFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	r.awaitReadiness(t, "ok", "ok")
	if err := r.Store.Close(); err != nil {
		t.Fatal(err)
	}
	const why = "the database does not answer"
	if took := r.awaitReadiness(t, why, why); took < 5*time.Second {
		t.Errorf("it is not ready %v after the database went: so short a trouble is none", took)
	}
}

// Where reports cannot be committed for a while, they should go elsewhere, and calls may come.
func TestReadinessForIngest(t *testing.T) {
	t.Parallel()
	for name, open := range servertest.Databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			c := &company{running: run(t, f.Database, storetest.Now, nil)}
			c.awaitReadiness(t, "ok", "ok")
			agent := f.Agents[0][0].String()
			stream := agentStreamOf(t, c, agent)
			execute(t, f.Database, "ALTER TABLE usage_rows RENAME TO gone")
			sendReports(t, stream, wiretest.SessionAt(agent, 1, storetest.Now))
			c.awaitReadiness(t, "ok", "no report can be committed")
			execute(t, f.Database, "ALTER TABLE gone RENAME TO usage_rows")
			settled(t, stream, 1)
			c.awaitReadiness(t, "ok", "ok")
		})
	}
}

// A server that cannot commit is not ready while another one can: callers are better served there. If no other one can, they are
// served here as far as that goes, and reports alone stay away.
func TestReadinessOfWhoAloneCannotCommit(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	role := "confined_" + path.Base(u.Path)
	execute(t, database, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO %[1]s;
		GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO %[1]s`, role))
	u.User = url.UserPassword(role, "anything")
	other, confined := run(t, database, storetest.Now, nil), run(t, u.String(), storetest.Now, nil)
	for _, r := range []*running{other, confined} {
		r.awaitReadiness(t, "ok", "ok")
	}
	execute(t, database, "REVOKE INSERT, UPDATE ON commit_mark FROM "+role)
	const why = "this server cannot commit, and another one can"
	if took := confined.awaitReadiness(t, why, why); took < 5*time.Second {
		t.Errorf("it is not ready %v after it could commit last: so short a trouble is none", took)
	}
	if calls, reports := other.readiness(t); calls != "ok" || reports != "ok" {
		t.Errorf("the other server: %s, %s", calls, reports)
	}
	owner := other.Token(t, access.RoleOwner, servertest.Everywhere)
	code, _, answer := confined.Fetch(t, http.Header{"Coder-Session-Token": {owner}}, "/api/v2/templates")
	if code != http.StatusOK {
		t.Errorf("a question to a server that cannot commit: %d %s", code, answer)
	}
	execute(t, database, "REVOKE SELECT ON templates FROM "+role)
	const detail = "The server is not ready: " + why + "."
	code, _, answer = confined.Fetch(t, http.Header{"Coder-Session-Token": {owner}}, "/api/v2/templates")
	if code != http.StatusServiceUnavailable || !strings.Contains(string(answer), fmt.Sprintf(`"detail":%q`, detail)) {
		t.Errorf("a question that cannot be answered: %d %s, want %q", code, answer, detail)
	}
	_, err = insightsv1.NewInsightsServiceClient(confined.Conn).ListTemplates(
		metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+owner), &insightsv1.ListTemplatesRequest{},
	)
	if status.Code(err) != codes.Unavailable || wiretest.DetailOf(err) != detail {
		t.Errorf("the same over gRPC: %v with %q", err, wiretest.DetailOf(err))
	}
	execute(t, database, "GRANT SELECT ON templates TO "+role)
	other.Stop()
	confined.awaitReadiness(t, "ok", "nothing can be committed")
	execute(t, database, "GRANT INSERT, UPDATE ON commit_mark TO "+role)
	confined.awaitReadiness(t, "ok", "ok")
}

// A server that is told to end says that it is not ready, and lets callers in until the delay is over.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.DrainDelay = delay })
	r.awaitReadiness(t, "ok", "ok")
	begin := time.Now()
	r.Stop()
	const why = "the server is about to stop"
	r.awaitReadiness(t, why, why)
	if code, _, _ := r.Fetch(t, nil, "/livez"); code != http.StatusOK {
		t.Errorf("during the delay a new connection is answered with %d", code)
	}
	for {
		resp, err := http.Get("http://" + r.HTTPAddress() + "/livez")
		if err != nil {
			break
		}
		_ = resp.Body.Close()
		if time.Since(begin) > time.Minute {
			t.Fatal("it goes on listening")
		}
		<-time.After(50 * time.Millisecond)
	}
	if took := time.Since(begin); took < delay {
		t.Errorf("listeners closed after %v, want not before %v", took, delay)
	}
}
