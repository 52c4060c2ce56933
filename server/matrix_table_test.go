package server_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
)

// outcome is what a caller gets.
type outcome string

const (
	allowed         outcome = "allowed"
	unauthenticated outcome = "unauthenticated"
	forbidden       outcome = "forbidden"
	notFound        outcome = "not_found"
	rejected        outcome = "rejected" // an answer, but not for the item that was named
)

// matrix is testdata/access_matrix.txt: who may call what, by the names of RPCs without their services.
type matrix map[string]*section

// section is what the table says about some RPCs.
type section struct {
	about   []string // that they can be asked about
	refused outcome
	rows    map[string]row // by who
}

// row is what somebody may ask about.
type row struct {
	about []string // or "all"
	rest  outcome  // what the call says about the rest; empty: the rule of the RPC refuses it
}

func readMatrix(t *testing.T) matrix {
	t.Helper()
	text, err := os.ReadFile("testdata/access_matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := matrix{}
	var s *section
	for line := range strings.Lines(string(text)) {
		names, cell, indented := strings.Cut(line, ":")
		about, rest, _ := strings.Cut(cell, ", else ")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] != ' ':
			s = &section{rows: map[string]row{}}
			for _, rpc := range strings.Fields(line) {
				if m[rpc] != nil {
					t.Fatalf("%s has two sections", rpc)
				}
				m[rpc] = s
			}
		case !indented:
			t.Fatalf("line without a colon: %s", line)
		case strings.TrimSpace(names) == "about":
			s.about = strings.Fields(about)
		case strings.TrimSpace(names) == "refused":
			s.refused = outcome(strings.TrimSpace(about))
		default:
			for _, who := range strings.Fields(names) {
				if _, twice := s.rows[who]; twice {
					t.Fatalf("%s is twice in one section: %s", who, line)
				}
				s.rows[who] = row{strings.Fields(about), outcome(strings.TrimSpace(rest))}
			}
		}
	}
	return m
}

// anonymous is who shows no valid token.
const anonymous = "anonymous"

// want is what somebody gets who asks about something, and whether it is the rule of the RPC that decides so.
func (s *section) want(who, about string) (want outcome, byRule bool) {
	names := []string{who, "everyone", "anyone"}
	if who == anonymous {
		names = names[2:]
	}
	for _, name := range names {
		r, listed := s.rows[name]
		switch {
		case !listed:
		case slices.Contains(r.about, about), slices.Contains(r.about, "all"):
			return allowed, true
		case r.rest != "":
			return r.rest, false
		}
	}
	if who == anonymous {
		return unauthenticated, true
	}
	return s.refused, true
}

// sees are the templates whose insights somebody sees.
func (m matrix) sees(who string) (templates []string) {
	for _, about := range []string{"a1", "a2", "gone", "b1"} {
		if want, _ := m["GetTemplateInsights"].want(who, about); want == allowed {
			templates = append(templates, about)
		}
	}
	return templates
}

// site is where a role is bound in the world of the table.
type site struct {
	name                          string // after the @; empty: everywhere
	level                         string // of the table of rights
	organization, template, group uuid.UUID
}

var sites = []site{
	{name: "", level: "deployment"},
	{name: "A", level: "organization", organization: servertest.OrganizationA},
	{name: "B", level: "organization", organization: servertest.OrganizationB},
	{name: "a1", level: "template", template: servertest.TemplateA1},
	{name: "team", level: "group", group: uuid.MustParse("00000000-0000-4000-8000-0000000000e1")},
}

// groupsOfSites are the groups about whose members roles are held.
func groupsOfSites() (groups []*insightsv1.Group) {
	for _, at := range sites {
		if at.group != uuid.Nil {
			groups = append(groups, &insightsv1.Group{
				Id: at.group.String(), OrganizationId: servertest.OrganizationA.String(), Name: at.name,
			})
		}
	}
	return groups
}

// who is a role at a site.
type who struct {
	name  string // as the table writes it
	role  access.Role
	site  site
	holds []access.Permission // by the table of rights
	binds bool                // the role binds there; if not, it gives nothing
}

func (w who) binding() access.Binding {
	return access.Binding{Role: w.role, Organization: w.site.organization, Template: w.site.template, Group: w.site.group}
}

// grants are what w holds and where.
func (w who) grants() (grants []access.Grant) {
	for _, p := range w.holds {
		grants = append(
			grants, access.Grant{Permission: p, Organization: w.site.organization, Template: w.site.template, Group: w.site.group},
		)
	}
	return grants
}

