package coder

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// bucket is half an hour of a user in a template as Coder keeps it: how many minutes there were, not which.
type bucket struct {
	usage    int            // with any activity
	sessions map[string]int // by session app
	apps     map[string]int // by slug or port
	latency  float64        // median of its reports, in milliseconds; 0: not known
}

// estimate chooses minutes, the same ones each time, so that all numbers are as they were: those of each session and app, and
// that of all together. Where the minutes of apps are known, no others are chosen for apps, and sessions lie around them, first in
// the minutes in which the workspace ran.
func (b bucket) estimate(known, ran minute.Mask) []minute.Row {
	var rows []minute.Row
	places := b.places(known, ran)
	next := 0
	place := func(kind minute.Kind, app string, n int) {
		r := minute.Row{Kind: kind, App: app}
		for range min(n, len(places)) {
			r.Minutes |= 1 << places[next%len(places)]
			next++
		}
		if r.Minutes != 0 {
			rows = append(rows, r)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(b.sessions)) {
		place(minute.ImportedSession, app, b.sessions[app])
	}
	if known == 0 {
		for _, app := range slices.Sorted(maps.Keys(b.apps)) {
			place(minute.ImportedApp, app, b.apps[app])
		}
	}
	// What no session and no app explains was spent in something that Coder does not tell apart.
	place(minute.ImportedSession, store.UnknownSession, b.unknown(known)-next)
	return rows
}

// unknown is how many minutes of use are not among the known ones.
func (b bucket) unknown(known minute.Mask) int {
	return max(0, min(b.usage, minute.MinutesPerHalfHour)-known.Count())
}

// places are the minutes of the bucket: first those that are not known, of these first those in which the workspace ran.
func (b bucket) places(known, ran minute.Mask) []int {
	const all = minute.Mask(1<<minute.MinutesPerHalfHour - 1)
	free := slices.Concat(minutesOf(ran&^known), minutesOf(all&^ran&^known))
	return slices.Concat(free[:b.unknown(known)], minutesOf(known))
}

// minutesOf are the minutes of a mask, ascending.
func minutesOf(m minute.Mask) (minutes []int) {
	for ; m != 0; m &= m - 1 {
		minutes = append(minutes, bits.TrailingZeros32(uint32(m)))
	}
	return minutes
}
