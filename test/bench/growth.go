package main

import (
	"context"
	"fmt"
	"net/url"
)

// measureGrowth asks the same questions of longer histories and of more templates, and streams over more streams.
func measureGrowth(ctx context.Context, t *table, d database, s sizes) error {
	for _, part := range []func(context.Context, *table, database, sizes) error{growHistory, growTemplates, growStreams} {
		if err := part(ctx, t, d, s); err != nil {
			return err
		}
	}
	return nil
}

// growHistory asks about the same 30 days of longer and longer histories.
func growHistory(ctx context.Context, t *table, d database, s sizes) error {
	return withMonth(ctx, d, s, insertAll, func(p *pages, c *client) error {
		months := 1
		for _, n := range s.Histories {
			if err := p.repeat(ctx, months, n); err != nil {
				return err
			}
			months = n
			if err := c.timeAll(ctx, t, d, fmt.Sprintf("%d × history", n), p.month); err != nil {
				return err
			}
		}
		return nil
	})
}

// growTemplates asks about the same people in more and more templates.
func growTemplates(ctx context.Context, t *table, d database, s sizes) error {
	for _, n := range s.TemplateCounts {
		s.Templates = n
		err := withMonth(ctx, d, s, insertAll, func(p *pages, c *client) error {
			return c.timeAll(ctx, t, d, fmt.Sprintf("%d templates", n), p.month)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// timeAll asks the questions in turn, round by round, and notes the medians.
func (c *client) timeAll(ctx context.Context, t *table, d database, of string, m *month) error {
	one := c.with(url.Values{"template_ids": {m.templates[0].String()}})
	list := []struct {
		what, path string
		client     *client
	}{
		{"template insights, 30 days", insightsPath, c},
		{"users per day", insightsPath, c.with(perDay)},
		{"user activity", activityPath, c},
		{"user latency", latencyPath, c},
		{"template insights, one template", insightsPath, one},
	}
	times := make([][]float64, len(list))
	for range rounds {
		for i, q := range list {
			if err := q.client.time(ctx, q.path, &times[i]); err != nil {
				return fmt.Errorf("%s, %s: %w", of, q.what, err)
			}
		}
	}
	for i, q := range list {
		t.add(d, of+": "+q.what, 1000*median(times[i]), "ms", "")
	}
	return nil
}

// growStreams spreads the same agents over more and more streams. Each may be ahead of its acknowledgements by what keeps the
// server busy, within what a stream may be.
func growStreams(ctx context.Context, t *table, d database, s sizes) error {
	const inFlight, mostOfOne = 16_000, 256
	for _, n := range s.StreamCounts {
		s.Streams, s.Window = n, min(max(inFlight/n, 1), mostOfOne)
		err := withLoad(ctx, d, s, func(l *load) error {
			full, err := l.run(ctx, 0)
			if err != nil {
				return err
			}
			t.add(d, fmt.Sprintf("%d streams: acknowledged reports", n), float64(full.measured)/s.Length.Seconds(), "1/s", "")
			t.add(d, fmt.Sprintf("%d streams: acknowledgement, p99", n), full.percentile(0.99), "ms", "")
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
