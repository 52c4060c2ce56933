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
