package server_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// reached is the relay through which somebody reaches a workspace from a half hour on.
type reached struct {
	user, workspace, region string
	halfHour                int64
}

// madeAgent is an agent that a build made, in seconds.
type madeAgent struct {
	workspace     string
	at, connected int64 // 0: it never was
}

// make draws the agents that starts made, and stores when they first connected.
func (p *properties) make(t *rapid.T, w *world, builds []*insightsv1.Event) {
	var c insightsv1.ApplyCatalogRequest
	var states []store.AgentState
	for _, e := range builds {
		b := e.GetBuild()
		if b.GetTransition() != "start" {
			continue
		}
		for i := range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "agents of a build") {
			at := b.GetCreatedAt().AsTime().Add(time.Duration(rapid.SampledFrom([]int{0, 20, 4000}).Draw(t, "made after")) * time.Second)
			made, id := madeAgent{workspace: b.GetWorkspaceId(), at: at.Unix()}, uuid.New()
			if rapid.IntRange(0, 3).Draw(t, "connects") > 0 {
				at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 7, 90, 5000}).Draw(t, "connects after")) * time.Second)
				made.connected = at.Unix()
				states = append(states, store.AgentState{AgentID: id, FirstConnectedAt: store.At(at), LastSeenAt: store.At(at)})
			}
			c.Agents = append(c.Agents, &insightsv1.Agent{
				Id: id.String(), WorkspaceId: made.workspace, Name: fmt.Sprint("made", i),
				CreatedAt: timestamppb.New(time.Unix(made.at, 0)),
			})
			w.made = append(w.made, made)
		}
	}
	ask(t, insightsv1.NewCatalogServiceClient(p.r.Conn).ApplyCatalog, p.controlPlane, &c)
	if err := p.r.Store.TouchAgents(context.Background(), states); err != nil {
		t.Fatal(err)
	}
}

// drawMembership draws a moment about which people come and go: noon, or one of those about which things happen.
func (w *world) drawMembership(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "at noon") {
		return w.place.around
	}
	return w.drawTime(t)
}

// drawGroups gives the company groups that people join and leave; who is in one may be in others.
func (w *world) drawGroups(t *rapid.T) {
	for i := range rapid.IntRange(0, 2).Draw(t, "groups") {
		g := &insightsv1.Group{
			Id: uuid.NewString(), OrganizationId: w.catalog.GetOrganizations()[0].GetId(), Name: fmt.Sprint("group", i),
		}
		for _, u := range w.catalog.GetUsers() {
			if !rapid.Bool().Draw(t, "is a member") {
				continue
			}
			m := &insightsv1.GroupMember{UserId: u.GetId()}
			if rapid.Bool().Draw(t, "joined") {
				m.From = timestamppb.New(w.drawMembership(t))
			}
			if to := w.drawMembership(t); rapid.Bool().Draw(t, "left") && (m.From == nil || m.GetFrom().AsTime().Before(to)) {
				m.To = timestamppb.New(to)
			}
			g.Members = append(g.Members, m)
		}
		w.catalog.Groups = append(w.catalog.Groups, g)
	}
}

// drawDivision divides everybody into two groups of the organization whose template has the lowest id, which every question is about.
// Some go from one to the other at noon.
func (w *world) drawDivision(t *rapid.T) {
	first, organization := templateIDsOf(*w)[0].String(), ""
	for _, template := range w.catalog.GetTemplates() {
		if template.GetId() == first {
			organization = template.GetOrganizationId()
		}
	}
	groups := []*insightsv1.Group{{Name: "day shift"}, {Name: "night shift"}}
	for _, g := range groups {
		g.Id, g.OrganizationId = uuid.NewString(), organization
		w.division = append(w.division, g.GetId())
	}
	for _, u := range w.catalog.GetUsers() {
		at := rapid.IntRange(0, 1).Draw(t, "group")
		m := &insightsv1.GroupMember{UserId: u.GetId()}
		if rapid.IntRange(0, 3).Draw(t, "moves at noon") == 0 {
			w.moves, m.To = true, timestamppb.New(w.place.around)
			groups[1-at].Members = append(groups[1-at].Members, &insightsv1.GroupMember{UserId: u.GetId(), From: m.GetTo()})
		}
		groups[at].Members = append(groups[at].Members, m)
	}
	w.catalog.Groups = append(w.catalog.Groups, groups...)
}

// drawPurposes says what workspaces are for, before and after they change hands.
func (w *world) drawPurposes(t *rapid.T) {
	for _, ws := range slices.Concat(w.catalog.GetWorkspaces(), w.handed) {
		ws.Purpose = rapid.SampledFrom([]string{"", "", "ai_task", "prebuild", "development"}).Draw(t, "purpose")
	}
}

