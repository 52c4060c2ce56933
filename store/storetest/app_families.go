package storetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
)

// session is a minute of a user's session of an app.
func (f *Fixture) session(template, user int, app string) store.OpenRow {
	r := f.Row(template, user, 20, 1)
	r.App = app
	return r
}

// familyIn is the entry of a family of apps; nil if there is none.
func familyIn(entries []store.AppUsage, family string) *store.AppUsage {
	for i := range entries {
		if entries[i].Family == family {
			return &entries[i]
		}
	}
	return nil
}

// A family with a floor is told where so many people used it, and changes nothing of what else is told.
func familiesWithFloor(t *testing.T, f *Fixture) {
	f.MustMerge(
		t, f.session(0, 0, "claude_code"), f.session(0, 1, "claude_code"), f.session(1, 0, "claude_code"), f.session(1, 2, "ssh"),
		f.session(0, 2, "ssh"),
	)
	for _, c := range []struct {
		floor     int
		templates int   // of the entry
		alone     []int // templates whose own entry is told
	}{
		{0, 2, []int{0, 1}}, {1, 2, []int{0, 1}}, {2, 1, []int{0}}, {3, 0, nil},
	} {
		f.KnowApps(apps.BuiltIn().Extend([]apps.FamilyDefinition{{Name: apps.AI, Together: c.floor}}, nil))
		a := f.Ask(t)
		entry := familyIn(a.Insights.Apps, apps.AI)
		if (entry != nil) != (c.templates > 0) {
			t.Errorf("floor %d: the entry is %+v", c.floor, entry)
		}
		if entry != nil && (len(entry.Templates) != c.templates || entry.Minutes != 2 || entry.Launches != 2 || len(entry.Editors) != 1 ||
			!slices.Equal(entry.Editors[0].Templates, entry.Templates)) {
			t.Errorf("floor %d: the entry is %+v", c.floor, entry)
		}
		ssh := familyIn(a.Insights.Apps, apps.SSH)
		if ssh.Minutes != 1 || len(ssh.Templates) != 2 || a.Insights.ActiveUsers != 3 || len(a.Insights.Templates) != 2 {
			t.Errorf("floor %d: what else is told: %+v", c.floor, a.Insights)
		}
		for _, u := range a.Activity {
			for _, app := range u.Apps {
				if ofAI := app.Slug == apps.AI; u.Minutes != 1 || ofAI && app.Together != c.floor || !ofAI && app.Together != 0 {
					t.Errorf("floor %d: a user: %+v", c.floor, u)
				}
			}
		}
		alone, err := f.PerTemplate(t.Context(), f.Everything, minute.People, today())
		if err != nil {
			t.Fatal(err)
		}
		told := []int{}
		for i, id := range f.Templates {
			if familyIn(alone[id].Apps, apps.AI) != nil {
				told = append(told, i)
			}
		}
		if !slices.Equal(told, c.alone) {
			t.Errorf("floor %d: it is told in templates %v, want %v", c.floor, told, c.alone)
		}
	}
}

// However many names agents send, the apps that are known are told apart.
func knownAmongMany(t *testing.T, f *Fixture) {
	rows := []store.OpenRow{f.session(0, 1, "zed"), f.session(0, 1, "claude_code")}
	for i := range 300 {
		rows = append(rows, f.session(0, 0, fmt.Sprintf("a%03d", i)))
	}
	f.MustMerge(t, rows...)
	a := f.Ask(t).Insights
	if len(a.Unknown.Editors) != 256 || a.Unknown.Minutes != 1 {
		t.Errorf("%d editors, %d minutes", len(a.Unknown.Editors), a.Unknown.Minutes)
	}
	for family, app := range map[string]string{apps.SSH: "zed", apps.AI: "claude_code"} {
		if entry := familyIn(a.Apps, family); entry == nil || len(entry.Editors) != 1 || entry.Editors[0].Name != app {
			t.Errorf("%s: %+v", app, entry)
		}
	}
}

// Names that accounts send whom a question leaves out take no room of those that it shows.
func namesOfOthers(t *testing.T, f *Fixture) {
	f.apply(t, store.Catalog{Users: []store.User{
		{ID: f.Users[1], Username: "ci", Kind: "service", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization}},
	}})
	rows := []store.OpenRow{f.session(0, 0, "mine")}
	for i := range 300 {
		theirs := f.session(0, 1, fmt.Sprintf("a%03d", i))
		theirs.HalfHour -= minute.HalfHoursPerDay // so that they are seen first
		rows = append(rows, theirs)
	}
	f.MustMerge(t, rows...)
	w := minute.NewWindow(Now.AddDate(0, 0, -2), Now.AddDate(0, 0, 1))
	a, err := f.TemplateInsights(t.Context(), f.Everything, minute.People, w, store.Floor{})
	if err != nil || len(a.Unknown.Editors) != 1 || a.Unknown.Editors[0].Name != "mine" {
		t.Errorf("%+v, %v", a.Unknown, err)
	}
	if len(a.Others) != 1 || a.Others[0].Minutes != 1 {
		t.Errorf("left out are %+v", a.Others)
	}
}
