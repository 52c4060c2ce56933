// Package background runs work that no call waits for: again and again, with a deadline, and so that a panic ends one piece
// of it only. It knows nothing of what the work is.
package background

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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

// Every calls f again and again, each time for no longer than the timeout; what fails is logged and tried at the next turn.
func Every(ctx context.Context, interval, timeout time.Duration, logger *slog.Logger, doing string, f func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		try, cancel := context.WithTimeout(ctx, timeout)
		if err := Contain(func() error { return f(try) }); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "background work failed", "doing", doing, "error", err)
		}
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
	for {
		begin := time.Now() // the real clock: how long refreshing takes is measured
		if err := Contain(func() error { return refresh(ctx) }); err != nil && ctx.Err() == nil {
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

// Nudge asks for something to be done at once, unless that was asked for already.
func Nudge(atOnce chan<- struct{}) {
	select {
	case atOnce <- struct{}{}:
	default:
	}
}
