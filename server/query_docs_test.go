package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// documented is the company that docs/query.md asks about, on its Monday morning.
type documented struct {
	*running
	controlPlane, owner string
}

var mondayMorning = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// documentedID is an id that ends with a number: templates have 1 to 3, versions of the first 11 and 12, groups 21 and 22, workspaces 31
// and on, their agents 131 and on, users 41 and on.
func documentedID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// desk is a workspace, and when it is used: so many minutes from an hour on, on some days of the week, from a date on and before one.
type desk struct {
	user, name, purpose string
	template            int
	app                 string
	days                []time.Weekday
	hour, minutes       int
	latency             float64
	region              string
	from, before        string // empty: always
}

var (
	eachDay = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	desks   = append([]desk{
		{user: "ada", name: "model", template: 1, app: "vscode", days: eachDay, hour: 9, minutes: 40, latency: 12},
		{user: "ben", name: "etl", template: 1, app: "vscode", days: eachDay, hour: 9, minutes: 30, latency: 25},
		{user: "cleo", name: "plots", template: 1, app: "cursor", days: eachDay[:1], hour: 9, minutes: 30, latency: 31},
		{user: "cleo", name: "api", template: 2, app: "goland", days: eachDay[1:3], hour: 9, minutes: 20, latency: 30},
		{
			user: "dan", name: "api", template: 2, app: "goland", days: eachDay, hour: 9, minutes: 30, latency: 160, region: "syd",
			from: "2026-10-01",
		},
		{user: "eve", name: "api", template: 2, app: "ssh", days: eachDay[:2], hour: 9, minutes: 10, latency: 42, region: "fra"},
		{
			user: "finn", name: "fix", purpose: "ai_task", template: 2, app: "vscode", days: eachDay[2:3], hour: 14, minutes: 20,
			latency: 18,
		},
		{user: "ci", name: "nightly", template: 2, app: "ssh", days: eachDay, hour: 3, minutes: 5, latency: 2},
	}, trainees()...)
)

// trainees are six people on three days of September. One of them leaves early, and one stays long.
func trainees() (all []desk) {
	for i, minutes := range []int{130, 90, 90, 90, 90, 45} {
		all = append(all, desk{
			user: fmt.Sprint("trainee", i+1), name: "lab", template: 3, app: "vscode", days: eachDay[:3], hour: 9, minutes: minutes,
			latency: 20, from: "2026-09-14", before: "2026-09-19",
		})
	}
	return all
}

// usedOn reports whether a desk is used on a day.
func (d desk) usedOn(day time.Time) bool {
	date := day.Format(time.DateOnly)
	return slices.Contains(d.days, day.Weekday()) && date >= d.from && (d.before == "" || date < d.before)
}

// newDocumented fills a server with nine weeks.
func newDocumented(t *testing.T) *documented {
	t.Helper()
	p := &documented{running: run(t, storetest.SQLite(t), mondayMorning, func(o *server.Options) { o.IngestMaxAge = 100 * 24 * time.Hour })}
	p.controlPlane = p.Token(t, access.RoleControlPlane, servertest.Everywhere)
	p.owner = p.Token(t, access.RoleOwner, servertest.Everywhere)
	acme := documentedID(0)
	catalog := &insightsv1.ApplyCatalogRequest{
		Organizations: []*insightsv1.Organization{{Id: acme, Name: "acme"}},
		Templates: []*insightsv1.Template{
			{Id: documentedID(1), OrganizationId: acme, Name: "python", DisplayName: "Python"},
			{Id: documentedID(2), OrganizationId: acme, Name: "go", DisplayName: "Go"},
			{Id: documentedID(3), OrganizationId: acme, Name: "training", DisplayName: "Training"},
		},
		TemplateVersions: []*insightsv1.TemplateVersion{
			{Id: documentedID(11), TemplateId: documentedID(1), Name: "v1"},
			{Id: documentedID(12), TemplateId: documentedID(1), Name: "v2"},
		},
	}
	members := map[string][]*insightsv1.GroupMember{}
	users := map[string]string{}
	for i, d := range desks {
		if users[d.user] == "" {
			users[d.user] = documentedID(41 + len(users))
			kind := map[string]string{"ci": "service"}[d.user]
			catalog.Users = append(catalog.Users, &insightsv1.User{
				Id: users[d.user], Username: d.user, Kind: kind, OrganizationIds: []string{acme},
			})
			group := map[string]string{"ada": "data", "ben": "data", "cleo": "data", "dan": "platform", "eve": "platform"}[d.user]
			members[group] = append(members[group], &insightsv1.GroupMember{UserId: users[d.user]})
		}
		catalog.Workspaces = append(catalog.Workspaces, &insightsv1.Workspace{
			Id: documentedID(31 + i), OwnerId: users[d.user], TemplateId: documentedID(d.template), Name: d.name, Purpose: d.purpose,
		})
		catalog.Agents = append(catalog.Agents, &insightsv1.Agent{
			Id: documentedID(131 + i), WorkspaceId: documentedID(31 + i), Name: "main",
		})
	}
	for i, name := range []string{"data", "platform"} {
		catalog.Groups = append(catalog.Groups, &insightsv1.Group{
			Id: documentedID(21 + i), OrganizationId: acme, Name: name, Members: members[name],
		})
	}
	p.Apply(t, p.controlPlane, catalog)
	p.start(t, 1, 11, time.Date(2026, 8, 31, 6, 0, 0, 0, time.UTC))
	p.start(t, 2, 12, time.Date(2026, 10, 12, 6, 0, 0, 0, time.UTC))
	for day := time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC); day.AddDate(0, 0, 1).Before(mondayMorning); day = day.AddDate(0, 0, 1) {
		p.day(t, day)
	}
	return p
}

