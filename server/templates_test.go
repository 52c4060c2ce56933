package server_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// list asks for a bare list over REST and returns the names in it.
func (r *running) list(t testing.TB, token, path string) (names []string) {
	t.Helper()
	status, header, text := r.Fetch(t, http.Header{"Coder-Session-Token": {token}}, path)
	items := []struct{ Name string }{{"not a list"}}
	if err := json.Unmarshal(text, &items); err != nil || status != 200 || items == nil {
		t.Fatalf("%s: %d, %v, %v", path, status, items, err)
	}
	if cache := header.Get("Cache-Control"); cache != "private" {
		t.Errorf("Cache-Control: %s", cache)
	}
	for _, i := range items {
		names = append(names, i.Name)
	}
	return names
}

func TestLists(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			r := run(t, open(t), storetest.Now, nil)
			change := &insightsv1.ApplyCatalogRequest{}
			var organizations, templates []uuid.UUID
			for i, name := range []string{"zoo", "acme", "empty"} {
				organizations = append(organizations, uuid.New())
				change.Organizations = append(change.Organizations, &insightsv1.Organization{Id: organizations[i].String(), Name: name})
			}
			for i, name := range []string{"go", "ansible", "cobol"} {
				templates = append(templates, uuid.New())
				template := &insightsv1.Template{Id: templates[i].String(), OrganizationId: organizations[i%2].String(), Name: name}
				if name == "cobol" {
					template.DeletedAt = timestamppb.New(storetest.Now)
				}
				change.Templates = append(change.Templates, template)
			}
			r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), change)
			grantee := uuid.New()
			if _, err := r.Store.GrantRole(t.Context(), store.RoleBinding{
				PrincipalKind: access.KindService, PrincipalID: grantee, Role: access.RoleTemplateAdmin, TemplateID: templates[1],
			}); err != nil {
				t.Fatal(err)
			}
			secrets, err := r.Store.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindService, PrincipalID: grantee}})
			if err != nil {
				t.Fatal(err)
			}
			for name, c := range map[string]struct {
				token                    string
				templates, organizations []string
			}{
				"owner": {
					r.Token(t, access.RoleOwner, servertest.Everywhere), []string{"ansible", "cobol", "go"}, []string{"acme", "zoo"},
				},
				"auditor of zoo": {
					r.Token(t, access.RoleOrganizationAuditor, organizations[0]), []string{"cobol", "go"}, []string{"zoo"},
				},
				"auditor of empty":    {r.Token(t, access.RoleOrganizationAuditor, organizations[2]), nil, nil},
				"admin of a template": {secrets[0].Reveal(), []string{"ansible"}, []string{"acme"}},
				"proxy":               {r.Token(t, access.RoleProxy, servertest.Everywhere), nil, nil},
			} {
				if diff := cmp.Diff(c.templates, r.list(t, c.token, "/api/v2/templates")); diff != "" {
					t.Errorf("%s, templates (-want +got):\n%s", name, diff)
				}
				if diff := cmp.Diff(c.organizations, r.list(t, c.token, "/api/v2/organizations")); diff != "" {
					t.Errorf("%s, organizations (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// The oldest template decides; 35 days to the second are five weeks.
func TestDefaultInterval(t *testing.T) {
	t.Parallel()
	const fiveWeeks = 35 * 24 * time.Hour
	for name, c := range map[string]struct {
		ages             []time.Duration // 0: not known
		interval, reason string
	}{
		"new":                    {[]time.Duration{time.Hour}, "day", "younger_than_5_weeks"},
		"a second short":         {[]time.Duration{fiveWeeks - time.Second}, "day", "younger_than_5_weeks"},
		"exactly five weeks":     {[]time.Duration{fiveWeeks}, "week", "5_weeks_or_older"},
		"old beside new":         {[]time.Duration{time.Hour, 2 * fiveWeeks}, "week", "5_weeks_or_older"},
		"not known beside new":   {[]time.Duration{0, time.Hour}, "day", "younger_than_5_weeks"},
		"not known":              {[]time.Duration{0}, "day", "age_unknown"},
		"no template whatsoever": {nil, "day", "age_unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, storetest.SQLite(t), storetest.Now, nil)
			organization := uuid.NewString()
			change := &insightsv1.ApplyCatalogRequest{Organizations: []*insightsv1.Organization{{Id: organization, Name: "o"}}}
			for _, age := range c.ages {
				template := &insightsv1.Template{Id: uuid.NewString(), OrganizationId: organization, Name: "t"}
				if age > 0 {
					template.CreatedAt = timestamppb.New(storetest.Now.Add(-age))
				}
				change.Templates = append(change.Templates, template)
			}
			r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), change)
			owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
			ask := insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateInsights
			answer := servertest.Must(t, ask, owner, &insightsv1.GetTemplateInsightsRequest{
				StartTime: "2023-08-01T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Interval: "default",
			})
			if got := answer.GetDefaultInterval(); got.GetInterval() != c.interval || got.GetReason() != c.reason {
				t.Errorf("default: %v", got)
			}
			want := map[string]int{"day": 14, "week": 2}[c.interval]
			if got := answer.GetIntervalReports(); len(got) != want || got[0].GetInterval() != c.interval {
				t.Errorf("%d intervals, want %d of a %s", len(got), want, c.interval)
			}
			answer = servertest.Must(t, ask, owner, &insightsv1.GetTemplateInsightsRequest{
				StartTime: "2023-08-01T00:00:00Z", EndTime: "2023-08-01T00:00:00Z", Sections: []string{"interval_reports"},
			})
			if answer.GetDefaultInterval().GetReason() != c.reason || answer.GetReport() != nil {
				t.Errorf("an answer without intervals: %v", answer)
			}
		})
	}
}

// Marked are the intervals that the window cuts and those that are not over.
func TestPartialIntervals(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil) // noon of the 15th
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for name, c := range map[string]struct {
		start, end, interval, timezone string
		want                           []bool
	}{
		"whole days":              {"2023-08-13T00:00:00Z", "2023-08-15T00:00:00Z", "day", "", []bool{false, false}},
		"today":                   {"2023-08-14T00:00:00Z", "2023-08-15T13:00:00Z", "day", "", []bool{false, true}},
		"today up to now":         {"2023-08-14T00:00:00Z", "2023-08-15T12:00:00Z", "day", "", []bool{false, true}},
		"weeks":                   {"2023-08-01T00:00:00Z", "2023-08-15T00:00:00Z", "week", "", []bool{false, false}},
		"a last week of six days": {"2023-08-01T00:00:00Z", "2023-08-14T00:00:00Z", "week", "", []bool{false, true}},
		"a week that is not over": {"2023-08-09T00:00:00Z", "2023-08-15T13:00:00Z", "week", "", []bool{true}},
		"a week with a short day": {"2023-03-20T00:00:00+01:00", "2023-03-27T00:00:00+02:00", "week", "Europe/Berlin", []bool{false}},
		"a day that begins at one": {
			"2019-09-08T04:00:00Z", "2019-09-10T00:00:00-03:00", "day", "America/Santiago", []bool{false, false},
		},
		"the end of today elsewhere": {"2023-08-14T00:00:00+12:00", "2023-08-16T00:00:00+12:00", "day", "", []bool{false, false}},
	} {
		answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateInsights, owner,
			&insightsv1.GetTemplateInsightsRequest{StartTime: c.start, EndTime: c.end, Interval: c.interval, Timezone: c.timezone})
		var got []bool
		for _, i := range answer.GetIntervalReports() {
			got = append(got, i.GetPartial())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%v", name, diff, answer.GetIntervalReports())
		}
	}
}
