package insights

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// PastDays is how many days before the present one are counted.
const PastDays = 60

// Offsets from UTC that zones of whole hours have.
const (
	minOffsetHours = -12
	maxOffsetHours = 14
)

// GetDeploymentDAUs implements [insightsv1.InsightsServiceServer].
func (s *Service) GetDeploymentDAUs(
	ctx context.Context, req *insightsv1.GetDeploymentDAUsRequest,
) (*insightsv1.GetDeploymentDAUsResponse, error) {
	// A limited credential may see less than its user, and this is about all or nothing.
	if everything, err := call.SeesEverything(ctx); err != nil || !everything {
		return nil, cmp.Or(err, access.ErrForbidden)
	}
	scope, err := call.TemplateScope(ctx, s.store, access.ViewInsightsAggregate, nil)
	if err != nil {
		return nil, err
	}
	d, err := s.daus(ctx, scope, req)
	if err != nil {
		return nil, err
	}
	return &insightsv1.GetDeploymentDAUsResponse{
		Entries: d.entries, TzHourOffset: d.offset, DataAsOf: d.asOf, CollectionMode: CollectionMode(d.mode), Floor: int64(d.floor),
		Actors: d.actors, OtherActors: d.others, LateExcluded: d.floor > 0,
	}, nil
}

// GetTemplateDAUs implements [insightsv1.InsightsServiceServer].
func (s *Service) GetTemplateDAUs(
	ctx context.Context, req *insightsv1.GetTemplateDAUsRequest,
) (*insightsv1.GetTemplateDAUsResponse, error) {
	if _, err := uuid.Parse(req.GetTemplateId()); err != nil { // its access rule takes an empty one for all templates
		return nil, call.InvalidParam("template_id", "must be the id of a template")
	}
	d, err := s.daus(ctx, call.ScopeOf(ctx), req)
	if err != nil {
		return nil, err
	}
	return &insightsv1.GetTemplateDAUsResponse{
		Entries: d.entries, TzHourOffset: d.offset, DataAsOf: d.asOf, CollectionMode: CollectionMode(d.mode), Floor: int64(d.floor),
		Actors: d.actors, OtherActors: d.others, LateExcluded: d.floor > 0,
	}, nil
}

// daus is the answer to both.
type daus struct {
	entries []*insightsv1.DAUEntry
	offset  int32
	asOf    string
	mode    store.PrivacyMode
	floor   int
	actors  []string
	others  []*insightsv1.OtherActor
}

func (s *Service) daus(ctx context.Context, scope access.Scope, req zoneRequest) (daus, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	actors, err := ParseActors(req)
	if err != nil {
		return daus{}, err
	}
	mode, floor, err := s.Disclosed(ctx, scope)
	if err != nil {
		return daus{}, err
	}
	if err := TellsOf(actors, mode, floor); err != nil {
		return daus{}, err
	}
	days, zone, err := s.daysOf(req, floor)
	if err != nil {
		return daus{}, err
	}
	intervals, others, err := s.store.Intervals(ctx, scope, actors, days, store.Floor{People: floor, Days: days.Intervals(), Zone: zone})
	if err != nil {
		return daus{}, err
	}
	asOf := s.AsOf(ctx)
	if floor > 0 {
		if asOf, err = s.publishedUntil(ctx); err != nil {
			return daus{}, err
		}
	}
	now := s.clock().In(zone)
	_, seconds := now.Zone()
	answer := daus{
		offset: int32(seconds / 3600), asOf: showAsOf(asOf, zone), mode: mode, floor: floor, actors: ActorsOf(actors),
		others: s.Others(mode, floor, others),
	}
	for _, i := range intervals {
		date := time.Unix(60*i.Start, 0).In(zone).Format(time.DateOnly)
		answer.entries = append(answer.entries, &insightsv1.DAUEntry{
			Date: date, Amount: int64(i.ActiveUsers), Suppressed: floor > 0 && i.ActiveUsers == 0,
		})
	}
	return answer, nil
}

// zoneRequest is a question about days that says whose.
type zoneRequest interface {
	GetTzOffset() int32
	GetTimezone() string
	actorRequest
}

// parseDays finds the location whose days a question counts.
func parseDays(r zoneRequest) (*time.Location, error) {
	const invalidZone = "Invalid timezone."
	hours, name := r.GetTzOffset(), r.GetTimezone()
	if name == "" {
		if hours < minOffsetHours || hours > maxOffsetHours {
			detail := fmt.Sprintf("must be from %d to %d, got %d", minOffsetHours, maxOffsetHours, hours)
			return nil, call.InvalidDetail(invalidZone, "tz_offset "+detail, call.FieldError{
				Field: "tz_offset", Detail: fmt.Sprintf("Query param %q %s", "tz_offset", detail),
			})
		}
		return time.FixedZone("", int(hours)*3600), nil
	}
	if hours != 0 {
		const both = `Provide either "timezone" or "tz_offset", not both.`
		return nil, call.Invalid(both, call.FieldError{Field: "tz_offset", Detail: both})
	}
	zone, err := findZone(name)
	if err != nil {
		return nil, call.InvalidDetail(invalidZone, err.Error(), call.FieldError{
			Field: "timezone", Detail: fmt.Sprintf("Query param %q %v", "timezone", err),
		})
	}
	return zone, nil
}

// daysOf are the days that a question about days is about, in the location whose days they are: the past ones and, unless small
// groups are hidden, the present one. Where they are, the days must be those of the deployment.
func (s *Service) daysOf(req zoneRequest, floor int) (minute.Window, *time.Location, error) {
	zone, err := parseDays(req)
	if err != nil {
		return minute.Window{}, nil, err
	}
	days := func(zone *time.Location) minute.Window {
		start, end := lastDays(s.clock().In(zone))
		if floor > 0 {
			end = startOfDay(end.Add(-time.Nanosecond))
		}
		return minute.NewWindow(start, end).Split(start, end, 1)
	}
	asked := days(zone)
	if own := days(s.options.Location); floor > 0 && !slices.Equal(own.Bounds, asked.Bounds) {
		return asked, zone, call.InvalidParam("timezone", "must be %s: only whole days of that time zone are published", s.options.Location)
	}
	return asked, zone, nil
}

// lastDays are the past days and the present one up to the coming hour, in the location of now.
func lastDays(now time.Time) (start, end time.Time) {
	year, month, day := now.Date()
	return minute.StartOfDay(year, month, day-PastDays, now.Location()), comingHour(now)
}

// comingHour is the full hour after now, as the clocks of its location show it.
func comingHour(now time.Time) time.Time {
	return now.Add(
		time.Hour - time.Duration(now.Minute())*time.Minute - time.Duration(now.Second())*time.Second - time.Duration(now.Nanosecond()),
	)
}
