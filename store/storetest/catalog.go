package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
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
	foreign, own := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{Organizations: []store.Organization{{ID: other, Name: "other"}}})
	refusals, err := f.ApplyCatalog(t.Context(), store.Catalog{
		Templates: []store.Template{
			{ID: own, OrganizationID: other, Name: "own"},
			{ID: foreign, OrganizationID: f.Organization, Name: "foreign"},
			{ID: f.Templates[0], OrganizationID: other, Name: "stolen"},
		},
		Users:   []store.User{{ID: f.Users[0], Username: "renamed", OrganizationIDs: []uuid.UUID{other}}},
		Deleted: store.Deleted{Templates: []uuid.UUID{f.Templates[1]}, Agents: []uuid.UUID{f.Agents[0][0]}},
	}, confined)
	if err != nil {
		t.Fatal(err)
	}
	if len(refusals) != 3 {
		t.Errorf("refusals: got %v, want two templates and the user", refusals)
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
		Owner: f.Users[0], Subject: f.Subject[f.Users[0]], Mode: store.PrivacyFull,
	}
	if diff := cmp.Diff(want, place()); diff != "" {
		t.Errorf("place (-want +got):\n%s", diff)
	}
	f.apply(t, store.Catalog{Workspaces: []store.Workspace{{ID: f.Workspaces[0][0], OwnerID: f.Users[1], TemplateID: f.Templates[0]}}})
	if got := place(); got.Owner != f.Users[1] || got.Subject != f.Subject[f.Users[1]] {
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

func parametersOfLatestBuilds(t *testing.T, f *Fixture) {
	version := uuid.New()
	size := store.Parameter{Name: "size", Type: "string", Options: []store.ParameterOption{{Name: "Big", Value: "big"}}}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{{
		ID: version, TemplateID: f.Templates[0],
		Parameters: []store.Parameter{size, {Name: "secret", Type: "string", Sensitive: true}, {Name: "unused"}},
	}}})
	build := func(user int, number int64, value string) store.Build {
		return store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0], TemplateVersionID: version, Number: number,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
			Parameters: []store.BuildParameter{{Name: "size", Value: value}, {Name: "secret", Value: "hunter2"}},
		}
	}
	builds := []store.Build{build(0, 1, "small"), build(0, 2, "big"), build(1, 7, "big"), build(2, 1, "small")}
	// Builds that change nothing, each newer than all others of its workspace.
	for i, other := range []struct{ transition, status string }{
		{"stop", "succeeded"},
		{"delete", "succeeded"},
		{"start", "failed"},
		{"start", "canceled"},
		{"start", "canceling"},
		{"start", "running"},
		{"start", "pending"},
	} {
		b := build(i%3, int64(10+i), "never")
		b.Transition, b.Status = other.transition, other.status
		builds = append(builds, b)
	}
	same := build(2, 1, "big") // of the same number as another one, with a lower id
	same.ID = uuid.UUID{15: 1}
	builds = append(builds, same)
	for range 2 { // events are repeated
		if err := f.RecordBuilds(t.Context(), builds); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.ParameterUsage(t.Context(), f.Everything, Now, Now.Add(time.Minute), store.Floor{})
	if err != nil {
		t.Fatal(err)
	}
	want := []store.ParameterUsage{
		{
			Templates: f.Templates[:1], Definition: store.Parameter{Name: "secret", Type: "string", Sensitive: true},
			Values: []store.ParameterValue{{Value: "", Count: 3}},
		},
		{
			Templates: f.Templates[:1], Definition: size,
			Values: []store.ParameterValue{{Value: "big", Count: 2}, {Value: "small", Count: 1, Orphan: true}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
	// What was sensitive when the workspaces were built is not there to be shown later.
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: version, TemplateID: f.Templates[0], Parameters: []store.Parameter{{Name: "secret", Type: "string"}}},
	}})
	if got, err = f.ParameterUsage(t.Context(), f.Everything, Now, Now.Add(time.Minute), store.Floor{}); err != nil {
		t.Fatal(err)
	}
	want = []store.ParameterUsage{{
		Templates: f.Templates[:1], Definition: store.Parameter{Name: "secret", Type: "string"},
		Values: []store.ParameterValue{{Value: "", Count: 3}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters, no longer sensitive (-want +got):\n%s", diff)
	}
}

func tokens(t *testing.T, f *Fixture) {
	secrets, err := f.CreateTokens(t.Context(), []store.Token{
		{Name: "u", PrincipalKind: access.KindUser, PrincipalID: f.Users[0]},
		{Name: "a", PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]},
		{Name: "old", PrincipalKind: access.KindUser, PrincipalID: f.Users[0], ExpiresAt: store.At(Now)},
		{Name: "gone", PrincipalKind: access.KindAgent, PrincipalID: uuid.New()},
	})
	if err != nil {
		t.Fatal(err)
	}
	user, err := f.Authenticate(t.Context(), secrets[0])
	if err != nil || user.ID != f.Users[0] || user.Kind != access.KindUser || user.Name != "user0" {
		t.Errorf("user token: %+v, %v", user, err)
	}
	agent, err := f.Authenticate(t.Context(), secrets[1])
	if err != nil || agent.Agent != f.Agents[0][0] || !agent.Holds(access.Ingest) || agent.Holds(access.ViewInsights) {
		t.Errorf("agent token: %+v, %v", agent, err)
	}
	for i, name := range map[int]string{2: "expired", 3: "of an unknown agent"} {
		if _, err := f.Authenticate(t.Context(), secrets[i]); !errors.Is(err, store.ErrUnauthenticated) {
			t.Errorf("token %s: %v", name, err)
		}
	}
	if _, err := f.Authenticate(t.Context(), access.NewToken()); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("unknown token: %v", err)
	}
	later := Open(t, f.Database, Now.Add(30*time.Second))
	for _, s := range []*store.Store{f.Store, later} {
		if err := s.TouchTokens(t.Context(), []string{user.Token}); err != nil {
			t.Error(err)
		}
	}
	listed, err := f.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range listed {
		if used := token.LastUsedAt.Equal(Now); used != (token.ID == user.Token) { // the second time was too soon to be noted
			t.Errorf("token %s was last used at %v", token.Name, token.LastUsedAt)
		}
	}
	for range 2 {
		if err := f.RevokeToken(t.Context(), secrets[0].ID()); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Authenticate(t.Context(), secrets[0]); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("revoked token: %v", err)
	}
	if err := f.RevokeToken(t.Context(), "nothing"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("revoking an unknown token: %v", err)
	}
	f.apply(t, store.Catalog{Deleted: store.Deleted{Agents: []uuid.UUID{f.Agents[0][0]}}})
	if _, err := f.Authenticate(t.Context(), secrets[1]); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("token of a deleted agent: %v", err)
	}
	list, err := f.Tokens(t.Context())
	if err != nil || len(list) != 4 || list[0].Hash != nil {
		t.Errorf("tokens: %+v, %v", list, err)
	}
}

