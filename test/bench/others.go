package main

import (
	"context"
	"math"
	"math/bits"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/test/bench/baseline"
)

// What the baseline and the limit say to the questions, in the form of what the service says.

// told makes an ask of a question and what turns its result into an answer.
func told[R any](question func(context.Context) (R, error), read func(R, answer)) ask {
	return func(ctx context.Context) (func() (answer, error), error) {
		result, err := question(ctx)
		return func() (answer, error) {
			a := answer{}
			read(result, a)
			return a, nil
		}, err
	}
}

func (r *rollups) insights(w baseline.Window) ask {
	return told(func(ctx context.Context) (baseline.TemplateInsights, error) { return r.db.TemplateInsights(ctx, w) },
		func(t baseline.TemplateInsights, a answer) {
			a.add("users", t.Templates, float64(t.ActiveUsers))
			for _, f := range t.Families {
				a.add(f.Slug, f.Templates, float64(f.Seconds))
			}
		})
}

func (r *rollups) apps(w baseline.Window) ask {
	return told(func(ctx context.Context) ([]baseline.App, error) { return r.db.AppInsights(ctx, w) }, func(list []baseline.App, a answer) {
		for _, app := range list {
			a.add(app.Slug, app.Templates, float64(app.Seconds), float64(app.TimesUsed))
		}
	})
}

func (r *rollups) parameters(w baseline.Window) ask {
	return told(func(ctx context.Context) ([]baseline.ParameterValue, error) { return r.db.ParameterInsights(ctx, w) },
		func(list []baseline.ParameterValue, a answer) {
			for _, p := range list {
				a.add(p.Name, p.Templates)
				a.add(p.Name+"="+p.Value, nil, float64(p.Count))
			}
		})
}

func (r *rollups) perDay(w baseline.Window) ask {
	return told(func(ctx context.Context) ([]baseline.Day, error) { return r.db.Days(ctx, w) }, func(list []baseline.Day, a answer) {
		for _, d := range list {
			a.add(d.Begins.UTC().Format(time.RFC3339), d.Templates, float64(d.ActiveUsers))
		}
	})
}

func (r *rollups) activity(w baseline.Window) ask {
	return told(func(ctx context.Context) ([]baseline.UserActivity, error) { return r.db.UserActivity(ctx, w) },
		func(list []baseline.UserActivity, a answer) {
			for _, u := range list {
				a.add(u.User.String(), u.Templates, float64(u.Seconds))
			}
		})
}

// latency leaves the P95 open: that of half hours' medians is another one.
func (r *rollups) latency(w baseline.Window) ask {
	return told(func(ctx context.Context) ([]baseline.UserLatency, error) { return r.db.UserLatency(ctx, w) },
		func(list []baseline.UserLatency, a answer) {
			for _, u := range list {
				a.add(u.User.String(), nil, u.P50, math.NaN())
			}
		})
}

// bound is the limit with the names of who is in it.
type bound struct {
	*limit
	month *month
}

// at makes an ask of a question that needs no context.
func at[R any](question func() R, read func(R, answer)) ask {
	return told(func(context.Context) (R, error) { return question(), nil }, read)
}

// named are the templates of a set.
func (b bound) named(set []uint64) []uuid.UUID {
	var ids []uuid.UUID
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			ids = append(ids, b.month.templates[i*64+bits.TrailingZeros64(word)])
		}
	}
	return ids
}

func (b bound) insights() ask {
	return at(b.limit.insights, func(l *limitInsights, a answer) {
		var any []uint64
		for channel, set := range l.templates {
			for i := range set {
				if len(any) <= i {
					any = append(any, 0)
				}
				any[i] |= set[i]
			}
			if channel < firstApp {
				a.add(channels[channel], b.named(set), 60*float64(l.minutes[channel]))
			}
		}
		a.add("users", b.named(any), float64(l.users))
	})
}

func (b bound) apps() ask {
	return at(b.limit.insights, func(l *limitInsights, a answer) {
		for channel := firstApp; channel < len(channels); channel++ {
			if l.minutes[channel] > 0 {
				a.add(channels[channel], b.named(l.templates[channel]), 60*float64(l.minutes[channel]), float64(l.launches[channel]))
			}
		}
	})
}

func (b bound) perDay() ask {
	return at(b.limit.perDay, func(list []limitDay, a answer) {
		for i, d := range list {
			a.add(windowStart().Add(time.Duration(i)*24*time.Hour).Format(time.RFC3339), b.named(d.templates), float64(d.users))
		}
	})
}

func (b bound) activity() ask {
	return at(b.limit.activity, func(list []limitUser, a answer) {
		for user, u := range list {
			if u.minutes == 0 {
				continue
			}
			var templates []uuid.UUID
			for _, t := range u.templates {
				templates = append(templates, b.month.templates[t])
			}
			a.add(b.month.users[user].String(), templates, 60*float64(u.minutes))
		}
	})
}

func (b bound) latency() ask {
	return at(b.limit.latency, func(list [][2]float64, a answer) {
		for user, l := range list {
			if l[0] >= 0 {
				a.add(b.month.users[user].String(), nil, l[0], l[1])
			}
		}
	})
}
