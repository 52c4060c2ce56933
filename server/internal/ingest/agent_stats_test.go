package ingest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// agentStatsFixture is what a server knows of the agents of a small catalog: each has the names main and w, those of its
// owner (user0 to user2) and its template (template0 and template1), and all are of acme.
type agentStatsFixture struct {
	*storetest.Fixture
	options  Options
	now      time.Time
	registry *prometheus.Registry
	metrics  *metrics
	stats    *agentStats
}

func newAgentStatsFixture(t *testing.T) *agentStatsFixture {
	t.Helper()
	return agentStatsOf(storetest.NewFixture(t, storetest.SQLite(t)))
}

// agentStatsOf is a fixture over a catalog that tests may share.
func agentStatsOf(catalog *storetest.Fixture, by ...string) *agentStatsFixture {
	f := &agentStatsFixture{Fixture: catalog, now: storetest.Now, registry: prometheus.NewRegistry()}
	f.metrics = newMetrics(f.registry)
	f.options = Options{
		Store: f.Store, Clock: func() time.Time { return f.now }, ReportInterval: 30 * time.Second, UsageStats: true, AgentStatsBy: by,
		ControlPlane: exposition.NewControlPlane(),
	}
	f.stats = newAgentStats(f.options, f.metrics)
	return f
}

// report is a report of an agent at this moment.
func (f *agentStatsFixture) report(agent uuid.UUID) *insightsv1.AgentReport {
	return &insightsv1.AgentReport{AgentId: agent.String(), CollectedAt: timestamppb.New(f.now)}
}

func (f *agentStatsFixture) note(t *testing.T, stream *agentStream, reports ...*insightsv1.AgentReport) {
	t.Helper()
	for _, m := range reports {
		r, rejected := parseReport(m, limits{newest: f.now.Add(time.Hour), apps: f.Apps()})
		if rejected != nil {
			t.Fatal(rejected.reason)
		}
		f.stats.note(&r, stream)
	}
}

// series are the series of families whose names have a prefix, after names were read; both formats agree on them.
func (f *agentStatsFixture) series(t *testing.T, prefixes ...string) map[string]float64 {
	t.Helper()
	if err := f.stats.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f.scrape(t, prefixes...)
}

// scrape is series without reading names.
func (f *agentStatsFixture) scrape(t *testing.T, prefixes ...string) map[string]float64 {
	t.Helper()
	page := exposition.New(prometheus.NewRegistry(), 0)
	page.MustAdd(f.stats)
	others := func(series string, _ float64) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(series, `{__name__="`+p) })
	}
	contentType, body := wiretest.Scrape(t, page, "text/plain")
	text, _ := wiretest.ParseProduced(t, contentType, body)
	maps.DeleteFunc(text, others)
	contentType, body = wiretest.Scrape(t, page, wiretest.OpenMetrics)
	open, _ := wiretest.ParseProduced(t, contentType, body)
	maps.DeleteFunc(open, others)
	if diff := cmp.Diff(text, open); diff != "" {
		t.Errorf("OpenMetrics says something else than the text (-text +open):\n%s", diff)
	}
	return text
}

// userSeries names a series with the labels of a user's agent, and others in pairs.
func userSeries(name, user string, others ...string) string {
	l := map[string]string{"agent_name": "main", "workspace_name": "w", "username": user, "organization_name": "acme"}
	for i := 0; i < len(others); i += 2 {
		l[others[i]] = others[i+1]
	}
	return wiretest.SeriesName(name, l)
}

const agentPrefix = "coderd_agent"

