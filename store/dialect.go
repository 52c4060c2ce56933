package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what differs between the databases: how to connect, the source of the merge statement, how many rows
// are read, how long lists are passed, how a transaction begins, yields, locks or takes its time, which tables and settings there are,
// who may migrate, what time it is, what is left of what is deleted, and what an error means.
type dialect interface {
	fmt.Stringer
	writePool() pool
	readPool() pool
	// begin gives a transaction that just began the settings that writing relies on, where connections do not have them.
	begin(tx *gorm.DB) error
	// write runs f with the settings that writing relies on.
	write(db *gorm.DB, f func(db *gorm.DB) error) error
	// goose says how to migrate: in which dialect, with the files of which kind, and with which options.
	goose() (_ goose.Dialect, kind string, _ []goose.ProviderOption, _ error)
	// merge unions rows, sorted and distinct, into usage_open in one transaction.
	merge(ctx context.Context, db *gorm.DB, rows []OpenRow) error
	// read hands f the rows of a query outside of transactions, which end with f.
	read(query *gorm.DB, f func(records) error) error
	// touch notes that agents reported.
	touch(ctx context.Context, db *gorm.DB, agents []AgentState) error
	// among is a condition that a column holds one of some numbers, however many, and its only argument.
	among(column string, numbers []int64) (condition, argument string)
	// pairs is a table of the columns id and value, the latter of a type, uuid or text. Its only argument are [pairs].
	pairs(valueType string) string
	// yield makes the transaction give way when it must wait for a lock.
	yield(tx *gorm.DB) error
	// patient lets the transaction take as long as it needs.
	patient(tx *gorm.DB) error
	// tables is the statement that names all tables.
	tables() string
	// lockTombstones makes the transaction wait for all that looked for tombstones, and others wait that want to.
	lockTombstones(tx *gorm.DB) error
	// lockOrganizations makes the transaction wait for all that write organizations, and others wait that want to.
	lockOrganizations(tx *gorm.DB) error
	// settings is the statement that reads what an acknowledged report depends on: columns and rows of [Setting].
	settings() string
	// mayMigrate is the statement that says whether tables can be made.
	mayMigrate() string
	// now is the time by the clock of the database, or by that of this program where they are one.
	now(db *gorm.DB, own func() time.Time) (time.Time, error)
	// scrub makes sure that nothing of what was deleted can be read any more by who has the database.
	scrub(ctx context.Context, db *gorm.DB) error
	classify(err error) error
}

// parseDatabase reads a database name as users write it, and whether it is that of a pooler.
func parseDatabase(name string, pooler bool) (dialect, error) {
	switch scheme, rest, _ := strings.Cut(name, ":"); scheme {
	case "sqlite":
		if rest == "" {
			return nil, errors.New("database: sqlite: needs a file, for example sqlite:insights.db")
		}
		if pooler {
			return nil, errors.New("database: no pooler stands before an sqlite: file")
		}
		return sqliteDialect{path: rest}, nil
	case "postgres", "postgresql":
		u, err := url.Parse(name)
		if err != nil {
			// The text of the error repeats the URL, and with it the password.
			return nil, errors.New(
				"database: the postgres URL cannot be parsed; characters like @ : / in a password must be percent-encoded",
			)
		}
		for host := range strings.SplitSeq(u.Host, ",") {
			if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
				// The text may be a part of the password.
				return nil, errors.New(
					"database: hosts in the postgres URL must be HOST:PORT, an IPv6 host in brackets, such as [::1]:5432",
				)
			}
		}
		return postgresDialect{u, pooler}, nil
	}
	return nil, errors.New("database: want sqlite:FILE or postgres://USER@HOST/NAME")
}

// Kinds of trouble with a database, as classify tells them.
var (
	// ErrRefused means the database will never take this data; asking again is useless.
	ErrRefused = errors.New("database refused the data")
	// ErrConflict means another transaction was in the way; asking again at once may succeed.
	ErrConflict = errors.New("transaction gave way to another")
)

// garbled is in the errors of answers that PgBouncer began to pass on when Postgres was killed, and ended with an error of its own in the
// middle of a row. pgx has no type for them.
const garbled = " body is invalid"

