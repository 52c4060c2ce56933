package server_test

import (
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// statusVector is changes of the status of users with the last counts that they make.
type statusVector struct {
	Clock   struct{ Now time.Time }
	Params  map[string]string
	Changes []struct {
		User, Status string
		At           time.Time
		System       bool
	}
	Deletions []struct {
		User string
		At   time.Time
	}
	Dates    int                 `json:"expected_dates"`
	Expected map[string][][2]any `json:"expected_tail"`
}

// apply tells a server about the users, each with an id of its own, and what became of them.
func (v statusVector) apply(t *testing.T, r *running, organizations ...string) {
	t.Helper()
	catalog := &insightsv1.ApplyCatalogRequest{}
	for _, id := range organizations {
		catalog.Organizations = append(catalog.Organizations, &insightsv1.Organization{Id: id, Name: id})
	}
	var events []*insightsv1.Event
	known := map[string]*insightsv1.User{}
	for _, c := range v.Changes {
		if known[c.User] == nil {
			user := &insightsv1.User{Id: uuid.NewString(), Username: c.User, OrganizationIds: organizations}
			if c.System {
				user.Kind = "system"
			}
			known[c.User] = user
			catalog.Users = append(catalog.Users, user)
		}
		events = append(events, &insightsv1.Event{At: timestamppb.New(c.At), Kind: &insightsv1.Event_UserStatus{
			UserStatus: &insightsv1.UserStatusEvent{UserId: known[c.User].GetId(), Status: c.Status},
		}})
	}
	for _, d := range v.Deletions {
		known[d.User].DeletedAt = timestamppb.New(d.At)
	}
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	r.Apply(t, controlPlane, catalog)
	slices.Reverse(events) // the order of arrival does not matter
	r.ReportEvents(t, controlPlane, events)
}

func readStatusVector(t *testing.T) statusVector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors/user-status/basic.json")
	if err != nil {
		t.Fatal(err)
	}
	var v statusVector
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestUserStatusVector(t *testing.T) {
	t.Parallel()
	v := readStatusVector(t)
	for database, open := range servertest.Databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			r := run(t, open(t), v.Clock.Now, nil)
			v.apply(t, r)
			params := url.Values{}
			for name, value := range v.Params {
				params.Set(name, value)
			}
			status, body := r.Get(t, r.Token(t, access.RoleOwner, servertest.Everywhere), "/api/v2/insights/user-status-counts", params)
			counts, ok := body["status_counts"].(map[string]any)
			if status != 200 || !ok || len(counts) != len(v.Expected) {
				t.Fatalf("%d %v", status, body)
			}
			for name, want := range v.Expected {
				series, _ := counts[name].([]any)
				if len(series) != v.Dates {
					t.Fatalf("%s has %d dates, want %d", name, len(series), v.Dates)
				}
				var got [][2]any
				for _, point := range series[len(series)-len(want):] {
					p, _ := point.(map[string]any)
					date, midnight := strings.CutSuffix(p["date"].(string), "T00:00:00Z")
					if !midnight {
						t.Errorf("%s: date %v is no midnight", name, p["date"])
					}
					got = append(got, [2]any{date, p["count"]})
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// Without a change there is no series; an organization's admin counts the organization's users alone; midnights follow the
// calendar of the zone through its change to winter time.
func TestUserStatusCounts(t *testing.T) {
	t.Parallel()
	v := readStatusVector(t)
	r := run(t, storetest.SQLite(t), wiretest.Instant(t, "2023-11-08T14:20:00Z"), nil)
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	ask := func(token string, params url.Values) map[string]any {
		t.Helper()
		status, body := r.Get(t, token, "/api/v2/insights/user-status-counts", params)
		counts, ok := body["status_counts"].(map[string]any)
		if status != 200 || !ok {
			t.Fatalf("%d %v", status, body)
		}
		return counts
	}
	if got := ask(owner, nil); len(got) != 0 {
		t.Errorf("without any change: %v, want an empty object", got)
	}
	organization, other := uuid.New(), uuid.New()
	v.apply(t, r, organization.String())
	points, _ := ask(owner, url.Values{"timezone": {"America/New_York"}})["active"].([]any)
	if len(points) != 61 {
		t.Fatalf("%d points, want 61", len(points))
	}
	for i, want := range map[int]string{
		0: "2023-09-09T00:00:00-04:00", 57: "2023-11-05T00:00:00-04:00", 58: "2023-11-06T00:00:00-05:00", 60: "2023-11-08T00:00:00-05:00",
	} {
		if p, _ := points[i].(map[string]any); p["date"] != want {
			t.Errorf("point %d is at %v, want %s", i, p["date"], want)
		}
	}
	if got := ask(r.Token(t, access.RoleOrganizationUserAdmin, organization), nil); len(got) != 3 {
		t.Errorf("admin of the organization gets %d series, want 3", len(got))
	}
	if got := ask(r.Token(t, access.RoleOrganizationUserAdmin, other), nil); len(got) != 0 {
		t.Errorf("admin of another organization gets %v", got)
	}
	status, body := r.Get(t, r.Token(t, access.RoleProxy, servertest.Everywhere), "/api/v2/insights/user-status-counts", nil)
	if status != 403 {
		t.Errorf("who may not read users: %d %v", status, body)
	}
}
