// Package db is the database under the store: its pools of connections, transactions, schema, and what differs between Postgres and
// SQLite. It knows what a table is, and of no table what is in it, but for the ones that tell the state of the schema.
package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/template-insights/insights/store/replica"
)

// Options say which database to open.
type Options struct {
	// Database names it: sqlite:PATH, or a postgres:// or postgresql:// URL.
	Database string
	// Pooler says that the URL is that of a pooler which lends connections of Postgres for a transaction at a time. Nothing is left in a
	// session then.
	Pooler bool
	// MigrationDatabase is the URL of Postgres itself, for what needs a session there. Empty: Database.
	MigrationDatabase string
	// ReadDatabases are URLs of replicas of the database, each of one server, that answer questions about usage in its place.
	ReadDatabases []string
	// MaxReplicaLag is how far a replica that answers may be behind the database.
	MaxReplicaLag time.Duration
	// CitusWorkers are URLs of nodes of the Citus cluster whose coordinator is Database.
	CitusWorkers []string
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	Dialect
	// Writes are the connections that change anything. Changes go through InTransaction, InQuietTransaction, Write and UpsertAll.
	Writes *gorm.DB
	// Lookups are for what ingest and authentication need to know; they wait for neither of the others.
	Lookups *gorm.DB
	// Reads are for questions: a pool of their own, so that they never starve ingest.
	Reads *gorm.DB
	// Replicas answer questions about usage in place of Reads.
	Replicas *replica.Set

	cluster  *cluster  // nil: the database is of one node
	settings []Setting // as they were when it was opened
}

