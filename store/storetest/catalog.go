package storetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

func catalogKeepsParents(t *testing.T, f *Fixture) {
	refusals, err := f.ApplyCatalog(t.Context(), store.Catalog{
		Workspaces: []store.Workspace{
			{ID: f.Workspaces[0][0], OwnerID: f.Users[1], TemplateID: f.Templates[1], Name: "moved"},
			{ID: uuid.New(), OwnerID: uuid.New(), TemplateID: f.Templates[0]},
			{ID: uuid.New(), OwnerID: f.Users[0], TemplateID: uuid.New()},
			{ID: f.Workspaces[0][1], OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "given away"},
		},
		Agents: []store.Agent{{ID: f.Agents[0][0], WorkspaceID: f.Workspaces[0][1]}},
		Apps:   []store.App{{AgentID: uuid.New(), Slug: "x"}},
	}, anyone)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range refusals {
		words := strings.Fields(r.Reason)
		permanence := "retry"
		if r.Permanent {
			permanence = "permanent"
		}
		got = append(got, strings.Join([]string{r.List, words[0], permanence}, " "))
	}
	want := []string{
		"workspaces template permanent", "workspaces owner retry", "workspaces template retry", "agents workspace permanent",
		"apps agent retry",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, refusals)
	}
}

func catalogConfined(t *testing.T, f *Fixture) {
	other := uuid.New()
	confined := store.Authority{Organization: func(id uuid.UUID) bool { return id == other }}
	foreign, own, member, left := uuid.New(), uuid.New(), uuid.New(), store.At(Now)
	f.apply(t, store.Catalog{Organizations: []store.Organization{{ID: other, Name: "other"}}})
	refusals, err := f.ApplyCatalog(t.Context(), store.Catalog{
		Templates: []store.Template{
			{ID: own, OrganizationID: other, Name: "own"},
			{ID: foreign, OrganizationID: f.Organization, Name: "foreign"},
			{ID: f.Templates[0], OrganizationID: other, Name: "stolen"},
		},
		Users: []store.User{
			{ID: f.Users[0], Username: "renamed", OrganizationIDs: []uuid.UUID{other}},
			{ID: member, Username: "member", OrganizationIDs: []uuid.UUID{other}},
		},
		Groups: []store.Group{
			{ID: uuid.New(), OrganizationID: other, Name: "own", UserIDs: []uuid.UUID{member}},
			{ID: uuid.New(), OrganizationID: other, Name: "foreign", UserIDs: []uuid.UUID{member, f.Users[0]}},
			{ID: uuid.New(), OrganizationID: other, Name: "unknown", UserIDs: []uuid.UUID{uuid.New()}},
			{ID: uuid.New(), OrganizationID: other, Name: "own past", Members: []store.GroupMember{{UserID: member, ToAt: left}}},
			{ID: uuid.New(), OrganizationID: other, Name: "foreign past", Members: []store.GroupMember{{UserID: f.Users[0], ToAt: left}}},
		},
		Deleted: store.Deleted{Templates: []uuid.UUID{f.Templates[1]}, Agents: []uuid.UUID{f.Agents[0][0]}},
	}, confined)
	if err != nil {
		t.Fatal(err)
	}
	if len(refusals) != 6 || slices.ContainsFunc(refusals[3:], func(r store.Refusal) bool {
		return r.Reason != refusals[3].Reason || r.Permanent
	}) {
		t.Errorf("got %v, want two templates, the user, and alike groups with a foreign, an unknown and a foreign past member", refusals)
	}
	organizations, err := f.OrganizationsOf(t.Context(), []uuid.UUID{own, foreign, f.Templates[0]})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uuid.UUID]uuid.UUID{own: other, f.Templates[0]: f.Organization}
	if diff := cmp.Diff(want, organizations); diff != "" {
		t.Errorf("templates (-want +got):\n%s", diff)
	}
	place, ok, err := f.NewDirectory().Place(t.Context(), f.Agents[0][0])
	if err != nil || !ok || !place.DeletedAt.IsZero() {
		t.Errorf("agent of another organization: %v, %v, %v; want it alive", place, ok, err)
	}
}

