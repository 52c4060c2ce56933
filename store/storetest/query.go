package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// queries: what a person did at each workspace, through which relay, and in which group, is told apart, and a minute counts once in each.
func queries(t *testing.T, f *Fixture) {
	group, prebuild := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{
		Workspaces: []store.Workspace{{ID: prebuild, OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "p", Purpose: "prebuild"}},
		Groups: []store.Group{{ID: group, OrganizationID: f.Organization, Name: "leads", Members: []store.GroupMember{
			period{-10, never}.of(f.Users[0]),
		}}},
	})
	older, newer := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: older, TemplateID: f.Templates[0], Name: "v1"}, {ID: newer, TemplateID: f.Templates[0], Name: "v2"},
	}})
	build := func(number int64, version uuid.UUID, status string, hoursBefore float64) store.Build {
		at := store.At(Now.Add(-time.Duration(hoursBefore * float64(time.Hour))))
		return store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], TemplateVersionID: version, Number: number,
			Transition: "start", Status: status, CreatedAt: at, StartedAt: at, FinishedAt: at,
		}
	}
	// The second start is done within the half hour of the session of hour -12, so it counts from the next.
	if err := f.RecordBuilds(t.Context(), []store.Build{
		build(1, older, "succeeded", 20), build(2, newer, "succeeded", 11.9), build(3, older, "failed", 11),
	}); err != nil {
		t.Fatal(err)
	}
	visits := []store.Visit{{User: f.Users[0], Workspace: f.Workspaces[0][0]}, {User: f.Users[0], Workspace: prebuild}, {User: f.Users[1]}}
	subjects, err := f.Subjects(t.Context(), visits)
	if err != nil {
		t.Fatal(err)
	}
	now := int32(Now.Unix() / 1800)
	row := func(visit int, hoursBefore int32, minutes minute.Mask) store.OpenRow {
		return store.OpenRow{Template: f.Templates[0], Row: minute.Row{
			HalfHour: now - 2*hoursBefore, Subject: subjects[visits[visit]], Kind: minute.Session, App: "vscode", Minutes: minutes,
			Connected: true,
		}}
	}
	// User 0 is at both workspaces in one minute; before hour -10 outside of the group.
	f.MustMerge(t, row(0, 9, 0b11), row(1, 9, 0b10), row(0, 12, 0b1), row(2, 9, 0b111), f.latency(0, 1, 10, 0b1, 7))
	if err := f.TouchAgents(t.Context(), []store.AgentState{
		{AgentID: f.Agents[0][0], Reached: &store.SeatRegion{Subject: subjects[visits[0]], HalfHour: now - 20, Region: "fra"}},
	}); err != nil {
		t.Fatal(err)
	}
	day := minute.NewWindow(Now.AddDate(0, 0, -1), Now)
	day.Bounds = []int64{day.Start}
	ask := func(by []string, filters ...store.QueryFilter) (rows []string, whole store.Figures) {
		t.Helper()
		result, err := f.Query(t.Context(), store.Query{
			Scope: f.Everything, Actors: minute.People, Window: day, By: by, Filters: filters, Workspaces: true, Peaks: true, Latency: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range result.Rows {
			var names []string
			for _, k := range r.Keys {
				names = append(names, k.Label)
			}
			counted := fmt.Sprintf("%d people %d minutes %d workspaces", r.People, r.Minutes, r.Workspaces)
			rows = append(rows, strings.Join(names, " ")+": "+counted)
		}
		slices.Sort(rows)
		return rows, result.Whole
	}
	for _, tt := range []struct {
		by      []string
		filters []store.QueryFilter
		want    []string
	}{
		{
			[]string{store.ByWorkspace},
			nil,
			[]string{"user0/p: 1 people 1 minutes 1 workspaces", "user0/w: 1 people 3 minutes 1 workspaces"},
		},
		{[]string{store.ByUser}, nil, []string{"user0: 1 people 3 minutes 2 workspaces", "user1: 1 people 3 minutes 0 workspaces"}},
		{
			[]string{store.ByPurpose},
			nil,
			[]string{"development: 1 people 3 minutes 1 workspaces", "prebuild: 1 people 1 minutes 1 workspaces"},
		},
		{
			[]string{store.ByVersion},
			nil,
			[]string{"v1: 1 people 1 minutes 1 workspaces", "v2: 1 people 2 minutes 1 workspaces"},
		},
		{[]string{store.ByRegion}, nil, []string{"fra: 1 people 2 minutes 1 workspaces"}},
		{[]string{store.ByGroup}, nil, []string{"leads: 1 people 2 minutes 2 workspaces"}},
		{
			[]string{store.ByUser, store.ByOrganization},
			[]store.QueryFilter{{By: store.ByGroup, Values: []string{group.String()}, Not: true}},
			[]string{"user0 acme: 1 people 1 minutes 1 workspaces", "user1 acme: 1 people 3 minutes 0 workspaces"},
		},
		{
			[]string{store.ByEditor},
			[]store.QueryFilter{{By: store.ByWorkspace, Values: []string{prebuild.String()}}},
			[]string{f.Apps().Of("vscode").DisplayName + ": 1 people 1 minutes 1 workspaces"},
		},
		{[]string{store.ByApp}, []store.QueryFilter{{By: store.ByUser, Values: []string{uuid.NewString()}}}, nil},
	} {
		if got, _ := ask(tt.by, tt.filters...); !slices.Equal(tt.want, got) {
			t.Errorf("by %v with %v (-want +got):\n%s", tt.by, tt.filters, cmp.Diff(tt.want, got))
		}
	}
	_, whole := ask(nil)
	if diff := cmp.Diff(minute.Cell{Minutes: 6, People: 2, Launches: 3, Days: 2, Workspaces: 2, Peak: 2}, whole.Cell); diff != "" {
		t.Errorf("everything (-want +got):\n%s", diff)
	}
	if whole.Latency.Samples != 1 {
		t.Errorf("latency of everything: %+v", whole.Latency)
	}
	if first, known, err := f.FirstUse(t.Context(), f.Everything); err != nil || !known || first != (now-24)/48 {
		t.Errorf("first use on day %d, %v, %v", first, known, err)
	}
	if _, known, err := f.FirstUse(t.Context(), access.Scope{}); err != nil || known {
		t.Errorf("first use of nothing: %v, %v", known, err)
	}
	_, err = f.Query(t.Context(), store.Query{
		Scope: f.Everything, Actors: minute.People, Window: day, By: []string{store.ByUser}, MaxCells: 3,
	})
	if !errors.Is(err, store.ErrTooManyCells) {
		t.Errorf("more cells than allowed: %v", err)
	}
}

// An app has one name, whichever use the pass meets first: in several templates the first by alphabet, and that of the session app where a
// workspace app is called like one.
func queriesByApp(t *testing.T, f *Fixture) {
	app := func(template int, slug, name string) store.App {
		return store.App{AgentID: f.Agents[template][0], Slug: slug, DisplayName: name}
	}
	f.apply(t, store.Catalog{Apps: []store.App{
		app(0, "one", "A"), app(1, "one", "B"), app(0, "two", "D"), app(1, "two", "C"), app(0, "cursor", "Declared"), app(0, "none", ""),
	}})
	visit := func(template int, slug string, minutes minute.Mask) store.OpenRow {
		r := f.Row(template, 0, 20, minutes)
		r.Kind, r.App, r.Connected = minute.App, slug, false
		return r
	}
	session := f.session(0, 0, "cursor")
	session.HalfHour++
	f.MustMerge(
		t, visit(0, "one", 1), visit(1, "one", 0b10), visit(0, "two", 1), visit(1, "two", 0b10), visit(0, "cursor", 0b11), session,
		visit(0, "none", 1), visit(1, "none", 1),
	)
	cursor := f.Apps().Of("cursor")
	for by, want := range map[string][]string{
		store.ByApp: {
			"cursor " + cursor.DisplayName + " " + cursor.Family + ": 3", "none none " + store.WorkspaceApp + ": 1",
			"one A " + store.WorkspaceApp + ": 2", "two C " + store.WorkspaceApp + ": 2",
		},
		store.ByEditor: {"cursor " + cursor.DisplayName + " " + cursor.Family + ": 1"},
	} {
		result, err := f.Query(t.Context(), store.Query{Scope: f.Everything, Actors: minute.People, Window: today(), By: []string{by}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range result.Rows {
			got = append(got, fmt.Sprintf("%s %s %s: %d", r.Keys[0].Value, r.Keys[0].Label, r.Keys[0].Family, r.Minutes))
		}
		if slices.Sort(got); !slices.Equal(want, got) {
			t.Errorf("by %s (-want +got):\n%s", by, cmp.Diff(want, got))
		}
	}
}
