package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// An agent reports for itself alone, however it tries, and what it sent for itself before that counts (Coder CVE-2026-55429).
func TestAgentPosesAsAnother(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	own, other := f.Agents[0][0].String(), f.Agents[1][1].String()
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	token, ingest := secrets[0].Reveal(), insightsv1.NewIngestServiceClient(r.Conn)
	var minutes int // that the agent was acknowledged for itself
	report := func(agent string, minute int) *insightsv1.AgentReport {
		return wiretest.SessionAt(agent, uint64(minute+1), storetest.Now.Add(-time.Duration(minute)*time.Minute))
	}
	for name, spelt := range map[string]string{
		"another agent": other, "another agent in capitals": strings.ToUpper(other), "an agent that does not exist": uuid.NewString(),
	} {
		got := codeOf(t, ingest.ReportStats, token, &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{report(spelt, 0)}})
		if got != codes.PermissionDenied {
			t.Errorf("%s in a call: %v", name, got)
		}
		mixed := []*insightsv1.AgentReport{report(own, 500), report(spelt, 501), report(own, 502)}
		if got := codeOf(t, ingest.ReportStats, token, &insightsv1.ReportStatsRequest{Reports: mixed}); got != codes.PermissionDenied {
			t.Errorf("%s between own reports: %v", name, got)
		}
		for _, before := range []int{0, 3} {
			stream, err := ingest.StreamStats(servertest.As(t.Context(), token))
			if err != nil {
				t.Fatal(err)
			}
			for range before {
				sendReports(t, stream, report(own, minutes))
				settled(t, stream, uint64(minutes+1))
				minutes++
			}
			sendReports(t, stream, report(spelt, 600))
			for err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("%s on a stream, after %d own reports: %v", name, before, err)
			}
		}
	}
	for name, id := range map[string]string{
		"no id": "", "an id in braces": "{" + other + "}", "a URN": "urn:uuid:" + other,
		"an id without hyphens": strings.ReplaceAll(other, "-", ""),
	} {
		answer := servertest.Must(t, ingest.ReportStats, token, &insightsv1.ReportStatsRequest{
			Reports: []*insightsv1.AgentReport{report(id, 0)},
		})
		if rejected := answer.GetRejected(); len(rejected) != 1 || !rejected[0].GetPermanent() {
			t.Errorf("%s: %v", name, answer)
		}
	}
	session := &insightsv1.AppSession{
		AgentId: own, UserId: f.Users[1].String(), AccessMethod: "path", SlugOrPort: "wiki",
		StartedAt: timestamppb.New(storetest.Now.Add(-time.Hour)), EndedAt: timestamppb.New(storetest.Now),
	}
	got := codeOf(t, ingest.ReportAppSessions, token, &insightsv1.ReportAppSessionsRequest{Sessions: []*insightsv1.AppSession{session}})
	if got != codes.PermissionDenied {
		t.Errorf("sessions of an app: %v", got)
	}
	activity := f.Ask(t).Activity
	if len(activity) != 1 || activity[0].UserID != f.Users[0] || activity[0].Minutes != int64(minutes) {
		t.Errorf("activity: %+v; want %d minutes of the agent's own person alone", activity, minutes)
	}
}

// Agents change their tokens while they report: both count for a while, and nothing is lost.
func TestTokenRotationLosesNothing(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	const rotations = 10
	for user := range f.Users {
		agent, next := f.Agents[0][user].String(), 0
		create := func() *insightsv1.CreateTokenResponse {
			return servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).CreateToken, owner, &insightsv1.CreateTokenRequest{
				Principal: &insightsv1.Principal{Kind: "agent", Id: agent},
			})
		}
		report := func(token string) {
			r.ReportStats(t, token, []*insightsv1.AgentReport{
				wiretest.SessionAt(agent, 0, storetest.Now.Add(-time.Duration(next)*time.Minute)),
			})
			next++
		}
		current := create()
		for range rotations {
			report(current.GetSecret())
			fresh := create()
			report(fresh.GetSecret())
			report(current.GetSecret())
			servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).RevokeToken, owner, &insightsv1.RevokeTokenRequest{
				TokenId: current.GetToken().GetId(),
			})
			report(fresh.GetSecret())
			current = fresh
		}
	}
	for _, u := range f.Ask(t).Activity {
		if u.Minutes != 4*rotations {
			t.Errorf("%s: %d minutes, want %d", u.Username, u.Minutes, 4*rotations)
		}
	}
}

// movingClock is a clock that tests set forward.
type movingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *movingClock) tell() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *movingClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// revoked is somebody who reports over a stream, and how that is ended.
type revoked struct {
	token string
	end   func()
}

