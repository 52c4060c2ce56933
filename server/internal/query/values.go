package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

const (
	// maxValues is how many values are answered: as many as somebody looks through before searching.
	maxValues = 100
	// valuesDays is how many days the window has that nobody named, the present one included where it is told.
	valuesDays = 28
)

// QueryValues implements [insightsv1.InsightsServiceServer]. Values are rows of the general question, so that both tell the same to whom.
func (s *Service) QueryValues(ctx context.Context, req *insightsv1.QueryValuesRequest) (*insightsv1.QueryValuesResponse, error) {
	asked, err := s.questionOf(ctx, req)
	if err != nil {
		return nil, err
	}
	q, t, told, err := s.tell(ctx, asked)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.QueryValuesResponse{
		Window: told.GetWindow(), DataAsOf: told.GetDataAsOf(), Actors: told.GetActors(), OtherActors: told.GetOtherActors(),
		CollectionMode: told.GetCollectionMode(), Floor: told.GetFloor(), Reasons: t.reasons,
	}
	if t.withheld {
		answer.Withheld = []string{withheldGroups}
	}
	keys := t.mostUsed(q, req.GetSearch())
	if len(keys) > maxValues {
		keys, answer.More = keys[:maxValues], true
	}
	for _, k := range keys {
		answer.Values = append(answer.Values, k.written())
	}
	return answer, nil
}

// questionOf is the question whose rows have the values.
func (s *Service) questionOf(ctx context.Context, req *insightsv1.QueryValuesRequest) (*insightsv1.QueryUsageRequest, error) {
	if err := each("dimension", []string{req.GetDimension()}, dimensions[2:]); err != nil { // those that are not made of time
		return nil, err
	}
	if err := call.CheckText(req.GetSearch()); err != nil {
		return nil, call.InvalidParam("search", "%v", err)
	}
	metric := metricActiveUsers
	if d := req.GetDimension(); d == store.ByApp || d == store.ByFamily {
		metric = metricSeconds // which is told of them where small groups are hidden
	}
	asked := &insightsv1.QueryUsageRequest{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: req.GetTemplateIds(), Timezone: req.GetTimezone(),
		OrganizationId: req.GetOrganizationId(), Actor: req.GetActor(), Metrics: []string{metric},
		Dimensions: []string{req.GetDimension()},
	}
	if asked.GetStartTime() == "" && asked.GetEndTime() == "" {
		start, end, err := s.lastDays(ctx, asked)
		if err != nil {
			return nil, err
		}
		asked.StartTime, asked.EndTime = start.Format(time.RFC3339), end.Format(time.RFC3339)
	}
	return asked, nil
}

// lastDays is the window that nobody named: it ends with the present hour, or where small groups are hidden with the last day that is over.
func (s *Service) lastDays(ctx context.Context, asked *insightsv1.QueryUsageRequest) (start, end time.Time, err error) {
	zone, err := insights.ParseZone(asked.GetTimezone())
	if err != nil {
		return start, end, err
	}
	scope, err := s.scopeOf(ctx, asked)
	if err != nil {
		return start, end, err
	}
	_, floor, err := s.insights.Disclosed(ctx, scope)
	if err != nil {
		return start, end, err
	}
	if floor > 0 && len(scope.Groups()) == 0 {
		today := startOfDay(s.clock().In(s.insights.PublishedZone()))
		return dayAfter(today, -valuesDays), today, nil
	}
	now := s.clock().In(cmp.Or(zone, time.UTC))
	return dayAfter(now, 1-valuesDays), hourAfter(now.Truncate(time.Minute)), nil
}

// mostUsed are the values of the first dimension whose label or value has a text in it, the most used first. Where used time is not told,
// people are.
func (t table) mostUsed(q question, search string) (keys []*key) {
	q.order = order{metricActiveUsers, true}
	t.rows = slices.DeleteFunc(slices.Clone(t.rows), func(r row) bool {
		return !label.Contains(r.keys[0].label, search) && !label.Contains(r.keys[0].value, search)
	})
	list, _ := t.page(q, call.Page{})
	slices.SortStableFunc(list, func(a, b call.Placed[row]) int { return cmp.Compare(b.Item.Minutes, a.Item.Minutes) })
	for _, p := range list {
		keys = append(keys, p.Item.keys[0])
	}
	return keys
}

// written is the value as answers have it. All rows with it share the message.
func (k *key) written() *insightsv1.QueryKey {
	if k.answer == nil {
		k.answer = &insightsv1.QueryKey{Value: k.value, Label: k.label, Deleted: k.Deleted, Everyone: k.Everyone}
	}
	return k.answer
}
