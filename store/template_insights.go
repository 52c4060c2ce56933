package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// TemplateInsights is what is known of a set of templates in a window.
type TemplateInsights struct {
	Templates   []uuid.UUID   // with any activity, ascending
	ActiveUsers int           // distinct users with any activity
	Apps        []AppUsage    // families in the order of the list of apps, then apps by slug, display name and icon
	Unknown     AppUsage      // session apps of no builtin family, together
	Unused      []TemplateApp // declared, and not used in the window
	Intervals   []Interval    // one per bound of the window
	Estimated   bool          // some of the usage is an estimate taken over from another system
	Others      []OtherActor  // that the question leaves out
}

// AnyApp reports whether any entry was used.
func (i TemplateInsights) AnyApp() bool {
	return slices.ContainsFunc(i.Entries(), func(a AppUsage) bool { return a.Minutes > 0 })
}

// Entries are those of Apps, and that of session apps of no builtin family if any was used.
func (i TemplateInsights) Entries() []AppUsage {
	if i.Unknown.Minutes == 0 {
		return i.Apps
	}
	return append(slices.Clip(i.Apps), i.Unknown)
}

// AppUsage is the use of one app entry.
type AppUsage struct {
	Templates   []uuid.UUID // where it was used, ascending
	Builtin     bool        // a family of session apps; otherwise a workspace app
	DisplayName string
	Slug        string
	Icon        string
	Minutes     int64         // distinct minutes, summed over users
	Launches    int64         // runs of consecutive half hours with use, per user
	Family      string        // as [apps.App.Family] of its session apps; WorkspaceApp for others
	Editors     []EditorUsage // the session apps of a builtin entry that were used, by name
}

// WorkspaceApp is the family of apps that are not session apps.
const WorkspaceApp = apps.Workspace

// EditorUsage is the use of one session app.
type EditorUsage struct {
	Name        string
	DisplayName string      // as [apps.App.DisplayName]
	Icon        string      // as [apps.App.Icon]
	Templates   []uuid.UUID // where it was used, ascending
	Minutes     int64       // distinct minutes, summed over users
	Launches    int64       // runs of consecutive half hours with use, per user
}

// Interval is the activity in one part of the window.
type Interval struct {
	Start, End  int64 // minutes since the Unix epoch, end exclusive
	Templates   []uuid.UUID
	ActiveUsers int
}

// TemplateInsights answers for some actors in the templates of a scope in one pass over their usage. A floor lets it tell what was
// published alone, which is of people.
func (s *Store) TemplateInsights(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window, floor Floor,
) (TemplateInsights, error) {
	if floor.hides() {
		return s.publishedInsights(ctx, scope, w, floor)
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return TemplateInsights{}, err
	}
	channels, tally, err := s.countEntries(ctx, x, actors, w, (*appChannels).usersOf)
	if err != nil {
		return TemplateInsights{}, err
	}
	answer := TemplateInsights{
		Templates: x.Of(tally.Templates), ActiveUsers: tally.ActiveUsers, Intervals: intervals(x, tally), Estimated: tally.Estimated,
		Others: together(tally.Others),
	}
	channels.withhold(&tally)
	channels.fill(&answer, x, tally.Channels)
	answer.Unused = channels.unused(x, tally.Channels)
	return answer, nil
}

// Intervals answers for the intervals of the window alone, and says whom it leaves out. A floor is as in TemplateInsights.
func (s *Store) Intervals(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window, floor Floor,
) ([]Interval, []OtherActor, error) {
	if floor.hides() {
		published, err := s.publishedInsights(ctx, scope, w, floor)
		return published.Intervals, published.Others, err
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, nil, err
	}
	tally, err := s.count(ctx, x, actors, w, anyUsage)
	if err != nil {
		return nil, nil, err
	}
	return intervals(x, tally), together(tally.Others), nil
}

