package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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
	sees := func(of ...string) bool {
		return !slices.ContainsFunc(of, func(name string) bool { return !slices.Contains(k.sees, name) })
	}
	switch {
	case want != allowed && want != rejected && want != notFound || rpc == "Check" || rpc == "List" || rpc == "Watch":
		return want
	case rpc == "SignIn":
		return allowed // as far as access goes
	case !call.MayCarry(r.Permission) && !k.whole:
		return refused
	case rpc == "ListTemplates" && want == allowed && about != "none": // of an organization: it may see one of its templates
		if slices.ContainsFunc(m.sees(who), func(name string) bool { return sees(name) && (name == "b1") == (about == "B") }) {
			return allowed
		}
		return notFound
	case r.Permission != access.ViewInsights && r.Permission != access.ViewInsightsAggregate || want != allowed:
		return want
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
	m, rest := readMatrix(t), wiretest.Routes(t)
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
