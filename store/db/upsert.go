package db

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
	// Template is the template of a row of a table of Spread; nil for other tables.
	Template func(row R) uuid.UUID
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
	if d.Citus() && u.Template != nil {
		return u.onNodes(ctx, d, rows)
	}
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

// given is the table of rows that Arrays are, and the condition that one of them, called excluded, is there and gains something.
func (u Upsert[R]) given() (table, same string) {
	arrays, equal := make([]string, len(u.Types)), make([]string, len(u.Key))
	for i, t := range u.Types {
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, t)
	}
	for i, column := range u.Key {
		equal[i] = u.Table + "." + column + " = excluded." + column
	}
	if u.Changes != "" {
		equal = append(equal, "("+u.Changes+")")
	}
	return `unnest(` + strings.Join(arrays, ", ") + `) WITH ORDINALITY`, strings.Join(equal, " AND ")
}

func (u Upsert[R]) postgresStatements() (update, insert string) {
	given, same := u.given()
	columns := strings.Join(u.Columns, ", ")
	given += ` AS given(` + columns + `, number)`
	update = `WITH given AS MATERIALIZED (SELECT * FROM ` + given + `), updated AS (
			UPDATE ` + u.Table + ` SET ` + u.Set + ` FROM given AS excluded WHERE ` + same + `
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

// onNode updates and inserts rows of one template on a node of Citus, as inPostgres does. The template stands in the statements by itself:
// a node sends what it cannot tell the shard of to all of them. What is inserted goes in one message, because its text is a new one each
// time.
func (u Upsert[R]) onNode(ctx context.Context, db *gorm.DB, template uuid.UUID, rows []R) error {
	if u.BeforeCommit != nil {
		u.BeforeCommit()
	}
	updated, err := u.updated(ctx, db, template, rows)
	if err != nil || len(updated) == len(rows) {
		return err
	}
	var values strings.Builder
	args := []any{pgx.QueryExecModeSimpleProtocol}
	for i, r := range rows {
		if updated[i+1] {
			continue
		}
		separator := `,(`
		if len(args) == 1 {
			separator = `(`
		}
		for column, value := range u.Values(r) {
			args = append(args, value)
			fmt.Fprintf(&values, "%s$%d::%s", separator, len(args)-1, u.Types[column])
			separator = `,`
		}
		values.WriteByte(')')
	}
	insert := `INSERT INTO ` + u.Table + ` (` + strings.Join(u.Columns, ", ") + `) VALUES ` + values.String() + u.tail()
	_, err = db.Statement.ConnPool.ExecContext(ctx, insert, args...)
	return err
}

// updated updates those of the rows of a template that are there and gain something, and returns their numbers, from 1 on.
func (u Upsert[R]) updated(ctx context.Context, db *gorm.DB, template uuid.UUID, rows []R) (map[int]bool, error) {
	given, same := u.given()
	update := `UPDATE ` + u.Table + ` SET ` + u.Set + ` FROM ` + given + ` AS excluded(` + strings.Join(u.Columns, ", ") + `, number)
		WHERE ` + same + fmt.Sprintf(` AND %s.template_id = $%d RETURNING excluded.number`, u.Table, len(u.Columns)+1)
	found, err := db.Statement.ConnPool.QueryContext(ctx, update, append(u.Arrays(rows), template)...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	updated := make(map[int]bool, len(rows))
	for found.Next() {
		var number int
		if err := found.Scan(&number); err != nil {
			return nil, err
		}
		updated[number] = true
	}
	return updated, found.Err()
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
