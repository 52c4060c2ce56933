package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// Where the privacy mode hides small groups, the store publishes atoms. An atom is the use of one template on one day, in one app or
// with one value of a parameter; the store publishes it if the number of its people is at least the floor. An answer is a sum of
// published atoms, or the number of distinct people in published atoms, rounded down to a multiple of the floor. Further questions tell
// nothing new to a caller that knows all published atoms and these numbers.

// Floor says from how many people on something is told. The zero value tells everything.
type Floor struct {
	People int             // that must take part in an atom, or it is not published
	Days   []minute.Window // of the window of a question, which has whole days and whole days as its intervals
}

func (f Floor) hides() bool { return f.People > 0 }

// publishedInsights is TemplateInsights of published atoms alone. The answer does not tell editors apart: the difference between an
// entry and the sum of its editors could be the usage of one person.
func (s *Store) publishedInsights(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window, floor Floor,
) (TemplateInsights, error) {
	days := floor.Days
	x, err := s.index(ctx, scope)
	if err != nil {
		return TemplateInsights{}, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return TemplateInsights{}, err
	}
	of, err := s.population(ctx, actors)
	if err != nil {
		return TemplateInsights{}, err
	}
	p := publication{floor: floor.People, intervals: w.Intervals()}
	p.inInterval = make([]published, len(p.intervals))
	counters := map[int]map[int]*minute.Counter{} // of the days that are being read, by template
	publish := func(day int) {
		for template, counter := range counters[day] {
			p.add(template, days[day], counter.Tally())
		}
		delete(counters, day)
	}
	next := 0 // the first day that is not published yet
	err = usage.EachDay(ctx, s.usage, x, w, usage.Minutes, func(utc int32, sources []minute.Source[*minute.Table]) error {
		for ; next < len(days) && lastDay(days[next]) < utc; next++ {
			publish(next)
		}
		for day := next; day < len(days) && firstDay(days[day]) <= utc; day++ {
			if counters[day] == nil {
				counters[day] = map[int]*minute.Counter{}
			}
			for i, source := range sources {
				counter := counters[day][source.Template]
				if counter == nil {
					counter = minute.NewCounter(days[day], of, len(x.IDs), channels.ofEntry)
					counters[day][source.Template] = counter
				}
				if err := counter.Add(utc, sources[i:i+1]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return TemplateInsights{}, err
	}
	for ; next < len(days); next++ {
		publish(next)
	}
	answer := TemplateInsights{
		Templates: x.Of(p.inWindow.templates.list()), ActiveUsers: p.count(p.inWindow), Estimated: p.estimated, Others: together(p.others),
	}
	for i, w := range p.intervals {
		answer.Intervals = append(answer.Intervals, Interval{
			w.Start, w.End, x.Of(p.inInterval[i].templates.list()), p.count(p.inInterval[i]),
		})
	}
	channels.fill(&answer, x, p.tallies())
	return answer, nil
}

func firstDay(w minute.Window) int32 { first, _ := w.Days(); return first }
func lastDay(w minute.Window) int32  { _, last := w.Days(); return last }

// publication adds up the published atoms of an answer.
type publication struct {
	floor      int
	estimated  bool
	intervals  []minute.Window
	inWindow   published
	inInterval []published
	channels   []publishedChannel
	others     []minute.OtherTally // of each atom in which at least as many as the floor are of an actor that is left out
}

// published is the people and the templates of some published atoms.
type published struct {
	templates set[int]
	people    set[int64]
}

// publishedChannel is the sum of the atoms of a channel.
type publishedChannel struct {
	minutes, launches int64
	templates         set[int]
}

// add adds the atoms of a template and day.
func (p *publication) add(template int, day minute.Window, t minute.Tally) {
	for _, o := range t.Others {
		if len(o.People) >= p.floor {
			p.others = append(p.others, o)
		}
	}
	if len(t.Users) < p.floor {
		return
	}
	p.estimated = p.estimated || t.Estimated
	to := []*published{&p.inWindow}
	for i, w := range p.intervals {
		if w.Start <= day.Start && day.Start < w.End {
			to = append(to, &p.inInterval[i])
		}
	}
	for _, at := range to {
		at.templates.add(template)
		for _, u := range t.Users {
			at.people.add(u.Person)
		}
	}
	for i, c := range t.Channels {
		if i == len(p.channels) {
			p.channels = append(p.channels, publishedChannel{})
		}
		if c.Users >= p.floor {
			to := &p.channels[i]
			to.minutes, to.launches = to.minutes+c.Minutes, to.launches+c.Launches
			to.templates.add(template)
		}
	}
}

// count is the number of people in some published atoms, rounded down to a multiple of the floor.
func (p *publication) count(in published) int { return len(in.people) - len(in.people)%p.floor }

// tallies are the channels as [appChannels.fill] takes them.
func (p *publication) tallies() []minute.ChannelTally {
	tallies := make([]minute.ChannelTally, len(p.channels))
	for i, c := range p.channels {
		tallies[i] = minute.ChannelTally{Minutes: c.minutes, Launches: c.launches, Templates: c.templates.list()}
	}
	return tallies
}

// set is a set that lists its members in their order; nil is empty.
type set[T cmp.Ordered] map[T]struct{}

func (s *set[T]) add(member T) {
	if *s == nil {
		*s = set[T]{}
	}
	(*s)[member] = struct{}{}
}

func (s set[T]) list() []T { return slices.Sorted(maps.Keys(s)) }

// publishedParameters is ParameterUsage of published atoms alone. On each day the newest start of each workspace that succeeded
// counts. Whether the value of an atom is hidden depends on the people of the atom alone, so that the answer stays a sum of published
// atoms. It has no options that nobody chose.
func (s *Store) publishedParameters(
	ctx context.Context, scope access.Scope, actors minute.Actors, published Floor,
) ([]ParameterUsage, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	choices := make([][]choice, len(published.Days))
	for i, day := range published.Days {
		if choices[i], err = s.choicesOfOwners(ctx, x, actors, time.Unix(60*day.Start, 0), time.Unix(60*day.End, 0)); err != nil {
			return nil, err
		}
	}
	suspicion, err := s.suspicion(ctx, slices.Concat(choices...))
	if err != nil {
		return nil, err
	}
	groups := parameterGroups{}
	for _, ofDay := range choices {
		atoms := parameterAtoms{}
		err = s.eachParameter(ctx, ofDay, func(c choice, p Parameter, value string, chosen bool) {
			if chosen {
				atoms.add(parameterAtom{c.TemplateID, parameterKey(p), value}, c, p, suspicion.of(c.TemplateID, p, value))
			}
		})
		if err != nil {
			return nil, err
		}
		for atom, chosen := range atoms {
			if len(chosen.people) >= published.People {
				g := groups.of(chosen.definition)
				g.templates[atom.template] = true
				g.add(atom.value, chosen)
			}
		}
	}
	usage := groups.usage(suspicion.newest)
	for i := range usage {
		usage[i].Unused = nil
	}
	return usage, nil
}

// parameterAtom is a value of a parameter in a template.
type parameterAtom struct {
	template   uuid.UUID
	key, value string // of the definition; chosen
}

// parameterAtoms are those who chose the values of atoms.
type parameterAtoms map[parameterAtom]*parameterChoices

// add adds a choice of the value of an atom.
func (atoms parameterAtoms) add(atom parameterAtom, c choice, p Parameter, suspect bool) {
	chosen := atoms[atom]
	if chosen == nil {
		chosen = &parameterChoices{definition: p, people: map[uuid.UUID]struct{}{}, suspect: true}
		atoms[atom] = chosen
	}
	chosen.suspect = chosen.suspect && suspect
	chosen.workspaces += c.Workspaces
	if c.OwnerID != uuid.Nil {
		chosen.people[c.OwnerID] = struct{}{}
	}
}

// parameterChoices is the people that chose the value of an atom, as far as owners are told apart, and the number of their workspaces.
type parameterChoices struct {
	definition Parameter
	workspaces int64
	people     map[uuid.UUID]struct{}
	suspect    bool // the value looks like a credential, and no definition names it
}
