package insights

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

// fewestWorkspaces is how many workspaces have to choose before their choice is advice.
const fewestWorkspaces = 5

// GetOptimizationReport implements [insightsv1.InsightsServiceServer].
func (s *Service) GetOptimizationReport(
	ctx context.Context, req *insightsv1.GetOptimizationReportRequest,
) (*insightsv1.GetOptimizationReportResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, smallGroups)
	if err != nil {
		return nil, err
	}
	insights, parameters, err := s.usage(ctx, q)
	if err != nil {
		return nil, err
	}
	report := &insightsv1.OptimizationReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), TemplateIds: call.Texts(insights.Templates),
	}
	if report.UnusedApps, err = s.unusedApps(ctx, q, insights); err != nil {
		return nil, err
	}
	for _, p := range parameters {
		report.UnusedOptions = append(report.UnusedOptions, unusedOptions(p)...)
		if change := defaultChange(p); change != nil {
			report.DefaultChanges = append(report.DefaultChanges, change)
		}
	}
	return &insightsv1.GetOptimizationReportResponse{Report: report, DataAsOf: q.dataAsOf()}, nil
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

// workspacesOf is the number of workspaces with a value for a parameter.
func workspacesOf(p store.ParameterUsage) (workspaces int64) {
	for _, v := range p.Values {
		workspaces += v.Count
	}
	return workspaces
}

func unusedOptions(p store.ParameterUsage) (unused []*insightsv1.UnusedOption) {
	for _, value := range p.Unused {
		unused = append(unused, &insightsv1.UnusedOption{
			TemplateIds: call.Texts(p.Templates), ParameterName: p.Definition.Name, DisplayName: p.Definition.DisplayName, Value: value,
			Workspaces: workspacesOf(p),
		})
	}
	return unused
}

// defaultChange is the advice to make what most workspaces chose the default; nil if there is none.
func defaultChange(p store.ParameterUsage) *insightsv1.DefaultChange {
	all := workspacesOf(p)
	if p.Definition.Sensitive || p.Default == "" || all < fewestWorkspaces {
		return nil
	}
	for _, v := range p.Values {
		if v.Orphan || v.Value == p.Default || 2*v.Count <= all {
			continue
		}
		return &insightsv1.DefaultChange{
			TemplateIds: call.Texts(p.Templates), ParameterName: p.Definition.Name, DisplayName: p.Definition.DisplayName,
			DefaultValue: p.Default, Value: v.Value, Workspaces: v.Count, TotalWorkspaces: all,
			Message: fmt.Sprintf("%.0f %% of %d workspaces change %s from %s to %s: consider %s as the default.",
				math.Floor(100*float64(v.Count)/float64(all)), all, p.Definition.Name, p.Default, v.Value, v.Value),
		}
	}
	return nil
}
