package server_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
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

// crowd is a server with so many people, of whom person i spent 1 + i/2 minutes on the day before yesterday and as many
// yesterday, at a latency of 10 (i+1) ms; the last one was not measured. It returns the names in order of the ids.
func crowd(t *testing.T, size int) (r *running, owner string, byID []string) {
	t.Helper()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r = run(t, f.Database, storetest.Now, nil)
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	change := &insightsv1.ApplyCatalogRequest{}
	var reports []*insightsv1.AgentReport
	names := map[string]string{}
	for i := range size {
		user, workspace, agent := uuid.NewString(), uuid.NewString(), uuid.NewString()
		name := fmt.Sprintf("Person%02d", i)
		names[user] = name
		change.Users = append(change.Users, &insightsv1.User{Id: user, Username: name})
		change.Workspaces = append(change.Workspaces, &insightsv1.Workspace{
			Id: workspace, OwnerId: user, TemplateId: f.Templates[i%2].String(), Name: "w",
		})
		change.Agents = append(change.Agents, &insightsv1.Agent{Id: agent, WorkspaceId: workspace, Name: "main"})
		for m := range 1 + i/2 {
			for day := range 2 {
				at := storetest.Now.AddDate(0, 0, -1-day).Add(time.Duration(m) * time.Minute)
				latency := float64(10 * (i + 1))
				if i == size-1 {
					latency = -1
				}
				reports = append(reports, &insightsv1.AgentReport{
					AgentId: agent, CollectedAt: timestamppb.New(at), ConnectionCount: 1, SessionCounts: map[string]int64{"vscode": 1},
					ConnectionMedianLatencyMs: latency,
				})
			}
		}
	}
	r.Apply(t, controlPlane, change)
	r.ReportStats(t, controlPlane, reports)
	for _, id := range slices.Sorted(maps.Keys(names)) {
		byID = append(byID, names[id])
	}
	return r, r.Token(t, access.RoleOwner, servertest.Everywhere), byID
}

// people are the names on the page that an answer holds, and its token for the next.
func people(t *testing.T, status int, body map[string]any) (names []string, next string) {
	t.Helper()
	report, ok := body["report"].(map[string]any)
	if status != 200 || !ok {
		t.Fatalf("%d %v", status, body)
	}
	users, _ := report["users"].([]any)
	for _, u := range users {
		names = append(names, u.(map[string]any)["username"].(string))
	}
	next, _ = body["next_page_token"].(string)
	return names, next
}

func numbered(numbers ...int) (names []string) {
	for _, n := range numbers {
		names = append(names, fmt.Sprintf("Person%02d", n))
	}
	return names
}

// Orders, pages of any size and searches: the pages together are the list.
func TestPeoplePages(t *testing.T) {
	t.Parallel()
	r, owner, byID := crowd(t, 6)
	for name, c := range map[string]struct {
		path, sort, search string
		want               []string
	}{
		"activity, ranked":        {"user-activity", "", "", numbered(4, 5, 2, 3, 0, 1)},
		"activity by seconds":     {"user-activity", "seconds", "", numbered(4, 5, 2, 3, 0, 1)},
		"activity by name":        {"user-activity", "username", "", numbered(0, 1, 2, 3, 4, 5)},
		"activity, the old order": {"user-activity", "user_id", "", byID},
		"activity, one name":      {"user-activity", "", "sOn03", numbered(3)},
		"activity, no name":       {"user-activity", "", "%", nil},
		"latency, ranked":         {"user-latency", "", "", numbered(4, 3, 2, 1, 0, 5)},
		"latency by the median":   {"user-latency", "p50", "", numbered(4, 3, 2, 1, 0, 5)},
		"latency, the old order":  {"user-latency", "user_id", "", byID},
		"latency, some names":     {"user-latency", "username", "PERSON0", numbered(0, 1, 2, 3, 4, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{0, 1, 2, 4, 6, 1000} {
				params := url.Values{
					"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}, "page_size": {fmt.Sprint(size)},
				}
				for key, value := range map[string]string{"sort": c.sort, "search": c.search} {
					if value != "" {
						params.Set(key, value)
					}
				}
				var got []string
				for pages := 1; ; pages++ {
					status, body := r.Get(t, owner, "/api/v2/insights/"+c.path, params)
					page, next := people(t, status, body)
					if total := body["report"].(map[string]any)["total_users"]; total != float64(len(c.want)) {
						t.Errorf("total %v, want %d", total, len(c.want))
					}
					if size > 0 && len(page) > size || next != "" && len(page) != size {
						t.Errorf("a page of %d has %d users", size, len(page))
					}
					got = append(got, page...)
					if next == "" || pages > len(c.want) {
						break
					}
					params.Set("page_token", next)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("pages of %d (-want +got):\n%s", size, diff)
				}
			}
		})
	}
}

