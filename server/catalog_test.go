package server

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// rejections compares what was rejected without its words.
func rejections(t *testing.T, got []*insightsv1.Rejection, want ...*insightsv1.Rejection) {
	t.Helper()
	for _, r := range got {
		if r.GetReason() == "" {
			t.Errorf("%v has no reason", r)
		}
	}
	less := func(a, b *insightsv1.Rejection) bool {
		return a.GetList() < b.GetList() || a.GetList() == b.GetList() && a.GetIndex() < b.GetIndex()
	}
	diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&insightsv1.Rejection{}, "reason"), cmpopts.SortSlices(less), cmpopts.EquateEmpty())
	if diff != "" {
		t.Errorf("rejected (-want +got):\n%s\n%v", diff, got)
	}
}

// The store sees the valid items only; what it refuses is told by its place in the request.
func TestApplyCatalogIndexes(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	token := r.token(t, access.RoleControlPlane, everywhere)
	organization, template, user, workspace := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	answer := must(t, insightsv1.NewCatalogServiceClient(r.conn).ApplyCatalog, token, &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: "x", Name: "bad"}, {Id: organization, Name: "acme"}},
		Templates: []*insightsv1.Template{
			{Id: template, OrganizationId: organization},
			{Id: uuid.NewString(), OrganizationId: uuid.NewString(), Name: "orphan"},
			{Id: template, OrganizationId: organization, Name: "docker"},
		},
		Users: []*insightsv1.User{{Id: user, Username: "ann", OrganizationIds: []string{organization}}},
		Workspaces: []*insightsv1.Workspace{
			{Id: "", OwnerId: user, TemplateId: template, Name: "w"},
			{Id: uuid.NewString(), OwnerId: user, TemplateId: template, Name: strings.Repeat("w", 129)},
			{Id: workspace, OwnerId: user, TemplateId: template, Name: "w"},
			{Id: uuid.NewString(), OwnerId: uuid.NewString(), TemplateId: template, Name: "w"},
		},
		Agents: []*insightsv1.Agent{{Id: uuid.NewString(), WorkspaceId: workspace, Name: "main"}},
		Deleted: &insightsv1.DeletedItems{
			Users:  []string{uuid.NewString(), "nobody", uuid.NewString()},
			Groups: []string{"nobody"},
		},
	})
	if answer.GetAcknowledged() != 7 {
		t.Errorf("acknowledged %d of 15, want 7", answer.GetAcknowledged())
	}
	rejections(
		t, answer.GetRejected(),
		&insightsv1.Rejection{List: "organizations", Index: 0, Permanent: true},
		&insightsv1.Rejection{List: "templates", Index: 0, Permanent: true},
		&insightsv1.Rejection{List: "templates", Index: 1},
		&insightsv1.Rejection{List: "workspaces", Index: 0, Permanent: true},
		&insightsv1.Rejection{List: "workspaces", Index: 1, Permanent: true},
		&insightsv1.Rejection{List: "workspaces", Index: 3},
		&insightsv1.Rejection{List: "deleted.users", Index: 1, Permanent: true},
		&insightsv1.Rejection{List: "deleted.groups", Index: 0, Permanent: true},
	)
}

// A control plane of one organization writes there and nowhere else, and learns of nothing else.
func TestApplyCatalogConfined(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	own, other := uuid.New(), uuid.New()
	foreign := uuid.NewString()
	r.apply(t, r.token(t, access.RoleControlPlane, everywhere), &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: own.String(), Name: "own"}, {Id: other.String(), Name: "other"}},
		Templates:     []*insightsv1.Template{{Id: foreign, OrganizationId: other.String(), Name: "foreign"}},
	})
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: uuid.NewString(), Name: "new"}, {Id: own.String(), Name: "renamed"}},
		Templates: []*insightsv1.Template{
			{Id: foreign, OrganizationId: other.String(), Name: "taken over"},
			{Id: uuid.NewString(), OrganizationId: own.String(), Name: "docker"},
		},
		Users: []*insightsv1.User{
			{Id: uuid.NewString(), Username: "of none"},
			{Id: uuid.NewString(), Username: "of ours", OrganizationIds: []string{own.String()}},
			{Id: uuid.NewString(), Username: "of both", OrganizationIds: []string{own.String(), other.String()}},
		},
		Deleted: &insightsv1.DeletedItems{Templates: []string{foreign, uuid.NewString()}},
	}
	answer := must(t, insightsv1.NewCatalogServiceClient(r.conn).ApplyCatalog, r.token(t, access.RoleControlPlane, own), change)
	if answer.GetAcknowledged() != 5 {
		t.Errorf("acknowledged %d of 9, want 5", answer.GetAcknowledged())
	}
	rejections(
		t, answer.GetRejected(),
		&insightsv1.Rejection{List: "organizations", Index: 0, Permanent: true},
		&insightsv1.Rejection{List: "templates", Index: 0}, // as if the other organization did not exist
		&insightsv1.Rejection{List: "users", Index: 0, Permanent: true},
		&insightsv1.Rejection{List: "users", Index: 2, Permanent: true},
	)
}

