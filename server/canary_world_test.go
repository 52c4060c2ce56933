package server_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// tenant is an organization with everything that the service keeps of one. Its names hold its word, except where two tenants
// are alike on purpose: each has a template twin with the same parameters and apps, and a person works for both.
type tenant struct {
	word string
	age  time.Duration // of its templates
	sam  []string      // the organizations of the person who works for both
}

// id is the same in every run, and begins with the mark of the tenant. Of each kind the first, number 0, is what others guess;
// they never name the others.
func (x tenant) id(kind string, number int) string {
	return x.mark() + uuid.NewSHA1(uuid.NameSpaceOID, []byte(fmt.Sprint(x.word, kind, number))).String()[8:]
}

// mark is what all ids of the tenant begin with.
func (x tenant) mark() string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(x.word)).String()[:8] }

// guessed reports whether others name an id.
func (x tenant) guessed(id string) bool {
	return slices.ContainsFunc(
		[]string{"organization", "template", "version", "user", "group", "workspace", "agent", "build"},
		func(kind string) bool { return x.id(kind, 0) == id },
	)
}

// name is a name of a thing of the tenant.
func (x tenant) name(kind string, number int) string {
	return fmt.Sprintf("%s-%s-%d", x.word, kind, number)
}

// samID is the person who works for both.
var samID = uuid.NewSHA1(uuid.NameSpaceOID, []byte("sam")).String()

// owner is who has a workspace.
func (x tenant) owner(workspace int) string {
	if workspace == 3 {
		return samID
	}
	return x.id("user", workspace%3)
}

// template is what a workspace was made from: each of the three, and sam's and the last of the first two.
func (x tenant) template(workspace int) string { return x.id("template", workspace%3) }

const tenantWorkspaces = 5

func (x tenant) catalog() *insightsv1.ApplyCatalogRequest {
	organization := x.id("organization", 0)
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{
			{Id: organization, Name: x.name("organization", 0), DisplayName: x.name("organization display", 0)},
		},
		Users: []*insightsv1.User{{Id: samID, Username: "sam", OrganizationIds: x.sam}},
		Groups: []*insightsv1.Group{
			{Id: x.id("group", 0), OrganizationId: organization, Name: x.name("group", 0), UserIds: []string{x.id("user", 0), samID}},
			{Id: x.id("group", 1), OrganizationId: organization, Name: x.name("group", 1), UserIds: []string{x.id("user", 1)}},
		},
	}
	for i := range 3 {
		template := &insightsv1.Template{
			Id: x.id("template", i), OrganizationId: organization, Name: x.name("template", i), DisplayName: x.name("template display", i),
			Icon: x.name("/template", i), CreatedAt: timestamppb.New(storetest.Now.Add(-x.age)),
		}
		switch i {
		case 1:
			template.Name, template.DisplayName, template.Icon = "twin", "Twin", "/twin.svg"
		case 2:
			template.DeletedAt = timestamppb.New(storetest.Now.AddDate(0, 0, -1))
		}
		change.Templates = append(change.Templates, template)
		change.TemplateVersions = append(change.TemplateVersions, &insightsv1.TemplateVersion{
			Id: x.id("version", i), TemplateId: x.id("template", i), Name: x.name("version", i), CreatedAt: template.GetCreatedAt(),
			Parameters: []*insightsv1.Parameter{
				{
					Name: "region", Type: "string",
					Options: []*insightsv1.ParameterOption{{Name: "Europe", Value: "eu"}, {Name: "America", Value: "us"}},
				},
				{Name: "image", Type: "string", DefaultValue: x.name("default", i)},
				{
					Name: x.name("parameter", i), DisplayName: x.name("parameter display", i), Type: "string",
					Description: x.name("description", i),
					Options: []*insightsv1.ParameterOption{{
						Name: x.name("option", i), Description: x.name("about", i), Value: x.name("choice", i), Icon: x.name("/option", i),
					}},
				},
			},
		})
		change.Users = append(change.Users, &insightsv1.User{
			Id: x.id("user", i), Username: x.name("user", i), AvatarUrl: x.name("/avatar", i), OrganizationIds: []string{organization},
		})
	}
	for i := range tenantWorkspaces {
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: x.id("workspace", i), OwnerId: x.owner(i), TemplateId: x.template(i), Name: x.name("workspace", i),
		})
		change.Agents = append(change.Agents, &insightsv1.Agent{
			Id: x.id("agent", i), WorkspaceId: x.id("workspace", i), Name: x.name("agent", i),
		})
		change.Apps = append(change.Apps,
			&insightsv1.App{AgentId: x.id("agent", i), Slug: "wiki", DisplayName: "Wiki"},
			&insightsv1.App{
				AgentId: x.id("agent", i), Slug: x.name("app", i), DisplayName: x.name("app display", i), Icon: x.name("/app", i),
			})
	}
	return change
}

// reports are sessions of every agent, also in the last five minutes. Those of the two tenants overlap, and so do those of the
// person who works for both. Two agents of one person in one template measure the same: of two latencies of a minute the earlier
// commit would stay, which is left to chance.
func (x tenant) reports() (reports []*insightsv1.AgentReport) {
	for agent := range tenantWorkspaces {
		for _, from := range []time.Duration{-4 * time.Minute, -26 * time.Hour, -49 * time.Hour, -100 * time.Hour} {
			for m := range time.Duration(3 + len(x.word)%3) {
				reports = append(reports, &insightsv1.AgentReport{
					AgentId: x.id("agent", agent), CollectedAt: timestamppb.New(storetest.Now.Add(from + m*time.Minute)),
					AgentVersion: x.name("version", agent), PeersDerp: 1, DerpRegion: x.name("region", agent),
					ConnectionCount: int64(agent % 2), ConnectionMedianLatencyMs: float64(10 + len(x.word) + agent%3),
					SessionCounts: map[string]int64{"vscode": 1, x.name("editor", agent): 1},
				})
			}
		}
	}
	return reports
}

