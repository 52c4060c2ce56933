package gauges

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

var insightsNow = time.Date(2023, 8, 15, 12, 5, 0, 0, time.UTC)

// insightsFixture is a collector over a database that a test fills through the store.
type insightsFixture struct {
	*store.Store
	collector *Usage
	page      *exposition.Endpoint
	log       *bytes.Buffer
	owner     uuid.UUID
	users     map[string]int64 // name to subject
}

func newInsightsFixture(t testing.TB, database string, now time.Time) *insightsFixture {
	t.Helper()
	f := &insightsFixture{Store: storetest.Open(t, database, now), log: &bytes.Buffer{}, users: map[string]int64{}}
	f.collector = NewUsage(Options{
		Store: f.Store, Clock: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	f.page = exposition.New(prometheus.NewRegistry(), 0)
	f.page.MustAdd(f.collector)
	f.owner = uuid.New()
	f.apply(t, store.Catalog{
		Users: []store.User{{ID: f.owner, Username: "owner", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{}}},
	})
	return f
}

func (f *insightsFixture) apply(t testing.TB, c store.Catalog) {
	t.Helper()
	everywhere := store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true}
	if refusals, err := f.ApplyCatalog(t.Context(), c, everywhere); err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
}

func (f *insightsFixture) organization(t testing.TB, name string) uuid.UUID {
	t.Helper()
	id := uuid.New()
	f.apply(t, store.Catalog{Organizations: []store.Organization{{ID: id, Name: name}}})
	return id
}

func (f *insightsFixture) template(t testing.TB, organization uuid.UUID, name string, apps ...store.App) uuid.UUID {
	t.Helper()
	id, workspace, agent := uuid.New(), uuid.New(), uuid.New()
	for i := range apps {
		apps[i].AgentID = agent
	}
	f.apply(t, store.Catalog{
		Templates:  []store.Template{{ID: id, OrganizationID: organization, Name: name}},
		Workspaces: []store.Workspace{{ID: workspace, TemplateID: id, OwnerID: f.owner, Name: "dev"}},
		Agents:     []store.Agent{{ID: agent, WorkspaceID: workspace, Name: "main"}},
		Apps:       apps,
	})
	return id
}

// merge adds minutes of a user, given as times.
func (f *insightsFixture) merge(t testing.TB, template uuid.UUID, user string, kind minute.Kind, app string, at ...time.Time) {
	t.Helper()
	if _, known := f.users[user]; !known {
		visit := store.Visit{User: uuid.New()}
		subjects, err := f.Subjects(t.Context(), []store.Visit{visit})
		if err != nil {
			t.Fatal(err)
		}
		f.users[user] = subjects[visit]
	}
	var rows []store.OpenRow
	for _, at := range at {
		m := at.Unix() / 60
		rows = append(rows, store.OpenRow{Template: template, Row: minute.Row{
			HalfHour: int32(m / 30), Subject: f.users[user], Kind: kind, App: app, Minutes: 1 << (m % 30),
			Connected: kind == minute.Session,
		}})
	}
	if err := f.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// use adds one minute of a session three minutes ago.
func (f *insightsFixture) use(t testing.TB, template uuid.UUID, user, app string) {
	t.Helper()
	f.merge(t, template, user, minute.Session, app, insightsNow.Add(-3*time.Minute))
}

type insightsParameter struct {
	name, kind, value string
	sensitive         bool
}

// build records a build of a workspace of its own, a minute ago, with these values.
func (f *insightsFixture) build(t testing.TB, template uuid.UUID, parameters ...insightsParameter) {
	t.Helper()
	version := store.TemplateVersion{ID: uuid.New(), TemplateID: template}
	build := store.Build{
		ID: uuid.New(), WorkspaceID: uuid.New(), TemplateID: template, TemplateVersionID: version.ID, Number: 1,
		Transition: "start", Status: "succeeded", CreatedAt: store.At(insightsNow.Add(-time.Minute)),
	}
	for _, p := range parameters {
		version.Parameters = append(version.Parameters, store.Parameter{Name: p.name, Type: p.kind, Sensitive: p.sensitive})
		build.Parameters = append(build.Parameters, store.BuildParameter{Name: p.name, Value: p.value})
	}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{version}})
	if err := f.RecordBuilds(t.Context(), []store.Build{build}); err != nil {
		t.Fatal(err)
	}
}

