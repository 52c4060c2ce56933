package coder

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// sessionsSeen are the sessions of apps that a look found in its window, so that the next one need not read all that there ever were: Coder
// has no index by time, and moves the end of a session that goes on. What is new has a greater id.
type sessionsSeen struct {
	from  time.Time
	ids   []int64
	last  int64     // no id was greater; 0: no session was seen yet
	whole time.Time // when all were read
}

const (
	// sessionsWhole is how often all sessions are read, for one that went on after it had been quiet for longer than a look looks back.
	sessionsWhole = time.Hour
	// lateIDs is how much smaller than one that was seen the id of a session may be that comes later: servers write several at a time.
	lateIDs = 10_000
)

// continues reports whether a look from a moment on finds all of its sessions among those that were seen and newer ones.
func (s *sessionsSeen) continues(from time.Time) bool {
	return s != nil && s.last > 0 && !from.Before(s.from) && time.Since(s.whole) < sessionsWhole
}

// maxSession is the length of the longest session of an app that is believed.
const maxSession = 31 * 24 * time.Hour

// appSessions adds the sessions of apps that touch a window, whole. Of a window that reaches up to now it notes those in seen.
func (d *Database) appSessions(
	ctx context.Context, tx pgx.Tx, u usage, organization *uuid.UUID, w window, seen *sessionsSeen,
) error {
	found := sessionsSeen{from: w.from, whole: time.Now()}
	after, known := int64(0), []int64(nil)
	if seen.continues(w.from) {
		after, known, found.last, found.whole = seen.last-lateIDs, seen.ids, seen.last, seen.whole
	}
	rows, err := tx.Query(ctx, `SELECT workspace_app_stats.id, workspaces.template_id, workspace_app_stats.user_id, workspaces.id,
		access_method, slug_or_port, session_started_at, session_ended_at
		FROM workspace_app_stats JOIN workspaces ON workspaces.id = workspace_app_stats.workspace_id
		WHERE session_ended_at >= $2 AND session_started_at < $3 AND (workspace_app_stats.id > $4 OR workspace_app_stats.id = ANY ($5))`+
		inOrganization, organization, w.from, w.to, after, known)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var template, user, workspace uuid.UUID
		var method, app string
		var started, ended time.Time
		if err := rows.Scan(&id, &template, &user, &workspace, &method, &app, &started, &ended); err != nil {
			return err
		}
		found.ids, found.last = append(found.ids, id), max(found.last, id)
		if app = plain(app); method == "terminal" {
			app = store.TerminalApp
		}
		if app == "" || user == uuid.Nil || ended.Before(started) || ended.Sub(started) > maxSession {
			continue
		}
		const micros = int64(time.Minute / time.Microsecond)
		first, last := started.Unix()/60, (ended.UnixMicro()+micros-1)/micros-1 // up to the end, not with it
		u.addSpan(cell{template: template, user: user, workspace: workspace, kind: minute.App, app: app}, first, last)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if seen != nil {
		*seen = found
	}
	return nil
}
