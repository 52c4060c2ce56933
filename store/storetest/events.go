package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// after is a moment some seconds after Now.
func after(seconds int) store.Instant { return store.At(Now.Add(time.Duration(seconds) * time.Second)) }

// newestEvents: whatever the order and however often they come, the newest event of a thing is what is known of it.
func newestEvents(t *testing.T, f *Fixture) {
	job, build := uuid.New(), uuid.New()
	steps := []struct{ status, lifecycle string }{{"pending", "created"}, {"running", "starting"}, {"failed", "ready"}}
	second := Open(t, f.Database, Now)
	for round := range 10 {
		for _, i := range append(rand.Perm(len(steps)), rand.Perm(len(steps))...) {
			s, at := []*store.Store{f.Store, second}[rand.IntN(2)], after(i)
			err := s.RecordAgentConditions(t.Context(), []store.AgentCondition{
				{
					AgentID: f.Agents[0][0], At: at, Status: "connected", LifecycleState: steps[i].lifecycle,
					AppHealth: map[string]string{"ide": steps[i].lifecycle},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.RecordJobs(t.Context(), []store.Job{{
				ID: job, At: at, OrganizationID: f.Organization, Provisioner: "terraform", Status: steps[i].status, StartedAt: after(1),
				FinishedAt: after(3),
			}}); err != nil {
				t.Fatal(err)
			}
			err = s.RecordBuilds(t.Context(), []store.Build{
				{
					ID: build, At: at, WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], Number: 1, Transition: "start",
					Status: steps[i].status,
				},
				{
					ID: build, At: after(-1), WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], Number: 1, Transition: "start",
					Status: "older in the same batch",
				},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		agent := f.agent(t, f.Agents[0][0])
		workspaces, err := f.LiveWorkspaces(t.Context(), f.Everything)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(workspaces, func(w store.LiveWorkspace) bool { return w.Newest.Status != "" })
		timings, err := f.JobTimings(t.Context(), []float64{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		if agent.LifecycleState != "ready" || agent.AppHealth["ide"] != "ready" || i < 0 || workspaces[i].Newest.Status != "failed" {
			t.Errorf("round %d: agent %+v, workspaces %+v", round, agent, workspaces)
		}
		want := []store.JobTimings{{
			Provisioner: "terraform", Status: "failed",
			Distribution: store.Distribution{Count: 1, Sum: 2, Below: []int64{0, 1}, Since: after(1)},
		}}
		if diff := gocmp.Diff(want, timings); diff != "" {
			t.Errorf("round %d: job timings (-want +got):\n%s", round, diff)
		}
	}
}

// agent finds an agent among the living.
func (f *Fixture) agent(t testing.TB, id uuid.UUID) store.LiveAgent {
	t.Helper()
	workspaces, err := f.LiveWorkspaces(t.Context(), f.Everything)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workspaces {
		if i := slices.IndexFunc(w.Agents, func(a store.LiveAgent) bool { return a.ID == id }); i >= 0 {
			return w.Agents[i]
		}
	}
	t.Fatalf("agent %s does not live", id)
	return store.LiveAgent{}
}

// controlPlaneSeries: the last value of the same labels counts, and what is no longer reported is forgotten.
func controlPlaneSeries(t *testing.T, f *Fixture) {
	second := Open(t, f.Database, Now)
	record := func(s *store.Store, expired time.Time, series ...store.ControlPlaneSeries) {
		t.Helper()
		if err := s.RecordControlPlaneSeries(t.Context(), series, expired); err != nil {
			t.Fatal(err)
		}
	}
	plain, labeled := store.ControlPlaneSeries{Name: "users", Labels: "{}"}, store.ControlPlaneSeries{Name: "calls", Labels: `{"name":"x"}`}
	with := func(s store.ControlPlaneSeries, value float64, at store.Instant) store.ControlPlaneSeries {
		s.Value, s.ReportedAt = value, at
		return s
	}
	record(f.Store, Now, with(plain, 1, after(0)), with(labeled, 2.5, after(0)), with(plain, 3, after(0)))
	for name, c := range map[string]struct {
		since time.Time
		want  []store.ControlPlaneSeries
	}{
		"all":          {Now, []store.ControlPlaneSeries{with(labeled, 2.5, after(0)), with(plain, 3, after(0))}},
		"none so late": {Now.Add(time.Second), []store.ControlPlaneSeries{}},
	} {
		got, err := second.ControlPlaneSeries(t.Context(), c.since)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	record(second, after(1).Time, with(plain, 4, after(2)))
	got, err := f.ControlPlaneSeries(t.Context(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]store.ControlPlaneSeries{with(plain, 4, after(2))}, got); diff != "" {
		t.Errorf("after the other expired (-want +got):\n%s", diff)
	}
}

// liveOnes: a workspace without agents lives, what is deleted does not, and the highest build number tells, of equal ones the
// highest id.
func liveOnes(t *testing.T, f *Fixture) {
	old, newest, bare := uuid.New(), uuid.New(), uuid.New()
	f.apply(t, store.Catalog{
		Versions: []store.TemplateVersion{
			{ID: old, TemplateID: f.Templates[0], Name: "v1"}, {ID: newest, TemplateID: f.Templates[0], Name: "v2"},
		},
		Workspaces: []store.Workspace{{ID: bare, OwnerID: f.Users[2], TemplateID: f.Templates[0], Name: "bare"}},
		Apps: []store.App{
			{AgentID: f.Agents[0][0], Slug: "ide", DisplayName: "IDE"},
			{AgentID: f.Agents[0][0], Slug: "k9s"},
			{AgentID: f.Agents[0][1], Slug: "ide"},
		},
		Deleted: store.Deleted{Workspaces: []uuid.UUID{f.Workspaces[0][1]}, Agents: []uuid.UUID{f.Agents[0][2]}},
	})
	build := func(number int64, last byte, version uuid.UUID, status string) store.Build {
		return store.Build{
			ID: uuid.UUID{15: last}, WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], TemplateVersionID: version,
			Number: number, Transition: "start", Status: status,
		}
	}
	if err := f.RecordBuilds(t.Context(), []store.Build{
		build(9, 3, old, "failed"), build(10, 1, newest, "pending"), build(10, 2, newest, "running"),
	}); err != nil {
		t.Fatal(err)
	}
	err := f.TouchAgents(t.Context(), []store.AgentState{{AgentID: f.Agents[0][0], FirstConnectedAt: after(1), LastSeenAt: after(2)}})
	if err != nil {
		t.Fatal(err)
	}
	auditor := access.Principal{Kind: access.KindService}.With(access.Binding{Role: access.RoleAuditor})
	only, err := access.Templates(auditor, access.ViewInsights, f.Templates[:1], nil)
	if err != nil {
		t.Fatal(err)
	}
	workspaces, err := f.LiveWorkspaces(t.Context(), only)
	if err != nil {
		t.Fatal(err)
	}
	name := func(user, workspace string) store.WorkspaceName {
		return store.WorkspaceName{
			TemplateName: store.TemplateName{Organization: "acme", Template: "template0"}, Owner: user, Workspace: workspace,
		}
	}
	slices.SortFunc(workspaces, func(a, b store.LiveWorkspace) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Workspace, b.Workspace))
	})
	want := []store.LiveWorkspace{
		{
			WorkspaceName: name("user0", "w"), Version: "v2",
			Newest: store.LiveBuild{Version: "v2", Transition: "start", Status: "running"},
			Agents: []store.LiveAgent{{ID: f.Agents[0][0], Agent: "main", LastSeenAt: after(2)}},
		},
		{WorkspaceName: name("user2", "bare")},
		{WorkspaceName: name("user2", "w")},
	}
	if diff := gocmp.Diff(want, workspaces); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	apps, err := f.LiveApps(t.Context(), only)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(apps[f.Agents[0][0]], func(a, b store.App) int { return strings.Compare(a.Slug, b.Slug) })
	declared := map[uuid.UUID][]store.App{f.Agents[0][0]: {
		{AgentID: f.Agents[0][0], Slug: "ide", DisplayName: "IDE"}, {AgentID: f.Agents[0][0], Slug: "k9s", DisplayName: "k9s"},
	}}
	if diff := gocmp.Diff(declared, apps); diff != "" {
		t.Errorf("apps (-want +got):\n%s", diff)
	}
	if all, err := f.LiveWorkspaces(t.Context(), f.Everything); err != nil || len(all) != 6 {
		t.Errorf("workspaces of everything: %d, %v", len(all), err)
	}
	// What did not succeed, or is no start, does not change the version that runs.
	stop := build(8, 5, newest, "succeeded")
	stop.Transition = "stop"
	if err := f.RecordBuilds(t.Context(), []store.Build{build(7, 4, old, "succeeded"), stop}); err != nil {
		t.Fatal(err)
	}
	if workspaces, err = f.LiveWorkspaces(t.Context(), only); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(workspaces, func(w store.LiveWorkspace) bool { return w.Newest.Status != "" })
	want[0].Version = "v1"
	if diff := gocmp.Diff(want[0], workspaces[i]); diff != "" {
		t.Errorf("after an older start that succeeded (-want +got):\n%s", diff)
	}
}

// corrections: builds and jobs that events correct, in any order and over several servers, never lower a count, and every outcome that
// was told counts once.
func corrections(t *testing.T, f *Fixture) {
	versions := []uuid.UUID{uuid.New(), uuid.New()}
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{
		{ID: versions[0], TemplateID: f.Templates[0], Name: "v1"}, {ID: versions[1], TemplateID: f.Templates[0], Name: "v2"},
	}})
	second := Open(t, f.Database, Now)
	bounds := []float64{1, 2, 5}
	told := []struct {
		transition, status, provisioner string
		version, seconds                int
	}{
		{"start", "running", "terraform", 0, 0},
		{"start", "failed", "terraform", 0, 2},
		{"start", "succeeded", "echo", 1, 4},
		{"stop", "succeeded", "echo", 0, 1},
		{"start", "running", "terraform", 1, 0},
		{"start", "canceled", "echo", 1, 0},
	}
	counts := func() map[string]float64 {
		t.Helper()
		all := map[string]float64{}
		ended, err := second.EndedBuilds(t.Context(), f.Everything, Now)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ended {
			all[strings.Join([]string{e.Owner, e.Version, e.Transition, e.Status}, " ")] = float64(e.Builds)
		}
		timings, err := second.JobTimings(t.Context(), bounds)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range timings {
			name := j.Provisioner + " " + j.Status
			all[name+" count"], all[name+" sum"] = float64(j.Count), j.Sum
			for i, below := range j.Below {
				all[fmt.Sprint(name, " ", bounds[i])] = float64(below)
			}
		}
		return all
	}
	outcomes := map[string]float64{}
	for round := range 10 {
		build, job, seen := uuid.New(), uuid.New(), counts()
		for _, i := range append(rand.Perm(len(told)), rand.Perm(len(told))...) {
			e, s := told[i], []*store.Store{f.Store, second}[rand.IntN(2)]
			j := store.Job{
				ID: job, At: after(i), OrganizationID: f.Organization, Provisioner: e.provisioner, Status: e.status, StartedAt: after(0),
			}
			if e.seconds > 0 {
				j.FinishedAt = after(e.seconds)
			}
			b := store.Build{
				ID: build, At: after(i), WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0],
				TemplateVersionID: versions[e.version], Number: 1, Transition: e.transition, Status: e.status,
			}
			err := errors.Join(s.RecordJobs(t.Context(), []store.Job{j, j}), s.RecordBuilds(t.Context(), []store.Build{b, b}))
			if err != nil {
				t.Fatal(err)
			}
			now := counts()
			for name, n := range seen {
				if now[name] < n {
					t.Fatalf("round %d: %s fell from %v to %v", round, name, n, now[name])
				}
			}
			seen = now
		}
	}
	for name, n := range counts() { // whichever event came first says the version and the provisioner
		fields := strings.Fields(name)
		switch {
		case fields[0] == "user0":
			outcomes[strings.Join(fields[2:], " ")] += n
		case fields[2] == "count":
			outcomes[fields[1]] += n
		}
	}
	want := map[string]float64{
		"start succeeded": 10, "start failed": 10, "start canceled": 10, "stop succeeded": 10,
		"succeeded": 10, "failed": 10, "canceled": 10,
	}
	if diff := gocmp.Diff(want, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// counts are one value in each of these buckets of a native histogram.
func counts(buckets ...int) (all []store.NativeCount) {
	for _, b := range buckets {
		all = append(all, store.NativeCount{Bucket: b, Count: 1})
	}
	return all
}

// firstConnections: an agent counts once, however often and wherever it is noted, and a name's count never falls.
func firstConnections(t *testing.T, f *Fixture) {
	made := Now.Add(-time.Hour) // as the fixture says
	second := Open(t, f.Database, Now)
	touch := func(s *store.Store, agent uuid.UUID, wait time.Duration) {
		t.Helper()
		at := store.At(made.Add(wait))
		if err := s.TouchAgents(t.Context(), []store.AgentState{{AgentID: agent, FirstConnectedAt: at, LastSeenAt: at}}); err != nil {
			t.Fatal(err)
		}
	}
	bounds := []float64{1, 10, 30}
	ask := func(since time.Time) (spread []store.FirstConnections, skewed int64) {
		t.Helper()
		spread, skewed, err := second.FirstConnections(t.Context(), f.Everything, bounds, since)
		if err != nil {
			t.Fatal(err)
		}
		return spread, skewed
	}
	again := uuid.New()
	unknown := uuid.New()
	f.apply(t, store.Catalog{Agents: []store.Agent{
		{ID: again, WorkspaceID: f.Workspaces[0][0], Name: "main", CreatedAt: store.At(made)},
		{ID: unknown, WorkspaceID: f.Workspaces[0][0], Name: "main"}, // nobody knows when it was made
	}})
	for i := range 3 {
		touch(f.Store, f.Agents[0][0], 10*time.Second+time.Duration(i)*time.Minute)
		touch(second, f.Agents[0][0], 20*time.Minute)
	}
	touch(f.Store, again, 30001*time.Millisecond)
	touch(f.Store, unknown, time.Second)
	touch(f.Store, f.Agents[1][1], -time.Second)
	want := []store.FirstConnections{{
		WorkspaceName: store.WorkspaceName{
			TemplateName: store.TemplateName{Organization: "acme", Template: "template0"}, Owner: "user0", Workspace: "w",
		},
		Agent: "main", Distribution: store.Distribution{
			Count: 2, Sum: 40.001, Below: []int64{0, 1, 1}, Since: store.At(made), Native: counts(27, 40),
		},
	}}
	got, skewed := ask(Now)
	if diff := gocmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" || skewed != 1 {
		t.Errorf("%d skewed, the others (-want +got):\n%s", skewed, diff)
	}
	f.apply(t, store.Catalog{Deleted: store.Deleted{Workspaces: []uuid.UUID{f.Workspaces[0][0]}, Agents: []uuid.UUID{again}}})
	if got, _ := ask(Now); gocmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)) != "" {
		t.Errorf("of a workspace that was just deleted: %+v", got)
	}
	if got, _ := ask(after(1).Time); len(got) != 0 {
		t.Errorf("of a workspace that was deleted long ago: %+v", got)
	}
	next, agent := uuid.New(), uuid.New()
	f.apply(t, store.Catalog{
		Workspaces: []store.Workspace{{ID: next, OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "w"}},
		Agents:     []store.Agent{{ID: agent, WorkspaceID: next, Name: "main", CreatedAt: store.At(made)}},
	})
	touch(f.Store, agent, time.Second)
	got, _ = ask(after(1).Time)
	if len(got) != 1 || got[0].Count != 3 || !slices.Equal(got[0].Native, counts(0, 27, 40)) {
		t.Errorf("of the next workspace of the name: %+v, want the three of both", got)
	}
	// A catalog that tells another time of creation lowers nothing.
	was, _ := ask(after(1).Time)
	for _, other := range []store.Instant{store.At(made.Add(-time.Hour)), {}} {
		f.apply(t, store.Catalog{Agents: []store.Agent{{ID: agent, WorkspaceID: next, Name: "main", CreatedAt: other}}})
	}
	if got, _ := ask(after(1).Time); gocmp.Diff(was, got) != "" {
		t.Errorf("after another time of creation: %+v, want %+v", got, was)
	}
	// Agents that took no time at all are counted by native buckets as well: by none of them.
	instant := store.Agent{ID: uuid.New(), WorkspaceID: f.Workspaces[1][0], Name: "instant", CreatedAt: store.At(made)}
	f.apply(t, store.Catalog{Agents: []store.Agent{instant}})
	touch(f.Store, instant.ID, 0)
	got, _ = ask(Now)
	got = slices.DeleteFunc(got, func(c store.FirstConnections) bool { return c.Agent != instant.Name })
	if len(got) != 1 || got[0].Count != 1 || got[0].Native == nil || len(got[0].Native) != 0 {
		t.Errorf("of an agent that took no time: %+v", got)
	}
	// A value on a bound is in the bucket below it, and no time at all in none.
	buckets := map[int]int64{}
	var agents []store.Agent
	for _, wait := range []struct {
		micros int64
		bucket int
	}{
		{0, 0},
		{1, -159},
		{500_000, -8},
		{500_001, -7},
		{1_000_000, 0},
		{1_000_001, 1},
		{2_000_000, 8},
		{4_000_000, 16},
		{8_000_000, 24},
		{8_000_001, 25},
		{32_000_000, 40},
		{1_024_000_000, 80},
		{1_024_000_001, 81},
	} {
		agent := store.Agent{ID: uuid.New(), WorkspaceID: f.Workspaces[1][0], Name: "border", CreatedAt: store.At(made)}
		agents = append(agents, agent)
		f.apply(t, store.Catalog{Agents: []store.Agent{agent}})
		touch(f.Store, agent.ID, time.Duration(wait.micros)*time.Microsecond)
		if wait.micros > 0 {
			buckets[wait.bucket]++
		}
	}
	got, _ = ask(Now)
	got = slices.DeleteFunc(got, func(c store.FirstConnections) bool { return c.Agent != "border" })
	if len(got) != 1 || got[0].Count != int64(len(agents)) {
		t.Fatalf("%+v, want %d agents", got, len(agents))
	}
	found := map[int]int64{}
	for _, n := range got[0].Native {
		found[n.Bucket] += n.Count
	}
	if diff := gocmp.Diff(buckets, found); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

