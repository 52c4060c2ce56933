package coder

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDatabase) != "" {
		os.Exit(follower())
	}
	os.Exit(storetest.Main(m))
}

// openStore opens a store of the test's own, as it is in use.
func openStore(t testing.TB, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newImporter returns an importer from a database as it is now, and what closes it.
func newImporter(t testing.TB, url string, to *store.Store, o Options) (*Importer, func()) {
	t.Helper()
	from, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	i, err := NewImporter(t.Context(), from, to, o)
	if err != nil {
		from.Close()
		t.Fatal(err)
	}
	return i, from.Close
}

// runImport imports once.
func runImport(t testing.TB, url string, to *store.Store, o Options) Report {
	t.Helper()
	i, done := newImporter(t, url, to, o)
	defer done()
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i.Report()
}

// answers are what a store says about all time.
type answers struct {
	Insights map[uuid.UUID]store.TemplateInsights
	Activity []store.UserUsage
	Latency  []store.UserLatency
	Builds   []store.ParameterUsage
	Roles    map[string]int
}

// everything is the scope of all templates.
func everything(t testing.TB) access.Scope {
	t.Helper()
	owner := access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleOwner})
	scope, err := access.Templates(owner, access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scope
}

func ask(t testing.TB, s *store.Store, begin time.Time) answers {
	t.Helper()
	everything := everything(t)
	a := answers{Roles: map[string]int{}}
	end := time.Now().Add(time.Hour)
	window := minute.NewWindow(begin, end)
	var errs [5]error
	a.Insights, errs[0] = s.PerTemplate(t.Context(), everything, minute.Everybody, window)
	a.Activity, _, errs[1] = s.UserActivity(t.Context(), everything, minute.Everybody, window)
	a.Latency, _, errs[2] = s.UserLatency(t.Context(), everything, minute.Everybody, window)
	a.Builds, errs[3] = s.ParameterUsage(t.Context(), everything, minute.Everybody, begin, end, store.Floor{})
	var bindings []store.RoleBinding
	bindings, errs[4] = s.RoleBindings(t.Context())
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings {
		a.Roles[fmt.Sprint(b.PrincipalKind, " ", b.PrincipalID, " ", b.Role, b.OrganizationID, b.TemplateID)]++
	}
	return a
}

// All that happened is here after an import, in numbers that are those of a naive count; importing again adds nothing. The role
// of grants.sql is enough for it.
func TestImport(t *testing.T) {
	t.Parallel()
	for n, schema := range codertest.Schemas {
		open := []func(testing.TB) string{storetest.SQLite, storetest.Postgres}[n%2]
		days := 3
		if schema == 551 || schema == codertest.Newest { // the newest of each way to keep sessions: with more than a step of the past
			days = 9
		}
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, schema, days)
			for range 2 {
				grant(t, w.conn)
			}
			url := asImporter(w.url)
			to := openStore(t, open(t))
			planned := runImport(t, url, to, Options{DryRun: true})
			if a := ask(t, to, w.begin); len(a.Activity)+len(a.Roles) > 0 {
				t.Fatalf("a dry run wrote: %v", a)
			}
			done := runImport(t, url, to, Options{})
			if diff := cmp.Diff(planned, done); diff != "" {
				t.Error("the dry run promised something else:", diff)
			}
			w.check(t, to)
			before := ask(t, to, w.begin)
			if diff := cmp.Diff(Report{}, runImport(t, url, to, Options{})); diff != "" {
				t.Error("another import adds:", diff)
			}
			if err := to.SetImportedUntil(t.Context(), "coder "+w.organization.String(), time.Time{}, time.Time{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Report{}, runImport(t, url, to, Options{})); diff != "" {
				t.Error("an import from the beginning adds:", diff)
			}
			if diff := cmp.Diff(before, ask(t, to, w.begin)); diff != "" {
				t.Error("other answers after another import:", diff)
			}
		})
	}
}

