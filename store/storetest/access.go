package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

func tokens(t *testing.T, f *Fixture) {
	secrets, err := f.CreateTokens(t.Context(), []store.Token{
		{Name: "u", PrincipalKind: access.KindUser, PrincipalID: f.Users[0]},
		{Name: "a", PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]},
		{Name: "old", PrincipalKind: access.KindUser, PrincipalID: f.Users[0], ExpiresAt: store.At(Now)},
		{Name: "gone", PrincipalKind: access.KindAgent, PrincipalID: uuid.New()},
	})
	if err != nil {
		t.Fatal(err)
	}
	user, err := f.Authenticate(t.Context(), secrets[0])
	if err != nil || user.ID != f.Users[0] || user.Kind != access.KindUser || user.Name != "user0" {
		t.Errorf("user token: %+v, %v", user, err)
	}
	agent, err := f.Authenticate(t.Context(), secrets[1])
	if err != nil || agent.Agent != f.Agents[0][0] || !agent.Holds(access.Ingest) || agent.Holds(access.ViewInsights) {
		t.Errorf("agent token: %+v, %v", agent, err)
	}
	for i, name := range map[int]string{2: "expired", 3: "of an unknown agent"} {
		if _, err := f.Authenticate(t.Context(), secrets[i]); !errors.Is(err, store.ErrUnauthenticated) {
			t.Errorf("token %s: %v", name, err)
		}
	}
	if _, err := f.Authenticate(t.Context(), access.NewToken()); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("unknown token: %v", err)
	}
	later := Open(t, f.Database, Now.Add(30*time.Second))
	for _, s := range []*store.Store{f.Store, later} {
		if err := s.TouchTokens(t.Context(), []string{user.Token}); err != nil {
			t.Error(err)
		}
	}
	listed, err := f.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range listed {
		if used := token.LastUsedAt.Equal(Now); used != (token.ID == user.Token) { // the second time was too soon to be noted
			t.Errorf("token %s was last used at %v", token.Name, token.LastUsedAt)
		}
	}
	for range 2 {
		if err := f.RevokeToken(t.Context(), secrets[0].ID()); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Authenticate(t.Context(), secrets[0]); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("revoked token: %v", err)
	}
	if err := f.RevokeToken(t.Context(), "nothing"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("revoking an unknown token: %v", err)
	}
	f.apply(t, store.Catalog{Deleted: store.Deleted{Agents: []uuid.UUID{f.Agents[0][0]}}})
	if _, err := f.Authenticate(t.Context(), secrets[1]); !errors.Is(err, store.ErrUnauthenticated) {
		t.Errorf("token of a deleted agent: %v", err)
	}
	list, err := f.Tokens(t.Context())
	if err != nil || len(list) != 4 || list[0].Hash != nil {
		t.Errorf("tokens: %+v, %v", list, err)
	}
}

func roles(t *testing.T, f *Fixture) {
	group := uuid.New()
	f.apply(t, store.Catalog{
		Groups: []store.Group{{ID: group, OrganizationID: f.Organization, Name: "leads", UserIDs: []uuid.UUID{f.Users[0], f.Users[1]}}},
	})
	binding := store.RoleBinding{
		PrincipalKind: store.KindGroup, PrincipalID: group, Role: access.RoleTemplateAdmin, TemplateID: f.Templates[0],
	}
	first, err := f.GrantRole(t.Context(), binding)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.GrantRole(t.Context(), binding); err != nil || again.ID != first.ID {
		t.Errorf("the same grant again: %+v, %v; want %v", again, err, first.ID)
	}
	var about []uuid.UUID
	for _, of := range []uuid.UUID{group, uuid.New(), group} {
		b, err := f.GrantRole(t.Context(), store.RoleBinding{
			PrincipalKind: access.KindUser, PrincipalID: f.Users[2], Role: access.RoleViewGroupInsights, GroupID: of,
		})
		if err != nil || b.GroupID != of {
			t.Fatal(b, err)
		}
		about = append(about, b.ID)
	}
	if about[0] == about[1] || about[0] != about[2] {
		t.Errorf("bindings about a group, another one and the first again: %v", about)
	}
	var invalid *access.BindingError
	_, err = f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: "user", Role: "emperor"})
	if !errors.As(err, &invalid) || invalid.Field != "role" {
		t.Errorf("unknown role: %v", err)
	}
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindUser, PrincipalID: f.Users[0]}})
	if err != nil {
		t.Fatal(err)
	}
	sees := func() bool {
		t.Helper()
		p, err := f.Authenticate(t.Context(), secrets[0])
		if err != nil {
			t.Fatal(err)
		}
		organizations, err := f.OrganizationsOf(t.Context(), f.Templates[:1])
		if err != nil {
			t.Fatal(err)
		}
		_, err = access.Templates(p, access.ViewInsights, f.Templates[:1], organizations)
		return err == nil
	}
	if !sees() {
		t.Error("a member of the group does not see the template")
	}
	without := store.Catalog{Groups: []store.Group{{ID: group, OrganizationID: f.Organization, UserIDs: []uuid.UUID{f.Users[1]}}}}
	weak := anyone
	weak.ManageAccess = false
	if refusals, err := f.ApplyCatalog(t.Context(), without, weak); err != nil || len(refusals) != 1 {
		t.Errorf("changing the members of a group with grants: %v, %v; want a refusal", refusals, err)
	}
	if f.apply(t, without); sees() {
		t.Error("who left the group still sees the template")
	}
	if err := f.RevokeRole(t.Context(), first.ID); err != nil {
		t.Error(err)
	}
	if err := f.RevokeRole(t.Context(), first.ID); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("revoking twice: %v", err)
	}
}

// firstToken: of several who ask at once one gets it, and nobody ever after, also when the owner is gone.
func firstToken(t *testing.T, f *Fixture) {
	second := Open(t, f.Database, Now)
	var wait sync.WaitGroup
	secrets, errs := make([]access.Token, 4), make([]error, 4)
	for i := range secrets {
		wait.Go(func() { secrets[i], errs[i] = []*store.Store{f.Store, second}[i%2].FirstToken(t.Context(), "") })
	}
	wait.Wait()
	var won []access.Token
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, secrets[i])
		case !errors.Is(err, store.ErrNotFirst):
			t.Error(err)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d got a first token", len(won))
	}
	p, err := f.Authenticate(t.Context(), won[0])
	if err != nil || !p.HoldsEverywhere(access.ManageAccess) {
		t.Fatalf("the first owner: %v, %v", p, err)
	}
	bindings, err := f.RoleBindings(t.Context())
	if err != nil || len(bindings) != 1 {
		t.Fatal(bindings, err)
	}
	if err := f.RevokeRole(t.Context(), bindings[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := f.FirstToken(t.Context(), ""); !errors.Is(err, store.ErrNotFirst) {
		t.Errorf("after the owner is gone: %v", err)
	}
}

// firstTokenBesideOwner: an owner who was made in another way was first.
func firstTokenBesideOwner(t *testing.T, f *Fixture) {
	_, err := f.GrantRole(t.Context(), store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.FirstToken(t.Context(), ""); !errors.Is(err, store.ErrNotFirst) {
		t.Errorf("beside an owner: %v", err)
	}
}
