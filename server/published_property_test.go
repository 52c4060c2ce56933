package server_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// publishedFloor is the floor of the properties, whose companies are small.
const publishedFloor = 2

// Where small groups are hidden, answers are made of published atoms and rounded counts: a reference that gets nothing else
// knows them all.
func TestPublishedProperties(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var n, published, hidden int
	t.Run("databases", func(t *testing.T) {
		for database, runs := range map[string]int{"sqlite": propertyRuns(t) / 5, "postgres": propertyRuns(t) / 50} {
			for i := range max(1, runs/100) { // a hundred companies on one server
				t.Run(fmt.Sprint(database, i), func(t *testing.T) {
					t.Parallel()
					p := newPublishedProperties(t, servertest.Databases[database](t))
					rapid.Check(t, func(t *rapid.T) {
						some, less := p.check(t)
						mu.Lock()
						defer mu.Unlock()
						n++
						if some {
							published++
						}
						if less {
							hidden++
						}
					})
				})
			}
		}
	})
	t.Logf("%d runs: %d with something published, %d with nothing of what happened", n, published, hidden)
	if published < n/4 || hidden < n/4 {
		t.Error("the runs are too easy")
	}
}

// publishedProperties asks a server in the mode aggregate.
type publishedProperties struct {
	*properties
	place place // the deployment's
}

func newPublishedProperties(t *testing.T, database string) *publishedProperties {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p := &publishedProperties{place: place{zone: zone.String(), location: zone}}
	p.properties = newProperties(t, database, &shares{}, func(c *server.Options) {
		c.Location, c.PrivacyFloor, c.PublishAfter = zone, publishedFloor, 365*24*time.Hour // the properties publish themselves
	})
	if _, err := p.r.Store.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, store.PrivacyAggregate); err != nil {
		t.Fatal(err)
	}
	return p
}

// check is one run. It says whether anything was published, and whether something that happened was not.
func (p *publishedProperties) check(t *rapid.T) (published, hidden bool) {
	w := anyWorld.Draw(t, "world")
	builds := drawChoices(t, &w)
	p.begin(t, w.place)
	p.report(t, &w)
	p.send(t, told{logins: builds})
	w.place = p.placeOf(w.place)
	q := anyQuestion(w).Draw(t, "question")
	last := rapid.SampledFrom([]int{14, 14, 1, 0, -1, -2}).Draw(t, "last day that is published")
	p.publish(t, w.place, last)
	ref := newReference(w)
	known := newPublished()
	known.add(ref, builds, w, daysOf(w.place, last))
	answer := ask(t, p.insights.GetTemplateInsights, p.owner, q.templateInsights())
	equal(t, "report", known.report(ref, q, last), answer.GetReport())
	equal(t, "intervals", known.intervals(q), answer.GetIntervalReports())
	p.checkPublishedDAUs(t, known)
	return answer.GetReport().GetActiveUsers() > 0, answer.GetReport().GetActiveUsers() == 0 && len(ref.uses) > 0
}

// placeOf is a place in the zone of the deployment, on the same day.
func (p *publishedProperties) placeOf(other place) place {
	at := p.place
	year, month, day := other.around.In(at.location).Date()
	at.around = time.Date(year, month, day, 12, 0, 0, 0, at.location)
	return at
}

// firstPublished is the first day that is published, from that of a place on: all happened after its begin.
const firstPublished = -4

// begin empties the database.
func (p *publishedProperties) begin(t *rapid.T, at place) {
	p.empty(t)
	p.mark(t, at)
}

// mark makes the first day the next one to be published.
func (p *publishedProperties) mark(t *rapid.T, at place) {
	day := minute.DateOf(p.placeOf(at).around.AddDate(0, 0, firstPublished-1))
	if _, err := p.database.Exec(fmt.Sprintf("INSERT INTO publications (day, published) VALUES (%d, true)", day)); err != nil {
		t.Fatal(err)
	}
}

