package ingest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/store"
)

// Who submits is held back while there is no room, until others are settled. An entry of more rows than there is ever room for
// comes alone.
func TestCommitterHoldsBack(t *testing.T) {
	t.Parallel()
	c := newCommitter(nil, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()), new(commitHealth)) // nobody commits
	submit := func(rows int) error {
		made := make([]store.OpenRow, rows) // which may take longer than a deadline should be
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		return c.submit(ctx, entry{made, func(error) {}})
	}
	for range 2 {
		for _, rows := range []int{1, commitRoom - 1} {
			if err := submit(rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := submit(1); err == nil {
			t.Error("one row more is taken")
		}
		for range 2 {
			(<-c.queue).settle(nil)
		}
		if err := submit(2 * commitRoom); err != nil {
			t.Fatal(err)
		}
		if err := submit(1); err == nil {
			t.Error("one row is taken beside too many")
		}
		(<-c.queue).settle(nil)
	}
}
