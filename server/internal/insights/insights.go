// Package insights answers questions: it turns a request into a window, asks the store once, and puts the counts into the
// messages of the contract. It knows nothing of where usage comes from, of HTTP, and of who may ask: the guard has decided
// that before.
package insights

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights/reports"
	"github.com/template-insights/insights/store"
)

// QuestionDeadline is how long an answer may take; a caller may be less patient.
const QuestionDeadline = 30 * time.Second

// Service is the InsightsService.
type Service struct {
	insightsv1.UnimplementedInsightsServiceServer

	options  Options
	store    *store.Store
	clock    func() time.Time
	ide      ideApps
	replicas replicaMetrics
}

// Options say what questions are answered from and how. All fields without "zero" or "nil" in their comment are needed.
type Options struct {
	Store    *store.Store
	Logger   *slog.Logger
	Clock    func() time.Time
	Registry prometheus.Registerer // of what replicas of the database do
	// how many people must take part in what is published where small groups are hidden; zero: DefaultPrivacyFloor
	PrivacyFloor     int
	Location         *time.Location // whose days are published there; nil: UTC
	IDEApps          []string       // session apps and slugs that count as an IDE in the older activity API; nil: those known as such
	UsageStats       bool           // usage is stored
	UsageRetention   time.Duration  // how long usage is kept; zero: for ever
	LatencyRetention time.Duration  // how long latencies are kept; zero: for ever
	ReportInterval   time.Duration  // how often agents report
	OnlineWithin     time.Duration  // how long ago an agent that is online reported at most
}

// New fails if an option is out of its range.
func New(o Options) (*Service, error) {
	if o.PrivacyFloor < 0 {
		return nil, errors.New("the privacy floor must not be negative")
	}
	if o.PrivacyFloor == 0 {
		o.PrivacyFloor = DefaultPrivacyFloor
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	return &Service{
		options: o, store: o.Store, clock: o.Clock, ide: newIDEApps(o.IDEApps), replicas: newReplicaMetrics(o.Registry, o.Store.Replicas()),
	}, nil
}

// GetTemplateInsights implements [insightsv1.InsightsServiceServer].
func (s *Service) GetTemplateInsights(
	ctx context.Context, req *insightsv1.GetTemplateInsightsRequest,
) (*insightsv1.GetTemplateInsightsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.GetTemplateInsightsResponse{
		DefaultInterval: q.suited, DataAsOf: q.dataAsOf(), CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People),
		Actors: ActorsOf(q.actors), LateExcluded: q.floor.People > 0,
	}
	var counted []store.Interval
	var others []store.OtherActor
	switch {
	case q.report:
		answer.Report, counted, others, err = s.templateReport(ctx, req, q)
	case len(q.window.Bounds) > 0:
		counted, others, err = s.store.Intervals(ctx, q.scope, q.actors, q.window, q.floor)
	}
	if err != nil {
		return nil, err
	}
	answer.IntervalReports, answer.OtherActors = q.intervalReports(counted), s.Others(q.mode, q.floor.People, others)
	return answer, nil
}

func (q question) intervalReports(intervals []store.Interval) []*insightsv1.TemplateInsightsIntervalReport {
	days := int64(1)
	if q.interval == intervalWeek {
		days = 7
	}
	var reports []*insightsv1.TemplateInsightsIntervalReport
	for _, i := range intervals {
		reports = append(reports, &insightsv1.TemplateInsightsIntervalReport{
			StartTime: q.show(i.Start), EndTime: q.show(i.End), TemplateIds: call.Texts(i.Templates),
			Interval: q.interval, ActiveUsers: int64(i.ActiveUsers), Partial: q.partial(i.Start, i.End, days),
			Suppressed: q.floor.People > 0 && i.ActiveUsers == 0,
		})
	}
	return reports
}