func (x tenant) sessions() (sessions []*insightsv1.AppSession) {
	for i := range tenantWorkspaces {
		for _, slug := range []string{"wiki", x.name("app", i)} {
			sessions = append(sessions, &insightsv1.AppSession{
				AgentId: x.id("agent", i), UserId: x.owner(i), AccessMethod: "path", SlugOrPort: slug,
				StartedAt: timestamppb.New(storetest.Now.Add(-50 * time.Hour)),
				EndedAt:   timestamppb.New(storetest.Now.Add(-49 * time.Hour)),
			})
		}
	}
	return sessions
}

func (x tenant) build(i int) *insightsv1.Build {
	return &insightsv1.Build{
		Id: x.id("build", i), WorkspaceId: x.id("workspace", i), TemplateVersionId: x.id("version", i%3), Number: 1, Transition: "start",
		Status: "succeeded", CreatedAt: timestamppb.New(storetest.Now.Add(-time.Duration(1+i) * time.Minute)),
		Parameters: []*insightsv1.BuildParameter{
			{Name: "region", Value: []string{"eu", "us"}[len(x.word)%2]},
			{Name: "image", Value: x.name("image", i)},
			{Name: x.name("parameter", i%3), Value: x.name("choice", i%3)},
		},
	}
}

func (x tenant) events() (events []*insightsv1.Event) {
	at := timestamppb.New(storetest.Now.Add(-72 * time.Hour))
	for i := range tenantWorkspaces {
		events = append(events, &insightsv1.Event{At: timestamppb.New(storetest.Now), Kind: &insightsv1.Event_Build{Build: x.build(i)}})
	}
	for i, user := range []string{x.id("user", 0), x.id("user", 1), x.id("user", 2), samID} {
		status := []string{"active", "dormant", "suspended", "active"}[i]
		events = append(events,
			&insightsv1.Event{At: at, Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: user}}},
			&insightsv1.Event{
				At: at, Kind: &insightsv1.Event_UserStatus{UserStatus: &insightsv1.UserStatusEvent{UserId: user, Status: status}},
			})
	}
	return events
}

// settle brings a tenant into a server.
func (x tenant) settle(t *testing.T, r *running) {
	t.Helper()
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	r.Apply(t, controlPlane, x.catalog())
	r.ReportStats(t, controlPlane, x.reports())
	r.ReportSessions(t, controlPlane, x.sessions())
	r.ReportEvents(t, controlPlane, x.events())
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// canaryRoles are those that can be bound to an organization or to a template, where they can.
var canaryRoles = []access.Role{
	access.RoleControlPlane, access.RoleProxy, // first, so that the others see what they did
	access.RoleOwner, access.RoleTemplateAdmin, access.RoleAuditor, access.RoleUserAdmin, access.RoleMember,
	access.RoleOrganizationAdmin, access.RoleOrganizationTemplateAdmin, access.RoleOrganizationAuditor, access.RoleOrganizationUserAdmin,
	access.RoleViewInsights, access.RoleViewInsightsAggregate, access.RoleReadUsers, access.RoleManageAccess, access.RoleManagePrivacy,
	access.RoleReadAudit,
}

// canaryCaller is someone with a token.
type canaryCaller struct{ name, token string }

// callers makes everyone who is of the tenant alone: an agent, services with each role that binds to its organization or to
// one of its templates, a member, and two people who hold a role by themselves and by their group.
func (x tenant) callers(t *testing.T, r *running) (callers []canaryCaller) {
	t.Helper()
	add := func(name string, token store.Token, bindings ...store.RoleBinding) {
		for _, b := range bindings {
			if _, err := r.Store.GrantRole(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		token.Name = x.name("token", len(callers))
		secrets, err := r.Store.CreateTokens(t.Context(), []store.Token{token})
		if err != nil {
			t.Fatal(err)
		}
		callers = append(callers, canaryCaller{name, secrets[0].Reveal()})
	}
	id := func(kind string, number int) uuid.UUID { return uuid.MustParse(x.id(kind, number)) }
	for i, role := range canaryRoles {
		service := id("service", 10+i)
		for _, b := range []store.RoleBinding{
			{Role: role, OrganizationID: id("organization", 0)}, {Role: role, TemplateID: id("template", 1)},
		} {
			if b.Binding().Validate() != nil {
				continue
			}
			b.PrincipalKind, b.PrincipalID = access.KindService, service
			if b.TemplateID != uuid.Nil {
				b.PrincipalID = id("service", 40+i)
			}
			add(fmt.Sprintf("%s of %s", role, map[bool]string{true: "a template", false: "the organization"}[b.TemplateID != uuid.Nil]),
				store.Token{PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID}, b)
		}
	}
	add("agent", store.Token{PrincipalKind: access.KindAgent, PrincipalID: id("agent", 0)})
	add("user without a role", store.Token{PrincipalKind: access.KindUser, PrincipalID: id("user", 0)})
	add("member", store.Token{PrincipalKind: access.KindUser, PrincipalID: id("user", 1)},
		store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: id("user", 1), Role: access.RoleMember},
		store.RoleBinding{
			PrincipalKind: store.KindGroup, PrincipalID: id("group", 1), Role: access.RoleTemplateAdmin, TemplateID: id("template", 0),
		})
	add("nobody at all", store.Token{PrincipalKind: access.KindService, PrincipalID: id("service", 99)})
	if len(callers) < 16 {
		t.Fatalf("%d callers only", len(callers))
	}
	return callers
}
