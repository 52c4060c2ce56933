package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/store"
)

// How often the background work of ingest runs.
const (
	refreshEvery = time.Second / 2 // half of how long a directory counts, so that reports do not wait for it
	foldEvery    = 30 * time.Minute
	foldAgain    = time.Minute // after a fold that had to give way
	touchEvery   = 5 * time.Second
	treatEvery   = 5 * time.Second
	expireEvery  = 24 * time.Hour
	expireAgain  = time.Hour // after a failure

	passTimeout = 10 * time.Minute // of work that may go through the whole database
)

// Run does the background work of ingest until the context is done and the queue is committed.
func (g *Service) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { g.committer.run(ctx) })
	work.Go(func() {
		background.Every(ctx, refreshEvery, background.LookTimeout, g.logger, "refresh directory", g.directory.Refresh)
	})
	work.Go(func() {
		background.Every(ctx, treatEvery, passTimeout, g.logger, "treat what is stored by the privacy modes", g.store.Treat)
	})
	work.Go(func() {
		background.Every(ctx, touchEvery, background.LookTimeout, g.logger, "note agents", g.touchAgents)
	})
	if g.stats != nil {
		work.Go(func() {
			background.Every(ctx, agentStatsEvery, background.LookTimeout, g.logger, "read names of agents", g.stats.refresh)
		})
	}
	work.Go(func() { g.foldForEver(ctx) })
	work.Go(func() { g.expireForEver(ctx) })
	work.Wait()
	g.senders.Wait()
	final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := g.touchAgents(final); err != nil {
		g.logger.WarnContext(ctx, "note agents", "error", err)
	}
}

// Refresh brings what is remembered of the catalog and the modes up to date, and writes down what agents said of themselves.
func (g *Service) Refresh(ctx context.Context) error {
	err := errors.Join(g.directory.Refresh(ctx), g.touchAgents(ctx))
	if g.stats != nil {
		err = errors.Join(err, g.stats.refresh(ctx))
	}
	return err
}

// Forget forgets whose agents are whose, and their names.
func (g *Service) Forget(ctx context.Context) error {
	g.directory.Forget()
	if g.stats == nil {
		return nil
	}
	return g.stats.refresh(ctx)
}

// foldForEver folds at the start and every half hour.
func (g *Service) foldForEver(ctx context.Context) {
	for {
		wait := foldEvery
		begin := time.Now() // the real clock: how long folding takes is measured
		var report store.FoldReport
		err := background.Contain(func() (err error) {
			report, err = g.store.Fold(ctx)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		g.metrics.foldSeconds.Observe(time.Since(begin).Seconds())
		g.metrics.foldPages.Add(float64(report.Pages))
		g.metrics.foldRows.Add(float64(report.Rows))
		if err != nil {
			g.logger.ErrorContext(ctx, "fold usage rows into pages", "error", err)
		}
		if err != nil || report.Late > 0 {
			wait = foldAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// expireForEver deletes what is beyond retention, and whom something brought back who was erased, at the start and once a day.
func (g *Service) expireForEver(ctx context.Context) {
	horizon := func(retention time.Duration) time.Time {
		if retention == 0 {
			return time.Time{}
		}
		return g.clock().Add(-retention)
	}
	for {
		wait := expireEvery
		try, cancel := context.WithTimeout(ctx, passTimeout)
		var expired map[string]int64
		err := background.Contain(func() (err error) {
			if _, err := g.store.KeepErased(try); err != nil {
				return err
			}
			expired, err = g.store.Expire(try, store.Horizons{
				Usage: horizon(g.options.UsageRetention), Latency: horizon(g.options.LatencyRetention),
				Audit: horizon(g.options.AuditRetention),
			})
			return err
		})
		cancel()
		if ctx.Err() != nil {
			return
		}
		for kind, n := range expired {
			g.metrics.expired[kind].Add(float64(n))
		}
		if err != nil {
			g.logger.ErrorContext(ctx, "delete what is beyond retention", "error", err)
			wait = expireAgain
		} else {
			g.metrics.expireTime.Set(float64(g.clock().Unix()))
			if len(expired) > 0 {
				g.logger.InfoContext(ctx, "deleted what is beyond retention", "pages_and_rows", expired)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
