package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// maxEditors bounds the session apps of unknown names that a question tells apart, of those whom it is about; agents may send any name.
// The others are only counted in their entries.
const maxEditors = 256

// appChannels numbers the app entries of a question. Two workspace apps are one entry when slug, display name and icon are
// equal. The channels are, in order: the families, unknown editors, workspace apps by identity, and then the session apps, each within
// its entry, as they turn up.
type appChannels struct {
	known      *apps.List
	declared   []TemplateApp
	identities []TemplateApp    // without template, sorted
	apps       []map[string]int // by template index: slug to channel
	editors    map[string]int   // name to channel
	names      []string         // of the editors, in order of their channels
	strangers  int              // those of them that no list knows
}

func (s *Store) appChannels(ctx context.Context, x usage.Index) (*appChannels, error) {
	c := &appChannels{known: s.Apps(), apps: make([]map[string]int, len(x.IDs)), editors: map[string]int{}}
	var err error
	if c.declared, err = s.templateApps(ctx, x); err != nil {
		return nil, err
	}
	for _, a := range c.declared {
		c.identities = append(c.identities, identity(a))
	}
	slices.SortFunc(c.identities, compareIdentity)
	c.identities = slices.Compact(c.identities)
	for _, a := range c.declared {
		template, _ := x.Number(a.TemplateID)
		if c.apps[template] == nil {
			c.apps[template] = map[string]int{}
		}
		i, _ := slices.BinarySearchFunc(c.identities, identity(a), compareIdentity)
		c.apps[template][a.Slug] = c.firstIdentity() + i
	}
	return c, nil
}

func (c *appChannels) unknown() int       { return len(c.known.Families()) }
func (c *appChannels) firstIdentity() int { return c.unknown() + 1 }
func (c *appChannels) firstEditor() int   { return c.firstIdentity() + len(c.identities) }

func identity(a TemplateApp) TemplateApp {
	return TemplateApp{Slug: a.Slug, DisplayName: a.DisplayName, Icon: a.Icon}
}

func compareIdentity(a, b TemplateApp) int {
	return cmp.Or(cmp.Compare(a.Slug, b.Slug), cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.Icon, b.Icon))
}

// templateApps are the apps that the templates of the question declare.
func (s *Store) templateApps(ctx context.Context, x usage.Index) ([]TemplateApp, error) {
	condition, args := x.Where("1 = 1")
	var declared []TemplateApp
	if err := s.db.Reads.WithContext(ctx).Where(condition, args...).Find(&declared).Error; err != nil {
		return nil, fmt.Errorf("read apps of templates: %w", err)
	}
	return slices.DeleteFunc(declared, func(a TemplateApp) bool {
		_, known := x.Number(a.TemplateID)
		return !known // a template younger than the index
	}), nil
}

// DeclaresApp reports whether an agent of a template ever declared an app with that slug.
func (s *Store) DeclaresApp(ctx context.Context, template uuid.UUID, slug string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var declared int64
	err := s.db.Lookups.WithContext(ctx).Model(&TemplateApp{}).Where("template_id = ? AND slug = ?", template, slug).Count(&declared).Error
	if err != nil {
		return false, fmt.Errorf("look for app of template %s: %w", template, err)
	}
	return declared > 0, nil
}

// of is the [minute.ChannelOf] of the question.
func (c *appChannels) of(template int, kind minute.Kind, app string, shown bool) (channel, within int) {
	switch kind {
	case minute.Session:
		entry := c.known.Entry(app)
		editor, numbered := c.editors[app]
		if !numbered && !shown {
			return entry, minute.NoChannel
		}
		if !numbered {
			if !c.known.Listed(app) {
				if c.strangers == maxEditors {
					return entry, minute.NoChannel
				}
				c.strangers++
			}
			editor = c.firstEditor() + len(c.names)
			c.editors[app] = editor
			c.names = append(c.names, app)
		}
		return editor, entry
	case minute.App:
		if channel, ok := c.apps[template][app]; ok {
			return channel, minute.NoChannel
		}
		return minute.NoChannel, minute.NoChannel
	}
	return minute.Ignored, minute.NoChannel
}

// ofEntry is of for a question that does not tell editors apart.
func (c *appChannels) ofEntry(template int, kind minute.Kind, app string, shown bool) (channel, within int) {
	if kind == minute.Session {
		return c.known.Entry(app), minute.NoChannel
	}
	return c.of(template, kind, app, shown)
}

// published is the channel of a published app in a template. A family that there is no more is one of unknown apps.
func (c *appChannels) published(template int, app publishedApp) (channel int, known bool) {
	if app.Family == "" {
		channel, known = c.apps[template][app.Slug]
		return channel, known
	}
	for channel, f := range c.known.Families() {
		if f.Name == app.Family {
			return channel, true
		}
	}
	return c.unknown(), true
}

// together is how many people a channel is told of at least; 0: it is told of each. A workspace app is told of as the session app of its
// name.
func (c *appChannels) together(channel int) int {
	switch {
	case channel < c.unknown():
		return c.known.Families()[channel].Together
	case channel == c.unknown():
		return 0
	case channel < c.firstEditor():
		return c.known.Together(NormalizeSessionName(c.identities[channel-c.firstIdentity()].Slug))
	default:
		return c.known.Together(c.names[channel-c.firstEditor()])
	}
}

