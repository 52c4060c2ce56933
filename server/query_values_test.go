package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// What filters may name, the most used first.
func TestQueryValues(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, open(t), nil)
			p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Groups: []*insightsv1.Group{
				{
					Id: uuid.NewString(), OrganizationId: p.Organization.String(), Name: "Zoë",
					Members: []*insightsv1.GroupMember{{UserId: p.Users[1].String()}},
				},
				{Id: uuid.NewString(), OrganizationId: p.Organization.String(), Name: "alone"},
			}})
			// User 1 works longer; user 0 works in two templates.
			p.work(t, before(24, 0), p.Agents[0][0].String(), p.Agents[1][0].String(), p.Agents[0][1].String())
			p.work(t, before(23, 30), p.Agents[0][1].String())
			p.work(t, before(7*24-12, 0), p.Agents[1][0].String()) // within the last 28 days alone
			for _, tt := range []struct {
				name string
				req  *insightsv1.QueryValuesRequest
				want string
			}{
				{"users of all that is told", &insightsv1.QueryValuesRequest{Dimension: "user"}, "user0 user1"},
				{"of a day", &insightsv1.QueryValuesRequest{
					Dimension: "user", StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
				}, "user1 user0"},
				{"of a template", &insightsv1.QueryValuesRequest{
					Dimension: "user", TemplateIds: []string{p.Templates[1].String()},
				}, "user0"},
				{"templates", &insightsv1.QueryValuesRequest{Dimension: "template"}, "template0 template1"},
				{"by a part of the label", &insightsv1.QueryValuesRequest{Dimension: "template", Search: "PLATE1"}, "template1"},
				{"in another form of Unicode", &insightsv1.QueryValuesRequest{Dimension: "group", Search: "ZOE\u0308"}, "Zoë"},
				{"by a part of the value", &insightsv1.QueryValuesRequest{
					Dimension: "template", Search: strings.ToUpper(p.Templates[1].String()[4:20]),
				}, "template1"},
				{"also without use", &insightsv1.QueryValuesRequest{Dimension: "group"}, "Zoë alone"},
				{"in vain", &insightsv1.QueryValuesRequest{Dimension: "app", Search: "emacs"}, ""},
			} {
				answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).QueryValues, p.owner, tt.req)
				if got := labelsOf(answer.GetValues()); got != tt.want || answer.GetMore() {
					t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
				}
			}
			status, body := p.Get(t, p.owner, "/api/v2/insights/query/values", url.Values{
				"dimension": {"app"}, "timezone": {"Europe/Berlin"},
			})
			window, _ := body["window"].(map[string]any)
			want := map[string]any{"start_time": "2023-07-19T00:00:00+02:00", "end_time": "2023-08-15T15:00:00+02:00"}
			if diff := cmp.Diff(want, window); status != http.StatusOK || diff != "" {
				t.Errorf("the window of Berlin, %d %v (-want +got):\n%s", status, body, diff)
			}
		})
	}
}

func labelsOf(keys []*insightsv1.QueryKey) string {
	labels := make([]string, len(keys))
	for i, k := range keys {
		labels[i] = k.GetLabel()
	}
	return strings.Join(labels, " ")
}

// Values are the rows of the question by their dimension, for whoever asks and whatever is hidden; and so are the refusals.
func TestQueryValuesAreRows(t *testing.T) {
	t.Parallel()
	for _, mode := range []store.PrivacyMode{store.PrivacyFull, store.PrivacyPseudonym, store.PrivacyAggregate} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, storetest.SQLite(t), func(o *server.Options) { o.PrivacyFloor = insights.DefaultPrivacyFloor })
			p.setMode(t, mode)
			p.work(t, before(24, 0), append(p.crowd(t, 6), p.Agents[1][0].String())...)
			client := insightsv1.NewInsightsServiceClient(p.Conn)
			tokens := map[string]string{
				"owner": p.owner, "auditor": p.Token(t, access.RoleAuditor, servertest.Everywhere),
				"totals alone": p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere),
				"nobody":       p.controlPlane,
			}
			for _, dimension := range []string{
				"template", "template_version", "organization", "group", "user", "workspace", "app", "family", "editor", "actor", "purpose",
				"region", "parameter:size",
			} {
				metric := "active_users"
				if dimension == "app" || dimension == "family" {
					metric = "used_seconds" // what is published of them
				}
				for who, token := range tokens {
					ctx := servertest.As(t.Context(), token)
					rows, err := client.QueryUsage(ctx, &insightsv1.QueryUsageRequest{
						StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Metrics: []string{metric},
						Dimensions: []string{dimension},
					})
					values, err2 := client.QueryValues(ctx, &insightsv1.QueryValuesRequest{
						StartTime: "2023-08-14T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Dimension: dimension,
					})
					var keys []*insightsv1.QueryKey
					for _, r := range rows.GetRows() {
						keys = append(keys, r.GetKeys()...)
					}
					if want, got := labelsOf(keys), labelsOf(values.GetValues()); status.Code(err) != status.Code(err2) || want != got {
						t.Errorf("%s of %s: %q %v, want %q %v", dimension, who, got, err2, want, err)
					}
				}
			}
		})
	}
}

