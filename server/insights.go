package server

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// questionDeadline is how long an answer may take; a caller may be less patient.
const questionDeadline = 30 * time.Second

// insightsService is the InsightsService.
type insightsService struct {
	insightsv1.UnimplementedInsightsServiceServer

	store *store.Store
	clock func() time.Time
}

func newInsightsService(s *store.Store, clock func() time.Time) *insightsService {
	return &insightsService{store: s, clock: clock}
}

// GetTemplateInsights implements [insightsv1.InsightsServiceServer].
func (s *insightsService) GetTemplateInsights(ctx context.Context, req *insightsv1.GetTemplateInsightsRequest) (*insightsv1.GetTemplateInsightsResponse, error) {
	q, err := parseQuestion(req, s.clock())
	if err != nil {
		return nil, err
	}
	if q, err = q.split(req.GetInterval()); err != nil {
		return nil, err
	}
	report, intervals, err := parseSections(req.GetSections())
	if err != nil {
		return nil, err
	}
	if !intervals {
		q.window.Bounds = nil
	}
	if !report && len(q.window.Bounds) == 0 {
		return &insightsv1.GetTemplateInsightsResponse{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, questionDeadline)
	defer cancel()
	insights, err := s.store.TemplateInsights(ctx, scopeOf(ctx), q.window)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.GetTemplateInsightsResponse{}
	for _, i := range insights.Intervals {
		answer.IntervalReports = append(answer.IntervalReports, &insightsv1.TemplateInsightsIntervalReport{
			StartTime: q.show(i.Start), EndTime: q.show(i.End), TemplateIds: texts(i.Templates),
			Interval: req.GetInterval(), ActiveUsers: int64(i.ActiveUsers),
		})
	}
	if !report {
		return answer, nil
	}
	parameters, err := s.store.ParameterUsage(ctx, scopeOf(ctx), q.start, q.end)
	if err != nil {
		return nil, err
	}
	answer.Report = &insightsv1.TemplateInsightsReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(),
		TemplateIds: texts(insights.Templates), ActiveUsers: int64(insights.ActiveUsers),
		AppsUsage: appsUsage(insights.Apps), ParametersUsage: parametersUsage(parameters),
	}
	return answer, nil
}

// GetUserActivity implements [insightsv1.InsightsServiceServer].
func (s *insightsService) GetUserActivity(ctx context.Context, req *insightsv1.GetUserActivityRequest) (*insightsv1.GetUserActivityResponse, error) {
	q, err := parseQuestion(req, s.clock())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, questionDeadline)
	defer cancel()
	users, err := s.store.UserActivity(ctx, scopeOf(ctx), q.window)
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserActivityReport{StartTime: req.GetStartTime(), EndTime: req.GetEndTime()}
	var templates []uuid.UUID
	for _, u := range users {
		templates = append(templates, u.Templates...)
		report.Users = append(report.Users, &insightsv1.UserActivity{
			TemplateIds: texts(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL,
			Seconds: 60 * u.Minutes,
		})
	}
	report.TemplateIds = texts(union(templates))
	return &insightsv1.GetUserActivityResponse{Report: report}, nil
}

// GetUserLatency implements [insightsv1.InsightsServiceServer].
func (s *insightsService) GetUserLatency(ctx context.Context, req *insightsv1.GetUserLatencyRequest) (*insightsv1.GetUserLatencyResponse, error) {
	q, err := parseQuestion(req, s.clock())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, questionDeadline)
	defer cancel()
	users, err := s.store.UserLatency(ctx, scopeOf(ctx), q.window)
	if err != nil {
		return nil, err
	}
	report := &insightsv1.UserLatencyReport{StartTime: req.GetStartTime(), EndTime: req.GetEndTime()}
	var templates []uuid.UUID
	for _, u := range users {
		templates = append(templates, u.Templates...)
		report.Users = append(report.Users, &insightsv1.UserLatency{
			TemplateIds: texts(u.Templates), UserId: u.UserID.String(), Username: u.Username, AvatarUrl: u.AvatarURL,
			LatencyMs: &insightsv1.ConnectionLatency{P50: u.P50, P95: u.P95},
		})
	}
	report.TemplateIds = texts(union(templates))
	return &insightsv1.GetUserLatencyResponse{Report: report}, nil
}

// show writes a minute since the Unix epoch as the question's location shows it.
func (q question) show(minute int64) string {
	return time.Unix(60*minute, 0).In(q.start.Location()).Format(time.RFC3339)
}

func appsUsage(apps []store.AppUsage) []*insightsv1.AppUsage {
	usage := make([]*insightsv1.AppUsage, len(apps))
	for i, a := range apps {
		kind := "app"
		if a.Builtin {
			kind = "builtin"
		}
		usage[i] = &insightsv1.AppUsage{
			TemplateIds: texts(a.Templates), Type: kind, DisplayName: a.DisplayName, Slug: a.Slug, Icon: a.Icon,
			Seconds: 60 * a.Minutes, TimesUsed: a.Launches,
		}
	}
	return usage
}

func parametersUsage(parameters []store.ParameterUsage) []*insightsv1.ParameterUsage {
	usage := make([]*insightsv1.ParameterUsage, len(parameters))
	for i, p := range parameters {
		d := p.Definition
		u := &insightsv1.ParameterUsage{
			TemplateIds: texts(p.Templates), DisplayName: d.DisplayName, Name: d.Name, Type: d.Type,
			Description: plainText(d.Description), Sensitive: d.Sensitive,
		}
		for _, o := range d.Options {
			u.Options = append(u.Options, &insightsv1.ParameterOption{Name: o.Name, Description: o.Description, Value: o.Value, Icon: o.Icon})
		}
		for _, v := range p.Values {
			u.Values = append(u.Values, &insightsv1.ParameterValue{Value: v.Value, Count: v.Count})
		}
		usage[i] = u
	}
	return usage
}

// union sorts a list of ids in place and leaves each once.
func union(ids []uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// texts writes ids as the contract does.
func texts(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}
