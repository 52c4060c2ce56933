package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store/storetest"
)

// newCoder makes a database with the schema of Coder and a user who uses a template now.
func newCoder(t *testing.T) (url string, conn *pgx.Conn) {
	t.Helper()
	url, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if conn, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.PgConn().Exec(t.Context(), codertest.Schema(551)+codertest.Deployment).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return url, conn
}

// addServiceAccount adds a service account that has used the template since yesterday.
func addServiceAccount(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO users (id, username, is_service_account) VALUES ('00000000-0000-0000-0000-000000000004', 'ci', true)`,
		`INSERT INTO workspace_agent_stats (created_at, user_id, template_id, connection_count, session_count_ssh)
			SELECT created_at, '00000000-0000-0000-0000-000000000004', template_id, 1, 1 FROM workspace_agent_stats`,
		`INSERT INTO template_usage_stats SELECT start, start + INTERVAL '30 minutes', '00000000-0000-0000-0000-000000000003',
			'00000000-0000-0000-0000-000000000004', NULL, 30, 30, 0, 0, 0, 0, NULL
			FROM (SELECT date_trunc('day', now(), 'UTC') - INTERVAL '12 hours' AS start) AS first`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImportCoder(t *testing.T) {
	t.Parallel()
	from, conn := newCoder(t)
	to := "--database=sqlite:" + t.TempDir() + "/insights.db"
	must(t, "migrate", to)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a dry run", []string{"--dry-run"}, exitOK, "templates               1\n"},
		{"an import", nil, exitOK, "users                   1\n"},
		{"another one", nil, exitOK, "users                   0\n"},
		{"one organization", []string{"--organization=acme"}, exitOK, "roles given             0\n"},
		{"an organization that is not there", []string{"--organization=other"}, exitError, `no organization "other"`},
		{"a dry run that follows", []string{"--dry-run", "--follow"}, exitUsage, "choose one"},
	} {
		code, out, errs := command(
			t, []string{"INSIGHTS_IMPORT_FROM=" + from}, append([]string{"import", "coder", to, "--from=" + from}, c.args...)...,
		)
		if code != c.code || !strings.Contains(out+errs, c.says) || strings.Contains(out+errs, "correct-horse-battery") {
			t.Errorf("%s: %d\n%s%s", c.name, code, out, errs)
		}
	}
	addServiceAccount(t, conn)
	if code, out, errs := command(t, nil, "import", "coder", to, "--from="+from, "--dry-run"); code != exitOK ||
		!strings.Contains(out, ": 1 in Coder, 0 here. 1 fewer: 1 service account.\n") {
		t.Errorf("a dry run says who is left out: %d\n%s%s", code, out, errs)
	}
	if _, err := conn.Exec(t.Context(), `UPDATE schema_migrations SET version = 9000`); err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, nil, "import", "coder", to, "--from="+from)
	if code != exitError || !strings.Contains(errs, "version 9000 is not supported") {
		t.Errorf("a schema of the future: %d %s", code, errs)
	}
	if code, _, errs := command(t, nil, "import", "coder", to); code != exitUsage || !strings.Contains(errs, "--from") {
		t.Errorf("from nowhere: %d %s", code, errs)
	}
}

// A server that was told to follow and never got in serves, and tells Prometheus so; one that gets in tells that.
func TestFollowFails(t *testing.T) {
	t.Parallel()
	from, _ := newCoder(t)
	stranger := strings.Replace(from, "//postgres:", "//stranger:", 1)
	for name, c := range map[string]struct{ from, says, shows string }{
		"gets in":            {from, `msg=following`, "insights_follow_fails 0\n"},
		"no such role":       {stranger, `"cannot follow" error=.*stranger`, "insights_follow_fails 1\n"},
		"no schema of Coder": {storetest.Postgres(t), `"cannot follow" error=.*this is no database of Coder`, "insights_follow_fails 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(
				t, "serve", "--database=sqlite:"+t.TempDir()+"/insights.db", "--follow-coder="+c.from,
				"--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0",
			)
			metrics := "http://" + p.wait(t, `msg=serving.* prometheus=(\S+)`)[0] + "/metrics"
			p.wait(t, c.says)
			if status, body := get(t, metrics, ""); status != http.StatusOK || !strings.Contains(body, "\n"+c.shows) {
				t.Errorf("%d: %s is not shown\n%s", status, c.shows, body)
			}
		})
	}
}

// The demo of a deployment compares, serves, and ends.
func TestDemoOfCoder(t *testing.T) {
	t.Parallel()
	from, conn := newCoder(t)
	addServiceAccount(t, conn)
	p := start(t, "demo", "--from="+from, "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0")
	p.wait(t, `docker\s+active users\s+\d\s+1\s+.*1 fewer: 1 service account$`)
	p.wait(t, `docker\s+minutes of use\s+\d+\s+\d+\s+\d+ more: Coder has not counted.*; \d+ less: \d+ of service accounts$`)
	p.wait(t, `Active users from \S+ to \S+: 1 in Coder, 0 here. 1 fewer: 1 service account.$`)
	p.wait(t, `page\s+http://\S+/#token=tia_\S+`)
	token := p.wait(t, `token\s+(tia_\S+)`)[0]
	url := p.wait(t, `curl -H '[^']*' '(\S+)'`)[0]
	if status, body := get(t, url, token); status != http.StatusOK || !strings.Contains(body, "00000000-0000-0000-0000-000000000003") {
		t.Errorf("%s: %d %s", url, status, body)
	}
	p.stop()
	if code := <-p.stopped; code != exitOK {
		t.Errorf("the demo ended with %d", code)
	}
}
