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
)

// templatesAtOnce is how many templates of one question are counted at a time.
const templatesAtOnce = 4

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
	templates, err := s.store.Templates(ctx, q.scope)
	if err != nil {
		return nil, err
	}
	list := make([]*insightsv1.TemplateUsage, len(templates))
	counting, each := errgroup.WithContext(ctx)
	counting.SetLimit(templatesAtOnce)
	for i, t := range templates {
		counting.Go(func() (err error) {
			list[i], err = s.templateUsage(each, req, t.ID, compared)
			return err
		})
	}
	if err := counting.Wait(); err != nil {
		return nil, err
	}
	report := &insightsv1.TemplateUsageReport{
		StartTime: req.GetStartTime(), EndTime: req.GetEndTime(), Templates: list, EmptyWindow: q.empty(),
	}
	for _, usage := range list {
		if usage.GetActiveUsers() > 0 {
			report.TemplateIds = append(report.TemplateIds, usage.GetTemplateId())
		}
	}
	slices.Sort(report.GetTemplateIds())
	return &insightsv1.ListTemplateUsageResponse{
		Report: report, DataAsOf: q.dataAsOf(), CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People),
		Actors: ActorsOf(q.actors), LateExcluded: q.floor.People > 0,
	}, nil
}

// templateUsage counts one template of those that the call may read.
func (s *Service) templateUsage(
	ctx context.Context, req *insightsv1.ListTemplateUsageRequest, template uuid.UUID, compared bool,
) (*insightsv1.TemplateUsage, error) {
	alone, err := call.ScopeOf(ctx).Within([]uuid.UUID{template})
	if err != nil {
		return nil, err
	}
	ctx = call.WithScope(ctx, alone)
	report, intervals, others, err := s.countUsage(ctx, req, intervalDay)
	if err != nil {
		return nil, err
	}
	usage := &insightsv1.TemplateUsage{
		TemplateId: template.String(), ActiveUsers: report.GetActiveUsers(), Suppressed: report.GetSuppressed(), Intervals: intervals,
		MostUsedApp: mostUsedApp(report.GetAppsUsage()), OtherActors: others,
	}
	if compared {
		before, _, _, err := s.countUsage(ctx, windowBefore{req}, "")
		if err != nil {
			return nil, err
		}
		if !before.GetSuppressed() {
			usage.PreviousActiveUsers = proto.Int64(before.GetActiveUsers())
		}
	}
	return usage, nil
}

// countUsage asks what was used in a window, which has intervals if they are named, and who is left out.
func (s *Service) countUsage(ctx context.Context, r windowRequest, interval string) (
	*insightsv1.TemplateInsightsReport, []*insightsv1.TemplateInsightsIntervalReport, []*insightsv1.OtherActor, error,
) {
	q, err := s.ask(ctx, r, totals)
	if err != nil {
		return nil, nil, nil, err
	}
	q.interval = interval
	q.split()
	insights, err := s.store.TemplateInsights(ctx, q.scope, q.actors, q.window, q.floor)
	if err != nil {
		return nil, nil, nil, err
	}
	return q.usageReport(insights), q.intervalReports(insights.Intervals), s.Others(q.mode, q.floor.People, insights.Others), nil
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
