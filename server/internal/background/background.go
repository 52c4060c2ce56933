// Package background runs work that no call waits for: again and again, with a deadline, and so that a panic ends one piece
// of it only. It knows nothing of what the work is.
package background

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// LookTimeout is how long work takes at most that looks at what is new.
const LookTimeout = 10 * time.Second

// ErrPanicked means that a piece of work ended in a panic.
var ErrPanicked = errors.New("panic")

// Contain turns a panic of a piece of work into an error, with the stack: what works for everyone must outlive what one
// report, row or page does to it.
func Contain(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v: %s", ErrPanicked, p, debug.Stack())
		}
	}()
	return work()
}

// sayEvery is how often the log says of work that fails again and again that it does.
const sayEvery = time.Minute

// Outcomes tells the log of work that is done again and again when it begins to fail, that it still does, and when it succeeds again.
// Several goroutines may do the work.
type Outcomes struct {
	logger *slog.Logger
	doing  string

	mu     sync.Mutex
	failed int       // times since it succeeded last
	said   time.Time // when the log said that
}

// NewOutcomes begins with work that has not failed.
func NewOutcomes(logger *slog.Logger, doing string) *Outcomes {
	return &Outcomes{logger: logger, doing: doing}
}

// Note takes what became of the work once. Work whose context is done was ended: it says nothing.
func (o *Outcomes) Note(ctx context.Context, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case ctx.Err() != nil: // it was ended
	case err != nil:
		o.failed++
		if o.failed == 1 || time.Since(o.said) >= sayEvery { // the real clock: it is about how much is logged
			o.said = time.Now()
			o.logger.WarnContext(ctx, "background work failed", "doing", o.doing, "times", o.failed, "error", err)
		}
	case o.failed > 0:
		o.logger.InfoContext(ctx, "background work succeeds again", "doing", o.doing, "failed", o.failed)
		o.failed = 0
	}
}

// Every calls f again and again, each time for no longer than the timeout; what fails is tried at the next turn, and logged at times.
func Every(ctx context.Context, interval, timeout time.Duration, logger *slog.Logger, doing string, f func(context.Context) error) {
	told := NewOutcomes(logger, doing)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		try, cancel := context.WithTimeout(ctx, timeout)
		told.Note(ctx, Contain(func() error { return f(try) }))
		cancel()
	}
}

// KeepFresh refreshes metrics of one kind at once and then again and again, until the context is done. When a refresh fails
// the values of the one before stay. A refresh that takes long is followed by a pause nine times as long, so that the
// database has other things to do, unless it is asked for at once.
func KeepFresh(
	ctx context.Context, interval time.Duration, atOnce <-chan struct{}, logger *slog.Logger, of string,
	refresh func(context.Context) error,
) {
	told := NewOutcomes(logger, "refresh metrics of "+of)
	for {
		begin := time.Now() // the real clock: how long refreshing takes is measured
		told.Note(ctx, Contain(func() error { return refresh(ctx) }))
		select {
		case <-ctx.Done():
			return
		case <-atOnce:
		case <-time.After(max(interval, 9*time.Since(begin))):
		}
	}
}

// Nudge asks for something to be done at once, unless that was asked for already.
func Nudge(atOnce chan<- struct{}) {
	select {
	case atOnce <- struct{}{}:
	default:
	}
}
