package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// browser goes where it is sent, but for other hosts, and keeps cookies as browsers do.
type browser struct {
	t       *testing.T
	home    string
	cookies map[string]*http.Cookie
}

// open asks for an address and returns where the answer sends to, and its status.
func (b *browser) open(address string) (*url.URL, int) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.cookies {
		if strings.HasPrefix(req.URL.Path, c.Path) {
			req.AddCookie(c)
		}
	}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: time.Minute,
	}
	resp, err := client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
	if resp.Header.Get("Location") == "" {
		return nil, resp.StatusCode
	}
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return to, resp.StatusCode
}

// People sign in through the issuer with a code that only the browser that asked for it can use, and the session ends with the
// token of the issuer.
func TestIssuerSignIn(t *testing.T) {
	t.Parallel()
	i := wiretest.NewIssuer(t)
	key := i.Rotate(t, "one")
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, func(c *server.Options) {
		c.OIDC = &guard.OIDC{Issuer: i.URL, Audience: "insights", ClientSecret: "sesame"}
		c.ExternalURL = "http://page.test"
	})
	r.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleAuditor})
	now := storetest.Now.Unix()

	for name, c := range map[string]struct {
		change func(asked url.Values, claims map[string]any) // of what the issuer signs
		back   func(query url.Values)                        // of what the browser brings
		other  bool                                          // another browser brings it
		status int                                           // of the issuer's answer
		ok     bool
	}{
		"as it should be":          {ok: true},
		"audience of several":      {change: func(_ url.Values, c map[string]any) { c["aud"] = []string{"x", "insights"} }, ok: true},
		"another state":            {back: func(q url.Values) { q.Set("state", "x") }},
		"no state":                 {back: func(q url.Values) { q.Del("state") }},
		"another code":             {back: func(q url.Values) { q.Set("code", "x") }},
		"no code":                  {back: func(q url.Values) { q.Del("code") }},
		"the issuer refuses":       {back: func(q url.Values) { q.Set("error", "access_denied") }},
		"another browser":          {other: true},
		"the issuer is ill":        {status: http.StatusInternalServerError},
		"another nonce":            {change: func(_ url.Values, c map[string]any) { c["nonce"] = "x" }},
		"no nonce":                 {change: func(_ url.Values, c map[string]any) { delete(c, "nonce") }},
		"another audience":         {change: func(_ url.Values, c map[string]any) { c["aud"] = "x" }},
		"another issuer":           {change: func(_ url.Values, c map[string]any) { c["iss"] = "https://x" }},
		"ended":                    {change: func(_ url.Values, c map[string]any) { c["exp"] = now - 60 }},
		"somebody who is unknown":  {change: func(_ url.Values, c map[string]any) { c["sub"] = "00000000-0000-0000-0000-00000000beef" }},
		"somebody without an id":   {change: func(_ url.Values, c map[string]any) { delete(c, "sub") }},
		"a token that is not JSON": {change: func(_ url.Values, c map[string]any) { clear(c) }},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: they share the issuer
			b := &browser{t, "http://" + r.HTTPAddress(), map[string]*http.Cookie{}}
			to, status := b.open(b.home + rest.IssuerPath)
			if status != http.StatusSeeOther || to.Scheme+"://"+to.Host+to.Path != i.URL+"/authorize" {
				t.Fatalf("sent to %v, %d", to, status)
			}
			asked := to.Query()
			if asked.Get("redirect_uri") != "http://page.test"+rest.CallbackPath || asked.Get("client_id") != "insights" ||
				asked.Get("code_challenge_method") != "S256" || asked.Get("response_type") != "code" {
				t.Fatalf("asked for %v", asked)
			}
			secret := b.cookies["insights_sign_in"]
			if !secret.HttpOnly || secret.SameSite != http.SameSiteLaxMode || secret.Path != rest.IssuerPath ||
				strings.Contains(to.String(), secret.Value) {
				t.Fatalf("cookie %+v, sent to %v", secret, to)
			}
			i.Mu.Lock()
			i.Redeem = func(form url.Values) (int, any) {
				proof := sha256.Sum256([]byte(form.Get("code_verifier")))
				if c.status != 0 || form.Get("code") != "the code" ||
					base64.RawURLEncoding.EncodeToString(proof[:]) != asked.Get("code_challenge") {
					return max(c.status, http.StatusBadRequest), map[string]string{"error": "invalid_grant"}
				}
				claims := map[string]any{
					"iss": i.URL, "aud": "insights", "sub": f.Users[0].String(), "iat": now, "exp": now + 600, "nonce": asked.Get("nonce"),
				}
				if c.change != nil {
					c.change(form, claims)
				}
				return http.StatusOK, map[string]any{
					"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": wiretest.Sign(t, jose.RS256, key, claims),
				}
			}
			i.Mu.Unlock()
			query := url.Values{"code": {"the code"}, "state": {asked.Get("state")}}
			if c.back != nil {
				c.back(query)
			}
			if c.other {
				b.cookies = map[string]*http.Cookie{}
				b.open(b.home + rest.IssuerPath)
			}
			to, status = b.open(b.home + rest.CallbackPath + "?" + query.Encode())
			session := b.cookies["insights_session"]
			if !c.ok {
				if status != http.StatusSeeOther || to.String() != "http://page.test/#sign-in-failed" || session != nil {
					t.Errorf("sent to %v with %v", to, maps.Clone(b.cookies))
				}
				return
			}
			if status != http.StatusSeeOther || to.String() != "http://page.test/" || session == nil || session.MaxAge != 600 ||
				b.cookies["insights_sign_in"] != nil {
				t.Fatalf("sent to %v with %v", to, b.cookies)
			}
			if status, _, text := r.send(t, http.MethodGet, "/api/v2/access/me", withCookie(session)); status != http.StatusOK ||
				!strings.Contains(string(text), "user0") {
				t.Errorf("the session: %d %s", status, text)
			}
			// What was used is of no use again: the browser has forgotten its secret.
			if to, _ := b.open(b.home + rest.CallbackPath + "?" + query.Encode()); to.Fragment != "sign-in-failed" {
				t.Errorf("once more: sent to %v", to)
			}
		})
	}
}

// The page offers to sign in through the issuer only where that leads somewhere.
func TestIssuerSignInIsOffered(t *testing.T) {
	t.Parallel()
	i := wiretest.NewIssuer(t)
	for name, c := range map[string]struct {
		change func(*server.Options)
		status int
	}{
		"no issuer":       {func(*server.Options) {}, http.StatusNotFound},
		"no external URL": {func(c *server.Options) { c.OIDC = &guard.OIDC{Issuer: i.URL, Audience: "insights"} }, http.StatusNotFound},
		"both": {func(c *server.Options) {
			c.OIDC, c.ExternalURL = &guard.OIDC{Issuer: i.URL, Audience: "insights"}, "http://page.test"
		}, http.StatusSeeOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, storetest.SQLite(t), storetest.Now, c.change)
			b := &browser{t, "http://" + r.HTTPAddress(), map[string]*http.Cookie{}}
			if _, status := b.open(b.home + rest.IssuerPath); status != c.status {
				t.Errorf("%d, want %d", status, c.status)
			}
			_, _, text := r.send(t, http.MethodGet, "/", http.Header{})
			html := string(text)
			if strings.Contains(html, "<html") && strings.Contains(html, `content="token oidc"`) != (c.status == http.StatusSeeOther) {
				t.Errorf("the page: %s", html)
			}
		})
	}
}
