package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

func TestIssuerTokens(t *testing.T) {
	t.Parallel()
	i := wiretest.NewIssuer(t)
	key := i.Rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *server.Options) { c.OIDC = &guard.OIDC{Issuer: i.URL, Audience: "insights"} })
	user := f.Users[0]
	_, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleAuditor})
	if err != nil {
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
		code, _, text := r.Fetch(t, header, "/api/v2/access/me")
		return code, string(text)
	}
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	if status, text := ask(bearer(wiretest.Sign(t, jose.RS256, key, good))); status != 200 || !strings.Contains(text, user.String()) ||
		!strings.Contains(text, "view_insights") {
		t.Fatalf("a good token: %d %s", status, text)
	}
	for name, claims := range map[string]map[string]any{
		"one of several audiences": with("aud", []string{"other", "insights"}), "in the other header": good,
		"asked for by another client": with("azp", "grafana"), "ended within the leeway": with("exp", now-29),
		"begins within the leeway": with("nbf", now+30), "issued within the leeway": with("iat", now+30), "long ago": with("iat", 1),
		"end with a fraction": with("exp", float64(now)+0.5),
	} {
		token := wiretest.Sign(t, jose.RS256, key, claims)
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
	signed := wiretest.Sign(t, jose.RS256, key, good)
	pieces := strings.Split(signed, ".")
	public, err := key.Public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]string{
		"no algorithm":            part(map[string]string{"alg": "none"}) + "." + pieces[1] + ".",
		"no algorithm, signed":    part(map[string]string{"alg": "none"}) + "." + pieces[1] + "." + pieces[2],
		"None":                    part(map[string]string{"alg": "None"}) + "." + pieces[1] + "." + pieces[2],
		"public key as a secret":  wiretest.Sign(t, jose.HS256, append(public, make([]byte, 32)...), good),
		"a secret":                wiretest.Sign(t, jose.HS512, make([]byte, 64), good),
		"key of another":          wiretest.Sign(t, jose.RS256, other, good),
		"named like a known key":  wiretest.Sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "one"}, good),
		"key of another kind":     wiretest.Sign(t, jose.ES256, jose.JSONWebKey{Key: curve, KeyID: "one"}, good),
		"id of a key with a path": wiretest.Sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "../../keys"}, good),
		"id of a key with SQL":    wiretest.Sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "' OR 1=1 --"}, good),
		"changed claims":          pieces[0] + "." + part(with("sub", uuid.NewString())) + "." + pieces[2],
		"no signature":            pieces[0] + "." + pieces[1] + ".",
		"half a signature":        signed[:len(signed)-20],
		"no parts":                "..",
		"no base64":               "!.!.!",
		"critical header":         part(map[string]any{"alg": "RS256", "crit": []string{"x"}, "x": 1}) + "." + pieces[1] + "." + pieces[2],
		"key in the header":       part(map[string]any{"alg": "RS256", "jwk": json.RawMessage(public)}) + "." + pieces[1] + "." + pieces[2],
		"key from elsewhere": part(map[string]any{"alg": "RS256", "jku": i.URL + "/keys", "kid": "one"}) + "." + pieces[1] + "." +
			pieces[2],
		"a very long one": pieces[0] + "." + strings.Repeat("A", guard.MaxJWT) + "." + pieces[2],
	}
	for name, token := range forgedHeaders(t, key, part, pieces, with("iss", i.URL)) {
		forged[name] = token
	}
	for name, payload := range map[string]string{
		"claims are a list": "[]", "claims are a text": `"x"`, "claims are null": "null", "claims are no JSON": "{", "claims are empty": "",
		"no claims": "{}",
	} {
		forged[name] = wiretest.SignText(t, jose.RS256, key, []byte(payload))
	}
	for name, claims := range map[string]map[string]any{
		// Coder CVE-2026-55075
		"mail address only": {
			"iss": i.URL, "aud": "insights", "exp": now + 60, "email": "user0@example.com", "email_verified": true,
			"preferred_username": "user0",
		},
		// Coder CVE-2026-55076
		"verified as text":   {"iss": i.URL, "aud": "insights", "exp": now + 60, "email": "user0@example.com", "email_verified": "true"},
		"issuer in capitals": with("iss", strings.ToUpper(i.URL)), "issuer with a blank": with("iss", i.URL+" "),
		"issuer as a list": with("iss", []string{i.URL}), "issuer with a port more": with("iss", i.URL+"0"),
		"audience in capitals": with("aud", "INSIGHTS"), "audience with a blank": with("aud", "insights "),
		"audience as an object": with("aud", map[string]bool{"insights": true}), "audience among types": with("aud", []any{1, "insights"}),
		"audience in another claim": {"iss": i.URL, "azp": "insights", "client_id": "insights", "sub": user.String(), "exp": now + 60},
		"expiry is true":            with("exp", true), "expiry as a list": with("exp", []int64{now + 60}),
		"begin as text": with("nbf", "now"), "begin beyond all": with("nbf", 1e300), "expiry beyond all": with("exp", 1e300),
		"user as a URN": with("sub", "urn:uuid:"+user.String()), "user in braces": with("sub", "{"+user.String()+"}"),
		"user without hyphens": with("sub", strings.ReplaceAll(user.String(), "-", "")),
		"user with a NUL":      with("sub", user.String()+"\x00"), "user as an object": with("sub", map[string]string{"id": user.String()}),
		"user is true":          with("sub", true),
		"user in another claim": {"iss": i.URL, "aud": "insights", "Sub": user.String() + "x", "user_id": user.String(), "exp": now + 60},
	} {
		forged[name] = wiretest.Sign(t, jose.RS256, key, claims)
	}
	for name, claims := range map[string]map[string]any{
		"other issuer": with("iss", i.URL+"/"), "no issuer": with("iss", nil), "other audience": with("aud", "insight"),
		"no audience": with("aud", nil), "empty audience": with("aud", []string{}), "audience of the wrong type": with("aud", 1),
		"expired": with("exp", now-30), "expired for ever": with("exp", 1), "no expiry": with("exp", nil),
		"expiry as text": with("exp", fmt.Sprint(now+60)), "negative expiry": with("exp", -1), "not yet": with("nbf", now+31),
		"far ahead": with("nbf", now+3600), "begin as text": with("nbf", fmt.Sprint(now)), "no begin at all": with("nbf", []int{}),
		"issued in the future": with("iat", now+31), "issued at some text": with("iat", "now"), "issued before 1970": with("iat", -1),
		"end beyond calendars": with("exp", 1e300), "begin beyond calendars": with("nbf", 1e300), "no user": with("sub", nil),
		"unknown user": with("sub", uuid.NewString()), "a name": with("sub", "user0"), "user of the wrong type": with("sub", 5),
		"user as a list": with("sub", []string{user.String()}), "user with blanks": with("sub", " "+user.String()),
		"user with more": with("sub", user.String()+"x"), "no user id at all": with("sub", ""), "nobody": with("sub", uuid.Nil.String()),
	} {
		forged[name] = wiretest.Sign(t, jose.RS256, key, claims)
	}
	if len(forged) < 60 {
		t.Errorf("%d forged tokens only", len(forged))
	}
	t.Logf("%d forged tokens", len(forged))
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
	token := wiretest.Sign(t, jose.RS256, key, with("sub", suspended.String()))
	if status, _ := ask(bearer(token)); status != 200 {
		t.Errorf("a user without roles: %d", status)
	}
	r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), &insightsv1.ApplyCatalogRequest{
		Users: []*insightsv1.User{{Id: suspended.String(), Username: "x", Status: "suspended"}},
	})
	wiretest.WaitFor(t, 5*time.Second, "a suspended user to be turned away", func() bool {
		status, _ := ask(bearer(token))
		return status == 401
	})
}

