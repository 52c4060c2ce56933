package server

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/template-insights/insights/store"
)

// checkSettings refuses a database that does not keep what the service promises for it.
func checkSettings(settings []store.Setting, allowDataLoss bool) error {
	for _, s := range settings {
		if s.Ours && !s.Holds && !allowDataLoss {
			return fmt.Errorf(
				"the database has %s=%s, although this service sets it: a crash would take what was acknowledged; "+
					"look into the URL and what stands between, or serve with --allow-data-loss", s.Name, s.Value,
			)
		}
	}
	return nil
}

// tellSettings says in log and metrics which settings may lose what was acknowledged.
func tellSettings(db *store.Store, logger *slog.Logger, registry prometheus.Registerer) {
	holds := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "insights_database_setting_holds",
		Help: "1 where a setting of the database keeps what was acknowledged through a crash, 0 where it may be lost, by setting.",
	}, []string{"setting"})
	registry.MustRegister(holds)
	for _, s := range db.Settings() {
		gauge := holds.WithLabelValues(s.Name)
		if s.Holds {
			gauge.Set(1)
			continue
		}
		logger.Warn("a crash of the database may take what was acknowledged", "database", db.String(), "setting", s.Name, "value", s.Value)
	}
}
