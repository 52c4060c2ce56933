package server_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/admin"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
)

// Turning away costs the same work for what is unknown, forbidden and deleted elsewhere, so that no clock tells them apart: the
// allocations differ by less than half of those of the cheapest question to the database, so that none asks one more. The
// medians over REST are for orientation.
func TestUnknownCostsWhatForbiddenCosts(t *testing.T) { // not beside other tests: allocations are those of the whole process
	w := newNeighbors(t)
	own, err := guard.ReadRules(w.ServiceInfo())
	if err != nil {
		t.Fatal(err)
	}
	service := access.Principal{Kind: access.KindService, ID: uuid.New()}
	lookup := testing.AllocsPerRun(100, func() {
		if _, err := w.Store.OrganizationsOf(t.Context(), []uuid.UUID{w.Things["unknown"].Template}); err != nil {
			t.Fatal(err)
		}
	})
	rules, agentTokens := &guard.Authorizer{Store: w.Store, Rules: own},
		admin.NewAccess(w.Store, w.Options.Clock, nil, guard.SessionCookie{})
	auditor := access.Binding{Role: access.RoleOrganizationAuditor, Organization: servertest.OrganizationA}
	for _, tt := range []struct {
		rpc     string
		binding access.Binding
		about   []string // the first is unknown
		call    func(ctx context.Context, rpc string, about []servertest.Thing) error
	}{
		{"GetTemplateInsights", auditor, []string{"unknown", "b1"}, nil},
		{"GetUserActivity", auditor, []string{"unknown", "b1"}, nil},
		{
			"GetUserLatency",
			access.Binding{Role: access.RoleOrganizationAdmin, Organization: servertest.OrganizationB},
			[]string{"unknown", "a1", "gone"},
			nil,
		},
		{
			"GetDiagnosis",
			access.Binding{Role: access.RoleTemplateAdmin, Template: servertest.TemplateA1},
			[]string{"unknown", "a2", "gone", "b1"},
			nil,
		},
		{"GetSupportReport", auditor, []string{"unknown", "b1"}, nil},
		{
			"GetTemplateDAUs",
			access.Binding{Role: access.RoleViewInsights, Template: servertest.TemplateA1},
			[]string{"unknown", "a2", "gone", "b1"},
			nil,
		},
		{"GetActivity", auditor, []string{"unknown", "B"}, nil},
		{
			"CreateAgentTokens",
			access.Binding{Role: access.RoleControlPlane, Organization: servertest.OrganizationA},
			[]string{"unknown", "b1"},
			func(ctx context.Context, rpc string, about []servertest.Thing) error {
				_, err := agentTokens.CreateAgentTokens(ctx, w.Request(t, rpc, about).(*insightsv1.CreateAgentTokensRequest))
				return err
			},
		},
	} {
		ctx, call := called(t.Context(), service.With(tt.binding)), tt.call
		if call == nil {
			call = func(ctx context.Context, rpc string, about []servertest.Thing) error {
				_, err := rules.Authorize(ctx, "/insights.v1.InsightsService/"+rpc, w.Request(t, rpc, about))
				return err
			}
		}
		var unknown float64
		for i, about := range tt.about {
			things := w.About(about)
			work := testing.AllocsPerRun(100, func() {
				if err := call(ctx, tt.rpc, things); !errors.Is(err, access.ErrNotFound) {
					t.Fatalf("%s about %s: %v", tt.rpc, about, err)
				}
			})
			if i == 0 {
				unknown = work
			}
			if math.Abs(work-unknown) >= lookup/2 {
				t.Errorf(
					"%s about %s takes %.0f allocations, about what is unknown %.0f; one question to the database takes %.0f", tt.rpc,
					about, work, unknown, lookup,
				)
			}
		}
	}
	w.logMedians(t)
}

// logMedians asks by turns about what is unknown and what is somebody else's.
func (w *neighbors) logMedians(t *testing.T) {
	t.Helper()
	token := w.Token(t, access.RoleOrganizationAuditor, servertest.OrganizationA)
	took := map[string][]time.Duration{}
	for range 200 {
		for _, about := range []string{"unknown", "b1"} {
			begin := time.Now()
			if code, body := w.Get(t, token, "/api/v2/templates/"+w.Things[about].Template.String()+"/daus", nil); code != 404 {
				t.Fatal(code, body)
			}
			took[about] = append(took[about], time.Since(begin))
		}
	}
	for about, all := range took {
		slices.Sort(all)
		t.Logf("median of %d refusals about %s: %v", len(all), about, all[len(all)/2])
	}
}