func roles(t *testing.T, f *Fixture) {
	group := uuid.New()
	f.apply(t, store.Catalog{
		Groups: []store.Group{{ID: group, OrganizationID: f.Organization, Name: "leads", UserIDs: []uuid.UUID{f.Users[0], f.Users[1]}}},
	})
	binding := store.RoleBinding{
		PrincipalKind: store.KindGroup, PrincipalID: group, Role: access.RoleTemplateAdmin, TemplateID: f.Templates[0],
	}
	first, err := f.GrantRole(t.Context(), binding)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.GrantRole(t.Context(), binding); err != nil || again.ID != first.ID {
		t.Errorf("the same grant again: %+v, %v; want %v", again, err, first.ID)
	}
	var invalid *access.BindingError
	_, err = f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: "user", Role: "emperor"})
	if !errors.As(err, &invalid) || invalid.Field != "role" {
		t.Errorf("unknown role: %v", err)
	}
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindUser, PrincipalID: f.Users[0]}})
	if err != nil {
		t.Fatal(err)
	}
	sees := func() bool {
		t.Helper()
		p, err := f.Authenticate(t.Context(), secrets[0])
		if err != nil {
			t.Fatal(err)
		}
		organizations, err := f.OrganizationsOf(t.Context(), f.Templates[:1])
		if err != nil {
			t.Fatal(err)
		}
		_, err = access.Templates(p, access.ViewInsights, f.Templates[:1], organizations)
		return err == nil
	}
	if !sees() {
		t.Error("a member of the group does not see the template")
	}
	without := store.Catalog{Groups: []store.Group{{ID: group, OrganizationID: f.Organization, UserIDs: []uuid.UUID{f.Users[1]}}}}
	weak := anyone
	weak.ManageAccess = false
	if refusals, err := f.ApplyCatalog(t.Context(), without, weak); err != nil || len(refusals) != 1 {
		t.Errorf("changing the members of a group with grants: %v, %v; want a refusal", refusals, err)
	}
	if f.apply(t, without); sees() {
		t.Error("who left the group still sees the template")
	}
	if err := f.RevokeRole(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	if err := f.RevokeRole(t.Context(), first.ID); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("revoking twice: %v", err)
	}
}

