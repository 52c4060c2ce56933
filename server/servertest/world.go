package servertest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Thing is what the table names: a template with what belongs to it, or an organization alone.
type Thing struct {
	Organization, Template, Version, Workspace, Agent uuid.UUID
	token                                             string // id of a token of the agent
}

// World is two organizations in a server: A with the templates a1, a2 and gone, which is deleted, and B with b1. To each template
// belong a version, a workspace, an agent and a token. "unknown" is what nobody ever heard of.
type World struct {
	server       *Server
	ControlPlane string // a token
	owner        string // of all workspaces: a user's id
	Things       map[string]Thing
}

// NewWorld puts a world into a server.
func NewWorld(t testing.TB, s *Server) *World {
	t.Helper()
	w := &World{server: s, owner: uuid.NewString(), Things: map[string]Thing{
		"A": {Organization: OrganizationA}, "B": {Organization: OrganizationB},
	}}
	w.ControlPlane = s.Token(t, access.RoleControlPlane, Everywhere)
	change := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: OrganizationA.String(), Name: "A"}, {Id: OrganizationB.String(), Name: "B"}},
		Users: []*insightsv1.User{
			{Id: w.owner, Username: "ann", OrganizationIds: call.Texts([]uuid.UUID{OrganizationA, OrganizationB})},
		},
	}
	contract := map[string]string{"gone": uuid.NewString()}
	for id, name := range ContractTemplates {
		contract[name] = id
	}
	for name, id := range contract {
		x := Thing{OrganizationA, uuid.MustParse(id), uuid.New(), uuid.New(), uuid.New(), access.NewToken().ID()}
		switch name {
		case "b1":
			x.Organization = OrganizationB
		case "unknown":
			x.Organization = uuid.New()
			w.Things[name] = x
			continue
		}
		change.Templates = append(change.Templates, &insightsv1.Template{Id: id, OrganizationId: x.Organization.String(), Name: name})
		change.TemplateVersions = append(change.TemplateVersions, w.version(x))
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: x.Workspace.String(), OwnerId: w.owner, TemplateId: id, Name: name,
		})
		change.Agents = append(change.Agents, &insightsv1.Agent{Id: x.Agent.String(), WorkspaceId: x.Workspace.String(), Name: "main"})
		x.token = s.Issue(t, store.Token{PrincipalKind: access.KindAgent, PrincipalID: x.Agent}).ID()
		w.Things[name] = x
	}
	s.Apply(t, w.ControlPlane, change)
	s.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{Templates: []string{contract["gone"]}}})
	var reports []*insightsv1.AgentReport
	for _, name := range []string{"a1", "a2", "gone", "b1"} {
		reports = append(reports, Used(w.Things[name], storetest.Now.Add(-24*time.Hour), 1))
	}
	s.ReportStats(t, w.ControlPlane, reports)
	return w
}

// Used is a report of a minute in which the agent of a thing was used over SSH.
func Used(x Thing, at time.Time, sequence int) *insightsv1.AgentReport {
	return &insightsv1.AgentReport{
		AgentId: x.Agent.String(), Sequence: uint64(sequence), CollectedAt: timestamppb.New(at), ConnectionCount: 1,
		ConnectionMedianLatencyMs: 5, SessionCounts: map[string]int64{"ssh": 1},
	}
}

// templateIDs are the templates of things.
func templatesOf(about []Thing) (ids []string) {
	for _, x := range about {
		ids = append(ids, x.Template.String())
	}
	return ids
}

// organizationOf is the organization of the first of things, if there is one.
func organizationOf(about []Thing) string {
	if len(about) == 0 {
		return ""
	}
	return about[0].Organization.String()
}

// Ids of a world, as the contract's cases have them.
var (
	OrganizationA = uuid.MustParse("00000000-0000-0000-0000-00000000000a")
	OrganizationB = uuid.MustParse("00000000-0000-0000-0000-00000000000b")
	TemplateA1    = uuid.MustParse("00000000-0000-0000-0000-000000000011")
)

// ContractTemplates are the templates of the contract's cases.
var ContractTemplates = map[string]string{
	TemplateA1.String(): "a1", "00000000-0000-0000-0000-000000000012": "a2", "00000000-0000-0000-0000-000000000021": "b1",
	"00000000-0000-0000-0000-000000000099": "unknown",
}

func (w *World) version(x Thing) *insightsv1.TemplateVersion {
	return &insightsv1.TemplateVersion{Id: x.Version.String(), TemplateId: x.Template.String(), Name: "v1"}
}

// About are the things that a scope of the table names.
func (w *World) About(scope string) []Thing {
	switch scope {
	case "none":
		return nil
	case "mixed":
		return []Thing{w.Things["a1"], w.Things["b1"]}
	default:
		return []Thing{w.Things[scope]}
	}
}

// Request is a valid request of an RPC about some things. An RPC that is not among the calls fails the test.
func (w *World) Request(t testing.TB, rpc string, about []Thing) proto.Message {
	t.Helper()
	makeRequest, known := Calls[rpc]
	if !known {
		t.Fatalf("no call for %s: add one", rpc)
	}
	return makeRequest(t, w, about)
}
