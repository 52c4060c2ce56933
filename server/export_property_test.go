package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/storetest"
)

// Every table is what the JSON of its question is, for random companies with deleted people and templates, other accounts, editors of
// no family and apps that nobody declared, with small groups shown and hidden. And the answers about one company agree.
func TestExportProperties(t *testing.T) {
	t.Parallel()
	t.Run("shown", func(t *testing.T) {
		t.Parallel()
		p := newTables(t, newProperties(t, storetest.SQLite(t), &shares{}, nil))
		rapid.Check(t, func(t *rapid.T) {
			w := drawWorld(t, 9)
			q := p.tell(t, &w)
			p.checkTables(t, q)
			p.checkAgreement(t, q)
		})
		t.Logf("companies with rows: %v", p.filled)
		for _, table := range rest.ExportTables {
			if p.filled[table.Name] == 0 {
				t.Errorf("no company had a row in the table %s", table.Name)
			}
		}
	})
	t.Run("hidden", func(t *testing.T) {
		t.Parallel()
		published := newPublishedProperties(t, storetest.SQLite(t))
		p := newTables(t, published.properties)
		rapid.Check(t, func(t *rapid.T) {
			w := drawWorld(t, 5)
			year, month, day := w.place.around.In(published.place.location).Date()
			w.place = published.place
			w.place.around = time.Date(year, month, day, 12, 0, 0, 0, w.place.location)
			q := p.tell(t, &w)
			published.mark(t, w.place)
			published.publish(t, w.place, 14)
			p.checkTables(t, q)
		})
		t.Logf("companies with rows: %v", p.filled)
		for _, table := range []string{
			"insights", "active-users", "apps", "parameters", "daus", "user-status-counts", "capacity", "capacity-weeks", "roi",
			"roi-templates",
		} {
			if p.filled[table] == 0 {
				t.Errorf("no company had a row in the table %s", table)
			}
		}
	})
}

// tables holds exported tables against answers.
type tables struct {
	*properties
	t       *testing.T
	sources map[string]rest.ExportSource
	routes  map[string]wiretest.Route // by RPC
	filled  map[string]int            // how often tables had rows
}

func newTables(t *testing.T, p *properties) *tables {
	t.Helper()
	sources, err := rest.ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	return &tables{p, t, sources, wiretest.Routes(t), map[string]int{}}
}

// tell makes a company of a world, tells the server all about it, and draws a question.
func (p *tables) tell(t *rapid.T, w *world) propertyQuestion {
	p.empty(t)
	organizations := make([]string, len(w.catalog.GetOrganizations()))
	for i, o := range w.catalog.GetOrganizations() {
		organizations[i] = o.GetId()
	}
	var events []*insightsv1.Event
	for _, u := range w.catalog.GetUsers() {
		u.OrganizationIds = organizations
		u.Kind = rapid.SampledFrom([]string{"human", "human", "human", "service", "system"}).Draw(t, "kind")
		for _, status := range []string{"active", "dormant", "suspended"} {
			if rapid.Bool().Draw(t, "was "+status) {
				events = append(events, &insightsv1.Event{At: timestamppb.New(w.drawTime(t)), Kind: &insightsv1.Event_UserStatus{
					UserStatus: &insightsv1.UserStatusEvent{UserId: u.GetId(), Status: status},
				}})
			}
		}
	}
	events = append(events, drawChoices(t, w)...)
	versions := map[string]string{} // by template
	for _, template := range w.catalog.GetTemplates() {
		unchosen := rapid.SampledFrom([]string{"", "eu"}).Draw(t, "default") // of all versions
		for _, v := range w.catalog.GetTemplateVersions() {
			if v.GetTemplateId() == template.GetId() {
				v.GetParameters()[0].DefaultValue = unchosen
				versions[v.GetTemplateId()] = v.GetId()
			}
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "everybody chooses the same") == 0 {
		for _, ws := range w.catalog.GetWorkspaces() {
			noon := timestamppb.New(w.place.around)
			events = append(events, &insightsv1.Event{At: noon, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
				Id: uuid.NewString(), WorkspaceId: ws.GetId(), TemplateVersionId: versions[ws.GetTemplateId()], Number: 100,
				Transition: "start", Status: "succeeded", CreatedAt: noon,
				Parameters: []*insightsv1.BuildParameter{{Name: "region", Value: "us"}},
			}}})
		}
	}
	if rapid.Bool().Draw(t, "somebody is slow") {
		agent, noon := w.catalog.GetAgents()[0].GetId(), w.place.around
		for m := range 12 {
			w.reports = append(w.reports, &insightsv1.AgentReport{
				AgentId: agent, CollectedAt: timestamppb.New(noon.Add(time.Duration(m) * time.Minute)), ConnectionCount: 1,
				SessionCounts: map[string]int64{"vscode": 1}, ConnectionMedianLatencyMs: 900,
			})
		}
	}
	p.report(t, w)
	p.send(t, told{logins: events})
	if err := p.r.Refresh(context.Background()); err != nil { // else states of agents are written between two questions
		t.Fatal(err)
	}
	q := anyQuestion(*w).Draw(t, "question")
	if rapid.IntRange(0, 3).Draw(t, "a long window") == 0 {
		q.first, q.interval = q.last-rapid.SampledFrom([]int{28, 35}).Draw(t, "days"), "week"
	}
	gone := &insightsv1.DeletedItems{}
	for _, u := range w.catalog.GetUsers() {
		if rapid.IntRange(0, 3).Draw(t, "the user goes") == 0 {
			gone.Users = append(gone.Users, u.GetId())
		}
	}
	for _, template := range w.catalog.GetTemplates() {
		if rapid.IntRange(0, 3).Draw(t, "the template goes") == 0 {
			gone.Templates = append(gone.Templates, template.GetId())
		}
	}
	ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane, &insightsv1.ApplyCatalogRequest{Deleted: gone})
	return q
}

