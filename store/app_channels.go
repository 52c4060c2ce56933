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

// The channels of a question, in order: the builtin entries, unknown editors, workspace apps by identity, and then the
// session apps, each within its entry, as they turn up.
const (
	unknownChannel = len(apps.Families)
	firstIdentity  = unknownChannel + 1
)

// maxEditors bounds the session apps that a question tells apart; agents may send any name. The others are only counted in
// their entries.
const maxEditors = 256

// appChannels numbers the app entries of a question. Two workspace apps are one entry when slug, display name and icon are
// equal.
type appChannels struct {
	declared   []TemplateApp
	identities []TemplateApp    // without template, sorted
	apps       []map[string]int // by template index: slug to channel
	editors    map[string]int   // name to channel
	names      []string         // of the editors, in order of their channels
}

func (s *Store) appChannels(ctx context.Context, x usage.Index) (*appChannels, error) {
	c := &appChannels{apps: make([]map[string]int, len(x.IDs)), editors: map[string]int{}}
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
		c.apps[template][a.Slug] = firstIdentity + i
	}
	return c, nil
}

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
func (c *appChannels) of(template int, kind minute.Kind, app string) (channel, within int) {
	switch kind {
	case minute.Session:
		entry := apps.Entry(app)
		editor, known := c.editors[app]
		if !known {
			if len(c.names) == maxEditors {
				return entry, minute.NoChannel
			}
			editor = firstIdentity + len(c.identities) + len(c.names)
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
func (c *appChannels) ofEntry(template int, kind minute.Kind, app string) (channel, within int) {
	if kind == minute.Session {
		return apps.Entry(app), minute.NoChannel
	}
	return c.of(template, kind, app)
}

// entry describes a channel that is an entry of an answer.
func (c *appChannels) entry(channel int) AppUsage {
	switch {
	case channel < unknownChannel:
		f := apps.Families[channel]
		return AppUsage{Builtin: true, Family: f.Name, Slug: f.Slug, DisplayName: f.DisplayName, Icon: f.Icon}
	case channel == unknownChannel:
		return AppUsage{Builtin: true, Family: UnknownSession, Slug: UnknownSession, DisplayName: "Other Editors"}
	default:
		d := c.identities[channel-firstIdentity]
		return AppUsage{Family: WorkspaceApp, Slug: d.Slug, DisplayName: d.DisplayName, Icon: d.Icon}
	}
}

// isEntry reports whether a channel is an entry of an answer, not a session app within one.
func (c *appChannels) isEntry(channel int) bool { return channel < firstIdentity+len(c.identities) }

// fill turns the tally of the channels into entries. Builtin entries are always there, apps only when used.
func (c *appChannels) fill(answer *TemplateInsights, x usage.Index, tally []minute.ChannelTally) {
	of := func(channel int) minute.ChannelTally {
		if channel < len(tally) {
			return tally[channel]
		}
		return minute.ChannelTally{} // beyond the last that was used
	}
	entries := make([]AppUsage, firstIdentity+len(c.identities))
	for channel := range entries {
		t := of(channel)
		entries[channel] = c.entry(channel)
		entries[channel].Templates, entries[channel].Minutes, entries[channel].Launches = x.Of(t.Templates), t.Minutes, t.Launches
	}
	for _, name := range slices.Sorted(slices.Values(c.names)) {
		if t := of(c.editors[name]); t.Minutes > 0 {
			e := &entries[apps.Entry(name)]
			app := apps.Of(name)
			e.Editors = append(e.Editors, EditorUsage{name, app.DisplayName, app.Icon, x.Of(t.Templates), t.Minutes, t.Launches})
		}
	}
	answer.Unknown = entries[unknownChannel]
	answer.Apps = slices.DeleteFunc(slices.Delete(entries, unknownChannel, firstIdentity), func(a AppUsage) bool {
		return !a.Builtin && a.Minutes == 0
	})
}

// unused are the declared apps that were not used in their template.
func (c *appChannels) unused(x usage.Index, tally []minute.ChannelTally) (unused []TemplateApp) {
	for _, a := range c.declared {
		template, _ := x.Number(a.TemplateID)
		channel := c.apps[template][a.Slug]
		if channel >= len(tally) || !slices.Contains(tally[channel].Templates, template) {
			unused = append(unused, a)
		}
	}
	return unused
}

// userApps turns the channels of a user into entries.
func (c *appChannels) userApps(channels []minute.UserChannel) []UserApp {
	used := make([]UserApp, 0, len(channels))
	for _, u := range channels {
		if c.isEntry(u.Channel) {
			e := c.entry(u.Channel)
			used = append(used, UserApp{e.Builtin, e.DisplayName, e.Slug, u.Minutes})
		}
	}
	slices.SortStableFunc(used, func(a, b UserApp) int { return cmp.Compare(b.Minutes, a.Minutes) })
	return used
}
