package coder

import (
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
)

// halfHour is the length of Coder's buckets and of rows here.
const halfHour = minute.MinutesPerHalfHour * time.Minute

// usage is what was used, united as it is read.
type usage map[cell]*use

// cell is the key of a row, with user and workspace as Coder knows them.
type cell struct {
	template, user uuid.UUID
	workspace      uuid.UUID // uuid.Nil: not known
	halfHour       int32
	kind           minute.Kind
	app            string
}

// use is what is known of a cell.
type use struct {
	minutes   minute.Mask
	connected bool
	bins      *[minute.MinutesPerHalfHour]byte // of a connection
}

// unite adds what is known of another cell. Of a minute with two latencies the one that is there stays.
func (is *use) unite(other *use) {
	if other.bins != nil {
		if is.bins == nil {
			is.bins = new([minute.MinutesPerHalfHour]byte)
		}
		for i, bin := range other.bins {
			if is.minutes>>i&1 == 0 {
				is.bins[i] = bin
			}
		}
	}
	is.minutes |= other.minutes
	is.connected = is.connected || other.connected
}

func (u usage) at(c cell) *use {
	if u[c] == nil {
		u[c] = &use{}
	}
	return u[c]
}

// addSpan adds the minutes from first to last, counted from the Unix epoch.
func (u usage) addSpan(c cell, first, last int64) {
	for half, minutes := range minute.HalfHours(first, last) {
		c.halfHour = half
		u.at(c).minutes |= minutes
	}
}

// addSample adds a latency in milliseconds. Of a minute the first counts.
func (u usage) addSample(c cell, at int64, ms float64) {
	c.halfHour = int32(at / minute.MinutesPerHalfHour)
	to, i := u.at(c), at%minute.MinutesPerHalfHour
	if to.bins == nil {
		to.bins = new([minute.MinutesPerHalfHour]byte)
	}
	if to.minutes>>i&1 == 0 {
		to.minutes |= 1 << i
		to.bins[i] = minute.Bin(ms)
	}
}

// users are those who used anything.
func (u usage) users() []uuid.UUID {
	users := map[uuid.UUID]bool{}
	for c := range u {
		users[c.user] = true
	}
	return slices.Collect(maps.Keys(users))
}

// workspaces are those that are known.
func (u usage) workspaces() []uuid.UUID {
	workspaces := map[uuid.UUID]bool{}
	for c := range u {
		if c.workspace != uuid.Nil {
			workspaces[c.workspace] = true
		}
	}
	return slices.Collect(maps.Keys(workspaces))
}

// visits are the users who used anything, each with the workspaces where they did.
func (u usage) visits() []store.Visit {
	visits := map[store.Visit]bool{}
	for c := range u {
		visits[store.Visit{User: c.user, Workspace: c.workspace}] = true
	}
	return slices.Collect(maps.Keys(visits))
}

// rows are the rows of those visits that have a subject.
func (u usage) rows(subjects map[store.Visit]int64) []store.OpenRow {
	rows := make([]store.OpenRow, 0, len(u))
	for c, is := range u {
		subject := subjects[store.Visit{User: c.user, Workspace: c.workspace}]
		if subject == 0 {
			continue
		}
		r := minute.Row{HalfHour: c.halfHour, Subject: subject, Kind: c.kind, App: c.app, Minutes: is.minutes, Connected: is.connected}
		if is.bins != nil {
			for rest := is.minutes; rest != 0; rest &= rest - 1 {
				r.Bins = append(r.Bins, is.bins[bits.TrailingZeros32(uint32(rest))])
			}
		}
		rows = append(rows, store.OpenRow{Template: c.template, Row: r})
	}
	return rows
}

// window is the time that one look at the usage is about.
type window struct {
	from, to time.Time
	reports  time.Time // from when on reports are read, if that is later
}

