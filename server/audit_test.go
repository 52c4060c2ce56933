package server_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// trail are the events that a principal is told of, as "action target", the newest first.
func (r *running) trail(t *testing.T, token string, req *insightsv1.ListAuditEventsRequest) (events []string) {
	t.Helper()
	for {
		answer := servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).ListAuditEvents, token, req)
		for _, e := range answer.GetEvents() {
			events = append(events, e.GetAction()+" "+strings.ReplaceAll(e.GetTarget(), " ", ""))
		}
		if answer.GetNextPageToken() == "" {
			return events
		}
		req.PageToken = answer.GetNextPageToken()
	}
}

// Who looks at single users and who changes access is written down, whoever it is and whatever comes of it; sums, lists and
// the trail itself are not.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			auditor := p.Token(t, access.RoleAuditor, servertest.Everywhere)
			for _, q := range questions(t, p.Templates[0]) {
				var answer any
				p.GetInto(t, auditor, q.path, q.params(), &answer)
			}
			if status, body := p.Get(t, auditor, activityPath, url.Values{"start": {"x"}}); status != 400 {
				t.Fatalf("%d %v", status, body)
			}
			window := url.Values{"start_time": {"2023-08-14T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}}
			status, _ := p.Get(t, p.Token(t, access.RoleMember, servertest.Everywhere), "/api/v2/insights/user-activity", window)
			if status != 404 {
				t.Fatalf("a member: %d", status)
			}
			client := insightsv1.NewAccessServiceClient(p.Conn)
			who := &insightsv1.Principal{Kind: "service", Id: "00000000-0000-0000-0000-00000000000b"}
			granted := servertest.Must(t, client.GrantRole, p.owner, &insightsv1.GrantRoleRequest{Principal: who, Role: "auditor"})
			made := servertest.Must(t, client.CreateToken, p.owner, &insightsv1.CreateTokenRequest{Principal: who, Name: "n"})
			servertest.Must(t, client.RevokeToken, p.owner, &insightsv1.RevokeTokenRequest{TokenId: made.GetToken().GetId()})
			servertest.Must(t, client.RevokeRole, p.owner, &insightsv1.RevokeRoleRequest{RoleBindingId: granted.GetRoleBinding().GetId()})
			group := uuid.NewString()
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
				Groups: []*insightsv1.Group{{Id: group, OrganizationId: p.Organization.String(), Name: "g"}},
			})

			times := `"start_time":"2023-08-01T00:00:00Z","end_time":"2023-08-15T00:00:00Z"`
			want := []string{
				fmt.Sprintf(`ApplyCatalog {"groups":[{"id":"%s","organization_id":"%s","name":"g"}]}`, group, p.Organization),
				fmt.Sprintf(`RevokeRole {"role_binding_id":"%s"}`, granted.GetRoleBinding().GetId()),
				fmt.Sprintf(`RevokeToken {"token_id":"%s"}`, made.GetToken().GetId()),
				`CreateToken {"principal":{"kind":"service","id":"00000000-0000-0000-0000-00000000000b"},"name":"n"}`,
				`GrantRole {"principal":{"kind":"service","id":"00000000-0000-0000-0000-00000000000b"},"role":"auditor"}`,
				`GetActivity {"start":"2023-08-01T00:00:00Z","end":"2023-08-15T00:00:00Z","interval":"1day"}`, `GetActivity {"start":"x"}`,
				`QueryUsage {` + times + `,"metrics":["active_users"],"dimensions":["interval"],"interval":"day"}`, // about nobody
				`QueryValues {` + times + `,"dimension":"template"}`,
				`GetSupportReport {` + times + `}`, `GetUserLatency {` + times + `}`, `GetUserActivity {` + times + `}`,
			}
			// The clock stands still, so the order among the events is that of their ids.
			for _, size := range []int32{0, 1, 3} {
				got := p.trail(t, auditor, &insightsv1.ListAuditEventsRequest{PageSize: size})
				slices.Sort(got)
				slices.Sort(want)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("trail in pages of %d (-want +got):\n%s", size, diff)
				}
			}
			for _, e := range p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{}) {
				if strings.Contains(e, made.GetSecret()) {
					t.Errorf("the trail holds a secret: %s", e)
				}
			}
			if got := p.trail(t, auditor, &insightsv1.ListAuditEventsRequest{StartTime: "2023-08-15T12:00:01Z"}); len(got) != 0 {
				t.Errorf("events of the future: %v", got)
			}
			if got := p.trail(t, auditor, &insightsv1.ListAuditEventsRequest{Principal: who}); len(got) != 0 {
				t.Errorf("events of who did nothing: %v", got)
			}
			for _, role := range []access.Role{access.RoleTemplateAdmin, access.RoleUserAdmin, access.RoleControlPlane} {
				if _, err := client.ListAuditEvents(
					servertest.As(t.Context(), p.Token(t, role, servertest.Everywhere)), &insightsv1.ListAuditEventsRequest{},
				); err == nil {
					t.Errorf("%s reads the trail", role)
				}
			}
			if _, err := p.Expire(t.Context(), store.Horizons{Audit: p.Options.Clock().Add(time.Second)}); err != nil {
				t.Fatal(err)
			}
			if got := p.trail(t, auditor, &insightsv1.ListAuditEventsRequest{}); len(got) != 0 {
				t.Errorf("beyond retention: %v", got)
			}
		})
	}
}

// A question about single users that cannot be written down is not answered, although the answer is looked for meanwhile.
func TestNoAnswerWithoutTrail(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			window := url.Values{"start_time": {"2023-08-14T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}}
			ask := func() int {
				status, _ := p.Get(t, p.owner, "/api/v2/insights/user-activity", window)
				return status
			}
			if status := ask(); status != 200 {
				t.Fatalf("%d", status)
			}
			execute(t, p.Database, "ALTER TABLE audit_events RENAME TO gone")
			if status := ask(); status < 500 {
				t.Errorf("answered without a trail: %d", status)
			}
			execute(t, p.Database, "ALTER TABLE gone RENAME TO audit_events")
			if status := ask(); status != 200 {
				t.Errorf("with a trail again: %d", status)
			}
		})
	}
}
