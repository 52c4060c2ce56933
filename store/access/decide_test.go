package access_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/template-insights/insights/store/access"
)

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
		{
			"one template, asked for twice", bound(access.RoleTemplateAdmin, "template"),
			[]uuid.UUID{a1, a1},
			organizationOf,
			[]uuid.UUID{a1},
		},
		{"one template and its neighbour", bound(access.RoleTemplateAdmin, "template"), []uuid.UUID{a1, a2}, organizationOf, nil},
		{"one template, none named", bound(access.RoleTemplateAdmin, "template"), nil, organizationOf, []uuid.UUID{a1}},
		{
			"bound to a template that does not exist",
			access.Binding{Role: access.RoleTemplateAdmin, Template: gone},
			[]uuid.UUID{gone},
			organizationOf, nil,
		},
		{
			"bound to a template that does not exist, none named",
			access.Binding{Role: access.RoleTemplateAdmin, Template: gone},
			nil,
			organizationOf, nil,
		},
		{"organization, none named", bound(access.RoleOrganizationAuditor, "organization"), nil, organizationOf, []uuid.UUID{a1, a2}},
		{"organization, one of another", bound(access.RoleOrganizationAuditor, "organization"), []uuid.UUID{a1, b1}, organizationOf, nil},
		{
			"organization without templates",
			access.Binding{Role: access.RoleOrganizationAuditor, Organization: orgB},
			nil,
			map[uuid.UUID]uuid.UUID{a1: orgA},
			nil,
		},
		{
			"organization role without one, template without one", bound(access.RoleOrganizationAuditor, "deployment"), nil,
			map[uuid.UUID]uuid.UUID{a1: uuid.Nil},
			nil,
		},
		{
			"everywhere, unknown id, nothing looked up", bound(access.RoleAuditor, "deployment"),
			[]uuid.UUID{gone, gone},
			nil,
			[]uuid.UUID{gone},
		},
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
		{
			"agent without its role",
			access.Principal{Kind: access.KindAgent, Agent: agentID},
			agentID, orgA, access.ErrForbidden,
			access.ErrForbidden,
		},
		{
			"agent of nothing, no agent named",
			access.Principal{Kind: access.KindAgent, Grants: agent.Grants},
			uuid.Nil, orgA,
			access.ErrForbidden, access.ErrForbidden,
		},
		{"proxy", principal(bound(access.RoleProxy, "deployment")), agentID, orgA, access.ErrForbidden, nil},
		{"proxy of the organization", principal(bound(access.RoleProxy, "organization")), agentID, orgA, access.ErrForbidden, nil},
		{"proxy of another", principal(bound(access.RoleProxy, "organization")), agentID, orgB, access.ErrForbidden, access.ErrNotFound},
		{
			"proxy, organization unknown", principal(bound(access.RoleProxy, "organization")), agentID, uuid.Nil, access.ErrForbidden,
			access.ErrNotFound,
		},
		{"control plane", principal(bound(access.RoleControlPlane, "deployment")), agentID, orgB, nil, nil},
		{"control plane of the organization", principal(bound(access.RoleControlPlane, "organization")), agentID, orgA, nil, nil},
		{
			"control plane of another", principal(bound(access.RoleControlPlane, "organization")), agentID, orgB, access.ErrNotFound,
			access.ErrNotFound,
		},
		{
			"control plane, organization unknown", principal(bound(access.RoleControlPlane, "organization")), agentID, uuid.Nil,
			access.ErrNotFound, access.ErrNotFound,
		},
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

// drawn is a principal and the bindings that it comes from, of every shape, malformed ones too.
type drawn struct {
	access.Principal
	bindings []access.Binding
}