// An import keeps what the privacy mode allows: nobody's name or id, and nothing new the second time; in the strictest modes no
// latencies or no usage.
func TestImportObeysPrivacyModes(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, codertest.Newest, 3)
			w.exec(t, `UPDATE users SET rbac_roles = '{owner}' WHERE id = $1`, w.users[0])
			w.exec(t, `INSERT INTO workspace_app_stats (user_id, workspace_id, access_method, slug_or_port, session_started_at,
				session_ended_at)
				VALUES ($1, $2, 'path', 'code', $3, $3)`, w.users[2], w.workspaces[0][0], w.now.Add(-time.Hour))
			w.exec(t, `DELETE FROM organization_members WHERE user_id = $1`, w.users[2]) // a guest, who may be of any organization
			database := open(t)
			to := storetest.Open(t, database, time.Now())
			if _, err := to.SetPrivacyMode(t.Context(), access.Principal{}, w.organization, store.PrivacyPseudonym); err != nil {
				t.Fatal(err)
			}
			options := Options{Organization: w.organization.String()}
			runImport(t, w.url, to, options)
			words := map[string]string{}
			for i, user := range w.users[:2] {
				words[fmt.Sprint("id ", i)], words[fmt.Sprint("name ", i)] = user.String(), fmt.Sprint("user", i)
			}
			if found := storetest.Traces(t, database, words); len(found) > 0 {
				t.Errorf("the database holds %v", found)
			}
			a := ask(t, to, w.begin)
			if len(a.Activity) != len(w.users) || len(a.Latency) == 0 {
				t.Errorf("%d users with activity, %d with latency", len(a.Activity), len(a.Latency))
			}
			if err := to.SetImportedUntil(
				t.Context(), "coder "+w.organization.String()+" organization "+w.organization.String(), time.Time{}, time.Time{},
			); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Report{}, runImport(t, w.url, to, options)); diff != "" {
				t.Error("an import from the beginning adds:", diff)
			}
			if diff := cmp.Diff(a, ask(t, to, w.begin)); diff != "" {
				t.Error("other answers after another import:", diff)
			}
			if err := to.EraseUser(t.Context(), w.users[0]); err != nil {
				t.Fatal(err)
			}
			for _, dry := range []bool{true, false} {
				r := runImport(t, w.url, to, Options{DryRun: dry})
				// of the guest, for the roles of the site are new
				if r.Users+r.Workspaces+r.Agents+r.Refused > 1 || r.HalfHours+r.Samples > 0 {
					t.Errorf("somebody who was erased is imported, dry %v: %+v", dry, r)
				}
			}
			i, done := newImporter(t, w.url, to, options)
			defer done()
			late := usage{{user: w.users[0]}: {minutes: 1}, {user: w.users[1]}: {minutes: 1}} // read before one was erased
			if err := i.findSubjects(t.Context(), late.visits()); err != nil || len(late.rows(i.subjects)) != 1 {
				t.Errorf("of one who is left, and one who was erased: %v, %v", late.rows(i.subjects), err)
			}

			for mode, want := range map[store.PrivacyMode]func(r Report) bool{
				store.PrivacyAggregate: func(r Report) bool { return r.HalfHours > 0 && r.Samples == 0 },
				store.PrivacyOff:       func(r Report) bool { return r.Templates > 0 && r.HalfHours+r.Samples+r.Builds == 0 },
			} {
				to := storetest.Open(t, open(t), time.Now())
				if _, err := to.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, mode); err != nil {
					t.Fatal(err)
				}
				if r := runImport(t, w.url, to, Options{}); !want(r) {
					t.Errorf("%s: %+v", mode, r)
				}
			}
		})
	}
}

