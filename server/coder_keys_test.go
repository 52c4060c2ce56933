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
	"github.com/template-insights/insights/store/storetest"
)

// shapedKey is a key and what is to become of it: what Coder allows, told in the words of the table of access.
type shapedKey struct {
	name  string
	shape coderKeyShape
	role  access.Binding // that the user holds here
	valid bool
	whole bool
	sees  []string // a1, a2, gone, b1, and "all" where Coder allows everything
}

// shapedKeys are keys of all shapes that a Coder deployment makes, and of some that it should not.
func (w *neighbors) shapedKeys() []shapedKey {
	owner := access.Binding{Role: access.RoleOwner}
	everything := []string{"a1", "a2", "gone", "b1", "all"}
	inA := []string{"a1", "a2", "gone"}
	template := func(name string) string { return w.Things[name].Template.String() }
	full := map[string]any{"scope": "all", "scopes": []string{"coder:all"}, "allow_list": []string{"*:*"}}
	with := func(scopes, allowed any) map[string]any {
		return map[string]any{"scope": "", "scopes": scopes, "allow_list": allowed}
	}
	key := func(sees []string, description any) coderKeyShape {
		return coderKeyShape{reads: true, describes: true, description: description, sees: sees}
	}
	hidden := func(sees ...string) coderKeyShape { return coderKeyShape{reads: true, sees: sees} }
	all := []string{"all"}
	return []shapedKey{
		{"without limits", key(all, full), owner, true, true, everything},
		{"of a release with one scope", key(all, map[string]any{"scope": "all"}), owner, true, true, everything},
		{
			"of a release without allow lists", key(all, map[string]any{"scope": "all", "scopes": []string{"all"}}), owner, true, true,
			everything,
		},
		{"with one scope that is not all", key(nil, map[string]any{"scope": "application_connect"}), owner, true, false, nil},
		{"with no scope", key(all, map[string]any{}), owner, true, false, everything},
		{"with an empty list of scopes", key(all, with([]string{}, []string{"*:*"})), owner, true, false, everything},
		{"with scopes that cannot be read", key(all, with(7, []string{"*:*"})), owner, true, false, everything},
		{
			"that lies about its one scope",
			key(nil, map[string]any{"scope": "all", "scopes": []string{"user:read"}, "allow_list": []string{"*:*"}}), owner, true, false,
			nil,
		},
		{"user:read", hidden(), owner, true, false, nil},
		{"workspace:read and user:read", hidden(), owner, true, false, nil},
		{"user:read and api_key:read", key(nil, with([]string{"user:read", "api_key:read"}, []string{"*:*"})), owner, true, false, nil},
		{"template:view_insights and user:read", hidden("all"), owner, true, false, everything},
		{
			"that reads all of templates, users and keys", key(all, with([]string{"template:*", "user:*", "api_key:*"}, []string{"*:*"})),
			owner, true, false, everything,
		},
		{
			"all, beside another scope", key(all, with([]string{"coder:all", "coder:application_connect"}, []string{"*:*"})), owner, true,
			false, everything,
		},
		{"all, with a list that names one template", hidden(template("a1")), owner, true, false, []string{"a1"}},
		{
			"all, with a list of its user, itself and one template",
			key([]string{template("a1")}, with([]string{"coder:all"}, []string{"user:*", "api_key:*", "template:" + template("a1")})),
			owner, true, false,
			[]string{"a1"},
		},
		{
			"all, with a list of everything and one template",
			key(all, with([]string{"coder:all"}, []string{"*:*", "template:" + template("a1")})), owner, true, false, everything,
		},
		{
			"all, with a list of all templates", key(all, with([]string{"coder:all"}, []string{"template:*"})), owner, true, false,
			everything,
		},
		{"all, with a list of all workspaces", hidden(), owner, true, false, nil},
		{"all, with an empty list", key(all, with([]string{"coder:all"}, []string{})), owner, true, false, everything},
		{"all, with no list where one belongs", key(all, with([]string{"coder:all"}, nil)), owner, true, false, everything},
		{
			"all, with a list that cannot be read", key(all, with([]string{"coder:all"}, []any{map[string]string{"type": "*", "id": "*"}})),
			owner, true, false, everything,
		},
		{"of two templates in two organizations", hidden(template("a1"), template("b1")), owner, true, false, []string{"a1", "b1"}},
		{"of one organization", hidden(servertest.OrganizationA.String()), owner, true, false, inA},
		{
			"without limits, of a template admin of one organization in Coder", key([]string{servertest.OrganizationA.String()}, full),
			owner, true, true, inA,
		},
		{"without limits, of who is nobody in Coder", key(nil, full), owner, true, true, nil},
		{
			"without limits, of who sees one template here", key(all, full),
			access.Binding{Role: access.RoleTemplateAdmin, Template: servertest.TemplateA1},
			true, true, everything,
		},
		{
			"of another template than the one seen here", hidden(template("b1")),
			access.Binding{Role: access.RoleTemplateAdmin, Template: servertest.TemplateA1},
			true, false,
			[]string{"b1"},
		},
		{"without limits, of a member here", key(all, full), access.Binding{Role: access.RoleMember}, true, true, everything},
		{"that is described as another key", key(all, map[string]any{"id": "another000", "scope": "all"}), owner, true, false, everything},
		{
			"that is described as somebody else's", key(all, map[string]any{"user_id": uuid.NewString(), "scope": "all"}), owner, true,
			false, everything,
		},
		{"that is described by half", key(all, "all"), owner, true, false, everything},
		{"that may not read its user", coderKeyShape{sees: all}, owner, false, false, nil},
		{
			"of who is suspended",
			coderKeyShape{reads: true, describes: true, status: "suspended", description: full, sees: all},
			owner,
			false, false, nil,
		},
		{"that is expired, deleted or of another deployment", coderKeyShape{gone: true}, owner, false, false, nil},
		{
			"of who is dormant",
			coderKeyShape{reads: true, describes: true, status: "dormant", description: full, sees: all},
			owner, true,
			true, everything,
		},
	}
}

