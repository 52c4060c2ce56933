package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// A soak offers this many reports per second, has this many stretches of equal length, whose figures should not differ, and asks
// what a dashboard shows this often.
const (
	soakRate      = 20_000
	soakStretches = 6
	soakPause     = 5 * time.Second
)

// measureSoak streams at a fixed rate for long, while a dashboard about one template and an overview of all templates are
// refreshed. A stretch of five minutes is half an hour for the agents, so it begins with a fold, as a server would do it.
func measureSoak(ctx context.Context, t *table, d database, s sizes) error {
	return withLoad(ctx, d, s, func(l *load) error {
		token, err := newToken(ctx, l.store, access.RoleOwner)
		if err != nil {
			return err
		}
		c := newClient(l.server, token)
		l.sizes.Length = s.Soak / soakStretches
		for i := range soakStretches {
			stretch := fmt.Sprintf("%d of %d: ", i+1, soakStretches)
			asked := make(chan refreshes, 1)
			asking, stop := context.WithCancel(ctx)
			folded := make(chan error, 1)
			go func() { asked <- c.refresh(asking, l.template) }()
			go func() {
				_, err := l.store.Fold(ctx)
				folded <- err
			}()
			found, err := l.run(ctx, soakRate)
			stop()
			answers := <-asked
			if err := errors.Join(err, answers.err, <-folded); err != nil {
				return err
			}
			t.add(d, stretch+"acknowledged", float64(found.measured)/l.sizes.Length.Seconds(), "1/s", fmt.Sprintf("≥ %d", soakRate*99/100))
			t.add(d, stretch+"acknowledgement, p50", found.percentile(0.5), "ms", "")
			t.add(d, stretch+"acknowledgement, p99", found.percentile(0.99), "ms", "≤ 100")
			for _, q := range []struct {
				what  string
				times []float64
			}{{"questions about one template", answers.one}, {"template insights of all", answers.all}} {
				slices.Sort(q.times)
				t.add(d, stretch+q.what+", p50", 1000*median(q.times), "ms", "")
				t.add(d, stretch+q.what+", p99", 1000*q.times[(len(q.times)-1)*99/100], "ms", "")
			}
			t.add(d, stretch+"resident memory of the server", processMemory(l.server.Process.Pid, "VmRSS:"), "MiB", "")
			if err := d.addSizes(ctx, t, stretch, l.name); err != nil {
				return err
			}
		}
		return nil
	})
}

// refreshes are the seconds that questions took.
type refreshes struct {
	one, all []float64
	err      error
}

// refresh asks again and again until the context ends.
func (c *client) refresh(ctx context.Context, template uuid.UUID) (r refreshes) {
	one := c.with(url.Values{"template_ids": {template.String()}})
	ticker := time.NewTicker(soakPause)
	defer ticker.Stop()
	for {
		for _, err := range []error{
			one.time(ctx, insightsPath, &r.one), one.with(perDay).time(ctx, insightsPath, &r.one), one.time(ctx, activityPath, &r.one),
			one.time(ctx, latencyPath, &r.one),
			c.time(ctx, insightsPath, &r.all),
		} {
			if err != nil && ctx.Err() == nil {
				r.err = err
				return r
			}
		}
		select {
		case <-ctx.Done():
			return r
		case <-ticker.C:
		}
	}
}

// addSizes notes how large the tables are that ingest writes.
func (d database) addSizes(ctx context.Context, t *table, stretch, name string) error {
	if d.cluster == nil {
		return nil
	}
	db, err := sql.Open("pgx", name)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, table := range []string{"usage_rows", "usage_pages", "agent_states"} {
		var bytes int64
		if err := db.QueryRowContext(ctx, `SELECT pg_total_relation_size($1::regclass)`, table).Scan(&bytes); err != nil {
			return fmt.Errorf("size of %s: %w", table, err)
		}
		t.add(d, stretch+table, float64(bytes)/(1<<20), "MiB", "")
	}
	return nil
}