// check compares the answers with the naive count.
func (w *world) check(t *testing.T, to *store.Store) {
	t.Helper()
	minutes, users := map[string]int64{}, map[uuid.UUID]map[int64]bool{}
	for h, u := range w.truth() {
		for name, set := range u {
			minutes[fmt.Sprint(w.templates[h.template], " ", name)] += int64(len(set))
		}
		if users[w.users[h.user]] == nil {
			users[w.users[h.user]] = map[int64]bool{}
		}
		for m := range u[""] {
			users[w.users[h.user]][m] = true
		}
	}
	a := ask(t, to, w.begin)
	for _, template := range w.templates {
		got := map[string]int64{}
		for _, app := range a.Insights[template].Apps {
			name := app.Slug
			if !app.Builtin {
				name = "app " + app.Slug
			}
			got[name] = app.Minutes
		}
		for _, name := range []string{"vscode", "ssh", "app code"} {
			if want := minutes[fmt.Sprint(template, " ", name)]; got[name] != want || want == 0 {
				t.Errorf("%s in %s: %d minutes, want %d", name, template, got[name], want)
			}
		}
		if i := a.Insights[template]; i.ActiveUsers != len(w.users) {
			t.Errorf("%d users of %s, want %d", i.ActiveUsers, template, len(w.users))
		}
	}
	for _, u := range a.Activity {
		if want := int64(len(users[u.UserID])); u.Minutes != want {
			t.Errorf("%s: %d minutes, want %d", u.Username, u.Minutes, want)
		}
	}
	if len(a.Activity) != len(w.users) || len(a.Builds) == 0 || a.Latency[0].Samples == 0 {
		t.Errorf("%d users, parameters %v, %d samples", len(a.Activity), a.Builds, a.Latency[0].Samples)
	}
}

