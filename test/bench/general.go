package main

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// The paths of the general question and of its table.
const (
	queryPath       = "/api/v2/insights/query"
	queryExportPath = "/api/v2/insights/export/query"
)

// measureGeneral asks the general question about the month.
func measureGeneral(ctx context.Context, t *table, d database, p *pages, c *client) error {
	const rows = 100_000
	about := func(c *client, metrics, dimensions string, more url.Values) *client {
		return c.with(url.Values{"metrics": {metrics}, "dimensions": {dimensions}}).with(more)
	}
	byDay := url.Values{"interval": {"day"}}
	month := []general{
		{"by template and app", "≤ 200", queryPath, about(c, "active_users,used_seconds", "template,app", nil)},
		{"by user and day, a page", "≤ 200", queryPath, about(c, "used_seconds", "user,interval", url.Values{
			"interval": {"day"}, "page_size": {"1000"},
		})},
		{"by day", "≤ 60", queryPath, about(c, "active_users,used_seconds", "interval", byDay)},
		{"time of workspaces by template", "", queryPath, about(c, "running_seconds,attended_seconds", "template", nil)},
	}
	if err := timeGeneral(ctx, t, d, "general question, ", month); err != nil {
		return err
	}
	return exportGeneral(ctx, t, d, rows, about(c, "active_users,used_seconds", "user,interval", byDay))
}

// general is a general question.
type general struct {
	what, goal string
	path       string
	client     *client
}

// timeGeneral asks general questions in turn, round by round, and notes the medians. Pages of usage are warm after the first round, which
// does not count.
func timeGeneral(ctx context.Context, t *table, d database, of string, list []general) error {
	times := make([][]float64, len(list))
	for range rounds + 1 {
		for i, q := range list {
			if err := q.client.time(ctx, q.path, &times[i]); err != nil {
				return fmt.Errorf("%s%s: %w", of, q.what, err)
			}
		}
	}
	for i, q := range list {
		t.add(d, of+q.what, 1000*median(times[i][1:]), "ms", q.goal)
	}
	return nil
}

// exportGeneral exports so many rows at most as Parquet, and says what that takes beside what the server holds when it is asked nothing.
func exportGeneral(ctx context.Context, t *table, d database, rows int, c *client) error {
	workdays := min(t.sizes.Workdays, rows/t.sizes.Users)
	c = c.with(url.Values{
		"format": {"parquet"}, "start_time": {time.Unix(86400*int64(newMonth(sizes{Workdays: workdays}).workdays()[workdays-1]), 0).UTC().
				Format(time.RFC3339)},
	})
	idle, err := c.server.settledMemory()
	if err != nil {
		return err
	}
	var file []byte
	begin := time.Now()
	peak, err := c.server.peakMemory(func() (err error) {
		file, err = c.get(ctx, queryExportPath)
		return err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d people by day on %d workdays as Parquet", t.sizes.Users, workdays)
	t.add(d, what, time.Since(begin).Seconds(), "s", "")
	t.add(d, what+", size", float64(len(file))/(1<<20), "MiB", "")
	t.add(d, what+", peak memory above idle", max(0, peak-idle), "MiB", "≤ 256")
	return nil
}
