package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// older holds the older questions against the general one, which says the same.
type older struct {
	*properties
	*rapid.T

	q propertyQuestion
}

// checkOlder: older questions have the same numbers.
func (p *properties) checkOlder(t *rapid.T, w world, q propertyQuestion) {
	o := older{p, t, q}
	o.insights()
	o.activity()
	o.latency()
	o.perTemplate()
	o.reports()
	o.daily()
	o.steps(w)
}

// query asks about the window and the templates.
func (o older) query(metrics string, dimensions ...string) *insightsv1.QueryUsageResponse {
	return o.filtered(nil, metrics, dimensions...)
}

func (o older) filtered(filters []string, metrics string, dimensions ...string) *insightsv1.QueryUsageResponse {
	req := &insightsv1.QueryUsageRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates, Metrics: strings.Split(metrics, ","),
		Dimensions: dimensions, Filters: filters,
	}
	if slices.Contains(dimensions, "interval") {
		req.Interval = "day"
	}
	return ask(o.T, o.properties.insights.QueryUsage, o.owner, req)
}

// same compares what an older question says with rows of the query, of which it tells those with one of the metrics.
func (o older) same(what string, want []string, answer *insightsv1.QueryUsageResponse, metrics ...string) {
	var got []string
	for _, r := range answer.GetRows() {
		figures, line, some := figuresOfRow(r.GetValues()), keyOf(r), false
		for _, m := range metrics {
			line += " " + number(figures[m])
			some = some || figures[m] > 0
		}
		if some {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(want, got) {
		o.Fatalf("%s: older %q, query %q", what, want, got)
	}
}

// number writes a figure as whole numbers are written.
func number(figure float64) string { return strconv.FormatFloat(figure, 'f', -1, 64) }

// total compares a figure with that of everything.
func (o older) total(what string, want float64, answer *insightsv1.QueryUsageResponse, metric string) {
	if got := figuresOfRow(answer.GetTotals().GetValues())[metric]; want != got {
		o.Fatalf("%s: older %v, query %v", what, want, got)
	}
}

func (o older) insights() {
	req := o.q.templateInsights()
	req.Interval = "day"
	answer := ask(o.T, o.properties.insights.GetTemplateInsights, o.owner, req)
	report := answer.GetReport()
	days := o.query("active_users", "interval")
	o.total("active users", float64(report.GetActiveUsers()), days, "active_users")
	equal(o.T, "other actors of the query", answer.GetOtherActors(), days.GetOtherActors())
	var want []string
	for _, r := range answer.GetIntervalReports() {
		if r.GetActiveUsers() > 0 {
			want = append(want, fmt.Sprint(r.GetStartTime(), " ", r.GetActiveUsers()))
		}
	}
	o.same("days", want, days, "active_users")
	if len(days.GetRows()) != len(answer.GetIntervalReports()) {
		o.Fatalf("%d days, %d of the query", len(answer.GetIntervalReports()), len(days.GetRows()))
	}
	for i, r := range o.ordered(days) {
		if r.GetPartial() != answer.GetIntervalReports()[i].GetPartial() {
			o.Fatalf("%v is partial or not", r)
		}
	}
	want = nil
	for _, id := range report.GetTemplateIds() {
		want = append(want, id+" 1")
	}
	used := o.query("active_users", "template")
	for _, r := range used.GetRows() {
		r.GetValues().ActiveUsers = proto.Int64(min(r.GetValues().GetActiveUsers(), 1))
	}
	o.same("templates", want, used, "active_users")
	want = nil
	bySlug := map[string][]*insightsv1.AppUsage{}
	for _, a := range report.GetAppsUsage() {
		if a.GetType() != "builtin" {
			bySlug[a.GetSlug()] = append(bySlug[a.GetSlug()], a)
		} else if a.GetSeconds() > 0 {
			want = append(want, fmt.Sprint(a.GetFamily(), " ", a.GetSeconds(), " ", a.GetTimesUsed()))
		}
	}
	if u := report.GetUnknownUsage(); u.GetSeconds() > 0 {
		want = append(want, fmt.Sprint("unknown ", u.GetSeconds(), " ", u.GetTimesUsed()))
	}
	o.same("families", want, o.filtered([]string{"family!=workspace_app"}, "used_seconds,launches", "family"), "used_seconds", "launches")
	o.apps(bySlug)
}

// ordered are the rows of intervals in the order of time.
func (o older) ordered(answer *insightsv1.QueryUsageResponse) []*insightsv1.QueryRow {
	return slices.SortedFunc(slices.Values(answer.GetRows()), func(a, b *insightsv1.QueryRow) int {
		return strings.Compare(orderOf(a.GetKeys()[0]), orderOf(b.GetKeys()[0]))
	})
}

// apps: the older question tells workspace apps of one slug apart by display name and icon, where the general one unites their minutes.
func (o older) apps(bySlug map[string][]*insightsv1.AppUsage) {
	got := map[string]int64{}
	for _, r := range o.filtered([]string{"family=workspace_app"}, "used_seconds", "app").GetRows() {
		got[keyOf(r)] = r.GetValues().GetUsedSeconds()
	}
	for slug, entries := range bySlug {
		most, sum := int64(0), int64(0)
		for _, a := range entries {
			most, sum = max(most, a.GetSeconds()), sum+a.GetSeconds()
		}
		if n := got[slug]; n < most || n > sum {
			o.Fatalf("%d seconds of %s, older entries have %d at most and %d together", n, slug, most, sum)
		}
		delete(got, slug)
	}
	if len(got) > 0 {
		o.Fatalf("apps that the older question does not know: %v", got)
	}
}

func (o older) activity() {
	report := ask(o.T, o.properties.insights.GetUserActivity, o.owner, &insightsv1.GetUserActivityRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates,
	}).GetReport()
	var users, in []string
	for _, u := range report.GetUsers() {
		users = append(users, fmt.Sprint(u.GetUserId(), " ", u.GetSeconds(), " ", u.GetActiveDays()))
		for _, id := range u.GetTemplateIds() {
			in = append(in, u.GetUserId()+" "+id+" 1")
		}
	}
	answer := o.query("used_seconds,active_days", "user")
	o.same("users", users, answer, "used_seconds", "active_days")
	o.total("seconds of all users", float64(report.GetTotalSeconds()), answer, "used_seconds")
	o.same("templates of users", in, o.query("active_users", "user", "template"), "active_users")
}

func (o older) latency() {
	report := ask(o.T, o.properties.insights.GetUserLatency, o.owner, &insightsv1.GetUserLatencyRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates,
	}).GetReport()
	var want []string
	for _, u := range report.GetUsers() {
		if l := u.GetLatencyMs(); l.GetSamples() > 0 {
			want = append(want, fmt.Sprint(u.GetUserId(), " ", l.GetSamples(), " ", number(l.GetP50()), " ", number(l.GetP95())))
		}
	}
	answer := o.query("latency_samples,latency_p50_ms,latency_p95_ms,active_users", "user")
	answer.Rows = slices.DeleteFunc(answer.GetRows(), func(r *insightsv1.QueryRow) bool { // the older question is about active users
		return r.GetValues().GetActiveUsers() == 0
	})
	o.same("latencies", want, answer, "latency_samples", "latency_p50_ms", "latency_p95_ms")
}

