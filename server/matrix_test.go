package server_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// servedMethods walks what is served, down to each RPC, in a fixed order.
func servedMethods(t testing.TB, served map[string]grpc.ServiceInfo) (methods []protoreflect.MethodDescriptor) {
	t.Helper()
	for _, service := range slices.Sorted(maps.Keys(served)) {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			t.Fatal(err)
		}
		list := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range list.Len() {
			methods = append(methods, list.Get(i))
		}
	}
	return methods
}

// caller is somebody with the headers by which they are known.
type caller struct {
	description string
	who         string // of the table
	headers     map[string]string
	grants      []access.Grant
	only        string     // the transport that they use; empty: all
	key         *shapedKey // of Coder, by which they are known; nil: another credential
}

func bearer(token string) map[string]string {
	return map[string]string{"authorization": "Bearer " + token}
}

// callers are all kinds of principals with all roles, held in every way, and all ways to fail to be somebody.
func (w *neighbors) callers(t *testing.T) []caller {
	t.Helper()
	list := []caller{
		{description: "nobody", who: anonymous},
		{description: "malformed token", who: anonymous, headers: bearer("hunter2")},
		{description: "unknown token", who: anonymous, headers: bearer(access.NewToken().Reveal())},
	}
	add := func(description, who string, principal store.Token, grants []access.Grant) *caller {
		list = append(list, caller{description: description, who: who, headers: bearer(w.Issue(t, principal).Reveal()), grants: grants})
		return &list[len(list)-1]
	}
	change := &insightsv1.ApplyCatalogRequest{}
	user := func(status string) uuid.UUID {
		id := uuid.New()
		change.Users = append(change.Users, &insightsv1.User{Id: id.String(), Username: "u-" + id.String(), Status: status})
		return id
	}
	grant := func(kind access.Kind, id uuid.UUID, b access.Binding) {
		w.Grant(t, store.RoleBinding{
			PrincipalKind: kind, PrincipalID: id, Role: b.Role, OrganizationID: b.Organization, TemplateID: b.Template, GroupID: b.Group,
		})
	}

	change.Groups = groupsOfSites()
	everyone, _ := everyRole(t)
	for _, x := range everyone {
		if !x.binds || x.role == access.RoleAgent {
			continue
		}
		service, person, member, group := uuid.New(), user(""), user(""), uuid.New()
		change.Groups = append(change.Groups, &insightsv1.Group{
			Id: group.String(), OrganizationId: servertest.OrganizationA.String(), Name: x.name, UserIds: []string{member.String()},
		})
		defer func() {
			grant(access.KindService, service, x.binding())
			grant(access.KindUser, person, x.binding())
			grant(store.KindGroup, group, x.binding())
		}()
		add("service", x.name, store.Token{PrincipalKind: access.KindService, PrincipalID: service}, x.grants())
		add("user", x.name, store.Token{PrincipalKind: access.KindUser, PrincipalID: person}, x.grants()).only = "REST"
		add("member of a group", x.name, store.Token{PrincipalKind: access.KindUser, PrincipalID: member}, x.grants()).only = "gRPC"
	}
	for name, of := range map[string]string{"agent": "a1", "agent-of-a2": "a2", "agent-of-b1": "b1"} {
		add(
			"agent", name, store.Token{PrincipalKind: access.KindAgent, PrincipalID: w.Things[of].Agent},
			[]access.Grant{{Permission: access.Ingest}},
		)
	}
	add("service without a role", "everyone", store.Token{PrincipalKind: access.KindService, PrincipalID: uuid.New()}, nil)
	add("user without a role", "everyone", store.Token{PrincipalKind: access.KindUser, PrincipalID: user("")}, nil)

	// Owners, were it not for one thing.
	owner := uuid.New()
	grant(access.KindService, owner, access.Binding{Role: access.RoleOwner})
	token := store.Token{PrincipalKind: access.KindService, PrincipalID: owner}
	valid, other := w.Issue(t, token).Reveal(), access.NewToken().Reveal()
	list = append(list,
		caller{description: "wrong secret", who: anonymous, headers: bearer(valid[:20] + other[20:])},
		caller{
			description: "two tokens", who: anonymous,
			headers: map[string]string{"authorization": "Bearer " + valid, "coder-session-token": valid},
		},
		caller{description: "another scheme", who: anonymous, headers: map[string]string{"authorization": "Basic " + valid}},
	)
	revoked := w.Issue(t, token)
	list = append(list, caller{description: "revoked token", who: anonymous, headers: bearer(revoked.Reveal())})
	if err := w.Store.RevokeToken(t.Context(), revoked.ID()); err != nil {
		t.Fatal(err)
	}
	token.ExpiresAt = store.At(storetest.Now)
	add("expired token", anonymous, token, nil)
	suspended, deleted, agent := user("suspended"), user(""), uuid.New()
	for description, id := range map[string]uuid.UUID{"suspended user": suspended, "deleted user": deleted} {
		grant(access.KindUser, id, access.Binding{Role: access.RoleOwner})
		add(description, anonymous, store.Token{PrincipalKind: access.KindUser, PrincipalID: id}, nil)
	}
	change.Agents = []*insightsv1.Agent{{Id: agent.String(), WorkspaceId: w.Things["a1"].Workspace.String(), Name: "old"}}
	add("deleted agent", anonymous, store.Token{PrincipalKind: access.KindAgent, PrincipalID: agent}, nil)
	w.Apply(t, w.ControlPlane, change)
	w.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{
		Deleted: &insightsv1.DeletedItems{Users: []string{deleted.String()}, Agents: []string{agent.String()}},
	})
	return list
}