// organizationNames: no two organizations have names that are alike, whoever gives them.
func organizationNames(t *testing.T, f *Fixture) {
	first, second := uuid.New(), uuid.New()
	confined := store.Authority{Organization: func(id uuid.UUID) bool { return id == second }}
	f.apply(t, store.Catalog{Organizations: []store.Organization{{ID: first, Name: "Zürich"}, {ID: second, Name: "other"}}})
	refused := func(names ...string) (refused []int) {
		t.Helper()
		var c store.Catalog
		for _, name := range names {
			c.Organizations = append(c.Organizations, store.Organization{ID: second, Name: name})
		}
		refusals, err := f.ApplyCatalog(t.Context(), c, confined)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refusals {
			if r.List != "organizations" || r.Reason != "name: another organization has it" || r.Permanent {
				t.Errorf("refusal: %+v", r)
			}
			refused = append(refused, r.Index)
		}
		return refused
	}
	if diff := cmp.Diff([]int{0, 1, 2, 5}, refused("Zürich", "zu\u0308RICH", "ACME", "Other", "another", "zürich")); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	f.apply(t, store.Catalog{Organizations: []store.Organization{{ID: first, Name: "Bern"}, {ID: second, Name: "zürich"}}})
	if got := refused("bern", "Zürich"); len(got) != 1 || got[0] != 0 {
		t.Errorf("refused: %v, want the name that the other has now", got)
	}
}

func directoryFollows(t *testing.T, f *Fixture) {
	d := f.NewDirectory()
	place := func() store.Placement {
		t.Helper()
		p, ok, err := d.Place(t.Context(), f.Agents[0][0])
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return p
	}
	if _, ok, err := d.Place(t.Context(), uuid.New()); ok || err != nil {
		t.Errorf("unknown agent: %v, %v", ok, err)
	}
	want := store.Placement{
		Agent: f.Agents[0][0], Workspace: f.Workspaces[0][0], Template: f.Templates[0], Organization: f.Organization,
		Owner: f.Users[0], Subject: f.Subject[f.Users[0]] + 1, Mode: store.PrivacyFull, // the first seat
	}
	if diff := cmp.Diff(want, place()); diff != "" {
		t.Errorf("place (-want +got):\n%s", diff)
	}
	f.apply(t, store.Catalog{Workspaces: []store.Workspace{{ID: f.Workspaces[0][0], OwnerID: f.Users[1], TemplateID: f.Templates[0]}}})
	if got := place(); got.Owner != f.Users[1] || got.Subject != f.Subject[f.Users[1]]+1 {
		t.Errorf("after the workspace got another owner: %+v", got)
	}
	f.apply(t, store.Catalog{Deleted: store.Deleted{Workspaces: []uuid.UUID{f.Workspaces[0][0]}}})
	if got := place().DeletedAt; !got.Equal(Now) {
		t.Errorf("deleted workspace: deleted at %v, want %v", got, Now)
	}
}

// agentNames: names are those of the catalog now; what was deleted has none.
func agentNames(t *testing.T, f *Fixture) {
	ids := []uuid.UUID{f.Agents[0][0], f.Agents[1][0], f.Agents[1][1], uuid.New()}
	many := slices.Clone(ids)
	for range 10_000 {
		many = append(many, uuid.New())
	}
	name := func(template, owner, workspace string) store.AgentName {
		of := store.TemplateName{Organization: "acme", Template: template}
		return store.AgentName{Agent: "main", WorkspaceName: store.WorkspaceName{TemplateName: of, Owner: owner, Workspace: workspace}}
	}
	names := func() map[uuid.UUID]store.AgentName {
		t.Helper()
		got, err := f.AgentNames(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		among, err := f.AgentNames(t.Context(), many)
		if diff := cmp.Diff(got, among); err != nil || diff != "" {
			t.Errorf("names among many: %v (-few +many):\n%s", err, diff)
		}
		return got
	}
	want := map[uuid.UUID]store.AgentName{
		f.Agents[0][0]: name("template0", "user0", "w"),
		f.Agents[1][0]: name("template1", "user0", "w"),
		f.Agents[1][1]: name("template1", "user1", "w"),
	}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	f.apply(t, store.Catalog{
		Templates: []store.Template{{ID: f.Templates[0], OrganizationID: f.Organization, Name: "renamed"}},
		Users: []store.User{
			{ID: f.Users[0], Username: "married", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization}},
		},
		Workspaces: []store.Workspace{{ID: f.Workspaces[0][0], OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "moved"}},
		Deleted:    store.Deleted{Agents: []uuid.UUID{f.Agents[1][0]}, Workspaces: []uuid.UUID{f.Workspaces[1][1]}},
	})
	want = map[uuid.UUID]store.AgentName{f.Agents[0][0]: name("renamed", "married", "moved")}
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("after changes (-want +got):\n%s", diff)
	}
}