func (o older) perTemplate() {
	var want, days []string
	for _, u := range ask(o.T, o.properties.insights.ListTemplateUsage, o.owner, &insightsv1.ListTemplateUsageRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates,
	}).GetReport().GetTemplates() {
		if u.GetActiveUsers() > 0 {
			want = append(want, fmt.Sprint(u.GetTemplateId(), " ", u.GetActiveUsers()))
		}
		for _, i := range u.GetIntervals() {
			if i.GetActiveUsers() > 0 {
				days = append(days, fmt.Sprint(u.GetTemplateId(), " ", i.GetStartTime(), " ", i.GetActiveUsers()))
			}
		}
	}
	o.same("each template", want, o.query("active_users", "template"), "active_users")
	o.same("days of each template", days, o.query("active_users", "template", "interval"), "active_users")
}

func (o older) reports() {
	capacity := ask(o.T, o.properties.insights.GetCapacityReport, o.owner, &insightsv1.GetCapacityReportRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates,
	}).GetReport()
	answer := o.query("active_users,peak_users")
	o.total("active users of the report on capacity", float64(capacity.GetActiveUsers()), answer, "active_users")
	o.total("users at once", float64(capacity.GetPeakUsers()), answer, "peak_users")

	roi := ask(o.T, o.properties.insights.GetROIReport, o.owner, &insightsv1.GetROIReportRequest{
		StartTime: o.q.start(), EndTime: o.q.end(), Timezone: o.q.zone, TemplateIds: o.q.templates,
	}).GetReport()
	var want []string
	for _, r := range roi.GetTemplates() {
		want = append(want, fmt.Sprint(r.GetTemplateId(), " ", r.GetActiveUsers(), " ", r.GetActiveSeconds(), " ", r.GetRunningSeconds()))
	}
	answer = o.query("active_users,used_seconds,running_seconds", "template")
	o.same("return on investment", want, answer, "active_users", "used_seconds", "running_seconds")
	o.total("time of use", float64(roi.GetActiveSeconds()), answer, "used_seconds")
	o.total("running time", float64(roi.GetRunningSeconds()), answer, "running_seconds")
}

