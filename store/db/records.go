package db

import (
	"database/sql"

	"github.com/google/uuid"
)

// Records are the rows that a statement yields, for statements that yield many: on Postgres they come from the driver itself,
// because the way through database/sql costs more than all else that is done with a row.
type Records struct {
	rows interface {
		Next() bool
		Scan(into ...any) error
		Err() error
	}
	// ID and Bytes are where a scan puts an identity, and text or bytes without copying them: these are good until the next row.
	ID    func(*uuid.UUID) any
	Bytes func(*[]byte) any
}

// Each scans one row after the other and calls f.
func (r Records) Each(f func() error, into ...any) error {
	for r.rows.Next() {
		if err := r.rows.Scan(into...); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
	}
	return r.rows.Err()
}

// FromSQL are the records of a statement that runs through database/sql.
func FromSQL(rows *sql.Rows) Records {
	return Records{
		rows,
		func(id *uuid.UUID) any { return id },
		func(b *[]byte) any { return (*sql.RawBytes)(b) },
	}
}