// drawRegions draws through which relays people reach their workspaces about the time of reports.
func (w *world) drawRegions(t *rapid.T) {
	for range rapid.IntRange(0, 8).Draw(t, "regions") {
		at := rapid.SampledFrom(w.reports).Draw(t, "report through a relay")
		agent := slices.IndexFunc(w.catalog.GetAgents(), func(a *insightsv1.Agent) bool { return a.GetId() == at.GetAgentId() })
		ws := w.catalog.GetWorkspaces()[agent] // each has one
		r := reached{
			user: ws.GetOwnerId(), workspace: ws.GetId(), region: rapid.SampledFrom([]string{"eu", "us"}).Draw(t, "relay"),
			halfHour: at.GetCollectedAt().GetSeconds()/1800 + int64(rapid.IntRange(-2, 1).Draw(t, "half hours after the report")),
		}
		if rapid.IntRange(0, 3).Draw(t, "of the owner in the end") == 0 {
			r.user = w.ownerInTheEnd(ws)
		}
		if !slices.ContainsFunc(w.regions, func(o reached) bool {
			return o.user == r.user && o.workspace == r.workspace && o.halfHour == r.halfHour
		}) {
			w.regions = append(w.regions, r)
		}
	}
}

// regionOf is the relay through which somebody reached a workspace last, in a half hour or before it; empty: none is known.
func (w *world) regionOf(user, workspace string, halfHour int64) (region string) {
	last := int64(-1)
	for _, r := range w.regions {
		if r.user == user && r.workspace == workspace && r.halfHour <= halfHour && r.halfHour > last {
			region, last = r.region, r.halfHour
		}
	}
	return region
}

// relay stores through which relays people reached their workspaces: what agents tell of it depends on the order in which they do.
func (p *properties) relay(t *rapid.T, regions []reached) {
	var visits []store.Visit
	for _, r := range regions {
		visits = append(visits, store.Visit{User: uuid.MustParse(r.user), Workspace: uuid.MustParse(r.workspace)})
	}
	subjects, err := p.r.Store.Subjects(context.Background(), visits)
	if err != nil {
		t.Fatal(err)
	}
	var states []store.AgentState // of no agent
	for i, r := range regions {
		states = append(states, store.AgentState{AgentID: uuid.New(), Reached: &store.SeatRegion{
			Subject: subjects[visits[i]], HalfHour: int32(r.halfHour), Region: r.region,
		}})
	}
	if err := p.r.Store.TouchAgents(context.Background(), states); err != nil {
		t.Fatal(err)
	}
}

// drawCrowd adds people who are at work in one template together, in some hours of a day, so that hours are told.
func (w *world) drawCrowd(t *rapid.T) {
	c, template, agents := w.catalog, rapid.SampledFrom(w.catalog.GetTemplates()).Draw(t, "template of the crowd"), []string(nil)
	for i := range rapid.IntRange(6, 8).Draw(t, "people of the crowd") {
		user, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
		agents, w.crowd = append(agents, agent), append(w.crowd, workspace)
		c.Users = append(c.Users, &insightsv1.User{Id: user, Username: fmt.Sprint("crowd", i)})
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{Id: workspace, OwnerId: user, TemplateId: template.GetId(), Name: "w"})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
	}
	day := w.place.around.AddDate(0, 0, rapid.IntRange(-2, 2).Draw(t, "day of the crowd"))
	for range rapid.IntRange(1, 3).Draw(t, "hours of the crowd") {
		at := day.Add(time.Duration(rapid.IntRange(-9, 9).Draw(t, "hour of the crowd")) * time.Hour)
		somewhere := rapid.IntRange(0, 3).Draw(t, "somewhere") == 0
		for i, agent := range agents {
			if rapid.IntRange(0, 9).Draw(t, "is away") == 0 {
				continue
			}
			if somewhere {
				w.estimates = append(w.estimates, estimate{
					user: c.GetWorkspaces()[len(c.GetWorkspaces())-len(agents)+i].GetOwnerId(), template: template.GetId(),
					kind: "session", app: "ssh", halfHour: at.Unix() / 1800, minutes: 5,
				})
				continue
			}
			at := at.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 7, 31}).Draw(t, "minute of the crowd")) * time.Minute)
			w.reports = append(w.reports, &insightsv1.AgentReport{
				AgentId: agent, CollectedAt: timestamppb.New(at), ConnectionCount: 1, SessionCounts: map[string]int64{"vscode": 1},
				ConnectionMedianLatencyMs: w.latencyIn(agent, at.Unix()/60),
			})
		}
	}
}

// filterValues are values that filters of a question may have, by dimension.
func (w *world) filterValues() map[string][]string {
	values := map[string][]string{
		"app": {"vscode", "cursor", "ssh", "wiki", "nothing"}, "family": {"vscode", "ssh", "workspace_app", "unknown"},
		"editor": {"vscode", "jetbrains"}, "actor": {"person", "service", "system"}, "region": {"eu", "us", "nowhere"},
		"purpose": {"development", "ai_task", "prebuild"}, "template": call.Texts(templateIDsOf(*w)),
		"parameter:region": {"eu", "us", "mars"}, "parameter:preset": {"tiny", "huge", ""},
	}
	for _, o := range w.catalog.GetOrganizations() {
		values["organization"] = append(values["organization"], o.GetId())
	}
	for _, u := range w.catalog.GetUsers() {
		values["user"] = append(values["user"], u.GetId())
	}
	for _, ws := range w.catalog.GetWorkspaces() {
		values["workspace"] = append(values["workspace"], ws.GetId())
	}
	for _, v := range w.catalog.GetTemplateVersions() {
		values["template_version"] = append(values["template_version"], v.GetId())
	}
	for _, g := range w.catalog.GetGroups() {
		values["group"] = append(values["group"], g.GetId())
	}
	return values
}
