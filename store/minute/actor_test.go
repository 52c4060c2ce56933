package minute

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// anyPopulation draws what some of the people are, and which actors count.
var anyPopulation = rapid.Custom(func(t *rapid.T) Population {
	of := Population{Counted: Actors(rapid.IntRange(0, int(Everybody)).Draw(t, "counted")), Actors: map[int64]Actor{}}
	for _, person := range somePeople {
		of.Actors[person] = Actor(rapid.IntRange(0, int(System)).Draw(t, "actor"))
	}
	return of
})

// anyUsers draws a population in which several persons may be one user.
var anyUsers = rapid.Custom(func(t *rapid.T) Population {
	of := anyPopulation.Draw(t, "population")
	root := rapid.SampledFrom(somePeople).Draw(t, "root")
	of.CountedAs = map[int64]int64{}
	for _, person := range somePeople {
		if person != root && rapid.Bool().Draw(t, "is another") {
			of.CountedAs[person] = root
		}
	}
	return of
})

func TestParseActors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		names   []string
		want    Actors
		unknown string
		ok      bool
	}{
		{nil, People, "", true},
		{[]string{"person"}, People, "", true},
		{[]string{"system"}, 1 << System, "", true},
		{[]string{"service", "person", "service"}, People | 1<<Service, "", true},
		{[]string{"all"}, Everybody, "", true},
		{[]string{"all", "person"}, Everybody, "", true},
		{[]string{"person", "human"}, NoActors, "human", false},
		{[]string{""}, NoActors, "", false},
		{[]string{"Person"}, NoActors, "Person", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.names), func(t *testing.T) {
			t.Parallel()
			got, unknown, ok := ParseActors(tt.names)
			if got != tt.want || unknown != tt.unknown || ok != tt.ok {
				t.Errorf("got %b %q %t", got, unknown, ok)
			}
		})
	}
}

func TestActors(t *testing.T) {
	t.Parallel()
	if got := (People | 1<<System).List(); !slices.Equal(got, []Actor{Person, System}) {
		t.Errorf("got %v", got)
	}
	if got := (People | 1<<System).Others(); got != 1<<Service {
		t.Errorf("the others are %v", got.List())
	}
	if got := ActorNames(); !slices.Equal(got, []string{"person", "service", "system", "all"}) {
		t.Errorf("names are %v", got)
	}
}

// Each person is one actor: what is counted and what is left out are the whole, and the parts of actors add up to it.
func TestActorsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		templates, w, channelOf := anyTemplates.Draw(t, "templates"), anyWindow.Draw(t, "window"), anyChannels.Draw(t, "channels")
		of := anyPopulation.Draw(t, "population")
		whole := tallyOf(t, w, Everyone, templates, 5, channelOf)
		var users []UserTally
		sums := make([]ChannelTally, 5)
		for a := range ActorKinds {
			of.Counted = 1 << a
			part := tallyOf(t, w, of, templates, 5, channelOf)
			users = append(users, part.Users...)
			for i, c := range part.Channels {
				to := &sums[i]
				to.Minutes, to.Launches, to.Users = to.Minutes+c.Minutes, to.Launches+c.Launches, to.Users+c.Users
			}
			left := int64(0)
			for _, u := range part.Users {
				left -= u.Minutes
			}
			for _, u := range whole.Users {
				left += u.Minutes
			}
			for _, o := range part.Others {
				left -= o.Minutes
			}
			if left != 0 {
				t.Fatalf("%d minutes are neither counted nor left out with actor %v", left, a)
			}
		}
		slices.SortFunc(users, func(a, b UserTally) int { return int(a.Person - b.Person) })
		if diff := cmp.Diff(whole.Users, users, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		sameSums := cmpopts.IgnoreFields(ChannelTally{}, "Templates")
		if diff := cmp.Diff(whole.Channels, sums, sameSums); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Two numbers of one user count as one: apps, which need no gate, as if they were seats of one person, and samples of latency together.
func TestCountsPersonsOfOneUser(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		alias, root := somePeople[0], somePeople[1] // whom a pass meets first
		w, channelOf := anyWindow.Draw(t, "window"), anyChannels.Draw(t, "channels")
		apart, own := anyTemplates.Draw(t, "templates"), make([][]Row, 0)
		for i, rows := range apart {
			apart[i] = slices.DeleteFunc(rows, func(r Row) bool { return r.Kind != App && !r.Kind.HasBins() })
			rows = slices.Clone(apart[i])
			for j := range rows {
				if PersonOf(rows[j].Subject) == alias {
					rows[j].Subject = SubjectOf(root, MaxSeat-SeatOf(rows[j].Subject))
				}
			}
			own = append(own, Normalize(rows))
		}
		of := anyPopulation.Draw(t, "population")
		same := of
		of.Actors = maps.Clone(of.Actors)
		of.Actors[alias] = of.Actors[root]
		same.CountedAs = map[int64]int64{alias: root}
		want := tallyOf(t, w, of, own, 10, channelOf)
		for name, table := range map[string]func(int32, []Row) *Table{"rows": TableOf, "sums": summed} {
			got := tallyOfTables(t, w, same, apart, table, 10, channelOf, Peaks, IntervalMinutes)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("counted as one by %s (-seats of one +got):\n%s", name, diff)
			}
		}
		each, together := latencyCounterOf(t, w, of, apart), latencyCounterOf(t, w, same, apart)
		if n, want := together.Samples(root), each.Samples(root)+each.Samples(alias); n != want {
			t.Fatalf("%d samples, want %d", n, want)
		}
	})
}
