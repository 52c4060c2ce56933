package ingest

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// fuzzLimits are those of a control plane: everything since the epoch.
func fuzzLimits() limits {
	return limits{time.Unix(0, 0), storetest.Now.Add(5 * time.Minute), apps.BuiltIn()}
}

// checkRejection wants an item to be refused in words that can travel.
func checkRejection(t *testing.T, r *rejection) {
	t.Helper()
	if r.reason == "" || len(r.reason) > 500 || !utf8.ValidString(r.reason) || r.cause == "" {
		t.Errorf("rejection %+v", r)
	}
}

// minutesOf are the minutes of rows by kind and app, each row one that a page takes.
func minutesOf(t *testing.T, rows []store.OpenRow) map[minute.Kind]map[string][]int64 {
	t.Helper()
	all := map[minute.Kind]map[string][]int64{}
	for _, r := range rows {
		_, err := minute.EncodePage(r.HalfHour/minute.HalfHoursPerDay, []minute.Row{r.Row})
		if err != nil || r.HalfHour < 0 || r.Minutes == 0 {
			t.Fatalf("row %+v: %v", r, err)
		}
		if all[r.Kind] == nil {
			all[r.Kind] = map[string][]int64{}
		}
		for i := range int64(minute.MinutesPerHalfHour) {
			if r.Minutes>>i&1 == 1 {
				all[r.Kind][r.App] = append(all[r.Kind][r.App], int64(r.HalfHour)*minute.MinutesPerHalfHour+i)
			}
		}
	}
	return all
}

// minutesBetween are all minutes from the first to the last, without those before the epoch.
func minutesBetween(first, last int64) (minutes []int64) {
	for m := first; m <= last; m++ {
		if m >= 0 {
			minutes = append(minutes, m)
		}
	}
	return minutes
}

// A report that is taken touches the minutes that it covers, one by one, and no other.
func FuzzReport(f *testing.F) {
	report := wiretest.SessionAt(wiretest.Agent, 1, storetest.Now)
	f.Add(wiretest.Marshal(f, report))
	report.Interval = durationpb.New(61 * time.Second)
	f.Add(wiretest.Marshal(f, report))
	report.Interval, report.ConnectionMedianLatencyMs = durationpb.New(10*time.Minute), 12.5
	f.Add(wiretest.Marshal(f, report))
	report.CollectedAt = timestamppb.New(time.Unix(59, 999_999_999))
	f.Add(wiretest.Marshal(f, report))
	report.Interval, report.SessionCounts = &durationpb.Duration{Seconds: math.MaxInt64},
		map[string]int64{"\u202ea": 1, "": math.MaxInt64, "B-b": -1}
	f.Add(wiretest.Marshal(f, report))
	f.Add(wiretest.Marshal(f, &insightsv1.AgentReport{
		AgentId: wiretest.Agent, CollectedAt: &timestamppb.Timestamp{Seconds: 1, Nanos: -1}, ConnectionMedianLatencyMs: math.NaN(),
	}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.AgentReport
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		l := fuzzLimits()
		r, rejected := parseReport(&m, l)
		if rejected != nil {
			checkRejection(t, rejected)
			return
		}
		if r.agent == uuid.Nil || r.collected.Before(l.oldest) || r.collected.After(l.newest) {
			t.Fatalf("agent %s, collected at %v", r.agent, r.collected)
		}
		got := minutesOf(t, r.rows(store.Placement{Template: uuid.New(), Subject: 1}, slices.Collect(maps.Keys(r.sessions))))
		covered := m.GetInterval().AsDuration()
		n := int64(math.Ceil(covered.Minutes()))
		last := m.GetCollectedAt().GetSeconds() / 60
		want := minutesBetween(last-max(n, 1)+1, last)
		for app, minutes := range got[minute.Session] {
			if !slices.Equal(minutes, want) || store.NormalizeSessionName(app) != app {
				t.Errorf("app %q: minutes %v, want %v", app, minutes, want)
			}
		}
		if len(got[minute.Session]) != len(r.sessions) {
			t.Errorf("rows of %d apps, want %d", len(got[minute.Session]), len(r.sessions))
		}
		if measured := m.GetConnectionMedianLatencyMs() > 0; measured != slices.Equal(got[minute.Connection][""], []int64{last}) {
			t.Errorf("latency %v: minutes %v", m.GetConnectionMedianLatencyMs(), got[minute.Connection])
		}
	})
}

