package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Within authenticationTTL a token that was revoked, and roles that were taken back, stop counting.
const (
	authenticationTTL  = 2 * time.Second
	maxAuthentications = 100_000

	noteUseEvery = time.Minute // that tokens are noted as used
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
	issuer   *tokenVerifier    // nil: its tokens do not count
	coder    *coderSessions    // nil: its tokens do not count
	failures *limiters[string] // by the network of the caller
	handlers sync.WaitGroup    // of streams; those that were ended early take a moment to notice

	mu      sync.Mutex
	known   map[[32]byte]authentication // by the hash of the credential
	used    map[string]struct{}         // ids of tokens whose use is not noted yet
	streams map[*openStream]struct{}
}

// authentication is an answer of the store.
type authentication struct {
	principal access.Principal
	until     time.Time
}

// credential is what a call shows: an own token, one of the issuer, or that of a session of Coder.
type credential struct {
	token   access.Token
	jwt     secretText
	session secretText
}

// secretText is a text that is never printed.
type secretText string

// String hides it from logs.
func (secretText) String() string { return "(secret)" }

// GoString hides it from %#v.
func (s secretText) GoString() string { return s.String() }

func (c credential) hash() [32]byte {
	if foreign := cmp.Or(c.jwt, c.session); foreign != "" {
		return sha256.Sum256([]byte(foreign))
	}
	return [32]byte(c.token.Hash())
}

// openStream is a call that outlives its authentication.
type openStream struct {
	credential credential
	caller     *atomic.Pointer[access.Principal]
	revoked    chan error // receives why the stream must end
}

func newAuthenticator(c Config) *authenticator {
	a := &authenticator{
		store: c.Store, logger: c.Logger, failures: newLimiters[string](c.RateLimit),
		known: map[[32]byte]authentication{}, used: map[string]struct{}{}, streams: map[*openStream]struct{}{},
	}
	if c.OIDC != nil {
		a.issuer = newTokenVerifier(*c.OIDC, c.Clock)
	}
	if c.CoderURL != "" {
		a.coder = newCoderSessions(c.CoderURL, c.Clock)
	}
	return a
}

// credentialHeaders are where a token may be, over gRPC and REST alike.
var credentialHeaders = []string{"authorization", "coder-session-token", "session-token"}

// credentialOf reads the one token of a call.
func (a *authenticator) credentialOf(ctx context.Context) (credential, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var found []string
	for _, header := range credentialHeaders {
		for _, value := range md.Get(header) {
			if header == "authorization" {
				scheme, token, ok := strings.Cut(value, " ")
				if !ok || !strings.EqualFold(scheme, "Bearer") {
					return credential{}, access.ErrMalformedToken
				}
				value = token
			}
			found = append(found, value)
		}
	}
	if len(found) != 1 {
		return credential{}, store.ErrUnauthenticated // none, or several that need not agree
	}
	if a.issuer != nil && isJWT(found[0]) {
		return credential{jwt: secretText(found[0])}, nil
	}
	if a.coder != nil && isCoderSession(found[0]) {
		return credential{session: secretText(found[0])}, nil
	}
	token, err := access.ParseToken(found[0])
	return credential{token: token}, err
}

// authenticate finds the principal behind a credential, from memory if it was asked for a moment ago.
func (a *authenticator) authenticate(ctx context.Context, c credential) (access.Principal, error) {
	hash := c.hash()
	a.mu.Lock()
	known, ok := a.known[hash]
	a.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.principal, nil
	}
	p, err := a.ask(ctx, c)
	if err != nil || p.Once {
		return p, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxAuthentications {
		clear(a.known)
	}
	a.known[hash] = authentication{p, time.Now().Add(authenticationTTL)}
	if p.Token != "" {
		a.used[p.Token] = struct{}{}
	}
	return p, nil
}

// ask finds the principal behind a credential.
func (a *authenticator) ask(ctx context.Context, c credential) (access.Principal, error) {
	var user uuid.UUID
	var until time.Time
	var err error
	switch {
	case c.jwt != "":
		user, until, err = a.issuer.verify(ctx, string(c.jwt))
	case c.session != "":
		user, until, err = a.coder.verify(ctx, c)
	default:
		return a.store.Authenticate(ctx, c.token)
	}
	if err != nil {
		return access.Principal{}, err
	}
	p, err := a.store.User(ctx, user)
	p.Until = until
	return p, err
}

// enter puts the caller into the context of a call. Who fails too often learns no longer why, but what is valid is let in
// wherever it comes from: many agents may share the address of one that fails.
func (a *authenticator) enter(ctx context.Context) (context.Context, *openStream, error) {
	shown, p, err := a.identify(ctx)
	if errors.Is(err, store.ErrUnauthenticated) || errors.Is(err, access.ErrMalformedToken) {
		if wait := a.failures.take(networkOf(callerAddress(ctx))); wait > 0 {
			return nil, nil, tooMany(wait)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	s := &openStream{credential: shown, caller: &atomic.Pointer[access.Principal]{}, revoked: make(chan error, 1)}
	s.caller.Store(&p)
	return context.WithValue(ctx, callerKey{}, s.caller), s, nil
}

// identify finds the principal of a call by all that the call shows.
func (a *authenticator) identify(ctx context.Context) (credential, access.Principal, error) {
	shown, err := a.credentialOf(ctx)
	if err != nil {
		return shown, access.Principal{}, err
	}
	p, err := a.authenticate(ctx, shown)
	if err != nil {
		return shown, p, err
	}
	return shown, p, checkCertificate(ctx, p)
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
	ticker, note := time.NewTicker(authenticationTTL), time.NewTicker(noteUseEvery)
	defer ticker.Stop()
	defer note.Stop()
	for {
		select {
		case <-ctx.Done():
			a.noteUse(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
			a.forget()
			a.checkStreams(ctx)
		case <-note.C:
			a.noteUse(ctx)
		}
	}
}

// noteUse writes down which tokens were used, all at once: a thousand agents that come back together do not make a thousand
// transactions, and whoever has a valid token gets in while nothing can be written.
func (a *authenticator) noteUse(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	a.mu.Lock()
	ids := slices.Collect(maps.Keys(a.used))
	clear(a.used)
	a.mu.Unlock()
	if err := a.store.TouchTokens(ctx, ids); err != nil {
		a.logger.WarnContext(ctx, "note use of tokens", "error", err)
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
			agents = append(agents, s.credential.token.ID())
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
			if !valid[s.credential.token.ID()] {
				s.end(store.ErrUnauthenticated)
			}
			continue
		}
		p, err := a.authenticate(ctx, s.credential)
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
