package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// sessionLength is how long a session of the page lasts at most.
const sessionLength = 12 * time.Hour

// setCookieKey is the one header of gRPC answers that REST answers show.
const setCookieKey = "set-cookie"

// shortestSession is how long a session lasts at least.
const shortestSession = time.Minute

// SignIn implements [insightsv1.AccessServiceServer].
func (a *accessService) SignIn(ctx context.Context, _ *insightsv1.SignInRequest) (*insightsv1.SignInResponse, error) {
	if end := principalOf(ctx).Until; !end.IsZero() && end.Before(a.clock().Add(shortestSession)) {
		return nil, newCallError(codes.FailedPrecondition, reasonInvalid, "This token begins no session.", "It may end at any moment, and a session would go on.", nil)
	}
	secret, until, err := a.store.SignIn(ctx, principalOf(ctx), sessionLength)
	if err != nil {
		return nil, err
	}
	cookie := a.cookie.with(secret.Reveal(), until.Sub(a.clock()))
	return &insightsv1.SignInResponse{ExpiresAt: timestamppb.New(until)}, grpc.SetHeader(ctx, metadata.Pairs(setCookieKey, cookie))
}

// SignOut implements [insightsv1.AccessServiceServer].
func (a *accessService) SignOut(ctx context.Context, _ *insightsv1.SignOutRequest) (*insightsv1.SignOutResponse, error) {
	if err := a.store.SignOut(ctx, principalOf(ctx).Token); err != nil {
		return nil, err
	}
	return &insightsv1.SignOutResponse{}, grpc.SetHeader(ctx, metadata.Pairs(setCookieKey, a.cookie.with("", -time.Second)))
}

// sessionCookie is where a browser keeps the token of its session: out of reach of scripts and of other sites, and where the
// page comes over TLS, of whoever listens or answers for a neighboring name.
type sessionCookie struct {
	secure bool
	coder  bool // the cookie of a Coder deployment counts as well
}

// coderCookie is where a browser keeps the session key of a Coder deployment, which it shows here if both have one host.
const coderCookie = "coder_session_token"

func newSessionCookie(c Config) sessionCookie {
	return sessionCookie{c.TLS != nil || strings.HasPrefix(c.ExternalURL, "https:"), c.CoderURL != ""}
}

func (s sessionCookie) name() string {
	if s.secure {
		return "__Host-insights_session"
	}
	return "insights_session"
}

// with is the header that makes a browser keep a token for some time, or forget it.
func (s sessionCookie) with(token string, left time.Duration) string {
	return (&http.Cookie{
		Name: s.name(), Value: token, Path: "/", MaxAge: int(left.Seconds()), HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode,
	}).String()
}

// crossOrigin finds calls that a page of another site makes a browser send.
var crossOrigin http.CrossOriginProtection

// tokens are those that a browser adds to a call. They count in calls of the page itself alone, whatever else may have made
// the browser call, and never beside a token that the caller chose.
func (s sessionCookie) tokens(r *http.Request) []string {
	site := r.Header.Get("Sec-Fetch-Site") // none: the address was typed
	if site != "" && site != "same-origin" && site != "none" || crossOrigin.Check(r) != nil {
		return nil
	}
	if slices.ContainsFunc(credentialHeaders, func(name string) bool { return len(r.Header.Values(name)) > 0 }) {
		return nil
	}
	cookies := r.CookiesNamed(s.name())
	if safe := r.Method == http.MethodGet || r.Method == http.MethodHead; s.coder && safe && len(cookies) == 0 {
		cookies = r.CookiesNamed(coderCookie) // whose deployment may not be as strict about other sites
	}
	var tokens []string
	for _, cookie := range cookies {
		tokens = append(tokens, cookie.Value)
	}
	return tokens[:min(2, len(tokens))] // two are as wrong as many
}