func (f *insightsFixture) refresh(t testing.TB) {
	t.Helper()
	if err := f.collector.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// gather returns the series of the collector, as a scrape shows them, in the form {name="value", ...}.
func (f *insightsFixture) gather(t testing.TB) map[string]float64 {
	t.Helper()
	contentType, body := wiretest.Scrape(t, f.page, "text/plain")
	got, types := wiretest.ParseProduced(t, contentType, body)
	for name, kind := range types {
		if kind != model.MetricTypeGauge {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	return got
}

func usersSeries(organization, template string) string {
	return wiretest.SeriesName("coderd_insights_templates_active_users", map[string]string{
		"organization_name": organization, "template_name": template,
	})
}

func usageSeries(organization, template, application, slug string) string {
	return wiretest.SeriesName("coderd_insights_applications_usage_seconds", map[string]string{
		"organization_name": organization, "template_name": template, "application_name": application, "slug": slug,
	})
}

func parameterSeries(organization, template, name, kind, value string) string {
	return wiretest.SeriesName("coderd_insights_parameters", map[string]string{
		"organization_name": organization, "template_name": template, "parameter_name": name, "parameter_type": kind,
		"parameter_value": value,
	})
}

// builtinSeries are the series that a template with data always has, with the seconds of some.
func builtinSeries(organization, template string, users float64, seconds map[string]float64) map[string]float64 {
	series := map[string]float64{usersSeries(organization, template): users}
	for _, application := range []string{"Visual Studio Code", "JetBrains", "Web Terminal", "SSH", "SFTP"} {
		series[usageSeries(organization, template, application, "")] = seconds[application]
	}
	return series
}

// TestInsightsNames: what has one name is one series, what has two is two.
func TestInsightsNames(t *testing.T) {
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		f := newInsightsFixture(t, database, insightsNow)
		acme, beta := f.organization(t, "acme"), f.organization(t, "beta")
		ide := store.App{Slug: "ide", DisplayName: "IDE"}
		gone, next := f.template(t, acme, "go", ide), f.template(t, acme, "go", ide)
		f.apply(t, store.Catalog{Deleted: store.Deleted{Templates: []uuid.UUID{gone}}})
		other := f.template(t, beta, "go")
		quiet := f.template(t, beta, "quiet")

		f.use(t, gone, "ann", "vscode")
		f.use(t, next, "ann", "vscode")
		f.use(t, next, "bob", "ssh")
		f.use(t, next, "bob", "my_editor")
		f.use(t, other, "bob", "jetbrains")
		for _, template := range []uuid.UUID{gone, next} {
			f.merge(t, template, "ann", minute.App, "ide", insightsNow.Add(-time.Minute))
			f.merge(t, template, "ann", minute.App, "undeclared", insightsNow.Add(-time.Minute))
		}
		// The last minute before the window, and the first after it.
		f.merge(t, quiet, "ann", minute.Session, "vscode", insightsNow.Add(-6*time.Minute), insightsNow)

		region := insightsParameter{name: "region", kind: "string", value: "eu"}
		f.build(t, gone, region)
		f.build(t, next, region)
		f.build(t, next, insightsParameter{name: "region", kind: "number", value: "1"}, insightsParameter{
			name: "key", kind: "string", value: "hunter2", sensitive: true,
		})
		f.build(t, other, region)

		f.refresh(t)
		want := builtinSeries("acme", "go", 3, map[string]float64{"Visual Studio Code": 120, "SSH": 60})
		want[usageSeries("acme", "go", "Other Editors", "")] = 60
		want[usageSeries("acme", "go", "IDE", "ide")] = 120
		want[parameterSeries("acme", "go", "region", "string", "eu")] = 3 // one definition in three templates: in full with each name
		want[parameterSeries("acme", "go", "region", "number", "1")] = 1
		want[parameterSeries("beta", "go", "region", "string", "eu")] = 3
		maps.Copy(want, builtinSeries("beta", "go", 1, map[string]float64{"JetBrains": 60}))
		if diff := cmp.Diff(want, f.gather(t)); diff != "" {
			t.Errorf("series (-want +got):\n%s", diff)
		}
	})
}

// TestInsightsActors: gauges count everybody, as Coder does, unless they are to be of some actors.
func TestInsightsActors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		actors         []string
		users, seconds float64
	}{
		{nil, 2, 120},
		{[]string{"all"}, 2, 120},
		{[]string{"person"}, 1, 60},
		{[]string{"service", "system"}, 1, 60},
	} {
		t.Run(fmt.Sprint(tt.actors), func(t *testing.T) {
			t.Parallel()
			f := newInsightsFixture(t, storetest.SQLite(t), insightsNow)
			f.collector = NewUsage(Options{
				Store: f.Store, Clock: func() time.Time { return insightsNow }, Logger: slog.New(slog.DiscardHandler),
				MetricsActors: tt.actors,
			})
			f.page = exposition.New(prometheus.NewRegistry(), 0)
			f.page.MustAdd(f.collector)
			template, robot := f.template(t, f.organization(t, "acme"), "go"), uuid.New()
			f.apply(t, store.Catalog{
				Users: []store.User{{ID: robot, Username: "ci", Kind: "service", Status: "active", OrganizationIDs: []uuid.UUID{}}},
			})
			subjects, err := f.Subjects(t.Context(), storetest.AtNoWorkspace(robot))
			if err != nil {
				t.Fatal(err)
			}
			f.users["ci"] = subjects[store.Visit{User: robot}]
			f.use(t, template, "ann", "vscode")
			f.use(t, template, "ci", "vscode")
			f.refresh(t)
			got := f.gather(t)
			users, seconds := got[usersSeries("acme", "go")], got[usageSeries("acme", "go", "Visual Studio Code", "")]
			if users != tt.users || seconds != tt.seconds {
				t.Errorf("%v users and %v seconds, want %v and %v", users, seconds, tt.users, tt.seconds)
			}
		})
	}
	if _, err := NewDeployment(Options{MetricsActors: []string{"human"}}); err == nil || !strings.Contains(err.Error(), "human") {
		t.Errorf("an unknown actor: %v", err)
	}
}

