package server_test

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// forwardable are the families of the page that agents feed.
var forwardable = []string{"coderd_agentstats_startup_script_seconds", "agent_scripts_executed_total"}

// TestForwardedReserved: no name of the page itself can be forwarded.
func TestForwardedReserved(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	s := run(t, f.Database, storetest.Now, func(c *server.Options) { c.CollectAgentStats = true })
	contentType, body := s.Scrape(t, "text/plain")
	_, types := wiretest.ParseMetrics(t, contentType, body)
	if len(types) < 60 {
		t.Fatalf("%d families", len(types))
	}
	known := map[string]bool{} // that agents may forward, by their contract
	for _, name := range forwardable {
		known[name] = true
	}
	controlPlane, agent, sequence := s.Token(t, access.RoleControlPlane, servertest.Everywhere), f.Agents[0][0].String(), uint64(0)
	want := 0.0
	for name := range types {
		if known[name] {
			continue
		}
		r := wiretest.SessionAt(agent, sequence, storetest.Now.Add(time.Duration(sequence)*time.Second-5*time.Minute))
		for _, forwarded := range slices.Compact(
			slices.Sorted(slices.Values([]string{name, strings.TrimSuffix(name, "_total"), name + "_total"})),
		) {
			r.Metrics = append(r.Metrics, wiretest.Metric(forwarded, "gauge", 1))
			want++
		}
		s.ReportStats(t, controlPlane, []*insightsv1.AgentReport{r})
		sequence++
	}
	contentType, body = s.Scrape(t, "text/plain")
	samples, _ := wiretest.ParseMetrics(t, contentType, body)
	if got := samples[wiretest.SeriesName("insights_agent_series_dropped_total", map[string]string{"reason": "reserved"})]; got != want {
		t.Errorf("%v of %v names are reserved", got, want)
	}
}

// TestAgentStatsServer: what agents report is shown while they are connected, if it shall be.
func TestAgentStatsServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		collect, usage bool
		want           []string
	}{
		"off":                    {usage: true},
		"on":                     {collect: true, usage: true, want: []string{"agent_x", "coderd_agentstats_session_count_vscode"}},
		"on, usage is not taken": {collect: true, want: []string{"agent_x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, storetest.SQLite(t))
			s := run(t, f.Database, storetest.Now, func(config *server.Options) {
				config.CollectAgentStats, config.UsageStats = c.collect, c.usage
			})
			families := func() []string {
				t.Helper()
				if err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				contentType, body := s.Scrape(t, "text/plain")
				_, types := wiretest.ParseMetrics(t, contentType, body)
				maps.DeleteFunc(types, func(name string, _ model.MetricType) bool {
					return name != "agent_x" && name != "coderd_agentstats_session_count_vscode"
				})
				return slices.Sorted(maps.Keys(types))
			}
			agent := f.Agents[0][0].String()
			stream := agentStreamOf(t, &company{running: s}, agent)
			r := wiretest.SessionAt(agent, 1, storetest.Now)
			r.Metrics = []*insightsv1.Metric{wiretest.Metric("agent_x", "gauge", 1), wiretest.Metric("agent-x", "gauge", 1)}
			sendReports(t, stream, r)
			if rejected := settled(t, stream, 1); len(rejected) > 0 {
				t.Fatal(rejected)
			}
			if got := families(); !slices.Equal(got, c.want) {
				t.Errorf("while the stream is open: %v, want %v", got, c.want)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if got := families(); len(got) > 0 {
				t.Errorf("after it is closed: %v", got)
			}
			controlPlane := s.Token(t, access.RoleControlPlane, servertest.Everywhere)
			s.ReportStats(t, controlPlane, []*insightsv1.AgentReport{r})
			if got := families(); !slices.Equal(got, c.want) {
				t.Errorf("after a report of the control plane: %v, want %v", got, c.want)
			}
		})
	}
}
