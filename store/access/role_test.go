package access_test

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
)

// Two organizations: A has the templates a1 and a2, B has b1.
var (
	orgA = uuid.MustParse("00000000-0000-0000-0000-00000000000a")
	orgB = uuid.MustParse("00000000-0000-0000-0000-00000000000b")

	a1 = uuid.MustParse("00000000-0000-0000-0000-000000000011")
	a2 = uuid.MustParse("00000000-0000-0000-0000-000000000012")
	b1 = uuid.MustParse("00000000-0000-0000-0000-000000000021")

	organizationOf = map[uuid.UUID]uuid.UUID{a1: orgA, a2: orgA, b1: orgB}

	team = uuid.MustParse("00000000-0000-0000-0000-0000000000e1") // a group of A

	agentID = uuid.MustParse("00000000-0000-0000-0000-0000000000a9")
)

// rightsTable says which role may do what, and where: a row for each role and place, a cell for each permission.
//
//go:embed testdata/rights.txt
var rightsTable string

// rights are the cells of rightsTable, as "EE-..." by role and place. columns are their permissions, in order.
var rights, columns, roles = func() (map[string]string, []access.Permission, []access.Role) {
	rights := map[string]string{}
	var columns []access.Permission
	var roles []access.Role
	for line := range strings.Lines(rightsTable) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case fields[0] == "role":
			for _, name := range fields[2:] {
				columns = append(columns, access.Permission(name))
			}
		default:
			rights[fields[0]+" "+fields[1]] = strings.Join(fields[2:], "")
			if role := access.Role(fields[0]); !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return rights, columns, roles
}()

// strangers are names that are no roles.
var strangers = []access.Role{"", "Owner", "superuser"}

// bound returns the binding of a role to a place of rightsTable.
func bound(role access.Role, place string) access.Binding {
	switch place {
	case "deployment":
		return access.Binding{Role: role}
	case "organization":
		return access.Binding{Role: role, Organization: orgA}
	case "template":
		return access.Binding{Role: role, Template: a1}
	case "organization and template":
		return access.Binding{Role: role, Organization: orgA, Template: a1}
	case "group":
		return access.Binding{Role: role, Group: team}
	case "organization and group":
		return access.Binding{Role: role, Organization: orgA, Group: team}
	default:
		panic("unknown place " + place)
	}
}

// principal returns a principal with one binding, an agent for the agent role.
func principal(b access.Binding) access.Principal {
	p := access.Principal{Kind: access.KindService, ID: uuid.MustParse("00000000-0000-0000-0000-0000000000ff")}
	if b.Role == access.RoleAgent {
		p.Kind, p.ID, p.Agent = access.KindAgent, agentID, agentID
	}
	return p.With(b)
}

func TestRights(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(access.AllRoles(), slices.Sorted(slices.Values(roles))); diff != "" {
		t.Fatalf("roles (-granted +in the table):\n%s", diff)
	}
	seen := 0
	for _, role := range slices.Concat(roles, strangers) {
		for _, place := range []string{
			"deployment", "organization", "template", "group", "organization and template", "organization and group",
		} {
			row, listed := rights[string(role)+" "+place]
			if !listed {
				row = strings.Repeat("-", len(columns))
			} else {
				seen++
			}
			b := bound(role, place)
			if err := b.Validate(); (err == nil) != listed {
				t.Errorf("%s bound to %s: Validate() = %v", role, place, err)
			}
			for i, perm := range columns {
				t.Run(fmt.Sprintf("%s/%s/%s", role, place, perm), func(t *testing.T) {
					t.Parallel()
					checkRight(t, principal(b), perm, row[i:i+1])
				})
			}
		}
	}
	if seen != len(rights) {
		t.Errorf("%d of %d rows were checked", seen, len(rights))
	}
}

// checkRight holds every question about one permission against one cell of rightsTable.
func checkRight(t *testing.T, p access.Principal, perm access.Permission, cell string) {
	t.Helper()
	for _, q := range []struct {
		question string
		got      bool
		yes      string // the cells that mean yes
	}{
		{"holds", p.Holds(perm), "EOTS"},
		{"holds everywhere", p.HoldsEverywhere(perm), "E"},
		{"holds in A", p.HoldsIn(perm, orgA), "EO"},
		{"holds in B", p.HoldsIn(perm, orgB), "E"},
		{"holds in no organization", p.HoldsIn(perm, uuid.Nil), "E"},
		{"template a1", covers(p, perm, a1), "EOT"},
		{"template a2", covers(p, perm, a2), "EO"},
		{"template b1", covers(p, perm, b1), "E"},
		{"unknown template", covers(p, perm, uuid.MustParse("00000000-0000-0000-0000-000000000099")), "E"},
		{"no template named", covers(p, perm), "EOT"},
	} {
		if want := strings.Contains(q.yes, cell); q.got != want {
			t.Errorf("%s: got %t, want %t", q.question, q.got, want)
		}
	}
}