func subjectsOnce(t *testing.T, f *Fixture) {
	users := make([]uuid.UUID, 50)
	for i := range users {
		users[i] = uuid.New()
	}
	second := Open(t, f.Database, Now)
	var wait sync.WaitGroup
	answers := make([]map[uuid.UUID]int64, 4)
	for i := range answers {
		wait.Go(func() {
			var err error
			if answers[i], err = []*store.Store{f.Store, second}[i%2].Subjects(t.Context(), users); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, a := range answers[1:] {
		if diff := cmp.Diff(answers[0], a); diff != "" {
			t.Errorf("two askers got different subjects:\n%s", diff)
		}
	}
	owners := map[int64]uuid.UUID{}
	for user, subject := range answers[0] {
		if other, taken := owners[subject]; taken || subject < 1 {
			t.Errorf("subject %d is that of %s and of %s", subject, user, other)
		}
		owners[subject] = user
	}
}

// Values and options are seen in the light of what the newest versions offer.
func parametersOfNewestVersions(t *testing.T, f *Fixture) {
	options := func(values ...string) (list []store.ParameterOption) {
		for _, v := range values {
			list = append(list, store.ParameterOption{Name: strings.ToUpper(v), Value: v})
		}
		return list
	}
	old, current := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: old, TemplateID: f.Templates[0], CreatedAt: store.At(Now.Add(-time.Hour)), Parameters: []store.Parameter{
			{Name: "gone", Type: "string"},
			{Name: "later secret", Type: "string"},
			{Name: "region", Type: "string", Options: options("eu", "us", "mars")},
			{Name: "tools", Type: "list(string)", Options: options("go", "git", "vi")},
			{Name: "zone", Type: "string"},
		}},
		{ID: current, TemplateID: f.Templates[0], CreatedAt: store.At(Now), Parameters: []store.Parameter{
			{Name: "later secret", Type: "string", Sensitive: true, DefaultValue: "hunter1"},
			{Name: "region", Type: "string", Options: options("eu", "us")},
			{Name: "tools", Type: "list(string)", Options: options("go", "git")},
			{Name: "zone", Type: "string", DefaultValue: "b"},
		}},
	}})
	build := func(user int, values ...string) store.Build {
		b := store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][user], TemplateID: f.Templates[0], TemplateVersionID: old, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		}
		for i, name := range []string{"region", "tools", "zone", "gone", "later secret"} {
			b.Parameters = append(b.Parameters, store.BuildParameter{Name: name, Value: values[i]})
		}
		return b
	}
	err := f.RecordBuilds(t.Context(), []store.Build{
		build(0, "eu", `["go","git"]`, "a", "x", "hunter2"), build(1, "mars", `["go","vi"]`, "b", "x", "hunter3"),
		build(2, "eu", "not a list", "b", "x", "hunter3"),
	})
	if err != nil {
		t.Fatal(err)
	}
	usage, err := f.ParameterUsage(t.Context(), f.Everything, Now, Now.Add(time.Minute), store.Floor{})
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Values  []store.ParameterValue
		Unused  []string
		Default string
	}
	got := map[string]entry{}
	for _, u := range usage {
		got[u.Definition.Name] = entry{u.Values, u.Unused, u.Default}
	}
	want := map[string]entry{
		"gone":         {[]store.ParameterValue{{Value: "x", Count: 3, Orphan: true}}, nil, ""},
		"later secret": {[]store.ParameterValue{{Count: 3}}, nil, ""},
		"region":       {[]store.ParameterValue{{Value: "eu", Count: 2}, {Value: "mars", Count: 1, Orphan: true}}, []string{"us"}, ""},
		"tools": {[]store.ParameterValue{
			{Value: `["go","git"]`, Count: 1},
			{Value: `["go","vi"]`, Count: 1, Orphan: true},
			{Value: "not a list", Count: 1, Orphan: true},
		}, nil, ""},
		"zone": {[]store.ParameterValue{{Value: "a", Count: 1}, {Value: "b", Count: 2}}, nil, "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s", diff)
	}
}

