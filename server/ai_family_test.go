package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// morning is the window of the fixture's day so far.
var morning = url.Values{"start_time": {"2023-08-15T00:00:00Z"}, "end_time": {"2023-08-15T13:00:00Z"}}

// uses lets the first people of a fixture use session apps a minute before now.
func uses(t *testing.T, r *running, f *storetest.Fixture, people map[string]int) {
	t.Helper()
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	for user := range f.Users {
		sessions := map[string]int64{}
		for app, users := range people {
			if user < users {
				sessions[app] = 1
			}
		}
		r.ReportStats(t, controlPlane, []*insightsv1.AgentReport{{
			AgentId: f.Agents[0][user].String(), CollectedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), ConnectionCount: 1,
			SessionCounts: sessions,
		}})
	}
}

// visits lets the first people of a fixture visit a workspace app a minute before now, which agents of all declare.
func visits(t *testing.T, r *running, f *storetest.Fixture, slug, displayName string, people int) {
	t.Helper()
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	for user := range f.Users {
		agent := f.Agents[0][user].String()
		r.Apply(t, controlPlane, &insightsv1.ApplyCatalogRequest{
			Apps: []*insightsv1.App{{AgentId: agent, Slug: slug, DisplayName: displayName}},
		})
		if user < people {
			r.ReportSessions(t, controlPlane, []*insightsv1.AppSession{{
				AgentId: agent, UserId: f.Users[user].String(), SlugOrPort: slug, AccessMethod: "path",
				StartedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), EndedAt: timestamppb.New(storetest.Now),
			}})
		}
	}
}

// Tools of AI are told of as many people together as the floor says, and never of one, unless the server says otherwise. People see their
// own.
func TestAIFamily(t *testing.T) {
	t.Parallel()
	const floor = 3
	type places = map[string][]string // by text
	for name, c := range map[string]struct {
		claude, codex, app int // people who use these
		perPerson          bool
		want               places
	}{
		"nobody":               {},
		"nobody, per person":   {perPerson: true, want: places{"Our Helper": {"optimization"}}},
		"fewer than the floor": {claude: floor - 1, codex: 1, app: floor - 1, want: places{"claude_code": {"my data"}}},
		"the floor": {claude: floor, app: floor, want: places{
			"AI Tools": {"apps", "editors", "gauges", "support", "template usage", "templates"}, "Claude Code": {"editors", "templates"},
			"claude_code": {"editors", "my data", "templates"}, "Our Helper": {"apps", "gauges", "support", "templates"},
		}},
		"a tool of few": {claude: floor, codex: floor - 1, want: places{
			"AI Tools": {"apps", "gauges", "support", "template usage", "templates"}, "claude_code": {"my data"},
		}},
		"one, per person": {claude: 1, app: 1, perPerson: true, want: places{
			"AI Tools":    {"apps", "editors", "gauges", "support", "templates", "user activity", "user apps"},
			"Claude Code": {"editors", "templates"},
			"claude_code": {"agent stats", "editors", "my data", "templates"},
			"Our Helper":  {"apps", "gauges", "support", "templates", "user activity", "user apps"},
		}},
	} {
		for database, open := range servertest.Databases {
			t.Run(name+"/"+database, func(t *testing.T) {
				t.Parallel()
				f := storetest.NewFixture(t, open(t))
				definitions := filepath.Join(t.TempDir(), "definitions.yaml")
				if err := os.WriteFile(definitions, []byte("app_families: [{name: ai, ide: true}]"), 0o600); err != nil {
					t.Fatal(err)
				}
				r := run(t, f.Database, storetest.Now, func(o *server.Options) {
					o.PrivacyFloor, o.AIPerPerson, o.Definitions, o.CollectAgentStats = floor, c.perPerson, definitions, true
				})
				uses(t, r, f, map[string]int{"claude-code": c.claude, "codex": c.codex, "ssh": 1})
				visits(t, r, f, "claude-code", "Our Helper", c.app)
				if err := r.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				found, texts := places{}, r.places(t, f)
				for _, place := range slices.Sorted(maps.Keys(texts)) {
					for _, text := range []string{"AI Tools", "Claude Code", "claude_code", "Our Helper"} {
						if strings.Contains(texts[place], text) {
							found[text] = append(found[text], place)
						}
					}
				}
				if diff := cmp.Diff(c.want, found, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("where it is told (-want +got):\n%s", diff)
				}
				if got := strings.Contains(texts["activity"], "user0"); got != (c.claude+c.app > 0 && c.perPerson) {
					t.Errorf("the older API tells of IDEs: %s", texts["activity"])
				}
				if strings.Count(texts["user activity"], `"slug":"ssh"`) != 1 || !strings.Contains(texts["agent stats"], `app_name="ssh"`) {
					t.Errorf("SSH is told of no user: %s\n%s", texts["user activity"], texts["agent stats"])
				}
			})
		}
	}
}

