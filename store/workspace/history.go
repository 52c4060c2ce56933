// Package workspace knows what became of a workspace over time, as its builds and agents tell it: when it ran and for whom, what it ran
// with, and how long people waited until it was ready.
//
// Time is counted in minutes, as use is: what lasts touches every minute from the one in which it begins to the one just before its end.
//
// The package is pure: it does no I/O.
package workspace

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Build is a build of a workspace. Times that nobody told are zero.
type Build struct {
	ID         uuid.UUID
	Number     int64  // within the workspace, from 1 without gaps
	Transition string // start, stop or delete
	Succeeded  bool
	Asked      time.Time // when it was asked for; always told
	Began      time.Time
	Ended      time.Time
}

// starts reports whether the build changed what the workspace runs with: parameters and template version. A stop, a delete, and a build
// that failed, was canceled or still runs never do.
func (b Build) starts() bool { return b.Succeeded && b.Transition == "start" }

// stops reports whether the workspace does not run any more after the build.
func (b Build) stops() bool { return b.Succeeded && b.Transition != "start" }

// at is when a build took effect: a start when it was done, a stop and a delete when they began. Where that was not told, it is when the
// build was asked for.
func (b Build) at() time.Time {
	told := b.Ended
	if b.Transition != "start" {
		told = b.Began
	}
	if told.IsZero() {
		return b.Asked
	}
	return told
}

// History is all that is known of the builds of a workspace.
type History struct {
	builds  []Build // ascending by number, and by id where numbers are equal
	deleted time.Time
	now     time.Time
}

// NewHistory makes one of builds in any order. deleted is when the workspace was deleted, zero if it was not. What runs still runs up to
// now.
func NewHistory(builds []Build, deleted, now time.Time) History {
	builds = slices.Clone(builds)
	slices.SortFunc(builds, compare)
	return History{builds, deleted, now}
}

// compare orders builds by number, and by id where numbers are equal.
func compare(a, b Build) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), bytes.Compare(a.ID[:], b.ID[:]))
}

// Runs is when a workspace ran.
type Runs struct {
	// Running is the time from each start that succeeded to the next stop or delete that did, to the deletion of the workspace, or to now.
	Running Minutes
	// Unsure is the time in which runs ended at an unknown moment: a build is missing between the start and what is known next, and may
	// have ended them. It is no part of Running, and nothing says that the workspace did not run.
	Unsure Minutes
}

// Runs says when the workspace ran.
func (h History) Runs() Runs {
	var running, unsure []Span
	ends := h.ends()
	for i, b := range h.builds {
		if !b.starts() {
			continue
		}
		if span := (Span{first(b.at()), after(ends[i].at)}); ends[i].known {
			running = append(running, span)
		} else {
			unsure = append(unsure, span)
		}
	}
	r := Runs{Running: MinutesOf(running...)}
	r.Unsure = MinutesOf(unsure...).Without(r.Running)
	return r
}

// runEnd is when a run ended, and whether that is known. If it is not, it is the moment from which on a later build says whether the
// workspace ran.
type runEnd struct {
	at    time.Time
	known bool
}

// ends is, for each build, when a run ended that went on after it. It goes from the last build to the first, so that a workspace that is
// started again and again without a stop takes no longer than others.
func (h History) ends() []runEnd {
	ends := make([]runEnd, len(h.builds))
	told := h.bounded(h.now) // when the next build that is known says whether the workspace ran
	for i := len(h.builds) - 1; i >= 0; i-- {
		if i == len(h.builds)-1 {
			ends[i] = runEnd{told, true}
			continue
		}
		next := h.builds[i+1]
		if next.starts() || next.stops() {
			told = h.bounded(next.at())
		}
		switch {
		case next.Number > h.builds[i].Number+1:
			ends[i] = runEnd{told, false}
		case next.stops():
			ends[i] = runEnd{told, true}
		default:
			ends[i] = ends[i+1]
		}
	}
	return ends
}

// bounded is a time, or the deletion of the workspace or now if these came before.
func (h History) bounded(at time.Time) time.Time {
	for _, bound := range []time.Time{h.deleted, h.now} {
		if !bound.IsZero() && bound.Before(at) {
			at = bound
		}
	}
	return at
}

// halfHour is the number of minutes for which a state is told.
const halfHour = 30

// State is what a workspace runs with for some time, whether or not it runs.
type State struct {
	Span
	Build uuid.UUID // the newest start that had succeeded in the first minute of the half hour: of two, the higher number, then id
}

// States are the states of the workspace one after the other, each for whole half hours; the last one has no end. Before the first, the
// workspace has none.
func (h History) States() (states []State) {
	changes := slices.DeleteFunc(slices.Clone(h.builds), func(b Build) bool { return !b.starts() })
	// What takes effect earlier than a lower number takes the place of that for good.
	for i := len(changes) - 1; i >= 0; i-- {
		from := (first(changes[i].at()) + halfHour - 1) / halfHour * halfHour
		to := int64(math.MaxInt64)
		if len(states) > 0 {
			to = states[len(states)-1].From
		}
		if from < to {
			states = append(states, State{Span{from, to}, changes[i].ID})
		}
	}
	slices.Reverse(states)
	return states
}

// first is the minute of a time, and the first one of what begins then.
func first(t time.Time) int64 { return t.Unix() / 60 }

// after is the first minute that is not one of what ends at a time.
func after(t time.Time) int64 { return (t.UnixMicro() + minuteMicros - 1) / minuteMicros }

const minuteMicros = 60_000_000
