package server

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Limits of what one build may carry.
const (
	maxBuildParameters = 256
	maxParameterBytes  = 8 << 10
)

var (
	transitions   = []string{"start", "stop", "delete"}
	buildStatuses = []string{"pending", "running", "succeeded", "failed", "canceling", "canceled"}
	userStatuses  = []string{"active", "dormant", "suspended"}
)

// eventBatch is what the events of one request come to.
type eventBatch struct {
	logins   []item
	builds   []store.Build
	statuses []store.UserStatusChange
	rejected []*insightsv1.Rejection
}

// ReportEvents implements [insightsv1.IngestServiceServer].
func (g *ingest) ReportEvents(ctx context.Context, req *insightsv1.ReportEventsRequest) (*insightsv1.ReportEventsResponse, error) {
	known, err := g.eventParents(ctx, req.GetEvents())
	if err != nil {
		return nil, err
	}
	var batch eventBatch
	caller, l := principalOf(ctx), g.limits(true)
	for i, event := range req.GetEvents() {
		rejected, err := g.takeEvent(ctx, &batch, i, event, caller, known, l)
		if err != nil {
			return nil, err
		}
		if rejected != nil {
			batch.rejected = append(batch.rejected, g.reject("events", i, rejected))
		}
	}
	for i, m := range req.GetMetrics() {
		batch.rejected = append(batch.rejected, g.reject("metrics", i, invalidItem("name: family %q is not taken", m.GetName())))
	}
	if g.config.UsageStats {
		if err := g.store.RecordBuilds(ctx, batch.builds); err != nil {
			return nil, err
		}
	}
	if err := g.store.RecordStatusChanges(ctx, batch.statuses); err != nil {
		return nil, err
	}
	refused, err := g.commitAll(ctx, batch.logins)
	if err != nil {
		return nil, err
	}
	rejected := append(batch.rejected, refused...)
	items := len(req.GetEvents()) + len(req.GetMetrics())
	return &insightsv1.ReportEventsResponse{Acknowledged: uint32(items - len(rejected)), Rejected: rejected}, nil
}

// takeEvent checks one event and adds it to the batch.
func (g *ingest) takeEvent(ctx context.Context, b *eventBatch, i int, e *insightsv1.Event, caller access.Principal, known eventParents, l limits) (*rejection, error) {
	at, err := parseTime(e.GetAt())
	if err != nil {
		return invalidItem("at: %v", err), nil
	}
	if rejected := l.check("at", at); rejected != nil {
		return rejected, nil
	}
	switch kind := e.GetKind().(type) {
	case *insightsv1.Event_Login:
		user, rejected := known.user(caller, "login.user_id", kind.Login.GetUserId())
		if rejected != nil {
			return rejected, nil
		}
		subject, found, err := g.directory.Subject(ctx, user)
		if err != nil {
			return nil, err
		}
		if !found {
			return unknownItem("user", user), nil
		}
		minutes := at.Unix() / 60
		b.logins = append(b.logins, item{"events", i, appendRows(nil, uuid.Nil, minute.Row{Subject: subject, Kind: minute.Login}, minutes, minutes)})
	case *insightsv1.Event_Build:
		build, rejected := known.build(caller, kind.Build)
		if rejected != nil {
			return rejected, nil
		}
		b.builds = append(b.builds, build)
	case *insightsv1.Event_UserStatus:
		user, rejected := known.user(caller, "user_status.user_id", kind.UserStatus.GetUserId())
		if rejected != nil {
			return rejected, nil
		}
		if !slices.Contains(userStatuses, kind.UserStatus.GetStatus()) {
			return invalidItem("user_status.status: must be one of %v", userStatuses), nil
		}
		b.statuses = append(b.statuses, store.UserStatusChange{UserID: user, At: store.At(at), Status: kind.UserStatus.GetStatus()})
	default:
		return invalidItem("kind: this kind of event is not taken"), nil
	}
	return nil, nil
}

// eventParents is what the catalog knows of everything that the events of a request name.
type eventParents struct {
	users         map[uuid.UUID][]uuid.UUID // to organizations
	workspaces    map[uuid.UUID]uuid.UUID   // to template
	versions      map[uuid.UUID]uuid.UUID   // to template
	builds        map[uuid.UUID]uuid.UUID   // to workspace
	organizations map[uuid.UUID]uuid.UUID   // of templates
}

