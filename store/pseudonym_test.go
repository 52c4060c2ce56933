package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// Whoever has the database alone finds nobody in it whose mode hides names: neither who was there before the mode was set, nor who
// came after. What people did stays theirs, and the key leads back.
func TestPseudonyms(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newHidden(t, open(t))
			before := p.activity(t)
			if _, err := p.SetPrivacyMode(t.Context(), access.Principal{}, p.Organization, store.PrivacyPseudonym); err != nil {
				t.Fatal(err)
			}
			if left, err := p.UsersToHide(t.Context()); err != nil || left != len(p.Users)+1 {
				t.Errorf("%d users to hide, %v", left, err)
			}
			p.treat(t)
			p.check(t, before)

			// Everything once more, as the control plane sends it every day, and one more person.
			p.tell(t)
			p.check(t, before)
			newcomer := uuid.New()
			p.words["newcomer"], p.words["name of newcomer"] = newcomer.String(), "Kanarie-n"
			p.apply(t, store.Catalog{Users: []store.User{
				{ID: newcomer, Username: "Kanarie-n", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{p.Organization}},
			}})
			if _, err := p.FindPrincipal(t.Context(), access.KindUser, newcomer); err != nil {
				t.Error(err)
			}
			p.check(t, before)

			// Who is erased is gone under the pseudonym as well, and does not come back under it.
			pseudonym := p.key.Pseudonym(p.Users[2])
			if err := p.EraseUser(t.Context(), p.Users[2]); err != nil {
				t.Fatal(err)
			}
			if who, err := p.ResolvePseudonym(t.Context(), pseudonym); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("the erased one stands for %v, %v", who, err)
			}
			if err := p.Treat(t.Context()); err != nil {
				t.Fatal(err)
			}
			refusals, err := p.ApplyCatalog(t.Context(), store.Catalog{Users: []store.User{{
				ID: p.Users[2], Username: "Kanarie-2", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{p.Organization},
			}}}, anyone)
			if err != nil || len(refusals) != 1 || !refusals[0].Permanent {
				t.Errorf("the erased one comes back: %v, %v", refusals, err)
			}
			found := storetest.Traces(t, p.Database, map[string]string{"id": p.Users[2].String(), "pseudonym": pseudonym.String()})
			if len(found) > 0 {
				t.Errorf("the database holds %v of the erased one", found)
			}
			if now := p.activity(t); len(now) != len(before) ||
				!slices.ContainsFunc(now, func(u store.UserUsage) bool { return u.Username == store.DeletedUser }) {
				t.Errorf("after an erasure: %v", now)
			}

			// Another organization may name its people, and who comes back under a mode that does is themselves again.
			if _, err := p.SetPrivacyMode(t.Context(), access.Principal{}, p.Organization, store.PrivacyFull); err != nil {
				t.Fatal(err)
			}
			p.Users[2], p.Workspaces[0][2] = uuid.New(), uuid.New() // in place of the erased one
			p.tell(t)
			named := func(users []store.UserUsage) []store.UserUsage {
				return slices.DeleteFunc(users, func(u store.UserUsage) bool {
					return u.Username != "Kanarie-0" && u.Username != "Kanarie-1"
				})
			}
			if diff := cmp.Diff(named(before), named(p.activity(t))); diff != "" {
				t.Errorf("named again (-before +now):\n%s", diff)
			}
		})
	}
}

