package query

import (
	"context"
	"slices"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Nothing finer than a day is told of few people. What a viewer may know besides is every day of every template, and every row of every
// such question about any of the templates. So each template closes hours of a day as a whole, whatever was asked: if fewer than five
// people used it in some hour of the day, it closes all hours but those in which at least five did, and of these the one with the fewest,
// so that the difference between the day and its hours that are told is about five people at least. A row is told if no template closed
// one of its hours. A window that cuts a day takes hours out of it: what has such an hour is told if it is not closed.
//
// Each of the actors closes hours of its own, and each figure that fewer people may stand behind: so whoever asks for some of them and for
// all learns of hours that are told.

// closeHours takes the figures of closed hours out of a table.
func (s *Service) closeHours(ctx context.Context, scope access.Scope, q question, start, end time.Time, t *table) error {
	from, to := startOfDay(start), end
	if q.endsWithin(end) {
		to = dayAfter(end, 1)
	}
	all := hours(from, to)
	of := make([]period, len(all))
	first := slices.IndexFunc(all, func(h interval) bool { return !h.start.Before(start) })
	last := len(all)
	for last > 0 && all[last-1].end.After(end) {
		last--
	}
	if first < 0 || last <= first {
		return nil
	}
	copy(of[first:], q.periods(start, end, all[first:last]))
	closed := closings{rows: map[closedHour]bool{}}
	for _, actor := range q.actors.List() {
		hourly, err := s.hourly(ctx, scope, q, actor, minute.NewWindow(from, to), all)
		if err != nil {
			return err
		}
		for template, crowds := range hourly {
			for _, n := range closedHours(all, crowds) {
				part := q.cuts(start, end) && (dayOf(all[n].start) == dayOf(start) && cutsDay(start) ||
					dayOf(all[n].start) == dayOf(end) && q.endsWithin(end))
				if n >= first && n < last && (part || q.hourly()) {
					closed.rows[closedHour{template, of[n]}], closed.rows[closedHour{"", of[n]}] = true, true
					closed.whole = closed.whole || part
				}
			}
		}
	}
	t.close(q, closed, q.cuts(start, end))
	return nil
}

// hourly is how many people of an actor stand behind each figure that is asked for, by template, as crowds has them, and hour.
func (s *Service) hourly(
	ctx context.Context, scope access.Scope, q question, actor minute.Actor, w minute.Window, all []interval,
) (map[string][][]int64, error) {
	atoms := store.Query{
		Scope: scope, Actors: actor.Alone(), Window: w, Filters: q.filters, By: []string{store.ByTemplate, store.ByTime},
		Times: make([][]minute.Stretch, 1), Latency: q.asks(latency), Time: q.asks(times), Visitors: q.asks(times), Builds: q.asks(builds),
		OnlyWorkspaces: !q.asks(ofUsage), MaxCells: maxCells,
	}
	for n, h := range all {
		atoms.Times[0] = append(atoms.Times[0], h.stretch(int64(n)))
	}
	counted, err := s.ask(ctx, atoms)
	if err != nil {
		return nil, err
	}
	people := map[string][][]int64{}
	for _, r := range counted.Rows {
		for i, n := range crowds(r.Figures) {
			template := r.Keys[0].Value
			if len(people[template]) == i {
				people[template] = append(people[template], make([]int64, len(all)))
			}
			people[template][i][r.Keys[1].Number] = n
		}
	}
	return people, nil
}

// closings are what is closed of a table.
type closings struct {
	rows  map[closedHour]bool
	whole bool // the totals
}

// closedHour is of rows with an hour that a template closes; without a template, one that some template closes.
type closedHour struct {
	template string
	period
}

// closedHours are the numbers of the hours that a template closes which has these crowds; some may be there twice.
func closedHours(all []interval, crowds [][]int64) (closed []int) {
	for first := 0; first < len(all); {
		end := first
		for end < len(all) && dayOf(all[end].start) == dayOf(all[first].start) {
			end++
		}
		for _, people := range crowds {
			closed = append(closed, closedOfDay(first, people[first:end])...)
		}
		first = end
	}
	return closed
}

// closedOfDay are those of one day, whose first hour has a number.
func closedOfDay(first int, people []int64) (closed []int) {
	if !slices.ContainsFunc(people, func(n int64) bool { return n > 0 && n < fewest }) {
		return nil
	}
	least := -1
	for i, n := range people {
		switch {
		case n < fewest:
			closed = append(closed, first+i)
		case least < 0 || n < people[least]:
			least = i
		}
	}
	if least >= 0 {
		closed = append(closed, first+least)
	}
	return closed
}

// close takes the figures out of the rows with a closed hour, and out of the totals if they are closed. Where more than hours tells rows
// apart it takes the rows: whether one is there would tell. Rows of few are closed as well, and such totals of a window that cuts a day:
// somebody may have come since they were counted.
func (t *table) close(q question, closed closings, cut bool) {
	template := slices.Index(q.by, store.ByTemplate)
	t.suppress(func(r row) bool {
		at := closedHour{period: r.period}
		if template >= 0 {
			at.template = r.keys[template].value
		}
		return closed.rows[at] || tellsOfFew(r.Figures)
	}, template < 0 && len(q.by) == 1)
	if closed.whole || cut && tellsOfFew(t.whole.Figures) {
		t.suppressWhole()
	}
}