// hiddenValues: values that look like credentials are counted together, but for what the template offers, what five owners chose, and
// what was released in the template.
func hiddenValues(t *testing.T, f *Fixture) {
	const token, url, git = "ghp_0123456789abcdefghijABCDEFGHIJ012345", "https://ada:hunter2@acme.io/x", "https://acme.io/x"
	offered := store.Parameter{
		Name: "offered", Type: "string", Options: []store.ParameterOption{{Name: "URL", Value: url}, {Name: "B", Value: "b"}},
	}
	old, version, elsewhere := uuid.New(), uuid.New(), uuid.New()
	change := store.Catalog{Versions: []store.TemplateVersion{
		{ID: old, TemplateID: f.Templates[0], CreatedAt: store.At(Now.Add(-time.Hour)), Parameters: []store.Parameter{offered}},
	}}
	offered.DefaultValue = token
	parameters := []store.Parameter{offered, {Name: "text", Type: "string"}, {
		Name: "list", Type: "list(string)", Options: []store.ParameterOption{{Name: "A", Value: "a"}, {Name: "B", Value: "b"}},
	}}
	change.Versions = append(change.Versions,
		store.TemplateVersion{ID: version, TemplateID: f.Templates[0], CreatedAt: store.At(Now), Parameters: parameters},
		store.TemplateVersion{ID: elsewhere, TemplateID: f.Templates[1], CreatedAt: store.At(Now), Parameters: parameters},
	)
	var more [6]uuid.UUID // workspaces of five owners
	for i := range more {
		more[i] = uuid.New()
		owner := uuid.UUID{15: byte(min(i+1, 5))}
		if i < 5 {
			change.Users = append(change.Users, store.User{ID: owner, Username: fmt.Sprint("owner", i), Kind: "human", Status: "active"})
		}
		change.Workspaces = append(change.Workspaces, store.Workspace{ID: more[i], OwnerID: owner, TemplateID: f.Templates[0]})
	}
	f.apply(t, change)
	number := int64(0)
	start := func(workspace, template, version uuid.UUID, values ...string) {
		t.Helper()
		number++
		b := store.Build{
			ID: uuid.New(), WorkspaceID: workspace, TemplateID: template, TemplateVersionID: version, Number: number,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		}
		for i := 0; i < len(values); i += 2 {
			b.Parameters = append(b.Parameters, store.BuildParameter{Name: values[i], Value: values[i+1]})
		}
		if err := f.RecordBuilds(t.Context(), []store.Build{b}); err != nil {
			t.Fatal(err)
		}
	}
	// usage is what is told of a parameter, where all is told and where each atom of one person is.
	usage := func(name string) string {
		t.Helper()
		day := []minute.Window{minute.NewWindow(Now, Now.Add(24*time.Hour))}
		var answers [2]string
		for i, floor := range []store.Floor{{}, {People: 1, Days: day}} {
			all, err := f.ParameterUsage(t.Context(), f.Everything, Now, Now.Add(24*time.Hour), floor)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range all {
				for _, v := range u.Values {
					if u.Definition.Name == name {
						answers[i] += strings.TrimSuffix(fmt.Sprintf("%s:%d:%v ", v.Value, v.Count, v.Hidden), "false ")
					}
				}
			}
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: told is %q, and published %q", name, answers[0], answers[1])
		}
		return answers[0]
	}
	check := func(what, name, want string) {
		t.Helper()
		if got := usage(name); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	release := func(template uuid.UUID, name string, released, before bool) {
		t.Helper()
		if previous, err := f.SetParameterRelease(t.Context(), template, name, released); err != nil || previous != before {
			t.Errorf("release of %s: %v before, %v", name, previous, err)
		}
	}
	start(f.Workspaces[0][0], f.Templates[0], version, "text", token, "offered", token, "list", `["a","`+url+`"]`)
	start(f.Workspaces[0][1], f.Templates[0], version, "text", url, "offered", url, "list", `["a","b"]`)
	start(f.Workspaces[0][2], f.Templates[0], version, "text", git, "offered", git)
	start(f.Workspaces[1][0], f.Templates[1], elsewhere, "text", store.HiddenValue, "offered", url+"?")
	check("free text", "text", "(hidden):1:(hidden):2:true "+git+":1:")
	check("what is offered", "offered", "(hidden):1:true "+token+":1:"+git+":1:"+url+":1:")
	check("within lists", "list", `(hidden):1:true ["a","b"]:1:`)

	// A list is one whatever its parameter is, and whichever parameter had it first.
	const key = `["a","Q7Rk2WXbT4-q7Rk21XbT4mW9sLcV1zHdY"]`
	start(f.Workspaces[0][2], f.Templates[0], version, "text", key, "list", key, "offered", git)
	check("a list in free text", "text", "(hidden):1:(hidden):3:true ")
	check("the same list in a list", "list", `(hidden):2:true ["a","b"]:1:`)
	start(f.Workspaces[0][2], f.Templates[0], version, "text", git, "offered", git)

	start(f.Workspaces[0][1], f.Templates[0], old, "offered", token)
	check("what the newest version offers", "offered", "(hidden):1:true "+token+":2:"+git+":1:")

	start(f.Workspaces[1][0], f.Templates[1], elsewhere, "text", token)
	release(f.Templates[1], "list", true, false)
	check("another parameter is released", "text", "(hidden):2:true "+git+":1:")
	release(f.Templates[1], "text", true, false)
	release(f.Templates[1], "text", true, true)
	check("released in one template", "text", "(hidden):1:true "+token+":1:"+git+":1:")
	release(f.Templates[1], "text", false, true)
	release(f.Templates[1], "text", false, false)
	check("no longer released", "text", "(hidden):2:true "+git+":1:")
	for _, unknown := range []struct {
		template uuid.UUID
		name     string
	}{{f.Templates[0], "nothing"}, {uuid.New(), "text"}} {
		if _, err := f.SetParameterRelease(t.Context(), unknown.template, unknown.name, true); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("release of what is not there: %v", err)
		}
	}

	// Five workspaces of four owners.
	for _, w := range append(more[:3:3], more[4:]...) {
		start(w, f.Templates[0], version, "text", url)
	}
	check("chosen by four", "text", "(hidden):7:true "+git+":1:")
	start(more[3], f.Templates[0], version, "text", url)
	check("chosen by five", "text", "(hidden):2:true "+git+":1:"+url+":6:")
}

