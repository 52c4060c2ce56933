package access

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Kind says what a principal is. The list is closed; a principal of unknown kind holds nothing.
type Kind string

const (
	// KindUser is a person.
	KindUser Kind = "user"
	// KindService is a program: a control plane, a proxy or a caller of the API.
	KindService Kind = "service"
	// KindAgent is the agent of one workspace.
	KindAgent Kind = "agent"
)

// Principal is who asks, with what it may do at this moment. The zero value is no one and holds nothing.
type Principal struct {
	Kind   Kind
	ID     uuid.UUID // the user's, service's or agent's
	Name   string    // for people to read; decides nothing
	Token  string    // id of the credential that it showed; empty: it is none of ours
	Until  time.Time // when that credential ends; zero: never
	Once   bool      // that credential was good for this one call
	Agent  uuid.UUID // the only agent that it may report for; KindAgent alone has one
	Grants []Grant   // by permission, organization, template and group, each once; With makes them of roles
}

// Grant is a permission and where it is held: everywhere if it names nothing. An agent holds what it is granted for itself alone. What
// is granted about the members of a group is for questions about groups alone: Holds and its like do not count it.
type Grant struct {
	Permission   Permission
	Organization uuid.UUID // uuid.Nil: not limited to one
	Template     uuid.UUID // uuid.Nil: not limited to one
	Group        uuid.UUID // uuid.Nil: not limited to the members of one
}

func (g Grant) everywhere() bool {
	return g.Organization == uuid.Nil && g.Template == uuid.Nil && g.Group == uuid.Nil
}

// in says whether the grant is limited to the organization; uuid.Nil is none.
func (g Grant) in(organization uuid.UUID) bool {
	return organization != uuid.Nil && g.Organization == organization
}

// on says whether the grant is limited to the template; uuid.Nil is none.
func (g Grant) on(template uuid.UUID) bool { return template != uuid.Nil && g.Template == template }

// With returns the principal with the grants of its roles alone: its own and those of its groups. It is the only place where
// bindings become rights. Agents and the agent role belong together: a stray binding makes no agent more, and no one else an
// agent.
func (p Principal) With(bindings ...Binding) Principal {
	if p.Grants = nil; !p.known() {
		return p
	}
	for _, b := range bindings {
		if (p.Kind == KindAgent) != (b.Role == RoleAgent) {
			continue
		}
		for _, perm := range grants[b.Role][b.level()] {
			p.Grants = append(p.Grants, Grant{Permission: perm, Organization: b.Organization, Template: b.Template, Group: b.Group})
		}
	}
	p.Grants = sorted(p.Grants)
	return p
}

// sorted puts grants in order, each once, in place.
func sorted(grants []Grant) []Grant {
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(
			cmp.Compare(a.Permission, b.Permission), compare(a.Organization, b.Organization), compare(a.Template, b.Template),
			compare(a.Group, b.Group),
		)
	})
	return slices.Compact(grants)
}

// Only returns the principal with nothing but its grants of some permissions.
func (p Principal) Only(perms ...Permission) Principal {
	p.Grants = slices.DeleteFunc(slices.Clone(p.Grants), func(g Grant) bool { return !slices.Contains(perms, g.Permission) })
	return p
}

// Within returns the principal with a permission on nothing beyond a scope. Unless the scope covers everything, each grant of it
// becomes one for each template that both cover: those about groups are gone then. organizationOf holds the organizations of all templates
// that exist.
func (p Principal) Within(perm Permission, scope Scope, organizationOf map[uuid.UUID]uuid.UUID) Principal {
	if scope.All() {
		return p
	}
	var kept []Grant
	for _, g := range p.Grants {
		if g.Permission != perm {
			kept = append(kept, g)
			continue
		}
		for template, organization := range organizationOf {
			covers := g.everywhere() || g.in(organization) || g.on(template)
			if covers && scope.Contains(template) {
				kept = append(kept, Grant{Permission: perm, Template: template})
			}
		}
	}
	p.Grants = sorted(kept)
	return p
}

// Holds says whether the principal has the permission at all, be it for the deployment, one organization, one template
// or itself.
func (p Principal) Holds(perm Permission) bool {
	if perm == Authenticated {
		return p.known()
	}
	return p.has(perm, func(Grant) bool { return true })
}

// HoldsEverywhere says whether the principal has the permission for the whole deployment. An agent has none: what it
// holds, it holds for itself.
func (p Principal) HoldsEverywhere(perm Permission) bool {
	return p.Kind != KindAgent && p.has(perm, Grant.everywhere)
}

// HoldsIn says whether the principal has the permission for everything in that organization. uuid.Nil is no
// organization: only who holds the permission everywhere has it there.
func (p Principal) HoldsIn(perm Permission, organizationID uuid.UUID) bool {
	return p.HoldsEverywhere(perm) || p.has(perm, func(g Grant) bool { return g.in(organizationID) })
}

// HoldsInAny says whether the principal has the permission everywhere or in one of the organizations: whether it reaches what
// belongs to all of them, such as a user.
func (p Principal) HoldsInAny(perm Permission, organizations []uuid.UUID) bool {
	return p.HoldsEverywhere(perm) || slices.ContainsFunc(organizations, func(id uuid.UUID) bool { return p.HoldsIn(perm, id) })
}

// holdsOn says whether the principal has the permission for a template of an organization.
func (p Principal) holdsOn(perm Permission, templateID, organizationID uuid.UUID) bool {
	return p.HoldsIn(perm, organizationID) || p.has(perm, func(g Grant) bool { return g.on(templateID) })
}

// has says whether the principal is granted the permission in a place that covers what is asked for.
func (p Principal) has(perm Permission, covers func(Grant) bool) bool {
	return p.known() && slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Permission == perm && g.Group == uuid.Nil && covers(g)
	})
}

// About returns the groups about whose members the principal has the permission.
func (p Principal) About(perm Permission) (groups []uuid.UUID) {
	for _, g := range p.Grants {
		if p.known() && g.Permission == perm && g.Group != uuid.Nil {
			groups = append(groups, g.Group)
		}
	}
	return groups
}

// known says whether the principal is of a kind that exists, and an agent is a certain one.
func (p Principal) known() bool {
	switch p.Kind {
	case KindUser, KindService:
		return true
	case KindAgent:
		return p.Agent != uuid.Nil
	default:
		return false
	}
}