// Unavailable reports whether an error means that the database cannot do its work for now: it does not answer, is full, starts
// or stops, may not be written, or is busy. The same call may succeed later.
func Unavailable(err error) bool {
	var network net.Error
	if errors.Is(err, ErrConflict) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || pgconn.SafeToRetry(err) || err != nil && strings.Contains(err.Error(), garbled) {
		return true
	}
	var connect *pgconn.ConnectError
	var postgres *pgconn.PgError
	var sqlite *sqlitedriver.Error
	switch {
	case errors.As(err, &connect):
		return true
	case errors.As(err, &postgres):
		// Connection, resources, operator, system; read-only, no privilege.
		return slices.ContainsFunc([]string{"08", "53", "57", "58", "25006", "42501"}, func(class string) bool {
			return strings.HasPrefix(postgres.Code, class)
		})
	case errors.As(err, &sqlite):
		switch sqlite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM:
			return true
		}
	}
	return false
}

type postgresDialect struct {
	url    *url.URL
	pooler bool // between it and this program
}

func (d postgresDialect) String() string {
	return "postgres database " + strings.TrimPrefix(d.url.Path, "/") + " on " + d.url.Host
}

// dsn adds settings that the service relies on, unless the user set them. Of several hosts the primary is the one to speak with,
// whichever it is at the time: looking for a host that accepts writes would find none for questions, which are read-only. A pooler
// takes no settings, and its connections know no statement that was prepared before: each comes with its text and its types.
func (d postgresDialect) dsn(name string, settings map[string]string) string {
	u, query := *d.url, d.url.Query()
	all := map[string]string{"application_name": name, "connect_timeout": "10"}
	if strings.Contains(u.Host, ",") {
		all["target_session_attrs"] = "primary"
		all["connect_timeout"] = "2" // of each host: one that is gone does not hold up the others
	}
	if d.pooler {
		all["default_query_exec_mode"] = "cache_describe"
	} else {
		maps.Copy(all, settings)
	}
	for name, value := range all {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// writeSettings are what writing relies on, whatever the defaults of the database are.
var writeSettings = map[string]string{
	"synchronous_commit": "on", // an acknowledged report is on disk
	// A merge looks up each of its rows by the key, in their order. Plans that read the whole table may look cheaper while it is small.
	"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
	// Such plans seem so costly that the server would compile each of them, for longer than it takes to run them.
	"jit": "off",
}

func (d postgresDialect) writePool() pool {
	return pool{postgres.New(postgres.Config{DSN: d.dsn("insights", writeSettings)}), 8}
}

func (d postgresDialect) readPool() pool {
	// Questions have deadlines of their own; this one is for those of a server that was killed.
	settings := map[string]string{"default_transaction_read_only": "on", "statement_timeout": "60s"}
	return pool{postgres.New(postgres.Config{DSN: d.dsn("insights-reads", settings)}), 8}
}

// beginWriting gives a transaction all of writeSettings in one message.
var beginWriting = func() (statements string) {
	for _, name := range slices.Sorted(maps.Keys(writeSettings)) {
		statements += "SET LOCAL " + name + " = " + writeSettings[name] + ";"
	}
	return statements
}()

func (d postgresDialect) begin(tx *gorm.DB) error {
	if !d.pooler {
		return nil
	}
	return tx.Exec(beginWriting).Error
}

func (d postgresDialect) write(db *gorm.DB, f func(db *gorm.DB) error) error {
	if !d.pooler {
		return f(db)
	}
	return db.Transaction(func(tx *gorm.DB) error {
		if err := d.begin(tx); err != nil {
			return err
		}
		return f(tx)
	})
}

func (postgresDialect) among(column string, numbers []int64) (condition, argument string) {
	return column + " = ANY(CAST(? AS bigint[]))", "{" + joined(numbers) + "}"
}

func (postgresDialect) yield(tx *gorm.DB) error {
	return tx.Exec("SET LOCAL lock_timeout = '100ms'").Error
}

func (postgresDialect) settings() string {
	return `SELECT name, setting AS value, name = 'synchronous_commit' AS ours,
		CASE name WHEN 'synchronous_commit' THEN setting <> 'off' ELSE setting = 'on' END AS holds
		FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes') ORDER BY name`
}

func (postgresDialect) mayMigrate() string {
	return `SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AND NOT pg_is_in_recovery()`
}

func (postgresDialect) now(db *gorm.DB, _ func() time.Time) (time.Time, error) {
	var now Instant
	err := db.Raw("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)").Row().Scan(&now)
	return now.Time, err
}

func (postgresDialect) lockTombstones(tx *gorm.DB) error {
	return tx.Exec("LOCK TABLE tombstones IN ACCESS EXCLUSIVE MODE").Error
}

func (postgresDialect) lockOrganizations(tx *gorm.DB) error {
	return tx.Exec("LOCK TABLE organizations IN SHARE ROW EXCLUSIVE MODE").Error // who only reads goes on
}

// scrub has nothing to do: no statement and no logical backup sees a row that was deleted, and autovacuum writes over it.
func (postgresDialect) scrub(context.Context, *gorm.DB) error { return nil }

// unencodable is in the errors of values that do not fit the types of a statement, for which pgx has no type.
const unencodable = "failed to encode args"

func (d postgresDialect) classify(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if err != nil && strings.Contains(err.Error(), unencodable) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return err
	}
	switch e.Code {
	case "42P05", "08P01": // a statement is prepared already, a setting or message that is not understood
		if !d.pooler {
			return fmt.Errorf("%w: if a pooler such as PgBouncer stands before Postgres, say --database-pooler=transaction", err)
		}
	case "40001", "40P01", "55P03": // serialization, deadlock, lock timeout
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	switch e.Code[:2] {
	case "22", "23": // data exception, constraint
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

type sqliteDialect struct{ path string }

func (d sqliteDialect) String() string { return "sqlite file " + d.path }

func (d sqliteDialect) dsn(pragmas ...string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(d.path), RawQuery: query.Encode()}).String()
}

func (d sqliteDialect) writePool() pool {
	// FULL syncs the log at every commit; one connection, because SQLite has one writer at a time anyway.
	dsn := d.dsn("journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)")
	return pool{sqlite.New(sqlite.Config{DriverName: "sqlite", DSN: dsn}), 1}
}

func (sqliteDialect) begin(*gorm.DB) error { return nil } // connections have all settings

func (sqliteDialect) write(db *gorm.DB, f func(db *gorm.DB) error) error { return f(db) }

func (d sqliteDialect) readPool() pool {
	return pool{sqlite.New(sqlite.Config{DriverName: "sqlite", DSN: d.dsn("query_only(1)", "busy_timeout(10000)")}), 4}
}

func (sqliteDialect) among(column string, numbers []int64) (condition, argument string) {
	return column + " IN (SELECT value FROM json_each(?))", "[" + joined(numbers) + "]"
}

func (postgresDialect) pairs(valueType string) string {
	return `(SELECT CAST(key AS uuid) AS id, CAST(value AS ` + valueType + `) AS value FROM json_each_text(CAST(? AS json)) AS given)`
}

func (sqliteDialect) pairs(string) string {
	return `(SELECT key AS id, value FROM json_each(?) AS given)`
}

// pairs are values by ids, however many, as one argument of a statement. Statements take them in the order of the ids, so that two
// writers wait for each other instead of deadlocking.
type pairs[V uuid.UUID | string] map[uuid.UUID]V

// Value implements [driver.Valuer].
func (p pairs[V]) Value() (driver.Value, error) {
	text, err := json.Marshal(p)
	return string(text), err
}

// joined writes numbers with commas between them.
func joined(numbers []int64) string {
	var list []byte
	for i, n := range numbers {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, n, 10)
	}
	return string(list)
}

func (sqliteDialect) yield(*gorm.DB) error { return nil } // the only writer waits for nobody

func (sqliteDialect) settings() string {
	return `SELECT 'synchronous' AS name, CAST(synchronous AS text) AS value, 1 AS ours, synchronous >= 2 AS holds FROM pragma_synchronous`
}

func (sqliteDialect) mayMigrate() string { return `SELECT 1` } // who may write the file

func (sqliteDialect) now(_ *gorm.DB, own func() time.Time) (time.Time, error) { return own(), nil }

func (sqliteDialect) lockTombstones(*gorm.DB) error { return nil } // there is one writer at a time

func (sqliteDialect) lockOrganizations(*gorm.DB) error { return nil }

// scrub writes the file anew, without the pages that are free and the remains in the others, and empties the log.
func (sqliteDialect) scrub(ctx context.Context, db *gorm.DB) error {
	if err := db.WithContext(ctx).Exec("VACUUM").Error; err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	var left struct{ Busy bool }
	if err := db.WithContext(ctx).Raw("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&left).Error; err != nil {
		return fmt.Errorf("empty the log: %w", err)
	}
	if left.Busy {
		return fmt.Errorf("empty the log: somebody still reads it: %w", ErrConflict)
	}
	return nil
}

func (sqliteDialect) classify(err error) error {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
