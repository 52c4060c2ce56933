package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
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
	as      *syscall.Credential
	command []string
	server  *exec.Cmd
	stopped chan struct{}
	number  atomic.Int64
}

// StartCluster creates and starts a PostgreSQL server with the given settings (name=value). It needs the server
// programs of PostgreSQL, and runs them as the user postgres when the caller is root.
func StartCluster(settings ...string) (*Cluster, error) { return StartClusterIn("", settings...) }

// StartClusterIn is StartCluster with the files of the server in a folder of the caller's, which the server's user can enter.
func StartClusterIn(parent string, settings ...string) (*Cluster, error) {
	return startCluster(parent, func(bin, data string) *exec.Cmd {
		return exec.Command(
			filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8",
		)
	}, settings...)
}

// StartStandby starts a server that follows this one. From then on a commit here returns when the standby has it on disk as well: what was
// acknowledged outlives this server.
func (c *Cluster) StartStandby(ctx context.Context) (*Cluster, error) {
	standby, err := c.startFollower(ctx)
	if err != nil {
		return nil, fmt.Errorf("start standby: %w", err)
	}
	for _, statement := range []string{
		"ALTER SYSTEM SET synchronous_standby_names = '*'",
		"ALTER SYSTEM SET wal_keep_size = '1GB'", // for a standby that was away
		"SELECT pg_reload_conf()",
	} {
		if err := c.Exec(ctx, "postgres", statement); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for the standby at each commit: %w", err), standby.Stop())
		}
	}
	return standby, nil
}

func (c *Cluster) startFollower(ctx context.Context) (*Cluster, error) {
	return startCluster("", func(bin, data string) *exec.Cmd {
		from := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres", c.Port)
		return exec.CommandContext(
			ctx, filepath.Join(bin, "pg_basebackup"), "-D", data, "-d", from, "-R", "-X", "stream", "-c", "fast", "--no-sync",
		)
	})
}

