package main

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/template-insights/insights/store/minute"
)

// limit is the month in the memory of one process, in flat arrays made for the questions: what there is to gain. It knows
// nothing of windows, gates, scopes or people, does no input and output, and runs on one core.
type limit struct {
	templates int
	ends      []int32 // of the rows of each user
	half      []int16 // of each row: the half hour, since the first day
	channel   []uint8 // of each row: one of channels
	template  []uint16
	minutes   []uint32
	binEnds   []int32 // of the latencies of each user
	bins      []byte
}

// channels are the entries of an answer: the builtin ones, then the apps.
var channels = append([]string{"vscode", "jetbrains", "reconnecting-pty", "ssh", "sftp"}, slugs...)

// firstApp is the channel of the first app.
const firstApp = 5

// channelOf is the channel of a row.
func channelOf(r minute.Row) uint8 {
	app := r.App
	if app == "cursor" {
		app = "vscode"
	}
	return uint8(slices.Index(channels, app))
}

// limitRow is a row on its way into the arrays.
type limitRow struct {
	half     int16
	channel  uint8
	template uint16
	minutes  uint32
}

// limitBuilder collects the days of a month, in ascending order.
type limitBuilder struct {
	first     int32 // half hour
	templates int
	rows      [][]limitRow // of each user
	bins      [][]byte
}

func newLimitBuilder(s sizes) *limitBuilder {
	return &limitBuilder{
		first: int32(today().Unix()/1800) - days*minute.HalfHoursPerDay, templates: s.Templates,
		rows: make([][]limitRow, s.Users), bins: make([][]byte, s.Users),
	}
}

// add takes what was done in a template.
func (b *limitBuilder) add(template int, rows []minute.Row) {
	for _, r := range rows {
		user := minute.PersonOf(r.Subject)
		switch {
		case r.Kind == minute.Connection:
			b.bins[user] = append(b.bins[user], r.Bins...)
		case r.Kind != minute.Session || r.Connected: // as all sessions of its half hour, hence its gate
			b.rows[user] = append(b.rows[user], limitRow{
				int16(r.HalfHour - b.first), channelOf(r), uint16(template), uint32(r.Minutes),
			})
		}
	}
}

// build packs what was added, and empties the builder.
func (b *limitBuilder) build() *limit {
	l := &limit{templates: b.templates}
	for user, rows := range b.rows {
		slices.SortFunc(rows, func(a, b limitRow) int { return cmp.Or(cmp.Compare(a.half, b.half), cmp.Compare(a.channel, b.channel)) })
		for _, r := range rows {
			l.half, l.channel = append(l.half, r.half), append(l.channel, r.channel)
			l.template, l.minutes = append(l.template, r.template), append(l.minutes, r.minutes)
		}
		l.ends = append(l.ends, int32(len(l.half)))
		l.bins = append(l.bins, b.bins[user]...)
		l.binEnds = append(l.binEnds, int32(len(l.bins)))
		b.rows[user], b.bins[user] = nil, nil
	}
	return l
}

// limitInsights is what the limit knows of all templates.
type limitInsights struct {
	users     int
	minutes   [8]int64 // by channel
	launches  [8]int64
	templates [8][]uint64 // sets
}

// insights counts every channel.
func (l *limit) insights() *limitInsights {
	a := &limitInsights{}
	for c := range a.templates {
		a.templates[c] = make([]uint64, (l.templates+63)/64)
	}
	i := 0
	for _, end := range l.ends {
		if int(end) > i {
			a.users++
		}
		last := [8]int16{-2, -2, -2, -2, -2, -2, -2, -2}
		for i < int(end) {
			half, channel, union := l.half[i], l.channel[i]&7, uint32(0)
			for ; i < int(end) && l.half[i] == half && l.channel[i]&7 == channel; i++ {
				union |= l.minutes[i]
				a.templates[channel][l.template[i]>>6] |= 1 << (l.template[i] & 63)
			}
			a.minutes[channel] += int64(bits.OnesCount32(union))
			if last[channel] != half-1 {
				a.launches[channel]++
			}
			last[channel] = half
		}
	}
	return a
}

// limitDay is the activity of one day.
type limitDay struct {
	users     int
	templates []uint64 // set
}

// perDay counts users.
func (l *limit) perDay() []limitDay {
	list := make([]limitDay, days)
	for d := range list {
		list[d].templates = make([]uint64, (l.templates+63)/64)
	}
	i := 0
	for _, end := range l.ends {
		last := int16(-1)
		for ; i < int(end); i++ {
			day := l.half[i] / minute.HalfHoursPerDay
			if day != last {
				list[day].users++
				last = day
			}
			list[day].templates[l.template[i]>>6] |= 1 << (l.template[i] & 63)
		}
	}
	return list
}

// limitUser is the activity of one user.
type limitUser struct {
	minutes   int64
	templates []uint16
}

// activity counts the minutes of each user.
func (l *limit) activity() []limitUser {
	list := make([]limitUser, len(l.ends))
	i := 0
	for user, end := range l.ends {
		u := &list[user]
		for i < int(end) {
			half, union := l.half[i], uint32(0)
			for ; i < int(end) && l.half[i] == half; i++ {
				union |= l.minutes[i]
				if n := len(u.templates); (n == 0 || u.templates[n-1] != l.template[i]) && !slices.Contains(u.templates, l.template[i]) {
					u.templates = append(u.templates, l.template[i])
				}
			}
			u.minutes += int64(bits.OnesCount32(union))
		}
	}
	return list
}

// latency returns the P50 and P95 of each user, in milliseconds.
func (l *limit) latency() [][2]float64 {
	list := make([][2]float64, len(l.binEnds))
	from := int32(0)
	for user, end := range l.binEnds {
		var histogram [256]uint32
		for _, bin := range l.bins[from:end] {
			histogram[bin]++
		}
		list[user] = [2]float64{percentile(&histogram, int(end-from), 0.5), percentile(&histogram, int(end-from), 0.95)}
		from = end
	}
	return list
}

// percentile interpolates between the two nearest of n samples; -1 without any.
func percentile(histogram *[256]uint32, n int, p float64) float64 {
	if n == 0 {
		return -1
	}
	at := float64(n-1) * p
	below := int(at)
	sample := func(i int) float64 {
		bin := 0
		for ; i >= int(histogram[bin]); bin++ {
			i -= int(histogram[bin])
		}
		return minute.BinValue(byte(bin))
	}
	a, b := sample(below), sample(min(below+1, n-1))
	return a + (b-a)*(at-float64(below))
}
