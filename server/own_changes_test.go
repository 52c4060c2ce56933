package server_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// disputed are servers on one database, with a workspace that two people have in turn.
type disputed struct {
	*storetest.Fixture
	servers      []*running
	controlPlane string
	reports      int
	minutes      map[uuid.UUID]int64 // that each of the two shall have
}

func newDisputed(t *testing.T, database string, servers int) *disputed {
	t.Helper()
	d := &disputed{Fixture: storetest.NewFixture(t, database), minutes: map[uuid.UUID]int64{}}
	for range servers {
		d.servers = append(d.servers, run(t, database, storetest.Now, nil))
	}
	d.controlPlane = d.servers[0].Token(t, access.RoleControlPlane, servertest.Everywhere)
	return d
}

// give changes the owner on the first server.
func (d *disputed) give(t *testing.T, owner uuid.UUID) {
	t.Helper()
	d.servers[0].Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{Workspaces: []*insightsv1.Workspace{{
		Id: d.Workspaces[0][0].String(), OwnerId: owner.String(), TemplateId: d.Templates[0].String(), Name: "w",
	}}})
}

// next is a report of another minute.
func (d *disputed) next() *insightsv1.AgentReport {
	d.reports++
	return wiretest.SessionAt(d.Agents[0][0].String(), uint64(d.reports), storetest.Now.Add(-time.Duration(d.reports)*time.Minute))
}

// check holds what is stored against what each owner shall have.
func (d *disputed) check(t *testing.T) {
	t.Helper()
	recent := minute.NewWindow(storetest.Now.Add(-2*time.Hour), storetest.Now)
	users, _, err := d.UserActivity(t.Context(), d.Everything, minute.People, recent)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		if u.Minutes != d.minutes[u.UserID] {
			t.Errorf("%s has %d minutes, want %d", u.Username, u.Minutes, d.minutes[u.UserID])
		}
		delete(d.minutes, u.UserID)
	}
	if len(d.minutes) > 0 {
		t.Errorf("minutes are missing: %v", d.minutes)
	}
}

// A report that comes after a change of the owner was acknowledged belongs to the new owner, in a stream and in a unary call, however
// often the owner changes.
func TestOwnerChangesHoldAtOnce(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		d := newDisputed(t, database, 1)
		stream := agentStreamOf(t, &company{running: d.servers[0]}, d.Agents[0][0].String())
		for i := range 20 {
			owner := d.Users[(i+1)%2]
			d.give(t, owner)
			d.servers[0].ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{d.next()})
			report := d.next()
			sendReports(t, stream, report)
			if rejected := settled(t, stream, report.GetSequence()); len(rejected) > 0 {
				t.Fatal(rejected)
			}
			d.minutes[owner] += 2
		}
		d.check(t)
	})
}

// Another server places reports by the new owner when a second has passed since the change was acknowledged.
func TestOwnerChangesHoldOnOtherServers(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		d := newDisputed(t, database, 2)
		for i := range 10 {
			owner := d.Users[(i+1)%2]
			d.give(t, owner)
			<-time.After(time.Second)
			d.servers[1].ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{d.next()})
			d.minutes[owner]++
		}
		d.check(t)
	})
}

// What is deleted is so for the next report, and what is written again exists for it.
func TestDeletionsHoldAtOnce(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		d := newDisputed(t, database, 1)
		ingest := insightsv1.NewIngestServiceClient(d.servers[0].Conn)
		agent, workspace := d.Agents[0][0].String(), d.Workspaces[0][0].String()
		later := wiretest.SessionAt(agent, 1, storetest.Now.Add(time.Minute))
		for range 3 {
			for what, change := range map[string]*insightsv1.ApplyCatalogRequest{
				"workspace": {Deleted: &insightsv1.DeletedItems{Workspaces: []string{workspace}}},
				"agent":     {Deleted: &insightsv1.DeletedItems{Agents: []string{agent}}},
			} {
				d.servers[0].ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{later})
				d.servers[0].Apply(t, d.controlPlane, change)
				answer := servertest.Must(t, ingest.ReportStats, d.controlPlane, &insightsv1.ReportStatsRequest{
					Reports: []*insightsv1.AgentReport{later},
				})
				if rejected := answer.GetRejected(); len(rejected) != 1 || !rejected[0].GetPermanent() {
					t.Errorf("a report of a deleted %s: %v", what, answer)
				}
				if what == "workspace" {
					d.give(t, d.Users[0])
				} else {
					d.servers[0].Apply(t, d.controlPlane, &insightsv1.ApplyCatalogRequest{
						Agents: []*insightsv1.Agent{{Id: agent, WorkspaceId: workspace, Name: "main"}},
					})
				}
			}
		}
	})
}

