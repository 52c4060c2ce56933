package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/test/bench/baseline"
)

// rounds is how often each question is asked; the medians count.
const rounds = 5

// ask asks a question. What it returns turns the result into an answer, outside of the measurement.
type ask func(context.Context) (func() (answer, error), error)

// question is put to the service, to the baseline and to the limit in turn. Each but the service may be absent.
type question struct {
	what      string
	goal      string
	reference float64 // seconds of the baseline in calibrationReference's table; 0: not in it
	tolerance float64 // relative, of what the baseline says
	ours      ask
	baseline  ask
	limit     ask
}

// measureQuestions builds a month of a company, asks about it, and compares the answers. The baseline takes part on Postgres.
func measureQuestions(ctx context.Context, t *table, d database, s sizes) error {
	var whole, first bound
	var r *rollups
	err := withMonth(ctx, d, s, func(ctx context.Context, p *pages) (err error) {
		if d.cluster != nil {
			if r, err = newRollups(ctx, d, p.month); err != nil {
				return err
			}
		}
		whole, first, err = fill(ctx, t, p, r)
		return err
	}, func(p *pages, c *client) error {
		if err := askAll(ctx, t, d, p.questions(c, whole, first, r), r.calibrate); err != nil {
			return err
		}
		if err := measureTogether(ctx, t, d, p, c); err != nil {
			return err
		}
		if err := measureGeneral(ctx, t, d, p, c); err != nil {
			return err
		}
		return measureYear(ctx, t, d, p, c)
	})
	if r != nil {
		err = errors.Join(err, r.db.Close(context.WithoutCancel(ctx)))
	}
	return err
}

// questions are all that is asked, of all templates or of the first one. Without rollups the baseline is not asked.
func (p *pages) questions(c *client, whole, first bound, r *rollups) []question {
	one := c.with(url.Values{"template_ids": {p.templates[0].String()}})
	list := []question{
		{
			what: "template insights, 30 days", goal: "≥ 250 × baseline", reference: 8.81,
			ours: c.asking(insightsPath, readInsights(pickBuiltin)), limit: whole.insights(),
		},
		{
			what: "users per day", goal: "≥ 120 × baseline", reference: 3.19,
			ours: c.with(perDay).asking(insightsPath, readInsights(pickDays)), limit: whole.perDay(),
		},
		{
			what: "user activity", goal: "≥ 200 × baseline", reference: 14.8, ours: c.asking(activityPath, readActivity),
			limit: whole.activity(),
		},
		{
			what: "user latency", goal: "≥ 40 × baseline", reference: 3.68, tolerance: 0.06, ours: c.asking(latencyPath, readLatency),
			limit: whole.latency(),
		},
		{
			what: "custom apps with launches", goal: "≥ 250 × baseline", reference: 8.06,
			ours: c.asking(insightsPath, readInsights(pickApps)), limit: whole.apps(),
		},
		{what: "values of parameters", ours: c.asking(insightsPath, readInsights(pickParameters))},
		{
			what: "template insights, one template", goal: "≤ 4", ours: one.asking(insightsPath, readInsights(pickBuiltin)),
			limit: first.insights(),
		},
		{what: "user activity, one template", goal: "≤ 4", ours: one.asking(activityPath, readActivity), limit: first.activity()},
		{
			what: "user latency, one template", goal: "≤ 4", tolerance: 0.06, ours: one.asking(latencyPath, readLatency),
			limit: first.latency(),
		},
	}
	if r != nil {
		w := baseline.Window{Start: windowStart(), End: today()}
		w1 := w
		w1.Templates = []uuid.UUID{p.templates[0]}
		for i, a := range []ask{
			r.insights(w), r.perDay(w), r.activity(w), r.latency(w), r.apps(w), r.parameters(w), r.insights(w1), r.activity(w1),
			r.latency(w1),
		} {
			list[i].baseline = a
		}
	}
	return list
}

// fill writes the month everywhere: the newest day the long way, which is measured, and the others straight away. It returns
// the limit for all templates and that for the first one alone.
func fill(ctx context.Context, t *table, p *pages, r *rollups) (whole, first bound, err error) {
	all, one := newLimitBuilder(p.sizes), newLimitBuilder(p.sizes)
	var hard mix
	for i, day := range slices.Backward(p.workdays()) {
		rows := p.rows(day)
		hard.add(rows)
		if i == 0 {
			err = p.fold(ctx, t, day, rows)
		} else {
			err = p.insert(ctx, day, rows)
		}
		if err == nil && r != nil {
			err = r.fill(ctx, t, day, rows, i == len(p.workdays())-1)
		}
		if err != nil {
			return whole, first, err
		}
		for template := range rows {
			all.add(template, rows[template])
		}
		one.add(0, rows[0])
	}
	d, userDays := p.database, float64(p.sizes.Users*(p.sizes.Workdays-1))
	usage, latency := float64(p.written.usage)/userDays, float64(p.written.latency)/userDays
	hard.tell(t, d)
	t.add(d, "pages", float64(p.written.pages), "", "")
	t.add(d, "rows in them", float64(p.written.rows), "", "")
	t.add(d, "usage per user and day", usage, "bytes", "≤ 250")
	t.add(d, "latency per user and day", latency, "bytes", "≤ 600")
	if r != nil {
		if err := r.db.Settle(ctx); err != nil {
			return whole, first, err
		}
		size, err := r.db.Size(ctx)
		if err != nil {
			return whole, first, err
		}
		t.put(figure{
			Database: d.name, What: "usage and latency per user and day", Unit: "bytes",
			Value: usage + latency, Baseline: float64(size) / float64(p.sizes.Users*p.sizes.Workdays),
		})
	}
	return bound{all.build(), p.month}, bound{one.build(), p.month}, nil
}

