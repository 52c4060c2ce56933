package ingest

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/store"
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
