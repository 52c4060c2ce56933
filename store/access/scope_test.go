package access_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

func TestZeroScopeCoversNothing(t *testing.T) {
	t.Parallel()
	var s access.Scope
	if s.All() || len(s.Templates()) != 0 || s.Contains(a1) || s.Contains(uuid.Nil) {
		t.Errorf("the zero scope covers something: %v", s)
	}
}

// A scope of members stays one, and never has templates beyond the organizations of their groups.
func TestMembers(t *testing.T) {
	t.Parallel()
	team, gone := uuid.New(), uuid.New()
	about := func(group uuid.UUID) access.Binding {
		return access.Binding{Role: access.RoleViewGroupInsights, Group: group}
	}
	lead := access.Principal{Kind: access.KindUser, ID: uuid.New()}.With(about(team), about(gone))
	groupsIn := map[uuid.UUID]uuid.UUID{team: orgA}
	for _, tt := range []struct {
		name      string
		of        access.Principal
		requested []uuid.UUID
		want      []uuid.UUID // nil: not found
	}{
		{"none named", lead, nil, []uuid.UUID{a1, a2}},
		{"one twice", lead, []uuid.UUID{a2, a2}, []uuid.UUID{a2}},
		{"one of another organization", lead, []uuid.UUID{a1, b1}, nil},
		{"without such a role", principal(bound(access.RoleOwner, "deployment")), nil, nil},
		{"of groups that are gone", principal(about(gone)), nil, nil},
	} {
		scope, err := access.Members(tt.of, access.ViewInsightsAggregate, tt.requested, organizationOf, groupsIn)
		if tt.want == nil {
			if !errors.Is(err, access.ErrNotFound) || scope.All() || len(scope.Templates()) > 0 {
				t.Errorf("%s: %v, %v", tt.name, scope, err)
			}
			continue
		}
		within, withinErr := scope.Within(tt.want)
		if err != nil || withinErr != nil {
			t.Fatalf("%s: %v, %v", tt.name, err, withinErr)
		}
		for _, s := range []access.Scope{scope, within} {
			if diff := cmp.Diff([][]uuid.UUID{tt.want, {team}}, [][]uuid.UUID{s.Templates(), s.Groups()}); diff != "" || s.All() {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	owner := principal(bound(access.RoleOwner, "deployment"))

	all, err := access.Templates(owner, access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !all.All() || len(all.Templates()) != 0 || !all.Contains(a1) {
		t.Errorf("everything: %v", all)
	}

	requested := []uuid.UUID{b1, a1, b1, a2, a1}
	some, err := access.Templates(owner, access.ViewInsights, requested, nil)
	if err != nil {
		t.Fatal(err)
	}
	if some.All() || !some.Contains(a1) || some.Contains(uuid.Nil) {
		t.Errorf("three templates: %v", some)
	}
	want := []uuid.UUID{a1, a2, b1}
	if diff := cmp.Diff(want, some.Templates()); diff != "" {
		t.Errorf("templates, sorted and each once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uuid.UUID{b1, a1, b1, a2, a1}, requested); diff != "" {
		t.Errorf("the request was changed (-want +got):\n%s", diff)
	}
	clear(some.Templates())
	if diff := cmp.Diff(want, some.Templates()); diff != "" {
		t.Errorf("a caller changed the scope (-want +got):\n%s", diff)
	}
}

func TestScopeWithin(t *testing.T) {
	t.Parallel()
	all, err := access.Templates(principal(bound(access.RoleOwner, "deployment")), access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	some, err := all.Within([]uuid.UUID{b1, a1, b1})
	if err != nil || some.All() {
		t.Fatalf("some of everything: %v, %v", some, err)
	}
	if diff := cmp.Diff([]uuid.UUID{a1, b1}, some.Templates()); diff != "" {
		t.Errorf("some of everything (-want +got):\n%s", diff)
	}
	if less, err := some.Within([]uuid.UUID{a1, a2}); err != nil || !cmp.Equal(less.Templates(), []uuid.UUID{a1}) {
		t.Errorf("what some have in common with others: %v, %v", less, err)
	}
	for name, templates := range map[string][]uuid.UUID{"nothing": nil, "what is not in it": {a2}} {
		if nothing, err := some.Within(templates); !errors.Is(err, access.ErrNotFound) || nothing.All() || len(nothing.Templates()) > 0 {
			t.Errorf("in common with %s: %v, %v", name, nothing, err)
		}
	}
}
