package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// openWith opens another database with the privacy key of one.
func openWith(t *testing.T, database, keyOf string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{
		Database: database, Clock: func() time.Time { return storetest.Now }, PrivacyKey: storetest.PrivacyKey(t, keyOf),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// canaries is two people of the fixture who left traces everywhere, with overlapping minutes in both templates.
type canaries struct {
	*storetest.Fixture
	visits  map[store.Visit]int64 // of everybody at the workspaces of the two, in each of which each of them used an app
	catalog store.Catalog         // that brings them back if anything does
	rows    []store.OpenRow       // as their agents report them
	words   map[string]string     // that must not be found, by what they are
}

func newCanaries(t *testing.T, database string) *canaries {
	t.Helper()
	c := &canaries{Fixture: storetest.NewFixture(t, database), words: map[string]string{}}
	key := storetest.PrivacyKey(t, database)
	version, group := uuid.New(), uuid.New()
	c.catalog = store.Catalog{
		Groups: []store.Group{
			{ID: group, OrganizationID: c.Organization, Name: "leads", UserIDs: c.Users[:]},
			{ID: uuid.New(), OrganizationID: c.Organization, Name: "alumni", Members: []store.GroupMember{
				{UserID: c.Users[0], ToAt: store.At(storetest.Now.Add(-time.Hour))},
				{UserID: c.Users[1], FromAt: store.At(storetest.Now.Add(-2 * time.Hour)), ToAt: store.At(storetest.Now.Add(-time.Hour))},
			}},
		},
		Versions: []store.TemplateVersion{{ID: version, TemplateID: c.Templates[0], Name: "v1", Parameters: []store.Parameter{
			{Name: "region", Type: "string", Options: []store.ParameterOption{{Name: "EU", Value: "eu"}}},
			{Name: "dotfiles", Type: "string"},
		}}},
	}
	var builds []store.Build
	var statuses []store.UserStatusChange
	for u, user := range c.Users[:2] {
		name := fmt.Sprintf("Kanarie-%c'\"%%", 'a'+u)
		c.words["id "+name], c.words["name "+name], c.words["pseudonym "+name] = user.String(), name, key.Pseudonym(user).String()
		c.catalog.Users = append(c.catalog.Users, store.User{
			ID: user, Username: name, AvatarURL: "https://img/" + user.String(), Kind: "human", Status: "active",
			OrganizationIDs: []uuid.UUID{c.Organization}, CreatedAt: store.At(storetest.Now.Add(-time.Hour)),
		})
		for x := range c.Templates {
			workspace, agent := c.Workspaces[x][u], c.Agents[x][u]
			c.words[fmt.Sprintf("workspace %d of %s", x, name)], c.words[fmt.Sprintf("agent %d of %s", x, name)] = workspace.String(),
				agent.String()
			c.catalog.Workspaces = append(c.catalog.Workspaces, store.Workspace{
				ID: workspace, OwnerID: user, TemplateID: c.Templates[x], Name: "home of " + name, Purpose: "ai_task",
				TTLSeconds: 28800,
			})
			c.catalog.Agents = append(c.catalog.Agents, store.Agent{
				ID: agent, WorkspaceID: workspace, Name: "agent of " + name, CreatedAt: store.At(storetest.Now.Add(-time.Hour)),
			})
			c.catalog.Apps = append(c.catalog.Apps, store.App{AgentID: agent, Slug: "wiki", DisplayName: "Wiki"})
			c.rows = append(c.rows, c.Row(x, u, 18, 0b1110), c.Row(x, u, 19, minute.Mask(0b11<<u)), c.Row(x, u, 24, 0b1))
		}
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: c.Workspaces[0][u], TemplateID: c.Templates[0], TemplateVersionID: version, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(storetest.Now.Add(-7 * time.Minute)),
			Reason: "autostart", InitiatorKind: "person", Preset: "large", Prebuild: "claimed",
			DailyCost: 7, InstanceTypes: []string{"m5.large"},
			FinishedAt: store.At(storetest.Now.Add(-5*time.Minute - time.Millisecond)),
			Parameters: []store.BuildParameter{{Name: "region", Value: "eu"}, {Name: "dotfiles", Value: "git/" + name}},
		})
		c.words["build of "+name] = builds[u].ID.String()
		statuses = append(statuses, store.UserStatusChange{
			UserID: user, At: store.At(storetest.Now.Add(-50*time.Hour - time.Second)), Status: "active",
		})
	}
	c.applyAll(t, c.catalog, 0)
	c.visit(t)
	for _, err := range []error{
		c.RecordBuilds(t.Context(), builds), c.RecordStatusChanges(t.Context(), statuses),
		c.TouchAgents(t.Context(), []store.AgentState{
			{AgentID: c.Agents[0][0], Version: "v2", FirstConnectedAt: store.At(storetest.Now), LastSeenAt: store.At(storetest.Now)},
		}),
		c.RecordAgentConditions(t.Context(), []store.AgentCondition{
			{AgentID: c.Agents[0][1], Status: "connected", LifecycleState: "ready"},
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.MustMerge(t, c.rows...)
	c.MustMerge(t, c.Row(0, 2, 18, 0b111111))
	if _, err := c.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.MustMerge(t, c.rows...)
	for u, user := range c.Users[:2] {
		name := c.catalog.Users[u].Username
		secrets, err := c.CreateTokens(t.Context(), []store.Token{
			{Name: "laptop of " + name, PrincipalKind: access.KindUser, PrincipalID: user},
			{PrincipalKind: access.KindAgent, PrincipalID: c.Agents[0][u]},
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Authenticate(t.Context(), secrets[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.SignIn(t.Context(), p, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := c.GrantRole(t.Context(), store.RoleBinding{
			PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner,
		}); err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{
			`{"principal":{"kind":"user","id":"` + strings.ToUpper(user.String()) + `"}}`,
			`{"agent_ids":["` + c.Agents[1][u].String() + `"]}`,
			`{"search":"` + strings.ReplaceAll(name, `"`, `\"`) + `"}`, `{"search":"` + fmt.Sprintf("kanarie-%cx", 'a'+u) + `"}`,
		} {
			if err := c.RecordAudit(t.Context(), access.KindUser, user, "CreateToken", target); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// visit has everybody use an app in each workspace of the two.
func (c *canaries) visit(t *testing.T) {
	t.Helper()
	var visits []store.Visit
	template := map[uuid.UUID]int{}
	for x := range c.Templates {
		for _, workspace := range c.Workspaces[x][:2] {
			template[workspace] = x
			for _, user := range c.Users {
				visits = append(visits, store.Visit{User: user, Workspace: workspace})
			}
		}
	}
	var err error
	if c.visits, err = c.Subjects(t.Context(), visits); err != nil || len(c.visits) != len(visits) {
		t.Fatalf("%d subjects of %d visits: %v", len(c.visits), len(visits), err)
	}
	for i, visit := range visits {
		r := c.Row(template[visit.Workspace], 0, 18, 1<<i)
		r.Subject, r.Kind, r.App, r.Connected = c.visits[visit], minute.App, "wiki", false
		c.rows = append(c.rows, r)
	}
}

// applyAll applies a catalog and wants a number of items refused for ever.
func (c *canaries) applyAll(t *testing.T, catalog store.Catalog, refused int) {
	t.Helper()
	refusals, err := c.ApplyCatalog(t.Context(), catalog, store.Authority{
		Organization: func(uuid.UUID) bool { return true }, ManageAccess: true,
	})
	if err != nil || len(refusals) != refused {
		t.Fatalf("%v, %d refusals, want %d: %v", err, len(refusals), refused, refusals)
	}
	for _, r := range refusals {
		if !r.Permanent || r.Reason != "the user was erased" {
			t.Errorf("refusal: %+v", r)
		}
	}
}

// totals are all answers without who it was.
type totals struct {
	Answer     storetest.Answer
	Parameters []store.ParameterUsage
	Statuses   map[string][]int64
	Facts      []store.TemplateFacts
	Running    map[uuid.UUID]time.Duration
}

func (c *canaries) totals(t *testing.T, s *store.Store) (all totals) {
	t.Helper()
	f := *c.Fixture
	f.Store = s
	all.Answer = f.Ask(t)
	midnight := storetest.Now.Truncate(24 * time.Hour)
	var errs [4]error
	all.Parameters, errs[0] = s.ParameterUsage(
		t.Context(), c.Everything, minute.Everybody, midnight, midnight.AddDate(0, 0, 1), store.Floor{},
	)
	all.Statuses, _, errs[1] = s.StatusCounts(
		t.Context(), minute.Everybody, []time.Time{midnight.AddDate(0, 0, -2), midnight.AddDate(0, 0, -1), midnight},
		midnight.AddDate(0, 0, 1),
		func([]uuid.UUID) bool { return true },
	)
	all.Facts, errs[2] = s.Facts(t.Context(), c.Everything, midnight, midnight.AddDate(0, 0, 1), midnight)
	all.Running, errs[3] = s.RunningTime(t.Context(), c.Everything, minute.Everybody, minute.NewWindow(midnight, storetest.Now))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if len(all.Running) == 0 {
		t.Fatal("no workspace was running")
	}
	for i := range all.Facts { // agents are gone, and so are workspaces from now on
		f := &all.Facts[i]
		*f = store.TemplateFacts{
			TemplateID: f.TemplateID, Workspaces: f.Workspaces, FirstUse: f.FirstUse, LastUse: f.LastUse, Starts: f.Starts,
			StartsInWindow: f.StartsInWindow,
		}
	}
	return all
}

// what is what somebody did, without who it was.
func what(u store.UserUsage) string { return fmt.Sprint(u.Minutes, u.Days, u.Templates, u.Apps) }

// same compares totals. Who was erased is somebody else, whose own text is gone.
func same(t *testing.T, when string, want, got totals) {
	t.Helper()
	diff := cmp.Diff(want, got, cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(store.UserUsage{}, "UserID", "Username", "Place", "AvatarURL", "Deleted"),
		cmpopts.IgnoreFields(store.ParameterValue{}, "Value", "Count"),
		cmpopts.SortSlices(func(a, b store.UserUsage) bool { return what(a) < what(b) }),
		cmpopts.SortSlices(func(a, b store.UserLatency) bool { return what(a.UserUsage) < what(b.UserUsage) }),
		cmp.Transformer("sum", func(values []store.ParameterValue) (n int64) {
			for _, v := range values {
				n += v.Count
			}
			return n
		}))
	if diff != "" {
		t.Errorf("%s, totals are not what they were (-before +after):\n%s", when, diff)
	}
}

// Two people who shared minutes are erased: nothing in the whole database tells of them, all totals are what they were, and they
// are still two. Whatever comes late does not bring them back, and neither does an older backup.
func TestErase(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCanaries(t, open(t))
			if err := c.EraseUser(t.Context(), uuid.New()); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("erasing nobody: %v", err)
			}
			before := c.totals(t, c.Store)
			if found := storetest.Traces(t, c.Database, c.words); len(found) < len(c.words)-2 { // pseudonyms are nowhere to begin with
				t.Fatalf("of %d words only %q are there", len(c.words), found)
			}
			made := backup(t, c.Database)
			for _, user := range c.Users[:2] {
				for range 2 {
					if err := c.EraseUser(t.Context(), user); err != nil {
						t.Fatal(err)
					}
				}
			}
			clean := func(when string, s *store.Store, database string) {
				t.Helper()
				if found := storetest.Traces(t, database, c.words); len(found) > 0 {
					t.Errorf("%s, there is still: %q", when, found)
				}
				same(t, when, before, c.totals(t, s))
			}
			clean("erased", c.Store, c.Database)
			c.checkNobodies(t)
			c.checkSeats(t)

			// Late: the catalog, events, reports of agents, and a replay of rows by who has not heard of it.
			for range 2 {
				c.applyAll(t, c.catalog, len(c.catalog.Users)+len(c.catalog.Workspaces)+len(c.catalog.Agents)+len(c.catalog.Apps))
			}
			newer := store.Workspace{ID: uuid.New(), OwnerID: c.Users[0], TemplateID: c.Templates[0], Name: "new"}
			agent := store.Agent{ID: uuid.New(), WorkspaceID: newer.ID}
			c.applyAll(t, store.Catalog{Workspaces: []store.Workspace{newer}}, 1)
			c.applyAll(t, store.Catalog{Agents: []store.Agent{agent}}, 1)
			if given, err := c.Subjects(t.Context(), storetest.AtNoWorkspace(c.Users[:]...)); err != nil || len(given) != 1 ||
				given[store.Visit{User: c.Users[2]}] == 0 {
				t.Errorf("subjects of two erased users and another: %v, %v", given, err)
			}
			if given, err := c.Subjects(t.Context(), slices.Collect(maps.Keys(c.visits))); err != nil || len(given) != 0 {
				t.Errorf("subjects at the workspaces of erased users: %v, %v", given, err)
			}
			if err := c.RecordStatusChanges(t.Context(), []store.UserStatusChange{
				{UserID: c.Users[0], At: store.At(storetest.Now), Status: "dormant"},
			}); err != nil {
				t.Error(err)
			}
			if err := c.RecordBuilds(t.Context(), []store.Build{
				{ID: uuid.New(), WorkspaceID: c.Workspaces[0][0], TemplateID: c.Templates[0], Number: 2},
			}); err != nil {
				t.Error(err)
			}
			if err := c.TouchAgents(t.Context(), []store.AgentState{{AgentID: c.Agents[0][0], Version: "v2"}}); err != nil {
				t.Error(err)
			}
			if err := c.RecordAudit(
				t.Context(), access.KindService, uuid.New(), "GrantRole", `{"principal":{"kind":"user","id":"`+c.Users[0].String()+`"}}`,
			); err != nil {
				t.Error(err)
			}
			d := c.NewDirectory()
			for _, agent := range []uuid.UUID{c.Agents[0][0], c.Agents[1][1], agent.ID} {
				_, placed, err := d.Place(t.Context(), agent)
				erased, failed := c.Erased(t.Context(), []uuid.UUID{agent})
				if err != nil || failed != nil || placed || !erased[agent] {
					t.Errorf("an agent of an erased user: placed %v, erased %v, %v, %v", placed, erased, err, failed)
				}
			}
			c.MustMerge(t, c.rows...)
			if _, err := c.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			clean("after what came late", c.Store, c.Database)

			older := newDatabases[kind](t)
			if err := restore(t, older, made); err != nil {
				t.Fatal(err)
			}
			restored := openWith(t, older, c.Database)
			if found := storetest.Traces(t, older, c.words); len(found) < len(c.words)-2 {
				t.Fatalf("of %d words the backup has only %q", len(c.words), found)
			}
			if n, err := restored.KeepErased(t.Context()); n != 2 || err != nil {
				t.Errorf("erased again: %d, %v", n, err)
			}
			clean("restored", restored, older)
			if n, err := restored.KeepErased(t.Context()); n != 0 || err != nil {
				t.Errorf("erased a third time: %d, %v", n, err)
			}
			c.checkKeys(t)
		})
	}
}

// checkNobodies wants two people without a name in place of the two.
func (c *canaries) checkNobodies(t *testing.T) {
	t.Helper()
	ids := map[uuid.UUID]bool{}
	for _, u := range c.Ask(t).Activity {
		if u.Username == store.DeletedUser && u.AvatarURL == "" {
			ids[u.UserID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d deleted users, want 2", len(ids))
	}
	events, err := c.AuditEvents(t.Context(), store.AuditFilter{Limit: 100})
	if err != nil || len(events) != 8 {
		t.Fatalf("audit trail: %d events, %v", len(events), err)
	}
	partial := 0
	for _, e := range events {
		if !ids[e.PrincipalID] {
			t.Errorf("audit event by %s, who is none of the two", e.PrincipalID)
		}
		switch {
		case strings.Contains(e.Target, `{"search":"kanarie-`): // a search for something longer
			partial++
		case !strings.Contains(e.Target, `"erased"`):
			t.Errorf("audit event: %s", e.Target)
		}
	}
	if partial != 2 {
		t.Errorf("%d searches for other names are left, want 2", partial)
	}
}

// checkSeats wants every seat at the workspace that stands in the place of the one before, and that workspace with the person of its owner.
func (c *canaries) checkSeats(t *testing.T) {
	t.Helper()
	var seats []struct {
		Subject, Owner int64
		WorkspaceID    uuid.UUID
	}
	err := storetest.OpenDB(t, c.Database).Reads.Raw(`SELECT seats.subject, seats.workspace_id, people.person AS owner FROM seats
		JOIN workspaces ON workspaces.id = seats.workspace_id JOIN people ON people.user_id = workspaces.owner_id`).Scan(&seats).Error
	if err != nil {
		t.Fatal(err)
	}
	before, now := map[int64]store.Visit{}, map[uuid.UUID]uuid.UUID{}
	for visit, subject := range c.visits {
		before[subject] = visit
	}
	for _, s := range seats {
		was, known := before[s.Subject]
		if !known {
			continue
		}
		delete(before, s.Subject)
		if at, seen := now[was.Workspace]; seen && at != s.WorkspaceID {
			t.Errorf("seats of workspace %s are at %s and at %s", was.Workspace, at, s.WorkspaceID)
		}
		now[was.Workspace] = s.WorkspaceID
		for x := range c.Templates {
			for u, workspace := range c.Workspaces[x] {
				if workspace == was.Workspace && minute.SubjectOf(s.Owner, 0) != c.Subject[c.Users[u]] {
					t.Errorf("what was workspace %s belongs to person %d", workspace, s.Owner)
				}
			}
		}
	}
	if len(before) > 0 {
		t.Errorf("seats are gone: %v", before)
	}
}

// Somebody with more builds than a statement has room for.
func TestEraseManyBuilds(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	const workspaces, each = 340, 100
	var change store.Catalog
	var builds []store.Build
	for i := range workspaces {
		id := uuid.New()
		change.Workspaces = append(change.Workspaces, store.Workspace{
			ID: id, OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: fmt.Sprint("w", i),
		})
		for n := range int64(each) {
			builds = append(builds, store.Build{
				ID: uuid.New(), At: store.At(storetest.Now), WorkspaceID: id, TemplateID: f.Templates[0], TemplateVersionID: uuid.New(),
				Number: n, Transition: "start", Status: "succeeded", CreatedAt: store.At(storetest.Now.Add(time.Duration(n) * time.Minute)),
			})
		}
	}
	if _, err := f.ApplyCatalog(t.Context(), change, store.Authority{Organization: func(uuid.UUID) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	if err := f.EraseUser(t.Context(), f.Users[0]); err != nil {
		t.Error(err)
	}
}

// A visitor who comes while the owner of a workspace is erased leaves no id of the workspace behind.
func TestVisitBesideErasure(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			second := openWith(t, f.Database, f.Database)
			words := map[string]string{"user": f.Users[0].String(), "workspace": f.Workspaces[0][0].String()}
			var visiting sync.WaitGroup
			erased := make(chan struct{})
			var before, after atomic.Int64
			for _, s := range []*store.Store{f.Store, second, f.Store, second} {
				visiting.Go(func() {
					for end := false; !end; {
						select {
						case <-erased:
							end = true // once more, now that it is gone
						default:
						}
						visit := store.Visit{User: uuid.New(), Workspace: f.Workspaces[0][0]}
						given, err := s.Subjects(t.Context(), []store.Visit{visit, {User: f.Users[1], Workspace: visit.Workspace}})
						switch {
						case err != nil:
							t.Error(err)
							return
						case len(given) == 2 && end:
							t.Error("a seat at a workspace that was erased")
						case len(given) == 2:
							before.Add(1)
						default:
							after.Add(1)
						}
					}
				})
			}
			for before.Load() < 10 && !t.Failed() {
				time.Sleep(time.Millisecond)
			}
			if err := f.EraseUser(t.Context(), f.Users[0]); err != nil {
				t.Error(err)
			}
			close(erased)
			visiting.Wait()
			if after.Load() == 0 {
				t.Error("nobody came after the erasure")
			}
			if found := storetest.Traces(t, f.Database, words); len(found) > 0 {
				t.Errorf("there is still: %q", found)
			}
			var lost int
			err := f.QueryForTest(`SELECT COUNT(*) FROM seats WHERE workspace_id NOT IN (SELECT id FROM workspaces)`, &lost)
			if err != nil || lost > 0 {
				t.Errorf("%d seats at no workspace, %v", lost, err)
			}
		})
	}
}

// checkKeys opens the database without the key and with another one.
func (c *canaries) checkKeys(t *testing.T) {
	t.Helper()
	keyless, err := store.Open(t.Context(), store.Options{Database: c.Database})
	if err != nil {
		t.Fatal(err)
	}
	defer keyless.Close()
	for what, f := range map[string]func() error{
		"keep":  func() error { _, err := keyless.KeepErased(t.Context()); return err },
		"erase": func() error { return keyless.EraseUser(t.Context(), c.Users[2]) },
		"apply": func() error {
			_, err := keyless.ApplyCatalog(t.Context(), c.catalog, store.Authority{Organization: func(uuid.UUID) bool { return true }})
			return err
		},
	} {
		if err := f(); !errors.Is(err, store.ErrNoPrivacyKey) {
			t.Errorf("%s without a key: %v", what, err)
		}
	}
	other := openWith(t, c.Database, "sqlite:"+t.Name())
	if _, err := other.KeepErased(t.Context()); err == nil || !strings.Contains(err.Error(), "another privacy key") {
		t.Errorf("with another key: %v", err)
	}
}