// daily are the daily users of all templates and of one: today and the days before it, which the query is asked about.
func (o older) daily() {
	zone, offset := o.q.zone, 0
	if _, seconds := propertyNow.In(o.q.location).Zone(); zone == "" {
		if offset = seconds / 3600; seconds%3600 != 0 {
			return // whole hours only
		}
	}
	today := propertyNow.In(o.q.location)
	midnight := func(back int) string {
		at := time.Date(today.Year(), today.Month(), today.Day()-back, 12, 0, 0, 0, o.q.location)
		for at.Add(-15*time.Minute).Day() == at.Day() {
			at = at.Add(-15 * time.Minute)
		}
		return at.Format(time.RFC3339)
	}
	check := func(what string, templates []string, entries []*insightsv1.DAUEntry) {
		var want []string
		for _, e := range entries {
			if e.GetAmount() > 0 {
				want = append(want, fmt.Sprint(e.GetDate(), " ", e.GetAmount()))
			}
		}
		answer := ask(o.T, o.properties.insights.QueryUsage, o.owner, &insightsv1.QueryUsageRequest{
			StartTime: midnight(60), EndTime: midnight(0), Timezone: zone, TemplateIds: templates, Metrics: []string{"active_users"},
			Dimensions: []string{"interval"}, Interval: "day",
		})
		for _, r := range answer.GetRows() {
			r.GetKeys()[0].Value = r.GetKeys()[0].GetLabel()
		}
		o.same(what, want, answer, "active_users")
	}
	check("daily users", nil, ask(o.T, o.properties.insights.GetDeploymentDAUs, o.owner, &insightsv1.GetDeploymentDAUsRequest{
		Timezone: zone, TzOffset: int32(offset),
	}).GetEntries())
	check("daily users of a template", o.q.templates[:1], ask(o.T, o.properties.insights.GetTemplateDAUs, o.owner,
		&insightsv1.GetTemplateDAUsRequest{Timezone: zone, TzOffset: int32(offset), TemplateId: o.q.templates[0]}).GetEntries())
}

// steps are the users of each day whose use the older question calls tunnels: of session apps that are neither IDEs nor terminals.
func (o older) steps(w world) {
	activity := ask(o.T, o.properties.insights.GetActivity, o.owner, &insightsv1.GetActivityRequest{
		Start: o.q.start(), End: o.q.end(), Timezone: o.q.zone, Category: "tunnel", Interval: "1 day",
	}).GetActivity()
	var want []string
	for _, i := range activity {
		for _, u := range i.GetUserActivity() {
			want = append(want, fmt.Sprint(u.GetUserId(), " ", i.GetTime(), " ", 60*u.GetCount()))
		}
	}
	o.q.templates = nil
	for _, template := range w.catalog.GetTemplates() {
		o.q.templates = append(o.q.templates, template.GetId())
	}
	answer := o.filtered([]string{"app=ssh", "app=sftp", "app=my_editor", "app=unknown"}, "used_seconds", "user", "interval")
	o.same("tunnels", want, answer, "used_seconds")
}
