package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/template-insights/insights/store"
)

// followed tells Prometheus how far behind the systems are that are followed, whichever process does that.
type followed struct {
	store   *store.Store
	clock   func() time.Time
	metrics *metrics

	mu    sync.Mutex
	known []store.Followed
}

// FollowFails notes whether this server, which was told to follow another system, cannot.
func (g *Service) FollowFails(fails bool) {
	value := 0.0 // set once: a scrape in between would end an alert
	if fails {
		value = 1
	}
	g.metrics.followFails.WithLabelValues().Set(value)
}

// look finds out how far they are. While that fails, those of before count, and fall behind.
func (f *followed) look(ctx context.Context) error {
	found, err := f.store.Followed(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.known = found
		f.metrics.followLag.Reset()
	}
	for _, k := range f.known {
		for part, until := range map[string]time.Time{"usage": k.UsageUntil, "all": k.Until} {
			if !until.IsZero() {
				// The clock of the other system may be ahead.
				f.metrics.followLag.WithLabelValues(k.Source, part).Set(max(0, f.clock().Sub(until).Seconds()))
			}
		}
	}
	return err
}
