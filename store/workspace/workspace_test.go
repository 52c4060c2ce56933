package workspace

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// begin is when random histories begin, a full half hour.
var begin = time.Date(2026, 11, 29, 12, 30, 0, 0, time.UTC)

const (
	firstMinute = 29_932_590 // of begin
	horizon     = 300        // minutes of a random history
)

// moment is a random moment of a history, often on a full minute, and often none.
func moment(r *rand.Rand, needed bool) time.Time {
	switch {
	case !needed && r.IntN(4) == 0:
		return time.Time{}
	case r.IntN(2) == 0:
		return begin.Add(time.Duration(r.IntN(horizon)) * time.Minute)
	}
	return begin.Add(time.Duration(r.Int64N(int64(horizon * time.Minute))).Truncate(time.Microsecond))
}

// drawn is a random history with what it was made of.
type drawn struct {
	builds       []Build
	deleted, now time.Time
	use          Use
}

func draw(r *rand.Rand) (d drawn) {
	number := int64(1)
	for range r.IntN(9) {
		b := Build{
			ID: uuid.UUID{byte(r.IntN(4)), byte(len(d.builds))}, Number: number,
			Transition: []string{"start", "start", "stop", "delete"}[r.IntN(4)],
			Succeeded:  r.IntN(4) > 0, Asked: moment(r, true), Began: moment(r, false), Ended: moment(r, false),
		}
		d.builds = append(d.builds, b)
		number += []int64{0, 1, 1, 1, 1, 2}[r.IntN(6)]
	}
	if r.IntN(2) == 0 { // as it is: one after the other
		at := begin
		for i := range d.builds {
			b := &d.builds[i]
			b.Asked = at.Add(time.Duration(r.IntN(1200)) * time.Second)
			b.Began = b.Asked.Add(time.Duration(r.IntN(60)) * time.Second)
			b.Ended = b.Began.Add(time.Duration(r.IntN(600)) * time.Second)
			at = b.Ended
		}
	}
	r.Shuffle(len(d.builds), func(i, j int) { d.builds[i], d.builds[j] = d.builds[j], d.builds[i] })
	if d.now = begin.Add(horizon * time.Minute); r.IntN(4) == 0 {
		d.now = moment(r, true)
	}
	if r.IntN(4) == 0 {
		d.deleted = moment(r, true)
	}
	var here, somewhere []Span
	for range r.IntN(6) {
		from := firstMinute + r.Int64N(horizon)
		here = append(here, Span{from, from + r.Int64N(40)})
	}
	for range r.IntN(4) {
		from := firstMinute + halfHour*r.Int64N(horizon/halfHour)
		somewhere = append(somewhere, Span{from, from + halfHour})
	}
	d.use = Use{MinutesOf(here...), MinutesOf(somewhere...)}
	return d
}

// newer reports whether a build has the higher number, or of equal ones the higher id.
func newer(a, b Build) bool {
	return a.Number > b.Number || a.Number == b.Number && bytes.Compare(a.ID[:], b.ID[:]) > 0
}

// oldestAfter is the oldest build that is newer than one and of which a condition holds.
func (d drawn) oldestAfter(one Build, holds func(Build) bool) (oldest Build, found bool) {
	for _, b := range d.builds {
		if newer(b, one) && holds(b) && (!found || newer(oldest, b)) {
			oldest, found = b, true
		}
	}
	return oldest, found
}

// missing is the lowest number above that of a build which no build has.
func (d drawn) missing(b Build) int64 {
	for n := b.Number + 1; ; n++ {
		if !slices.ContainsFunc(d.builds, func(other Build) bool { return other.Number == n }) {
			return n
		}
	}
}

// effect is when a build that succeeded takes effect.
func effect(b Build) time.Time {
	switch {
	case b.Transition == "start" && !b.Ended.IsZero():
		return b.Ended
	case b.Transition != "start" && !b.Began.IsZero():
		return b.Began
	}
	return b.Asked
}

// ran says of one minute whether the workspace is known to have run in it, and whether it may have.
func (d drawn) ran(m int64) (running, unsure bool) {
	start, next := time.Unix(60*m, 0), time.Unix(60*m+60, 0)
	for _, b := range d.builds {
		if !b.Succeeded || b.Transition != "start" || !effect(b).Before(next) {
			continue
		}
		gap := d.missing(b)
		end, known := d.now, !slices.ContainsFunc(d.builds, func(other Build) bool { return other.Number > gap })
		stop, stopped := d.oldestAfter(b, func(o Build) bool { return o.Succeeded && o.Transition != "start" })
		if stopped && stop.Number < gap {
			end, known = effect(stop), true
		} else if after, told := d.oldestAfter(b, func(o Build) bool { return o.Succeeded && o.Number > gap }); told {
			end, known = effect(after), false
		}
		if end.After(start) && d.now.After(start) && (d.deleted.IsZero() || d.deleted.After(start)) {
			running, unsure = running || known, unsure || !known
		}
	}
	return running, unsure && !running
}

// state says with which start the workspace runs in one minute; none is uuid.Nil.
func (d drawn) state(m int64) uuid.UUID {
	var newest Build
	for _, b := range d.builds {
		known := effect(b).Before(time.Unix(60*(m/30*30)+60, 0))
		if b.Succeeded && b.Transition == "start" && known && (newest.Number == 0 || newer(b, newest)) {
			newest = b
		}
	}
	return newest.ID
}

func has(set Minutes, m int64) bool {
	return slices.ContainsFunc(set, func(s Span) bool { return s.From <= m && m < s.To })
}