func TestAgentStats(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	busy := f.report(f.Agents[0][0])
	busy.ConnectionCount, busy.ConnectionMedianLatencyMs, busy.RxBytes, busy.TxBytes, busy.PeersP2P, busy.PeersDerp, busy.DerpRegion = 7,
		250, 1000, 50, 2, 1, "Nuremberg"
	busy.SessionCounts = map[string]int64{"vscode": 1, "Cursor": 2, "zed": 3, "sftp": 1, "emacs": 4, "vim": 1}
	f.note(t, nil, busy, f.report(f.Agents[1][1]))
	if got := f.scrape(t, ""); len(got) > 0 {
		t.Errorf("before names are known: %v", got)
	}
	want := map[string]float64{}
	for name, value := range map[string]float64{
		"rx_bytes": 0, "tx_bytes": 0, "connection_count": 7, "connection_median_latency_seconds": 0.25, "session_count_vscode": 3,
		"session_count_jetbrains": 0, "session_count_reconnecting_pty": 0, "session_count_ssh": 3, "session_count_sftp": 1,
		"session_count_unknown": 5,
	} {
		want[userSeries("coderd_agentstats_"+name, "user0")] = value
		if name != "connection_median_latency_seconds" { // idle agents have none
			want[userSeries("coderd_agentstats_"+name, "user1")] = 0
		}
	}
	for app, open := range map[[2]string]float64{
		{"vscode", "vscode"}: 1, {"cursor", "vscode"}: 2, {"zed", "ssh"}: 3, {"sftp", "sftp"}: 1, {"emacs", "unknown"}: 4, {"vim", "unknown"}: 1,
	} {
		want[userSeries("coderd_agentstats_session_count", "user0", "app_name", app[0], "family", app[1])] = open
	}
	want[userSeries(peersFamily, "user0", "template_name", "template0", "connection_type", "p2p")] = 2
	want[userSeries(peersFamily, "user0", "template_name", "template0", "connection_type", "derp")] = 1
	want[userSeries(peersFamily, "user1", "template_name", "template1", "connection_type", "p2p")] = 0
	want[userSeries(peersFamily, "user1", "template_name", "template1", "connection_type", "derp")] = 0
	want[userSeries("coderd_agents_connection_latencies_seconds", "user0", "derp_region", "Nuremberg", "preferred", "true")] = 0.25
	if diff := cmp.Diff(want, f.series(t, "")); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}

	// The newest values count.
	f.now = f.now.Add(30 * time.Second)
	f.note(t, nil, f.report(f.Agents[0][0]))
	got := f.scrape(t, agentPrefix)
	for series := range want {
		if strings.Contains(series, "user0") && got[series] != 0 {
			t.Errorf("%s is still %v", series, got[series])
		}
	}
	if _, shown := got[userSeries("coderd_agentstats_connection_median_latency_seconds", "user0")]; shown {
		t.Error("a latency that is not measured any more is shown")
	}
}

// TestAgentStatsBytes: bytes are those of the last full minute by the server's clock, whatever is sent again.
func TestAgentStatsBytes(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	rx := userSeries("coderd_agentstats_rx_bytes", "user0")
	at := func(seconds int) *insightsv1.AgentReport {
		f.now = storetest.Now.Add(time.Duration(seconds) * time.Second)
		r := f.report(f.Agents[0][0])
		r.RxBytes = int64(1000 + seconds)
		return r
	}
	first, second := at(0), at(30)
	f.note(t, nil, first, second)
	for _, step := range []struct {
		seconds int
		resend  []*insightsv1.AgentReport
		want    float64
	}{
		{seconds: 59, want: 0},
		{seconds: 60, want: 2030},
		{seconds: 61, resend: []*insightsv1.AgentReport{first, second}, want: 2030},
		{seconds: 119, want: 2030},
		{seconds: 120, want: 0},
		{seconds: 121, resend: []*insightsv1.AgentReport{second, at(121)}, want: 0},
		{seconds: 150, resend: []*insightsv1.AgentReport{at(150), second, at(140)}, want: 0},
		{seconds: 180, want: 2271},
		{seconds: 181, resend: []*insightsv1.AgentReport{at(181)}, want: 2271},
		{seconds: 300, want: 0},
	} {
		f.now = storetest.Now.Add(time.Duration(step.seconds) * time.Second)
		f.note(t, nil, step.resend...)
		if got, shown := f.series(t, agentPrefix)[rx]; !shown || got != step.want {
			t.Errorf("after %d s: %v bytes, %v; want %v", step.seconds, got, shown, step.want)
		}
	}
	huge := at(301)
	huge.RxBytes = math.MaxInt64
	again := at(302)
	again.RxBytes = math.MaxInt64
	f.note(t, nil, huge, again)
	f.now = storetest.Now.Add(360 * time.Second)
	if got := f.scrape(t, agentPrefix)[rx]; got < math.MaxInt64 {
		t.Errorf("as many bytes as fit, twice: %v", got)
	}
}

