package insights

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/label"
)

const (
	standardTemplates = 12  // on a page
	maxTemplates      = 100 // on a page
	templatesAtOnce   = 4   // of one question that are counted at a time
)

// windowBefore is a request as the question about the window that it compares with.
type windowBefore struct {
	*insightsv1.ListTemplateUsageRequest
}

// GetStartTime implements [call.WindowRequest].
func (r windowBefore) GetStartTime() string { return r.GetPreviousStartTime() }

// GetEndTime implements [call.WindowRequest].
func (r windowBefore) GetEndTime() string { return r.GetPreviousEndTime() }

// asked reports whether anything is to be compared, or what is missing for it.
func (r windowBefore) asked() (bool, error) {
	fields := fieldsOf(r)
	switch start, end := r.GetStartTime() != "", r.GetEndTime() != ""; {
	case start && !end:
		return false, call.InvalidParam(fields.end, "is required together with %q", fields.start)
	case end && !start:
		return false, call.InvalidParam(fields.start, "is required together with %q", fields.end)
	default:
		return start, nil
	}
}

// ListTemplateUsage implements [insightsv1.InsightsServiceServer]. The question about all templates decides whether it is answered;
// each template is then asked about like any other question about it alone.
func (s *Service) ListTemplateUsage(
	ctx context.Context, req *insightsv1.ListTemplateUsageRequest,
) (*insightsv1.ListTemplateUsageResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	if err := q.fits(intervalDay); err != nil {
		return nil, err
	}
	compared, err := windowBefore{req}.asked()
	if compared {
		_, err = s.ask(ctx, windowBefore{req}, totals)
	}
	if err != nil {
		return nil, err
	}
	if req.GetPageSize() > maxTemplates {
		return nil, call.InvalidParam("page_size", "must be from 0 to %d", maxTemplates)
	}
	asked, err := call.OpenPage(ctx, s.store, req, standardTemplates)
	if err != nil {
		return nil, err
	}
	templates, err := s.store.Templates(ctx, q.scope)
	if err != nil {
		return nil, err
	}
	total := len(templates)
	page, next := call.Cut(asked, templates, func(t store.Template) call.Position {
		return call.Position{ID: label.Key(t.Name) + "\x00" + t.ID.String()}
	})
	report, err := s.templateUsages(ctx, req, page, compared)
	if err != nil {
		return nil, err
	}
	report.EmptyWindow = q.empty()
	return &insightsv1.ListTemplateUsageResponse{
		Report: report, Total: int64(total), NextPageToken: next, DataAsOf: q.dataAsOf(), CollectionMode: collectionMode(q.mode),
		Floor: int64(q.floor.People),
	}, nil
}

// templateUsages counts some templates, each by itself.
func (s *Service) templateUsages(
	ctx context.Context, req *insightsv1.ListTemplateUsageRequest, templates []store.Template, compared bool,
) (*insightsv1.TemplateUsageReport, error) {
	report := &insightsv1.TemplateUsageReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), Templates: make([]*insightsv1.TemplateUsage, len(templates)),
	}
	used := make([][]uuid.UUID, len(templates))
	counting, each := errgroup.WithContext(ctx)
	counting.SetLimit(templatesAtOnce)
	for i, t := range templates {
		counting.Go(func() error {
			scope, err := call.ScopeOf(each).Within([]uuid.UUID{t.ID})
			if err != nil {
				return err
			}
			alone := call.WithScope(each, scope)
			usage, insights, err := s.templateUsage(alone, req, compared)
			if err != nil {
				return err
			}
			usage.TemplateId = t.ID.String()
			report.Templates[i], used[i] = usage, insights.Templates
			return nil
		})
	}
	if err := counting.Wait(); err != nil {
		return nil, err
	}
	report.TemplateIds = call.Texts(call.Union(slices.Concat(used...)))
	return report, nil
}

// templateUsage counts the template that alone is the scope of the call.
func (s *Service) templateUsage(
	ctx context.Context, req *insightsv1.ListTemplateUsageRequest, compared bool,
) (*insightsv1.TemplateUsage, store.TemplateInsights, error) {
	q, insights, err := s.countUsage(ctx, req, intervalDay)
	if err != nil {
		return nil, insights, err
	}
	report := q.usageReport(insights)
	usage := &insightsv1.TemplateUsage{
		ActiveUsers: report.GetActiveUsers(), Suppressed: report.GetSuppressed(), Intervals: q.intervalReports(insights.Intervals),
		MostUsedApp: mostUsedApp(report.GetAppsUsage()),
	}
	if !compared || usage.GetSuppressed() {
		return usage, insights, nil
	}
	q, before, err := s.countUsage(ctx, windowBefore{req}, "")
	if err != nil {
		return nil, insights, err
	}
	if report := q.usageReport(before); !report.GetSuppressed() {
		usage.PreviousActiveUsers = proto.Int64(report.GetActiveUsers())
	}
	return usage, insights, nil
}

// countUsage asks what was used in a window, which has intervals if they are named.
func (s *Service) countUsage(ctx context.Context, r call.WindowRequest, interval string) (question, store.TemplateInsights, error) {
	q, err := s.ask(ctx, r, totals)
	if err != nil {
		return q, store.TemplateInsights{}, err
	}
	q.interval = interval
	q.split()
	insights, err := s.store.TemplateInsights(ctx, q.scope, q.window, q.floor)
	return q, insights, err
}

// mostUsedApp is the first of those that no other was used longer than; nil if none was used.
func mostUsedApp(apps []*insightsv1.AppUsage) *insightsv1.MostUsedApp {
	if len(apps) == 0 {
		return nil
	}
	most := slices.MaxFunc(apps, func(a, b *insightsv1.AppUsage) int { return cmp.Compare(a.GetSeconds(), b.GetSeconds()) })
	if most.GetSeconds() == 0 {
		return nil
	}
	return &insightsv1.MostUsedApp{
		Type: most.GetType(), DisplayName: most.GetDisplayName(), Slug: most.GetSlug(), Icon: most.GetIcon(), Seconds: most.GetSeconds(),
	}
}