// Agents of earlier builds are gone, deleted things are deleted, groups and their members come and go, one organization alone
// brings no roles of the site.
func TestImportCatalog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	to := openStore(t, storetest.SQLite(t))
	group := uuid.New()
	w.exec(t, `INSERT INTO groups VALUES ($1, 'testers', $2)`, group, w.organization)
	w.exec(t, `INSERT INTO group_members VALUES ($1, $2)`, w.users[0], group)
	w.exec(t, `UPDATE users SET rbac_roles = '{owner,unheard-of}' WHERE id = $1`, w.users[0])
	w.exec(t, `UPDATE users SET rbac_roles = '{auditor}', status = 'suspended' WHERE id = $1`, w.users[2])
	w.exec(
		t,
		`UPDATE organization_members SET roles = ARRAY['organization-auditor:' || organization_id, 'viewer', 'blinded'] WHERE user_id = $1`,
		w.users[1],
	)
	w.exec(t, `INSERT INTO custom_roles (name, organization_id, org_permissions) VALUES
		('viewer', $1, '[{"negate": false, "resource_type": "template", "action": "view_insights"}]'),
		('blinded', $1, '[{"negate": false, "resource_type": "*", "action": "*"},
			{"negate": true, "resource_type": "template", "action": "view_insights"}]')`, w.organization)
	w.exec(t, `UPDATE templates SET group_acl = jsonb_build_object($2::text, '["*"]'::jsonb),
		user_acl = jsonb_build_object($3::text, '["read", "use"]'::jsonb, $4::text, '["read", "view_insights"]'::jsonb) WHERE id = $1`,
		w.templates[0], group.String(), w.users[0].String(), w.users[1].String())
	w.exec(t, `UPDATE workspaces SET deleted = true WHERE id = $1`, w.workspaces[1][0])
	// Later builds that change nothing of what the workspace runs with.
	for i, b := range []struct{ transition, set string }{
		{"stop", "completed_at = now()"},
		{"start", "completed_at = now(), error = 'out of quota'"},
		{"start", "completed_at = now(), canceled_at = now()"},
		{"start", "completed_at = NULL"},
	} {
		job, build := uuid.New(), uuid.New()
		w.exec(t, `INSERT INTO provisioner_jobs (id, started_at) VALUES ($1, now())`, job)
		w.exec(t, `UPDATE provisioner_jobs SET `+b.set+` WHERE id = $1`, job)
		w.exec(t, `INSERT INTO workspace_builds SELECT $1::uuid, now(), workspace_id, template_version_id, $2::int,
			$3::workspace_transition, $4::uuid, '' FROM workspace_builds WHERE workspace_id = $5 LIMIT 1`,
			build, 100+i, b.transition, job, w.workspaces[0][0])
		w.exec(t, `INSERT INTO workspace_build_parameters VALUES ($1, 'region', 'never')`, build)
	}

	one := openStore(t, storetest.SQLite(t))
	runImport(t, w.url, one, Options{Organization: "acme"})
	if roles := ask(t, one, w.begin).Roles; len(roles) != 4 {
		t.Errorf("roles of one organization: %v", roles)
	}
	role := func(kind access.Kind, principal uuid.UUID, role access.Role, organization, template uuid.UUID) string {
		return fmt.Sprint(kind, " ", principal, " ", role, organization, template)
	}
	want := map[string]int{
		role(access.KindUser, w.users[0], access.RoleMember, uuid.Nil, uuid.Nil):                    1,
		role(access.KindUser, w.users[0], access.RoleOwner, uuid.Nil, uuid.Nil):                     1,
		role(access.KindUser, w.users[1], access.RoleMember, uuid.Nil, uuid.Nil):                    1,
		role(access.KindUser, w.users[1], access.RoleOrganizationAuditor, w.organization, uuid.Nil): 1,
		role(access.KindUser, w.users[1], access.RoleViewInsights, w.organization, uuid.Nil):        1,
		role(store.KindGroup, group, access.RoleTemplateAdmin, uuid.Nil, w.templates[0]):            1,
		role(access.KindUser, w.users[1], access.RoleViewInsights, uuid.Nil, w.templates[0]):        1,
	}
	runImport(t, w.url, to, Options{})
	groups := func(user int) (told []string) {
		t.Helper()
		d, err := to.MyData(t.Context(), w.users[user])
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range d.Groups {
			for _, m := range g.Members {
				told = append(told, fmt.Sprint(g.Name, " everyone:", g.Everyone, " always:", m.FromAt.IsZero(), " still:", m.ToAt.IsZero()))
			}
		}
		return told
	}
	everyone := "Everyone everyone:true always:true still:true"
	if diff := cmp.Diff([]string{everyone, "testers everyone:false always:true still:true"}, groups(0)); diff != "" {
		t.Errorf("groups of a user (-want +got):\n%s", diff)
	}
	got := ask(t, to, w.begin)
	if diff := cmp.Diff(want, got.Roles); diff != "" {
		t.Error(diff)
	}
	for _, p := range got.Builds {
		if len(p.Values) != 1 || p.Values[0].Value != "eu" {
			t.Errorf("workspaces run with %v", p.Values)
		}
	}
	names, err := to.AgentNames(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	live, err := to.AgentNames(t.Context(), []uuid.UUID{w.agents[0][0], w.agents[1][0]})
	if err != nil || len(live) != 1 {
		t.Errorf("of an agent of the last build and one of a deleted workspace %d live, want 1: %v %v", len(live), names, err)
	}
	if r := runImport(t, w.url, to, Options{Organization: w.organization.String()}); r.RolesTaken+r.RolesGiven != 0 {
		t.Errorf("an import of one organization took or gave roles that the import of all gave: %+v", r)
	}
	w.exec(t, `INSERT INTO group_members VALUES ($1, $2)`, w.users[1], group)
	if runImport(t, w.url, to, Options{}); !slices.Contains(groups(1), "testers everyone:false always:false still:true") {
		t.Errorf("groups of who came between two imports: %q", groups(1))
	}
	w.exec(t, `DELETE FROM groups WHERE id = $1`, group)
	w.exec(t, `UPDATE templates SET group_acl = '{}'`)
	w.exec(t, `UPDATE users SET rbac_roles = '{}'`)
	r := runImport(t, w.url, to, Options{})
	if r.GroupsGone != 1 || r.RolesTaken != 2 || r.RolesGiven != 0 || r.Users != 0 {
		t.Errorf("a group and two roles are gone: %+v", r)
	}
	for u, always := range []bool{true, false} {
		want := []string{everyone, fmt.Sprintf("testers everyone:false always:%v still:false", always)}
		if diff := cmp.Diff(want, groups(u)); diff != "" {
			t.Errorf("groups of user %d after one is gone (-want +got):\n%s", u, diff)
		}
	}
}

