package insights

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// What is about to be deleted is told of the sections that it is in, and a clock in doubt where something is deleted at all.
func TestFindDeletions(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	announced := func(kind string) store.Announcement {
		return store.Announcement{Kind: kind, Keep: 30 * day, Days: 10, Stored: 40, At: store.At(now)}
	}
	for name, of := range map[string]struct {
		options Options
		held    store.Brake
		want    []string
	}{
		"nothing": {options: Options{UsageRetention: 30 * day, LatencyRetention: 30 * day}},
		"usage": {
			options: Options{UsageRetention: 30 * day},
			held:    store.Brake{Announced: []store.Announcement{announced(store.ExpiredUsage), announced(store.ExpiredAudit)}},
			want: []string{
				"deletion_announced [active_users apps_usage user_activity parameters_usage] Usage of more than 30 days ago is deleted " +
					"for good from 2026-03-02T12:00:00Z on, as announced at 2026-03-01T12:00:00Z.",
			},
		},
		"latencies": {
			held: store.Brake{Announced: []store.Announcement{announced(store.ExpiredLatency)}},
			want: []string{
				"deletion_announced [user_latency] Latency of more than 30 days ago is deleted for good from 2026-03-02T12:00:00Z on, as " +
					"announced at 2026-03-01T12:00:00Z.",
			},
		},
		"in doubt": {
			options: Options{LatencyRetention: 30 * day},
			held:    store.Brake{Doubted: true},
			want: []string{
				"deletion_held [user_latency] Latency is not deleted although its time may be over: the clock of the database jumped by " +
					"more than a day, or is not that of a server.",
			},
		},
		"in doubt, and all is kept for ever": {held: store.Brake{Doubted: true}},
	} {
		d := &diagnosis{
			options: of.options, facts: []store.TemplateFacts{{}, {}},
			q: question{start: now.Add(-7 * day), end: now, asked: now, window: minute.Window{End: 1}},
		}
		d.findDeletions(of.held)
		var got []string
		for _, f := range d.found {
			if f.GetAffected() != 0 || f.GetTotal() != 0 || f.GetNextStep() == "" {
				t.Errorf("%s: %v", name, f)
			}
			got = append(got, fmt.Sprintf("%s %v %s", f.GetReason(), f.GetSections(), f.GetMessage()))
		}
		if !slices.Equal(got, of.want) {
			t.Errorf("%s: %q, want %q", name, got, of.want)
		}
	}
}