// fill writes a day; the first one also the long way.
func (r *rollups) fill(ctx context.Context, t *table, day int32, rows [][]minute.Row, first bool) error {
	if first {
		c, err := r.rollUp(ctx, day, rows)
		if err != nil {
			return err
		}
		t.beside(r.database, cpuPerReport, float64(c.cpu.Nanoseconds())/1000)
		t.beside(r.database, walPerReport, c.wal)
	}
	return r.insert(ctx, rows)
}

// calibrationReference is how long, in seconds, counting the users of each day took the baseline where the figures of the
// design were measured (its table of section 2: 3.5 million half hours, 2 cores, PostgreSQL 15). The time of the calibration
// here, divided by it, is how much slower this machine is. The calibration is the least that this question can be, and so at
// most as slow as the original: the scale errs on the side of a quick baseline.
const calibrationReference = 3.19

// allowed is how much slower than the scaled reference the baseline may be and still count in full.
const allowed = 1.3

// calibrate runs the calibration; without rollups there is nothing to calibrate.
func (r *rollups) calibrate(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.db.Calibrate(ctx, baseline.Window{Start: windowStart(), End: today()})
}

// askAll asks all questions in turn, round by round, and fails when answers differ.
func askAll(ctx context.Context, t *table, d database, list []question, calibrate func(context.Context) error) error {
	ours, theirs, limits := make([][]float64, len(list)), make([][]float64, len(list)), make([][]float64, len(list))
	var calibrations []float64
	for range rounds {
		begin := time.Now()
		if err := calibrate(ctx); err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
		calibrations = append(calibrations, time.Since(begin).Seconds())
		for i, q := range list {
			said, err := q.ours.measure(ctx, &ours[i])
			if err != nil {
				return fmt.Errorf("%s: %w", q.what, err)
			}
			for _, other := range []struct {
				name      string
				ask       ask
				times     *[]float64
				tolerance float64
			}{{"the baseline", q.baseline, &theirs[i], q.tolerance}, {"the limit", q.limit, &limits[i], 1e-9}} {
				if other.ask == nil {
					continue
				}
				says, err := other.ask.measure(ctx, other.times)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", q.what, other.name, err)
				}
				if difference := says.differs(said, other.tolerance); difference != "" {
					return fmt.Errorf("%s: our answer is not that of %s: %s", q.what, other.name, difference)
				}
			}
		}
	}
	scale := median(calibrations) / calibrationReference
	for i, q := range list {
		f := figure{
			Database: d.name, What: q.what, Value: 1000 * median(ours[i]), Unit: "ms", Goal: q.goal, Baseline: 1000 * median(theirs[i]),
			Limit: 1000 * median(limits[i]),
		}
		if most := 1000 * allowed * scale * q.reference; q.reference > 0 && f.Baseline > most {
			f.Note = fmt.Sprintf("the baseline took %s ms, of which %s count", show(f.Baseline), show(most))
			f.Baseline = most
		}
		if q.baseline == nil {
			f.Goal = onlyAbsolute(f.Goal)
		}
		t.put(f)
	}
	if d.cluster != nil {
		t.add(d, "calibration of the baseline, here by design", scale, "×", "")
	}
	return nil
}

// measure asks, notes the seconds, and returns the answer.
func (a ask) measure(ctx context.Context, times *[]float64) (answer, error) {
	begin := time.Now()
	read, err := a(ctx)
	if err != nil {
		return nil, err
	}
	*times = append(*times, time.Since(begin).Seconds())
	says, err := read()
	if err == nil && len(says) == 0 {
		err = errors.New("the answer is empty")
	}
	return says, err
}

// median of times; 0 without any.
func median(times []float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// measureTogether asks for template insights and user activity at once, as a page that shows both does, and then for template
// insights with ten times the history.
func measureTogether(ctx context.Context, t *table, d database, p *pages, c *client) error {
	var both, month, longer []float64
	for range rounds {
		begin := time.Now()
		failures := make(chan error, 2)
		for _, path := range []string{insightsPath, activityPath} {
			go func() {
				_, err := c.get(ctx, path)
				failures <- err
			}()
		}
		if err := errors.Join(<-failures, <-failures); err != nil {
			return err
		}
		both = append(both, time.Since(begin).Seconds())
		if err := c.time(ctx, insightsPath, &month); err != nil {
			return err
		}
	}
	t.add(d, "template insights and user activity at once", 1000*median(both), "ms", "≤ 80")
	if err := p.repeat(ctx, 1, 10); err != nil {
		return err
	}
	for range rounds {
		if err := c.time(ctx, insightsPath, &longer); err != nil {
			return err
		}
	}
	t.add(d, "the same 30 days with ten times the history", median(longer)/cmp.Or(median(month), 1), "×", "≤ 1.1")
	return nil
}

// time asks and notes the seconds.
func (c *client) time(ctx context.Context, path string, times *[]float64) error {
	begin := time.Now()
	_, err := c.get(ctx, path)
	*times = append(*times, time.Since(begin).Seconds())
	return err
}
