package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Use is who used templates in a window, each by itself and all together.
type Use struct {
	Templates []TemplateUse // that the catalog knows, used or not, ascending
	Users     []TemplateUser
	Active    int        // distinct users with any activity, also those whose name is not known any more
	Intervals []Interval // one per bound of the window
	Peaks     []int32    // as [minute.Tally.Peaks]; nil unless asked for
}

// TemplateUser is a user with any activity, without apps.
type TemplateUser struct {
	UserUsage

	MinutesIn []int64 // distinct minutes in each of Templates
}

// TemplateUse is the use of one template.
type TemplateUse struct {
	ID          uuid.UUID
	Name        string
	DisplayName string
	Deleted     bool
	Workspaces  int64 // that are not deleted
	ActiveUsers int   // distinct users with any activity
	Minutes     int64 // distinct minutes of each user, summed over users
}

// Use answers for the templates of a scope, with the details, in one pass over their usage.
func (s *Store) Use(ctx context.Context, scope access.Scope, w minute.Window, details ...minute.Detail) (Use, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return Use{}, err
	}
	// Each template is a channel of its own.
	tally, err := s.count(ctx, x, w, func(template int, kind minute.Kind, app string) (channel, within int) {
		if channel, within = anyUsage(template, kind, app); channel == minute.Ignored {
			return channel, within
		}
		return template, within
	}, details...)
	if err != nil {
		return Use{}, err
	}
	use := Use{Active: len(tally.Users), Intervals: intervals(x, tally), Peaks: tally.Peaks}
	users, tallies, err := s.usersOf(ctx, x, tally)
	if err != nil {
		return Use{}, err
	}
	for i, u := range users {
		in := make([]int64, len(tallies[i].Channels))
		for j, c := range tallies[i].Channels {
			in[j] = c.Minutes
		}
		use.Users = append(use.Users, TemplateUser{u, in})
	}
	if use.Templates, err = s.templateUses(ctx, x); err != nil {
		return Use{}, err
	}
	for i, t := range use.Templates {
		if channel, known := x.numbers[t.ID]; known && channel < len(tally.Channels) {
			use.Templates[i].ActiveUsers, use.Templates[i].Minutes = tally.Channels[channel].Users, tally.Channels[channel].Minutes
		}
	}
	return use, nil
}

// templateUses are the templates of the question, without their usage.
func (s *Store) templateUses(ctx context.Context, x templateIndex) ([]TemplateUse, error) {
	condition, args := x.whereColumn("templates.id", "1 = 1")
	var found []TemplateUse
	err := s.reads.WithContext(ctx).Raw(`SELECT templates.id, templates.name, templates.display_name, templates.deleted_at <> 0 AS deleted,
		COALESCE(living.workspaces, 0) AS workspaces
		FROM templates LEFT JOIN (SELECT template_id, COUNT(*) AS workspaces FROM workspaces WHERE deleted_at = 0 GROUP BY template_id) AS
		living ON living.template_id = templates.id
		WHERE `+condition+` ORDER BY templates.id`, args...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return found, nil
}
