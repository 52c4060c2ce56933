package reports

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
	"github.com/template-insights/insights/store/minute"
)

// Who may need help.
const (
	fewestSamples     = 10 // minutes with a latency, before it is called high
	lowMinutesPerWeek = 60 // of activity: fewer are low usage
	minutesPerWeek    = 7 * 24 * 60
)

// Support reports who may need help and which apps are preferred, of those who were active in a window, whose latency was measured
// in it and who owned workspaces in it.
func Support(
	active []store.UserUsage, measured []store.UserLatency, owners []store.Owner, w minute.Window,
) *insightsv1.SupportReport {
	var templates []uuid.UUID
	for _, u := range active {
		templates = append(templates, u.Templates...)
	}
	return &insightsv1.SupportReport{
		TemplateIds: call.Texts(call.Union(templates)), HighLatencyUsers: highLatencyUsers(measured),
		LowUsageUsers: lowUsageUsers(owners, active, w), AppPreferences: appPreferences(active),
	}
}

// highLatencyUsers are those whose connections are rated as poor, in the order of the store: the slowest first.
func highLatencyUsers(users []store.UserLatency) []*insightsv1.HighLatencyUser {
	var high []*insightsv1.HighLatencyUser
	for _, u := range users {
		if u.RatingP95 == minute.Poor && u.Samples >= fewestSamples {
			high = append(high, &insightsv1.HighLatencyUser{
				TemplateIds: call.Texts(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL, P50: u.P50,
				P95: u.P95, Samples: u.Samples, Kind: u.Kind, Deleted: u.Deleted,
			})
		}
	}
	return high
}

// lowUsageUsers are the owners of workspaces who hardly use them.
func lowUsageUsers(owners []store.Owner, active []store.UserUsage, w minute.Window) []*insightsv1.LowUsageUser {
	usage := make(map[uuid.UUID]store.UserUsage, len(active))
	for _, u := range active {
		usage[u.UserID] = u
	}
	var low []*insightsv1.LowUsageUser
	for _, o := range owners {
		if u := usage[o.UserID]; u.Minutes*minutesPerWeek < lowMinutesPerWeek*(w.End-w.Start) {
			low = append(low, &insightsv1.LowUsageUser{
				TemplateIds: call.Texts(o.Templates), UserId: o.UserID.String(), Username: o.Username, AvatarUrl: o.AvatarURL,
				Workspaces: o.Workspaces, Seconds: 60 * u.Minutes, ActiveDays: int64(u.Days),
			})
		}
	}
	label.Sort(low, (*insightsv1.LowUsageUser).GetUsername) // owners come by id
	slices.SortStableFunc(low, func(a, b *insightsv1.LowUsageUser) int { return cmp.Compare(a.GetSeconds(), b.GetSeconds()) })
	return low
}

// appPreferences count who uses and who prefers each app. The apps of a user are in order of the time spent in them. An app is left out
// that is told of more people together than use it.
func appPreferences(users []store.UserUsage) []*insightsv1.AppPreference {
	of := map[store.UserApp]*insightsv1.AppPreference{}
	for _, u := range users {
		for i, a := range u.Apps {
			minutes := a.Minutes
			a.Minutes = 0
			p := of[a]
			if p == nil {
				p = &insightsv1.AppPreference{Type: AppType(a.Builtin), Slug: a.Slug, DisplayName: a.DisplayName}
				of[a] = p
			}
			p.Users++
			p.Seconds += 60 * minutes
			if i == 0 {
				p.PreferredBy++
			}
		}
	}
	var preferences []*insightsv1.AppPreference
	for a, p := range of {
		if p.GetUsers() >= int64(a.Together) {
			preferences = append(preferences, p)
		}
	}
	slices.SortFunc(preferences, func(a, b *insightsv1.AppPreference) int {
		return cmp.Or(
			cmp.Compare(b.GetPreferredBy(), a.GetPreferredBy()), cmp.Compare(b.GetUsers(), a.GetUsers()),
			cmp.Compare(b.GetSeconds(), a.GetSeconds()),
			cmp.Compare(b.GetType(), a.GetType()), cmp.Compare(a.GetSlug(), b.GetSlug()),
			cmp.Compare(a.GetDisplayName(), b.GetDisplayName()))
	})
	return preferences
}

// AppType is what the contract calls session apps, which are built in, and workspace apps.
func AppType(builtin bool) string {
	if builtin {
		return "builtin"
	}
	return "app"
}
