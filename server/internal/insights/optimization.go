package insights

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// GetOptimizationReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetOptimizationReport(
	ctx context.Context, req *insightsv1.GetOptimizationReportRequest,
) (*insightsv1.GetOptimizationReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	insights, parameters, err := s.usage(ctx, q)
	if err != nil {
		return nil, err
	}
	report := &insightsv1.OptimizationReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), EmptyWindow: q.empty(), TemplateIds: call.Texts(insights.Templates),
	}
	if report.UnusedApps, err = s.unusedApps(ctx, q, insights); err != nil { // where small groups are hidden there are none
		return nil, err
	}
	for _, p := range parameters {
		report.UnusedOptions = append(report.UnusedOptions, unusedOptions(p)...)
		if change := defaultChange(p); change != nil {
			report.DefaultChanges = append(report.DefaultChanges, change)
		}
	}
	answer := &insightsv1.GetOptimizationReportResponse{
		Report: report, DataAsOf: q.dataAsOf(), Actors: ActorsOf(q.actors), OtherActors: s.Others(q.mode, q.floor.People, insights.Others),
		CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People), LateExcluded: q.floor.People > 0,
	}
	if q.floor.People > 0 {
		answer.Withheld = withheld(withheldSmallGroups, "unused_apps", "unused_options")
	}
	return answer, nil
}

// unusedApps are the apps that nobody used of templates that were used.
func (s *Service) unusedApps(ctx context.Context, q question, insights store.TemplateInsights) ([]*insightsv1.UnusedApp, error) {
	templates, err := s.store.Templates(ctx, q.scope)
	if err != nil {
		return nil, err
	}
	names := map[uuid.UUID]string{}
	for _, t := range templates {
		if t.DeletedAt.IsZero() && slices.Contains(insights.Templates, t.ID) {
			names[t.ID] = t.Name
		}
	}
	var unused []*insightsv1.UnusedApp
	for _, a := range insights.Unused {
		if name, used := names[a.TemplateID]; used {
			unused = append(unused, &insightsv1.UnusedApp{
				TemplateId: a.TemplateID.String(), TemplateName: name, Slug: a.Slug, DisplayName: a.DisplayName,
			})
		}
	}
	slices.SortFunc(unused, func(a, b *insightsv1.UnusedApp) int {
		return cmp.Or(cmp.Compare(a.GetTemplateId(), b.GetTemplateId()), cmp.Compare(a.GetSlug(), b.GetSlug()))
	})
	label.Sort(unused, (*insightsv1.UnusedApp).GetTemplateName)
	return unused, nil
}

// choicesOf are the values that workspaces have for a parameter.
func choicesOf(p store.ParameterUsage) (choices []reports.Choice) {
	for _, v := range p.Values {
		choices = append(choices, reports.Choice{Value: v.Value, Workspaces: v.Count, Withdrawn: v.Orphan || v.Hidden})
	}
	return choices
}

func unusedOptions(p store.ParameterUsage) (unused []*insightsv1.UnusedOption) {
	for _, value := range p.Unused {
		unused = append(unused, &insightsv1.UnusedOption{
			TemplateIds: call.Texts(p.Templates), ParameterName: p.Definition.Name,
			DisplayName: cmp.Or(p.Definition.DisplayName, p.Definition.Name), Value: value, Workspaces: reports.Workspaces(choicesOf(p)),
		})
	}
	return unused
}

// defaultChange is the advice to change the default of a parameter; nil if there is none. Sensitive values are not told.
func defaultChange(p store.ParameterUsage) *insightsv1.DefaultChange {
	advice := reports.AdviseDefault(p.Default, choicesOf(p))
	if advice == nil || p.Definition.Sensitive {
		return nil
	}
	return &insightsv1.DefaultChange{
		TemplateIds: call.Texts(p.Templates), ParameterName: p.Definition.Name,
		DisplayName:  cmp.Or(p.Definition.DisplayName, p.Definition.Name),
		DefaultValue: advice.From, Value: advice.To, Workspaces: advice.Workspaces, TotalWorkspaces: advice.Total,
		Message: advice.About(p.Definition.Name),
	}
}
