package db

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/pressly/goose/v3"
	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

type sqlite struct{ path string }

func (d sqlite) String() string { return "sqlite file " + d.path }

func (d sqlite) dsn(pragmas ...string) string {
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(d.path), RawQuery: query.Encode()}).String()
}

func (d sqlite) writePool() pool {
	// FULL syncs the log at every commit; one connection, because SQLite has one writer at a time anyway. Rows of agents who report at the
	// same time lie on different pages: 64 MiB of memory hold 16,000, and some 40 MB of log come together before they are written back.
	dsn := d.dsn("journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "cache_size(-65536)", "wal_autocheckpoint(10000)")
	return pool{gormsqlite.New(gormsqlite.Config{DriverName: "sqlite", DSN: dsn}), 1}
}

func (sqlite) begin(*gorm.DB) error { return nil } // connections have all settings

func (sqlite) write(db *gorm.DB, f func(db *gorm.DB) error) error { return f(db) }

func (d sqlite) readPool() pool {
	return pool{gormsqlite.New(gormsqlite.Config{DriverName: "sqlite", DSN: d.dsn("query_only(1)", "busy_timeout(10000)")}), 4}
}

func (sqlite) Among(column string, numbers []int64) (condition, argument string) {
	return column + " IN (SELECT value FROM json_each(?))", "[" + joined(numbers) + "]"
}

func (sqlite) Pairs(string) string {
	return `(SELECT key AS id, value FROM json_each(?) AS given)`
}

func (sqlite) Yield(*gorm.DB) error { return nil } // the only writer waits for nobody

func (sqlite) settings() string {
	return `SELECT 'synchronous' AS name, CAST(synchronous AS text) AS value, 1 AS ours, synchronous >= 2 AS holds FROM pragma_synchronous`
}

func (sqlite) mayMigrate() string { return `SELECT 1` } // who may write the file

func (sqlite) Now(_ *gorm.DB, own func() time.Time) (time.Time, error) { return own(), nil }

func (sqlite) Lock(*gorm.DB, string, Lock) error { return nil } // there is one writer at a time

func (sqlite) Position() string { return "rowid" }

func (sqlite) Shrink(*gorm.DB, string) error { return nil } // what one table no longer needs, others get

func (sqlite) LockNumbers(*gorm.DB, []int64) error { return nil } // there is one writer at a time

// scrub writes the file anew, without the pages that are free and the remains in the others, and empties the log.
func (sqlite) scrub(ctx context.Context, db *gorm.DB) error {
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

func (sqlite) Classify(err error) error {
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

func (sqlite) goose() (goose.Dialect, string, []goose.ProviderOption, error) {
	return goose.DialectSQLite3, "sqlite", nil, nil
}

func (sqlite) Rows(query *gorm.DB, f func(Records) error) error {
	rows, err := query.Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	return f(FromSQL(rows))
}

func (sqlite) tables() string {
	return `SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'`
}

func (sqlite) Patient(*gorm.DB) error { return nil } // its statements take as long as they take
