package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server/internal/guard"
)

// standIn answers the three calls about session keys as a Coder deployment does.
type standIn struct {
	*httptest.Server

	requests atomic.Int64
	checks   atomic.Int64 // the most in one call

	mu    sync.Mutex
	keys  map[string]coderKeyShape
	fault func(w http.ResponseWriter, r *http.Request) bool // answers in its place; nil: nothing does
}

// coderKeyShape is a session key as Coder knows it.
type coderKeyShape struct {
	user        uuid.UUID
	status      string   // of the user; empty: active
	description any      // what Coder says of the key to whoever may read it
	reads       bool     // the key may read its user
	describes   bool     // the key may read itself
	sees        []string // templates and organizations whose insights the key may see, by id; "all": everything
	gone        bool     // Coder knows no such key
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{keys: map[string]coderKeyShape{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// newKey makes a session key of some shape. What Coder says of it is completed by its id and its user.
func (s *standIn) newKey(shape coderKeyShape) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("key%07d", len(s.keys))
	if d, ok := shape.description.(map[string]any); ok {
		full := map[string]any{"id": id, "user_id": shape.user, "login_type": "token", "token_name": "test"}
		for name, value := range d {
			full[name] = value
		}
		shape.description = full
	}
	key := id + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:22]
	s.keys[key] = shape
	return key
}

// fail sets what answers in the place of the deployment.
func (s *standIn) fail(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// forget makes Coder know a key no longer.
func (s *standIn) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shape := s.keys[key]
	shape.gone = true
	s.keys[key] = shape
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	token := r.Header.Get("Coder-Session-Token")
	s.mu.Lock()
	key, known := s.keys[token]
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	id, _, _ := strings.Cut(token, "-")
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	refuse := map[string]string{"message": "Resource not found or you do not have access to this resource"}
	switch call := r.Method + " " + r.URL.Path; {
	case !known || key.gone || key.status == "suspended":
		answer(http.StatusUnauthorized, map[string]string{"message": "You are signed out or your session has expired."})
	case call == "GET /api/v2/users/me" && key.reads:
		answer(http.StatusOK, map[string]any{"id": key.user, "username": "somebody", "status": key.status, "email": "somebody@example.com"})
	case call == "GET /api/v2/users/me/keys/"+id && key.describes:
		answer(http.StatusOK, key.description)
	case call == "POST /api/v2/authcheck":
		var body struct{ Checks map[string]guard.AuthCheck }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			answer(http.StatusBadRequest, map[string]string{"message": err.Error()})
			return
		}
		s.checks.Store(max(s.checks.Load(), int64(len(body.Checks))))
		allowed := map[string]bool{}
		for name, check := range body.Checks {
			allowed[name] = key.allows(check)
		}
		answer(http.StatusOK, allowed)
	default:
		answer(http.StatusNotFound, refuse)
	}
}

func (k coderKeyShape) allows(c guard.AuthCheck) bool {
	if c.Action != "view_insights" || c.Object.ResourceType != "template" {
		return false
	}
	return slices.ContainsFunc(k.sees, func(id string) bool {
		return id == "all" || id == c.Object.OrganizationID || id == c.Object.ResourceID
	})
}