// While nobody can tell where a report belongs it is not placed by what was once known: a call may be made again later, and a stream is
// held back until it is known.
func TestReportsWaitForTheCatalog(t *testing.T) {
	t.Parallel()
	d := newDisputed(t, storetest.Postgres(t), 1)
	d.give(t, d.Users[0])
	stream := agentStreamOf(t, &company{running: d.servers[0]}, d.Agents[0][0].String())
	db, err := sql.Open("pgx", d.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE catalog_version IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	locked := time.Now()
	wiretest.WaitFor(t, 20*time.Second, "a report that is refused for now", func() bool {
		begun := time.Now()
		code := codeOf(t, insightsv1.NewIngestServiceClient(d.servers[0].Conn).ReportStats, d.controlPlane, &insightsv1.ReportStatsRequest{
			Reports: []*insightsv1.AgentReport{d.next()},
		})
		switch {
		case code == codes.OK && begun.Sub(locked) <= time.Second:
			d.minutes[d.Users[0]]++
			return false
		case code != codes.Unavailable:
			t.Errorf("%v after nobody could read the version, a report is answered with %v", begun.Sub(locked), code)
		}
		return true
	})
	report := d.next()
	sendReports(t, stream, report)
	<-time.After(5 * time.Second) // longer than a server waits for the version, twice
	for _, statement := range []string{
		"UPDATE catalog_version SET version = version + 1",
		"UPDATE workspaces SET owner_id = '" + d.Users[1].String() + "', changed_at = (SELECT version FROM catalog_version) WHERE id = '" +
			d.Workspaces[0][0].String() + "'",
	} {
		if _, err := tx.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if rejected := settled(t, stream, report.GetSequence()); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	d.minutes[d.Users[1]]++
	d.check(t)
}

// Roles that are given and taken, alone or by a group, tokens that end and people who may no longer call count for the next call, and
// roles for the next message of a stream as well.
func TestRightsHoldAtOnce(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	owner, controlPlane := r.Token(t, access.RoleOwner, servertest.Everywhere), r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	accounts, questions := insightsv1.NewAccessServiceClient(r.Conn), insightsv1.NewInsightsServiceClient(r.Conn)
	person := &insightsv1.Principal{Kind: "user", Id: f.Users[0].String()}
	created := servertest.Must(t, accounts.CreateToken, owner, &insightsv1.CreateTokenRequest{Principal: person})
	want := func(what string, code codes.Code) {
		t.Helper()
		if got := codeOf(t, questions.GetUserActivity, created.GetSecret(), &insightsv1.GetUserActivityRequest{
			StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
		}); got != code {
			t.Errorf("%s: %v, want %v", what, got, code)
		}
	}
	want("before", codes.NotFound)
	for range 5 {
		granted := servertest.Must(t, accounts.GrantRole, owner, &insightsv1.GrantRoleRequest{Principal: person, Role: "auditor"})
		want("role given", codes.OK)
		servertest.Must(t, accounts.RevokeRole, owner, &insightsv1.RevokeRoleRequest{RoleBindingId: granted.GetRoleBinding().GetId()})
		want("role taken", codes.NotFound)
	}
	group := &insightsv1.Group{Id: uuid.NewString(), OrganizationId: f.Organization.String(), Name: "g"}
	members := func(users ...string) {
		t.Helper()
		group.UserIds = users
		r.Apply(t, owner, &insightsv1.ApplyCatalogRequest{Groups: []*insightsv1.Group{group}})
	}
	members()
	servertest.Must(t, accounts.GrantRole, owner, &insightsv1.GrantRoleRequest{
		Principal: &insightsv1.Principal{Kind: "group", Id: group.GetId()}, Role: "auditor",
	})
	want("no member of the group", codes.NotFound)
	members(person.GetId())
	want("member of the group", codes.OK)
	status := func(status string) {
		t.Helper()
		r.Apply(t, owner, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{
			{Id: person.GetId(), Username: "user0", Kind: "human", Status: status, OrganizationIds: []string{f.Organization.String()}},
		}})
	}
	status("suspended")
	want("suspended", codes.Unauthenticated)
	status("active")
	want("active again", codes.OK)
	reported := func(status string, minutes int) {
		t.Helper()
		r.ReportEvents(t, controlPlane, []*insightsv1.Event{{
			At: before(0, minutes), Kind: &insightsv1.Event_UserStatus{
				UserStatus: &insightsv1.UserStatusEvent{UserId: person.GetId(), Status: status},
			},
		}})
	}
	reported("suspended", 2)
	want("suspended by an event", codes.Unauthenticated)
	reported("active", 1)
	want("active again by an event", codes.OK)
	servertest.Must(t, accounts.RevokeToken, owner, &insightsv1.RevokeTokenRequest{TokenId: created.GetToken().GetId()})
	want("token revoked", codes.Unauthenticated)
	session, _, err := r.Store.SignIn(t.Context(), access.Principal{Kind: access.KindUser, ID: f.Users[0]}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	created.Secret = session.Reveal()
	want("signed in", codes.OK)
	servertest.Must(t, accounts.SignOut, created.GetSecret(), &insightsv1.SignOutRequest{})
	want("signed out", codes.Unauthenticated)
}

// The first message after a role was taken back ends the stream.
func TestStreamLosesItsRoleAtOnce(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	service := uuid.New()
	binding := r.Grant(t, store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: service, Role: access.RoleControlPlane})
	token := r.Issue(t, store.Token{PrincipalKind: access.KindService, PrincipalID: service})
	ctx, cancel := context.WithTimeout(servertest.As(t.Context(), token.Reveal()), 20*time.Second)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	sendReports(t, stream, wiretest.SessionAt(f.Agents[0][0].String(), 1, storetest.Now))
	settled(t, stream, 1)
	servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).RevokeRole, r.Token(t, access.RoleOwner, servertest.Everywhere),
		&insightsv1.RevokeRoleRequest{RoleBindingId: binding.ID.String()})
	sendReports(t, stream, wiretest.SessionAt(f.Agents[0][0].String(), 2, storetest.Now.Add(-time.Minute)))
	if answer, err := stream.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a message without a role: %v, %v", answer, err)
	}
}

