package minute

// Actor is what a person of a subject is. Each is one, so sums over actors are the whole.
type Actor uint8

// Actors, in the order in which answers name them.
const (
	Person     Actor = iota // a human being, or somebody of whom nothing else is known
	Service                 // an account that works for people, such as that of a CI
	System                  // an account of the control plane, such as the owner of prebuilds
	ActorKinds              // how many there are
)

// actorNames are the names that the contract has for actors.
var actorNames = [ActorKinds]string{"person", "service", "system"}

// String returns the name of the actor.
func (a Actor) String() string { return actorNames[a] }

// Alone is the set of this actor.
func (a Actor) Alone() Actors { return 1 << a }

// Actors is a set of actors. The zero value is empty.
type Actors uint8

// Sets of actors.
const (
	NoActors  Actors = 0
	People    Actors = 1 << Person
	Everybody Actors = 1<<ActorKinds - 1
)

// everyActor is the name of [Everybody].
const everyActor = "all"

// ActorNames are the names that ParseActors knows.
func ActorNames() []string { return append(actorNames[:], everyActor) }

// ParseActors returns the set of the actors with these names, "all" being all of them; without names it is that of people. An
// unknown name is returned, with ok false.
func ParseActors(names []string) (set Actors, unknown string, ok bool) {
	if len(names) == 0 {
		return People, "", true
	}
	for _, name := range names {
		named := NoActors
		for a, own := range actorNames {
			if name == own {
				named = 1 << a
			}
		}
		if name == everyActor {
			named = Everybody
		}
		if named == NoActors {
			return NoActors, name, false
		}
		set |= named
	}
	return set, "", true
}

// Has reports whether the actor is in the set.
func (s Actors) Has(a Actor) bool { return s>>a&1 != 0 }

// Others are the actors that are not in the set.
func (s Actors) Others() Actors { return Everybody &^ s }

// List returns the actors in the set, in their order.
func (s Actors) List() []Actor {
	var list []Actor
	for a := range ActorKinds {
		if s.Has(a) {
			list = append(list, a)
		}
	}
	return list
}

// Population is whom a question counts: all persons whose actor is in a set.
type Population struct {
	// Counted is the set. Whoever is not in it is left out, and told of in [Tally.Others].
	Counted Actors
	// Actors has the actor of each person who is none of [Person].
	Actors map[int64]Actor
	// CountedAs has those who are the same user as another person, whose number stands for both.
	CountedAs map[int64]int64
}

// Everyone is the population of a question that tells no actors apart.
var Everyone = Population{Counted: Everybody}

// As returns the person as whom one is counted.
func (p Population) As(person int64) int64 {
	if other, same := p.CountedAs[person]; same {
		return other
	}
	return person
}

// counts reports whether a person counts.
func (p Population) counts(person int64) bool { return p.Counted.Has(p.Actors[p.As(person)]) }