func TestAgentStatsAggregation(t *testing.T) {
	t.Parallel()
	catalog := storetest.NewFixture(t, storetest.SQLite(t))
	const sessions, latency, scripts = "coderd_agentstats_session_count_ssh", "coderd_agentstats_connection_median_latency_seconds",
		"agent_scripts_executed_total"
	type labels = map[string]string
	success := func(l labels) labels {
		l = maps.Clone(l)
		l["success"] = "true"
		return l
	}
	for name, c := range map[string]struct {
		by       []string
		sessions map[string]float64 // by the value of the only label, or as it comes
		labels   func(key string) labels
		latency  map[string]float64
	}{
		"none": {
			[]string{"none"}, map[string]float64{"": 63}, func(string) labels { return labels{} }, map[string]float64{"": 0.035},
		},
		"template_name": {
			[]string{"template_name"}, map[string]float64{"template0": 7, "template1": 56},
			func(key string) labels { return labels{"template_name": key} }, map[string]float64{"template0": 0.02, "template1": 0.05},
		},
		"username": {
			[]string{"username"}, map[string]float64{"user0": 9, "user1": 18, "user2": 36},
			func(key string) labels { return labels{"username": key} }, map[string]float64{"user0": 0.025, "user1": 0.035, "user2": 0.045},
		},
		"workspace_name and agent_name": {
			[]string{"workspace_name", "agent_name"}, map[string]float64{"": 63},
			func(string) labels { return labels{"workspace_name": "w", "agent_name": "main"} }, map[string]float64{"": 0.035},
		},
		"all, the template is not among the labels": {
			nil, map[string]float64{"user0": 9, "user1": 18, "user2": 36},
			func(key string) labels { return labels{"agent_name": "main", "workspace_name": "w", "username": key} },
			map[string]float64{"user0": 0.025, "user1": 0.035, "user2": 0.045},
		},
		"all by name": {
			[]string{"username", "agent_name", "template_name", "workspace_name"}, map[string]float64{"user0": 9, "user1": 18, "user2": 36},
			func(key string) labels { return labels{"agent_name": "main", "workspace_name": "w", "username": key} },
			map[string]float64{"user0": 0.025, "user1": 0.035, "user2": 0.045},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := func(key string) labels {
				l := c.labels(key)
				if name != "none" { // the organization stands beside all that is kept
					l["organization_name"] = "acme"
				}
				return l
			}
			f := agentStatsOf(catalog, c.by...)
			for i, agents := range f.Agents {
				for j, agent := range agents {
					n := i*3 + j // 0 to 5
					r := f.report(agent)
					r.SessionCountSsh, r.ConnectionMedianLatencyMs = 1<<n, float64(10*(n+1))
					r.Metrics = []*insightsv1.Metric{
						{Name: scripts, Type: "counter", Value: 1, Labels: labels{"success": "true"}},
						{Name: "agent_load", Type: "gauge", Value: 2, Labels: labels{"core": "0"}},
						{Name: "agent_load", Type: "gauge", Value: 3, Labels: labels{"core": "1"}},
					}
					f.note(t, nil, r)
				}
			}
			want := map[string]float64{}
			for key, n := range c.sessions {
				want[wiretest.SeriesName(sessions, of(key))] = n
			}
			for key, seconds := range c.latency {
				want[wiretest.SeriesName(latency, of(key))] = seconds
			}
			if diff := cmp.Diff(want, f.series(t, sessions, latency)); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			// Forwarded families have the template as well, when all labels are shown, and keep their own labels.
			forwarded := f.series(t, scripts, "agent_load")
			total, cores := 0.0, map[string]float64{}
			for series, n := range forwarded {
				if strings.Contains(series, scripts) {
					total += n
				}
				for _, core := range []string{`core="0"`, `core="1"`} {
					if strings.Contains(series, core) {
						cores[core] += n
					}
				}
			}
			if total != 6 || cores[`core="0"`] != 12 || cores[`core="1"`] != 18 {
				t.Errorf("forwarded: %v", forwarded)
			}
			if len(c.by) == 1 {
				for key := range c.sessions {
					if _, ok := forwarded[wiretest.SeriesName(scripts, success(of(key)))]; !ok {
						t.Errorf("no scripts of %q: %v", key, forwarded)
					}
				}
			} else if len(c.by) != 2 && forwarded[userSeries(scripts, "user1", "template_name", "template1", "success", "true")] != 1 {
				t.Errorf("no scripts of an agent: %v", forwarded)
			}
		})
	}
	for by, want := range map[string]bool{
		"": true, "none": true, "username,template_name": true, "none,username": false, "organization_name": false, "agent_name,x": false,
	} {
		if err := checkAggregation(strings.FieldsFunc(by, func(r rune) bool { return r == ',' })); (err == nil) != want {
			t.Errorf("aggregate by %q: %v", by, err)
		}
	}
}

