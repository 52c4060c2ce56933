package admin

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

const (
	// EraseTimeout is how long erasing a user may take: a SQLite file is written anew.
	EraseTimeout = 10 * time.Minute
	// erasuresEvery is how often a server looks whether another one erased somebody.
	erasuresEvery = time.Second
	// readyEvery is how often a server looks whether it could erase somebody.
	readyEvery = time.Minute
)

// EraseUser implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) EraseUser(ctx context.Context, req *insightsv1.EraseUserRequest) (*insightsv1.EraseUserResponse, error) {
	user, err := call.ParseID(req.GetUserId())
	if err != nil {
		return nil, call.Invalid(call.MessageInvalidValue, call.FieldError{Field: "user_id", Detail: err.Error()})
	}
	// A caller who leaves does not leave it half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), EraseTimeout)
	defer cancel()
	if err := p.store.EraseUser(ctx, user); err != nil {
		return nil, err
	}
	return &insightsv1.EraseUserResponse{}, p.erasures.follow(ctx)
}

// Erasures makes the memory and the list of a server follow the database when users are erased or a privacy mode changes, by whichever
// server.
type Erasures struct {
	store  *store.Store
	logger *slog.Logger
	forget []func(context.Context) error // what is remembered of users
	ready  prometheus.Gauge

	mu    sync.Mutex
	seen  int64 // tombstones
	modes store.PrivacyModes
}

// NewErasures lets the memory of a server follow the database. forget are what forgets what is remembered of users.
func NewErasures(
	s *store.Store, logger *slog.Logger, registry prometheus.Registerer, forget ...func(context.Context) error,
) *Erasures {
	return &Erasures{store: s, logger: logger, forget: forget, ready: promauto.With(registry).NewGauge(prometheus.GaugeOpts{
		Name: "insights_erasure_ready",
		Help: "1 if this server can erase users, 0 if it has no privacy key or cannot write the list of the erased (--erased-list).",
	})}
}

// Begin erases again whom a backup brought back, and says whether this server can erase somebody, before anybody asks it to.
func (e *Erasures) Begin(ctx context.Context) error {
	n, err := e.store.KeepErased(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		e.logger.WarnContext(ctx, "erased users were back, and are erased again", "users", n)
	}
	if err := e.store.CanErase(); err != nil {
		e.logger.WarnContext(ctx, "this server can erase nobody: give it --privacy-key-file, and with --erased-list a file that it may "+
			"write and that outlives server and database", "error", err)
	} else {
		e.ready.Set(1)
	}
	return nil
}

// Refresh looks whether this server can erase somebody now. A list that missed somebody while it could not be written, or that was lost,
// is made complete.
func (e *Erasures) Refresh(ctx context.Context) error {
	err := e.store.CanErase()
	if err == nil {
		err = e.store.SyncTombstones(ctx)
	}
	if errors.Is(err, store.ErrNoPrivacyKey) || errors.Is(err, store.ErrNotListed) {
		e.ready.Set(0)
		return nil // the gauge says it, and the server said it at its start
	}
	if err == nil {
		e.ready.Set(1)
	}
	return err
}

// follow forgets what is remembered of users if any was erased since the last time, and adds them to the list of this server. It forgets
// as well if a privacy mode was set: what metrics remember may tell more than it allows.
func (e *Erasures) follow(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.store.Tombstones(ctx)
	if err != nil {
		return err
	}
	modes, err := e.store.PrivacyModes(ctx)
	if err != nil || n == e.seen && modes.Equal(e.modes) {
		return err
	}
	if n != e.seen {
		// A server that cannot write its list forgets them all the same.
		if err := e.store.SyncTombstones(ctx); err != nil && !errors.Is(err, store.ErrNotListed) {
			return err
		}
	}
	if err := e.forgetAll(ctx); err != nil {
		return err
	}
	e.seen, e.modes = n, modes
	return nil
}

// forgetAll forgets what is remembered of users.
func (e *Erasures) forgetAll(ctx context.Context) error {
	for _, forget := range e.forget {
		if err := forget(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run follows again and again, until the context is done.
func (e *Erasures) Run(ctx context.Context) {
	var looking sync.WaitGroup
	defer looking.Wait()
	looking.Go(func() {
		background.Every(ctx, readyEvery, background.LookTimeout, e.logger, "look whether users can be erased", e.Refresh)
	})
	background.Every(ctx, erasuresEvery, background.LookTimeout, e.logger, "follow erasures", e.follow)
}
