package server_test

import (
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
	p.properties = newProperties(t, database, &shares{}, func(c *server.Options) { c.Location, c.PrivacyFloor = zone, publishedFloor })
	if _, err := p.r.Store.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, store.PrivacyAggregate); err != nil {
		t.Fatal(err)
	}
	return p
}

// check is one run. It says whether anything was published, and whether something that happened was not.
func (p *publishedProperties) check(t *rapid.T) (published, hidden bool) {
	w := anyWorld.Draw(t, "world")
	p.empty(t)
	builds := drawChoices(t, &w)
	p.report(t, &w)
	p.send(t, told{logins: builds})
	at := p.place
	year, month, day := w.place.around.In(at.location).Date()
	at.around = time.Date(year, month, day, 12, 0, 0, 0, at.location)
	w.place = at
	q := anyQuestion(w).Draw(t, "question")
	ref := newReference(w)
	known := publish(ref, builds, w, q.templates, q.steps(1))
	answer := ask(t, p.insights.GetTemplateInsights, p.owner, q.templateInsights())
	equal(t, "report", known.report(ref, w, q), answer.GetReport())
	var intervals []*insightsv1.TemplateInsightsIntervalReport
	for _, i := range q.intervals() {
		users, in := known.people(i.refWindow)
		intervals = append(intervals, &insightsv1.TemplateInsightsIntervalReport{
			StartTime: q.show(i.from), EndTime: q.show(i.to), TemplateIds: in, Interval: q.interval, ActiveUsers: users,
			Suppressed: users == 0, Partial: i.partial,
		})
	}
	equal(t, "intervals", intervals, answer.GetIntervalReports())
	p.checkPublishedDAUs(t, ref, w)
	return answer.GetReport().GetActiveUsers() > 0, answer.GetReport().GetActiveUsers() == 0 && len(ref.uses) > 0
}

// drawChoices gives the templates a parameter and draws the builds that choose its values.
func drawChoices(t *rapid.T, w *world) (builds []*insightsv1.Event) {
	versions := map[string]string{}
	for _, template := range w.catalog.GetTemplates() {
		id := uuid.NewString()
		versions[template.GetId()] = id
		w.catalog.TemplateVersions = append(w.catalog.TemplateVersions, &insightsv1.TemplateVersion{
			Id: id, TemplateId: template.GetId(), Name: "v1",
			Parameters: []*insightsv1.Parameter{{Name: "region", Type: "string", Options: regions()}},
		})
	}
	for i := range rapid.IntRange(0, 15).Draw(t, "builds") {
		ws := rapid.SampledFrom(w.catalog.GetWorkspaces()).Draw(t, "built")
		at := timestamppb.New(w.drawTime(t))
		builds = append(builds, &insightsv1.Event{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: uuid.NewString(), WorkspaceId: ws.GetId(), TemplateVersionId: versions[ws.GetTemplateId()], Number: int64(i + 1),
			Transition: rapid.SampledFrom([]string{"start", "start", "start", "stop", "delete"}).Draw(t, "transition"),
			Status:     rapid.SampledFrom([]string{"succeeded", "succeeded", "failed", "canceled", "running"}).Draw(t, "status"),
			CreatedAt:  at,
			Parameters: []*insightsv1.BuildParameter{{Name: "region", Value: rapid.SampledFrom([]string{"eu", "us"}).Draw(t, "region")}},
		}}})
	}
	return builds
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
	estimated         bool                                                // some of the atoms of any use
	people            func(refWindow) (rounded int64, templates []string) // of the atoms of any use
}

// publish goes through all atoms of some days and keeps those of enough people.
func publish(ref reference, builds []*insightsv1.Event, w world, templates []string, days []part) published {
	p := published{seconds: map[atom]int64{}, launches: map[atom]int64{}, workspaces: map[atom]int64{}}
	who := map[atom]map[string]map[int64]bool{} // of any use
	for _, day := range days {
		ref := ref.within(day.refWindow)
		for _, template := range templates {
			keys := map[[3]string]bool{}
			for u := range ref.uses {
				if key, shown := ref.entryKey(u); shown && u.template == template {
					keys[key] = true
				}
			}
			all, _ := ref.of(day.refWindow, usage([]string{template}))
			if len(all) >= publishedFloor {
				who[atom{template: template, day: day.from}] = all
				p.estimated = p.estimated || ref.estimated(day.refWindow, []string{template})
			}
			for key := range keys {
				users, _ := ref.of(day.refWindow, func(u use) bool {
					k, shown := ref.entryKey(u)
					return u.template == template && shown && k == key
				})
				if len(users) >= publishedFloor {
					at := atom{template: template, day: day.from, app: key}
					p.seconds[at], p.launches[at] = sum(users)
				}
			}
			owners := map[string]map[string]bool{}
			for workspace, value := range chosen(builds, day.refWindow) {
				i := slices.IndexFunc(w.catalog.GetWorkspaces(), func(ws *insightsv1.Workspace) bool { return ws.GetId() == workspace })
				ws := w.catalog.GetWorkspaces()[i]
				if ws.GetTemplateId() == template && ref.kinds[w.ownerInTheEnd(ws)] == "human" {
					if owners[value] == nil {
						owners[value] = map[string]bool{}
					}
					owners[value][w.ownerInTheEnd(ws)] = true
					p.workspaces[atom{template: template, day: day.from, value: value}]++
				}
			}
			maps.DeleteFunc(p.workspaces, func(a atom, _ int64) bool {
				return a.template == template && a.day == day.from && len(owners[a.value]) < publishedFloor
			})
		}
	}
	p.people = func(w refWindow) (int64, []string) {
		users, in := map[string]bool{}, map[string]bool{}
		for a, of := range who {
			if w.from <= a.day && a.day < w.to {
				in[a.template] = true
				for id := range of {
					users[id] = true
				}
			}
		}
		return int64(len(users) / publishedFloor * publishedFloor), slices.Sorted(maps.Keys(in))
	}
	return p
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

// report adds up what is published.
func (k published) report(ref reference, w world, q propertyQuestion) *insightsv1.TemplateInsightsReport {
	users, in := k.people(q.window())
	report := &insightsv1.TemplateInsightsReport{
		StartTime: q.start(), EndTime: q.end(), TemplateIds: in, ActiveUsers: users, Suppressed: users == 0,
		Estimated: k.estimated,
	}
	total := func(of map[atom]int64, choose func(atom) bool) (n int64, in []string) {
		templates := map[string]bool{}
		for a, v := range of {
			if choose(a) {
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
	if window := q.window(); window.from == window.to {
		reason = "empty_window"
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
func (p *publishedProperties) checkPublishedDAUs(t *rapid.T, ref reference, w world) {
	q := propertyQuestion{
		place: place{zone: p.place.zone, location: p.place.location, around: propertyNow.In(p.place.location)}, first: -60, last: 0,
	}
	days := q.steps(1)
	known := publish(reference{uses: ref.uses}, nil, w, call.Texts(templateIDsOf(w)), days)
	want := map[string]int64{}
	for _, day := range days {
		want[dateOf(day.from, p.place.location)], _ = known.people(day.refWindow)
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
