package ingest

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Limits of what one build may carry.
const (
	maxBuildParameters = 256
	maxParameterBytes  = 8 << 10
	maxInstanceTypes   = 64
)

// Words that events hold. Builds are jobs, so both have the same statuses.
var (
	transitions     = []string{"start", "stop", "delete"}
	jobTypes        = []string{"template_version_import", "template_version_dry_run", "workspace_build"}
	agentStatuses   = []string{"connecting", "connected", "disconnected", "timeout"}
	lifecycleStates = []string{
		"created", "starting", "start_timeout", "start_error", "ready", "shutting_down", "shutdown_timeout", "shutdown_error", "off",
	}
	appHealths = []string{"disabled", "initializing", "healthy", "unhealthy"}
)

// buildReason is the form of the word for why a build was asked for. Words that are not known yet are kept, and nothing else fits in.
var buildReason = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// eventBatch is what one request comes to.
type eventBatch struct {
	logins     []item
	builds     []store.Build
	conditions []store.AgentCondition
	statuses   []store.UserStatusChange
	jobs       []store.Job
	series     []store.ControlPlaneSeries
	rejected   []*insightsv1.Rejection
}

// ReportEvents implements [insightsv1.IngestServiceServer].
func (g *Service) ReportEvents(ctx context.Context, req *insightsv1.ReportEventsRequest) (*insightsv1.ReportEventsResponse, error) {
	known, err := g.eventParents(ctx, req)
	if err != nil {
		return nil, err
	}
	var batch eventBatch
	caller, l := call.PrincipalOf(ctx), g.limits(true)
	for i, event := range req.GetEvents() {
		rejected, err := g.takeEvent(ctx, &batch, i, event, caller, known, l)
		if err != nil {
			return nil, err
		}
		if rejected != nil {
			batch.rejected = append(batch.rejected, g.reject("events", i, rejected))
		}
	}
	now := g.clock()
	for i, m := range req.GetMetrics() {
		series, rejected := known.series(caller, m, now)
		if rejected != nil {
			batch.rejected = append(batch.rejected, g.reject("metrics", i, rejected))
			continue
		}
		batch.series = append(batch.series, series)
	}
	for _, record := range []func() error{
		func() error { return g.store.RecordBuilds(ctx, batch.builds) },
		func() error { return g.store.RecordAgentConditions(ctx, batch.conditions) },
		func() error { return g.store.RecordStatusChanges(ctx, batch.statuses) },
		func() error { return g.store.RecordJobs(ctx, batch.jobs) },
		func() error {
			return g.store.RecordControlPlaneSeries(ctx, batch.series, now.Add(-exposition.SeriesLifetime))
		},
	} {
		if err := record(); err != nil {
			return nil, err
		}
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
func (g *Service) takeEvent(
	ctx context.Context, b *eventBatch, i int, e *insightsv1.Event, caller access.Principal, known eventParents, l limits,
) (*rejection, error) {
	at, err := call.ParseTime(e.GetAt())
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
		subject, found := known.visitors[store.Visit{User: user}]
		if !found {
			return g.unknown(ctx, "user", user)
		}
		if !g.stores(known.modes.OfUser(known.users[user])) {
			return nil, nil
		}
		minutes := at.Unix() / 60
		b.logins = append(b.logins, item{
			"events", i, appendRows(nil, uuid.Nil, minute.Row{Subject: subject, Kind: minute.Login}, minutes, minutes),
		})
	case *insightsv1.Event_Build:
		build, rejected := known.build(caller, kind.Build)
		if rejected != nil {
			return rejected, nil
		}
		if !g.stores(known.modes.Of(known.templates[build.TemplateID])) {
			return nil, nil
		}
		build.At = store.At(at)
		b.builds = append(b.builds, build)
	case *insightsv1.Event_Agent:
		condition, rejected := parseAgentEvent(kind.Agent)
		if rejected == nil {
			_, rejected, err = g.place(ctx, condition.AgentID, at, func(organization uuid.UUID) error {
				if !caller.HoldsIn(access.IngestAny, organization) {
					return access.ErrNotFound
				}
				return nil
			})
		}
		if rejected != nil || err != nil {
			return rejected, err
		}
		condition.At = store.At(at)
		b.conditions = append(b.conditions, condition)
	case *insightsv1.Event_UserStatus:
		user, rejected := known.user(caller, "user_status.user_id", kind.UserStatus.GetUserId())
		if rejected != nil {
			return rejected, nil
		}
		if !slices.Contains(store.UserStatuses, kind.UserStatus.GetStatus()) {
			return invalidItem("user_status.status: must be one of %v", store.UserStatuses), nil
		}
		b.statuses = append(b.statuses, store.UserStatusChange{UserID: user, At: store.At(at), Status: kind.UserStatus.GetStatus()})
	case *insightsv1.Event_Job:
		job, rejected := known.job(caller, kind.Job)
		if rejected != nil {
			return rejected, nil
		}
		job.At = store.At(at)
		b.jobs = append(b.jobs, job)
	default:
		return invalidItem("kind: this kind of event is not taken"), nil
	}
	return nil, nil
}

// eventParents is what is known of everything that the events and series of a request name.
type eventParents struct {
	users         map[uuid.UUID][]uuid.UUID // to organizations
	workspaces    map[uuid.UUID]uuid.UUID   // to template
	versions      map[uuid.UUID]uuid.UUID   // to template
	templates     map[uuid.UUID]uuid.UUID   // to organization
	builds        map[uuid.UUID]uuid.UUID   // to workspace
	jobs          map[uuid.UUID]uuid.UUID   // to organization
	organizations map[uuid.UUID]string      // to name
	visitors      map[store.Visit]int64     // of sign-ins, to subject
	modes         store.PrivacyModes
	erased        map[uuid.UUID]bool // users and workspaces
	controlPlane  *exposition.ControlPlane
}

// eventParents reads it in one go. Ids that are no ids are found out later, event by event.
func (g *Service) eventParents(ctx context.Context, req *insightsv1.ReportEventsRequest) (known eventParents, err error) {
	var logins, users, workspaces, versions, builds, jobs []uuid.UUID
	add := func(list *[]uuid.UUID, text string) {
		if id, err := call.ParseID(text); err == nil {
			*list = append(*list, id)
		}
	}
	for _, e := range req.GetEvents() {
		add(&logins, e.GetLogin().GetUserId())
		add(&users, e.GetUserStatus().GetUserId())
		add(&workspaces, e.GetBuild().GetWorkspaceId())
		add(&versions, e.GetBuild().GetTemplateVersionId())
		add(&builds, e.GetBuild().GetId())
		add(&jobs, e.GetJob().GetId())
	}
	users = append(users, logins...)
	known.controlPlane = g.options.ControlPlane
	if known.modes, err = g.directory.PrivacyModes(ctx); err != nil {
		return known, err
	}
	if known.users, err = g.store.UserOrganizations(ctx, users); err != nil {
		return known, err
	}
	if known.workspaces, err = g.store.WorkspaceTemplates(ctx, workspaces); err != nil {
		return known, err
	}
	visits := make([]store.Visit, len(logins))
	for i, user := range logins {
		visits[i] = store.Visit{User: user}
	}
	if known.visitors, err = g.directory.Subjects(ctx, visits); err != nil {
		return known, err
	}
	unknown := len(known.users)+len(known.workspaces) < len(users)+len(workspaces)
	if unknown && call.PrincipalOf(ctx).HoldsEverywhere(access.IngestAny) {
		if known.erased, err = g.store.Erased(ctx, slices.Concat(users, workspaces)); err != nil {
			return known, err
		}
	}
	if known.versions, err = g.store.VersionTemplates(ctx, versions); err != nil {
		return known, err
	}
	if known.builds, err = g.store.BuildWorkspaces(ctx, builds); err != nil {
		return known, err
	}
	if known.jobs, err = g.store.JobOrganizations(ctx, jobs); err != nil {
		return known, err
	}
	templates := slices.AppendSeq(slices.Collect(maps.Values(known.workspaces)), maps.Values(known.versions))
	if len(templates) > 0 {
		if known.templates, err = g.store.OrganizationsOf(ctx, templates); err != nil {
			return known, err
		}
	}
	if len(jobs) > 0 || len(req.GetMetrics()) > 0 {
		known.organizations, err = g.store.OrganizationNames(ctx)
	}
	return known, err
}

// user finds a user within the caller's grant.
func (k eventParents) user(caller access.Principal, field, text string) (uuid.UUID, *rejection) {
	id, err := call.ParseID(text)
	if err != nil {
		return id, invalidItem("%s: %v", field, err)
	}
	organizations, known := k.users[id]
	if k.erased[id] {
		return id, erasedItem()
	}
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
		{"id", m.GetId(), &b.ID},
		{"workspace_id", m.GetWorkspaceId(), &b.WorkspaceID},
		{"template_version_id", m.GetTemplateVersionId(), &b.TemplateVersionID},
	} {
		if *id.to, err = call.ParseID(id.text); err != nil {
			return b, invalidItem("build.%s: %v", id.field, err)
		}
	}
	if k.erased[b.WorkspaceID] {
		return b, erasedItem()
	}
	template, known := k.workspaces[b.WorkspaceID]
	if !known || !caller.HoldsIn(access.IngestAny, k.templates[template]) {
		return b, unknownItem("workspace", b.WorkspaceID)
	}
	of, known := k.versions[b.TemplateVersionID]
	if !known || !caller.HoldsIn(access.IngestAny, k.templates[of]) {
		return b, unknownItem("template version", b.TemplateVersionID)
	}
	if of != template {
		return b, invalidItem("build.template_version_id: %s belongs to another template than the workspace", b.TemplateVersionID)
	}
	if of, known := k.builds[b.ID]; known && of != b.WorkspaceID {
		return b, invalidItem("build.workspace_id: the build belongs to another workspace")
	}
	b.TemplateID, b.Number, b.Transition, b.Status = template, m.GetNumber(), m.GetTransition(), m.GetStatus()
	switch {
	case b.Number < 1:
		return b, invalidItem("build.number: must be 1 or more")
	case !slices.Contains(transitions, b.Transition):
		return b, invalidItem("build.transition: must be one of %v", transitions)
	case !slices.Contains(store.JobStatuses, b.Status):
		return b, invalidItem("build.status: must be one of %v", store.JobStatuses)
	}
	rejected := parseOrigin(m, &b)
	if rejected != nil {
		return b, rejected
	}
	if rejected = parseCost(m, &b); rejected != nil {
		return b, rejected
	}
	if b.CreatedAt, b.StartedAt, b.FinishedAt, rejected = parseJobTimes("build", m); rejected != nil {
		return b, rejected
	}
	if len(m.GetParameters()) > maxBuildParameters {
		return b, invalidItem("build.parameters: %d, at most %d", len(m.GetParameters()), maxBuildParameters)
	}
	for _, p := range m.GetParameters() {
		if err := call.CheckText(p.GetName()); err != nil || p.GetName() == "" {
			return b, invalidItem("build.parameters.name: want 1 to %d bytes without control characters", call.MaxStringBytes)
		}
		if len(p.GetValue()) > maxParameterBytes {
			return b, invalidItem("build.parameters.value: %d bytes, at most %d", len(p.GetValue()), maxParameterBytes)
		}
		b.Parameters = append(b.Parameters, store.BuildParameter{Name: p.GetName(), Value: p.GetValue()})
	}
	return b, nil
}