// params are those of the question that an RPC answers over REST, apart from a template in its path.
func (q propertyQuestion) params(method string) url.Values {
	params := url.Values{}
	start, end := q.start(), q.end()
	if q.zone != "" { // the zone alone says which days are meant, not the offset of the times
		params.Set("timezone", q.zone)
		start, end = utc(q.window().from), utc(q.window().to)
	}
	switch method {
	case insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, insightsv1.InsightsService_GetTemplateDAUs_FullMethodName,
		insightsv1.InsightsService_GetUserStatusCounts_FullMethodName:
		if _, seconds := q.around.Zone(); q.zone == "" {
			params.Set("tz_offset", fmt.Sprint(seconds/3600))
		}
	case insightsv1.InsightsService_GetActivity_FullMethodName:
		params.Set("start", start)
		params.Set("end", end)
		params.Set("interval", "1 day")
	case insightsv1.InsightsService_GetTemplateInsights_FullMethodName:
		params.Set("interval", q.interval)
		fallthrough
	default:
		params.Set("start_time", start)
		params.Set("end_time", end)
		params.Set("template_ids", strings.Join(q.templates, ","))
	}
	if method == insightsv1.InsightsService_QueryUsage_FullMethodName {
		params["metrics"], params["dimensions"] = []string{"active_users", "used_seconds"}, []string{"interval", "template"}
		params.Set("interval", "day")
	}
	return params
}

// utc writes a minute since the epoch in UTC.
func utc(minute int64) string { return time.Unix(60*minute, 0).UTC().Format(time.RFC3339) }

