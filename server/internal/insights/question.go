package insights

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// question is a valid question about a window: what may be answered about which templates. Its days are those of start's location:
// of the time zone that was asked for, or else of the offset of start_time.
type question struct {
	fields     windowFields
	scope      access.Scope
	start, end time.Time
	window     minute.Window // with the intervals that were asked for
	asked      time.Time
	asOf       time.Time // everything acknowledged before is in the answer
	mode       store.PrivacyMode
	floor      store.Floor
	actors     minute.Actors // whose figures are asked for

	// Of a question that has intervals and sections.
	interval string                      // day, week; empty: none
	suited   *insightsv1.DefaultInterval // to the templates and the window
	report   bool                        // the report is asked for
}

// empty reports whether the window has no minutes, so that there is nothing to answer.
func (q question) empty() bool { return q.window.Start >= q.window.End }

// matter is what a question is about, which decides where it may be asked.
type matter int

const (
	totals      matter = iota // of templates: where small groups are hidden, of what is published
	people                    // by name: nowhere that they are hidden
	smallGroups               // of people without names: in the mode full alone
)

// windowRequest is a question about whose figures there are in a window.
type windowRequest interface {
	call.WindowRequest
	actorRequest
}

// sectionedRequest is a question that chooses intervals and sections of its answer.
type sectionedRequest interface {
	GetInterval() string
	GetSections() []string
}

// ask makes a question of a request: its fields are checked, and where it may not be answered it is refused.
func (s *Service) ask(ctx context.Context, r windowRequest, about matter) (question, error) {
	q, err := parseQuestion(r, s.clock())
	if err != nil {
		return q, err
	}
	if q.actors, err = parseActors(r); err != nil {
		return q, err
	}
	q.scope, q.asOf = call.ScopeOf(ctx), s.asOf(ctx)
	switch about {
	case totals:
		err = s.hide(ctx, &q)
	case people:
		q.mode, err = s.namesPeople(ctx, q.scope)
	case smallGroups:
		q.mode, err = s.tellsSmallGroups(ctx, q.scope)
	}
	if err == nil {
		err = tellsOf(q.actors, q.mode, q.floor.People)
	}
	if sections, ok := r.(sectionedRequest); ok && err == nil {
		err = s.divide(ctx, &q, sections)
	}
	return q, err
}

// hide gives a question the floor of its templates. Where small groups are hidden its days are those of the deployment that are
// over.
func (s *Service) hide(ctx context.Context, q *question) (err error) {
	if q.mode, q.floor.People, err = s.disclosed(ctx, q.scope); err != nil || q.floor.People == 0 {
		return err
	}
	zone := s.options.Location
	today := startOfDay(q.asked.In(zone))
	for _, t := range []struct {
		field string
		at    *time.Time
	}{{q.fields.start, &q.start}, {q.fields.end, &q.end}} {
		if *t.at = t.at.In(zone); !beginsDay(*t.at) {
			return call.InvalidParam(t.field, "must be a midnight of time zone %s: only its whole days are published", zone)
		}
		if t.at.After(today) {
			return call.InvalidParam(
				t.field, "must not be after %s: only days of time zone %s that are over are published", today.Format(time.RFC3339), zone,
			)
		}
	}
	q.asked = q.asked.In(zone)
	q.floor.Days = q.window.Split(q.start, q.end, 1).Intervals()
	return nil
}

// tellsSmallGroups returns the privacy mode of a scope, or the refusal of a question that is not made of published parts.
func (s *Service) tellsSmallGroups(ctx context.Context, scope access.Scope) (store.PrivacyMode, error) {
	mode, err := s.store.PrivacyModeOf(ctx, scope)
	if err == nil && mode != store.PrivacyFull {
		detail := fmt.Sprintf("The privacy mode of these templates is %s, and this report tells of small groups. "+
			"Name templates of an organization in the mode full.", mode)
		err = call.NewError(codes.FailedPrecondition, call.ReasonMode, "This is not told here.", detail, nil)
	}
	return mode, err
}

// divide gives a question its intervals, or those that suit its templates, and its sections.
func (s *Service) divide(ctx context.Context, q *question, r sectionedRequest) error {
	oldest, err := s.store.OldestTemplate(ctx, q.scope)
	if err != nil {
		return err
	}
	q.suited = q.suits(oldest.Time)
	if q.interval, err = q.choose(r.GetInterval()); err != nil {
		return err
	}
	q.split()
	report, intervals, err := parseSections(r.GetSections())
	if !intervals {
		q.window.Bounds = nil
	}
	q.report = report
	return err
}
