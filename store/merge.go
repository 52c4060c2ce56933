package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/failpoint"
	"github.com/template-insights/insights/store/minute"
)

// OpenRow is a row of the present: half an hour of one subject, kind and app in a template.
type OpenRow struct {
	Template uuid.UUID
	minute.Row
}

// latencies are the row's samples as the table keeps them.
func (r OpenRow) latencies() string {
	if r.Kind != minute.Connection {
		return ""
	}
	return minute.FormatLatencies(r.Minutes, r.Bins)
}

// compareOpen is the order of the table's key. All writers take rows in it, so that they wait for each other instead of
// deadlocking.
func compareOpen(a, b OpenRow) int {
	return cmp.Or(
		cmp.Compare(a.HalfHour, b.HalfHour),
		bytes.Compare(a.Template[:], b.Template[:]),
		cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.App, b.App),
	)
}

// The merge makes writing a union: bits are only ever added, and a row that adds nothing leaves the stored one as it is.
// Latencies of minutes that are all known already are left out. What is written is called excluded, as ON CONFLICT does.
const (
	mergeColumns = `half_hour, template_id, subject, kind, app, minutes, connected, latencies`
	mergeSet     = ` SET minutes = usage_open.minutes | excluded.minutes,
		connected = usage_open.connected OR excluded.connected,
		latencies = CASE WHEN usage_open.minutes & excluded.minutes = excluded.minutes THEN usage_open.latencies
			ELSE usage_open.latencies || excluded.latencies END`
	mergeAdds = ` (usage_open.minutes & excluded.minutes <> excluded.minutes OR excluded.connected > usage_open.connected)`
	mergeTail = ` ON CONFLICT (half_hour, template_id, subject, kind, app) DO UPDATE` + mergeSet + ` WHERE` + mergeAdds
)

// maxMergeRows bounds one statement.
const maxMergeRows = 1000

// Merge unions rows into the present. It returns when they are durable; on an error some may be and some may not, and
// merging them all again is right. ErrRefused in the error means that the database will never take one of them.
func (s *Store) Merge(ctx context.Context, rows []OpenRow) error {
	defer s.replicas.Acknowledge()
	rows = distinct(rows)
	// Rows of ended half hours may meet a fold and wait for it; those of now must not wait with them.
	now := int32(s.clock().Unix() / 1800)
	late, _ := slices.BinarySearchFunc(rows, now, func(r OpenRow, now int32) int { return cmp.Compare(r.HalfHour, now) })
	for _, part := range [][]OpenRow{rows[late:], rows[:late]} {
		for batch := range slices.Chunk(part, maxMergeRows) {
			err := retryConflicts(ctx, func() error { return s.dialect.classify(s.dialect.merge(ctx, s.writes.WithContext(ctx), batch)) })
			if err != nil {
				return fmt.Errorf("merge %d usage rows: %w", len(batch), err)
			}
			failpoint.Hit(failpoint.AfterCommit)
		}
	}
	return nil
}

// distinct sorts rows and unions those of one key; of a minute the first latency stays.
func distinct(rows []OpenRow) []OpenRow {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, compareOpen)
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && compareOpen(out[n-1], r) == 0 {
			out[n-1].Row = minute.Union([]minute.Row{out[n-1].Row}, []minute.Row{r.Row})[0]
			continue
		}
		out = append(out, r)
	}
	return out
}

// What Postgres takes rows in: arrays, which are numbered.
const mergeGiven = `unnest($1::int[], $2::uuid[], $3::bigint[], $4::smallint[], $5::text[], $6::int[], $7::bool[], $8::text[])
	WITH ORDINALITY AS given(` + mergeColumns + `, number)`

