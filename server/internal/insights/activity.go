package insights

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
)

// Categories of the older activity API.
const (
	categoryAny      = "any"
	categoryIDE      = "ide"
	categoryLogin    = "login"
	categoryApp      = "app"
	categoryTunnel   = "tunnel"
	categoryTerminal = "web_terminal"
)

// categories are those that callers may name; categoryAliases are other names of them.
var (
	categories      = []string{categoryAny, categoryIDE, categoryLogin, categoryApp, categoryTunnel, categoryTerminal}
	categoryAliases = map[string]string{
		"": categoryAny, "ssh": categoryTunnel, "web-terminal": categoryTerminal, "web terminal": categoryTerminal,
		"terminal": categoryTerminal,
	}
)

// ideApps are the names of apps, as session names are stored, that count as an IDE; nil: those that are known as such.
type ideApps map[string]bool

// newIDEApps chooses the IDEs by their names; without any, those that are known as such are chosen.
func newIDEApps(names []string) ideApps {
	if names == nil {
		return nil
	}
	chosen := ideApps{}
	for _, name := range names {
		chosen[store.NormalizeSessionName(name)] = true
	}
	return chosen
}

// include reports whether an app counts as an IDE. None does that is told of several people together alone: a category may hold nothing
// else, and tells it of each.
func (chosen ideApps) include(known *apps.List, name string) bool {
	if known.Together(name) > 0 {
		return false
	}
	if chosen == nil {
		return known.Of(name).IDE
	}
	return chosen[name]
}

// category is the one that some usage belongs to.
func (chosen ideApps) category(known *apps.List, kind minute.Kind, app string) string {
	switch {
	case kind == minute.Login:
		return categoryLogin
	case app == store.TerminalApp || kind == minute.Session && known.Of(app).Family == apps.ReconnectingPTY:
		return categoryTerminal
	case chosen.include(known, store.NormalizeSessionName(app)):
		return categoryIDE
	case kind == minute.App:
		return categoryApp
	default:
		return categoryTunnel
	}
}

// GetActivity implements [insightsv1.InsightsServiceServer].
func (s *Service) GetActivity(ctx context.Context, req *insightsv1.GetActivityRequest) (*insightsv1.GetActivityResponse, error) {
	now := s.clock()
	windows, zone, err := parseActivity(req, now)
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(req.GetCategory())
	if of, is := categoryAliases[wanted]; is {
		wanted = of
	}
	if _, err := call.OneOf("category", wanted, categories...); err != nil {
		return nil, err
	}
	actors, err := ParseActors(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	mode, err := s.namesPeople(ctx, call.ScopeOf(ctx))
	if err != nil {
		return nil, err
	}
	if err := TellsOf(actors, mode, 0); err != nil {
		return nil, err
	}
	known := s.store.Apps()
	activity, err := s.store.Activity(ctx, call.ScopeOf(ctx), actors, windows, func(kind minute.Kind, app string) bool {
		return wanted == categoryAny || s.ide.category(known, kind, app) == wanted
	})
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.GetActivityResponse{
		Users: map[string]*insightsv1.ActivityUser{}, DataAsOf: s.AsOf(ctx).In(zone).Format(time.RFC3339), EmptyWindow: len(windows) == 0,
		Actors: ActorsOf(actors), OtherActors: s.Others(mode, 0, activity.Others),
	}
	for user, p := range activity.People {
		if err := s.alike(mode, &p.ID, &p.Username, new(string)); err != nil {
			return nil, err
		}
		activity.People[user] = p
		roles := []string{string(access.RoleMember)}
		for _, r := range p.Roles {
			if r != access.RoleMember {
				roles = append(roles, string(r))
			}
		}
		answer.Users[p.ID.String()] = &insightsv1.ActivityUser{
			Id: p.ID.String(), Name: p.Username, Username: p.Username, Roles: roles, Kind: p.Kind, Deleted: p.Deleted,
		}
	}
	userOf := func(user uuid.UUID) *insightsv1.ActivityUser {
		return answer.GetUsers()[activity.People[user].ID.String()]
	}
	for i, w := range windows {
		answer.Activity = append(answer.Activity, activityInterval(w, zone, activity.Windows[i], userOf))
	}
	return answer, nil
}

// activityInterval describes one step and adds it to the sums of its users.
func activityInterval(
	w minute.Window, zone *time.Location, active []store.Active, userOf func(uuid.UUID) *insightsv1.ActivityUser,
) *insightsv1.ActivityInterval {
	interval := &insightsv1.ActivityInterval{
		Time: time.Unix(60*w.Start, 0).In(zone).Format(time.RFC3339), Duration: (w.End - w.Start) * int64(time.Minute),
	}
	for _, a := range active {
		user := userOf(a.UserID)
		user.TotalCount += a.Minutes
		user.TotalDuration += a.Minutes * int64(time.Minute)
		interval.UserActivity = append(interval.UserActivity, &insightsv1.ActivityIntervalUser{
			UserId: user.GetId(), Duration: a.Minutes * int64(time.Minute), Count: a.Minutes,
		})
	}
	slices.SortFunc(interval.GetUserActivity(), func(a, b *insightsv1.ActivityIntervalUser) int {
		return cmp.Or(cmp.Compare(b.GetDuration(), a.GetDuration()), cmp.Compare(a.GetUserId(), b.GetUserId()))
	})
	return interval
}

// parseActivity reads the range of a question, in whole days, and cuts it into steps.
func parseActivity(req *insightsv1.GetActivityRequest, now time.Time) ([]minute.Window, *time.Location, error) {
	var missing []call.FieldError
	for _, f := range []struct{ name, value string }{{"start", req.GetStart()}, {"end", req.GetEnd()}, {"interval", req.GetInterval()}} {
		if f.value == "" {
			missing = append(missing, call.FieldError{Field: f.name, Detail: fmt.Sprintf("Query param %q is required", f.name)})
		}
	}
	if len(missing) > 0 {
		return nil, nil, call.Invalid(call.MessageInvalidValues, missing...)
	}
	zone, err := ParseZone(req.GetTimezone())
	if err != nil {
		return nil, nil, err
	}
	start, err := ParseTime3339("start", req.GetStart(), zone)
	if err != nil {
		return nil, nil, err
	}
	end, err := ParseTime3339("end", req.GetEnd(), zone)
	if err != nil {
		return nil, nil, err
	}
	if end.Before(start) {
		return nil, nil, call.InvalidParam("end", "must not be before %q", "start")
	}
	every, err := parseStep(req.GetInterval())
	if err != nil {
		return nil, nil, call.InvalidParam("interval", "%v", err)
	}
	start, end = wholeDays(start, end.In(start.Location()), now)
	windows, err := every.windows(start, end)
	if err != nil {
		return nil, nil, call.InvalidParam("interval", "%v", err)
	}
	return windows, start.Location(), nil
}

// wholeDays widens a range to whole days of its location, up to the coming hour: nothing about a person is finer. An empty
// range stays empty.
func wholeDays(start, end, now time.Time) (from, to time.Time) {
	year, month, day := start.Date()
	from = minute.StartOfDay(year, month, day, start.Location())
	if end.Equal(start) {
		return from, from
	}
	year, month, day = end.Date()
	if to = minute.StartOfDay(year, month, day, end.Location()); to.Before(end) {
		to = minute.StartOfDay(year, month, day+1, end.Location())
	}
	if coming := comingHour(now.In(start.Location())); to.After(coming) {
		to = coming
	}
	return from, to
}
