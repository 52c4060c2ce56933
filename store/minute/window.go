package minute

import "time"

// Window is the minutes that a question is about, counted from the Unix epoch: Start <= m < End.
type Window struct {
	Start, End int64
	// Bounds are the starts of the intervals that were asked for, ascending, the first at Start; each interval ends at
	// the next bound or at End. Nil means no intervals.
	Bounds []int64
}

// NewWindow returns the minutes that begin in [start, end), without intervals.
func NewWindow(start, end time.Time) Window {
	return Window{Start: ceilMinute(start), End: ceilMinute(end)}
}

// Split returns the window with an interval for every so many calendar days from start on, in start's location; each but
// the first begins with a day, and the last one is cut at the end. A day that the zone makes shorter or longer is one day.
// start and end are those of NewWindow; days is at least 1. An empty window has no intervals.
func (w Window) Split(start, end time.Time, days int) Window {
	w.Bounds = nil
	for n := 0; ; n += days {
		t := start
		if n > 0 {
			t = StartOfDay(start.Year(), start.Month(), start.Day()+n, start.Location())
		}
		bound := ceilMinute(t)
		if !t.Before(end) || bound >= w.End {
			return w
		}
		// A zone that crosses the date line skips a whole day: that day has no interval of its own.
		if k := len(w.Bounds); k == 0 || w.Bounds[k-1] < bound {
			w.Bounds = append(w.Bounds, bound)
		}
	}
}

// Days returns the first and the last UTC day that the window touches. The first is after the last when it is empty.
func (w Window) Days() (first, last int32) {
	if w.Start >= w.End {
		return 0, -1
	}
	return int32(floorDiv(w.Start, minutesPerDay)), int32(floorDiv(w.End-1, minutesPerDay))
}

// StartOfDay returns the first instant at which the clock of a location shows midnight of a date, or a later time: a zone may
// skip midnight, or repeat it. time.Date does not promise which instant it takes then. Days and months beyond their range
// are those of the neighbouring months and years, as in [time.Date].
func StartOfDay(year int, month time.Month, day int, location *time.Location) time.Time {
	shown := time.Date(year, month, day, 0, 0, 0, 0, time.UTC) // the clock at midnight, read as of UTC
	from := shown.Add(-36 * time.Hour).In(location)            // before the instant sought, in every zone
	for {
		_, offset := from.Zone()
		_, until := from.ZoneBounds()
		at := shown.Add(-time.Duration(offset) * time.Second).In(location)
		if at.Before(from) {
			at = from
		}
		// On the last day of leap years that only a zone's rule tells of, from 2040 on, ZoneBounds ends before it begins.
		if until.IsZero() || !until.After(from) || at.Before(until) {
			return at
		}
		from = until
	}
}

// ceilMinute returns the first minute that does not begin before t.
func ceilMinute(t time.Time) int64 {
	m := floorDiv(t.Unix(), 60)
	if t.Unix() > m*60 || t.Nanosecond() > 0 {
		m++
	}
	return m
}

// floorDiv divides rounding down, also before the epoch.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Intervals returns each interval as a window of its own, without intervals.
func (w Window) Intervals() []Window {
	windows := make([]Window, len(w.Bounds))
	for i := range windows {
		windows[i].Start, windows[i].End = w.interval(i)
	}
	return windows
}

// interval returns the minutes of the i-th interval: start <= m < end.
func (w Window) interval(i int) (start, end int64) {
	if i+1 < len(w.Bounds) {
		return w.Bounds[i], w.Bounds[i+1]
	}
	return w.Bounds[i], w.End
}
