package chaos

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/template-insights/insights/store/storetest"
)

// Three replicas migrate an empty database at once, and one of them is killed while it does, perhaps. The others end well, one
// that comes after finds nothing left to do, and the schema is the one that a single server makes.
func TestMigrationRace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fresh  func(*testing.T) string
		schema string
	}{
		"sqlite": {
			func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "insights.db") },
			"SELECT coalesce(sql, name) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
		},
		"postgres": {
			func(t *testing.T) string {
				url, err := storetest.SharedCluster(t).Create(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				return url
			},
			`SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns
				WHERE table_schema = 'public'
				UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT 'version ' || version_id
				FROM goose_db_version`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := newRandom(t)
			schema := func(database string) string {
				db := openTables(t, database)
				defer db.Close()
				var lines []string
				each(t, db, c.schema, func(scan func(...any) error) error {
					var line string
					err := scan(&line)
					lines = append(lines, line)
					return err
				})
				slices.Sort(lines)
				return strings.Join(lines, "\n")
			}
			want := schema(databases[name](t))
			survivors := 0
			for range *migrations {
				database := c.fresh(t)
				replicas := make([]*process, 3)
				for i := range replicas {
					replicas[i] = startServer(t, serverConfig{Database: database, OnlyMigrate: true})
				}
				<-time.After(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
				_ = replicas[0].cmd.Process.Kill()
				for i, p := range replicas {
					if err := p.wait(); err == nil {
						survivors++
					} else if i > 0 || exitCode(err) > 0 {
						t.Errorf("replica %d: %v: %s", i, err, p.readLog())
					}
				}
				last := startServer(t, serverConfig{Database: database, OnlyMigrate: true})
				if err := last.wait(); err != nil {
					t.Errorf("the last: %v: %s", err, last.readLog())
				}
				if got := schema(database); got != want {
					t.Errorf("schema:\n%s\nwant:\n%s", got, want)
				}
			}
			t.Logf("%d rounds, %d of %d replicas ended well, the others were killed", *migrations, survivors, 3**migrations)
		})
	}
}
