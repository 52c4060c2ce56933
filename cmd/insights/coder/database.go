// Package coder brings what the database of a Coder deployment holds into a store: catalog, usage, builds, status changes and
// roles. It only reads there.
package coder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The schemas that this package reads, by the number of their last migration. Older ones do not tell system accounts from users. Between
// these, columns came and went that it looks for: codertest/schema.sql says which, and since when.
const (
	OldestSchema  = 308
	NewestSchema  = 614
	OldestRelease = "v2.21" // the first release of Coder with one of these
)

// ErrSchema means that the tables are not the ones that this package reads.
var ErrSchema = errors.New("schema of Coder")

// connectTimeout is how long a database may take to let us in.
const connectTimeout = 10 * time.Second

// Database is the database of a Coder deployment.
type Database struct {
	pool       *pgxpool.Pool
	deployment uuid.UUID // its default organization, which it has for ever
	name       string
	shape      shape
	reading    time.Duration // that it was read, in all
}

// shape is what differs between the schemas.
type shape struct {
	SessionCounts   bool // a report has its sessions by name, not in a column for each of four
	SessionApps     bool // a half hour has its sessions by name, in a table of their own
	ServiceAccounts bool // users may be service accounts
	AITasks         bool // builds say whether an agent works on a task in the workspace
	DefaultRoles    bool // organizations say which roles all of their members have
}

// prebuilds is the user who owns prebuilt workspaces until somebody takes them, the same in every deployment.
const prebuilds = "c42fdf75-3097-471c-8c33-fb52454d81c0"

// kind is the expression for the kind of a row of users, in which people go by a word.
func (s shape) kind(people string) string {
	service := ""
	if s.ServiceAccounts {
		service = " WHEN users.is_service_account THEN 'service'"
	}
	return "CASE WHEN users.is_system THEN 'system'" + service + " ELSE '" + people + "' END"
}

// CheckURL refuses what is no URL of a database.
func CheckURL(url string) error {
	_, err := parse(url)
	return err
}

func parse(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil || !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		// The text of the error repeats the URL, and with it the password.
		return nil, errors.New("the URL of the Coder database cannot be parsed: want postgres://USER@HOST/NAME")
	}
	return config, nil
}

// settings are those of the connection. Production is served first: reading takes one process of the database and no more, however long it
// takes, and each statement is planned for what it asks for. What was planned for all of the past reads it again.
var settings = map[string]string{
	"application_name":                "insights-import",
	"default_transaction_read_only":   "on",
	"jit":                             "off",
	"max_parallel_workers_per_gather": "0",
	"plan_cache_mode":                 "force_custom_plan",
}

// Open connects to a database for reading and looks whether it is one that this package reads: if not, the error is ErrSchema.
func Open(ctx context.Context, url string) (*Database, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.ConnectTimeout = connectTimeout
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the Coder database: %w", err)
	}
	d := &Database{
		pool: pool,
		name: fmt.Sprintf("Coder database %s on %s:%d", config.ConnConfig.Database, config.ConnConfig.Host, config.ConnConfig.Port),
	}
	if err := d.read(ctx, d.checkSchema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	return d, nil
}

// Close ends the connection.
func (d *Database) Close() { d.pool.Close() }

// source names the deployment in a store.
func (d *Database) source() string { return "coder " + d.deployment.String() }

// String names the database without its credentials.
func (d *Database) String() string { return d.name }

// readTimeout bounds one look at the database, which holds up what the database cleans up.
const readTimeout = 30 * time.Minute

// read calls f with one state of the whole database.
func (d *Database) read(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	begin := time.Now()
	err := pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return f(ctx, tx)
	})
	if err == nil { // otherwise it may have waited for the network
		d.reading += time.Since(begin)
	}
	var fault *pgconn.PgError
	if errors.As(err, &fault) && fault.Code == insufficientPrivilege {
		err = fmt.Errorf("%w: deploy/coder/grants.sql gives the role what it needs, and may be run again", err)
	}
	return err
}

// insufficientPrivilege is how Postgres says that a role may not do something.
const insufficientPrivilege = "42501"

// undefinedTable is how Postgres says that there is no such table.
const undefinedTable = "42P01"

func (d *Database) checkSchema(ctx context.Context, tx pgx.Tx) error {
	var version int64
	var dirty bool
	err := tx.QueryRow(ctx, `SELECT version, dirty FROM schema_migrations`).Scan(&version, &dirty)
	var missing *pgconn.PgError
	switch {
	case errors.As(err, &missing) && missing.Code == undefinedTable, errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: this is no database of Coder", ErrSchema)
	case err != nil:
		return err
	case dirty:
		return fmt.Errorf("%w: migration %d did not end; start Coder, which ends it", ErrSchema, version)
	case version < OldestSchema || version > NewestSchema:
		return fmt.Errorf(
			"%w: version %d is not supported, %d to %d are; Coder %s was the first with one of them",
			ErrSchema, version, OldestSchema, NewestSchema, OldestRelease,
		)
	}
	exists := func(table, column string) string {
		return `EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('` + table + `') AND attname = '` + column +
			`' AND NOT attisdropped)`
	}
	err = tx.QueryRow(ctx,
		`SELECT `+exists("workspace_agent_stats", "session_counts")+`, `+exists("template_usage_stats_session_apps", "app_name")+`, `+
			exists("users", "is_service_account")+`, `+exists("workspace_builds", "has_ai_task")+`, `+
			exists("organizations", "default_org_member_roles"),
	).Scan(&d.shape.SessionCounts, &d.shape.SessionApps, &d.shape.ServiceAccounts, &d.shape.AITasks, &d.shape.DefaultRoles)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `SELECT id FROM organizations WHERE is_default`).Scan(&d.deployment)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: there is no default organization", ErrSchema)
	}
	return err
}

// now is up to when the database has everything. A replica has what it replayed, which may have been a while ago; before it replays a
// transaction, what there was at its last checkpoint.
func now(ctx context.Context, tx pgx.Tx) (at time.Time, err error) {
	err = tx.QueryRow(ctx, `SELECT CASE WHEN pg_is_in_recovery()
		THEN COALESCE(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint())) ELSE now() END`).Scan(&at)
	return at.UTC(), err
}
