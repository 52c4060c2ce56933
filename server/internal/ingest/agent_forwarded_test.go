package ingest

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/storetest"
)

// TestForwarded: what can be shown is, and what cannot is counted and harms nothing.
func TestForwarded(t *testing.T) {
	t.Parallel()
	catalog := storetest.NewFixture(t, storetest.SQLite(t))
	long := strings.Repeat("l", 129)
	many := wiretest.Metric("agent_x", "gauge", 1)
	for i := range 33 {
		many.Labels[fmt.Sprintf("l%d", i)] = "x"
	}
	for name, c := range map[string]struct {
		before, metrics []*insightsv1.Metric
		want            map[string]float64 // without the labels of the agent
		dropped         forwardedCause
	}{
		"gauge": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", -1.5, "b", "2", "a", `q"\`)},
			want:    map[string]float64{`agent_x b=2 a=q"\`: -1.5},
		},
		"counter": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 3)}, want: map[string]float64{"agent_x_total": 3},
		},
		"empty label": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "a", "", "b", "x")},
			want:    map[string]float64{"agent_x b=x": 1},
		},
		"the newer counts": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1), wiretest.Metric("agent_y", "gauge", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 2)}, want: map[string]float64{"agent_x": 2},
		},
		"no new ones": {before: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1)}, want: map[string]float64{"agent_x": 1}},
		"twice in one": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1), wiretest.Metric("agent_x", "gauge", 2)},
			want:    map[string]float64{"agent_x": 2},
		},
		"startup script": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coderd_agentstats_startup_script_seconds", "gauge", 4, "success", "true")},
			want:    map[string]float64{"coderd_agentstats_startup_script_seconds success=true": 4},
		},
		"scripts": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_scripts_executed_total", "counter", 4, "success", "false")},
			want:    map[string]float64{"agent_scripts_executed_total success=false": 4},
		},
		"peers": {
			metrics: []*insightsv1.Metric{
				wiretest.Metric(peersFamily, "gauge", 4, "connection_type", "derp"),
				wiretest.Metric(peersFamily, "gauge", 3, "connection_type", "p2p"),
			},
			want: map[string]float64{peersFamily + " connection_type=derp": 4, peersFamily + " connection_type=p2p": 3},
		},
		"peers of another kind": {
			metrics: []*insightsv1.Metric{wiretest.Metric(peersFamily, "gauge", 4, "connection_type", "tube")}, dropped: forwardedReserved,
		},
		"negative peers": {
			metrics: []*insightsv1.Metric{wiretest.Metric(peersFamily, "gauge", -1, "connection_type", "derp")}, dropped: forwardedReserved,
		},
		"no name":  {metrics: []*insightsv1.Metric{wiretest.Metric("", "gauge", 1)}, dropped: forwardedInvalid},
		"bad name": {metrics: []*insightsv1.Metric{wiretest.Metric("agent-x", "gauge", 1)}, dropped: forwardedInvalid},
		"evil name": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x 1\nagent_y", "gauge", 1)}, dropped: forwardedInvalid,
		},
		"UTF-8 name": {metrics: []*insightsv1.Metric{wiretest.Metric("agent_ü", "gauge", 1)}, dropped: forwardedInvalid},
		"long name":  {metrics: []*insightsv1.Metric{wiretest.Metric(long, "gauge", 1)}, dropped: forwardedInvalid},
		"no type":    {metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "", 1)}, dropped: forwardedInvalid},
		"histogram":  {metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "histogram", 1)}, dropped: forwardedInvalid},
		"no number": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", math.NaN())}, dropped: forwardedInvalid,
		},
		"infinite": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", math.Inf(-1))}, dropped: forwardedInvalid,
		},
		"negative counter": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", -1)}, dropped: forwardedInvalid,
		},
		"bad label": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "a-b", "x")}, dropped: forwardedInvalid,
		},
		"label without a name": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "", "x")}, dropped: forwardedInvalid,
		},
		"control character": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "a", "x\ny")}, dropped: forwardedInvalid,
		},
		"long label": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "a", long)}, dropped: forwardedInvalid,
		},
		"many labels": {metrics: []*insightsv1.Metric{many}, dropped: forwardedInvalid},
		"label of the agent": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "username", "root")}, dropped: forwardedReserved,
		},
		"label of Prometheus": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "__name__", "x")}, dropped: forwardedReserved,
		},
		"startup without success": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coderd_agentstats_startup_script_seconds", "gauge", 4)},
			dropped: forwardedInvalid,
		},
		"startup with more": {metrics: []*insightsv1.Metric{
			wiretest.Metric("coderd_agentstats_startup_script_seconds", "gauge", 4, "success", "true", "a", "b"),
		}, dropped: forwardedInvalid},
		"startup as a counter": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coderd_agentstats_startup_script_seconds", "counter", 4, "success", "true")},
			dropped: forwardedConflict,
		},
		"scripts as a gauge": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_scripts_executed", "gauge", 4, "success", "true")},
			dropped: forwardedConflict,
		},
		"our family": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coderd_agentstats_rx_bytes", "gauge", 1)}, dropped: forwardedReserved,
		},
		"our prefix": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coderd_agentstats_new", "gauge", 1)}, dropped: forwardedReserved,
		},
		"our own": {
			metrics: []*insightsv1.Metric{wiretest.Metric("insights_ingest_reports_total", "counter", 1)}, dropped: forwardedReserved,
		},
		"of Go": {
			metrics: []*insightsv1.Metric{wiretest.Metric("go_goroutines", "gauge", 1)}, dropped: forwardedReserved,
		},
		"of Prometheus": {metrics: []*insightsv1.Metric{wiretest.Metric("up", "gauge", 1)}, dropped: forwardedReserved},
		"another type": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "counter", 1)}, dropped: forwardedConflict,
		},
		"another type by suffix": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1)}, dropped: forwardedConflict,
		},
		"another type by name": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_total", "gauge", 1)}, dropped: forwardedConflict,
		},
		"nothing but a suffix": {
			metrics: []*insightsv1.Metric{wiretest.Metric("_total", "counter", 1)}, dropped: forwardedInvalid,
		},
		"of the control plane": {
			metrics: []*insightsv1.Metric{wiretest.Metric("coder_pubsub_connected", "gauge", 1)}, dropped: forwardedReserved,
		},
		"of an operator's list": {
			metrics: []*insightsv1.Metric{wiretest.Metric("acme_queue", "gauge", 1)}, dropped: forwardedReserved,
		},
		"of Prometheus without a suffix": {
			metrics: []*insightsv1.Metric{wiretest.Metric("up_total", "counter", 1)}, dropped: forwardedReserved,
		},
		"when another began": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_created", "gauge", 1)}, dropped: forwardedConflict,
		},
		"a counter that began as another is called": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x_created", "gauge", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 1)}, dropped: forwardedConflict,
		},
		"a counter that another one's name ends": {
			before:  []*insightsv1.Metric{wiretest.Metric("agent_x_total", "counter", 1)},
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x_created_total", "counter", 1)}, dropped: forwardedConflict,
		},
		"suffixes of families that are not there": {
			metrics: []*insightsv1.Metric{
				wiretest.Metric("agent_x", "gauge", 1), wiretest.Metric("agent_x_count", "gauge", 2), wiretest.Metric("agent_x_info", "gauge", 3),
				wiretest.Metric("agent_x_bucket", "gauge", 4), wiretest.Metric("agent_x_created", "gauge", 5),
			},
			want: map[string]float64{
				"agent_x": 1, "agent_x_count": 2, "agent_x_info": 3, "agent_x_bucket": 4, "agent_x_created": 5,
			},
		},
		"same name, other labels": {
			metrics: []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1, "n", "1"), wiretest.Metric("agent_x", "gauge", 2)},
			want:    map[string]float64{"agent_x": 2, "agent_x n=1": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := agentStatsOf(catalog)
			f.options.ControlPlane.Extend([]*exposition.Family{{Name: "acme_queue_total", Kind: exposition.CounterFamily}})
			agent := f.Agents[0][0]
			if c.before != nil {
				r := f.report(agent)
				r.Metrics = c.before
				f.note(t, nil, r)
				f.now = f.now.Add(time.Second)
			}
			r := f.report(agent)
			r.ConnectionCount, r.Metrics = 3, c.metrics
			f.note(t, nil, r)
			want := map[string]float64{userSeries("coderd_agentstats_connection_count", "user0"): 3}
			for series, value := range c.want {
				fields := strings.Fields(series)
				labels := []string{"template_name", "template0"}
				for _, field := range fields[1:] {
					name, value, _ := strings.Cut(field, "=")
					labels = append(labels, name, value)
				}
				want[userSeries(fields[0], "user0", labels...)] = value
			}
			got := f.series(t, "")
			maps.DeleteFunc(got, func(series string, value float64) bool {
				return strings.Contains(series, `"coderd_agentstats_`) && value == 0 // what the report does not say
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			for _, cause := range forwardedCauses {
				want := 0.0
				if cause == c.dropped {
					want = 1
				}
				if got := counterValue(t, f.registry, "insights_agent_series_dropped_total", "reason", string(cause)); got != want {
					t.Errorf("%v series are %s, want %v", got, cause, want)
				}
			}
		})
	}
}

