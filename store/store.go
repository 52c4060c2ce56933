// Package store keeps what the service knows: usage as sets of minutes, the catalog that gives them names, and access.
//
// Usage lives in two places of one shape. The present is rows that merge (table usage_rows), the past is one page per
// template and UTC day (table usage_pages). Writing is union, folding moves rows into pages, reading takes the union of
// both places; so order, repetition and delay of reports change nothing.
//
// The package is the facade of three rooms: usage merges, folds and reads minutes, db has the connections and what differs between
// Postgres and SQLite, archive backs up and restores. Nobody outside of the store uses the rooms.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/archive"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/usage"
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
	// CitusWorkers are URLs of nodes of a Citus cluster of which Database is the coordinator: reports go to the node that has the template.
	CitusWorkers []string
	// Clock tells the time; nil means time.Now. Tests set it to answer at a fixed moment.
	Clock func() time.Time
	// PageCache is how many bytes of pages stay in memory for the next question, about; at most 0 is none. Beside them, what workspaces
	// were started with takes at most as many, and at most 32 MiB.
	PageCache int
	// PrivacyKey is the key for what must not be readable with the database alone; nil: what needs it fails with ErrNoPrivacyKey.
	PrivacyKey *PrivacyKey
	// ErasedList is the file that keeps the tombstones of erased users outside the database; empty: beside the privacy key, with .erased
	// behind its name.
	ErasedList string
}

// db are the options that say which database to open.
func (o Options) db() db.Options {
	return db.Options{
		Database: o.Database, Pooler: o.Pooler, MigrationDatabase: o.MigrationDatabase, ReadDatabases: o.ReadDatabases,
		MaxReplicaLag: o.MaxReplicaLag, CitusWorkers: o.CitusWorkers,
	}
}

// Kinds of trouble with a database.
var (
	// ErrRefused means the database will never take this data; asking again is useless.
	ErrRefused = db.ErrRefused
	// ErrConflict means another transaction was in the way; asking again at once may succeed.
	ErrConflict = db.ErrConflict
	// ErrSchema means that the tables in the database are not the ones this program works with.
	ErrSchema = db.ErrSchema
	// ErrPooler means that a migration was to run through a pooler, and needs a session of Postgres itself.
	ErrPooler = db.ErrPooler
)

// Unavailable reports whether an error means that the database cannot do its work for now: it does not answer, is full, starts
// or stops, may not be written, or is busy. The same call may succeed later.
func Unavailable(err error) bool { return db.Unavailable(err) }

// Store is an open database. It is safe for concurrent use.
type Store struct {
	db    *db.DB
	usage *usage.Engine
	clock func() time.Time
	key   *PrivacyKey // nil: none
	list  erasedList  // of whom the key made tombstones
	apps  atomic.Pointer[apps.List]
	names names

	starts *startsMemory // what workspaces were started with

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
	d, err := db.Open(ctx, o.db())
	if err != nil {
		return nil, err
	}
	s := &Store{db: d, clock: o.Clock, key: o.PrivacyKey, list: erasedList(o.ErasedList)}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.list == "" && s.key != nil {
		s.list = erasedList(s.key.file + ".erased")
	}
	s.usage = usage.New(d, s.clock, o.PageCache)
	s.starts = newStartsMemory(min(o.PageCache, maxStarts))
	s.KnowApps(apps.BuiltIn())
	return s, nil
}

// KnowApps sets the list of apps that the next questions go by, about the past as well; at first it is that which is built in.
func (s *Store) KnowApps(list *apps.List) { s.apps.Store(list) }

// Apps is the list of apps that questions go by now. Who asks for it once has one that does not change.
func (s *Store) Apps() *apps.List { return s.apps.Load() }

// Close ends all connections. Calls still running fail.
func (s *Store) Close() error { return s.db.Close() }

// String names the database without its credentials, for logs.
func (s *Store) String() string { return s.db.String() }

// Setting is a setting of a database that keeps what was acknowledged: with another value a crash may take it.
type Setting = db.Setting

// Settings are what the connections that write had when the store was opened, by name. They are read back: a URL, a proxy between or
// the database may know better than who sets them.
func (s *Store) Settings() []Setting {
	if s.db == nil { // it is not open
		return nil
	}
	return s.db.Settings()
}

