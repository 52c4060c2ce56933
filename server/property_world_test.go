package server_test

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// world is a small company and everything that was reported from it.
type world struct {
	catalog *insightsv1.ApplyCatalogRequest
	told
	late   float64                 // part of it all that arrives after the rest was folded
	parts  [2]told                 // it all as it arrived: the late part after the workspaces that change hands did
	handed []*insightsv1.Workspace // with the owners that they have then: claimed prebuilds, and workspaces that somebody passes on
	place  place

	division []string // groups of one of which everybody is a member at any time
	moves    bool     // somebody goes from one of these to another
	regions  []reached
	made     []madeAgent
	crowd    []string // the workspaces of people who are at work together
}

// told is what agents, proxies, the control plane and an import report.
type told struct {
	reports   []*insightsv1.AgentReport
	sessions  []*insightsv1.AppSession
	logins    []*insightsv1.Event
	estimates []estimate
}

// estimate is what another system knew of a half hour of a person in a template.
type estimate struct {
	user, template string
	workspace      string // empty: it did not know where
	kind, app      string // as in use
	halfHour       int64  // since the epoch
	minutes        int    // it said how many; they are taken for the first ones
}

// GoString writes what makes up a failing run.
func (w world) GoString() string {
	text := fmt.Sprintf("%s, %s, %.0f %% late\n%v\n", w.place.zone, w.place.around, 100*w.late, w.catalog)
	for _, r := range w.reports {
		text += fmt.Sprintln(r.GetCollectedAt().AsTime().Format(time.RFC3339), r)
	}
	for _, s := range w.sessions {
		text += fmt.Sprintln(s.GetStartedAt().AsTime().Format(time.RFC3339), s)
	}
	for _, l := range w.logins {
		text += fmt.Sprintln(l.GetAt().AsTime().Format(time.RFC3339), l)
	}
	for i, part := range w.parts {
		text += fmt.Sprintf("part %d: %d reports, %d sessions, estimates %+v\n", i, len(part.reports), len(part.sessions), part.estimates)
	}
	return text + fmt.Sprintln("change hands:", w.handed)
}

// place is whose calendar the questions follow.
type place struct {
	zone     string // IANA name; empty: the offset
	location *time.Location
	around   time.Time // noon of a day, in the middle of all that happened; often a day of another length than 24 hours
}

// places are zones with their transitions in 2023, and days without any.
var places = []struct{ zone, day string }{
	{"Europe/Berlin", "2023-03-26"},
	{"Europe/Berlin", "2023-10-29"},
	{"America/New_York", "2023-03-12"},
	{"America/New_York", "2023-11-05"},
	{"Australia/Lord_Howe", "2023-04-02"},
	{"Australia/Lord_Howe", "2023-10-01"},
	{"America/St_Johns", "2023-11-05"},
	{"America/Santiago", "2023-04-02"},
	{"America/Santiago", "2023-09-03"},
	{"Europe/Berlin", "2023-07-14"},
	{"Asia/Kathmandu", "2023-10-12"},
}

var anyPlace = rapid.Custom(func(t *rapid.T) place {
	var p place
	day := fmt.Sprintf("2023-10-%02d", rapid.IntRange(5, 25).Draw(t, "day"))
	if rapid.IntRange(0, 3).Draw(t, "offset instead of a zone") == 0 {
		p.location = time.FixedZone("", 900*rapid.SampledFrom([]int{0, 4, -12, 56, -48, 23, 22, -14, 33, 51, -38}).Draw(t, "quarters"))
	} else {
		z := rapid.SampledFrom(places).Draw(t, "zone")
		location, err := time.LoadLocation(z.zone)
		if err != nil {
			t.Fatal(err)
		}
		p.zone, p.location, day = z.zone, location, z.day
	}
	noon, err := time.ParseInLocation(time.DateTime, day+" 12:00:00", p.location)
	if err != nil {
		t.Fatal(err)
	}
	p.around = noon
	return p
})