// hiddenValuesTakeTime: a question about values that are long to look at ends with its deadline.
func hiddenValuesTakeTime(t *testing.T, f *Fixture) {
	version := store.TemplateVersion{ID: uuid.New(), TemplateID: f.Templates[0]}
	var builds []store.Build
	for _, workspace := range f.Workspaces[0] {
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: workspace, TemplateID: f.Templates[0], TemplateVersionID: version.ID, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(Now),
		})
	}
	const marks = "gl cio oy2 npm_ hf_ sk- :// == xox AT[AC]TT3 ATBB ASIA AIza pat shp key- -us SK dp. b. s. eyJ _auth secret_ " +
		"token= k_live_ "
	for i := range 60 {
		name := fmt.Sprint("p", i)
		version.Parameters = append(version.Parameters, store.Parameter{Name: name, Type: "string"})
		for j := range builds {
			value := strings.Repeat(marks, 8<<10/len(marks)) + fmt.Sprint(i, j)
			builds[j].Parameters = append(builds[j].Parameters, store.BuildParameter{Name: name, Value: value})
		}
	}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{version}})
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.ParameterUsage(ctx, f.Everything, Now, Now.Add(time.Minute), store.Floor{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline a question ends with %v", err)
	}
}

// firstToken: of several who ask at once one gets it, and nobody ever after, also when the owner is gone.
func firstToken(t *testing.T, f *Fixture) {
	second := Open(t, f.Database, Now)
	var wait sync.WaitGroup
	secrets, errs := make([]access.Token, 4), make([]error, 4)
	for i := range secrets {
		wait.Go(func() { secrets[i], errs[i] = []*store.Store{f.Store, second}[i%2].FirstToken(t.Context()) })
	}
	wait.Wait()
	var won []access.Token
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, secrets[i])
		case !errors.Is(err, store.ErrNotFirst):
			t.Error(err)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d got a first token", len(won))
	}
	p, err := f.Authenticate(t.Context(), won[0])
	if err != nil || !p.HoldsEverywhere(access.ManageAccess) {
		t.Fatalf("the first owner: %v, %v", p, err)
	}
	bindings, err := f.RoleBindings(t.Context())
	if err != nil || len(bindings) != 1 {
		t.Fatal(bindings, err)
	}
	if err := f.RevokeRole(t.Context(), bindings[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.FirstToken(t.Context()); !errors.Is(err, store.ErrNotFirst) {
		t.Errorf("after the owner is gone: %v", err)
	}
}

// firstTokenBesideOwner: an owner who was made in another way was first.
func firstTokenBesideOwner(t *testing.T, f *Fixture) {
	_, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.FirstToken(t.Context()); !errors.Is(err, store.ErrNotFirst) {
		t.Errorf("beside an owner: %v", err)
	}
}