func covers(p access.Principal, perm access.Permission, requested ...uuid.UUID) bool {
	_, err := access.Templates(p, perm, requested, organizationOf)
	return err == nil
}

func TestGrants(t *testing.T) {
	t.Parallel()
	bindings := []access.Binding{
		{Role: access.RoleOrganizationAuditor, Organization: orgB},
		{Role: access.RoleOrganizationUserAdmin, Organization: orgA},
		{Role: access.RoleTemplateAdmin, Template: a1},
		{Role: access.RoleOrganizationTemplateAdmin, Organization: orgB},
		{Role: access.RoleMember},
		{Role: access.RoleOwner, Organization: orgA},
		{Role: "superuser"},
		{Role: access.RoleAgent},
		{Role: access.RoleViewGroupInsights, Group: team},
		{Role: access.RoleViewGroupInsights},
		{Role: access.RoleAuditor, Group: team},
	}
	p := access.Principal{Kind: access.KindUser}.With(bindings...)
	want := []access.Grant{
		{Permission: "read_own"},
		{Permission: "read_own", Template: a1},
		{Permission: "read_own", Organization: orgA},
		{Permission: "read_own", Organization: orgB},
		{Permission: "read_users", Organization: orgA},
		{Permission: "view_insights", Template: a1},
		{Permission: "view_insights", Organization: orgB},
		{Permission: "view_insights_aggregate", Group: team},
		{Permission: "view_insights_aggregate", Template: a1},
		{Permission: "view_insights_aggregate", Organization: orgB},
	}
	if diff := cmp.Diff(want, p.Grants); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
	agent := principal(bound(access.RoleAgent, "deployment"))
	if diff := cmp.Diff([]access.Grant{{Permission: "ingest"}}, agent.Grants); diff != "" {
		t.Errorf("grants of an agent (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:1], p.With(access.Binding{Role: access.RoleMember}).Grants); diff != "" {
		t.Errorf("other roles instead (-want +got):\n%s", diff)
	}
	if got := (access.Principal{}).With(bindings...).Grants; len(got) != 0 {
		t.Errorf("no one is granted %v", got)
	}
}

func TestAuthenticated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		p    access.Principal
		want bool
	}{
		{"user without roles", access.Principal{Kind: access.KindUser}, true},
		{"service without roles", access.Principal{Kind: access.KindService}, true},
		{"agent", access.Principal{Kind: access.KindAgent, Agent: agentID}, true},
		{"agent of nothing", access.Principal{Kind: access.KindAgent}, false},
		{"no one", access.Principal{}, false},
		{"unknown kind", access.Principal{Kind: "robot"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.p.Holds(access.Authenticated); got != tt.want {
				t.Errorf("Holds(Authenticated) = %t, want %t", got, tt.want)
			}
			if tt.p.HoldsEverywhere(access.Authenticated) || tt.p.HoldsIn(access.Authenticated, orgA) ||
				covers(tt.p, access.Authenticated) {
				t.Error("being known reaches further than the principal itself")
			}
		})
	}
}

// Rights follow the kind of the principal too: agents hold the agent role alone, and no one else holds it.
func TestKinds(t *testing.T) {
	t.Parallel()
	owner := access.Binding{Role: access.RoleOwner}
	agent := access.Binding{Role: access.RoleAgent}
	for _, tt := range []struct {
		name string
		p    access.Principal
		want []access.Permission
	}{
		{
			"agent with a stray owner role", access.Principal{Kind: access.KindAgent, Agent: agentID}.With(owner, agent),
			[]access.Permission{access.Ingest},
		},
		{"agent that names no agent", access.Principal{Kind: access.KindAgent}.With(agent), nil},
		{"user with the agent role", access.Principal{Kind: access.KindUser, Agent: agentID}.With(agent), nil},
		{"service with the agent role", access.Principal{Kind: access.KindService, Agent: agentID}.With(agent), nil},
		{"unknown kind", access.Principal{Kind: "robot"}.With(owner), nil},
		{"no kind", access.Principal{}.With(owner), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []access.Permission
			for _, perm := range columns {
				if tt.p.Holds(perm) {
					got = append(got, perm)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("holds %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUnknownPermission(t *testing.T) {
	t.Parallel()
	for _, perm := range []access.Permission{"", "View_Insights", "everything"} {
		for _, role := range roles {
			checkRight(t, principal(bound(role, "deployment")), perm, "-")
		}
	}
}

func TestParseRole(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		got, err := access.ParseRole(string(role))
		if err != nil || got != role {
			t.Errorf("ParseRole(%q) = %q, %v", role, got, err)
		}
	}
	for _, name := range []string{"", "Owner", "owner ", "template_admin", "superuser"} {
		got, err := access.ParseRole(name)
		if err == nil || got != "" || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("ParseRole(%q) = %q, %v", name, got, err)
		}
	}
}
