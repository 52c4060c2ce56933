package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/template-insights/insights/store/replica"
)

// Options say which database to open and how to use it.
type Options struct {
	// Database names it: sqlite:PATH, or a postgres:// or postgresql:// URL.
	Database string
	// Pooler says that the URL is that of a pooler which lends connections of Postgres for a transaction at a time. Nothing is left in a
	// session then.
	Pooler bool
	// MigrationDatabase is the URL of Postgres itself, for what needs a session there: Migrate and Restore. Empty: Database.
	MigrationDatabase string
	// ReadDatabases are URLs of replicas of the database, each of one server, that answer questions about usage in its place.
	ReadDatabases []string
	// MaxReplicaLag is how far a replica that answers may be behind the database.
	MaxReplicaLag time.Duration
	// Clock tells the time; nil means time.Now. Tests set it to answer at a fixed moment.
	Clock func() time.Time
	// PageCache is how many bytes of pages stay in memory for the next question, about; at most 0 is none.
	PageCache int
	// PrivacyKey is the key for what must not be readable with the database alone; nil: what needs it fails with ErrNoPrivacyKey.
	PrivacyKey *PrivacyKey
	// ErasedList is the file that keeps the tombstones of erased users outside the database; empty: beside the privacy key, with .erased
	// behind its name.
	ErasedList string
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect  dialect
	clock    func() time.Time
	writes   *gorm.DB     // merging, folding, changes of catalog and access
	lookups  *gorm.DB     // what ingest and authentication need to know; they wait for neither of the others
	reads    *gorm.DB     // questions: a pool of their own, so that they never starve ingest
	replicas *replica.Set // answer questions about usage in place of reads
	pages    *pageCache
	key      *PrivacyKey // nil: none
	list     erasedList  // of whom the key made tombstones

	settings []Setting // as they were when it was opened

	// Changes that this Store made, counted when they are committed and nobody knows of it yet. They are counted after an error as well:
	// the transaction may have committed all the same. What is remembered from before does not count any more.
	catalogChanges atomic.Int64 // of the catalog and the privacy modes
	accessChanges  atomic.Int64 // of whom credentials let in, and of what they may
}

// AccessChanges grows before a method returns that changed whom credentials let in, or what they may: what [Store.Authenticate],
// [Store.User] or [Store.Holding] told before does not count any more. Other programs on the database are not noticed.
func (s *Store) AccessChanges() int64 { return s.accessChanges.Load() }

// Open connects to a database whose schema is current. It fails with ErrSchema when Migrate has to run first, when the schema is newer
// than this program knows, and when a restore did not end. It makes no database: Migrate and Restore do.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := CheckExists(o.Database); err != nil {
		return nil, err
	}
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.checkSchema(ctx), s.readSettings(ctx), s.replicas.Check(ctx)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Setting is a setting of a database that keeps what was acknowledged: with another value a crash may take it.
type Setting struct {
	Name, Value string
	Ours        bool // the service sets it for itself; others are those of the whole database server
	Holds       bool // it is as it has to be
}

// Settings are what the connections that write had when the store was opened, by name. They are read back: a URL, a proxy between or
// the database may know better than who sets them.
func (s *Store) Settings() []Setting { return s.settings }

func (s *Store) readSettings(ctx context.Context) error {
	// In a transaction, as everything that is acknowledged.
	err := s.inQuietTransaction(ctx, func(tx *gorm.DB) error { return tx.Raw(s.dialect.settings()).Scan(&s.settings).Error })
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", s, err)
	}
	return nil
}

// Check fails with what would keep a server from starting on a database, without changing anything there: one that does not answer, is
// newer, half restored, or to be brought up to date by who may not. Its settings are returned as [Store.Settings] has them; a SQLite
// file that does not exist yet has none.
func Check(ctx context.Context, o Options) (_ []Setting, err error) {
	d, err := parseDatabase(o.Database, o.Pooler)
	if err != nil {
		return nil, err
	}
	if file, ok := d.(sqliteDialect); ok {
		if _, err := os.Stat(filepath.Dir(file.path)); err != nil {
			return nil, fmt.Errorf("open %s: %w", d, err)
		}
		if info, err := os.Stat(file.path); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
			return nil, nil
		}
	}
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	have, want, err := s.versions(ctx)
	if err == nil && have < want {
		err = s.mayMigrate(ctx, o)
	}
	err = errors.Join(err, s.readSettings(ctx), s.replicas.Check(ctx))
	return s.settings, err
}

// mayMigrate fails where tables cannot be made.
func (s *Store) mayMigrate(ctx context.Context, o Options) (err error) {
	direct, err := connectDirectly(ctx, o)
	if err != nil {
		return fmt.Errorf("%w of %s is to be brought up to date: %w", ErrSchema, s, err)
	}
	defer func() { err = errors.Join(err, direct.Close()) }()
	var may bool
	if err := direct.reads.WithContext(ctx).Raw(s.dialect.mayMigrate()).Row().Scan(&may); err != nil {
		return fmt.Errorf("read privileges on %s: %w", s, err)
	}
	if !may {
		return fmt.Errorf("%w of %s is to be brought up to date, and this user may make no tables there", ErrSchema, s)
	}
	return nil
}

