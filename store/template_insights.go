package store

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// TemplateInsights is what is known of a set of templates in a window.
type TemplateInsights struct {
	Templates   []uuid.UUID   // with any activity, ascending
	ActiveUsers int           // distinct users with any activity
	Apps        []AppUsage    // builtin entries in their fixed order, then apps by slug, display name and icon
	Unknown     AppUsage      // session apps of no builtin family, together
	Unused      []TemplateApp // declared, and not used in the window
	Intervals   []Interval    // one per bound of the window
	Estimated   bool          // some of the usage is an estimate taken over from another system
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
const WorkspaceApp = "workspace_app"

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

// TemplateInsights answers for the templates of a scope in one pass over their usage. A floor lets it tell what is published alone.
func (s *Store) TemplateInsights(ctx context.Context, scope access.Scope, w minute.Window, floor Floor) (TemplateInsights, error) {
	if floor.hides() {
		return s.publishedInsights(ctx, scope, w, floor)
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return TemplateInsights{}, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return TemplateInsights{}, err
	}
	tally, err := s.count(ctx, x, w, channels.of)
	if err != nil {
		return TemplateInsights{}, err
	}
	answer := TemplateInsights{
		Templates: x.of(tally.Templates), ActiveUsers: len(tally.Users), Intervals: intervals(x, tally), Estimated: tally.Estimated,
	}
	channels.fill(&answer, x, tally.Channels)
	answer.Unused = channels.unused(x, tally.Channels)
	return answer, nil
}

// Intervals answers for the intervals of the window alone. A floor lets it tell what is published alone.
func (s *Store) Intervals(ctx context.Context, scope access.Scope, w minute.Window, floor Floor) ([]Interval, error) {
	if floor.hides() {
		published, err := s.publishedInsights(ctx, scope, w, floor)
		return published.Intervals, err
	}
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	tally, err := s.count(ctx, x, w, anyUsage)
	if err != nil {
		return nil, err
	}
	return intervals(x, tally), nil
}

func intervals(x templateIndex, tally minute.Tally) []Interval {
	list := make([]Interval, len(tally.Intervals))
	for i, t := range tally.Intervals {
		list[i] = Interval{t.Start, t.End, x.of(t.Templates), t.ActiveUsers}
	}
	return list
}

// anyUsage counts usage as such, in no channel.
func anyUsage(_ int, kind minute.Kind, _ string) (channel, within int) {
	if kind == minute.Login {
		return minute.Ignored, minute.NoChannel
	}
	return minute.NoChannel, minute.NoChannel
}

// PerTemplate answers for each template by itself: usage of one person in two templates counts in both.
func (s *Store) PerTemplate(ctx context.Context, scope access.Scope, w minute.Window) (map[uuid.UUID]TemplateInsights, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return nil, err
	}
	counters := map[int]*minute.Counter{}
	err = eachDay(ctx, s, x, w, usageTables, func(day int32, sources []minute.Source[*minute.Table]) error {
		for i, source := range sources {
			if counters[source.Template] == nil {
				counters[source.Template] = minute.NewCounter(w, len(x.ids), channels.of)
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
		if len(tally.Users) == 0 {
			continue
		}
		insights := TemplateInsights{Templates: x.of(tally.Templates), ActiveUsers: len(tally.Users)}
		channels.fill(&insights, x, tally.Channels)
		answer[x.ids[template]] = insights
	}
	return answer, nil
}
