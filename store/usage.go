package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// usageDay is what one template has of one UTC day: the page, and the rows of the present.
type usageDay struct {
	template int // index
	page     []byte
	open     []minute.Row
}

// templateIndex numbers the templates of a question in ascending order of their ids.
type templateIndex struct {
	ids     []uuid.UUID
	numbers map[uuid.UUID]int
	all     bool // the scope holds every template; statements need no list
}

// index resolves a scope to the templates that it holds, deleted ones too.
func (s *Store) index(ctx context.Context, scope access.Scope) (templateIndex, error) {
	x := templateIndex{all: scope.All()}
	if x.all {
		if err := s.reads.WithContext(ctx).Model(&Template{}).Pluck("id", &x.ids).Error; err != nil {
			return x, fmt.Errorf("read templates: %w", err)
		}
	} else {
		x.ids = scope.Templates()
	}
	slices.SortFunc(x.ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return x.number(), nil
}

// number assigns the numbers.
func (x templateIndex) number() templateIndex {
	x.numbers = make(map[uuid.UUID]int, len(x.ids))
	for i, id := range x.ids {
		x.numbers[id] = i
	}
	return x
}

// withLogins adds the place where logins, which belong to no template, are kept.
func (x templateIndex) withLogins() templateIndex {
	x.ids = append([]uuid.UUID{uuid.Nil}, x.ids...)
	return x.number()
}

// where adds the templates of the question to a statement that ends in a condition.
func (x templateIndex) where(condition string, args ...any) (string, []any) {
	return x.whereColumn("template_id", condition, args...)
}

// whereColumn is where for a statement of several tables: it says which column holds the template.
func (x templateIndex) whereColumn(column, condition string, args ...any) (string, []any) {
	if x.all {
		return condition, args
	}
	return condition + " AND " + column + " IN ?", append(args, x.ids)
}

// of maps indexes back to ids.
func (x templateIndex) of(numbers []int) []uuid.UUID {
	ids := make([]uuid.UUID, len(numbers))
	for i, n := range numbers {
		ids[i] = x.ids[n]
	}
	return ids
}

// pageColumn is the part of a page that a question reads.
type pageColumn string

const (
	usageColumn   pageColumn = "usage"
	latencyColumn pageColumn = "latency"
)

// eachDay calls f for every UTC day of the window, in order, with all that is known of it, which is good until f returns. It
// reads the rows of the present first and the pages after: a fold between the two shows the same bits twice, which is once.
func (s *Store) eachDay(ctx context.Context, x templateIndex, w minute.Window, column pageColumn, f func(day int32, templates []usageDay) error) error {
	first, last := w.Days()
	if first > last || len(x.ids) == 0 {
		return nil
	}
	open, err := s.openDays(ctx, x, first, last, column)
	if err != nil {
		return fmt.Errorf("read usage rows: %w", err)
	}
	next, pages := first, []usageDay(nil) // the day that is being read, and its pages so far
	until := func(day int32) error {
		for ; next < day; next++ {
			if templates := joinOpen(pages, open[next]); len(templates) > 0 {
				if err := f(next, templates); err != nil {
					return err
				}
			}
			pages = pages[:0]
		}
		return nil
	}
	condition, args := x.where("day >= ? AND day <= ?", first, last)
	query := s.reads.WithContext(ctx).Raw(`SELECT template_id, day, `+string(column)+` FROM usage_day WHERE `+condition+` ORDER BY day`, args...)
	err = s.dialect.pages(query, func(template uuid.UUID, day int32, page []byte) error {
		number, ok := x.numbers[template]
		if !ok || len(page) == 0 {
			return nil
		}
		if err := until(day); err != nil {
			return err
		}
		// The memory of the day before is used again.
		pages = slices.Grow(pages, 1)[:len(pages)+1]
		u := &pages[len(pages)-1]
		u.template, u.page, u.open = number, append(u.page[:0], page...), nil
		return nil
	})
	if err != nil {
		return fmt.Errorf("read usage pages: %w", err)
	}
	return until(last + 1)
}

// openDays reads the rows of the present by day and template.
func (s *Store) openDays(ctx context.Context, x templateIndex, first, last int32, column pageColumn) (map[int32]map[int][]minute.Row, error) {
	kinds := "kind <> 2"
	if column == latencyColumn {
		kinds = "kind = 2"
	}
	condition, args := x.where("half_hour >= ? AND half_hour < ? AND "+kinds, first*minute.HalfHoursPerDay, (last+1)*minute.HalfHoursPerDay)
	rows, err := openRows(s.reads.WithContext(ctx).Raw(`SELECT `+openColumns+` FROM usage_open WHERE `+condition, args...))
	if err != nil {
		return nil, err
	}
	days := map[int32]map[int][]minute.Row{}
	for _, r := range rows {
		template, ok := x.numbers[r.Template]
		if !ok {
			continue // a template younger than the index
		}
		day := r.HalfHour / minute.HalfHoursPerDay
		if days[day] == nil {
			days[day] = map[int][]minute.Row{}
		}
		days[day][template] = append(days[day][template], r.Row)
	}
	return days, nil
}

// joinOpen puts the rows of the present beside the pages of the same templates, in order of the templates.
func joinOpen(pages []usageDay, open map[int][]minute.Row) []usageDay {
	at := make(map[int]int, len(pages))
	for i, p := range pages {
		at[p.template] = i
	}
	for template, rows := range open {
		if i, ok := at[template]; ok {
			pages[i].open = rows
			continue
		}
		pages = append(pages, usageDay{template: template, open: rows})
	}
	slices.SortFunc(pages, func(a, b usageDay) int { return a.template - b.template })
	return pages
}

// table is the usage of a template on a day, ready to be counted.
func (u usageDay) table(x templateIndex, day int32) (*minute.Table, error) {
	page, err := minute.ReadUsage(day, u.page)
	if err != nil {
		return nil, fmt.Errorf("usage page of template %s, day %d: %w", x.ids[u.template], day, err)
	}
	if len(u.open) == 0 {
		return page, nil
	}
	return minute.TableOf(day, minute.Union(page.Rows(), minute.Normalize(u.open))), nil
}

// latencyTable is the same for latencies; of a minute the page's sample counts, because it is the earlier one.
func (u usageDay) latencyTable(x templateIndex, day int32) (*minute.LatencyTable, error) {
	page, err := minute.ReadLatency(day, u.page)
	if err != nil {
		return nil, fmt.Errorf("latency page of template %s, day %d: %w", x.ids[u.template], day, err)
	}
	if len(u.open) == 0 {
		return page, nil
	}
	return minute.LatencyTableOf(day, minute.Union(page.Rows(), minute.Normalize(u.open))), nil
}

// count runs one counting pass over the usage of a window.
func (s *Store) count(ctx context.Context, x templateIndex, w minute.Window, channelOf minute.ChannelOf) (minute.Tally, error) {
	counter := minute.NewCounter(w, len(x.ids), channelOf)
	err := s.eachDay(ctx, x, w, usageColumn, func(day int32, templates []usageDay) error {
		sources, err := usageSources(x, day, templates)
		if err != nil {
			return err
		}
		return counter.Add(day, sources)
	})
	if err != nil {
		return minute.Tally{}, err
	}
	return counter.Tally(), nil
}

// usageSources are the tables of a day, ready to be counted.
func usageSources(x templateIndex, day int32, templates []usageDay) ([]minute.Source, error) {
	sources := make([]minute.Source, len(templates))
	for i, u := range templates {
		table, err := u.table(x, day)
		if err != nil {
			return nil, err
		}
		sources[i] = minute.Source{Template: u.template, Table: table}
	}
	return sources, nil
}
