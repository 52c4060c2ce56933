package minute

import (
	"fmt"
	"math/bits"
	"time"
)

// DateOf numbers the dates of the calendar that the location of a time shows; 1970-01-01 is 0.
func DateOf(t time.Time) int32 {
	year, month, day := t.Date()
	return int32(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), 24*60*60))
}

// DayOf returns when the day of a date begins and ends in a location. A day that the zone skips ends when it begins.
func DayOf(date int32, zone *time.Location) (start, end time.Time) {
	return StartOfDay(1970, 1, 1+int(date), zone), StartOfDay(1970, 1, 2+int(date), zone)
}

// calendar is where the pass over the days of a window stands.
type calendar struct {
	window  Window
	started bool
	follows bool // the day before was there as well
	day     int32
	clip    dayMasks // the minutes of the day that are in the window
	whole   uint64   // the half hours that are in the window with all their minutes
	cut     uint64   // the half hours that an edge of the window or of an interval cuts
	pieces  []piece  // the intervals that the day touches, ascending
	next    int      // the first interval that does not end before the day
}

// piece is the part of an interval that lies in one day.
type piece struct {
	interval int
	masks    dayMasks
	whole    uint64 // the half hours that are in it with all their minutes
}

// turn goes on to a day, which must be after the one before.
func (c *calendar) turn(day int32) error {
	if c.started && day <= c.day {
		return fmt.Errorf("day %d comes after day %d", day, c.day)
	}
	c.started, c.follows, c.day = true, c.started && day == c.day+1, day
	c.clip = masksBetween(day, c.window.Start, c.window.End)
	c.whole, c.cut = c.clip.halfHours()
	c.pieces = c.pieces[:0]
	begin := int64(day) * minutesPerDay
	for i := c.next; i < len(c.window.Bounds); i++ {
		from, to := c.window.interval(i)
		if to <= begin {
			c.next = i + 1
			continue
		}
		if from >= begin+minutesPerDay {
			break
		}
		p := piece{interval: i, masks: masksBetween(day, from, to)}
		whole, cut := p.masks.halfHours()
		p.whole, c.cut = whole, c.cut|cut
		c.pieces = append(c.pieces, p)
	}
	return nil
}

// dayMasks are the minutes of one UTC day, by half hour.
type dayMasks [HalfHoursPerDay]Mask

// masksBetween returns the minutes of a day that lie in [from, to), which are minutes since the epoch.
func masksBetween(day int32, from, to int64) (masks dayMasks) {
	for i := range masks {
		start := int64(day)*minutesPerDay + int64(i)*MinutesPerHalfHour
		a := min(max(from-start, 0), MinutesPerHalfHour)
		b := min(max(to-start, a), MinutesPerHalfHour)
		masks[i] = 1<<b - 1<<a
	}
	return masks
}

// halfHours returns the half hours with all their minutes, and those with some.
func (m *dayMasks) halfHours() (whole, cut uint64) {
	for half, minutes := range m {
		switch minutes {
		case fullMask:
			whole |= 1 << half
		case 0:
		default:
			cut |= 1 << half
		}
	}
	return whole, cut
}

// halfHours gathers minutes of one day.
type halfHours struct {
	used    uint64 // the half hours that have any
	minutes dayMasks
}

// add unions minutes, at least one, of a half hour.
func (h *halfHours) add(half uint8, m Mask) {
	h.used |= 1 << half
	h.minutes[half] |= m
}

// meets reports whether any of the minutes is in masks.
func (h *halfHours) meets(masks *dayMasks) bool {
	for rest := h.used; rest != 0; rest &= rest - 1 {
		if half := bits.TrailingZeros64(rest); h.minutes[half]&masks[half] != 0 {
			return true
		}
	}
	return false
}

// count returns how many of the minutes are in masks.
func (h *halfHours) count(masks *dayMasks) (minutes int64) {
	for rest := h.used; rest != 0; rest &= rest - 1 {
		half := bits.TrailingZeros64(rest)
		minutes += int64((h.minutes[half] & masks[half]).Count())
	}
	return minutes
}

// addTo counts each of the minutes once more in a list of those of the day.
func (h *halfHours) addTo(day []int32) {
	for rest := h.used; rest != 0; rest &= rest - 1 {
		half := bits.TrailingZeros64(rest)
		for m := uint32(h.minutes[half]); m != 0; m &= m - 1 {
			day[half*MinutesPerHalfHour+bits.TrailingZeros32(m)]++
		}
	}
}

// drain empties h and returns how many minutes there were.
func (h *halfHours) drain() (minutes int64) {
	for rest := h.used; rest != 0; rest &= rest - 1 {
		half := bits.TrailingZeros64(rest)
		minutes += int64(h.minutes[half].Count())
		h.minutes[half] = 0
	}
	h.used = 0
	return minutes
}

// drainInto moves the minutes of h to another, where some may be already, and returns how many there were in h.
func (h *halfHours) drainInto(to *halfHours) (minutes int64) {
	to.used |= h.used
	for rest := h.used; rest != 0; rest &= rest - 1 {
		half := bits.TrailingZeros64(rest)
		minutes += int64(h.minutes[half].Count())
		to.minutes[half] |= h.minutes[half]
		h.minutes[half] = 0
	}
	h.used = 0
	return minutes
}