// A workspace has no name where its owner has none or its template is of an organization that hides names, whichever it is.
func TestNamesOfWorkspacesAreHidden(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := open(t)
			p := hidden{Fixture: storetest.NewFixture(t, database), key: storetest.PrivacyKey(t, database)}
			loose, template := uuid.New(), uuid.New()
			workspace := func(name string, owner int, template uuid.UUID) store.Workspace {
				return store.Workspace{ID: uuid.New(), OwnerID: p.Users[owner], TemplateID: template, Name: name}
			}
			p.apply(t, store.Catalog{
				Organizations: []store.Organization{{ID: loose, Name: "loose"}},
				Templates:     []store.Template{{ID: template, OrganizationID: loose, Name: "loose"}},
				Users: []store.User{
					{ID: p.Users[0], Username: "hidden", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{p.Organization}},
					{ID: p.Users[1], Username: "named", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{loose}},
				},
				Workspaces: []store.Workspace{
					workspace("of-a-hidden-user", 0, template), workspace("of-a-strict-template", 1, p.Templates[0]),
					workspace("of-neither", 1, template),
				},
			})
			if _, err := p.SetPrivacyMode(t.Context(), access.Principal{}, p.Organization, store.PrivacyPseudonym); err != nil {
				t.Fatal(err)
			}
			p.treat(t)
			found := storetest.Traces(t, p.Database, map[string]string{
				"user": "of-a-hidden-user", "template": "of-a-strict-template", "neither": "of-neither",
			})
			if !slices.Equal(found, []string{"neither"}) {
				t.Errorf("the database holds the names of workspaces %q, want that of neither alone", found)
			}
		})
	}
}