// What is told of random histories is what one finds who looks at their builds anew for every minute.
func TestHistories(t *testing.T) {
	t.Parallel()
	var happened [5]int64 // minutes running, unsure, unknown and outside, and states
	for seed := range uint64(2000) {
		d := draw(rand.New(rand.NewPCG(seed, 23)))
		h := NewHistory(d.builds, d.deleted, d.now)
		runs, inTime := h.Runs(), h.States()
		a := Attend(runs.Running, d.use)
		for m := int64(firstMinute - 60); m < firstMinute+horizon+120; m++ {
			ran, may := d.ran(m)
			here, somewhere := has(d.use.Here, m), has(d.use.Somewhere, m)
			for name, c := range map[string]struct {
				got  Minutes
				want bool
			}{
				"running": {runs.Running, ran}, "unsure": {runs.Unsure, may},
				"attended": {a.Attended, ran && here}, "unknown": {a.Unknown, ran && !here && somewhere},
				"unattended": {a.Unattended, ran && !here && !somewhere}, "outside": {a.Outside, !ran && here},
			} {
				if has(c.got, m) != c.want {
					t.Fatalf("seed %d, minute %d: %s is %v, want %v, of %+v", seed, m-firstMinute, name, !c.want, c.want, d)
				}
			}
			var now uuid.UUID
			for _, s := range inTime {
				if has(Minutes{s.Span}, m) {
					now = s.Build
				}
			}
			if want := d.state(m); now != want {
				t.Fatalf("seed %d, minute %d: runs with %s, want %s, of %+v", seed, m-firstMinute, now, want, d)
			}
		}
		if sum := a.Attended.Count() + a.Unattended.Count() + a.Unknown.Count(); sum != runs.Running.Count() {
			t.Fatalf("seed %d: %d minutes of %d", seed, sum, runs.Running.Count())
		}
		for _, set := range []Minutes{runs.Running, runs.Unsure, a.Attended, a.Unattended, a.Unknown, a.Outside} {
			if diff := cmp.Diff(MinutesOf(set...), set); diff != "" {
				t.Fatalf("seed %d: not as sets are: %s", seed, diff)
			}
		}
		for i, n := range []int64{
			runs.Running.Count(), runs.Unsure.Count(), a.Unknown.Count(), a.Outside.Count(), int64(len(inTime)),
		} {
			happened[i] += n
		}
	}
	if slices.Min(happened[:]) < 1000 {
		t.Errorf("too little happened: %v", happened)
	}
}

func TestTimeToReady(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	build := Build{Asked: at(0), Began: at(5), Ended: at(65)}
	for name, c := range map[string]struct {
		build  Build
		agents []Agent
		want   Readiness
		total  time.Duration
	}{
		"one agent": {
			build,
			[]Agent{{Connected: at(70), Ready: at(90)}},
			Readiness{Queue: 5 * time.Second, Build: time.Minute, Connect: 5 * time.Second, Prepare: 20 * time.Second},
			90 * time.Second,
		},
		"the slowest agent is the last to be ready, not the last to connect": {
			build,
			[]Agent{{Connected: at(80), Ready: at(85)}, {Connected: at(70), Ready: at(95)}, {Connected: at(66), Ready: at(67)}},
			Readiness{Queue: 5 * time.Second, Build: time.Minute, Connect: 5 * time.Second, Prepare: 25 * time.Second},
			95 * time.Second,
		},
		"no agent": {build, nil, Readiness{Queue: 5 * time.Second, Build: time.Minute}, 65 * time.Second},
		"agents that stopped on the way": {
			build,
			[]Agent{{Connected: at(70), Ready: at(90)}, {}, {Connected: at(100), Ready: time.Time{}}},
			Readiness{
				Queue: 5 * time.Second, Build: time.Minute, Connect: 35 * time.Second, NeverConnected: 1, NeverReady: 2,
			},
			100 * time.Second,
		},
		"an agent that was there before the build was done": {
			build, []Agent{{Connected: at(60), Ready: at(64)}}, Readiness{Queue: 5 * time.Second, Build: time.Minute}, 65 * time.Second,
		},
		"a build of which nobody told when it began": {
			Build{Asked: at(0), Ended: at(65)},
			[]Agent{{Connected: at(70), Ready: at(90)}},
			Readiness{Build: 65 * time.Second, Connect: 5 * time.Second, Prepare: 20 * time.Second},
			90 * time.Second,
		},
	} {
		got := TimeToReady(c.build, c.agents)
		if diff := cmp.Diff(c.want, got); diff != "" || got.Total() != c.total || got.Ready() != (c.want.NeverReady == 0) {
			t.Errorf("%s: total %s, ready %v (-want +got):\n%s", name, got.Total(), got.Ready(), diff)
		}
	}
}

// A workspace that is started again and again without a stop takes little time, for it holds up a question about all workspaces.
func TestManyStarts(t *testing.T) {
	t.Parallel()
	builds := make([]Build, 200_000)
	for i := range builds {
		builds[i] = Build{
			ID: uuid.New(), Number: int64(i + 1), Transition: "start", Succeeded: true, Asked: begin.Add(time.Duration(i) * time.Minute),
		}
	}
	now := begin.Add(time.Duration(len(builds)) * time.Minute)
	since := time.Now()
	runs := NewHistory(builds, time.Time{}, now).Runs()
	if took := time.Since(since); took > 5*time.Second {
		t.Errorf("%d starts took %s", len(builds), took)
	}
	want := Runs{Running: Minutes{{firstMinute, firstMinute + int64(len(builds))}}}
	if diff := cmp.Diff(want, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}
