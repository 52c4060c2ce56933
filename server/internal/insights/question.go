package insights

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

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
	asOf       time.Time // everything acknowledged before is in the answer, or published; zero: nothing is
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
	totals matter = iota // of templates: where small groups are hidden, of what is published
	people               // by name: nowhere that they are hidden
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
	if q.actors, err = ParseActors(r); err != nil {
		return q, err
	}
	q.scope, q.asOf = call.ScopeOf(ctx), s.AsOf(ctx)
	sections, divided := r.(sectionedRequest)
	var oldest store.Instant
	reading, both := errgroup.WithContext(ctx)
	if divided {
		reading.Go(func() (err error) {
			oldest, err = s.store.OldestTemplate(both, q.scope)
			return err
		})
	}
	reading.Go(func() (err error) {
		switch about {
		case totals:
			err = s.hide(both, &q)
		case people:
			q.mode, err = s.namesPeople(both, q.scope)
		}
		return err
	})
	if err = reading.Wait(); err == nil {
		err = TellsOf(q.actors, q.mode, q.floor.People)
	}
	if divided && err == nil {
		err = q.divide(sections, oldest.Time)
	}
	return q, err
}

// hide gives a question the floor of its templates. Where small groups are hidden its days are those of the deployment that are
// over, and the answer has those of them that were published.
func (s *Service) hide(ctx context.Context, q *question) (err error) {
	if q.mode, q.floor.People, err = s.Disclosed(ctx, q.scope); err != nil || q.floor.People == 0 {
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
	q.floor.Days, q.floor.Zone = q.window.Split(q.start, q.end, 1).Intervals(), zone
	q.asOf, err = s.publishedUntil(ctx)
	return err
}

// publishedUntil is when the newest day ended that was published; zero: none was.
func (s *Service) publishedUntil(ctx context.Context) (time.Time, error) {
	date, published, err := s.store.PublishedUntil(ctx)
	if err != nil || !published {
		return time.Time{}, err
	}
	start, _ := minute.DayOf(date, s.options.Location)
	return start, nil
}

// Published is a window of days that are answered from what was published.
type Published struct {
	Start, End time.Time // in the zone of the days
	Floor      store.Floor
	AsOf       time.Time // the end of the newest day that was published; zero: none was
}

// Published checks a question where small groups are hidden.
func (s *Service) Published(ctx context.Context, r windowRequest) (Published, error) {
	q, err := s.ask(ctx, r, totals)
	return Published{q.start, q.end, q.floor, q.asOf}, err
}

// ShowAsOf writes that moment as the answer shows it.
func (p Published) ShowAsOf() string { return showAsOf(p.AsOf, p.Floor.Zone) }

// DefaultInterval is the length of intervals that suits the templates of a scope and a window: day or week.
func (s *Service) DefaultInterval(ctx context.Context, scope access.Scope, start, end time.Time) (string, error) {
	oldest, err := s.store.OldestTemplate(ctx, scope)
	q := question{start: start, end: end, asked: s.clock()}
	return q.suits(oldest.Time).GetInterval(), err
}

// divide gives a question its intervals, or those that suit its templates, of which the oldest is from a moment, and its sections.
func (q *question) divide(r sectionedRequest, oldest time.Time) (err error) {
	q.suited = q.suits(oldest)
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
