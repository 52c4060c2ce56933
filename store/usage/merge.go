package usage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/failpoint"
)

// presentRows says how rows are merged: bits are only ever added, and a row that adds nothing leaves the stored one as it is. Latencies of
// minutes that are all known already are left out.
var presentRows = db.Upsert[OpenRow]{
	Table:   "usage_rows",
	Columns: []string{"half_hour", "template_id", "subject", "kind", "app", "minutes", "connected", "latencies"},
	Types:   []string{"int", "uuid", "bigint", "smallint", "text", "int", "bool", "text"},
	Key:     []string{"half_hour", "template_id", "subject", "kind", "app"},
	Set: `minutes = usage_rows.minutes | excluded.minutes,
		connected = usage_rows.connected OR excluded.connected,
		latencies = CASE WHEN usage_rows.minutes & excluded.minutes = excluded.minutes THEN usage_rows.latencies
			ELSE usage_rows.latencies || excluded.latencies END`,
	Changes: `usage_rows.minutes & excluded.minutes <> excluded.minutes OR excluded.connected > usage_rows.connected`,
	Arrays: func(rows []OpenRow) []any {
		halfHours, templates, subjects := make([]int32, len(rows)), make([][16]byte, len(rows)), make([]int64, len(rows))
		kinds, apps, minutes := make([]int16, len(rows)), make([]string, len(rows)), make([]int32, len(rows))
		connected, latencies := make([]bool, len(rows)), make([]string, len(rows))
		for i, r := range rows {
			halfHours[i], templates[i], subjects[i], kinds[i], apps[i] = r.HalfHour, r.Template, r.Subject, int16(r.Kind), r.App
			minutes[i], connected[i], latencies[i] = int32(r.Minutes), r.Connected, r.latencies()
		}
		return []any{halfHours, templates, subjects, kinds, apps, minutes, connected, latencies}
	},
	Values: func(r OpenRow) []any {
		return []any{r.HalfHour, r.Template, r.Subject, r.Kind, r.App, r.Minutes, r.Connected, r.latencies()}
	},
	Template:     func(r OpenRow) uuid.UUID { return r.Template },
	BeforeCommit: func() { failpoint.Hit(failpoint.BeforeCommit) },
}

// Merge unions rows into the present. It returns when they are durable; on an error some may be and some may not, and
// merging them all again is right. ErrRefused in the error means that the database will never take one of them.
func (e *Engine) Merge(ctx context.Context, rows []OpenRow) error {
	defer e.db.Replicas.Acknowledge()
	rows = distinct(rows)
	// Rows of ended half hours may meet a fold and wait for it; those of now must not wait with them.
	now := int32(e.clock().Unix() / 1800)
	late, _ := slices.BinarySearchFunc(rows, now, func(r OpenRow, now int32) int { return cmp.Compare(r.HalfHour, now) })
	for _, part := range [][]OpenRow{rows[late:], rows[:late]} {
		if len(part) == 0 {
			continue
		}
		if err := db.UpsertAll(ctx, e.db, presentRows, part); err != nil {
			return fmt.Errorf("merge %d usage rows: %w", len(part), err)
		}
		failpoint.Hit(failpoint.AfterCommit)
	}
	return nil
}
