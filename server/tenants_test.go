package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// itemIDs has the id of one thing of each kind in an organization.
type itemIDs struct{ organization, template, version, user, group, workspace, agent, build, job string }

func newItemIDs() itemIDs {
	id := uuid.NewString
	return itemIDs{id(), id(), id(), id(), id(), id(), id(), id(), id()}
}

func (x itemIDs) catalog(name string) *insightsv1.ApplyCatalogRequest {
	return &insightsv1.ApplyCatalogRequest{
		Organizations:    []*insightsv1.Organization{{Id: x.organization, Name: name}},
		Templates:        []*insightsv1.Template{{Id: x.template, OrganizationId: x.organization, Name: name}},
		TemplateVersions: []*insightsv1.TemplateVersion{{Id: x.version, TemplateId: x.template, Name: name}},
		Users:            []*insightsv1.User{{Id: x.user, Username: name, OrganizationIds: []string{x.organization}}},
		Groups:           []*insightsv1.Group{{Id: x.group, OrganizationId: x.organization, Name: name, UserIds: []string{x.user}}},
		Workspaces:       []*insightsv1.Workspace{{Id: x.workspace, OwnerId: x.user, TemplateId: x.template, Name: name}},
		Agents:           []*insightsv1.Agent{{Id: x.agent, WorkspaceId: x.workspace, Name: name}},
		Apps:             []*insightsv1.App{{AgentId: x.agent, Slug: name}},
	}
}

// happened tells of a build and a job; the id of one is enough to tell of it.
func (x itemIDs) happened() []*insightsv1.Event {
	at := ago(time.Minute)
	return []*insightsv1.Event{
		{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: x.build, WorkspaceId: x.workspace, TemplateVersionId: x.version, Number: 1, Transition: "start", Status: "succeeded",
			CreatedAt: at,
		}}},
		{At: at, Kind: &insightsv1.Event_Job{Job: &insightsv1.JobEvent{
			Id: x.job, OrganizationId: x.organization, Provisioner: "terraform", Type: "workspace_build", Status: "running", CreatedAt: at,
		}}},
	}
}

func catalog(change func(*insightsv1.ApplyCatalogRequest)) *insightsv1.ApplyCatalogRequest {
	req := &insightsv1.ApplyCatalogRequest{Deleted: &insightsv1.DeletedItems{}}
	change(req)
	return req
}

func events(list ...*insightsv1.Event) *insightsv1.ReportEventsRequest {
	return &insightsv1.ReportEventsRequest{Events: list}
}

