package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/failpoint"
	"github.com/template-insights/insights/store/storetest"
)

// serverVariable makes a child of the test program the server under test.
const serverVariable = "CHAOS_SERVER"

// serverConfig is what the test tells the child.
type serverConfig struct {
	Database     string
	Pooler       bool     // it is that of a pooler
	Replicas     []string // that answer questions
	Workers      []string // of the Citus cluster whose coordinator is Database
	GRPC         string   // addresses
	HTTP         string
	Prometheus   string
	TLS          server.TLSFiles
	MaxStreamAge time.Duration
	OnlyMigrate  bool // bring the schema up to date and end

	Point  failpoint.Point // where the child does Action when it comes there for the Pass-th time
	Action string          // "kill" or "panic"
	Pass   int
	Hits   string // a file that gets a byte for each time that Action is done
}

func isServer() bool { return os.Getenv(serverVariable) != "" }

// serve is the real server, until it is told to stop or killed.
func serve() error {
	var c serverConfig
	if err := json.Unmarshal([]byte(os.Getenv(serverVariable)), &c); err != nil {
		return err
	}
	go func() { // the child ends with its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	armFailpoint(c)
	options := store.Options{Database: c.Database, Pooler: c.Pooler, ReadDatabases: c.Replicas, MaxReplicaLag: 10 * time.Second}
	options.CitusWorkers = c.Workers
	if c.OnlyMigrate {
		return store.Migrate(ctx, options)
	}
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	defer s.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	config := server.Options{
		Store: s, Logger: logger, GRPCAddress: c.GRPC, HTTPAddress: c.HTTP, PrometheusAddress: c.Prometheus,
		IngestMaxAge: 7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
		MaxStreamAge: c.MaxStreamAge,
	}
	if c.TLS.Certificate != "" {
		if config.TLS, err = c.TLS.Config(logger); err != nil {
			return err
		}
	}
	srv, err := server.New(config)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	return srv.Run(ctx)
}

// process is a server in a process of its own.
type process struct {
	serverConfig

	began time.Time
	cmd   *exec.Cmd
	log   string // file
	ended bool
}

// newServerConfig is that of a server with addresses of its own.
func newServerConfig(t *testing.T, database string) serverConfig {
	t.Helper()
	return serverConfig{
		Database: database, GRPC: storetest.FreeAddress(t), HTTP: storetest.FreeAddress(t), Prometheus: storetest.FreeAddress(t),
	}
}

// startServer starts a server without waiting for it.
func startServer(t *testing.T, c serverConfig) *process {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{serverConfig: c, cmd: exec.Command(os.Args[0]), log: log.Name(), began: time.Now()}
	p.cmd.Env = append(os.Environ(), serverVariable+"="+string(text))
	p.cmd.Stderr = log
	if _, err := p.cmd.StdinPipe(); err != nil { // open as long as this program lives
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if text := p.readLog(); t.Failed() && text != "" {
			t.Logf("log of the server:\n%s", lastLines(text, 15))
		}
	})
	return p
}

// kill ends the process at once.
func (p *process) kill() {
	if !p.ended {
		_ = p.cmd.Process.Kill()
		_ = p.wait()
	}
}

// stop lets the server drain; it has to end by itself and well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	begin := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		t.Error("server after SIGTERM:", err)
	}
	if took := time.Since(begin); took > recovery {
		t.Errorf("server took %v to stop", took)
	}
}

func (p *process) wait() error {
	p.ended = true
	return p.cmd.Wait()
}

func (p *process) readLog() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// memory is what the process has in memory now, and had at most, in MiB.
func (p *process) memory() (now, most int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for _, of := range []struct {
		name string
		to   *int
	}{{"VmRSS:", &now}, {"VmHWM:", &most}} {
		if _, rest, ok := strings.Cut(string(text), of.name); ok {
			_, _ = fmt.Sscan(rest, of.to)
			*of.to /= 1024
		}
	}
	return now, most
}

// processorTime is what the process has spent on the processor.
func (p *process) processorTime() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of Linux
}

// metric is the sum of the series of a family, which has to be there.
func (p *process) metric(t *testing.T, name string) float64 {
	t.Helper()
	sum, known := p.sum(t, name)
	if !known {
		t.Fatalf("no series %s", name)
	}
	return sum
}

// sum adds up the series of a family, if there are any.
func (p *process) sum(t *testing.T, name string) (sum float64, known bool) {
	t.Helper()
	status, text := fetch(t, "http://"+p.Prometheus+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("scrape: %d", status)
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, known = sum+n, true
	}
	return sum, known
}

// awaitReady waits until the server says whether it is ready, and returns how long that took.
func (p *process) awaitReady(t *testing.T, ready bool) time.Duration {
	t.Helper()
	begin := time.Now()
	want := map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable}[ready]
	await(t, fmt.Sprintf("/readyz of the server is %d", want), func() bool {
		status, err := get("http://"+p.HTTP+"/readyz", nil)
		return err == nil && status == want
	})
	return time.Since(begin)
}

// awaitStreams waits until so many streams are open.
func (p *process) awaitStreams(t *testing.T, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d open streams", n), func() bool { return p.metric(t, "insights_ingest_streams") == float64(n) })
}

// patience is how long a test waits for what has to come, on a machine that does other things as well.
const patience = 90 * time.Second

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	awaitWithin(t, patience, what, holds)
}

// awaitWithin is await for what takes longer.
func awaitWithin(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%v without: %s", limit, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// get fetches a page; body, unless nil, gets it.
func get(url string, body *string) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // servers come and go
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if body != nil {
		*body = string(text)
	}
	return resp.StatusCode, err
}

// fetch is get for a page that has to come.
func fetch(t *testing.T, url string) (status int, text string) {
	t.Helper()
	status, err := get(url, &text)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

// exitCode is the code of a process that ended, -1 for one that was killed.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