func newestApp(t *testing.T, f *Fixture) {
	newer := uuid.New()
	f.apply(t, store.Catalog{
		Agents: []store.Agent{{ID: newer, WorkspaceID: f.Workspaces[0][0], Name: "main", CreatedAt: store.At(Now)}},
		Apps:   []store.App{{AgentID: newer, Slug: "ide", DisplayName: "New name"}},
	})
	f.apply(t, store.Catalog{Apps: []store.App{{AgentID: f.Agents[0][0], Slug: "ide", DisplayName: "Old name"}}})
	r := f.Row(0, 0, 18, 1)
	r.Kind, r.App = 1, "ide"
	f.MustMerge(t, r)
	apps := f.Ask(t).Insights.Apps
	if got := apps[len(apps)-1]; got.DisplayName != "New name" || got.Minutes != 1 || got.Launches != 1 {
		t.Errorf("app entry: %+v", got)
	}
}

func subjectsOnce(t *testing.T, f *Fixture) {
	var visits []store.Visit
	workspaces := []uuid.UUID{uuid.Nil, uuid.New(), uuid.New()}
	for range 50 {
		user := uuid.New()
		for _, w := range workspaces {
			visits = append(visits, store.Visit{User: user, Workspace: w})
		}
	}
	second := Open(t, f.Database, Now)
	var wait sync.WaitGroup
	answers := make([]map[store.Visit]int64, 4)
	for i := range answers {
		wait.Go(func() {
			for err := store.ErrConflict; errors.Is(err, store.ErrConflict); {
				answers[i], err = []*store.Store{f.Store, second}[i%2].Subjects(t.Context(), visits)
				if err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for _, a := range answers[1:] {
		if diff := cmp.Diff(answers[0], a); diff != "" {
			t.Errorf("two askers got different subjects:\n%s", diff)
		}
	}
	given := map[int64]store.Visit{}
	for visit, subject := range answers[0] {
		if other, taken := given[subject]; taken || subject < 1 {
			t.Errorf("subject %d is that of %s and of %s", subject, visit, other)
		}
		given[subject] = visit
		at := answers[0][store.Visit{User: visit.User}]
		if minute.PersonOf(subject) != minute.PersonOf(at) || (subject == at) != (visit.Workspace == uuid.Nil) {
			t.Errorf("subject %d of %s, at no workspace %d", subject, visit, at)
		}
	}
	if len(given) != len(visits) {
		t.Errorf("%d subjects of %d visits", len(given), len(visits))
	}
}

func regionsOfSeats(t *testing.T, f *Fixture) {
	subject := f.Subject[f.Users[0]] + 1
	touch := func(halfHour int32, region string) {
		t.Helper()
		reached := &store.SeatRegion{Subject: subject, HalfHour: halfHour, Region: region}
		if err := f.TouchAgents(t.Context(), []store.AgentState{{AgentID: f.Agents[0][0], Reached: reached}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, known, err := f.NewDirectory().Place(t.Context(), f.Agents[0][0]); err != nil || !known {
		t.Fatal(known, err)
	}
	touch(10, "fra")
	touch(11, "fra") // as before
	touch(12, "nyc")
	touch(12, "sin") // the last one of a half hour counts
	touch(20, "fra")
	data, err := f.MyData(t.Context(), f.Users[0])
	if err != nil {
		t.Fatal(err)
	}
	var want []store.MyRegion
	for halfHour, region := range []string{10: "fra", 12: "sin", 20: "fra"} {
		if region != "" {
			want = append(want, store.MyRegion{
				At: time.Unix(int64(halfHour)*1800, 0).UTC(), Workspace: f.Workspaces[0][0], Region: region,
			})
		}
	}
	if diff := cmp.Diff(want, data.Regions); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
}