// TestAgentStatsLeave: who left is not shown, and who comes back is.
func TestAgentStatsLeave(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	agent := f.Agents[0][0]
	connections := userSeries("coderd_agentstats_connection_count", "user0")
	shown := func(doing string, want bool) {
		t.Helper()
		if _, got := f.scrape(t, agentPrefix)[connections]; got != want {
			t.Errorf("%s: shown %v, want %v", doing, got, want)
		}
		if _, got := f.series(t, agentPrefix)[connections]; got != want {
			t.Errorf("%s, after a refresh: shown %v, want %v", doing, got, want)
		}
	}
	first, second := &agentStream{}, &agentStream{}
	f.note(t, first, f.report(agent))
	f.series(t)
	shown("a report came", true)
	f.stats.leave(agent, second)
	shown("another stream was closed", true)
	f.stats.leave(agent, first)
	shown("its stream was closed", false)
	f.note(t, second, f.report(agent))
	shown("it is back with a repeat", true)
	f.stats.leave(agent, first)
	shown("the old stream was closed late", true)
	f.stats.leave(uuid.New(), second)

	f.now = f.now.Add(2*time.Minute - 1)
	shown("two intervals and almost a minute later", true)
	f.now = f.now.Add(1)
	shown("two intervals and a minute later", false)
	if len(f.stats.agents) > 0 || len(f.stats.named) > 0 {
		t.Errorf("it is not forgotten: %v, %v", f.stats.agents, f.stats.named)
	}
	slow := f.report(agent)
	slow.Interval = durationpb.New(10 * time.Minute)
	f.note(t, nil, slow)
	f.now = f.now.Add(21*time.Minute - 1)
	f.series(t)
	shown("an agent with a long interval", true)
	f.now = f.now.Add(1)
	shown("two long intervals and a minute later", false)

	late := f.report(agent)
	late.CollectedAt = timestamppb.New(f.now.Add(-11 * time.Minute))
	f.note(t, nil, late)
	f.series(t)
	shown("a report of the past", false)

	f.note(t, nil, f.report(agent))
	f.series(t)
	shown("a report before the workspace is deleted", true)
	f.apply(t, store.Catalog{Deleted: store.Deleted{Workspaces: []uuid.UUID{f.Workspaces[0][0]}}})
	f.series(t)
	shown("the workspace is deleted", false)
	f.now = f.now.Add(time.Second)
	f.note(t, nil, f.report(agent))
	f.series(t)
	shown("a report of a deleted workspace", false)
}

func (f *agentStatsFixture) apply(t *testing.T, c store.Catalog) {
	t.Helper()
	everywhere := store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true}
	if refusals, err := f.ApplyCatalog(t.Context(), c, everywhere); err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
}