// mentions are requests of who has one organization, by RPC and by what of x is mentioned in them.
var mentions = map[string]map[string]func(own, x itemIDs) proto.Message{
	"ApplyCatalog": {
		"organization": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Organizations = x.catalog("mine").Organizations })
		},
		"organization of a template": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Templates = x.catalog("mine").Templates })
		},
		"template of a version": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.TemplateVersions = x.catalog("mine").TemplateVersions })
		},
		"organization of a user": func(own, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Users = x.catalog("mine").Users
				c.Users[0].OrganizationIds = append(c.Users[0].OrganizationIds, own.organization)
			})
		},
		"organization of a group": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Groups = x.catalog("mine").Groups })
		},
		"member of a group": func(own, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Groups = own.catalog("mine").Groups
				c.Groups[0].UserIds = append(c.Groups[0].UserIds, x.user)
			})
		},
		"member of a group before": func(own, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Groups = own.catalog("mine").Groups
				c.Groups[0].UserIds = nil
				c.Groups[0].Members = []*insightsv1.GroupMember{{UserId: x.user, To: timestamppb.New(storetest.Now)}}
			})
		},
		"template of a workspace": func(own, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Workspaces = x.catalog("mine").Workspaces
				c.Workspaces[0].OwnerId = own.user
			})
		},
		"owner of a workspace": func(own, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Workspaces = own.catalog("mine").Workspaces
				c.Workspaces[0].OwnerId = x.user
			})
		},
		"workspace of an agent": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Agents = x.catalog("mine").Agents })
		},
		"agent of an app": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Apps = x.catalog("mine").Apps })
		},
		"everything": func(_, x itemIDs) proto.Message { return x.catalog("mine") },
		"deleted": func(_, x itemIDs) proto.Message {
			return catalog(func(c *insightsv1.ApplyCatalogRequest) {
				c.Deleted = &insightsv1.DeletedItems{
					Templates: []string{x.template}, Users: []string{x.user}, Workspaces: []string{x.workspace},
					Agents: []string{x.agent}, Groups: []string{x.group},
				}
			})
		},
	},
	"ReportEvents": {
		"user of a login": func(_, x itemIDs) proto.Message {
			return events(&insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: x.user}}})
		},
		"user of a status": func(_, x itemIDs) proto.Message {
			return events(&insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_UserStatus{
				UserStatus: &insightsv1.UserStatusEvent{UserId: x.user, Status: "dormant"},
			}})
		},
		"build and job": func(_, x itemIDs) proto.Message { return events(x.happened()...) },
		"version of a build": func(own, x itemIDs) proto.Message {
			own.version, own.build = x.version, uuid.NewString()
			return events(own.happened()[0])
		},
		"agent": func(_, x itemIDs) proto.Message {
			return events(&insightsv1.Event{At: ago(0), Kind: &insightsv1.Event_Agent{
				Agent: &insightsv1.AgentEvent{AgentId: x.agent, Status: "connected", LifecycleState: "ready"},
			}})
		},
	},
	"ReportStats": {"agent": func(_, x itemIDs) proto.Message {
		return &insightsv1.ReportStatsRequest{Reports: []*insightsv1.AgentReport{{AgentId: x.agent, CollectedAt: ago(0)}}}
	}},
	"StreamStats": {"agent": func(_, x itemIDs) proto.Message {
		return &insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{{AgentId: x.agent, CollectedAt: ago(0), Sequence: 1}}}
	}},
	"ReportAppSessions": {
		"agent":   func(own, x itemIDs) proto.Message { return session(x.agent, own.user) },
		"visitor": func(own, x itemIDs) proto.Message { return session(own.agent, x.user) },
	},
	"CreateAgentTokens": {"agent": func(_, x itemIDs) proto.Message {
		return &insightsv1.CreateAgentTokensRequest{AgentIds: []string{x.agent}}
	}},
}

func session(agent, user string) *insightsv1.ReportAppSessionsRequest {
	return &insightsv1.ReportAppSessionsRequest{Sessions: []*insightsv1.AppSession{{
		AgentId: agent, UserId: user, AccessMethod: "path", SlugOrPort: "wiki", StartedAt: ago(time.Minute), EndedAt: ago(0),
	}}}
}

// claims are requests that would make something of x one's own, by its kind.
var claims = map[string]func(own, x itemIDs) *insightsv1.ApplyCatalogRequest{
	"template": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.template = x.template
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Templates = own.catalog("mine").Templates })
	},
	"version": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.version = x.version
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.TemplateVersions = own.catalog("mine").TemplateVersions })
	},
	"user": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.user = x.user
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Users = own.catalog("mine").Users })
	},
	"group": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.group = x.group
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Groups = own.catalog("mine").Groups })
	},
	"workspace": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.workspace = x.workspace
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Workspaces = own.catalog("mine").Workspaces })
	},
	"agent": func(own, x itemIDs) *insightsv1.ApplyCatalogRequest {
		own.agent = x.agent
		return catalog(func(c *insightsv1.ApplyCatalogRequest) { c.Agents = own.catalog("mine").Agents })
	},
}

// tenants are two organizations of a server, and the control plane of the first.
type tenants struct {
	*running
	everywhere, confined string // tokens
	own, foreign         itemIDs
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	x := &tenants{running: run(t, storetest.SQLite(t), storetest.Now, nil), own: newItemIDs(), foreign: newItemIDs()}
	x.everywhere = x.Token(t, access.RoleControlPlane, servertest.Everywhere)
	x.confined = x.Token(t, access.RoleControlPlane, uuid.MustParse(x.own.organization))
	for name, of := range map[string]itemIDs{"own": x.own, "foreign": x.foreign} {
		x.Apply(t, x.everywhere, of.catalog(name))
		x.ReportEvents(t, x.everywhere, of.happened())
	}
	return x
}

