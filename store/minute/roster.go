package minute

import (
	"cmp"
	"iter"
	"slices"
)

// share is those persons of a population that one lane of several counts. Persons are random numbers, so lanes have as many.
type share struct {
	of          Population
	first, last int64   // the persons as whom one is counted
	elsewhere   []int64 // persons beyond, who are counted as one of them
}

// share returns that of a lane.
func (p Population) share(lane, lanes int) share {
	each := MaxPerson/int64(lanes) + 1
	s := share{of: p, first: int64(lane) * each, last: int64(lane+1)*each - 1}
	for person, as := range p.CountedAs {
		if s.has(as) && !s.has(person) {
			s.elsewhere = append(s.elsewhere, person)
		}
	}
	return s
}

func (s *share) has(person int64) bool { return s.first <= person && person <= s.last }

// near yields the persons of the share in a table, ascending, with their blocks, but for those from elsewhere.
func (s *share) near(in *blocks) iter.Seq2[int64, span] {
	if len(s.of.CountedAs) == 0 {
		return in.between(s.first, s.last)
	}
	return func(yield func(int64, span) bool) {
		for person, blocks := range in.between(s.first, s.last) {
			if s.has(s.of.As(person)) && !yield(person, blocks) {
				return
			}
		}
	}
}

// far yields those from elsewhere.
func (s *share) far(in *blocks) iter.Seq2[int64, span] {
	return func(yield func(int64, span) bool) {
		for _, person := range s.elsewhere {
			for person, blocks := range in.between(person, person) {
				if !yield(person, blocks) {
					return
				}
			}
		}
	}
}

// roster numbers the users of a population, from 0 on, as their persons come. The days of a template are of much the same people, in the
// same order: who was there before is found by walking along.
type roster struct {
	of      Population
	numbers map[int64]int32  // by the person as whom one is counted
	members map[int][]member // of each template, ascending
}

// member is a person who was met in a template.
type member struct {
	person int64
	number int32
}

func newRoster(of Population) roster { return roster{of, map[int64]int32{}, map[int][]member{}} }

// number returns the number of a person.
func (r *roster) number(person int64) int32 {
	person = r.of.As(person)
	number, known := r.numbers[person]
	if !known {
		number = int32(len(r.numbers))
		r.numbers[person] = number
	}
	return number
}

// walk is a way along the people of one template and day, ascending.
type walk struct {
	*roster

	template int
	ahead    []member // who is not passed yet
	met      []member // who is new in the template
}

// in begins a walk.
func (r *roster) in(template int) walk {
	return walk{roster: r, template: template, ahead: r.members[template]}
}

// number returns the number of the next person.
func (w *walk) number(person int64) int32 {
	for len(w.ahead) > 0 && w.ahead[0].person < person {
		w.ahead = w.ahead[1:]
	}
	if len(w.ahead) > 0 && w.ahead[0].person == person {
		return w.ahead[0].number
	}
	return w.meet(person)
}

// meet looks up a person who was not in the template before.
func (w *walk) meet(person int64) int32 {
	number := w.roster.number(person)
	w.met = append(w.met, member{person, number})
	return number
}

// end ends a walk.
func (w *walk) end() {
	if len(w.met) == 0 {
		return
	}
	members := append(w.members[w.template], w.met...)
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.person, b.person) })
	w.members[w.template] = members
}