// TestAgentStatsNames: labels are the names of the catalog now, and what has the same names is one series.
func TestAgentStatsNames(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	other := uuid.New()
	twin, workspace, namesake := uuid.New(), uuid.New(), uuid.New()
	f.apply(t, store.Catalog{
		Organizations: []store.Organization{{ID: other, Name: "other"}},
		Templates:     []store.Template{{ID: namesake, OrganizationID: other, Name: "template0"}},
		Workspaces:    []store.Workspace{{ID: workspace, OwnerID: f.Users[0], TemplateID: namesake, Name: "w"}},
		Agents: []store.Agent{
			{ID: twin, WorkspaceID: f.Workspaces[0][0], Name: "main"}, {ID: namesake, WorkspaceID: workspace, Name: "main"},
		},
	})
	for _, agent := range []uuid.UUID{f.Agents[0][0], twin, namesake} {
		r := f.report(agent)
		r.PeersP2P, r.ConnectionMedianLatencyMs = 2, 10
		r.Metrics = []*insightsv1.Metric{{Name: "agent_x", Type: "gauge", Value: 1}}
		f.note(t, nil, r)
	}
	got := f.series(t, "")
	for organization, agents := range map[string]float64{"acme": 2, "other": 1} {
		of := func(family string, labels ...string) float64 {
			return got[userSeries(family, "user0", append(labels, "organization_name", organization)...)]
		}
		if of(peersFamily, "template_name", "template0", "connection_type", "p2p") != 2*agents ||
			of("coderd_agentstats_connection_median_latency_seconds") != 0.01 || of("agent_x", "template_name", "template0") != agents {
			t.Errorf("namesakes of %s: %v", organization, got)
		}
	}
	f.apply(t, store.Catalog{
		Templates: []store.Template{{ID: f.Templates[0], OrganizationID: f.Organization, Name: "renamed"}},
		Users: []store.User{
			{ID: f.Users[0], Username: "married", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization}},
		},
		Workspaces: []store.Workspace{{ID: f.Workspaces[0][0], OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: "moved"}},
	})
	if diff := cmp.Diff(got, f.scrape(t, "")); diff != "" {
		t.Errorf("before names are read (-want +got):\n%s", diff)
	}
	want := map[string]float64{}
	for series, value := range got {
		series = strings.ReplaceAll(series, `"user0"`, `"married"`)
		if strings.Contains(series, `"acme"`) {
			series = strings.ReplaceAll(strings.ReplaceAll(series, `"w"`, `"moved"`), `"template0"`, `"renamed"`)
		}
		want[series] = value
	}
	if diff := cmp.Diff(want, f.series(t, "")); diff != "" {
		t.Errorf("after names are read (-want +got):\n%s", diff)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.stats.refresh(t.Context()); err == nil {
		t.Error("names came from a database that is closed")
	}
	if diff := cmp.Diff(want, f.scrape(t, "")); diff != "" {
		t.Errorf("without a database (-want +got):\n%s", diff)
	}
}

// BenchmarkAgentStats compares what noting a report costs with what is noted of it for the database.
func BenchmarkAgentStats(b *testing.B) {
	const agents = 100_000
	ids := make([]uuid.UUID, agents)
	for i := range ids {
		ids[i] = uuid.New()
	}
	series := make([]*insightsv1.Metric, 20)
	for i := range series {
		series[i] = wiretest.Metric(fmt.Sprintf("agent_x_%d", i), "gauge", 1, "core", "0", "state", "idle")
	}
	m := newMetrics(prometheus.NewRegistry())
	for name, forwarded := range map[string][]*insightsv1.Metric{"plain": nil, "20 series": series} {
		var seen agentsSeen
		now := storetest.Now
		stats := newAgentStats(Options{
			Clock: func() time.Time { return now }, ReportInterval: 30 * time.Second, UsageStats: true,
			ControlPlane: exposition.NewControlPlane(),
		}, m)
		for what, note := range map[string]func(*agentReport){
			"seen": func(r *agentReport) { seen.note(*r, 1) }, "stats": func(r *agentReport) { stats.note(r, nil) },
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for i := range agents { // all agents are known
					note(&agentReport{
						agent: ids[i], collected: now, sessions: map[string]int64{"vscode": 1, "ssh": 2}, connections: 3, latency: 10,
						rxBytes: 1000, metrics: forwarded,
					})
				}
				r := agentReport{
					sessions: map[string]int64{"vscode": 1, "ssh": 2}, connections: 3, latency: 10, rxBytes: 1000, metrics: forwarded,
				}
				i := 0
				for b.Loop() {
					if i++; i%agents == 0 {
						now = now.Add(30 * time.Second)
					}
					r.agent, r.collected = ids[i%agents], now.Add(time.Duration(i))
					note(&r)
				}
			})
		}
	}
}