// A user whose id and whose pseudonym were persons before they came together is one user: listed and counted once, with the minutes of
// both, and found whole by who asks for their data and by who erases them.
func TestPersonsOfOneUser(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newHidden(t, open(t))
			// The catalog does not know the user yet, so that the first person is that of the pseudonym. A server without the key knows no
			// pseudonym.
			mode := func(m store.PrivacyMode) {
				t.Helper()
				if _, err := p.SetPrivacyMode(t.Context(), access.Principal{}, p.Organization, m); err != nil {
					t.Fatal(err)
				}
			}
			visit := store.Visit{User: uuid.New(), Workspace: p.Workspaces[0][1]}
			pseudonym := p.key.Pseudonym(visit.User)
			mode(store.PrivacyPseudonym)
			early, err := p.Subjects(t.Context(), []store.Visit{visit})
			if err != nil {
				t.Fatal(err)
			}
			mode(store.PrivacyFull)
			keyless, err := store.Open(t.Context(), store.Options{Database: p.Database})
			if err != nil {
				t.Fatal(err)
			}
			defer keyless.Close()
			refusals, err := keyless.ApplyCatalog(t.Context(), store.Catalog{Users: []store.User{
				{ID: visit.User, Username: "Kanarie-n", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{p.Organization}},
			}}, anyone)
			if err != nil || len(refusals) > 0 {
				t.Fatal(refusals, err)
			}
			late, err := keyless.Subjects(t.Context(), storetest.AtNoWorkspace(visit.User))
			if err != nil {
				t.Fatal(err)
			}
			numbers := []int64{early[visit], late[store.Visit{User: visit.User}]}
			if minute.PersonOf(numbers[0]) == minute.PersonOf(numbers[1]) {
				t.Fatalf("one person: %v", numbers)
			}
			for i, subject := range numbers {
				used, measured := p.Row(0, 0, 18, 0b111<<i), p.Row(0, 0, 18, 1<<i)
				measured.Kind, measured.App, measured.Bins = minute.Connection, "", []byte{7}
				used.Subject, measured.Subject = subject, subject
				p.MustMerge(t, used, measured)
			}
			p.MustMerge(t, store.OpenRow{Template: p.Templates[1], Row: minute.Row{
				HalfHour: p.Row(0, 0, 19, 1).HalfHour, Subject: numbers[0], Kind: minute.Login, Minutes: 1,
			}}, store.OpenRow{Template: p.Templates[1], Row: minute.Row{
				HalfHour: p.Row(0, 0, 19, 1).HalfHour, Subject: numbers[1], Kind: minute.Login, Minutes: 1,
			}})
			mode(store.PrivacyPseudonym)
			p.treat(t)
			group := uuid.New()
			p.apply(t, store.Catalog{Groups: []store.Group{{
				ID: group, OrganizationID: p.Organization, Name: "both", Members: []store.GroupMember{{UserID: visit.User}},
			}}})
			for _, by := range []string{store.ByGroup, store.ByUser} {
				result, err := p.Query(t.Context(), store.Query{
					Scope: p.Everything, Actors: minute.People, By: []string{by},
					Window:  minute.NewWindow(storetest.Now.AddDate(0, 0, -1), storetest.Now.AddDate(0, 0, 1)),
					Filters: []store.QueryFilter{{By: store.ByGroup, Values: []string{group.String()}}},
				})
				if err != nil || len(result.Rows) == 0 || !slices.ContainsFunc(result.Rows, func(r store.QueryRow) bool {
					return r.Minutes == 4 && r.People == 1
				}) {
					t.Errorf("by %s: %+v, %v", by, result, err)
				}
			}

			holds := func(when string, who uuid.UUID, name string) {
				t.Helper()
				w := minute.NewWindow(storetest.Now.AddDate(0, 0, -1), storetest.Now.AddDate(0, 0, 1))
				total, err := p.TemplateInsights(t.Context(), p.Everything, minute.People, w, store.Floor{})
				if err != nil || total.ActiveUsers != 4 {
					t.Errorf("%s: %d active users, %v", when, total.ActiveUsers, err)
				}
				latencies, _, err := p.UserLatency(t.Context(), p.Everything, minute.People, w)
				if err != nil {
					t.Fatal(err)
				}
				var of []string
				for _, u := range latencies {
					if u.Username == name {
						of = append(of, fmt.Sprintf("%d minutes, %d samples", u.Minutes, u.Samples))
					}
				}
				if !slices.Equal(of, []string{"4 minutes, 2 samples"}) {
					t.Errorf("%s: %v", when, of)
				}
				data, err := p.MyData(t.Context(), who)
				if err != nil || len(data.Usage) != 2 || len(data.Latency) != 1 || data.Latency[0].Samples != 2 {
					t.Fatalf("%s: %+v, %+v, %v", when, data.Usage, data.Latency, err)
				}
				for _, u := range data.Usage {
					login := u.App == store.LoginApp
					if login && u.Minutes != 1 || !login && (u.Minutes != 4 || !slices.Equal(u.At, []uuid.UUID{visit.Workspace})) {
						t.Errorf("%s: %+v", when, u)
					}
				}
			}
			holds("together", pseudonym, "user-"+strings.ReplaceAll(pseudonym.String(), "-", "")[:8])
			if again, err := p.Subjects(t.Context(), []store.Visit{visit}); err != nil || again[visit] != early[visit] {
				t.Errorf("the number of new usage is %v, want that of %v, %v", again, early, err)
			}
			if err := p.EraseUser(t.Context(), visit.User); err != nil {
				t.Fatal(err)
			}
			var nobody uuid.UUID
			for _, u := range p.activity(t) {
				if u.Username == store.DeletedUser {
					nobody = u.UserID
				}
			}
			holds("erased", nobody, store.DeletedUser)
			ids := map[string]string{"id": visit.User.String(), "pseudonym": pseudonym.String()}
			if found := storetest.Traces(t, p.Database, ids); len(found) > 0 {
				t.Errorf("the database holds %v of the erased one", found)
			}
		})
	}
}

var anyone = store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true}

// hidden is a fixture whose people left traces everywhere.
type hidden struct {
	*storetest.Fixture
	key   *store.PrivacyKey
	seats map[store.Visit]int64 // of everybody at every workspace of a template
	words map[string]string     // that must not be found, by what they are
	build uuid.UUID
	token string
}

