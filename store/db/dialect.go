package db

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"gorm.io/gorm"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Dialect is what differs between the databases beyond [Upsert]: how to connect, how many rows are read, how long lists are passed, how a
// transaction begins, yields, locks or takes its time, where rows lie, which tables and settings there are, who may migrate, what time it
// is, what is left of what is deleted, and what an error means.
type Dialect interface {
	// String names the database without its credentials, for logs.
	fmt.Stringer
	// Rows hands f the rows of a query outside of transactions, which end with f.
	Rows(query *gorm.DB, f func(Records) error) error
	// Among is a condition that a column holds one of some numbers, however many, and its only argument.
	Among(column string, numbers []int64) (condition, argument string)
	// Pairs is a table of the columns id and value, the latter of a type, uuid or text. Its only argument are [Pairs].
	Pairs(valueType string) string
	// Yield makes the transaction give way when it must wait for a lock.
	Yield(tx *gorm.DB) error
	// Patient lets the transaction take as long as it needs.
	Patient(tx *gorm.DB) error
	// Lock makes the transaction wait for all that use a table in the ways that the lock excludes, and others wait that want to.
	Lock(tx *gorm.DB, table string, how Lock) error
	// LockNumbers makes the transaction wait for all that hold one of some numbers of 32 bits, and others wait that want to. The numbers
	// ascend, so that two transactions wait for each other instead of deadlocking; Postgres has room for few.
	LockNumbers(tx *gorm.DB, numbers []int64) error
	// Position is the column that tells where in its table a row lies.
	Position() string
	// Shrink gives back what the end of a table no longer needs, where a table has room of its own. It goes outside of transactions.
	Shrink(db *gorm.DB, table string) error
	// Now is the time by the clock of the database, or by that of this program where they are one.
	Now(db *gorm.DB, own func() time.Time) (time.Time, error)
	// Classify makes an error of the database wrap ErrRefused or ErrConflict where it means that.
	Classify(err error) error

	writePool() pool
	readPool() pool
	// begin gives a transaction that just began the settings that writing relies on, where connections do not have them.
	begin(tx *gorm.DB) error
	// write runs f with the settings that writing relies on.
	write(db *gorm.DB, f func(db *gorm.DB) error) error
	// goose says how to migrate: in which dialect, with the files of which kind, and with which options.
	goose() (_ goose.Dialect, kind string, _ []goose.ProviderOption, _ error)
	// tables is the statement that names all tables.
	tables() string
	// settings is the statement that reads what an acknowledged report depends on: columns and rows of [Setting].
	settings() string
	// mayMigrate is the statement that says whether tables can be made.
	mayMigrate() string
	// scrub makes sure that nothing of what was deleted can be read any more by who has the database.
	scrub(ctx context.Context, db *gorm.DB) error
}

// Lock is what a lock of a table excludes.
type Lock string

// Locks.
const (
	LockWrites Lock = "SHARE ROW EXCLUSIVE" // who only reads goes on
	LockAll    Lock = "ACCESS EXCLUSIVE"
)

// parseDatabase reads a database name as users write it, and whether it is that of a pooler.
func parseDatabase(name string, pooler bool) (Dialect, error) {
	switch scheme, rest, _ := strings.Cut(name, ":"); scheme {
	case "sqlite":
		if rest == "" {
			return nil, errors.New("database: sqlite: needs a file, for example sqlite:insights.db")
		}
		if pooler {
			return nil, errors.New("database: no pooler stands before an sqlite: file")
		}
		return sqlite{path: rest}, nil
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
		return postgres{url: u, pooler: pooler}, nil
	}
	return nil, errors.New("database: want sqlite:FILE or postgres://USER@HOST/NAME")
}

// Kinds of trouble with a database, as Classify tells them.
var (
	// ErrRefused means the database will never take this data; asking again is useless.
	ErrRefused = errors.New("database refused the data")
	// ErrConflict means another transaction was in the way; asking again at once may succeed.
	ErrConflict = errors.New("transaction gave way to another")
)

// untyped is in errors that have no type and no code of their own: of answers that PgBouncer began to pass on when Postgres was killed, and
// ended with an error of its own in the middle of a row, and of Citus when one of its nodes does not answer.
var untyped = regexp.MustCompile(` body is invalid|failure on connection marked as essential`)

// Unavailable reports whether an error means that the database cannot do its work for now: it does not answer, is full, starts
// or stops, may not be written, or is busy. The same call may succeed later.
func Unavailable(err error) bool {
	var network net.Error
	if errors.Is(err, ErrConflict) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || pgconn.SafeToRetry(err) || err != nil && untyped.MatchString(err.Error()) {
		return true
	}
	var connect *pgconn.ConnectError
	var ofPostgres *pgconn.PgError
	var ofSQLite *sqlitedriver.Error
	switch {
	case errors.As(err, &connect):
		return true
	case errors.As(err, &ofPostgres):
		// Connection, resources, operator, system; read-only, no privilege.
		return slices.ContainsFunc([]string{"08", "53", "57", "58", "25006", "42501"}, func(class string) bool {
			return strings.HasPrefix(ofPostgres.Code, class)
		})
	case errors.As(err, &ofSQLite):
		switch ofSQLite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM:
			return true
		}
	}
	return false
}

// Pairs are values by ids, however many, as one argument of a statement. Statements take them in the order of the ids, so that two
// writers wait for each other instead of deadlocking.
type Pairs[V uuid.UUID | string] map[uuid.UUID]V

// Value implements [driver.Valuer].
func (p Pairs[V]) Value() (driver.Value, error) {
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
