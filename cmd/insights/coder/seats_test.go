package coder

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/storetest"
)

// What Coder knows of workspaces and latencies comes along: reports are of their workspace if it is here, and the median of a half hour
// stands in each of its minutes.
func TestImportSeatsAndMedians(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "names", 2)
	to := storetest.Open(t, storetest.SQLite(t), time.Now())
	user, elsewhere := uuid.New(), uuid.New()
	w.exec(t, `INSERT INTO users (id, username) VALUES ($1, 'late')`, user)
	old := w.begin.Add(-48 * time.Hour)
	w.exec(t, `INSERT INTO template_usage_stats (start_time, end_time, template_id, user_id, median_latency_ms, usage_mins)
		VALUES ($1, $2, $3, $4, 40, 7)`, old, old.Add(halfHour), w.templates[0], user)
	at := w.now.Add(-2 * time.Hour)
	for i, workspace := range []uuid.UUID{w.workspaces[0][0], elsewhere} {
		w.exec(t, `INSERT INTO workspace_agent_stats (created_at, user_id, template_id, workspace_id, connection_count,
			connection_median_latency_ms, session_counts) VALUES ($1, $2, $3, $4, 1, -1, '{"vscode": 1}')`,
			at.Add(time.Duration(i)*time.Minute), user, w.templates[0], workspace)
	}
	for range 2 { // the second time adds nothing
		runImport(t, w.url, to, Options{})
	}
	data, err := to.MyData(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	var workspaces []uuid.UUID
	minutes := int64(0)
	for _, u := range data.Usage {
		if u.App == "vscode" {
			workspaces, minutes = slices.Concat(workspaces, u.At), minutes+u.Minutes
		}
	}
	if minutes != 2 || !slices.Equal(slices.Compact(workspaces), []uuid.UUID{w.workspaces[0][0]}) {
		t.Errorf("%d minutes of vscode at %v, want 2 at %s and elsewhere", minutes, workspaces, w.workspaces[0][0])
	}
	if len(data.Latency) != 1 || data.Latency[0].Samples != 7 || data.Latency[0].P50 < 39 || data.Latency[0].P50 > 41 {
		t.Errorf("latencies %+v, want seven of 40 ms", data.Latency)
	}
}