// templateReport is the window as a whole and, from the same pass, what was counted in its intervals and who is left out.
func (s *Service) templateReport(
	ctx context.Context, req *insightsv1.GetTemplateInsightsRequest, q question,
) (*insightsv1.TemplateInsightsReport, []store.Interval, []store.OtherActor, error) {
	insights, parameters, err := s.usage(ctx, q)
	if err != nil {
		return nil, nil, nil, err
	}
	report := q.usageReport(insights)
	report.StartTime, report.EndTime, report.ParametersUsage = req.GetStartTime(), req.GetEndTime(), parametersUsage(parameters)
	report.Reasons, err = s.reasons(ctx, q, observed{insights: &insights, parameters: &parameters, others: insights.Others})
	return report, insights.Intervals, insights.Others, err
}

// usageReport is the part of a report that is about usage.
func (q question) usageReport(insights store.TemplateInsights) *insightsv1.TemplateInsightsReport {
	report := &insightsv1.TemplateInsightsReport{
		TemplateIds: call.Texts(insights.Templates), ActiveUsers: int64(insights.ActiveUsers), Estimated: insights.Estimated,
	}
	for _, a := range insights.Apps {
		report.AppsUsage = append(report.AppsUsage, appUsage(a))
	}
	if insights.Unknown.Minutes > 0 {
		report.UnknownUsage = appUsage(insights.Unknown)
	}
	if q.floor.People > 0 {
		suppress(report)
	}
	return report
}

// usage is what was used of the templates, and which values their workspaces chose.
func (s *Service) usage(ctx context.Context, q question) (insights store.TemplateInsights, parameters []store.ParameterUsage, err error) {
	reading, both := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		insights, err = s.store.TemplateInsights(both, q.scope, q.actors, q.window, q.floor)
		return err
	})
	reading.Go(func() (err error) {
		parameters, err = s.store.ParameterUsage(both, q.scope, q.actors, q.start, q.end, q.floor)
		return err
	})
	err = reading.Wait()
	return insights, parameters, err
}

// show writes a minute since the Unix epoch as the question's location shows it.
func (q question) show(minute int64) string {
	return time.Unix(60*minute, 0).In(q.start.Location()).Format(time.RFC3339)
}

func appUsage(a store.AppUsage) *insightsv1.AppUsage {
	usage := &insightsv1.AppUsage{
		TemplateIds: call.Texts(a.Templates), Type: reports.AppType(a.Builtin), DisplayName: a.DisplayName, Slug: a.Slug, Icon: a.Icon,
		Seconds: 60 * a.Minutes, TimesUsed: a.Launches, Family: a.Family,
	}
	for _, e := range a.Editors {
		usage.Editors = append(usage.Editors, &insightsv1.EditorUsage{
			Name: e.Name, TemplateIds: call.Texts(e.Templates), Seconds: 60 * e.Minutes, TimesUsed: e.Launches,
			DisplayName: e.DisplayName, Icon: e.Icon,
		})
	}
	return usage
}

func parametersUsage(parameters []store.ParameterUsage) []*insightsv1.ParameterUsage {
	usage := make([]*insightsv1.ParameterUsage, len(parameters))
	for i, p := range parameters {
		d := p.Definition
		u := &insightsv1.ParameterUsage{
			TemplateIds: call.Texts(p.Templates), DisplayName: d.DisplayName, Name: d.Name, Type: d.Type,
			Description: plainText(d.Description), Sensitive: d.Sensitive, UnusedOptions: p.Unused, DefaultValue: p.Default,
		}
		for _, o := range d.Options {
			u.Options = append(u.Options, &insightsv1.ParameterOption{
				Name: o.Name, Description: o.Description, Value: o.Value, Icon: o.Icon,
			})
		}
		for _, v := range p.Values {
			u.Values = append(u.Values, &insightsv1.ParameterValue{Value: v.Value, Count: v.Count, Orphan: v.Orphan, Hidden: v.Hidden})
		}
		usage[i] = u
	}
	return usage
}
