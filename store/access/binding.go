package access

import (
	"fmt"

	"github.com/google/uuid"
)

// Binding gives a role to a principal, for the deployment, one organization or one template.
type Binding struct {
	Role         Role
	Organization uuid.UUID // uuid.Nil: not bound to one organization
	Template     uuid.UUID // uuid.Nil: not bound to one template
}

// BindingError says which field of a binding is wrong.
type BindingError struct {
	Field  string // role, organization_id or template_id
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
	switch at {
	case deployment:
		return &BindingError{Field: "organization_id", Detail: fmt.Sprintf("role %q needs an organization", b.Role)}
	case organization:
		return &BindingError{Field: "organization_id", Detail: fmt.Sprintf("role %q does not bind to an organization", b.Role)}
	case template:
		return &BindingError{Field: "template_id", Detail: fmt.Sprintf("role %q does not bind to a template", b.Role)}
	default:
		return &BindingError{Field: "template_id", Detail: "a role binds to an organization or a template, not to both"}
	}
}

// level returns what the binding covers, or the zero level if it names two things.
func (b Binding) level() level {
	switch {
	case b.Organization == uuid.Nil && b.Template == uuid.Nil:
		return deployment
	case b.Template == uuid.Nil:
		return organization
	case b.Organization == uuid.Nil:
		return template
	default:
		return 0
	}
}
