//go:build citus

package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/store/storetest"
)

// spareNode is the variable that names a node, HOST:PORT, which the cluster of the tests gets while reports come in; empty: it gets none.
const spareNode = "INSIGHTS_TEST_CITUS_SPARE"

// TestCitus streams reports into a Citus cluster whose nodes run on this machine, kills each worker, moves shards, adds a node and spreads
// the shards anew. What is acknowledged is there, and reports about templates on other nodes do not wait.
func TestCitus(t *testing.T) {
	database := storetest.Citus(t)
	f := newFleetOf(t, database, 32, 16)
	config := newServerConfig(t, database)
	config.Workers = storetest.CitusWorkers(database)
	server := startServer(t, config)
	server.awaitReady(t, true)
	coordinator := openTables(t, database)
	defer coordinator.Close()
	exec := func(db *sql.DB, text string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatal(text, err)
		}
	}
	nodes, byNode := map[*agent]int{}, make([]delays, len(config.Workers))
	for _, a := range f.agents {
		nodes[a] = nodeOf(t, coordinator, a.template, config.Workers)
		a.delays = &byNode[nodes[a]]
	}
	conn := dial(t, config.GRPC)
	defer conn.Close()
	load := f.report(t, manner{address: config.GRPC})
	f.awaitAll(t)
	_, processes := processesOf(t, database)
	spent, acked := processorTime(t, processes), f.acked.Load()
	measure(t, &byNode[0], 10*time.Second)
	spent, acked = processorTime(t, processes)-spent, f.acked.Load()-acked
	t.Logf("the coordinator takes %.2f µs of a processor for each of %d reports", float64(spent.Microseconds())/float64(acked), acked)

	for n, worker := range config.Workers {
		other := &byNode[(n+1)%len(byNode)]
		usual := measure(t, other, 3*time.Second)
		start := kill(t, worker)
		f.awaitSilenceOf(t, func(a *agent) bool { return nodes[a] == n })
		meanwhile := measure(t, other, 10*time.Second)
		if code := status.Code(f.ask(t.Context(), conn)); code != codes.Unavailable {
			t.Errorf("a question about all templates is answered with %v", code)
		}
		t.Logf("a worker was killed: acknowledgements about templates of another: %v; before: %v", meanwhile, usual)
		if len(meanwhile.list) == 0 {
			t.Error("reports about templates of other nodes wait")
		}
		start()
		f.awaitAll(t)
	}

	shards, err := coordinator.QueryContext(t.Context(), `SELECT shardid, shards.nodename, shards.nodeport, other.nodename, other.nodeport
		FROM citus_shards AS shards JOIN pg_dist_node AS other ON other.groupid > 0 AND other.nodeport <> shards.nodeport
		WHERE table_name = 'usage_rows'::regclass ORDER BY shardid LIMIT 4`)
	if err != nil {
		t.Fatal(err)
	}
	type move struct {
		shard            int64
		from, to         string
		fromPort, toPort int
	}
	var moves []move
	for shards.Next() {
		var m move
		if err := shards.Scan(&m.shard, &m.from, &m.fromPort, &m.to, &m.toPort); err != nil {
			t.Fatal(err)
		}
		moves = append(moves, m)
	}
	shards.Close()
	took := func() string {
		var all []string
		for n := range byNode {
			all = append(all, byNode[n].take().String())
		}
		return strings.Join(all, "; ")
	}
	took()
	for _, m := range moves {
		exec(coordinator, `SELECT citus_move_shard_placement($1::bigint, $2::text, $3::int, $4::text, $5::int, 'force_logical')`,
			m.shard, m.from, m.fromPort, m.to, m.toPort)
	}
	f.awaitAll(t)
	t.Logf("%d shards moved, with those beside them: acknowledgements meanwhile: %v", len(moves), took())

	if host := os.Getenv(spareNode); host != "" {
		storetest.JoinCitus(t, database, host)
		exec(coordinator, `SELECT citus_rebalance_start()`)
		exec(coordinator, `SELECT citus_rebalance_wait()`)
		f.awaitAll(t)
		t.Logf("a node was added, and the shards spread anew: acknowledgements meanwhile: %v", took())
		var on int
		if err := coordinator.QueryRowContext(
			t.Context(), `SELECT count(*) FROM citus_shards WHERE nodename || ':' || nodeport = $1`, host,
		).Scan(&on); err != nil || on == 0 {
			t.Errorf("the new node has %d shards, %v", on, err)
		}
	}
	load.stop()
	f.check(t, config.GRPC)
	t.Logf("%d acknowledged, %d resent", f.acked.Load(), f.resent())
}

// nodeOf is which of the workers has a template.
func nodeOf(t *testing.T, coordinator *sql.DB, template uuid.UUID, workers []string) int {
	t.Helper()
	var node string
	if err := coordinator.QueryRowContext(t.Context(), `SELECT nodename || ':' || nodeport FROM pg_dist_placement
		JOIN pg_dist_node USING (groupid) WHERE shardid = get_shard_id_for_distribution_column('usage_rows', $1::uuid)`, template,
	).Scan(&node); err != nil {
		t.Fatal(err)
	}
	return slices.IndexFunc(workers, func(worker string) bool { return strings.Contains(worker, node) })
}

// measure collects delays for some time.
func measure(t *testing.T, d *delays, during time.Duration) *delays {
	t.Helper()
	d.take()
	select {
	case <-t.Context().Done():
	case <-time.After(during):
	}
	return d.take()
}

// awaitSilenceOf waits until none of some agents got an acknowledgement for a second.
func (f *fleet) awaitSilenceOf(t *testing.T, of func(*agent) bool) {
	t.Helper()
	settled := func() (n int64) {
		for _, a := range f.agents {
			if of(a) {
				n += a.settled.Load()
			}
		}
		return n
	}
	before, since := settled(), time.Now()
	await(t, "a second without acknowledgements", func() bool {
		if now := settled(); now != before {
			before, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// processesOf are the folder of a database server on this machine and its processes, the first one first.
func processesOf(t *testing.T, database string) (folder string, pids []int) {
	t.Helper()
	db := openTables(t, database)
	defer db.Close()
	var text string
	if err := db.QueryRowContext(t.Context(), `SELECT current_setting('data_directory'), pg_read_file('postmaster.pid')`).
		Scan(&folder, &text); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(text, "\n")
	children, err := exec.Command("pgrep", "-P", first).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range append([]string{first}, strings.Fields(string(children))...) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return folder, pids
}

// processorTime is how long processes have run, but for those that have ended.
func processorTime(t *testing.T, pids []int) (all time.Duration) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			continue
		}
		var spent time.Duration
		if _, err := fmt.Sscan(string(text), &spent); err != nil {
			t.Fatal(err)
		}
		all += spent
	}
	return all
}

// kill ends all processes of a database server on this machine at once, and returns what starts it again.
func kill(t *testing.T, database string) (start func()) {
	t.Helper()
	folder, pids := processesOf(t, database)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	await(t, "the end of a worker", func() bool { return syscall.Kill(pids[0], 0) != nil })
	owner, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		of := owner.Sys().(*syscall.Stat_t)
		again := exec.CommandContext(context.Background(), filepath.Join(storetest.PostgresPrograms(t), "pg_ctl"),
			"-D", folder, "-l", filepath.Join(folder, "log"), "-w", "start")
		again.Dir, again.Env = folder, append(os.Environ(), "HOME="+folder) // where its connections to other nodes look for certificates
		again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: of.Uid, Gid: of.Gid}}
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatal(fmt.Errorf("start a worker again: %w: %s", err, out))
		}
	}
}
