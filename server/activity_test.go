package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

const activityPath = "/api/private/metrics/activity"

// office is a server in which user0 used an editor, an SSH session, a terminal, an app and a web IDE in the first template
// and user1 an app in the second, and user0 signed in.
func office(t *testing.T, database string) (*running, *storetest.Fixture, string) {
	t.Helper()
	f := storetest.NewFixture(t, database)
	r := run(t, f.Database, storetest.Now, nil)
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	at := func(day, minute int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2023, 8, day, 9, minute, 0, 0, time.UTC))
	}
	var reports []*insightsv1.AgentReport
	session := func(day, from, minutes int, name string) {
		for m := range minutes {
			reports = append(reports, &insightsv1.AgentReport{
				AgentId: f.Agents[0][0].String(), CollectedAt: at(day, from+m), ConnectionCount: 1,
				SessionCounts: map[string]int64{name: 1},
			})
		}
	}
	session(1, 0, 5, "VSCode-Insiders")
	session(1, 3, 4, "ssh")              // two minutes of it beside the editor
	session(9, 0, 3, "reconnecting_pty") // in the second week
	session(9, 0, 1, "my_editor")
	r.ReportStats(t, controlPlane, reports)
	app := func(template, user, day, from, minutes int, slug, method string) *insightsv1.AppSession {
		return &insightsv1.AppSession{
			AgentId: f.Agents[template][user].String(), UserId: f.Users[user].String(), SlugOrPort: slug, AccessMethod: method,
			StartedAt: at(day, from), EndedAt: at(day, from+minutes),
		}
	}
	r.ReportSessions(t, controlPlane, []*insightsv1.AppSession{
		app(0, 0, 1, 20, 6, "wiki", "path"), app(0, 0, 1, 30, 7, "code-server", "subdomain"), app(0, 0, 9, 40, 8, "", "terminal"),
		app(1, 1, 10, 0, 2, "8080", "subdomain"),
	})
	r.ReportEvents(t, controlPlane, []*insightsv1.Event{
		{At: at(1, 50), Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: f.Users[0].String()}}},
	})
	return r, f, r.Token(t, access.RoleOwner, servertest.Everywhere)
}

// perWeek are the active minutes of each user by step, and the steps' lengths.
func perWeek(t *testing.T, body map[string]any, f *storetest.Fixture) (steps []string) {
	t.Helper()
	activity, ok := body["activity"].([]any)
	if !ok {
		t.Fatalf("no activity: %v", body)
	}
	for _, a := range activity {
		step, _ := a.(map[string]any)
		text := fmt.Sprintf("%s %vh", step["time"], time.Duration(step["duration"].(float64)).Hours())
		for _, u := range step["user_activity"].([]any) {
			user, _ := u.(map[string]any)
			for i, id := range f.Users {
				if user["user_id"] == id.String() {
					text += fmt.Sprintf(" user%d %v", i, user["count"])
				}
			}
			if user["duration"] != user["count"].(float64)*60e9 {
				t.Errorf("duration %v of %v minutes", user["duration"], user["count"])
			}
		}
		steps = append(steps, text)
	}
	return steps
}

func TestActivityCategories(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			r, f, owner := office(t, open(t))
			for category, want := range map[string][3]string{
				"any":          {" user0 21", " user0 11 user1 2", ""}, // 7 of sessions, 6, 7 and 1 of the login; 3 and 8
				"ide":          {" user0 12", "", ""},
				"tunnel":       {" user0 4", " user0 1", ""},
				"app":          {" user0 6", " user1 2", ""},
				"web terminal": {"", " user0 11", ""},
				"web-terminal": {"", " user0 11", ""},
				"Web_Terminal": {"", " user0 11", ""},
				"login":        {" user0 1", "", ""},
			} {
				status, body := r.Get(t, owner, activityPath, url.Values{
					"start": {"2023-08-01T00:00:00.000000Z"}, "end": {"2023-08-16T00:00:00.000000Z"}, "category": {category},
					"interval": {"1 week"},
				})
				if status != 200 {
					t.Fatalf("%s: %d %v", category, status, body)
				}
				steps := []string{
					"2023-08-01T00:00:00Z 168h" + want[0], "2023-08-08T00:00:00Z 168h" + want[1],
					"2023-08-15T00:00:00Z 13h" + want[2], // up to the coming hour
				}
				if diff := cmp.Diff(steps, perWeek(t, body, f)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", category, diff)
				}
			}
		})
	}
}