// Builds say why they were asked for, by whom, with which preset, and what they did to prebuilt workspaces. Workspaces say what they are
// for, where Coder still does.
func TestImportOrigins(t *testing.T) {
	t.Parallel()
	for _, schema := range codertest.Schemas {
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, schema, 2)
			service, tasks := hasColumn(t, w.conn, "users", "is_service_account"), hasColumn(t, w.conn, "workspace_builds", "has_ai_task")
			taken, waiting, task, preset, stop := w.workspaces[0][0], w.workspaces[0][1], w.workspaces[1][0], uuid.New(), uuid.New()
			for _, s := range []struct {
				statement string
				args      []any
			}{
				{`INSERT INTO users (id, username, is_system) VALUES ($1, 'prebuilds', true)`, []any{prebuilds}},
				{`INSERT INTO template_version_presets (id, template_version_id, name) VALUES ($1, $1, 'large')`, []any{preset}},
				{
					`UPDATE workspace_builds SET initiator_id = $2, template_version_preset_id = $3
						WHERE workspace_id = $1 AND build_number = 1`,
					[]any{taken, prebuilds, preset},
				},
				{`UPDATE workspace_builds SET initiator_id = $2 WHERE workspace_id = $1 AND build_number = 2`, []any{taken, w.users[0]}},
				{`UPDATE workspaces SET owner_id = $2 WHERE id = $1`, []any{waiting, prebuilds}},
				{`UPDATE workspace_builds SET initiator_id = $2 WHERE workspace_id = $1 AND build_number = 1`, []any{waiting, prebuilds}},
				{`UPDATE workspace_builds SET initiator_id = $2 WHERE workspace_id = $1 AND build_number = 2`, []any{waiting, w.users[1]}},
				{
					`UPDATE workspace_builds SET initiator_id = $2, reason = 'autostart' WHERE workspace_id = $1`,
					[]any{task, w.users[2]},
				},
				{`INSERT INTO provisioner_jobs (id, started_at, completed_at) VALUES ($1, now(), now())`, []any{stop}},
				{
					`INSERT INTO workspace_builds (id, workspace_id, template_version_id, build_number, transition, job_id, reason)
						SELECT $1, workspace_id, template_version_id, 3, 'stop', $1, 'autostop'
						FROM workspace_builds WHERE workspace_id = $2 AND build_number = 2`,
					[]any{stop, task},
				},
			} {
				w.exec(t, s.statement, s.args...)
			}
			if service {
				w.exec(t, `UPDATE users SET is_service_account = true WHERE id = $1`, w.users[2])
			}
			if tasks {
				w.exec(t, `UPDATE workspace_builds SET has_ai_task = build_number = 2 WHERE workspace_id = $1`, task)
			}
			to := openStore(t, storetest.SQLite(t))
			runImport(t, w.url, to, Options{})
			want := map[string]string{
				"taken": "development", "taken 1": "initiator system large created", "taken 2": "initiator person  claimed",
				"waiting": "prebuild", "waiting 1": "initiator system  created", "waiting 2": "initiator person  none",
				"task": "ai_task", "task 1": "autostart service  none", "task 2": "autostart service  none", "task 3": "autostop   none",
			}
			if !service {
				want["task 1"], want["task 2"] = "autostart person  none", "autostart person  none"
			}
			if !tasks {
				want["task"] = "development"
			}
			names := map[uuid.UUID]string{taken: "taken", waiting: "waiting", task: "task"}
			if diff := cmp.Diff(want, origins(t, to, names, w.users[0], uuid.MustParse(prebuilds))); diff != "" {
				t.Errorf("origins (-want +got):\n%s", diff)
			}

			if !tasks {
				return
			}
			w.exec(t, `ALTER TABLE workspace_builds DROP COLUMN has_ai_task`)
			want["task"] = "development"
			if r := runImport(t, w.url, to, Options{}); r.Workspaces != 1 {
				t.Errorf("one workspace says no more what it is for: %+v", r)
			}
			if diff := cmp.Diff(want, origins(t, to, names, w.users[0], uuid.MustParse(prebuilds))); diff != "" {
				t.Errorf("origins without tasks (-want +got):\n%s", diff)
			}
		})
	}
}