// wants is what somebody with a key gets: what the table says of the user, as far as Coder allows it.
func (k shapedKey) wants(m matrix, who string, r guard.Rule, rpc, about string) outcome {
	if !k.valid {
		who = anonymous
	}
	want, _ := m[rpc].want(who, about)
	refused := m[rpc].refused
	switch {
	case want != allowed && want != rejected && want != notFound || rpc == "Check" || rpc == "List" || rpc == "Watch":
		return want
	case rpc == "SignIn":
		return allowed // as far as access goes
	case !call.MayCarry(r.Permission) && !k.whole:
		return refused
	case r.Permission != access.ViewInsights && r.Permission != access.ViewInsightsAggregate || want != allowed:
		return want
	}
	sees := func(of ...string) bool {
		return !slices.ContainsFunc(of, func(name string) bool { return !slices.Contains(k.sees, name) })
	}
	var may bool
	switch about {
	case "A":
		may = slices.ContainsFunc([]string{"a1", "a2", "gone"}, func(name string) bool { return sees(name) })
	case "B":
		may = sees("b1")
	case "mixed":
		may = sees("a1", "b1")
	case "unknown":
		may = sees("all")
	case "none":
		may = slices.ContainsFunc(k.sees, func(name string) bool {
			got, _ := m["GetTemplateInsights"].want(who, name)
			return name == "all" || got == allowed
		})
		if rpc == "GetDeploymentDAUs" {
			may = sees("all")
		}
	default:
		may = sees(about)
	}
	if may {
		return allowed
	}
	return refused
}