// Where small groups are hidden, the window that nobody named is made of the deployment's days that are over.
func TestQueryValuesOfPublishedDays(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p := newPatient(t, storetest.SQLite(t), func(o *server.Options) {
		o.PrivacyFloor, o.Location = insights.DefaultPrivacyFloor, zone
	})
	p.setMode(t, store.PrivacyPseudonym)
	for _, dimension := range []string{"template", "app"} {
		answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(p.Conn).QueryValues, p.owner, &insightsv1.QueryValuesRequest{
			Dimension: dimension,
		})
		start, end := answer.GetWindow().GetStartTime(), answer.GetWindow().GetEndTime()
		if start != "2023-07-18T00:00:00+02:00" || end != "2023-08-15T00:00:00+02:00" {
			t.Errorf("%s: from %s to %s", dimension, start, end)
		}
	}
}

// More values than anybody reads are found by searching.
func TestQueryValuesAreFew(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.work(t, before(24, 0), p.crowd(t, 101)...)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for search, want := range map[string]int{"": 100, "member1": 12, "MEMBER": 100, "member100": 1} {
		answer := servertest.Must(t, client.QueryValues, p.owner, &insightsv1.QueryValuesRequest{Dimension: "user", Search: search})
		if got := len(answer.GetValues()); got != want || answer.GetMore() != (want == 100) {
			t.Errorf("%q: %d values, more: %v; want %d", search, got, answer.GetMore(), want)
		}
	}
}

// The trail has who looked for names of people, and who saw values of few.
func TestQueryValuesAudit(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.work(t, before(24, 0), p.crowd(t, 5)...)
	p.work(t, before(48, 0), p.Agents[1][0].String())
	auditor := p.Token(t, access.RoleAuditor, servertest.Everywhere)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	var want []string
	for _, tt := range []struct {
		dimension, day string
		noted          bool
	}{
		{"app", "14", false}, {"app", "13", true}, {"user", "14", true}, {"workspace", "14", true}, {"template", "14", false},
	} {
		day, err := time.Parse(time.DateOnly, "2023-08-"+tt.day)
		if err != nil {
			t.Fatal(err)
		}
		req := &insightsv1.QueryValuesRequest{
			StartTime: day.Format(time.RFC3339), EndTime: day.AddDate(0, 0, 1).Format(time.RFC3339), Dimension: tt.dimension,
		}
		servertest.Must(t, client.QueryValues, auditor, req)
		if tt.noted {
			want = append([]string{fmt.Sprintf(
				`QueryValues {"start_time":%q,"end_time":%q,"dimension":%q}`, req.GetStartTime(), req.GetEndTime(), tt.dimension,
			)}, want...)
		}
	}
	var got []string
	for _, e := range p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{}) {
		if strings.HasPrefix(e, "QueryValues") {
			got = append(got, e)
		}
	}
	if diff := cmp.Diff(setOf(want), setOf(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func setOf(list []string) map[string]bool {
	set := map[string]bool{}
	for _, x := range list {
		set[x] = true
	}
	return set
}

// Either both ends of the window are named or none.
func TestQueryValuesRefuses(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	for field, req := range map[string]*insightsv1.QueryValuesRequest{
		"dimension":  {},
		"end_time":   {Dimension: "app", StartTime: "2023-08-14T00:00:00Z"},
		"start_time": {Dimension: "app", EndTime: "2023-08-14T00:00:00Z"},
		"timezone":   {Dimension: "app", Timezone: "Local"},
		"actor":      {Dimension: "app", Actor: []string{"robot"}},
		"search":     {Dimension: "app", Search: "a\x00"},
	} {
		_, err := client.QueryValues(servertest.As(t.Context(), p.owner), req)
		if got := wiretest.Faults(t, err); len(got) != 1 || !strings.HasPrefix(got[0], field) {
			t.Errorf("%v: %v, want the field %s", req, got, field)
		}
	}
	unknown := &insightsv1.QueryValuesRequest{Dimension: "app", TemplateIds: []string{uuid.NewString()}}
	if _, err := client.QueryValues(servertest.As(t.Context(), p.controlPlane), unknown); status.Code(err) != codes.NotFound {
		t.Errorf("without rights: %v", err)
	}
}