// sessionNames are what agents call sessions, and the names under which they are kept.
var sessionNames = map[string]string{
	"vscode": "vscode", "VSCode-Insiders": "vscode_insiders", " cursor ": "cursor", "JetBrains": "jetbrains",
	"reconnecting-pty": "reconnecting_pty", "ssh": "ssh", "Zed": "zed", "sftp": "sftp", "my-editor": "my_editor", "": "unknown",
}

var anySession = rapid.SampledFrom(slices.SortedFunc(func(yield func(string) bool) {
	for name := range sessionNames {
		if !yield(name) {
			return
		}
	}
}, cmp.Compare[string]))

var anyWorld = worldOf(3)

// worldOf draws companies of at most so many people.
func worldOf(people int) *rapid.Generator[world] {
	return rapid.Custom(func(t *rapid.T) world { return drawWorld(t, people) })
}

func drawWorld(t *rapid.T, people int) world {
	w := world{catalog: &insightsv1.ApplyCatalogRequest{}, place: anyPlace.Draw(t, "place")}
	w.drawCatalog(t, people)
	agents := w.catalog.GetAgents()
	for range rapid.IntRange(6, 25).Draw(t, "reports") {
		w.reports = append(w.reports, w.drawReport(t))
	}
	for range rapid.IntRange(0, 8).Draw(t, "sessions") {
		w.sessions = append(w.sessions, w.drawSession(t, rapid.SampledFrom(agents).Draw(t, "agent").GetId()))
	}
	for range rapid.IntRange(0, 2).Draw(t, "logins") {
		user := rapid.SampledFrom(w.catalog.GetUsers()).Draw(t, "user")
		w.logins = append(w.logins, &insightsv1.Event{
			At: timestamppb.New(w.drawTime(t)), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: user.GetId()}},
		})
	}
	for range rapid.SampledFrom([]int{0, 6, 9, 12}).Draw(t, "estimates") {
		w.estimates = append(w.estimates, w.drawEstimate(t))
	}
	for _, ws := range w.catalog.GetWorkspaces() {
		rarely := 5
		if w.kindOf(ws.GetOwnerId()) == "system" { // a prebuild, which somebody claims
			rarely = 1
		}
		if rapid.IntRange(0, rarely).Draw(t, "changes hands") == 0 {
			to := rapid.SampledFrom(w.catalog.GetUsers()).Draw(t, "new owner").GetId()
			ws = proto.CloneOf(ws)
			ws.OwnerId = to
			w.handed = append(w.handed, ws)
		}
	}
	w.late = rapid.SampledFrom([]float64{0, 0.2, 0.5, 0.8}).Draw(t, "late")
	return w
}

// drawCatalog makes one or two organizations with up to three templates and people with workspaces. Apps have few slugs and
// few names, so that some are the same in several templates and some are not.
func (w *world) drawCatalog(t *rapid.T, people int) {
	c := w.catalog
	for i := range rapid.IntRange(1, 2).Draw(t, "organizations") {
		c.Organizations = append(c.Organizations, &insightsv1.Organization{Id: uuid.NewString(), Name: fmt.Sprint("organization", i)})
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "templates") {
		c.Templates = append(c.Templates, &insightsv1.Template{
			Id: uuid.NewString(), OrganizationId: c.GetOrganizations()[i%len(c.GetOrganizations())].GetId(),
			Name: fmt.Sprint("template", i),
		})
	}
	for i := range rapid.IntRange(1, people).Draw(t, "users") {
		c.Users = append(c.Users, &insightsv1.User{Id: uuid.NewString(), Username: fmt.Sprint("user", i)})
	}
	for _, account := range []struct{ name, kind string }{{"prebuilds", "system"}, {"robot", "service"}} {
		if rapid.Bool().Draw(t, account.name) {
			c.Users = append(c.Users, &insightsv1.User{Id: uuid.NewString(), Username: account.name, Kind: account.kind})
		}
	}
	created := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	for u, user := range c.GetUsers() {
		for i, template := range c.GetTemplates() {
			for range rapid.SampledFrom([]int{1, 1, 2, 0, 2}).Draw(t, "workspaces") + isFirst(u+i) {
				workspace := &insightsv1.Workspace{
					Id: uuid.NewString(), OwnerId: user.GetId(), TemplateId: template.GetId(), Name: "w",
					CreatedAt: timestamppb.New(created),
				}
				agent := &insightsv1.Agent{
					Id: uuid.NewString(), WorkspaceId: workspace.GetId(), Name: "main", CreatedAt: timestamppb.New(created),
				}
				created = created.Add(time.Minute)
				c.Workspaces, c.Agents = append(c.Workspaces, workspace), append(c.Agents, agent)
				for _, slug := range []string{"wiki", "code-server"} {
					if rapid.Bool().Draw(t, "declares "+slug) {
						c.Apps = append(c.Apps, &insightsv1.App{
							AgentId: agent.GetId(), Slug: slug,
							DisplayName: rapid.SampledFrom([]string{"One", "Two"}).Draw(t, "name"),
							Icon:        rapid.SampledFrom([]string{"", "/i.png"}).Draw(t, "icon"),
						})
					}
				}
			}
		}
	}
}

