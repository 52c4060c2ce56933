package ingest

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// The log says that an announced deletion is taken back.
func TestTakenBackAnnouncementsAreTold(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	g := &Service{logger: slog.New(slog.NewTextHandler(&log, nil)), metrics: newMetrics(prometheus.NewRegistry())}
	g.tellBrake(t.Context(), store.Brake{TakenBack: []store.Announcement{{Kind: store.ExpiredUsage, Keep: time.Hour, Days: 7}}})
	for _, want := range []string{"its settings want less now", "data=usage", "retention=1h0m0s", "days=7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, log.String())
		}
	}
}

// Days are published one after the other, and none while the clock is in doubt.
func TestPublish(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	f.MustMerge(t, f.Row(0, 0, 0, 1))
	g := &Service{store: f.Store, options: Options{Publication: store.Publication{Floor: 2, Zone: time.UTC, After: -24 * time.Hour}}}
	for _, step := range []struct {
		name, statement string
		published       bool
	}{
		{"the clock is in doubt", `INSERT INTO clock_mark (id, at, steady, held) VALUES (1, 1, 0, 0)`, false},
		{"the clock is believed", `DELETE FROM clock_mark`, true},
	} {
		if err := storetest.OpenDB(t, f.Database).Writes.WithContext(t.Context()).Exec(step.statement).Error; err != nil {
			t.Fatal(err)
		}
		if err := g.publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, published, err := f.PublishedUntil(t.Context()); err != nil || published != step.published {
			t.Errorf("%s: published is %v, %v", step.name, published, err)
		}
	}
}

// Rows are folded at five past and at five past half.
func TestUntilFold(t *testing.T) {
	t.Parallel()
	for now, want := range map[string]time.Duration{
		"12:00:00": 5 * time.Minute, "12:04:59": time.Second, "12:05:00": 30 * time.Minute, "12:06:00": 29 * time.Minute,
		"12:34:00": time.Minute, "12:35:01": 30*time.Minute - time.Second, "23:59:00": 6 * time.Minute,
	} {
		at, err := time.Parse(time.TimeOnly, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := untilFold(at.AddDate(2026, 0, 0)); got != want {
			t.Errorf("at %s: %v, want %v", now, got, want)
		}
	}
}