// refusals remembers how each RPC refuses, to hold all refusals of a kind against the first.
type refusals struct {
	mu    sync.Mutex
	first map[string]string
	cells int
}

// check counts a cell and reports a refusal that looks different from those before it.
func (r *refusals) check(t *testing.T, kind, cell, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cells++
	if kind == "" {
		return
	}
	if first, known := r.first[kind]; known && first != text {
		t.Errorf("%s: this refusal can be told from others:\n%q\n%q", cell, text, first)
	} else if !known {
		r.first[kind] = text
	}
}

// Everybody asks everything about everything, on every way in, and gets what the table says: what is not in it is refused, and
// the forbidden looks like the unknown, byte by byte.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	m, w := readMatrix(t), newNeighbors(t)
	all, rest := w.callers(t), wiretest.Routes(t)
	methods := servedMethods(t, w.ServiceInfo())
	for rpc := range m {
		if !slices.ContainsFunc(methods, func(d protoreflect.MethodDescriptor) bool { return string(d.Name()) == rpc }) {
			t.Errorf("%s of the table is not served", rpc)
		}
	}
	r := &refusals{first: map[string]string{}}
	t.Run("cells", func(t *testing.T) {
		for _, c := range all {
			t.Run(c.description+" "+c.who, func(t *testing.T) {
				t.Parallel()
				for _, method := range methods {
					rpc := string(method.Name())
					s := m[rpc]
					if s == nil {
						t.Fatalf("%s is not in the table", rpc)
					}
					for _, scope := range s.about {
						want, _ := s.want(c.who, scope)
						if rpc == "GetMyData" && want == allowed && strings.HasPrefix(c.description, "service") {
							want = forbidden // of services there is nothing to tell
						}
						to, overREST := rest[fmt.Sprintf("/%s/%s", method.Parent().FullName(), rpc)]
						if c.only != "REST" || !overREST {
							got := w.callGRPC(t, method, c.headers, w.Request(t, rpc, w.About(scope)), scope)
							w.checkCell(t, r, m, cell{c, method, scope, "gRPC"}, want, got)
						}
						if c.only == "gRPC" || !overREST {
							continue
						}
						if got, ok := w.callREST(t, to, method, c.headers, w.Request(t, rpc, w.About(scope)), scope); ok {
							w.checkCell(t, r, m, cell{c, method, scope, "REST"}, want, got)
						}
					}
				}
			})
		}
	})
	t.Logf("%d cells: %d callers, %d RPCs", r.cells, len(all), len(methods))
}