func newHidden(t *testing.T, database string) *hidden {
	t.Helper()
	p := &hidden{
		Fixture: storetest.NewFixture(t, database), key: storetest.PrivacyKey(t, database), build: uuid.New(),
		seats: map[store.Visit]int64{},
		words: map[string]string{
			"name": "Kanarie-0", "picture": "https://img/kanarie", "workspace": "home of Kanarie", "free text": "git@kanarie/dotfiles",
		},
	}
	for i, user := range p.Users {
		p.words["id "+string(rune('0'+i))] = user.String()
	}
	p.tell(t)
	err := p.RecordAudit(t.Context(), access.KindUser, p.Users[0], "GrantRole", `{"principal":{"id":"`+p.Users[0].String()+`"}}`)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := p.CreateTokens(t.Context(), []store.Token{{Name: "laptop", PrincipalKind: access.KindUser, PrincipalID: p.Users[0]}})
	if err != nil {
		t.Fatal(err)
	}
	p.token = tokens[0].Reveal()
	_, err = p.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: p.Users[0], Role: access.RoleAuditor})
	if err != nil {
		t.Fatal(err)
	}
	p.MustMerge(t, p.Row(0, 0, 18, 0b1110), p.Row(0, 1, 19, 0b11), p.Row(1, 2, 20, 0b1))
	return p
}

// visit has everybody at every workspace of a template, under the ids that the outside knows: each at the seat of before.
func (p *hidden) visit(t *testing.T) {
	t.Helper()
	var visits []store.Visit
	for _, user := range p.Users {
		for _, workspace := range p.Workspaces[0] {
			visits = append(visits, store.Visit{User: user, Workspace: workspace})
		}
	}
	subjects, err := p.Subjects(t.Context(), visits)
	if err != nil || len(subjects) != len(visits) {
		t.Fatal(subjects, err)
	}
	for visit, subject := range subjects {
		if of := p.seats[visit]; of != 0 && subject != of {
			t.Errorf("%v got another seat", visit)
		}
		p.seats[visit] = subject
	}
}

func (p *hidden) apply(t *testing.T, c store.Catalog) {
	t.Helper()
	refusals, err := p.ApplyCatalog(t.Context(), c, anyone)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
}

