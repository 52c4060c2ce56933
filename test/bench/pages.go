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
	store    *store.Store
	subjects []int64 // of the users
	db       *sql.DB // beside the store, for what the store has no reason to offer
	written  struct{ usage, latency, rows, pages int }
}

// withMonth puts a company into a fresh database, lets one function fill in its month, and another ask a server about it.
func withMonth(ctx context.Context, d database, s sizes, fill func(context.Context, *pages) error, f func(*pages, *client) error) error {
	return d.with(ctx, func(name string, st *store.Store) (err error) {
		p := &pages{month: newMonth(s), database: d, store: st}
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
	statement := "INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)"
	if p.database.cluster != nil {
		statement = "INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES ($1, $2, 1, $3, $4)"
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	for template, list := range rows {
		if len(list) == 0 {
			continue
		}
		page, err := p.encode(day, list)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, statement, p.templates[template], day, page.Usage, page.Latency); err != nil {
			return fmt.Errorf("insert page: %w", err)
		}
		p.written.usage += len(page.Usage)
		p.written.latency += len(page.Latency)
		p.written.rows += len(list)
		p.written.pages++
	}
	return tx.Commit()
}

// encode makes a page of rows whose subjects are indexes of users.
func (p *pages) encode(day int32, rows []minute.Row) (minute.Page, error) {
	return minute.EncodePage(day, minute.Normalize(p.withSubjects(rows)))
}

func (p *pages) withSubjects(rows []minute.Row) []minute.Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Subject = p.subjects[rows[i].Subject]
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
	want, err := p.encode(day, rows)
	if err != nil {
		return err
	}
	statement := "SELECT usage, latency FROM usage_pages WHERE template_id = ? AND day = ?"
	if p.database.cluster != nil {
		statement = "SELECT usage, latency FROM usage_pages WHERE template_id = $1 AND day = $2"
	}
	var got minute.Page
	err = p.db.QueryRowContext(ctx, statement, p.templates[template], day).Scan(&got.Usage, &got.Latency)
	if errors.Is(err, sql.ErrNoRows) && len(rows) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	if !bytes.Equal(got.Usage, want.Usage) || !bytes.Equal(got.Latency, want.Latency) {
		return fmt.Errorf("the folded page of template %d, day %d is not that of its rows", template, day)
	}
	return nil
}

// repeat copies the month into the past, from one multiple of 31 days up to another.
func (p *pages) repeat(ctx context.Context, from, to int) error {
	for n := from; n < to; n++ {
		_, err := p.db.ExecContext(ctx,
			fmt.Sprintf("INSERT INTO usage_pages SELECT template_id, day - %d, part, version, usage, latency, sums FROM usage_pages"+
				" WHERE day > %d",
				n*31, today().Unix()/86400-31))
		if err != nil {
			return fmt.Errorf("copy the month: %w", err)
		}
	}
	return nil
}
