package server_test

import (
	"slices"
	"strings"
	"testing"

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
func newUsedTemplates(t *testing.T) *patient {
	t.Helper()
	p := newPatient(t, storetest.SQLite(t), func(o *server.Options) { o.PrivacyFloor = 2 })
	other := uuid.NewString()
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: other, Name: "other", DisplayName: "The other"}},
		Templates:     []*insightsv1.Template{{Id: uuid.NewString(), OrganizationId: other, Name: "idle", OrganizationName: "ignored"}},
	})
	jetbrains := func(r *insightsv1.AgentReport) { r.SessionCounts = map[string]int64{"jetbrains": 1} }
	second := func(r *insightsv1.AgentReport) { r.AgentId = p.Agents[1][0].String() }
	p.send(
		t, p.session(0, before(24, 0), nil), p.session(1, before(24, 0), nil), p.session(2, before(24, 1), nil),
		p.session(0, before(48, 0), jetbrains), p.session(1, before(48, 0), jetbrains), p.session(0, before(47, 0), jetbrains),
		p.session(1, before(47, 0), jetbrains), p.session(2, before(23, 0), second),
		p.session(0, before(5*24, 0), nil), p.session(1, before(5*24, 0), nil),
	)
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
	if !usage.GetSuppressed() && !then.GetSuppressed() {
		usage.PreviousActiveUsers = proto.Int64(then.GetActiveUsers())
	}
	return usage
}

// What is told of templates in a list is what is told of each alone, whatever may be told of it, in pages of any size.
func TestTemplateUsage(t *testing.T) {
	t.Parallel()
	p := newUsedTemplates(t)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	req := &insightsv1.ListTemplateUsageRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z", Timezone: "UTC",
		PreviousStartTime: "2023-08-09T00:00:00Z", PreviousEndTime: "2023-08-13T00:00:00Z",
	}
	check := func(token string) *insightsv1.ListTemplateUsageResponse {
		t.Helper()
		answer := servertest.Must(t, client.ListTemplateUsage, token, req)
		var want []*insightsv1.TemplateUsage
		var used []string
		for _, template := range servertest.Must(t, client.ListTemplates, token, &insightsv1.ListTemplatesRequest{}).GetTemplates() {
			usage := p.usageAlone(t, token, req, template.GetId())
			if want = append(want, usage); usage.GetActiveUsers() > 0 {
				used = append(used, template.GetId())
			}
		}
		slices.Sort(used)
		if diff := cmp.Diff(want, answer.GetReport().GetTemplates(), protocmp.Transform()); diff != "" || answer.GetTotal() != 3 {
			t.Errorf("%d templates (-alone +listed):\n%s", answer.GetTotal(), diff)
		}
		if diff := cmp.Diff(used, answer.GetReport().GetTemplateIds()); diff != "" {
			t.Errorf("templates with activity (-want +got):\n%s", diff)
		}
		var paged []*insightsv1.TemplateUsage
		page := proto.CloneOf(req)
		for page.PageSize = 2; ; {
			some := servertest.Must(t, client.ListTemplateUsage, token, page)
			paged = append(paged, some.GetReport().GetTemplates()...)
			if page.PageToken = some.GetNextPageToken(); page.GetPageToken() == "" || len(paged) > len(want) {
				break
			}
		}
		if diff := cmp.Diff(want, paged, protocmp.Transform()); diff != "" {
			t.Errorf("in pages of two (-want +got):\n%s", diff)
		}
		return answer
	}
	listed := func(answer *insightsv1.ListTemplateUsageResponse, template uuid.UUID) *insightsv1.TemplateUsage {
		list := answer.GetReport().GetTemplates()
		return list[slices.IndexFunc(list, func(u *insightsv1.TemplateUsage) bool { return u.GetTemplateId() == template.String() })]
	}

	answer := check(p.owner)
	if first, second := listed(answer, p.Templates[0]), listed(answer, p.Templates[1]); answer.GetFloor() != 0 ||
		first.GetActiveUsers() != 3 || first.GetPreviousActiveUsers() != 2 || first.GetMostUsedApp().GetSlug() != "jetbrains" ||
		first.GetIntervals()[0].GetActiveUsers() != 2 || second.GetActiveUsers() != 1 || second.PreviousActiveUsers == nil {
		t.Errorf("mode full: %v", answer)
	}
	for _, mode := range []store.PrivacyMode{store.PrivacyFull, store.PrivacyPseudonym, store.PrivacyAggregate, store.PrivacyOff} {
		token := limited
		if mode != store.PrivacyFull {
			p.setMode(t, mode) // of one organization: of the other everything may be told to the owner
			answer = check(p.owner)
			if answer.GetFloor() != 2 || answer.GetCollectionMode() != string(mode) || answer.GetReport().GetTemplates()[0].GetSuppressed() {
				t.Errorf("mode %s, the owner: %v", mode, answer)
			}
		}
		answer = check(token)
		if first, second := listed(answer, p.Templates[0]), listed(answer, p.Templates[1]); answer.GetFloor() != 2 ||
			first.GetActiveUsers() != 2 || !second.GetSuppressed() || second.PreviousActiveUsers != nil {
			t.Errorf("mode %s: %v", mode, answer)
		}
	}
}

