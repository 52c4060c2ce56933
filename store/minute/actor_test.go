package minute

import (
	"fmt"
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
		for a := range actorKinds {
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