// Whatever a session key of Coder is like, it gives no more than Coder allows it, and no more than its user may do here.
func TestSessionKeysOfCoder(t *testing.T) {
	if testing.Short() {
		t.Skip("asks for every cell of the access matrix: make test")
	}
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	m, rest := readMatrix(t), readRoutes(t)
	methods := servedMethods(t, w.ServiceInfo())
	served, err := guard.ReadRules(w.ServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	r := &refusals{first: map[string]string{}}
	keys := w.shapedKeys()
	t.Run("cells", func(t *testing.T) {
		for _, k := range keys {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				user := uuid.New()
				w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{
					Users: []*insightsv1.User{{Id: user.String(), Username: "u-" + user.String()}},
				})
				w.Grant(t, store.RoleBinding{
					PrincipalKind: access.KindUser, PrincipalID: user, Role: k.role.Role, TemplateID: k.role.Template,
				})
				who := string(k.role.Role)
				if k.role.Template != uuid.Nil {
					who += "@a1"
				}
				k.shape.user = user
				c := caller{
					description: "key " + k.name, who: who, headers: map[string]string{"coder-session-token": coder.newKey(k.shape)},
					key: &k,
				}
				if !k.valid {
					c.who = anonymous
				}
				for _, method := range methods {
					rpc, name := string(method.Name()), fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
					for _, about := range m[rpc].about {
						want := k.wants(m, who, served[name], rpc, about)
						if rpc == "SignIn" && want == allowed {
							continue // a session would outlive the key: TestCoderSessions
						}
						w.checkCell(
							t, r, m, cell{c, method, about, "gRPC"}, want,
							w.callGRPC(t, method, c.headers, w.Request(t, rpc, w.About(about)), about),
						)
						to, overREST := rest[name]
						if !overREST {
							continue
						}
						if got, ok := w.callREST(t, to, method, c.headers, w.Request(t, rpc, w.About(about)), about); ok {
							w.checkCell(t, r, m, cell{c, method, about, "REST"}, want, got)
						}
					}
				}
			})
		}
	})
	t.Logf("%d cells: %d keys, %d RPCs", r.cells, len(keys), len(methods))
}

// checkRights holds the rights that a key is told to have against what it sees.
func (k shapedKey) checkRights(t *testing.T, w *neighbors, who *insightsv1.WhoAmIResponse) {
	t.Helper()
	for _, g := range who.GetGrants() {
		permission := access.Permission(g.GetPermission())
		covered := map[string][]string{
			"": {"all"}, servertest.OrganizationA.String(): {"a1", "a2", "gone"}, servertest.OrganizationB.String(): {"b1"},
		}[g.GetOrganizationId()]
		for name, x := range w.Things {
			if g.GetTemplateId() != "" && x.Template.String() == g.GetTemplateId() {
				covered = []string{name}
			}
		}
		switch {
		case !call.MayCarry(permission) && !k.whole:
			t.Errorf("a limited key %s is told to have %v", k.name, g)
		case permission != access.ViewInsights && permission != access.ViewInsightsAggregate:
		case slices.ContainsFunc(covered, func(name string) bool { return !slices.Contains(k.sees, name) }):
			t.Errorf("a key %s is told to have %v, and sees %v", k.name, g, k.sees)
		}
	}
}

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

