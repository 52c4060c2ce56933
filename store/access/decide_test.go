package access_test

import (
	_ "embed"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/template-insights/insights/store/access"
)

//go:embed testdata/rbac.json
var rbac []byte

// contract is the form of testdata/rbac.json: who may ask what over REST.
type contract struct {
	Templates []struct {
		ID           uuid.UUID `json:"id"`
		Organization string    `json:"organization"`
	} `json:"templates"`
	Subjects []struct {
		Name        string               `json:"name"`
		Role        string               `json:"role"`
		TemplateACL map[uuid.UUID]string `json:"template_acl"`
	} `json:"subjects"`
	Cases []struct {
		Subject             string      `json:"subject"`
		Endpoint            string      `json:"endpoint"`
		Case                string      `json:"case"`
		TemplateIDs         []uuid.UUID `json:"template_ids"`
		Status              int         `json:"status"`
		AnswersForTemplates []uuid.UUID `json:"answers_for_templates"`
	} `json:"cases"`
}

// contractBindings is what the roles of the contract are here. A custom role with view_insights alone is an auditor of
// its organization; "use" of a template gives nothing.
var contractBindings = map[string]access.Binding{
	"owner":              {Role: access.RoleOwner},
	"template_admin":     {Role: access.RoleTemplateAdmin},
	"auditor":            {Role: access.RoleAuditor},
	"user_admin":         {Role: access.RoleUserAdmin},
	"member":             {Role: access.RoleMember},
	"org_admin":          {Role: access.RoleOrganizationAdmin, Organization: orgA},
	"org_template_admin": {Role: access.RoleOrganizationTemplateAdmin, Organization: orgA},
	"org_auditor":        {Role: access.RoleOrganizationAuditor, Organization: orgA},
	"org_user_admin":     {Role: access.RoleOrganizationUserAdmin, Organization: orgA},
	"custom":             {Role: access.RoleOrganizationAuditor, Organization: orgA},
}

func TestContract(t *testing.T) {
	t.Parallel()
	var c contract
	if err := json.Unmarshal(rbac, &c); err != nil {
		t.Fatal(err)
	}
	organizations := map[string]uuid.UUID{"orgA": orgA, "orgB": orgB}
	catalog := map[uuid.UUID]uuid.UUID{}
	for _, template := range c.Templates {
		catalog[template.ID] = organizations[template.Organization]
	}
	principals := map[string]access.Principal{}
	for _, s := range c.Subjects {
		p := access.Principal{Kind: access.KindUser, Bindings: []access.Binding{contractBindings[s.Role]}}
		for id, role := range s.TemplateACL {
			if role == "admin" {
				p.Bindings = append(p.Bindings, access.Binding{Role: access.RoleTemplateAdmin, Template: id})
			}
		}
		principals[s.Name] = p
	}
	if len(c.Cases) == 0 || len(catalog) != 3 {
		t.Fatalf("%d cases, %d templates", len(c.Cases), len(catalog))
	}
	for _, tt := range c.Cases {
		t.Run(tt.Subject+tt.Endpoint+"/"+tt.Case, func(t *testing.T) {
			t.Parallel()
			p, ok := principals[tt.Subject]
			if !ok {
				t.Fatalf("unknown subject %q", tt.Subject)
			}
			status, scope := ask(t, p, tt.Endpoint, tt.TemplateIDs, catalog)
			if status != tt.Status {
				t.Fatalf("status %d, want %d", status, tt.Status)
			}
			want := append(tt.TemplateIDs, tt.AnswersForTemplates...)
			if status == 200 && (scope.All() != (len(want) == 0) || !slices.Equal(scope.Templates(), want)) {
				t.Errorf("answer for %v (all: %t), want %v", scope.Templates(), scope.All(), want)
			}
		})
	}
}

