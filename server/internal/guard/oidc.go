package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/uuid"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// OIDC says whose JSON web tokens are accepted as those of users. Issuer and Audience are both needed: a token that was
// meant for another service must not let anyone in here.
type OIDC struct {
	Issuer       string // URL of the issuer; https unless it is on loopback
	Audience     string // what the token must be meant for, and the id under which the issuer knows the page
	ClientSecret string // of the page; empty: the issuer wants none
	UserClaim    string // the claim that holds the user's id in the catalog; empty: sub
}

func (o OIDC) validate() error {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("OIDC issuer %q must be a URL, an IPv6 host in brackets", o.Issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return fmt.Errorf("OIDC issuer %q must be https", o.Issuer)
	case o.Audience == "":
		return errors.New("OIDC needs an audience")
	}
	return nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Bounds of tokens of an issuer.
const (
	MaxJWT        = 8 << 10          // bytes
	JwtLeeway     = 30 * time.Second // by which the issuer's clock may differ, in both directions
	IssuerTimeout = 10 * time.Second
	IssuerPause   = time.Second // between questions to an issuer about keys, however many unknown ones callers name
)

// jwtAlgorithms are those by which an issuer may sign: with keys of its own, never with a shared secret, never not at all.
var jwtAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// TokenVerifier checks the tokens of one issuer. It asks for the issuer's keys when it first needs them and whenever a token
// names one that it does not know.
type TokenVerifier struct {
	Config OIDC
	clock  func() time.Time
	Client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	retry    time.Time // not asked before, after a failure
}

func newTokenVerifier(c OIDC, clock func() time.Time) *TokenVerifier {
	transport := &pacedTransport{next: http.DefaultTransport}
	return &TokenVerifier{Config: c, clock: clock, Client: &http.Client{Timeout: IssuerTimeout, Transport: transport}}
}

// pacedTransport lets at most one question per second through to the issuer.
type pacedTransport struct {
	next http.RoundTripper

	mu   sync.Mutex
	path map[string]time.Time // when each was last asked for
}

// RoundTrip implements [http.RoundTripper].
func (p *pacedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	last, asked := p.path[r.URL.Path]
	early := asked && time.Since(last) < IssuerPause
	if !early {
		if p.path == nil {
			p.path = map[string]time.Time{}
		}
		p.path[r.URL.Path] = time.Now() // the real clock: the issuer is asked at most so often
	}
	p.mu.Unlock()
	if early {
		return nil, errors.New("the issuer was asked a moment ago")
	}
	return p.next.RoundTrip(r)
}

// isJWT reports whether a credential has the form of a JSON web token.
func isJWT(text string) bool { return len(text) <= MaxJWT && strings.Count(text, ".") == 2 }

// verify returns the user that a token speaks for, and when it ends. Whatever is wrong with it is store.ErrUnauthenticated. The
// token must be meant for this service, alone or among others; who asked the issuer for it (azp) does not matter.
func (v *TokenVerifier) verify(ctx context.Context, text string) (user uuid.UUID, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, v.Client), IssuerTimeout)
	defer cancel()
	verifier, _, err := v.Ready(ctx)
	if err != nil {
		return uuid.Nil, until, call.Unavailable(err)
	}
	token, err := verifier.Verify(ctx, text)
	if err != nil {
		return uuid.Nil, until, store.ErrUnauthenticated
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return uuid.Nil, until, store.ErrUnauthenticated
	}
	if !v.timely(claims) {
		return uuid.Nil, until, store.ErrUnauthenticated
	}
	claim := "sub"
	if v.Config.UserClaim != "" {
		claim = v.Config.UserClaim
	}
	id, _ := claims[claim].(string)
	if user, err = call.ParseID(id); err != nil {
		return uuid.Nil, until, store.ErrUnauthenticated
	}
	return user, token.Expiry, nil
}

// timely reports whether a token counts now, give or take the leeway, by all the times that it holds. It must hold its end. The
// library would take text for numbers, be patient for five minutes with a token that is not valid yet, and not look at when
// it was issued.
func (v *TokenVerifier) timely(claims map[string]any) bool {
	now := v.clock()
	end, ok := moment(claims["exp"])
	if !ok || end <= float64(now.Add(-JwtLeeway).Unix()) {
		return false
	}
	for _, name := range []string{"nbf", "iat"} {
		claim, given := claims[name]
		if !given {
			continue
		}
		if begin, ok := moment(claim); !ok || begin > float64(now.Add(JwtLeeway).Unix()) {
			return false
		}
	}
	return true
}

// moment reads a claim that is a number of seconds since 1970, up to a time that calendars know.
func moment(claim any) (seconds float64, ok bool) {
	seconds, ok = claim.(float64)
	return seconds, ok && seconds >= 0 && seconds < 1<<40
}

// Ready finds out about the issuer once. An issuer that does not answer is asked again a moment later.
func (v *TokenVerifier) Ready(ctx context.Context) (*oidc.IDTokenVerifier, *oidc.Provider, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verifier != nil {
		return v.verifier, v.provider, nil
	}
	if time.Now().Before(v.retry) {
		return nil, nil, errors.New("the OIDC issuer did not answer a moment ago")
	}
	// The keys are fetched with this context, long after the call that is the first to need them.
	provider, err := oidc.NewProvider(context.WithoutCancel(ctx), v.Config.Issuer)
	if err != nil {
		v.retry = time.Now().Add(IssuerPause)
		return nil, nil, fmt.Errorf("ask OIDC issuer %s: %w", v.Config.Issuer, err)
	}
	v.provider = provider
	v.verifier = provider.Verifier(&oidc.Config{
		ClientID: v.Config.Audience, SupportedSigningAlgs: jwtAlgorithms,
		SkipExpiryCheck: true, // timely looks at all times alike
	})
	return v.verifier, v.provider, nil
}