// A build that names a version of somebody else's template is told what one with an unknown version is told.
func TestForeignVersionLooksUnknown(t *testing.T) {
	t.Parallel()
	w := newNeighbors(t)
	token := w.Token(t, access.RoleControlPlane, servertest.OrganizationA)
	var told []string
	for _, of := range []string{"unknown", "b1"} {
		req := w.Request(t, "ReportEvents", w.About("a1")).(*insightsv1.ReportEventsRequest)
		req.GetEvents()[0].GetBuild().TemplateVersionId = w.Things[of].Version.String()
		answer := servertest.Must(t, insightsv1.NewIngestServiceClient(w.Conn).ReportEvents, token, req)
		told = append(told, turnedAway(answer, w.About(of)))
	}
	if told[0] == "" || told[0] != told[1] {
		t.Errorf("an unknown version: %s, a foreign one: %s", told[0], told[1])
	}
}

// cell is one question of one caller.
type cell struct {
	caller    caller
	method    protoreflect.MethodDescriptor
	about     string
	transport string
}

func (c cell) String() string {
	return fmt.Sprintf("%s %s asks %s about %s over %s", c.caller.description, c.caller.who, c.method.Name(), c.about, c.transport)
}

// checkCell holds an answer against what is wanted.
func (w *neighbors) checkCell(t *testing.T, r *refusals, m matrix, c cell, want outcome, got answer) {
	t.Helper()
	if got.outcome != want {
		t.Errorf("%v: %s, want %s: %s", c, got.outcome, want, got.text)
	}
	kind := ""
	if got.outcome != allowed && (got.outcome != rejected || c.about != "mixed") { // of two items one is told apart from none
		kind = fmt.Sprintf("%s %s %s", c.method.Name(), c.transport, got.outcome)
	}
	r.check(t, kind, c.String(), got.text)
	if got.outcome == allowed && got.response != nil {
		w.checkAnswer(t, m, c, got.response)
	}
}

// checkAnswer holds what an answer is about against what its caller sees.
func (w *neighbors) checkAnswer(t *testing.T, m matrix, c cell, response proto.Message) {
	t.Helper()
	if who, ok := response.(*insightsv1.WhoAmIResponse); ok && c.caller.key != nil {
		c.caller.key.checkRights(t, w, who)
	} else if ok {
		var grants []access.Grant
		for _, g := range who.GetGrants() {
			grants = append(grants, access.Grant{
				Permission: access.Permission(g.GetPermission()), Organization: idOrNil(t, g.GetOrganizationId()),
				Template: idOrNil(t, g.GetTemplateId()), Group: idOrNil(t, g.GetGroupId()),
			})
		}
		if diff := cmp.Diff(c.caller.grants, grants); diff != "" {
			t.Errorf("%v: grants (-want +got):\n%s", c, diff)
		}
	}
	sees := m.sees(c.caller.who)
	if key := c.caller.key; key != nil {
		sees = slices.DeleteFunc(sees, func(name string) bool { return !slices.Contains(key.sees, name) })
	}
	switch {
	case c.about == "mixed":
		sees = []string{"a1", "b1"}
	case c.method.Name() == "ListTemplates" && c.about != "none": // those of an organization that are not deleted
		sees = slices.DeleteFunc(sees, func(name string) bool {
			return name == "gone" || w.Things[name].Organization != w.Things[c.about].Organization
		})
	case c.about != "none" && len(c.about) > 1: // a template
		sees = []string{c.about}
	}
	id := func(x servertest.Thing) uuid.UUID { return x.Template }
	switch report := c.method.Output().Fields().ByName("report"); {
	case report != nil && report.Message().Fields().ByName("template_ids") != nil, c.method.Name() == "ListTemplates",
		c.method.Name() == "GetTemplate" && c.about != "none":
	case c.method.Name() == "ListOrganizations":
		id = func(x servertest.Thing) uuid.UUID { return x.Organization }
	default:
		return
	}
	text := prototext.Format(response)
	want := map[uuid.UUID]bool{}
	for _, name := range sees {
		want[id(w.Things[name])] = true
	}
	for _, name := range []string{"a1", "a2", "gone", "b1"} {
		x := id(w.Things[name])
		if got := strings.Contains(text, x.String()); got != want[x] {
			t.Errorf("%v: %s in the answer: %t, want %t", c, name, got, want[x])
		}
	}
}

func idOrNil(t *testing.T, text string) uuid.UUID {
	t.Helper()
	if text == "" {
		return uuid.Nil
	}
	id, err := uuid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