// start starts all workspaces of the first template anew with a version.
func (p *documented) start(t *testing.T, number int64, version int, at time.Time) {
	t.Helper()
	var events []*insightsv1.Event
	for i, d := range desks {
		if d.template != 1 {
			continue
		}
		events = append(events, &insightsv1.Event{At: timestamppb.New(at), Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: documentedID(1000*int(number) + i), WorkspaceId: documentedID(31 + i), TemplateVersionId: documentedID(version),
			Number: number, Transition: "start", Status: "succeeded", CreatedAt: timestamppb.New(at),
			FinishedAt: timestamppb.New(at.Add(time.Minute)),
		}}})
	}
	p.ReportEvents(t, p.controlPlane, events)
}

// day reports what agents see on one. The second version makes connections slower.
func (p *documented) day(t *testing.T, day time.Time) {
	t.Helper()
	var reports []*insightsv1.AgentReport
	for i, d := range desks {
		if !d.usedOn(day) {
			continue
		}
		latency := d.latency
		if d.template == 1 && !day.Before(time.Date(2026, 10, 12, 0, 0, 0, 0, time.UTC)) {
			latency *= 2
		}
		for minute := range d.minutes {
			r := &insightsv1.AgentReport{
				AgentId: documentedID(131 + i), CollectedAt: timestamppb.New(day.Add(time.Duration(60*d.hour+minute) * time.Minute)),
				SessionCounts: map[string]int64{d.app: 1}, ConnectionCount: 1, ConnectionMedianLatencyMs: latency, DerpRegion: d.region,
			}
			if r.PeersP2P = 1; d.region != "" {
				r.PeersP2P, r.PeersDerp = 0, 1
			}
			reports = append(reports, r)
		}
	}
	if len(reports) > 0 {
		p.ReportStats(t, p.controlPlane, reports)
	}
	if err := p.Refresh(t.Context()); err != nil { // the region of the day
		t.Fatal(err)
	}
}

// example is one of the document: how to ask, and what comes.
type example struct{ title, verb, target, body, shell, answer string }

// examplesOf reads the examples of a document.
func examplesOf(t *testing.T, file string) (all []example) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block := func(section, language string) string {
		found := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindStringSubmatch(section)
		if found == nil {
			return ""
		}
		return found[1]
	}
	for _, section := range regexp.MustCompile(`(?m)^### `).Split(string(text), -1)[1:] {
		e := example{shell: block(section, "sh"), answer: block(section, "json")}
		e.title, _, _ = strings.Cut(section, "\n")
		line, body, _ := strings.Cut(strings.ReplaceAll(block(section, "http"), "\n  &", "&"), "\n")
		e.verb, e.target, _ = strings.Cut(line, " ")
		e.body = body
		all = append(all, e)
	}
	return all
}

// The examples of the document answer what they say: every field that one shows is in the answer, as it shows it.
func TestQueryExamples(t *testing.T) {
	t.Parallel()
	p := newDocumented(t)
	examples, posts := examplesOf(t, "../docs/query.md"), 0
	for _, e := range examples {
		var text []byte
		switch e.verb {
		case http.MethodGet:
			_, _, text = p.Fetch(t, http.Header{"Coder-Session-Token": {p.owner}}, e.target)
		case http.MethodPost:
			posts++
			text = p.post(t, e)
		default:
			t.Errorf("%s: no call", e.title)
		}
		var got, want map[string]any
		if err := json.Unmarshal([]byte(e.answer), &want); err != nil || len(want) == 0 {
			t.Errorf("%s: the example has no answer: %v", e.title, err)
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Errorf("%s: %v in %.300s", e.title, err, text)
		}
		for field := range got {
			if _, shown := want[field]; !shown {
				delete(got, field)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.title, diff)
		}
	}
	if len(examples) < 13 || posts == 0 {
		t.Errorf("%d examples, %d of them POST", len(examples), posts)
	}
}

// post runs the shell's line of an example, which sends its body.
func (p *documented) post(t *testing.T, e example) []byte {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(e.shell, "127.0.0.1:8080", p.HTTPAddress()))
	shell.Env = append(os.Environ(), "INSIGHTS_TOKEN="+p.owner)
	text, err := shell.Output()
	if err != nil {
		t.Errorf("%s: %v in %s", e.title, err, e.shell)
	}
	_, sent, _ := strings.Cut(e.shell, "-d '")
	sent, rest, _ := strings.Cut(sent, "'")
	var want, got any
	if json.Unmarshal([]byte(e.body), &want) != nil || json.Unmarshal([]byte(sent), &got) != nil || !cmp.Equal(want, got) {
		t.Errorf("%s: sends %s instead of %s", e.title, sent, e.body)
	}
	if !strings.Contains(rest, "http://127.0.0.1:8080"+e.target) {
		t.Errorf("%s: does not ask %s", e.title, e.target)
	}
	return text
}
