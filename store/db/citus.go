package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"
)

// Spread are the tables that Citus spreads over its nodes, where the database is one of Citus: each row lies with its template_id, and all
// rows of one template on one node. The others stay on the coordinator. What moves between them moves in this order: who reads them in it
// misses nothing, because a transaction of several nodes is seen on one of them before it is on another.
var Spread = []string{"usage_rows", "usage_day", "usage_pages"}

// cluster is where templates are in a database of Citus. Each node of the cluster passes on what is for another one, so the old place of a
// template that moved costs time and nothing else. A node that was removed from the cluster passes nothing on.
type cluster struct {
	coordinator *gorm.DB
	workers     []worker

	looking sync.Mutex // held by who asks where templates are
	mu      sync.Mutex
	nodes   map[uuid.UUID]int // by template: 0 is the coordinator, n the worker n-1
	asked   time.Time
	placed  time.Time // when asking succeeded last
}

// worker is a node of which the service knows the URL.
type worker struct {
	addresses []string // HOST:PORT by which the cluster may know it
	writes    *gorm.DB
}

const (
	placeTerm    = 10 * time.Second // after which it is asked again where templates are
	placeTimeout = 2 * time.Second  // of that
	// placeMemory is how long a place counts that cannot be asked about: a node that was removed may still take what nobody reads there.
	placeMemory = time.Minute
	// writingAtOnce is how many templates of one call are written at a time. Two calls leave room in a pool for others.
	writingAtOnce = 3
)

// openCluster opens the workers of a database of Citus.
func (d *DB) openCluster(ctx context.Context, o Options) error {
	p, ok := d.Dialect.(postgres)
	if !ok || !p.citus {
		if len(o.CitusWorkers) > 0 {
			return fmt.Errorf("%s is no coordinator of Citus: it has no workers", d)
		}
		return nil
	}
	switch {
	case p.pooler:
		return fmt.Errorf("%s is spread by Citus: name it and its workers themselves, not poolers", d)
	case len(o.ReadDatabases) > 0:
		return fmt.Errorf("%s is spread by Citus: a replica of one node has no answers", d)
	}
	d.cluster = &cluster{coordinator: d.Lookups, nodes: map[uuid.UUID]int{}}
	for _, name := range o.CitusWorkers {
		named, err := parseDatabase(name, false)
		if err != nil {
			return fmt.Errorf("worker of Citus: %w", err)
		}
		of, ok := named.(postgres)
		if !ok {
			return fmt.Errorf("worker of Citus: %s is no database of Postgres", named)
		}
		if of.url.Path != p.url.Path {
			return fmt.Errorf("worker of Citus: %s is another database than that of the coordinator, %s", of, p)
		}
		of.citus = true
		connections, err := openPool(of.writePool())
		if err != nil {
			return fmt.Errorf("open worker %s: %w", named, err)
		}
		d.cluster.workers = append(d.cluster.workers, worker{addresses(of.url), connections})
	}
	return d.checkCluster(ctx)
}

// nodeAddress is the expression for the HOST:PORT of a row of pg_dist_node, as addresses are.
const nodeAddress = `CASE WHEN nodename LIKE '%:%' THEN '[' || nodename || ']' ELSE nodename END || ':' || nodeport`

// addresses are the hosts of a URL with their ports.
func addresses(u *url.URL) (all []string) {
	for host := range strings.SplitSeq(u.Host, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "5432")
		}
		all = append(all, host)
	}
	return all
}