// The answer has the fields and units of the older API; sums are those of the steps.
func TestActivityShape(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/v1-activity/shape.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Request struct {
			Path, Header string
			Params       map[string]*string
		}
		Response map[string]any `json:"response_example"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	r, f, owner := office(t, storetest.SQLite(t))
	if _, err := r.Store.GrantRole(t.Context(), store.RoleBinding{
		PrincipalKind: access.KindUser, PrincipalID: f.Users[0], Role: access.RoleAuditor,
	}); err != nil {
		t.Fatal(err)
	}
	params := url.Values{}
	for name, value := range v.Request.Params {
		if value != nil {
			params.Set(name, strings.Replace(*value, "2022", "2023", 1))
		}
	}
	status, _, answer := r.Fetch(t, http.Header{http.CanonicalHeaderKey(v.Request.Header): {owner}}, v.Request.Path+"?"+params.Encode())
	var body map[string]any
	if err := json.Unmarshal(answer, &body); err != nil || status != 200 {
		t.Fatal(status, err, body)
	}
	step := body["activity"].([]any)[0].(map[string]any)
	wantKeys(t, v.Response["activity"].([]any)[0].(map[string]any), step)
	wantKeys(
		t, v.Response["activity"].([]any)[0].(map[string]any)["user_activity"].([]any)[0].(map[string]any),
		step["user_activity"].([]any)[0].(map[string]any),
	)
	if step["duration"] != 604800000000000.0 {
		t.Errorf("a week lasts %v ns", step["duration"])
	}
	user, _ := body["users"].(map[string]any)[f.Users[0].String()].(map[string]any)
	wantKeys(t, v.Response["users"].(map[string]any)["u1"].(map[string]any), user)
	want := map[string]any{
		"id": f.Users[0].String(), "name": "user0", "username": "user0", "roles": []any{"member", "auditor"}, "avatar_hash": "",
		"total_count": 12.0, "total_duration": 12 * 60e9, "kind": "human",
	}
	if diff := cmp.Diff(want, user); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
}

func wantKeys(t *testing.T, want, got map[string]any) {
	t.Helper()
	for key := range want {
		if _, there := got[key]; !there {
			t.Errorf("%s is missing in %v", key, got)
		}
	}
}

// An organization that is named narrows the answer to its templates; unknown and forbidden ones are not found.
func TestActivityOfOrganization(t *testing.T) {
	t.Parallel()
	r, f, owner := office(t, storetest.SQLite(t))
	auditor := r.Token(t, access.RoleOrganizationAuditor, f.Organization)
	stranger := r.Token(t, access.RoleOrganizationAuditor, uuid.New())
	for name, c := range map[string]struct {
		token, org string
		status     int
		want       string
	}{
		"owner, organization":      {owner, f.Organization.String(), 200, "2023-08-01T00:00:00Z 24h user0 20"}, // no login
		"its auditor":              {auditor, f.Organization.String(), 200, "2023-08-01T00:00:00Z 24h user0 20"},
		"its auditor, none named":  {auditor, "", 200, "2023-08-01T00:00:00Z 24h user0 20"},
		"unknown organization":     {owner, uuid.NewString(), 404, ""},
		"no organization":          {owner, "x", 400, ""},
		"of another, organization": {stranger, f.Organization.String(), 404, ""},
	} {
		params := url.Values{"start": {"2023-08-01T00:00:00Z"}, "end": {"2023-08-02T00:00:00Z"}, "interval": {"1 day"}}
		if c.org != "" {
			params.Set("org", c.org)
		}
		status, body := r.Get(t, c.token, activityPath, params)
		if status != c.status {
			t.Errorf("%s: %d %v, want %d", name, status, body, c.status)
			continue
		}
		if status == 200 {
			if got := perWeek(t, body, f); len(got) != 1 || got[0] != c.want {
				t.Errorf("%s: %v, want %s", name, got, c.want)
			}
		}
	}
}

// Nothing about a person is finer than a day: the range is widened to whole days of its offset, up to the coming hour.
func TestActivityInWholeDays(t *testing.T) {
	t.Parallel()
	r, f, owner := office(t, storetest.SQLite(t))
	for name, c := range map[string]struct {
		start, end, interval string
		want                 []string
	}{
		"an hour": {"2023-08-01T09:00:00Z", "2023-08-01T10:00:00Z", "1 day", []string{"2023-08-01T00:00:00Z 24h user0 21"}},
		"another offset": {
			"2023-08-01T09:00:00+05:45", "2023-08-01T10:00:00Z", "2 days", []string{"2023-08-01T00:00:00+05:45 24h user0 21"},
		},
		"nothing":         {"2023-08-01T09:00:00Z", "2023-08-01T09:00:00Z", "1 day", []string{}},
		"the future":      {"2023-08-15T09:00:00Z", "2030-01-01T00:00:00Z", "1 year", []string{"2023-08-15T00:00:00Z 13h"}},
		"only the future": {"2024-08-15T09:00:00Z", "2030-01-01T00:00:00Z", "1 year", []string{}},
	} {
		status, body := r.Get(t, owner, activityPath, url.Values{"start": {c.start}, "end": {c.end}, "interval": {c.interval}})
		if status != 200 {
			t.Errorf("%s: %d %v", name, status, body)
			continue
		}
		got := perWeek(t, body, f)
		if diff := cmp.Diff(strings.Join(c.want, "\n"), strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
