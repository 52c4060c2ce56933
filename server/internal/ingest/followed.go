package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/store"
)

// followed tells Prometheus how far behind the systems are that are followed, whichever process does that.
type followed struct {
	store *store.Store
	clock func() time.Time
	known atomic.Pointer[[]store.Followed] // nil: not looked yet
	lag   *prometheus.Desc
}

func newFollowed(o Options) *followed {
	f := &followed{store: o.Store, clock: o.Clock, lag: prometheus.NewDesc(
		"insights_follow_lag_seconds",
		"Age of the newest of what is here of another system that is followed, by part: usage, or everything (all).",
		[]string{"source", "part"}, nil,
	)}
	o.Registry.MustRegister(f)
	return f
}

// look finds out how far they are. While that fails, those of before count, and grow older.
func (f *followed) look(ctx context.Context) error {
	found, err := f.store.Followed(ctx)
	if err == nil {
		f.known.Store(&found)
	}
	return err
}

// Describe implements [prometheus.Collector].
func (f *followed) Describe(to chan<- *prometheus.Desc) { to <- f.lag }

// Collect implements [prometheus.Collector].
func (f *followed) Collect(to chan<- prometheus.Metric) {
	known := f.known.Load()
	if known == nil {
		return
	}
	for _, k := range *known {
		for part, until := range map[string]time.Time{"usage": k.UsageUntil, "all": k.Until} {
			if !until.IsZero() {
				lag := max(0, f.clock().Sub(until).Seconds()) // the clock of the other system may be ahead
				to <- prometheus.MustNewConstMetric(f.lag, prometheus.GaugeValue, lag, k.Source, part)
			}
		}
	}
}