// ask applies the access rule of a REST endpoint.
func ask(t *testing.T, p access.Principal, endpoint string, templateIDs []uuid.UUID, catalog map[uuid.UUID]uuid.UUID) (int, access.Scope) {
	t.Helper()
	everything, err := access.Templates(principal(bound(access.RoleOwner, "deployment")), access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	switch endpoint {
	case "/api/v2/insights/templates", "/api/v2/insights/user-activity", "/api/v2/insights/user-latency":
		scope, err := access.Templates(p, access.ViewInsights, templateIDs, catalog)
		switch {
		case err == nil:
			return 200, scope
		case errors.Is(err, access.ErrNotFound):
			return 404, access.Scope{}
		default:
			t.Fatalf("unexpected error: %v", err)
		}
	case "/api/v2/insights/daus":
		if p.HoldsEverywhere(access.ViewInsights) {
			return 200, everything
		}
		return 403, access.Scope{}
	case "/api/v2/insights/user-status-counts":
		if p.Holds(access.ReadUsers) {
			return 200, everything
		}
		return 403, access.Scope{}
	default:
		t.Fatalf("no rule for %s", endpoint)
	}
	return 0, access.Scope{}
}

func TestTemplatesOfOneBinding(t *testing.T) {
	t.Parallel()
	gone := uuid.MustParse("00000000-0000-0000-0000-000000000099")
	for _, tt := range []struct {
		name      string
		binding   access.Binding
		requested []uuid.UUID
		catalog   map[uuid.UUID]uuid.UUID
		want      []uuid.UUID // nil: not found
	}{
		{"one template, asked for twice", bound(access.RoleTemplateAdmin, "template"), []uuid.UUID{a1, a1}, organizationOf, []uuid.UUID{a1}},
		{"one template and its neighbour", bound(access.RoleTemplateAdmin, "template"), []uuid.UUID{a1, a2}, organizationOf, nil},
		{"one template, none named", bound(access.RoleTemplateAdmin, "template"), nil, organizationOf, []uuid.UUID{a1}},
		{"bound to a template that does not exist", access.Binding{Role: access.RoleTemplateAdmin, Template: gone}, []uuid.UUID{gone}, organizationOf, nil},
		{"bound to a template that does not exist, none named", access.Binding{Role: access.RoleTemplateAdmin, Template: gone}, nil, organizationOf, nil},
		{"organization, none named", bound(access.RoleOrganizationAuditor, "organization"), nil, organizationOf, []uuid.UUID{a1, a2}},
		{"organization, one of another", bound(access.RoleOrganizationAuditor, "organization"), []uuid.UUID{a1, b1}, organizationOf, nil},
		{"organization without templates", access.Binding{Role: access.RoleOrganizationAuditor, Organization: orgB}, nil, map[uuid.UUID]uuid.UUID{a1: orgA}, nil},
		{"organization role without one, template without one", bound(access.RoleOrganizationAuditor, "deployment"), nil, map[uuid.UUID]uuid.UUID{a1: uuid.Nil}, nil},
		{"everywhere, unknown id, nothing looked up", bound(access.RoleAuditor, "deployment"), []uuid.UUID{gone, gone}, nil, []uuid.UUID{gone}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			scope, err := access.Templates(principal(tt.binding), access.ViewInsights, tt.requested, tt.catalog)
			if (err != nil) != (tt.want == nil) || err != nil && !errors.Is(err, access.ErrNotFound) {
				t.Fatalf("error %v, want templates %v", err, tt.want)
			}
			if scope.All() || !slices.Equal(scope.Templates(), tt.want) {
				t.Errorf("scope %v (all: %t), want %v", scope.Templates(), scope.All(), tt.want)
			}
		})
	}
}

