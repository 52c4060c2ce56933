package store

import (
	"database/sql"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/minute"
)

// records are the rows that a statement yields, for statements that yield many: on Postgres they come from the driver itself,
// because the way through database/sql costs more than all else that is done with a row.
type records struct {
	rows interface {
		Next() bool
		Scan(into ...any) error
		Err() error
	}
	// id and bytes are where a scan puts an identity, and text or bytes without copying them: these are good until the next row.
	id    func(*uuid.UUID) any
	bytes func(*[]byte) any
}

// each scans one row after the other and calls f.
func (r records) each(f func() error, into ...any) error {
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

// eachOpen reads records of openColumns.
func (r records) eachOpen(f func(OpenRow) error) error {
	var row OpenRow
	var app, latencies []byte
	apps := map[string]string{} // most are the same
	return r.each(func() (err error) {
		known, ok := apps[string(app)]
		if !ok {
			known = string(app)
			apps[known] = known
		}
		row.App, row.Bins = known, nil
		if row.Kind == minute.Connection {
			if row.Minutes, row.Bins, err = minute.ParseLatencies(string(latencies)); err != nil {
				return fmt.Errorf("usage row of template %s, half hour %d, subject %d: %w", row.Template, row.HalfHour, row.Subject, err)
			}
		}
		return f(row)
	}, r.id(&row.Template), &row.HalfHour, &row.Subject, (*uint8)(&row.Kind), r.bytes(&app), (*uint32)(&row.Minutes), &row.Connected,
		r.bytes(&latencies))
}

func (postgresDialect) read(query *gorm.DB, f func(records) error) error {
	pool, err := query.DB()
	if err != nil {
		return err
	}
	ctx, statement := query.Statement.Context, query.Statement
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		rows, err := driver.(*stdlib.Conn).Conn().Query(ctx, statement.SQL.String(), statement.Vars...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return f(records{
			rows,
			func(id *uuid.UUID) any { return (*[16]byte)(id) },
			func(b *[]byte) any { return (*pgtype.DriverBytes)(b) },
		})
	})
}

func (sqliteDialect) read(query *gorm.DB, f func(records) error) error {
	rows, err := query.Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	return f(fromSQL(rows))
}

// fromSQL are the records of a statement that runs through database/sql.
func fromSQL(rows *sql.Rows) records {
	return records{
		rows,
		func(id *uuid.UUID) any { return id },
		func(b *[]byte) any { return (*sql.RawBytes)(b) },
	}
}
