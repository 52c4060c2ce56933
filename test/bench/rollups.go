package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/test/bench/baseline"
)

// rollups are the month as the baseline keeps it.
type rollups struct {
	*month
	database database
	name     string
	db       *baseline.DB
}

// newRollups puts a company into an empty database, without its month.
func newRollups(ctx context.Context, d database, m *month) (*rollups, error) {
	name, err := d.cluster.Create(ctx, "")
	if err != nil {
		return nil, err
	}
	db, err := baseline.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &rollups{m, d, name, db}
	return r, r.apply(ctx)
}

// apply inserts the company.
func (r *rollups) apply(ctx context.Context) error {
	rows := map[*baseline.Table][][]any{}
	add := func(t *baseline.Table, values ...any) { rows[t] = append(rows[t], values) }
	for _, version := range r.versions {
		for _, p := range parameters {
			options, err := json.Marshal(p.Options)
			if err != nil {
				return err
			}
			add(&baseline.VersionParameters, version, p.Name, p.Type, p.DisplayName, p.Description, options)
		}
	}
	for i, id := range r.users {
		add(&baseline.Users, id, username(i), "")
		for _, w := range r.places[i] {
			add(&baseline.Workspaces, w.id, id, r.templates[w.template])
			add(&baseline.Builds, w.build, w.id, r.versions[w.template], 1, windowStart())
			add(&baseline.Agents, w.agent, w.build)
			for p := range parameters {
				add(&baseline.BuildParameters, w.build, parameters[p].Name, chosen(i, p))
			}
			for _, slug := range slugs {
				add(&baseline.Apps, w.agent, slug, slug, "", windowStart())
			}
		}
	}
	for t, list := range rows {
		if err := r.db.Insert(ctx, *t, list); err != nil {
			return err
		}
	}
	return nil
}

// insert writes the half hours of a day straight away: those that reporting and rolling up makes, as rollUp shows.
func (r *rollups) insert(ctx context.Context, rows [][]minute.Row) error {
	var list []baseline.HalfHour
	for template := range rows {
		list = append(list, r.halfHours(template, rows[template])...)
	}
	return r.db.InsertHalfHours(ctx, list)
}

// halfHours are what the baseline knows of the rows of a template.
func (r *rollups) halfHours(template int, rows []minute.Row) []baseline.HalfHour {
	var list []baseline.HalfHour
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(x minute.Row) bool { return x.Subject != rows[0].Subject || x.HalfHour != rows[0].HalfHour })
		if n < 0 {
			n = len(rows)
		}
		if h := r.halfHour(template, rows[:n]); h.Minutes > 0 {
			list = append(list, h)
		}
		rows = rows[n:]
	}
	return list
}

// halfHour is what the baseline knows of the rows of one user and half hour.
func (r *rollups) halfHour(template int, rows []minute.Row) baseline.HalfHour {
	start := time.Unix(int64(rows[0].HalfHour)*1800, 0).UTC()
	h := baseline.HalfHour{
		Start: start, End: start.Add(30 * time.Minute), Template: r.templates[template], User: r.users[minute.PersonOf(rows[0].Subject)],
	}
	var used, vscode, jetbrains, ssh minute.Mask
	for _, row := range rows {
		switch {
		case row.Kind == minute.App:
			if h.Apps == nil {
				h.Apps = map[string]int{}
			}
			h.Apps[row.App] = row.Minutes.Count()
			used |= row.Minutes
		case row.Kind == minute.Session && row.Connected: // as all sessions of its half hour, hence its gate
			used |= row.Minutes
			switch row.App {
			case "jetbrains":
				jetbrains |= row.Minutes
			case "ssh":
				ssh |= row.Minutes
			default:
				vscode |= row.Minutes
			}
		}
	}
	h.Minutes, h.VSCode, h.JetBrains, h.SSH = int16(used.Count()), int16(vscode.Count()), int16(jetbrains.Count()), int16(ssh.Count())
	for _, row := range rows {
		if row.Kind == minute.Connection {
			h.MedianLatency = medianLatency(row, used)
		}
	}
	return h
}

// medianLatency is the median of the samples in used minutes, in milliseconds; nil without any.
func medianLatency(row minute.Row, used minute.Mask) *float32 {
	var samples []float64
	for i, rest := 0, row.Minutes; rest != 0; i, rest = i+1, rest&(rest-1) {
		if rest&-rest&used != 0 {
			samples = append(samples, minute.BinValue(row.Bins[i]))
		}
	}
	if len(samples) == 0 {
		return nil
	}
	slices.Sort(samples)
	m := float32((samples[(len(samples)-1)/2] + samples[len(samples)/2]) / 2)
	return &m
}

// cost is what the database needs for one report.
type cost struct {
	cpu time.Duration
	wal float64 // bytes
}

// The part of a day that is reported and rolled up: three hours of the morning of some of the people. The first hour is not
// measured, because a rollup that begins works out less than one that has run for long.
const (
	rolledUsers = 500
	rolledFrom  = 9 * time.Hour
	rolledUntil = 12 * time.Hour
)

