package server_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

const sessionPath = "/api/v2/access/session"

// send makes any request over REST, with no body.
func (r *running) send(t testing.TB, method, path string, header http.Header) (status int, answered http.Header, text []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.HTTPAddress()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	return servertest.Exchange(t, req)
}

// signIn begins a session and returns its cookie.
func (r *running) signIn(t testing.TB, token string) *http.Cookie {
	t.Helper()
	status, header, text := r.send(t, http.MethodPost, sessionPath, http.Header{"Authorization": {"Bearer " + token}})
	cookies := (&http.Response{Header: header}).Cookies()
	if status != http.StatusOK || len(cookies) != 1 {
		t.Fatalf("sign in: %d %s, cookies %v", status, text, cookies)
	}
	if strings.Contains(string(text), cookies[0].Value) {
		t.Errorf("scripts can read the token of the session: %s", text)
	}
	return cookies[0]
}

func withCookie(c *http.Cookie, more ...string) http.Header {
	h := http.Header{"Cookie": {c.Name + "=" + c.Value}}
	for i := 0; i < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	return h
}

// A session lets in who signed in, until they sign out or the token that they showed is revoked.
func TestSession(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	r.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleOwner})
	token := r.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: f.Users[0]})
	cookie := r.signIn(t, token.Reveal())
	if cookie.Name != "insights_session" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" ||
		cookie.Domain != "" || cookie.Secure || cookie.MaxAge != 12*3600 {
		t.Errorf("cookie: %+v", cookie)
	}
	status, _, text := r.send(t, http.MethodGet, "/api/v2/access/me", withCookie(cookie))
	var me insightsv1.WhoAmIResponse
	if err := (rest.JSONMarshaler{}).Unmarshal(text, &me); err != nil || status != http.StatusOK || me.GetUsername() != "user0" {
		t.Fatalf("who am I: %d %s %v", status, text, err)
	}
	var tokens struct{ Tokens []map[string]any }
	r.GetInto(t, token.Reveal(), "/api/v2/access/tokens", nil, &tokens)
	if !slices.ContainsFunc(tokens.Tokens, func(t map[string]any) bool { return t["purpose"] == "session" }) {
		t.Errorf("no session among the tokens: %v", tokens.Tokens)
	}

	status, header, _ := r.send(t, http.MethodDelete, sessionPath, withCookie(cookie))
	forget := header.Get("Set-Cookie")
	if status != http.StatusOK || !strings.HasPrefix(forget, "insights_session=;") || !strings.Contains(forget, "Max-Age=0") {
		t.Errorf("sign out: %d, %q", status, forget)
	}
	left := r.signIn(t, token.Reveal())
	if err := r.Store.RevokeToken(t.Context(), token.ID()); err != nil {
		t.Fatal(err)
	}
	for why, c := range map[string]*http.Cookie{"signed out": cookie, "the token is revoked": left} {
		r.waitOut(t, why, withCookie(c))
	}
	events, err := r.Store.AuditEvents(t.Context(), store.AuditFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, e := range events {
		actions = append(actions, e.Action)
	}
	if want := []string{"SignIn", "SignIn", "SignOut"}; !slices.Equal(want, slices.Sorted(slices.Values(actions))) {
		t.Errorf("trail: %v, want %v", actions, want)
	}
}

// waitOut waits until a credential stops counting, as long as it may take.
func (r *running) waitOut(t testing.TB, why string, header http.Header) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		status, _, text := r.send(t, http.MethodGet, "/api/v2/access/me", header)
		if status == http.StatusUnauthorized {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d %s", why, status, text)
		}
	}
}

// The page learns who is signed in without an error, if it is nobody; what the server cannot answer is one.
func TestPageLearnsWhoIsThere(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	cookie := r.signIn(t, r.Token(t, access.RoleOwner, servertest.Everywhere))
	_, _, me := r.send(t, http.MethodGet, "/api/v2/access/me", withCookie(cookie))
	for name, c := range map[string]struct {
		query  string
		header http.Header
		status int
		want   string
	}{
		"signed in":     {"", withCookie(cookie), 200, string(me)},
		"nobody":        {"", http.Header{}, 200, "null"},
		"an old cookie": {"", http.Header{"Cookie": {cookie.Name + "=" + cookie.Value + "x"}}, 200, "null"},
		"another site":  {"", withCookie(cookie, "Sec-Fetch-Site", "cross-site"), 200, "null"},
		"a parameter":   {"?a=b", withCookie(cookie), 400, ""},
	} {
		status, _, text := r.send(t, http.MethodGet, rest.SessionPath+c.query, c.header)
		if status != c.status || c.want != "" && string(text) != c.want {
			t.Errorf("%s: %d %s, want %d %s", name, status, text, c.status, c.want)
		}
	}
}

