package access

import (
	"bytes"
	"slices"

	"github.com/google/uuid"
)

// Scope is the set of templates that an answer may cover: everything, or the ones it lists. Only this package makes
// scopes, and the zero value covers nothing, so an empty list can never be mistaken for everything. A scope may be of the members of some
// groups alone: only what asks for Groups may answer within it, and only rules that say so make one.
type Scope struct {
	all       bool
	templates []uuid.UUID // sorted, each once
	groups    []uuid.UUID // the same; none: of everybody
}

// scopeOf returns the scope of exactly these templates. It takes over the slice.
func scopeOf(templates []uuid.UUID) Scope {
	slices.SortFunc(templates, compare)
	return Scope{templates: slices.Compact(templates)}
}

// All says whether the scope covers every template, also those that no catalog knows. Templates is empty then.
func (s Scope) All() bool {
	return s.all
}

// Templates returns the templates that the scope lists, sorted by id, each once, as a copy. If All is false and the
// list is empty, the scope covers nothing.
func (s Scope) Templates() []uuid.UUID {
	return slices.Clone(s.templates)
}

// Groups returns the groups of whose members alone the answer is, sorted by id, each once, as a copy; none: it is of everybody.
func (s Scope) Groups() []uuid.UUID {
	return slices.Clone(s.groups)
}

// Contains says whether the scope covers the template.
func (s Scope) Contains(templateID uuid.UUID) bool {
	if s.all {
		return true
	}
	_, found := slices.BinarySearchFunc(s.templates, templateID, compare)
	return found
}

// Within returns what the scope has in common with a list of templates, or ErrNotFound if that is nothing.
func (s Scope) Within(templates []uuid.UUID) (Scope, error) {
	common := slices.DeleteFunc(slices.Clone(templates), func(id uuid.UUID) bool { return !s.Contains(id) })
	if len(common) == 0 {
		return Scope{}, ErrNotFound
	}
	within := scopeOf(common)
	within.groups = s.groups
	return within, nil
}

func compare(a, b uuid.UUID) int {
	return bytes.Compare(a[:], b[:])
}
