package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/template-insights/insights/store"
)

// How often the background work of ingest runs.
const (
	refreshEvery = time.Second
	foldEvery    = 30 * time.Minute
	foldAgain    = time.Minute // after a fold that had to give way
	touchEvery   = 5 * time.Second
	treatEvery   = 5 * time.Second
	expireEvery  = 24 * time.Hour
	expireAgain  = time.Hour // after a failure

	lookTimeout = 10 * time.Second // of work that looks at what is new
	passTimeout = 10 * time.Minute // of work that may go through the whole database
)

// run does the background work of ingest until the context is done and the queue is committed.
func (g *ingest) run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { g.committer.run(ctx) })
	work.Go(func() { every(ctx, refreshEvery, lookTimeout, g.logger, "refresh directory", g.directory.Refresh) })
	work.Go(func() {
		every(ctx, treatEvery, passTimeout, g.logger, "treat what is stored by the privacy modes", g.store.Treat)
	})
	work.Go(func() { every(ctx, touchEvery, lookTimeout, g.logger, "note agents", g.touchAgents) })
	if g.stats != nil {
		work.Go(func() { every(ctx, agentStatsEvery, lookTimeout, g.logger, "read names of agents", g.stats.refresh) })
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

// forget forgets whose agents are whose, and their names.
func (g *ingest) forget(ctx context.Context) error {
	g.directory.Forget()
	if g.stats == nil {
		return nil
	}
	return g.stats.refresh(ctx)
}

// errPanicked means that a piece of work ended in a panic.
var errPanicked = errors.New("panic")

// contain turns a panic of a piece of work into an error, with the stack: what works for everyone must outlive what one
// report, row or page does to it.
func contain(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v: %s", errPanicked, p, debug.Stack())
		}
	}()
	return work()
}

// every calls f again and again, each time for no longer than the timeout; what fails is logged and tried at the next turn.
func every(ctx context.Context, interval, timeout time.Duration, logger *slog.Logger, doing string, f func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		try, cancel := context.WithTimeout(ctx, timeout)
		if err := contain(func() error { return f(try) }); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "background work failed", "doing", doing, "error", err)
		}
		cancel()
	}
}

// keepFresh refreshes metrics of one kind at once and then again and again, until the context is done. When a refresh fails
// the values of the one before stay. A refresh that takes long is followed by a pause nine times as long, so that the
// database has other things to do, unless it is asked for at once.
func keepFresh(ctx context.Context, interval time.Duration, atOnce <-chan struct{}, logger *slog.Logger, of string, refresh func(context.Context) error) {
	for {
		begin := time.Now()
		if err := contain(func() error { return refresh(ctx) }); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "metrics keep their old values", "of", of, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-atOnce:
		case <-time.After(max(interval, 9*time.Since(begin))):
		}
	}
}

// nudge asks for something to be done at once, unless that was asked for already.
func nudge(atOnce chan<- struct{}) {
	select {
	case atOnce <- struct{}{}:
	default:
	}
}

// foldForEver folds at the start and every half hour.
func (g *ingest) foldForEver(ctx context.Context) {
	for {
		wait := foldEvery
		begin := time.Now()
		var report store.FoldReport
		err := contain(func() (err error) {
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
func (g *ingest) expireForEver(ctx context.Context) {
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
		err := contain(func() (err error) {
			if _, err := g.store.KeepErased(try); err != nil {
				return err
			}
			expired, err = g.store.Expire(try, store.Horizons{
				Usage: horizon(g.config.UsageRetention), Latency: horizon(g.config.LatencyRetention), Audit: horizon(g.config.AuditRetention),
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