// Whoever loses a right is silent within five seconds, in the middle of a stream (Coder CVE-2026-55435 and GHSA-3rw9-wmc8-8948,
// Grafana CVE-2026-33381).
func TestRevocationSilencesOpenStreams(t *testing.T) {
	t.Parallel()
	i := wiretest.NewIssuer(t)
	key := i.Rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	clock := &movingClock{now: storetest.Now}
	r := run(t, f.Database, storetest.Now, func(c *server.Options) {
		s, err := store.Open(t.Context(), store.Options{Database: f.Database, Clock: clock.tell})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		c.Store, c.Clock, c.OIDC = s, clock.tell, &guard.OIDC{Issuer: i.URL, Audience: "insights"}
	})
	owner, controlPlane := r.Token(t, access.RoleOwner, servertest.Everywhere), r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	admin := insightsv1.NewAccessServiceClient(r.Conn)
	create := func(kind string, id uuid.UUID, expires time.Duration) *insightsv1.CreateTokenResponse {
		req := &insightsv1.CreateTokenRequest{Principal: &insightsv1.Principal{Kind: kind, Id: id.String()}}
		if expires > 0 {
			req.ExpiresAt = timestamppb.New(clock.tell().Add(expires))
		}
		return servertest.Must(t, admin.CreateToken, owner, req)
	}
	grant := func(kind string, id uuid.UUID) *insightsv1.RoleBinding {
		return servertest.Must(t, admin.GrantRole, owner, &insightsv1.GrantRoleRequest{
			Principal: &insightsv1.Principal{Kind: kind, Id: id.String()}, Role: "control-plane",
		}).GetRoleBinding()
	}
	apply := func(change *insightsv1.ApplyCatalogRequest) func() { return func() { r.Apply(t, owner, change) } }
	revokeToken := func(made *insightsv1.CreateTokenResponse) func() {
		return func() {
			servertest.Must(t, admin.RevokeToken, owner, &insightsv1.RevokeTokenRequest{TokenId: made.GetToken().GetId()})
		}
	}
	revokeRole := func(b *insightsv1.RoleBinding) func() {
		return func() {
			servertest.Must(t, admin.RevokeRole, owner, &insightsv1.RevokeRoleRequest{RoleBindingId: b.GetId()})
		}
	}
	var people []uuid.UUID
	var users []*insightsv1.User
	for n := range 6 {
		people = append(people, uuid.New())
		users = append(users, &insightsv1.User{Id: people[n].String(), Username: fmt.Sprint("person", n)})
	}
	group := &insightsv1.Group{
		Id: uuid.NewString(), OrganizationId: f.Organization.String(), Name: "operators", UserIds: []string{people[2].String()},
	}
	r.Apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{Users: users, Groups: []*insightsv1.Group{group}})
	for _, n := range []int{0, 1, 3, 4} {
		grant("user", people[n])
	}
	grant("group", uuid.MustParse(group.GetId()))
	suspend := func(n int) func() {
		return apply(&insightsv1.ApplyCatalogRequest{
			Users: []*insightsv1.User{{Id: people[n].String(), Username: "gone", Status: "suspended"}},
		})
	}
	jwt := func(n int) string {
		return wiretest.Sign(t, jose.RS256, key, map[string]any{
			"iss": i.URL, "aud": "insights", "sub": people[n].String(), "exp": clock.tell().Add(time.Hour).Unix(), "n": n,
		})
	}
	later := func() { clock.advance(time.Hour + guard.JwtLeeway + time.Second) }

	agentToken, service, second := create("agent", f.Agents[0][0], 0), uuid.New(), uuid.New()
	binding := grant("service", service)
	grant("service", second)
	serviceToken := create("service", second, 0)
	cases := map[string]revoked{
		"token of an agent revoked": {agentToken.GetSecret(), revokeToken(agentToken)},
		"agent deleted": {
			create("agent", f.Agents[0][1], 0).GetSecret(),
			apply(&insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Agents: []string{f.Agents[0][1].String()}}}),
		},
		"token of an agent expires":        {create("agent", f.Agents[0][2], time.Hour).GetSecret(), later},
		"token of a control plane revoked": {serviceToken.GetSecret(), revokeToken(serviceToken)},
		"role of a control plane removed":  {create("service", service, 0).GetSecret(), revokeRole(binding)},
		"person suspended":                 {create("user", people[0], 0).GetSecret(), suspend(0)},
		"person deleted": {
			create("user", people[1], 0).GetSecret(),
			apply(&insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Users: []string{people[1].String()}}}),
		},
		"person leaves the group that has a role": {create("user", people[2], 0).GetSecret(), apply(&insightsv1.ApplyCatalogRequest{
			Groups: []*insightsv1.Group{{Id: group.GetId(), OrganizationId: group.GetOrganizationId(), Name: "operators"}},
		})},
		"token of the issuer expires":              {jwt(3), later},
		"person with a token of the issuer leaves": {jwt(4), suspend(4)},
	}
	proxy := uuid.New()
	proxyRole := servertest.Must(t, admin.GrantRole, owner, &insightsv1.GrantRoleRequest{
		Principal: &insightsv1.Principal{Kind: "service", Id: proxy.String()}, Role: "proxy",
	}).GetRoleBinding()
	proxyToken := create("service", proxy, 0).GetSecret()

	reporters := map[string]reporter{"role of a proxy removed": r.proxyReporter(t, proxyToken, f)}
	cases["role of a proxy removed"] = revoked{proxyToken, revokeRole(proxyRole)}
	for name, c := range cases {
		if reporters[name] == nil {
			reporters[name] = r.streamReporter(t, c.token, f.Agents[1][0].String())
		}
		if err := reporters[name].report(t.Context()); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
	}
	// All of them wait at once: what counts is how long each goes on.
	type outcome struct {
		last time.Duration
		err  error
	}
	outcomes := map[string]chan outcome{}
	for name, c := range cases {
		c.end()
		lost := time.Now()
		ended := make(chan outcome, 1)
		outcomes[name] = ended
		go func() {
			last, err := lastAccepted(t.Context(), reporters[name], lost)
			ended <- outcome{last, err}
		}()
	}
	var longest time.Duration
	for name, c := range outcomes {
		t.Run(name, func(t *testing.T) {
			o := <-c
			if longest = max(longest, o.last); o.err != nil || o.last > 5*time.Second {
				t.Errorf("the last report was taken %v after the right was lost; it ends with %v", o.last, o.err)
			}
		})
	}
	t.Logf("the last report was taken %v after the right to it was lost", longest)
}

