package server_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
)

// Where small groups are hidden, somebody who asks after each report, after each change of the catalog and after each fold sees no
// difference. When days are published, what is new is of enough people, and only of templates and days of which nothing was counted.
func TestPollerLearnsNothing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var worlds, quiet, news int
	t.Run("databases", func(t *testing.T) {
		for database, runs := range map[string]int{"sqlite": propertyRuns(t) / 5, "postgres": propertyRuns(t) / 50} {
			for i := range max(1, runs/100) { // a hundred companies on one server
				t.Run(fmt.Sprint(database, i), func(t *testing.T) {
					t.Parallel()
					p := newPublishedProperties(t, servertest.Databases[database](t))
					rapid.Check(t, func(t *rapid.T) {
						unmoved, new := p.poll(t)
						mu.Lock()
						defer mu.Unlock()
						worlds, quiet, news = worlds+1, quiet+unmoved, news+new
					})
				})
			}
		}
	})
	t.Logf("%d worlds: after %d late changes of what was published nothing moved, %d times something was published", worlds, quiet, news)
	if quiet < worlds || news < worlds/2 {
		t.Error("the worlds are too easy")
	}
}

// polled is a world in which somebody asks after each change.
type polled struct {
	*publishedProperties
	w         world // as far as it happened
	builds    []*insightsv1.Event
	phase     int // 1: workspaces changed hands
	known     published
	days      map[int]bool // from the place's, that are published
	questions []propertyQuestion
	last      []proto.Message // what the questions were answered at last
}

// poll plays a world. It returns how many changes after the first publication moved nothing, and how often something was published.
func (p *publishedProperties) poll(t *rapid.T) (quiet, news int) {
	w := worldOf(4).Draw(t, "world")
	builds := drawChoices(t, &w)
	w.place = p.placeOf(w.place)
	p.begin(t, w.place)
	ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane, w.catalog)
	x := &polled{
		publishedProperties: p, w: world{catalog: proto.CloneOf(w.catalog), place: w.place}, known: newPublished(), days: map[int]bool{},
	}
	all := call.Texts(templateIDsOf(w))
	day := rapid.IntRange(-2, 2).Draw(t, "day of the poller")
	x.questions = []propertyQuestion{
		{place: w.place, first: -3, last: 4, templates: all, interval: "day"},
		{place: w.place, first: day, last: day + 1, templates: []string{rapid.SampledFrom(all).Draw(t, "template of the poller")}},
	}
	changes := x.changes(t, w, builds)
	half := len(changes)
	if len(w.handed) > 0 {
		half = rapid.IntRange(0, len(changes)).Draw(t, "changes before workspaces change hands")
	}
	x.last = x.answers(t)
	for i, change := range changes {
		if i == half {
			ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane,
				&insightsv1.ApplyCatalogRequest{Workspaces: w.handed})
			x.w.handed, x.phase = w.handed, 1
		}
		change()
		x.unmoved(t)
		if len(x.days) > 0 {
			quiet++
		}
		if rapid.IntRange(0, 3).Draw(t, "publish") == 0 && x.publishMore(t) {
			news++
		}
	}
	if x.publishMore(t) {
		news++
	}
	return quiet, news
}

