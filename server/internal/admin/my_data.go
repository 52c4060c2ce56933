package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/label"
)

const (
	maxMyEvents = 1000 // of each kind in an answer
	auditBatch  = 1000 // events that are read at a time
)

// viewingActions are the questions whose answers name users: those that are audited, whether they left as a file or not.
var viewingActions = func() (actions []string) {
	methods := insightsv1.File_insights_v1_insights_proto.Services().ByName("InsightsService").Methods()
	for i := range methods.Len() {
		if r, err := guard.ReadRule(methods.Get(i)); err == nil && r.Audit {
			name := string(methods.Get(i).Name())
			actions = append(actions, name, name+store.AuditAsFile)
		}
	}
	return actions
}()

// GetMyData implements [insightsv1.PrivacyServiceServer].
func (p *Privacy) GetMyData(ctx context.Context, _ *insightsv1.GetMyDataRequest) (*insightsv1.GetMyDataResponse, error) {
	caller := call.PrincipalOf(ctx)
	if caller.Kind != access.KindUser {
		return nil, access.ErrForbidden
	}
	ctx, cancel := context.WithTimeout(ctx, insights.QuestionDeadline)
	defer cancel()
	d, err := p.store.MyData(ctx, caller.ID)
	if err != nil {
		return nil, err
	}
	answer := &insightsv1.GetMyDataResponse{User: &insightsv1.User{
		Id: d.User.ID.String(), Username: d.User.Username, AvatarUrl: d.User.AvatarURL, Kind: d.User.Kind, Status: d.User.Status,
		OrganizationIds: call.Texts(d.User.OrganizationIDs), CreatedAt: call.Timestamp(d.User.CreatedAt),
		DeletedAt: call.Timestamp(d.User.DeletedAt),
	}}
	for _, u := range d.Usage {
		answer.Usage = append(answer.Usage, &insightsv1.MyUsage{
			Date: u.Day.Format(time.DateOnly), TemplateId: call.OptionalID(u.Template), App: u.App, Seconds: 60 * u.Minutes,
			WorkspaceIds: call.Texts(u.At),
		})
	}
	for _, l := range d.Latency {
		answer.Latency = append(answer.Latency, &insightsv1.MyLatency{
			Date: l.Day.Format(time.DateOnly), TemplateId: l.Template.String(), LatencyMs: insights.ConnectionLatency(l.Latency),
			WorkspaceIds: call.Texts(l.At),
		})
	}
	for _, r := range d.Regions {
		answer.Regions = append(answer.Regions, &insightsv1.MyRegion{
			At: timestamppb.New(r.At), WorkspaceId: r.Workspace.String(), Region: r.Region,
		})
	}
	for _, c := range d.StatusChanges {
		answer.StatusChanges = append(answer.StatusChanges, &insightsv1.MyStatusChange{At: timestamppb.New(c.At.Time), Status: c.Status})
	}
	for _, w := range d.Workspaces {
		answer.Workspaces = append(answer.Workspaces, &insightsv1.Workspace{
			Id: w.ID.String(), OwnerId: w.OwnerID.String(), TemplateId: w.TemplateID.String(), Name: w.Name,
			CreatedAt: call.Timestamp(w.CreatedAt), DeletedAt: call.Timestamp(w.DeletedAt), Purpose: w.Purpose,
			TtlSeconds: w.TTLSeconds,
		})
	}
	for _, b := range d.Builds {
		answer.Builds = append(answer.Builds, buildMessage(b))
	}
	for _, t := range d.Tokens {
		answer.Tokens = append(answer.Tokens, tokenMessage(t))
	}
	for _, g := range d.Groups {
		answer.Groups = append(answer.Groups, groupMessage(g))
	}
	for _, b := range d.RoleBindings {
		answer.RoleBindings = append(answer.RoleBindings, bindingMessage(b))
	}
	if answer.Viewers, err = p.viewers(ctx, d); err != nil {
		return nil, err
	}
	answer.Actions, err = p.trail(
		ctx, store.AuditFilter{PrincipalKind: caller.Kind, PrincipalID: caller.ID},
		func(store.AuditEvent) (bool, error) { return true, nil },
	)
	return answer, err
}

func groupMessage(g store.Group) *insightsv1.Group {
	m := &insightsv1.Group{Id: g.ID.String(), OrganizationId: g.OrganizationID.String(), Name: g.Name, Everyone: g.Everyone}
	for _, p := range g.Members {
		m.Members = append(m.Members, &insightsv1.GroupMember{
			UserId: p.UserID.String(), From: call.Timestamp(p.FromAt), To: call.Timestamp(p.ToAt),
		})
	}
	return m
}

