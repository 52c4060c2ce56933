package usage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/minute"
)

// Of many questions at the same time two look at once and the others share one more look, which begins after all of them came.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	primary, replica := new(gorm.DB), new(gorm.DB)
	same := lookAt{primary, usageColumn, "[1]"}
	for name, c := range map[string]struct {
		others []lookAt // that questions ask for while two looks at the first one are at work
		want   int32    // looks
	}{
		"none":                         {nil, 2},
		"one more":                     {[]lookAt{same}, 3},
		"many":                         {[]lookAt{same, same, same}, 3},
		"another part":                 {[]lookAt{same, {primary, latencyColumn, "[1]"}}, 4},
		"other half hours":             {[]lookAt{same, {primary, usageColumn, "[1 2]"}}, 4},
		"a replica waits for no other": {[]lookAt{{replica, usageColumn, "[1]"}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newLooks()
				var looks atomic.Int32
				begin := time.Now()
				ask := func(at lookAt) {
					_, err := s.share(t.Context(), at, func(context.Context) (map[Place][]minute.Row, error) {
						looks.Add(1)
						if at.from == replica && time.Since(begin) >= time.Hour {
							t.Error("the replica waited for the primary")
						}
						time.Sleep(time.Hour)
						return nil, nil
					})
					if err != nil {
						t.Error(err)
					}
				}
				for range maxLooking {
					go ask(same)
					synctest.Wait() // or the next would share this look
				}
				if got := looks.Load(); got != maxLooking {
					t.Errorf("%d looks are at work", got)
				}
				for _, other := range c.others {
					go ask(other)
				}
				synctest.Wait()
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if got := looks.Load(); got != c.want {
					t.Errorf("%d looks, want %d", got, c.want)
				}
				if len(s.next) > 0 {
					t.Errorf("%d looks are left", len(s.next))
				}
			})
		})
	}
}

// Each question finds what was there when it came, whoever looks for it.
func TestLooksAreNoOlderThanQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, at, template := newLooks(), lookAt{part: usageColumn}, uuid.New()
		var stored atomic.Int64 // what a look finds
		for range 20 {
			time.Sleep(7 * time.Millisecond)
			go func() {
				acknowledged := stored.Add(1)
				found, err := s.share(t.Context(), at, func(context.Context) (map[Place][]minute.Row, error) {
					seen := stored.Load()
					time.Sleep(50 * time.Millisecond)
					return map[Place][]minute.Row{{Template: template}: {{Subject: seen}}}, nil
				})
				if got := found[Place{Template: template}][0].Subject; err != nil || got < acknowledged {
					t.Errorf("question found %d, %v; %d were acknowledged before it", got, err, acknowledged)
				}
			}()
		}
		time.Sleep(time.Minute)
	})
}

// A question that is given up takes nobody with it, and one that fails tells all who share it.
func TestLooksThatFail(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		giveUp bool
		want   []error // of the question that looks and of the one that shares it
		looks  int32
	}{
		"given up": {true, []error{context.Canceled, nil}, 2},
		"broken":   {false, []error{broken, broken}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, at := newLooks(), lookAt{part: usageColumn}
				for range maxLooking { // so that the next two share a look
					s.of(at.from) <- struct{}{}
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				errs := make([]error, 2)
				var looks atomic.Int32
				for i, asking := range []context.Context{ctx, t.Context()} {
					go func() {
						_, errs[i] = s.share(asking, at, func(ctx context.Context) (map[Place][]minute.Row, error) {
							looks.Add(1)
							if c.giveUp {
								return nil, ctx.Err()
							}
							return nil, broken
						})
					}()
					synctest.Wait()
				}
				if c.giveUp {
					cancel()
					synctest.Wait()
				}
				<-s.of(at.from)
				synctest.Wait()
				if diff := cmp.Diff(c.want, errs, cmp.Comparer(errors.Is)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if got := looks.Load(); got != c.looks {
					t.Errorf("%d looks, want %d", got, c.looks)
				}
			})
		})
	}
}
