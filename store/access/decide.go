package access

import (
	"errors"
	"slices"

	"github.com/google/uuid"
)

var (
	// ErrNotFound says that something does not exist or that the principal may not know of it; which of the two, no one
	// is told.
	ErrNotFound = errors.New("resource not found or not accessible")
	// ErrForbidden says that the principal lacks the permission, whatever the request names.
	ErrForbidden = errors.New("forbidden")
)

// Templates returns the templates that the answer to p's request may cover. organizationOf holds the organization of
// each template that exists, deleted ones included: of all of them if none is requested, else of the requested ones at
// least.
//
// Who holds the permission everywhere passes without a look at organizationOf, which may be nil then: the scope is what
// is requested, also unknown ids, or everything. Anyone else must hold the permission on each requested template, or
// the whole request is ErrNotFound; without a requested template the scope is the templates that they hold it on, and
// ErrNotFound if there are none. Repeated ids count once.
func Templates(p Principal, perm Permission, requested []uuid.UUID, organizationOf map[uuid.UUID]uuid.UUID) (Scope, error) {
	if p.HoldsEverywhere(perm) {
		if len(requested) == 0 {
			return Scope{all: true}, nil
		}
		return scopeOf(slices.Clone(requested)), nil
	}
	if len(requested) == 0 {
		return visible(p, perm, organizationOf)
	}
	for _, id := range requested {
		organizationID, exists := organizationOf[id]
		if !exists || !p.holdsOn(perm, id, organizationID) {
			return Scope{}, ErrNotFound
		}
	}
	return scopeOf(slices.Clone(requested)), nil
}

// visible returns the existing templates on which p holds the permission, or ErrNotFound if there are none.
func visible(p Principal, perm Permission, organizationOf map[uuid.UUID]uuid.UUID) (Scope, error) {
	var templates []uuid.UUID
	for id, organizationID := range organizationOf {
		if p.holdsOn(perm, id, organizationID) {
			templates = append(templates, id)
		}
	}
	if len(templates) == 0 {
		return Scope{}, ErrNotFound
	}
	return scopeOf(templates), nil
}

// Members returns what the answer to p's request may cover if it is of the members of groups alone: of those about which p holds the
// permission and of which groupsIn has the organization. The templates are those of the organizations of the groups, or those of them that
// are requested. One that is not among them, or none at all, is ErrNotFound. organizationOf holds the organizations of all templates.
func Members(p Principal, perm Permission, requested []uuid.UUID, organizationOf, groupsIn map[uuid.UUID]uuid.UUID) (Scope, error) {
	var groups []uuid.UUID
	organizations := map[uuid.UUID]bool{}
	for _, id := range p.About(perm) {
		if organization, exists := groupsIn[id]; exists {
			groups, organizations[organization] = append(groups, id), true
		}
	}
	var all []uuid.UUID
	for id, organization := range organizationOf {
		if organizations[organization] {
			all = append(all, id)
		}
	}
	scope := scopeOf(all)
	scope.groups = scopeOf(groups).templates
	if len(requested) == 0 && len(all) > 0 {
		return scope, nil
	}
	for _, id := range requested {
		if !scope.Contains(id) {
			return Scope{}, ErrNotFound
		}
	}
	return scope.Within(requested)
}

// CheckStats returns nil if p may report the statistics of an agent whose template belongs to that organization: an
// agent its own, a control plane those of its organization. It returns ErrForbidden to anyone else and ErrNotFound to a
// control plane of another organization. For an agent the organization may be left uuid.Nil.
func CheckStats(p Principal, agentID, organizationID uuid.UUID) error {
	switch {
	case p.Kind == KindAgent && p.Holds(Ingest) && p.Agent == agentID:
		return nil
	case !p.Holds(IngestAny):
		return ErrForbidden
	case p.HoldsIn(IngestAny, organizationID):
		return nil
	default:
		return ErrNotFound
	}
}

// CheckAppSessions returns nil if p may report sessions of the apps of an agent whose template belongs to that
// organization: a proxy or control plane those of its organization. It returns ErrForbidden to anyone else, agents
// included, and ErrNotFound to a proxy or control plane of another organization.
func CheckAppSessions(p Principal, organizationID uuid.UUID) error {
	switch {
	case p.Kind == KindAgent || !p.Holds(Ingest):
		return ErrForbidden
	case p.HoldsIn(Ingest, organizationID):
		return nil
	default:
		return ErrNotFound
	}
}