func intervals(x usage.Index, tally minute.Tally) []Interval {
	list := make([]Interval, len(tally.Intervals))
	for i, t := range tally.Intervals {
		list[i] = Interval{t.Start, t.End, x.Of(t.Templates), t.ActiveUsers}
	}
	return list
}

// anyUsage counts usage as such, in no channel.
func anyUsage(_ int, kind minute.Kind, _ string, _ bool) (channel, within int) {
	if kind == minute.Login {
		return minute.Ignored, minute.NoChannel
	}
	return minute.NoChannel, minute.NoChannel
}

// PerTemplate answers for some actors in each template by itself: usage of one person in two templates counts in both.
func (s *Store) PerTemplate(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window,
) (map[uuid.UUID]TemplateInsights, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return nil, err
	}
	of, err := s.population(ctx, actors)
	if err != nil {
		return nil, err
	}
	counters := map[int]*minute.Counter{}
	err = usage.EachDay(ctx, s.usage, x, w, usage.Minutes, func(day int32, sources []minute.Source[*minute.Table]) error {
		for i, source := range sources {
			if counters[source.Template] == nil {
				counters[source.Template] = minute.NewCounter(w, of, len(x.IDs), channels.of, channels.usersOf())
			}
			if err := counters[source.Template].Add(day, sources[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer := map[uuid.UUID]TemplateInsights{}
	for template, counter := range counters {
		tally := counter.Tally()
		if tally.ActiveUsers == 0 {
			continue
		}
		insights := TemplateInsights{Templates: x.Of(tally.Templates), ActiveUsers: tally.ActiveUsers}
		channels.withhold(&tally)
		channels.fill(&insights, x, tally.Channels)
		answer[x.IDs[template]] = insights
	}
	return answer, nil
}

// Use is who used templates in a window, each by itself and all together.
type Use struct {
	Templates []TemplateUse // that the catalog knows, used or not, ascending
	Users     []TemplateUser
	Active    int          // distinct users with any activity, also those whose name is not known any more
	Intervals []Interval   // one per bound of the window
	Peaks     []int32      // as [minute.Tally.Peaks]; nil unless asked for
	Others    []OtherActor // that the question leaves out
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

// Use answers for some actors in the templates of a scope, with the details, in one pass over their usage.
func (s *Store) Use(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window, details ...minute.Detail,
) (Use, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return Use{}, err
	}
	// Each template is a channel of its own.
	tally, err := s.count(ctx, x, actors, w, func(template int, kind minute.Kind, app string, shown bool) (channel, within int) {
		if channel, within = anyUsage(template, kind, app, shown); channel == minute.Ignored {
			return channel, within
		}
		return template, within
	}, append(details, minute.Users)...)
	if err != nil {
		return Use{}, err
	}
	use := Use{Active: tally.ActiveUsers, Intervals: intervals(x, tally), Peaks: tally.Peaks, Others: together(tally.Others)}
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
		if channel, known := x.Number(t.ID); known && channel < len(tally.Channels) {
			use.Templates[i].ActiveUsers, use.Templates[i].Minutes = tally.Channels[channel].Users, tally.Channels[channel].Minutes
		}
	}
	return use, nil
}

// templateUses are the templates of the question, without their usage.
func (s *Store) templateUses(ctx context.Context, x usage.Index) ([]TemplateUse, error) {
	condition, args := x.WhereColumn("templates.id", "1 = 1")
	var found []TemplateUse
	err := s.db.Reads.WithContext(ctx).Raw(
		`SELECT templates.id, templates.name, templates.display_name, templates.deleted_at <> 0 AS deleted,
		COALESCE(living.workspaces, 0) AS workspaces
		FROM templates LEFT JOIN (SELECT template_id, COUNT(*) AS workspaces FROM workspaces WHERE deleted_at = 0 GROUP BY template_id) AS
		living ON living.template_id = templates.id
		WHERE `+condition+` ORDER BY templates.id`, args...).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return found, nil
}
