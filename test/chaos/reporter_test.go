package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// reporterVariable makes a child of the test program an agent with a spool.
const reporterVariable = "CHAOS_REPORTER"

// reporterConfig is what the test tells the child.
type reporterConfig struct {
	GRPC   string // address
	Token  string
	Folder string // of the spool
	Bytes  int64  // bound of the spool
}

func isReporter() bool { return os.Getenv(reporterVariable) != "" }

// runReporter is the real reporter as an agent uses it, until it is killed. It reports what it reads, a report to a line, and says
// of each when it was taken over. When there is no more to read it waits until the server has everything, and ends.
func runReporter() error {
	var c reporterConfig
	if err := json.Unmarshal([]byte(os.Getenv(reporterVariable)), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	spool, err := client.OpenSpool(c.Folder, c.Bytes)
	if err != nil {
		return err
	}
	defer spool.Close()
	conn, err := client.NewConn("passthrough:"+c.GRPC, client.Token(c.Token), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	reporter := client.NewSpoolingReporter(conn, spool)
	running, end := context.WithCancel(ctx)
	defer end()
	go func() { _ = reporter.Run(running) }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		report := &insightsv1.AgentReport{}
		if err := protojson.Unmarshal(lines.Bytes(), report); err != nil {
			return err
		}
		if err := reporter.Report(ctx, report); err != nil {
			return err
		}
		fmt.Println("taken over")
	}
	return reporter.Flush(ctx)
}

// spoolingAgent is an agent of a fleet whose reports an agent in a process of its own sends.
type spoolingAgent struct {
	*agent
	reporterConfig

	cmd     *exec.Cmd
	stdin   io.WriteCloser
	feeding sync.WaitGroup
}

// start starts the process and keeps it fed until it ends or stop is closed. A report is noted as acknowledged when the process
// has taken it over: from then on it must not be lost, whatever dies.
func (s *spoolingAgent) start(t *testing.T, stop <-chan struct{}) {
	t.Helper()
	config, err := json.Marshal(s.reporterConfig)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), reporterVariable+"="+string(config))
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.feeding.Go(func() {
		defer s.stdin.Close()
		answers := bufio.NewScanner(stdout)
		for !isClosed(stop) {
			n, report := s.think()
			text, err := protojson.Marshal(report)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := fmt.Fprintln(s.stdin, string(text)); err != nil || !answers.Scan() {
				return // killed
			}
			s.mu.Lock()
			s.acknowledge(n)
			s.mu.Unlock()
		}
	})
}

// kill ends the process at once.
func (s *spoolingAgent) kill() {
	_ = s.cmd.Process.Kill()
	s.feeding.Wait()
	_ = s.cmd.Wait()
}

// bytes is how much the spool takes on disk.
func (s *spoolingAgent) bytes(t *testing.T) (size int64) {
	t.Helper()
	err := filepath.WalkDir(s.Folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return nil // it was removed meanwhile
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return size
}

// Agents with a spool report as fast as they can while the server is killed again and again, stays away for a while, and the agents
// are killed as well: what the reporter took over arrives, and the spool keeps within its bound.
func TestReporterOutlivesKills(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	f := newFleet(t, databases["sqlite"](t), 2)
	config := newServerConfig(t, f.database)
	const bound = 16 << 10
	agents := make([]*spoolingAgent, len(f.agents))
	stop := make(chan struct{})
	for i, a := range f.agents {
		agents[i] = &spoolingAgent{agent: a, reporterConfig: reporterConfig{
			GRPC: config.GRPC, Token: a.token, Folder: filepath.Join(t.TempDir(), strconv.Itoa(i)), Bytes: bound,
		}}
		agents[i].start(t, stop)
		t.Cleanup(func() { agents[i].kill() })
	}
	largest := int64(0)
	for i := range *reporterKills {
		p := startServer(t, config)
		f.awaitAcks(t, 100)
		<-time.After(time.Duration(random.Int64N(int64(500 * time.Millisecond)))) // any moment is as good as another
		p.kill()
		victim := agents[i%len(agents)]
		await(t, "a full spool", func() bool { return victim.bytes(t) > bound*9/10 })
		victim.kill()
		for _, s := range agents {
			largest = max(largest, s.bytes(t))
		}
		victim.start(t, stop)
	}
	p := startServer(t, config)
	f.awaitAll(t)
	close(stop)
	for _, s := range agents {
		s.feeding.Wait()
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("agent %d: %v", s.number, err)
		}
		if left := s.bytes(t); left > 0 {
			t.Errorf("%d bytes are left in the spool of agent %d", left, s.number)
		}
	}
	v := f.check(t, config.GRPC)
	p.stop(t)
	t.Logf("%d kills of the server, and each time of an agent whose spool was full; %d bytes at most of %d", *reporterKills, largest, bound)
	if largest > bound {
		t.Errorf("a spool had %d bytes, the bound is %d", largest, bound)
	}
	if v.acked < 100**reporterKills {
		t.Errorf("the campaign proves nothing: %d reports were taken over", v.acked)
	}
}
