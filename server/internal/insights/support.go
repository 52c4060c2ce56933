package insights

import (
	"context"

	"golang.org/x/sync/errgroup"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
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
	var total store.ActivityTotal
	reading, all := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		active, total, err = s.store.UserActivity(all, q.scope, q.actors, q.window.Split(q.start, q.end, 1))
		return err
	})
	reading.Go(func() (err error) {
		measured, _, err = s.store.UserLatency(all, q.scope, q.actors, q.window)
		return err
	})
	reading.Go(func() (err error) {
		owners, err = s.store.Owners(all, q.scope, q.actors, q.start)
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	for i := range active {
		if err := s.alikeUser(q.mode, &active[i]); err != nil {
			return nil, err
		}
	}
	for i := range measured {
		if err := s.alikeUser(q.mode, &measured[i].UserUsage); err != nil {
			return nil, err
		}
	}
	for i := range owners {
		if err := s.alike(q.mode, &owners[i].UserID, &owners[i].Username, &owners[i].AvatarURL); err != nil {
			return nil, err
		}
	}
	report := reports.Support(active, measured, owners, q.window)
	report.StartTime, report.EndTime, report.EmptyWindow = req.GetStartTime(), req.GetEndTime(), q.empty()
	return &insightsv1.GetSupportReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, total.Others),
	}, nil
}
