package store

import (
	"context"
	"fmt"
	"time"

	"github.com/template-insights/insights/store/minute"
)

// Horizons are the moments before which data is no longer kept, by its kind; a zero one keeps everything.
type Horizons struct {
	Usage   time.Time // sessions, apps and logins of UTC days that ended before
	Latency time.Time // latencies of UTC days that ended before
	Audit   time.Time // events of the audit trail, sessions that ended before
}

// Expire deletes what lies beyond the horizons and returns how many pages and rows it deleted or emptied. What arrives for
// such a day afterwards is deleted the next time.
func (s *Store) Expire(ctx context.Context, h Horizons) (int64, error) {
	day := func(t time.Time) int32 { return int32(t.Unix() / 86400) } // the first that stays
	var expired int64
	for _, statement := range []struct {
		before time.Time
		text   string
		args   []any
	}{
		{h.Usage, `DELETE FROM usage_day WHERE day < ?`, []any{day(h.Usage)}},
		{h.Usage, `DELETE FROM usage_open WHERE half_hour < ?`, []any{day(h.Usage) * minute.HalfHoursPerDay}},
		// With the version a fold that read the page before starts again.
		{h.Latency, `UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`, []any{[]byte{}, day(h.Latency)}},
		{h.Latency, `DELETE FROM usage_open WHERE kind = 2 AND half_hour < ?`, []any{day(h.Latency) * minute.HalfHoursPerDay}},
		{h.Audit, `DELETE FROM audit_events WHERE at < ?`, []any{At(h.Audit)}},
		{h.Audit, `DELETE FROM tokens WHERE purpose = 'session' AND expires_at < ?`, []any{At(h.Audit)}},
	} {
		if statement.before.IsZero() {
			continue
		}
		err := retryConflicts(ctx, func() error {
			tx := s.writes.WithContext(ctx).Exec(statement.text, statement.args...)
			if tx.Error == nil {
				expired += tx.RowsAffected
			}
			return s.dialect.classify(tx.Error)
		})
		if err != nil {
			return expired, fmt.Errorf("delete what is beyond retention: %w", err)
		}
	}
	return expired, nil
}
