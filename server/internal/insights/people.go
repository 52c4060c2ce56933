package insights

import (
	"cmp"
	"context"
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
	users     []U
	next      string
	total     int
	templates []uuid.UUID // of all users
}

// cutPeople searches and sorts users and cuts out the page that is asked for. The ranks say how each order weighs a user, the
// highest first; users of equal rank are in order of their names. The first rank is the default one.
func cutPeople[U any](
	asked call.Page, users []U, req peopleRequest, of func(U) store.UserUsage, ranks []peopleRank[U],
) (page peoplePage[U], err error) {
	for _, u := range users {
		page.templates = append(page.templates, of(u).Templates...)
	}
	page.templates = call.Union(page.templates)
	if err := call.CheckText(req.GetSearch()); err != nil {
		return page, call.InvalidParam("search", "%v", err)
	}
	byName := func(rank func(U) int64) func(U) call.Position {
		return func(u U) call.Position {
			person := of(u)
			return call.Position{Rank: -rank(u), ID: label.Key(person.Username) + "\x00" + person.UserID.String()}
		}
	}
	orders, names := map[string]func(U) call.Position{}, []string{}
	for _, r := range ranks {
		orders[r.sort], names = byName(r.rank), append(names, r.sort)
	}
	orders[sortUsername] = byName(func(U) int64 { return 0 })
	orders[sortUserID] = func(u U) call.Position { return call.Position{Rank: 0, ID: of(u).UserID.String()} }
	sort, err := call.OneOf("sort", cmp.Or(req.GetSort(), names[0]), append(names, sortUsername, sortUserID)...)
	if err != nil {
		return page, err
	}
	at := orders[sort]
	users = slices.DeleteFunc(users, func(u U) bool { return !label.Contains(of(u).Username, req.GetSearch()) })
	type placed struct {
		at   call.Position
		user U
	}
	list := make([]placed, len(users))
	for i, u := range users {
		list[i] = placed{at(u), u}
	}
	slices.SortFunc(list, func(a, b placed) int { return a.at.Compare(b.at) })
	page.total = len(list)
	list, page.next = call.Cut(asked, list, func(p placed) call.Position { return p.at })
	for _, p := range list {
		page.users = append(page.users, p.user)
	}
	return page, nil
}

// peopleRank is an order of users.
type peopleRank[U any] struct {
	sort string
	rank func(U) int64
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
		if err := s.alike(q.mode, &u.UserID, &u.Username, &u.AvatarURL); err != nil {
			return nil, err
		}
	}
	page, err := cutPeople(asked, users, req, func(u store.UserUsage) store.UserUsage { return u }, []peopleRank[store.UserUsage]{
		{sortSeconds, func(u store.UserUsage) int64 { return u.Minutes }},
	})
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserActivityReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(page.templates), TotalUsers: int64(page.total),
		TotalSeconds: 60 * minutes, Estimated: all.Estimated,
	}
	for _, u := range page.users {
		report.Users = append(report.Users, userActivity(u))
	}
	seen := observed{activity: &found, narrowed: !q.actors.Has(minute.Person), others: all.Others}
	if report.Reasons, err = s.reasons(ctx, q, seen); err != nil {
		return nil, err
	}
	return &insightsv1.GetUserActivityResponse{
		Report: report, NextPageToken: page.next, DataAsOf: q.dataAsOf(), CollectionMode: collectionMode(q.mode),
		Actors: actorsOf(q.actors), OtherActors: s.others(q.mode, q.floor.People, all.Others),
	}, nil
}

func userActivity(u store.UserUsage) *insightsv1.UserActivity {
	m := &insightsv1.UserActivity{
		TemplateIds: call.Texts(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL,
		Seconds: 60 * u.Minutes, ActiveDays: int64(u.Days), MedianDailySeconds: int64(60 * u.Median), Kind: u.Kind, Deleted: u.Deleted,
	}
	for _, a := range u.Apps {
		if a.Together == 0 {
			m.Apps = append(m.Apps, &insightsv1.UserAppUsage{
				Type: reports.AppType(a.Builtin), Slug: a.Slug, DisplayName: a.DisplayName, Seconds: 60 * a.Minutes,
			})
		}
	}
	return m
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
		if err := s.alike(q.mode, &users[i].UserID, &users[i].Username, &users[i].AvatarURL); err != nil {
			return nil, err
		}
	}
	measured := latencies(users)
	usage := func(u store.UserLatency) store.UserUsage { return u.UserUsage }
	page, err := cutPeople(asked, users, req, usage, []peopleRank[store.UserLatency]{
		{sortP95, func(u store.UserLatency) int64 { return rankOf(u.P95) }},
		{sortP50, func(u store.UserLatency) int64 { return rankOf(u.P50) }},
	})
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserLatencyReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(page.templates), TotalUsers: int64(page.total),
		TotalLatencyMs: ConnectionLatency(total.Latency),
	}
	for _, u := range page.users {
		report.Users = append(report.Users, &insightsv1.UserLatency{
			TemplateIds: call.Texts(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL,
			LatencyMs: ConnectionLatency(u.Latency), Kind: u.Kind, Deleted: u.Deleted,
		})
	}
	seen := observed{latency: &measured, narrowed: !q.actors.Has(minute.Person), others: total.Others}
	if report.Reasons, err = s.reasons(ctx, q, seen); err != nil {
		return nil, err
	}
	return &insightsv1.GetUserLatencyResponse{
		Report: report, NextPageToken: page.next, DataAsOf: q.dataAsOf(), CollectionMode: collectionMode(q.mode),
		Actors: actorsOf(q.actors), OtherActors: s.others(q.mode, q.floor.People, total.Others),
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
func (q question) dataAsOf() string { return q.asOf.In(q.asked.Location()).Format(time.RFC3339) }
