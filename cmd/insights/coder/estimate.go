package coder

import (
	"maps"
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
// that of all together. Where the minutes of apps are known, no others are chosen for apps, and sessions lie around them.
func (b bucket) estimate(known minute.Mask) []minute.Row {
	var rows []minute.Row
	places := b.places(known)
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

// places are the minutes of the bucket: first those that are not known.
func (b bucket) places(known minute.Mask) []int {
	var places, others []int
	left := b.unknown(known)
	for i := range minute.MinutesPerHalfHour {
		switch {
		case known>>i&1 != 0:
			others = append(others, i)
		case left > 0:
			places = append(places, i)
			left--
		}
	}
	return append(places, others...)
}
