package reports

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

func TestROI(t *testing.T) {
	t.Parallel()
	web, idle, unused := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}
	ann, bob := uuid.UUID{4}, uuid.UUID{5}
	user := func(id uuid.UUID, minutes int64) store.TemplateUser {
		return store.TemplateUser{
			UserUsage: store.UserUsage{UserID: id, Templates: []uuid.UUID{web}, Minutes: minutes}, MinutesIn: []int64{minutes},
		}
	}
	use := store.Use{
		Templates: []store.TemplateUse{
			{ID: web, Name: "web", DisplayName: "The web"}, {ID: idle, Name: "idle", Deleted: true}, {ID: unused, Name: "unused"},
		},
		Users: []store.TemplateUser{user(ann, 30)},
	}
	eligible := map[uuid.UUID]bool{bob: true} // Ann is locked out since
	running := map[uuid.UUID]time.Duration{web: time.Hour, idle: time.Hour}
	want := &insightsv1.ROIReport{
		TemplateIds: []string{web.String()}, EligibleUsers: 2, ActiveUsers: 1, Adoption: 0.5,
		ActiveSeconds: 1800, RunningSeconds: 7200, Utilization: 0.25,
		Templates: []*insightsv1.TemplateROI{
			{TemplateId: idle.String(), Name: "idle", DisplayName: "idle", Deleted: true, RunningSeconds: 3600},
			{
				TemplateId: web.String(), Name: "web", DisplayName: "The web", ActiveUsers: 1, ActiveSeconds: 1800, RunningSeconds: 3600,
				Utilization: 0.5,
			},
		},
	}
	if diff := cmp.Diff(want, ROI(use, eligible, running), protocmp.Transform()); diff != "" {
		t.Errorf("one person of two (-want +got):\n%s", diff)
	}
	none := &insightsv1.ROIReport{Adoption: -1, Utilization: -1}
	if diff := cmp.Diff(none, ROI(store.Use{}, map[uuid.UUID]bool{}, nil), protocmp.Transform()); diff != "" {
		t.Errorf("no template (-want +got):\n%s", diff)
	}
}
