package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// TemplateInsights is what is known of a set of templates in a window.
type TemplateInsights struct {
	Templates   []uuid.UUID // with any activity, ascending
	ActiveUsers int         // distinct users with any activity
	Apps        []AppUsage  // builtin entries in their fixed order, then apps by slug, display name and icon
	Intervals   []Interval  // one per bound of the window
}

// AppUsage is the use of one app entry.
type AppUsage struct {
	Templates   []uuid.UUID // where it was used, ascending
	Builtin     bool        // a family of session apps; otherwise a workspace app
	DisplayName string
	Slug        string
	Icon        string
	Minutes     int64 // distinct minutes, summed over users
	Launches    int64 // runs of consecutive half hours with use, per user
}

// Interval is the activity in one part of the window.
type Interval struct {
	Start, End  int64 // minutes since the Unix epoch, end exclusive
	Templates   []uuid.UUID
	ActiveUsers int
}

// builtins are the entries that every report has, in order, by family.
var builtins = []struct{ family, slug, displayName, icon string }{
	{"vscode", "vscode", "Visual Studio Code", "/icon/code.svg"},
	{"jetbrains", "jetbrains", "JetBrains", "/icon/intellij.svg"},
	{"reconnecting_pty", "reconnecting-pty", "Web Terminal", "/icon/terminal.svg"},
	{"ssh", "ssh", "SSH", "/icon/terminal.svg"},
	{"sftp", "sftp", "SFTP", "/icon/terminal.svg"},
}

// appChannels numbers the app entries of a question: first the builtin ones, then the identities of workspace apps.
// Two apps are one entry when slug, display name and icon are equal.
type appChannels struct {
	families   map[string]int
	identities []TemplateApp    // without template, sorted
	apps       []map[string]int // by template index: slug to channel
}

func (s *Store) appChannels(ctx context.Context, x templateIndex) (appChannels, error) {
	c := appChannels{families: map[string]int{}, apps: make([]map[string]int, len(x.ids))}
	for i, b := range builtins {
		c.families[b.family] = i
	}
	declared, err := s.templateApps(ctx, x)
	if err != nil {
		return c, err
	}
	identity := func(a TemplateApp) TemplateApp {
		return TemplateApp{Slug: a.Slug, DisplayName: a.DisplayName, Icon: a.Icon}
	}
	for _, a := range declared {
		c.identities = append(c.identities, identity(a))
	}
	slices.SortFunc(c.identities, compareIdentity)
	c.identities = slices.Compact(c.identities)
	for _, a := range declared {
		template, ok := x.numbers[a.TemplateID]
		if !ok {
			continue
		}
		if c.apps[template] == nil {
			c.apps[template] = map[string]int{}
		}
		i, _ := slices.BinarySearchFunc(c.identities, identity(a), compareIdentity)
		c.apps[template][a.Slug] = len(builtins) + i
	}
	return c, nil
}

func compareIdentity(a, b TemplateApp) int {
	return cmp.Or(cmp.Compare(a.Slug, b.Slug), cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.Icon, b.Icon))
}

func (s *Store) templateApps(ctx context.Context, x templateIndex) ([]TemplateApp, error) {
	condition, args := x.where("1 = 1")
	var declared []TemplateApp
	if err := s.reads.WithContext(ctx).Where(condition, args...).Find(&declared).Error; err != nil {
		return nil, fmt.Errorf("read apps of templates: %w", err)
	}
	return declared, nil
}

// of returns the channel of a session app or app slug, or -1 for activity that no entry shows.
func (c appChannels) of(template int, kind minute.Kind, app string) int {
	var channel int
	var ok bool
	if kind == minute.Session {
		channel, ok = c.families[Family(app)]
	} else {
		channel, ok = c.apps[template][app]
	}
	if !ok {
		return -1
	}
	return channel
}

func (c appChannels) count() int { return len(builtins) + len(c.identities) }

// usage turns the tally of the channels into entries. Builtin entries are always there, apps only when used.
func (c appChannels) usage(x templateIndex, tally []minute.ChannelTally) []AppUsage {
	var apps []AppUsage
	for i, t := range tally {
		a := AppUsage{Templates: x.of(t.Templates), Minutes: t.Minutes, Launches: t.Launches}
		switch {
		case i < len(builtins):
			b := builtins[i]
			a.Builtin, a.DisplayName, a.Slug, a.Icon = true, b.displayName, b.slug, b.icon
		case t.Minutes == 0:
			continue
		default:
			d := c.identities[i-len(builtins)]
			a.DisplayName, a.Slug, a.Icon = d.DisplayName, d.Slug, d.Icon
		}
		apps = append(apps, a)
	}
	return apps
}

// TemplateInsights answers for the templates of a scope in one pass over their usage.
func (s *Store) TemplateInsights(ctx context.Context, scope access.Scope, w minute.Window) (TemplateInsights, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return TemplateInsights{}, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return TemplateInsights{}, err
	}
	tally, err := s.count(ctx, x, w, channels.count(), channels.of)
	if err != nil {
		return TemplateInsights{}, err
	}
	answer := TemplateInsights{Templates: x.of(tally.Templates), ActiveUsers: len(tally.Users), Apps: channels.usage(x, tally.Channels)}
	for _, i := range tally.Intervals {
		answer.Intervals = append(answer.Intervals, Interval{i.Start, i.End, x.of(i.Templates), i.ActiveUsers})
	}
	return answer, nil
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
	err = s.eachDay(ctx, x, w, usageColumn, func(day int32, templates []usageDay) error {
		for _, u := range templates {
			table, err := u.table(x, day)
			if err != nil {
				return err
			}
			if counters[u.template] == nil {
				counters[u.template] = minute.NewCounter(w, len(x.ids), channels.count(), channels.of)
			}
			if err := counters[u.template].Add(day, []minute.Source{{Template: u.template, Table: table}}); err != nil {
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
		answer[x.ids[template]] = TemplateInsights{
			Templates: x.of(tally.Templates), ActiveUsers: len(tally.Users), Apps: channels.usage(x, tally.Channels),
		}
	}
	return answer, nil
}