// mergePostgres updates the rows that are there and gain something, which are most, and tells the numbers of the others. ON CONFLICT
// alone would do the same, but locks each row before it updates it and logs the lock, half as much as the change itself.
const mergePostgres = `WITH given AS MATERIALIZED (SELECT * FROM ` + mergeGiven + `), updated AS (
		UPDATE usage_open` + mergeSet + ` FROM given AS excluded
		WHERE usage_open.half_hour = excluded.half_hour AND usage_open.template_id = excluded.template_id
		AND usage_open.subject = excluded.subject
			AND usage_open.kind = excluded.kind AND usage_open.app = excluded.app AND` + mergeAdds + `
		RETURNING excluded.number
	)
	SELECT COALESCE(string_agg(CAST(number AS text), ',' ORDER BY number), '') FROM given WHERE number NOT IN (SELECT number FROM updated)`

func (d postgresDialect) merge(ctx context.Context, db *gorm.DB, rows []OpenRow) error {
	const insert = `INSERT INTO usage_open (` + mergeColumns + `) SELECT ` + mergeColumns + ` FROM ` + mergeGiven + mergeTail
	failpoint.Hit(failpoint.BeforeCommit)
	return updateOrInsert(ctx, d, db, mergePostgres, insert, rows, func(rows []OpenRow) []any {
		halfHours, templates, subjects := make([]int32, len(rows)), make([][16]byte, len(rows)), make([]int64, len(rows))
		kinds, apps, minutes := make([]int16, len(rows)), make([]string, len(rows)), make([]int32, len(rows))
		connected, latencies := make([]bool, len(rows)), make([]string, len(rows))
		for i, r := range rows {
			halfHours[i], templates[i], subjects[i], kinds[i], apps[i] = r.HalfHour, r.Template, r.Subject, int16(r.Kind), r.App
			minutes[i], connected[i], latencies[i] = int32(r.Minutes), r.Connected, r.latencies()
		}
		return []any{halfHours, templates, subjects, kinds, apps, minutes, connected, latencies}
	})
}

// updateOrInsert executes a statement that updates rows and tells the numbers, from 1 on, of those that it did not, and then one
// that inserts these where they are not there. Each is a transaction that locks rows in the order in which they are given: in one
// transaction an insert that meets a row which came meanwhile would wait for it while rows behind it are locked, and deadlock.
func updateOrInsert[R any](
	ctx context.Context, d postgresDialect, db *gorm.DB, update, insert string, rows []R, arguments func([]R) []any,
) error {
	var numbers string
	err := d.write(db, func(db *gorm.DB) error {
		return db.Statement.ConnPool.QueryRowContext(ctx, update, arguments(rows)...).Scan(&numbers)
	})
	if err != nil || numbers == "" {
		return err
	}
	var left []R
	for text := range strings.SplitSeq(numbers, ",") {
		number, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("read number of row: %w", err)
		}
		left = append(left, rows[number-1])
	}
	return d.write(db, func(db *gorm.DB) error {
		_, err := db.Statement.ConnPool.ExecContext(ctx, insert, arguments(left)...)
		return err
	})
}

func (sqliteDialect) merge(ctx context.Context, db *gorm.DB, rows []OpenRow) error {
	const statement = `INSERT INTO usage_open (` + mergeColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?)` + mergeTail
	return executeEach(ctx, db, statement, rows, func(r OpenRow) []any {
		return []any{r.HalfHour, r.Template, r.Subject, r.Kind, r.App, r.Minutes, r.Connected, r.latencies()}
	}, func() { failpoint.Hit(failpoint.BeforeCommit) })
}

// executeEach executes a statement for each row, in one transaction, and calls beforeCommit at its end.
func executeEach[R any](ctx context.Context, db *gorm.DB, statement string, rows []R, arguments func(R) []any, beforeCommit func()) error {
	raw, err := db.DB()
	if err != nil {
		return err
	}
	tx, err := raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	prepared, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	defer prepared.Close()
	for _, r := range rows {
		if _, err := prepared.ExecContext(ctx, arguments(r)...); err != nil {
			return err
		}
	}
	beforeCommit()
	return tx.Commit()
}
