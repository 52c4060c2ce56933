package insights

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

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

// GetSupportReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetSupportReport(
	ctx context.Context, req *insightsv1.GetSupportReportRequest,
) (*insightsv1.GetSupportReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, people)
	if err != nil {
		return nil, err
	}
	var active []store.UserUsage
	var measured []store.UserLatency
	var owners []store.Owner
	reading, all := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		active, _, err = s.store.UserActivity(all, q.scope, q.window.Split(q.start, q.end, 1))
		return err
	})
	reading.Go(func() (err error) {
		measured, _, err = s.store.UserLatency(all, q.scope, q.window)
		return err
	})
	reading.Go(func() (err error) {
		owners, err = s.store.Owners(all, q.scope, q.start)
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	var templates []uuid.UUID
	for _, u := range active {
		templates = append(templates, u.Templates...)
	}
	report := &insightsv1.SupportReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty(), TemplateIds: call.Texts(call.Union(templates)),
		HighLatencyUsers: highLatencyUsers(measured), LowUsageUsers: lowUsageUsers(owners, active, q.window),
		AppPreferences: appPreferences(active),
	}
	return &insightsv1.GetSupportReportResponse{Report: report, DataAsOf: q.dataAsOf()}, nil
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

// appPreferences count who uses and who prefers each app. The apps of a user are in order of the time spent in them.
func appPreferences(users []store.UserUsage) []*insightsv1.AppPreference {
	of := map[store.UserApp]*insightsv1.AppPreference{}
	var preferences []*insightsv1.AppPreference
	for _, u := range users {
		for i, a := range u.Apps {
			minutes := a.Minutes
			a.Minutes = 0
			p := of[a]
			if p == nil {
				p = &insightsv1.AppPreference{Type: appType(a.Builtin), Slug: a.Slug, DisplayName: a.DisplayName}
				of[a] = p
				preferences = append(preferences, p)
			}
			p.Users++
			p.Seconds += 60 * minutes
			if i == 0 {
				p.PreferredBy++
			}
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
