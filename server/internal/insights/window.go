package insights

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store/minute"
)

// weeksFrom is the age of a template from which on weeks tell more than days.
const weeksFrom = 5 * 7 * 24 * time.Hour

// maxDayIntervals is how many days a window with day intervals may have: a leap year.
const maxDayIntervals = 366

// Steps of intervals.
const (
	intervalDay     = "day"
	intervalWeek    = "week"
	intervalDefault = "default" // the one that suits the templates and the window
)

// intervals are the steps that callers may choose themselves.
var intervals = []string{intervalDay, intervalWeek}

// parseQuestion checks the times of a question against the rules of their fields and tells the first that is broken.
func parseQuestion(r call.WindowRequest, now time.Time) (question, error) {
	zone, err := ParseZone(r.GetTimezone())
	if err != nil {
		return question{}, err
	}
	fields := fieldsOf(r)
	start, err := parseMidnight(fields.start, r.GetStartTime(), zone, now)
	if err != nil {
		return question{}, err
	}
	end, err := parseEnd(fields.end, r.GetEndTime(), zone, now)
	if err != nil {
		return question{}, err
	}
	if end.Before(start) {
		return question{}, call.InvalidParam(fields.end, "must be after than %q", fields.start)
	}
	return question{
		fields: fields, start: start, end: end, window: minute.NewWindow(start, end), asked: now.In(start.Location()),
	}, nil
}

// ParseHours checks the times of a question that may begin and end at any full hour. The end is in the location of the start.
func ParseHours(r call.WindowRequest, now time.Time) (start, end time.Time, err error) {
	zone, err := ParseZone(r.GetTimezone())
	if err != nil {
		return start, end, err
	}
	fields := fieldsOf(r)
	if start, err = parseTimeParam(fields.start, r.GetStartTime(), zone, now); err != nil {
		return start, end, err
	}
	if end, err = parseTimeParam(fields.end, r.GetEndTime(), zone, now); err != nil {
		return start, end, err
	}
	end = end.In(start.Location())
	switch {
	case !beginsHour(start):
		return start, end, call.InvalidParam(fields.start, "must be a full hour, got %s", start.Format(time.RFC3339))
	case !beginsHour(end):
		return start, end, call.InvalidParam(
			fields.end, "must be a full hour by the clock of %q, got %s", fields.start, end.Format(time.RFC3339),
		)
	case end.Before(start):
		return start, end, call.InvalidParam(fields.end, "must be after than %q", fields.start)
	}
	return start, end, nil
}

// beginsHour says whether the clock shows a full hour at t, or a day begins.
func beginsHour(t time.Time) bool { return t.Minute() == 0 && t.Second() == 0 || beginsDay(t) }

// windowFields are the names of the fields that a window stands in.
type windowFields struct{ start, end string }

func fieldsOf(r call.WindowRequest) windowFields {
	if _, ok := r.(windowBefore); ok {
		return windowFields{"previous_start_time", "previous_end_time"}
	}
	return windowFields{"start_time", "end_time"}
}

var errZone = errors.New("must be the IANA name of a time zone")

// ParseZone finds a time zone by its IANA name; without a name it is nil.
func ParseZone(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	zone, err := findZone(name)
	if err != nil {
		return nil, call.InvalidParam("timezone", "%v", err)
	}
	return zone, nil
}

