package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// issuer is an OIDC issuer with keys that can be changed.
type issuer struct {
	*httptest.Server

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	asked int // how often for keys
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked++
		set := jose.JSONWebKeySet{}
		for _, k := range i.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// rotate replaces all keys by a new one.
func (i *issuer) rotate(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: "RS256", Use: "sig"}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{key}
	return key
}

// sign makes a token.
func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestIssuerTokens(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *Config) { c.OIDC = &OIDC{Issuer: i.URL, Audience: "insights"} })
	user := f.Users[0]
	if _, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleAuditor}); err != nil {
		t.Fatal(err)
	}
	now := storetest.Now.Unix()
	good := map[string]any{"iss": i.URL, "aud": "insights", "sub": user.String(), "iat": now - 60, "exp": now + 60}
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(good)
		if value == nil {
			delete(claims, name)
		} else {
			claims[name] = value
		}
		return claims
	}
	ask := func(header http.Header) (int, string) {
		code, _, text := r.fetch(t, header, "/api/v2/access/me")
		return code, string(text)
	}
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	if status, text := ask(bearer(sign(t, jose.RS256, key, good))); status != 200 || !strings.Contains(text, user.String()) || !strings.Contains(text, "view_insights") {
		t.Fatalf("a good token: %d %s", status, text)
	}
	for name, claims := range map[string]map[string]any{
		"one of several audiences": with("aud", []string{"other", "insights"}), "in the other header": good, "asked for by another client": with("azp", "grafana"),
		"ended within the leeway": with("exp", now-29), "begins within the leeway": with("nbf", now+30), "issued within the leeway": with("iat", now+30), "long ago": with("iat", 1), "end with a fraction": with("exp", float64(now)+0.5),
	} {
		token := sign(t, jose.RS256, key, claims)
		header := bearer(token)
		if name == "in the other header" {
			header = http.Header{"Coder-Session-Token": {token}}
		}
		if status, text := ask(header); status != 200 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}

	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := sign(t, jose.RS256, key, good)
	pieces := strings.Split(signed, ".")
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]string{
		"no algorithm":            part(map[string]string{"alg": "none"}) + "." + pieces[1] + ".",
		"no algorithm, signed":    part(map[string]string{"alg": "none"}) + "." + pieces[1] + "." + pieces[2],
		"None":                    part(map[string]string{"alg": "None"}) + "." + pieces[1] + "." + pieces[2],
		"public key as a secret":  sign(t, jose.HS256, append(public, make([]byte, 32)...), good),
		"a secret":                sign(t, jose.HS512, make([]byte, 64), good),
		"key of another":          sign(t, jose.RS256, other, good),
		"named like a known key":  sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "one"}, good),
		"key of another kind":     sign(t, jose.ES256, jose.JSONWebKey{Key: curve, KeyID: "one"}, good),
		"id of a key with a path": sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "../../keys"}, good),
		"id of a key with SQL":    sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "' OR 1=1 --"}, good),
		"changed claims":          pieces[0] + "." + part(with("sub", uuid.NewString())) + "." + pieces[2],
		"no signature":            pieces[0] + "." + pieces[1] + ".",
		"half a signature":        signed[:len(signed)-20],
		"no parts":                "..",
		"no base64":               "!.!.!",
		"critical header":         part(map[string]any{"alg": "RS256", "crit": []string{"x"}, "x": 1}) + "." + pieces[1] + "." + pieces[2],
		"key in the header":       part(map[string]any{"alg": "RS256", "jwk": json.RawMessage(public)}) + "." + pieces[1] + "." + pieces[2],
		"key from elsewhere":      part(map[string]any{"alg": "RS256", "jku": i.URL + "/keys", "kid": "one"}) + "." + pieces[1] + "." + pieces[2],
		"a very long one":         pieces[0] + "." + strings.Repeat("A", maxJWT) + "." + pieces[2],
	}
	for name, claims := range map[string]map[string]any{
		"other issuer": with("iss", i.URL+"/"), "no issuer": with("iss", nil), "other audience": with("aud", "insight"), "no audience": with("aud", nil), "empty audience": with("aud", []string{}),
		"audience of the wrong type": with("aud", 1), "expired": with("exp", now-30), "expired for ever": with("exp", 1), "no expiry": with("exp", nil), "expiry as text": with("exp", fmt.Sprint(now+60)),
		"negative expiry": with("exp", -1), "not yet": with("nbf", now+31), "far ahead": with("nbf", now+3600), "begin as text": with("nbf", fmt.Sprint(now)), "no begin at all": with("nbf", []int{}),
		"issued in the future": with("iat", now+31), "issued at some text": with("iat", "now"), "issued before 1970": with("iat", -1), "end beyond calendars": with("exp", 1e300), "begin beyond calendars": with("nbf", 1e300), "no user": with("sub", nil), "unknown user": with("sub", uuid.NewString()), "a name": with("sub", "user0"),
		"user of the wrong type": with("sub", 5), "user as a list": with("sub", []string{user.String()}), "user with blanks": with("sub", " "+user.String()), "user with more": with("sub", user.String()+"x"),
		"no user id at all": with("sub", ""), "nobody": with("sub", uuid.Nil.String()),
	} {
		forged[name] = sign(t, jose.RS256, key, claims)
	}
	want := ""
	for name, token := range forged {
		status, text := ask(bearer(token))
		if want == "" {
			want = text
		}
		if status != 401 || text != want {
			t.Errorf("%s: %d %s; want the same 401 as for any other", name, status, text)
		}
	}
	if status, _ := ask(http.Header{"Authorization": {"Bearer " + signed}, "Session-Token": {signed}}); status != 401 {
		t.Errorf("two credentials: %d", status)
	}

	// A suspended user is turned away within a moment, whatever the token says.
	suspended := f.Users[1]
	token := sign(t, jose.RS256, key, with("sub", suspended.String()))
	if status, _ := ask(bearer(token)); status != 200 {
		t.Errorf("a user without roles: %d", status)
	}
	r.apply(t, r.token(t, access.RoleControlPlane, everywhere), &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: suspended.String(), Username: "x", Status: "suspended"}}})
	waitFor(t, 5*time.Second, "a suspended user to be turned away", func() bool { status, _ := ask(bearer(token)); return status == 401 })
}

