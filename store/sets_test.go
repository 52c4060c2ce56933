package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// newcomers is a catalog of users of an organization who are new, each with a workspace, an agent and an app.
func newcomers(n int, organization, template uuid.UUID) (c store.Catalog) {
	for i := range n {
		owner, workspace, agent := uuid.New(), uuid.New(), uuid.New()
		c.Users = append(c.Users, store.User{
			ID: owner, Username: fmt.Sprintf("new-%d", i), Kind: store.Human, Status: "active",
			OrganizationIDs: []uuid.UUID{organization},
		})
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: workspace, OwnerID: owner, TemplateID: template, Name: "main"})
		c.Agents = append(c.Agents, store.Agent{ID: agent, WorkspaceID: workspace, Name: "main"})
		c.Apps = append(c.Apps, store.App{AgentID: agent, Slug: fmt.Sprintf("app-%d", i), DisplayName: "App"})
		c.Groups = append(c.Groups, store.Group{ID: uuid.New(), OrganizationID: organization, Name: "of one", UserIDs: []uuid.UUID{owner}})
	}
	return c
}

// What is done to many users takes as many statements as what is done to few.
func TestStatementsDoNotGrowWithUsers(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		if err := f.EraseUser(t.Context(), f.Users[2]); err != nil { // from now on, everybody is looked for among the erased
			t.Fatal(err)
		}
		var statements atomic.Int64
		for _, count := range []func(func()) error{f.AfterWrite, f.AfterLookup, f.AfterRead} {
			if err := count(func() { statements.Add(1) }); err != nil {
				t.Fatal(err)
			}
		}
		counts := map[string][]int64{}
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(what, err)
			}
			counts[what] = append(counts[what], statements.Swap(0))
		}
		apply := func(c store.Catalog) error {
			refusals, err := f.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
			if len(refusals) > 0 {
				t.Error(refusals)
			}
			return err
		}
		for _, users := range []int{4, 80} {
			must("mode", setMode(t, f, store.PrivacyFull))
			c := newcomers(users, f.Organization, f.Templates[0])
			must("apply new users", apply(c))
			tokens, statuses := make([]store.Token, users), make([]store.UserStatusChange, users)
			builds, ids := make([]store.Build, users), make([]uuid.UUID, users)
			for i, u := range c.Users {
				ids[i] = u.ID
				tokens[i] = store.Token{PrincipalKind: access.KindUser, PrincipalID: u.ID}
				statuses[i] = store.UserStatusChange{UserID: u.ID, At: store.At(storetest.Now), Status: "dormant"}
				builds[i] = store.Build{
					ID: uuid.New(), WorkspaceID: c.Workspaces[i].ID, TemplateID: f.Templates[0], TemplateVersionID: uuid.New(),
					Parameters: []store.BuildParameter{{Name: "dotfiles", Value: "git"}},
				}
			}
			secrets, err := f.CreateTokens(t.Context(), tokens)
			must("make tokens", err)
			used := make([]string, users)
			for i, secret := range secrets {
				used[i] = secret.ID()
				if err := f.RecordAudit(t.Context(), access.KindUser, ids[i], "CreateToken", `{"id":"`+ids[i].String()+`"}`); err != nil {
					t.Fatal(err)
				}
			}
			statements.Store(0)
			must("note use of tokens", f.TouchTokens(t.Context(), used))
			must("record statuses", f.RecordStatusChanges(t.Context(), statuses))
			must("record builds", f.RecordBuilds(t.Context(), builds))
			_, err = f.Subjects(t.Context(), storetest.AtNoWorkspace(ids...))
			must("give subjects", err)
			must("mode", setMode(t, f, store.PrivacyPseudonym))
			must("apply users who get a pseudonym", apply(store.Catalog{Users: c.Users[:users/2]}))
			must("treat", f.Treat(t.Context()))
			must("apply new users under a pseudonym", apply(newcomers(users, f.Organization, f.Templates[0])))
			must("apply users with a pseudonym again", apply(c))
			var strangers []uuid.UUID
			for range users {
				strangers = append(strangers, uuid.New())
			}
			_, err = f.Subjects(t.Context(), storetest.AtNoWorkspace(strangers...))
			must("give subjects to strangers", err)
			var gone store.Deleted
			for i := range users {
				gone.Users, gone.Groups = append(gone.Users, ids[i]), append(gone.Groups, c.Groups[i].ID)
				gone.Workspaces, gone.Agents = append(gone.Workspaces, c.Workspaces[i].ID), append(gone.Agents, c.Agents[i].ID)
			}
			must("delete", apply(store.Catalog{Deleted: gone}))
			must("erase", f.EraseTogether(t.Context(), ids))
			for _, id := range ids {
				if found, err := f.Erased(t.Context(), []uuid.UUID{id}); err != nil || !found[id] {
					t.Errorf("user %s is not erased: %v", id, err)
				}
			}
			statements.Store(0)
		}
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			if n := counts[what]; n[len(n)-1] > n[len(n)/2-1] {
				t.Errorf("%s: %v statements for 4 users and for 80", what, n)
			}
		}
	})
}

// setMode sets the mode of the fixture's organization.
func setMode(t *testing.T, f *storetest.Fixture, mode store.PrivacyMode) error {
	t.Helper()
	_, err := f.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, mode)
	return err
}

// longTrail fills the audit trail with events of today by a service.
func longTrail(t testing.TB, s *store.Store, events int) {
	t.Helper()
	const event = `('%s', %d, 'service', '%s', 'GetUserActivity', '{"user_id":"%s"}')`
	for n := range slices.Chunk(slices.Repeat([]string{event}, events), 1000) {
		for i := range n {
			n[i] = fmt.Sprintf(n[i], uuid.New(), storetest.Now.UnixMicro(), uuid.Nil, uuid.New())
		}
		if err := s.ExecForTest(`INSERT INTO audit_events (id, at, principal_kind, principal_id, action, target) VALUES ` +
			strings.Join(n, ", ")); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkNewPseudonyms applies one catalog of new users in pseudonym mode: go test ./store -run '^$' -bench NewPseudonyms.
func BenchmarkNewPseudonyms(b *testing.B) {
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		for _, users := range []int{300, 2000} {
			b.Run(fmt.Sprintf("%s/users=%d", name, users), func(b *testing.B) {
				s, organization, template := storetest.Open(b, open(b), storetest.Now), uuid.New(), uuid.New()
				c := store.Catalog{
					Organizations: []store.Organization{{ID: organization, Name: "acme"}},
					Templates:     []store.Template{{ID: template, OrganizationID: organization, Name: "go"}},
				}
				anyone := store.Authority{Organization: func(uuid.UUID) bool { return true }}
				if _, err := s.ApplyCatalog(b.Context(), c, anyone); err != nil {
					b.Fatal(err)
				}
				if _, err := s.SetPrivacyMode(b.Context(), access.Principal{}, uuid.Nil, store.PrivacyPseudonym); err != nil {
					b.Fatal(err)
				}
				longTrail(b, s, 20_000)
				for b.Loop() {
					refusals, err := s.ApplyCatalog(b.Context(), newcomers(users, organization, template), anyone)
					if err != nil || len(refusals) > 0 {
						b.Fatal(err, refusals)
					}
				}
			})
		}
	}
}
