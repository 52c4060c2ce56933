package coder

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store"
)

// DefaultInterval is how often a deployment that is followed is looked at for usage.
const DefaultInterval = 30 * time.Second

// followTerm is how long one of the processes that want to follow a deployment may do so without saying it again. It does at a third of
// that, at which the others try to take its place.
const followTerm = 30 * time.Second

// errGaveWay means that another process follows now, or may.
var errGaveWay = errors.New("gave way to other processes")

// KeepFollowing follows the deployment of a database until the context is done, as [Importer.Follow] does. While the database does not
// answer, or has a schema that is not supported, it says so in the log and tries again.
func KeepFollowing(ctx context.Context, url string, to *store.Store, o Options) {
	o.failing(false)
	for {
		if err := follow(ctx, url, to, o); err != nil && ctx.Err() == nil {
			o.failing(true)
			o.Logger.ErrorContext(ctx, "cannot follow", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(followTerm):
		}
	}
}

func follow(ctx context.Context, url string, to *store.Store, o Options) error {
	from, err := Open(ctx, url)
	if err != nil {
		return err
	}
	defer from.Close()
	i, err := NewImporter(ctx, from, to, o)
	if err != nil {
		return err
	}
	return i.Follow(ctx)
}

// Follow runs and then keeps looking for what is new until the context is done. A database that does not answer is asked again. Of several
// processes one does that, and another one when it ends.
func (i *Importer) Follow(ctx context.Context) error {
	for waiting := false; ; {
		follows, err := i.to.Follow(ctx, i.source, i.follower, i.term)
		switch {
		case err != nil && ctx.Err() == nil:
			i.logger.WarnContext(ctx, "follow", "error", err)
		case follows:
			waiting = false
			err := i.followAlone(ctx)
			if ctx.Err() != nil || err != nil && !errors.Is(err, errGaveWay) {
				return err
			}
			i.logger.WarnContext(ctx, "follow", "error", err)
		case !waiting && err == nil:
			waiting = true
			i.failing(false)
			i.logger.InfoContext(ctx, "another process follows", "source", i.from.String())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(i.term / 3):
		}
	}
}

// followAlone follows until the context is done, or another process has taken over.
func (i *Importer) followAlone(ctx context.Context) error {
	if err := i.goOn(ctx); err != nil {
		return err
	}
	both, following := errgroup.WithContext(ctx)
	both.Go(contained(func() error { return i.stay(following) }))
	both.Go(contained(func() error {
		if err := i.Run(following); err != nil {
			return err
		}
		return i.keepUp(following)
	}))
	err := both.Wait()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	return errors.Join(err, i.to.EndFollowing(ending, i.source, i.follower, ctx.Err() != nil))
}

// contained makes an error of a panic: what one row of Coder does to it must not end a server.
func contained(work func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v: %s", p, debug.Stack())
			}
		}()
		return work()
	}
}

// stay says again and again that this process follows, until the context is done or another one has taken over: one that could not say so
// for its term does not know.
func (i *Importer) stay(ctx context.Context) error {
	until := time.Now().Add(i.term)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(i.term / 3):
		}
		begin := time.Now()
		asking, cancel := context.WithDeadline(ctx, until)
		follows, err := i.to.Follow(asking, i.source, i.follower, i.term)
		cancel()
		switch {
		case follows:
			until = begin.Add(i.term)
		case err == nil || !time.Now().Before(until):
			return errors.Join(errGaveWay, err)
		case ctx.Err() == nil:
			i.logger.WarnContext(ctx, "follow", "error", err)
		}
	}
}

// keepUp looks for what is new until the context is done: a look ends when the one before it began nine tenths of an interval ago, if it
// takes as long as that one did. The last tenth is for one that takes longer, so that nothing here is older than the interval. When looking
// has failed for so long that another process should try it gives way.
func (i *Importer) keepUp(ctx context.Context) error {
	i.failing(false)
	i.logger.InfoContext(ctx, "following", "source", i.from.String())
	var next time.Duration
	var thorough time.Time // when a look read all reports that may have come late
	succeeded, fails := time.Now(), false
	for catalogDue := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
		begin, read := time.Now(), i.from.reading
		w := window{from: since(i.until)}
		all := begin.Sub(thorough) >= overlap/2
		if !all {
			w.reports = i.until.Add(-lateReports)
		}
		err := i.usage(ctx, w, i.unlessRecent)
		if err == nil && all {
			thorough = begin
		}
		err = errors.Join(err, i.showAgents(ctx))
		if err == nil && catalogDue {
			err = i.catalog(ctx)
		}
		if err == nil {
			catalogDue = !catalogDue
		}
		switch {
		case err == nil:
			if fails {
				i.logger.InfoContext(ctx, "follows again", "source", i.from.String())
			}
			succeeded, fails = time.Now(), false
		case time.Since(succeeded) > i.interval+2*i.term:
			return errors.Join(errGaveWay, err)
		case ctx.Err() == nil:
			fails = true
			// Perhaps Coder was updated.
			i.logger.WarnContext(ctx, "follow", "error", errors.Join(err, i.from.read(ctx, i.from.checkSchema)))
		}
		next = max(i.interval*9/10-2*time.Since(begin), i.idle(begin, read))
	}
}

// lateReports is how far a look reads reports again that follows another one: Coder writes them together once a second. Some looks go back
// all of overlap for those that come later.
const lateReports = time.Minute

// idleShare is how much longer than it reads an import leaves the database of the deployment alone, whatever the size of that.
const idleShare = 3

// idle is how long to read nothing now, after a piece of work that began at some moment, when so much time had been spent on reading.
func (i *Importer) idle(begin time.Time, read time.Duration) time.Duration {
	return (1+idleShare)*(i.from.reading-read) - time.Since(begin)
}