// waitFor asks again and again until something holds.
func waitFor(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %v for %s", most, what)
		case <-ticker.C:
		}
	}
}

// New keys are fetched when a token names one, and not more often than once a second however many unknown ones are named.
func TestIssuerRotatesKeys(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	old := i.rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *Config) { c.OIDC = &OIDC{Issuer: i.URL, Audience: "insights", UserClaim: "coder_id"} })
	now := storetest.Now.Unix()
	claims := map[string]any{"iss": i.URL, "aud": "insights", "sub": "opaque", "coder_id": f.Users[0].String(), "exp": now + 60}
	status := func(token string) int {
		code, _, _ := r.fetch(t, http.Header{"Authorization": {"Bearer " + token}}, "/api/v2/access/me")
		return code
	}
	if got := status(sign(t, jose.RS256, old, claims)); got != 200 {
		t.Fatalf("first key: %d", got)
	}
	fresh := i.rotate(t, "two")
	claims["exp"] = now + 61 // another token, not one that is remembered
	waitFor(t, 10*time.Second, "the new key to count", func() bool { return status(sign(t, jose.RS256, fresh, claims)) == 200 })
	i.mu.Lock()
	before := i.asked
	i.mu.Unlock()
	begin := time.Now()
	for n := range 200 {
		if got := status(sign(t, jose.RS256, jose.JSONWebKey{Key: fresh.Key, KeyID: fmt.Sprint("unknown ", n)}, claims)); got != 401 {
			t.Fatalf("unknown key: %d", got)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if asked, most := i.asked-before, int(time.Since(begin)/issuerPause)+1; asked > most {
		t.Errorf("the issuer was asked %d times in %v, at most %d", asked, time.Since(begin), most)
	}
}

func TestIssuerNeedsAllItsParts(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]OIDC{
		"no audience": {Issuer: "https://issuer.example"}, "no issuer": {Audience: "insights"}, "plain text": {Issuer: "http://issuer.example", Audience: "insights"},
		"no URL": {Issuer: "issuer", Audience: "insights"}, "a file": {Issuer: "file:///keys", Audience: "insights"},
	} {
		if err := o.validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, issuer := range []string{"https://issuer.example/realms/x", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		if err := (OIDC{Issuer: issuer, Audience: "insights"}).validate(); err != nil {
			t.Error(err)
		}
	}
}
