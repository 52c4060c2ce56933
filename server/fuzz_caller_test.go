package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// A call has one credential in one header, in the form of a token; everything else is nobody.
func FuzzCredential(f *testing.F) {
	token := access.NewToken().Reveal()
	f.Add("Bearer "+token, "", "")
	f.Add("", token, "")
	f.Add("", "", token)
	f.Add("Bearer "+token, token, "")
	f.Add("", token, token)
	f.Add("bearer  "+token, "", "")
	f.Add("Basic "+token, "", token)
	f.Add("Bearer a.b.c", "", "")
	f.Fuzz(func(t *testing.T, authorization, coder, session string) {
		md := metadata.MD{}
		shown := 0
		for header, value := range map[string]string{"authorization": authorization, "coder-session-token": coder, "session-token": session} {
			if value != "" {
				md.Append(header, value)
				shown++
			}
		}
		for _, issuer := range []*tokenVerifier{nil, {}} {
			c, err := (&authenticator{issuer: issuer}).credentialOf(metadata.NewIncomingContext(t.Context(), md))
			if err != nil {
				if !errors.Is(err, store.ErrUnauthenticated) && !errors.Is(err, access.ErrMalformedToken) {
					t.Errorf("%v: %v", md, err)
				}
				continue
			}
			text := coder + session
			if authorization != "" {
				text = authorization[min(7, len(authorization)):]
				if !strings.EqualFold(authorization[:len(authorization)-len(text)], "Bearer ") {
					t.Errorf("%q is taken", authorization)
				}
			}
			own, err := access.ParseToken(text)
			asJWT := issuer != nil && strings.Count(text, ".") == 2 && len(text) <= maxJWT
			if shown != 1 || asJWT != (string(c.jwt) == text && text != "") || !asJWT && (err != nil || c.token.Reveal() != own.Reveal()) {
				t.Errorf("%v is taken as %v", md, c)
			}
		}
	})
}

// newFuzzIssuer is an issuer with a key that signs quickly, and a verifier of its tokens.
func newFuzzIssuer(f *testing.F) (*tokenVerifier, jose.JSONWebKey, map[string]any) {
	f.Helper()
	i := newIssuer(f)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: "one", Algorithm: "ES256", Use: "sig"}
	i.keys = []jose.JSONWebKey{key}
	v := newTokenVerifier(OIDC{Issuer: i.URL, Audience: "insights"}, func() time.Time { return storetest.Now })
	now := storetest.Now.Unix()
	return v, key, map[string]any{"iss": i.URL, "aud": "insights", "sub": fuzzAgent, "iat": now - 60, "exp": now + 60}
}