// endedBuilds: each build that ended counts once, by the names of today.
func endedBuilds(t *testing.T, f *Fixture) {
	version := uuid.New()
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{{ID: version, TemplateID: f.Templates[0], Name: "v1"}}})
	var builds []store.Build
	for i, status := range []string{"succeeded", "succeeded", "failed", "canceled", "running", "pending", "canceling"} {
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][0], TemplateID: f.Templates[0], TemplateVersionID: version, Number: int64(i),
			Transition: "start", Status: status,
		})
	}
	for range 2 {
		if err := f.RecordBuilds(t.Context(), builds); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(since time.Time) []store.EndedBuilds {
		t.Helper()
		ended, err := f.EndedBuilds(t.Context(), f.Everything, since)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(ended, func(a, b store.EndedBuilds) int { return strings.Compare(a.Status, b.Status) })
		return ended
	}
	name := store.WorkspaceName{TemplateName: store.TemplateName{Organization: "acme", Template: "renamed"}, Owner: "user0", Workspace: "w"}
	want := []store.EndedBuilds{
		{WorkspaceName: name, Version: "v1", Transition: "start", Status: "canceled", Builds: 1},
		{WorkspaceName: name, Version: "v1", Transition: "start", Status: "failed", Builds: 1},
		{WorkspaceName: name, Version: "v1", Transition: "start", Status: "succeeded", Builds: 2},
	}
	f.apply(t, store.Catalog{Templates: []store.Template{{ID: f.Templates[0], OrganizationID: f.Organization, Name: "renamed"}}})
	if diff := gocmp.Diff(want, ask(Now)); diff != "" {
		t.Errorf("ended builds (-want +got):\n%s", diff)
	}
	f.apply(t, store.Catalog{Deleted: store.Deleted{Workspaces: []uuid.UUID{f.Workspaces[0][0]}}})
	if diff := gocmp.Diff(want, ask(Now)); diff != "" {
		t.Errorf("just after the workspace was deleted (-want +got):\n%s", diff)
	}
	if got := ask(after(1).Time); len(got) != 0 {
		t.Errorf("long after the workspace was deleted: %+v", got)
	}
}