// parseOrigin reads where a build comes from: why it was asked for, who did, and what was chosen.
func parseOrigin(m *insightsv1.Build, b *store.Build) *rejection {
	none := store.PrebuildSteps[0]
	b.Reason, b.InitiatorKind, b.Preset, b.Prebuild = m.GetReason(), m.GetInitiatorKind(), m.GetPreset(), cmp.Or(m.GetPrebuild(), none)
	switch {
	case b.Reason != "" && !buildReason.MatchString(b.Reason):
		return invalidItem("build.reason: want 1 to 64 lower-case letters, digits and _, the first a letter")
	case b.InitiatorKind != "" && !slices.Contains(store.InitiatorKinds, b.InitiatorKind):
		return invalidItem("build.initiator_kind: must be one of %v", store.InitiatorKinds)
	case call.CheckText(b.Preset) != nil:
		return invalidItem("build.preset: %v", call.CheckText(b.Preset))
	case !slices.Contains(store.PrebuildSteps, b.Prebuild):
		return invalidItem("build.prebuild: must be one of %v", store.PrebuildSteps)
	case b.Prebuild != none && b.Transition != "start":
		return invalidItem("build.prebuild: only a start is %s", b.Prebuild)
	}
	return nil
}

// parseCost reads what the resources of a build are and cost.
func parseCost(m *insightsv1.Build, b *store.Build) *rejection {
	b.DailyCost, b.InstanceTypes = m.GetDailyCost(), slices.Sorted(slices.Values(m.GetInstanceTypes()))
	b.InstanceTypes = slices.Compact(b.InstanceTypes)
	switch {
	case b.DailyCost < 0:
		return invalidItem("build.daily_cost: must not be negative")
	case len(m.GetInstanceTypes()) > maxInstanceTypes:
		return invalidItem("build.instance_types: %d, at most %d", len(m.GetInstanceTypes()), maxInstanceTypes)
	}
	for _, name := range b.InstanceTypes {
		if err := call.CheckText(name); err != nil || name == "" {
			return invalidItem("build.instance_types: want 1 to %d bytes without control characters", call.MaxStringBytes)
		}
	}
	return nil
}

