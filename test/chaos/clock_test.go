package chaos

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// startAt runs a server in this process whose clock stands still.
func startAt(t *testing.T, database string, now time.Time) *servertest.Server {
	t.Helper()
	return servertest.Run(t, database, now, func(o *server.Options) { o.IngestMaxAge = 24 * time.Hour })
}

// Clocks of agents are wrong in every way, and those of two replicas differ by four seconds. What lies within the limits counts
// in the minute that the agent says, to the nanosecond at each edge; the rest is rejected for good, with a reason, and nothing
// else is lost for it.
func TestClocks(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		f := storetest.NewFixture(t, database)
		now, agent := storetest.Now, f.Agents[0][0]
		secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: agent}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(
			metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secrets[0].Reveal()), time.Minute,
		)
		defer cancel()
		const ahead, age, skew = 5 * time.Minute, 24 * time.Hour, 2 * time.Second
		table := []struct {
			name string
			at   time.Time
			ok   bool
		}{
			{"now", now, true},
			{"a minute ago", now.Add(-time.Minute), true},
			{"an hour ago", now.Add(-time.Hour), true},
			{"a minute ahead", now.Add(time.Minute), true},
			{"an hour ahead", now.Add(time.Hour), false},
			{"a day ahead", now.Add(24 * time.Hour), false},
			{"too old by 1 ns", now.Add(-age - 1), false},
			{"just old enough", now.Add(-age), true},
			{"1 ns younger", now.Add(-age + 1), true},
			{"1 ns before the limit", now.Add(ahead - 1), true},
			{"at the limit", now.Add(ahead), true},
			{"ahead by 1 ns", now.Add(ahead + 1), false},
			{"the last ns of a day", now.Truncate(24 * time.Hour).Add(-1), true},
			{"the first of the next", now.Truncate(24 * time.Hour), true},
			{"the epoch", time.Unix(0, 0), false},
			{"before it", time.Unix(-1, 0), false},
			{"the year 9999", time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), false},
			{"the year 1", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), false},
		}
		minutes := map[int64]struct{}{}
		for i, offset := range []time.Duration{-skew, skew} { // of the replicas
			conn := dial(t, startAt(t, database, now.Add(offset)).GRPCAddress())
			defer conn.Close()
			var request insightsv1.ReportStatsRequest
			for _, c := range table {
				request.Reports = append(request.Reports, &insightsv1.AgentReport{
					AgentId: agent.String(), CollectedAt: timestamppb.New(c.at.Add(offset)), ConnectionCount: 1,
					SessionCounts: map[string]int64{"vscode": 1},
				})
				if c.ok {
					minutes[c.at.Add(offset).Unix()/60] = struct{}{}
				}
			}
			answer, err := insightsv1.NewIngestServiceClient(conn).ReportStats(ctx, &request)
			if err != nil {
				t.Fatal(err)
			}
			refused := map[uint32]*insightsv1.Rejection{}
			for _, r := range answer.GetRejected() {
				refused[r.GetIndex()] = r
			}
			for j, c := range table {
				if r := refused[uint32(j)]; (r == nil) != c.ok || r != nil && (!r.GetPermanent() || r.GetReason() == "") {
					t.Errorf("replica %d, %s: %v, want taken: %v", i, c.name, r, c.ok)
				}
			}
		}
		users, _, err := f.UserActivity(
			t.Context(), f.Everything, minute.People, minute.NewWindow(now.Truncate(24*time.Hour).AddDate(0, 0, -1), now.Add(24*time.Hour)),
		)
		if err != nil || len(users) != 1 {
			t.Fatal(users, err)
		}
		if users[0].Minutes != int64(len(minutes)) {
			t.Errorf("%d minutes count, want %d", users[0].Minutes, len(minutes))
		}
	})
}
