package insights

import (
	"cmp"
	"context"
	"slices"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// Where small groups are hidden, reports tell what published days hold. What they leave out is always the same, so that it tells nothing.

// Why a part of a report is left out.
const (
	withheldNotInDays   = "not_in_published_days"
	withheldSmallGroups = "small_groups"
	withheldPresent     = "present"
)

func withheld(reason string, parts ...string) (list []*insightsv1.WithheldPart) {
	for _, part := range parts {
		list = append(list, &insightsv1.WithheldPart{Part: part, Reason: reason})
	}
	return list
}

// publishedCapacity is the report about capacity: how many people were active, by weeks.
func (s *Service) publishedCapacity(
	ctx context.Context, req *insightsv1.GetCapacityReportRequest, q question,
) (*insightsv1.GetCapacityReportResponse, error) {
	published, err := s.store.TemplateInsights(ctx, q.scope, q.actors, q.window.Split(q.start, q.end, 7), q.floor)
	if err != nil {
		return nil, err
	}
	report := &insightsv1.CapacityReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty(), TemplateIds: call.Texts(published.Templates),
		ActiveUsers: int64(published.ActiveUsers), SmallGroupsHidden: true,
	}
	for _, w := range published.Intervals {
		if !q.partial(w.Start, w.End, 7) {
			report.Weeks = append(report.Weeks, &insightsv1.WeekLoad{
				StartTime: q.show(w.Start), EndTime: q.show(w.End), ActiveUsers: int64(w.ActiveUsers), SmallGroupsHidden: true,
			})
		}
	}
	return &insightsv1.GetCapacityReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, published.Others),
		CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People), LateExcluded: true,
		Withheld: append(
			withheld(withheldNotInDays, "peak_users", "hours", "weeks.peak_users", "projection"),
			withheld(withheldSmallGroups, "sparse_templates")...,
		),
	}, nil
}

// publishedROI is the report about return on investment: how many people were active, by templates.
func (s *Service) publishedROI(
	ctx context.Context, req *insightsv1.GetROIReportRequest, q question,
) (*insightsv1.GetROIReportResponse, error) {
	published, err := s.store.PublishedQuery(ctx, store.Query{Scope: q.scope, By: []string{store.ByTemplate}}, q.floor, false)
	if err != nil {
		return nil, err
	}
	templates, err := s.store.Templates(ctx, q.scope)
	if err != nil {
		return nil, err
	}
	names := map[string]store.Template{}
	for _, t := range templates {
		names[t.ID.String()] = t
	}
	report := &insightsv1.ROIReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty(), ActiveUsers: published.Whole.People,
		Adoption: -1, Utilization: -1, SmallGroupsHidden: true,
	}
	for _, r := range published.Rows {
		id := r.Keys[0].Value
		report.TemplateIds = append(report.TemplateIds, id)
		report.Templates = append(report.Templates, &insightsv1.TemplateROI{
			TemplateId: id, Name: names[id].Name, DisplayName: cmp.Or(names[id].DisplayName, names[id].Name), ActiveUsers: r.People,
			Utilization: -1, Deleted: r.Keys[0].Deleted, SmallGroupsHidden: true,
		})
	}
	slices.Sort(report.TemplateIds)
	slices.SortFunc(report.Templates, func(a, b *insightsv1.TemplateROI) int { return cmp.Compare(a.GetTemplateId(), b.GetTemplateId()) })
	label.Sort(report.GetTemplates(), (*insightsv1.TemplateROI).GetName)
	return &insightsv1.GetROIReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, published.Others),
		CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People), LateExcluded: true,
		Withheld: append(
			withheld(withheldNotInDays, "active_seconds", "running_seconds", "utilization", "templates.active_seconds",
				"templates.running_seconds", "templates.utilization"),
			withheld(withheldPresent, "eligible_users", "adoption")...,
		),
	}, nil
}
