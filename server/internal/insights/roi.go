package insights

import (
	"context"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
)

// GetROIReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetROIReport(ctx context.Context, req *insightsv1.GetROIReportRequest) (*insightsv1.GetROIReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	if q.floor.People > 0 {
		return s.publishedROI(ctx, req, q)
	}
	var use store.Use
	var eligible map[uuid.UUID]bool
	var running map[uuid.UUID]time.Duration
	reading, all := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		use, err = s.store.Use(all, q.scope, q.actors, q.window)
		return err
	})
	reading.Go(func() (err error) {
		eligible, err = s.store.EligibleUsers(all, q.scope, q.actors, q.end)
		return err
	})
	reading.Go(func() (err error) {
		running, err = s.store.RunningTime(all, q.scope, q.actors, q.window)
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	report := reports.ROI(use, eligible, running)
	report.StartTime, report.EndTime, report.EmptyWindow = req.GetStartTime(), req.GetEndTime(), q.empty()
	return &insightsv1.GetROIReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, use.Others),
	}, nil
}
