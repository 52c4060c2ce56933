package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/store"
)

// Bounds of the group commit.
const (
	commitRows    = 1000                  // rows that start a commit at once
	commitWait    = 20 * time.Millisecond // how long the first row waits for company
	commitRoom    = 64 << 10              // rows of all entries that are not settled; then senders wait
	commitWorkers = 2                     // commits at a time: one computes while the other waits for the disk
	commitTimeout = 30 * time.Second      // of one try
)

// entry is what one report adds to the present.
type entry struct {
	rows []store.OpenRow
	// settle is called once, when the rows are durable (nil) or will never be (an error). It must not block.
	settle func(error)
}

var errStopped = errors.New("server is stopping")

// committer merges the rows of many senders with few commits, of the templates of one node: where another one is away, its reports wait by
// themselves. Nothing is settled before the commit that holds it returned.
type committer struct {
	store   *store.Store
	told    *background.Outcomes
	metrics *metrics
	queue   chan entry
	room    *semaphore.Weighted
	stopped chan struct{}
	health  *commitHealth
}

// commitHealth is how commits went last, on any node.
type commitHealth struct {
	mu      sync.Mutex
	last    time.Time // when one succeeded; zero: none has
	failing time.Time // since when none has succeeded of those that were tried; zero: the last one did
}

// note writes down how a commit went.
func (h *commitHealth) note(now time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case ok:
		h.last, h.failing = now, time.Time{}
	case h.failing.IsZero():
		h.failing = now
	}
}

// CommitHealth tells when the last commit of reports succeeded, and since when all that were tried have failed. Zero: none has succeeded,
// and none has failed since. Both are of the real clock.
func (s *Service) CommitHealth() (last, failing time.Time) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.last, s.health.failing
}

func newCommitter(s *store.Store, logger *slog.Logger, m *metrics, h *commitHealth) *committer {
	return &committer{
		store: s, told: background.NewOutcomes(logger, "commit usage rows"), metrics: m, queue: make(chan entry, commitRoom),
		room: semaphore.NewWeighted(commitRoom), stopped: make(chan struct{}), health: h,
	}
}

// submit hands an entry, whose rows are of one template, to the committer of its node.
func (s *Service) submit(ctx context.Context, e entry) error {
	return s.committers[s.store.NodeOf(ctx, e.rows[0].Template)].submit(ctx, e)
}

// queued is how many entries wait for a commit.
func (s *Service) queued() (n int) {
	for _, c := range s.committers {
		n += len(c.queue)
	}
	return n
}

// submit hands an entry over that has a row at least, waiting while there is no room. An error means that it was not taken and
// settle will not be called.
func (c *committer) submit(ctx context.Context, e entry) error {
	size := int64(min(len(e.rows), commitRoom))
	if err := c.room.Acquire(ctx, size); err != nil {
		return err
	}
	select {
	case <-c.stopped:
		c.room.Release(size)
		return errStopped
	default:
	}
	settle := e.settle
	e.settle = func(err error) {
		c.room.Release(size)
		settle(err)
	}
	c.queue <- e // does not wait: it holds an entry for every row that there is room for
	return nil
}

// run commits until the context is done, and then what is still queued.
func (c *committer) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range commitWorkers {
		workers.Go(func() {
			for {
				batch := c.collect(ctx)
				if len(batch) == 0 {
					return
				}
				c.commit(ctx, batch)
			}
		})
	}
	workers.Wait()
	close(c.stopped)
	// Who submitted in the last moment is told so.
	for {
		select {
		case e := <-c.queue:
			e.settle(errStopped)
		default:
			return
		}
	}
}

// collect waits for entries: until there are enough rows for a commit, or the first one has waited long enough. When the
// context is done it takes what is there.
func (c *committer) collect(ctx context.Context) []entry {
	var batch []entry
	select {
	case e := <-c.queue:
		batch = append(batch, e)
	case <-ctx.Done():
		select {
		case e := <-c.queue:
			batch = append(batch, e)
		default:
			return nil
		}
	}
	timer := time.NewTimer(commitWait)
	defer timer.Stop()
	rows := len(batch[0].rows)
	for rows < commitRows {
		select {
		case e := <-c.queue:
			batch = append(batch, e)
			rows += len(e.rows)
			continue
		default:
		}
		select {
		case e := <-c.queue:
			batch = append(batch, e)
			rows += len(e.rows)
		case <-timer.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// commit makes a batch durable, however long the database needs, and settles its entries. A batch that the database
// refuses is halved until the entry at fault stands alone, so that it does not fail its neighbours.
func (c *committer) commit(ctx context.Context, batch []entry) {
	var rows []store.OpenRow
	for _, e := range batch {
		rows = append(rows, e.rows...)
	}
	err := c.merge(ctx, rows)
	if isFault(err) && len(batch) > 1 {
		half := len(batch) / 2
		c.commit(ctx, batch[:half])
		c.commit(ctx, batch[half:])
		return
	}
	if err == nil {
		c.metrics.rows.Add(float64(len(rows)))
	}
	for _, e := range batch {
		e.settle(err)
	}
}

// isFault reports whether the rows are at fault for an error, so that trying them again is useless.
func isFault(err error) bool {
	return errors.Is(err, store.ErrRefused) || errors.Is(err, background.ErrPanicked)
}

// merge tries until the rows are durable, turn out to be at fault, or the server stops.
func (c *committer) merge(ctx context.Context, rows []store.OpenRow) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		begin := time.Now() // the real clock: how long commits take is measured
		err := c.mergeOnce(ctx, rows)
		c.metrics.commitSeconds.Observe(time.Since(begin).Seconds())
		if err == nil || isFault(err) {
			c.told.Note(ctx, nil)
			c.health.note(time.Now(), true) // the database decided about the rows
			return err
		}
		c.health.note(time.Now(), false)
		c.metrics.commitFailures.Inc()
		c.told.Note(context.WithoutCancel(ctx), err) // when the server stops as well
		select {
		case <-ctx.Done():
			return errors.Join(errStopped, err)
		case <-time.After(wait):
		}
	}
}

// mergeOnce is one try with its own deadline. A stop of the server does not interrupt it: what is queued is still worth
// a try.
func (c *committer) mergeOnce(ctx context.Context, rows []store.OpenRow) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	return background.Contain(func() error { return c.store.Merge(ctx, rows) })
}
