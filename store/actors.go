package store

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// OtherActor is the accounts of one actor that a question leaves out.
type OtherActor struct {
	Actor   minute.Actor
	Actors  int   // accounts that were active
	Minutes int64 // distinct minutes of each with any activity, summed over them
}

// together adds up those whom several tallies leave out.
func together(tallies []minute.OtherTally) []OtherActor {
	people, minutes := map[minute.Actor]set[int64]{}, map[minute.Actor]int64{}
	for _, t := range tallies {
		active := people[t.Actor]
		for _, person := range t.People {
			active.add(person)
		}
		people[t.Actor], minutes[t.Actor] = active, minutes[t.Actor]+t.Minutes
	}
	var others []OtherActor
	for _, actor := range minute.Everybody.List() {
		if len(people[actor]) > 0 {
			others = append(others, OtherActor{actor, len(people[actor]), minutes[actor]})
		}
	}
	return others
}

// actorKinds are the kinds of users, as [User.Kind], by actor. Where the kind is not known, a user is a person.
var actorKinds = map[minute.Actor]string{minute.Person: Human, minute.Service: "service", minute.System: "system"}

// ActorOf is the actor that users of a kind are.
func ActorOf(kind string) minute.Actor {
	for actor, of := range actorKinds {
		if of == kind {
			return actor
		}
	}
	return minute.Person
}

// kindsOf are the kinds of users that some actors are.
func kindsOf(actors minute.Actors) []string {
	kinds := []string{}
	for _, actor := range actors.List() {
		kinds = append(kinds, actorKinds[actor])
	}
	return kinds
}

// population is the persons that some actors are. It reads those who are no people, and those who are counted as others: they are few.
func (s *Store) population(ctx context.Context, actors minute.Actors) (minute.Population, error) {
	of := minute.Population{Counted: actors, Actors: map[int64]minute.Actor{}, CountedAs: map[int64]int64{}}
	query := s.db.Reads.WithContext(ctx).Raw(
		`SELECT people.person, users.kind, people.person FROM users JOIN people ON people.user_id = users.id WHERE users.kind IN ?
		UNION ALL SELECT person, '', counted_as FROM people WHERE counted_as IS NOT NULL`,
		kindsOf(minute.People.Others()),
	)
	err := s.db.Rows(query, func(r db.Records) error {
		var person, as int64
		var kind string
		return r.Each(func() error {
			if as == person {
				of.Actors[person] = ActorOf(kind)
			} else {
				of.CountedAs[person] = as
			}
			return nil
		}, &person, &kind, &as)
	})
	if err != nil {
		return of, fmt.Errorf("read actors: %w", err)
	}
	return of, nil
}

// count runs one counting pass over the usage of some actors.
func (s *Store) count(
	ctx context.Context, x usage.Index, actors minute.Actors, w minute.Window, channelOf minute.ChannelOf, details ...minute.Detail,
) (minute.Tally, error) {
	of, err := s.population(ctx, actors)
	if err != nil {
		return minute.Tally{}, err
	}
	return s.usage.Count(ctx, x, of, w, channelOf, details...)
}

// countEntries is count by the app entries of the templates, and returns these, which say what is counted besides.
func (s *Store) countEntries(
	ctx context.Context, x usage.Index, actors minute.Actors, w minute.Window, detail func(*appChannels) minute.Detail,
) (channels *appChannels, tally minute.Tally, err error) {
	var of minute.Population
	reading, both := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		channels, err = s.appChannels(both, x)
		return err
	})
	reading.Go(func() (err error) {
		of, err = s.population(both, actors)
		return err
	})
	if err = reading.Wait(); err == nil {
		tally, err = s.usage.Count(ctx, x, of, w, channels.of, detail(channels))
	}
	return channels, tally, err
}
