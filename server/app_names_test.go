package server

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

func TestNewNamesOfAnAgent(t *testing.T) {
	t.Parallel()
	now := storetest.Now.Truncate(24 * time.Hour)
	n := newAppNames(nil, func() time.Time { return now })
	template, first, second := uuid.New(), uuid.New(), uuid.New()
	admit := func(agent uuid.UUID, name string, want bool) {
		t.Helper()
		if got := n.admit(template, agent, name); got != want {
			t.Errorf("%s at %v: admitted: %t, want %t", name, now, got, want)
		}
	}
	for i := range maxNewNames {
		admit(first, fmt.Sprint("name", i), true)
	}
	admit(first, "one more", false)
	admit(first, "name0", true)     // known already
	admit(second, "one more", true) // of another agent
	admit(first, "one more", true)  // and known now
	now = now.Add(59 * time.Second)
	admit(first, "late", false)
	now = now.Add(time.Second)
	admit(first, "late", true)
}

func TestNamesOfATemplate(t *testing.T) {
	t.Parallel()
	now := storetest.Now.Truncate(24 * time.Hour)
	n := newAppNames(nil, func() time.Time { return now })
	template := uuid.New()
	for i := range maxAppNames {
		if !n.admit(template, uuid.Nil, fmt.Sprint("port", i)) {
			t.Fatalf("name %d is one too many", i)
		}
	}
	if n.admit(template, uuid.Nil, "one more") || n.admit(template, uuid.New(), "one more") {
		t.Error("one name too many")
	}
	if !n.admit(template, uuid.New(), "port0") || !n.admit(uuid.New(), uuid.Nil, "one more") {
		t.Error("a known name, or one of another template, is refused")
	}
	p := store.Placement{Template: template, Agent: uuid.New()}
	if got := fmt.Sprint(n.sessions(p, []string{"a", "b", "jetbrains", "port1", "ssh", "unknown"})); got != "[jetbrains port1 ssh unknown]" {
		t.Errorf("sessions beyond the bound: %s", got)
	}
	now = now.Add(24*time.Hour - time.Second)
	if n.admit(template, uuid.Nil, "one more") {
		t.Error("one name too many at the end of the day")
	}
	now = now.Add(time.Second)
	if !n.admit(template, uuid.Nil, "one more") || len(n.templates) != 1 {
		t.Error("another day does not begin anew")
	}
}

// Whatever agents and visitors make up, the rows have few names, and every minute counts.
func TestFloodOfNames(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	controlPlane := r.token(t, access.RoleControlPlane, everywhere)
	r.apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{Apps: []*insightsv1.App{{AgentId: f.Agents[0][0].String(), Slug: "wiki"}}})
	const flood = maxAppNames + 100
	begin := storetest.Now.Truncate(24 * time.Hour)
	var reports []*insightsv1.AgentReport
	var sessions []*insightsv1.AppSession
	for i := range flood {
		reports = append(reports, &insightsv1.AgentReport{
			AgentId: f.Agents[1][1].String(), CollectedAt: timestamppb.New(begin.Add(time.Duration(i) * time.Minute)), ConnectionCount: 1, SessionCounts: map[string]int64{fmt.Sprintf("editor %03d", i): 1},
		})
		sessions = append(sessions, &insightsv1.AppSession{
			AgentId: f.Agents[0][0].String(), UserId: f.Users[0].String(), AccessMethod: "subdomain", SlugOrPort: fmt.Sprint(1024 + i),
			StartedAt: timestamppb.New(begin.Add(time.Duration(i) * time.Minute)), EndedAt: timestamppb.New(begin.Add(time.Duration(i+1) * time.Minute)),
		})
	}
	sessions = append(sessions, &insightsv1.AppSession{
		AgentId: f.Agents[0][0].String(), UserId: f.Users[0].String(), AccessMethod: "path", SlugOrPort: "wiki", StartedAt: timestamppb.New(begin), EndedAt: timestamppb.New(begin.Add(time.Minute)),
	})
	for range 2 { // a repeat changes nothing
		r.reportStats(t, controlPlane, reports)
		r.reportSessions(t, controlPlane, sessions)
	}
	users, _, err := f.UserActivity(t.Context(), f.Everything, minute.NewWindow(begin, begin.Add(24*time.Hour)))
	if err != nil || len(users) != 2 || users[0].Minutes != flood || users[1].Minutes != flood {
		t.Errorf("users: %+v, %v; want two with %d minutes each", users, err, flood)
	}
	db, err := sql.Open("sqlite", strings.TrimPrefix(f.Database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for kind, want := range map[minute.Kind]int{minute.Session: maxNewNames + 1, minute.App: maxAppNames + 2} {
		var names, known int
		if err := db.QueryRowContext(t.Context(), `SELECT count(DISTINCT app), count(DISTINCT CASE WHEN app IN ('unknown', '[other]', 'wiki') THEN app END) FROM usage_open WHERE kind = ?`, kind).Scan(&names, &known); err != nil {
			t.Fatal(err)
		}
		if names != want || known != want-[]int{maxNewNames, maxAppNames}[kind] {
			t.Errorf("kind %d has %d names of apps, %d of them not made up; want %d", kind, names, known, want)
		}
	}
}
