package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// newUsedTemplates makes three templates: one that everybody uses, one that one person uses, and one of another organization that
// nobody does.
func newUsedTemplates(t *testing.T, database string) *patient {
	t.Helper()
	p := newPatient(t, database, func(o *server.Options) { o.PrivacyFloor = 2 })
	other := uuid.NewString()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: other, Name: "other", DisplayName: "The other"}},
		Templates: []*insightsv1.Template{{
			Id: uuid.NewString(), OrganizationId: other, Name: "idle", OrganizationName: "ignored", DefaultTtlSeconds: 28800,
			DormantAfterSeconds: 604800, DeleteDormantAfterSeconds: 2592000,
		}},
	})
	jetbrains := func(r *insightsv1.AgentReport) { r.SessionCounts = map[string]int64{"jetbrains": 1} }
	inSecond := func(user int) func(*insightsv1.AgentReport) {
		return func(r *insightsv1.AgentReport) { r.AgentId = p.Agents[1][user].String() }
	}
	p.send(
		t, p.session(0, before(24, 0), nil), p.session(1, before(24, 0), nil), p.session(2, before(24, 1), nil),
		p.session(0, before(48, 0), jetbrains), p.session(1, before(48, 0), jetbrains), p.session(0, before(47, 0), jetbrains),
		p.session(1, before(47, 0), jetbrains), p.session(2, before(23, 0), inSecond(2)),
		p.session(0, before(5*24, 0), nil), p.session(1, before(5*24, 0), nil),
		p.session(0, before(5*24, 1), inSecond(0)), p.session(1, before(5*24, 1), inSecond(1)),
	)
	storetest.PublishAnew(t, p.Store, p.Database, store.Publication{Floor: 2, Zone: time.UTC})
	return p
}

// usageAlone is what GetTemplateInsights says of the template alone.
func (p *patient) usageAlone(
	t *testing.T, token string, req *insightsv1.ListTemplateUsageRequest, template string,
) *insightsv1.TemplateUsage {
	t.Helper()
	ask := insightsv1.NewInsightsServiceClient(p.Conn).GetTemplateInsights
	now := servertest.Must(t, ask, token, &insightsv1.GetTemplateInsightsRequest{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), Timezone: req.GetTimezone(), TemplateIds: []string{template},
		Interval: "day",
	})
	usage := &insightsv1.TemplateUsage{
		TemplateId: template, ActiveUsers: now.GetReport().GetActiveUsers(), Suppressed: now.GetReport().GetSuppressed(),
		Intervals: now.GetIntervalReports(),
	}
	for _, a := range now.GetReport().GetAppsUsage() {
		if a.GetSeconds() > usage.GetMostUsedApp().GetSeconds() {
			usage.MostUsedApp = &insightsv1.MostUsedApp{
				Type: a.GetType(), DisplayName: a.GetDisplayName(), Slug: a.GetSlug(), Icon: a.GetIcon(), Seconds: a.GetSeconds(),
			}
		}
	}
	then := servertest.Must(t, ask, token, &insightsv1.GetTemplateInsightsRequest{
		StartTime: req.GetPreviousStartTime(), EndTime: req.GetPreviousEndTime(), Timezone: req.GetTimezone(),
		TemplateIds: []string{template},
	}).GetReport()
	if !then.GetSuppressed() {
		usage.PreviousActiveUsers = proto.Int64(then.GetActiveUsers())
	}
	return usage
}

// What is told of templates in a list is what is told of each alone, whoever asks, and whatever may be told of it.
func TestTemplateUsage(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			checkTemplateUsage(t, newUsedTemplates(t, open(t)))
		})
	}
}