// A question about many templates costs few calls, shared by those who ask at the same time, and the next one none.
func TestKeysAskSeldom(t *testing.T) {
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	user, organization := uuid.New(), uuid.New()
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: organization.String(), Name: "many"}},
		Users:         []*insightsv1.User{{Id: user.String(), Username: "u"}},
	}
	more := func(n int) {
		change.Templates = nil
		for range n {
			id := uuid.NewString()
			change.Templates = append(change.Templates, &insightsv1.Template{Id: id, OrganizationId: organization.String(), Name: id})
		}
		w.Apply(t, w.ControlPlane, change)
	}
	more(496) // four are there
	w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
	key := coder.newKey(coderKeyShape{user: user, reads: true, sees: []string{servertest.TemplateA1.String()}})
	const question = "/api/v2/insights/templates?start_time=2023-08-14T00:00:00Z&end_time=2023-08-15T00:00:00Z"
	ask := func(key, path string) (int, string) {
		status, _, text := w.Fetch(t, http.Header{"Coder-Session-Token": {key}}, path)
		return status, string(text)
	}
	begin := time.Now()
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if status, text := ask(key, question); status != http.StatusOK || !strings.Contains(text, servertest.TemplateA1.String()) {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	calls.Wait()
	// Whose it is, everything and the organizations, five times 100 templates.
	if n := coder.requests.Load(); n != 7 && time.Since(begin) < guard.CoderTTL {
		t.Errorf("500 templates: %d calls", n)
	}
	if n := coder.checks.Load(); n > guard.MaxRightsPerCall {
		t.Errorf("%d checks in one call", n)
	}
	for _, path := range []string{question, question + "&template_ids=" + servertest.TemplateA1.String(), "/api/v2/templates"} {
		if status, text := ask(key, path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if n := coder.requests.Load(); n != 7 && time.Since(begin) < guard.CoderTTL {
		t.Errorf("the next questions: %d calls", n-7)
	}

	more(1500)
	before := coder.requests.Load()
	if status, text := ask(key, question); status != http.StatusBadRequest || !strings.Contains(text, "name templates") {
		t.Errorf("2,000 templates: %d %s", status, text)
	}
	if n := coder.requests.Load() - before; n > guard.MaxRightsCalls {
		t.Errorf("2,000 templates: %d calls", n)
	}
	if status, text := ask(key, "/api/v2/access/me"); status != http.StatusOK || strings.Contains(text, "view_insights") {
		t.Errorf("rights on what cannot be asked about: %d %s", status, text)
	}
	if status, text := ask(key, question+"&template_ids="+servertest.TemplateA1.String()); status != http.StatusOK {
		t.Errorf("one that is named of 2,000: %d %s", status, text)
	}
	free := coder.newKey(coderKeyShape{user: user, reads: true, sees: []string{"all"}})
	if status, text := ask(free, question); status != http.StatusOK {
		t.Errorf("2,000 templates of a key that sees all: %d %s", status, text)
	}
	coder.forget(key)
	wiretest.WaitFor(t, guard.CoderTTL+time.Second, "the end of the key", func() bool {
		status, _ := ask(key, "/api/v2/access/me")
		return status == http.StatusUnauthorized
	})
}

// The cookie of Coder counts as its header does, in calls that change nothing and that no other site makes.
func TestCookieOfCoder(t *testing.T) {
	t.Parallel()
	coder := newStandIn(t)
	user := uuid.New()
	key := coder.newKey(coderKeyShape{
		user: user, reads: true, describes: true, description: map[string]any{"scope": "all"}, sees: []string{"all"},
	})
	with := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	without := newNeighbors(t)
	for _, w := range []*neighbors{with, without} {
		w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user.String(), Username: "u"}}})
		w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleOwner})
	}
	cookie, own := guard.CoderCookie+"="+key, with.Issue(t, store.Token{PrincipalKind: access.KindUser, PrincipalID: user}).Reveal()
	for name, c := range map[string]struct {
		server *neighbors
		method string
		header http.Header
		status int
	}{
		"of a page of ours":            {with, http.MethodGet, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		"of an address that was typed": {with, http.MethodGet, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"none"}}, 200},
		"of a neighbor":                {with, http.MethodGet, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"same-site"}}, 401},
		"of another site":              {with, http.MethodGet, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"cross-site"}}, 401},
		"twice":                        {with, http.MethodGet, http.Header{"Cookie": {cookie + "; " + cookie}}, 401},
		"beside a token":               {with, http.MethodGet, http.Header{"Cookie": {cookie}, "Session-Token": {own}}, 200},
		"beside a cookie of ours":      {with, http.MethodGet, http.Header{"Cookie": {cookie + "; insights_session=" + own}}, 200},
		"beside a bad cookie of ours":  {with, http.MethodGet, http.Header{"Cookie": {cookie + "; insights_session=x"}}, 401},
		"that changes something":       {with, http.MethodDelete, http.Header{"Cookie": {cookie}, "Sec-Fetch-Site": {"same-origin"}}, 401},
		"that is no session key":       {with, http.MethodGet, http.Header{"Cookie": {guard.CoderCookie + "=" + own}}, 401},
		"where Coder is not known":     {without, http.MethodGet, http.Header{"Cookie": {cookie}}, 401},
	} {
		path := "/api/v2/access/me"
		if c.method == http.MethodDelete {
			path = sessionPath
		}
		if status, _, text := c.server.send(t, c.method, path, c.header); status != c.status {
			t.Errorf("the cookie %s: %d %s, want %d", name, status, text, c.status)
		}
	}
}

