package servertest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Call makes a valid request of an RPC about some things of a world.
type Call func(t testing.TB, w *World, about []Thing) proto.Message

// callStart and callEnd are the window of questions: two weeks of days that are over.
const callStart, callEnd = "2023-08-01T00:00:00Z", "2023-08-15T00:00:00Z"

// Calls has a valid request of every RPC by its name. Where an RPC is about agents, workspaces, versions, tokens or role bindings, a
// template stands for the one of those that belongs to it. The calls of InsightsService need no server: an empty world makes them.
var Calls = map[string]Call{
	"GetTemplateInsights": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetTemplateInsightsRequest{
			StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about), Interval: "day",
		}
	},
	"ListTemplateUsage": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ListTemplateUsageRequest{
			StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about), PreviousStartTime: "2023-07-18T00:00:00Z",
			PreviousEndTime: callStart,
		}
	},
	"QueryUsage": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.QueryUsageRequest{
			StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about), Metrics: []string{"active_users"},
			Dimensions: []string{"interval"}, Interval: "day",
		}
	},
	"QueryValues": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.QueryValuesRequest{
			StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about), Dimension: "template",
		}
	},
	"GetUserActivity": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetUserActivityRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetUserLatency": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetUserLatencyRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetDiagnosis": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetDiagnosisRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetCapacityReport": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetCapacityReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetOptimizationReport": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetOptimizationReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetSupportReport": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetSupportReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetROIReport": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetROIReportRequest{StartTime: callStart, EndTime: callEnd, TemplateIds: templatesOf(about)}
	},
	"GetTemplateDAUs": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetTemplateDAUsRequest{TemplateId: strings.Join(templatesOf(about), "")}
	},
	"GetDeploymentDAUs": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetDeploymentDAUsRequest{}
	},
	"GetUserStatusCounts": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetUserStatusCountsRequest{}
	},
	"GetActivity": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetActivityRequest{Start: callStart, End: callEnd, Interval: "1 day", Org: organizationOf(about)}
	},
	"ListTemplates": func(t testing.TB, w *World, about []Thing) proto.Message {
		if len(about) == 0 {
			return &insightsv1.ListTemplatesRequest{}
		}
		return &insightsv1.ListTemplatesRequest{Organization: organizationOf(about), Q: proto.String("deleted:false")}
	},
	"GetTemplate": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetTemplateRequest{TemplateId: strings.Join(templatesOf(about), "")}
	},
	"ListOrganizations": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ListOrganizationsRequest{}
	},
	"GetDefinitions": func(testing.TB, *World, []Thing) proto.Message {
		return &insightsv1.GetDefinitionsRequest{}
	},
	"WhoAmI": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.WhoAmIRequest{}
	},
	"GetCurrentUser": func(testing.TB, *World, []Thing) proto.Message {
		return &insightsv1.GetCurrentUserRequest{}
	},
	"SignIn": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.SignInRequest{}
	},
	"SignOut": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.SignOutRequest{}
	},
	"CreateToken": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.CreateTokenRequest{Principal: &insightsv1.Principal{Kind: "agent", Id: about[0].Agent.String()}}
	},
	"RevokeToken": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.RevokeTokenRequest{TokenId: about[0].token}
	},
	"ListTokens": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ListTokensRequest{PageSize: 1}
	},
	"GrantRole": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GrantRoleRequest{
			Principal: &insightsv1.Principal{Kind: "user", Id: w.owner}, Role: "template-admin", TemplateId: templatesOf(about)[0],
		}
	},
	"RevokeRole": func(t testing.TB, w *World, about []Thing) proto.Message {
		binding := uuid.New()
		if about[0] != w.Things["unknown"] {
			binding = w.server.Grant(t, store.RoleBinding{
				PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleTemplateAdmin, TemplateID: about[0].Template,
			}).ID
		}
		return &insightsv1.RevokeRoleRequest{RoleBindingId: binding.String()}
	},
	"ListRoleBindings": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ListRoleBindingsRequest{PageSize: 1}
	},
	"ListAuditEvents": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ListAuditEventsRequest{PageSize: 1}
	},
	"CreateAgentTokens": func(t testing.TB, w *World, about []Thing) proto.Message {
		req := &insightsv1.CreateAgentTokensRequest{}
		for _, x := range about {
			req.AgentIds = append(req.AgentIds, x.Agent.String())
		}
		return req
	},
	"ApplyCatalog": func(t testing.TB, w *World, about []Thing) proto.Message {
		req := &insightsv1.ApplyCatalogRequest{}
		for _, x := range about {
			req.TemplateVersions = append(req.TemplateVersions, w.version(x))
		}
		return req
	},
	"ReportEvents": func(t testing.TB, w *World, about []Thing) proto.Message {
		req, now := &insightsv1.ReportEventsRequest{}, timestamppb.New(storetest.Now)
		for _, x := range about {
			req.Events = append(req.Events, &insightsv1.Event{At: now, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
				Id: x.Version.String(), WorkspaceId: x.Workspace.String(), TemplateVersionId: x.Version.String(), Number: 1,
				Transition: "start", Status: "succeeded", CreatedAt: timestamppb.New(storetest.Now),
			}}})
		}
		return req
	},
	"ReportStats": func(t testing.TB, w *World, about []Thing) proto.Message {
		var reports []*insightsv1.AgentReport
		for i, x := range about {
			reports = append(reports, Used(x, storetest.Now, i+1))
		}
		return &insightsv1.ReportStatsRequest{Reports: reports}
	},
	"StreamStats": func(t testing.TB, w *World, about []Thing) proto.Message {
		var reports []*insightsv1.AgentReport
		for i, x := range about {
			reports = append(reports, Used(x, storetest.Now, i+1))
		}
		return &insightsv1.StreamStatsRequest{Reports: reports}
	},
	"ReportAppSessions": func(t testing.TB, w *World, about []Thing) proto.Message {
		req := &insightsv1.ReportAppSessionsRequest{}
		for _, x := range about {
			req.Sessions = append(req.Sessions, &insightsv1.AppSession{
				AgentId: x.Agent.String(), UserId: w.owner, AccessMethod: "path", SlugOrPort: "wiki",
				StartedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), EndedAt: timestamppb.New(storetest.Now),
			})
		}
		return req
	},
	"SetPrivacyMode": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.SetPrivacyModeRequest{OrganizationId: organizationOf(about), Mode: "full"}
	},
	"GetPrivacyMode": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetPrivacyModeRequest{OrganizationId: organizationOf(about)}
	},
	"SetParameterRelease": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.SetParameterReleaseRequest{
			TemplateId: strings.Join(templatesOf(about), ""), ParameterName: versionParameter, Released: true,
		}
	},
	"ResolvePseudonym": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.ResolvePseudonymRequest{UserId: uuid.NewString()}
	},
	"EraseUser": func(t testing.TB, w *World, about []Thing) proto.Message {
		user := uuid.NewString()
		w.server.Apply(t, w.ControlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: user, Username: "leaving"}}})
		return &insightsv1.EraseUserRequest{UserId: user}
	},
	"GetMyData": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &insightsv1.GetMyDataRequest{}
	},
	"Check": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &grpc_health_v1.HealthCheckRequest{}
	},
	"Watch": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &grpc_health_v1.HealthCheckRequest{}
	},
	"List": func(t testing.TB, w *World, about []Thing) proto.Message {
		return &grpc_health_v1.HealthListRequest{}
	},
}
