package coder

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/template-insights/insights/cmd/insights/coder/codertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// company is a database with a company at work, in a cluster of its own that counts statements.
type company struct {
	url    string // for the role of grants.sql
	pool   *pgxpool.Pool
	second int
}

// startCluster starts a cluster of the test's own.
func startCluster(t *testing.T, start func() (*storetest.Cluster, error)) *storetest.Cluster {
	t.Helper()
	c, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// newCluster starts one that counts statements.
func newCluster(t *testing.T) *storetest.Cluster {
	t.Helper()
	return startCluster(t, func() (*storetest.Cluster, error) {
		return storetest.StartCluster(
			"fsync=off", "shared_buffers=512MB", "max_wal_size=8GB", "shared_preload_libraries=pg_stat_statements",
		)
	})
}

func newCompany(t *testing.T, cluster *storetest.Cluster, people, workspaces, days int) *company {
	t.Helper()
	url, err := cluster.Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	execute(t, conn, codertest.Schema(551)+codertest.Company(people, workspaces, days)+`CREATE EXTENSION pg_stat_statements;`)
	grant(t, conn)
	execute(t, conn, `VACUUM`)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &company{url: asImporter(url), pool: pool}
}

// live makes the company work for some seconds.
func (c *company) live(t *testing.T, seconds int) {
	t.Helper()
	for range seconds {
		if err := c.liveOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *company) liveOnce(ctx context.Context) error {
	c.second++
	_, err := c.pool.Exec(ctx, `CALL company.live($1)`, c.second)
	return err
}

// statements are what the follower asked since they were forgotten.
type statements struct {
	Calls, Rows int64
	Longest     time.Duration
}

func (c *company) statements(t *testing.T) (s statements) {
	t.Helper()
	var longest float64
	if err := c.pool.QueryRow(t.Context(), `SELECT COALESCE(SUM(calls), 0), COALESCE(SUM(rows), 0), COALESCE(MAX(max_exec_time), 0)
		FROM pg_stat_statements WHERE userid = 'insights'::regrole
			AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())`,
	).Scan(&s.Calls, &s.Rows, &longest); err != nil {
		t.Fatal(err)
	}
	s.Longest = time.Duration(longest * float64(time.Millisecond))
	return s
}

func (c *company) forgetStatements(t *testing.T) {
	t.Helper()
	if _, err := c.pool.Exec(t.Context(), `SELECT pg_stat_statements_reset()`); err != nil {
		t.Fatal(err)
	}
}

// What a look asks for does not grow with the past.
func TestFollowIsLight(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	cluster := newCluster(t)
	var looks [2]statements
	for n, days := range []int{4, 16} {
		c := newCompany(t, cluster, 10, 15, days)
		i, done := newImporter(t, c.url, openStore(t, storetest.SQLite(t)), Options{})
		defer done()
		if err := i.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		const times = 3
		for look := range 1 + times {
			if look == 1 { // the first one finds out which sessions go on
				c.forgetStatements(t)
			}
			c.live(t, 2)
			if err := i.usage(t.Context(), window{from: since(i.until)}, i.unlessRecent); err != nil {
				t.Fatal(err)
			}
			if err := i.catalog(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		looks[n] = c.statements(t)
	}
	t.Logf("short past: %+v, long past: %+v", looks[0], looks[1])
	if looks[0].Calls != looks[1].Calls {
		t.Errorf("%d statements after a short past, %d after a long one", looks[0].Calls, looks[1].Calls)
	}
	if looks[1].Rows > looks[0].Rows*3/2 {
		t.Errorf("%d rows after a short past, %d after one that is four times as long", looks[0].Rows, looks[1].Rows)
	}
}

// While the store does not write what was read, no transaction is open in the database of the deployment.
func TestFollowHoldsNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, codertest.Newest, 2)
	database := storetest.Postgres(t)
	i, done := newImporter(t, w.url, openStore(t, database), Options{})
	defer done()
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec(t, `UPDATE templates SET display_name = 'New'`)
	blocker, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close(context.Background())
	execute(t, blocker, `BEGIN; LOCK TABLE templates IN SHARE MODE`)
	var pid int
	if err := i.from.pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	imported := make(chan error, 1)
	go func() { imported <- i.catalog(t.Context()) }()
	await := func(what string, conn *pgx.Conn, query string, args ...any) {
		t.Helper()
		deadline := time.After(time.Minute)
		for is := false; !is; {
			if err := conn.QueryRow(t.Context(), query, args...).Scan(&is); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-imported:
				t.Fatal("the import did not wait:", err)
			case <-deadline:
				t.Fatal(what)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	await("nobody waits for the store", blocker, `SELECT EXISTS (
		SELECT FROM pg_locks WHERE NOT granted AND relation = 'templates'::regclass)`)
	await("a transaction is open", w.conn, `SELECT xact_start IS NULL FROM pg_stat_activity WHERE pid = $1`, pid)
	execute(t, blocker, `ROLLBACK`)
	if err := <-imported; err != nil {
		t.Error(err)
	}
}

// A replica is followed up to where it is: what it replays late comes late, and is not missed.
func TestFollowReplica(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	cluster := newCluster(t)
	c := newCompany(t, cluster, 5, 8, 2)
	standby := startCluster(t, func() (*storetest.Cluster, error) { return cluster.StartStandby(t.Context()) })
	c.live(t, 2) // a transaction to replay
	i, done := newImporter(t, onCluster(c.url, cluster, standby), openStore(t, storetest.SQLite(t)), Options{})
	defer done()
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func() time.Time {
		t.Helper()
		if err := i.usage(t.Context(), window{from: since(i.until)}, i.unlessRecent); err != nil {
			t.Fatal(err)
		}
		return i.until
	}
	if err := standby.Exec(t.Context(), "postgres", `SELECT pg_wal_replay_pause()`); err != nil {
		t.Fatal(err)
	}
	for standby.Exec(t.Context(), "postgres", `SELECT 1 / CAST(pg_get_wal_replay_pause_state() = 'paused' AS integer)`) != nil {
		time.Sleep(10 * time.Millisecond)
	}
	paused := look()
	before := i.Report()
	c.live(t, 30)
	if until := look(); until != paused {
		t.Errorf("a replica that replayed nothing since %v is here up to %v", paused, until)
	}
	if err := standby.Exec(t.Context(), "postgres", `SELECT pg_wal_replay_resume()`); err != nil {
		t.Fatal(err)
	}
	for !look().After(paused) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := i.Report(); after.HalfHours == before.HalfHours {
		t.Errorf("nothing of what it replayed came: %+v", after)
	}
}

// onCluster names the database of a URL on another cluster.
func onCluster(url string, from, to *storetest.Cluster) string {
	return strings.Replace(url, fmt.Sprintf(":%d/", from.Port), fmt.Sprintf(":%d/", to.Port), 1)
}

// Goals of what following may cost a deployment of 2,000 people, 3,000 workspaces and 90 days, after the first import.
const (
	maxShare       = 0.02 // of one core
	maxStatement   = time.Second
	maxTransaction = 5 * time.Second
	maxLag         = time.Minute
	maxQuickLag    = 15 * time.Second // looking every five seconds at a deployment at work
	maxIdleLag     = 5 * time.Second  // and at one where nothing happens
	lagSlack       = time.Second / 2  // until the next look of who measures, and of a clock that does not wake in time
)

// cost is what was measured of a follower in some time.
type cost struct {
	statements
	During, CPU, Transaction time.Duration
	UsageLag, Lag            time.Duration
}

func (c cost) share() float64 { return float64(c.CPU) / float64(c.During) }

// measure looks at a follower for some time, ten times a second, as the cluster sees it that it reads from; lag is that of the store.
func (c *company) measure(t *testing.T, to *store.Store, url string, during time.Duration) (m cost) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), strings.Replace(url, "insights@", "postgres@", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	c.forgetStatements(t)
	before, last, begin := map[int]time.Duration{}, map[int]time.Duration{}, time.Now()
	for tick := time.NewTicker(100 * time.Millisecond); time.Since(begin) < during; <-tick.C {
		rows, err := conn.Query(t.Context(), `SELECT pid, COALESCE(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8
			FROM pg_stat_activity WHERE usename = 'insights'`)
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		var seconds float64
		if _, err := pgx.ForEachRow(rows, []any{&pid, &seconds}, func() error {
			m.Transaction = max(m.Transaction, time.Duration(seconds*float64(time.Second)))
			spent := cpu(t, pid)
			if _, ok := before[pid]; !ok {
				before[pid] = spent
			}
			last[pid] = spent
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		followed, err := to.Followed(t.Context())
		if err != nil || len(followed) != 1 {
			t.Fatalf("followed: %+v, %v", followed, err)
		}
		m.UsageLag = max(m.UsageLag, time.Since(followed[0].UsageUntil))
		m.Lag = max(m.Lag, time.Since(followed[0].Until))
	}
	m.During = time.Since(begin)
	for pid, spent := range last {
		m.CPU += spent - before[pid]
	}
	m.statements = c.statements(t)
	return m
}

// cpu is the time that a process has run; 0 if it has ended.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name before it may hold blanks
	fields := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	const tick = time.Second / 100 // USER_HZ
	return time.Duration(user+system) * tick
}

// child is a process that follows a company.
type child struct {
	process *exec.Cmd
	follows chan struct{} // closed when the first import has ended
	from    time.Time     // where it began with usage, when it follows
	ended   chan struct{}
}

// importedFrom is the beginning of a step in the log.
var importedFrom = regexp.MustCompile(`msg="imported usage" from=(\S+)`)

func startChild(t *testing.T, from, database string, interval time.Duration) *child {
	t.Helper()
	c := &child{process: exec.Command(os.Args[0]), follows: make(chan struct{}), ended: make(chan struct{})}
	c.process.Env = append(os.Environ(), childDatabase+"="+database, childFrom+"="+from, childInterval+"="+interval.String())
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, w := io.Pipe()
	c.process.Stderr = w
	var logged sync.WaitGroup
	logged.Go(func() {
		following := sync.OnceFunc(func() { close(c.follows) })
		for lines := bufio.NewScanner(log); lines.Scan(); {
			t.Log(lines.Text())
			if m := importedFrom.FindStringSubmatch(lines.Text()); m != nil && c.from.IsZero() {
				c.from, _ = time.Parse(time.RFC3339, m[1])
			}
			if strings.Contains(lines.Text(), "msg=following") {
				following()
			}
		}
	})
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.process.Wait()
		_ = w.Close()
		logged.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.process.Process.Kill()
		<-c.ended
	})
	return c
}

// await waits until the first import has ended.
func (c *child) await(t *testing.T) {
	t.Helper()
	select {
	case <-c.follows:
	case <-c.ended:
		t.Fatal("it ended before it followed")
	}
}

// end ends the process.
func (c *child) end(t *testing.T, how syscall.Signal) {
	t.Helper()
	if err := c.process.Process.Signal(how); err != nil {
		t.Fatal(err)
	}
	<-c.ended
}

// work makes the company work until it is stopped.
func (c *company) work(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := c.liveOnce(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	return sync.OnceFunc(func() { cancel(); working.Wait() })
}

// loadSize is how large a company is that is followed, and how it is.
type loadSize struct {
	people, workspaces, days int
	during                   time.Duration
	interval, quick          time.Duration
}

// Following a large company costs its database little. FOLLOW_LOAD says for how long that is measured; without it a small company is
// followed for a moment, and nothing depends on how fast that is.
func TestFollowLoad(t *testing.T) { // not beside other tests: it measures
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	size := loadSize{10, 15, 15, time.Second, 500 * time.Millisecond, 200 * time.Millisecond}
	text, large := os.LookupEnv("FOLLOW_LOAD")
	if large {
		during, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		size = loadSize{2000, 3000, 90, during, DefaultInterval, 5 * time.Second}
	}
	begin := time.Now()
	cluster := newCluster(t)
	c := newCompany(t, cluster, size.people, size.workspaces, size.days)
	t.Logf("%+v was made in %v", size, time.Since(begin).Round(time.Second))
	stop := c.work(t)
	defer func() { stop() }()

	// The first import is ended halfway, and goes on there.
	database := storetest.Postgres(t)
	to := openStore(t, database)
	var organization string
	if err := c.pool.QueryRow(t.Context(), `SELECT id::text FROM organizations`).Scan(&organization); err != nil {
		t.Fatal(err)
	}
	until := func() time.Time {
		t.Helper()
		at, err := to.ImportedUntil(t.Context(), "coder "+organization)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first, half := startChild(t, c.url, database, size.interval), time.Now().Add(-time.Duration(size.days)*12*time.Hour)
	begin = time.Now()
	for until().Before(half) {
		time.Sleep(100 * time.Millisecond)
	}
	if large {
		first.end(t, syscall.SIGKILL) // another one may follow half a minute later
	} else {
		first.end(t, syscall.SIGTERM)
	}
	killed := until()
	t.Logf("the first import was ended after %v, with everything up to %v here", time.Since(begin).Round(time.Second), killed)
	again := startChild(t, c.url, database, size.interval)
	begin = time.Now()
	again.await(t)
	t.Logf("it went on and ended after another %v", time.Since(begin).Round(time.Second))
	if !again.from.Before(killed) || again.from.Before(killed.Add(-time.Hour)) {
		t.Errorf("it went on at %v", again.from)
	}

	settle := func(interval time.Duration) { time.Sleep(2 * interval) } // what the first look finds is of the past
	check := func(name string, m cost, usageLag, lag time.Duration) {
		t.Helper()
		t.Logf("%s: %v of CPU in %v, %.2f %% of a core; %d statements of %d rows; longest statement %v, longest transaction %v; "+
			"lag %v of usage, %v", name, m.CPU, m.During.Round(time.Second), 100*m.share(), m.Calls, m.Rows,
			m.Longest.Round(time.Millisecond), m.Transaction.Round(time.Millisecond),
			m.UsageLag.Round(time.Millisecond), m.Lag.Round(time.Millisecond))
		if large && (m.Calls == 0 || m.Longest > maxStatement || m.Transaction > maxTransaction || m.UsageLag > usageLag || m.Lag > lag) {
			t.Errorf("%s misses a goal", name)
		}
	}
	settle(size.interval)
	m := c.measure(t, to, c.url, size.during)
	check("at the defaults", m, maxLag, maxLag)
	if large && m.share() > maxShare {
		t.Errorf("it takes %.2f %% of a core", 100*m.share())
	}
	again.end(t, syscall.SIGTERM)

	quick := startChild(t, c.url, database, size.quick)
	quick.await(t)
	settle(size.quick)
	check("every 5 seconds, at work", c.measure(t, to, c.url, size.during/5), maxQuickLag, maxQuickLag)
	stop()
	settle(size.quick)
	check("every 5 seconds, idle", c.measure(t, to, c.url, size.during/5), maxIdleLag+lagSlack, 2*maxIdleLag+lagSlack)
	quick.end(t, syscall.SIGTERM)
	if !large {
		return // TestFollowReplica follows a small one
	}

	standby := startCluster(t, func() (*storetest.Cluster, error) { return cluster.StartStandby(t.Context()) })
	stop = c.work(t)
	replica := onCluster(c.url, cluster, standby)
	on := startChild(t, replica, database, size.interval)
	on.await(t)
	settle(size.interval)
	m = c.measure(t, to, replica, size.during/5)
	t.Logf("from a replica: %v of CPU in %v, %.2f %% of a core; longest transaction %v; lag %v of usage, %v", m.CPU,
		m.During.Round(time.Second), 100*m.share(), m.Transaction.Round(time.Millisecond), m.UsageLag.Round(time.Millisecond),
		m.Lag.Round(time.Millisecond))
	if m.share() > maxShare || m.Transaction > maxTransaction || m.Lag > maxLag {
		t.Error("following a replica misses a goal")
	}
	on.end(t, syscall.SIGTERM)
}
