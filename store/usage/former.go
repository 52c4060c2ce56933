package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
)

// former tells which subject a number in a page of format 1 is now: its upper part is the person, but for the few of whom that was taken.
// Migrations decide that, so it never changes while a server runs.
func (e *Engine) former(ctx context.Context) (minute.Former, error) {
	e.reading.Lock()
	defer e.reading.Unlock()
	if e.moved == nil {
		var rows []struct{ FormerSubject, Person int64 }
		err := e.db.Lookups.WithContext(ctx).
			Raw(`SELECT former_subject, person FROM people WHERE former_subject IS NOT NULL`).Scan(&rows).Error
		if err != nil {
			return nil, fmt.Errorf("read former numbers of people: %w", err)
		}
		e.moved = make(map[int64]int64, len(rows))
		for _, r := range rows {
			e.moved[r.FormerSubject] = minute.SubjectOf(r.Person, 0)
		}
	}
	moved := e.moved
	return func(old int64) int64 {
		if subject, ok := moved[old]; ok {
			return subject
		}
		return minute.SubjectOf(minute.PersonOf(old), 0)
	}, nil
}

// Backlog is what a release of before left to be changed.
type Backlog struct {
	Rows  int64 // of the present, which a migration moves
	Pages int64 // of format 1, which are rewritten while servers run
	Bytes int64 // of these pages
}

// BacklogOf counts what was left in a database that has these tables. The schema need not be current.
func BacklogOf(tx *gorm.DB, tables []string) (b Backlog, err error) {
	if slices.Contains(tables, "usage_open") {
		if err := tx.Raw(`SELECT COUNT(*) FROM usage_open`).Row().Scan(&b.Rows); err != nil {
			return b, fmt.Errorf("count usage rows: %w", err)
		}
	}
	if slices.Contains(tables, "usage_day") {
		err = tx.Raw(`SELECT COUNT(*), CAST(COALESCE(SUM(length(usage) + length(latency)), 0) AS bigint) FROM usage_day`).
			Row().Scan(&b.Pages, &b.Bytes)
		if err != nil {
			return b, fmt.Errorf("count usage pages of format 1: %w", err)
		}
	}
	return b, nil
}

// Amount is how much of pages of format 1 is rewritten at a time: as many pages or, if these are large, as it takes to have so many bytes.
type Amount struct{ Pages, Bytes int }

// shrinkPart is for which part of the pages of format 1 that are left their table is made to shrink: a pass over it costs much, however
// little it gives back, and what waits for it is disk that is used twice.
const shrinkPart = 8

const shrinkTimeout = 10 * time.Minute // of one pass over a large table

// Rewrite gives pages of format 1 the format 2: at most so much of them, but for those past which it goes because they could not be
// rewritten. It returns how many more of these there are and how many pages of format 1 are left anywhere. A page that another one wrote
// meanwhile or that cannot be read is left, and does not stop the others. Any number of servers may rewrite at once, beside writers and
// readers.
func (e *Engine) Rewrite(ctx context.Context, past int, most Amount) (failed int, left int64, err error) {
	search, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	lookups := e.db.Lookups.WithContext(search)
	if err := lookups.Raw(`SELECT COUNT(*) FROM usage_day`).Row().Scan(&left); err != nil {
		return 0, 0, fmt.Errorf("count pages of format 1: %w", err)
	}
	// What lies last goes first, however old it is: a table shrinks from its end only.
	var due []Place
	err = lookups.Raw(`SELECT template_id AS template, day FROM usage_day ORDER BY `+e.db.Position()+` DESC LIMIT ? OFFSET ?`,
		most.Pages, past).Scan(&due).Error
	if err != nil {
		return 0, left, fmt.Errorf("look for pages of format 1: %w", err)
	}
	var errs []error
	rewritten := 0
	for _, at := range due {
		if rewritten >= most.Bytes {
			break
		}
		n, err := e.rewritePage(ctx, at)
		rewritten += n
		switch {
		case err == nil:
			left--
			e.emptied.Add(1)
		case !errors.Is(err, db.ErrConflict):
			failed++
			errs = append(errs, fmt.Errorf("rewrite page of template %s, day %d: %w", at.Template, at.Day, err))
		}
	}
	if emptied := e.emptied.Load(); emptied > 0 && emptied >= left/shrinkPart {
		e.emptied.Store(0)
		errs = append(errs, e.shrink(ctx))
	}
	return failed, left, errors.Join(errs...)
}

// shrink gives the room of pages that were rewritten back, so that the new ones have it.
func (e *Engine) shrink(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shrinkTimeout)
	defer cancel()
	if err := e.db.Shrink(e.db.Writes.WithContext(ctx), "usage_day"); err != nil {
		return fmt.Errorf("give back the room of pages of format 1: %w", err)
	}
	return nil
}

// rewritePage rewrites a page and returns how many bytes it had. It reads and translates before its transaction, for which commits may have
// to wait.
func (e *Engine) rewritePage(ctx context.Context, at Place) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	old, err := readPage(e.db.Lookups.WithContext(ctx), at)
	if err != nil {
		return 0, fmt.Errorf("read page: %w", err)
	}
	n = len(old.Usage) + len(old.Latency)
	if !old.Former {
		return n, nil // somebody else rewrote or deleted it
	}
	page, err := e.union(ctx, old, nil)
	if err != nil {
		return n, err
	}
	return n, e.db.InOneTransactionOn(ctx, at.Template, func(tx *gorm.DB) error {
		if err := e.db.Yield(tx); err != nil {
			return err
		}
		return old.replace(tx, page)
	})
}
