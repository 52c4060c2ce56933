package insights

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
	"github.com/template-insights/insights/store/minute"
)

// Orders of users.
const (
	sortSeconds  = "seconds"
	sortP50      = "p50"
	sortP95      = "p95"
	sortUsername = "username"
	sortUserID   = "user_id"
)

// peopleRequest is a question whose answer is a list of users.
type peopleRequest interface {
	call.WindowRequest
	call.PageRequest
	GetSort() string
	GetSearch() string
}

// peoplePage is the page of users that a question asks for.
type peoplePage[U any] struct {
	users     []*U
	next      string
	total     int
	templates []uuid.UUID // of all users
}

// cutPeople searches and sorts users and cuts out the page that is asked for. The ranks say how each order weighs a user, the
// highest first; users of equal rank are in order of their names. The first rank is the default one.
func cutPeople[U any](
	asked call.Page, users []U, req peopleRequest, of func(*U) *store.UserUsage, ranks []peopleRank[U],
) (page peoplePage[U], err error) {
	templates := map[uuid.UUID]bool{}
	for i := range users {
		for _, t := range of(&users[i]).Templates {
			templates[t] = true
		}
	}
	page.templates = call.Union(slices.Collect(maps.Keys(templates)))
	if err := call.CheckText(req.GetSearch()); err != nil {
		return page, call.InvalidParam("search", "%v", err)
	}
	ranked, names := map[string]func(*U) int64{}, []string{}
	for _, r := range ranks {
		ranked[r.sort], names = r.rank, append(names, r.sort)
	}
	names = append(names, sortUsername, sortUserID)
	sort, err := call.OneOf("sort", cmp.Or(req.GetSort(), names[0]), names...)
	if err != nil {
		return page, err
	}
	list := make([]call.Placed[U], 0, len(users))
	for i := range users {
		u := &users[i]
		if !label.Contains(of(u).Username, req.GetSearch()) {
			continue
		}
		at := call.Placed[U]{Item: u}
		if rank := ranked[sort]; rank != nil {
			at.Rank = -rank(u)
		}
		list = append(list, at)
	}
	id := func(u *U) string {
		if sort == sortUserID {
			return of(u).UserID.String()
		}
		return of(u).Place
	}
	page.total = len(list)
	list, page.next = call.CutInOrder(asked, list, id)
	page.users = make([]*U, len(list))
	for i, p := range list {
		page.users[i] = p.Item
	}
	return page, nil
}

// peopleRank is an order of users.
type peopleRank[U any] struct {
	sort string
	rank func(*U) int64
}

// GetUserActivity implements [insightsv1.InsightsServiceServer].
func (s *Service) GetUserActivity(
	ctx context.Context, req *insightsv1.GetUserActivityRequest,
) (*insightsv1.GetUserActivityResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, people)
	if err != nil {
		return nil, err
	}
	asked, err := call.OpenPage(ctx, s.store, req, 0)
	if err != nil {
		return nil, err
	}
	users, all, err := s.store.UserActivity(ctx, q.scope, q.actors, q.window.Split(q.start, q.end, 1))
	if err != nil {
		return nil, err
	}
	found, minutes := len(users), int64(0)
	for i := range users {
		u := &users[i]
		minutes += u.Minutes
		if err := s.alikeUser(q.mode, u); err != nil {
			return nil, err
		}
	}
	page, err := cutPeople(asked, users, req, func(u *store.UserUsage) *store.UserUsage { return u }, []peopleRank[store.UserUsage]{
		{sortSeconds, func(u *store.UserUsage) int64 { return u.Minutes }},
	})
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserActivityReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(page.templates), TotalUsers: int64(page.total),
		TotalSeconds: 60 * minutes, Estimated: all.Estimated,
	}
	report.Users = make([]*insightsv1.UserActivity, len(page.users))
	messages, texts := make([]insightsv1.UserActivity, len(page.users)), idTexts{} // one piece of memory for all
	for i, u := range page.users {
		report.Users[i] = &messages[i]
		tellActivity(report.GetUsers()[i], u, texts)
	}
	seen := observed{activity: &found, narrowed: !q.actors.Has(minute.Person), others: all.Others}
	if report.Reasons, err = s.reasons(ctx, q, seen); err != nil {
		return nil, err
	}
	return &insightsv1.GetUserActivityResponse{
		Report: report, NextPageToken: page.next, DataAsOf: q.dataAsOf(), CollectionMode: CollectionMode(q.mode),
		Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, all.Others),
	}, nil
}

