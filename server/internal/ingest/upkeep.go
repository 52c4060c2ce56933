package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/store"
)

// How often the background work of ingest runs.
const (
	refreshEvery = time.Second / 2  // half of how long a directory counts, so that reports do not wait for it
	foldEvery    = 30 * time.Minute // at five past and at five past half
	foldSpread   = time.Minute      // within which servers fold, so that those of one database seldom meet
	foldAgain    = time.Minute      // after a fold that had to give way
	rewriteEvery = time.Second
	touchEvery   = 5 * time.Second
	treatEvery   = 5 * time.Second
	publishEvery = time.Minute
	promiseEvery = store.PromiseSilence / 4
	followEvery  = 5 * time.Second
	expireEvery  = 24 * time.Hour
	brakeEvery   = time.Hour // so that the clock is judged, and an announcement carried out in time

	passTimeout = 10 * time.Minute // of work that may go through the whole database
)

// Run does the background work of ingest until the context is done and the queue is committed.
func (g *Service) Run(ctx context.Context) {
	var work sync.WaitGroup
	for _, c := range g.committers {
		work.Go(func() { c.run(ctx) })
	}
	work.Go(func() {
		background.Every(ctx, refreshEvery, background.LookTimeout, g.logger, "refresh directory", g.directory.Refresh)
	})
	work.Go(func() {
		background.Every(ctx, treatEvery, passTimeout, g.logger, "treat what is stored by the privacy modes", g.store.Treat)
	})
	work.Go(func() {
		background.Every(ctx, touchEvery, background.LookTimeout, g.logger, "note agents", g.touchAgents)
	})
	work.Go(func() {
		background.Every(ctx, promiseEvery, background.LookTimeout, g.logger, "say what is promised", func(ctx context.Context) error {
			return g.store.RecordPromise(ctx, g.id, g.options.Promise)
		})
	})
	work.Go(func() {
		background.Every(ctx, publishEvery, passTimeout, g.logger, "publish days", g.publish)
	})
	work.Go(func() {
		background.Every(ctx, followEvery, background.LookTimeout, g.logger, "look which systems are followed", g.followed.look)
	})
	if g.stats != nil {
		work.Go(func() {
			background.Every(ctx, agentStatsEvery, background.LookTimeout, g.logger, "read names of agents", g.stats.refresh)
		})
	}
	work.Go(func() { g.foldForEver(ctx) })
	work.Go(func() { g.rewriteAll(ctx) })
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
	err := errors.Join(g.directory.Refresh(ctx), g.touchAgents(ctx), g.followed.look(ctx))
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

// untilFold is how long it takes until the rows of another half hour are old enough to be folded.
func untilFold(now time.Time) time.Duration {
	return now.Add(-store.FoldAge).Truncate(foldEvery).Add(foldEvery + store.FoldAge).Sub(now)
}

// foldForEver folds at the start and whenever another half hour is old enough.
func (g *Service) foldForEver(ctx context.Context) {
	told := background.NewOutcomes(g.logger, "fold usage rows into pages")
	for {
		begin := time.Now() // the real clock: how long folding takes is measured
		var report store.FoldReport
		err := background.Contain(func() (err error) {
			report, err = g.store.Fold(ctx)
			return err
		})
		told.Note(ctx, err)
		if ctx.Err() != nil {
			return
		}
		g.metrics.foldSeconds.Observe(time.Since(begin).Seconds())
		g.metrics.foldPages.Add(float64(report.Pages))
		g.metrics.foldRows.Add(float64(report.Rows))
		wait := untilFold(g.clock()) + rand.N(foldSpread)
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

// publish publishes the days that are due, one after the other; none while the clock is in doubt, because a day that is published too
// early stays so.
func (g *Service) publish(ctx context.Context) error {
	held, err := g.store.HeldDeletions(ctx)
	if err != nil || held.Doubted {
		return err
	}
	for {
		if published, err := g.store.Publish(ctx, g.options.Publication); err != nil || !published {
			return err
		}
	}
}

// rewriteAll rewrites the pages that a release of before left in its format, until there are none. It goes past those that cannot be
// read, and comes back to them much later.
func (g *Service) rewriteAll(ctx context.Context) {
	told := background.NewOutcomes(g.logger, "rewrite usage pages of the format of before")
	past := 0
	for {
		wait, left := rewriteEvery, int64(0)
		err := background.Contain(func() (err error) {
			var failed int
			failed, left, err = g.store.RewritePages(ctx, past)
			past += failed
			return err
		})
		told.Note(ctx, err)
		if ctx.Err() != nil {
			return
		}
		if err == nil || left > 0 {
			g.metrics.formerPages.Set(float64(left))
		}
		if err == nil && left == 0 {
			return
		}
		if err != nil {
			wait = foldAgain
		}
		if left > 0 && left <= int64(past) {
			past, wait = 0, foldEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// expireForEver deletes what is beyond retention once a day, at the start first, and whom something brought back who was erased. It looks
// every hour what may be deleted.
func (g *Service) expireForEver(ctx context.Context) {
	told := background.NewOutcomes(g.logger, "delete what is beyond retention")
	var deleted time.Time // when this server deleted last, by the real clock
	for {
		try, cancel := context.WithTimeout(ctx, passTimeout)
		err := background.Contain(func() error {
			brake, err := g.store.BrakeRetention(try, g.options.Promise.Retention)
			if err != nil {
				return err
			}
			g.tellBrake(ctx, brake)
			if _, err := g.store.KeepErased(try); err != nil {
				return err
			}
			if brake.Doubted || !brake.Due && time.Since(deleted) < expireEvery {
				return nil
			}
			if err := g.expire(try, brake); err != nil {
				return err
			}
			deleted = time.Now()
			return nil
		})
		cancel()
		told.Note(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(brakeEvery):
		}
	}
}

// tellBrake says in log and metrics what keeps this server from deleting.
func (g *Service) tellBrake(ctx context.Context, brake store.Brake) {
	g.metrics.clockDoubted.Set(0)
	if brake.Doubted {
		g.metrics.clockDoubted.Set(1)
		g.logger.WarnContext(ctx, "nothing is deleted: the clock jumped by more than a day, or that of the database is another one")
	}
	for _, kind := range store.BrakedKinds {
		g.metrics.announced[kind].Set(0)
	}
	for _, a := range brake.Announced {
		g.metrics.announced[a.Kind].Set(float64(a.Days) * 24 * 60 * 60)
		g.logger.WarnContext(ctx,
			"retention takes many of the stored days; raise it to keep them, or delete at once with --confirm-retention",
			"data", a.Kind, "retention", a.Keep, "days", a.Days, "of", a.Stored, "announced", a.At.Time, "due", a.Due())
	}
	for _, a := range brake.TakenBack {
		g.logger.InfoContext(ctx, "retention takes none of the days that were announced: its settings want less now",
			"data", a.Kind, "retention", a.Keep, "days", a.Days, "announced", a.At.Time)
	}
}

// expire deletes what the brake lets go.
func (g *Service) expire(ctx context.Context, brake store.Brake) error {
	expired, err := g.store.Expire(ctx, brake.Horizons)
	var all int64
	for kind, n := range expired {
		g.metrics.expired[kind].Add(float64(n))
		all += n
	}
	if err != nil {
		return err
	}
	g.metrics.expireTime.Set(float64(g.clock().Unix()))
	if all > 0 {
		g.logger.InfoContext(ctx, "deleted what is beyond retention", "pages_and_rows", expired)
	}
	return nil
}