// TestInsightsManyValues: a parameter has the series of its fifty most frequent values, one of the others, and one of credentials.
func TestInsightsManyValues(t *testing.T) {
	t.Parallel()
	f := newInsightsFixture(t, storetest.SQLite(t), insightsNow)
	template := f.template(t, f.organization(t, "acme"), "go")
	build := func(value string, times int) {
		for range times {
			f.build(t, template, insightsParameter{name: "repository", kind: "string", value: value})
		}
	}
	series := func(value string) string { return parameterSeries("acme", "go", "repository", "string", value) }
	want := map[string]float64{}
	for i := range 50 {
		value := fmt.Sprintf("https://acme.io/%d", i)
		build(value, 2)
		want[series(value)] = 2
	}
	f.refresh(t)
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("fifty values (-want +got):\n%s", diff)
	}
	build("https://ada:hunter2@acme.io", 1)
	build("https://bob:hunter3@acme.io", 1)
	build("a", 1)
	build("z", 1)
	build(otherValue, 1)
	want[series("(hidden)")], want[series("(other)")] = 2, 3
	f.refresh(t)
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("more values (-want +got):\n%s", diff)
	}
}

// TestInsightsOddNames: whatever a name holds, the scrape succeeds in both formats and readers get it back.
func TestInsightsOddNames(t *testing.T) {
	t.Parallel()
	f := newInsightsFixture(t, storetest.SQLite(t), insightsNow)
	organization := f.organization(t, "line\nfeed")
	want := map[string]float64{}
	for stored, shown := range map[string]string{
		"":                           "",
		`quote" back\slash {a="b"}`:  `quote" back\slash {a="b"}`,
		"line\nfeed\r\ttab":          "line\nfeed\r\ttab",
		"snow ☃ 雪":                   "snow ☃ 雪",
		"cut \xe2\x98 short":         "cut \uFFFD short",
		"cut \xe2 short":             "cut \uFFFD short", // the same series as the one before
		"nul \x00 byte":              "nul \uFFFD byte",
		"\xff":                       "\uFFFD",
		strings.Repeat("long", 5000): strings.Repeat("long", 5000),
	} {
		f.use(t, f.template(t, organization, stored), "ann", "vscode")
		want[usersSeries("line\nfeed", shown)]++
	}
	f.refresh(t)
	for _, accept := range []string{"text/plain", wiretest.OpenMetrics} {
		contentType, body := wiretest.Scrape(t, f.page, accept)
		got, _ := wiretest.ParseProduced(t, contentType, body)
		for s := range got {
			if strings.Contains(s, "usage_seconds") {
				delete(got, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: series (-want +got):\n%s", accept, diff)
		}
	}
}

// TestInsightsRefresh: nothing before the first refresh, the newest values after each, the old ones after a failed one.
func TestInsightsRefresh(t *testing.T) {
	t.Parallel()
	f := newInsightsFixture(t, storetest.SQLite(t), insightsNow)
	template := f.template(t, f.organization(t, "coder"), "go")
	f.use(t, template, "ann", "ssh")
	if got := f.gather(t); len(got) > 0 {
		t.Errorf("before the first refresh: %v", got)
	}
	f.refresh(t)
	want := builtinSeries("coder", "go", 1, map[string]float64{"SSH": 60})
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("after the first refresh (-want +got):\n%s", diff)
	}
	f.use(t, template, "bob", "sftp")
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("a scrape asked the database (-want +got):\n%s", diff)
	}
	f.refresh(t)
	want = builtinSeries("coder", "go", 2, map[string]float64{"SSH": 60, "SFTP": 60})
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("after the second refresh (-want +got):\n%s", diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.collector.Refresh(ended); err == nil {
		t.Error("a refresh whose time is over succeeded")
	}
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("after the failed refresh (-want +got):\n%s", diff)
	}
	f.collector.clock = func() time.Time { return insightsNow.Add(time.Hour) }
	f.refresh(t)
	if got := f.gather(t); len(got) > 0 {
		t.Errorf("an hour later: %v", got)
	}
}

// TestInsightsRun: the first refresh comes at once, the next ones by themselves; a failed one is logged; run ends with
// its context.
func TestInsightsRun(t *testing.T) {
	t.Parallel()
	f := newInsightsFixture(t, storetest.SQLite(t), insightsNow)
	f.use(t, f.template(t, f.organization(t, "coder"), "go"), "ann", "ssh")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	turns := make(chan struct{})
	f.collector.every = time.Millisecond
	f.collector.clock = func() time.Time {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		return insightsNow
	}
	var running sync.WaitGroup
	running.Go(func() { f.collector.Run(ctx) })
	<-turns
	<-turns // the first refresh is over when the second begins
	want := builtinSeries("coder", "go", 1, map[string]float64{"SSH": 60})
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("after the first refresh (-want +got):\n%s", diff)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	<-turns
	<-turns // one whole refresh without a database
	if diff := cmp.Diff(want, f.gather(t)); diff != "" {
		t.Errorf("without a database (-want +got):\n%s", diff)
	}
	cancel()
	running.Wait()
	if !strings.Contains(f.log.String(), "refresh metrics of insights") || !strings.Contains(f.log.String(), "database is closed") {
		t.Errorf("the log lacks the failed refresh:\n%s", f.log)
	}
}