// isFirst makes sure that there is an agent.
func isFirst(i int) int {
	if i == 0 {
		return 1
	}
	return 0
}

// drawTime draws a moment about the place's day: close to the ends of days and half hours, and often the same.
func (w *world) drawTime(t *rapid.T) time.Time {
	day := w.place.around.AddDate(0, 0, rapid.SampledFrom([]int{0, 0, -1, 1, -2, 2}).Draw(t, "day"))
	hour := rapid.SampledFrom([]int{-12, -11, -3, 0, 11, 12}).Draw(t, "hours after noon")
	return day.Add(time.Duration(hour)*time.Hour + time.Duration(rapid.IntRange(-3, 34).Draw(t, "minute"))*time.Minute +
		time.Duration(rapid.SampledFrom([]int{0, 0, 30, 59}).Draw(t, "second"))*time.Second)
}

// kindOf is the kind of a user.
func (w *world) kindOf(user string) string {
	at := slices.IndexFunc(w.catalog.GetUsers(), func(u *insightsv1.User) bool { return u.GetId() == user })
	return w.catalog.GetUsers()[at].GetKind()
}

// ownerInTheEnd is whose a workspace is after some changed hands.
func (w *world) ownerInTheEnd(ws *insightsv1.Workspace) string {
	for _, handed := range w.handed {
		if handed.GetId() == ws.GetId() {
			return handed.GetOwnerId()
		}
	}
	return ws.GetOwnerId()
}

// beside are the agents of all workspaces of the owner and the template of an agent's workspace.
func (w *world) beside(agent string) (ids []string) {
	of := map[string][2]string{}
	for i, a := range w.catalog.GetAgents() { // each workspace has one
		ws := w.catalog.GetWorkspaces()[i]
		of[a.GetId()] = [2]string{ws.GetOwnerId(), ws.GetTemplateId()}
	}
	for _, a := range w.catalog.GetAgents() {
		if of[a.GetId()] == of[agent] {
			ids = append(ids, a.GetId())
		}
	}
	return ids
}

