package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"go.uber.org/goleak"

	"github.com/template-insights/insights/store"
)

// Cluster is a PostgreSQL server of its own, in a temporary folder, listening on loopback.
type Cluster struct {
	Port int

	folder  string
	server  *exec.Cmd
	stopped chan struct{}
	number  atomic.Int64
}

// StartCluster creates and starts a PostgreSQL server with the given settings (name=value). It needs the server
// programs of PostgreSQL, and runs them as the user postgres when the caller is root.
func StartCluster(settings ...string) (*Cluster, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "insights-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{folder: folder, stopped: make(chan struct{})}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(folder))
		}
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	initdb.Dir = folder
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(folder))
	}
	if c.Port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	args := []string{"-D", data, "-p", strconv.Itoa(c.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + folder, "-c", "max_connections=200"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	c.server = exec.Command(filepath.Join(bin, "postgres"), args...)
	c.server.Dir = folder
	// The server goes down with this process, even if that is killed.
	c.server.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGQUIT}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	c.server.Stdout, c.server.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		// The death signal is bound to the thread that started the child, so the thread has to live as long.
		runtime.LockOSThread()
		err := c.server.Start()
		started <- err
		if err == nil {
			_ = c.server.Wait()
		}
		close(c.stopped)
		_ = log.Close()
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), os.RemoveAll(folder))
	}
	if err := c.waitReady(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// URL names a database of the cluster. Its password is not asked for, but must not show up anywhere.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres:correct-horse-battery@127.0.0.1:%d/%s?sslmode=disable", c.Port, database)
}

// PID is the process id of the server.
func (c *Cluster) PID() int { return c.server.Process.Pid }

// Stop shuts the server down, whoever is connected, and removes its folder.
func (c *Cluster) Stop() error {
	_ = c.server.Process.Signal(syscall.SIGINT)
	select {
	case <-c.stopped:
	case <-time.After(20 * time.Second):
		_ = c.server.Process.Signal(syscall.SIGQUIT)
		<-c.stopped
	}
	return os.RemoveAll(c.folder)
}

func (c *Cluster) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := c.Exec(ctx, "postgres", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-c.stopped:
			log, _ := os.ReadFile(filepath.Join(c.folder, "log"))
			return fmt.Errorf("postgres did not start: %s", log)
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Exec runs a statement in one of the databases.
func (c *Cluster) Exec(ctx context.Context, database, statement string) error {
	db, err := sql.Open("pgx", c.URL(database))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// Create makes a new database, a copy of another one if template is not empty, and returns its URL.
func (c *Cluster) Create(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("test%d", c.number.Add(1))
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + template
	}
	if err := c.Exec(ctx, "postgres", statement); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return c.URL(name), nil
}

// findPostgres looks for the newest server programs.
func findPostgres() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("PostgreSQL is not installed: on Debian, apt-get install postgresql")
}

func majorVersion(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// unprivileged is whom to run PostgreSQL as: it refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root and there is no user postgres: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// shared is the cluster of a test program.
var shared struct {
	sync.Mutex
	cluster *Cluster
}

// Main runs the tests of a package, makes sure that no goroutine is left of them, and stops what they shared. A package that uses Postgres calls it from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		if err := shared.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop postgres:", err)
			return 1
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		code = 1
	}
	return code
}

// Postgres returns the URL of a database of the test's own with a current schema. A test fails if there is no
// PostgreSQL on the machine.
func Postgres(t testing.TB) string {
	t.Helper()
	c := SharedCluster(t)
	url, err := c.Create(t.Context(), "migrated")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// SharedCluster is the cluster that the tests of a package share. It does not sync: what a test proves about crashes
// it proves of the server's processes.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		c, err := StartCluster("fsync=off", "full_page_writes=off", "autovacuum=off")
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = c
		if err := c.Exec(t.Context(), "postgres", "CREATE DATABASE migrated"); err != nil {
			t.Fatal(err)
		}
		if err := store.Migrate(t.Context(), store.Options{Database: c.URL("migrated")}); err != nil {
			t.Fatal(err)
		}
	}
	return shared.cluster
}

// SQLite names a database file of the test's own with a current schema.
func SQLite(t testing.TB) string {
	t.Helper()
	name := "sqlite:" + filepath.Join(t.TempDir(), "insights.db")
	if err := store.Migrate(t.Context(), store.Options{Database: name}); err != nil {
		t.Fatal(err)
	}
	return name
}
