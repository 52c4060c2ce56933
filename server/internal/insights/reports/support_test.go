package reports

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

func TestSupport(t *testing.T) {
	t.Parallel()
	template := uuid.UUID{1}
	ann, bob, eve := uuid.UUID{2}, uuid.UUID{3}, uuid.UUID{4}
	vscode, terminal := store.UserApp{Builtin: true, Slug: "vscode"}, store.UserApp{Slug: "terminal"}
	in := func(a store.UserApp, minutes int64) store.UserApp { a.Minutes = minutes; return a }
	used := func(id uuid.UUID, minutes int64, days int, apps ...store.UserApp) store.UserUsage {
		return store.UserUsage{UserID: id, Templates: []uuid.UUID{template}, Minutes: minutes, Days: days, Apps: apps}
	}
	latency := func(id uuid.UUID, rating minute.Rating, samples int64) store.UserLatency {
		return store.UserLatency{
			UserUsage: store.UserUsage{UserID: id}, Latency: store.Latency{P50: 200, P95: 400, Samples: samples, RatingP95: rating},
		}
	}
	got := Support(
		[]store.UserUsage{used(ann, 90, 2, in(vscode, 60), in(terminal, 30)), used(bob, 59, 1, in(vscode, 59))},
		[]store.UserLatency{latency(ann, minute.Poor, 10), latency(bob, minute.Poor, 9), latency(eve, minute.Moderate, 10)},
		[]store.Owner{{UserID: ann, Username: "ann"}, {UserID: bob, Username: "bob"}, {UserID: eve, Username: "eve"}},
		minute.Window{Start: 0, End: minutesPerWeek},
	)
	want := &insightsv1.SupportReport{
		TemplateIds:      []string{template.String()},
		HighLatencyUsers: []*insightsv1.HighLatencyUser{{UserId: ann.String(), P50: 200, P95: 400, Samples: 10}},
		LowUsageUsers: []*insightsv1.LowUsageUser{
			{UserId: eve.String(), Username: "eve"}, {UserId: bob.String(), Username: "bob", Seconds: 59 * 60, ActiveDays: 1},
		},
		AppPreferences: []*insightsv1.AppPreference{
			{Type: "builtin", Slug: "vscode", Users: 2, PreferredBy: 2, Seconds: 119 * 60},
			{Type: "app", Slug: "terminal", Users: 1, Seconds: 30 * 60},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