// The file says what is known of apps, and the past follows it.
func TestDefinedApps(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			f := storetest.NewFixture(t, open(t))
			definitions := filepath.Join(t.TempDir(), "definitions.yaml")
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(definitions, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("")
			r := run(t, f.Database, storetest.Now, func(o *server.Options) { o.PrivacyFloor, o.Definitions = 3, definitions })
			uses(t, r, f, map[string]int{"Acme-Editor": 2})
			client, owner := insightsv1.NewInsightsServiceClient(r.Conn), r.Token(t, access.RoleOwner, servertest.Everywhere)
			for _, step := range []struct {
				definitions string
				family      string // of the entry that has the editor; empty: it is not told
				displayName string // of the entry
				ide         bool
			}{
				{"", "unknown", "Other Editors", false},
				{
					"app_families: [{name: acme_tools, display_name: ACME Tools, ide: true}]\n" +
						"apps: [{name: acme_editor, family: acme_tools}]",
					"acme_tools", "ACME Tools", true,
				},
				{"apps: [{name: acme_editor, family: jetbrains, ide: false}]", "jetbrains", "JetBrains", false},
				{"apps: [{name: acme_editor, family: ai}]", "", "", false},
				{"apps: [{name: acme_editor, family: nowhere}]", "", "", false}, // it is wrong, and what was said before holds
				{"apps: [{name: acme_editor, ide: true}]", "unknown", "Other Editors", true},
			} {
				write(step.definitions)
				err := r.Refresh(t.Context())
				if wrong := strings.Contains(step.definitions, "nowhere"); (err != nil) != wrong {
					t.Fatalf("%s: %v", step.definitions, err)
				}
				report := servertest.Must(t, client.GetTemplateInsights, owner, &insightsv1.GetTemplateInsightsRequest{
					StartTime: morning.Get("start_time"), EndTime: morning.Get("end_time"),
				}).GetReport()
				family, displayName := "", ""
				for _, a := range append(report.GetAppsUsage(), report.GetUnknownUsage()) {
					if len(a.GetEditors()) > 0 {
						family, displayName = a.GetFamily(), a.GetDisplayName()
					}
				}
				if family != step.family || displayName != step.displayName || report.GetActiveUsers() != 2 {
					t.Errorf("%s: %q, %q: %v", step.definitions, family, displayName, report)
				}
				texts := r.places(t, f)
				if got := strings.Contains(texts["activity"], "user0"); got != step.ide {
					t.Errorf("%s: counts as an IDE: %t", step.definitions, got)
				}
				series := `application_name="` + step.displayName + `"`
				if got := strings.Contains(texts["gauges"], series); got != (step.family != "") {
					t.Errorf("%s: no %s in metrics:\n%s", step.definitions, series, texts["gauges"])
				}
			}
		})
	}
}

// places are the texts of everything that may tell of apps, by what it is.
func (r *running) places(t *testing.T, f *storetest.Fixture) map[string]string {
	t.Helper()
	owner := http.Header{"Coder-Session-Token": {r.Token(t, access.RoleOwner, servertest.Everywhere)}}
	texts := map[string]string{}
	get := func(place string, header http.Header, path string, params url.Values) {
		status, _, text := r.Fetch(t, header, path+"?"+params.Encode())
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", place, status, text)
		}
		texts[place] = string(text)
	}
	for place, path := range map[string]string{
		"templates": "/api/v2/insights/templates", "template usage": "/api/v2/insights/template-usage",
		"user activity": "/api/v2/insights/user-activity", "support": "/api/v2/insights/reports/support",
		"optimization": "/api/v2/insights/reports/optimization",
	} {
		get(place, owner, path, morning)
	}
	asFile := maps.Clone(morning)
	asFile.Set("format", "csv")
	for place, table := range map[string]string{"apps": "apps", "editors": "editors", "user apps": "user-apps"} {
		get(place, owner, strings.Replace(rest.ExportRoute, "{table}", table, 1), asFile)
	}
	get("activity", owner, activityPath, url.Values{
		"start": morning["start_time"], "end": morning["end_time"], "interval": {"1 day"}, "category": {"ide"},
	})
	r.Grant(t, store.RoleBinding{PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleMember})
	own := r.Issue(t, store.Token{Name: "own", PrincipalKind: access.KindUser, PrincipalID: f.Users[0]})
	get("my data", http.Header{"Coder-Session-Token": {own.Reveal()}}, "/api/v2/privacy/me", nil)
	_, page := r.Scrape(t, "text/plain")
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "coderd_insights_"):
			texts["gauges"] += line
		case strings.HasPrefix(line, "coderd_agentstats_"):
			texts["agent stats"] += line
		}
	}
	return texts
}
