package server_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// propertyNow is the present of the properties: everything happened before, some of it within the days of DAUs.
var propertyNow = time.Date(2023, 11, 20, 12, 0, 0, 0, time.UTC)

// propertyRuns is how many random companies are tried: as many on SQLite, a tenth of it on Postgres.
func propertyRuns(t *testing.T) int {
	text := os.Getenv("PROPERTY_RUNS")
	if text == "" {
		return 200
	}
	runs, err := strconv.Atoi(text)
	if err != nil || runs < 10 {
		t.Fatalf("PROPERTY_RUNS is %q, want a number from 10", text)
	}
	return runs
}

// shares counts the runs with what makes questions hard.
type shares struct {
	mu                                                              sync.Mutex
	runs, nonEmpty, overlap, late, dst, together, estimated, handed int
	claimed, moves, added                                           int
}

func (s *shares) note(nonEmpty, overlap, late, dst, together, estimated, handed, claimed, moves, added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	for _, c := range []struct {
		is bool
		n  *int
	}{
		{nonEmpty, &s.nonEmpty},
		{overlap, &s.overlap},
		{late, &s.late},
		{dst, &s.dst},
		{together, &s.together},
		{estimated, &s.estimated},
		{handed, &s.handed},
		{claimed, &s.claimed},
		{moves, &s.moves},
		{added, &s.added},
	} {
		if c.is {
			*c.n++
		}
	}
}

// Answers over the public surface are those of the naive reference, for random companies that report in random order, late
// and more than once, and for windows of any zone.
func TestProperties(t *testing.T) {
	t.Parallel()
	// Each check is a hundred companies on one server.
	checks := flag.Lookup("rapid.checks").Value.String()
	perServer, err := strconv.Atoi(checks)
	if err != nil {
		t.Fatal(err)
	}
	var s shares
	t.Run("databases", func(t *testing.T) {
		for database, runs := range map[string]int{"sqlite": propertyRuns(t), "postgres": propertyRuns(t) / 10} {
			for i := range max(1, runs/perServer) {
				t.Run(fmt.Sprint(database, i), func(t *testing.T) {
					t.Parallel()
					p := newProperties(t, servertest.Databases[database](t), &s, nil)
					rapid.Check(t, p.check)
				})
			}
		}
	})
	percent := func(n int) int { return 100 * n / max(1, s.runs) }
	t.Logf("%d runs: %d %% with answers that are not empty, %d %% with overlap, %d %% with late data, %d %% over a change of the clock",
		s.runs, percent(s.nonEmpty), percent(s.overlap), percent(s.late), percent(s.dst))
	t.Logf("%d %% with somebody at two workspaces of a template at once, %d %% with estimates, %d %% with workspaces that change hands",
		percent(s.together), percent(s.estimated), percent(s.handed))
	t.Logf("%d %% with claimed prebuilds, %d %% with people who change groups at noon, %d %% whose minutes seats would add up to more",
		percent(s.claimed), percent(s.moves), percent(s.added))
	if percent(s.claimed) < 10 || percent(s.moves) < 30 || percent(s.added) < 30 || percent(s.nonEmpty) < 80 ||
		percent(s.overlap) < 30 || percent(s.late) < 30 || percent(s.dst) < 30 || percent(s.together) < 30 ||
		percent(s.estimated) < 50 || percent(s.handed) < 15 {
		t.Error("the runs are too easy")
	}
}

// properties asks one server about one company after the other.
type properties struct {
	r                   *running
	insights            insightsv1.InsightsServiceClient
	database            *sql.DB
	owner, controlPlane string
	shares              *shares
}

func newProperties(t *testing.T, database string, s *shares, change func(*server.Options)) *properties {
	t.Helper()
	driver, name := "pgx", database
	if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, name = "sqlite", file+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := run(t, database, propertyNow, change)
	return &properties{
		r: r, insights: insightsv1.NewInsightsServiceClient(r.Conn), database: db, shares: s,
		owner:        r.Token(t, access.RoleOwner, servertest.Everywhere),
		controlPlane: r.Token(t, access.RoleControlPlane, servertest.Everywhere),
	}
}

// ask makes a call that has to succeed.
func ask[Q, A any](t *rapid.T, call func(context.Context, Q, ...grpc.CallOption) (A, error), token string, req Q) A {
	ctx, cancel := context.WithTimeout(servertest.As(context.Background(), token), time.Minute)
	defer cancel()
	answer, err := call(ctx, req)
	if err != nil {
		t.Fatalf("%v: %v", req, err)
	}
	return answer
}