// checkTables exports every table, in a format that is drawn, and holds it against the JSON of its question, also if that is refused.
func (p *tables) checkTables(t *rapid.T, q propertyQuestion) {
	type answer struct {
		status int
		text   []byte
	}
	answers := map[string]answer{} // by RPC
	get := func(path string, params url.Values) (a answer) {
		a.status, _, a.text = p.r.Fetch(p.t, http.Header{"Coder-Session-Token": {p.owner}}, path+"?"+params.Encode())
		return a
	}
	for _, table := range rest.ExportTables {
		from := p.sources[table.Name]
		path, params := strings.Replace(p.routes[from.Method].Path, "{template_id}", q.templates[0], 1), q.params(from.Method)
		asked, known := answers[from.Method]
		if !known {
			asked = get(path, params)
			answers[from.Method] = asked
		}
		format := rapid.SampledFrom(slices.Sorted(maps.Keys(rest.ExportFormats))).Draw(t, "format of "+table.Name)
		params.Set("format", format)
		if from.Method == insightsv1.InsightsService_GetTemplateDAUs_FullMethodName {
			params.Set("template_id", q.templates[0])
		}
		exported := get(strings.Replace(rest.ExportRoute, "{table}", table.Name, 1), params)
		if exported.status != asked.status {
			t.Fatalf("table %s: %d %s, its question %d %s", table.Name, exported.status, exported.text, asked.status, asked.text)
		}
		if asked.status != http.StatusOK {
			equal(t, "refusal of "+table.Name, string(asked.text), string(exported.text))
			continue
		}
		var body map[string]any
		if err := json.Unmarshal(asked.text, &body); err != nil {
			t.Fatal(err)
		}
		zone := q.location
		if q.zone == "" {
			zone = nil
		}
		want := tableOf(from, zone).rows(t, body)
		checkTable(t, from, format, exported.text, want)
		if len(want) > 0 {
			p.filled[table.Name]++
		}
	}
}

