package coder

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// Roles of Coder that are called the same here.
var (
	siteRoles         = []access.Role{access.RoleOwner, access.RoleTemplateAdmin, access.RoleAuditor, access.RoleUserAdmin}
	organizationRoles = []access.Role{
		access.RoleOrganizationAdmin, access.RoleOrganizationTemplateAdmin, access.RoleOrganizationAuditor,
		access.RoleOrganizationUserAdmin,
	}
)

// roles are who may see what: roles of the site and of organizations, those of all members of an organization among them, custom roles that
// show insights, and grants on single templates. An import of one organization leaves out what goes beyond it. Users who are deleted or
// suspended have none.
func (d *Database) roles(ctx context.Context, tx pgx.Tx, organization *uuid.UUID) ([]store.RoleBinding, error) {
	custom, err := d.customRoles(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	var bindings []store.RoleBinding
	grant := func(role access.Role, user, organization uuid.UUID) {
		bindings = append(bindings, store.RoleBinding{
			PrincipalKind: access.KindUser, PrincipalID: user, Role: role, OrganizationID: organization,
		})
	}
	members := `organization_members`
	if d.shape.DefaultRoles {
		members = `(SELECT user_id, organization_id, roles || default_org_member_roles AS roles FROM organization_members
			JOIN organizations ON organizations.id = organization_id) AS members`
	}
	held, err := collect(ctx, tx, `SELECT id, NULL::uuid AS organization_id, rbac_roles FROM users WHERE $1::uuid IS NULL AND NOT deleted
		AND status <> 'suspended'
		UNION ALL SELECT user_id, organization_id, roles FROM `+members+` JOIN users ON users.id = user_id
		WHERE ($1::uuid IS NULL OR organization_id = $1) AND NOT deleted AND status <> 'suspended'`, pgx.RowToStructByPos[heldRoles],
		organization)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	for _, h := range held {
		known := organizationRoles
		if h.Organization == uuid.Nil {
			known = siteRoles
			grant(access.RoleMember, h.User, uuid.Nil)
		}
		for _, name := range h.Roles {
			name, _, _ = strings.Cut(name, ":") // older schemas repeat the organization
			switch role := access.Role(name); {
			case slices.Contains(known, role):
				grant(role, h.User, h.Organization)
			case custom[customRole{name, h.Organization}]:
				grant(access.RoleViewInsights, h.User, h.Organization)
			}
		}
	}
	acls, err := collect(
		ctx, tx, `SELECT id, user_acl, group_acl FROM templates WHERE $1::uuid IS NULL OR organization_id = $1`,
		pgx.RowToStructByPos[templateACL], organization,
	)
	if err != nil {
		return nil, fmt.Errorf("read access to templates: %w", err)
	}
	for _, acl := range acls {
		bindings = append(bindings, grantsOf(acl.ID, access.KindUser, acl.Users)...)
		bindings = append(bindings, grantsOf(acl.ID, store.KindGroup, acl.Groups)...)
	}
	return bindings, nil
}

// heldRoles are those of a user in an organization, or in the site.
type heldRoles struct {
	User         uuid.UUID
	Organization uuid.UUID
	Roles        []string
}

// templateACL says what users and groups may do with a template.
type templateACL struct {
	ID     uuid.UUID
	Users  map[string][]string
	Groups map[string][]string
}

// grantsOf are the grants on a template: an admin of it may do anything, others see its insights if the list says so.
func grantsOf(template uuid.UUID, kind access.Kind, actions map[string][]string) []store.RoleBinding {
	var bindings []store.RoleBinding
	for principal, may := range actions {
		id, err := uuid.Parse(principal)
		if err != nil {
			continue
		}
		b := store.RoleBinding{PrincipalKind: kind, PrincipalID: id, TemplateID: template}
		switch {
		case slices.Contains(may, "*"):
			b.Role = access.RoleTemplateAdmin
		case slices.Contains(may, "view_insights"):
			b.Role = access.RoleViewInsights
		default:
			continue
		}
		bindings = append(bindings, b)
	}
	return bindings
}

// customRole names a role that a deployment defined, for an organization or the site.
type customRole struct {
	name         string
	organization uuid.UUID
}

// permission is what a custom role allows, or forbids.
type permission struct {
	Negate       bool   `json:"negate"`
	ResourceType string `json:"resource_type"`
	Action       string `json:"action"`
}

func (p permission) coversInsights() bool {
	return (p.ResourceType == "template" || p.ResourceType == "*") && (p.Action == "view_insights" || p.Action == "*")
}

// customRoles are the custom roles that show insights.
func (d *Database) customRoles(ctx context.Context, tx pgx.Tx) (map[customRole]bool, error) {
	rows, err := collect(ctx, tx,
		`SELECT name, organization_id, CASE WHEN organization_id IS NULL THEN site_permissions ELSE org_permissions END FROM custom_roles`,
		pgx.RowToStructByPos[struct {
			Name         string
			Organization uuid.UUID
			Permissions  json.RawMessage
		}])
	if err != nil {
		return nil, err
	}
	shows := map[customRole]bool{}
	for _, r := range rows {
		var permissions []permission
		if json.Unmarshal(r.Permissions, &permissions) != nil {
			continue // without a list it allows nothing
		}
		covering := slices.DeleteFunc(permissions, func(p permission) bool { return !p.coversInsights() })
		if len(covering) > 0 && !slices.ContainsFunc(covering, func(p permission) bool { return p.Negate }) {
			shows[customRole{r.Name, r.Organization}] = true
		}
	}
	return shows, nil
}
