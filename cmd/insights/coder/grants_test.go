package coder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// asImporter is the URL of a database for the role of grants.sql.
func asImporter(url string) string {
	return strings.Replace(url, "postgres:correct-horse-battery@", "insights@", 1)
}

// refused reports whether an error says that a role may not do something.
func refused(err error) bool {
	var fault *pgconn.PgError
	return errors.As(err, &fault) && fault.Code == insufficientPrivilege
}

// readAll imports, compares and counts, and changes nothing.
func readAll(ctx context.Context, url string, to *store.Store, o Options) error {
	o.DryRun, o.Logger = true, slog.New(slog.DiscardHandler)
	from, err := Open(ctx, url)
	if err != nil {
		return err
	}
	defer from.Close()
	i, err := NewImporter(ctx, from, to, o)
	if err != nil {
		return err
	}
	if err := i.Run(ctx); err != nil {
		return err
	}
	i.show = func([]*insightsv1.AgentReport) {}
	if err := i.showAgents(ctx); err != nil {
		return err
	}
	if _, err := i.Compare(ctx); err != nil {
		return err
	}
	_, err = i.Population(ctx)
	return err
}

// The role of grants.sql may read the columns that an import reads, each of them is needed, and it may read no other column of any table
// and write nothing.
func TestGrants(t *testing.T) { // not beside other tests: the role is that of the whole cluster
	needed := map[[2]string]bool{}
	for _, schema := range slices.Backward(codertest.Schemas) { // the newest, with most of the columns, first
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			url, conn := newGranted(t, schema)
			to := openStore(t, storetest.SQLite(t))
			reads := func() error {
				if err := readAll(t.Context(), asImporter(url), to, Options{}); err != nil {
					return err
				}
				return readAll(t.Context(), asImporter(url), to, Options{Organization: "acme"})
			}
			if err := reads(); err != nil {
				t.Fatal(err)
			}
			role, err := pgx.Connect(t.Context(), asImporter(url))
			if err != nil {
				t.Fatal(err)
			}
			defer role.Close(context.Background())
			try := func(statement string) error {
				_, err := role.PgConn().Exec(t.Context(), statement).ReadAll()
				return err
			}
			columns, readable := columnsOf(t, conn), 0
			for _, c := range columns {
				err := try(fmt.Sprintf(`SELECT %s FROM %s LIMIT 0`, c[1], c[0]))
				if refused(err) {
					continue
				} else if err != nil {
					t.Fatal(err)
				}
				key := [2]string{c[0], strings.Trim(c[1], `"`)}
				if readable++; needed[key] { // in a newer schema
					continue
				}
				needed[key] = true
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(`REVOKE SELECT (%s) ON %s FROM insights`, c[1], c[0])); err != nil {
					t.Fatal(err)
				}
				if err := reads(); !refused(err) || !strings.Contains(err.Error(), "grants.sql") {
					t.Errorf("%s.%s is granted and not needed: %v", c[0], c[1], err)
				}
				if _, err := conn.Exec(t.Context(), fmt.Sprintf(`GRANT SELECT (%s) ON %s TO insights`, c[1], c[0])); err != nil {
					t.Fatal(err)
				}
			}
			if readable == 0 || readable == len(columns) {
				t.Errorf("%d of %d columns may be read", readable, len(columns))
			}
			checkRefusals(t, conn, try)
		})
	}
	for _, c := range grantedColumns(t) {
		if !needed[c] && !t.Failed() {
			t.Errorf("%s.%s is in no schema that is known", c[0], c[1])
		}
	}
}

