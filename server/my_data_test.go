package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// principal is whose token it is.
func (r *running) principal(t *testing.T, token string) uuid.UUID {
	t.Helper()
	return uuid.MustParse(
		servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).WhoAmI, token, &insightsv1.WhoAmIRequest{}).GetPrincipal().GetId(),
	)
}

// A user gets all that is stored of them, and who looked: questions that cannot have shown them are not among it.
func TestGetMyData(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			user := p.Users[0].String()
			group := &insightsv1.Group{
				Id: uuid.NewString(), OrganizationId: p.Organization.String(), Name: "g", UserIds: []string{user, p.Users[1].String()},
			}
			purposes := map[string]string{p.Workspaces[0][0].String(): "development", p.Workspaces[1][0].String(): "ai_task"}
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Workspaces: []*insightsv1.Workspace{
					{Id: p.Workspaces[0][0].String(), OwnerId: user, TemplateId: p.Templates[0].String(), Name: "w"},
					{
						Id: p.Workspaces[1][0].String(), OwnerId: user, TemplateId: p.Templates[1].String(), Name: "w", Purpose: "ai_task",
						TtlSeconds: 3600,
					},
				},
			})
			yesterday := timestamppb.New(storetest.Now.Add(-24 * time.Hour))
			all := &insightsv1.Group{
				Id: uuid.NewString(), OrganizationId: p.Organization.String(), Name: "h", Everyone: true,
				Members: []*insightsv1.GroupMember{
					{UserId: p.Users[1].String()}, {UserId: user, From: before(1, 0)}, {UserId: user, To: yesterday},
				},
			}
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Groups: []*insightsv1.Group{group, all}})
			p.send(t, p.session(0, yesterday, nil))
			if _, err := p.Fold(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.send(
				t, p.session(0, yesterday, nil), p.session(0, before(0, 2), nil),
				p.session(0, before(0, 1), func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = 40 }),
				p.session(1, before(0, 1), nil),
			)
			p.ReportEvents(t, p.controlPlane, []*insightsv1.Event{
				{At: before(0, 1), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: user}}},
				{
					At:   before(3, 0),
					Kind: &insightsv1.Event_UserStatus{UserStatus: &insightsv1.UserStatusEvent{UserId: user, Status: "dormant"}},
				},
			})
			p.build(t, before(2, 0), "large")
			role := p.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: p.Users[0], Role: access.RoleMember})
			own := p.Issue(t, store.Token{Name: "mine", PrincipalKind: access.KindUser, PrincipalID: p.Users[0]})
			insights, auditor := insightsv1.NewInsightsServiceClient(p.Conn), p.Token(t, access.RoleAuditor, servertest.Everywhere)
			ask := func(start, end, search string, templates ...string) {
				t.Helper()
				servertest.Must(t, insights.GetUserActivity, auditor, &insightsv1.GetUserActivityRequest{
					StartTime: start, EndTime: end, Search: search, TemplateIds: templates,
				})
			}
			const monday, tuesday = "2023-08-14T00:00:00Z", "2023-08-15T00:00:00Z"
			ask("2023-08-01T00:00:00Z", monday, "")                            // before there was anything
			ask(monday, tuesday, "", strings.ToUpper(p.Templates[1].String())) // somewhere else
			ask(monday, tuesday, "user1")                                      // for somebody else
			ask(monday, tuesday, "ER0", p.Templates[0].String())
			elsewhere := p.Token(t, access.RoleOrganizationAuditor, uuid.New()) // who may not see it
			if err := p.RecordAudit(t.Context(), access.KindService, p.principal(t, elsewhere), "GetUserActivity", `{}`); err != nil {
				t.Fatal(err)
			}

			servertest.Must(t, insights.GetSupportReport, auditor, &insightsv1.GetSupportReportRequest{StartTime: monday, EndTime: tuesday})

			answer := servertest.Must(t, insightsv1.NewPrivacyServiceClient(p.Conn).GetMyData, own.Reveal(), &insightsv1.GetMyDataRequest{})
			var actions []string
			for _, v := range answer.GetViewers() {
				actions = append(actions, v.GetAction())
				if v.GetTarget() != monday+"/"+tuesday || v.GetPrincipal().GetKind() != "service" {
					t.Errorf("viewer: %v", v)
				}
			}
			slices.Sort(actions) // all in one moment
			if diff := cmp.Diff([]string{"GetSupportReport", "GetUserActivity"}, actions); diff != "" {
				t.Errorf("who looked (-want +got):\n%s", diff)
			}
			if len(answer.GetBuilds()) != 1 || answer.GetBuilds()[0].GetParameters()[0].GetValue() != "large" {
				t.Fatalf("builds: %v", answer.GetBuilds())
			}
			b := answer.GetBuilds()[0]
			if b.GetReason() != "a_reason_to_come" || b.GetInitiatorKind() != "service" || b.GetPreset() != "Large" ||
				b.GetPrebuild() != "none" || b.GetDailyCost() != 12 ||
				!slices.Equal(b.GetInstanceTypes(), []string{"c7.large", "m5.large"}) {
				t.Errorf("where the build comes from, and what it costs: %v", b)
			}
			if tokens := answer.GetTokens(); len(tokens) != 1 || tokens[0].GetName() != "mine" || tokens[0].GetId() != own.ID() {
				t.Errorf("tokens: %v", tokens)
			}
			if len(answer.GetWorkspaces()) != 2 || len(answer.GetRoleBindings()) != 1 ||
				answer.GetRoleBindings()[0].GetId() != role.ID.String() {
				t.Errorf("workspaces: %v, roles: %v", answer.GetWorkspaces(), answer.GetRoleBindings())
			}
			for _, w := range answer.GetWorkspaces() {
				if set := w.GetPurpose() == "ai_task"; w.GetPurpose() != purposes[w.GetId()] || (w.GetTtlSeconds() == 3600) != set {
					t.Errorf("workspace %v, want it to be for %s", w, purposes[w.GetId()])
				}
			}
			template, workspaces := p.Templates[0].String(), []string{p.Workspaces[0][0].String()}
			group.UserIds, group.Members = nil, []*insightsv1.GroupMember{{UserId: user, From: timestamppb.New(storetest.Now)}}
			all.Members = []*insightsv1.GroupMember{{UserId: user, To: yesterday}, {UserId: user, From: before(1, 0)}}
			want := &insightsv1.GetMyDataResponse{
				User: &insightsv1.User{
					Id: user, Username: "user0", Kind: "human", Status: "dormant", OrganizationIds: []string{p.Organization.String()},
				},
				Usage: []*insightsv1.MyUsage{
					{Date: "2023-08-14", TemplateId: template, App: "vscode", Seconds: 60, WorkspaceIds: workspaces},
					{Date: "2023-08-15", App: "login", Seconds: 60},
					{Date: "2023-08-15", TemplateId: template, App: "vscode", Seconds: 120, WorkspaceIds: workspaces},
				},
				Latency: []*insightsv1.MyLatency{
					{
						Date: "2023-08-14", TemplateId: template, WorkspaceIds: workspaces,
						LatencyMs: &insightsv1.ConnectionLatency{P50: 20, P95: 20, Samples: 1, Rating: "good", RatingP95: "good"},
					},
					{
						Date: "2023-08-15", TemplateId: template, WorkspaceIds: workspaces,
						LatencyMs: &insightsv1.ConnectionLatency{P50: 30, P95: 39, Samples: 2, Rating: "good", RatingP95: "good"},
					},
				},
				StatusChanges: []*insightsv1.MyStatusChange{{At: before(3, 0), Status: "dormant"}},
				Groups:        []*insightsv1.Group{group, all},
			}
			got := &insightsv1.GetMyDataResponse{
				User: answer.GetUser(), Usage: answer.GetUsage(), Latency: answer.GetLatency(), StatusChanges: answer.GetStatusChanges(),
				Groups: answer.GetGroups(),
			}
			close := cmp.Comparer(func(a, b float64) bool { return a > 0.97*b && b > 0.97*a || a == b }) // latencies are kept in bins
			if diff := cmp.Diff(want, got, protocmp.Transform(), close); diff != "" {
				t.Errorf("my data (-want +got):\n%s", diff)
			}
			var body map[string]any
			p.GetInto(t, own.Reveal(), "/api/v2/privacy/me", nil, &body)
			text, err := protojson.Marshal(answer)
			if err != nil || len(body["usage"].([]any)) != 3 || strings.Contains(string(text), p.Users[1].String()) {
				t.Errorf("over REST: %v, %v; somebody else in %s", body["usage"], err, text)
			}
			// Doing something oneself is not looking at oneself.
			p.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: p.Users[0], Role: access.RoleAuditor})
			eventually(t, "the new role", func() bool {
				_, err := insights.GetUserActivity(servertest.As(t.Context(), own.Reveal()), &insightsv1.GetUserActivityRequest{
					StartTime: monday, EndTime: tuesday,
				})
				return err == nil
			})
			answer = servertest.Must(t, insightsv1.NewPrivacyServiceClient(p.Conn).GetMyData, own.Reveal(), &insightsv1.GetMyDataRequest{})
			if len(answer.GetViewers()) != 2 || len(answer.GetActions()) == 0 || answer.GetActions()[0].GetPrincipal().GetId() != user {
				t.Errorf("viewers: %v, actions: %v", answer.GetViewers(), answer.GetActions())
			}
		})
	}
}