// drawReport draws a report, often for a minute in which another workspace of its owner reported.
func (w *world) drawReport(t *rapid.T) *insightsv1.AgentReport {
	agent, at := rapid.SampledFrom(w.catalog.GetAgents()).Draw(t, "agent").GetId(), w.drawTime(t)
	if len(w.reports) > 0 && rapid.IntRange(0, 2).Draw(t, "beside another") == 0 {
		other := rapid.SampledFrom(w.reports).Draw(t, "other")
		agent, at = rapid.SampledFrom(w.beside(other.GetAgentId())).Draw(t, "agent beside"), other.GetCollectedAt().AsTime()
	}
	r := &insightsv1.AgentReport{
		AgentId: agent, CollectedAt: timestamppb.New(at),
		ConnectionCount: int64(rapid.SampledFrom([]int{1, 1, 7, 0, 1, 7}).Draw(t, "connections")),
	}
	if minutes := rapid.SampledFrom([]int{0, 30, 60, 61, 300, 600}).Draw(t, "interval"); minutes > 0 {
		r.Interval = durationpb.New(time.Duration(minutes) * time.Second)
	}
	if rapid.Bool().Draw(t, "measured") { // always the same for an agent's minute, so that the order does not matter
		r.ConnectionMedianLatencyMs = w.latencyIn(agent, at.Unix()/60)
	}
	for range rapid.SampledFrom([]int{1, 1, 2, 0}).Draw(t, "names") {
		if r.SessionCounts == nil {
			r.SessionCounts = map[string]int64{}
		}
		r.SessionCounts[anySession.Draw(t, "name")] = int64(rapid.SampledFrom([]int{1, 1, 3, 0}).Draw(t, "count"))
	}
	if r.SessionCounts == nil {
		r.SessionCountVscode = int64(rapid.IntRange(0, 1).Draw(t, "older form"))
		r.SessionCountSsh = int64(rapid.IntRange(0, 1).Draw(t, "older form, too"))
	}
	return r
}

// latencyIn is what an agent measures in a minute, in milliseconds.
func (w *world) latencyIn(agent string, minute int64) float64 {
	number := slices.IndexFunc(w.catalog.GetAgents(), func(a *insightsv1.Agent) bool { return a.GetId() == agent })
	return 1 + float64((minute*7919+int64(number)*1009)%4001)/10
}

// drawEstimate draws what another system knew, often of a half hour of which there is a report.
func (w *world) drawEstimate(t *rapid.T) estimate {
	ws := rapid.SampledFrom(w.catalog.GetWorkspaces()).Draw(t, "estimated workspace")
	e := estimate{
		user: ws.GetOwnerId(), template: ws.GetTemplateId(), halfHour: w.drawTime(t).Unix() / 1800,
		minutes: rapid.SampledFrom([]int{1, 5, 29, 30}).Draw(t, "estimated minutes"),
	}
	if rapid.Bool().Draw(t, "workspace is known") {
		e.workspace = ws.GetId()
	}
	if rapid.Bool().Draw(t, "of a report") {
		e.halfHour = rapid.SampledFrom(w.reports).Draw(t, "estimated report").GetCollectedAt().GetSeconds() / 1800
	}
	e.kind, e.app = "session", sessionNames[anySession.Draw(t, "estimated name")]
	if rapid.IntRange(0, 2).Draw(t, "of an app") == 0 {
		e.kind, e.app = "app", rapid.SampledFrom([]string{"wiki", "code-server", "[terminal]"}).Draw(t, "estimated app")
	}
	return e
}

func (w *world) drawSession(t *rapid.T, agent string) *insightsv1.AppSession {
	s := &insightsv1.AppSession{AgentId: agent, UserId: rapid.SampledFrom(w.catalog.GetUsers()).Draw(t, "visitor").GetId()}
	s.AccessMethod = rapid.SampledFrom([]string{"path", "subdomain", "terminal"}).Draw(t, "method")
	s.SlugOrPort = rapid.SampledFrom([]string{"wiki", "code-server", "8080", "no such"}).Draw(t, "slug")
	begin := w.drawTime(t)
	seconds := rapid.SampledFrom([]int{0, 1, 59, 60, 61, 600, 3600, 7200}).Draw(t, "seconds")
	s.StartedAt, s.EndedAt = timestamppb.New(begin), timestamppb.New(begin.Add(time.Duration(seconds)*time.Second))
	return s
}

// arrivals draws in which order it all arrives: what comes first, and what comes late, some of it for the second time.
func arrivals[M any](t *rapid.T, all []M, late float64) (first, second []M) {
	if len(all) == 0 {
		return nil, nil
	}
	shuffled := rapid.Permutation(all).Draw(t, "order")
	cut := len(all) - int(late*float64(len(all)))
	first, second = shuffled[:cut], slices.Clone(shuffled[cut:])
	for range rapid.IntRange(0, 3).Draw(t, "repeats") {
		second = append(second, rapid.SampledFrom(all).Draw(t, "repeat"))
	}
	return first, second
}
