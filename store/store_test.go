package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

func TestSQLite(t *testing.T)   { storetest.Run(t, storetest.SQLite) }
func TestPostgres(t *testing.T) { storetest.Run(t, storetest.Postgres) }
func TestPooler(t *testing.T)   { storetest.Run(t, storetest.Pooled) }

// onEachDatabase runs a test with a fixture on each kind of database.
func onEachDatabase(t *testing.T, test func(*testing.T, *storetest.Fixture)) {
	t.Helper()
	for name, open := range map[string]func(testing.TB) string{
		"sqlite": storetest.SQLite, "postgres": storetest.Postgres, "pooler": storetest.Pooled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, storetest.NewFixture(t, open(t)))
		})
	}
}

// give changes the owner of the first workspace.
func give(t *testing.T, f *storetest.Fixture, user int) {
	t.Helper()
	_, err := f.ApplyCatalog(t.Context(), store.Catalog{Workspaces: []store.Workspace{
		{ID: f.Workspaces[0][0], OwnerID: f.Users[user], TemplateID: f.Templates[0], Name: "w"},
	}}, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
}

// placed is the first agent's place.
func placed(t *testing.T, d *store.Directory, f *storetest.Fixture) store.Placement {
	t.Helper()
	p, ok, err := d.Place(t.Context(), f.Agents[0][0])
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return p
}

// A directory of another store follows within a second by itself, and at once when it is refreshed.
func TestDirectoryFollowsOtherServers(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		other := storetest.Open(t, f.Database, storetest.Now)
		d := other.NewDirectory()
		for i := range 10 {
			placed(t, d, f)
			give(t, f, i%2)
			if err := d.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := placed(t, d, f).Owner; got != f.Users[i%2] {
				t.Errorf("refreshed after change %d: owner %v of %v", i, got, f.Users)
			}
		}
		give(t, f, 2)
		for changed := time.Now(); ; {
			begun := time.Now()
			if placed(t, d, f).Owner == f.Users[2] {
				break
			}
			if age := begun.Sub(changed); age > time.Second {
				t.Fatalf("the owner before counts after %v", age)
			}
		}
		if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyPseudonym); err != nil {
			t.Fatal(err)
		}
		if err := d.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := placed(t, d, f).Mode; got != store.PrivacyPseudonym {
			t.Errorf("refreshed after the mode changed: %s", got)
		}
		if err := f.Treat(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept, err := f.KeptAs(t.Context(), f.Users[2])
		if got := placed(t, d, f); err != nil || kept == f.Users[2] || got.Owner != kept {
			t.Errorf("after the owner %v became %v, %v: %+v", f.Users[2], kept, err, got)
		}
	})
}

// A change is seen although the version is that of a server whose clock is ahead.
func TestDirectorySeesChangesOfSlowClocks(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		if err := f.ExecForTest("UPDATE catalog_version SET version = ?", store.At(time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		d := storetest.Open(t, f.Database, storetest.Now).NewDirectory()
		for i := range 4 {
			placed(t, d, f)
			give(t, f, (i+1)%2)
			if err := d.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := placed(t, d, f).Owner; got != f.Users[(i+1)%2] {
				t.Errorf("change %d: owner %v of %v", i, got, f.Users)
			}
		}
	})
}

// What changes while it is read is not remembered as it was.
func TestDirectoryForgetsWhatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		var d *store.Directory
		var statements, at, owner int
		if err := f.AfterLookup(func() {
			if statements++; statements != at {
				return
			}
			owner = 3 - owner
			give(t, f, owner)
			// This waits in vain where the statement is one of a refresh.
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := d.Refresh(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		doubt := func() { // makes no view current, and changes nothing but the first time
			t.Helper()
			if _, err := f.SetPrivacyMode(t.Context(), access.Principal{}, uuid.Nil, store.PrivacyFull); err != nil {
				t.Fatal(err)
			}
		}
		doubt()
		owner = 1
		give(t, f, owner)
		for remembered, least := range map[bool]int{false: 3, true: 1} { // version, modes and placements; the version alone
			for try := 1; ; try++ {
				d = f.NewDirectory()
				if at = 0; remembered {
					placed(t, d, f)
					doubt()
				}
				statements, at = 0, try
				placed(t, d, f)
				if statements < at {
					if at <= least {
						t.Errorf("remembered %v: placed after %d statements, want at least %d", remembered, at-1, least)
					}
					break
				}
				if got := placed(t, d, f).Owner; got != f.Users[owner] {
					t.Errorf(
						"remembered %v: the owner changed after statement %d: %v of %v, want that of %d",
						remembered, at, got, f.Users, owner,
					)
				}
			}
		}
	})
}