// parseJobTimes reads when a build or job was asked for, began and ended; the latter two are zero as long as they did not.
func parseJobTimes(kind string, m interface {
	GetCreatedAt() *timestamppb.Timestamp
	GetStartedAt() *timestamppb.Timestamp
	GetFinishedAt() *timestamppb.Timestamp
},
) (created, started, finished store.Instant, rejected *rejection) {
	for _, t := range []struct {
		field    string
		from     *timestamppb.Timestamp
		required bool
		to       *store.Instant
	}{
		{"created_at", m.GetCreatedAt(), true, &created},
		{"started_at", m.GetStartedAt(), false, &started},
		{"finished_at", m.GetFinishedAt(), false, &finished},
	} {
		if t.from == nil && !t.required {
			continue
		}
		at, err := call.ParseTime(t.from)
		if err != nil {
			return created, started, finished, invalidItem("%s.%s: %v", kind, t.field, err)
		}
		*t.to = store.At(at)
	}
	return created, started, finished, nil
}

// parseAgentEvent checks an event of an agent against the rules of the contract.
func parseAgentEvent(m *insightsv1.AgentEvent) (c store.AgentCondition, rejected *rejection) {
	var err error
	if c.AgentID, err = call.ParseID(m.GetAgentId()); err != nil {
		return c, invalidItem("agent.agent_id: %v", err)
	}
	c.Status, c.LifecycleState, c.AppHealth = m.GetStatus(), m.GetLifecycleState(), m.GetAppHealth()
	switch {
	case !slices.Contains(agentStatuses, c.Status):
		return c, invalidItem("agent.status: must be one of %v", agentStatuses)
	case !slices.Contains(lifecycleStates, c.LifecycleState):
		return c, invalidItem("agent.lifecycle_state: must be one of %v", lifecycleStates)
	case len(c.AppHealth) > maxMapEntries:
		return c, invalidItem("agent.app_health: %d entries, at most %d", len(c.AppHealth), maxMapEntries)
	}
	for slug, health := range c.AppHealth {
		if err := call.CheckText(slug); err != nil || slug == "" {
			return c, invalidItem("agent.app_health: want slugs of 1 to %d bytes without control characters", call.MaxStringBytes)
		}
		if !slices.Contains(appHealths, health) {
			return c, invalidItem("agent.app_health: must be one of %v", appHealths)
		}
	}
	return c, nil
}

