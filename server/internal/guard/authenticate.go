package guard

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
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Within authenticationTTL a token that was revoked on another server, and roles that were taken back there, stop counting. The real
// clock measures that: a given one may stand still, and a revocation has to be obeyed all the same.
const (
	authenticationTTL  = 2 * time.Second
	maxAuthentications = 100_000

	noteUseEvery = time.Minute // that tokens are noted as used
)

// authenticator finds out who calls. It remembers answers for a short time, until this server changes tokens or roles, and looks after the
// tokens of open streams.
type authenticator struct {
	store    *store.Store
	logger   *slog.Logger
	issuer   *TokenVerifier    // nil: its tokens do not count
	coder    *coderSessions    // nil: its tokens do not count
	failures *limiters[string] // by the network of the caller
	handlers sync.WaitGroup    // of streams; those that were ended early take a moment to notice

	known *lru.Cache[[32]byte, authentication] // by the hash of the credential

	mu      sync.Mutex
	used    map[string]struct{} // ids of tokens whose use is not noted yet
	streams map[*openStream]struct{}
}

// authentication is an answer of the store.
type authentication struct {
	principal access.Principal
	key       *coderKey // nil: it was another credential
	until     time.Time
	changes   int64 // of access, on this server, before the store was asked
}

// credential is what a call shows: an own token, one of the issuer, or a session key of Coder.
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

// Who issued a credential.
func (c credential) byIssuer() bool { return c.jwt != "" }

func (c credential) byCoder() bool { return c.session != "" }

func (c credential) byUs() bool { return !c.byIssuer() && !c.byCoder() }

func (c credential) hash() [32]byte {
	if foreign := cmp.Or(c.jwt, c.session); foreign != "" {
		return sha256.Sum256([]byte(foreign))
	}
	return [32]byte(c.token.Hash())
}

// openStream is a call that outlives its authentication.
type openStream struct {
	credential credential
	identity   *call.Identity
	revoked    chan error // receives why the stream must end

	mu      sync.Mutex
	changes int64 // of access, on this server, that the identity knows
}

// knows reports whether the identity has the rights of now, as far as this server changed them.
func (s *openStream) knows(changes int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes == changes
}

// take gives the identity the rights that an answer tells of, unless it has those of a later one.
func (s *openStream) take(found authentication) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found.changes >= s.changes {
		s.changes = found.changes
		s.identity.SetPrincipal(found.principal)
	}
}

func newAuthenticator(c Options) *authenticator {
	a := &authenticator{
		store: c.Store, logger: c.Logger, failures: newLimiters[string](c.RateLimit),
		known: newLRU[[32]byte, authentication](maxAuthentications), used: map[string]struct{}{}, streams: map[*openStream]struct{}{},
	}
	if c.OIDC != nil {
		a.issuer = newTokenVerifier(*c.OIDC, c.Clock)
	}
	if c.CoderURL != "" {
		a.coder = newCoderSessions(c.CoderURL, c.Clock)
	}
	return a
}

// CredentialHeaders are where a token may be, over gRPC and REST alike.
var CredentialHeaders = []string{"authorization", "coder-session-token", "session-token"}