func TestIngest(t *testing.T) {
	t.Parallel()
	other := uuid.MustParse("00000000-0000-0000-0000-0000000000b9")
	agent := principal(bound(access.RoleAgent, "deployment"))
	for _, tt := range []struct {
		name     string
		p        access.Principal
		agent    uuid.UUID
		org      uuid.UUID
		stats    error
		sessions error
	}{
		{"agent, itself", agent, agentID, orgA, nil, access.ErrForbidden},
		{"agent, itself, organization not looked up", agent, agentID, uuid.Nil, nil, access.ErrForbidden},
		{"agent, another", agent, other, orgA, access.ErrForbidden, access.ErrForbidden},
		{"agent, none", agent, uuid.Nil, orgA, access.ErrForbidden, access.ErrForbidden},
		{"agent without its role", access.Principal{Kind: access.KindAgent, Agent: agentID}, agentID, orgA, access.ErrForbidden, access.ErrForbidden},
		{"agent of nothing, no agent named", access.Principal{Kind: access.KindAgent, Bindings: agent.Bindings}, uuid.Nil, orgA, access.ErrForbidden, access.ErrForbidden},
		{"proxy", principal(bound(access.RoleProxy, "deployment")), agentID, orgA, access.ErrForbidden, nil},
		{"proxy of the organization", principal(bound(access.RoleProxy, "organization")), agentID, orgA, access.ErrForbidden, nil},
		{"proxy of another", principal(bound(access.RoleProxy, "organization")), agentID, orgB, access.ErrForbidden, access.ErrNotFound},
		{"proxy, organization unknown", principal(bound(access.RoleProxy, "organization")), agentID, uuid.Nil, access.ErrForbidden, access.ErrNotFound},
		{"control plane", principal(bound(access.RoleControlPlane, "deployment")), agentID, orgB, nil, nil},
		{"control plane of the organization", principal(bound(access.RoleControlPlane, "organization")), agentID, orgA, nil, nil},
		{"control plane of another", principal(bound(access.RoleControlPlane, "organization")), agentID, orgB, access.ErrNotFound, access.ErrNotFound},
		{"control plane, organization unknown", principal(bound(access.RoleControlPlane, "organization")), agentID, uuid.Nil, access.ErrNotFound, access.ErrNotFound},
		{"owner", principal(bound(access.RoleOwner, "deployment")), agentID, orgA, access.ErrForbidden, access.ErrForbidden},
		{"member", principal(bound(access.RoleMember, "deployment")), agentID, orgA, access.ErrForbidden, access.ErrForbidden},
		{"no one", access.Principal{}, uuid.Nil, uuid.Nil, access.ErrForbidden, access.ErrForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := access.CheckStats(tt.p, tt.agent, tt.org); !errors.Is(err, tt.stats) {
				t.Errorf("CheckStats: %v, want %v", err, tt.stats)
			}
			if err := access.CheckAppSessions(tt.p, tt.org); !errors.Is(err, tt.sessions) {
				t.Errorf("CheckAppSessions: %v, want %v", err, tt.sessions)
			}
		})
	}
}

// The places that the generators draw from: few enough that bindings, catalog and requests meet often.
var (
	someOrganizations = []uuid.UUID{uuid.Nil, orgA, orgB}
	someTemplates     = []uuid.UUID{uuid.Nil, a1, a2, b1, uuid.MustParse("00000000-0000-0000-0000-000000000022")}
)

// drawPrincipal draws bindings of every shape, malformed ones too.
func drawPrincipal(t *rapid.T) access.Principal {
	binding := rapid.Custom(func(t *rapid.T) access.Binding {
		return access.Binding{
			Role:         rapid.SampledFrom(roles).Draw(t, "role"),
			Organization: rapid.SampledFrom(someOrganizations).Draw(t, "organization"),
			Template:     rapid.SampledFrom(someTemplates).Draw(t, "template"),
		}
	})
	return access.Principal{
		Kind:     rapid.SampledFrom([]access.Kind{access.KindUser, access.KindService, access.KindAgent, ""}).Draw(t, "kind"),
		Agent:    rapid.SampledFrom([]uuid.UUID{uuid.Nil, agentID}).Draw(t, "agent"),
		Bindings: rapid.SliceOfN(binding, 0, 5).Draw(t, "bindings"),
	}
}

func drawCatalog(t *rapid.T) map[uuid.UUID]uuid.UUID {
	return rapid.MapOfN(rapid.SampledFrom(someTemplates[1:]), rapid.SampledFrom(someOrganizations), 0, 4).Draw(t, "catalog")
}

func drawRequest(t *rapid.T) []uuid.UUID {
	return rapid.SliceOfN(rapid.SampledFrom(someTemplates), 0, 4).Draw(t, "requested")
}

// naiveSees spells out who sees the insights of a template, and of everything.
func naiveSees(p access.Principal, template, organization uuid.UUID) (everything, it bool) {
	if p.Kind != "user" && p.Kind != "service" {
		return false, false
	}
	for _, b := range p.Bindings {
		switch b.Role {
		case "owner", "auditor":
			everything = everything || b.Organization == uuid.Nil && b.Template == uuid.Nil
		case "template-admin":
			everything = everything || b.Organization == uuid.Nil && b.Template == uuid.Nil
			it = it || b.Organization == uuid.Nil && b.Template != uuid.Nil && b.Template == template
		case "organization-admin", "organization-template-admin", "organization-auditor":
			it = it || b.Organization != uuid.Nil && b.Organization == organization && b.Template == uuid.Nil
		}
	}
	return everything, everything || it
}

