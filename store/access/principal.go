package access

import (
	"cmp"
	"slices"

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

// Principal is who asks, with the roles that hold at this moment: its own and those of its groups. The zero value is
// no one and holds nothing.
type Principal struct {
	Kind     Kind
	ID       uuid.UUID // the user's, service's or agent's
	Name     string    // for people to read; decides nothing
	Token    string    // id of the credential that it showed
	Agent    uuid.UUID // the only agent that it may report for; KindAgent alone has one
	Bindings []Binding
}

// Holds says whether the principal has the permission at all, be it for the deployment, one organization, one template
// or itself.
func (p Principal) Holds(perm Permission) bool {
	if perm == Authenticated {
		return p.known()
	}
	return p.has(perm, func(Binding) bool { return true })
}

// HoldsEverywhere says whether the principal has the permission for the whole deployment. An agent has none: what it
// holds, it holds for itself.
func (p Principal) HoldsEverywhere(perm Permission) bool {
	return p.Kind != KindAgent && p.has(perm, func(b Binding) bool { return b.level() == deployment })
}

// HoldsIn says whether the principal has the permission for everything in that organization. uuid.Nil is no
// organization: only who holds the permission everywhere has it there.
func (p Principal) HoldsIn(perm Permission, organizationID uuid.UUID) bool {
	return p.HoldsEverywhere(perm) || p.has(perm, func(b Binding) bool {
		return b.level() == organization && b.Organization == organizationID
	})
}

// holdsOn says whether the principal has the permission for a template of an organization.
func (p Principal) holdsOn(perm Permission, templateID, organizationID uuid.UUID) bool {
	return p.HoldsIn(perm, organizationID) || p.has(perm, func(b Binding) bool {
		return b.level() == template && b.Template == templateID
	})
}

// Grant is a permission and where it is held: everywhere if it names neither an organization nor a template.
type Grant struct {
	Permission   Permission
	Organization uuid.UUID // uuid.Nil: not limited to one
	Template     uuid.UUID // uuid.Nil: not limited to one
}

// Grants lists what the principal holds and where, each once, by permission, organization and template; what is held
// everywhere comes first of its permission. An agent holds what it lists for itself alone. Authenticated is not listed.
func (p Principal) Grants() []Grant {
	var list []Grant
	for _, b := range p.Bindings {
		for _, perm := range p.permissions(b) {
			list = append(list, Grant{Permission: perm, Organization: b.Organization, Template: b.Template})
		}
	}
	slices.SortFunc(list, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Permission, b.Permission), compare(a.Organization, b.Organization), compare(a.Template, b.Template))
	})
	return slices.Compact(list)
}

// has says whether a binding that covers what is asked for gives the permission.
func (p Principal) has(perm Permission, covers func(Binding) bool) bool {
	return slices.ContainsFunc(p.Bindings, func(b Binding) bool {
		return covers(b) && slices.Contains(p.permissions(b), perm)
	})
}

// permissions returns what a binding gives to the principal. It is the only place where bindings become rights. Agents
// and the agent role belong together: a stray binding makes no agent more, and no one else an agent.
func (p Principal) permissions(b Binding) []Permission {
	if !p.known() || (p.Kind == KindAgent) != (b.Role == RoleAgent) {
		return nil
	}
	return grants[b.Role][b.level()]
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