// Logins come along: those that succeeded, of all time, but not where nothing may be kept, nor those of other organizations.
func TestImportLogins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	at := w.now.Add(-2 * time.Hour)
	for _, l := range []struct {
		at     time.Time
		user   uuid.UUID
		action string
		status int
	}{
		{at, w.users[0], "login", 201},
		{at.Add(time.Second), w.users[0], "login", 201},
		{at.Add(time.Minute), w.users[0], "login", 307},
		{w.begin.Add(-40 * 24 * time.Hour), w.users[0], "login", 201},
		{at.Add(2 * time.Minute), w.users[0], "login", 401},
		{at.Add(3 * time.Minute), w.users[0], "logout", 200},
		{at.Add(4 * time.Minute), uuid.Nil, "login", 201},
	} {
		w.exec(t, `INSERT INTO audit_logs (time, user_id, action, status_code) VALUES ($1, $2, $3::audit_action, $4)`,
			l.at, l.user, l.action, l.status)
	}
	to := storetest.Open(t, storetest.SQLite(t), time.Now())
	if r := runImport(t, w.url, to, Options{}); r.Logins != 3 {
		t.Errorf("%d logins, want 3", r.Logins)
	}
	if err := to.SetImportedUntil(t.Context(), "coder "+w.organization.String(), time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{}, runImport(t, w.url, to, Options{})); diff != "" {
		t.Error("an import from the beginning adds:", diff)
	}
	d, err := to.MyData(t.Context(), w.users[0])
	if err != nil {
		t.Fatal(err)
	}
	minutes := int64(0)
	for _, u := range d.Usage {
		if u.App == store.LoginApp && u.Template == uuid.Nil {
			minutes += u.Minutes
		}
	}
	if minutes != 3 {
		t.Errorf("%d minutes with a login, want 3", minutes)
	}

	if r := runImport(t, w.url, openStore(t, storetest.SQLite(t)), Options{Organization: "other"}); r.Logins != 0 {
		t.Errorf("%d logins of another organization", r.Logins)
	}
	off := storetest.Open(t, storetest.SQLite(t), time.Now())
	if _, err := off.SetPrivacyMode(t.Context(), access.Principal{}, w.organization, store.PrivacyOff); err != nil {
		t.Fatal(err)
	}
	if r := runImport(t, w.url, off, Options{}); r.Logins != 0 {
		t.Errorf("%d logins of an organization of which nothing may be kept", r.Logins)
	}
}

// Roles that all members of an organization have come along, and go when they are taken from all.
func TestImportDefaultRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	to := openStore(t, storetest.SQLite(t))
	w.exec(t, `UPDATE users SET status = 'suspended' WHERE id = $1`, w.users[2])
	w.exec(t, `UPDATE organization_members SET roles = '{organization-auditor}' WHERE user_id = $1`, w.users[1])
	w.exec(t, `UPDATE organizations SET default_org_member_roles = '{organization-workspace-access,organization-auditor}' WHERE id = $1`,
		w.organization)
	auditors := func() (users []uuid.UUID) {
		t.Helper()
		bindings, err := to.RoleBindings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bindings {
			if b.Role == access.RoleOrganizationAuditor && b.OrganizationID == w.organization {
				users = append(users, b.PrincipalID)
			}
		}
		return users
	}
	runImport(t, w.url, to, Options{})
	if got := auditors(); len(got) != 2 || !slices.Contains(got, w.users[0]) || !slices.Contains(got, w.users[1]) {
		t.Errorf("auditors %v, want all members who are not suspended: %v", got, w.users[:2])
	}
	w.exec(t, `UPDATE organizations SET default_org_member_roles = '{}'`)
	if r := runImport(t, w.url, to, Options{}); r.RolesTaken != 1 || !slices.Equal(auditors(), w.users[1:2]) {
		t.Errorf("of a role that no member has for being one: %+v, auditors %v", r, auditors())
	}
}

