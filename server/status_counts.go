package server

import (
	"context"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// GetUserStatusCounts implements [insightsv1.InsightsServiceServer].
func (s *insightsService) GetUserStatusCounts(ctx context.Context, req *insightsv1.GetUserStatusCountsRequest) (*insightsv1.GetUserStatusCountsResponse, error) {
	zone, err := parseDays(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, questionDeadline)
	defer cancel()
	start, end := lastDays(s.clock().In(zone))
	var midnights []time.Time
	for _, minutes := range minute.NewWindow(start, end).Split(start, end, 1).Bounds {
		midnights = append(midnights, time.Unix(60*minutes, 0).In(zone))
	}
	caller := principalOf(ctx)
	counts, err := s.store.StatusCounts(ctx, midnights, end, func(organizations []uuid.UUID) bool {
		return caller.HoldsInAny(access.ReadUsers, organizations)
	})
	if err != nil {
		return nil, err
	}
	series := func(status string) (list []*insightsv1.UserStatusCount) {
		for i, count := range counts[status] {
			list = append(list, &insightsv1.UserStatusCount{Date: midnights[i].Format(time.RFC3339), Count: count})
		}
		return list
	}
	return &insightsv1.GetUserStatusCountsResponse{StatusCounts: &insightsv1.UserStatusCounts{
		Active: series("active"), Dormant: series("dormant"), Suspended: series("suspended"),
	}}, nil
}
