package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
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
	diff := cmp.Diff(
		want, got, protocmp.Transform(), protocmp.IgnoreFields(&insightsv1.Rejection{}, "reason"), cmpopts.SortSlices(less),
		cmpopts.EquateEmpty(),
	)
	if diff != "" {
		t.Errorf("rejected (-want +got):\n%s\n%v", diff, got)
	}
}

// The store sees the valid items only; what it refuses is told by its place in the request.
func TestApplyCatalogIndexes(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, nil)
	token := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	organization, template, user, workspace := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	answer := servertest.Must(t, insightsv1.NewCatalogServiceClient(r.Conn).ApplyCatalog, token, &insightsv1.ApplyCatalogRequest{
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
	r.Apply(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), &insightsv1.ApplyCatalogRequest{
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
	answer := servertest.Must(t, insightsv1.NewCatalogServiceClient(r.Conn).ApplyCatalog, r.Token(t, access.RoleControlPlane, own), change)
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
