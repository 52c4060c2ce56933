package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Tokens of sessions of a Coder deployment.
const (
	sessionOfUser     = "abcdefghij-0123456789abcdefghijkl"
	sessionOfStranger = "strangerrr-0123456789abcdefghijkl"
	sessionOfTrouble  = "troubleeee-0123456789abcdefghijkl"
	sessionElsewhere  = "elsewheree-0123456789abcdefghijkl"
	sessionSuspended  = "suspendedd-0123456789abcdefghijkl"
	sessionTooNarrow  = "toonarrow0-0123456789abcdefghijkl"
	sessionUnknown    = "unknownnnn-0123456789abcdefghijkl"
)

func TestCoderSessions(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	user := f.Users[0]
	_, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleAuditor})
	if err != nil {
		t.Fatal(err)
	}
	var asked, strayed atomic.Int64
	var mu sync.Mutex
	ended := map[string]bool{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		strayed.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"id": user})
	}))
	t.Cleanup(elsewhere.Close)
	coder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch call := r.Method + " " + r.URL.String(); call {
		case "GET /base/api/v2/users/me":
		case "GET /base/api/v2/users/me/keys/abcdefghij":
			w.WriteHeader(http.StatusNotFound)
			return
		case "POST /base/api/v2/authcheck":
			_ = json.NewEncoder(w).Encode(map[string]bool{"0": true})
			return
		default:
			t.Errorf("asked for %s", call)
		}
		token := r.Header.Get("Coder-Session-Token")
		mu.Lock()
		defer mu.Unlock()
		switch {
		case ended[token], token == sessionUnknown:
			w.WriteHeader(http.StatusUnauthorized)
		case token == sessionOfUser:
			_ = json.NewEncoder(w).Encode(map[string]any{"id": user, "status": "active", "email": "somebody@example.com"})
		case token == sessionSuspended:
			_ = json.NewEncoder(w).Encode(map[string]any{"id": user, "status": "suspended"})
		case token == sessionOfStranger:
			_ = json.NewEncoder(w).Encode(map[string]any{"id": uuid.New(), "status": "active"})
		case token == sessionTooNarrow:
			w.WriteHeader(http.StatusNotFound)
		case token == sessionElsewhere:
			http.Redirect(w, r, elsewhere.URL+"/api/v2/users/me", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(coder.Close)
	r := run(t, f.Database, storetest.Now, func(c *server.Options) { c.CoderURL = coder.URL + "/base" })
	ask := func(name, token string) (int, string) {
		status, _, text := r.Fetch(t, http.Header{name: {token}}, "/api/v2/access/me")
		return status, string(text)
	}
	for _, header := range []string{"Coder-Session-Token", "Session-Token"} {
		status, text := ask(header, sessionOfUser)
		if status != http.StatusOK || !strings.Contains(text, user.String()) || !strings.Contains(text, "view_insights") {
			t.Errorf("a session in %s: %d %s", header, status, text)
		}
	}
	before := asked.Load()
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() { ask("Coder-Session-Token", sessionOfUser) })
		calls.Go(func() { ask("Coder-Session-Token", sessionUnknown) })
	}
	calls.Wait()
	if n := asked.Load() - before; n > 4 {
		t.Errorf("Coder was asked %d times about two sessions at once", n)
	}
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"of somebody who is not in the catalog": {sessionOfStranger, http.StatusUnauthorized},
		"unknown there":                         {sessionUnknown, http.StatusUnauthorized},
		"of who is suspended":                   {sessionSuspended, http.StatusUnauthorized},
		"of another form":                       {"abcdefghij-0123456789abcdefghijk", http.StatusUnauthorized},
		"with a line end":                       {sessionOfUser + "x", http.StatusUnauthorized},
		"that may not read its user":            {sessionTooNarrow, http.StatusUnauthorized},
		"while Coder is in trouble":             {sessionOfTrouble, http.StatusServiceUnavailable},
		"that Coder sends elsewhere":            {sessionElsewhere, http.StatusServiceUnavailable},
	} {
		if status, text := ask("Coder-Session-Token", c.token); status != c.status || strings.Contains(text, "12345678") {
			t.Errorf("a session %s: %d %s, want %d", name, status, text, c.status)
		}
	}
	if n := strayed.Load(); n != 0 {
		t.Errorf("%d tokens were shown to another server", n)
	}
	status, header, text := r.send(t, http.MethodPost, sessionPath, http.Header{"Coder-Session-Token": {sessionOfUser}})
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	if status != http.StatusOK || !strings.HasPrefix(cookie, "insights_session=") || strings.Contains(string(text), sessionOfUser) {
		t.Fatalf("sign in with a session token of Coder: %d %v %s", status, header, text)
	}
	inSession := func(method, path string) int {
		status, _, _ := r.send(t, method, path, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"same-origin"}})
		return status
	}
	for method, path := range map[string]string{http.MethodGet: "/api/v2/access/me", http.MethodPost: sessionPath} {
		if status := inSession(method, path); status != http.StatusOK {
			t.Errorf("%s %s in the session: %d", method, path, status)
		}
	}
	mu.Lock()
	ended[sessionOfUser] = true
	mu.Unlock()
	for deadline := time.After(30 * time.Second); ; {
		if status, _ := ask("Coder-Session-Token", sessionOfUser); status == http.StatusUnauthorized {
			break
		}
		select {
		case <-deadline:
			t.Fatal("a session that ended still counts")
		case <-time.After(50 * time.Millisecond):
		}
	}
	if status := inSession(http.MethodGet, "/api/v2/access/me"); status != http.StatusUnauthorized {
		t.Errorf("the session of the page after that of Coder ended: %d", status)
	}
}
