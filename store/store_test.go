package store_test

import (
	"os"
	"testing"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestSQLite(t *testing.T)   { storetest.Run(t, storetest.SQLite) }
func TestPostgres(t *testing.T) { storetest.Run(t, storetest.Postgres) }

// A change is seen although another one is newer by the clock of another server.
func TestDirectorySeesChangesOfSlowClocks(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			slow, agent := f.Workspaces[0][0], f.Agents[0][0]
			change := func(ahead time.Duration, statement string, args ...any) {
				t.Helper()
				if err := f.ExecForTest(statement, append([]any{store.At(time.Now().Add(ahead))}, args...)...); err != nil {
					t.Fatal(err)
				}
			}
			change(10*time.Second, "UPDATE workspaces SET changed_at = ? WHERE id <> ?", slow)
			change(-time.Second, "UPDATE workspaces SET changed_at = ? WHERE id = ?", slow)
			d := f.NewDirectory()
			for _, deleted := range []bool{false, true} {
				if deleted {
					change(0, "UPDATE workspaces SET changed_at = ?, deleted_at = 1 WHERE id = ?", slow)
				}
				if err := d.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if p, ok, err := d.Place(t.Context(), agent); err != nil || !ok || p.DeletedAt.IsZero() == deleted {
					t.Errorf("deleted %v: the agent is placed at %+v, %v, %v", deleted, p, ok, err)
				}
			}
		})
	}
}
