package main

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// yearCache is the page cache, in MiB, of a server that is asked about a year: all of it has room.
const yearCache = 2048

const coldStarts = 3

// measureYear asks about a year, which it adds to the ten months that are there: servers that have just started, and one that has read its
// pages before, beside the month.
func measureYear(ctx context.Context, t *table, d database, p *pages, c *client) error {
	if err := p.repeat(ctx, 10, 12); err != nil {
		return err
	}
	of := url.Values{"start_time": {today().AddDate(-1, 0, 1).Format(time.RFC3339)}}
	var coldMonth, cold, month, warm []float64
	ask := func(child *serverProcess) error {
		c := newClient(child, c.token)
		if err := c.with(of).time(ctx, insightsPath, &cold); err != nil || len(cold) < coldStarts {
			return err
		}
		for range rounds {
			if err := c.time(ctx, insightsPath, &month); err != nil {
				return err
			}
			if err := c.with(of).time(ctx, insightsPath, &warm); err != nil {
				return err
			}
		}
		t.add(d, "template insights, a year", 1000*median(warm), "ms", "")
		t.add(d, "a year, warm, of the month", median(warm)/median(month), "×", "≤ 4")
		t.add(d, "a year, cold, of the month", median(cold)/median(month), "×", "≤ 12")
		t.add(d, "a year, cold, of the month, cold", median(cold)/median(coldMonth), "×", "")
		about := func(metrics, dimensions string) *client {
			return c.with(of).with(url.Values{"metrics": {metrics}, "dimensions": {dimensions}, "interval": {"month"}})
		}
		return timeGeneral(ctx, t, d, "general question about a year, ", []general{
			{"by month", "≤ 1000", queryPath, about("active_users,used_seconds", "interval")},
			{"by template and month", "≤ 1000", queryPath, about("active_users", "template,interval")},
		})
	}
	for range coldStarts {
		askMonth := func(child *serverProcess) error { return newClient(child, c.token).time(ctx, insightsPath, &coldMonth) }
		if err := withServer(ctx, p.name, askMonth); err != nil {
			return fmt.Errorf("a month: %w", err)
		}
		if err := withServer(ctx, p.name, ask, fmt.Sprintf("%s=%d", cacheVariable, yearCache)); err != nil {
			return fmt.Errorf("a year: %w", err)
		}
	}
	return nil
}
