package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// onCitus is the variable that names the coordinator of a Citus cluster. The databases of tests that need Postgres lie on its nodes then,
// which have to let the same user in.
const onCitus = "INSIGHTS_TEST_CITUS"

// spread are the databases that lie on a Citus cluster, with the URLs of their workers.
var spread struct {
	sync.Mutex
	workers map[string][]string
	number  atomic.Int64
}

// CitusWorkers are the URLs of the workers of a database that lies on a Citus cluster; nil: it does not.
func CitusWorkers(database string) []string {
	spread.Lock()
	defer spread.Unlock()
	return spread.workers[database]
}

// Citus is Postgres for what is about Citus alone: a test fails if there is no cluster.
func Citus(t testing.TB) string {
	t.Helper()
	if os.Getenv(onCitus) == "" {
		t.Fatal(onCitus + " names no cluster of Citus")
	}
	return Postgres(t)
}

// emptyCitus returns the URL of a database of the test's own, without tables, that lies on a cluster.
func emptyCitus(t testing.TB, coordinator string) string {
	t.Helper()
	hosts, err := nodesOf(t.Context(), coordinator)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("insights_%d_%d", os.Getpid(), spread.number.Add(1))
	t.Cleanup(func() {
		for _, host := range hosts {
			dropOn(t, coordinator, host, name)
		}
	})
	var urls []string
	for _, host := range hosts {
		if err := makeOn(t.Context(), coordinator, host, name); err != nil {
			t.Fatal(err)
		}
		urls = append(urls, on(coordinator, host, name))
	}
	for i, host := range hosts {
		function := "citus_add_node"
		if i == 0 {
			function = "citus_set_coordinator_host"
		}
		if err := join(t.Context(), urls[0], function, host); err != nil {
			t.Fatal(err)
		}
	}
	spread.Lock()
	defer spread.Unlock()
	if spread.workers == nil {
		spread.workers = map[string][]string{}
	}
	spread.workers[urls[0]] = urls[1:]
	return urls[0]
}

// nodesOf are the nodes of a cluster, the coordinator first.
func nodesOf(ctx context.Context, coordinator string) (hosts []string, err error) {
	db, err := sql.Open("pgx", coordinator)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT nodename || ':' || nodeport FROM pg_dist_node ORDER BY groupid`)
	if err != nil {
		return nil, fmt.Errorf("read the nodes of the cluster that %s names: %w", onCitus, err)
	}
	defer rows.Close()
	for rows.Next() {
		var host string
		if err := rows.Scan(&host); err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	return hosts, rows.Err()
}

// on is the URL of a database on another node; without a name of the same one.
func on(database, host, name string) string {
	u, err := url.Parse(database)
	if err != nil {
		return database
	}
	u.Host = host
	if name != "" {
		u.Path = "/" + name
	}
	return u.String()
}

// CountStatements begins to count statements in a database that lies on a Citus cluster, and returns what counts those like some patterns
// since then, for each node. The database that names the cluster has pg_stat_statements on each of them.
func CountStatements(t testing.TB, database string) func(like ...string) [][]int64 {
	t.Helper()
	coordinator := os.Getenv(onCitus)
	hosts, err := nodesOf(t.Context(), coordinator)
	if err != nil {
		t.Fatal(err)
	}
	name := nameOf(database)
	count := func(host, pattern string) (n int64) {
		t.Helper()
		db, err := sql.Open("pgx", on(coordinator, host, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRowContext(t.Context(), `SELECT CAST(COALESCE(SUM(calls), 0) AS bigint) FROM pg_stat_statements
			JOIN pg_database ON pg_database.oid = dbid WHERE datname = $1 AND query ILIKE $2`, name, pattern).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := func(like ...string) [][]int64 {
		counts := make([][]int64, len(hosts))
		for i, host := range hosts {
			for _, pattern := range like {
				counts[i] = append(counts[i], count(host, pattern))
			}
		}
		return counts
	}
	for _, host := range hosts {
		if err := execIn(t.Context(), on(coordinator, host, ""), `SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database
			WHERE datname = '`+name+`'`); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// JoinCitus makes one more node, HOST:PORT, take part in a database that lies on a Citus cluster.
func JoinCitus(t testing.TB, database, host string) {
	t.Helper()
	coordinator := os.Getenv(onCitus)
	if err := makeOn(t.Context(), coordinator, host, nameOf(database)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dropOn(t, coordinator, host, nameOf(database)) })
	if err := join(t.Context(), database, "citus_add_node", host); err != nil {
		t.Fatal(err)
	}
}

// nameOf is the name of the database of a URL.
func nameOf(database string) string {
	name, _, _ := strings.Cut(database[strings.LastIndexByte(database, '/')+1:], "?")
	return name
}

// makeOn makes a database of Citus on a node. It has few shards: each takes as long to make as all other tables.
func makeOn(ctx context.Context, coordinator, host, name string) error {
	return errors.Join(
		execIn(ctx, on(coordinator, host, ""), `CREATE DATABASE `+name),
		execIn(ctx, on(coordinator, host, name), `CREATE EXTENSION citus; ALTER DATABASE `+name+` SET citus.shard_count = 8`),
	)
}

func dropOn(t testing.TB, coordinator, host, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := execIn(ctx, on(coordinator, host, ""), `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
		t.Error(err)
	}
}

// join calls the function that makes a node known to the coordinator.
func join(ctx context.Context, database, function, host string) error {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return err
	}
	return execIn(ctx, database, fmt.Sprintf(`SELECT %s('%s', %s)`, function, name, port))
}