// A session that is taken touches every minute in which it was open and no other.
func FuzzAppSession(f *testing.F) {
	session := &insightsv1.AppSession{
		AgentId: wiretest.Agent, UserId: wiretest.Agent, AccessMethod: "path", SlugOrPort: "8080",
		StartedAt: timestamppb.New(storetest.Now.Add(-time.Hour)), EndedAt: timestamppb.New(storetest.Now),
	}
	f.Add(wiretest.Marshal(f, session))
	session.StartedAt = timestamppb.New(storetest.Now.AddDate(0, 0, -31))
	f.Add(wiretest.Marshal(f, session))
	session.AccessMethod, session.StartedAt, session.EndedAt = "terminal", timestamppb.New(time.Unix(0, 0)),
		timestamppb.New(time.Unix(0, 0))
	f.Add(wiretest.Marshal(f, session))
	session.EndedAt = timestamppb.New(time.Unix(60, 0))
	f.Add(wiretest.Marshal(f, session))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.AppSession
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		s, rejected := parseSession(&m, fuzzLimits())
		if rejected != nil {
			checkRejection(t, rejected)
			return
		}
		if len(s.app) > call.MaxStringBytes || s.app == "" || (s.app == store.TerminalApp) != (m.GetAccessMethod() == "terminal") {
			t.Fatalf("app %q", s.app)
		}
		got := minutesOf(t, s.rows(uuid.New(), 1))
		first, end := m.GetStartedAt().GetSeconds()/60, m.GetEndedAt().AsTime().UnixNano()
		var want []int64
		for m := first; m*60_000_000_000 <= end-1000; m++ { // in microseconds, as everything that is kept
			want = append(want, m)
		}
		if !slices.Equal(got[minute.App][s.app], want) {
			t.Errorf("from %v to %v: minutes %v, want %v", m.GetStartedAt().AsTime(), m.GetEndedAt().AsTime(), got[minute.App][s.app], want)
		}
	})
}

// Events of the control plane that are taken have all that they need.
func FuzzEvent(f *testing.F) {
	id := uuid.MustParse(wiretest.Agent)
	build := &insightsv1.Build{
		Id: wiretest.Agent, WorkspaceId: wiretest.Agent, TemplateVersionId: wiretest.Agent, Number: 1, Transition: "start",
		Status: "running", CreatedAt: timestamppb.New(storetest.Now), Parameters: []*insightsv1.BuildParameter{{Name: "a", Value: "b"}},
		Reason: "autostart", InitiatorKind: "system", Preset: "a", Prebuild: "created",
		DailyCost: 1, InstanceTypes: []string{"a"},
	}
	f.Add(wiretest.Marshal(f, &insightsv1.Event{Kind: &insightsv1.Event_Build{Build: build}}))
	build.FinishedAt = &timestamppb.Timestamp{Seconds: math.MaxInt64}
	f.Add(wiretest.Marshal(f, &insightsv1.Event{Kind: &insightsv1.Event_Build{Build: build}}))
	f.Add(wiretest.Marshal(f, &insightsv1.Event{Kind: &insightsv1.Event_Agent{Agent: &insightsv1.AgentEvent{
		AgentId: wiretest.Agent, Status: "connected", LifecycleState: "ready", AppHealth: map[string]string{"a": "healthy"},
	}}}))
	f.Add(wiretest.Marshal(f, &insightsv1.Event{Kind: &insightsv1.Event_Job{Job: &insightsv1.JobEvent{
		Id: wiretest.Agent, OrganizationId: wiretest.Agent, Provisioner: "a", Type: jobTypes[0], Status: store.JobStatuses[0],
		CreatedAt: timestamppb.New(storetest.Now),
	}}}))
	known := eventParents{
		workspaces: map[uuid.UUID]uuid.UUID{id: id}, versions: map[uuid.UUID]uuid.UUID{id: id}, templates: map[uuid.UUID]uuid.UUID{id: id},
		builds: map[uuid.UUID]uuid.UUID{}, jobs: map[uuid.UUID]uuid.UUID{}, organizations: map[uuid.UUID]string{id: "a"},
	}
	caller := access.Principal{Kind: access.KindService, ID: id}.With(access.Binding{Role: access.RoleControlPlane})
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.Event
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		var rejected *rejection
		switch {
		case m.GetBuild() != nil:
			var b store.Build
			if b, rejected = known.build(caller, m.GetBuild()); rejected == nil &&
				(b.ID == uuid.Nil || b.TemplateID != id || b.Number < 1 || len(b.Parameters) != len(m.GetBuild().GetParameters()) ||
					len(b.Reason) > 64 || len(b.Preset) > call.MaxStringBytes || b.Prebuild == "") {
				t.Errorf("build %+v of %v", b, &m)
			}
		case m.GetAgent() != nil:
			var c store.AgentCondition
			c, rejected = parseAgentEvent(m.GetAgent())
			if rejected == nil && (c.AgentID == uuid.Nil || c.Status == "" || c.LifecycleState == "" || len(c.AppHealth) > maxMapEntries) {
				t.Errorf("condition %+v of %v", c, &m)
			}
		case m.GetJob() != nil:
			var j store.Job
			j, rejected = known.job(caller, m.GetJob())
			if rejected == nil && (j.ID == uuid.Nil || j.OrganizationID != id || j.Provisioner == "" || j.Type == "" || j.Status == "") {
				t.Errorf("job %+v of %v", j, &m)
			}
		}
		if rejected != nil {
			checkRejection(t, rejected)
		}
	})
}

