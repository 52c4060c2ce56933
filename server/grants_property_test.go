package server_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// shop is a company of a few organizations with people, groups and grants, as a reference sees it: plain lists to loop over.
type shop struct {
	organizations []uuid.UUID
	templates     []store.Template
	users         []uuid.UUID
	groups        []store.Group
	bindings      []store.RoleBinding
}

// drawShop draws a company, writes it into the store, and takes some of it back again.
func drawShop(t *rapid.T, s *store.Store, roles []access.Role) shop {
	var x shop
	var c store.Catalog
	for range rapid.IntRange(1, 3).Draw(t, "organizations") {
		id := uuid.New()
		x.organizations = append(x.organizations, id)
		c.Organizations = append(c.Organizations, store.Organization{ID: id, Name: id.String()})
	}
	for range rapid.IntRange(0, 5).Draw(t, "templates") {
		x.templates = append(x.templates, store.Template{
			ID: uuid.New(), OrganizationID: rapid.SampledFrom(x.organizations).Draw(t, "organization"), Name: "t",
		})
	}
	for range rapid.IntRange(1, 3).Draw(t, "users") {
		x.users = append(x.users, uuid.New())
		c.Users = append(c.Users, store.User{ID: x.users[len(x.users)-1], Username: "u", Kind: "human", Status: "active"})
	}
	members := rapid.SliceOfDistinct(rapid.SampledFrom(x.users), rapid.ID)
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		x.groups = append(x.groups, store.Group{
			ID: uuid.New(), OrganizationID: x.organizations[0], Name: "g", UserIDs: members.Draw(t, "members"),
		})
	}
	c.Templates, c.Groups = x.templates, slices.Clone(x.groups)
	x.apply(t, s, c)
	for range rapid.IntRange(0, 8).Draw(t, "bindings") {
		if b, err := s.GrantRole(t.Context(), x.drawBinding(t, roles)); err == nil {
			x.bindings = append(x.bindings, b)
		} else if wrong := new(access.BindingError); !errors.As(err, &wrong) {
			t.Fatal(err)
		}
	}
	var again store.Catalog
	if len(x.groups) > 0 && rapid.Bool().Draw(t, "regroup") {
		x.groups[0].UserIDs = members.Draw(t, "members")
		again.Groups = x.groups[:1]
	}
	if len(x.templates) > 0 && rapid.Bool().Draw(t, "delete a template") {
		again.Deleted.Templates = []uuid.UUID{x.templates[0].ID} // which stays visible
	}
	x.apply(t, s, again)
	if len(x.bindings) > 0 && rapid.Bool().Draw(t, "revoke") {
		revoked := x.bindings[0]
		if err := s.RevokeRole(t.Context(), revoked.ID); err != nil {
			t.Fatal(err)
		}
		x.bindings = slices.DeleteFunc(x.bindings, func(b store.RoleBinding) bool { return b.ID == revoked.ID })
	}
	return x
}

func (x shop) apply(t *rapid.T, s *store.Store, c store.Catalog) {
	refusals, err := s.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
}

// drawBinding draws any role for somebody anywhere, also where it does not bind.
func (x shop) drawBinding(t *rapid.T, roles []access.Role) store.RoleBinding {
	b := store.RoleBinding{
		PrincipalKind: access.KindUser, PrincipalID: rapid.SampledFrom(x.users).Draw(t, "user"),
		Role: rapid.SampledFrom(roles).Draw(t, "role"),
	}
	if len(x.groups) > 0 && rapid.Bool().Draw(t, "to a group") {
		b.PrincipalKind, b.PrincipalID = store.KindGroup, rapid.SampledFrom(x.groups).Draw(t, "group").ID
	}
	switch level := rapid.IntRange(0, 3).Draw(t, "level"); {
	case level == 1:
		b.OrganizationID = rapid.SampledFrom(x.organizations).Draw(t, "organization")
	case level == 2 && len(x.templates) > 0:
		b.TemplateID = rapid.SampledFrom(x.templates).Draw(t, "template").ID
	case level == 3 && len(x.groups) > 0:
		b.GroupID = rapid.SampledFrom(x.groups).Draw(t, "about").ID
	}
	return b
}

// holds loops over everything to find out whether a user holds a permission everywhere, and where.
func (x shop) holds(roles []who, user uuid.UUID, permission access.Permission) (everywhere bool, organizations, templates []uuid.UUID) {
	for _, b := range x.bindings {
		if b.PrincipalID != user &&
			!slices.ContainsFunc(x.groups, func(g store.Group) bool { return g.ID == b.PrincipalID && slices.Contains(g.UserIDs, user) }) {
			continue
		}
		level := "deployment"
		switch {
		case b.OrganizationID != uuid.Nil:
			level = "organization"
		case b.TemplateID != uuid.Nil:
			level = "template"
		case b.GroupID != uuid.Nil:
			level = "group" // which no question is about
		}
		for _, r := range roles {
			if r.role != b.Role || r.site.level != level || r.role == access.RoleAgent || !slices.Contains(r.holds, permission) {
				continue
			}
			switch level {
			case "deployment":
				everywhere = true
			case "organization":
				organizations = append(organizations, b.OrganizationID)
			case "template":
				templates = append(templates, b.TemplateID)
			}
		}
	}
	return everywhere, organizations, templates
}