// eventParents reads it in one go. Ids that are no ids are found out later, event by event.
func (g *ingest) eventParents(ctx context.Context, events []*insightsv1.Event) (known eventParents, err error) {
	var users, workspaces, versions, builds []uuid.UUID
	add := func(list *[]uuid.UUID, text string) {
		if id, err := parseID(text); err == nil {
			*list = append(*list, id)
		}
	}
	for _, e := range events {
		add(&users, e.GetLogin().GetUserId())
		add(&users, e.GetUserStatus().GetUserId())
		add(&workspaces, e.GetBuild().GetWorkspaceId())
		add(&versions, e.GetBuild().GetTemplateVersionId())
		add(&builds, e.GetBuild().GetId())
	}
	if known.users, err = g.store.UserOrganizations(ctx, users); err != nil {
		return known, err
	}
	if known.workspaces, err = g.store.WorkspaceTemplates(ctx, workspaces); err != nil {
		return known, err
	}
	if known.versions, err = g.store.VersionTemplates(ctx, versions); err != nil {
		return known, err
	}
	if known.builds, err = g.store.BuildWorkspaces(ctx, builds); err != nil {
		return known, err
	}
	templates := slices.AppendSeq(slices.Collect(maps.Values(known.workspaces)), maps.Values(known.versions))
	if len(templates) > 0 {
		known.organizations, err = g.store.OrganizationsOf(ctx, templates)
	}
	return known, err
}

// user finds a user within the caller's grant.
func (k eventParents) user(caller access.Principal, field, text string) (uuid.UUID, *rejection) {
	id, err := parseID(text)
	if err != nil {
		return id, invalidItem("%s: %v", field, err)
	}
	organizations, known := k.users[id]
	if !known || !caller.HoldsInAny(access.IngestAny, organizations) {
		return id, unknownItem("user", id)
	}
	return id, nil
}

// build checks a build against the rules of the contract, the catalog and the caller's grant.
func (k eventParents) build(caller access.Principal, m *insightsv1.Build) (store.Build, *rejection) {
	var b store.Build
	var err error
	for _, id := range []struct {
		field, text string
		to          *uuid.UUID
	}{
		{"id", m.GetId(), &b.ID}, {"workspace_id", m.GetWorkspaceId(), &b.WorkspaceID}, {"template_version_id", m.GetTemplateVersionId(), &b.TemplateVersionID},
	} {
		if *id.to, err = parseID(id.text); err != nil {
			return b, invalidItem("build.%s: %v", id.field, err)
		}
	}
	template, known := k.workspaces[b.WorkspaceID]
	if !known || !caller.HoldsIn(access.IngestAny, k.organizations[template]) {
		return b, unknownItem("workspace", b.WorkspaceID)
	}
	of, known := k.versions[b.TemplateVersionID]
	if !known || !caller.HoldsIn(access.IngestAny, k.organizations[of]) {
		return b, unknownItem("template version", b.TemplateVersionID)
	}
	if of != template {
		return b, invalidItem("build.template_version_id: %s belongs to another template than the workspace", b.TemplateVersionID)
	}
	if of, known := k.builds[b.ID]; known && of != b.WorkspaceID {
		return b, invalidItem("build.id: it is that of a build of another workspace")
	}
	b.TemplateID, b.Number, b.Transition, b.Status = template, m.GetNumber(), m.GetTransition(), m.GetStatus()
	switch {
	case b.Number < 1:
		return b, invalidItem("build.number: must be 1 or more")
	case !slices.Contains(transitions, b.Transition):
		return b, invalidItem("build.transition: must be one of %v", transitions)
	case !slices.Contains(buildStatuses, b.Status):
		return b, invalidItem("build.status: must be one of %v", buildStatuses)
	}
	if rejected := buildTimes(&b, m); rejected != nil {
		return b, rejected
	}
	if len(m.GetParameters()) > maxBuildParameters {
		return b, invalidItem("build.parameters: %d, at most %d", len(m.GetParameters()), maxBuildParameters)
	}
	for _, p := range m.GetParameters() {
		if err := checkText(p.GetName()); err != nil || p.GetName() == "" {
			return b, invalidItem("build.parameters.name: want 1 to %d bytes without control characters", maxStringBytes)
		}
		if len(p.GetValue()) > maxParameterBytes {
			return b, invalidItem("build.parameters.value: %d bytes, at most %d", len(p.GetValue()), maxParameterBytes)
		}
		b.Parameters = append(b.Parameters, store.BuildParameter{Name: p.GetName(), Value: p.GetValue()})
	}
	return b, nil
}

func buildTimes(b *store.Build, m *insightsv1.Build) *rejection {
	created, err := parseTime(m.GetCreatedAt())
	if err != nil {
		return invalidItem("build.created_at: %v", err)
	}
	b.CreatedAt = store.At(created)
	for _, t := range []struct {
		field string
		from  *timestamppb.Timestamp
		to    *store.Instant
	}{{"started_at", m.GetStartedAt(), &b.StartedAt}, {"finished_at", m.GetFinishedAt(), &b.FinishedAt}} {
		if t.from == nil {
			continue
		}
		var at time.Time
		if at, err = parseTime(t.from); err != nil {
			return invalidItem("build.%s: %v", t.field, err)
		}
		*t.to = store.At(at)
	}
	return nil
}