func counterValue(t *testing.T, registry *prometheus.Registry, name, label, value string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetName() == label && m.GetLabel()[0].GetValue() == value {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("%s has no %s=%q", name, label, value)
	return 0
}

// TestForwardedLimits: an agent, and all agents together, cannot fill the memory.
func TestForwardedLimits(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	for i, agents := range f.Agents {
		for j, agent := range agents {
			r := f.report(agent)
			for k := range 110 {
				r.Metrics = append(r.Metrics, wiretest.Metric(fmt.Sprintf("agent_x_%d_%d_%d", i, j, k), "gauge", 1))
			}
			f.note(t, nil, r)
		}
	}
	shown := maxForwardedFamilies - len(knownForwarded)
	if got := len(f.series(t, "agent_x")); got != shown {
		t.Errorf("%d families are shown, want %d", got, shown)
	}
	if got := counterValue(t, f.registry, "insights_agent_series_dropped_total", "reason", "limit"); got != float64(6*110-shown) {
		t.Errorf("%v series are beyond the limits, want %d", got, 6*110-shown)
	}
	f.now = f.now.Add(2 * time.Minute)
	f.series(t)
	if got := len(f.stats.Families()); got != len(agentGauges)+len(knownForwarded) {
		t.Errorf("%d families after all agents left", got)
	}
	r := f.report(f.Agents[0][0])
	r.Metrics = []*insightsv1.Metric{wiretest.Metric("agent_x_0_0_0_total", "counter", 1)}
	f.note(t, nil, r)
	if got := f.series(t, "agent_x"); len(got) != 1 {
		t.Errorf("a name that was free again: %v", got)
	}
}

// TestForwardedGivesWay: a name that the control plane gets is not an agent's any more, and free again when it is given back.
func TestForwardedGivesWay(t *testing.T) {
	t.Parallel()
	f := newAgentStatsFixture(t)
	shows := func() bool {
		f.now = f.now.Add(time.Second)
		r := f.report(f.Agents[0][0])
		r.Metrics = []*insightsv1.Metric{wiretest.Metric("acme_queue", "gauge", 1)}
		f.note(t, nil, r)
		return len(f.series(t, "acme_queue")) == 1
	}
	queue := []*exposition.Family{{Name: "acme_queue_total", Kind: exposition.CounterFamily}}
	for i, step := range []struct {
		further []*exposition.Family
		want    bool
	}{{nil, true}, {queue, false}, {nil, true}} {
		f.options.ControlPlane.Extend(step.further)
		if err := f.stats.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := shows(); got != step.want {
			t.Errorf("step %d: the agent's family is shown: %t", i, got)
		}
	}
}
