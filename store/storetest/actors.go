package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// counted is what each question counts of some actors.
type counted struct {
	Users, Latencies, Eligible, Owners, Statuses, Running int
	Minutes, Samples, Workspaces                          int64
	Others                                                []store.OtherActor
}

// actors: a person, an account of the control plane and a service account, with one, two and four minutes, samples and a workspace
// that runs. What a user is now holds for the past as well.
func actors(t *testing.T, f *Fixture) {
	kinds := []string{"human", "system", "service"}
	version := uuid.New()
	c := store.Catalog{Versions: []store.TemplateVersion{
		{ID: version, TemplateID: f.Templates[0], Parameters: []store.Parameter{{Name: "size", Type: "string"}}},
	}}
	day := Now.Truncate(24 * time.Hour)
	var builds []store.Build
	var changes []store.UserStatusChange
	var rows []store.OpenRow
	for i, user := range f.Users {
		c.Users = append(c.Users, store.User{
			ID: user, Username: kinds[i], Kind: kinds[i], Status: "active", CreatedAt: store.At(day.AddDate(0, 0, -1)),
			OrganizationIDs: []uuid.UUID{f.Organization},
		})
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: f.Workspaces[0][i], OwnerID: user, TemplateID: f.Templates[0], Name: "w", CreatedAt: store.At(day.AddDate(0, 0, -1)),
		})
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][i], TemplateID: f.Templates[0], TemplateVersionID: version, Number: 1,
			Transition: "start", Status: "succeeded", CreatedAt: store.At(day),
			Parameters: []store.BuildParameter{{Name: "size", Value: "s"}},
		})
		changes = append(changes, store.UserStatusChange{UserID: user, At: store.At(day.Add(-time.Hour)), Status: "active"})
		minutes, bins := minute.Mask(1)<<(1<<i)-1, make([]byte, 1<<i)
		rows = append(rows, f.Row(0, i, 20, minutes), f.latency(0, i, 20, minutes, bins...))
	}
	f.apply(t, c)
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	if err := f.RecordStatusChanges(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	f.MustMerge(t, rows...)
	system := store.OtherActor{Actor: minute.System, Actors: 1, Minutes: 2}
	service := store.OtherActor{Actor: minute.Service, Actors: 1, Minutes: 4}
	people := store.OtherActor{Actor: minute.Person, Actors: 1, Minutes: 1}
	of := func(users int, minutes int64, others ...store.OtherActor) counted {
		return counted{users, users, users, users, users, users, minutes, minutes, int64(users), others}
	}
	for _, tt := range []struct {
		name   string
		actors minute.Actors
		want   counted
	}{
		{"people", minute.People, of(1, 1, service, system)},
		{"service accounts", 1 << minute.Service, of(1, 4, people, system)},
		{"accounts of the system", 1 << minute.System, of(1, 2, people, service)},
		{"people and service accounts", minute.People | 1<<minute.Service, of(2, 5, system)},
		{"everybody", minute.Everybody, of(3, 7)},
	} {
		if diff := cmp.Diff(tt.want, f.countActors(t, tt.actors)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	c.Users[1].Kind = "human"
	f.apply(t, store.Catalog{Users: c.Users[1:2]})
	if diff := cmp.Diff(of(2, 3, service), f.countActors(t, minute.People)); diff != "" {
		t.Errorf("people, one of whom was an account of the system (-want +got):\n%s", diff)
	}
	if err := f.EraseUser(t.Context(), f.Users[2]); err != nil {
		t.Fatal(err)
	}
	if got := f.countActors(t, minute.People).Others; !cmp.Equal(got, []store.OtherActor{service}) {
		t.Errorf("with a service account that was erased, others are %v", got)
	}
	before := f.countActors(t, minute.People).Workspaces
	if err := OpenDB(t, f.Database).Writes.Exec(`DELETE FROM users WHERE id = ?`, f.Users[0]).Error; err != nil {
		t.Fatal(err)
	}
	if got := f.countActors(t, minute.People).Workspaces; got != before {
		t.Errorf("%d workspaces of people, want %d with that of a user who is gone", got, before)
	}
}

// countActors asks every question about some actors on the day of Now.
func (f *Fixture) countActors(t *testing.T, actors minute.Actors) (n counted) {
	t.Helper()
	ctx, w := t.Context(), today()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	insights, err := f.TemplateInsights(ctx, f.Everything, actors, w, store.Floor{})
	fail(err)
	n.Others = insights.Others
	others := func(question string, users, want int, others []store.OtherActor) {
		t.Helper()
		if users != want || !cmp.Equal(others, n.Others) {
			t.Errorf("%s: %d users and %v, want %d and %v", question, users, others, want, n.Others)
		}
	}
	users, activity, err := f.UserActivity(ctx, f.Everything, actors, w)
	fail(err)
	n.Users = len(users)
	others("template insights", insights.ActiveUsers, n.Users, insights.Others)
	others("user activity", n.Users, n.Users, activity.Others)
	for _, u := range users {
		n.Minutes += u.Minutes
	}
	latencies, total, err := f.UserLatency(ctx, f.Everything, actors, w)
	fail(err)
	n.Latencies, n.Samples = len(latencies), total.Samples
	others("user latency", n.Latencies, n.Users, total.Others)
	use, err := f.Use(ctx, f.Everything, actors, w)
	fail(err)
	others("use", use.Active, n.Users, use.Others)
	noon := w.Start + 12*60
	older, err := f.Activity(ctx, f.Everything, actors, []minute.Window{{Start: w.Start, End: noon}, {Start: noon, End: w.End}},
		func(minute.Kind, string) bool { return true })
	fail(err)
	others("activity", len(older.People), n.Users, older.Others)
	w.Bounds = []int64{w.Start}
	intervals, left, err := f.Intervals(ctx, f.Everything, actors, w, store.Floor{})
	fail(err)
	others("intervals", intervals[0].ActiveUsers, n.Users, left)
	perTemplate, err := f.PerTemplate(ctx, f.Everything, actors, w)
	fail(err)
	others("one template", perTemplate[f.Templates[0]].ActiveUsers, n.Users, n.Others)
	start, end := time.Unix(60*w.Start, 0), time.Unix(60*w.End, 0)
	parameters, err := f.ParameterUsage(ctx, f.Everything, actors, start, end, store.Floor{})
	fail(err)
	n.Workspaces = parameters[0].Values[0].Count
	eligible, err := f.EligibleUsers(ctx, f.Everything, actors, end)
	fail(err)
	owners, err := f.Owners(ctx, f.Everything, actors, end)
	fail(err)
	statuses, left, err := f.StatusCounts(ctx, actors, []time.Time{start}, end, func([]uuid.UUID) bool { return true })
	fail(err)
	for _, o := range n.Others { // one of each
		if i := len(left); i == 0 || left[0] != (store.OtherActor{Actor: o.Actor, Actors: 1}) {
			t.Errorf("others with a status are %v", left)
			break
		}
		left = left[1:]
	}
	running, err := f.RunningTime(ctx, f.Everything, actors, w)
	fail(err)
	n.Eligible, n.Owners, n.Statuses = len(eligible), len(owners), int(statuses["active"][0])
	n.Running = int(running[f.Templates[0]] / (12 * time.Hour)) // until now
	return n
}
