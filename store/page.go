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

// pageRow is one page of the past in its table.
type pageRow struct {
	TemplateID uuid.UUID
	Day        int32
	Version    int64
	Usage      []byte
	Latency    []byte
}

func (p pageRow) key() string { return fmt.Sprintf("template %s, day %d", p.TemplateID, p.Day) }

// rows are the rows of the page in page order.
func (p pageRow) rows() ([]minute.Row, error) {
	rows, err := minute.DecodePage(p.Day, minute.Page{Usage: p.Usage, Latency: p.Latency})
	if err != nil {
		return nil, fmt.Errorf("page of %s: %w", p.key(), err)
	}
	return rows, nil
}

// pageFunc takes one part of a page. The bytes are good until it returns.
type pageFunc func(template uuid.UUID, day int32, version int64, page []byte) error

func (postgresDialect) pages(query *gorm.DB, f pageFunc) error {
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
		return eachPage[pgtype.DriverBytes](rows, f)
	})
}

func (sqliteDialect) pages(query *gorm.DB, f pageFunc) error {
	rows, err := query.Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	return eachPage[sql.RawBytes](rows, f)
}

// eachPage calls f for each row; Bytes is the type that the driver fills with a reference to its own memory.
func eachPage[Bytes ~[]byte](rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
}, f pageFunc,
) error {
	for rows.Next() {
		var template uuid.UUID
		var day int32
		var version int64
		var page Bytes
		if err := rows.Scan(&template, &day, &version, &page); err != nil {
			return err
		}
		if err := f(template, day, version, page); err != nil {
			return err
		}
	}
	return rows.Err()
}
