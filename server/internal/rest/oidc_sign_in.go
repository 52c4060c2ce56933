package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
)

// Paths of signing in through the issuer. The issuer must know the second one as a redirect URI.
const (
	IssuerPath   = "/sign-in/oidc"
	CallbackPath = "/sign-in/oidc/callback"
)

// signInTime is how long signing in at the issuer may take.
const signInTime = 10 * time.Minute

// issuerSignIn lets people sign in through the issuer: by an authorization code with a proof of who asked for it (PKCE). What
// the issuer says about them is a credential like any other, and begins a session by the same RPC.
//
// Nothing is remembered between the two requests but a secret in a cookie of the browser, from which the proof, the state and
// the nonce are made: any server may answer the second one.
type issuerSignIn struct {
	issuer  *guard.TokenVerifier
	client  *http.Client // for codes; its requests are as many as people are
	access  insightsv1.AccessServiceClient
	home    string
	session guard.SessionCookie
	trusted []netip.Prefix
	logger  *slog.Logger
}

// newIssuerSignIn returns nil if nobody can sign in through an issuer.
func newIssuerSignIn(c Options, client insightsv1.AccessServiceClient) *issuerSignIn {
	if c.Issuer == nil || c.ExternalURL == "" {
		return nil
	}
	return &issuerSignIn{
		issuer: c.Issuer, client: &http.Client{Timeout: guard.IssuerTimeout}, access: client,
		home: c.ExternalURL, session: c.Cookie, trusted: c.TrustedProxies, logger: c.Logger,
	}
}

func (s *issuerSignIn) route(mux *http.ServeMux) {
	if s == nil {
		return
	}
	mux.HandleFunc("GET "+IssuerPath, s.begin)
	mux.HandleFunc("GET "+CallbackPath, s.finish)
}

// oauth is how the issuer knows the page.
func (s *issuerSignIn) oauth(ctx context.Context) (*oauth2.Config, error) {
	_, provider, err := s.issuer.Ready(oidc.ClientContext(ctx, s.issuer.Client))
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: s.issuer.Config.Audience, ClientSecret: s.issuer.Config.ClientSecret, Endpoint: provider.Endpoint(),
		RedirectURL: s.home + CallbackPath, Scopes: []string{oidc.ScopeOpenID, "profile"},
	}, nil
}

// derive makes a value of the browser's secret that does not tell the secret.
func derive(what, secret string) string {
	sum := sha256.Sum256([]byte(what + " " + secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// cookie is what keeps the secret while the browser is at the issuer. It has to come back with a request that the issuer's
// page makes, which a strict cookie would not.
func (s *issuerSignIn) cookie(secret string, left time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: "insights_sign_in", Value: secret, Path: IssuerPath, MaxAge: int(left.Seconds()), HttpOnly: true, Secure: s.session.Secure,
		SameSite: http.SameSiteLaxMode,
	}
}

// begin sends the browser to the issuer.
func (s *issuerSignIn) begin(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), guard.IssuerTimeout)
	defer cancel()
	config, err := s.oauth(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	secret := oauth2.GenerateVerifier()
	http.SetCookie(w, s.cookie(secret, signInTime))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(
		w, r, config.AuthCodeURL(derive("state", secret), oidc.Nonce(derive("nonce", secret)), oauth2.S256ChallengeOption(secret)),
		http.StatusSeeOther,
	)
}

// finish begins the session of whom the issuer sends back.
func (s *issuerSignIn) finish(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, s.cookie("", -time.Second))
	w.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(r.Context(), 2*guard.IssuerTimeout)
	defer cancel()
	token, err := s.redeem(ctx, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var header metadata.MD
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token, call.CallerAddressKey, clientAddress(r, s.trusted))
	if _, err := s.access.SignIn(ctx, &insightsv1.SignInRequest{}, grpc.Header(&header)); err != nil {
		s.fail(w, r, err)
		return
	}
	for _, cookie := range header.Get(guard.SetCookieKey) {
		w.Header().Add("Set-Cookie", cookie)
	}
	http.Redirect(w, r, s.home+"/", http.StatusSeeOther)
}

// redeem turns the code that the browser brings into a token of the issuer.
func (s *issuerSignIn) redeem(ctx context.Context, r *http.Request) (string, error) {
	query := r.URL.Query()
	kept, err := r.Cookie(s.cookie("", 0).Name)
	if err != nil {
		return "", errors.New("the browser keeps no secret: it took too long, or did not begin here")
	}
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(derive("state", kept.Value))) == 0 {
		return "", errors.New("the state is another one than that of the browser")
	}
	if query.Get("error") != "" {
		return "", fmt.Errorf("the issuer says %q", call.Shorten(query.Get("error")))
	}
	config, err := s.oauth(ctx)
	if err != nil {
		return "", err
	}
	answer, err := config.Exchange(oidc.ClientContext(ctx, s.client), query.Get("code"), oauth2.VerifierOption(kept.Value))
	if err != nil {
		// The error may quote what the issuer answered, which may hold tokens.
		return "", errors.New("the issuer does not take the code")
	}
	token, _ := answer.Extra("id_token").(string)
	verifier, _, err := s.issuer.Ready(ctx)
	if err != nil {
		return "", err
	}
	shown, err := verifier.Verify(oidc.ClientContext(ctx, s.issuer.Client), token)
	if err != nil || shown.Nonce != derive("nonce", kept.Value) {
		return "", errors.New("the token of the issuer is not for this request")
	}
	return token, nil
}

// fail sends the browser back to the page, which says that it did not work. The log says why.
func (s *issuerSignIn) fail(w http.ResponseWriter, r *http.Request, why error) {
	s.logger.WarnContext(r.Context(), "sign in through the issuer", "error", why)
	http.Redirect(w, r, s.home+"/#sign-in-failed", http.StatusSeeOther)
}
