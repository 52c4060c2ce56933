package access

import "fmt"

// Role is a named set of permissions. The list is closed; an unknown role holds nothing.
type Role string

const (
	// RoleOwner may do everything but report usage: numbers come from those who measure them.
	RoleOwner Role = "owner"
	// RoleTemplateAdmin sees the insights of all templates, or of the one template that it is bound to.
	RoleTemplateAdmin Role = "template-admin"
	// RoleAuditor sees all insights and the audit events.
	RoleAuditor Role = "auditor"
	// RoleUserAdmin sees the status counts of users and no insights.
	RoleUserAdmin Role = "user-admin"
	// RoleMember sees the data kept about the member, nothing else.
	RoleMember Role = "member"
	// RoleOrganizationAdmin sees the insights of one organization and the status counts of users.
	RoleOrganizationAdmin Role = "organization-admin"
	// RoleOrganizationTemplateAdmin sees the insights of one organization.
	RoleOrganizationTemplateAdmin Role = "organization-template-admin"
	// RoleOrganizationAuditor sees the insights of one organization.
	RoleOrganizationAuditor Role = "organization-auditor"
	// RoleOrganizationUserAdmin sees the status counts of users and no insights.
	RoleOrganizationUserAdmin Role = "organization-user-admin"
	// RoleProxy reports the sessions of workspace apps: everywhere, or in the one organization that it is bound to.
	RoleProxy Role = "proxy"
	// RoleControlPlane keeps the catalog, reports events and usage of any agent and age, and creates agents' tokens:
	// everywhere, or in the one organization that it is bound to.
	RoleControlPlane Role = "control-plane"
	// RoleViewInsights is ViewInsights alone. This role and those that follow are made of one permission each: who needs
	// another set than the roles above have gets several of them. They bind where the permission can be limited.
	RoleViewInsights Role = "view-insights"
	// RoleViewInsightsAggregate is ViewInsightsAggregate alone.
	RoleViewInsightsAggregate Role = "view-insights-aggregate"
	// RoleViewGroupInsights is ViewInsightsAggregate about the members of the one group that it is bound to. It is a role of its own, so
	// that a server that knows of no such limit takes it for nothing.
	RoleViewGroupInsights Role = "view-group-insights"
	// RoleReadUsers is ReadUsers alone.
	RoleReadUsers Role = "read-users"
	// RoleManageAccess is ManageAccess alone.
	RoleManageAccess Role = "manage-access"
	// RoleManagePrivacy is ManagePrivacy alone.
	RoleManagePrivacy Role = "manage-privacy"
	// RoleReadAudit is ReadAudit alone.
	RoleReadAudit Role = "read-audit"
	// RoleResolvePseudonyms is ResolvePseudonyms alone.
	RoleResolvePseudonyms Role = "resolve-pseudonyms"
	// RoleAgent reports the usage of one agent. Only principals of KindAgent hold it, and they hold no other role.
	RoleAgent Role = "agent"
)

// level is what a binding covers.
type level int

const (
	_ level = iota // a malformed binding covers nothing
	deployment
	organization
	template
	group
)

// grants says what each role may do and where it may be bound: a level that is not listed for a role grants nothing.
var grants = map[Role]map[level][]Permission{
	RoleOwner: {deployment: {
		ViewInsights, ViewInsightsAggregate, ReadUsers, ManageAccess, ManagePrivacy, ReadAudit, ApplyCatalog, ReadOwn,
	}},
	RoleTemplateAdmin: {
		deployment: {ViewInsights, ViewInsightsAggregate, ReadUsers, ReadOwn},
		template:   {ViewInsights, ViewInsightsAggregate, ReadOwn},
	},
	RoleAuditor:   {deployment: {ViewInsights, ViewInsightsAggregate, ReadUsers, ReadAudit, ReadOwn}},
	RoleUserAdmin: {deployment: {ReadUsers, ReadOwn}},
	RoleMember:    {deployment: {ReadOwn}},

	RoleOrganizationAdmin:         {organization: {ViewInsights, ViewInsightsAggregate, ReadUsers, ReadOwn}},
	RoleOrganizationTemplateAdmin: {organization: {ViewInsights, ViewInsightsAggregate, ReadOwn}},
	RoleOrganizationAuditor:       {organization: {ViewInsights, ViewInsightsAggregate, ReadOwn}},
	RoleOrganizationUserAdmin:     {organization: {ReadUsers, ReadOwn}},

	RoleViewInsights: {
		deployment:   {ViewInsights, ViewInsightsAggregate},
		organization: {ViewInsights, ViewInsightsAggregate},
		template:     {ViewInsights, ViewInsightsAggregate},
	},
	RoleViewInsightsAggregate: {
		deployment:   {ViewInsightsAggregate},
		organization: {ViewInsightsAggregate},
		template:     {ViewInsightsAggregate},
	},
	RoleViewGroupInsights: {group: {ViewInsightsAggregate}},
	RoleReadUsers: {
		deployment:   {ReadUsers},
		organization: {ReadUsers},
	},
	RoleManageAccess:      {deployment: {ManageAccess}},
	RoleManagePrivacy:     {deployment: {ManagePrivacy}},
	RoleReadAudit:         {deployment: {ReadAudit}},
	RoleResolvePseudonyms: {deployment: {ResolvePseudonyms}},

	RoleProxy: {
		deployment:   {Ingest},
		organization: {Ingest},
	},
	RoleControlPlane: {
		deployment:   {ApplyCatalog, Ingest, IngestAny},
		organization: {ApplyCatalog, Ingest, IngestAny},
	},
	RoleAgent: {deployment: {Ingest}},
}

// ParseRole returns the role of that name. Names are lower case with hyphens; any other text is an error that names it.
func ParseRole(name string) (Role, error) {
	role := Role(name)
	if _, ok := grants[role]; !ok {
		return "", fmt.Errorf("unknown role %q", name)
	}
	return role, nil
}
