package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// A deployment that is slow, fails, sends callers elsewhere or answers nonsense gives nobody more rights: its keys are told to
// come again, or refused, and everybody else is served.
func TestCoderInTrouble(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for time limits: make test")
	}
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	other := w.Token(t, access.RoleAuditor, servertest.Everywhere)
	elsewhere := newStandIn(t)
	body := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	answers := map[string]func(http.ResponseWriter, *http.Request){
		"slow": hang,
		"fails": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"id": "all"}`, http.StatusInternalServerError)
		},
		"is busy":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"sends callers away": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"hangs up":           func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"promises more": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{}`)
		},
		"promises less": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, `{"0": true}`)
		},
		"never ends": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"0": true, "x": "`+strings.Repeat("x", 2*guard.MaxCoderAnswer)+`"}`)
		},
		"answers nothing":       body(""),
		"answers with a page":   body("<html>"),
		"answers with a list":   body(`[true]`),
		"answers with words":    body(`{"id": "all", "0": "true", "scope": "all"}`),
		"answers twice":         body(`{"0": true}{"0": true}`),
		"answers with null":     body(`null`),
		"answers to another":    body(`{"everything": true, "scope": "all", "id": "x"}`),
		"answers with a number": body(`{"id": 1, "0": 1}`),
	}
	calls := []string{"/api/v2/users/me", "/api/v2/users/me/keys/", "/api/v2/authcheck"}
	methods := servedMethods(t, w.ServiceInfo())
	served, err := guard.ReadRules(w.ServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	troubled := map[string]func(http.ResponseWriter, *http.Request){}
	troubledCall := map[string]string{}
	var mu sync.Mutex
	coder.fail(func(rw http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		token := r.Header.Get("Coder-Session-Token")
		answer, path := troubled[token], troubledCall[token]
		mu.Unlock()
		if answer == nil || !strings.HasPrefix(r.URL.Path, path) || path == calls[0] && r.URL.Path != path {
			return false
		}
		answer(rw, r)
		return true
	})
	var all sync.WaitGroup
	room := make(chan struct{}, guard.MaxCoderCalls) // else they wait for each other
	for trouble, answer := range answers {
		for _, path := range calls {
			user := uuid.New()
			w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{
				Users: []*insightsv1.User{{Id: user.String(), Username: "u-" + user.String()}},
			})
			w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
			key := coder.newKey(coderKeyShape{
				user: user, reads: true, describes: true, description: map[string]any{"scope": "all"}, sees: []string{"all"},
			})
			mu.Lock()
			troubled[key], troubledCall[key] = answer, path
			mu.Unlock()
			all.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				for _, method := range methods {
					if trouble == "slow" &&
						!slices.Contains([]protoreflect.Name{"ListTokens", "GetMyData", "GetTemplateInsights"}, method.Name()) {
						continue // each call takes as long as Coder may
					}
					w.checkTroubled(t, fmt.Sprintf("Coder %s when asked %s", trouble, path), served, path, key, method)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(20 * time.Millisecond):
		}
		begin := time.Now()
		if status, answer := w.Get(t, other, "/api/v2/access/me", nil); status != http.StatusOK {
			t.Errorf("somebody else: %d %v", status, answer)
		}
		if took := time.Since(begin); took > guard.CoderTimeout {
			t.Errorf("somebody else waited for %v", took)
		}
	}
	if n := elsewhere.requests.Load(); n != 0 {
		t.Errorf("%d keys were shown to another server", n)
	}
}

// hang answers never. Only who has read a request notices that its caller left.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// checkTroubled makes one call with a key that would be allowed everything, were it not for a call of ours that gets no good
// answer: what does not need that answer is allowed, everything else is not.
func (w *neighbors) checkTroubled(t *testing.T, what string, served guard.Rules, path, key string, method protoreflect.MethodDescriptor) {
	t.Helper()
	rpc := string(method.Name())
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), rpc)
	rule, guarded := served[name]
	if !guarded || rpc == "SignIn" {
		return
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.Pairs("coder-session-token", key)), time.Minute)
	defer cancel()
	var about []servertest.Thing
	if a := readMatrix(t)[rpc].about; !slices.Contains(a, "none") {
		about = w.About(a[0])
	}
	req := w.Request(t, rpc, about)
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Error(err)
		return
	}
	response := kind.New().Interface()
	if method.IsStreamingServer() {
		_, _, _, err = w.stream(ctx, method, name, req, response)
	} else {
		err = w.Conn.Invoke(ctx, name, req, response)
	}
	views := rule.Permission == access.ViewInsights || rule.Permission == access.ViewInsightsAggregate ||
		strings.HasPrefix(rpc, "List") && rule.Permission == access.Authenticated || rpc == "WhoAmI"
	needs := strings.HasSuffix(path, "/me") || strings.HasSuffix(path, "authcheck") && views ||
		strings.HasSuffix(path, "keys/") && (!call.MayCarry(rule.Permission) || rpc == "WhoAmI")
	switch code := status.Code(err); {
	case !needs && (code == codes.Unavailable || code == codes.Unauthenticated):
		t.Errorf("%s: %s does not need it: %v", what, rpc, err)
	case needs && code == codes.OK && rpc != "ListTemplates" && rpc != "ListOrganizations" && rpc != "WhoAmI" && rpc != "GetDefinitions":
		t.Errorf("%s: %s is allowed: %v", what, rpc, response)
	case needs && code == codes.OK:
		if text := fmt.Sprint(response); strings.Contains(text, servertest.TemplateA1.String()) ||
			strings.Contains(text, servertest.OrganizationA.String()) ||
			strings.Contains(text, "manage_") && strings.Contains(path, "keys") ||
			strings.Contains(text, "view_") && strings.Contains(path, "authcheck") {
			t.Errorf("%s: %s shows %s", what, rpc, text)
		}
	case needs && code != codes.Unavailable && code != codes.NotFound && code != codes.PermissionDenied && code != codes.Unauthenticated:
		t.Errorf("%s: %s: %v", what, rpc, err)
	}
}

// While Coder does not answer, nobody waits but who shows a session key: not others over REST, however many keys are shown, and
// not the same user with another credential.
func TestNobodyElseWaitsForCoder(t *testing.T) {
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	user := uuid.New()
	w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user.String(), Username: "u"}}})
	w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
	own := w.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: user}).Reveal()
	key := coder.newKey(coderKeyShape{user: user, reads: true, sees: []string{"all"}})
	if status, _, text := w.Fetch(t, http.Header{"Coder-Session-Token": {key}}, "/api/v2/templates"); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	var asked, open atomic.Int64
	coder.fail(func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		open.Add(1)
		defer open.Add(-1)
		hang(w, r)
		return true
	})
	// A call that waits for one that waits for Coder ends after Coder's time. On a machine that is so slow that others end after
	// it as well, nothing is learned: then all begins anew.
	const rounds = 5
	question := "http://" + w.HTTPAddress() + "/api/v2/insights/templates?" + wiretest.Week + "&template_ids=" +
		servertest.TemplateA1.String()
	for range rounds {
		begin := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		ask := func(key string) {
			all.Go(func() {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, question, nil)
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Coder-Session-Token", key)
				if response, err := http.DefaultClient.Do(request); err == nil {
					_ = response.Body.Close()
				}
			})
		}
		before := asked.Load()
		for range 16 { // as many as one principal may ask at a time, and more
			ask(key)
		}
		wiretest.WaitFor(t, 10*time.Second, "a call to Coder", func() bool { return asked.Load() > before })
		for i := range 2 * 100 { // twice the calls that one connection of the gateway holds
			ask(fmt.Sprintf("madeup%04d-0123456789abcdefghijkl", i))
		}
		wiretest.WaitFor(t, 10*time.Second, "calls to Coder", func() bool { return asked.Load() >= before+guard.MaxCoderCalls })
		for range 3 {
			if status, answer := w.Get(t, own, "/api/v2/insights/templates", url.Values{
				"start_time": {"2023-08-07T00:00:00Z"}, "end_time": {"2023-08-14T00:00:00Z"},
			}); status != http.StatusOK {
				t.Errorf("the same user with a token: %d %v", status, answer)
			}
		}
		took := time.Since(begin)
		stop()
		all.Wait()
		if took < guard.CoderTimeout {
			return
		}
		wiretest.WaitFor(t, 3*guard.CoderTimeout, "the end of the calls to Coder", func() bool { return open.Load() == 0 })
	}
	t.Errorf("the same user with a token waited for Coder, %d times", rounds)
}

// A question that fails asks no more: neither what is left of it, nor more at a time than it may.
func TestFailedQuestionsAskNoMore(t *testing.T) {
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	user := uuid.New()
	change := &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user.String(), Username: "u"}}}
	for range 1500 {
		id := uuid.NewString()
		change.Templates = append(change.Templates, &insightsv1.Template{
			Id: id, OrganizationId: servertest.OrganizationA.String(), Name: id,
		})
	}
	w.Apply(t, w.ControlPlane, change)
	w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
	var open, most, asked atomic.Int64
	coder.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || asked.Add(1) == 1 {
			return false
		}
		most.Store(max(most.Load(), open.Add(1)))
		defer open.Add(-1)
		if asked.Load() > 2 {
			hang(w, r)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	key := coder.newKey(coderKeyShape{user: user, reads: true})
	status, header, text := w.Fetch(t, http.Header{"Coder-Session-Token": {key}}, "/api/v2/insights/templates?"+wiretest.Week)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, text)
	}
	wiretest.WaitFor(t, 2*guard.CoderTimeout, "the end of the calls", func() bool { return open.Load() == 0 })
	if asked.Load() > 2+2*guard.RightsAtOnce || most.Load() > guard.RightsAtOnce {
		t.Errorf("%d calls, at most %d at a time", asked.Load(), most.Load())
	}
}