// Open connects to a database whose schema is current. It fails with ErrSchema when Migrate has to run first, when the schema is newer
// than this program knows, and when a restore did not end. It makes no database.
func Open(ctx context.Context, o Options) (*DB, error) {
	d, err := ConnectExisting(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.checkSchema(ctx), d.readSettings(ctx), d.Replicas.Check(ctx)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// ConnectExisting connects to a database whatever its schema is, but makes none: SQLite makes every file that is asked for.
func ConnectExisting(ctx context.Context, o Options) (*DB, error) {
	if err := CheckExists(o.Database); err != nil {
		return nil, err
	}
	return connect(ctx, o)
}

// CheckExists fails where connecting would make the database.
func CheckExists(database string) error {
	d, err := parseDatabase(database, false)
	if err != nil {
		return err
	}
	if file, ok := d.(sqlite); ok {
		if _, err := os.Stat(file.path); err != nil {
			return fmt.Errorf("open %s, which insights migrate makes: %w", d, errors.Unwrap(err))
		}
	}
	return nil
}

// Check fails with what would keep a server from starting on a database, without changing anything there: one that does not answer, is
// newer, half restored, or to be brought up to date by who may not. Its settings are returned as [DB.Settings] has them; a SQLite
// file that does not exist yet has none.
func Check(ctx context.Context, o Options) (_ []Setting, err error) {
	named, err := parseDatabase(o.Database, o.Pooler)
	if err != nil {
		return nil, err
	}
	if file, ok := named.(sqlite); ok {
		if _, err := os.Stat(filepath.Dir(file.path)); err != nil {
			return nil, fmt.Errorf("open %s: %w", named, err)
		}
		if info, err := os.Stat(file.path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
			return nil, nil
		}
	}
	d, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	have, want, err := d.Versions(ctx)
	if err == nil && have < want {
		err = d.checkMayMigrate(ctx, o)
	}
	err = errors.Join(err, d.readSettings(ctx), d.Replicas.Check(ctx))
	return d.settings, err
}

// connect opens the pools and asks the database for a sign of life.
func connect(ctx context.Context, o Options) (*DB, error) {
	named, err := parseDatabase(o.Database, o.Pooler)
	if err != nil {
		return nil, err
	}
	d := &DB{Dialect: named}
	if p, ok := named.(postgres); ok {
		if d.Dialect, err = p.withCitus(ctx); err != nil {
			return nil, fmt.Errorf("open %s: %w", d, p.Classify(err))
		}
	}
	if d.Writes, err = openPool(d.writePool()); err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	// Several servers that turn a new SQLite file into one with a log are in each other's way, and none waits by itself.
	if err := retryConflicts(ctx, func() error { return d.Classify(d.ping(ctx)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), d.Close())
	}
	for _, p := range []**gorm.DB{&d.Lookups, &d.Reads} {
		if *p, err = openPool(d.readPool()); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), d.Close())
		}
	}
	if d.Replicas, err = d.openReplicas(o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.openCluster(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openReplicas names the servers that answer in place of the primary. They are connected to when they are asked.
func (d *DB) openReplicas(o Options) (*replica.Set, error) {
	var replicas []*replica.Replica
	if _, ok := d.Dialect.(postgres); !ok && len(o.ReadDatabases) > 0 {
		return nil, fmt.Errorf("%s has no replicas: only Postgres has", d)
	}
	for _, database := range o.ReadDatabases {
		named, err := parseDatabase(database, o.Pooler)
		if err != nil {
			return nil, fmt.Errorf("replica: %w", err)
		}
		p, ok := named.(postgres)
		if !ok || strings.Contains(p.url.Host, ",") {
			return nil, fmt.Errorf("replica: %s: want postgres://USER@HOST/NAME of one server", named)
		}
		connections, err := openPool(named.readPool())
		if err != nil {
			return nil, fmt.Errorf("open replica %s: %w", named, err)
		}
		replicas = append(replicas, &replica.Replica{Name: named.String(), Address: p.url.Host, DB: connections})
	}
	return replica.New(d.Reads, replicas, o.MaxReplicaLag), nil
}

// pool is one set of connections to a database.
type pool struct {
	dialector   gorm.Dialector
	connections int
}

func openPool(p pool) (*gorm.DB, error) {
	db, err := gorm.Open(p.dialector, &gorm.Config{
		Logger:                 logger.Discard,
		SkipDefaultTransaction: true,
		PrepareStmt:            false,
		TranslateError:         false,
		DisableAutomaticPing:   true,
	})
	if err != nil {
		return nil, err
	}
	raw, err := db.DB()
	if err != nil {
		return nil, err
	}
	raw.SetMaxOpenConns(p.connections)
	raw.SetMaxIdleConns(p.connections)
	return db, nil
}

// Close ends all connections. Calls still running fail.
func (d *DB) Close() error {
	var errs []error
	if d.Replicas != nil {
		errs = append(errs, d.Replicas.Close())
	}
	pools := []*gorm.DB{d.Writes, d.Lookups, d.Reads}
	if d.cluster != nil {
		for _, w := range d.cluster.workers {
			pools = append(pools, w.writes)
		}
	}
	for _, db := range pools {
		if db == nil {
			continue
		}
		raw, err := db.DB()
		if err == nil {
			err = raw.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ping reports whether the database answers.
func (d *DB) ping(ctx context.Context) error {
	raw, err := d.Writes.DB()
	if err != nil {
		return err
	}
	return raw.PingContext(ctx)
}

// Setting is a setting of a database that keeps what was acknowledged: with another value a crash may take it.
type Setting struct {
	Name, Value string
	Ours        bool // the service sets it for itself; others are those of the whole database server
	Holds       bool // it is as it has to be
}

// Settings are what the connections that write had when the database was opened, by name. They are read back: a URL, a proxy between or
// the database may know better than who sets them.
func (d *DB) Settings() []Setting { return d.settings }

func (d *DB) readSettings(ctx context.Context) error {
	// In a transaction, as everything that is acknowledged.
	err := d.InQuietTransaction(ctx, func(tx *gorm.DB) error { return tx.Raw(d.Dialect.settings()).Scan(&d.settings).Error })
	if err == nil && d.Citus() {
		err = d.readNodeSettings(ctx)
	}
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", d, err)
	}
	return nil
}

// Scrub removes deleted rows from the files of the database.
func (d *DB) Scrub(ctx context.Context) error {
	err := retryConflicts(ctx, func() error { return d.Classify(d.scrub(ctx, d.Writes)) })
	if err != nil {
		return fmt.Errorf("remove what is left in the files of the database: %w", err)
	}
	return nil
}

// conflictPatience is how long a call tries again when others are in its way: longer than a busy disk needs to sync what they
// commit.
const conflictPatience = 10 * time.Second

// retryConflicts runs f again when another transaction was in its way. It counts patience by the real clock: one that stands still
// would never end it.
func retryConflicts(ctx context.Context, f func() error) error {
	begin := time.Now()
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !errors.Is(err, ErrConflict) || time.Since(begin) > conflictPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(rand.N(time.Duration(min(attempt, 10)) * 10 * time.Millisecond)):
		}
	}
}

// InTransaction runs f in a transaction, again if others are in its way.
func (d *DB) InTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	defer d.Replicas.Acknowledge()
	return d.InQuietTransaction(ctx, f)
}

// InQuietTransaction is InTransaction for what no answer has to have: replicas are not waited for because of it.
func (d *DB) InQuietTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	return retryConflicts(ctx, func() error { return d.InOneTransaction(ctx, f) })
}

// InOneTransaction runs f in a transaction; ErrConflict means that others were in its way.
func (d *DB) InOneTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	return d.inOneTransaction(d.Writes.WithContext(ctx), f)
}

func (d *DB) inOneTransaction(db *gorm.DB, f func(tx *gorm.DB) error) error {
	return d.Classify(db.Transaction(func(tx *gorm.DB) error {
		if err := d.begin(tx); err != nil {
			return err
		}
		return f(tx)
	}))
}

// Write runs f, of which each statement is a transaction of its own unless the database has to be told how to run it, again if others
// are in its way.
func (d *DB) Write(ctx context.Context, f func(db *gorm.DB) error) error {
	defer d.Replicas.Acknowledge()
	return retryConflicts(ctx, func() error { return d.Classify(d.write(d.Writes.WithContext(ctx), f)) })
}
