package server_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/ingest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// Whatever agents and visitors make up, the rows have few names, and every minute counts.
func TestFloodOfNames(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	r.Apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{Apps: []*insightsv1.App{{AgentId: f.Agents[0][0].String(), Slug: "wiki"}}})
	const flood = ingest.MaxAppNames + 100
	begin := storetest.Now.Truncate(24 * time.Hour)
	var reports []*insightsv1.AgentReport
	var sessions []*insightsv1.AppSession
	for i := range flood {
		reports = append(reports, &insightsv1.AgentReport{
			AgentId: f.Agents[1][1].String(), CollectedAt: timestamppb.New(begin.Add(time.Duration(i) * time.Minute)), ConnectionCount: 1,
			SessionCounts: map[string]int64{fmt.Sprintf("editor %03d", i): 1},
		})
		sessions = append(sessions, &insightsv1.AppSession{
			AgentId: f.Agents[0][0].String(), UserId: f.Users[0].String(), AccessMethod: "subdomain", SlugOrPort: fmt.Sprint(1024 + i),
			StartedAt: timestamppb.New(begin.Add(time.Duration(i) * time.Minute)),
			EndedAt:   timestamppb.New(begin.Add(time.Duration(i+1) * time.Minute)),
		})
	}
	sessions = append(sessions, &insightsv1.AppSession{
		AgentId: f.Agents[0][0].String(), UserId: f.Users[0].String(), AccessMethod: "path", SlugOrPort: "wiki",
		StartedAt: timestamppb.New(begin), EndedAt: timestamppb.New(begin.Add(time.Minute)),
	})
	for range 2 { // a repeat changes nothing
		r.ReportStats(t, controlPlane, reports)
		r.ReportSessions(t, controlPlane, sessions)
	}
	users, _, err := f.UserActivity(t.Context(), f.Everything, minute.People, minute.NewWindow(begin, begin.Add(24*time.Hour)))
	if err != nil || len(users) != 2 || users[0].Minutes != flood || users[1].Minutes != flood {
		t.Errorf("users: %+v, %v; want two with %d minutes each", users, err, flood)
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(f.Database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for kind, want := range map[minute.Kind]int{minute.Session: ingest.MaxNewNames + 1, minute.App: ingest.MaxAppNames + 2} {
		var names, known int
		if err := db.QueryRowContext(
			t.Context(),
			`SELECT count(DISTINCT app), count(DISTINCT CASE WHEN app IN ('unknown', '[other]', 'wiki') THEN app END) FROM usage_rows
				WHERE kind = ?`,
			kind,
		).Scan(&names, &known); err != nil {
			t.Fatal(err)
		}
		if names != want || known != want-[]int{ingest.MaxNewNames, ingest.MaxAppNames}[kind] {
			t.Errorf("kind %d has %d names of apps, %d of them not made up; want %d", kind, names, known, want)
		}
	}
}
