package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Options say which database to open and how to use it.
type Options struct {
	// Database names it: sqlite:PATH, or a postgres:// or postgresql:// URL.
	Database string
	// Pooler says that the URL is that of a pooler which lends connections of Postgres for a transaction at a time. Nothing is left in a
	// session then, and Migrate and Restore fail, for they need the session of Postgres itself.
	Pooler bool
	// Clock tells the time; nil means time.Now. Tests set it to answer at a fixed moment.
	Clock func() time.Time
	// PageCache is how many bytes of pages stay in memory for the next question, about; at most 0 is none.
	PageCache int
	// PrivacyKey is the key for what must not be readable with the database alone; nil: what needs it fails with ErrNoPrivacyKey.
	PrivacyKey *PrivacyKey
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	clock   func() time.Time
	writes  *gorm.DB // merging, folding, changes of catalog and access
	lookups *gorm.DB // what ingest and authentication need to know; they wait for neither of the others
	reads   *gorm.DB // questions: a pool of their own, so that they never starve ingest
	pages   *pageCache
	key     *PrivacyKey // nil: none

	// Changes that this Store made, counted when they are committed and nobody knows of it yet. They are counted after an error as well:
	// the transaction may have committed all the same. What is remembered from before does not count any more.
	catalogChanges atomic.Int64 // of the catalog and the privacy modes
	accessChanges  atomic.Int64 // of whom credentials let in, and of what they may
}

// AccessChanges grows before a method returns that changed whom credentials let in, or what they may: what [Store.Authenticate],
// [Store.User] or [Store.Holding] told before does not count any more. Other programs on the database are not noticed.
func (s *Store) AccessChanges() int64 { return s.accessChanges.Load() }

// Open connects to a database whose schema is current. It fails with ErrSchema when Migrate has to run first or when
// the schema is newer than this program knows.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
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
	if s.writes, err = openPool(d.writePool()); err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	// Several servers that turn a new SQLite file into one with a log are in each other's way, and none waits by itself.
	if err := retryConflicts(ctx, func() error { return d.classify(s.Ping(ctx)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), s.Close())
	}
	for _, p := range []**gorm.DB{&s.lookups, &s.reads} {
		if *p, err = openPool(d.readPool()); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", d, err), s.Close())
		}
	}
	return s, nil
}

// Deadlines of the calls that callers cannot be trusted to bound.
const (
	lookupTimeout = 10 * time.Second
	foldTimeout   = time.Minute // of one page, or of the search for all that are due
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

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	raw, err := s.writes.DB()
	if err != nil {
		return err
	}
	return raw.PingContext(ctx)
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
	return retryConflicts(ctx, func() error { return s.dialect.classify(s.dialect.write(s.writes.WithContext(ctx), f)) })
}
