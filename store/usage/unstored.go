package usage

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
)

// Unstored returns the rows that add minutes, samples or an open gate to the usage in rows and pages. An estimate adds nothing
// if the usage of the same kind was measured, or if the person has the estimate already, at whichever seat.
func (e *Engine) Unstored(ctx context.Context, rows []OpenRow) ([]OpenRow, error) {
	rows = distinct(rows)
	if len(rows) == 0 {
		return nil, nil
	}
	templates := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		templates[i] = r.Template
	}
	x := NewIndex(templates, false)
	const day = minute.HalfHoursPerDay * minute.MinutesPerHalfHour
	w := minute.Window{
		Start: int64(rows[0].HalfHour/minute.HalfHoursPerDay) * day, End: int64(rows[len(rows)-1].HalfHour/minute.HalfHoursPerDay+1) * day,
	}
	k := knownUsage{rows: rows, stored: make([]bool, len(rows)), index: x}
	err := EachDay(ctx, e, x, w, Minutes, func(day int32, sources []minute.Source[*minute.Table]) error {
		markStored(&k, day, sources)
		return nil
	})
	if err == nil {
		err = EachDay(ctx, e, x, w, Latencies, func(day int32, sources []minute.Source[*minute.LatencyTable]) error {
			markStored(&k, day, sources)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("compare usage: %w", err)
	}
	fresh := rows[:0]
	for i, r := range rows {
		if !k.stored[i] {
			fresh = append(fresh, r)
		}
	}
	return fresh, nil
}

// knownUsage marks the rows that are stored already.
type knownUsage struct {
	rows   []OpenRow
	stored []bool
	index  Index
}

// markStored marks the rows of one day that the sources of the day have already.
func markStored[T table](k *knownUsage, day int32, sources []minute.Source[T]) {
	type place struct {
		template int
		person   int64
		halfHour int32
		kind     minute.Kind
	}
	type key struct {
		place
		subject int64 // 0 of an estimate
		app     string
	}
	keyOf := func(at place, r minute.Row) key {
		if _, estimate := r.Kind.Measured(); estimate {
			return key{at, 0, r.App}
		}
		return key{at, r.Subject, r.App}
	}
	known, measured := map[key]minute.Row{}, map[place]bool{}
	for _, source := range sources {
		for _, r := range source.Table.Rows() {
			at := place{source.Template, minute.PersonOf(r.Subject), r.HalfHour, r.Kind}
			known[keyOf(at, r)], measured[at] = r, true
		}
	}
	from, _ := slices.BinarySearchFunc(k.rows, day*minute.HalfHoursPerDay, func(r OpenRow, first int32) int {
		return int(r.HalfHour - first)
	})
	for i := from; i < len(k.rows) && k.rows[i].HalfHour < (day+1)*minute.HalfHoursPerDay; i++ {
		r := k.rows[i]
		template, _ := k.index.Number(r.Template)
		at := place{template, minute.PersonOf(r.Subject), r.HalfHour, r.Kind}
		is, found := known[keyOf(at, r.Row)]
		if of, estimate := r.Kind.Measured(); estimate {
			at.kind = of
			k.stored[i] = k.stored[i] || found || measured[at]
			continue
		}
		k.stored[i] = k.stored[i] || found && r.Minutes&^is.Minutes == 0 && (is.Connected || !r.Connected)
	}
}
