package wiretest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issuer is an OIDC issuer with keys that can be changed.
type issuer struct {
	*httptest.Server

	Mu     sync.Mutex
	Keys   []jose.JSONWebKey
	Asked  int                         // how often for keys
	Redeem func(url.Values) (int, any) // answers who brings a code
}

// NewIssuer starts an OIDC issuer that ends with the test.
func NewIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize",
			"token_endpoint": i.URL + "/token",
		})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		i.Mu.Lock()
		defer i.Mu.Unlock()
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		status, answer := i.Redeem(r.PostForm)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Mu.Lock()
		defer i.Mu.Unlock()
		i.Asked++
		set := jose.JSONWebKeySet{}
		for _, k := range i.Keys {
			set.Keys = append(set.Keys, k.Public())
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// Rotate replaces all keys by a new one.
func (i *issuer) Rotate(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: "RS256", Use: "sig"}
	i.Mu.Lock()
	defer i.Mu.Unlock()
	i.Keys = []jose.JSONWebKey{key}
	return key
}

// Sign makes a token.
func Sign(t testing.TB, algorithm jose.SignatureAlgorithm, key, claims any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return SignText(t, algorithm, key, text)
}

// SignText makes a token of anything.
func SignText(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// WaitFor asks again and again until something holds.
func WaitFor(t *testing.T, most time.Duration, what string, holds func() bool) {
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
