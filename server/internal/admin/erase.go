package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"

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

// Erasures makes the memory of a server follow the database when users are erased, by whichever server.
type Erasures struct {
	store  *store.Store
	logger *slog.Logger
	forget []func(context.Context) error // what is remembered of users

	mu   sync.Mutex
	seen int64 // tombstones
}

// NewErasures lets the memory of a server follow the database. forget are what forgets what is remembered of users.
func NewErasures(s *store.Store, logger *slog.Logger, forget ...func(context.Context) error) *Erasures {
	return &Erasures{store: s, logger: logger, forget: forget}
}

// follow forgets what is remembered of users if any was erased since the last time.
func (e *Erasures) follow(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.store.Tombstones(ctx)
	if err != nil || n == e.seen {
		return err
	}
	if err := e.store.SyncTombstones(ctx); err != nil {
		return err
	}
	if err := e.forgetAll(ctx); err != nil {
		return err
	}
	e.seen = n
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
	background.Every(ctx, erasuresEvery, background.LookTimeout, e.logger, "follow erasures", e.follow)
}
