package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"

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
	Size() int
}

// tables is where the tables of one part come from.
type tables[T table] struct {
	column pageColumn
	open   string // the condition on rows of the present
	read   func(day int32, page []byte) (T, error)
	of     func(day int32, rows []minute.Row) T
}

var (
	usageTables   = tables[*minute.Table]{usageColumn, "kind <> 2", minute.ReadUsage, minute.TableOf}
	latencyTables = tables[*minute.LatencyTable]{latencyColumn, "kind = 2", minute.ReadLatency, minute.LatencyTableOf}
)

// readingKey is what a context has the choice under that says where a question reads usage.
type readingKey struct{}

// WithReplica returns a context of a question that reads usage from a replica, if one may answer, and the choice. All but usage is read
// from the primary.
func (s *Store) WithReplica(ctx context.Context) (context.Context, replica.Choice) {
	c := s.replicas.Choose(ctx)
	if c.Replica != nil {
		ctx = context.WithValue(ctx, readingKey{}, c)
	}
	return ctx, c
}

// Replicas returns those that answer questions.
func (s *Store) Replicas() []*replica.Replica {
	if s.replicas == nil { // it is not open
		return nil
	}
	return s.replicas.All()
}

// Behind is how far what a question reads may be behind what was acknowledged by other programs; zero unless a replica answers it.
func Behind(ctx context.Context) time.Duration {
	c, _ := ctx.Value(readingKey{}).(replica.Choice)
	return c.Behind
}

// usageDB is where a question reads usage.
func (s *Store) usageDB(ctx context.Context) *gorm.DB {
	if c, ok := ctx.Value(readingKey{}).(replica.Choice); ok {
		return c.Replica.DB.WithContext(ctx)
	}
	return s.reads.WithContext(ctx)
}

// eachDay calls f for every UTC day of the window, in order, with all that is known of it. It reads the rows of the present
// first and the pages after: a fold between the two shows the same bits twice, which is once.
func eachDay[T table](
	ctx context.Context, s *Store, x templateIndex, w minute.Window, of tables[T], f func(day int32, sources []minute.Source[T]) error,
) error {
	first, last := w.Days()
	if first > last || len(x.ids) == 0 {
		return nil
	}
	open, err := s.openDays(ctx, x, first, last, of.open)
	if err != nil {
		return fmt.Errorf("read usage rows: %w", err)
	}
	cached, missing, err := cachedDays(ctx, s, x, first, last, of)
	if err != nil {
		return fmt.Errorf("read versions of usage pages: %w", err)
	}
	next, pages := first, []minute.Source[T](nil) // the day that is being read, and its pages so far
	until := func(day int32) error {
		for ; next < day; next++ {
			known, whole := cached[next]
			if !whole {
				known, pages = pages, nil
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
		condition, args := x.where("day >= ? AND day <= ?", missing[0], missing[len(missing)-1])
		query := s.usageDB(ctx).Raw(
			`SELECT template_id, day, version, `+string(of.column)+` FROM usage_day WHERE `+condition+` ORDER BY day`, args...,
		)
		err = s.dialect.read(query, func(r records) error {
			var key pageKey
			var page []byte
			return r.each(func() error {
				number, ok := x.numbers[key.template]
				if _, whole := cached[key.day]; !ok || whole {
					return nil
				}
				if err := until(key.day); err != nil {
					return err
				}
				t, err := of.read(key.day, slices.Clone(page))
				if err != nil {
					return fmt.Errorf("%s page of template %s, day %d: %w", of.column, key.template, key.day, err)
				}
				key.column = of.column
				s.pages.put(key, t)
				pages = append(pages, minute.Source[T]{Template: number, Table: t})
				return nil
			}, r.id(&key.template), &key.day, &key.version, r.bytes(&page))
		})
		if err != nil {
			return fmt.Errorf("read usage pages: %w", err)
		}
	}
	return until(last + 1)
}

// cachedDays returns the days of which all pages are in the cache, and in order those of which some are missing.
func cachedDays[T table](
	ctx context.Context, s *Store, x templateIndex, first, last int32, of tables[T],
) (cached map[int32][]minute.Source[T], missing []int32, err error) {
	condition, args := x.where("day >= ? AND day <= ?", first, last)
	rows, err := s.usageDB(ctx).Raw(
		`SELECT template_id, day, version FROM usage_day WHERE `+condition+` ORDER BY day`, args...,
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
		number, ok := x.numbers[key.template]
		if !ok || len(missing) > 0 && missing[len(missing)-1] == key.day {
			continue // a template younger than the index, or a day that has to be read anyway
		}
		if t, ok := s.pages.get(key).(T); ok {
			cached[key.day] = append(cached[key.day], minute.Source[T]{Template: number, Table: t})
			continue
		}
		delete(cached, key.day)
		missing = append(missing, key.day)
	}
	return cached, missing, rows.Err()
}

// openDays reads the rows of the present that a condition chooses, by day and template.
func (s *Store) openDays(ctx context.Context, x templateIndex, first, last int32, chosen string) (map[int32]map[int][]minute.Row, error) {
	halfHours, err := s.openHalfHours(ctx, first*minute.HalfHoursPerDay, (last+1)*minute.HalfHoursPerDay)
	if err != nil || len(halfHours) == 0 {
		return nil, err
	}
	// Named one by one: the key begins with the half hour, so a range would be searched through for the templates.
	condition, args := x.where("half_hour IN ? AND "+chosen, halfHours)
	days := map[int32]map[int][]minute.Row{}
	query := s.usageDB(ctx).Raw(`SELECT `+openColumns+` FROM usage_open WHERE `+condition, args...)
	return days, s.dialect.read(query, func(r records) error {
		return r.eachOpen(func(row OpenRow) error {
			template, ok := x.numbers[row.Template]
			if !ok {
				return nil // a template younger than the index
			}
			day := row.HalfHour / minute.HalfHoursPerDay
			if days[day] == nil {
				days[day] = map[int][]minute.Row{}
			}
			days[day][template] = append(days[day][template], row.Row)
			return nil
		})
	})
}

// openHalfHours are the half hours from first to before end of which there are rows. There are few, and each is found by its
// place in the key.
func (s *Store) openHalfHours(ctx context.Context, first, end int32) (halfHours []int32, err error) {
	const next = `(SELECT half_hour FROM usage_open WHERE half_hour >= `
	err = s.usageDB(ctx).Raw(`WITH RECURSIVE present(half_hour) AS (
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
func (of tables[T]) join(day int32, pages []minute.Source[T], open map[int][]minute.Row) []minute.Source[T] {
	for i, p := range pages {
		if rows, ok := open[p.Template]; ok {
			pages[i].Table = of.of(day, minute.Union(p.Table.Rows(), minute.Normalize(rows)))
			delete(open, p.Template)
		}
	}
	for template, rows := range open {
		pages = append(pages, minute.Source[T]{Template: template, Table: of.of(day, minute.Normalize(rows))})
	}
	slices.SortFunc(pages, func(a, b minute.Source[T]) int { return a.Template - b.Template })
	return pages
}

// count runs one counting pass over the usage of a window.
func (s *Store) count(
	ctx context.Context, x templateIndex, w minute.Window, channelOf minute.ChannelOf, details ...minute.Detail,
) (minute.Tally, error) {
	counter := minute.NewCounter(w, len(x.ids), channelOf, details...)
	if err := eachDay(ctx, s, x, w, usageTables, counter.Add); err != nil {
		return minute.Tally{}, err
	}
	return counter.Tally(), nil
}