// checkCluster refuses a cluster on which something would fail later: whose nodes cannot write for the whole cluster, or cannot commit
// together, and workers that it does not know.
func (d *DB) checkCluster(ctx context.Context) error {
	db := d.Lookups.WithContext(ctx)
	var nodes []struct {
		Address string
		Synced  bool
	}
	err := db.Raw(`SELECT ` + nodeAddress + ` AS address, metadatasynced AS synced FROM pg_dist_node
		WHERE isactive AND noderole = 'primary'`).Scan(&nodes).Error
	if err != nil {
		return fmt.Errorf("read nodes of %s: %w", d, err)
	}
	var errs []error
	known := make([]string, len(nodes))
	for i, n := range nodes {
		known[i] = n.Address
		if !n.Synced {
			errs = append(errs, fmt.Errorf("node %s of Citus does not know the tables: start_metadata_sync_to_all_nodes()", n.Address))
		}
	}
	for _, w := range d.cluster.workers {
		if !slices.ContainsFunc(w.addresses, func(a string) bool { return slices.Contains(known, a) }) {
			errs = append(errs, fmt.Errorf(
				"worker %s is no node of Citus: it has %s", strings.Join(w.addresses, ","), strings.Join(known, ", "),
			))
		}
	}
	var prepared string
	if err := db.Raw(`SHOW max_prepared_transactions`).Row().Scan(&prepared); err != nil {
		return fmt.Errorf("read settings of %s: %w", d, err)
	}
	if prepared == "0" {
		errs = append(errs, errors.New("nodes of Citus cannot commit together: set max_prepared_transactions on each"))
	}
	return errors.Join(errs...)
}

// readNodeSettings looks at the settings of all nodes: what a node writes for another one it writes with the settings of that one.
func (d *DB) readNodeSettings(ctx context.Context) error {
	for i := range d.settings {
		s := &d.settings[i]
		var values []string
		err := d.Lookups.WithContext(ctx).Raw(`SELECT DISTINCT result FROM run_command_on_all_nodes(?)`, "SHOW "+s.Name).Scan(&values).Error
		if err != nil {
			return err
		}
		for _, value := range values {
			if value == "off" {
				s.Value, s.Holds = value, false
			}
		}
	}
	return nil
}

// spreadTables makes Citus spread what it should, with the rows that are there.
func (d *DB) spreadTables(ctx context.Context) error {
	if p, ok := d.Dialect.(postgres); !ok || !p.citus {
		return nil
	}
	missing, err := d.unspread(d.Lookups.WithContext(ctx))
	if err != nil || len(missing) == 0 {
		return err
	}
	err = d.InTransaction(ctx, func(tx *gorm.DB) error {
		if err := errors.Join(d.Patient(tx), d.Lock(tx, Spread[0], LockAll)); err != nil { // others wait here
			return err
		}
		missing, err := d.unspread(tx)
		if err != nil {
			return err
		}
		for _, table := range missing {
			with := "default"
			if table != Spread[0] {
				with = Spread[0]
			}
			err := tx.Exec(`SELECT create_distributed_table(CAST(? AS regclass), 'template_id', colocate_with => ?)`, table, with).Error
			if err != nil {
				return err
			}
			if err := tx.Exec(`SELECT truncate_local_data_after_distributing_table(CAST(? AS regclass))`, table).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("spread tables of %s: %w", d, err)
	}
	return nil
}

// unspread are the tables of Spread that Citus does not spread yet.
func (d *DB) unspread(tx *gorm.DB) (tables []string, err error) {
	for _, table := range Spread {
		var spread bool
		err := tx.Raw(`SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass(?))`, table).Row().Scan(&spread)
		if err != nil {
			return nil, fmt.Errorf("read which tables Citus spreads: %w", err)
		}
		if !spread {
			tables = append(tables, table)
		}
	}
	return tables, nil
}

// Citus reports whether the database is one of Citus, in which the tables of Spread lie on several nodes.
func (d *DB) Citus() bool { return d.cluster != nil }

// Nodes is how many nodes take usage, of which one may fail alone.
func (d *DB) Nodes() int {
	if d.cluster == nil {
		return 1
	}
	return 1 + len(d.cluster.workers)
}

// NodeOf is the node that takes the usage of a template, from 0 on.
func (d *DB) NodeOf(ctx context.Context, template uuid.UUID) int {
	if d.cluster == nil {
		return 0
	}
	return d.cluster.nodesOf(ctx, []uuid.UUID{template})[0]
}

// writesOf are the connections to the node that has a template.
func (d *DB) writesOf(ctx context.Context, template uuid.UUID) *gorm.DB {
	if node := d.NodeOf(ctx, template); node > 0 {
		return d.cluster.workers[node-1].writes
	}
	return d.Writes
}

// InOneTransactionOn is InOneTransaction on the node that has a template, for what is about rows of that alone.
func (d *DB) InOneTransactionOn(ctx context.Context, template uuid.UUID, f func(tx *gorm.DB) error) error {
	return d.inOneTransaction(d.writesOf(ctx, template).WithContext(ctx), f)
}

// nodesOf are the nodes of templates, as they were a moment ago. One that is not known is the coordinator, which passes on what it gets.
func (c *cluster) nodesOf(ctx context.Context, templates []uuid.UUID) []int {
	nodes, whole := c.known(templates)
	if whole || !c.looking.TryLock() {
		return nodes
	}
	defer c.looking.Unlock()
	c.look(ctx, templates)
	nodes, _ = c.known(templates)
	return nodes
}

// known are the nodes of templates, and whether nobody has to be asked about them.
func (c *cluster) known(templates []uuid.UUID) (nodes []int, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes, whole = make([]int, len(templates)), time.Since(c.asked) < placeTerm
	for i, template := range templates {
		node, ok := c.nodes[template]
		nodes[i], whole = node, whole && ok
	}
	return nodes, whole
}

// look asks where some templates are, and all that are known. What cannot be asked stays as it is.
func (c *cluster) look(ctx context.Context, templates []uuid.UUID) {
	c.mu.Lock()
	ids := make([]string, 0, len(c.nodes)+len(templates))
	for template := range c.nodes {
		ids = append(ids, template.String())
	}
	c.asked = time.Now() // the real clock: it is about how often
	c.mu.Unlock()
	for _, template := range templates {
		ids = append(ids, template.String())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), placeTimeout)
	defer cancel()
	var found []struct {
		ID      uuid.UUID
		Address string
	}
	err := c.coordinator.WithContext(ctx).Raw(`SELECT asked.id, `+nodeAddress+` AS address
		FROM unnest(CAST(? AS uuid[])) AS asked(id)
		JOIN pg_dist_placement ON pg_dist_placement.shardid = get_shard_id_for_distribution_column('`+Spread[0]+`', asked.id)
		JOIN pg_dist_node ON pg_dist_node.groupid = pg_dist_placement.groupid AND noderole = 'primary'`,
		"{"+strings.Join(ids, ",")+"}").Scan(&found).Error
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if time.Since(c.placed) > placeMemory {
			clear(c.nodes)
		}
		for _, template := range templates {
			if _, ok := c.nodes[template]; !ok {
				c.nodes[template] = 0 // until it is asked again
			}
		}
		return
	}
	clear(c.nodes)
	c.placed = time.Now()
	for _, f := range found {
		c.nodes[f.ID] = 1 + slices.IndexFunc(c.workers, func(w worker) bool { return slices.Contains(w.addresses, f.Address) })
	}
}

