package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
)

// A server with this variable shows agent stats by the labels that are its value, or in full.
const (
	agentStatsVariable = "BENCH_AGENT_STATS_BY"
	inFull             = "all"
)

// collectAgentStats configures a server process by its environment.
func collectAgentStats(c *server.Options) {
	by := os.Getenv(agentStatsVariable)
	c.CollectAgentStats = by != ""
	if by != "" && by != inFull {
		c.AgentStatsBy = []string{by}
	}
}

// tellMemory lets a server process give back memory that it does not need, whenever it gets SIGUSR1, and say how much it holds, in MiB:
// the least in two seconds, because what it reads in the background every half a minute, for less than one, takes a third of what it holds
// otherwise.
func tellMemory(ctx context.Context) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	go func() {
		for {
			select {
			case <-told:
				held := math.Inf(1)
				for range 5 {
					debug.FreeOSMemory()
					held = min(held, processMemory(os.Getpid(), "VmRSS:"))
					time.Sleep(400 * time.Millisecond)
				}
				_ = json.NewEncoder(os.Stdout).Encode(held)
			case <-ctx.Done():
				return
			}
		}
	}()
}

// measureScrapes scrapes servers to which all agents report: one that shows all labels, and one that adds up by template.
// The database has no part in a scrape, so one kind is enough.
func measureScrapes(ctx context.Context, t *table, d database, s sizes) error {
	if d.cluster == nil {
		return nil
	}
	return d.with(ctx, func(name string, st *store.Store) error {
		agents, _, token, err := newFleet(ctx, st, s)
		if err != nil {
			return err
		}
		for _, by := range []struct{ label, goal string }{{inFull, "≤ 5"}, {"template_name", "≤ 1"}} {
			err := withServer(ctx, name, func(child *serverProcess) error {
				return measureScrape(ctx, t, d, child, agents, token, by.label, by.goal)
			}, agentStatsVariable+"="+by.label)
			if err != nil {
				return fmt.Errorf("scrape by %s: %w", by.label, err)
			}
		}
		return nil
	})
}

func measureScrape(ctx context.Context, t *table, d database, child *serverProcess, agents []uuid.UUID, token, by, goal string) error {
	if err := reportOnce(ctx, child, agents, token); err != nil {
		return err
	}
	series, err := child.waitForAgents(ctx, len(agents))
	if err != nil {
		return err
	}
	// Idle is what the server needs anyway: it reads names and the insights of the last minutes again and again.
	idle, err := child.peakMemory(func() error {
		select {
		case <-time.After(t.sizes.Length):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	if err := child.scrape(ctx, "", io.Discard); err != nil {
		return err
	}
	first, err := child.settledMemory()
	if err != nil {
		return err
	}
	seconds := make([]float64, t.sizes.Scrapes)
	peak, err := child.peakMemory(func() error {
		for i := range seconds {
			begin := time.Now()
			if err := child.scrape(ctx, "", io.Discard); err != nil {
				return err
			}
			seconds[i] = time.Since(begin).Seconds()
		}
		return nil
	})
	if err != nil {
		return err
	}
	last, err := child.settledMemory()
	if err != nil {
		return err
	}
	slices.Sort(seconds)
	what := fmt.Sprintf("scrape of %d series, by %s", series, by)
	t.add(d, what+", median", seconds[len(seconds)/2], "s", goal)
	t.add(d, what+", slowest", seconds[len(seconds)-1], "s", "")
	t.add(d, what+", peak memory above idle", max(0, peak-idle), "MiB", "≤ 256")
	t.add(d, fmt.Sprintf("%s, memory after %d scrapes, of that after the first", what, len(seconds)), 100*last/first, "%", "≤ 105")
	return nil
}

// reportOnce reports for every agent, in a way that keeps it on the page for twenty minutes.
func reportOnce(ctx context.Context, p *serverProcess, agents []uuid.UUID, token string) (err error) {
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	ingest := insightsv1.NewIngestServiceClient(conn)
	// What the server has to look up at an agent's first report takes most of the time.
	sending, ctx := errgroup.WithContext(ctx)
	sending.SetLimit(16)
	for batch := range slices.Chunk(agents, 100) {
		sending.Go(func() error {
			req := &insightsv1.ReportStatsRequest{}
			for i, agent := range batch {
				req.Reports = append(req.Reports, &insightsv1.AgentReport{
					AgentId: agent.String(), CollectedAt: timestamppb.Now(), Interval: durationpb.New(10 * time.Minute), ConnectionCount: 1,
					ConnectionMedianLatencyMs: 1 + float64(agent[0])/7, RxBytes: int64(agent[1]) * 1009, TxBytes: int64(agent[2]) * 17,
					SessionCounts: map[string]int64{"vscode": int64(i % 3), "ssh": 1},
				})
			}
			answer, err := ingest.ReportStats(ctx, req)
			if err != nil || len(answer.GetRejected()) > 0 {
				return fmt.Errorf("report for agents: %v: %w", answer.GetRejected(), err)
			}
			return nil
		})
	}
	return sending.Wait()
}

// scrape reads a page, or one family of it, as Prometheus does.
func (p *serverProcess) scrape(ctx context.Context, family string, to io.Writer) error {
	url := "http://" + p.Prometheus + "/metrics"
	if family != "" {
		url += "?name[]=" + family
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	text, err := gzip.NewReader(resp.Body)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, text)
	return err
}

// waitForAgents waits until the page shows all agents, each of which reported one connection, and returns how many series
// the page has.
func (p *serverProcess) waitForAgents(ctx context.Context, agents int) (series int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		shown := 0.0
		if _, err := p.samples(ctx, "coderd_agentstats_connection_count", &shown); err != nil {
			return 0, err
		}
		if int(shown) == agents {
			return p.samples(ctx, "", &shown)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%v of %d agents are shown: %w", shown, agents, ctx.Err())
		}
	}
}

// samples counts the samples of a page and adds up their values.
func (p *serverProcess) samples(ctx context.Context, family string, sum *float64) (n int, err error) {
	var text bytes.Buffer
	if err := p.scrape(ctx, family, &text); err != nil {
		return 0, err
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			return 0, err
		}
		*sum += value
		n++
	}
	return n, nil
}

// peakMemory is the most that a server holds, in MiB, while f runs.
func (p *serverProcess) peakMemory(f func() error) (float64, error) {
	if _, err := p.settledMemory(); err != nil {
		return 0, err
	}
	// Writing 5 makes the kernel forget the highest memory so far.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Process.Pid), []byte("5"), 0); err != nil {
		return 0, err
	}
	err := f()
	return processMemory(p.Process.Pid, "VmHWM:"), err
}

// settledMemory is what a server holds, in MiB, when it has given back what it does not need.
func (p *serverProcess) settledMemory() (mib float64, err error) {
	if err := p.Process.Signal(syscall.SIGUSR1); err != nil {
		return 0, err
	}
	err = p.says.Decode(&mib)
	return mib, err
}