// A page token goes with its question.
func TestForeignPageToken(t *testing.T) {
	t.Parallel()
	r, owner, _ := crowd(t, 3)
	params := url.Values{"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}, "page_size": {"1"}}
	status, body := r.Get(t, owner, "/api/v2/insights/user-activity", params)
	_, next := people(t, status, body)
	params.Set("page_token", next)
	params.Set("page_size", "2")
	status, body = r.Get(t, owner, "/api/v2/insights/user-activity", params)
	if got, _ := people(t, status, body); !slices.Equal(got, numbered(0, 1)) {
		t.Errorf("another size with the same token: %v", got)
	}
	for name, change := range map[string][2]string{
		"other order": {"sort", "username"}, "other search": {"search", "p"}, "other window": {"end_time", "2023-08-14T00:00:00Z"},
		"no token": {"page_token", "AAAA"}, "no base64": {"page_token", "!"},
	} {
		other := maps.Clone(params)
		other.Set(change[0], change[1])
		status, body := r.Get(t, owner, "/api/v2/insights/user-activity", other)
		if status != 400 || !strings.Contains(fmt.Sprint(body), "page_token") {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	if status, body := r.Get(t, owner, "/api/v2/insights/user-latency", params); status != 400 {
		t.Errorf("a token of the other list: %d %v", status, body)
	}
}

// A page token says nothing to who finds it, is short, means the same to every server of the deployment, and ends when a privacy mode
// changes anywhere.
func TestPageTokenIsSealed(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	p := newPatient(t, database, nil)
	other := run(t, database, storetest.Now, nil)
	long := "Person" + strings.Repeat("\u00e4", 61)
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{Users: []*insightsv1.User{{Id: p.Users[0].String(), Username: long}}})
	p.everybody(t, nil)
	window := url.Values{"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T12:00:00Z"}, "page_size": {"1"}}
	paths := map[string]url.Values{
		"/api/v2/insights/user-activity": maps.Clone(window), "/api/v2/insights/user-latency": maps.Clone(window),
		"/api/v2/access/tokens": {"page_size": {"1"}}, "/api/v2/access/role-bindings": {"page_size": {"1"}},
		"/api/v2/access/audit-events": {"page_size": {"1"}},
	}
	// The trail comes last: it holds who was asked about.
	for _, path := range slices.SortedFunc(maps.Keys(paths), func(a, b string) int { return strings.Compare(b, a) }) {
		params := paths[path]
		if strings.Contains(path, "insights") {
			params.Set("sort", "username")
		}
		status, body := p.Get(t, p.owner, path, params)
		next, _ := body["next_page_token"].(string)
		sealed, err := base64.RawURLEncoding.DecodeString(next)
		if status != 200 || next == "" || err != nil || len(next) > 800 {
			t.Fatalf("%s: %d %v, %v", path, status, body, err)
		}
		for _, hidden := range []string{"Person", p.Users[0].String()} {
			if strings.Contains(next, hidden) || strings.Contains(string(sealed), hidden) {
				t.Errorf("%s: the token %q holds %s", path, sealed, hidden)
			}
		}
		if _, again := p.Get(t, p.owner, path, params); again["next_page_token"] == next {
			t.Errorf("%s: one token for one place tells who asked for the same", path)
		}
		params.Set("page_token", next)
		if status, body := other.Get(t, p.owner, path, params); status != 200 {
			t.Errorf("%s from another server: %d %v", path, status, body)
		}
	}
	for _, mode := range []store.PrivacyMode{store.PrivacyPseudonym, store.PrivacyFull} {
		p.setMode(t, mode)
		for path, params := range paths {
			status, body := other.Get(t, p.owner, path, params)
			if text := fmt.Sprint(body["validations"]); status != 400 || !strings.Contains(text, "page_token") ||
				!strings.Contains(text, "another privacy mode") {
				t.Errorf("%s after a change to %s: %d %v", path, mode, status, body)
			}
		}
	}
}

// What a user did, and how quick it was.
func TestPeopleDetails(t *testing.T) {
	t.Parallel()
	r, owner, _ := crowd(t, 3)
	client := insightsv1.NewInsightsServiceClient(r.Conn)
	activity := servertest.Must(t, client.GetUserActivity, owner, &insightsv1.GetUserActivityRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
	})
	first := activity.GetReport().GetUsers()[0]
	if first.GetUsername() != "Person02" || first.GetSeconds() != 240 || first.GetActiveDays() != 2 ||
		first.GetMedianDailySeconds() != 120 || activity.GetDataAsOf() != "2023-08-15T12:00:00Z" {
		t.Errorf("activity: %v as of %s", first, activity.GetDataAsOf())
	}
	apps := first.GetApps()
	if len(apps) != 1 || apps[0].GetSlug() != "vscode" || apps[0].GetType() != "builtin" || apps[0].GetSeconds() != 240 {
		t.Errorf("apps: %v", apps)
	}
	latency := servertest.Must(t, client.GetUserLatency, owner, &insightsv1.GetUserLatencyRequest{
		StartTime: "2023-08-13T00:00:00Z", EndTime: "2023-08-15T00:00:00Z",
	})
	var got []string
	for _, u := range latency.GetReport().GetUsers() {
		l := u.GetLatencyMs()
		got = append(got, fmt.Sprintf("%s %.0f %d %s", u.GetUsername(), l.GetP95(), l.GetSamples(), l.GetRating()))
	}
	if want := []string{"Person01 20 2 good", "Person00 10 2 good", "Person02 -1 0 unknown"}; !slices.Equal(want, got) {
		t.Errorf("latency %v, want %v", got, want)
	}
}
