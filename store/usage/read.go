package usage

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/replica"
)

// pageColumn is the part of a page that a question reads.
type pageColumn string

const (
	usageColumn   pageColumn = "usage"
	latencyColumn pageColumn = "latency"
)

// table is what one template has of one day in one part of its page: a [*minute.Table] or a [*minute.LatencyTable].
type table interface {
	Rows() []minute.Row
	RowsOf(person int64) []minute.Row
	Size() int
	Sum()
}

// Tables is one part of what is kept: [Minutes] or [Latencies].
type Tables[T table] struct {
	column pageColumn
	open   string // the condition on rows of the present
	read   func(day int32, page []byte, former minute.Former) (T, error)
	of     func(day int32, rows []minute.Row) T
}

// The two parts of pages.
var (
	Minutes   = Tables[*minute.Table]{usageColumn, "NOT " + LatencyRows, minute.ReadUsage, minute.TableOf}
	Latencies = Tables[*minute.LatencyTable]{latencyColumn, LatencyRows, minute.ReadLatency, minute.LatencyTableOf}
)

// readingKey is what a context has the choice under that says where a question reads usage.
type readingKey struct{}

// WithReplica returns a context of a question that reads usage from a replica, if one may answer, and the choice. All but usage is read
// from the primary.
func (e *Engine) WithReplica(ctx context.Context) (context.Context, replica.Choice) {
	c := e.db.Replicas.Choose(ctx)
	if c.Replica != nil {
		ctx = context.WithValue(ctx, readingKey{}, c)
	}
	return ctx, c
}

// Behind is how far what a question reads may be behind what was acknowledged by other programs; zero unless a replica answers it.
func Behind(ctx context.Context) time.Duration {
	c, _ := ctx.Value(readingKey{}).(replica.Choice)
	return c.Behind
}

// reads is where a question reads usage: the primary, or the replica that its context names.
func (e *Engine) reads(ctx context.Context) *gorm.DB {
	if c, ok := ctx.Value(readingKey{}).(replica.Choice); ok {
		return c.Replica.DB
	}
	return e.db.Reads
}

// database is reads for a statement of the question.
func (e *Engine) database(ctx context.Context) *gorm.DB { return e.reads(ctx).WithContext(ctx) }

