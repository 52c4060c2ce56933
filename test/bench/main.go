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
	"strconv"
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
	Idle      int // agents that hold a connection and do nothing
	Soak      time.Duration

	// Of growth, ascending:
	Histories      []int // months
	TemplateCounts []int
	StreamCounts   []int
}

// parts of a run.
type parts []func(context.Context, *table, database, sizes) error

var (
	usual = parts{measureIngest, measureQuestions, measureScrapes, measureIdle}
	large = parts{measureGrowth}
	soak  = parts{measureSoak}
)

func main() {
	if database := os.Getenv(databaseVariable); database != "" {
		if err := serve(database); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	s := sizes{
		Window: 16, WarmUp: 5 * time.Second, Templates: 50, Workdays: 22, Scrapes: 100, Idle: 10_000,
		Histories: []int{1, 10, 50}, TemplateCounts: []int{1, 100, 10_000}, StreamCounts: []int{1, 100, 10_000},
	}
	flag.IntVar(&s.Agents, "agents", 100_000, "distinct agents that report")
	flag.IntVar(&s.Streams, "streams", 1000, "streams that carry their reports")
	flag.DurationVar(&s.Length, "time", 20*time.Second, "length of each measurement of ingest, and of a profile")
	flag.IntVar(&s.Users, "users", 10_000, "people whose month the questions are about")
	flag.DurationVar(&s.Soak, "soak", 0, "measure ingest at a fixed rate beside questions for this long instead")
	growth := flag.Bool("large", false, "measure what grows with histories, templates and streams instead")
	output := flag.String("out", "", "write the figures as JSON to this file as well")
	earlier := flag.String("compare", "", "show the figures of this file, which an earlier run wrote, beside the new ones")
	ingestProfile := flag.String("profile-ingest", "", "measure nothing; write profiles of a server that takes reports to this file")
	queryProfile := flag.String("profile-query", "", "measure nothing; write profiles of a server that answers questions to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	switch {
	case *ingestProfile != "":
		err = onPostgres(func(d database) error { return profileIngest(ctx, d, s, *ingestProfile) })
	case *queryProfile != "":
		err = onPostgres(func(d database) error { return profileQuery(ctx, d, s, *queryProfile) })
	default:
		measure := measure
		switch {
		case *growth:
			measure = large.measureOnPostgres
		case s.Soak > 0:
			measure = soak.measureOnPostgres
		}
		err = report(ctx, s, measure, *output, *earlier)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// report measures and shows what was found.
func report(ctx context.Context, s sizes, measure func(context.Context, *table) error, output, earlier string) error {
	t := &table{sizes: s}
	if earlier != "" {
		if err := t.read(earlier); err != nil {
			return fmt.Errorf("read the figures to compare with: %w", err)
		}
	}
	// What was found before an error is worth its time.
	return errors.Join(measure(ctx, t), t.write(os.Stdout, output))
}

// onPostgres lets f use a Postgres of its own, whose settings are the defaults but for sizes.
func onPostgres(f func(database) error) (err error) {
	cluster, err := storetest.StartCluster("shared_buffers=512MB", "max_wal_size=4GB")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	return f(database{name: "Postgres", cluster: cluster})
}

// measure runs the usual parts, on each database by itself so that they do not share the machine.
func measure(ctx context.Context, t *table) (err error) {
	folder, err := os.MkdirTemp("", "insights-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	begin := time.Now()
	defer func() { t.took = time.Since(begin) }()
	if err := onPostgres(func(d database) error { return usual.measure(ctx, t, d) }); err != nil {
		return err
	}
	return usual.measure(ctx, t, database{name: "SQLite", folder: folder})
}

// measureOnPostgres runs parts that SQLite does not need.
func (p parts) measureOnPostgres(ctx context.Context, t *table) error {
	begin := time.Now()
	defer func() { t.took = time.Since(begin) }()
	return onPostgres(func(d database) error { return p.measure(ctx, t, d) })
}

func (p parts) measure(ctx context.Context, t *table, d database) error {
	for _, part := range p {
		if err := part(ctx, t, d, t.sizes); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		runtime.GC()
	}
	return nil
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

// with lets f use a fresh database.
func (d database) with(ctx context.Context, f func(name string, st *store.Store) error) error {
	name, st, err := d.create(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(name, st), st.Close())
}

// withServer lets f use a server in a process of its own, with more variables in its environment.
func withServer(ctx context.Context, database string, f func(*serverProcess) error, variables ...string) error {
	p, err := startServer(ctx, database, variables...)
	if err != nil {
		return err
	}
	return errors.Join(f(p), p.stop())
}

// A process with the first variable is the server under measurement; with the second one it makes a certificate and serves TLS. The third
// is its page cache in MiB, if not that of a server by default.
const (
	databaseVariable = "BENCH_DATABASE"
	tlsVariable      = "BENCH_TLS"
	cacheVariable    = "BENCH_PAGE_CACHE"
)

// serverProcess is a server in a process of its own.
type serverProcess struct {
	*exec.Cmd
	addresses
	says *json.Decoder // of its standard output
}

// startServer runs this program again as a server.
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
	cache := 256
	if given := os.Getenv(cacheVariable); given != "" {
		var err error
		if cache, err = strconv.Atoi(given); err != nil {
			return fmt.Errorf("%s: %w", cacheVariable, err)
		}
	}
	s, err := store.Open(ctx, store.Options{Database: database, PageCache: cache << 20})
	if err != nil {
		return err
	}
	defer s.Close()
	config := server.Options{
		Store: s, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0", PprofAddress: "127.0.0.1:0",
		IngestMaxAge: 7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
	}
	collectAgentStats(&config)
	tellMemory(ctx)
	var a addresses
	if os.Getenv(tlsVariable) != "" {
		if config.TLS, a.Certificate, err = selfSigned(); err != nil {
			return err
		}
	}
	srv, err := server.New(config)
	if err != nil {
		return err
	}
	a.GRPC, a.HTTP, a.Prometheus, a.Pprof = srv.GRPCAddress(), srv.HTTPAddress(), srv.PrometheusAddress(), srv.PprofAddress()
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		return err
	}
	return srv.Run(ctx)
}

// addresses are where a server listens.
type addresses struct {
	GRPC, HTTP, Prometheus, Pprof string
	Certificate                   []byte // PEM; empty without TLS
}