// naiveTemplates answers as Templates does, by asking for one template after the other.
func naiveTemplates(p access.Principal, requested []uuid.UUID, catalog map[uuid.UUID]uuid.UUID) (all bool, covered map[uuid.UUID]bool, found bool) {
	everything, _ := naiveSees(p, uuid.Nil, uuid.Nil)
	covered = map[uuid.UUID]bool{}
	for _, id := range requested {
		organization, exists := catalog[id]
		_, sees := naiveSees(p, id, organization)
		if !everything && (!exists || !sees) {
			return false, nil, false
		}
		covered[id] = true
	}
	if len(requested) == 0 && !everything {
		for id, organization := range catalog {
			if _, sees := naiveSees(p, id, organization); sees {
				covered[id] = true
			}
		}
	}
	all = everything && len(requested) == 0
	return all, covered, all || len(covered) > 0
}

func TestTemplatesAsNaive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, catalog, requested := drawPrincipal(t), drawCatalog(t), drawRequest(t)
		all, covered, found := naiveTemplates(p, requested, catalog)
		scope, err := access.Templates(p, access.ViewInsights, requested, catalog)
		if !found {
			if !errors.Is(err, access.ErrNotFound) || err.Error() != access.ErrNotFound.Error() { // nothing tells the misses apart
				t.Fatalf("error %v, want ErrNotFound", err)
			}
			if scope.All() || len(scope.Templates()) != 0 {
				t.Fatalf("a refused request got a scope: %v", scope)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if scope.All() != all {
			t.Fatalf("all: %t, want %t", scope.All(), all)
		}
		if templates := scope.Templates(); len(templates) != len(covered) {
			t.Fatalf("covers %v, want %v", templates, covered)
		}
		for _, id := range someTemplates {
			if scope.Contains(id) != (all || covered[id]) {
				t.Fatalf("contains %v: %t, want %t", id, scope.Contains(id), all || covered[id])
			}
		}
	})
}

// What Grants lists and what the questions answer is the same.
func TestGrantsAsHeld(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrincipal(t)
		held, everywhere := map[access.Permission]bool{}, map[access.Permission]bool{}
		for _, g := range p.Grants() {
			held[g.Permission] = true
			everywhere[g.Permission] = everywhere[g.Permission] || p.Kind != access.KindAgent && g.Organization == uuid.Nil && g.Template == uuid.Nil
		}
		for _, perm := range columns {
			if p.Holds(perm) != held[perm] || p.HoldsEverywhere(perm) != everywhere[perm] {
				t.Fatalf("%s: holds %t, everywhere %t; grants %v", perm, p.Holds(perm), p.HoldsEverywhere(perm), p.Grants())
			}
		}
	})
}

// Taking a binding away never gives a right.
func TestRemovingABindingAddsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, catalog, requested := drawPrincipal(t), drawCatalog(t), drawRequest(t)
		if len(before.Bindings) == 0 {
			return
		}
		removed := rapid.IntRange(0, len(before.Bindings)-1).Draw(t, "removed")
		after := before
		after.Bindings = slices.Delete(slices.Clone(before.Bindings), removed, removed+1)

		for _, perm := range columns {
			if after.Holds(perm) && !before.Holds(perm) || after.HoldsEverywhere(perm) && !before.HoldsEverywhere(perm) {
				t.Fatalf("%s was gained", perm)
			}
			for _, id := range someOrganizations {
				if after.HoldsIn(perm, id) && !before.HoldsIn(perm, id) {
					t.Fatalf("%s in %v was gained", perm, id)
				}
			}
			less, err := access.Templates(after, perm, requested, catalog)
			if err != nil {
				continue
			}
			more, err := access.Templates(before, perm, requested, catalog)
			if err != nil || less.All() && !more.All() {
				t.Fatalf("%s: an answer was gained (%v)", perm, err)
			}
			for _, id := range less.Templates() {
				if !more.Contains(id) {
					t.Fatalf("%s on %v was gained", perm, id)
				}
			}
		}
		for _, id := range someOrganizations {
			if access.CheckStats(after, agentID, id) == nil && access.CheckStats(before, agentID, id) != nil ||
				access.CheckAppSessions(after, id) == nil && access.CheckAppSessions(before, id) != nil {
				t.Fatalf("ingest in %v was gained", id)
			}
		}
	})
}
