package server_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
)

// somebody is a principal of the table within the process.
type somebody struct {
	who
	principal access.Principal
}

// everybody is every role at every site, also where it does not bind; what no role gives; and who has none.
func (w *neighbors) everybody(t *testing.T) (list []somebody, permissions []access.Permission) {
	t.Helper()
	roles, permissions := everyRole(t)
	service := access.Principal{Kind: access.KindService, ID: uuid.New()}
	agentOf := func(name string) access.Principal {
		id := w.Things[name].Agent
		return access.Principal{Kind: access.KindAgent, ID: id, Agent: id}
	}
	confined := map[access.Permission]bool{} // those that some role gives within an organization
	for _, x := range roles {
		p := service
		if x.role == access.RoleAgent {
			p = agentOf("a1")
		}
		list = append(list, somebody{x, p.With(x.binding())})
		for _, permission := range x.holds {
			confined[permission] = confined[permission] || x.site.level == "organization"
		}
	}
	for _, permission := range permissions {
		if !confined[permission] {
			p := service
			p.Grants = []access.Grant{{Permission: permission, Organization: servertest.OrganizationA}}
			list = append(list, somebody{who{name: string(permission) + "@A"}, p})
		}
	}
	return append(list,
		somebody{who{name: "agent-of-a2"}, agentOf("a2").With(access.Binding{Role: access.RoleAgent})},
		somebody{who{name: "agent-of-b1"}, agentOf("b1").With(access.Binding{Role: access.RoleAgent})},
		somebody{who{name: "nobody"}, service},
		somebody{who{name: anonymous}, access.Principal{}},
	), permissions
}

// ruleCell is one cell of the table for the rules alone.
type ruleCell struct {
	method, rpc, about string
	req                proto.Message
}

// policy is what the rules are held against within the process.
type policy struct {
	*neighbors
	matrix matrix
}

// called is the context of a call of a principal.
func called(ctx context.Context, p access.Principal) context.Context {
	ctx, _ = call.WithIdentity(ctx, p, nil)
	return ctx
}

// differs asks about one cell and says how the answer differs from the table; empty: not at all.
func (p *policy) differs(t *testing.T, r guard.Rules, x somebody, q ruleCell) string {
	t.Helper()
	a := &guard.Authorizer{Store: p.Store, Rules: r}
	ctx, err := a.Authorize(called(t.Context(), x.principal), q.method, q.req)
	want, byRule := p.matrix[q.rpc].want(x.name, q.about)
	if !byRule { // the rule lets in, and the call says no
		want = allowed
	}
	if want == unauthenticated { // whoever comes this far without a token meets the rule
		want = p.matrix[q.rpc].refused
	}
	got := allowed
	if err != nil {
		switch code := status.Code(call.ErrorOf(err)); code {
		case codes.PermissionDenied:
			got = forbidden
		case codes.NotFound:
			got = notFound
		default:
			t.Fatalf("%s asks %s about %s: %v", x.name, q.rpc, q.about, err)
		}
	}
	if got != want {
		return fmt.Sprintf("%s asks %s about %s: %s, want %s", x.name, q.rpc, q.about, got, want)
	}
	if scope := p.scope(x.name, q); scope != nil && got == allowed {
		for _, name := range []string{"a1", "a2", "gone", "b1", "unknown"} {
			if contains := call.ScopeOf(ctx).Contains(p.Things[name].Template); contains != slices.Contains(scope, name) {
				return fmt.Sprintf("%s asks %s about %s: %s is in the scope: %t", x.name, q.rpc, q.about, name, contains)
			}
		}
	}
	return ""
}

// scope are the templates that an answer may be about; nil if the call does not read its scope.
func (p *policy) scope(name string, q ruleCell) []string {
	sees := append([]string{}, p.matrix.sees(name)...)
	if everywhere, _ := p.matrix["GetDeploymentDAUs"].want(name, "none"); everywhere == allowed {
		sees = append(sees, "unknown")
	}
	for _, template := range []string{"a1", "a2", "gone", "b1"} { // those of groups may be asked about and not seen
		may, _ := p.matrix[q.rpc].want(name, template)
		if slices.Contains(p.matrix[q.rpc].about, template) && may == allowed && !slices.Contains(sees, template) {
			sees = append(sees, template)
		}
	}
	switch {
	case p.matrix[q.rpc].refused != notFound, slices.Contains([]string{"SetPrivacyMode", "GetPrivacyMode", "SetParameterRelease"}, q.rpc):
		return nil
	case q.about == "none":
		return sees
	case q.about == "mixed":
		return []string{"a1", "b1"}
	case q.rpc == "GetActivity":
		return slices.DeleteFunc(sees, func(template string) bool {
			return p.Things[template].Organization != p.Things[q.about].Organization
		})
	default:
		return []string{q.about}
	}
}

