package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

const (
	// eraseTimeout is how long erasing a user may take: a SQLite file is written anew.
	eraseTimeout = 10 * time.Minute
	// erasuresEvery is how often a server looks whether another one erased somebody.
	erasuresEvery = time.Second
)

// EraseUser implements [insightsv1.PrivacyServiceServer].
func (p *privacyService) EraseUser(ctx context.Context, req *insightsv1.EraseUserRequest) (*insightsv1.EraseUserResponse, error) {
	user, err := parseID(req.GetUserId())
	if err != nil {
		return nil, invalid(messageInvalidValue, fieldError{"user_id", err.Error()})
	}
	// A caller who leaves does not leave it half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eraseTimeout)
	defer cancel()
	if err := p.store.EraseUser(ctx, user); err != nil {
		return nil, err
	}
	return &insightsv1.EraseUserResponse{}, p.erasures.follow(ctx)
}

// erasures makes the memory of a server follow the database when users are erased, by whichever server.
type erasures struct {
	store  *store.Store
	logger *slog.Logger
	forget []func(context.Context) error // what is remembered of users

	mu   sync.Mutex
	seen int64 // tombstones
}

func newErasures(s *store.Store, logger *slog.Logger, forget ...func(context.Context) error) *erasures {
	return &erasures{store: s, logger: logger, forget: forget}
}

// follow forgets what is remembered of users if any was erased since the last time.
func (e *erasures) follow(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.store.Tombstones(ctx)
	if err != nil || n == e.seen {
		return err
	}
	if err := e.store.SyncTombstones(ctx); err != nil {
		return err
	}
	for _, forget := range e.forget {
		if err := forget(ctx); err != nil {
			return err
		}
	}
	e.seen = n
	return nil
}

// run follows again and again, until the context is done.
func (e *erasures) run(ctx context.Context) {
	every(ctx, erasuresEvery, lookTimeout, e.logger, "follow erasures", e.follow)
}