// checkAgreement holds the answers about all templates against each other.
func (p *tables) checkAgreement(t *rapid.T, q propertyQuestion) {
	insights := ask(t, p.insights.GetTemplateInsights, p.owner, q.templateInsights())
	activity := ask(t, p.insights.GetUserActivity, p.owner, &insightsv1.GetUserActivityRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	latency := ask(t, p.insights.GetUserLatency, p.owner, &insightsv1.GetUserLatencyRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	capacity := ask(t, p.insights.GetCapacityReport, p.owner, &insightsv1.GetCapacityReportRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	support := ask(t, p.insights.GetSupportReport, p.owner, &insightsv1.GetSupportReportRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()

	users := insights.GetReport().GetActiveUsers()
	for what, got := range map[string]int64{
		"users of the activity": int64(len(activity.GetUsers())), "their number": activity.GetTotalUsers(),
		"users of the latency": int64(len(latency.GetUsers())), "users of the capacity": capacity.GetActiveUsers(),
	} {
		equal(t, what, users, got)
	}

	type app struct{ kind, slug, name string }
	seconds, entries, byUsers, bySupport := int64(0), map[app]int64{}, map[app]int64{}, map[app]int64{}
	for _, a := range append(insights.GetReport().GetAppsUsage(), insights.GetReport().GetUnknownUsage()) {
		if a.GetSeconds() > 0 {
			entries[app{a.GetType(), a.GetSlug(), a.GetDisplayName()}] += a.GetSeconds()
		}
	}
	for _, u := range activity.GetUsers() {
		seconds += u.GetSeconds()
		for _, a := range u.GetApps() {
			byUsers[app{a.GetType(), a.GetSlug(), a.GetDisplayName()}] += a.GetSeconds()
		}
	}
	for _, a := range support.GetAppPreferences() {
		bySupport[app{a.GetType(), a.GetSlug(), a.GetDisplayName()}] += a.GetSeconds()
	}
	equal(t, "seconds of all users", seconds, activity.GetTotalSeconds())
	equal(t, "apps of all users", entries, byUsers)
	equal(t, "apps of the support report", entries, bySupport)
	p.checkROI(t, q, activity)
	p.checkDaily(t, q)
}

// checkROI holds the return on investment, which is about people alone, against what each of them did.
func (p *tables) checkROI(t *rapid.T, q propertyQuestion, activity *insightsv1.UserActivityReport) {
	roi := ask(t, p.insights.GetROIReport, p.owner, &insightsv1.GetROIReportRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, TemplateIds: q.templates,
	}).GetReport()
	var people, seconds int64
	users := map[string]int64{} // by template
	for _, u := range activity.GetUsers() {
		if u.GetKind() != "human" {
			continue
		}
		people++
		seconds += u.GetSeconds()
		for _, id := range u.GetTemplateIds() {
			users[id]++
		}
	}
	got := map[string]int64{}
	for _, template := range roi.GetTemplates() {
		if template.GetActiveUsers() > 0 {
			got[template.GetTemplateId()] = template.GetActiveUsers()
		}
	}
	equal(t, "people of the return on investment", people, roi.GetActiveUsers())
	equal(t, "their seconds", seconds, roi.GetActiveSeconds())
	equal(t, "their templates", users, got)
	if roi.GetEligibleUsers() < people {
		t.Fatalf("%d people were active, %d could be", people, roi.GetEligibleUsers())
	}
}

// checkDaily holds the days of a question about all templates against the daily users of the deployment.
func (p *tables) checkDaily(t *rapid.T, q propertyQuestion) {
	request := &insightsv1.GetDeploymentDAUsRequest{Timezone: q.zone}
	if _, seconds := q.around.Zone(); q.zone == "" {
		if seconds%3600 != 0 {
			return // whole hours only
		}
		request.TzOffset = int32(seconds / 3600)
	}
	days := map[string]int64{}
	for _, e := range ask(t, p.insights.GetDeploymentDAUs, p.owner, request).GetEntries() {
		days[e.GetDate()] = e.GetAmount()
	}
	for _, i := range ask(t, p.insights.GetTemplateInsights, p.owner, &insightsv1.GetTemplateInsightsRequest{
		StartTime: q.start(), EndTime: q.end(), Timezone: q.zone, Interval: "day",
	}).GetIntervalReports() {
		if amount, told := days[i.GetStartTime()[:len(time.DateOnly)]]; told {
			equal(t, "daily users of "+i.GetStartTime(), amount, i.GetActiveUsers())
		}
	}
}

// The gauges of the last five minutes say of each template what its insights of the day say, if nothing happened before.
func TestGaugesAgreeWithInsights(t *testing.T) {
	t.Parallel()
	p := newProperties(t, storetest.SQLite(t), &shares{}, nil)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, 5)
		recent := func(at *timestamppb.Timestamp) *timestamppb.Timestamp {
			return timestamppb.New(propertyNow.Add(-time.Minute * time.Duration(1+at.GetSeconds()/60%5)))
		}
		for _, r := range w.reports {
			r.CollectedAt, r.Interval = recent(r.GetCollectedAt()), nil
		}
		for _, s := range w.sessions {
			s.StartedAt = recent(s.GetStartedAt())
			s.EndedAt = timestamppb.New(s.GetStartedAt().AsTime().Add(time.Second))
		}
		p.empty(rt)
		p.report(rt, &w)
		if err := p.r.Refresh(t.Context()); err != nil {
			rt.Fatal(err)
		}
		want := map[string]float64{}
		organizations := map[string]string{}
		for _, o := range w.catalog.GetOrganizations() {
			organizations[o.GetId()] = o.GetName()
		}
		for _, template := range w.catalog.GetTemplates() {
			report := ask(rt, p.insights.GetTemplateInsights, p.owner, &insightsv1.GetTemplateInsightsRequest{
				StartTime: "2023-11-20T00:00:00Z", EndTime: "2023-11-20T13:00:00Z", TemplateIds: []string{template.GetId()},
				Actor: []string{"all"}, // as gauges with Coder's names
			}).GetReport()
			if report.GetActiveUsers() == 0 {
				continue
			}
			labels := map[string]string{
				"template_name": template.GetName(), "organization_name": organizations[template.GetOrganizationId()],
			}
			want[wiretest.SeriesName("coderd_insights_templates_active_users", labels)] = float64(report.GetActiveUsers())
			entries := report.GetAppsUsage()
			if report.GetUnknownUsage() != nil {
				entries = append(entries, report.GetUnknownUsage())
			}
			for _, a := range entries {
				labels := maps.Clone(labels)
				labels["application_name"], labels["slug"] = a.GetDisplayName(), a.GetSlug()
				if a.GetType() == "builtin" {
					labels["slug"] = ""
				}
				want[wiretest.SeriesName("coderd_insights_applications_usage_seconds", labels)] += float64(a.GetSeconds())
			}
		}
		contentType, body := p.r.Scrape(t, "text/plain")
		got, _ := wiretest.ParseMetrics(t, contentType, body)
		maps.DeleteFunc(got, func(series string, _ float64) bool {
			return !strings.HasPrefix(series, `{__name__="coderd_insights_`)
		})
		equal(rt, "gauges", want, got)
		n += len(want)
	})
	if n < 100 {
		t.Errorf("only %d series", n)
	}
}