// EachDay calls f for every UTC day of the window, in order, with all that is known of it. It reads the rows of the present
// first and the pages after: a fold between the two shows the same bits twice, which is once.
func EachDay[T table](
	ctx context.Context, e *Engine, x Index, w minute.Window, of Tables[T], f func(day int32, sources []minute.Source[T]) error,
) error {
	first, last := w.Days()
	if first > last || len(x.IDs) == 0 {
		return nil
	}
	open, err := openDays(ctx, e, x, first, last, of)
	if err != nil {
		return fmt.Errorf("read usage rows: %w", err)
	}
	cached, missing, err := cachedDays(ctx, e, x, first, last, of)
	if err != nil {
		return fmt.Errorf("read versions of usage pages: %w", err)
	}
	var former minute.Former
	next, pages := first, []storedPage(nil) // the day that is being read, and its pages so far
	until := func(day int32) (err error) {
		for ; next < day; next++ {
			known, whole := cached[next]
			if !whole {
				if known, err = of.tables(e, pages, former); err != nil {
					return err
				}
				clear(pages) // of their bytes
				pages = pages[:0]
			}
			delete(cached, next)
			if sources := of.join(next, known, open[next]); len(sources) > 0 {
				if err := f(next, sources); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(missing) > 0 {
		if former, err = e.former(ctx); err != nil {
			return err
		}
		condition, args := x.Where("day >= ? AND day <= ?", missing[0], missing[len(missing)-1])
		query := e.database(ctx).Raw(
			`SELECT template_id, day, version, `+string(of.column)+` FROM `+Pages+` WHERE `+condition+` ORDER BY day`, args...,
		)
		err = e.db.Rows(query, func(r db.Records) error {
			key := pageKey{column: of.column}
			var page []byte
			return r.Each(func() error {
				number, ok := x.Number(key.template)
				if _, whole := cached[key.day]; !ok || whole {
					return nil
				}
				if err := until(key.day); err != nil {
					return err
				}
				pages = append(pages, storedPage{key, number, slices.Clone(page)})
				return nil
			}, r.ID(&key.template), &key.day, &key.version, r.Bytes(&page))
		})
		if err != nil {
			return fmt.Errorf("read usage pages: %w", err)
		}
	}
	return until(last + 1)
}

// storedPage is a page as it is stored.
type storedPage struct {
	key      pageKey
	template int // its number
	page     []byte
}

// maxReaders bounds how many pages of a day one pass of a question reads beside each other: it is not alone.
const maxReaders = 4

// tables reads the tables of pages, which takes longer than to fetch them, and keeps them in memory.
func (of Tables[T]) tables(e *Engine, pages []storedPage, former minute.Former) ([]minute.Source[T], error) {
	sources, panicked := make([]minute.Source[T], len(pages)), make([]any, len(pages))
	var reading errgroup.Group
	reading.SetLimit(min(runtime.GOMAXPROCS(0), maxReaders))
	for i, p := range pages {
		reading.Go(func() error {
			defer func() { panicked[i] = recover() }()
			t, err := of.read(p.key.day, p.page, former)
			if err != nil {
				return fmt.Errorf("%s page of template %s, day %d: %w", of.column, p.key.template, p.key.day, err)
			}
			e.pages.put(p.key, t)
			sources[i] = minute.Source[T]{Template: p.template, Table: t}
			return nil
		})
	}
	err := reading.Wait()
	for _, p := range panicked {
		if p != nil {
			panic(p) // here, where the caller can recover from it
		}
	}
	return sources, err
}

// cachedDays returns the days of which all pages are in the cache, and in order those of which some are missing.
func cachedDays[T table](
	ctx context.Context, e *Engine, x Index, first, last int32, of Tables[T],
) (cached map[int32][]minute.Source[T], missing []int32, err error) {
	condition, args := x.Where("day >= ? AND day <= ?", first, last)
	rows, err := e.database(ctx).Raw(
		`SELECT template_id, day, version FROM `+Pages+` WHERE `+condition+` ORDER BY day`, args...,
	).Rows()
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	cached = map[int32][]minute.Source[T]{}
	for rows.Next() {
		key := pageKey{column: of.column}
		if err := rows.Scan(&key.template, &key.day, &key.version); err != nil {
			return nil, nil, err
		}
		number, ok := x.Number(key.template)
		if !ok || len(missing) > 0 && missing[len(missing)-1] == key.day {
			continue // a template younger than the index, or a day that has to be read anyway
		}
		if t, ok := e.pages.get(key).(T); ok {
			cached[key.day] = append(cached[key.day], minute.Source[T]{Template: number, Table: t})
			continue
		}
		delete(cached, key.day)
		missing = append(missing, key.day)
	}
	return cached, missing, rows.Err()
}

// openDays returns the rows of one part of the present, by day and template, in page order. Nobody may change them: questions about
// everybody share what they read.
func openDays[T table](
	ctx context.Context, e *Engine, x Index, first, last int32, of Tables[T],
) (map[int32]map[int][]minute.Row, error) {
	from, end := first*minute.HalfHoursPerDay, (last+1)*minute.HalfHoursPerDay
	condition, args := x.Where("half_hour >= ? AND half_hour < ? AND "+of.open, from, end)
	if !e.db.Citus() { // in which each statement about all templates goes to all nodes
		halfHours, err := e.openHalfHours(ctx, from, end)
		if err != nil || len(halfHours) == 0 {
			return nil, err
		}
		// Named one by one: the key begins with the half hour, so a range would be searched through for the templates.
		condition, args = x.Where("half_hour IN ? AND "+of.open, halfHours)
	}
	read := func(ctx context.Context) (map[Place][]minute.Row, error) { return e.openRowsOf(ctx, condition, args) }
	var found map[Place][]minute.Row
	var err error
	if x.All {
		found, err = e.looks.share(ctx, lookAt{e.reads(ctx), of.column, fmt.Sprint(args...)}, read)
	} else {
		found, err = read(ctx)
	}
	if err != nil {
		return nil, err
	}
	days := map[int32]map[int][]minute.Row{}
	for at, rows := range found {
		template, ok := x.Number(at.Template)
		if !ok {
			continue // a template younger than the index
		}
		if days[at.Day] == nil {
			days[at.Day] = map[int][]minute.Row{}
		}
		days[at.Day][template] = rows
	}
	return days, nil
}

// openRowsOf reads the rows of the present that a condition chooses, in page order.
func (e *Engine) openRowsOf(ctx context.Context, condition string, args []any) (map[Place][]minute.Row, error) {
	found := map[Place][]minute.Row{}
	query := e.database(ctx).Raw(`SELECT `+openColumns+` FROM usage_rows WHERE `+condition, args...)
	err := e.db.Rows(query, func(r db.Records) error {
		return eachOpen(r, func(row OpenRow) error {
			at := Place{row.Template, row.HalfHour / minute.HalfHoursPerDay}
			found[at] = append(found[at], row.Row)
			return nil
		})
	})
	for at, rows := range found {
		found[at] = minute.Normalize(rows)
	}
	return found, err
}

// openHalfHours are the half hours from first to before end of which there are rows. There are few, and each is found by its
// place in the key.
func (e *Engine) openHalfHours(ctx context.Context, first, end int32) (halfHours []int32, err error) {
	const next = `(SELECT half_hour FROM usage_rows WHERE half_hour >= `
	err = e.database(ctx).Raw(`WITH RECURSIVE present(half_hour) AS (
			SELECT `+next+`? ORDER BY half_hour LIMIT 1)
			UNION ALL SELECT `+next+`present.half_hour + 1 ORDER BY half_hour LIMIT 1) FROM present WHERE present.half_hour IS NOT NULL
		) SELECT half_hour FROM present WHERE half_hour < ?`, first, end).Scan(&halfHours).Error
	if err != nil {
		return nil, fmt.Errorf("look for half hours with rows: %w", err)
	}
	return halfHours, nil
}

// join unites pages with the rows of the present, in order of the templates. Of a minute the page's latency counts, because
// it is the earlier one.
func (of Tables[T]) join(day int32, pages []minute.Source[T], open map[int][]minute.Row) []minute.Source[T] {
	for i, p := range pages {
		if rows, ok := open[p.Template]; ok {
			pages[i].Table = of.of(day, minute.Union(p.Table.Rows(), rows))
			delete(open, p.Template)
		}
	}
	for template, rows := range open {
		pages = append(pages, minute.Source[T]{Template: template, Table: of.of(day, rows)})
	}
	slices.SortFunc(pages, func(a, b minute.Source[T]) int { return a.Template - b.Template })
	return pages
}

// Count runs one counting pass over the usage of a population in a window.
func (e *Engine) Count(
	ctx context.Context, x Index, of minute.Population, w minute.Window, channelOf minute.ChannelOf, details ...minute.Detail,
) (minute.Tally, error) {
	counter := minute.NewCounter(w, of, len(x.IDs), channelOf, details...)
	if err := EachDay(ctx, e, x, w, Minutes, counter.Add); err != nil {
		return minute.Tally{}, err
	}
	return counter.Tally(), nil
}

// RowsOf reads all rows of a few people that one part of pages holds, ever, by place. It goes past the memory of pages, in which there is
// room for the questions of all.
func RowsOf[T table](ctx context.Context, e *Engine, people []int64, of Tables[T]) (map[Place][]minute.Row, error) {
	former, err := e.former(ctx)
	if err != nil {
		return nil, err
	}
	var open []OpenRow
	for _, person := range people {
		query := e.db.Reads.WithContext(ctx).Raw(`SELECT `+openColumns+` FROM usage_rows WHERE subject BETWEEN ? AND ? AND `+of.open,
			minute.SubjectOf(person, 0), minute.SubjectOf(person, minute.MaxSeat))
		err = e.db.Rows(query, func(r db.Records) error {
			return eachOpen(r, func(row OpenRow) error {
				open = append(open, row)
				return nil
			})
		})
		if err != nil {
			return nil, fmt.Errorf("read usage rows: %w", err)
		}
	}
	rows := map[Place][]minute.Row{}
	query := e.db.Reads.WithContext(ctx).Raw(`SELECT template_id, day, ` + string(of.column) + ` FROM ` + Pages)
	err = e.db.Rows(query, func(r db.Records) error {
		var at Place
		var page []byte
		return r.Each(func() error {
			t, err := of.read(at.Day, slices.Clone(page), former)
			if err != nil {
				return fmt.Errorf("%s page of template %s, day %d: %w", of.column, at.Template, at.Day, err)
			}
			for _, person := range people {
				if own := t.RowsOf(person); len(own) > 0 {
					rows[at] = minute.Union(rows[at], own)
				}
			}
			return nil
		}, r.ID(&at.Template), &at.Day, r.Bytes(&page))
	})
	if err != nil {
		return nil, fmt.Errorf("read usage pages: %w", err)
	}
	for _, r := range open {
		at := Place{r.Template, r.HalfHour / minute.HalfHoursPerDay}
		rows[at] = minute.Union(rows[at], []minute.Row{r.Row})
	}
	return rows, nil
}
