package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// What is stored is not written again, and whatever differs from it is.
func unstoredItems(t *testing.T, f *Fixture) {
	at := store.At(Now.Add(-time.Hour))
	c := store.Catalog{
		Organizations: []store.Organization{{ID: f.Organization, Name: "acme"}, {ID: uuid.New(), Name: "other"}},
		Templates:     []store.Template{{ID: f.Templates[0], OrganizationID: f.Organization, Name: "template0", CreatedAt: at}},
		Versions: []store.TemplateVersion{
			{ID: uuid.New(), TemplateID: f.Templates[0], Name: "v1", CreatedAt: at, Parameters: []store.Parameter{
				{Name: "region", Type: "string", Options: []store.ParameterOption{{Name: "Europe", Value: "eu"}}},
			}},
		},
		Users: []store.User{
			{ID: f.Users[0], Username: "user0", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization}},
		},
		Groups: []store.Group{
			{ID: uuid.New(), OrganizationID: f.Organization, Name: "a", UserIDs: f.Users[:2]},
			{ID: uuid.New(), OrganizationID: f.Organization, Name: "b"},
		},
		Workspaces: []store.Workspace{
			{ID: f.Workspaces[0][0], OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "w"},
			{ID: f.Workspaces[0][1], OwnerID: f.Users[2], TemplateID: f.Templates[0], Name: "w"},
		},
		Agents: []store.Agent{{ID: f.Agents[0][0], WorkspaceID: f.Workspaces[0][0], Name: "main", CreatedAt: at, DeletedAt: at}},
		Apps: []store.App{
			{AgentID: f.Agents[0][0], Slug: "code", DisplayName: "Code"}, {AgentID: f.Agents[0][0], Slug: "docs", DisplayName: "Docs"},
		},
	}
	unstored := func(c store.Catalog) store.Catalog {
		fresh, err := f.UnstoredCatalog(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	want := c
	want.Organizations, want.Users, want.Workspaces = c.Organizations[1:], nil, c.Workspaces[1:]
	if diff := cmp.Diff(want, unstored(c), cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
	f.apply(t, c)
	if diff := cmp.Diff(store.Catalog{}, unstored(c), cmpopts.EquateEmpty()); diff != "" {
		t.Fatal("after it was written:", diff)
	}
	c.Groups = slices.Clone(c.Groups)
	c.Groups[0].UserIDs = f.Users[1:2]
	if fresh := unstored(c); len(fresh.Groups) != 1 || fresh.Groups[0].Name != "a" {
		t.Errorf("a group that lost a member: %v", fresh.Groups)
	}
	if ids, err := f.GroupsOf(t.Context(), f.Organization); err != nil || len(ids) != 2 {
		t.Errorf("groups of the organization: %v, %v", ids, err)
	}

	build := store.Build{
		ID: uuid.New(), At: at, WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], Number: 1, Transition: "start",
		Status: "running", CreatedAt: at,
	}
	change := store.UserStatusChange{UserID: f.Users[0], At: at, Status: "dormant"}
	for _, left := range []int{1, 0} {
		builds, err := f.UnstoredBuilds(t.Context(), []store.Build{build})
		changes, err2 := f.UnstoredStatusChanges(t.Context(), []store.UserStatusChange{change})
		if err != nil || err2 != nil || len(builds) != left || len(changes) != left {
			t.Fatalf("%d builds and %d changes, want %d of each: %v %v", len(builds), len(changes), left, err, err2)
		}
		if err := f.RecordBuilds(t.Context(), builds); err != nil {
			t.Fatal(err)
		}
		if err := f.RecordStatusChanges(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	build.At = store.At(Now)
	if builds, err := f.UnstoredBuilds(t.Context(), []store.Build{build}); err != nil || len(builds) != 1 {
		t.Errorf("a newer event of a build: %v, %v", builds, err)
	}
}

// The roles of another system are given and taken as they are there; what was granted here stays.
func rolesOfAnotherSystem(t *testing.T, f *Fixture) {
	binding := func(user int, role access.Role, template uuid.UUID) store.RoleBinding {
		return store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[user], Role: role, TemplateID: template}
	}
	here := binding(0, access.RoleAuditor, uuid.Nil)
	if _, err := f.GrantRole(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	admin := binding(1, access.RoleTemplateAdmin, f.Templates[0])
	all := func(store.RoleBinding) bool { return true }
	for _, step := range []struct {
		name         string
		source       string
		bindings     []store.RoleBinding
		covers       func(store.RoleBinding) bool
		dry          bool
		given, taken int
		left         int
	}{
		{"a dry run", "coder", []store.RoleBinding{here, admin}, all, true, 1, 0, 1},
		{"the first time", "coder", []store.RoleBinding{here, admin}, all, false, 1, 0, 2},
		{"again", "coder", []store.RoleBinding{here, admin}, all, false, 0, 0, 2},
		{"another system", "other", nil, all, false, 0, 0, 2},
		{"a part without any", "coder", nil, func(b store.RoleBinding) bool { return b.TemplateID == f.Templates[1] }, false, 0, 0, 2},
		{"a change", "coder", []store.RoleBinding{binding(2, access.RoleOwner, uuid.Nil)}, all, false, 1, 1, 2},
		{"nobody has any", "coder", nil, all, false, 0, 1, 1},
	} {
		given, taken, err := f.SyncRoles(t.Context(), step.source, step.bindings, step.covers, step.dry)
		if err != nil || given != step.given || taken != step.taken {
			t.Errorf("%s: gave %d, took %d, %v; want %d and %d", step.name, given, taken, err, step.given, step.taken)
		}
		if left, err := f.RoleBindings(t.Context()); err != nil || len(left) != step.left {
			t.Errorf("%s: %d bindings are left, %v; want %d", step.name, len(left), err, step.left)
		}
	}
	if _, _, err := f.SyncRoles(t.Context(), "coder", []store.RoleBinding{binding(0, "chief", uuid.Nil)}, all, false); err == nil {
		t.Error("an unknown role was taken over")
	}
}

// One of those who want to follow a system does, until it ends or is silent for its term.
func following(t *testing.T, f *Fixture) {
	follow := func(source, follower string, term time.Duration, want bool) {
		t.Helper()
		if follows, err := f.Follow(t.Context(), source, follower, term); err != nil || follows != want {
			t.Errorf("%s follows %s: %v, %v", follower, source, follows, err)
		}
	}
	followed := func(want ...store.Followed) {
		t.Helper()
		got, err := f.Followed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("followed: %s", diff)
		}
	}
	if err := f.SetImportedUntil(t.Context(), "old", Now, Now); err != nil {
		t.Fatal(err)
	}
	followed()
	follow("coder", "a", time.Hour, true)
	follow("coder", "b", time.Hour, false)
	follow("coder", "a", time.Hour, true)
	follow("other", "b", -time.Second, true)
	follow("other", "a", time.Hour, true) // b was silent
	if err := f.SetImportedUntil(t.Context(), "coder", Now.Add(time.Minute), Now); err != nil {
		t.Fatal(err)
	}
	follow("coder", "b", time.Hour, false)
	followed(store.Followed{Source: "coder", UsageUntil: Now.Add(time.Minute), Until: Now}, store.Followed{Source: "other"})
	end := func(follower string, told bool) {
		t.Helper()
		if err := f.EndFollowing(t.Context(), "coder", follower, told); err != nil {
			t.Fatal(err)
		}
	}
	end("b", false)
	follow("coder", "c", time.Hour, false)
	end("b", true)
	end("a", true)
	followed(store.Followed{Source: "other"})
	follow("coder", "c", time.Hour, true)
	end("c", false)
	follow("coder", "c", time.Hour, true)
	if err := f.BeginImport(t.Context(), "coder"); err != nil {
		t.Fatal(err)
	}
	followed(store.Followed{Source: "coder"}, store.Followed{Source: "other"})
	follow("coder", "c", -time.Hour, true) // and was killed
	followed(store.Followed{Source: "coder", UsageUntil: Now.Add(time.Minute), Until: Now}, store.Followed{Source: "other"})
	if got, err := f.ImportedUntil(t.Context(), "coder"); err != nil || !got.Equal(Now) {
		t.Errorf("imported until %v, %v", got, err)
	}
}

func importedUntil(t *testing.T, f *Fixture) {
	for _, want := range []time.Time{{}, Now, Now.Add(time.Hour)} {
		if !want.IsZero() {
			if err := f.SetImportedUntil(t.Context(), "coder", want, want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := f.ImportedUntil(t.Context(), "coder"); err != nil || !got.Equal(want) {
			t.Errorf("imported until %v, %v; want %v", got, err, want)
		}
	}
}

// The newest first import counts, from when it began.
func firstImport(t *testing.T, f *Fixture) {
	since := func(moment time.Time, want time.Time) {
		t.Helper()
		if got, err := f.FirstImportSince(t.Context(), moment); err != nil || !got.Equal(want) {
			t.Errorf("first import since %v: %v, %v; want %v", moment, got, err, want)
		}
	}
	since(time.Time{}, time.Time{})
	if err := f.RecordAudit(t.Context(), store.KindCommandLine, uuid.Nil, "import coder", "from=coder"); err != nil {
		t.Fatal(err)
	}
	since(time.Time{}, time.Time{})
	if err := f.BeginFirstImport(t.Context(), "coder"); err != nil {
		t.Fatal(err)
	}
	begun, err := f.FirstImportSince(t.Context(), time.Time{})
	if err != nil || begun.IsZero() {
		t.Fatalf("%v, %v", begun, err)
	}
	since(begun, begun)
	since(begun.Add(time.Second), time.Time{})
}