// Check fails with what would keep a server from starting on a database, without changing anything there: one that does not answer, is
// newer, half restored, or to be brought up to date by who may not. Its settings are returned as [Store.Settings] has them; a SQLite
// file that does not exist yet has none.
func Check(ctx context.Context, o Options) ([]Setting, error) { return db.Check(ctx, o.db()) }

// CheckExists fails where connecting would make the database: SQLite makes every file that is asked for.
func CheckExists(database string) error { return db.CheckExists(database) }

// Migrate brings the schema of a database up to date. Several servers may call it at once: one migrates, the others
// wait for it. Where only a pooler is named it fails with ErrPooler.
func Migrate(ctx context.Context, o Options) error {
	d, err := db.ConnectDirectly(ctx, o.db())
	if err != nil {
		return err
	}
	return errors.Join(d.Migrate(ctx), d.Close())
}

// Upgrade is what it takes to bring a database up to date.
type Upgrade struct {
	Database   string // without a password
	Have, Want int64  // versions of the schema
	usage.Backlog
}

// PlanUpgrade says what Migrate would do, and what servers have to do after it. It changes nothing.
func PlanUpgrade(ctx context.Context, o Options) (u Upgrade, err error) {
	d, err := db.ConnectExisting(ctx, o.db())
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	u.Database = d.String()
	if u.Have, u.Want, err = d.Versions(ctx); err != nil {
		return u, err
	}
	tables, err := d.Tables(d.Reads.WithContext(ctx))
	if err == nil {
		u.Backlog, err = usage.BacklogOf(d.Reads.WithContext(ctx), tables)
	}
	if err != nil {
		return u, fmt.Errorf("plan the upgrade of %s: %w", d, d.Classify(err))
	}
	return u, nil
}

// ErrBackup means that what should be restored is no backup, or one that is damaged or cut off.
var ErrBackup = archive.ErrBackup

// Backup writes everything in a database as it is at one moment, whatever servers do meanwhile, and whichever version its schema
// has. The hashes of tokens are in it.
func Backup(ctx context.Context, o Options, w io.Writer) error {
	d, err := db.ConnectExisting(ctx, o.db())
	if err != nil {
		return err
	}
	at := time.Now
	if o.Clock != nil {
		at = o.Clock
	}
	if err = archive.Backup(ctx, d, at(), w); err != nil {
		err = fmt.Errorf("back up %s: %w", d, err)
	}
	return errors.Join(err, d.Close())
}

// Restore fills a database that has no tables yet with a backup, of the same kind of database or the other, and brings its schema
// up to date. No server may run on it. It fails with ErrBackup when the backup is damaged, with ErrSchema when a newer program made
// it, and with ErrPooler where only a pooler is named. Unless all of it could be read the database has no rows after an error, but may
// have tables; no [Open] takes it, and Restore may be repeated.
func Restore(ctx context.Context, o Options, r io.Reader) error {
	backup, err := archive.Open(r)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	d, err := db.ConnectDirectly(ctx, o.db())
	if err != nil {
		return err
	}
	if err = backup.Load(ctx, d); err == nil {
		err = d.Migrate(ctx)
	}
	if err != nil {
		err = fmt.Errorf("restore %s: %w", d, err)
	}
	return errors.Join(err, d.Close())
}

// Deadlines of the calls that callers cannot be trusted to bound.
const (
	lookupTimeout = 10 * time.Second
	markTimeout   = time.Second // of the database, before replicas are asked
)

// MarkCommit counts the mark of commits in the database up, as every server does every few seconds. An error means that this program
// cannot commit now.
func (s *Store) MarkCommit(ctx context.Context) error {
	err := s.db.InQuietTransaction(ctx, func(tx *gorm.DB) error {
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
	err = s.db.Reads.WithContext(reading).Raw(`SELECT COALESCE(MAX(number), 0) FROM commit_mark`).Row().Scan(&number)
	if err == nil {
		return number, nil
	}
	number, others := s.db.Replicas.CommitMark(ctx)
	if others != nil {
		return 0, fmt.Errorf("read the mark of commits: %w", errors.Join(err, others))
	}
	return number, nil
}