// CheckExists fails where connecting would make the database: SQLite makes every file that is asked for.
func CheckExists(database string) error {
	d, err := parseDatabase(database, false)
	if err != nil {
		return err
	}
	if file, ok := d.(sqliteDialect); ok {
		if _, err := os.Stat(file.path); err != nil {
			return fmt.Errorf("open %s, which insights migrate makes: %w", d, errors.Unwrap(err))
		}
	}
	return nil
}

// connect opens the pools and asks the database for a sign of life.
func connect(ctx context.Context, o Options) (*Store, error) {
	d, err := parseDatabase(o.Database, o.Pooler)
	if err != nil {
		return nil, err
	}
	s := &Store{dialect: d, clock: o.Clock, pages: newPageCache(o.PageCache), key: o.PrivacyKey}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.list = erasedList(o.ErasedList); s.list == "" && s.key != nil {
		s.list = erasedList(s.key.file + ".erased")
	}
	if s.writes, err = openPool(d.writePool()); err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	// Several servers that turn a new SQLite file into one with a log are in each other's way, and none waits by itself.
	if err := retryConflicts(ctx, func() error { return d.classify(s.ping(ctx)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), s.Close())
	}
	for _, p := range []**gorm.DB{&s.lookups, &s.reads} {
		if *p, err = openPool(d.readPool()); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), s.Close())
		}
	}
	if s.replicas, err = s.openReplicas(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openReplicas names the servers that answer in place of the primary. They are connected to when they are asked.
func (s *Store) openReplicas(o Options) (*replica.Set, error) {
	var replicas []*replica.Replica
	if _, ok := s.dialect.(postgresDialect); !ok && len(o.ReadDatabases) > 0 {
		return nil, fmt.Errorf("%s has no replicas: only Postgres has", s)
	}
	for _, database := range o.ReadDatabases {
		d, err := parseDatabase(database, o.Pooler)
		if err != nil {
			return nil, fmt.Errorf("replica: %w", err)
		}
		p, ok := d.(postgresDialect)
		if !ok || strings.Contains(p.url.Host, ",") {
			return nil, fmt.Errorf("replica: %s: want postgres://USER@HOST/NAME of one server", d)
		}
		db, err := openPool(d.readPool())
		if err != nil {
			return nil, fmt.Errorf("open replica %s: %w", d, err)
		}
		replicas = append(replicas, &replica.Replica{Name: d.String(), Address: p.url.Host, DB: db})
	}
	return replica.New(s.reads, replicas, o.MaxReplicaLag), nil
}

// Deadlines of the calls that callers cannot be trusted to bound.
const (
	lookupTimeout = 10 * time.Second
	foldTimeout   = time.Minute // of one page, or of the search for all that are due
	markTimeout   = time.Second // of the database, before replicas are asked
)

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
func (s *Store) Close() error {
	var errs []error
	if s.replicas != nil {
		errs = append(errs, s.replicas.Close())
	}
	for _, db := range []*gorm.DB{s.writes, s.lookups, s.reads} {
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
func (s *Store) ping(ctx context.Context) error {
	raw, err := s.writes.DB()
	if err != nil {
		return err
	}
	return raw.PingContext(ctx)
}

// MarkCommit counts the mark of commits in the database up, as every server does every few seconds. An error means that this program
// cannot commit now.
func (s *Store) MarkCommit(ctx context.Context) error {
	err := s.inQuietTransaction(ctx, func(tx *gorm.DB) error {
		return tx.Exec(`INSERT INTO commit_mark (id, number) VALUES (1, 1)
			ON CONFLICT (id) DO UPDATE SET number = commit_mark.number + 1`).Error
	})
	if err != nil {
		return fmt.Errorf("mark that commits are possible: %w", err)
	}
	return nil
}

// CommitMark returns the mark of commits as this program sees it, on a replica if the database does not answer; 0: nobody has counted
// yet. After an error nobody can say whether others commit.
func (s *Store) CommitMark(ctx context.Context) (number int64, err error) {
	reading, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	err = s.reads.WithContext(reading).Raw(`SELECT COALESCE(MAX(number), 0) FROM commit_mark`).Row().Scan(&number)
	if err == nil {
		return number, nil
	}
	number, others := s.replicas.CommitMark(ctx)
	if others != nil {
		return 0, fmt.Errorf("read the mark of commits: %w", errors.Join(err, others))
	}
	return number, nil
}

// String names the database without its credentials, for logs.
func (s *Store) String() string { return s.dialect.String() }

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

// inTransaction runs f in a transaction, again if others are in its way.
func (s *Store) inTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	defer s.replicas.Acknowledge()
	return s.inQuietTransaction(ctx, f)
}

// inQuietTransaction is inTransaction for what no answer has to have: replicas are not waited for because of it.
func (s *Store) inQuietTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	return retryConflicts(ctx, func() error { return s.inOneTransaction(ctx, f) })
}

// inOneTransaction runs f in a transaction; ErrConflict means that others were in its way.
func (s *Store) inOneTransaction(ctx context.Context, f func(tx *gorm.DB) error) error {
	return s.dialect.classify(s.writes.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := s.dialect.begin(tx); err != nil {
			return err
		}
		return f(tx)
	}))
}

// write runs f, of which each statement is a transaction of its own unless the database has to be told how to run it, again if others
// are in its way.
func (s *Store) write(ctx context.Context, f func(db *gorm.DB) error) error {
	defer s.replicas.Acknowledge()
	return retryConflicts(ctx, func() error { return s.dialect.classify(s.dialect.write(s.writes.WithContext(ctx), f)) })
}
