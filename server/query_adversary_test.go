package server_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
)

// Somebody who asks whatever may be asked never learns the hour in which one person, or fewer than five, used a template, as long as all
// days are those of one clock; and where small groups are hidden nothing but what was published. For each answer must be the same in
// another world: one in which the person was there in another hour of the day, or one in which something else was reported later.
//
// What the mode full does not hold back is left out: the present day, days of other clocks, such as that in UTC on which the first use
// was, changes of groups, versions and relays within the person's day, which are told by the half hour, and how many were there at once,
// which says with how many somebody was there, not when.
func TestQueryAdversary(t *testing.T) {
	t.Parallel()
	var seen adversary
	t.Run("databases", func(t *testing.T) {
		for database, runs := range map[string]int{"sqlite": propertyRuns(t) / 5, "postgres": propertyRuns(t) / 50} {
			for i := range max(1, runs/200) { // a hundred worlds of each kind on two servers
				t.Run(fmt.Sprint("full ", database, i), func(t *testing.T) {
					t.Parallel()
					p := newProperties(t, servertest.Databases[database](t), &shares{}, func(o *server.Options) { o.AIPerPerson = true })
					rapid.Check(t, func(t *rapid.T) { p.moveSomebody(t, &seen) })
				})
				t.Run(fmt.Sprint("hidden ", database, i), func(t *testing.T) {
					t.Parallel()
					p := newPublishedProperties(t, servertest.Databases[database](t))
					totals := p.r.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
					rapid.Check(t, func(t *rapid.T) {
						p.reportLater(t, rapid.SampledFrom([]string{p.owner, totals}).Draw(t, "who asks"), &seen)
					})
				})
			}
		}
	})
	t.Logf("%d worlds, %d answers, %d refusals; hours of somebody among fewer than five in %d worlds, %d answers that told hours, %d that "+
		"told what was published", seen.worlds, seen.answers, seen.refusals, seen.alone, seen.hours, seen.published)
	if !t.Failed() && (seen.answers < 5*seen.worlds || seen.refusals < seen.worlds || seen.alone < seen.worlds/5 ||
		seen.hours < seen.worlds/10 || seen.published < seen.worlds/20) {
		t.Error("the adversary is too weak")
	}
}

// adversary counts what was asked.
type adversary struct {
	mu                                                 sync.Mutex
	worlds, answers, refusals, alone, hours, published int
}

// heard is the answer to a question, or why there is none.
type heard struct {
	question, answer proto.Message
	refusal          string
}

// adversaryQuestions is how many questions the adversary asks in a world.
const adversaryQuestions = 15

// drawQuestions draws questions about windows of a place; at will none about hours. Among them are some that may not be asked, and some of
// the older ones.
func drawQuestions(t *rapid.T, w world, hours bool) (questions []proto.Message) {
	for range adversaryQuestions {
		q := anyQuestion(w).Draw(t, "question")
		switch rapid.IntRange(0, 6).Draw(t, "which question") {
		case 0:
			questions = append(questions, drawForbidden(t, w, q, hours))
		case 1:
			questions = append(questions, q.templateInsights())
		case 2:
			questions = append(questions, &insightsv1.GetUserActivityRequest{
				StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
			})
		case 3:
			questions = append(questions, &insightsv1.QueryUsageRequest{
				StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Metrics: []string{"active_users"},
				Dimensions: []string{"interval"}, Interval: "day",
			})
		default:
			req := drawQuery(t, w, q, hours && rapid.Bool().Draw(t, "of hours"))
			if (queried{QueryUsageRequest: req}).hourly() && !hours {
				req.Dimensions, req.Interval, req.OrderBy = []string{"template"}, "", ""
			}
			if i := slices.Index(req.GetMetrics(), "peak_users"); i >= 0 {
				req.Metrics, req.OrderBy = []string{"used_seconds", "active_users"}, ""
			}
			req.PageSize = int32(rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "page size"))
			questions = append(questions, req)
		}
	}
	return questions
}

// drawForbidden draws a question that is refused mostly: hours of persons and of everything else, and windows that cut days. The last are
// answered if hours of the week are asked for, which is done at will only.
func drawForbidden(t *rapid.T, w world, q propertyQuestion, hours bool) *insightsv1.QueryUsageRequest {
	req := drawQuery(t, w, q, false)
	req.Metrics, req.OrderBy = []string{"active_users", "used_seconds"}, ""
	switch rapid.IntRange(0, 2).Draw(t, "what is forbidden") {
	case 0: // a window that cuts a day
		hour := time.Duration(rapid.IntRange(1, 23).Draw(t, "hour of the cut")) * time.Hour
		req.EndTime = time.Unix(60*q.window().to, 0).In(q.location).Add(hour).Format(time.RFC3339)
		if (queried{QueryUsageRequest: req}).hourly() && !hours {
			req.Dimensions, req.Interval = []string{"template"}, ""
		}
	case 1: // hours of somebody
		of := rapid.SampledFrom(allDimensions[4:]).Draw(t, "hours of")
		req.Metrics, req.Dimensions, req.Interval, req.OrderBy = []string{"active_users"}, []string{of, "hour_of_week"}, "", ""
	default: // hours of what filters leave
		d := rapid.SampledFrom([]string{"user", "app", "family", "actor", "purpose", "workspace"}).Draw(t, "hours without")
		value := rapid.SampledFrom(w.filterValues()[d]).Draw(t, "value")
		req.Metrics, req.Dimensions, req.Interval, req.OrderBy = []string{"used_seconds"}, []string{"hour_of_week"}, "", ""
		req.Filters = []string{d + rapid.SampledFrom([]string{"=", "!="}).Draw(t, "equals") + value}
	}
	return req
}