// findZone finds a time zone by its IANA name; the error says what is wrong with it.
func findZone(name string) (*time.Location, error) {
	// Names of the database begin in upper case; what else the loader would take are files beside it.
	known := name[0] >= 'A' && name[0] <= 'Z' && name != "Local" && !strings.Contains(name, ".")
	if known {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, errZone
}

// ParseTime3339 reads a time in the location that judges it: the zone, or its own offset. Fractions of a second are not
// looked at.
func ParseTime3339(field, text string, zone *time.Location) (time.Time, error) {
	// Not time.Parse: it puts a time whose offset happens to be the server's into the server's zone.
	t, err := time.ParseInLocation(time.RFC3339, text, time.UTC)
	if err != nil {
		return t, call.InvalidParam(field, "must be a valid date format (%s)", time.RFC3339)
	}
	if t.IsZero() {
		return t, call.InvalidParam(field, "must not be zero")
	}
	if t.Unix() < 0 {
		return t, call.InvalidParam(field, "must not be before 1970")
	}
	if _, offset := t.Zone(); offset%(15*60) != 0 || offset < minOffsetHours*3600 || offset > maxOffsetHours*3600 {
		return t, call.InvalidParam(
			field, "must have an offset that is a multiple of 15 minutes from %d to +%d hours, got %s", minOffsetHours, maxOffsetHours,
			call.Shorten(text),
		)
	}
	t = t.Truncate(time.Second)
	if zone != nil {
		t = t.In(zone)
	}
	return t, nil
}

// parseTimeParam reads a time that is not in the future.
func parseTimeParam(field, text string, zone *time.Location, now time.Time) (time.Time, error) {
	t, err := ParseTime3339(field, text, zone)
	if err != nil {
		return t, err
	}
	if t.After(comingHour(now.In(t.Location()))) {
		return t, call.InvalidParam(field, "must not be in the future")
	}
	return t, nil
}

// parseMidnight reads a time at which a day begins.
func parseMidnight(field, text string, zone *time.Location, now time.Time) (time.Time, error) {
	t, err := parseTimeParam(field, text, zone, now)
	if err != nil {
		return t, err
	}
	if !beginsDay(t) {
		return t, wrongClock(field, 0, t)
	}
	return t, nil
}

// parseEnd reads the end of a window: a midnight, or any full hour of the present day and of all days of a named zone.
func parseEnd(field, text string, zone *time.Location, now time.Time) (time.Time, error) {
	t, err := parseTimeParam(field, text, zone, now)
	if err != nil {
		return t, err
	}
	switch {
	case beginsDay(t):
		return t, nil
	case zone == nil && dayOf(t) != dayOf(now.In(t.Location())):
		return t, wrongClock(field, 0, t)
	case t.Minute() != 0 || t.Second() != 0:
		return t, wrongClock(field, t.Hour(), t)
	}
	return t, nil
}

func wrongClock(field string, hour int, got time.Time) error {
	return call.InvalidParam(field, "must have the clock set to %02d:00:00, got %s", hour, got.Format(time.RFC3339))
}

// beginsDay says whether t, a full second, is a midnight, or the first moment of a day on which the zone skips midnight. (A
// zone whose clock goes back from just after midnight shows the evening before once more: that is no begin.)
func beginsDay(t time.Time) bool {
	return t.Format(time.TimeOnly) == "00:00:00" || t.Equal(startOfDay(t))
}

// startOfDay is when the day of t begins in t's location.
func startOfDay(t time.Time) time.Time {
	year, month, day := t.Date()
	return minute.StartOfDay(year, month, day, t.Location())
}

// dayOf numbers the days of the calendar that t's location shows.
func dayOf(t time.Time) int64 {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// choose checks the interval that the caller wants; the one that suits is always right.
func (q question) choose(interval string) (string, error) {
	switch interval {
	case "":
		return "", nil
	case intervalDefault:
		return q.suited.GetInterval(), nil
	}
	if !slices.Contains(intervals, interval) {
		return "", call.InvalidDetail(
			call.MessageInvalidValue, fmt.Sprintf("%q chooses the one that suits.", intervalDefault),
			call.NotOneOf("interval", intervals...),
		)
	}
	return interval, q.fits(interval)
}

// fits says why the window cannot have days or weeks as its intervals.
func (q question) fits(interval string) error {
	end := q.end.In(q.start.Location())
	days := dayOf(end) - dayOf(q.start)
	more := !beginsDay(end) // a part of a day beyond the whole ones
	switch rest := days % 7; {
	case interval == intervalDay && (days > maxDayIntervals || days == maxDayIntervals && more):
		return call.InvalidParam(
			"end_time", "must be at most %d days after %q when %q is %s", maxDayIntervals, "start_time", "interval", interval,
		)
	case interval == intervalWeek && rest != 6 && (rest != 0 || more):
		return call.InvalidDetail(call.MessageInvalidValue, "Last report interval should have at least 6 days.")
	}
	return nil
}

// suits is the interval for templates of which the oldest was made at that time, or is not known. Where the window does not fit the
// one that suits their age it is the other one; weeks are the last resort, because a window of any length has them.
func (q question) suits(oldest time.Time) *insightsv1.DefaultInterval {
	day, week := q.fits(intervalDay) == nil, q.fits(intervalWeek) == nil
	young := oldest.IsZero() || q.asked.Sub(oldest) < weeksFrom
	switch {
	case young && !day:
		return &insightsv1.DefaultInterval{Interval: intervalWeek, Reason: "window_over_366_days"}
	case oldest.IsZero():
		return &insightsv1.DefaultInterval{Interval: intervalDay, Reason: "age_unknown"}
	case young:
		return &insightsv1.DefaultInterval{Interval: intervalDay, Reason: "younger_than_5_weeks"}
	case day && !week:
		return &insightsv1.DefaultInterval{Interval: intervalDay, Reason: "window_not_whole_weeks"}
	default:
		return &insightsv1.DefaultInterval{Interval: intervalWeek, Reason: "5_weeks_or_older"}
	}
}

// split gives the window its intervals: days, weeks, or none.
func (q *question) split() {
	switch q.interval {
	case intervalDay:
		q.window = q.window.Split(q.start, q.end, 1)
	case intervalWeek:
		q.window = q.window.Split(q.start, q.end, 7)
	}
}

// partial reports whether an interval of so many days lacks some of its time: because the window ends within, or because it is
// not over yet.
func (q question) partial(start, end int64, days int64) bool {
	from, to := time.Unix(60*start, 0).In(q.start.Location()), time.Unix(60*end, 0).In(q.start.Location())
	return dayOf(to)-dayOf(from) < days || to.After(q.asked)
}

// Sections of template insights.
const (
	sectionReport    = "report"
	sectionIntervals = "interval_reports"
)

// parseSections says which parts of an answer are asked for; without names it is both.
func parseSections(names []string) (report, intervals bool, err error) {
	for _, name := range names {
		if _, err := call.OneOf("sections", name, sectionIntervals, sectionReport); err != nil {
			return false, false, err
		}
	}
	all := len(names) == 0
	return all || slices.Contains(names, sectionReport), all || slices.Contains(names, sectionIntervals), nil
}
