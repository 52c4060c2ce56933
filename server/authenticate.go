package server

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Within authenticationTTL a token that was revoked, and roles that were taken back, stop counting.
const (
	authenticationTTL  = 2 * time.Second
	maxAuthentications = 100_000
)

type callerKey struct{}

// principalOf is who makes a call. On a stream it may change, or lose rights, from message to message.
func principalOf(ctx context.Context) access.Principal {
	p, ok := ctx.Value(callerKey{}).(*atomic.Pointer[access.Principal])
	if !ok {
		return access.Principal{}
	}
	return *p.Load()
}

// authenticator finds out who calls. It remembers answers for a short time, and looks after the tokens of open streams.
type authenticator struct {
	store    *store.Store
	logger   *slog.Logger
	handlers sync.WaitGroup // of streams; those that were ended early take a moment to notice

	mu      sync.Mutex
	known   map[string]authentication // by token id
	streams map[*openStream]struct{}
}

// authentication is an answer of the store. The hash keeps a wrong secret from meeting the answer for the right one.
type authentication struct {
	hash      [32]byte
	principal access.Principal
	until     time.Time
}

// openStream is a call that outlives its authentication.
type openStream struct {
	token   access.Token
	caller  *atomic.Pointer[access.Principal]
	revoked chan error // receives why the stream must end
}

func newAuthenticator(s *store.Store, logger *slog.Logger) *authenticator {
	return &authenticator{store: s, logger: logger, known: map[string]authentication{}, streams: map[*openStream]struct{}{}}
}

// credentialHeaders are where a token may be, over gRPC and REST alike.
var credentialHeaders = []string{"authorization", "coder-session-token", "session-token"}

// credential reads the one token of a call.
func credential(ctx context.Context) (access.Token, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var found []string
	for _, header := range credentialHeaders {
		for _, value := range md.Get(header) {
			if header == "authorization" {
				scheme, token, ok := strings.Cut(value, " ")
				if !ok || !strings.EqualFold(scheme, "Bearer") {
					return access.Token{}, access.ErrMalformedToken
				}
				value = token
			}
			found = append(found, value)
		}
	}
	if len(found) != 1 {
		return access.Token{}, store.ErrUnauthenticated // none, or several that need not agree
	}
	return access.ParseToken(found[0])
}

// authenticate finds the principal behind a token, from memory if it was asked for a moment ago.
func (a *authenticator) authenticate(ctx context.Context, token access.Token) (access.Principal, error) {
	hash := [32]byte(token.Hash())
	a.mu.Lock()
	known, ok := a.known[token.ID()]
	a.mu.Unlock()
	if ok && known.hash == hash && time.Now().Before(known.until) {
		return known.principal, nil
	}
	p, err := a.store.Authenticate(ctx, token)
	if err != nil {
		return access.Principal{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxAuthentications {
		clear(a.known)
	}
	a.known[token.ID()] = authentication{hash, p, time.Now().Add(authenticationTTL)}
	return p, nil
}

// enter puts the caller into the context of a call.
func (a *authenticator) enter(ctx context.Context) (context.Context, *openStream, error) {
	token, err := credential(ctx)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.authenticate(ctx, token)
	if err != nil {
		return nil, nil, err
	}
	s := &openStream{token: token, caller: &atomic.Pointer[access.Principal]{}, revoked: make(chan error, 1)}
	s.caller.Store(&p)
	return context.WithValue(ctx, callerKey{}, s.caller), s, nil
}

func (a *authenticator) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if isPublic(info.FullMethod) {
		return handler(ctx, req)
	}
	ctx, _, err := a.enter(ctx)
	if err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// stream runs the handler beside a watch over its token: a stream that says nothing ends all the same when its token is
// revoked. The handler notices by its context, which ends with the call.
func (a *authenticator) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if isPublic(info.FullMethod) {
		return handler(srv, stream)
	}
	ctx, open, err := a.enter(stream.Context())
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.streams[open] = struct{}{}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.streams, open)
	}()
	ended := make(chan error, 1)
	a.handlers.Go(func() {
		// A panic here would not meet the interceptor that surrounds this one.
		ended <- recoverStream(a.logger)(srv, &streamWithContext{stream, ctx}, info, handler)
	})
	select {
	case err := <-ended:
		return err
	case err := <-open.revoked:
		return err
	}
}

// streamWithContext is a stream whose context says more.
type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // that is what it is for
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

// watch checks the tokens of open streams again and again until the context is done.
func (a *authenticator) watch(ctx context.Context) {
	ticker := time.NewTicker(authenticationTTL)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.forget()
			a.checkStreams(ctx)
		}
	}
}

// forget drops answers that are too old to count.
func (a *authenticator) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for id, known := range a.known {
		if now.After(known.until) {
			delete(a.known, id)
		}
	}
}

// checkStreams ends the streams whose tokens no longer count. Agents are many and their rights never change, so they are
// asked about together; others are few and may have got other roles.
func (a *authenticator) checkStreams(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var agents []string
	a.mu.Lock()
	open := make([]*openStream, 0, len(a.streams))
	for s := range a.streams {
		open = append(open, s)
		if s.caller.Load().Kind == access.KindAgent {
			agents = append(agents, s.token.ID())
		}
	}
	a.mu.Unlock()
	valid, err := a.store.ValidAgentTokens(ctx, agents)
	if err != nil {
		// Streams stay: a database that does not answer says nothing about tokens.
		a.logger.WarnContext(ctx, "check tokens of streams", "error", err)
		return
	}
	for _, s := range open {
		if s.caller.Load().Kind == access.KindAgent {
			if !valid[s.token.ID()] {
				s.end(store.ErrUnauthenticated)
			}
			continue
		}
		p, err := a.authenticate(ctx, s.token)
		switch {
		case errors.Is(err, store.ErrUnauthenticated):
			s.end(err)
		case err == nil:
			s.caller.Store(&p)
		}
	}
}

func (s *openStream) end(why error) {
	select {
	case s.revoked <- why:
	default: // told already
	}
}