// publish publishes the days up to one, counted from that of a place.
func (p *publishedProperties) publish(t *rapid.T, at place, last int) {
	after := propertyNow.Sub(at.around.AddDate(0, 0, last+1))
	for published := true; published; {
		var err error
		published, err = p.r.Store.Publish(context.Background(), store.Publication{Floor: publishedFloor, Zone: at.location, After: after})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// daysOf are the days of a place that are published up to one.
func daysOf(at place, last int) []part {
	return propertyQuestion{place: at, first: firstPublished, last: last + 1}.steps(1)
}

// drawChoices gives the templates a parameter in one or two versions and draws the builds that choose its values.
func drawChoices(t *rapid.T, w *world) (builds []*insightsv1.Event) {
	versions := map[string][]string{}
	for _, template := range w.catalog.GetTemplates() {
		for i := range rapid.IntRange(1, 2).Draw(t, "versions") {
			id := uuid.NewString()
			versions[template.GetId()] = append(versions[template.GetId()], id)
			w.catalog.TemplateVersions = append(w.catalog.TemplateVersions, &insightsv1.TemplateVersion{
				Id: id, TemplateId: template.GetId(), Name: fmt.Sprint("v", i+1),
				Parameters: []*insightsv1.Parameter{{Name: "region", Type: "string", Options: regions()}},
			})
		}
	}
	numbers := map[string]int64{}
	for _, ws := range w.catalog.GetWorkspaces() {
		if slices.Contains(w.crowd, ws.GetId()) { // it runs all the time
			numbers[ws.GetId()]++
			builds = append(builds, w.firstStart(ws))
		}
	}
	for range rapid.IntRange(0, 15).Draw(t, "builds") {
		ws := rapid.SampledFrom(w.catalog.GetWorkspaces()).Draw(t, "built")
		at := w.drawTime(t)
		numbers[ws.GetId()] += rapid.SampledFrom([]int64{1, 1, 1, 1, 1, 1, 2}).Draw(t, "number after the one before")
		b := &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: ws.GetId(), Number: numbers[ws.GetId()], CreatedAt: timestamppb.New(at),
			Preset:            rapid.SampledFrom([]string{"", "tiny", "huge"}).Draw(t, "preset"),
			TemplateVersionId: rapid.SampledFrom(versions[ws.GetTemplateId()]).Draw(t, "version"),
			Transition:        rapid.SampledFrom([]string{"start", "start", "start", "stop", "delete"}).Draw(t, "transition"),
			Status:            rapid.SampledFrom([]string{"succeeded", "succeeded", "failed", "canceled", "running"}).Draw(t, "status"),
			Parameters: []*insightsv1.BuildParameter{
				{Name: "region", Value: rapid.SampledFrom([]string{"eu", "us"}).Draw(t, "region")},
			},
		}
		if minutes := rapid.SampledFrom([]int{0, 1, 40}).Draw(t, "minutes of the build"); b.GetStatus() == "succeeded" && minutes > 0 {
			b.FinishedAt = timestamppb.New(at.Add(time.Duration(minutes) * time.Minute))
		}
		builds = append(builds, &insightsv1.Event{At: b.GetCreatedAt(), Kind: &insightsv1.Event_Build{Build: b}})
	}
	return builds
}

// firstStart is a first build, before everything else, with which a workspace runs from then on.
func (w *world) firstStart(ws *insightsv1.Workspace) *insightsv1.Event {
	b := &insightsv1.Build{
		Id: uuid.NewString(), WorkspaceId: ws.GetId(), Number: 1, CreatedAt: timestamppb.New(w.place.around.AddDate(0, 0, -5)),
		Transition: "start", Status: "succeeded",
	}
	for _, version := range w.catalog.GetTemplateVersions() {
		if version.GetTemplateId() == ws.GetTemplateId() {
			b.TemplateVersionId = version.GetId()
		}
	}
	return &insightsv1.Event{At: b.GetCreatedAt(), Kind: &insightsv1.Event_Build{Build: b}}
}

func regions() []*insightsv1.ParameterOption {
	return []*insightsv1.ParameterOption{{Name: "eu", Value: "eu"}, {Name: "us", Value: "us"}}
}

// atom is what is published: of a template, a day, and an app or the value of the parameter; both empty is any use.
type atom struct {
	template string
	day      int64 // when it begins
	app      [3]string
	value    string
}

// published is all that the answers are made of.
type published struct {
	seconds, launches map[atom]int64
	workspaces        map[atom]int64
	who               map[atom]map[string]bool // had any use
	estimated         map[atom]bool            // some of any use
	counted           map[atom]bool            // templates and days that were counted once, whether anything is published of them or not
}

func newPublished() published {
	return published{
		map[atom]int64{}, map[atom]int64{}, map[atom]int64{}, map[atom]map[string]bool{}, map[atom]bool{}, map[atom]bool{},
	}
}

// add goes through all atoms of some days that were not counted yet and keeps those of enough people.
func (k published) add(all reference, builds []*insightsv1.Event, w world, days []part) {
	for _, day := range days {
		ref := all.within(day.refWindow)
		for _, template := range call.Texts(templateIDsOf(w)) {
			whole := atom{template: template, day: day.from}
			if k.counted[whole] {
				continue
			}
			users, _ := ref.of(day.refWindow, usage([]string{template}))
			if len(users) >= publishedFloor {
				k.who[whole] = map[string]bool{}
				for id := range users {
					k.who[whole][id] = true
				}
				k.estimated[whole] = ref.estimated(day.refWindow, []string{template})
			}
			starts := k.addValues(ref, builds, w, whole, day)
			k.counted[whole] = len(users)+starts > 0 || len(all.otherActors(day.refWindow, []string{template})) > 0
			keys := map[[3]string]bool{}
			for u := range ref.uses {
				if key, shown := ref.entryKey(u); shown && u.template == template {
					keys[key] = true
				}
			}
			for key := range keys {
				users, _ := ref.of(day.refWindow, func(u use) bool {
					k, shown := ref.entryKey(u)
					return u.template == template && shown && k == key
				})
				if len(users) >= publishedFloor {
					at := atom{template: template, day: day.from, app: key}
					k.seconds[at], k.launches[at] = sum(users)
				}
			}
		}
	}
}

// addValues adds the values of the parameter on a day, and says how many workspaces chose any.
func (k published) addValues(ref reference, builds []*insightsv1.Event, w world, whole atom, day part) (starts int) {
	owners, workspaces := map[string]map[string]bool{}, map[string]int64{}
	for workspace, value := range chosen(builds, day.refWindow) {
		i := slices.IndexFunc(w.catalog.GetWorkspaces(), func(ws *insightsv1.Workspace) bool { return ws.GetId() == workspace })
		ws := w.catalog.GetWorkspaces()[i]
		if ws.GetTemplateId() == whole.template && ref.kinds[w.ownerInTheEnd(ws)] == "human" {
			if owners[value] == nil {
				owners[value] = map[string]bool{}
			}
			owners[value][w.ownerInTheEnd(ws)] = true
			workspaces[value]++
			starts++
		}
	}
	for value, n := range workspaces {
		if len(owners[value]) >= publishedFloor {
			k.workspaces[atom{template: whole.template, day: whole.day, value: value}] = n
		}
	}
	return starts
}

// people are those of the atoms of any use in a window, rounded, and their templates.
func (k published) people(w refWindow, templates []string) (rounded int64, in []string) {
	users, used := map[string]bool{}, map[string]bool{}
	for a, of := range k.who {
		if w.from <= a.day && a.day < w.to && slices.Contains(templates, a.template) {
			used[a.template] = true
			maps.Copy(users, of)
		}
	}
	return int64(len(users) / publishedFloor * publishedFloor), slices.Sorted(maps.Keys(used))
}

// intervals are those that a question asks for.
func (k published) intervals(q propertyQuestion) (intervals []*insightsv1.TemplateInsightsIntervalReport) {
	for _, i := range q.intervals() {
		users, in := k.people(i.refWindow, q.templates)
		intervals = append(intervals, &insightsv1.TemplateInsightsIntervalReport{
			StartTime: q.show(i.from), EndTime: q.show(i.to), TemplateIds: in, Interval: q.interval, ActiveUsers: users,
			Suppressed: users == 0, Partial: i.partial,
		})
	}
	return intervals
}

// chosen is what the newest start of each workspace within a window chose that succeeded.
func chosen(builds []*insightsv1.Event, w refWindow) map[string]string {
	values := map[string]string{}
	for _, e := range builds { // in the order of their numbers
		b := e.GetBuild()
		within := b.GetCreatedAt().GetSeconds() >= 60*w.from && b.GetCreatedAt().GetSeconds() < 60*w.to
		if within && b.GetTransition() == "start" && b.GetStatus() == "succeeded" {
			values[b.GetWorkspaceId()] = b.GetParameters()[0].GetValue()
		}
	}
	return values
}

// report adds up what is published, up to a day.
func (k published) report(ref reference, q propertyQuestion, last int) *insightsv1.TemplateInsightsReport {
	window := q.window()
	within := func(a atom) bool {
		return window.from <= a.day && a.day < window.to && slices.Contains(q.templates, a.template)
	}
	users, in := k.people(window, q.templates)
	report := &insightsv1.TemplateInsightsReport{
		StartTime: q.start(), EndTime: q.end(), TemplateIds: in, ActiveUsers: users, Suppressed: users == 0,
	}
	for a, estimated := range k.estimated {
		report.Estimated = report.Estimated || estimated && within(a)
	}
	total := func(of map[atom]int64, choose func(atom) bool) (n int64, in []string) {
		templates := map[string]bool{}
		for a, v := range of {
			if within(a) && choose(a) {
				n += v
				templates[a.template] = true
			}
		}
		return n, slices.Sorted(maps.Keys(templates))
	}
	entries := reference{apps: ref.apps}.entries(refWindow{}, nil) // nobody's
	for i, e := range entries {
		key := [3]string{e.GetSlug(), e.GetDisplayName(), e.GetIcon()}
		if e.GetType() == "builtin" {
			key = [3]string{e.GetFamily()}
		}
		own := func(a atom) bool { return a.app == key }
		e.Seconds, e.TemplateIds = total(k.seconds, own)
		e.TimesUsed, _ = total(k.launches, own)
		switch {
		case i < 5:
			e.Suppressed = e.GetSeconds() == 0
			report.AppsUsage = append(report.AppsUsage, e)
		case e.GetSeconds() == 0:
		case i == 5:
			report.UnknownUsage = e
		default:
			report.AppsUsage = append(report.AppsUsage, e)
		}
	}
	_, with := total(k.workspaces, func(atom) bool { return true })
	if len(with) > 0 {
		usage := &insightsv1.ParameterUsage{
			TemplateIds: with, Name: "region", DisplayName: "region", Type: "string", Options: regions(),
		}
		for _, value := range []string{"eu", "us"} {
			if n, _ := total(k.workspaces, func(a atom) bool { return a.value == value }); n > 0 {
				usage.Values = append(usage.Values, &insightsv1.ParameterValue{Value: value, Count: n})
			}
		}
		report.ParametersUsage = append(report.ParametersUsage, usage)
	}
	used := slices.ContainsFunc(append(report.GetAppsUsage(), report.GetUnknownUsage()), func(a *insightsv1.AppUsage) bool {
		return a.GetSeconds() > 0
	})
	reason := "small_groups"
	switch {
	case window.from == window.to:
		reason = "empty_window"
	case q.first > last:
		reason = "not_published"
	}
	for _, section := range []struct {
		name  string
		empty bool
	}{{"active_users", users == 0}, {"apps_usage", !used}, {"parameters_usage", len(with) == 0}} {
		if section.empty {
			report.Reasons = append(report.Reasons, &insightsv1.SectionReason{Section: section.name, Reason: reason})
		}
	}
	return report
}

// checkPublishedDAUs holds the 60 days that are over against the atoms of each.
func (p *publishedProperties) checkPublishedDAUs(t *rapid.T, known published) {
	q := propertyQuestion{
		place: place{zone: p.place.zone, location: p.place.location, around: propertyNow.In(p.place.location)}, first: -60, last: 0,
	}
	var templates []string
	for a := range known.who {
		templates = append(templates, a.template)
	}
	want := map[string]int64{}
	for _, day := range q.steps(1) {
		want[dateOf(day.from, p.place.location)], _ = known.people(day.refWindow, templates)
	}
	got := map[string]int64{}
	answer := ask(t, p.insights.GetDeploymentDAUs, p.owner, &insightsv1.GetDeploymentDAUsRequest{Timezone: p.place.zone})
	for _, e := range answer.GetEntries() {
		got[e.GetDate()] = e.GetAmount()
		if e.GetSuppressed() != (e.GetAmount() == 0) {
			t.Fatalf("%v: suppressed and something, or neither", e)
		}
	}
	equal(t, "daily users", want, got)
}
