package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// fleet is the agents of a campaign and those who ask about them.
type fleet struct {
	agents       []*agent
	ledger       *ledger
	acked        atomic.Int64
	delays       delays
	database     string
	version      uuid.UUID // of the first template
	auditor      string    // token
	controlPlane string
}

// newFleet makes a catalog in which every agent has a user of its own, and all the same template.
func newFleet(t *testing.T, database string, agents int) *fleet {
	t.Helper()
	return newFleetOf(t, database, agents, 1)
}

// newFleetOf is newFleet with so many templates, which the agents take in turn.
func newFleetOf(t *testing.T, database string, agents, templates int) *fleet {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	organization := uuid.New()
	f := &fleet{ledger: newLedger(t), database: database, version: uuid.New()}
	c := store.Catalog{
		Organizations: []store.Organization{{ID: organization, Name: "acme"}},
	}
	for i := range templates {
		c.Templates = append(c.Templates, store.Template{ID: uuid.New(), OrganizationID: organization, Name: fmt.Sprint("docker", i)})
	}
	c.Versions = []store.TemplateVersion{{ID: f.version, TemplateID: c.Templates[0].ID, Name: "first"}}
	var tokens []store.Token
	for i := range agents {
		a := &agent{
			number: i, id: uuid.New(), owner: uuid.New(), workspace: uuid.New(), template: c.Templates[i%templates].ID,
			open: map[int]struct{}{}, ledger: f.ledger, acked: &f.acked, delays: &f.delays,
			first: time.Now().Add(-6*24*time.Hour).Unix() / 60,
		}
		c.Users = append(c.Users, store.User{ID: a.owner, Username: fmt.Sprint("user", i), Kind: "human", Status: "active"})
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: a.workspace, OwnerID: a.owner, TemplateID: a.template})
		c.Agents = append(c.Agents, store.Agent{ID: a.id, WorkspaceID: a.workspace, CreatedAt: store.At(time.Unix(a.first*60, 0))})
		tokens = append(tokens, store.Token{PrincipalKind: access.KindAgent, PrincipalID: a.id})
		f.agents = append(f.agents, a)
	}
	refusals, err := s.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	for _, role := range []access.Role{access.RoleAuditor, access.RoleControlPlane} {
		id := uuid.New()
		_, err := s.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: id, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, store.Token{Name: string(role), PrincipalKind: access.KindService, PrincipalID: id})
	}
	secrets, err := s.CreateTokens(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range f.agents {
		a.token = secrets[i].Reveal()
	}
	f.auditor, f.controlPlane = secrets[agents].Reveal(), secrets[agents+1].Reveal()
	return f
}

// load is agents at work.
type load struct {
	stop func() // lets the agents finish: it returns when all that they sent is acknowledged
}

// report lets agents report until the load is stopped.
func (f *fleet) report(t *testing.T, m manner) *load {
	t.Helper()
	return f.reportAs(t, f.agents, m)
}

func (f *fleet) reportAs(t *testing.T, agents []*agent, m manner) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, a := range agents {
		running.Go(func() {
			if err := a.run(ctx, m, stop); err != nil {
				t.Error(err)
			}
		})
	}
	return &load{stop: endOnce(t, stop, &running, cancel)}
}

// endOnce returns what ends work well: it closes stop and waits for the work, and cancels it when that takes too long. At the
// latest this happens when the test ends, and at once if it failed.
func endOnce(t *testing.T, stop chan struct{}, work *sync.WaitGroup, cancel context.CancelFunc) func() {
	t.Helper()
	end := sync.OnceFunc(func() {
		close(stop)
		late := time.AfterFunc(patience, cancel)
		work.Wait()
		late.Stop()
		cancel()
	})
	t.Cleanup(func() {
		if t.Failed() {
			cancel()
		}
		end()
	})
	return end
}

// asControlPlane makes a call that of the control plane.
func (f *fleet) asControlPlane(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.controlPlane)
}

// reportOnce makes the unary call of the control plane for reports of agents.
func (f *fleet) reportOnce(
	ctx context.Context, client insightsv1.IngestServiceClient, reports ...*insightsv1.AgentReport,
) (*insightsv1.ReportStatsResponse, error) {
	return client.ReportStats(f.asControlPlane(ctx), &insightsv1.ReportStatsRequest{Reports: reports})
}

// always is so many tries that a call comes through in the end.
const always = 1000