// A question that is refused names the field of its own, also of the window before.
func TestTemplateUsageRefusals(t *testing.T) {
	t.Parallel()
	p := newUsedTemplates(t)
	client := insightsv1.NewInsightsServiceClient(p.Conn)
	limited := p.Token(t, access.RoleViewInsightsAggregate, servertest.Everywhere)
	const start, end, before = "2023-08-13T00:00:00Z", "2023-08-15T00:00:00Z", "2023-08-11T00:00:00Z"
	other := servertest.Must(t, client.ListTemplateUsage, p.owner, &insightsv1.ListTemplateUsageRequest{
		StartTime: before, EndTime: start, PageSize: 1,
	}).GetNextPageToken()
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
		"a page too long":       {p.owner, "page_size", &insightsv1.ListTemplateUsageRequest{PageSize: 101}},
		"a window of 367 days":  {p.owner, "end_time", &insightsv1.ListTemplateUsageRequest{StartTime: "2022-08-13T00:00:00Z"}},
		"hours of today":        {limited, "end_time", &insightsv1.ListTemplateUsageRequest{EndTime: "2023-08-15T12:00:00Z"}},
		"a token of other days": {p.owner, "page_token", &insightsv1.ListTemplateUsageRequest{PageToken: other}},
	} {
		req := &insightsv1.ListTemplateUsageRequest{StartTime: start, EndTime: end}
		proto.Merge(req, c.req)
		_, err := client.ListTemplateUsage(servertest.As(t.Context(), c.token), req)
		if faults := wiretest.Faults(t, err); len(faults) != 1 || !strings.HasPrefix(faults[0], c.field+": ") {
			t.Errorf("%s: %v, %q", name, err, faults)
		}
	}
	full := &insightsv1.ListTemplateUsageRequest{StartTime: "2022-08-14T00:00:00Z", EndTime: end, PageSize: 100}
	if got := servertest.Must(t, client.ListTemplateUsage, p.owner, full).GetReport().GetTemplates()[0]; len(got.GetIntervals()) != 366 ||
		got.PreviousActiveUsers != nil {
		t.Errorf("366 days without another window: %v", got)
	}
}

// Templates say what their organization is called; what a request says of that is ignored.
func TestTemplatesNameTheirOrganization(t *testing.T) {
	t.Parallel()
	p := newUsedTemplates(t)
	got := map[string]string{}
	for _, template := range servertest.Must(
		t, insightsv1.NewInsightsServiceClient(p.Conn).ListTemplates, p.owner, &insightsv1.ListTemplatesRequest{},
	).GetTemplates() {
		got[template.GetName()] = template.GetOrganizationName() + ": " + template.GetOrganizationDisplayName()
	}
	if diff := cmp.Diff(map[string]string{"idle": "other: The other", "template0": "acme: ", "template1": "acme: "}, got); diff != "" {
		t.Errorf("organizations (-want +got):\n%s", diff)
	}
}
