package insights

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
	"github.com/template-insights/insights/store/minute"
)

// fewUsers is how many users are too few to show hours of, and for a template to stand alone: fewer than this.
const fewUsers = 5

// GetCapacityReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetCapacityReport(
	ctx context.Context, req *insightsv1.GetCapacityReportRequest,
) (*insightsv1.GetCapacityReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	if q.floor.People > 0 {
		return s.publishedCapacity(ctx, req, q)
	}
	use, err := s.store.Use(ctx, q.scope, q.actors, q.window.Split(q.start, q.end, 7), minute.Peaks)
	if err != nil {
		return nil, err
	}
	peaks := reports.Peaks{First: q.window.Start / minute.MinutesPerQuarter, Users: use.Peaks}
	report := &insightsv1.CapacityReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty(), TemplateIds: call.Texts(usedTemplates(use)),
		ActiveUsers: int64(use.Active), PeakUsers: peaks.Between(q.window.Start, q.window.End), Weeks: q.weekLoads(use.Intervals, peaks),
	}
	if !q.empty() { // in no time nobody uses any
		report.SparseTemplates = sparseTemplates(use.Templates)
	}
	if use.Active >= fewUsers {
		report.Hours = q.hourLoads(peaks)
	}
	report.Projection = q.projectWeeks(report.GetWeeks())
	return &insightsv1.GetCapacityReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, use.Others),
	}, nil
}

// hourLoads are the hours of a week, as the clocks of the question's location show them. Nothing finer than a day is told of few.
func (q question) hourLoads(peaks reports.Peaks) (hours []*insightsv1.HourLoad) {
	for _, h := range peaks.Hours(q.start.Location(), fewUsers) {
		hours = append(hours, &insightsv1.HourLoad{
			Weekday: strings.ToLower(h.Weekday.String()), Hour: int32(h.Hour), PeakUsers: h.Peak, MeanPeakUsers: h.Mean,
		})
	}
	return hours
}

// weekLoads are the whole weeks of the window that are over.
func (q question) weekLoads(weeks []store.Interval, peaks reports.Peaks) []*insightsv1.WeekLoad {
	var loads []*insightsv1.WeekLoad
	for _, w := range weeks {
		if !q.partial(w.Start, w.End, 7) {
			loads = append(loads, &insightsv1.WeekLoad{
				StartTime: q.show(w.Start), EndTime: q.show(w.End), PeakUsers: peaks.Between(w.Start, w.End),
				ActiveUsers: int64(w.ActiveUsers),
			})
		}
	}
	return loads
}

// weeksAhead is how many weeks are projected.
const weeksAhead = 4

// projectWeeks goes on with weeks, which are the first of the window.
func (q question) projectWeeks(weeks []*insightsv1.WeekLoad) []*insightsv1.ProjectedWeek {
	peaks := make([]float64, len(weeks))
	for i, w := range weeks {
		peaks[i] = float64(w.GetPeakUsers())
	}
	begin := func(week int) string {
		year, month, day := q.start.Date()
		return minute.StartOfDay(year, month, day+7*week, q.start.Location()).Format(time.RFC3339)
	}
	var projected []*insightsv1.ProjectedWeek
	for i, p := range reports.Project(peaks, weeksAhead) {
		week := len(weeks) + i
		projected = append(projected, &insightsv1.ProjectedWeek{
			StartTime: begin(week), EndTime: begin(week + 1), PeakUsers: p.Value, Low: p.Low, High: p.High,
		})
	}
	return projected
}

// sparseTemplates are the templates that few people used.
func sparseTemplates(templates []store.TemplateUse) []*insightsv1.SparseTemplate {
	var sparse []*insightsv1.SparseTemplate
	for _, t := range templates {
		if !t.Deleted && t.ActiveUsers < fewUsers {
			sparse = append(sparse, &insightsv1.SparseTemplate{
				TemplateId: t.ID.String(), Name: t.Name, DisplayName: cmp.Or(t.DisplayName, t.Name), ActiveUsers: int64(t.ActiveUsers),
				Seconds: 60 * t.Minutes, Workspaces: t.Workspaces,
			})
		}
	}
	label.Sort(sparse, (*insightsv1.SparseTemplate).GetName)
	slices.SortStableFunc(sparse, func(a, b *insightsv1.SparseTemplate) int {
		return cmp.Compare(a.GetActiveUsers(), b.GetActiveUsers())
	})
	return sparse
}

// usedTemplates are those with any activity.
func usedTemplates(use store.Use) (used []uuid.UUID) {
	for _, t := range use.Templates {
		if t.ActiveUsers > 0 {
			used = append(used, t.ID)
		}
	}
	return used
}