// forgedHeaders are tokens with good claims of which the header lies.
func forgedHeaders(t *testing.T, key jose.JSONWebKey, part func(any) string, pieces []string, good map[string]any) map[string]string {
	t.Helper()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().Key.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	encrypter, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: jose.RSA_OAEP, Key: public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := encrypter.Encrypt([]byte(strings.Join(pieces, ".")))
	if err != nil {
		t.Fatal(err)
	}
	nested, err := encrypted.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	forged := map[string]string{
		"public key in PEM as a secret": wiretest.Sign(t, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), good),
		"public key in DER as a secret": wiretest.Sign(t, jose.HS384, der, good),
		"id of the key as a secret":     wiretest.Sign(t, jose.HS256, append([]byte("one"), make([]byte, 32)...), good),
		"a curve with the known id":     wiretest.Sign(t, jose.ES256, jose.JSONWebKey{Key: other, KeyID: "one"}, good),
		"a signature of zeros": part(map[string]string{"alg": "ES256", "kid": "one"}) + "." + pieces[1] + "." +
			base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"an encrypted one":          nested,
		"with padding":              pieces[0] + "." + pieces[1] + "." + pieces[2] + "==",
		"with a fourth part":        strings.Join(pieces, ".") + ".x",
		"the standard alphabet":     pieces[0] + "." + pieces[1] + ".+/" + pieces[2][2:],
		"a signature of its header": pieces[0] + "." + pieces[1] + "." + pieces[0],
		"two tokens":                strings.Join(pieces, ".") + "," + strings.Join(pieces, "."),
	}
	for name, header := range map[string]map[string]any{
		"no algorithm named": {"typ": "JWT"}, "algorithm in small letters": {"alg": "rs256"}, "NONE": {"alg": "NONE"},
		"nOnE": {"alg": "nOnE"}, "an empty algorithm": {"alg": ""}, "algorithms as a list": {"alg": []string{"RS256"}},
		"another digest": {"alg": "RS512"}, "another padding": {"alg": "PS256"}, "another family": {"alg": "EdDSA"},
		"a secret's algorithm": {"alg": "HS256"}, "compressed": {"alg": "RS256", "zip": "DEF"},
		"payload not encoded": {"alg": "RS256", "b64": false, "crit": []string{"b64"}},
		"empty critical list": {"alg": "RS256", "crit": []string{}}, "id of the key as a number": {"alg": "RS256", "kid": 1},
		"a key from a URL":   {"alg": "RS256", "x5u": "https://evil.example/key"},
		"a chain of its own": {"alg": "RS256", "x5c": []string{base64.StdEncoding.EncodeToString(der)}},
	} {
		forged[name] = part(header) + "." + pieces[1] + "." + pieces[2]
	}
	return forged
}

