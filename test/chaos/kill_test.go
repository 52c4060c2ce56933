// Package chaos breaks the service on purpose and holds its answers against ledgers that agents keep outside of it.
package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

const (
	cycles = 20
	agents = 16
)

func TestKillServerSQLite(t *testing.T)   { t.Parallel(); killServer(t, storetest.SQLite(t)) }
func TestKillServerPostgres(t *testing.T) { t.Parallel(); killServer(t, storetest.Postgres(t)) }

// killServer kills the server at random moments under load while the agents resend. In the end every acknowledged
// report is looked up by its bit, and nothing else may be there.
func killServer(t *testing.T, database string) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	fleet := newFleet(t, database)
	address := freeAddress(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, a := range fleet {
		running.Go(func() {
			if err := a.run(ctx, address, stop); err != nil {
				t.Error("agent:", err)
			}
		})
	}
	for range cycles {
		child := start(t, database, address)
		waitForAcks(ctx, t, fleet)
		<-time.After(time.Duration(random.Int64N(int64(500 * time.Millisecond)))) // any moment is as good as another
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	child := start(t, database, address)
	close(stop)
	running.Wait()
	_ = child.Process.Signal(syscall.SIGTERM)
	if err := child.Wait(); err != nil {
		t.Error("server after SIGTERM:", err)
	}
	check(t, database, fleet)
}

// newFleet makes a catalog in which every agent has a user of its own.
func newFleet(t *testing.T, database string) []*agent {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	organization, template := uuid.New(), uuid.New()
	c := store.Catalog{
		Organizations: []store.Organization{{ID: organization, Name: "acme"}},
		Templates:     []store.Template{{ID: template, OrganizationID: organization, Name: "docker"}},
	}
	fleet := make([]*agent, agents)
	tokens := make([]store.Token, agents)
	for i := range fleet {
		a := &agent{
			id: uuid.New(), owner: uuid.New(), open: map[int]bit{}, acked: map[bit]struct{}{},
			first: time.Now().Add(-6*24*time.Hour).Unix() / 60,
		}
		workspace := uuid.New()
		c.Users = append(c.Users, store.User{ID: a.owner, Username: fmt.Sprint("user", i), Kind: "human", Status: "active"})
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: workspace, OwnerID: a.owner, TemplateID: template})
		c.Agents = append(c.Agents, store.Agent{ID: a.id, WorkspaceID: workspace})
		tokens[i] = store.Token{PrincipalKind: access.KindAgent, PrincipalID: a.id}
		fleet[i] = a
	}
	refusals, err := s.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	secrets, err := s.CreateTokens(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range fleet {
		a.token = secrets[i].Reveal()
	}
	return fleet
}

// start runs the server in a process of its own, which ends with this one.
func start(t *testing.T, database, address string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), databaseVariable+"="+database, addressVariable+"="+address)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	return child
}

// waitForAcks waits until the server that was just started acknowledged something.
func waitForAcks(ctx context.Context, t *testing.T, fleet []*agent) {
	t.Helper()
	before := acknowledged(fleet)
	for acknowledged(fleet) == before {
		select {
		case <-ctx.Done():
			t.Fatal("no acknowledgement after a restart:", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func acknowledged(fleet []*agent) int {
	n := 0
	for _, a := range fleet {
		a.mu.Lock()
		n += len(a.acked)
		a.mu.Unlock()
	}
	return n
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// check holds the database against the ledgers: every bit that was acknowledged is there, and no other.
func check(t *testing.T, database string, fleet []*agent) {
	t.Helper()
	stored := readBits(t, database)
	lost, extra, acked, resent, streams := 0, 0, 0, int64(0), int64(0)
	for _, a := range fleet {
		bits := stored[a.owner]
		for b := range a.acked {
			if _, ok := bits[b]; !ok {
				lost++
			}
		}
		for b := range bits {
			if _, ok := a.acked[b]; !ok {
				extra++
			}
		}
		if len(a.rejected) > 0 {
			t.Errorf("%d reports were rejected, the first: %s", len(a.rejected), a.rejected[0])
		}
		acked, resent, streams = acked+len(a.acked), resent+a.resent.Load(), streams+a.streams.Load()
	}
	t.Logf("%d kills, %d acknowledged reports checked one by one, %d resent, %d streams: %d lost, %d double or foreign", cycles, acked, resent, streams, lost, extra)
	if lost > 0 || extra > 0 {
		t.Errorf("%d acknowledged reports are lost, %d bits were never acknowledged", lost, extra)
	}
	if resent == 0 || acked < cycles*agents {
		t.Errorf("the campaign proves nothing: %d acknowledged, %d resent", acked, resent)
	}
	checkTotals(t, database, fleet)
}

// checkTotals holds the service's own answer against the ledgers.
func checkTotals(t *testing.T, database string, fleet []*agent) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	auditor := access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleAuditor})
	everything, err := access.Templates(auditor, access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	users, err := s.UserActivity(t.Context(), everything, minute.NewWindow(time.Now().Add(-8*24*time.Hour), time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[uuid.UUID]int64{}
	for _, u := range users {
		got[u.UserID] = u.Minutes
	}
	for _, a := range fleet {
		minutes := map[int64]struct{}{}
		for b := range a.acked {
			minutes[b.minute] = struct{}{}
		}
		if got[a.owner] != int64(len(minutes)) {
			t.Errorf("answer: %d minutes of %s, the ledger has %d", got[a.owner], a.owner, len(minutes))
		}
	}
}

// readBits reads every session bit of the tables, past the code under test but for the page format.
func readBits(t *testing.T, database string) map[uuid.UUID]map[bit]struct{} {
	t.Helper()
	driver, dsn := "pgx", database
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+filepath.ToSlash(path)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owners := map[int64]uuid.UUID{}
	each(t, db, "SELECT user_id, subject FROM subjects", func(scan func(...any) error) error {
		var user uuid.UUID
		var subject int64
		err := scan(&user, &subject)
		owners[subject] = user
		return err
	})
	bits := map[uuid.UUID]map[bit]struct{}{}
	add := func(r minute.Row) {
		if r.Kind != minute.Session {
			return
		}
		owner := owners[r.Subject]
		if bits[owner] == nil {
			bits[owner] = map[bit]struct{}{}
		}
		for m := range int64(minute.MinutesPerHalfHour) {
			if r.Minutes>>m&1 == 1 {
				bits[owner][bit{r.App, int64(r.HalfHour)*minute.MinutesPerHalfHour + m}] = struct{}{}
			}
		}
	}
	each(t, db, "SELECT half_hour, subject, kind, app, minutes FROM usage_open", func(scan func(...any) error) error {
		var r minute.Row
		err := scan(&r.HalfHour, &r.Subject, &r.Kind, &r.App, &r.Minutes)
		add(r)
		return err
	})
	each(t, db, "SELECT day, usage FROM usage_day", func(scan func(...any) error) error {
		var day int32
		var p minute.Page
		if err := scan(&day, &p.Usage); err != nil {
			return err
		}
		rows, err := minute.DecodePage(day, p)
		for _, r := range rows {
			add(r)
		}
		return err
	})
	return bits
}

func each(t *testing.T, db *sql.DB, query string, f func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