// answer is what the confined control plane gets for a request, with the ids of x replaced by what they are the ids of.
func (r *tenants) answer(t *testing.T, method protoreflect.MethodDescriptor, request proto.Message, x itemIDs) string {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	answer := kind.New().Interface()
	ctx, name := servertest.As(t.Context(), r.confined), fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	if method.IsStreamingClient() {
		err = r.stream(ctx, request, answer)
	} else {
		err = r.Conn.Invoke(ctx, name, request, answer)
	}
	text := protojson.Format(answer)
	if err != nil {
		text = status.Convert(err).Proto().String()
	}
	return strings.NewReplacer(
		x.organization, "organization", x.template, "template", x.version, "version", x.user, "user", x.group, "group",
		x.workspace, "workspace", x.agent, "agent", x.build, "build", x.job, "job", " ", "",
	).Replace(text)
}

// stream sends reports and waits until they are settled.
func (r *tenants) stream(ctx context.Context, request, answer proto.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(request.(*insightsv1.StreamStatsRequest)); err != nil {
		return err
	}
	got := answer.(*insightsv1.StreamStatsResponse)
	for got.GetAcknowledgedSequence() == 0 {
		if err := stream.RecvMsg(got); err != nil {
			return err
		}
	}
	got.ReportInterval = nil // which is in the first answer of a stream, whatever that is
	return nil
}

// What another organization has is to a confined control plane as if it did not exist, whatever the call and wherever it stands there.
func TestForeignIsUnknown(t *testing.T) {
	t.Parallel()
	r := newTenants(t)
	named := map[string]bool{}
	for _, file := range []protoreflect.FileDescriptor{
		insightsv1.File_insights_v1_access_proto, insightsv1.File_insights_v1_catalog_proto, insightsv1.File_insights_v1_ingest_proto,
		insightsv1.File_insights_v1_insights_proto, insightsv1.File_insights_v1_privacy_proto,
		insightsv1.File_insights_v1_definitions_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for i := range methods.Len() {
				method := methods.Get(i)
				rule, err := guard.ReadRule(method)
				if err != nil {
					t.Fatal(err)
				}
				switch rule.Permission {
				case access.ApplyCatalog, access.Ingest, access.IngestAny:
				default:
					continue
				}
				name := string(method.Name())
				named[name] = true
				if len(mentions[name]) == 0 {
					t.Errorf("%s is missing here, which a control plane may call", name)
				}
				for what, request := range mentions[name] {
					unknown := newItemIDs()
					want := r.answer(t, method, request(r.own, unknown), unknown)
					if got := r.answer(t, method, request(r.own, r.foreign), r.foreign); got != want {
						t.Errorf("%s, %s: of another organization %s\nof nobody: %s", name, what, got, want)
					}
				}
			}
		}
	}
	for name := range mentions {
		if !named[name] {
			t.Errorf("%s is no RPC that a control plane may call", name)
		}
	}
	r.Apply(t, r.everywhere, r.foreign.catalog("foreign"))
}

// Who claims the id of something of another organization learns that it is not free, and neither whose it is nor what. It stays theirs,
// also if the claim is made for somebody who was erased.
func TestForeignIDsCannotBeClaimed(t *testing.T) {
	t.Parallel()
	r := newTenants(t)
	claim := func(of string, own itemIDs) {
		t.Helper()
		for what, request := range claims {
			req := request(own, r.foreign)
			answer := servertest.Must(t, insightsv1.NewCatalogServiceClient(r.Conn).ApplyCatalog, r.confined, req)
			if len(answer.GetRejected()) != 1 {
				t.Errorf("%s of %s: %v, want it to be rejected", what, of, answer)
			} else if got := answer.GetRejected()[0]; of == "itself" && (got.GetReason() != "id: is not free" || !got.GetPermanent()) {
				t.Errorf("%s of %s: %v", what, of, got)
			}
		}
	}
	claim("itself", r.own)
	erased := r.own
	erased.user, erased.workspace, erased.agent = uuid.NewString(), uuid.NewString(), uuid.NewString()
	r.Apply(t, r.confined, catalog(func(c *insightsv1.ApplyCatalogRequest) {
		all := erased.catalog("leaving")
		c.Users, c.Workspaces, c.Agents = all.Users, all.Workspaces, all.Agents
	}))
	servertest.Must(
		t, insightsv1.NewPrivacyServiceClient(r.Conn).EraseUser, r.Token(t, access.RoleOwner, servertest.Everywhere),
		&insightsv1.EraseUserRequest{UserId: erased.user},
	)
	claim("somebody who was erased", erased)
	r.Apply(t, r.everywhere, r.foreign.catalog("foreign"))
	r.ReportEvents(t, r.everywhere, r.foreign.happened())
}