// tellActivity fills in an empty message about a user.
func tellActivity(m *insightsv1.UserActivity, u *store.UserUsage, texts idTexts) {
	m.TemplateIds, m.UserId, m.Username, m.AvatarUrl = texts.of(u.Templates), u.UserID.String(), u.Username, u.AvatarURL
	m.Seconds, m.ActiveDays, m.MedianDailySeconds = 60*u.Minutes, int64(u.Days), int64(60*u.Median)
	m.Kind, m.Deleted = u.Kind, u.Deleted
	told := make([]insightsv1.UserAppUsage, len(u.Apps))
	m.Apps = make([]*insightsv1.UserAppUsage, 0, len(u.Apps))
	for i, a := range u.Apps {
		if a.Together == 0 {
			app := &told[i]
			app.Type, app.Slug, app.DisplayName, app.Seconds = reports.AppType(a.Builtin), a.Slug, a.DisplayName, 60*a.Minutes
			m.Apps = append(m.Apps, app)
		}
	}
}

// idTexts are the texts of ids that stand in an answer often.
type idTexts map[uuid.UUID]string

// of is [call.Texts].
func (t idTexts) of(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		text, known := t[id]
		if !known {
			text = id.String()
			t[id] = text
		}
		list[i] = text
	}
	return list
}

// GetUserLatency implements [insightsv1.InsightsServiceServer].
func (s *Service) GetUserLatency(ctx context.Context, req *insightsv1.GetUserLatencyRequest) (*insightsv1.GetUserLatencyResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, people)
	if err != nil {
		return nil, err
	}
	asked, err := call.OpenPage(ctx, s.store, req, 0)
	if err != nil {
		return nil, err
	}
	users, total, err := s.store.UserLatency(ctx, q.scope, q.actors, q.window)
	if err != nil {
		return nil, err
	}
	for i := range users {
		if err := s.alikeUser(q.mode, &users[i].UserUsage); err != nil {
			return nil, err
		}
	}
	measured := latencies(users)
	usage := func(u *store.UserLatency) *store.UserUsage { return &u.UserUsage }
	page, err := cutPeople(asked, users, req, usage, []peopleRank[store.UserLatency]{
		{sortP95, func(u *store.UserLatency) int64 { return rankOf(u.P95) }},
		{sortP50, func(u *store.UserLatency) int64 { return rankOf(u.P50) }},
	})
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserLatencyReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(page.templates), TotalUsers: int64(page.total),
		TotalLatencyMs: ConnectionLatency(total.Latency),
	}
	report.Users = make([]*insightsv1.UserLatency, 0, len(page.users))
	texts := idTexts{}
	for _, u := range page.users {
		report.Users = append(report.Users, &insightsv1.UserLatency{
			TemplateIds: texts.of(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL,
			LatencyMs: ConnectionLatency(u.Latency), Kind: u.Kind, Deleted: u.Deleted,
		})
	}
	seen := observed{latency: &measured, narrowed: !q.actors.Has(minute.Person), others: total.Others}
	if report.Reasons, err = s.reasons(ctx, q, seen); err != nil {
		return nil, err
	}
	return &insightsv1.GetUserLatencyResponse{
		Report: report, NextPageToken: page.next, DataAsOf: q.dataAsOf(), CollectionMode: CollectionMode(q.mode),
		Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, total.Others),
	}, nil
}

// ConnectionLatency writes a latency as the contract does.
func ConnectionLatency(l store.Latency) *insightsv1.ConnectionLatency {
	return &insightsv1.ConnectionLatency{
		P50: l.P50, P95: l.P95, Samples: l.Samples, Rating: string(l.Rating), RatingP95: string(l.RatingP95),
	}
}

// rankOf orders latencies; the one that stands for no samples is the lowest.
func rankOf(ms float64) int64 {
	if ms < 0 {
		return -1
	}
	return int64(math.Float64bits(ms)) // of numbers that are not negative, in their order
}

// dataAsOf is until when everything that was acknowledged is in the answer.
func (q question) dataAsOf() string { return showAsOf(q.asOf, q.asked.Location()) }

// showAsOf writes until when an answer goes; zero is empty.
func showAsOf(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format(time.RFC3339)
}
