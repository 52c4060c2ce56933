package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// Rewrite gives pages of format 1 the format 2, the newest days first: up to so many of those after a place, nil: of all. It returns the
// place of the last one, nil if there are no more after it, and how many are left anywhere. A page that another one wrote meanwhile or
// that cannot be read is left, and does not stop the others. Any number of servers may rewrite at once, beside writers and readers.
func (e *Engine) Rewrite(ctx context.Context, after *Place, limit int) (last *Place, left int64, err error) {
	search, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	var due []Place
	lookups := e.db.Lookups.WithContext(search)
	condition, args := "1 = 1", []any(nil)
	if after != nil {
		condition, args = "day < ? OR day = ? AND template_id > ?", []any{after.Day, after.Day, after.Template}
	}
	err = lookups.Raw(`SELECT template_id AS template, day FROM usage_day WHERE `+condition+` ORDER BY day DESC, template_id LIMIT ?`,
		append(args, limit)...).Scan(&due).Error
	if err != nil {
		return after, 0, fmt.Errorf("look for pages of format 1: %w", err)
	}
	var errs []error
	for _, at := range due {
		if err := e.rewritePage(ctx, at); err != nil && !errors.Is(err, db.ErrConflict) {
			errs = append(errs, fmt.Errorf("rewrite page of template %s, day %d: %w", at.Template, at.Day, err))
		}
	}
	if len(due) == limit {
		last = &due[limit-1]
	}
	if err := lookups.Raw(`SELECT COUNT(*) FROM usage_day`).Row().Scan(&left); err != nil {
		errs = append(errs, fmt.Errorf("count pages of format 1: %w", err))
	}
	return last, left, errors.Join(errs...)
}

func (e *Engine) rewritePage(ctx context.Context, at Place) error {
	ctx, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	return e.db.InOneTransaction(ctx, func(tx *gorm.DB) error {
		if err := e.db.Yield(tx); err != nil {
			return err
		}
		return e.unionPage(tx, at, nil)
	})
}
