package coder

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/storetest"
)

// world is a database like Coder's, and what really happened.
type world struct {
	url       string
	conn      *pgx.Conn
	begin     time.Time // when the first workspace was built
	now       time.Time // when it was made
	reports   []report
	sessions  []session
	templates [2]uuid.UUID
	users     [3]uuid.UUID

	organization uuid.UUID
	workspaces   [2][3]uuid.UUID // by template and user
	agents       [2][3]uuid.UUID
}

// report is what an agent reported in a minute.
type report struct {
	at              time.Time
	template, user  int
	vscode, ssh     bool
	connections     int64
	latency         float64
	isGoneFromCoder bool // counted and deleted
}

// session is a session of an app.
type session struct {
	template, user int
	app            string
	started, ended time.Time
}

// newDatabase makes an empty database with Coder's schema.
func newDatabase(t testing.TB) (url string, conn *pgx.Conn) {
	t.Helper()
	url, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if conn, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return url, conn
}

// execFile runs the statements of a file.
func execFile(t testing.TB, conn *pgx.Conn, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, conn, string(text))
}

// execute runs statements.
func execute(t testing.TB, conn *pgx.Conn, statements string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), statements).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// hasColumn reports whether the schema of a database has a column.
func hasColumn(t testing.TB, conn *pgx.Conn, table, column string) (has bool) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = $1 AND column_name = $2)`, table, column).Scan(&has); err != nil {
		t.Fatal(err)
	}
	return has
}

// newWorld makes a deployment with a schema, two templates and three users who worked for some days. Of the reports of agents the last
// day is left, as Coder leaves it.
func newWorld(t testing.TB, schema, days int) *world {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Minute)
	w := &world{now: now, begin: now.Add(-time.Duration(days) * 24 * time.Hour).Truncate(halfHour), organization: uuid.New()}
	w.url, w.conn = newDatabase(t)
	execute(t, w.conn, codertest.Schema(schema))
	w.addCatalog(t)
	w.work()
	w.store(t)
	w.rollUp(t)
	return w
}

func (w *world) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	if _, err := w.conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (w *world) addCatalog(t testing.TB) {
	w.exec(t, `INSERT INTO organizations VALUES ($1, 'acme', 'Acme', true), ($2, 'other', '', false)`, w.organization, uuid.New())
	w.exec(t, `INSERT INTO groups VALUES ($1, 'Everyone', $1)`, w.organization)
	for i := range w.users {
		w.users[i] = uuid.New()
		w.exec(t, `INSERT INTO users (id, username, created_at) VALUES ($1, $2, $3)`, w.users[i], fmt.Sprintf("user%d", i), w.begin)
		w.exec(t, `INSERT INTO organization_members VALUES ($1, $2)`, w.users[i], w.organization)
		w.exec(t, `INSERT INTO user_status_changes (user_id, new_status, changed_at) VALUES ($1, 'active', $2)`, w.users[i], w.begin)
	}
	for i := range w.templates {
		w.templates[i] = uuid.New()
		version, job := uuid.New(), uuid.New()
		w.exec(
			t, `INSERT INTO templates (id, organization_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)`, w.templates[i],
			w.organization, fmt.Sprintf("template%d", i), w.begin,
		)
		w.exec(t, `INSERT INTO provisioner_jobs (id, updated_at, started_at, completed_at) VALUES ($1, $2, $2, $2)`, job, w.begin)
		w.exec(
			t, `INSERT INTO template_versions VALUES ($1, $2, $3, $4, $4, 'v1', $5)`, version, w.templates[i], w.organization, w.begin, job,
		)
		w.exec(t, `INSERT INTO template_version_parameters (template_version_id, name, options)
			VALUES ($1, 'region', '[{"name": "Europe", "description": "", "value": "eu", "icon": ""}]')`, version)
		for u := range w.users {
			w.workspaces[i][u] = uuid.New()
			w.exec(t, `INSERT INTO workspaces (id, owner_id, organization_id, template_id, name, created_at, updated_at)
				VALUES ($1, $2, $3, $4, 'w', $5, $5)`,
				w.workspaces[i][u], w.users[u], w.organization, w.templates[i], w.begin)
			for number := range 2 {
				w.agents[i][u] = w.build(t, w.workspaces[i][u], version, number+1, w.begin.Add(time.Duration(number)*time.Hour))
			}
		}
	}
}

// build adds a build of a workspace, with an agent that declares an app.
func (w *world) build(t testing.TB, workspace, version uuid.UUID, number int, at time.Time) (agent uuid.UUID) {
	t.Helper()
	job, build, resource, agent := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	w.exec(t, `INSERT INTO provisioner_jobs (id, updated_at, started_at, completed_at) VALUES ($1, $2, $2, $2)`, job, at)
	w.exec(t, `INSERT INTO workspace_builds VALUES ($1, $2, $3, $4, $5, 'start', $6, 'state')`, build, at, workspace, version, number, job)
	w.exec(t, `INSERT INTO workspace_build_parameters VALUES ($1, 'region', 'eu')`, build)
	w.exec(t, `INSERT INTO workspace_resources VALUES ($1, $2)`, resource, job)
	w.exec(t, `INSERT INTO workspace_agents (id, created_at, name, resource_id) VALUES ($1, $2, 'main', $3)`, agent, at, resource)
	w.exec(t, `INSERT INTO workspace_apps (agent_id, created_at, slug, display_name) VALUES ($1, $2, 'code', 'Code')`, agent, at)
	return agent
}

// work makes up what happened: in the past nobody is in two templates in one half hour, because half hours cannot tell.
func (w *world) work() {
	for user := range w.users {
		for half := w.begin.Add(time.Duration(user) * halfHour); half.Before(w.now); half = half.Add(7 * halfHour) {
			template := (int(half.Unix()/1800) + user) % len(w.templates)
			for i := range 30 {
				at := half.Add(time.Duration(i)*time.Minute + time.Duration(7*i)*time.Second%time.Minute)
				r := report{
					at: at, template: template, user: user, vscode: i%3 != 0, ssh: i >= 20, latency: float64(10 + i),
					connections: int64(i % 2),
				}
				if half.Unix()/1800%5 == 0 {
					r.connections = 0 // a half hour behind a closed gate
				}
				if at.Before(w.now) && (r.vscode || r.ssh) {
					w.reports = append(w.reports, r)
				}
			}
			if half.Unix()/1800%3 == 0 {
				begin := half.Add(5 * time.Minute)
				w.sessions = append(w.sessions,
					session{template, user, "code", begin, begin.Add(10*time.Minute + 30*time.Second)},
					session{template, user, "8080", begin.Add(3 * time.Minute), begin.Add(4 * time.Minute)})
			}
		}
	}
	for i, r := range w.reports {
		w.reports[i].isGoneFromCoder = r.at.Before(w.now.Add(-24*time.Hour - 10*time.Minute))
	}
}

// store writes what happened as Coder does.
func (w *world) store(t testing.TB) {
	t.Helper()
	var reports, sessions [][]any
	names := hasColumn(t, w.conn, "workspace_agent_stats", "session_counts")
	for _, r := range w.reports {
		if r.isGoneFromCoder {
			continue
		}
		report := []any{r.at, w.users[r.user], w.templates[r.template], r.connections, r.latency}
		if names {
			report = append(report, map[string]int64{"vscode": number(r.vscode), "ssh": number(r.ssh)})
		} else {
			report = append(report, number(r.vscode), number(r.ssh))
		}
		reports = append(reports, report)
	}
	for _, s := range w.sessions {
		sessions = append(sessions, []any{w.users[s.user], w.workspaces[s.template][s.user], "path", s.app, s.started, s.ended})
	}
	counts := []string{"session_count_vscode", "session_count_ssh"}
	if names {
		counts = []string{"session_counts"}
	}
	w.copy(t, "workspace_agent_stats", reports, append([]string{
		"created_at", "user_id", "template_id", "connection_count", "connection_median_latency_ms",
	}, counts...)...)
	w.copy(
		t, "workspace_app_stats", sessions, "user_id", "workspace_id", "access_method", "slug_or_port", "session_started_at",
		"session_ended_at",
	)
}

func (w *world) copy(t testing.TB, table string, rows [][]any, columns ...string) {
	t.Helper()
	if _, err := w.conn.CopyFrom(t.Context(), pgx.Identifier{table}, columns, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// half is half an hour of a user in a template.
type half struct {
	start          int64 // half hours since the Unix epoch
	template, user int
}

// used is sets of minutes by name; the name "" is all together.
type used map[string]map[int64]bool

func (u used) add(name string, m int64) {
	for _, n := range []string{"", name} {
		if u[n] == nil {
			u[n] = map[int64]bool{}
		}
		u[n][m] = true
	}
}

// truth is what was really used, counted naively: sets of minutes of each half hour.
func (w *world) truth() map[half]used {
	open := map[half]bool{}
	for _, r := range w.reports {
		if r.connections > 0 {
			open[half{r.at.Unix() / 1800, r.template, r.user}] = true
		}
	}
	truth := map[half]used{}
	at := func(h half) used {
		if truth[h] == nil {
			truth[h] = used{}
		}
		return truth[h]
	}
	for _, r := range w.reports {
		h := half{r.at.Unix() / 1800, r.template, r.user}
		for name, is := range map[string]bool{"vscode": r.vscode, "ssh": r.ssh} {
			if is && open[h] {
				at(h).add(name, r.at.Unix()/60)
			}
		}
	}
	for _, s := range w.sessions {
		for m := s.started.Truncate(time.Minute); m.Before(s.ended); m = m.Add(time.Minute) {
			at(half{m.Unix() / 1800, s.template, s.user}).add("app "+s.app, m.Unix()/60)
		}
	}
	return truth
}

// rollUp counts half hours as Coder does, up to the one before the present.
func (w *world) rollUp(t testing.TB) {
	t.Helper()
	var rows, named [][]any
	for h, u := range w.truth() {
		start := time.Unix(h.start*1800, 0)
		if start.Add(halfHour).After(w.now) {
			continue
		}
		apps := map[string]int{}
		for _, app := range []string{"code", "8080"} {
			if n := len(u["app "+app]); n > 0 {
				apps[app] = n
			}
		}
		text, err := json.Marshal(apps)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, []any{
			start, start.Add(halfHour), w.templates[h.template], w.users[h.user],
			len(u[""]), text, len(u["ssh"]), 0, 0, len(u["vscode"]), 0,
		})
		for _, name := range []string{"ssh", "vscode"} {
			if n := len(u[name]); n > 0 {
				named = append(named, []any{start, w.templates[h.template], w.users[h.user], name, n})
			}
		}
	}
	columns := []string{
		"start_time", "end_time", "template_id", "user_id", "usage_mins", "app_usage_mins",
		"ssh_mins", "sftp_mins", "reconnecting_pty_mins", "vscode_mins", "jetbrains_mins",
	}
	if hasColumn(t, w.conn, "template_usage_stats_session_apps", "app_name") {
		columns = columns[:6]
		for i := range rows {
			rows[i] = rows[i][:6]
		}
		w.copy(t, "template_usage_stats_session_apps", named, "start_time", "template_id", "user_id", "app_name", "usage_mins")
	}
	w.copy(t, "template_usage_stats", rows, columns...)
}
