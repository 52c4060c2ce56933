package access

// Permission is a right that a rule of the contract can ask for. The list is closed; an unknown permission is held by
// no one.
type Permission string

const (
	// Authenticated is held by every known principal, whatever its roles.
	Authenticated Permission = "authenticated"
	// ViewInsights is to see the usage of templates, with the names of their users.
	ViewInsights Permission = "view_insights"
	// ViewInsightsAggregate is to see the usage of templates in totals only. Who holds ViewInsights holds it as well.
	ViewInsightsAggregate Permission = "view_insights_aggregate"
	// ReadUsers is to read the list of users and how many of them have which status.
	ReadUsers Permission = "read_users"
	// ManageAccess is to create tokens of any principal, to grant roles and to fill groups that hold a role.
	ManageAccess Permission = "manage_access"
	// ManagePrivacy is to set the privacy mode, to release parameters and to erase people.
	ManagePrivacy Permission = "manage_privacy"
	// ResolvePseudonyms is to learn who a pseudonym stands for. No role but its own brings it.
	ResolvePseudonyms Permission = "resolve_pseudonyms"
	// ReadAudit is to read the audit events.
	ReadAudit Permission = "read_audit"
	// ApplyCatalog is to write the catalog and, because agents come and go with it, to create the tokens of its agents.
	ApplyCatalog Permission = "apply_catalog"
	// Ingest is to report usage: an agent for itself, a proxy the sessions of apps. CheckStats and CheckAppSessions
	// tell them apart.
	Ingest Permission = "ingest"
	// IngestAny is to report usage and events of any agent and of any age. Who holds it holds Ingest as well.
	IngestAny Permission = "ingest_any"
	// ReadOwn is to read the data kept about oneself. It reaches no one else, wherever its role is bound.
	ReadOwn Permission = "read_own"
)