func drawPrincipal(t *rapid.T) drawn {
	binding := rapid.Custom(func(t *rapid.T) access.Binding {
		return access.Binding{
			Role:         rapid.SampledFrom(slices.Concat(roles, strangers)).Draw(t, "role"),
			Organization: rapid.SampledFrom(someOrganizations).Draw(t, "organization"),
			Template:     rapid.SampledFrom(someTemplates).Draw(t, "template"),
			Group:        rapid.SampledFrom([]uuid.UUID{uuid.Nil, uuid.Nil, team}).Draw(t, "group"),
		}
	})
	p := access.Principal{
		Kind:  rapid.SampledFrom([]access.Kind{access.KindUser, access.KindService, access.KindAgent, ""}).Draw(t, "kind"),
		Agent: rapid.SampledFrom([]uuid.UUID{uuid.Nil, agentID}).Draw(t, "agent"),
	}
	bindings := rapid.SliceOfN(binding, 0, 5).Draw(t, "bindings")
	return drawn{p.With(bindings...), bindings}
}

func drawCatalog(t *rapid.T) map[uuid.UUID]uuid.UUID {
	return rapid.MapOfN(rapid.SampledFrom(someTemplates[1:]), rapid.SampledFrom(someOrganizations), 0, 4).Draw(t, "catalog")
}

func drawRequest(t *rapid.T) []uuid.UUID {
	return rapid.SliceOfN(rapid.SampledFrom(someTemplates), 0, 4).Draw(t, "requested")
}

// naiveHolds looks up in the table of rights whether a principal holds a permission for everything, and for one template.
func naiveHolds(p drawn, perm access.Permission, template, organization uuid.UUID) (everything, it bool) {
	for _, b := range p.bindings {
		place := "deployment"
		switch {
		case b.Group != uuid.Nil:
			continue // questions about templates do not count it
		case b.Organization != uuid.Nil && b.Template != uuid.Nil:
			place = "organization and template"
		case b.Organization != uuid.Nil:
			place = "organization"
		case b.Template != uuid.Nil:
			place = "template"
		}
		row, listed := rights[string(b.Role)+" "+place]
		if !listed || p.Kind != "user" && p.Kind != "service" {
			continue
		}
		switch row[slices.Index(columns, perm)] {
		case 'E':
			everything = true
		case 'O':
			it = it || b.Organization == organization
		case 'T':
			it = it || b.Template == template
		}
	}
	return everything, everything || it
}

// naiveTemplates answers as Templates does, by asking for one template after the other.
func naiveTemplates(
	p drawn, perm access.Permission, requested []uuid.UUID, catalog map[uuid.UUID]uuid.UUID,
) (all bool, covered map[uuid.UUID]bool, found bool) {
	everything, _ := naiveHolds(p, perm, uuid.Nil, uuid.Nil)
	covered = map[uuid.UUID]bool{}
	for _, id := range requested {
		organization, exists := catalog[id]
		_, sees := naiveHolds(p, perm, id, organization)
		if !everything && (!exists || !sees) {
			return false, nil, false
		}
		covered[id] = true
	}
	if len(requested) == 0 && !everything {
		for id, organization := range catalog {
			if _, sees := naiveHolds(p, perm, id, organization); sees {
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
		p, catalog := drawPrincipal(t), drawCatalog(t)
		requests := append(rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(someTemplates), 1, 4), 1, 5).Draw(t, "requests"), nil)
		for _, perm := range columns {
			for _, requested := range requests {
				compareTemplates(t, p, perm, requested, catalog)
			}
		}
	})
}

