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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
)

// A value with a credential is in no answer, no file and no metric, until somebody who may releases this very parameter of this very
// template; and who did that is in the trail.
func TestParameterRelease(t *testing.T) {
	t.Parallel()
	const token = "glpat-0123456789abcdefghij"
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			template, version := p.Templates[0].String(), uuid.NewString()
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{TemplateVersions: []*insightsv1.TemplateVersion{{
				Id: version, TemplateId: template, Name: "v2",
				Parameters: []*insightsv1.Parameter{{Name: "size", Type: "string"}, {Name: "repository", Type: "string"}},
			}, {
				Id: uuid.NewString(), TemplateId: p.Templates[1].String(), Name: "v1",
				Parameters: []*insightsv1.Parameter{{Name: "repository", Type: "string"}},
			}}})
			p.version = version
			p.build(t, before(24, 0), token)
			p.build(t, before(0, 1), token)
			window := url.Values{"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}}
			client := insightsv1.NewPrivacyServiceClient(p.Conn)

			// told is the value of size everywhere that tells it.
			told := func() (values []string) {
				t.Helper()
				report := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).GetTemplateInsights, p.owner,
					&insightsv1.GetTemplateInsightsRequest{StartTime: window.Get("start_time"), EndTime: window.Get("end_time")})
				value := report.GetReport().GetParametersUsage()[0].GetValues()[0]
				if value.GetHidden() != (value.GetValue() == "(hidden)") {
					t.Errorf("value %v", value)
				}
				rows := readLines(t, nil, p.export(t, p.owner, "parameters", "ndjson", window))
				if len(rows) != 1 {
					t.Fatalf("exported: %v", rows)
				}
				return []string{value.GetValue(), fmt.Sprint(rows[0]["value"])}
			}
			check := func(what, want string) {
				t.Helper()
				for _, got := range told() {
					if got != want {
						t.Errorf("%s: %q, want %q", what, got, want)
					}
				}
			}
			check("at first", "(hidden)")
			for what, req := range map[string]*insightsv1.SetParameterReleaseRequest{
				"another parameter": {TemplateId: template, ParameterName: "repository", Released: true},
				"another template":  {TemplateId: p.Templates[1].String(), ParameterName: "repository", Released: true},
			} {
				servertest.Must(t, client.SetParameterRelease, p.owner, req)
				check(what, "(hidden)")
			}
			size := &insightsv1.SetParameterReleaseRequest{TemplateId: template, ParameterName: "size", Released: true}
			for _, role := range []access.Role{
				access.RoleTemplateAdmin, access.RoleAuditor, access.RoleControlPlane, access.RoleManageAccess,
			} {
				_, err := client.SetParameterRelease(servertest.As(t.Context(), p.Token(t, role, servertest.Everywhere)), size)
				if status.Code(err) != codes.NotFound {
					t.Errorf("%s releases: %v", role, err)
				}
			}
			check("after those who may not", "(hidden)")
			for field, req := range map[string]*insightsv1.SetParameterReleaseRequest{
				"template_id":    {ParameterName: "size"},
				"parameter_name": {TemplateId: template, ParameterName: "a\nb"},
			} {
				_, err := client.SetParameterRelease(servertest.As(t.Context(), p.owner), req)
				if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(fmt.Sprint(s.Details()), field) {
					t.Errorf("%s: %v", field, err)
				}
			}
			manager := p.Token(t, access.RoleManagePrivacy, servertest.Everywhere)
			want := &insightsv1.SetParameterReleaseResponse{TemplateId: template, ParameterName: "size", Released: true}
			if diff := cmp.Diff(want, servertest.Must(t, client.SetParameterRelease, manager, size), protocmp.Transform()); diff != "" {
				t.Errorf("released (-want +got):\n%s", diff)
			}
			check("released", token)
			scraped := func(text string) bool {
				_, page := p.Scrape(t, "")
				return strings.Contains(page, `parameter_value="`+text+`"`)
			}
			wiretest.WaitFor(t, 40*time.Second, "the released value in the metrics", func() bool { return scraped(token) })
			size.Released = false
			want.Released, want.PreviouslyReleased = false, true
			if diff := cmp.Diff(want, servertest.Must(t, client.SetParameterRelease, manager, size), protocmp.Transform()); diff != "" {
				t.Errorf("taken back (-want +got):\n%s", diff)
			}
			if scraped(token) {
				t.Error("taken back: the next scrape shows the value")
			}
			check("taken back", "(hidden)")
			target := `"template_id":"` + template + `","parameter_name":"size"`
			trail := p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{})
			for _, event := range []string{"SetParameterRelease {" + target + "}", "SetParameterRelease {" + target + `,"released":true}`} {
				if !slices.Contains(trail, event) {
					t.Errorf("%s is not in the trail: %q", event, trail)
				}
			}
		})
	}
}