// job checks a job against the rules of the contract, the catalog and the caller's grant.
func (k eventParents) job(caller access.Principal, m *insightsv1.JobEvent) (j store.Job, rejected *rejection) {
	var err error
	if j.ID, err = call.ParseID(m.GetId()); err != nil {
		return j, invalidItem("job.id: %v", err)
	}
	if j.OrganizationID, err = call.ParseID(m.GetOrganizationId()); err != nil {
		return j, invalidItem("job.organization_id: %v", err)
	}
	if _, known := k.organizations[j.OrganizationID]; !known || !caller.HoldsIn(access.IngestAny, j.OrganizationID) {
		return j, unknownItem("organization", j.OrganizationID)
	}
	if organization, known := k.jobs[j.ID]; known && organization != j.OrganizationID {
		return j, invalidItem("job.organization_id: the job belongs to another organization")
	}
	j.Provisioner, j.Type, j.Status = m.GetProvisioner(), m.GetType(), m.GetStatus()
	switch {
	case call.CheckText(j.Provisioner) != nil || j.Provisioner == "":
		return j, invalidItem("job.provisioner: want 1 to %d bytes without control characters", call.MaxStringBytes)
	case !slices.Contains(jobTypes, j.Type):
		return j, invalidItem("job.type: must be one of %v", jobTypes)
	case !slices.Contains(store.JobStatuses, j.Status):
		return j, invalidItem("job.status: must be one of %v", store.JobStatuses)
	}
	j.CreatedAt, j.StartedAt, j.FinishedAt, rejected = parseJobTimes("job", m)
	return j, rejected
}
