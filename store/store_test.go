package store_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

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

// What is read while users are erased is not remembered.
func TestDirectoryForgetsWhatIsBeingRead(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			var reading *store.Directory
			if err := f.AfterLookup(func() {
				if reading != nil {
					reading.Forget()
				}
			}); err != nil {
				t.Fatal(err)
			}
			for user, look := range map[uuid.UUID]func(*store.Directory) (bool, error){
				f.Users[0]: func(d *store.Directory) (bool, error) {
					_, ok, err := d.Place(t.Context(), f.Agents[0][0])
					return ok, err
				},
				f.Users[1]: func(d *store.Directory) (bool, error) {
					_, ok, err := d.Subject(t.Context(), f.Users[1])
					return ok, err
				},
			} {
				d := f.NewDirectory()
				reading = d
				if ok, err := look(d); err != nil || !ok {
					t.Errorf("before it is erased, somebody is known: %v, %v", ok, err)
				}
				reading = nil
				if err := f.EraseUser(t.Context(), user); err != nil {
					t.Fatal(err)
				}
				if ok, err := look(d); err != nil || ok {
					t.Errorf("after user %v of %v was erased, somebody is known: %v, %v", user, f.Users, ok, err)
				}
			}
		})
	}
}

// Many who look for agents at the same time share statements; each gets its own answer, also if others stop waiting.
func TestDirectoryLooksForManyAtOnce(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			var c store.Catalog
			for range 1500 {
				owner, workspace := uuid.New(), uuid.New()
				c.Users = append(c.Users, store.User{ID: owner, Username: owner.String()})
				c.Workspaces = append(c.Workspaces, store.Workspace{
					ID: workspace, OwnerID: owner, TemplateID: f.Templates[0], Name: "main",
				})
				c.Agents = append(c.Agents, store.Agent{ID: uuid.New(), WorkspaceID: workspace, Name: "main"})
			}
			if _, err := f.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }}); err != nil {
				t.Fatal(err)
			}
			d := f.NewDirectory()
			var statements atomic.Int64
			if err := f.AfterLookup(func() { statements.Add(1) }); err != nil {
				t.Fatal(err)
			}
			subjects := make([]int64, len(c.Agents))
			var wait sync.WaitGroup
			for i, agent := range c.Agents {
				wait.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if i%3 == 0 {
						time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
					}
					p, ok, err := d.Place(ctx, agent.ID)
					switch {
					case errors.Is(err, context.Canceled) && i%3 == 0:
					case err != nil || !ok || p.Workspace != agent.WorkspaceID || p.Owner != c.Users[i].ID || p.Subject == 0:
						t.Errorf("agent %d is placed at %+v, %v, %v", i, p, ok, err)
					default:
						subjects[i] = p.Subject
					}
				})
				if i%10 == 0 {
					wait.Go(func() {
						if p, ok, err := d.Place(t.Context(), uuid.New()); err != nil || ok {
							t.Errorf("an unknown agent is placed at %+v, %v", p, err)
						}
					})
				}
			}
			wait.Wait()
			if n := statements.Load(); n > int64(len(c.Agents))/5 {
				t.Errorf("%d statements looked for %d agents", n, len(c.Agents))
			}
			var owners []uuid.UUID
			for _, u := range c.Users {
				owners = append(owners, u.ID)
			}
			want, err := f.KnownSubjects(t.Context(), owners)
			if err != nil {
				t.Fatal(err)
			}
			for i, subject := range subjects {
				if subject != 0 && subject != want[c.Users[i].ID] {
					t.Errorf("agent %d counts for %d, its owner is %d", i, subject, want[c.Users[i].ID])
				}
			}
		})
	}
}