func TestParseCatalogFaults(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	good := func(change func(*insightsv1.ApplyCatalogRequest)) *insightsv1.ApplyCatalogRequest {
		req := &insightsv1.ApplyCatalogRequest{
			Templates:        []*insightsv1.Template{{Id: id, OrganizationId: id, Name: "docker"}},
			TemplateVersions: []*insightsv1.TemplateVersion{{Id: id, TemplateId: id, Name: "v1", Parameters: []*insightsv1.Parameter{{Name: "size", Type: "number", Description: "Of the disk\nin **GiB**"}}}},
			Users:            []*insightsv1.User{{Id: id, Username: "ann"}},
			Groups:           []*insightsv1.Group{{Id: id, OrganizationId: id, Name: "all", UserIds: []string{id}}},
			Apps:             []*insightsv1.App{{AgentId: id, Slug: "ide"}},
		}
		change(req)
		return req
	}
	for want, change := range map[string]func(*insightsv1.ApplyCatalogRequest){
		"":                              func(*insightsv1.ApplyCatalogRequest) {},
		"templates: id: must be a UUID": func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Id = strings.ReplaceAll(id, "-", "") },
		"templates: organization_id: must be a UUID":           func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].OrganizationId = uuid.Nil.String() },
		"templates: name: is required":                         func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Name = "" },
		"templates: name: control characters are not allowed":  func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Name = "a\nb" },
		"templates: display_name: 129 bytes, at most 128":      func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].DisplayName = strings.Repeat("x", 129) },
		"templates: icon: 1025 bytes, at most 1024":            func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Icon = strings.Repeat("x", 1025) },
		"templates: icon: the character U+0000 is not allowed": func(r *insightsv1.ApplyCatalogRequest) { r.Templates[0].Icon = "a\x00b" },
		"templates: created_at: must be a time from 1970 on": func(r *insightsv1.ApplyCatalogRequest) {
			r.Templates[0].CreatedAt = &timestamppb.Timestamp{Seconds: -1}
		},
		"users: kind: must be one of [human system service]":       func(r *insightsv1.ApplyCatalogRequest) { r.Users[0].Kind = "robot" },
		"users: status: must be one of [active dormant suspended]": func(r *insightsv1.ApplyCatalogRequest) { r.Users[0].Status = "gone" },
		"users: organization_ids[1]: must be a UUID":               func(r *insightsv1.ApplyCatalogRequest) { r.Users[0].OrganizationIds = []string{id, "x"} },
		"groups: user_ids[0]: must be a UUID":                      func(r *insightsv1.ApplyCatalogRequest) { r.Groups[0].UserIds[0] = "x" },
		"apps: slug: is required":                                  func(r *insightsv1.ApplyCatalogRequest) { r.Apps[0].Slug = "" },
		"template_versions: parameters: 257 entries, at most 256":  func(r *insightsv1.ApplyCatalogRequest) { r.TemplateVersions[0].Parameters = parameters(257) },
		"template_versions: parameters[1].name: another parameter has it": func(r *insightsv1.ApplyCatalogRequest) {
			p := r.TemplateVersions[0].Parameters
			r.TemplateVersions[0].Parameters = append(p, p[0])
		},
		"template_versions: parameters[0].type: must be one of [string number bool list(string)]": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Type = "map"
		},
		"template_versions: parameters[0].options[0].name: is required": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Options = []*insightsv1.ParameterOption{{Value: "x"}}
		},
		"template_versions: parameters[0].description: 8193 bytes, at most 8192": func(r *insightsv1.ApplyCatalogRequest) {
			r.TemplateVersions[0].Parameters[0].Description = strings.Repeat("x", 8193)
		},
	} {
		var got []string
		for _, r := range parseCatalog(good(change)).rejected {
			got = append(got, r.GetList()+": "+r.GetReason())
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func parameters(n int) []*insightsv1.Parameter {
	list := make([]*insightsv1.Parameter, n)
	for i := range list {
		list[i] = &insightsv1.Parameter{Name: uuid.NewString(), Type: "string"}
	}
	return list
}