// check is one run.
func (p *properties) check(t *rapid.T) {
	w := anyWorld.Draw(t, "world")
	p.empty(t)
	w.drawGroups(t)
	w.drawDivision(t)
	builds := drawChoices(t, &w)
	late := p.report(t, &w)
	p.send(t, told{logins: builds})
	ref := newReference(w)
	ref.builds = builds
	q := anyQuestion(w).Draw(t, "question")
	p.shares.note(p.checkAll(t, ref, w, q), overlaps(ref), late, q.dst(), w.sharesMinutes(), ref.estimated(q.window(), q.templates),
		w.changesHands(), w.claims(), w.moves, p.checkSeats(t, ref, q))
	p.checkActors(t, q)
	p.checkDivision(t, w, q)
	p.checkLaws(t, w, q)
}

// empty forgets the company before.
func (p *properties) empty(t *rapid.T) {
	tx, err := p.database.Begin() // one commit is quicker than one for each table
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, table := range []string{
		"usage_rows", "usage_pages", "usage_day", "organizations", "templates", "template_versions", "users", "workspaces", "agents",
		"agent_states", "apps", "template_apps", "builds", "people", "seats", "user_status_changes",
		"published_days", "publications", "groups", "group_members", "seat_regions",
	} {
		if _, err := tx.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// report tells the server everything, part of it after a fold and after workspaces changed hands, and says whether anything was late.
func (p *properties) report(t *rapid.T, w *world) (late bool) {
	catalog := insightsv1.NewCatalogServiceClient(p.r.Conn)
	ask(t, catalog.ApplyCatalog, p.controlPlane, w.catalog)
	first, second := &w.parts[0], &w.parts[1]
	first.reports, second.reports = arrivals(t, w.reports, w.late)
	first.sessions, second.sessions = arrivals(t, w.sessions, w.late)
	first.logins, second.logins = arrivals(t, w.logins, w.late)
	first.estimates, second.estimates = arrivals(t, w.estimates, w.late)
	for i, part := range w.parts {
		if i > 0 && len(w.handed) > 0 {
			ask(t, catalog.ApplyCatalog, p.controlPlane, &insightsv1.ApplyCatalogRequest{Workspaces: w.handed})
		}
		p.send(t, part)
		if i == 0 || rapid.Bool().Draw(t, "fold again") {
			if _, err := p.r.Store.Fold(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return int(w.late*float64(len(w.reports)))+int(w.late*float64(len(w.sessions))) > 0
}

// estimate stores what another system knew, as an import does.
func (p *properties) estimate(ctx context.Context, estimates []estimate) error {
	visits := make([]store.Visit, len(estimates))
	for i, e := range estimates {
		visits[i].User = uuid.MustParse(e.user)
		if e.workspace != "" {
			visits[i].Workspace = uuid.MustParse(e.workspace)
		}
	}
	subjects, err := p.r.Store.Subjects(ctx, visits)
	if err != nil {
		return err
	}
	rows := make([]store.OpenRow, len(estimates))
	for i, e := range estimates {
		rows[i] = store.OpenRow{Template: uuid.MustParse(e.template), Row: minute.Row{
			HalfHour: int32(e.halfHour), Subject: subjects[visits[i]], Kind: minute.ImportedSession, App: e.app, Minutes: 1<<e.minutes - 1,
		}}
		if e.kind == "app" {
			rows[i].Kind = minute.ImportedApp
		}
	}
	return p.r.Store.Merge(ctx, rows)
}

// send reports everything at once, and what there is nothing of not at all.
func (p *properties) send(t *rapid.T, w told) {
	ctx, cancel := context.WithTimeout(servertest.As(context.Background(), p.controlPlane), time.Minute)
	defer cancel()
	ingest := insightsv1.NewIngestServiceClient(p.r.Conn)
	calls, ctx := errgroup.WithContext(ctx)
	settled := func(rejected []*insightsv1.Rejection, err error) error {
		if err == nil && len(rejected) > 0 {
			err = fmt.Errorf("rejected: %v", rejected)
		}
		return err
	}
	if len(w.estimates) > 0 {
		calls.Go(func() error { return p.estimate(ctx, w.estimates) })
	}
	if len(w.reports) > 0 {
		calls.Go(func() error {
			answer, err := ingest.ReportStats(ctx, &insightsv1.ReportStatsRequest{Reports: w.reports})
			return settled(answer.GetRejected(), err)
		})
	}
	if len(w.sessions) > 0 {
		calls.Go(func() error {
			answer, err := ingest.ReportAppSessions(ctx, &insightsv1.ReportAppSessionsRequest{Sessions: w.sessions})
			return settled(answer.GetRejected(), err)
		})
	}
	if len(w.logins) > 0 {
		calls.Go(func() error {
			answer, err := ingest.ReportEvents(ctx, &insightsv1.ReportEventsRequest{Events: w.logins})
			return settled(answer.GetRejected(), err)
		})
	}
	if err := calls.Wait(); err != nil {
		t.Fatal(err)
	}
}

// sharesMinutes reports whether two workspaces of one owner and template reported of one minute.
func (w *world) sharesMinutes() bool {
	at := map[string]map[int64]string{} // agents, by all agents beside them and minute
	for _, r := range w.reports {
		together, m := strings.Join(w.beside(r.GetAgentId()), " "), floor(r.GetCollectedAt().GetSeconds(), 60)
		if at[together] == nil {
			at[together] = map[int64]string{}
		}
		if other, reported := at[together][m]; reported && other != r.GetAgentId() {
			return true
		}
		at[together][m] = r.GetAgentId()
	}
	return false
}

// changesHands reports whether a workspace reported before and after it got another owner.
func (w *world) changesHands() bool {
	for _, ws := range w.handed {
		of := func(r *insightsv1.AgentReport) bool {
			i := slices.IndexFunc(w.catalog.GetAgents(), func(a *insightsv1.Agent) bool { return a.GetId() == r.GetAgentId() })
			return w.catalog.GetAgents()[i].GetWorkspaceId() == ws.GetId()
		}
		if slices.ContainsFunc(w.parts[0].reports, of) && slices.ContainsFunc(w.parts[1].reports, of) {
			return true
		}
	}
	return false
}

// claims reports whether a person takes a workspace that was made ahead.
func (w *world) claims() bool {
	return slices.ContainsFunc(w.handed, func(ws *insightsv1.Workspace) bool {
		at := slices.IndexFunc(w.catalog.GetWorkspaces(), func(before *insightsv1.Workspace) bool { return before.GetId() == ws.GetId() })
		return w.kindOf(w.catalog.GetWorkspaces()[at].GetOwnerId()) == "system" && w.kindOf(ws.GetOwnerId()) == ""
	})
}

// overlaps reports whether somebody spent a minute in two places.
func overlaps(ref reference) bool {
	type moment struct {
		user   string
		minute int64
	}
	seen := map[moment]bool{}
	for u, minutes := range ref.uses {
		for m := range minutes {
			if seen[moment{u.user, m}] {
				return true
			}
			seen[moment{u.user, m}] = true
		}
	}
	return false
}

// checkAll asks every question and says whether there was anything to tell.
func (p *properties) checkAll(t *rapid.T, ref reference, w world, q propertyQuestion) (nonEmpty bool) {
	window := q.window()
	insights := ask(t, p.insights.GetTemplateInsights, p.owner, q.templateInsights())
	p.checkInsights(t, ref, w, q, insights)
	activity := ask(t, p.insights.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	users, seconds := ref.activity(window, q.templates, q.location), int64(0)
	for _, u := range users {
		seconds += u.GetSeconds()
	}
	equal(t, "user activity", users, activity.GetUsers())
	equal(t, "time of all users", seconds, activity.GetTotalSeconds())
	p.checkLatency(t, ref, q)
	p.checkDAUs(t, ref, w, q)
	p.checkActivity(t, ref, w, q)
	return insights.GetReport().GetActiveUsers() > 0
}

func equal(t *rapid.T, what string, want, got any) {
	message, is := want.(proto.Message)
	other, too := got.(proto.Message)
	if is && too && proto.Equal(message, other) { // which costs far less than to look for differences
		return
	}
	if diff := cmp.Diff(want, got, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-reference +service):\n%s", what, diff)
	}
}

func (p *properties) checkInsights(
	t *rapid.T, ref reference, w world, q propertyQuestion, answer *insightsv1.GetTemplateInsightsResponse,
) {
	window := q.window()
	users, in := ref.of(window, usage(q.templates))
	entries := ref.entries(window, q.templates)
	want := &insightsv1.TemplateInsightsReport{
		StartTime: q.start(), EndTime: q.end(), TemplateIds: in, ActiveUsers: int64(len(users)), AppsUsage: entries[:5],
		ParametersUsage: ref.choices(w, window, q.templates), Estimated: ref.estimated(window, q.templates),
	}
	if entries[5].GetSeconds() > 0 {
		want.UnknownUsage = entries[5]
	}
	for _, e := range entries[6:] {
		if e.GetSeconds() > 0 {
			want.AppsUsage = append(want.AppsUsage, e)
		}
	}
	got := answer.GetReport()
	got.Reasons = nil // the tests of the diagnosis look at them
	equal(t, "report", want, got)
	equal(t, "other actors", ref.otherActors(window, q.templates), answer.GetOtherActors())
	var intervals []*insightsv1.TemplateInsightsIntervalReport
	for _, i := range q.intervals() {
		users, in := ref.of(i.refWindow, usage(q.templates))
		intervals = append(intervals, &insightsv1.TemplateInsightsIntervalReport{
			StartTime: q.show(i.from), EndTime: q.show(i.to), TemplateIds: in, Interval: q.interval, ActiveUsers: int64(len(users)),
			Partial: i.partial,
		})
	}
	equal(t, "intervals", intervals, answer.GetIntervalReports())
}

func (p *properties) checkLatency(t *rapid.T, ref reference, q propertyQuestion) {
	users, _ := ref.of(q.window(), usage(q.templates))
	report := ask(t, p.insights.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	if len(report.GetUsers()) != len(users) {
		t.Fatalf("latency of %d users, want %d", len(report.GetUsers()), len(users))
	}
	before := math.Inf(1)
	var all []float64
	for _, u := range report.GetUsers() {
		samples := ref.latencies(q.window(), q.templates, u.GetUserId())
		all = append(all, samples...)
		l := u.GetLatencyMs()
		equalLatency(t, u.GetUsername(), samples, l)
		if l.GetP95() > before || users[u.GetUserId()] == nil {
			t.Fatalf("latency %v of %s after P95 %v", l, u.GetUsername(), before)
		}
		before = l.GetP95()
	}
	equalLatency(t, "all", all, report.GetTotalLatencyMs())
}

func equalLatency(t *rapid.T, of string, samples []float64, l *insightsv1.ConnectionLatency) {
	slices.Sort(samples)
	for _, c := range []struct{ want, got float64 }{{percentile(samples, 0.5), l.GetP50()}, {percentile(samples, 0.95), l.GetP95()}} {
		if math.Abs(c.want-c.got) > 0.0251*math.Abs(c.want) {
			t.Fatalf("latency %v of %s, want %v of %v", l, of, c.want, samples)
		}
	}
	for _, c := range []struct {
		percent int
		got     string
	}{{50, l.GetRating()}, {95, l.GetRatingP95()}} {
		if want := ratings(samples, c.percent); !slices.Contains(want, c.got) {
			t.Fatalf("P%d of %s is %s, want one of %v of %v", c.percent, of, c.got, want, samples)
		}
	}
	if l.GetSamples() != int64(len(samples)) {
		t.Fatalf("latency %v of %s, want %d samples", l, of, len(samples))
	}
}

func (p *properties) checkDAUs(t *rapid.T, ref reference, w world, q propertyQuestion) {
	days := map[string]int64{}
	for offset := -60; offset <= 0; offset++ {
		noon := propertyNow.In(q.location).AddDate(0, 0, offset)
		days[noon.Format(time.DateOnly)] = 0
	}
	all := call.Texts(templateIDsOf(w))
	users, _ := ref.of(refWindow{0, math.MaxInt64}, usage(all))
	for _, minutes := range users {
		seen := map[string]bool{}
		for m := range minutes {
			if date := dateOf(m, q.location); !seen[date] {
				seen[date] = true
				if _, counted := days[date]; counted {
					days[date]++
				}
			}
		}
	}
	req := &insightsv1.GetDeploymentDAUsRequest{Timezone: q.zone}
	if _, seconds := propertyNow.In(q.location).Zone(); q.zone == "" {
		if seconds%3600 != 0 {
			return // whole hours only
		}
		req.TzOffset = int32(seconds / 3600)
	}
	got := map[string]int64{}
	for _, e := range ask(t, p.insights.GetDeploymentDAUs, p.owner, req).GetEntries() {
		got[e.GetDate()] = e.GetAmount()
	}
	equal(t, "daily users", days, got)
}

func (p *properties) checkActivity(t *rapid.T, ref reference, w world, q propertyQuestion) {
	days := rapid.SampledFrom([]int{1, 2, 7}).Draw(t, "days of a step")
	category := rapid.SampledFrom([]string{"any", "ide", "login", "app", "tunnel", "web_terminal"}).Draw(t, "category")
	answer := ask(t, p.insights.GetActivity, p.owner, &insightsv1.GetActivityRequest{
		Start: q.start(), End: q.end(), Timezone: q.zone, Category: category, Interval: fmt.Sprint(days, " day"),
	})
	filter := func(u use) bool { return category == "any" || category == categoryOf(u) }
	var want []*insightsv1.ActivityInterval
	totals := map[string]int64{}
	for _, i := range q.steps(days) {
		step := &insightsv1.ActivityInterval{Time: q.show(i.from), Duration: (i.to - i.from) * 60e9}
		users, _ := ref.of(i.refWindow, filter)
		for id, minutes := range users {
			n := int64(len(minutes))
			step.UserActivity = append(step.UserActivity, &insightsv1.ActivityIntervalUser{UserId: id, Duration: n * 60e9, Count: n})
			totals[id] += n
		}
		slices.SortFunc(step.GetUserActivity(), func(a, b *insightsv1.ActivityIntervalUser) int {
			if a.GetCount() != b.GetCount() {
				return int(b.GetCount() - a.GetCount())
			}
			return strings.Compare(a.GetUserId(), b.GetUserId())
		})
		want = append(want, step)
	}
	equal(t, "activity "+category, want, answer.GetActivity())
	got := map[string]int64{}
	for id, u := range answer.GetUsers() {
		got[id] = u.GetTotalCount()
	}
	equal(t, "total activity "+category, totals, got)
}

// categoryOf is the category that the older API counts a use in.
func categoryOf(u use) string {
	ide := slices.Contains([]string{"vscode", "vscode_insiders", "cursor", "jetbrains", "zed", "code-server"}, u.app)
	switch {
	case u.kind == "login":
		return "login"
	case u.app == "[terminal]" || u.app == "reconnecting_pty":
		return "web_terminal"
	case ide:
		return "ide"
	case u.kind == "app":
		return "app"
	default:
		return "tunnel"
	}
}

// checkLaws holds answers against each other.
func (p *properties) checkLaws(t *rapid.T, w world, q propertyQuestion) {
	whole := p.total(t, q)
	again := w.told // everything once more, in another order; what a workspace sends that changed hands is its new owner's now
	again.reports = slices.DeleteFunc(slices.Clone(again.reports), func(r *insightsv1.AgentReport) bool {
		return slices.ContainsFunc(w.handed, func(ws *insightsv1.Workspace) bool {
			return slices.ContainsFunc(w.catalog.GetAgents(), func(a *insightsv1.Agent) bool {
				return a.GetId() == r.GetAgentId() && a.GetWorkspaceId() == ws.GetId()
			})
		})
	})
	p.send(t, again)
	equal(t, "after everything was sent again", whole, p.total(t, q))

	// What a window has its halves have, second by second; users of the whole are at most those of the halves.
	cut := q
	cut.last = q.first + rapid.IntRange(0, q.last-q.first).Draw(t, "days before the cut")
	rest := q
	rest.first = cut.last
	a, b := p.total(t, cut), p.total(t, rest)
	for id, seconds := range whole {
		if a[id]+b[id] != seconds {
			t.Fatalf("%s has %d seconds in the window, %d and %d in its halves", id, seconds, a[id], b[id])
		}
	}
	if len(whole) > len(a)+len(b) {
		t.Fatalf("%d users in the window, %d and %d in its halves", len(whole), len(a), len(b))
	}

	// Who sees fewer templates sees no more of anyone.
	fewer := q
	fewer.templates = q.templates[1:]
	if len(fewer.templates) == 0 {
		return
	}
	for id, seconds := range p.total(t, fewer) {
		if seconds > whole[id] {
			t.Fatalf("%s has %d seconds in some templates, %d in all", id, seconds, whole[id])
		}
	}
}

// additive are the metrics that add up over persons.
var additive = []string{"active_users", "used_seconds", "launches", "active_days", "latency_samples"}

// by asks about everybody by dimensions.
func (p *properties) by(t *rapid.T, q propertyQuestion, metrics []string, dimensions ...string) *insightsv1.QueryUsageResponse {
	return ask(t, p.insights.QueryUsage, p.owner, &insightsv1.QueryUsageRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Metrics: metrics, Dimensions: dimensions,
		Actor: []string{"all"},
	})
}

// checkActors: a person has one actor, so figures of persons add up to the whole, as rows and as questions about each.
func (p *properties) checkActors(t *rapid.T, q propertyQuestion) {
	answer, rows, asked := p.by(t, q, additive, "actor"), map[string]float64{}, int64(0)
	for _, r := range answer.GetRows() {
		for metric, n := range figuresOfRow(r.GetValues()) {
			rows[metric] += n
		}
	}
	for metric, n := range figuresOfRow(answer.GetTotals().GetValues()) {
		if rows[metric] != n {
			t.Fatalf("%s of actors adds up to %v, want %v", metric, rows[metric], n)
		}
	}
	for _, actor := range []string{"person", "service", "system"} {
		asked += ask(t, p.insights.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
			StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Actor: []string{actor},
		}).GetReport().GetTotalSeconds()
	}
	if want := answer.GetTotals().GetValues().GetUsedSeconds(); asked != want {
		t.Fatalf("%d seconds of all actors asked about, want %d", asked, want)
	}
}

// checkDivision: over groups of which everybody is in one at any time minutes and samples add up, and people if nobody moves.
func (p *properties) checkDivision(t *rapid.T, w world, q propertyQuestion) {
	answer, sums := p.by(t, q, additive, "group"), map[string]float64{}
	for _, r := range answer.GetRows() {
		for metric, n := range figuresOfRow(r.GetValues()) {
			if slices.Contains(w.division, r.GetKeys()[0].GetValue()) {
				sums[metric] += n
			}
		}
	}
	for metric, n := range figuresOfRow(answer.GetTotals().GetValues()) {
		exact := !w.moves || metric == "used_seconds" || metric == "latency_samples"
		if sums[metric] < n || exact && sums[metric] > n {
			t.Fatalf("%s of groups adds up to %v, want %v", metric, sums[metric], n)
		}
	}
}

// checkSeats: the minutes of a person are those at all seats once, never added up over seats. It says whether adding up would tell more.
func (p *properties) checkSeats(t *rapid.T, ref reference, q propertyQuestion) (more bool) {
	seats, users := map[[2]string]map[int64]bool{}, map[string]map[int64]bool{}
	for s, minutes := range ref.seats {
		for m := range minutes {
			if usage(q.templates)(s.use) && m >= q.window().from && m < q.window().to {
				mark(seats, [2]string{s.user, s.workspace}, m)
				mark(users, s.user, m)
			}
		}
	}
	sums := map[string]int{}
	for seat, minutes := range seats {
		sums[seat[0]] += len(minutes)
	}
	wantUsers, wantSeats, got := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for user, minutes := range users {
		wantUsers[user] = 60 * int64(len(minutes))
		more = more || sums[user] > len(minutes)
	}
	for seat, minutes := range seats {
		if seat[1] != "" {
			wantSeats[seat[0]+" "+seat[1]] = 60 * int64(len(minutes))
		}
	}
	for _, r := range p.by(t, q, []string{"used_seconds"}, "user").GetRows() {
		got[keyOf(r)] = r.GetValues().GetUsedSeconds()
	}
	equal(t, "seconds of persons", wantUsers, got)
	got = map[string]int64{}
	for _, r := range p.by(t, q, []string{"used_seconds"}, "user", "workspace").GetRows() {
		got[keyOf(r)] = r.GetValues().GetUsedSeconds()
	}
	equal(t, "seconds at seats", wantSeats, got)
	return more
}

// total is the seconds of each user.
func (p *properties) total(t *rapid.T, q propertyQuestion) map[string]int64 {
	seconds := map[string]int64{}
	for _, u := range ask(t, p.insights.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport().GetUsers() {
		seconds[u.GetUserId()] = u.GetSeconds()
	}
	return seconds
}
