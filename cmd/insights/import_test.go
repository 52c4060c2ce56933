package main

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

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
	for _, file := range []string{"schema.sql", "deployment.sql"} {
		text, err := os.ReadFile("coder/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.PgConn().Exec(t.Context(), string(text)).ReadAll(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return url, conn
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

// The demo of a deployment compares, serves, and ends.
func TestDemoOfCoder(t *testing.T) {
	t.Parallel()
	from, _ := newCoder(t)
	p := start(t, "demo", "--from="+from, "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--prometheus-address=127.0.0.1:0")
	p.wait(t, `docker\s+minutes of use\s+0\s+\d+\s+\d+ more: Coder has not counted`)
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
