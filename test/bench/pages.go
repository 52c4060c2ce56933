package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// pages are the month as the service keeps it.
type pages struct {
	*month
	database database
	name     string // of the database, as servers are told it
	store    *store.Store
	subjects [][]int64 // of the users at their places
	db       *sql.DB   // beside the store, for what the store has no reason to offer
	written  struct{ usage, latency, rows, pages int }
}

// withMonth puts a company into a fresh database, lets one function fill in its month, and another ask a server about it.
func withMonth(ctx context.Context, d database, s sizes, fill func(context.Context, *pages) error, f func(*pages, *client) error) error {
	return d.with(ctx, func(name string, st *store.Store) (err error) {
		p := &pages{month: newMonth(s), database: d, name: name, store: st}
		if p.subjects, err = p.apply(ctx, st); err != nil {
			return err
		}
		if p.db, err = d.open(name); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.db.Close()) }()
		if err := fill(ctx, p); err != nil {
			return fmt.Errorf("fill in the month: %w", err)
		}
		token, err := newToken(ctx, st, access.RoleOwner)
		if err != nil {
			return err
		}
		return withServer(ctx, name, func(child *serverProcess) error { return f(p, newClient(child, token)) })
	})
}

// insertAll fills in the month straight away.
func insertAll(ctx context.Context, p *pages) error {
	for _, day := range p.workdays() {
		if err := p.insert(ctx, day, p.rows(day)); err != nil {
			return err
		}
	}
	return nil
}

// open opens a database without the store.
func (d database) open(name string) (*sql.DB, error) {
	if d.cluster != nil {
		return sql.Open("pgx", name)
	}
	return sql.Open("sqlite", "file:"+strings.TrimPrefix(name, "sqlite:")+"?_pragma=busy_timeout(10000)")
}

// insert writes the pages of a day straight away: those that merging and folding its rows makes, as fold shows.
func (p *pages) insert(ctx context.Context, day int32, rows [][]minute.Row) error {
	return p.inTransaction(ctx, func(tx *sql.Tx) error {
		for template, list := range rows {
			if len(list) == 0 {
				continue
			}
			page, err := p.encode(day, list)
			if err != nil {
				return err
			}
			if err := p.write(ctx, tx, day, template, page); err != nil {
				return err
			}
			p.written.usage += len(page.Usage)
			p.written.latency += len(page.Latency)
			p.written.rows += len(list)
			p.written.pages++
		}
		return nil
	})
}

func (p *pages) inTransaction(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// write inserts a page.
func (p *pages) write(ctx context.Context, tx *sql.Tx, day int32, template int, page minute.Page) error {
	statement := "INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)"
	if p.database.cluster != nil {
		statement = "INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES ($1, $2, 1, $3, $4)"
	}
	if _, err := tx.ExecContext(ctx, statement, p.templates[template], day, page.Usage, page.Latency); err != nil {
		return fmt.Errorf("insert page: %w", err)
	}
	return nil
}

// read reads a page; without rows there is none, and it is empty.
func (p *pages) read(ctx context.Context, day int32, template int) (page minute.Page, err error) {
	statement := "SELECT usage, latency FROM usage_pages WHERE template_id = ? AND day = ?"
	if p.database.cluster != nil {
		statement = "SELECT usage, latency FROM usage_pages WHERE template_id = $1 AND day = $2"
	}
	err = p.db.QueryRowContext(ctx, statement, p.templates[template], day).Scan(&page.Usage, &page.Latency)
	if errors.Is(err, sql.ErrNoRows) {
		return page, nil
	}
	if err != nil {
		return page, fmt.Errorf("read page: %w", err)
	}
	return page, nil
}

// encode makes a page of rows whose subjects are indexes of users and their places.
func (p *pages) encode(day int32, rows []minute.Row) (minute.Page, error) {
	return minute.EncodePage(day, minute.Normalize(p.withSubjects(rows)))
}

func (p *pages) withSubjects(rows []minute.Row) []minute.Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Subject = p.subjects[minute.PersonOf(rows[i].Subject)][minute.SeatOf(rows[i].Subject)]
	}
	return rows
}

// fold writes a day as it comes in: it merges its rows, measures their folding, and fails unless the pages are those that
// insert would have written.
func (p *pages) fold(ctx context.Context, t *table, day int32, rows [][]minute.Row) error {
	var open []store.OpenRow
	for template, id := range p.templates {
		for _, r := range p.withSubjects(rows[template]) {
			open = append(open, store.OpenRow{Template: id, Row: r})
		}
	}
	if err := p.store.Merge(ctx, open); err != nil {
		return err
	}
	begin := time.Now()
	report, err := p.store.Fold(ctx)
	if err != nil {
		return err
	}
	t.add(p.database, fmt.Sprintf("folding a day of %d people, %d rows", p.sizes.Users, report.Rows), time.Since(begin).Seconds(), "s", "")
	for template, list := range rows {
		if err := p.check(ctx, day, template, list); err != nil {
			return err
		}
	}
	return nil
}

// check fails unless a page is that of the rows.
func (p *pages) check(ctx context.Context, day int32, template int, rows []minute.Row) error {
	var want minute.Page
	if len(rows) > 0 {
		var err error
		if want, err = p.encode(day, rows); err != nil {
			return err
		}
	}
	got, err := p.read(ctx, day, template)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Usage, want.Usage) || !bytes.Equal(got.Latency, want.Latency) {
		return fmt.Errorf("the folded page of template %d, day %d is not that of its rows", template, day)
	}
	return nil
}

// repeat writes the month into the past once more, from one multiple of 31 days up to another.
func (p *pages) repeat(ctx context.Context, from, to int) error {
	for _, day := range p.workdays() {
		err := p.inTransaction(ctx, func(tx *sql.Tx) error {
			for template := range p.templates {
				if err := p.repeatPage(ctx, tx, day, template, from, to); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("repeat the month: %w", err)
		}
	}
	return nil
}

func (p *pages) repeatPage(ctx context.Context, tx *sql.Tx, day int32, template, from, to int) error {
	page, err := p.read(ctx, day, template)
	if err != nil || page.Usage == nil {
		return err
	}
	rows, err := minute.DecodePage(day, page, nil)
	if err != nil {
		return err
	}
	const month = 31
	for n, moved := from, int32(0); n < to; n++ {
		by := int32(n)*month - moved
		for i := range rows {
			rows[i].HalfHour -= by * minute.HalfHoursPerDay
		}
		moved += by
		if page, err = minute.EncodePage(day-moved, rows); err != nil {
			return err
		}
		if err := p.write(ctx, tx, day-moved, template, page); err != nil {
			return err
		}
	}
	return nil
}
