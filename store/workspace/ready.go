package workspace

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Agent is when an agent was made, when it first connected and when it was ready; zero if it never was.
type Agent struct{ Made, Connected, Ready time.Time }

// Readiness is how long somebody waited who asked for a start that succeeded, in the parts of the way: each begins where the one before
// it ends, and none is negative. Of several agents the slowest counts.
type Readiness struct {
	Queue   time.Duration // until the build began
	Build   time.Duration // until it was done
	Connect time.Duration // until the slowest agent first connected
	Prepare time.Duration // until that agent was ready
	// NeverConnected and NeverReady are the numbers of agents that did not get so far; who never connected was never ready.
	NeverConnected, NeverReady int
}

// Ready reports whether all agents got ready, as those of a build without agents did when it was done. If not, the parts end with the last
// step that was told, and Total is no time to ready.
func (r Readiness) Ready() bool { return r.NeverReady == 0 }

// Total is the sum of all parts.
func (r Readiness) Total() time.Duration { return r.Queue + r.Build + r.Connect + r.Prepare }

// TimeToReady measures the way of a build to its agents. A step whose time was not told took none, and neither did one that came before
// the step that it follows.
func TimeToReady(b Build, agents []Agent) (r Readiness) {
	began := later(b.Asked, b.Began)
	built := later(began, b.Ended)
	connected, ready := built, built
	for _, a := range agents {
		if a.Ready.IsZero() || a.Connected.IsZero() {
			r.NeverReady++
		}
		if a.Connected.IsZero() {
			r.NeverConnected++
			continue
		}
		c := later(built, a.Connected)
		if end := later(c, a.Ready); end.After(ready) || end.Equal(ready) && c.After(connected) {
			connected, ready = c, end
		}
	}
	r.Queue, r.Build, r.Connect, r.Prepare = began.Sub(b.Asked), built.Sub(began), connected.Sub(built), ready.Sub(connected)
	return r
}

// TimesToReady measures the ways of all starts of a workspace that succeeded, by build. An agent is one of the start, whatever became of
// it, that was asked for last before the agent was made; one of which nobody said when it was made is of none.
func TimesToReady(builds []Build, agents []Agent) map[uuid.UUID]Readiness {
	starts := slices.DeleteFunc(slices.Clone(builds), func(b Build) bool { return b.Transition != "start" })
	slices.SortFunc(starts, func(a, b Build) int { return cmp.Or(a.Asked.Compare(b.Asked), compare(a, b)) })
	of := make([][]Agent, len(starts))
	for _, a := range agents {
		next, _ := slices.BinarySearchFunc(starts, a.Made, func(b Build, made time.Time) int {
			if b.Asked.After(made) {
				return 1
			}
			return -1
		})
		if next > 0 && !a.Made.IsZero() {
			of[next-1] = append(of[next-1], a)
		}
	}
	ready := map[uuid.UUID]Readiness{}
	for i, b := range starts {
		if b.starts() {
			ready[b.ID] = TimeToReady(b, of[i])
		}
	}
	return ready
}

// later is the later one of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