// The next report is kept as the mode says that was set just before, however often it changes.
func TestModesHoldAtOnce(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		d := newDisputed(t, database, 1)
		privacy := insightsv1.NewPrivacyServiceClient(d.servers[0].Conn)
		owner := d.servers[0].Token(t, access.RoleOwner, servertest.Everywhere)
		for range 5 {
			for _, mode := range []store.PrivacyMode{store.PrivacyOff, store.PrivacyFull} {
				servertest.Must(t, privacy.SetPrivacyMode, owner, &insightsv1.SetPrivacyModeRequest{
					OrganizationId: d.Organization.String(), Mode: string(mode),
				})
				d.servers[0].ReportStats(t, d.controlPlane, []*insightsv1.AgentReport{d.next()})
				if mode == store.PrivacyFull {
					d.minutes[d.Users[0]]++
				}
			}
		}
		d.check(t)
	})
}

// The next scrape names nobody when the mode lets nobody be named.
func TestMetricsObeyModesAtOnce(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), func(c *server.Options) { c.CollectAgentStats = true })
	named := func() int {
		t.Helper()
		_, page := p.Scrape(t, "")
		return strings.Count(page, `username="user0"`)
	}
	p.send(t, p.session(0, before(0, 0), nil))
	if named() < 20 {
		t.Fatal("the metrics of agents and workspaces name nobody")
	}
	p.setMode(t, store.PrivacyAggregate)
	if n := named(); n > 0 {
		t.Errorf("mode aggregate: %d series name a user", n)
	}
}