// everyRole is every role at every site, and the permissions that there are.
func everyRole(t *testing.T) (all []who, permissions []access.Permission) {
	t.Helper()
	text, err := os.ReadFile("../store/access/testdata/rights.txt")
	if err != nil {
		t.Fatal(err)
	}
	holds := map[string]map[string][]access.Permission{} // by role and level
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] == "#":
		case fields[0] == "role":
			for _, name := range fields[2:] {
				permissions = append(permissions, access.Permission(name))
			}
		default:
			levels := holds[fields[0]]
			if levels == nil {
				levels = map[string][]access.Permission{}
				holds[fields[0]] = levels
			}
			levels[fields[1]] = []access.Permission{}
			for i, cell := range fields[2:] {
				if cell != "-" {
					levels[fields[1]] = append(levels[fields[1]], permissions[i])
				}
			}
		}
	}
	for role, levels := range holds {
		for _, at := range sites {
			held, binds := levels[at.level]
			slices.Sort(held)
			all = append(all, who{strings.TrimSuffix(role+"@"+at.name, "@"), access.Role(role), at, held, binds})
		}
	}
	slices.SortFunc(all, func(a, b who) int { return strings.Compare(a.name, b.name) })
	return all, permissions
}

// Everything that the table names exists.
func TestMatrixNamesWhatExists(t *testing.T) {
	t.Parallel()
	all, permissions := everyRole(t)
	known := []string{"everyone", "anyone", "agent-of-a2", "agent-of-b1"}
	for _, w := range all {
		if w.binds {
			known = append(known, w.name)
		}
	}
	for _, p := range permissions {
		known = append(known, string(p)+"@A")
	}
	for rpc, s := range readMatrix(t) {
		if len(s.about) == 0 || s.refused != forbidden && s.refused != notFound || len(s.rows) == 0 {
			t.Errorf("%s: section without a part: %v", rpc, s)
		}
		for name, r := range s.rows {
			if !slices.Contains(known, name) {
				t.Errorf("%s: %s is no one", rpc, name)
			}
			for _, about := range r.about {
				if about != "all" && !slices.Contains(s.about, about) {
					t.Errorf("%s: %s about %s, which it cannot be asked", rpc, name, about)
				}
			}
			if !slices.Contains([]outcome{"", forbidden, notFound, rejected}, r.rest) {
				t.Errorf("%s: %s else %s", rpc, name, r.rest)
			}
		}
	}
}

// rbac are the cases of the contract that say who may ask what.
type rbac struct {
	Subjects []struct {
		Name, Role   string
		Organization string
		ACL          map[string]string `json:"template_acl"`
	}
	Cases []struct {
		Subject, Endpoint, Case string
		TemplateIDs             []string `json:"template_ids"`
		Status                  int
		Answers                 []string `json:"answers_for_templates"`
	}
}

// contractRPCs are the RPCs behind the routes of the contract's cases.
var contractRPCs = map[string]string{
	"/api/v2/insights/templates": "GetTemplateInsights", "/api/v2/insights/user-activity": "GetUserActivity",
	"/api/v2/insights/user-latency": "GetUserLatency", "/api/v2/insights/daus": "GetDeploymentDAUs",
	"/api/v2/insights/user-status-counts": "GetUserStatusCounts",
}

// contractOutcomes are the statuses of the contract's cases.
var contractOutcomes = map[int]outcome{200: allowed, 403: forbidden, 404: notFound}

// The table says what the contract says, case by case.
func TestMatrixFollowsContract(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/contract/rbac.json")
	if err != nil {
		t.Fatal(err)
	}
	var v rbac
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	m := readMatrix(t)
	names := map[string]string{}
	for _, s := range v.Subjects {
		// The custom role among them is the single permission; "use" of a template gives nothing.
		name := strings.ReplaceAll(strings.NewReplacer("org_", "organization-", "custom", "view-insights").Replace(s.Role), "_", "-")
		if s.Organization != "" && s.Role != "member" {
			name += "@" + strings.TrimPrefix(s.Organization, "org")
		}
		for template, level := range s.ACL {
			if level == "admin" {
				name = "template-admin@" + servertest.ContractTemplates[template]
			}
		}
		names[s.Name] = name
	}
	for _, c := range v.Cases {
		var named []string
		for _, id := range c.TemplateIDs {
			named = append(named, servertest.ContractTemplates[id])
		}
		about := strings.Join(named, "+")
		switch about {
		case "":
			about = "none"
		case "a1+b1":
			about = "mixed"
		}
		if got, _ := m[contractRPCs[c.Endpoint]].want(names[c.Subject], about); got != contractOutcomes[c.Status] || got == "" {
			t.Errorf("%s asks %s, %s: the table says %s, the contract %d", c.Subject, c.Endpoint, c.Case, got, c.Status)
		}
		if len(c.Answers) == 0 {
			continue
		}
		var answers []string
		for _, id := range c.Answers {
			answers = append(answers, servertest.ContractTemplates[id])
		}
		// the contract has no such
		sees := slices.DeleteFunc(m.sees(names[c.Subject]), func(template string) bool { return template == "gone" })
		if !slices.Equal(sees, answers) {
			t.Errorf("%s asks %s, %s: the table answers for %v, the contract for %v", c.Subject, c.Endpoint, c.Case, sees, answers)
		}
	}
	t.Logf("%d cases of the contract", len(v.Cases))
}