// hear asks questions. Page tokens are sealed anew each time; that there is one has to be the same.
func (p *properties) hear(t *rapid.T, token string, questions []proto.Message) (all []heard) {
	ctx, cancel := context.WithTimeout(servertest.As(context.Background(), token), time.Minute)
	defer cancel()
	for _, question := range questions {
		var answer proto.Message
		var err error
		switch req := question.(type) {
		case *insightsv1.QueryUsageRequest:
			var told *insightsv1.QueryUsageResponse
			if told, err = p.insights.QueryUsage(ctx, req); told.GetNextPageToken() != "" {
				told.NextPageToken = "there is more"
			}
			answer = told
		case *insightsv1.GetTemplateInsightsRequest:
			answer, err = p.insights.GetTemplateInsights(ctx, req)
		case *insightsv1.GetUserActivityRequest:
			answer, err = p.insights.GetUserActivity(ctx, req)
		default:
			t.Fatalf("unknown question %T", req)
		}
		h := heard{question: question, answer: answer}
		if err != nil {
			h.answer, h.refusal = nil, status.Convert(err).String()
		}
		all = append(all, h)
	}
	return all
}

// alike fails if an answer tells two worlds apart.
func (seen *adversary) alike(t *rapid.T, one, other []heard) {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	seen.worlds++
	for i, h := range one {
		if h.refusal != other[i].refusal {
			t.Fatalf("%v is refused in one world: %q and %q", h.question, h.refusal, other[i].refusal)
		}
		if h.refusal != "" {
			seen.refusals++
			continue
		}
		equal(t, fmt.Sprintf("two worlds by %v", h.question), h.answer, other[i].answer)
		seen.answers++
		switch told := h.answer.(type) {
		case *insightsv1.QueryUsageResponse:
			req := h.question.(*insightsv1.QueryUsageRequest)
			some := slices.ContainsFunc(told.GetRows(), func(r *insightsv1.QueryRow) bool { return len(figuresOfRow(r.GetValues())) > 0 })
			if some && (queried{QueryUsageRequest: req}).hourly() {
				seen.hours++
			}
			if told.GetFloor() > 0 && told.GetTotals().GetValues().GetActiveUsers() > 0 {
				seen.published++
			}
		case *insightsv1.GetTemplateInsightsResponse:
			if told.GetFloor() > 0 && told.GetReport().GetActiveUsers() > 0 {
				seen.published++
			}
		}
	}
}

// moveSomebody asks the same in two worlds that differ in the hour of one person alone.
func (p *properties) moveSomebody(t *rapid.T, seen *adversary) {
	w := world{catalog: &insightsv1.ApplyCatalogRequest{}, place: anyPlace.Draw(t, "place")}
	w.drawCatalog(t, 2)
	for range rapid.IntRange(1, 2).Draw(t, "crowds") {
		w.drawCrowd(t)
	}
	for range rapid.IntRange(0, 5).Draw(t, "reports") {
		w.reports = append(w.reports, w.drawReport(t))
	}
	w.drawGroups(t)
	builds := drawChoices(t, &w)
	reports := w.drawSomebody(t)
	p.empty(t)
	ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane, w.catalog)
	p.send(t, told{logins: append(builds, w.firstStart(w.catalog.GetWorkspaces()[len(w.catalog.GetWorkspaces())-1]))})
	among := 0
	for _, r := range reports {
		among = max(among, w.among(r))
	}
	questions := drawQuestions(t, w, among < fewest)
	var worlds [2][]heard
	for i, r := range reports {
		for _, table := range []string{"usage_rows", "usage_pages", "usage_day"} {
			if _, err := p.database.Exec("DELETE FROM " + table); err != nil {
				t.Fatal(err)
			}
		}
		p.send(t, told{reports: append(slices.Clone(w.reports), r), estimates: w.estimates})
		worlds[i] = p.hear(t, p.owner, questions)
	}
	if among < fewest {
		seen.mu.Lock()
		seen.alone++
		seen.mu.Unlock()
	}
	seen.alike(t, worlds[0], worlds[1])
}