// Series that are taken are finite, of a family that their sender may fill, and their labels can be shown.
func FuzzSeries(f *testing.F) {
	id := uuid.MustParse(wiretest.Agent)
	for _, m := range []*insightsv1.Metric{
		{
			Name: "coderd_workspace_creation_total", Type: "counter", Value: 1,
			Labels: map[string]string{"template_name": "a", "preset_name": "b", "organization_name": "acme"},
		},
		{Name: "coderd_template_workspace_build_duration_seconds_bucket", Type: "histogram", Value: 1, Labels: map[string]string{
			"template_name": "a", "transition": "start", "status": "success", "is_prebuild": "false", "organization_name": "acme",
			"le": "0x1p-2",
		}},
		{Name: "coderd_agentstats_startup_script_seconds", Type: "gauge", Value: -1, Labels: map[string]string{"success": "true"}},
		{Name: "a_total", Type: "counter", Value: 1, Labels: map[string]string{"b": "c\"\\\n", "__d": "e"}},
		{Name: "up", Type: "gauge", Value: math.NaN()},
		{Name: peersFamily, Type: "gauge", Value: math.Inf(1), Labels: map[string]string{"connection_type": "p2p"}},
	} {
		f.Add(wiretest.Marshal(f, m))
	}
	counts := newMetrics(prometheus.NewRegistry())
	known := eventParents{organizations: map[uuid.UUID]string{id: "acme"}, controlPlane: exposition.NewControlPlane()}
	caller := access.Principal{Kind: access.KindService, ID: id}.With(access.Binding{Role: access.RoleControlPlane})
	f.Fuzz(func(t *testing.T, text []byte) {
		var m insightsv1.Metric
		if proto.Unmarshal(text, &m) != nil {
			return
		}
		if s, rejected := known.series(caller, &m, storetest.Now); rejected != nil {
			checkRejection(t, rejected)
		} else {
			var labels map[string]string
			err := json.Unmarshal([]byte(s.Labels), &labels)
			if err != nil || len(labels) < len(m.GetLabels()) || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Errorf("series %+v of %v: %v", s, &m, err)
			}
		}
		families := newForwardedFamilies(nil, counts, exposition.NewControlPlane())
		var values agentValues
		taken := families.take([]*insightsv1.Metric{&m, &m}, &values, 1)
		if len(taken) > 1 {
			t.Errorf("%v is taken twice", &m)
		}
		for _, s := range taken {
			if math.IsNaN(s.value) || math.IsInf(s.value, 0) || !utf8.ValidString(s.labels) || strings.ContainsAny(s.labels, "\n\x00") ||
				s.family.Name != m.GetName() {
				t.Errorf("%v is forwarded as %+v", &m, s)
			}
		}
	})
}