// onNodes brings rows into a table of Spread: those of each template in a transaction of the node that has it. The rows of a template stay
// in their order.
func (u Upsert[R]) onNodes(ctx context.Context, d *DB, rows []R) error {
	byTemplate := map[uuid.UUID][]R{}
	for _, r := range rows {
		byTemplate[u.Template(r)] = append(byTemplate[u.Template(r)], r)
	}
	templates := make([]uuid.UUID, 0, len(byTemplate))
	for template := range byTemplate {
		templates = append(templates, template)
	}
	nodes := d.cluster.nodesOf(ctx, templates)
	errs := make([]error, len(templates))   // all of them: what one node refuses another one may not
	panics := make([]error, len(templates)) // raised again in the goroutine of the caller, which contains them
	var writing errgroup.Group
	writing.SetLimit(writingAtOnce)
	for i, template := range templates {
		writes := d.Writes
		if nodes[i] > 0 {
			writes = d.cluster.workers[nodes[i]-1].writes
		}
		writing.Go(func() error {
			defer func() {
				if p := recover(); p != nil {
					panics[i] = fmt.Errorf("%v: %s", p, debug.Stack())
				}
			}()
			for batch := range slices.Chunk(byTemplate[template], maxUpsertRows) {
				errs[i] = cmp.Or(errs[i], retryConflicts(ctx, func() error {
					return d.Classify(u.onNode(ctx, writes.WithContext(ctx), template, batch))
				}))
			}
			return nil
		})
	}
	errs = append(errs, writing.Wait())
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	return errors.Join(errs...)
}