// grantedColumns are those that grants.sql names, each with its table.
func grantedColumns(t *testing.T) (columns [][2]string) {
	t.Helper()
	text, err := os.ReadFile(grantsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\('(\w+)', ((?:'[\w ]+'\s*)+)\)`).FindAllStringSubmatch(string(text), -1) {
		for _, column := range strings.Fields(strings.ReplaceAll(m[2], "'", " ")) {
			columns = append(columns, [2]string{m[1], column})
		}
	}
	if len(columns) < 100 {
		t.Fatalf("%d columns were found in %s", len(columns), grantsFile)
	}
	return columns
}

// grantsFile makes the role of importers.
const grantsFile = "../../../deploy/coder/grants.sql"

// granting is held by who makes the role, which is that of all databases of the cluster.
var granting sync.Mutex

// grant makes the role of importers, or makes it once more.
func grant(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	granting.Lock()
	defer granting.Unlock()
	execFile(t, conn, grantsFile)
}

// newGranted makes a small deployment with the role of grants.sql.
func newGranted(t *testing.T, schema int) (url string, conn *pgx.Conn) {
	t.Helper()
	url, conn = newDatabase(t)
	execute(t, conn, codertest.Schema(schema))
	minutes, three := "usage_mins", "3"
	if hasColumn(t, conn, "template_usage_stats", "ssh_mins") {
		minutes, three = minutes+", ssh_mins, sftp_mins, reconnecting_pty_mins, vscode_mins, jetbrains_mins", three+", 3, 0, 0, 0, 0"
	}
	execute(t, conn, `INSERT INTO organizations VALUES (gen_random_uuid(), 'acme', '', true);
		INSERT INTO users (id, username) VALUES (gen_random_uuid(), 'ann');
		INSERT INTO organization_members SELECT users.id, organizations.id FROM users, organizations;
		INSERT INTO templates (id, organization_id, name) SELECT gen_random_uuid(), id, 'docker' FROM organizations;
		INSERT INTO template_usage_stats (start_time, end_time, template_id, user_id, `+minutes+`)
		SELECT begin, begin + INTERVAL '30 minutes', templates.id, users.id, `+three+`
		FROM templates, users, (SELECT date_trunc('hour', now()) - INTERVAL '2 days' AS begin) AS half_hour`)
	grant(t, conn)
	// Connections end a little after they are closed.
	if _, err := conn.Exec(t.Context(), `ALTER ROLE insights CONNECTION LIMIT 100`); err != nil {
		t.Fatal(err)
	}
	return url, conn
}

// checkRefusals tries what the role of grants.sql must not do, and looks for what it may write.
func checkRefusals(t *testing.T, conn *pgx.Conn, try func(statement string) error) {
	t.Helper()
	for _, statement := range []string{
		`SELECT count(*) FROM api_keys`, `SELECT email FROM users`, `SELECT hashed_password FROM users`, `SELECT name FROM users`,
		`SELECT auth_token FROM workspace_agents`, `SELECT provisioner_state FROM workspace_builds`, `SELECT ip FROM audit_logs`,
		`SELECT user_agent FROM audit_logs`, `SELECT diff FROM audit_logs`,
		`SELECT input FROM provisioner_jobs`, `SELECT jwt FROM licenses`,
	} {
		if err := try(statement); !refused(err) {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if err := try(`BEGIN READ WRITE; DELETE FROM template_usage_stats`); !refused(err) {
		t.Errorf("delete half hours: %v", err)
	}
	var writable []string
	if err := conn.QueryRow(t.Context(), `SELECT array_agg(relname::text) FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')
			AND (has_table_privilege('insights', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
				OR has_any_column_privilege('insights', oid, 'INSERT, UPDATE, REFERENCES'))`).Scan(&writable); err != nil {
		t.Fatal(err)
	}
	if len(writable) > 0 {
		t.Errorf("the role may write %q", writable)
	}
}

// columnsOf are all columns of the tables of a database, each with its table.
func columnsOf(t *testing.T, conn *pgx.Conn) [][2]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT quote_ident(relname), quote_ident(attname) FROM pg_attribute
		JOIN pg_class ON pg_class.oid = attrelid AND relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')
		WHERE attnum > 0 AND NOT attisdropped ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c [2]string, err error) {
		return c, row.Scan(&c[0], &c[1])
	})
	if err != nil {
		t.Fatal(err)
	}
	return columns
}