// The cookie of a session counts in calls of the page alone: not in those that another site or another port makes a browser
// send, nor beside a token, nor twice.
func TestSessionCountsForThePageAlone(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	cookie := r.signIn(t, owner)
	home := "http://" + r.HTTPAddress()
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		want         int
	}{
		"the page": {
			http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Sec-Fetch-Site", "same-origin"), 200,
		},
		"typed address": {http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Sec-Fetch-Site", "none"), 200},
		"another site":  {http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Sec-Fetch-Site", "cross-site"), 401},
		"another port":  {http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Sec-Fetch-Site", "same-site"), 401},
		"page writes": {
			http.MethodPost, sessionPath, withCookie(cookie, "Sec-Fetch-Site", "same-origin", "Origin", home), 200,
		},
		"another site writes": {
			http.MethodPost, sessionPath, withCookie(cookie, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), 401,
		},
		"another site, older browser": {http.MethodPost, sessionPath, withCookie(cookie, "Origin", "https://evil.example"), 401},
		"no site, older browser":      {http.MethodDelete, sessionPath, withCookie(cookie, "Origin", "null"), 401},
		"another port, older browser": {http.MethodDelete, sessionPath, withCookie(cookie, "Origin", "http://127.0.0.1:1"), 401},
		"page writes, older browser":  {http.MethodPost, sessionPath, withCookie(cookie, "Origin", home), 200},
		"a form of another site": {
			http.MethodPost, "/api/v2/catalog", withCookie(cookie, "Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"), 401,
		},
		"twice": {
			http.MethodGet, "/api/v2/access/me",
			http.Header{"Cookie": {"insights_session=" + cookie.Value + "; insights_session=" + cookie.Value}},
			401,
		},
		"the name of TLS": {
			http.MethodGet, "/api/v2/access/me", http.Header{"Cookie": {"__Host-insights_session=" + cookie.Value}}, 401,
		},
		"another name": {
			http.MethodGet, "/api/v2/access/me", http.Header{"Cookie": {"coder_session_token=" + cookie.Value}}, 401,
		},
		"empty": {http.MethodGet, "/api/v2/access/me", http.Header{"Cookie": {"insights_session="}}, 401},
		"no token": {
			http.MethodGet, "/api/v2/access/me", http.Header{"Cookie": {"insights_session=hunter2"}}, 401,
		},
		"beside a token": {http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Coder-Session-Token", owner), 200},
		"beside a wrong token": {
			http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Coder-Session-Token", "hunter2"), 401,
		},
		"beside an empty token":             {http.MethodGet, "/api/v2/access/me", withCookie(cookie, "Coder-Session-Token", ""), 401},
		"token of the session, in a header": {http.MethodGet, "/api/v2/access/me", http.Header{"Coder-Session-Token": {cookie.Value}}, 200},
		"many small ones": {
			http.MethodGet, "/api/v2/access/me", http.Header{"Cookie": {strings.Repeat("insights_session=x; ", 500)}}, 401,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if status, _, text := r.send(t, c.method, c.path, c.header); status != c.want {
				t.Errorf("%d %s, want %d", status, text, c.want)
			}
		})
	}
}

// A link lets in once: its token is good for one call, and the session that this call begins goes on.
func TestSignInLink(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	link := r.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Purpose: store.PurposeSignIn}).Reveal()
	cookie := r.signIn(t, link)
	for range 2 {
		status, _, text := r.send(t, http.MethodPost, sessionPath, http.Header{"Authorization": {"Bearer " + link}})
		if status != http.StatusUnauthorized {
			t.Errorf("the link once more: %d %s", status, text)
		}
		if status, _, text := r.send(t, http.MethodGet, "/api/v2/access/me", withCookie(cookie)); status != http.StatusOK {
			t.Errorf("its session: %d %s", status, text)
		}
	}
	spent := r.Issue(t, store.Token{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Purpose: store.PurposeSignIn}).Reveal()
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusUnauthorized} {
		status, _, _ := r.send(t, http.MethodGet, "/api/v2/access/me", http.Header{"Authorization": {"Bearer " + spent}})
		if status != want {
			t.Errorf("another call with such a token: %d, want %d", status, want)
		}
	}
}

// Where the page comes over TLS its cookie never travels otherwise, and no neighbor can plant one.
func TestSessionCookieOverTLS(t *testing.T) {
	t.Parallel()
	certificate, roots := wiretest.SelfSigned(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	for name, change := range map[string]func(*server.Options){
		"TLS": func(c *server.Options) {
			c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		},
		"TLS of a proxy": func(c *server.Options) { c.ExternalURL = "https://insights.example.com" },
	} {
		r := run(t, storetest.SQLite(t), storetest.Now, change)
		scheme := "http://"
		if name == "TLS" {
			scheme = "https://"
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, scheme+r.HTTPAddress()+sessionPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Coder-Session-Token", r.Token(t, access.RoleOwner, servertest.Everywhere))
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		header := response.Header
		cookie := (&http.Response{Header: header}).Cookies()[0]
		if cookie.Name != "__Host-insights_session" || !cookie.Secure || cookie.Path != "/" || cookie.Domain != "" || !cookie.HttpOnly {
			t.Errorf("%s: %+v", name, cookie)
		}
	}
}

// Whatever a browser gets, also when it asks for what there is not, says what it may not do with it.
func TestBrowsersAreProtected(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	paths := []string{
		"/", "/templates/" + uuid.NewString() + "/insights", "/assets/none.js", "/robots.txt", "/favicon.svg", "/openapi.json", "/livez",
		"/readyz", "/none", "/api/none", "/api/v2/access/me", "//x", "/%2e", "/sign-in/oidc",
	}
	for _, route := range wiretest.Routes(t) {
		paths = append(
			paths,
			strings.NewReplacer("{template_id}", "x", "{token_id}", "x", "{role_binding_id}", "x", "{user_id}", "x").Replace(route.Path),
		)
	}
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		"Referrer-Policy":        "no-referrer",
		"X-Content-Type-Options": "nosniff",
	}
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead, "BREW"} {
			status, header, text := r.send(t, method, path, http.Header{})
			for name, value := range want {
				if got := header.Values(name); len(got) != 1 || got[0] != value {
					t.Errorf("%s %s (%d): %s %q", method, path, status, name, got)
				}
			}
			contentType := header.Get("Content-Type")
			if json.Valid(text) && strings.HasPrefix(string(text), "{") && !strings.HasPrefix(contentType, "application/json") {
				t.Errorf("%s %s: JSON as %q", method, path, contentType)
			}
		}
	}
}
