package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Pooler is a PgBouncer of its own before a cluster, listening on loopback. It lends connections for a transaction at a time.
type Pooler struct {
	Port int

	folder  string
	command []string
	server  *exec.Cmd
	stopped chan struct{}
}

// databaseFormat is the line that says where all databases are, with the port.
const databaseFormat = "* = host=127.0.0.1 port=%d user=postgres"

var databaseLine = regexp.MustCompile(`(?m)^\* = .*$`)

// StartPooler starts a pooler with a number of connections to each database of the cluster, and further settings (name = value). It
// needs PgBouncer, and runs it as the cluster is run.
func (c *Cluster) StartPooler(connections int, settings ...string) (*Pooler, error) {
	program, err := exec.LookPath("pgbouncer")
	if errors.Is(err, exec.ErrNotFound) {
		program, err = exec.LookPath("/usr/sbin/pgbouncer") // not in everybody's path
	}
	if err != nil {
		return nil, errors.New("PgBouncer is not installed: on Debian, apt-get install pgbouncer")
	}
	p := &Pooler{}
	if p.folder, err = os.MkdirTemp("", "insights-pgbouncer-"); err != nil {
		return nil, err
	}
	if p.Port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	file := filepath.Join(p.folder, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n"+databaseFormat+`
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 5000
server_idle_timeout = 5
`, c.Port, p.Port, connections)
	for _, s := range settings {
		text += s + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	if c.as != nil {
		for _, name := range []string{p.folder, file} {
			if err := os.Chown(name, int(c.as.Uid), int(c.as.Gid)); err != nil {
				return nil, errors.Join(err, os.RemoveAll(p.folder))
			}
		}
	}
	p.command = []string{program, file}
	if err := p.start(c); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	return p, nil
}

// start starts the program and waits until it answers.
func (p *Pooler) start(c *Cluster) error {
	p.server, p.stopped = exec.Command(p.command[0], p.command[1:]...), make(chan struct{})
	p.server.Dir = p.folder
	p.server.SysProcAttr = &syscall.SysProcAttr{Credential: c.as, Pdeathsig: syscall.SIGINT}
	log, err := os.Create(filepath.Join(p.folder, "log"))
	if err != nil {
		return err
	}
	p.server.Stdout, p.server.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death signal is bound to the thread
		err := p.server.Start()
		started <- err
		if err == nil {
			_ = p.server.Wait()
		}
		close(p.stopped)
		_ = log.Close()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start pgbouncer: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := execIn(ctx, p.URL(c.URL("postgres")), "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-p.stopped:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("pgbouncer did not start: %s", text)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for pgbouncer: %w", err), p.Stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// URL is that of a database of the cluster through the pooler.
func (p *Pooler) URL(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		panic(err) // a cluster makes none
	}
	u.Host = "127.0.0.1:" + strconv.Itoa(p.Port)
	return u.String()
}

// Move kills the pooler, whoever is connected, and starts it again before a cluster, which may be another one.
func (p *Pooler) Move(c *Cluster) error {
	p.kill()
	file := p.command[1]
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	moved := databaseLine.ReplaceAll(text, fmt.Appendf(nil, databaseFormat, c.Port))
	if err := os.WriteFile(file, moved, 0o600); err != nil {
		return err
	}
	return p.start(c)
}

// Log is what the pooler wrote since it was started last, and whether it ended by itself.
func (p *Pooler) Log() (text string, ended bool) {
	log, _ := os.ReadFile(filepath.Join(p.folder, "log"))
	select {
	case <-p.stopped:
		return string(log), true
	default:
		return string(log), false
	}
}

func (p *Pooler) kill() {
	_ = p.server.Process.Kill()
	<-p.stopped
}

// Stop ends the pooler at once, whoever is connected, and removes its folder.
func (p *Pooler) Stop() error {
	p.kill()
	return os.RemoveAll(p.folder)
}

// Pooled returns the URL, by way of a pooler, of a database of the test's own with a current schema, to be opened with
// [store.Options.Pooler], as [Open] does. The pooler has fewer connections than a store.
func Pooled(t testing.TB) string {
	t.Helper()
	database := sharedDatabase(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.pooler == nil {
		p, err := shared.cluster.StartPooler(3)
		if err != nil {
			t.Fatal(err)
		}
		shared.pooler = p
	}
	return shared.pooler.URL(database)
}

// isPooled reports whether Pooled returned a URL.
func isPooled(database string) bool {
	shared.Lock()
	defer shared.Unlock()
	u, err := url.Parse(database)
	return err == nil && shared.pooler != nil && u.Port() == strconv.Itoa(shared.pooler.Port)
}