// Nobody makes a token that counts without the issuer's key.
func FuzzForgedJWT(f *testing.F) {
	v, key, claims := newFuzzIssuer(f)
	good := sign(f, jose.ES256, key, claims)
	if user, _, err := v.verify(f.Context(), good); err != nil || user.String() != fuzzAgent {
		f.Fatal(user, err)
	}
	parts := strings.Split(good, ".")
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"one"}`, `{"alg":"ES256"}`, `{"alg":"ES256","kid":"one","crit":["exp"]}`, `{"alg":"ES256","kid":"` + strings.Repeat("k", 5000) + `"}`, `{}`, `null`, `{"alg":["ES256"]}`} {
		f.Add([]byte(header), []byte(`{"sub":"`+fuzzAgent+`"}`), parts[2])
		f.Add([]byte(header), []byte(`{"exp":1e400}`), "")
	}
	f.Fuzz(func(t *testing.T, header, payload []byte, signature string) {
		text := encodePart(header) + "." + encodePart(payload) + "." + signature
		if text == good || !isJWT(text) {
			return
		}
		if user, _, err := v.verify(t.Context(), text); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", text, user, err)
		}
		if user, _, err := v.verify(t.Context(), string(header)); !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
			t.Errorf("%q lets %v in: %v", header, user, err)
		}
	})
}

// Of the claims that the issuer signs, only the right ones let a user in.
func FuzzClaims(f *testing.F) {
	v, key, good := newFuzzIssuer(f)
	now := storetest.Now.Unix()
	for name, value := range map[string]any{
		"": nil, "iss": "x", "aud": []string{"a", "insights"}, "exp": now - 31, "nbf": now + 31, "sub": []string{fuzzAgent}, "email_verified": "true", "iat": "x", "EXP": now - 100, "Sub": "x",
	} {
		claims := maps.Clone(good)
		claims[name] = value
		text, err := json.Marshal(claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`{"aud":"insights","exp":1e300,"sub":"` + fuzzAgent + `"}`)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(text, "ISS", good["iss"].(string))
		token := signText(t, jose.ES256, key, []byte(text))
		if !isJWT(token) {
			return
		}
		user, _, err := v.verify(t.Context(), token)
		if err != nil {
			if !errors.Is(err, store.ErrUnauthenticated) || user != uuid.Nil {
				t.Errorf("%s: %v, %v", text, user, err)
			}
			return
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(text), &claims); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		audiences, _ := claims["aud"].([]any)
		expiry, _ := claims["exp"].(float64)
		if claims["iss"] != good["iss"] || claims["aud"] != "insights" && !slices.Contains(audiences, any("insights")) || expiry < float64(now)-jwtLeeway.Seconds() ||
			claims["sub"] != user.String() && !strings.EqualFold(claims["sub"].(string), user.String()) {
			t.Errorf("%s lets %v in", text, user)
		}
	})
}

// encodePart is a part of a token.
func encodePart(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// The address of a client is the last one that no trusted proxy vouches for, and it can travel to the server.
func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:5", "203.0.113.9, 10.2.2.2")
	f.Add("[::1]:5", "::ffff:10.1.1.1,fe80::1%eth0")
	f.Add("[::ffff:10.0.0.1]:5", "fe80::1%\u00e4, 10.0.0.2")
	f.Add("10.0.0.1:5", "10.0.0.2,10.0.0.3")
	f.Add("@", "10.0.0.2")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": strings.Split(forwarded, ";")}}
		got := clientAddress(r, trusted)
		direct, err := netip.ParseAddrPort(remote)
		if err != nil {
			if got != remote {
				t.Errorf("%q became %q", remote, got)
			}
			return
		}
		// The list with the direct address at its end, walked from there while all are trusted.
		chain := append(strings.Split(strings.Join(strings.Split(forwarded, ";"), ","), ","), direct.Addr().String())
		want := ""
		for i := len(chain) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(chain[i]))
			if err != nil || i < len(chain)-1 && hop.Zone() != "" {
				break // what the last proxy said is not an address
			}
			hop = hop.Unmap()
			want = hop.String()
			if !slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(hop) }) {
				break
			}
		}
		if got != want {
			t.Errorf("%q, forwarded for %q, became %q, want %q", remote, forwarded, got, want)
		}
	})
}

// Whatever the headers of a REST call are: the server sees what it reads and nothing else, and the call is not lost.
func FuzzHeader(f *testing.F) {
	for _, header := range [][2]string{
		{"Coder-Session-Token", "x"},
		{"Session-Token", "\u00e4"},
		{"Authorization", "Bearer x"},
		{"Authorization", "\xff"},
		{"Grpc-Metadata-Authorization", "x"},
		{"Grpc-Timeout", "1n"},
		{"Grpc-Metadata-Insights-Caller-Address", "1.2.3.4"},
		{"Insights-Caller-Address", "1.2.3.4"},
		{"X-Forwarded-For", "fe80::1%\u00e4"},
		{"X-Forwarded-For", "\x01"},
		{"X-Forwarded-Host", "\u00e4"},
		{"X-Request-Id", "\x7f"},
		{"Traceparent", "00-0-0-01"},
		{"Traceparent-Bin", "!"},
		{"Host", "a b"},
		{"X-Http-Method-Override", "POST"},
		{"Content-Encoding", "gzip"},
		{"te", "x"},
		{":authority", "x"},
	} {
		f.Add(header[0], header[1])
	}
	g, err := newGateway(restOptions{Registry: prometheus.NewRegistry(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil {
		f.Fatal(err)
	}
	var seen atomic.Pointer[metadata.MD]
	probe := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		seen.Store(&md)
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	served := make(chan error, 1)
	go func() { served <- probe.Serve(g.listener) }()
	f.Cleanup(func() {
		probe.Stop()
		if err := errors.Join(<-served, g.close()); err != nil {
			f.Error(err)
		}
	})
	allowed := []string{"authorization", "coder-session-token", "session-token", "traceparent", "x-request-id", "x-forwarded-for", "x-forwarded-host", callerAddressKey, ":authority", "content-type", "user-agent", "grpc-accept-encoding"}
	f.Fuzz(func(t *testing.T, name, value string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v2/access/me", nil)
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		answer := httptest.NewRecorder()
		seen.Store(nil)
		g.ServeHTTP(answer, r)
		canonical := strings.ToLower(http.CanonicalHeaderKey(name))
		printable := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) < 0
		if answer.Code == http.StatusUnsupportedMediaType && canonical == "content-encoding" || answer.Code == http.StatusUnauthorized && slices.Contains(credentialHeaders, canonical) && !printable {
			return
		}
		md := seen.Load()
		if answer.Code != http.StatusOK || md == nil {
			t.Fatalf("%s: %q: %d %s", name, value, answer.Code, answer.Body)
		}
		for key, values := range *md {
			if !slices.Contains(allowed, key) || len(values) != 1 {
				t.Errorf("%s: %q: the server sees %s: %q", name, value, key, values)
			}
		}
		if _, forwarded := r.Header["X-Forwarded-For"]; !forwarded && !slices.Equal(md.Get(callerAddressKey), []string{"192.0.2.1"}) {
			t.Errorf("%s: %q: the caller's address is %q", name, value, md.Get(callerAddressKey))
		}
	})
}