// Without changes a refresh is one statement, and placing none.
func TestDirectoryReadsOneRow(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		d := f.NewDirectory()
		placed(t, d, f)
		var statements int
		if err := f.AfterLookup(func() { statements++ }); err != nil {
			t.Fatal(err)
		}
		const refreshes = 20
		for range refreshes {
			if err := d.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			for begun := time.Now(); time.Since(begun) < 10*time.Millisecond; {
				placed(t, d, f)
			}
		}
		if statements != refreshes {
			t.Errorf("%d statements for %d refreshes", statements, refreshes)
		}
	})
}

// While the version cannot be read, nothing is placed by what was known before a change.
func TestDirectoryPlacesNothingBlindly(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		d := f.NewDirectory()
		placed(t, d, f)
		give(t, f, 1)
		rename := func(from, to string) {
			t.Helper()
			if err := f.ExecForTest("ALTER TABLE " + from + " RENAME TO " + to); err != nil {
				t.Fatal(err)
			}
		}
		rename("catalog_version", "elsewhere")
		if p, ok, err := d.Place(t.Context(), f.Agents[0][0]); err == nil {
			t.Errorf("placed at %+v, %v", p, ok)
		}
		if modes, err := d.PrivacyModes(t.Context()); err == nil {
			t.Errorf("modes: %v", modes)
		}
		rename("elsewhere", "catalog_version")
		if got := placed(t, d, f).Owner; got != f.Users[1] {
			t.Errorf("owner %v of %v", got, f.Users)
		}
	})
}

// Who gives an organization a name waits for whoever may be giving the same one.
func TestNamesOfOrganizationsAtOnce(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	s := storetest.Open(t, database, storetest.Now)
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExecContext(t.Context(), `INSERT INTO organizations VALUES ($1, 'acme', '')`, uuid.New()); err != nil {
		t.Fatal(err)
	}
	refused := make(chan int, 1)
	go func() {
		refusals, err := s.ApplyCatalog(
			t.Context(), store.Catalog{Organizations: []store.Organization{{ID: uuid.New(), Name: "Acme"}}},
			store.Authority{Organization: func(uuid.UUID) bool { return true }},
		)
		if err != nil {
			t.Error(err)
		}
		refused <- len(refusals)
	}()
	for waits := false; !waits && len(refused) == 0; {
		err := db.QueryRowContext(
			t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = CAST('organizations' AS regclass) AND NOT granted)`,
		).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if <-refused != 1 {
		t.Error("two organizations got one name at once")
	}
}

// Servers that change the same workspaces at once wait for each other, and in the end every directory has the newest owners.
func TestCatalogChangesAtOnce(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, f *storetest.Fixture) {
		stores := []*store.Store{f.Store, storetest.Open(t, f.Database, storetest.Now)}
		var directories []*store.Directory
		for _, s := range stores {
			directories = append(directories, s.NewDirectory())
		}
		var wait sync.WaitGroup
		for writer := range 4 {
			wait.Go(func() {
				for i := range 10 {
					c := store.Catalog{Deleted: store.Deleted{Agents: []uuid.UUID{f.Agents[1][(writer+i)%3]}}}
					for user := range f.Users {
						c.Workspaces = append(c.Workspaces, store.Workspace{
							ID: f.Workspaces[0][(user+writer)%3], OwnerID: f.Users[(writer+i+user)%3], TemplateID: f.Templates[0],
							Name: "w",
						})
						c.Agents = append(c.Agents, store.Agent{
							ID: f.Agents[1][(user+i)%3], WorkspaceID: f.Workspaces[1][(user+i)%3], Name: "main",
						})
					}
					apply := func() error {
						_, err := stores[writer%2].ApplyCatalog(
							t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }},
						)
						return err
					}
					err := apply()
					for errors.Is(err, store.ErrConflict) { // who gave way to others comes again, as a caller does
						err = apply()
					}
					if err != nil {
						t.Error(err)
					}
					if _, _, err := directories[writer%2].Place(t.Context(), f.Agents[i%2][writer%3]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		fresh := storetest.Open(t, f.Database, storetest.Now).NewDirectory()
		for _, agent := range slices.Concat(f.Agents[0][:], f.Agents[1][:]) {
			want, ok, err := fresh.Place(t.Context(), agent)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			for i, d := range directories {
				if err := d.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got, _, err := d.Place(t.Context(), agent); err != nil || got != want {
					t.Errorf("directory %d: %+v, %v, want %+v", i, got, err, want)
				}
			}
		}
	})
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
					known, err := d.Subjects(t.Context(), storetest.AtNoWorkspace(f.Users[1]))
					return len(known) == 1, err
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
			visits := make([]store.Visit, len(c.Workspaces))
			for i, w := range c.Workspaces {
				visits[i] = store.Visit{User: w.OwnerID, Workspace: w.ID}
			}
			want, err := f.KnownSubjects(t.Context(), visits)
			if err != nil {
				t.Fatal(err)
			}
			for i, subject := range subjects {
				if subject != 0 && subject != want[visits[i]] {
					t.Errorf("agent %d counts for %d, its owner is %d", i, subject, want[visits[i]])
				}
			}
		})
	}
}
