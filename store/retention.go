package store

import (
	"context"
	"fmt"
	"time"

	"github.com/template-insights/insights/store/minute"
)

// Expire deletes usage, apps and logins of the UTC days that ended before one moment and latencies of those that ended before
// another; a zero moment keeps everything. It returns how many pages and rows were deleted or emptied. What arrives for such
// a day afterwards is deleted the next time.
func (s *Store) Expire(ctx context.Context, usageBefore, latencyBefore time.Time) (int64, error) {
	var expired int64
	for _, statement := range []struct {
		before time.Time
		text   string
		unit   int32 // of the moment, per day
		args   []any // before the moment
	}{
		{usageBefore, `DELETE FROM usage_day WHERE day < ?`, 1, nil},
		{usageBefore, `DELETE FROM usage_open WHERE half_hour < ?`, minute.HalfHoursPerDay, nil},
		// With the version a fold that read the page before starts again.
		{latencyBefore, `UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND day < ?`, 1, []any{[]byte{}}},
		{latencyBefore, `DELETE FROM usage_open WHERE kind = 2 AND half_hour < ?`, minute.HalfHoursPerDay, nil},
	} {
		if statement.before.IsZero() {
			continue
		}
		first := int32(statement.before.Unix()/86400) * statement.unit // the first that stays
		err := retryConflicts(ctx, func() error {
			tx := s.writes.WithContext(ctx).Exec(statement.text, append(statement.args, first)...)
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
