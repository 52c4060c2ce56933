package insights

import (
	"context"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// GetUserStatusCounts implements [insightsv1.InsightsServiceServer].
func (s *Service) GetUserStatusCounts(
	ctx context.Context, req *insightsv1.GetUserStatusCountsRequest,
) (*insightsv1.GetUserStatusCountsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	actors, err := ParseActors(req)
	if err != nil {
		return nil, err
	}
	modes, err := s.store.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	floor := int64(0)
	if modes.Strictest() != store.PrivacyFull {
		floor = int64(s.options.PrivacyFloor)
	}
	if err := TellsOf(actors, modes.Strictest(), int(floor)); err != nil {
		return nil, err
	}
	days, zone, err := s.daysOf(req, int(floor))
	if err != nil {
		return nil, err
	}
	var midnights []time.Time
	for _, minutes := range days.Bounds {
		midnights = append(midnights, time.Unix(60*minutes, 0).In(zone))
	}
	caller := call.PrincipalOf(ctx)
	readable := func(organizations []uuid.UUID) bool { return caller.HoldsInAny(access.ReadUsers, organizations) }
	answer := &insightsv1.GetUserStatusCountsResponse{Floor: floor, Actors: ActorsOf(actors), LateExcluded: floor > 0}
	var counts map[string][]int64
	var others []store.OtherActor
	if floor > 0 {
		var until time.Time
		if until, err = s.publishedUntil(ctx); err != nil {
			return nil, err
		}
		answer.DataAsOf = showAsOf(until, zone)
		counts, others, err = s.store.PublishedStatusCounts(ctx, store.Floor{People: int(floor), Zone: zone}, midnights, readable)
	} else {
		counts, others, err = s.store.StatusCounts(ctx, actors, midnights, time.Unix(60*days.End, 0), readable)
	}
	if err != nil {
		return nil, err
	}
	series := func(status string) (list []*insightsv1.UserStatusCount) {
		published := floor == 0
		for i, count := range counts[status] {
			published = published || count > 0
			list = append(list, &insightsv1.UserStatusCount{
				Date: midnights[i].Format(time.RFC3339), Count: count, Suppressed: floor > 0 && count == 0,
			})
		}
		if !published {
			return nil
		}
		return list
	}
	answer.StatusCounts = &insightsv1.UserStatusCounts{
		Active: series("active"), Dormant: series("dormant"), Suspended: series("suspended"),
	}
	answer.OtherActors = s.Others(modes.Strictest(), int(floor), others)
	return answer, nil
}
