package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// TemplateFacts is what is known of one template beside its usage in a window: what explains that there is little or none.
type TemplateFacts struct {
	TemplateID uuid.UUID

	Workspaces int64 // that existed in the window

	FirstUse, LastUse time.Time // bounds of the days with reports of use, ever; zero: there is none

	Starts           int64 // of workspaces, that succeeded, ever: no other build changes what a workspace runs with
	StartsInWindow   int64
	FirstStart       Instant // when it was created
	LastStart        Instant
	Agents           int64   // that exist now, as the rest
	AgentsOnline     int64   // reported not long ago
	AgentsLegacy     int64   // send sessions in the older form
	AgentsRelayed    int64   // reached peers since the begin of the window through a relay and never directly
	AgentsWithPeers  int64   // reached peers since the begin of the window
	Region           string  // of the relay of one of those that are relayed
	NewestAgent      Instant // when it was made
	NewestConnection Instant // first report of an agent
	NewestReport     Instant
}

// StartFacts returns of the facts about the templates of a scope, by id, those about starts of workspaces. The window is [start, end).
func (s *Store) StartFacts(ctx context.Context, scope access.Scope, start, end time.Time) ([]TemplateFacts, error) {
	return s.facts(ctx, scope, func(f factReader) error { return f.starts(start, end) })
}

// Facts returns what is known of the templates of a scope, by id. The window is [start, end); agents are online if they
// reported since that moment. It looks at everything that the deployment has.
func (s *Store) Facts(ctx context.Context, scope access.Scope, start, end, online time.Time) ([]TemplateFacts, error) {
	return s.facts(ctx, scope, func(f factReader) error {
		for _, read := range []func() error{
			func() error { return f.workspaces(start, end) },
			func() error { return f.agents(start, online) },
			func() error { return f.starts(start, end) },
			f.usage,
		} {
			if err := read(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) facts(ctx context.Context, scope access.Scope, read func(factReader) error) ([]TemplateFacts, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	facts := make([]TemplateFacts, len(x.IDs))
	for i, id := range x.IDs {
		facts[i].TemplateID = id
	}
	if err := read(factReader{s.db.Reads.WithContext(ctx), x, facts}); err != nil {
		return nil, fmt.Errorf("read what is known of templates: %w", err)
	}
	return facts, nil
}

// factReader fills facts, one table after the other.
type factReader struct {
	db    *gorm.DB
	x     usage.Index
	facts []TemplateFacts
}

// of returns the facts of a template; it may be younger than the index.
func (f factReader) of(template uuid.UUID) *TemplateFacts {
	i, known := f.x.Number(template)
	if !known {
		return &TemplateFacts{}
	}
	return &f.facts[i]
}

func (f factReader) workspaces(start, end time.Time) error {
	condition, args := f.x.Where("created_at < ? AND (deleted_at = 0 OR deleted_at > ?)", At(end), At(start))
	var found []struct {
		TemplateID uuid.UUID
		Workspaces int64
	}
	if err := f.db.Raw(
		`SELECT template_id, COUNT(*) AS workspaces FROM workspaces WHERE `+condition+` GROUP BY template_id`, args...,
	).Scan(&found).Error; err != nil {
		return err
	}
	for _, w := range found {
		f.of(w.TemplateID).Workspaces = w.Workspaces
	}
	return nil
}

func (f factReader) agents(start, online time.Time) error {
	since := At(start)
	condition, args := f.x.Where("agents.deleted_at = 0 AND workspaces.deleted_at = 0")
	args = append([]any{At(online), since, since, since, since, since, since}, args...)
	var found []TemplateFacts
	err := f.db.Raw(`SELECT workspaces.template_id, COUNT(*) AS agents,
			SUM(CASE WHEN states.last_seen_at >= ? THEN 1 ELSE 0 END) AS agents_online,
			SUM(CASE WHEN states.legacy_sessions THEN 1 ELSE 0 END) AS agents_legacy,
			SUM(CASE WHEN states.relayed_at >= ? AND states.direct_at < ? THEN 1 ELSE 0 END) AS agents_relayed,
			SUM(CASE WHEN states.relayed_at >= ? OR states.direct_at >= ? THEN 1 ELSE 0 END) AS agents_with_peers,
			MAX(CASE WHEN states.relayed_at >= ? AND states.direct_at < ? THEN states.derp_region ELSE '' END) AS region,
			MAX(agents.created_at) AS newest_agent,
			MAX(COALESCE(states.first_connected_at, 0)) AS newest_connection,
			MAX(COALESCE(states.last_seen_at, 0)) AS newest_report
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id LEFT JOIN agent_states AS states ON states.agent_id = agents.id
		WHERE `+condition+` GROUP BY workspaces.template_id`, args...).Scan(&found).Error
	if err != nil {
		return err
	}
	for _, a := range found {
		to := f.of(a.TemplateID)
		to.Agents, to.AgentsOnline, to.AgentsLegacy, to.AgentsRelayed, to.AgentsWithPeers = a.Agents, a.AgentsOnline, a.AgentsLegacy,
			a.AgentsRelayed, a.AgentsWithPeers
		to.Region, to.NewestAgent, to.NewestConnection, to.NewestReport = a.Region, a.NewestAgent, a.NewestConnection, a.NewestReport
	}
	return nil
}

func (f factReader) starts(start, end time.Time) error {
	condition, args := f.x.Where(changesWorkspace)
	var found []TemplateFacts
	err := f.db.Raw(`SELECT template_id, COUNT(*) AS starts, SUM(CASE WHEN created_at >= ? AND created_at < ? THEN 1 ELSE 0 END) AS
			starts_in_window, MIN(created_at) AS first_start, MAX(created_at) AS last_start
		FROM builds WHERE `+condition+` GROUP BY template_id`, append([]any{At(start), At(end)}, args...)...).Scan(&found).Error
	if err != nil {
		return err
	}
	for _, b := range found {
		to := f.of(b.TemplateID)
		to.Starts, to.StartsInWindow, to.FirstStart, to.LastStart = b.Starts, b.StartsInWindow, b.FirstStart, b.LastStart
	}
	return nil
}

// usage finds the first and the last day with reports of use, whether or not they count behind the connection gate.
func (f factReader) usage() error {
	for _, in := range []struct {
		statement, condition string
		unit                 time.Duration
	}{
		{`SELECT template_id, MIN(day) AS first, MAX(day) AS last FROM ` + usage.Pages, "length(usage) > 0", 24 * time.Hour},
		{
			`SELECT template_id, MIN(half_hour) AS first, MAX(half_hour) AS last FROM usage_rows`, "kind NOT IN (2, 3, 6)",
			minute.MinutesPerHalfHour * time.Minute,
		},
	} {
		condition, args := f.x.Where(in.condition)
		var found []struct {
			TemplateID  uuid.UUID
			First, Last int64
		}
		if err := f.db.Raw(in.statement+` WHERE `+condition+` GROUP BY template_id`, args...).Scan(&found).Error; err != nil {
			return err
		}
		for _, u := range found {
			to := f.of(u.TemplateID)
			first, last := time.Unix(0, u.First*int64(in.unit)), time.Unix(0, (u.Last+1)*int64(in.unit))
			if to.FirstUse.IsZero() || first.Before(to.FirstUse) {
				to.FirstUse = first
			}
			if last.After(to.LastUse) {
				to.LastUse = last
			}
		}
	}
	return nil
}