// retried makes a call again while the server is unavailable, as its clients are asked to, so many times at most.
func retried(ctx context.Context, tries int, retries *atomic.Int64, call func() error) error {
	wait := 50 * time.Millisecond
	for try := 1; ; try++ {
		err := call()
		if status.Code(err) != codes.Unavailable || try == tries {
			return err
		}
		retries.Add(1)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait = min(2*wait, 200*time.Millisecond)
		}
	}
}

// awaitAcks waits for so many more acknowledgements and returns how long they took.
func (f *fleet) awaitAcks(t *testing.T, n int64) time.Duration {
	t.Helper()
	begin, want := time.Now(), f.acked.Load()+n
	await(t, fmt.Sprintf("%d more acknowledgements", n), func() bool { return f.acked.Load() >= want })
	return time.Since(begin)
}

// awaitSilence waits until nothing is acknowledged for a second, when what was committed before a fault has arrived, and returns
// how many acknowledgements there are.
func (f *fleet) awaitSilence(t *testing.T) int64 {
	t.Helper()
	acked, since := f.acked.Load(), time.Now()
	await(t, "a second without acknowledgements", func() bool {
		if now := f.acked.Load(); now != acked {
			acked, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return acked
}

// recovery is how long it may take at most until work goes on after a fault, on a machine that does other things as well.
const recovery = 30 * time.Second

// awaitRecovery waits until something is acknowledged again after a fault that ended just now.
func (f *fleet) awaitRecovery(t *testing.T, from string) time.Duration {
	t.Helper()
	took := f.awaitAcks(t, 1)
	t.Logf("%s: acknowledges again after %v", from, took.Round(time.Millisecond))
	if took > recovery {
		t.Errorf("%s: acknowledges again after %v", from, took)
	}
	return took
}

// awaitAll waits until every agent got one more acknowledgement: then all streams are open and the server knows every agent.
func (f *fleet) awaitAll(t *testing.T) {
	t.Helper()
	before := make([]int64, len(f.agents))
	for i, a := range f.agents {
		before[i] = a.settled.Load()
	}
	await(t, "an acknowledgement for every agent", func() bool {
		return !slices.ContainsFunc(f.agents, func(a *agent) bool { return a.settled.Load() == before[a.number] })
	})
}

func (f *fleet) resent() (n int64) {
	for _, a := range f.agents {
		n += a.resent.Load()
	}
	return n
}

func (f *fleet) streams() (n int64) {
	for _, a := range f.agents {
		n += a.streams.Load()
	}
	return n
}

// check holds the tables, and the answers of a running server, against the ledger.
func (f *fleet) check(t *testing.T, address string) verdict {
	t.Helper()
	known := f.ledger.read(t, len(f.agents))
	stored, stray := f.stored(t)
	v := judge(known, stored)
	v.foreign += stray
	t.Log(v)
	if !v.clean() {
		t.Error("the ledger and the database disagree")
	}
	if v.acked == 0 {
		t.Error("nothing was acknowledged: the campaign proves nothing")
	}
	f.checkAnswers(t, address, stored)
	return v
}

// ask asks a question that reads all usage. It is not about single users, so nothing has to be written for the audit trail.
func (f *fleet) ask(ctx context.Context, conn *grpc.ClientConn) error {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	_, err := insightsv1.NewInsightsServiceClient(conn).GetTemplateInsights(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.auditor),
		&insightsv1.GetTemplateInsightsRequest{
			StartTime: today.AddDate(0, 0, -8).Format(time.RFC3339), EndTime: today.Format(time.RFC3339),
		},
	)
	return err
}

// mustAsk asks until there is an answer: a connection of the pool may have ended with the last fault.
func (f *fleet) mustAsk(t *testing.T, address string) {
	t.Helper()
	conn := dial(t, address)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	await(t, "an answer", func() bool { return status.Code(f.ask(ctx, conn)) == codes.OK })
}

// dial opens a connection to a server. A call fails when connecting does, so connecting may take as long as [client.NewConn] lets it.
func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := manner{address: address, connect: 20 * time.Second}.dial()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// checkAnswers holds what the server says against what is stored: a minute that was counted twice, or in two places, shows.
func (f *fleet) checkAnswers(t *testing.T, address string, stored []map[int]struct{}) {
	t.Helper()
	f.mustAsk(t, address)
	conn := dial(t, address)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(
		metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+f.auditor), time.Minute,
	)
	defer cancel()
	insights := insightsv1.NewInsightsServiceClient(conn)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	start, end := today.AddDate(0, 0, -8).Format(time.RFC3339), today.Format(time.RFC3339)
	users, err := insights.GetUserActivity(ctx, &insightsv1.GetUserActivityRequest{StartTime: start, EndTime: end})
	if err != nil {
		t.Fatal(err)
	}
	seconds := map[string]int64{}
	for _, u := range users.GetReport().GetUsers() {
		seconds[u.GetUserId()] = u.GetSeconds()
	}
	apps, launches, differ := map[string]int64{}, int64(0), 0
	for i, a := range f.agents {
		minutes, halfHours := map[int64]struct{}{}, map[int64]struct{}{}
		for n := range stored[i] {
			b := a.bit(n)
			minutes[b.minute], halfHours[b.minute/minute.MinutesPerHalfHour] = struct{}{}, struct{}{}
			apps[b.app] += 60
		}
		for h := range halfHours {
			if _, goesOn := halfHours[h-1]; !goesOn {
				launches++
			}
		}
		if got := seconds[a.owner.String()]; got != int64(len(minutes))*60 {
			differ++
			t.Errorf("answer: %d seconds of %s, the database has %d", got, a.owner, len(minutes)*60)
		}
	}
	templates, err := insights.GetTemplateInsights(ctx, &insightsv1.GetTemplateInsightsRequest{StartTime: start, EndTime: end})
	if err != nil {
		t.Fatal(err)
	}
	got, usage := map[string]int64{}, templates.GetReport().GetUnknownUsage() // that is where apps with names like ours are
	for _, app := range usage.GetEditors() {
		got[app.GetName()] = app.GetSeconds()
	}
	if diff := cmp.Diff(apps, got); diff != "" {
		differ++
		t.Errorf("seconds of apps (-database +answer):\n%s", diff)
	}
	if usage.GetTimesUsed() != launches {
		differ++
		t.Errorf("answer: %d launches, the database has %d", usage.GetTimesUsed(), launches)
	}
	t.Logf(
		"the server's answers beside what is stored: the minutes of %d users and of %d apps, and %d launches, %d differ", len(f.agents),
		len(apps), launches, differ,
	)
}

// openTables opens a database past the store.
func openTables(t *testing.T, database string) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+filepath.ToSlash(path)+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// stored reads the reports of each agent whose bits are in the tables and counts session bits that belong to no report.
func (f *fleet) stored(t *testing.T) (reports []map[int]struct{}, stray int) {
	t.Helper()
	reports = make([]map[int]struct{}, len(f.agents))
	for i := range reports {
		reports[i] = map[int]struct{}{}
	}
	f.eachBit(t, func(kind minute.Kind, a *agent, b bit) {
		if kind != minute.Session {
			return
		}
		if a != nil {
			if n, ok := a.reportOf(b); ok {
				reports[a.number][n] = struct{}{}
				return
			}
		}
		stray++
	})
	return reports, stray
}

// eachBit reads the bits of all kinds that are in the tables, past the code under test but for the page format, with the agent
// whose owner they are of, if there is one. While a fold is at work it may show a bit twice.
func (f *fleet) eachBit(t *testing.T, see func(minute.Kind, *agent, bit)) {
	t.Helper()
	db := openTables(t, f.database)
	defer db.Close()
	agents := map[uuid.UUID]*agent{}
	for _, a := range f.agents {
		agents[a.owner] = a
	}
	owners := map[int64]*agent{}
	each(t, db, "SELECT user_id, person FROM people", func(scan func(...any) error) error {
		var user uuid.UUID
		var person int64
		err := scan(&user, &person)
		owners[person] = agents[user]
		return err
	})
	add := func(r minute.Row) {
		for m := range int64(minute.MinutesPerHalfHour) {
			if r.Minutes>>m&1 == 1 {
				see(r.Kind, owners[minute.PersonOf(r.Subject)], bit{r.App, int64(r.HalfHour)*minute.MinutesPerHalfHour + m})
			}
		}
	}
	each(t, db, "SELECT half_hour, subject, kind, app, minutes FROM usage_rows", func(scan func(...any) error) error {
		var r minute.Row
		err := scan(&r.HalfHour, &r.Subject, &r.Kind, &r.App, &r.Minutes)
		add(r)
		return err
	})
	// Pages after rows: a fold in between shows a bit twice and loses none.
	each(t, db, "SELECT day, usage FROM usage_pages", func(scan func(...any) error) error {
		var day int32
		var p minute.Page
		if err := scan(&day, &p.Usage); err != nil {
			return err
		}
		rows, err := minute.DecodePage(day, p, nil)
		for _, r := range rows {
			add(r)
		}
		return err
	})
}

func each(t *testing.T, db *sql.DB, query string, f func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