// whatWasBuilt: workspaces are counted once, by how they came, and their builds by how long they waited and took.
func whatWasBuilt(t *testing.T, f *Fixture) {
	version := uuid.New()
	f.apply(t, store.Catalog{Versions: []store.TemplateVersion{{ID: version, TemplateID: f.Templates[0], Name: "v1"}}})
	var builds []store.Build
	var list []store.Job
	add := func(workspace int, number int64, prebuild, initiator, status string) {
		b := store.Build{
			ID: uuid.New(), WorkspaceID: f.Workspaces[0][workspace], TemplateID: f.Templates[0], TemplateVersionID: version, Number: number,
			Transition: "start", Status: status, Reason: "initiator", InitiatorKind: initiator, Preset: "large", Prebuild: prebuild,
			CreatedAt: after(0), StartedAt: after(2), FinishedAt: after(12),
		}
		builds = append(builds, b)
		list = append(list, store.Job{
			ID: b.ID, OrganizationID: f.Organization, Provisioner: "terraform", Type: "workspace_build", Status: status,
			CreatedAt: b.CreatedAt, StartedAt: b.StartedAt, FinishedAt: b.FinishedAt,
		})
	}
	add(0, 1, "none", "person", "failed")
	add(0, 2, "none", "person", "succeeded") // the workspace came with this one
	add(0, 3, "none", "person", "succeeded")
	add(1, 1, "created", "system", "succeeded")
	add(1, 2, "claimed", "person", "succeeded")
	add(1, 3, "none", "person", "succeeded")
	add(2, 1, "created", "system", "failed")
	for range 2 {
		if err := errors.Join(f.RecordBuilds(t.Context(), builds), f.RecordJobs(t.Context(), list)); err != nil {
			t.Fatal(err)
		}
	}
	bounds := []float64{1, 10}
	creations, err := f.Creations(t.Context(), f.Everything)
	if err != nil {
		t.Fatal(err)
	}
	name, err := f.TemplateNames(t.Context(), f.Templates[:1])
	if err != nil {
		t.Fatal(err)
	}
	of := name[f.Templates[0]]
	slices.SortFunc(creations, func(a, b store.Creations) int { return strings.Compare(a.Prebuild, b.Prebuild) })
	if diff := gocmp.Diff([]store.Creations{
		{TemplateName: of, Preset: "large", Prebuild: "claimed", Builds: 1},
		{TemplateName: of, Preset: "large", Prebuild: "created", Builds: 2, Failed: 1},
		{TemplateName: of, Preset: "large", Prebuild: "none", Builds: 1},
	}, creations); diff != "" {
		t.Errorf("creations (-want +got):\n%s", diff)
	}
	byLabels := func(all []store.Spread, err error) []store.Spread {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b store.Spread) int { return slices.Compare(a.Labels, b.Labels) })
		return all
	}
	spread := func(n int64, sum float64, below []int64, labels ...string) store.Spread {
		return store.Spread{Labels: labels, Distribution: store.Distribution{Count: n, Sum: sum, Below: below, Since: after(2)}}
	}
	if diff := gocmp.Diff([]store.Spread{
		spread(2, 20, []int64{0, 2}, of.Template, "v1", "start", "failed"),
		spread(5, 50, []int64{0, 5}, of.Template, "v1", "start", "succeeded"),
	}, byLabels(f.BuildTimings(t.Context(), f.Everything, bounds))); diff != "" {
		t.Errorf("build timings (-want +got):\n%s", diff)
	}
	took := func(prebuild string) store.Spread {
		s := spread(1, 10, []int64{0, 1}, of.Organization, of.Template, "large", prebuild)
		s.Native = []store.NativeCount{{Bucket: 27, Count: 1}}
		return s
	}
	if diff := gocmp.Diff(
		[]store.Spread{took("claimed"), took("created")}, byLabels(f.CreationTimings(t.Context(), f.Everything, bounds)),
	); diff != "" {
		t.Errorf("creation timings (-want +got):\n%s", diff)
	}
	waited := func(n int64, reason string) store.Spread {
		s := spread(n, 2*float64(n), []int64{0, n}, "terraform", "workspace_build", "start", reason)
		s.Since = after(0)
		return s
	}
	if diff := gocmp.Diff(
		[]store.Spread{waited(5, "initiator"), waited(2, "prebuild")}, byLabels(f.QueueWaits(t.Context(), bounds)),
	); diff != "" {
		t.Errorf("queue waits (-want +got):\n%s", diff)
	}
	enqueued, err := f.EnqueuedBuilds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(enqueued, func(a, b store.EnqueuedBuilds) int { return strings.Compare(a.Reason, b.Reason) })
	if diff := gocmp.Diff([]store.EnqueuedBuilds{
		{Provisioner: "terraform", Reason: "initiator", Transition: "start", Builds: 5},
		{Provisioner: "terraform", Reason: "prebuild", Transition: "start", Builds: 2},
	}, enqueued); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
	users, err := f.UserCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]store.UserCounts{{Kind: store.Human, Status: "active", Users: int64(len(f.Users))}}, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