// changes are all that happens, in a random order.
func (x *polled) changes(t *rapid.T, w world, builds []*insightsv1.Event) (changes []func()) {
	tell := func(some told) {
		x.send(t, some)
		x.w.parts[x.phase].reports = append(x.w.parts[x.phase].reports, some.reports...)
		x.w.sessions, x.w.estimates = append(x.w.sessions, some.sessions...), append(x.w.estimates, some.estimates...)
	}
	for some := range slices.Chunk(w.reports, rapid.IntRange(1, 6).Draw(t, "reports at a time")) {
		changes = append(changes, func() { tell(told{reports: some}) })
	}
	for some := range slices.Chunk(w.sessions, 3) {
		changes = append(changes, func() { tell(told{sessions: some}) })
	}
	for some := range slices.Chunk(w.estimates, 6) {
		changes = append(changes, func() { tell(told{estimates: some}) })
	}
	for some := range slices.Chunk(builds, 4) {
		changes = append(changes, func() {
			x.send(t, told{logins: some})
			x.builds = append(x.builds, some...)
			slices.SortFunc(x.builds, func(a, b *insightsv1.Event) int { return int(a.GetBuild().GetNumber() - b.GetBuild().GetNumber()) })
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "changes of kinds") {
		u := rapid.SampledFrom(x.w.catalog.GetUsers()).Draw(t, "user of another kind")
		changes = append(changes, func() {
			u.Kind = map[string]string{"": "service", "human": "service", "service": "human", "system": "human"}[u.GetKind()]
			ask(t, insightsv1.NewCatalogServiceClient(x.r.Conn).ApplyCatalog, x.controlPlane,
				&insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{u}})
		})
	}
	for range rapid.IntRange(1, 6).Draw(t, "changes of statuses") {
		status := &insightsv1.UserStatusEvent{
			UserId: rapid.SampledFrom(x.w.catalog.GetUsers()).Draw(t, "user of another status").GetId(),
			Status: rapid.SampledFrom([]string{"active", "active", "dormant", "suspended"}).Draw(t, "status"),
		}
		event := &insightsv1.Event{At: timestamppb.New(w.drawTime(t)), Kind: &insightsv1.Event_UserStatus{UserStatus: status}}
		changes = append(changes, func() { x.send(t, told{logins: []*insightsv1.Event{event}}) })
	}
	gone := rapid.SampledFrom(x.w.catalog.GetUsers()).Draw(t, "user who leaves")
	changes = append(changes, func() {
		gone.DeletedAt = timestamppb.New(propertyNow)
		ask(t, insightsv1.NewCatalogServiceClient(x.r.Conn).ApplyCatalog, x.controlPlane,
			&insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{gone}})
	}, func() {
		if _, err := x.r.Store.Fold(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	return rapid.Permutation(changes).Draw(t, "order of changes")
}

// publishMore publishes some days, at times after an import, and says whether the poller learned of it. What is told then is what the
// reference counted of them now and of others when they were published.
func (x *polled) publishMore(t *rapid.T) bool {
	if rapid.IntRange(0, 3).Draw(t, "an import ends") == 0 {
		first := rapid.IntRange(-2, 2).Draw(t, "first day of the import")
		last := rapid.IntRange(first, 2).Draw(t, "last day of the import")
		noon := func(day int) time.Time { return x.w.place.around.AddDate(0, 0, day) }
		if err := x.r.Store.EndImport(context.Background(), "coder", noon(first), noon(last)); err != nil {
			t.Fatal(err)
		}
		for day := first - 1; day <= last+1; day++ {
			delete(x.days, day)
		}
	}
	last := rapid.IntRange(-2, 4).Draw(t, "last day to publish")
	x.publish(t, x.w.place, last)
	ref := newReference(x.w)
	for i, day := range daysOf(x.w.place, last) {
		if !x.days[firstPublished+i] {
			x.known.add(ref, x.builds, x.w, []part{day})
			x.days[firstPublished+i] = true
		}
	}
	until := firstPublished - 1
	for day := range x.days {
		until = max(until, day)
	}
	before := x.last
	x.last = x.answers(t)
	for i, q := range x.questions {
		answer := x.last[i].(*insightsv1.GetTemplateInsightsResponse)
		equal(t, "report", x.known.report(ref, q, until), answer.GetReport())
		equal(t, "intervals", x.known.intervals(q), answer.GetIntervalReports())
	}
	x.checkCuts(t)
	return !proto.Equal(before[0], x.last[0])
}

// unmoved fails if the poller is told anything else than before.
func (x *polled) unmoved(t *rapid.T) {
	for i, answer := range x.answers(t) {
		equal(t, fmt.Sprintf("answer %d after a change", i), x.last[i], answer)
	}
}

// answers are what the poller is told.
func (x *polled) answers(t *rapid.T) (answers []proto.Message) {
	for _, q := range x.questions {
		answers = append(answers, ask(t, x.insights.GetTemplateInsights, x.owner, q.templateInsights()))
	}
	q := x.questions[0]
	answers = append(answers,
		ask(t, x.insights.GetDeploymentDAUs, x.owner, &insightsv1.GetDeploymentDAUsRequest{Timezone: q.zone}),
		ask(t, x.insights.GetDiagnosis, x.owner, &insightsv1.GetDiagnosisRequest{
			StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
		}),
		ask(t, x.insights.GetUserStatusCounts, x.owner, &insightsv1.GetUserStatusCountsRequest{Timezone: q.zone}))
	answers = append(answers, x.reports(t, q)...)
	for _, cut := range publishedCuts {
		answers = append(answers, x.query(t, q, cut))
	}
	return answers
}

// reports are those that are told where small groups are hidden.
func (x *polled) reports(t *rapid.T, q propertyQuestion) []proto.Message {
	return []proto.Message{
		ask(t, x.insights.GetCapacityReport, x.owner, &insightsv1.GetCapacityReportRequest{
			StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
		}),
		ask(t, x.insights.GetOptimizationReport, x.owner, &insightsv1.GetOptimizationReportRequest{
			StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
		}),
		ask(t, x.insights.GetROIReport, x.owner, &insightsv1.GetROIReportRequest{
			StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
		}),
	}
}

// publishedCuts are metrics and dimensions of the general question where small groups are hidden.
var publishedCuts = [][2][]string{
	{{"active_users", "active_days"}, {"interval"}},
	{{"active_users", "active_days"}, {"template", "interval"}},
	{{"active_users"}, {"organization"}},
	{{"used_seconds", "launches"}, {"family", "interval"}},
	{{"used_seconds"}, {"template", "app"}},
}

// query asks the general question.
func (x *polled) query(t *rapid.T, q propertyQuestion, cut [2][]string) *insightsv1.QueryUsageResponse {
	req := &insightsv1.QueryUsageRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates, Metrics: cut[0], Dimensions: cut[1],
		Compare: "previous",
	}
	if slices.Contains(cut[1], "interval") {
		req.Interval = "day"
	}
	return ask(t, x.insights.QueryUsage, x.owner, req)
}

// checkCuts holds cuts against the reference.
func (x *polled) checkCuts(t *rapid.T) {
	q := x.questions[0]
	days, total := map[string]int64{}, int64(0)
	for _, i := range q.intervals() {
		users, _ := x.known.people(i.refWindow, q.templates)
		days[q.show(i.from)] = users
		total += users
	}
	told := map[string]int64{}
	cut := func(i int) *insightsv1.QueryUsageResponse { // they were answered last
		return x.last[len(x.last)-len(publishedCuts)+i].(*insightsv1.QueryUsageResponse)
	}
	answer := cut(0)
	for _, r := range answer.GetRows() {
		told[r.GetKeys()[0].GetValue()] = r.GetValues().GetActiveUsers()
	}
	equal(t, "people by day", days, told)
	equal(t, "days of people", total, answer.GetTotals().GetValues().GetActiveDays())
	window, seconds := q.window(), map[string]int64{}
	for a, n := range x.known.seconds {
		if window.from <= a.day && a.day < window.to && a.app[1] == "" && n > 0 { // of a family
			seconds[a.app[0]+" "+q.show(a.day)] += n
		}
	}
	told = map[string]int64{}
	for _, r := range cut(3).GetRows() {
		if family := r.GetKeys()[0].GetValue(); family != store.WorkspaceApp {
			told[family+" "+r.GetKeys()[1].GetValue()] = r.GetValues().GetUsedSeconds()
		}
	}
	equal(t, "seconds by family and day", seconds, told)
}