// rollUp reports the rows of a day as agents do and rolls them up every five minutes. It measures what a report costs, and
// fails unless the half hours are those that insert would have written. Afterwards there are none.
func (r *rollups) rollUp(ctx context.Context, day int32, rows [][]minute.Row) (cost, error) {
	midnight := time.Unix(int64(day)*86400, 0).UTC()
	from, until := midnight.Add(rolledFrom), midnight.Add(rolledUntil)
	var want []baseline.HalfHour
	reports := map[time.Time]*batch{}
	for template := range rows {
		part := slices.Clone(rows[template])
		part = slices.DeleteFunc(part, func(x minute.Row) bool {
			start := int64(x.HalfHour) * 1800
			return minute.PersonOf(x.Subject) >= rolledUsers || start < from.Unix() || start >= until.Unix()
		})
		want = append(want, r.halfHours(template, part)...)
		r.report(reports, template, part)
	}
	var c cost
	var counted int
	var cpu time.Duration
	var wal int64
	const step = 5 * time.Minute
	for now := from; now.Before(until); now = now.Add(step) {
		if now.Equal(from.Add(time.Hour)) {
			cpu, wal, counted = r.database.cpu(), r.database.wal(ctx, r.name), 0
		}
		if b := reports[now]; b != nil {
			// As the original does, in batches.
			for list := range slices.Chunk(b.reports, 1024) {
				if err := r.db.Insert(ctx, baseline.AgentStats, list); err != nil {
					return c, err
				}
			}
			if err := r.db.Insert(ctx, baseline.AppStats, b.sessions); err != nil {
				return c, err
			}
			counted += len(b.reports)
		}
		if err := r.db.Rollup(ctx, now.Add(step)); err != nil {
			return c, err
		}
	}
	c.cpu = (r.database.cpu() - cpu) / time.Duration(max(1, counted))
	c.wal = float64(r.database.wal(ctx, r.name)-wal) / float64(max(1, counted))
	got, err := r.db.HalfHours(ctx)
	if err != nil {
		return c, err
	}
	if err := sameHalfHours(got, want); err != nil {
		return c, err
	}
	return c, r.db.Clear(ctx)
}

// batch is what comes in within five minutes.
type batch struct{ reports, sessions [][]any }

// report turns the rows of a template into reports, two a minute, and sessions of apps, by the five minutes of their arrival.
func (r *rollups) report(into map[time.Time]*batch, template int, rows []minute.Row) {
	at := func(when time.Time) *batch {
		when = when.Truncate(5 * time.Minute)
		if into[when] == nil {
			into[when] = &batch{}
		}
		return into[when]
	}
	type halfHour struct{ subject, half int64 }
	latencies, editors := map[halfHour]minute.Row{}, map[halfHour]map[string]int{}
	for _, row := range rows {
		of := halfHour{row.Subject, int64(row.HalfHour)}
		switch row.Kind {
		case minute.Connection:
			latencies[of] = row
		case minute.Session:
			if editors[of] == nil {
				editors[of] = map[string]int{}
			}
			editors[of][row.App] = 1
		}
	}
	for _, row := range rows {
		user, half := int(minute.PersonOf(row.Subject)), time.Unix(int64(row.HalfHour)*1800, 0).UTC()
		place := r.places[user][minute.SeatOf(row.Subject)]
		first := bits.TrailingZeros32(uint32(row.Minutes))
		if row.Kind == minute.App { // its minutes are one piece
			start := half.Add(time.Duration(first) * time.Minute)
			end := start.Add(time.Duration(row.Minutes.Count()) * time.Minute)
			b := at(start) // known from its beginning on; the original hears of it every 30 seconds
			b.sessions = append(b.sessions, []any{r.users[user], place.id, place.agent, "path", row.App, uuid.New(), start, end, 10})
		}
		of := halfHour{row.Subject, int64(row.HalfHour)}
		sessions := editors[of]
		if row.Kind != minute.Session || sessions == nil {
			continue
		}
		delete(editors, of) // a report tells of all editors, which have the same minutes
		connections := 0
		if row.Connected {
			connections = 2
		}
		latency := latencies[of]
		for n, rest := 0, row.Minutes; rest != 0; n, rest = n+1, rest&(rest-1) {
			for _, second := range []int{user % 30, user%30 + 30} {
				when := half.Add(time.Duration(bits.TrailingZeros32(uint32(rest)))*time.Minute + time.Duration(second)*time.Second)
				b := at(when)
				b.reports = append(b.reports, []any{
					uuid.New(), when, r.users[user], place.agent, place.id, r.templates[template], []byte(`{"TCP": 2}`), connections, 10,
					1000, 20, 2000,
					minute.BinValue(latency.Bins[n]), sessions["vscode"] + sessions["cursor"], sessions["jetbrains"],
					sessions["reconnecting_pty"], sessions["ssh"],
				})
			}
		}
	}
}

// sameHalfHours fails unless two lists hold the same, but for the rounding of latencies.
func sameHalfHours(got, want []baseline.HalfHour) error {
	if len(got) != len(want) {
		return fmt.Errorf("the rollup made %d half hours of %d", len(got), len(want))
	}
	slices.SortFunc(want, func(a, b baseline.HalfHour) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		if c := slices.Compare(a.Template[:], b.Template[:]); c != 0 {
			return c
		}
		return slices.Compare(a.User[:], b.User[:])
	})
	for i := range got {
		g, w := got[i], want[i]
		near := (g.MedianLatency == nil) == (w.MedianLatency == nil) &&
			(g.MedianLatency == nil || math.Abs(float64(*g.MedianLatency / *w.MedianLatency)-1) < 1e-6)
		g.MedianLatency, w.MedianLatency = nil, nil
		if !near || !reflect.DeepEqual(g, w) {
			return fmt.Errorf("the rollup made half hour %+v, want %+v", got[i], want[i])
		}
	}
	return nil
}