// A stream that a key opened ends its reports when the key ends, and keeps others' streams from nothing.
func TestStreamsOfKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until rights are asked about again: make test")
	}
	t.Parallel()
	coder := newStandIn(t)
	w := newNeighbors(t, func(c *server.Options) { c.CoderURL = coder.URL })
	user := uuid.New()
	w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user.String(), Username: "u"}}})
	w.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: user, Role: access.RoleControlPlane})
	open := func(shape coderKeyShape) (key string, stream insightsv1.IngestService_StreamStatsClient) {
		shape.user, shape.reads, shape.describes = user, true, true
		key = coder.newKey(shape)
		ctx, cancel := context.WithTimeout(
			metadata.NewOutgoingContext(t.Context(), metadata.Pairs("coder-session-token", key)), time.Minute,
		)
		t.Cleanup(cancel)
		stream, err := insightsv1.NewIngestServiceClient(w.Conn).StreamStats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return key, stream
	}
	_, limited := open(coderKeyShape{description: map[string]any{"scope": "application_connect"}})
	if _, err := limited.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stream of a limited key: %v", err)
	}
	key, whole := open(coderKeyShape{description: map[string]any{"scope": "all"}})
	if err := whole.Send(&insightsv1.StreamStatsRequest{
		Reports: []*insightsv1.AgentReport{servertest.Used(w.Things["a1"], storetest.Now, 1)},
	}); err != nil {
		t.Fatal(err)
	}
	for acknowledged := uint64(0); acknowledged == 0; {
		answer, err := whole.Recv()
		if err != nil {
			t.Fatal(err)
		}
		acknowledged = answer.GetAcknowledgedSequence()
	}
	agent := w.Issue(t, store.Token{PrincipalKind: access.KindAgent, PrincipalID: w.Things["a2"].Agent})
	revoked, err := insightsv1.NewIngestServiceClient(w.Conn).StreamStats(servertest.As(t.Context(), agent.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := revoked.Recv(); err != nil {
		t.Fatal(err)
	}
	ended := func(what string, stream insightsv1.IngestService_StreamStatsClient, within time.Duration) {
		t.Helper()
		for begin := time.Now(); ; {
			if _, err := stream.Recv(); err != nil {
				if took := time.Since(begin); status.Code(err) != codes.Unauthenticated || took > within {
					t.Errorf("%s ended after %v: %v", what, took, err)
				}
				return
			}
		}
	}
	// While Coder does not answer, tokens of ours are revoked as fast as ever.
	hanging, once := make(chan struct{}), sync.Once{}
	coder.fail(func(w http.ResponseWriter, r *http.Request) bool {
		once.Do(func() { close(hanging) })
		hang(w, r)
		return true
	})
	<-hanging // because the stream of the key is asked about
	if err := w.Store.RevokeToken(t.Context(), agent.ID()); err != nil {
		t.Fatal(err)
	}
	ended("the stream of an agent", revoked, guard.CoderTimeout-time.Second)
	coder.fail(nil)
	coder.forget(key)
	ended("the stream of a key", whole, guard.CoderTTL+time.Second)
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
	var hanging atomic.Int64
	coder.fail(func(w http.ResponseWriter, r *http.Request) bool {
		hanging.Add(1)
		hang(w, r)
		return true
	})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	ask := func(key string) {
		all.Go(func() {
			request, err := http.NewRequestWithContext(
				ctx, http.MethodGet,
				"http://"+w.HTTPAddress()+"/api/v2/insights/templates?"+wiretest.Week+"&template_ids="+servertest.TemplateA1.String(), nil,
			)
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
	for range 16 { // as many as one principal may ask at a time, and more
		ask(key)
	}
	wiretest.WaitFor(t, 10*time.Second, "a call to Coder", func() bool { return hanging.Load() > 0 })
	for i := range 2 * 100 { // twice the calls that one connection of the gateway holds
		ask(fmt.Sprintf("madeup%04d-0123456789abcdefghijkl", i))
	}
	wiretest.WaitFor(t, 10*time.Second, "calls to Coder", func() bool { return hanging.Load() >= guard.MaxCoderCalls })
	for range 20 {
		begin := time.Now()
		if status, answer := w.Get(t, own, "/api/v2/insights/templates", url.Values{
			"start_time": {"2023-08-07T00:00:00Z"}, "end_time": {"2023-08-14T00:00:00Z"},
		}); status != http.StatusOK {
			t.Errorf("the same user with a token: %d %v", status, answer)
		}
		if took := time.Since(begin); took > guard.CoderTimeout/2 {
			t.Errorf("the same user with a token waited for %v", took)
		}
	}
	stop()
	all.Wait()
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