func checkTemplateUsage(t *testing.T, p *patient) {
	t.Helper()
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	req := &insightsv1.ListTemplateUsageRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Timezone: "UTC",
		PreviousStartTime: "2023-08-09T00:00:00Z", PreviousEndTime: "2023-08-13T00:00:00Z",
	}
	// check holds a list beside answers about each of so many templates, and returns it by their ids.
	check := func(token string, templates int) (*insightsv1.ListTemplateUsageResponse, map[string]*insightsv1.TemplateUsage) {
		t.Helper()
		answer := servertest.Must(t, client.ListTemplateUsage, token, req)
		var want []*insightsv1.TemplateUsage
		for _, template := range servertest.Must(t, client.ListTemplates, token, &insightsv1.ListTemplatesRequest{}).GetTemplates() {
			want = append(want, p.usageAlone(t, token, req, template.GetId()))
		}
		if diff := cmp.Diff(want, answer.GetReport().GetTemplates(), protocmp.Transform()); diff != "" || len(want) != templates {
			t.Errorf("%d templates, want %d (-alone +listed):\n%s", len(want), templates, diff)
		}
		listed, used := map[string]*insightsv1.TemplateUsage{}, []string{}
		for _, usage := range answer.GetReport().GetTemplates() {
			if listed[usage.GetTemplateId()] = usage; usage.GetActiveUsers() > 0 {
				used = append(used, usage.GetTemplateId())
			}
		}
		slices.Sort(used)
		if diff := cmp.Diff(used, answer.GetReport().GetTemplateIds()); diff != "" {
			t.Errorf("templates with activity (-want +got):\n%s", diff)
		}
		return answer, listed
	}

	busy, small := p.Templates[0].String(), p.Templates[1].String()
	if answer, listed := check(p.owner, 3); answer.GetFloor() != 0 || listed[busy].GetActiveUsers() != 3 ||
		listed[busy].GetPreviousActiveUsers() != 2 || listed[busy].GetMostUsedApp().GetSlug() != "jetbrains" ||
		listed[busy].GetIntervals()[0].GetActiveUsers() != 2 || listed[small].GetActiveUsers() != 1 {
		t.Errorf("mode full: %v", answer)
	}
	check(p.Token(t, access.RoleOrganizationAuditor, p.Organization), 2)
	accounts, one := insightsv1.NewAccessServiceClient(p.Conn), &insightsv1.Principal{Kind: "service", Id: uuid.NewString()}
	servertest.Must(t, accounts.GrantRole, p.owner, &insightsv1.GrantRoleRequest{
		Principal: one, Role: string(access.RoleViewInsights), TemplateId: small,
	})
	check(servertest.Must(t, accounts.CreateToken, p.owner, &insightsv1.CreateTokenRequest{Principal: one}).GetSecret(), 1)
	for _, mode := range []store.PrivacyMode{store.PrivacyFull, store.PrivacyPseudonym, store.PrivacyAggregate, store.PrivacyOff} {
		if mode != store.PrivacyFull {
			p.setMode(t, mode) // of one organization: of the other everything may be told to the owner
			answer, _ := check(p.owner, 3)
			idle := answer.GetReport().GetTemplates()[0]
			if answer.GetFloor() != 2 || answer.GetCollectionMode() != string(mode) || idle.GetSuppressed() {
				t.Errorf("mode %s, the owner: %v", mode, answer)
			}
		}
		if answer, listed := check(limited, 3); answer.GetFloor() != 2 || listed[busy].GetActiveUsers() != 2 ||
			!listed[small].GetSuppressed() || listed[small].GetPreviousActiveUsers() != 2 {
			t.Errorf("mode %s: %v", mode, answer)
		}
	}
}

// A question that is refused names the field of its own, also of the window before.
func TestTemplateUsageRefusals(t *testing.T) {
	t.Parallel()
	p := newUsedTemplates(t, storetest.SQLite(t))
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	const start, end, before = "2023-08-13T00:00:00Z", "2023-08-15T00:00:00Z", "2023-08-11T00:00:00Z"
	for name, c := range map[string]struct {
		token, field string
		req          *insightsv1.ListTemplateUsageRequest
	}{
		"no end of the window before":   {p.owner, "previous_end_time", &insightsv1.ListTemplateUsageRequest{PreviousStartTime: before}},
		"no begin of the window before": {p.owner, "previous_start_time", &insightsv1.ListTemplateUsageRequest{PreviousEndTime: before}},
		"a window before that ends before it begins": {
			p.owner, "previous_end_time", &insightsv1.ListTemplateUsageRequest{PreviousStartTime: start, PreviousEndTime: before},
		},
		"a window before that is not published": {
			limited, "previous_start_time",
			&insightsv1.ListTemplateUsageRequest{PreviousStartTime: "2023-08-11T00:00:00+01:00", PreviousEndTime: start},
		},
		"a window of 367 days": {p.owner, "end_time", &insightsv1.ListTemplateUsageRequest{StartTime: "2022-08-13T00:00:00Z"}},
		"hours of today":       {limited, "end_time", &insightsv1.ListTemplateUsageRequest{EndTime: "2023-08-15T12:00:00Z"}},
	} {
		req := &insightsv1.ListTemplateUsageRequest{StartTime: start, EndTime: end}
		proto.Merge(req, c.req)
		_, err := client.ListTemplateUsage(servertest.As(t.Context(), c.token), req)
		if faults := wiretest.Faults(t, err); len(faults) != 1 || !strings.HasPrefix(faults[0], c.field+": ") {
			t.Errorf("%s: %v, %q", name, err, faults)
		}
	}
	full := &insightsv1.ListTemplateUsageRequest{StartTime: "2022-08-14T00:00:00Z", EndTime: end}
	if got := servertest.Must(t, client.ListTemplateUsage, p.owner, full).GetReport().GetTemplates()[0]; len(got.GetIntervals()) != 366 ||
		got.PreviousActiveUsers != nil {
		t.Errorf("366 days without another window: %v", got)
	}
}

// Templates say how long their workspaces run, and what their organization is called; what a request says of that name is ignored.
func TestTemplatesNameTheirOrganizationAndSettings(t *testing.T) {
	t.Parallel()
	p := newUsedTemplates(t, storetest.SQLite(t))
	got := map[string]string{}
	for _, template := range servertest.Must(
		t, insightsv1.NewInsightsServiceClient(p.Conn).ListTemplates, p.owner, &insightsv1.ListTemplatesRequest{},
	).GetTemplates() {
		got[template.GetName()] = fmt.Sprint(
			template.GetOrganizationName(), ": ", template.GetOrganizationDisplayName(), " ", template.GetDefaultTtlSeconds(), " ",
			template.GetDormantAfterSeconds(), " ", template.GetDeleteDormantAfterSeconds(),
		)
	}
	if diff := cmp.Diff(map[string]string{
		"idle": "other: The other 28800 604800 2592000", "template0": "acme:  0 0 0", "template1": "acme:  0 0 0",
	}, got); diff != "" {
		t.Errorf("organizations and settings (-want +got):\n%s", diff)
	}
}
