// Command bench measures ingest and questions of this machine, on Postgres and on SQLite in one run, and prints each figure
// beside its goal. The server runs in a process of its own. Databases are durable: Postgres has its defaults but for the
// memory and log sizes below, SQLite syncs at each commit.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// sizes are how much is measured.
type sizes struct {
	Agents    int           // distinct, each with a user of its own
	Streams   int           // the agents are spread over them
	Window    int           // reports of a stream that are not acknowledged
	WarmUp    time.Duration // before a measurement of ingest
	Length    time.Duration // of it
	Users     int           // of the questions
	Templates int
	Workdays  int
	Scrapes   int // over which memory must not grow
}

func main() {
	if database := os.Getenv(databaseVariable); database != "" {
		if err := serve(database); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	s := sizes{Window: 16, WarmUp: 5 * time.Second, Templates: 50, Workdays: 22, Scrapes: 100}
	flag.IntVar(&s.Agents, "agents", 100_000, "distinct agents that report")
	flag.IntVar(&s.Streams, "streams", 1000, "streams that carry their reports")
	flag.DurationVar(&s.Length, "time", 20*time.Second, "length of each measurement of ingest")
	flag.IntVar(&s.Users, "users", 10_000, "people whose month the questions are about")
	output := flag.String("o", "", "write the figures as JSON to this file as well")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	table, err := measure(ctx, s)
	stop()
	if err == nil {
		err = table.write(os.Stdout, *output)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure runs everything, on each database by itself so that they do not share the machine.
func measure(ctx context.Context, s sizes) (_ *table, err error) {
	folder, err := os.MkdirTemp("", "insights-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cluster, err := storetest.StartCluster("shared_buffers=512MB", "max_wal_size=4GB")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	begin := time.Now()
	t := &table{sizes: s}
	for _, d := range []database{{name: "Postgres", cluster: cluster}, {name: "SQLite", folder: folder}} {
		for _, part := range []func(context.Context, *table, database, sizes) error{measureIngest, measureQuestions, measureScrapes} {
			if err := part(ctx, t, d, s); err != nil {
				return nil, fmt.Errorf("%s: %w", d.name, err)
			}
			runtime.GC()
		}
	}
	t.took = time.Since(begin)
	return t, nil
}

// database is one of the kinds of databases; each part of the benchmark gets a fresh one.
type database struct {
	name    string
	cluster *storetest.Cluster // of Postgres
	folder  string             // of SQLite
}

// create makes a fresh database with a current schema and opens it.
func (d database) create(ctx context.Context) (name string, s *store.Store, err error) {
	if d.cluster != nil {
		name, err = d.cluster.Create(ctx, "")
	} else {
		var folder string
		folder, err = os.MkdirTemp(d.folder, "")
		name = "sqlite:" + filepath.Join(folder, "insights.db")
	}
	if err != nil {
		return "", nil, err
	}
	if err := store.Migrate(ctx, store.Options{Database: name}); err != nil {
		return "", nil, err
	}
	s, err = store.Open(ctx, store.Options{Database: name})
	return name, s, err
}

// A process with this variable is the server under measurement.
const databaseVariable = "BENCH_DATABASE"

// serverProcess is a server in a process of its own.
type serverProcess struct {
	*exec.Cmd
	addresses
	says *json.Decoder // of its standard output
}

// startServer runs this program again as a server, with more variables in its environment.
func startServer(ctx context.Context, database string, variables ...string) (*serverProcess, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &serverProcess{Cmd: exec.CommandContext(ctx, program)}
	p.Env = append(append(os.Environ(), databaseVariable+"="+database), variables...)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	p.says = json.NewDecoder(out)
	if err := p.says.Decode(&p.addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), p.stop())
	}
	return p, nil
}

// stop lets the server drain.
func (p *serverProcess) stop() error {
	_ = p.Process.Signal(syscall.SIGTERM)
	return p.Wait()
}

// cpu is the time that a process has spent on the processor.
func (p *serverProcess) cpu() time.Duration { return processTime(p.Process.Pid) }

// serve is the server process: it says where it listens and runs until it is told to stop.
func serve(database string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := store.Open(ctx, store.Options{Database: database})
	if err != nil {
		return err
	}
	defer s.Close()
	config := server.Config{
		Store: s, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
		IngestMaxAge: 7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
	}
	collectAgentStats(ctx, &config)
	srv, err := server.New(config)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(addresses{srv.GRPCAddress(), srv.HTTPAddress(), srv.PrometheusAddress()}); err != nil {
		return err
	}
	return srv.Run(ctx)
}

// addresses are where a server listens.
type addresses struct{ GRPC, HTTP, Prometheus string }