// reporter is a way to report again and again.
type reporter interface {
	report(ctx context.Context) error
	reopen() // begins anew
}

// lastAccepted reports until it is refused, also after beginning anew, and returns how long after a moment a report was taken
// for the last time. An error other than a refusal is returned.
func lastAccepted(ctx context.Context, r reporter, lost time.Time) (last time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for refusals := 0; refusals < 2; {
		<-ticker.C
		switch err := r.report(ctx); status.Code(err) {
		case codes.OK:
			last, refusals = time.Since(lost), 0
		case codes.Unauthenticated, codes.PermissionDenied:
			refusals++
			r.reopen()
		default:
			return last, err
		}
	}
	return last, nil
}

// streamReporter reports over a stream.
type streamReporter struct {
	open     func() (insightsv1.IngestService_StreamStatsClient, error)
	stream   insightsv1.IngestService_StreamStatsClient // nil: not open
	agent    string
	sequence uint64
}

// streamReporter is somebody who reports for an agent, or is one.
func (r *running) streamReporter(t *testing.T, token, agent string) reporter {
	t.Helper()
	who := servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).WhoAmI, token, &insightsv1.WhoAmIRequest{}).GetPrincipal()
	if who.GetKind() == "agent" {
		agent = who.GetId()
	}
	return &streamReporter{agent: agent, open: func() (insightsv1.IngestService_StreamStatsClient, error) {
		return insightsv1.NewIngestServiceClient(r.Conn).StreamStats(servertest.As(t.Context(), token))
	}}
}

// report sends one report and waits until it is acknowledged.
func (o *streamReporter) report(context.Context) (err error) {
	if o.stream == nil {
		if o.stream, err = o.open(); err != nil {
			return err
		}
	}
	o.sequence++
	// what Recv says counts
	_ = o.stream.Send(&insightsv1.StreamStatsRequest{
		Reports: []*insightsv1.AgentReport{wiretest.SessionAt(o.agent, o.sequence, storetest.Now)},
	})
	for acknowledged := uint64(0); acknowledged < o.sequence; {
		answer, err := o.stream.Recv()
		if err != nil {
			return err
		}
		acknowledged = answer.GetAcknowledgedSequence()
	}
	return nil
}

func (o *streamReporter) reopen() { o.stream, o.sequence = nil, 0 }

// proxyReporter reports sessions of an app.
type proxyReporter func(ctx context.Context) error

func (r *running) proxyReporter(t *testing.T, token string, f *storetest.Fixture) reporter {
	t.Helper()
	sessions := []*insightsv1.AppSession{{
		AgentId: f.Agents[1][0].String(), UserId: f.Users[0].String(), AccessMethod: "path", SlugOrPort: "wiki",
		StartedAt: timestamppb.New(storetest.Now.Add(-time.Hour)), EndedAt: timestamppb.New(storetest.Now),
	}}
	return proxyReporter(func(ctx context.Context) error {
		_, err := insightsv1.NewIngestServiceClient(r.Conn).ReportAppSessions(
			servertest.As(ctx, token), &insightsv1.ReportAppSessionsRequest{Sessions: sessions},
		)
		return err
	})
}

func (p proxyReporter) report(ctx context.Context) error { return p(ctx) }

func (proxyReporter) reopen() {}