// drawSomebody adds somebody who was there in an hour of a day or in another one, and at no other time of that day and those beside it.
func (w *world) drawSomebody(t *rapid.T) (reports [2]*insightsv1.AgentReport) {
	c, user, workspace, agent := w.catalog, uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, a := range c.GetAgents() { // so that nobody's first use is the first that is stored, of which the day in UTC is told
		w.reports = append(w.reports, &insightsv1.AgentReport{
			AgentId: a.GetId(), CollectedAt: timestamppb.New(w.place.around.AddDate(0, 0, -6)), SessionCountSsh: 1, ConnectionCount: 1,
		})
	}
	c.Users = append(c.Users, &insightsv1.User{
		Id: user, Username: "somebody", Kind: rapid.SampledFrom([]string{"", "", "service", "system"}).Draw(t, "kind"),
	})
	c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
		Id: workspace, OwnerId: user, Name: "w",
		TemplateId: rapid.SampledFrom(c.GetWorkspaces()).Draw(t, "template of somebody").GetTemplateId(),
	})
	c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
	for _, g := range c.GetGroups() {
		if rapid.Bool().Draw(t, "somebody is a member") {
			g.Members = append(g.Members, &insightsv1.GroupMember{UserId: user})
		}
	}
	year, month, day := w.place.around.AddDate(0, 0, rapid.IntRange(-2, 2).Draw(t, "day of somebody")).Date()
	hours := rapid.SliceOfNDistinct(rapid.IntRange(1, 22), 2, 2, rapid.ID[int]).Draw(t, "hours of somebody")
	past := rapid.SampledFrom([]int{0, 7, 31}).Draw(t, "minute of somebody")
	for i, hour := range hours {
		reports[i] = &insightsv1.AgentReport{
			AgentId: agent, CollectedAt: timestamppb.New(time.Date(year, month, day, hour, past, 0, 0, w.place.location)),
			ConnectionCount: 1, SessionCounts: map[string]int64{"vscode": 1}, ConnectionMedianLatencyMs: 42,
		}
	}
	return reports
}

// among is how many accounts of the kind of who sent a report used its template in the hour of the report.
func (w *world) among(r *insightsv1.AgentReport) int {
	with := *w
	with.parts[0].reports = append(slices.Clone(w.reports), r)
	ref := newReference(with)
	hour := func(m int64) string {
		_, offset := time.Unix(60*m, 0).In(w.place.location).Zone()
		return time.Unix(60*m, 0).In(w.place.location).Format("2006-01-02 15") + fmt.Sprint(offset)
	}
	at, somebody := hour(floor(r.GetCollectedAt().GetSeconds(), 60)), w.catalog.GetUsers()[len(w.catalog.GetUsers())-1]
	template := w.catalog.GetWorkspaces()[len(w.catalog.GetWorkspaces())-1].GetTemplateId()
	users := map[string]bool{}
	for s, minutes := range ref.seats {
		for m := range minutes {
			if s.template == template && ref.kinds[s.user] == ref.kinds[somebody.GetId()] && hour(m) == at {
				users[s.user] = true
			}
		}
	}
	return len(users)
}

// reportLater asks the same before and after other things were reported than what was published, and after the catalog changed.
func (p *publishedProperties) reportLater(t *rapid.T, token string, seen *adversary) {
	w := worldOf(4).Draw(t, "world")
	w.drawGroups(t)
	builds := drawChoices(t, &w)
	p.begin(t, w.place)
	p.report(t, &w)
	w.place = p.placeOf(w.place)
	p.publish(t, w.place, rapid.SampledFrom([]int{14, 14, 1, 0, -1}).Draw(t, "last day that is published"))
	questions := drawQuestions(t, w, true)
	before := p.hear(t, token, questions)
	later := told{logins: builds}
	for range rapid.IntRange(1, 10).Draw(t, "later reports") {
		later.reports = append(later.reports, w.drawReport(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "later sessions") {
		agent := rapid.SampledFrom(w.catalog.GetAgents()).Draw(t, "agent of a later session")
		later.sessions = append(later.sessions, w.drawSession(t, agent.GetId()))
	}
	for range rapid.IntRange(0, 4).Draw(t, "later estimates") {
		later.estimates = append(later.estimates, w.drawEstimate(t))
	}
	p.send(t, later)
	changed := &insightsv1.ApplyCatalogRequest{Groups: w.catalog.GetGroups()}
	for _, u := range w.catalog.GetUsers() {
		u.Kind = rapid.SampledFrom([]string{u.GetKind(), u.GetKind(), "human", "service", "system"}).Draw(t, "later kind")
		changed.Users = append(changed.Users, u)
	}
	for _, g := range changed.GetGroups() {
		g.Members = nil
	}
	ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane, changed)
	seen.alike(t, before, p.hear(t, token, questions))
}