// usage reads what was used in a window: logins, the sessions of apps, the reports of agents as far back as Coder has them, and
// before that its half hours. The sessions of the look before may be nil.
func (d *Database) usage(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, seen *sessionsSeen) (usage, error) {
	u := usage{}
	if err := d.logins(ctx, tx, u, organization, w); err != nil {
		return nil, fmt.Errorf("read logins: %w", err)
	}
	if err := d.appSessions(ctx, tx, u, organization, w, seen); err != nil {
		return nil, fmt.Errorf("read sessions of apps: %w", err)
	}
	reports, err := firstReports(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("look for reports: %w", err)
	}
	if err := d.halfHours(ctx, tx, u, organization, window{from: w.from, to: earlier(w.to, reports)}); err != nil {
		return nil, fmt.Errorf("read half hours: %w", err)
	}
	if err := d.reports(ctx, tx, u, organization, window{from: later(later(w.from, w.reports), reports), to: w.to}); err != nil {
		return nil, fmt.Errorf("read reports of agents: %w", err)
	}
	return u, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// withoutReports is how old half hours are that are taken if there is no report at all: Coder no longer changes them.
const withoutReports = 24 * time.Hour

// firstReports is from when on there are all reports. Coder deletes reports that it has counted, so the half hour of the first
// one may lack some, if Coder counted any by then.
func firstReports(ctx context.Context, tx pgx.Tx) (time.Time, error) {
	var first *time.Time
	var counted bool
	err := tx.QueryRow(ctx, `SELECT first, EXISTS (SELECT FROM template_usage_stats WHERE start_time <= first)
		FROM (SELECT MIN(created_at) AS first FROM workspace_agent_stats) AS reports`).Scan(&first, &counted)
	if err != nil {
		return time.Time{}, err
	}
	if first == nil {
		at, err := now(ctx, tx)
		return at.Add(-withoutReports).Truncate(halfHour), err
	}
	begin := first.UTC().Truncate(halfHour)
	if counted && begin.Before(*first) {
		begin = begin.Add(halfHour)
	}
	return begin, nil
}

// inOrganization confines a query to the templates of the organization that $1 names, if any.
const inOrganization = ` AND ($1::uuid IS NULL OR template_id IN (SELECT id FROM templates WHERE organization_id = $1))`

// maxLatency is the highest latency that is believed.
const maxLatency = 10 * time.Minute

// columnSessions are the session apps that have columns of their own in older schemas.
var columnSessions = [...]string{"vscode", "jetbrains", "reconnecting_pty", "ssh"}

// reports adds the reports of agents, each in the minute in which it arrived.
func (d *Database) reports(ctx context.Context, tx pgx.Tx, u usage, organization *uuid.UUID, w window) error {
	sessions := `session_count_vscode, session_count_jetbrains, session_count_reconnecting_pty, session_count_ssh`
	var columns [len(columnSessions)]int64
	var counts map[string]int64
	into := []any{&columns[0], &columns[1], &columns[2], &columns[3]}
	if d.shape.SessionCounts {
		sessions, into = `session_counts`, []any{&counts}
	}
	rows, err := tx.Query(ctx, `SELECT created_at, template_id, user_id, workspace_id, connection_count,
		connection_median_latency_ms, `+sessions+`
		FROM workspace_agent_stats WHERE created_at >= $2 AND created_at < $3`+inOrganization+` ORDER BY created_at`, organization, w.from,
		w.to)
	if err != nil {
		return err
	}
	defer rows.Close()
	var at time.Time
	var template, user, workspace uuid.UUID
	var connections int64
	var latency float64
	into = append([]any{&at, &template, &user, &workspace, &connections, &latency}, into...)
	for rows.Next() {
		counts = nil
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if !d.shape.SessionCounts {
			counts = make(map[string]int64, len(columns))
			for i, n := range columns {
				counts[columnSessions[i]] = n
			}
		}
		arrived := at.Unix() / 60
		open, _ := store.NormalizeSessions(apps.BuiltIn(), counts)
		for app := range open {
			c := cell{template, user, workspace, int32(arrived / minute.MinutesPerHalfHour), minute.Session, app}
			u.addSpan(c, arrived, arrived)
			u.at(c).connected = u.at(c).connected || connections > 0
		}
		if latency > 0 && latency <= float64(maxLatency.Milliseconds()) {
			u.addSample(cell{template: template, user: user, workspace: workspace, kind: minute.Connection}, arrived, latency)
		}
	}
	return rows.Err()
}

// logins adds the minutes in which users signed in.
func (d *Database) logins(ctx context.Context, tx pgx.Tx, u usage, organization *uuid.UUID, w window) error {
	rows, err := tx.Query(ctx, `SELECT time, user_id FROM audit_logs
		WHERE action = 'login' AND status_code < 400 AND time >= $2 AND time < $3
			AND ($1::uuid IS NULL OR user_id IN (SELECT user_id FROM organization_members WHERE organization_id = $1))`,
		organization, w.from, w.to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var at time.Time
		var user uuid.UUID
		if err := rows.Scan(&at, &user); err != nil {
			return err
		}
		if user != uuid.Nil {
			u.addSpan(cell{user: user, kind: minute.Login}, at.Unix()/60, at.Unix()/60)
		}
	}
	return rows.Err()
}

// halfHours adds estimates of which minutes Coder's half hours are, at the workspaces in which they were as far as that is certain.
func (d *Database) halfHours(ctx context.Context, tx pgx.Tx, u usage, organization *uuid.UUID, w window) error {
	if !w.from.Before(w.to) {
		return nil
	}
	known := map[cell]minute.Mask{} // minutes of apps, in cells without workspace, kind and app
	for c, is := range u {
		if c.kind == minute.App {
			c.workspace, c.kind, c.app = uuid.Nil, 0, ""
			known[c] |= is.minutes
		}
	}
	ran, err := d.workspacesThatRan(ctx, tx, organization, w)
	if err != nil {
		return fmt.Errorf("read when workspaces ran: %w", err)
	}
	return d.buckets(ctx, tx, organization, w, func(c cell, b bucket) {
		used := known[c]
		var running minute.Mask
		c.workspace, running = ran.only(c)
		for _, r := range b.estimate(used, running) {
			c.kind, c.app = r.Kind, r.App
			u.at(c).minutes |= r.Minutes
			used |= r.Minutes
		}
		if b.latency <= 0 || b.latency > float64(maxLatency.Milliseconds()) {
			return
		}
		c.kind, c.app = minute.ImportedConnection, ""
		for _, at := range minutesOf(used) {
			u.addSample(c, int64(c.halfHour)*minute.MinutesPerHalfHour+int64(at), b.latency)
		}
	})
}

// buckets calls f with Coder's half hours that begin in a window, in cells without kind and app.
func (d *Database) buckets(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, w window, f func(cell, bucket)) error {
	sessions := `jsonb_build_object('ssh', ssh_mins, 'sftp', sftp_mins, 'reconnecting_pty', reconnecting_pty_mins,
		'vscode', vscode_mins, 'jetbrains', jetbrains_mins)`
	if d.shape.SessionApps {
		sessions = `(SELECT jsonb_object_agg(app_name, usage_mins) FROM template_usage_stats_session_apps AS apps
			WHERE apps.start_time = stats.start_time AND apps.template_id = stats.template_id AND apps.user_id = stats.user_id)`
	}
	rows, err := tx.Query(ctx, `SELECT start_time, template_id, user_id, usage_mins, `+sessions+`, app_usage_mins,
		COALESCE(median_latency_ms, 0)::float8
		FROM template_usage_stats AS stats WHERE start_time >= $2 AND start_time < $3`+inOrganization, organization, w.from, w.to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var start time.Time
		var c cell
		var b bucket
		var named map[string]int
		if err := rows.Scan(&start, &c.template, &c.user, &b.usage, &named, &b.apps, &b.latency); err != nil {
			return err
		}
		c.halfHour = int32(start.Unix() / int64(halfHour.Seconds()))
		b.sessions = make(map[string]int, len(named))
		for name, n := range named {
			if n > 0 {
				b.sessions[store.NormalizeSessionName(name)] += n
			}
		}
		f(c, b)
	}
	return rows.Err()
}