// tell applies the catalog and reports what happened, naming people as the outside does.
func (p *hidden) tell(t *testing.T) {
	t.Helper()
	version := uuid.NewSHA1(uuid.Nil, []byte("version"))
	c := store.Catalog{
		Groups: []store.Group{
			{ID: uuid.NewSHA1(uuid.Nil, []byte("group")), OrganizationID: p.Organization, Name: "leads", UserIDs: p.Users[:2]},
			{
				ID: uuid.NewSHA1(uuid.Nil, []byte("alumni")), OrganizationID: p.Organization, Name: "alumni", Members: []store.GroupMember{
					{UserID: p.Users[1], ToAt: store.At(storetest.Now.Add(-time.Hour))},
					{UserID: p.Users[2], FromAt: store.At(storetest.Now.Add(-time.Hour))},
				},
			},
		},
		Versions: []store.TemplateVersion{{ID: version, TemplateID: p.Templates[0], Name: "v1", Parameters: []store.Parameter{
			{Name: "region", Type: "string", Options: []store.ParameterOption{{Name: "EU", Value: "eu"}}},
			{Name: "dotfiles", Type: "string"},
		}}},
	}
	for i, user := range p.Users {
		c.Users = append(c.Users, store.User{
			ID: user, Username: "Kanarie-" + string(rune('0'+i)), AvatarURL: "https://img/kanarie", Kind: "human", Status: "active",
			OrganizationIDs: []uuid.UUID{p.Organization},
		})
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: p.Workspaces[0][i], OwnerID: user, TemplateID: p.Templates[0], Name: "home of Kanarie",
		})
	}
	p.apply(t, c)
	err := p.RecordBuilds(t.Context(), []store.Build{{
		ID: p.build, WorkspaceID: p.Workspaces[0][0], TemplateID: p.Templates[0], TemplateVersionID: version, Number: 1,
		Transition: "start", Status: "succeeded", At: store.At(storetest.Now), CreatedAt: store.At(storetest.Now),
		Parameters: []store.BuildParameter{{Name: "region", Value: "eu"}, {Name: "dotfiles", Value: "git@kanarie/dotfiles"}},
	}})
	if err == nil {
		err = p.RecordStatusChanges(t.Context(), []store.UserStatusChange{
			{UserID: p.Users[0], At: store.At(storetest.Now), Status: "active"},
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := p.RecordAudit(t.Context(), access.KindService, uuid.New(), "GrantRole", strings.ToUpper(p.Users[1].String())); err != nil {
		t.Fatal(err)
	}
	// A server may remember for a moment who a caller was before.
	if err := p.RecordAudit(t.Context(), access.KindUser, p.Users[0], "ListTemplates", "all"); err != nil {
		t.Fatal(err)
	}
	// As importers name them: people without an account as well, who were there before names were hidden, or not.
	people := append(p.Users[:], uuid.NewSHA1(p.Organization, []byte("before")))
	if modes, err := p.PrivacyModes(t.Context()); err != nil || modes.Strictest() != store.PrivacyFull {
		people = append(people, uuid.NewSHA1(p.Organization, []byte("since")))
		p.words["stranger"], p.words["new stranger"] = people[len(p.Users)].String(), people[len(p.Users)+1].String()
	}
	subjects, err := p.Subjects(t.Context(), storetest.AtNoWorkspace(people...))
	if err != nil || len(subjects) != len(people) {
		t.Fatal(subjects, err)
	}
	p.visit(t)
	for _, user := range p.Users {
		if of := p.Subject[user]; of != 0 && subjects[store.Visit{User: user}] != of {
			t.Errorf("%s got another subject", user)
		}
	}
	var roles []store.RoleBinding
	for _, user := range people {
		roles = append(roles, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleMember})
	}
	var given, taken int
	for range 2 {
		if given, taken, err = p.SyncRoles(t.Context(), "coder", roles, func(store.RoleBinding) bool { return true }, false); err != nil {
			t.Fatal(err)
		}
	}
	if given+taken > 0 {
		t.Errorf("the same roles again: gave %d and took %d", given, taken)
	}
	fresh, err := p.UnstoredCatalog(t.Context(), c)
	if err != nil || len(fresh.Users)+len(fresh.Workspaces)+len(fresh.Groups) > 0 {
		t.Errorf("what was just told is not stored: %v, %v", fresh, err)
	}
}

// activity is who did what.
func (p *hidden) activity(t *testing.T) []store.UserUsage {
	t.Helper()
	users, _, err := p.UserActivity(
		t.Context(), p.Everything, minute.People, minute.NewWindow(storetest.Now.AddDate(0, 0, -1), storetest.Now.AddDate(0, 0, 1)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// treat does what servers do in the background, two minutes later.
func (p *hidden) treat(t *testing.T) {
	t.Helper()
	later, err := store.Open(t.Context(), store.Options{
		Database: p.Database, Clock: func() time.Time { return storetest.Now.Add(2 * time.Minute) }, PrivacyKey: p.key,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if err := p.Treat(t.Context()); err != nil {
		t.Fatal(err)
	}
	modes, err := p.PrivacyModes(t.Context())
	if err != nil || !modes.TreatedAt(p.Organization).IsZero() {
		t.Errorf("treated at %v, before all servers know of it: %v", modes.TreatedAt(p.Organization), err)
	}
	if err := later.Treat(t.Context()); err != nil {
		t.Fatal(err)
	}
	modes, err = p.PrivacyModes(t.Context())
	if err != nil || modes.TreatedAt(p.Organization).IsZero() {
		t.Errorf("not treated: %v", err)
	}
	if left, err := p.UsersToHide(t.Context()); err != nil || left != 0 {
		t.Errorf("%d users to hide, %v", left, err)
	}
}

// check looks for traces, and for what must still be there.
func (p *hidden) check(t *testing.T, before []store.UserUsage) {
	t.Helper()
	if found := storetest.Traces(t, p.Database, p.words); len(found) > 0 {
		t.Errorf("the database holds %v", found)
	}
	now := p.activity(t)
	if len(now) != len(before) {
		t.Fatalf("%d users, before %d", len(now), len(before))
	}
	minutes := map[uuid.UUID]int64{}
	for _, u := range now {
		if !strings.HasPrefix(u.Username, "user-") || u.AvatarURL != "" {
			t.Errorf("%s with picture %q", u.Username, u.AvatarURL)
		}
		minutes[u.UserID] = u.Minutes
	}
	for _, u := range before {
		pseudonym := p.key.Pseudonym(u.UserID)
		if minutes[pseudonym] != u.Minutes {
			t.Errorf("%d minutes of %s, before %d", minutes[pseudonym], u.Username, u.Minutes)
		}
		who, err := p.ResolvePseudonym(t.Context(), pseudonym)
		if err != nil || who != (store.Identity{UserID: u.UserID, Username: u.Username}) {
			t.Errorf("%s stands for %v, %v", pseudonym, who, err)
		}
		organizations, err := p.UserOrganizations(t.Context(), []uuid.UUID{u.UserID})
		if err != nil || len(organizations[u.UserID]) != 1 {
			t.Errorf("organizations of %s: %v, %v", u.Username, organizations, err)
		}
	}
	token, err := access.ParseToken(p.token)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := p.Authenticate(t.Context(), token)
	if err != nil || caller.ID != p.key.Pseudonym(p.Users[0]) || !caller.HoldsEverywhere(access.ReadAudit) {
		t.Errorf("the token lets in %v, %v", caller, err)
	}
	another, err := store.CreatePrivacyKey(filepath.Join(t.TempDir(), "another"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Database: p.Database, PrivacyKey: another})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if who, err := s.ResolvePseudonym(t.Context(), now[0].UserID); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("without the key: %v, %v", who, err)
	}
}

// Hiding those who are there already goes on where it was interrupted.
func TestTreatGoesOn(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	const people = 1200
	var c store.Catalog
	for range people {
		c.Users = append(c.Users, store.User{
			ID: uuid.New(), Username: "ann", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization},
		})
	}
	refusals, err := f.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyPseudonym); err != nil {
		t.Fatal(err)
	}
	all, err := f.UsersToHide(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(t.Context())
	var writes atomic.Int64
	if err := f.AfterWrite(func() {
		if writes.Add(1) == 30 { // of about 20 for each transaction
			kill()
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Treat(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	left, err := f.UsersToHide(t.Context())
	if err != nil || left == 0 || left == all {
		t.Errorf("%d of %d users left, %v", left, all, err)
	}
	if err := f.Treat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := f.UsersToHide(t.Context()); err != nil || left != 0 {
		t.Errorf("%d users left, %v", left, err)
	}
}

// Nobody can be hidden without a key, and nobody is named instead.
func TestHidingNeedsTheKey(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyAggregate); err != nil {
		t.Fatal(err)
	}
	keyless, err := store.Open(t.Context(), store.Options{Database: f.Database})
	if err != nil {
		t.Fatal(err)
	}
	defer keyless.Close()
	_, err = keyless.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyPseudonym)
	if !errors.Is(err, store.ErrNoPrivacyKey) {
		t.Errorf("set a mode: %v", err)
	}
	if err := keyless.Treat(t.Context()); !errors.Is(err, store.ErrNoPrivacyKey) {
		t.Errorf("treat: %v", err)
	}
	refusals, err := keyless.ApplyCatalog(t.Context(), store.Catalog{
		Users:      []store.User{{ID: uuid.New(), Username: "ann", OrganizationIDs: []uuid.UUID{f.Organization}}},
		Workspaces: []store.Workspace{{ID: uuid.New(), OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "home of ann"}},
	}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) != 2 || refusals[0].Permanent || refusals[1].Permanent {
		t.Errorf("named users: %v, %v", refusals, err)
	}
}
