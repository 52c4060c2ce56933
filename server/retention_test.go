package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// Servers say in their metrics what they are about to delete, delete it when that is confirmed, and nothing while the clock is in doubt.
func TestRetentionIsAnnounced(t *testing.T) {
	t.Parallel()
	for kind, open := range servertest.Databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			now := time.Now() // Postgres has the real time
			var rows []store.OpenRow
			for n := range int32(20) {
				row := f.Row(0, 0, 20, 0b11)
				row.HalfHour = (int32(now.Unix()/86400)-n)*minute.HalfHoursPerDay + 1
				rows = append(rows, row)
			}
			f.MustMerge(t, rows...)
			serve := func(now time.Time, retention time.Duration, confirm bool) *running {
				return run(t, f.Database, now, func(c *server.Options) { c.UsageRetention, c.ConfirmRetention = retention, confirm })
			}
			const day = 24 * time.Hour
			wait := func(r *running, lines ...string) {
				t.Helper()
				eventuallyWithin(t, time.Minute, strings.Join(lines, " and "), func() bool {
					_, page := r.Scrape(t, "text/plain")
					return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(page, "\n"+line+"\n") })
				})
			}
			kept := func(want int) {
				t.Helper()
				data, err := f.MyData(t.Context(), f.Users[0])
				if err != nil || len(data.Usage) != want {
					t.Errorf("%d half hours are left, want %d: %v", len(data.Usage), want, err)
				}
			}
			told := func(r *running, reason string) { // by the diagnosis
				t.Helper()
				today := now.UTC().Truncate(day)
				answer := servertest.Must(
					t, insightsv1.NewInsightsServiceClient(r.Conn).GetDiagnosis, r.Token(t, access.RoleOwner, servertest.Everywhere),
					&insightsv1.GetDiagnosisRequest{
						StartTime: today.Add(-day).Format(time.RFC3339), EndTime: today.Format(time.RFC3339),
					},
				)
				if !slices.ContainsFunc(answer.GetFindings(), func(f *insightsv1.Finding) bool { return f.GetReason() == reason }) {
					t.Errorf("no %s among %v", reason, answer.GetFindings())
				}
			}
			kept(20)
			careful := serve(now, 5*day, false)
			wait(
				careful, `insights_retention_announced_seconds{kind="usage"} 1.2096e+06`,
				"insights_retention_clock_doubted 0",
			)
			told(careful, "deletion_announced")
			kept(20)
			wait(serve(now, 5*day, true), `insights_retention_announced_seconds{kind="usage"} 0`,
				fmt.Sprintf("insights_retention_last_success_timestamp_seconds %s", strconv.FormatFloat(float64(now.Unix()), 'g', -1, 64)))
			kept(6)
			ahead := serve(now.Add(50*time.Hour), 2*day, true)
			wait(ahead, "insights_retention_clock_doubted 1")
			told(ahead, "deletion_held")
			kept(6)
		})
	}
}

// A server says by and by what it promises people, with what it takes where nothing is set.
func TestServersSayWhatTheyPromise(t *testing.T) {
	t.Parallel()
	for kind, open := range servertest.Databases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := run(t, open(t), time.Now(), func(c *server.Options) {
				c.UsageRetention, c.AuditRetention, c.AIPerPerson = 48*time.Hour, 24*time.Hour, true
			})
			want := store.Promises{Servers: 1, Promise: store.Promise{
				PrivacyFloor: 5, AIPerPerson: true, Timezone: "UTC",
				Retention: store.Retention{Usage: 48 * time.Hour, Audit: 24 * time.Hour},
			}}
			var got []store.Promises
			eventuallyWithin(t, time.Minute, "the server says what it promises", func() bool {
				var err error
				got, _, err = r.Store.Promises(t.Context())
				return err == nil && len(got) > 0
			})
			if !slices.Equal(got, []store.Promises{want}) {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}