func compareTemplates(t *rapid.T, p drawn, perm access.Permission, requested []uuid.UUID, catalog map[uuid.UUID]uuid.UUID) {
	all, covered, found := naiveTemplates(p, perm, requested, catalog)
	scope, err := access.Templates(p.Principal, perm, requested, catalog)
	if !found {
		if !errors.Is(err, access.ErrNotFound) || err.Error() != access.ErrNotFound.Error() { // nothing tells the misses apart
			t.Fatalf("%s on %v: error %v, want ErrNotFound", perm, requested, err)
		}
		if scope.All() || len(scope.Templates()) != 0 {
			t.Fatalf("%s on %v: a refused request got a scope: %v", perm, requested, scope)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s on %v: %v", perm, requested, err)
	}
	if scope.All() != all {
		t.Fatalf("%s on %v: all: %t, want %t", perm, requested, scope.All(), all)
	}
	if templates := scope.Templates(); len(templates) != len(covered) {
		t.Fatalf("%s on %v: covers %v, want %v", perm, requested, templates, covered)
	}
	for _, id := range someTemplates {
		if scope.Contains(id) != (all || covered[id]) {
			t.Fatalf("%s on %v: contains %v: %t, want %t", perm, requested, id, scope.Contains(id), all || covered[id])
		}
	}
}

// Taking a binding away never gives a right.
func TestRemovingABindingAddsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, catalog, requested := drawPrincipal(t), drawCatalog(t), drawRequest(t)
		if len(before.bindings) == 0 {
			return
		}
		removed := rapid.IntRange(0, len(before.bindings)-1).Draw(t, "removed")
		after := before.With(slices.Delete(slices.Clone(before.bindings), removed, removed+1)...)

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
			more, err := access.Templates(before.Principal, perm, requested, catalog)
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
			if access.CheckStats(after, agentID, id) == nil && access.CheckStats(before.Principal, agentID, id) != nil ||
				access.CheckAppSessions(after, id) == nil && access.CheckAppSessions(before.Principal, id) != nil {
				t.Fatalf("ingest in %v was gained", id)
			}
		}
	})
}

// A principal that is confined to a scope, and to some permissions, may do what is left of both, and nothing else changes.
func TestConfinedPrincipal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, catalog := drawPrincipal(t), drawCatalog(t)
		scope, err := access.Templates(principal(bound(access.RoleOwner, "deployment")), access.ViewInsights, drawRequest(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		within := p.Within(access.ViewInsights, scope, catalog)
		only := p.Only(access.ViewInsights, access.ReadOwn)
		for _, perm := range columns {
			for id, organization := range catalog {
				holds := holdsOn(p.Principal, perm, id, organization)
				if want := holds && (perm != access.ViewInsights || scope.Contains(id)); holdsOn(within, perm, id, organization) != want {
					t.Fatalf("%s on %v within %v: %t, want %t", perm, id, scope, !want, want)
				}
				want := holds && (perm == access.ViewInsights || perm == access.ReadOwn || perm == access.Authenticated)
				if holdsOn(only, perm, id, organization) != want {
					t.Fatalf("%s on %v, of two permissions: %t, want %t", perm, id, !want, want)
				}
			}
			if within.HoldsEverywhere(perm) && !p.HoldsEverywhere(perm) ||
				perm == access.ViewInsights && within.HoldsEverywhere(perm) && !scope.All() {
				t.Fatalf("%s everywhere, within %v", perm, scope)
			}
		}
	})
}

// A template without an organization is no template of a grant that names none either.
func TestWithinNoOrganization(t *testing.T) {
	t.Parallel()
	p := principal(bound(access.RoleTemplateAdmin, "template"))
	catalog := map[uuid.UUID]uuid.UUID{a1: uuid.Nil, a2: uuid.Nil}
	everything := principal(bound(access.RoleOwner, "deployment"))
	scope, err := access.Templates(everything, access.ViewInsights, []uuid.UUID{a1, a2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	within := p.Within(access.ViewInsights, scope, catalog)
	for template, want := range map[uuid.UUID]bool{a1: true, a2: false} {
		if got := holdsOn(within, access.ViewInsights, template, uuid.Nil); got != want {
			t.Errorf("view_insights on %v: %t, want %t", template, got, want)
		}
	}
}

// holdsOn asks for one template.
func holdsOn(p access.Principal, perm access.Permission, template, organization uuid.UUID) bool {
	_, err := access.Templates(p, perm, []uuid.UUID{template}, map[uuid.UUID]uuid.UUID{template: organization})
	return err == nil
}
