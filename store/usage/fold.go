package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/failpoint"
	"github.com/template-insights/insights/store/minute"
)

// FoldAge is how long ago a half hour ended when its rows are folded: what is under way then has come, and of what comes later there is
// little.
const FoldAge = 5 * time.Minute

const foldTimeout = time.Minute // of one page, or of the search for all that are due

// FoldReport says what a pass of folding did.
type FoldReport struct {
	Pages int // pages written
	Rows  int // rows moved into them
	Late  int // pages left for the next pass because another transaction was in the way
}

// Fold moves the rows of half hours that ended [FoldAge] ago into the pages of their templates and days. Any
// number of servers may fold at once, beside writers and readers. An error of one page does not stop the others.
func (e *Engine) Fold(ctx context.Context) (FoldReport, error) {
	var report FoldReport
	end := int32(e.clock().Add(-FoldAge).Unix() / 1800) // the first half hour that is too young
	var due []struct {
		TemplateID uuid.UUID
		HalfHour   int32
	}
	search, cancel := context.WithTimeout(ctx, foldTimeout)
	err := e.db.Write(search, func(tx *gorm.DB) error {
		return tx.Raw(
			`SELECT DISTINCT template_id, half_hour FROM usage_rows WHERE half_hour < ? ORDER BY half_hour`, end,
		).Scan(&due).Error
	})
	cancel()
	if err != nil {
		return report, fmt.Errorf("look for usage rows to fold: %w", err)
	}
	type page struct {
		template uuid.UUID
		day      int32
	}
	var pages []page
	halfHours := map[page][]int32{}
	for _, d := range due {
		p := page{d.TemplateID, d.HalfHour / minute.HalfHoursPerDay}
		if halfHours[p] == nil {
			pages = append(pages, p)
		}
		halfHours[p] = append(halfHours[p], d.HalfHour)
	}
	var errs []error
	for _, p := range pages {
		n, err := e.foldPage(ctx, p.template, p.day, halfHours[p])
		switch {
		case errors.Is(err, db.ErrConflict):
			report.Late++
		case err != nil:
			errs = append(errs, fmt.Errorf("fold template %s, day %d: %w", p.template, p.day, err))
		case n > 0:
			report.Pages++
			report.Rows += n
		}
	}
	return report, errors.Join(errs...)
}

// foldPage moves what the half hours of one template and day hold into its page and returns the number of rows. What
// is deleted is exactly what is folded, so a merge that runs beside it lands in what is deleted or in a fresh row.
func (e *Engine) foldPage(ctx context.Context, template uuid.UUID, day int32, halfHours []int32) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, foldTimeout)
	defer cancel()
	var taken int
	err := e.db.InOneTransactionOn(ctx, template, func(tx *gorm.DB) error {
		if err := e.db.Yield(tx); err != nil {
			return err
		}
		rows, err := openRows(tx.Raw(`DELETE FROM usage_rows WHERE template_id = ? AND half_hour IN ?
			RETURNING `+openColumns, template, halfHours))
		if err != nil {
			return fmt.Errorf("take rows: %w", err)
		}
		if taken = len(rows); taken == 0 {
			return nil // another server folded them
		}
		failpoint.Hit(failpoint.FoldTaken)
		return e.unionPage(tx, Place{template, day}, rows)
	})
	if err == nil {
		failpoint.Hit(failpoint.FoldCommitted)
	}
	return taken, err
}

// unionPage adds rows to a page, if nobody else wrote it meanwhile; otherwise it is a conflict. The page has format 2 then.
func (e *Engine) unionPage(tx *gorm.DB, at Place, rows []OpenRow) error {
	old, err := readPage(tx, at)
	if err != nil {
		return fmt.Errorf("read page: %w", err)
	}
	failpoint.Hit(failpoint.FoldRead)
	page, err := e.union(tx.Statement.Context, old, rows)
	if err != nil {
		return err
	}
	if err := old.replace(tx, page); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	failpoint.Hit(failpoint.FoldWritten)
	return nil
}

// union is a page with more rows, of format 2.
func (e *Engine) union(ctx context.Context, old pageRow, rows []OpenRow) (minute.Page, error) {
	former, err := e.former(ctx)
	if err != nil {
		return minute.Page{}, err
	}
	earlier, err := old.rows(former)
	if err != nil {
		return minute.Page{}, err
	}
	later := make([]minute.Row, len(rows))
	for i, r := range rows {
		later[i] = r.Row
	}
	page, err := minute.EncodePage(old.Day, minute.Union(earlier, minute.Normalize(later)))
	if err != nil {
		return minute.Page{}, fmt.Errorf("encode page: %w", err)
	}
	return page, nil
}