// What Coder has no display name for has none here.
func TestImportDisplayNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 551, 2)
	w.exec(t, `UPDATE templates SET display_name = 'Docker' WHERE id = $1`, w.templates[0])
	w.exec(t, `UPDATE organizations SET display_name = '' WHERE id = $1`, w.organization)
	to := openStore(t, storetest.SQLite(t))
	runImport(t, w.url, to, Options{})
	templates, err := to.Templates(t.Context(), everything(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, x := range templates {
		got[x.Name] = x.DisplayName
	}
	organizations, err := to.Organizations(t.Context(), everything(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range organizations {
		got[o.Name] = o.DisplayName
	}
	for _, p := range ask(t, to, w.begin).Builds {
		got[p.Definition.Name] = p.Definition.DisplayName
	}
	want := map[string]string{"template0": "Docker", "template1": "", "acme": "", "region": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("display names (-want +got):\n%s", diff)
	}
}

// What differs between schemas is found in each.
func TestShapes(t *testing.T) {
	t.Parallel()
	for schema, want := range map[int]shape{
		308: {},
		313: {},
		400: {AITasks: true},
		480: {AITasks: true, ServiceAccounts: true},
		551: {AITasks: true, ServiceAccounts: true, DefaultRoles: true},
		614: {AITasks: true, ServiceAccounts: true, DefaultRoles: true, SessionCounts: true, SessionApps: true},
	} {
		url, conn := newDatabase(t)
		execute(t, conn, codertest.Schema(schema)+`INSERT INTO organizations VALUES (gen_random_uuid(), 'acme', '', true)`)
		d, err := Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if d.Close(); d.shape != want {
			t.Errorf("schema %d: %+v, want %+v", schema, d.shape, want)
		}
	}
	if codertest.Schemas[0] != OldestSchema || codertest.Newest != NewestSchema {
		t.Errorf("schemas %v, not from %d to %d", codertest.Schemas, OldestSchema, NewestSchema)
	}
}

// How long workspaces run, and what they cost, comes along.
func TestImportSettingsAndCosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 551, 2)
	const hours = int64(time.Hour)
	w.exec(t, `UPDATE templates SET default_ttl = $2, time_til_dormant = $3, time_til_dormant_autodelete = $4 WHERE id = $1`,
		w.templates[0], 8*hours, 48*hours, 72*hours)
	w.exec(t, `UPDATE templates SET default_ttl = 0 WHERE id = $1`, w.templates[1])
	w.exec(t, `UPDATE workspaces SET ttl = $2 WHERE id = $1`, w.workspaces[0][0], 9*hours)
	w.exec(t, `UPDATE workspace_resources SET daily_cost = 3, instance_type = 'm5.large' WHERE job_id = (SELECT job_id FROM workspace_builds
		WHERE workspace_id = $1 AND build_number = 2)`, w.workspaces[0][0])
	for kind, cost := range map[string]int{"c7.large": 4, "m5.large": 5, "": 1} {
		w.exec(t, `INSERT INTO workspace_resources (id, job_id, daily_cost, instance_type) SELECT $1, job_id, $2, $3 FROM workspace_builds
			WHERE workspace_id = $4 AND build_number = 2`, uuid.New(), cost, kind, w.workspaces[0][0])
	}
	to := openStore(t, storetest.SQLite(t))
	runImport(t, w.url, to, Options{})
	templates, err := to.Templates(t.Context(), everything(t))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[uuid.UUID][]int64{}
	for _, x := range templates {
		settings[x.ID] = []int64{x.DefaultTTLSeconds, x.DormantAfterSeconds, x.DeleteDormantAfterSeconds}
	}
	want := map[uuid.UUID][]int64{w.templates[0]: {8 * 3600, 48 * 3600, 72 * 3600}, w.templates[1]: {0, 0, 0}}
	if diff := cmp.Diff(want, settings); diff != "" {
		t.Errorf("settings of templates (-want +got):\n%s", diff)
	}
	d, err := to.MyData(t.Context(), w.users[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range d.Workspaces {
		if mine := x.ID == w.workspaces[0][0]; mine && x.TTLSeconds != 9*3600 || !mine && x.TTLSeconds != 0 {
			t.Errorf("workspace %s runs for %d seconds", x.ID, x.TTLSeconds)
		}
	}
	for _, b := range d.Builds {
		cost, kinds := int64(0), []string(nil)
		if b.WorkspaceID == w.workspaces[0][0] && b.Number == 2 {
			cost, kinds = 13, []string{"c7.large", "m5.large"}
		}
		if b.DailyCost != cost || !slices.Equal(b.InstanceTypes, kinds) {
			t.Errorf("build %d of %s costs %d a day, on %q", b.Number, b.WorkspaceID, b.DailyCost, b.InstanceTypes)
		}
	}
	if diff := cmp.Diff(Report{}, runImport(t, w.url, to, Options{})); diff != "" {
		t.Error("another import adds:", diff)
	}
}

// origins are the purposes of the named workspaces of some users by name, and the origins of their builds by name and number.
func origins(t *testing.T, s *store.Store, names map[uuid.UUID]string, users ...uuid.UUID) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, user := range users {
		d, err := s.MyData(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range d.Workspaces {
			if name, named := names[w.ID]; named {
				all[name] = w.Purpose
			}
		}
		for _, b := range d.Builds {
			if name, named := names[b.WorkspaceID]; named {
				all[fmt.Sprint(name, " ", b.Number)] = strings.Join([]string{b.Reason, b.InitiatorKind, b.Preset, b.Prebuild}, " ")
			}
		}
	}
	return all
}

// What is not known to be right to read is not read, and the error says why.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, change, says string
	}{
		{"another database", `DROP TABLE schema_migrations`, "no database of Coder"},
		{"no migration", `DELETE FROM schema_migrations`, "no database of Coder"},
		{
			"an older schema", `UPDATE schema_migrations SET version = 307`,
			"version 307 is not supported, 308 to 614 are; Coder v2.21 was the first with one of them",
		},
		{"a newer schema", `UPDATE schema_migrations SET version = 615`, "version 615 is not supported"},
		{"an interrupted migration", `UPDATE schema_migrations SET dirty = true`, "migration 551 did not end"},
		{"no organization", `DELETE FROM organizations`, "no default organization"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, conn := newDatabase(t)
			execute(t, conn, codertest.Schema(551))
			if _, err := conn.Exec(t.Context(), c.change); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), url)
			if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), c.says) ||
				strings.Contains(err.Error(), "correct-horse-battery") {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
	for _, url := range []string{"postgres://u:pass%word@h/db", "postgres://u:pass-word@127.0.0.1:1/db"} {
		if _, err := Open(t.Context(), url); err == nil || strings.Contains(err.Error(), "word") {
			t.Errorf("open %s: %v", url, err)
		}
	}
	url, conn := newDatabase(t)
	execute(t, conn, codertest.Schema(551))
	if _, err := conn.Exec(t.Context(), `INSERT INTO organizations VALUES (gen_random_uuid(), 'acme', '', true)`); err != nil {
		t.Fatal(err)
	}
	from, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	_, err = NewImporter(t.Context(), from, openStore(t, storetest.SQLite(t)), Options{Organization: "nobody"})
	if err == nil || !strings.Contains(err.Error(), `no organization "nobody"`) {
		t.Errorf("an organization that is not there: %v", err)
	}
}

func TestReportWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := (Report{Users: 3, Estimated: 7}).Write(&out); err != nil || !strings.Contains(out.String(), "users                   3\n") ||
		!strings.Contains(out.String(), "of them estimates       7\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
