package background

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A panic becomes an error that says where; an error stays what it is.
func TestContain(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	if err := Contain(func() error { return failed }); !errors.Is(err, failed) || errors.Is(err, ErrPanicked) {
		t.Errorf("an error: %v", err)
	}
	if err := Contain(func() error { panic("at the disco") }); !errors.Is(err, ErrPanicked) ||
		!strings.Contains(err.Error(), "at the disco") || !strings.Contains(err.Error(), "background_test.go") {
		t.Errorf("a panic: %v", err)
	}
	if err := Contain(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// Work that fails every second is told of once a minute, with how often it failed, and when it succeeds again.
func TestOutcomesAreToldNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		turns, away := 0, errors.New("away")
		ended.Go(func() {
			Every(ctx, time.Second, time.Second, logger, "look", func(context.Context) error {
				turns++
				if turns == 1 || turns > 130 && turns != 140 {
					return nil
				}
				return away
			})
		})
		time.Sleep(150*time.Second + time.Millisecond)
		cancel()
		ended.Wait()
		want := `level=WARN msg="background work failed" doing=look times=1 error=away
level=WARN msg="background work failed" doing=look times=61 error=away
level=WARN msg="background work failed" doing=look times=121 error=away
level=INFO msg="background work succeeds again" doing=look failed=129
level=WARN msg="background work failed" doing=look times=1 error=away
level=INFO msg="background work succeeds again" doing=look failed=1
`
		if log.String() != want {
			t.Errorf("the log says\n%s, want\n%s", log.String(), want)
		}
	})
}