// jobs: what runs, what ran and how long.
func jobs(t *testing.T, f *Fixture) {
	var list []store.Job
	add := func(provisioner, status string, begin, end store.Instant) {
		list = append(list, store.Job{
			ID: uuid.New(), OrganizationID: f.Organization, Provisioner: provisioner, Status: status, StartedAt: begin, FinishedAt: end,
		})
	}
	add("terraform", "succeeded", after(0), after(10))
	add("terraform", "succeeded", after(0), after(600))
	add("terraform", "succeeded", store.Instant{}, after(600)) // nobody knows when it began
	add("terraform", "failed", after(5), after(4))             // clocks differ
	add("echo", "running", after(0), store.Instant{})
	add("echo", "canceling", after(0), store.Instant{})
	if err := f.RecordJobs(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	timings, err := f.JobTimings(t.Context(), []float64{1, 10, 60})
	if err != nil {
		t.Fatal(err)
	}
	want := []store.JobTimings{{
		Provisioner: "terraform", Status: "succeeded",
		Distribution: store.Distribution{Count: 2, Sum: 610, Below: []int64{0, 1, 1}, Since: after(0)},
	}}
	if diff := gocmp.Diff(want, timings); diff != "" {
		t.Errorf("timings (-want +got):\n%s", diff)
	}
	running, err := f.RunningJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(map[string]int64{"terraform": 0, "echo": 1}, running); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	organizations, err := f.JobOrganizations(t.Context(), []uuid.UUID{list[0].ID, uuid.New()})
	if err != nil || organizations[list[0].ID] != f.Organization || len(organizations) != 1 {
		t.Errorf("organizations: %v, %v", organizations, err)
	}
}
