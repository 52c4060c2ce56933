package insights

import (
	"fmt"

	"google.golang.org/grpc/codes"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// actorRequest is a question that says whose figures it asks for.
type actorRequest interface {
	GetActor() []string
}

// kindRequest is one that knows the older name of that as well.
type kindRequest interface {
	GetKind() []string
}

// ParseActors checks whose figures a question asks for.
func ParseActors(r actorRequest) (minute.Actors, error) {
	if kinds, ok := r.(kindRequest); ok && len(kinds.GetKind()) > 0 {
		return parseKinds(kinds.GetKind(), r.GetActor())
	}
	actors, unknown, ok := minute.ParseActors(r.GetActor())
	if !ok {
		_, err := call.OneOf("actor", unknown, minute.ActorNames()...)
		return actors, err
	}
	return actors, nil
}

// parseKinds checks the kinds of users that a question is limited to.
func parseKinds(kinds, actors []string) (of minute.Actors, err error) {
	for _, kind := range kinds {
		if _, err := call.OneOf("kind", kind, store.UserKinds...); err != nil {
			return of, err
		}
		of |= 1 << store.ActorOf(kind)
	}
	if len(actors) > 0 {
		const both = `Provide either "actor" or "kind", not both.`
		err = call.Invalid(both, call.FieldError{Field: "kind", Detail: both})
	}
	return of, err
}

// TellsOf is the refusal of figures that are not those of people where small groups are hidden: the difference to those of others could
// tell of a few.
func TellsOf(actors minute.Actors, mode store.PrivacyMode, floor int) error {
	if actors == minute.People || mode == store.PrivacyFull && floor == 0 {
		return nil
	}
	detail := fmt.Sprintf("Small groups are hidden here: the privacy mode is %s, or the caller may see totals alone. "+
		"Leave out actor, or ask for that of people.", mode)
	return call.NewError(codes.FailedPrecondition, call.ReasonMode, "This is told of people alone.", detail, nil)
}

// Others tells who is left out. Where small groups are hidden it is told of groups of at least the floor.
func (s *Service) Others(mode store.PrivacyMode, floor int, others []store.OtherActor) (list []*insightsv1.OtherActor) {
	if mode != store.PrivacyFull {
		floor = s.options.PrivacyFloor
	}
	for _, o := range others {
		if floor > 0 {
			o.Actors -= o.Actors % floor
		}
		if o.Actors > 0 {
			list = append(list, &insightsv1.OtherActor{Actor: o.Actor.String(), Actors: int64(o.Actors), Seconds: 60 * o.Minutes})
		}
	}
	return list
}

// ActorsOf names actors.
func ActorsOf(actors minute.Actors) (names []string) {
	for _, a := range actors.List() {
		names = append(names, a.String())
	}
	return names
}
