package coder

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// showAgents hands over what agents reported since the last time, for metrics alone. What was reported long ago is not the present.
func (i *Importer) showAgents(ctx context.Context) error {
	if i.show == nil {
		return nil
	}
	var reports []*insightsv1.AgentReport
	var until time.Time
	err := i.from.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if until, err = now(ctx, tx); err != nil {
			return err
		}
		reports, err = i.from.newestReports(ctx, tx, i.organization, window{
			from: later(i.shown, until.Add(-time.Minute)), to: until,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read the newest reports of agents: %w", err)
	}
	i.shown = until
	i.show(reports)
	return nil
}

// newestReports reads the newest report of each agent in a window, with the bytes of all of them.
func (d *Database) newestReports(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window) ([]*insightsv1.AgentReport, error) {
	sessions := `jsonb_build_object('vscode', session_count_vscode, 'jetbrains', session_count_jetbrains,
		'reconnecting_pty', session_count_reconnecting_pty, 'ssh', session_count_ssh)`
	if d.shape.SessionCounts {
		sessions = `session_counts`
	}
	return collect(ctx, tx, `SELECT DISTINCT ON (agent_id) agent_id, reports.created_at,
			CAST(SUM(rx_bytes) OVER of_agent AS bigint), CAST(SUM(tx_bytes) OVER of_agent AS bigint), connection_count,
			connection_median_latency_ms, `+sessions+`, lifecycle_state::text, EXTRACT(EPOCH FROM ready_at - started_at)::float8
		FROM workspace_agent_stats AS reports JOIN workspace_agents ON workspace_agents.id = agent_id
		WHERE reports.created_at > $2 AND reports.created_at <= $3`+inOrganization+`
		WINDOW of_agent AS (PARTITION BY agent_id) ORDER BY agent_id, reports.created_at DESC`, scanReport, organization, w.from, w.to)
}

func scanReport(row pgx.CollectableRow) (*insightsv1.AgentReport, error) {
	// Coder keeps the latencies to relays in memory, and nothing of which relay it was.
	r := &insightsv1.AgentReport{DerpRegion: "unknown"}
	var agent uuid.UUID
	var at time.Time
	var lifecycle string
	var started *float64 // how long it took to start; nil: it has not
	err := row.Scan(
		&agent, &at, &r.RxBytes, &r.TxBytes, &r.ConnectionCount, &r.ConnectionMedianLatencyMs, &r.SessionCounts, &lifecycle, &started,
	)
	r.AgentId, r.CollectedAt = agent.String(), timestamppb.New(at)
	r.ConnectionMedianLatencyMs = max(0, r.ConnectionMedianLatencyMs) // -1: not measured
	if started != nil {
		r.Metrics = []*insightsv1.Metric{{
			Name: "coderd_agentstats_startup_script_seconds", Type: "gauge", Value: *started,
			Labels: map[string]string{"success": fmt.Sprint(lifecycle != "start_error" && lifecycle != "start_timeout")},
		}}
	}
	return r, err
}
