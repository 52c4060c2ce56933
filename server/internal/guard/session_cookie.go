package guard

import (
	"net/http"
	"slices"
	"time"
)

// SetCookieKey is the one header of gRPC answers that REST answers show.
const SetCookieKey = "set-cookie"

// SessionCookie is where a browser keeps the token of its session: out of reach of scripts and of other sites, and where the
// page comes over TLS, of whoever listens or answers for a neighboring name.
type SessionCookie struct {
	Secure bool
	coder  bool // the cookie of a Coder deployment counts as well
}

// CoderCookie is where a browser keeps the session key of a Coder deployment, which it shows here if both have one host.
const CoderCookie = "coder_session_token"

// NewSessionCookie is the cookie of a page that comes over TLS or not, and whether that of Coder counts as well.
func NewSessionCookie(secure, coder bool) SessionCookie { return SessionCookie{secure, coder} }

func (s SessionCookie) name() string {
	if s.Secure {
		return "__Host-insights_session"
	}
	return "insights_session"
}

// With returns the header that makes a browser keep a token for some time, or forget it.
func (s SessionCookie) With(token string, left time.Duration) string {
	return (&http.Cookie{
		Name: s.name(), Value: token, Path: "/", MaxAge: int(left.Seconds()), HttpOnly: true, Secure: s.Secure,
		SameSite: http.SameSiteStrictMode,
	}).String()
}

// crossOrigin finds calls that a page of another site makes a browser send.
var crossOrigin http.CrossOriginProtection

// Tokens returns the tokens that a browser adds to a call. They count in calls of the page itself alone, whatever else may have made
// the browser call, and never beside a token that the caller chose.
func (s SessionCookie) Tokens(r *http.Request) []string {
	site := r.Header.Get("Sec-Fetch-Site") // none: the address was typed
	if site != "" && site != "same-origin" && site != "none" || crossOrigin.Check(r) != nil {
		return nil
	}
	if slices.ContainsFunc(CredentialHeaders, func(name string) bool { return len(r.Header.Values(name)) > 0 }) {
		return nil
	}
	cookies := r.CookiesNamed(s.name())
	if safe := r.Method == http.MethodGet || r.Method == http.MethodHead; s.coder && safe && len(cookies) == 0 {
		// Its deployment may not be as strict about other sites and neighbors: it carries nothing but a session key.
		cookies = slices.DeleteFunc(r.CookiesNamed(CoderCookie), func(c *http.Cookie) bool { return !isCoderSession(c.Value) })
	}
	var tokens []string
	for _, cookie := range cookies {
		tokens = append(tokens, cookie.Value)
	}
	return tokens[:min(2, len(tokens))] // two are as wrong as many
}
