package query

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/template-insights/insights/store/minute"
)

// startOfDay is when the day of t begins in t's location.
func startOfDay(t time.Time) time.Time { return dayAfter(t, 0) }

// dayAfter is when the day begins that is so many days after that of t in t's location.
func dayAfter(t time.Time, days int) time.Time {
	year, month, day := t.Date()
	return minute.StartOfDay(year, month, day+days, t.Location())
}

// cutsDay reports whether t is within a day.
func cutsDay(t time.Time) bool { return !t.Equal(startOfDay(t)) }

// dayOf numbers the days of the calendar that t's location shows.
func dayOf(t time.Time) int64 {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}

// days is how many days the window touches.
func (q question) days() int {
	days := dayOf(q.end) - dayOf(q.start)
	if cutsDay(q.end) {
		days++
	}
	return int(days)
}

// length is the smallest number of days that is not below the length of the window, by the clock.
func (q question) length() int {
	days := dayOf(q.end) - dayOf(q.start)
	if cutsDay(q.end) && (!cutsDay(q.start) || q.end.Hour() > q.start.Hour()) {
		days++
	}
	return int(days)
}

// interval is a stretch of the calendar and the part of it that lies in a window.
type interval struct {
	begin, next time.Time // of the calendar
	start, end  time.Time // in the window
}

// cut reports whether the interval lacks some of its time: beyond the window, or because it is not over.
func (i interval) cut(now time.Time) bool {
	return i.begin.Before(i.start) || i.end.Before(i.next) || now.Before(i.next)
}

// intervals are those of the calendar that a window touches.
func (q question) intervals(start, end time.Time) (all []interval) {
	begin := q.beginOf(start)
	for begin.Before(end) {
		next := q.nextAfter(begin)
		i := interval{begin, next, begin, next}
		if i.start.Before(start) {
			i.start = start
		}
		if end.Before(i.end) {
			i.end = end
		}
		if i.start.Before(i.end) { // not a day that the zone skips
			all = append(all, i)
		}
		begin = next
	}
	return all
}

// beginOf is when the interval of the calendar began that is on at t.
func (q question) beginOf(t time.Time) time.Time {
	switch q.interval {
	case intervalWeek:
		return dayAfter(t, -int((t.Weekday()-q.weekStart+7)%7))
	case intervalMonth:
		return dayAfter(t, 1-t.Day())
	case intervalDay:
		return startOfDay(t)
	default: // an hour: windows begin with one
		return t
	}
}

// nextAfter is when the interval begins that follows the one that begins at t.
func (q question) nextAfter(t time.Time) time.Time {
	switch q.interval {
	case intervalWeek:
		return dayAfter(t, 7)
	case intervalMonth:
		year, month, _ := t.Date()
		return minute.StartOfDay(year, month+1, 1, t.Location())
	case intervalDay:
		return dayAfter(t, 1)
	default:
		return hourAfter(t)
	}
}

// hourAfter is the next moment at which the clock shows a full hour.
func hourAfter(t time.Time) time.Time {
	return t.Add(time.Hour - time.Duration(t.Minute())*time.Minute)
}

// hours are the hours that the clock shows in a window.
func hours(start, end time.Time) (all []interval) {
	return question{interval: intervalHour}.intervals(start, end)
}

// times are the stretches of a window by each dimension that is made of time: intervals by their number, hours of the week by theirs.
func (q question) times(start, end time.Time) (times [][]minute.Stretch) {
	for _, d := range q.by {
		var of []minute.Stretch
		switch d {
		case dimensionHourOfWeek:
			for _, h := range hours(start, end) {
				of = append(of, h.stretch(hourOfWeek(h.start)))
			}
		case dimensionInterval:
			for n, i := range q.intervals(start, end) {
				of = append(of, i.stretch(int64(n)))
			}
		default:
			continue
		}
		times = append(times, of)
	}
	return times
}

// period is what tells the rows of a question apart by time: the number of an interval and of an hour of the week, noTime where the
// question does not.
type period struct{ interval, hour int64 }

const noTime = -1

// timeless is of rows that time does not tell apart.
var timeless = period{noTime, noTime}

// periods are of each of the hours of a window in which row it is.
func (q question) periods(start, end time.Time, hours []interval) []period {
	periods := slices.Repeat([]period{timeless}, len(hours))
	if slices.Contains(q.by, dimensionInterval) {
		intervals, at := q.intervals(start, end), 0
		for n, h := range hours {
			for !h.start.Before(intervals[at].end) {
				at++
			}
			periods[n].interval = int64(at)
		}
	}
	if slices.Contains(q.by, dimensionHourOfWeek) {
		for n, h := range hours {
			periods[n].hour = hourOfWeek(h.start)
		}
	}
	return periods
}

// stretch is the interval as the store counts it.
func (i interval) stretch(value int64) minute.Stretch {
	w := minute.NewWindow(i.start, i.end)
	return minute.Stretch{Start: w.Start, End: w.End, Value: value}
}

// hourOfWeek numbers the hours from Monday 00:00.
func hourOfWeek(t time.Time) int64 { return int64((t.Weekday()+6)%7)*24 + int64(t.Hour()) }

// key is the interval in a row.
func (i interval) key(q question) key {
	layout := map[string]string{intervalHour: "2006-01-02 15:04", intervalMonth: "2006-01"}[q.interval]
	if layout == "" {
		layout = time.DateOnly
	}
	return key{value: i.start.Format(time.RFC3339), label: i.start.Format(layout), timed: true, place: i.start.Unix()}
}

// hourKey is an hour of the week in a row.
func hourKey(n int64) key {
	day := time.Weekday((n/24 + 1) % 7).String()[:3]
	return key{value: strconv.FormatInt(n, 10), label: fmt.Sprintf("%s %02d:00", day, n%24), timed: true, place: n}
}

// windowBefore is the window that the question compares with. Its clock shows the same.
func (q question) windowBefore() (start, end time.Time) {
	back := q.length()
	if q.comparison == compareWeekdays {
		back = (back + 6) / 7 * 7
	}
	before := func(t time.Time) time.Time {
		year, month, day := t.Date()
		switch {
		case q.comparison != compareYear:
			day -= back
		case month == time.February && day == 29:
			year, day = year-1, 28
		default:
			year--
		}
		if !cutsDay(t) {
			return minute.StartOfDay(year, month, day, t.Location())
		}
		at := time.Date(year, month, day, t.Hour(), 0, 0, 0, t.Location())
		if at.Minute() != 0 { // the clock skips the hour
			return hourAfter(at)
		}
		return at
	}
	return before(q.start), before(q.end)
}
