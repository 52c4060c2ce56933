package db

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
)

type postgres struct {
	url    *url.URL
	pooler bool // between it and this program
	citus  bool // it is a node of Citus
}

func (d postgres) String() string {
	return "postgres database " + strings.TrimPrefix(d.url.Path, "/") + " on " + d.url.Host
}

// dsn adds settings that the service relies on, unless the user set them. Of several hosts the primary is the one to speak with,
// whichever it is at the time: looking for a host that accepts writes would find none for questions, which are read-only. A pooler
// takes no settings, and its connections know no statement that was prepared before: each comes with its text and its types.
func (d postgres) dsn(name string, settings map[string]string) string {
	u, query := *d.url, d.url.Query()
	all := map[string]string{"application_name": name, "connect_timeout": "10"}
	if strings.Contains(u.Host, ",") {
		all["target_session_attrs"] = "primary"
		all["connect_timeout"] = "2" // of each host: one that is gone does not hold up the others
	}
	if d.pooler {
		all["default_query_exec_mode"] = "cache_describe"
	} else {
		maps.Copy(all, settings)
	}
	for name, value := range all {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// writeSettings are what writing relies on, whatever the defaults of the database are.
var writeSettings = map[string]string{
	"synchronous_commit": "on", // an acknowledged report is on disk
	// A merge looks up each of its rows by the key, in their order. Plans that read the whole table may look cheaper while it is small.
	"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
	// Such plans seem so costly that the server would compile each of them, for longer than it takes to run them.
	"jit": "off",
}

// citusSettings are writeSettings on a node of Citus, which makes plans of its own and wants to know what it plans for. Rows are looked up
// by the key in their order as well, and a transaction that does not wait for locks does not on other nodes either.
var citusSettings = map[string]string{
	"synchronous_commit": "on", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off",
	"citus.propagate_set_commands": "local",
}

func (d postgres) writePool() pool {
	settings := writeSettings
	if d.citus {
		settings = citusSettings
	}
	return pool{gormpostgres.New(gormpostgres.Config{DSN: d.dsn("insights", settings)}), 8}
}

// withCitus finds out whether this is the coordinator of a Citus cluster. The extension alone makes none: there are workers, or tables
// that are spread.
func (d postgres) withCitus(ctx context.Context) (_ postgres, err error) {
	db, err := openPool(d.readPool())
	if err != nil {
		return d, err
	}
	raw, err := db.DB()
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	var installed bool
	err = raw.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')`).Scan(&installed)
	if err != nil || !installed {
		return d, err
	}
	err = raw.QueryRowContext(
		ctx, `SELECT EXISTS (SELECT FROM pg_dist_node WHERE groupid > 0) OR EXISTS (SELECT FROM pg_dist_partition)`,
	).Scan(&d.citus)
	return d, err
}

func (d postgres) readPool() pool {
	// Questions have deadlines of their own; this one is for those of a server that was killed.
	settings := map[string]string{"default_transaction_read_only": "on", "statement_timeout": "60s"}
	if d.citus { // a connection to each node is kept, and opening more takes longer than most questions
		settings["citus.max_adaptive_executor_pool_size"] = "1"
	}
	return pool{gormpostgres.New(gormpostgres.Config{DSN: d.dsn("insights-reads", settings)}), 8}
}

// beginWriting gives a transaction all of writeSettings in one message.
var beginWriting = func() (statements string) {
	for _, name := range slices.Sorted(maps.Keys(writeSettings)) {
		statements += "SET LOCAL " + name + " = " + writeSettings[name] + ";"
	}
	return statements
}()

func (d postgres) begin(tx *gorm.DB) error {
	if !d.pooler {
		return nil
	}
	return tx.Exec(beginWriting).Error
}

func (d postgres) write(db *gorm.DB, f func(db *gorm.DB) error) error {
	if !d.pooler {
		return f(db)
	}
	return db.Transaction(func(tx *gorm.DB) error {
		if err := d.begin(tx); err != nil {
			return err
		}
		return f(tx)
	})
}

func (postgres) Among(column string, numbers []int64) (condition, argument string) {
	return column + " = ANY(CAST(? AS bigint[]))", "{" + joined(numbers) + "}"
}

func (postgres) Yield(tx *gorm.DB) error {
	return tx.Exec("SET LOCAL lock_timeout = '100ms'").Error
}

func (postgres) settings() string {
	return `SELECT name, setting AS value, name = 'synchronous_commit' AS ours,
		CASE name WHEN 'synchronous_commit' THEN setting <> 'off' ELSE setting = 'on' END AS holds
		FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes') ORDER BY name`
}

func (postgres) mayMigrate() string {
	return `SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AND NOT pg_is_in_recovery()`
}

func (postgres) Now(db *gorm.DB, _ func() time.Time) (time.Time, error) {
	var micros int64
	err := db.Raw("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)").Row().Scan(&micros)
	return time.UnixMicro(micros).UTC(), err
}

func (postgres) Lock(tx *gorm.DB, table string, how Lock) error {
	return tx.Exec("LOCK TABLE " + table + " IN " + string(how) + " MODE").Error
}

// numberLocks tells the locks of LockNumbers from others that a program takes in the same database.
const numberLocks = 42

func (postgres) LockNumbers(tx *gorm.DB, numbers []int64) error {
	return tx.Exec("SELECT pg_advisory_xact_lock(?, CAST(number AS int)) FROM unnest(CAST(? AS bigint[])) AS number",
		numberLocks, "{"+joined(numbers)+"}").Error
}

func (postgres) Position() string { return "ctid" }

// Shrink passes over a table that somebody else vacuums. Rows that an index still names keep their room, so that goes first, however few
// they are.
func (postgres) Shrink(db *gorm.DB, table string) error {
	return db.Exec("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) " + table).Error
}

// scrub has nothing to do: no statement and no logical backup sees a row that was deleted, and autovacuum writes over it.
func (postgres) scrub(context.Context, *gorm.DB) error { return nil }

// unencodable is in the errors of values that do not fit the types of a statement, for which pgx has no type.
const unencodable = "failed to encode args"

func (d postgres) Classify(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		if err != nil && strings.Contains(err.Error(), unencodable) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return err
	}
	switch e.Code {
	case "42P05", "08P01": // a statement is prepared already, a setting or message that is not understood
		if !d.pooler {
			return fmt.Errorf("%w: if a pooler such as PgBouncer stands before Postgres, say --database-pooler=transaction", err)
		}
	case "40001", "40P01", "55P03": // serialization, deadlock, lock timeout
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	switch e.Code[:2] {
	case "22", "23": // data exception, constraint
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

func (postgres) Pairs(valueType string) string {
	return `(SELECT CAST(key AS uuid) AS id, CAST(value AS ` + valueType + `) AS value FROM json_each_text(CAST(? AS json)) AS given)`
}

func (postgres) goose() (goose.Dialect, string, []goose.ProviderOption, error) {
	locker, err := lock.NewPostgresSessionLocker()
	return goose.DialectPostgres, "postgres", []goose.ProviderOption{goose.WithSessionLocker(locker)}, err
}

func (postgres) Rows(query *gorm.DB, f func(Records) error) error {
	pool, err := query.DB()
	if err != nil {
		return err
	}
	ctx, statement := query.Statement.Context, query.Statement
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(driver any) error {
		rows, err := driver.(*stdlib.Conn).Conn().Query(ctx, statement.SQL.String(), statement.Vars...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return f(Records{
			rows,
			func(id *uuid.UUID) any { return (*[16]byte)(id) },
			func(b *[]byte) any { return (*pgtype.DriverBytes)(b) },
		})
	})
}

func (postgres) tables() string {
	return `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
}

func (postgres) Patient(tx *gorm.DB) error {
	return tx.Exec("SET LOCAL statement_timeout = 0").Error
}