// New keys are fetched when a token names one, and not more often than once a second however many unknown ones are named.
func TestIssuerRotatesKeys(t *testing.T) {
	t.Parallel()
	i := wiretest.NewIssuer(t)
	old := i.Rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *server.Options) {
		c.OIDC = &guard.OIDC{Issuer: i.URL, Audience: "insights", UserClaim: "coder_id"}
	})
	now := storetest.Now.Unix()
	claims := map[string]any{"iss": i.URL, "aud": "insights", "sub": "opaque", "coder_id": f.Users[0].String(), "exp": now + 60}
	status := func(token string) int {
		code, _, _ := r.Fetch(t, http.Header{"Authorization": {"Bearer " + token}}, "/api/v2/access/me")
		return code
	}
	if got := status(wiretest.Sign(t, jose.RS256, old, claims)); got != 200 {
		t.Fatalf("first key: %d", got)
	}
	fresh := i.Rotate(t, "two")
	claims["exp"] = now + 61 // another token, not one that is remembered
	wiretest.WaitFor(t, 10*time.Second, "the new key to count", func() bool {
		return status(wiretest.Sign(t, jose.RS256, fresh, claims)) == 200
	})
	i.Mu.Lock()
	before := i.Asked
	i.Mu.Unlock()
	begin := time.Now()
	for n := range 200 {
		got := status(wiretest.Sign(t, jose.RS256, jose.JSONWebKey{Key: fresh.Key, KeyID: fmt.Sprint("unknown ", n)}, claims))
		if got != 401 {
			t.Fatalf("unknown key: %d", got)
		}
	}
	i.Mu.Lock()
	defer i.Mu.Unlock()
	if asked, most := i.Asked-before, int(time.Since(begin)/guard.IssuerPause)+1; asked > most {
		t.Errorf("the issuer was asked %d times in %v, at most %d", asked, time.Since(begin), most)
	}
}
