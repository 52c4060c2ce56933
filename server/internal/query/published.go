package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Where small groups are hidden, published days are cut. They hold who used a template on a day at all, and how long and how often each app
// was used there, of enough people. What the figures of any use are less than those of apps could tell of one person, so either the
// one or the other is told, never both of the same: people without apps, time of apps without people.

// Reasons and what is withheld, where small groups are hidden.
const (
	reasonNotPublished = "not_published"
	reasonSmallGroups  = "small_groups"

	withheldSessionApps = "session_apps"
)

// publishedDimensions are what published days can be cut by, and after interval narrowed by.
var publishedDimensions = []string{dimensionInterval, store.ByTemplate, store.ByOrganization, store.ByApp, store.ByFamily}

// Metrics that published days tell of apps, and without them.
var (
	publishedOfApps = []string{metricSeconds, metricLaunches}
	publishedOfAll  = []string{metricActiveUsers, metricActiveDays}
)

// ofApps reports whether a question is about apps.
func (q question) ofApps() bool { return q.narrowedBy(store.ByApp) || q.narrowedBy(store.ByFamily) }

// publishes is the refusal of a cut that published days do not hold, by the first part of it.
func (q question) publishes(mode store.PrivacyMode) error {
	refuse := func(field, name string, told []string) error {
		return notTold(fmt.Sprintf("the privacy mode is %s, or the caller may see totals alone. What was published does not tell "+
			"%s; %q may be %v here", mode, name, field, told))
	}
	for _, d := range q.by {
		if !slices.Contains(publishedDimensions, d) {
			return refuse("dimensions", d, publishedDimensions)
		}
	}
	for _, f := range q.filters {
		if !slices.Contains(publishedDimensions, f.By) {
			return refuse("filters", f.By, publishedDimensions[1:])
		}
	}
	if q.interval == intervalHour {
		return refuse("interval", q.interval, []string{intervalDay, intervalWeek, intervalMonth})
	}
	told := publishedOfAll
	if q.ofApps() {
		told = publishedOfApps
	}
	for _, m := range q.metrics {
		if slices.Contains(told, m) {
			continue
		}
		if q.ofApps() {
			return refuse("metrics", m+" of an app or a family", told)
		}
		return refuse("metrics", m+" without app or family among dimensions or filters", told)
	}
	return nil
}

// notTold is the refusal of what hidden small groups do not allow, for a reason.
func notTold(reason string) error {
	detail := "Small groups are hidden here: " + reason + "."
	return call.NewError(codes.FailedPrecondition, call.ReasonMode, "This is not told here.", detail, nil)
}

// published answers where small groups are hidden, and gives the question the days of the deployment.
func (s *Service) published(
	ctx context.Context, req *insightsv1.QueryUsageRequest, scope access.Scope, q *question, mode store.PrivacyMode,
	answer *insightsv1.QueryUsageResponse,
) (t table, err error) {
	if err := q.publishes(mode); err != nil {
		return t, err
	}
	days, err := s.insights.Published(ctx, req)
	if err != nil {
		return t, err
	}
	q.start, q.end, q.now = days.Start, days.End, q.now.In(days.Floor.Zone)
	t, others, err := s.cutPublished(ctx, scope, *q, days.Floor, q.start, q.end)
	if err != nil {
		return t, err
	}
	answer.DataAsOf, answer.LateExcluded = days.ShowAsOf(), true
	answer.OtherActors = s.insights.Others(mode, days.Floor.People, others)
	if q.narrowedBy(store.ByApp) {
		answer.Withheld = append(answer.Withheld, withheldSessionApps)
	}
	t.explainPublished(*q, days)
	if !q.compares() {
		return t, nil
	}
	start, end := q.windowBefore()
	answer.BeforeWindow = &insightsv1.QueryWindow{StartTime: start.Format(time.RFC3339), EndTime: end.Format(time.RFC3339)}
	days.Floor.Days = minute.NewWindow(start, end).Split(start, end, 1).Intervals()
	before, _, err := s.cutPublished(ctx, scope, *q, days.Floor, start, end)
	if err != nil {
		return t, err
	}
	t.join(before, *q, time.Time{}) // when usage begins is not told
	return t, nil
}

// cutPublished is the table of a window of published days. That something may be withheld holds always, so that it tells nothing.
func (s *Service) cutPublished(
	ctx context.Context, scope access.Scope, q question, floor store.Floor, start, end time.Time,
) (t table, others []store.OtherActor, err error) {
	result, err := s.store.PublishedQuery(ctx, q.query(scope, start, end), floor, q.ofApps())
	if err != nil {
		return t, nil, tooMuch(err)
	}
	t = q.table(result, start, end)
	none := func(r row) bool { return r.People == 0 && r.Minutes == 0 }
	t.suppress(none, true)
	t.whole.suppressed, t.withheld = none(t.whole), true
	return t, result.Others, nil
}

// explainPublished says why there is nothing, or not everything.
func (t *table) explainPublished(q question, days insights.Published) {
	switch {
	case !q.start.Before(q.end):
		t.reasons = append(t.reasons, reasonEmptyWindow)
	case q.end.After(days.AsOf):
		t.reasons = append(t.reasons, reasonNotPublished)
	case t.whole.suppressed:
		t.reasons = append(t.reasons, reasonSmallGroups)
	}
}