// StartReplicas starts a server and n that replay what it writes, which it does not wait for, and returns the URLs of a database with a
// current schema on each of them, the primary's first. They end with the test.
func StartReplicas(t testing.TB, n int) (clusters []*Cluster, urls []string) {
	t.Helper()
	primary, err := StartCluster("fsync=off", "autovacuum=off")
	if err != nil {
		t.Fatal(err)
	}
	clusters = []*Cluster{primary}
	t.Cleanup(func() {
		for _, c := range slices.Backward(clusters) {
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	const name = "insights"
	if err := primary.Exec(t.Context(), "postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), store.Options{Database: primary.URL(name)}); err != nil {
		t.Fatal(err)
	}
	for range n {
		c, err := primary.startFollower(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		clusters = append(clusters, c)
	}
	for _, c := range clusters {
		urls = append(urls, c.URL(name))
	}
	return clusters, urls
}

// Promote makes a standby a primary and returns when it accepts writes.
func (c *Cluster) Promote(ctx context.Context) error {
	if err := c.Exec(ctx, "postgres", "SELECT pg_promote(wait_seconds => 60)"); err != nil {
		return fmt.Errorf("promote standby: %w", err)
	}
	return nil
}

// startCluster starts a server whose files a command makes.
func startCluster(parent string, makeFiles func(bin, data string) *exec.Cmd, settings ...string) (*Cluster, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(parent, "insights-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{folder: folder, as: as}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(folder))
		}
	}
	data := filepath.Join(folder, "data")
	files := makeFiles(bin, data)
	files.Dir = folder
	files.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := files.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", filepath.Base(files.Path), err, out), os.RemoveAll(folder))
	}
	if c.Port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	c.command = []string{
		filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(c.Port), "-c", "listen_addresses=127.0.0.1", "-c",
		"unix_socket_directories=" + folder, "-c", "max_connections=200",
	}
	for _, s := range settings {
		c.command = append(c.command, "-c", s)
	}
	if err := c.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return c, nil
}

// Start starts a server that has ended, and waits until it answers.
func (c *Cluster) Start() error {
	server, stopped := exec.Command(c.command[0], c.command[1:]...), make(chan struct{})
	server.Dir = c.folder
	// The server goes down with this process, even if that is killed.
	server.SysProcAttr = &syscall.SysProcAttr{Credential: c.as, Pdeathsig: syscall.SIGQUIT}
	log, err := os.OpenFile(filepath.Join(c.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	server.Stdout, server.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		// The death signal is bound to the thread that started the child, so the thread has to live as long.
		runtime.LockOSThread()
		err := server.Start()
		started <- err
		if err == nil {
			_ = server.Wait()
		}
		close(stopped)
		_ = log.Close()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	c.server, c.stopped = server, stopped
	if err := c.waitReady(); err != nil {
		return errors.Join(err, c.end(syscall.SIGQUIT))
	}
	return nil
}

// Kill ends the server and all its processes at once and waits until they are gone: only then it can be started again.
func (c *Cluster) Kill() error {
	if err := c.server.Process.Signal(syscall.SIGSTOP); err != nil { // no new ones
		return err
	}
	children := c.Backends()
	for _, pid := range append(children, c.PID()) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	<-c.stopped
	for deadline := time.Now().Add(10 * time.Second); ; {
		left := slices.DeleteFunc(slices.Clone(children), func(pid int) bool {
			_, state := process(pid)
			return state == "" || state == "Z"
		})
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of postgres do not end", left)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Shutdown ends the server: fast, or immediately, as after a crash.
func (c *Cluster) Shutdown(immediately bool) error {
	if immediately {
		return c.end(syscall.SIGQUIT)
	}
	return c.end(syscall.SIGINT)
}

// end sends the server a signal and waits until it has ended.
func (c *Cluster) end(how syscall.Signal) error {
	_ = c.server.Process.Signal(how)
	select {
	case <-c.stopped:
		return nil
	case <-time.After(20 * time.Second):
		_ = c.server.Process.Signal(syscall.SIGQUIT)
		<-c.stopped
		return fmt.Errorf("postgres did not end after signal %v", how)
	}
}

// Backends are the processes of the server but for the first.
func (c *Cluster) Backends() []int {
	var children []int
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil {
			if parent, _ := process(pid); parent == c.PID() {
				children = append(children, pid)
			}
		}
	}
	return children
}

// process is what /proc says of a process: its parent and its state; 0 and empty when there is none.
func process(pid int) (parent int, state string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may hold blanks
	_, _ = fmt.Sscan(rest, &state, &parent)
	return parent, state
}

// URL names a database of the cluster. Its password is not asked for, but must not show up anywhere.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres:correct-horse-battery@127.0.0.1:%d/%s?sslmode=disable", c.Port, database)
}

// PID is the process id of the server.
func (c *Cluster) PID() int { return c.server.Process.Pid }

// Stop shuts the server down, whoever is connected, and removes its folder.
func (c *Cluster) Stop() error {
	return errors.Join(c.end(syscall.SIGINT), os.RemoveAll(c.folder))
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
	return execIn(ctx, c.URL(database), statement)
}

// execIn runs a statement in the database of a URL.
func execIn(ctx context.Context, database, statement string) error {
	db, err := sql.Open("pgx", database)
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

// PostgresPrograms is the folder of the programs of PostgreSQL.
func PostgresPrograms(t testing.TB) string {
	t.Helper()
	folder, err := findPostgres()
	if err != nil {
		t.Fatal(err)
	}
	return folder
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

// FreeAddress returns an address of loopback for a server that is stopped and started again.
func FreeAddress(t testing.TB) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// Test programs that run beside each other have ports of their own, most of the time, so that none takes what another one found free a
// moment before.
const (
	portBlocks = 100
	blockPorts = 220
)

var (
	firstPort  = rand.Int64N(blockPorts)
	portsGiven atomic.Int64
)

// freePort returns a port that nobody listens at, and that the system does not give to somebody's connection while its server
// is away: those are above 32767.
func freePort() (int, error) {
	for tries := 0; ; tries++ {
		port := 10_000 + os.Getpid()%portBlocks*blockPorts + int((firstPort+portsGiven.Add(1))%blockPorts)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		if tries == blockPorts {
			return 0, fmt.Errorf("look for a free port: %w", err)
		}
	}
}

// shared is the cluster of a test program.
var shared struct {
	sync.Mutex
	cluster *Cluster
	pooler  *Pooler
	keys    string // folder of the privacy keys of databases; empty: none yet
}

// Main runs the tests of a package, makes sure that no goroutine is left of them but those of the options, and stops what they
// shared. A package that uses Postgres calls it from TestMain.
func Main(m *testing.M, left ...goleak.Option) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.pooler != nil {
		if err := shared.pooler.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop pgbouncer:", err)
			return 1
		}
	}
	if shared.cluster != nil {
		if err := shared.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop postgres:", err)
			return 1
		}
	}
	if shared.keys != "" {
		if err := os.RemoveAll(shared.keys); err != nil {
			fmt.Fprintln(os.Stderr, "remove privacy keys:", err)
			return 1
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(left...); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		code = 1
	}
	return code
}

// Postgres returns the URL of a database of the test's own with a current schema, which lies on a Citus cluster if [onCitus] names one. A
// test fails if there is no PostgreSQL on the machine; with -short it is skipped.
func Postgres(t testing.TB) string {
	t.Helper()
	if os.Getenv(onCitus) == "" {
		return sharedDatabase(t)
	}
	url := EmptyPostgres(t)
	if err := store.Migrate(t.Context(), store.Options{Database: url}); err != nil {
		t.Fatal(err)
	}
	return url
}

// EmptyPostgres is Postgres without tables.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	if coordinator := os.Getenv(onCitus); coordinator != "" {
		return emptyCitus(t, coordinator)
	}
	url, err := SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// sharedDatabase is a database of the test's own on the cluster that tests share.
func sharedDatabase(t testing.TB) string {
	t.Helper()
	c := SharedCluster(t)
	url, err := c.Create(t.Context(), "migrated")
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// SharedCluster is the cluster that the tests of a package share. It does not sync: what a test proves about crashes
// it proves of the server's processes. With -short the test is skipped.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
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

// PrivacyKey is the privacy key of a database, whoever opens it.
func PrivacyKey(t testing.TB, database string) *store.PrivacyKey {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.keys == "" {
		folder, err := os.MkdirTemp("", "insights-keys-")
		if err != nil {
			t.Fatal(err)
		}
		shared.keys = folder
	}
	key, err := store.CreatePrivacyKey(filepath.Join(shared.keys, fmt.Sprintf("%x", sha256.Sum256([]byte(database)))))
	if err != nil {
		t.Fatal(err)
	}
	return key
}