// sees are the templates on which a user holds a permission.
func (x shop) sees(roles []who, user uuid.UUID, permission access.Permission) (sees []uuid.UUID) {
	everywhere, organizations, templates := x.holds(roles, user, permission)
	for _, template := range x.templates {
		if everywhere || slices.Contains(organizations, template.OrganizationID) || slices.Contains(templates, template.ID) {
			sees = append(sees, template.ID)
		}
	}
	return sees
}

// asker is a user who asks within the process.
type asker struct {
	authorizer *guard.Authorizer
	principal  access.Principal
}

// ask returns whether the rules let a request in, and with which scope.
func (a asker) ask(t *rapid.T, method string, req any) (bool, access.Scope) {
	ctx, err := a.authorizer.Authorize(called(t.Context(), a.principal), method, req)
	if err != nil && !errors.Is(err, access.ErrNotFound) && !errors.Is(err, access.ErrForbidden) && !errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	if err != nil {
		return false, access.Scope{}
	}
	return true, call.ScopeOf(ctx)
}

// Whoever holds whatever in whichever way sees what a loop over all users, groups, grants and templates finds.
func TestGrantsAsNaive(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	own, err := guard.ReadRules(r.ServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	table, _ := everyRole(t)
	var roles []access.Role
	for _, x := range table {
		roles = append(roles, x.role)
	}
	decisions := 0
	rapid.Check(t, func(t *rapid.T) {
		x := drawShop(t, r.Store, roles)
		for _, user := range x.users {
			p, err := r.Store.User(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			decisions += x.compare(t, table, user, asker{&guard.Authorizer{Store: r.Store, Rules: own}, p})
		}
	})
	t.Logf("%d decisions", decisions)
}

// compare asks for a user in each of the shapes that rules have and returns how often.
func (x shop) compare(t *rapid.T, table []who, user uuid.UUID, a asker) (decisions int) {
	check := func(what string, got, want bool) {
		decisions++
		if got != want {
			t.Fatalf("%s: %t, want %t; %+v", what, got, want, x)
		}
	}
	everywhere, organizations, _ := x.holds(table, user, access.ViewInsights)
	sees := x.sees(table, user, access.ViewInsights)
	allTotals, _, _ := x.holds(table, user, access.ViewInsightsAggregate)
	totals := x.sees(table, user, access.ViewInsightsAggregate)
	known := []uuid.UUID{uuid.New()}
	for _, template := range x.templates {
		known = append(known, template.ID)
	}
	for _, named := range append(
		[][]uuid.UUID{nil}, rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(known), 1, 3), 3, 3).Draw(t, "named")...,
	) {
		times := &insightsv1.GetUserActivityRequest{
			StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", TemplateIds: call.Texts(named),
		}
		got, scope := a.ask(t, insightsv1.InsightsService_GetUserActivity_FullMethodName, times)
		want, covered := everywhere || len(sees) > 0, sees
		if len(named) > 0 {
			covered = named
			want = everywhere || !slices.ContainsFunc(named, func(id uuid.UUID) bool { return !slices.Contains(sees, id) })
		}
		check("user activity", got, want)
		for _, id := range known {
			check("in scope", scope.Contains(id), want && (slices.Contains(covered, id) || len(named) == 0 && everywhere))
		}
	}
	for _, id := range known {
		got, _ := a.ask(
			t, insightsv1.InsightsService_GetTemplateDAUs_FullMethodName, &insightsv1.GetTemplateDAUsRequest{TemplateId: id.String()},
		)
		check("daily users of a template", got, allTotals || slices.Contains(totals, id))
	}
	for _, id := range append([]uuid.UUID{uuid.New()}, x.organizations...) {
		got, scope := a.ask(t, insightsv1.InsightsService_GetActivity_FullMethodName, &insightsv1.GetActivityRequest{Org: id.String()})
		want := slices.Contains(organizations, id) || everywhere && slices.Contains(x.organizations, id)
		check("activity of an organization", got, want)
		for _, template := range x.templates {
			check("in scope", scope.Contains(template.ID), want && template.OrganizationID == id)
		}
	}
	got, _ := a.ask(t, insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, &insightsv1.GetDeploymentDAUsRequest{})
	check("daily users of the deployment", got, allTotals)
	readEverywhere, readIn, readOn := x.holds(table, user, access.ReadUsers)
	got, _ = a.ask(t, insightsv1.InsightsService_GetUserStatusCounts_FullMethodName, &insightsv1.GetUserStatusCountsRequest{})
	check("status counts", got, readEverywhere || len(readIn)+len(readOn) > 0)
	return decisions
}