func buildMessage(b store.Build) *insightsv1.Build {
	m := &insightsv1.Build{
		Id: b.ID.String(), WorkspaceId: b.WorkspaceID.String(), TemplateVersionId: b.TemplateVersionID.String(), Number: b.Number,
		Transition: b.Transition, Status: b.Status, CreatedAt: call.Timestamp(b.CreatedAt), StartedAt: call.Timestamp(b.StartedAt),
		FinishedAt: call.Timestamp(b.FinishedAt), Reason: b.Reason, InitiatorKind: b.InitiatorKind, Preset: b.Preset, Prebuild: b.Prebuild,
		DailyCost: b.DailyCost, InstanceTypes: b.InstanceTypes,
	}
	for _, p := range b.Parameters {
		m.Parameters = append(m.Parameters, &insightsv1.BuildParameter{Name: p.Name, Value: p.Value})
	}
	return m
}

// trail reads the newest events of the audit trail that a condition chooses.
func (p *Privacy) trail(
	ctx context.Context, f store.AuditFilter, chosen func(store.AuditEvent) (bool, error),
) (events []*insightsv1.AuditEvent, err error) {
	f.Limit = auditBatch
	for {
		batch, err := p.store.AuditEvents(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, e := range batch {
			if ok, err := chosen(e); err != nil || !ok {
				if err != nil {
					return nil, err
				}
				continue
			}
			if events = append(events, auditMessage(e)); len(events) == maxMyEvents {
				return events, nil
			}
		}
		if len(batch) < auditBatch {
			return events, nil
		}
		f.Before = &batch[len(batch)-1]
	}
}

// viewers are the questions of others whose answers may have named a user: of those who may see the user's templates, when and
// about which time. What else they asked for may be none of the user's business.
func (p *Privacy) viewers(ctx context.Context, d store.MyData) ([]*insightsv1.AuditEvent, error) {
	used := map[uuid.UUID]bool{}
	for _, u := range d.Usage {
		used[u.Template] = true
	}
	organizations, err := p.store.OrganizationsOf(ctx, slices.Collect(maps.Keys(used)))
	if err != nil || len(used) == 0 {
		return nil, err
	}
	type viewer struct {
		kind access.Kind
		id   uuid.UUID
	}
	seen := map[viewer]access.Scope{} // of the user's templates
	events, err := p.trail(ctx, store.AuditFilter{Actions: viewingActions}, func(e store.AuditEvent) (bool, error) {
		if e.PrincipalKind == access.KindUser && e.PrincipalID == d.User.ID {
			return false, nil
		}
		v := viewer{e.PrincipalKind, e.PrincipalID}
		scope, known := seen[v]
		if !known {
			held, err := p.store.Holding(ctx, v.kind, v.id)
			if err != nil {
				return false, err
			}
			scope, err = access.Templates(held, access.ViewInsights, nil, organizations)
			if err != nil && !errors.Is(err, access.ErrNotFound) {
				return false, err
			}
			seen[v] = scope
		}
		return viewedOf(e).mayShow(d, scope), nil
	})
	for _, e := range events {
		e.Target = viewedOf(store.AuditEvent{Target: e.GetTarget()}).times()
	}
	return events, err
}

// viewed is what the audit trail keeps of a question about users.
type viewed struct {
	whole       bool     // otherwise it was cut off, and nobody knows what else it said
	TemplateIDs []string `json:"template_ids"`
	StartTime   string   `json:"start_time"`
	EndTime     string   `json:"end_time"`
	Start       string   `json:"start"`
	End         string   `json:"end"`
	Search      string   `json:"search"`
}

func viewedOf(e store.AuditEvent) (q viewed) {
	q.whole = json.Unmarshal([]byte(e.Target), &q) == nil
	return q
}

// times is the window of the question as text.
func (q viewed) times() string {
	if !q.whole {
		return ""
	}
	return cmp.Or(q.StartTime, q.Start) + "/" + cmp.Or(q.EndTime, q.End)
}

// mayShow reports whether the answer to the question, asked within a scope, may have named a user: in doubt it has.
func (q viewed) mayShow(d store.MyData, scope access.Scope) bool {
	if !label.Contains(d.User.Username, q.Search) {
		return false
	}
	start, noStart := time.Parse(time.RFC3339, cmp.Or(q.StartTime, q.Start))
	end, noEnd := time.Parse(time.RFC3339, cmp.Or(q.EndTime, q.End))
	return slices.ContainsFunc(d.Usage, func(u store.MyUsage) bool {
		asked := len(q.TemplateIDs) == 0 ||
			slices.ContainsFunc(q.TemplateIDs, func(id string) bool { return strings.EqualFold(id, u.Template.String()) })
		return asked && scope.Contains(u.Template) && (noStart != nil || u.Day.AddDate(0, 0, 1).After(start)) &&
			(noEnd != nil || u.Day.Before(end))
	})
}
