package db

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorm.io/gorm"
)

// Upsert says how rows of type R come into a table that has some of them already: those are updated, the others are inserted. What is
// written is called excluded, as ON CONFLICT does.
type Upsert[R any] struct {
	Table   string
	Columns []string
	Types   []string // of the columns, in Postgres
	Key     []string // columns: what is updated has all of them in common
	Set     string   // the assignments of the update
	Changes string   // the condition under which an update changes anything; empty: always
	Among   string   // the condition on a row, called given, under which it is inserted; empty: always
	// Arrays are the values of many rows, an array per column, as Postgres takes them.
	Arrays func(rows []R) []any
	// Values are the values of one row, as SQLite takes them.
	Values func(row R) []any
	// BeforeCommit, if any, is called before rows are durable.
	BeforeCommit func()
}

// maxUpsertRows bounds one statement.
const maxUpsertRows = 1000

// UpsertAll brings rows into their table, again if others are in its way. They are sorted by the key and distinct, so that writers wait
// for each other instead of deadlocking. It returns when they are durable; after an error some may be and some may not. Replicas are not
// waited for because of it.
func UpsertAll[R any](ctx context.Context, d *DB, u Upsert[R], rows []R) error {
	for batch := range slices.Chunk(rows, maxUpsertRows) {
		err := retryConflicts(ctx, func() error {
			if p, ok := d.Dialect.(postgres); ok {
				return d.Classify(u.inPostgres(ctx, p, d.Writes.WithContext(ctx), batch))
			}
			return d.Classify(u.inSQLite(ctx, d.Writes.WithContext(ctx), batch))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tail is the end of a statement that inserts.
func (u Upsert[R]) tail() string {
	tail := ` ON CONFLICT (` + strings.Join(u.Key, ", ") + `) DO UPDATE SET ` + u.Set
	if u.Changes != "" {
		tail += ` WHERE ` + u.Changes
	}
	return tail
}

// inPostgres updates the rows that are there and gain something, which are most, and then inserts the others. ON CONFLICT alone would do
// the same, but locks each row before it updates it and logs the lock, half as much as the change itself. Each of the two is a
// transaction that locks rows in the order in which they are given: in one transaction an insert that meets a row which came meanwhile
// would wait for it while rows behind it are locked, and deadlock.
func (u Upsert[R]) inPostgres(ctx context.Context, d postgres, db *gorm.DB, rows []R) error {
	if u.BeforeCommit != nil {
		u.BeforeCommit()
	}
	update, insert := u.postgresStatements()
	var numbers string // of the rows that were not updated, from 1 on
	err := d.write(db, func(db *gorm.DB) error {
		return db.Statement.ConnPool.QueryRowContext(ctx, update, u.Arrays(rows)...).Scan(&numbers)
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
		_, err := db.Statement.ConnPool.ExecContext(ctx, insert, u.Arrays(left)...)
		return err
	})
}

func (u Upsert[R]) postgresStatements() (update, insert string) {
	arrays, same := make([]string, len(u.Types)), make([]string, len(u.Key))
	for i, t := range u.Types {
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, t)
	}
	for i, column := range u.Key {
		same[i] = u.Table + "." + column + " = excluded." + column
	}
	if u.Changes != "" {
		same = append(same, "("+u.Changes+")")
	}
	columns := strings.Join(u.Columns, ", ")
	given := `unnest(` + strings.Join(arrays, ", ") + `) WITH ORDINALITY AS given(` + columns + `, number)`
	update = `WITH given AS MATERIALIZED (SELECT * FROM ` + given + `), updated AS (
			UPDATE ` + u.Table + ` SET ` + u.Set + ` FROM given AS excluded WHERE ` + strings.Join(same, " AND ") + `
			RETURNING excluded.number
		)
		SELECT COALESCE(string_agg(CAST(number AS text), ',' ORDER BY number), '') FROM given
		WHERE number NOT IN (SELECT number FROM updated)`
	insert = `INSERT INTO ` + u.Table + ` (` + columns + `) SELECT ` + columns + ` FROM ` + given
	if u.Among != "" {
		insert += ` WHERE ` + u.Among
	}
	return update, insert + u.tail()
}

// inSQLite runs one statement for each row, in one transaction.
func (u Upsert[R]) inSQLite(ctx context.Context, db *gorm.DB, rows []R) error {
	raw, err := db.DB()
	if err != nil {
		return err
	}
	tx, err := raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	prepared, err := tx.PrepareContext(ctx, u.sqliteStatement())
	if err != nil {
		return err
	}
	defer prepared.Close()
	for _, r := range rows {
		if _, err := prepared.ExecContext(ctx, u.Values(r)...); err != nil {
			return err
		}
	}
	if u.BeforeCommit != nil {
		u.BeforeCommit()
	}
	return tx.Commit()
}

func (u Upsert[R]) sqliteStatement() string {
	columns := strings.Join(u.Columns, ", ")
	source := `VALUES (?` + strings.Repeat(", ?", len(u.Columns)-1) + `)`
	if u.Among != "" {
		source = `SELECT ` + columns + ` FROM (SELECT ? AS ` + strings.Join(u.Columns, `, ? AS `) + `) AS given WHERE ` + u.Among
	}
	return `INSERT INTO ` + u.Table + ` (` + columns + `) ` + source + u.tail()
}
