// Package baseline keeps usage the way that the service replaces: rows of reports as they come, a rollup of them into half
// hours every five minutes, and questions on the half hours. It is written from the description of its behaviour, and
// exists to be measured beside the service and to agree with it.
package baseline

import (
	"context"
	_ "embed" // for the statements
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed rollup.sql
	rollupSQL string
	//go:embed rollup_start.sql
	rollupStartSQL string
)

// DB is one connection to a Postgres database that holds usage in this way.
type DB struct{ conn *pgx.Conn }

// Create connects to an empty database and makes the tables.
func Create(ctx context.Context, url string) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	// Plans are made for the values at hand: the questions of every template and of one are the same statements.
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	config.RuntimeParams["timezone"] = "UTC"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, schemaSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, errors.Join(fmt.Errorf("create tables: %w", err), conn.Close(ctx))
	}
	return &DB{conn}, nil
}

// Close ends the connection.
func (db *DB) Close(ctx context.Context) error { return db.conn.Close(ctx) }

// Table is a table of the schema with the order in which rows give its columns.
type Table struct {
	name    string
	columns []string
}

// The tables that are filled from outside.
var (
	Users             = Table{"users", []string{"id", "username", "avatar_url"}}
	Workspaces        = Table{"workspaces", []string{"id", "owner_id", "template_id"}}
	VersionParameters = Table{
		"template_version_parameters", []string{"template_version_id", "name", "type", "display_name", "description", "options"},
	}
	Builds          = Table{"workspace_builds", []string{"id", "workspace_id", "template_version_id", "build_number", "created_at"}}
	BuildParameters = Table{"workspace_build_parameters", []string{"workspace_build_id", "name", "value"}}
	Agents          = Table{"workspace_agents", []string{"id", "workspace_build_id"}}
	Apps            = Table{"workspace_apps", []string{"agent_id", "slug", "display_name", "icon", "created_at"}}
	AgentStats      = Table{"workspace_agent_stats", []string{
		"id", "created_at", "user_id", "agent_id", "workspace_id", "template_id", "connections_by_proto", "connection_count", "rx_packets",
		"rx_bytes", "tx_packets", "tx_bytes",
		"connection_median_latency_ms", "session_count_vscode", "session_count_jetbrains", "session_count_reconnecting_pty",
		"session_count_ssh",
	}}
	AppStats = Table{"workspace_app_stats", []string{
		"user_id", "workspace_id", "agent_id", "access_method", "slug_or_port", "session_id", "session_started_at", "session_ended_at",
		"requests",
	}}
)

// HalfHour is what the rollup makes of half an hour of a user in a template.
type HalfHour struct {
	Start, End                                             time.Time
	Template, User                                         uuid.UUID
	MedianLatency                                          *float32 // milliseconds; nil: not measured
	Minutes, SSH, SFTP, ReconnectingPTY, VSCode, JetBrains int16
	Apps                                                   map[string]int // minutes by slug; nil: none
}

// halfHours is the table of them, with its columns in the order of the fields of HalfHour.
var halfHours = Table{"template_usage_stats", []string{
	"start_time", "end_time", "template_id", "user_id", "median_latency_ms",
	"usage_mins", "ssh_mins", "sftp_mins", "reconnecting_pty_mins", "vscode_mins", "jetbrains_mins", "app_usage_mins",
}}

// InsertHalfHours adds half hours as if a rollup had made them.
func (db *DB) InsertHalfHours(ctx context.Context, list []HalfHour) error {
	rows := make([][]any, len(list))
	for i, h := range list {
		rows[i] = []any{
			h.Start, h.End, h.Template, h.User, h.MedianLatency, h.Minutes, h.SSH, h.SFTP, h.ReconnectingPTY, h.VSCode, h.JetBrains, nil,
		}
		if h.Apps != nil {
			rows[i][len(rows[i])-1] = h.Apps
		}
	}
	return db.Insert(ctx, halfHours, rows)
}

// Insert adds rows to a table, quickly.
func (db *DB) Insert(ctx context.Context, t Table, rows [][]any) error {
	if _, err := db.conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("insert into %s: %w", t.name, err)
	}
	return nil
}

// Settle leaves the tables as a database that has run for long has them.
func (db *DB) Settle(ctx context.Context) error {
	_, err := db.conn.Exec(ctx, "VACUUM ANALYZE")
	return err
}

// Rollup brings the half hours up to date, as it happens every five minutes.
func (db *DB) Rollup(ctx context.Context, now time.Time) error {
	var start *time.Time
	if err := db.conn.QueryRow(ctx, rollupStartSQL).Scan(&start); err != nil {
		return fmt.Errorf("look where the rollup begins: %w", err)
	}
	if start == nil {
		return nil // there is nothing
	}
	if _, err := db.conn.Exec(ctx, rollupSQL, *start, now); err != nil {
		return fmt.Errorf("roll up: %w", err)
	}
	return nil
}

// Size is how many bytes the half hours take on disk, with their indexes.
func (db *DB) Size(ctx context.Context) (bytes int64, err error) {
	err = db.conn.QueryRow(ctx, "SELECT pg_total_relation_size('template_usage_stats')").Scan(&bytes)
	return bytes, err
}

// HalfHours are all half hours, by start, template and user.
func (db *DB) HalfHours(ctx context.Context) ([]HalfHour, error) {
	list, err := ask[HalfHour](
		ctx, db, "SELECT "+strings.Join(halfHours.columns, ", ")+" FROM template_usage_stats ORDER BY start_time, template_id, user_id",
		nil,
	)
	for i := range list {
		list[i].Start, list[i].End = list[i].Start.UTC(), list[i].End.UTC()
	}
	return list, err
}

// Clear forgets all reports, sessions and half hours.
func (db *DB) Clear(ctx context.Context) error {
	_, err := db.conn.Exec(ctx, "TRUNCATE workspace_agent_stats, workspace_app_stats, template_usage_stats")
	return err
}

// Window is what a question is about: half hours in [Start, End) of templates, all of them if none is named.
type Window struct {
	Start, End time.Time
	Templates  []uuid.UUID
}

func (w Window) arguments() []any {
	templates := make([][16]byte, len(w.Templates))
	for i, t := range w.Templates {
		templates[i] = t
	}
	return []any{w.Start, w.End, templates}
}
