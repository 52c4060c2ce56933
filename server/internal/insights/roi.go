package insights

import (
	"context"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// GetROIReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetROIReport(ctx context.Context, req *insightsv1.GetROIReportRequest) (*insightsv1.GetROIReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, smallGroups)
	if err != nil {
		return nil, err
	}
	var use store.Use
	var eligible map[uuid.UUID]bool
	var running map[uuid.UUID]time.Duration
	reading, all := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		use, err = s.store.Use(all, q.scope, q.window)
		return err
	})
	reading.Go(func() (err error) {
		eligible, err = s.store.EligibleUsers(all, q.scope, q.end)
		return err
	})
	reading.Go(func() (err error) {
		running, err = s.store.RunningTime(all, q.scope, q.start, q.over())
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	report := &insightsv1.ROIReport{StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty()}
	// People are the population of every figure. Whoever was active could be.
	of := map[uuid.UUID]*insightsv1.TemplateROI{}
	for _, t := range use.Templates {
		seconds := int64(running[t.ID] / time.Second)
		report.RunningSeconds += seconds
		of[t.ID] = &insightsv1.TemplateROI{
			TemplateId: t.ID.String(), Name: t.Name, DisplayName: t.DisplayName, RunningSeconds: seconds, Deleted: t.Deleted,
		}
	}
	for _, u := range use.Users {
		if u.Kind != store.Human {
			continue
		}
		eligible[u.UserID] = true
		report.ActiveUsers++
		report.ActiveSeconds += 60 * u.Minutes
		for i, t := range u.Templates {
			if row := of[t]; row != nil {
				row.ActiveUsers++
				row.ActiveSeconds += 60 * u.MinutesIn[i]
			}
		}
	}
	report.EligibleUsers = int64(len(eligible))
	for _, t := range use.Templates {
		row := of[t.ID]
		if row.GetActiveUsers() > 0 {
			report.TemplateIds = append(report.TemplateIds, row.GetTemplateId())
		}
		if row.GetActiveUsers() > 0 || row.GetRunningSeconds() > 0 {
			row.Utilization = ratio(row.GetActiveSeconds(), row.GetRunningSeconds())
			report.Templates = append(report.Templates, row)
		}
	}
	label.Sort(report.GetTemplates(), (*insightsv1.TemplateROI).GetName)
	report.Adoption = ratio(report.GetActiveUsers(), report.GetEligibleUsers())
	report.Utilization = ratio(report.GetActiveSeconds(), report.GetRunningSeconds())
	return &insightsv1.GetROIReportResponse{Report: report, DataAsOf: q.dataAsOf()}, nil
}

// ratio is a part of a whole; -1 without a whole.
func ratio(part, whole int64) float64 {
	if whole == 0 {
		return -1
	}
	return float64(part) / float64(whole)
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

// over is the end of what has happened of the window.
func (q question) over() time.Time {
	if q.end.After(q.asked) {
		return q.asked
	}
	return q.end
}