// credentialOf reads the one token of a call.
func (a *authenticator) credentialOf(ctx context.Context) (credential, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var found []string
	for _, header := range CredentialHeaders {
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

// authenticate finds the principal behind a credential, from memory if that counts until some time.
func (a *authenticator) authenticate(ctx context.Context, c credential, until time.Time) (authentication, error) {
	hash := c.hash()
	known, ok := a.known.Get(hash)
	if ok && until.Before(known.until) && known.changes == a.store.AccessChanges() {
		return known, nil
	}
	found, err := a.ask(ctx, c, hash, until)
	if err != nil || found.principal.Once {
		return found, err
	}
	a.known.Add(hash, found)
	if found.principal.Token != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.used[found.principal.Token] = struct{}{}
	}
	return found, nil
}

// ask finds the principal behind a credential, and how long that counts at most.
func (a *authenticator) ask(ctx context.Context, c credential, hash [32]byte, until time.Time) (found authentication, err error) {
	found.until, found.changes = time.Now().Add(authenticationTTL), a.store.AccessChanges()
	switch {
	case c.jwt != "":
		user, end, err := a.issuer.verify(ctx, string(c.jwt))
		if err != nil {
			return found, err
		}
		found.principal, err = a.store.User(ctx, user)
		found.principal.Until = end
		return found, err
	case c.session != "":
		user, left, err := a.coder.verify(ctx, c.session, hash, until)
		if err != nil {
			return found, err
		}
		if end := time.Now().Add(left); end.Before(found.until) {
			found.until = end
		}
		found.key = &coderKey{a.coder, c.session, hash, user}
		found.principal, err = a.store.User(ctx, user)
		found.principal.Until = a.coder.clock().Add(left)
		return found, err
	default:
		found.principal, err = a.store.Authenticate(ctx, c.token)
		return found, err
	}
}

// enter puts the caller into the context of a call. Who fails too often learns no longer why, but what is valid is let in
// wherever it comes from: many agents may share the address of one that fails.
func (a *authenticator) enter(ctx context.Context) (context.Context, *openStream, error) {
	shown, found, err := a.identify(ctx)
	if errors.Is(err, store.ErrUnauthenticated) || errors.Is(err, access.ErrMalformedToken) {
		if wait := a.failures.take(networkOf(call.CallerAddress(ctx))); wait > 0 {
			return nil, nil, call.TooMany(wait)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	ctx, identity := call.WithIdentity(ctx, found.principal, found.key.limits())
	return ctx, &openStream{credential: shown, identity: identity, changes: found.changes, revoked: make(chan error, 1)}, nil
}

// identify finds the principal of a call by all that the call shows.
func (a *authenticator) identify(ctx context.Context) (credential, authentication, error) {
	shown, err := a.credentialOf(ctx)
	if err != nil {
		return shown, authentication{}, err
	}
	found, err := a.authenticate(ctx, shown, time.Now())
	if err != nil {
		return shown, found, err
	}
	return shown, found, checkCertificate(ctx, found.principal)
}

func (a *authenticator) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if IsPublic(info.FullMethod) {
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
	if IsPublic(info.FullMethod) {
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
		ended <- recoverStream(a.logger)(srv, &authenticatedStream{stream, ctx, a, open}, info, handler)
	})
	select {
	case err := <-ended:
		return err
	case err := <-open.revoked:
		return err
	}
}

// authenticatedStream is a stream whose context says who calls.
type authenticatedStream struct {
	grpc.ServerStream
	ctx           context.Context //nolint:containedctx // that is what it is for
	authenticator *authenticator
	open          *openStream
}

func (s *authenticatedStream) Context() context.Context { return s.ctx }

// RecvMsg gives the caller the rights of now if this server changed any since the message before. Those of agents never change.
func (s *authenticatedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.open.isAgent() || s.open.knows(s.authenticator.store.AccessChanges()) {
		return nil
	}
	found, err := s.authenticator.authenticate(s.ctx, s.open.credential, time.Now())
	if err == nil {
		s.open.take(found)
	}
	return err
}

// watch checks the credentials of open streams again and again until the context is done.
func (a *authenticator) watch(ctx context.Context) {
	var foreign sync.WaitGroup
	for _, issued := range []func(credential) bool{credential.byIssuer, credential.byCoder} {
		foreign.Go(func() { a.watchForeign(ctx, issued) })
	}
	defer foreign.Wait()
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

// watchForeign does it for credentials that somebody else issued, who may be slow: nobody else's streams wait for that.
func (a *authenticator) watchForeign(ctx context.Context, issued func(credential) bool) {
	ticker := time.NewTicker(authenticationTTL)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.checkForeignStreams(ctx, issued)
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
	now := time.Now()
	for _, hash := range a.known.Keys() {
		if known, ok := a.known.Peek(hash); ok && now.After(known.until) {
			a.known.Remove(hash)
		}
	}
}

// openStreams are those with such credentials.
func (a *authenticator) openStreams(issued func(credential) bool) (open []*openStream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.streams {
		if issued(s.credential) {
			open = append(open, s)
		}
	}
	return open
}

// checkStreams ends the streams whose tokens no longer count. Agents are many and their rights never change, so they are
// asked about together; others are few and may have got other roles.
func (a *authenticator) checkStreams(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var agents []string
	open := a.openStreams(credential.byUs)
	for _, s := range open {
		if s.isAgent() {
			agents = append(agents, s.credential.token.ID())
		}
	}
	valid, err := a.store.ValidAgentTokens(ctx, agents)
	if err != nil {
		// Streams stay: a database that does not answer says nothing about tokens.
		a.logger.WarnContext(ctx, "check tokens of streams", "error", err)
		return
	}
	for _, s := range open {
		if !s.isAgent() {
			a.checkStream(ctx, s)
		} else if !valid[s.credential.token.ID()] {
			s.end(store.ErrUnauthenticated)
		}
	}
}

// checkForeignStreams ends the streams whose credentials no longer count where they were issued.
func (a *authenticator) checkForeignStreams(ctx context.Context, issued func(credential) bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var asking errgroup.Group
	asking.SetLimit(MaxCoderCalls)
	for _, s := range a.openStreams(issued) {
		asking.Go(func() error {
			a.checkStream(ctx, s)
			return nil
		})
	}
	_ = asking.Wait() // none fails
}

// checkStream ends a stream whose credential no longer counts, or gives it the rights of now. It will be asked about again after
// authenticationTTL, and what is remembered has to count until then.
func (a *authenticator) checkStream(ctx context.Context, s *openStream) {
	found, err := a.authenticate(ctx, s.credential, time.Now().Add(authenticationTTL))
	switch {
	case errors.Is(err, store.ErrUnauthenticated):
		s.end(err)
	case err == nil:
		s.take(found)
	}
}

func (s *openStream) isAgent() bool { return s.identity.Kind() == access.KindAgent }

func (s *openStream) end(why error) {
	select {
	case s.revoked <- why:
	default: // told already
	}
}