// withhold takes out of a tally what is told of several people together alone and was used by fewer: such channels, all session apps of
// an entry of which one is such a channel, so that no difference tells it, and of the templates of the others those with fewer people.
func (c *appChannels) withhold(t *minute.Tally) {
	few := map[int]bool{} // what has channels of few within
	var stay []int
	for channel, of := range t.Channels {
		switch together := c.together(channel); {
		case together == 0 || of.Users == 0:
		case of.Users < together:
			few[c.within(channel)], t.Channels[channel] = true, minute.ChannelTally{}
		default:
			stay = append(stay, channel)
		}
	}
	for _, channel := range stay {
		of := &t.Channels[channel]
		if !c.isEntry(channel) && few[c.within(channel)] {
			*of = minute.ChannelTally{}
		}
		of.Templates = slices.DeleteFunc(of.Templates, func(template int) bool {
			return t.UsersIn[channel][template] < c.together(channel)
		})
	}
}

// usersOf is the detail of a tally that withhold looks at.
func (c *appChannels) usersOf() minute.Detail {
	return minute.UsersOf(func(channel int) bool { return c.together(channel) > 0 })
}

// within is the entry that a session app lies within; of an entry [minute.NoChannel].
func (c *appChannels) within(channel int) int {
	if c.isEntry(channel) {
		return minute.NoChannel
	}
	return c.known.Entry(c.names[channel-c.firstEditor()])
}

// entry describes a channel that is an entry of an answer.
func (c *appChannels) entry(channel int) AppUsage {
	switch {
	case channel < c.unknown():
		f := c.known.Families()[channel]
		return AppUsage{Builtin: true, Family: f.Name, Slug: f.Slug(), DisplayName: f.DisplayName, Icon: f.Icon}
	case channel == c.unknown():
		return AppUsage{Builtin: true, Family: UnknownSession, Slug: UnknownSession, DisplayName: "Other Editors"}
	default:
		d := c.identities[channel-c.firstIdentity()]
		return AppUsage{Family: WorkspaceApp, Slug: d.Slug, DisplayName: d.DisplayName, Icon: d.Icon}
	}
}

// always reports whether a channel is an entry where nobody used it as well.
func (c *appChannels) always(channel int) bool {
	return channel < c.unknown() && c.known.Families()[channel].Always
}

// isEntry reports whether a channel is an entry of an answer, not a session app within one.
func (c *appChannels) isEntry(channel int) bool { return channel < c.firstEditor() }

// fill turns the tally of the channels into entries: those that are always there, and those that were used.
func (c *appChannels) fill(answer *TemplateInsights, x usage.Index, tally []minute.ChannelTally) {
	of := func(channel int) minute.ChannelTally {
		if channel < len(tally) {
			return tally[channel]
		}
		return minute.ChannelTally{} // beyond the last that was used
	}
	editors := make([][]EditorUsage, c.firstEditor()) // by entry
	for _, name := range slices.Sorted(slices.Values(c.names)) {
		if t := of(c.editors[name]); t.Minutes > 0 {
			entry, app := c.known.Entry(name), c.known.Of(name)
			editors[entry] = append(
				editors[entry], EditorUsage{name, app.DisplayName, app.Icon, x.Of(t.Templates), t.Minutes, t.Launches},
			)
		}
	}
	for channel := range c.firstEditor() {
		t, e := of(channel), c.entry(channel)
		e.Templates, e.Minutes, e.Launches, e.Editors = x.Of(t.Templates), t.Minutes, t.Launches, editors[channel]
		switch {
		case channel == c.unknown():
			answer.Unknown = e
		case e.Minutes > 0 || c.always(channel):
			answer.Apps = append(answer.Apps, e)
		}
	}
}

// unused are the declared apps that were not used in their template. That nobody used what is told of several people together alone would
// tell of each that he did not.
func (c *appChannels) unused(x usage.Index, tally []minute.ChannelTally) (unused []TemplateApp) {
	for _, a := range c.declared {
		template, _ := x.Number(a.TemplateID)
		channel := c.apps[template][a.Slug]
		if c.together(channel) == 0 && (channel >= len(tally) || !slices.Contains(tally[channel].Templates, template)) {
			unused = append(unused, a)
		}
	}
	return unused
}

// userApps turns the channels of each user into entries. These lie in one piece of memory.
func (c *appChannels) userApps(users []minute.UserTally) [][]UserApp {
	channels := 0
	for i := range users {
		channels += len(users[i].Channels)
	}
	lists, used, known := make([][]UserApp, len(users)), make([]UserApp, 0, channels), map[int]UserApp{}
	for i := range users {
		used = used[len(used):]
		for _, u := range users[i].Channels {
			if !c.isEntry(u.Channel) {
				continue
			}
			app, told := known[u.Channel]
			if !told {
				e := c.entry(u.Channel)
				app = UserApp{Builtin: e.Builtin, DisplayName: e.DisplayName, Slug: e.Slug, Together: c.together(u.Channel)}
				known[u.Channel] = app
			}
			app.Minutes = u.Minutes
			used = append(used, app)
		}
		slices.SortStableFunc(used, func(a, b UserApp) int { return cmp.Compare(b.Minutes, a.Minutes) })
		lists[i] = slices.Clip(used)
	}
	return lists
}