// survives asks those questions that a change can have touched and says whether nobody noticed.
func (p *policy) survives(t *testing.T, r guard.Rules, everybody []somebody, cells []ruleCell) bool {
	t.Helper()
	for _, x := range everybody {
		for _, q := range cells {
			if p.differs(t, r, x, q) != "" {
				return false
			}
		}
	}
	return true
}

// changedRules are all that one rule could be by mistake.
func changedRules(r guard.Rule, permissions []access.Permission) map[string]guard.Rule {
	changed := map[string]guard.Rule{}
	if r.ScopeField != "" {
		c := r
		c.ScopeField = ""
		changed["without its scope"] = c
	}
	if r.Permission != access.Authenticated { // which is held, but nowhere, so that confining changes nothing
		c := r
		c.Confine = !r.Confine
		changed["confine flipped"] = c
	}
	if r.Groups {
		c := r
		c.Groups = false
		changed["without groups"] = c
	}
	for _, permission := range append([]access.Permission{access.Authenticated}, permissions...) {
		if permission != r.Permission {
			c := r
			c.Permission = permission
			changed["for "+string(permission)] = c
		}
	}
	return changed
}

// flipped is a principal with one permission more or less at the site of its role.
func flipped(x somebody, permission access.Permission) somebody {
	g := access.Grant{Permission: permission, Organization: x.site.organization, Template: x.site.template, Group: x.site.group}
	had := len(x.principal.Grants)
	x.principal.Grants = slices.DeleteFunc(slices.Clone(x.principal.Grants), func(held access.Grant) bool { return held == g })
	if len(x.principal.Grants) == had {
		x.principal.Grants = append(x.principal.Grants, g)
	}
	return x
}

// The rules and the roles are what the table says, and nothing of them can be changed without a cell that notices: the rule of
// each RPC dropped, for another permission, without its scope, confined or not; each permission of each role at each
// level flipped.
func TestMutantsOfThePolicy(t *testing.T) {
	t.Parallel()
	p := &policy{newNeighbors(t), readMatrix(t)}
	p.Apply(t, p.ControlPlane, &insightsv1.ApplyCatalogRequest{Groups: groupsOfSites()})
	everybody, permissions := p.everybody(t)
	own, err := guard.ReadRules(p.ServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	var cells []ruleCell
	byMethod := map[string][]ruleCell{}
	for _, method := range slices.Sorted(maps.Keys(own)) {
		rpc := method[strings.LastIndexByte(method, '/')+1:]
		for _, about := range p.matrix[rpc].about {
			byMethod[method] = append(byMethod[method], ruleCell{method, rpc, about, p.Request(t, rpc, p.About(about))})
		}
		cells = append(cells, byMethod[method]...)
	}
	for _, x := range everybody {
		for _, q := range cells {
			if wrong := p.differs(t, own, x, q); wrong != "" {
				t.Error(wrong)
			}
		}
		if x.role != "" && !slices.Equal(x.principal.Grants, x.grants()) {
			t.Errorf("%s holds %v, want %v", x.name, x.principal.Grants, x.grants())
		}
	}
	if t.Failed() {
		return
	}
	t.Logf("%d cells: %d principals, %d RPCs", len(everybody)*len(cells), len(everybody), len(own))

	generated, killed := 0, 0
	for method, r := range own {
		mutants := map[string]guard.Rules{"dropped": maps.Clone(own)}
		delete(mutants["dropped"], method)
		for name, changed := range changedRules(r, permissions) {
			mutants[name] = maps.Clone(own)
			mutants[name][method] = changed
		}
		for name, mutant := range mutants {
			generated++
			if p.survives(t, mutant, everybody, byMethod[method]) {
				t.Errorf("the rule of %s, %s: no cell notices", method, name)
				continue
			}
			killed++
		}
	}
	t.Logf("rules: generated %d, killed %d", generated, killed)

	generated, killed = 0, 0
	byGrants := 0 // noticed by what WhoAmI lists and by nothing else: no rule asks for the permission there
	for _, x := range everybody {
		if x.role == "" || x.site.name == "B" { // A and B are one level
			continue
		}
		for _, permission := range permissions {
			generated++
			mutant := flipped(x, permission)
			switch {
			case !p.survives(t, own, []somebody{mutant}, cells):
				killed++
			case !slices.Equal(mutant.principal.Grants, x.grants()):
				killed++
				byGrants++
			default:
				t.Errorf("%s with %s flipped: no cell notices", x.name, permission)
			}
		}
	}
	t.Logf("roles: generated %d, killed %d, %d of them by the grants that WhoAmI lists alone", generated, killed, byGrants)
}
