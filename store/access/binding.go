package access

import (
	"fmt"

	"github.com/google/uuid"
)

// Binding gives a role to a principal, for the deployment, one organization, one template or the members of one group.
type Binding struct {
	Role         Role
	Organization uuid.UUID // uuid.Nil: not bound to one organization
	Template     uuid.UUID // uuid.Nil: not bound to one template
	Group        uuid.UUID // uuid.Nil: not bound to one group
}

// BindingError says which field of a binding is wrong.
type BindingError struct {
	Field  string // role, organization_id, template_id or group_id
	Detail string
}

// Error returns the field and what is wrong with it.
func (e *BindingError) Error() string {
	return e.Field + ": " + e.Detail
}

// Validate returns a *BindingError if the role is unknown or does not bind to what the binding names. A binding that
// is not valid grants nothing.
func (b Binding) Validate() error {
	levels, known := grants[b.Role]
	if !known {
		return &BindingError{Field: "role", Detail: fmt.Sprintf("unknown role %q", b.Role)}
	}
	at := b.level()
	if _, ok := levels[at]; ok {
		return nil
	}
	_, ofGroup := levels[group]
	switch {
	case at == deployment && ofGroup:
		return &BindingError{Field: "group_id", Detail: fmt.Sprintf("role %q needs a group", b.Role)}
	case at == deployment:
		return &BindingError{Field: "organization_id", Detail: fmt.Sprintf("role %q needs an organization", b.Role)}
	case at == organization:
		return &BindingError{Field: "organization_id", Detail: fmt.Sprintf("role %q does not bind to an organization", b.Role)}
	case at == template:
		return &BindingError{Field: "template_id", Detail: fmt.Sprintf("role %q does not bind to a template", b.Role)}
	case at == group:
		return &BindingError{Field: "group_id", Detail: fmt.Sprintf("role %q does not bind to a group", b.Role)}
	case b.Group != uuid.Nil:
		return &BindingError{Field: "group_id", Detail: "a role binds to one organization, template or group alone"}
	default:
		return &BindingError{Field: "template_id", Detail: "a role binds to one organization, template or group alone"}
	}
}

// level returns what the binding covers, or the zero level if it names several things.
func (b Binding) level() level {
	at := deployment
	for _, limit := range []struct {
		level level
		id    uuid.UUID
	}{{organization, b.Organization}, {template, b.Template}, {group, b.Group}} {
		if limit.id == uuid.Nil {
			continue
		}
		if at != deployment {
			return 0
		}
		at = limit.level
	}
	return at
}
