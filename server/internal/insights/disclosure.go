package insights

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// DefaultPrivacyFloor is how many people must take part in what is published where small groups are hidden, unless it is
// configured otherwise.
const DefaultPrivacyFloor = 5

// disclosed says how much the caller may be told of the templates of a scope: the strictest privacy mode among them, and from how
// many people on; 0: of anyone.
func (s *Service) disclosed(ctx context.Context, scope access.Scope) (mode store.PrivacyMode, floor int, err error) {
	if mode, err = s.store.PrivacyModeOf(ctx, scope); err != nil {
		return "", 0, err
	}
	whole, err := s.viewsWhole(ctx, scope)
	if err != nil || whole && mode == store.PrivacyFull {
		return mode, 0, err
	}
	return mode, s.options.PrivacyFloor, nil
}

// viewsWhole is whether the caller may see more of the templates of a scope than totals.
func (s *Service) viewsWhole(ctx context.Context, scope access.Scope) (bool, error) {
	if scope.All() {
		return call.PrincipalOf(ctx).HoldsEverywhere(access.ViewInsights), nil
	}
	_, err := call.TemplateScope(ctx, s.store, access.ViewInsights, scope.Templates())
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// ask reads a question about totals. Where small groups are hidden its days are those of the deployment that are over.
func (s *Service) ask(ctx context.Context, r call.WindowRequest) (question, error) {
	q, err := parseQuestion(r, s.clock())
	if err != nil {
		return q, err
	}
	if q.mode, q.floor, err = s.disclosed(ctx, call.ScopeOf(ctx)); err != nil || q.floor == 0 {
		return q, err
	}
	zone := s.options.Location
	today := startOfDay(q.asked.In(zone))
	for _, t := range []struct {
		field string
		at    *time.Time
	}{{"start_time", &q.start}, {"end_time", &q.end}} {
		if *t.at = t.at.In(zone); !beginsDay(*t.at) {
			return q, call.InvalidParam(t.field, "must be a midnight of time zone %s: only its whole days are published", zone)
		}
		if t.at.After(today) {
			return q, call.InvalidParam(t.field, "must not be after %s: only days of time zone %s that are over are published", today.Format(time.RFC3339), zone)
		}
	}
	q.asked = q.asked.In(zone)
	return q, nil
}

// askAboutPeople reads a question about single users. Where nothing may be said about them it is refused.
func (s *Service) askAboutPeople(ctx context.Context, r call.WindowRequest) (question, error) {
	q, err := parseQuestion(r, s.clock())
	if err == nil {
		q.mode, err = s.namesPeople(ctx, call.ScopeOf(ctx))
	}
	return q, err
}

// askWhole reads a question about totals that are not made of published parts. Where small groups are hidden it is refused.
func (s *Service) askWhole(ctx context.Context, r call.WindowRequest) (question, error) {
	q, err := parseQuestion(r, s.clock())
	if err == nil {
		q.mode, err = s.store.PrivacyModeOf(ctx, call.ScopeOf(ctx))
	}
	if err == nil && q.mode != store.PrivacyFull {
		detail := fmt.Sprintf("The privacy mode of these templates is %s, and this report tells of small groups. Name templates of an organization in the mode full.", q.mode)
		err = call.NewError(codes.FailedPrecondition, call.ReasonMode, "This is not told here.", detail, nil)
	}
	return q, err
}

// namesPeople returns the privacy mode of a scope, or the refusal of a question about single users.
func (s *Service) namesPeople(ctx context.Context, scope access.Scope) (store.PrivacyMode, error) {
	mode, err := s.store.PrivacyModeOf(ctx, scope)
	if err == nil && mode.AtLeast(store.PrivacyAggregate) {
		detail := fmt.Sprintf("The privacy mode of these templates is %s. Ask for totals, or name templates of an organization with another mode.", mode)
		err = call.NewError(codes.FailedPrecondition, call.ReasonAggregate, "Nothing is told about single users here.", detail, nil)
	}
	return mode, err
}

// collectionMode is how answers tell a privacy mode.
func collectionMode(mode store.PrivacyMode) string {
	if mode == store.PrivacyFull {
		return ""
	}
	return string(mode)
}

// templateInsights counts what may be counted.
func (s *Service) templateInsights(ctx context.Context, q question) (store.TemplateInsights, error) {
	if q.floor == 0 {
		return s.store.TemplateInsights(ctx, call.ScopeOf(ctx), q.window)
	}
	return s.store.PublishedInsights(ctx, call.ScopeOf(ctx), q.window, q.days(), q.floor)
}

// parameterUsage counts the choices that may be counted.
func (s *Service) parameterUsage(ctx context.Context, q question) ([]store.ParameterUsage, error) {
	if q.floor == 0 {
		return s.store.ParameterUsage(ctx, call.ScopeOf(ctx), q.start, q.end)
	}
	return s.store.PublishedParameters(ctx, call.ScopeOf(ctx), q.days(), q.floor)
}

// intervals counts the users of the intervals of a window that may be counted. The days are those of the window.
func (s *Service) intervals(ctx context.Context, scope access.Scope, w minute.Window, days []minute.Window, floor int) ([]store.Interval, error) {
	if floor == 0 {
		return s.store.Intervals(ctx, scope, w)
	}
	published, err := s.store.PublishedInsights(ctx, scope, w, days, floor)
	return published.Intervals, err
}

// days are those of the window, each as a window of its own.
func (q question) days() []minute.Window { return q.window.Split(q.start, q.end, 1).Intervals() }

// Timezone is the time zone of the only days that the caller's insights may be about, if they may not be about any.
func (s *Service) Timezone(ctx context.Context) (string, error) {
	scope, err := call.VisibleScope(ctx, s.store, access.ViewInsightsAggregate, nil)
	if errors.Is(err, access.ErrNotFound) || status.Code(err) == codes.InvalidArgument { // or more than may be asked about
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_, floor, err := s.disclosed(ctx, scope)
	if err != nil || floor == 0 {
		return "", err
	}
	return s.options.Location.String(), nil
}

// suppress says of entries that have nothing published that their numbers tell nothing.
func suppress(report *insightsv1.TemplateInsightsReport) {
	report.Suppressed = report.GetActiveUsers() == 0
	for _, a := range report.GetAppsUsage() {
		a.Suppressed = a.GetSeconds() == 0
	}
}
