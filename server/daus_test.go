package server_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// dausOf are the days with users of an answer, as "date users".
func dausOf(t *testing.T, status int, body map[string]any) (days []string) {
	t.Helper()
	entries, ok := body["entries"].([]any)
	if status != 200 || !ok {
		t.Fatalf("%d %v", status, body)
	}
	if len(entries) != 61 {
		t.Errorf("%d entries, want 61", len(entries))
	}
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if entry["amount"] != 0.0 {
			days = append(days, fmt.Sprintf("%s %v", entry["date"], entry["amount"]))
		}
	}
	return days
}

// Days begin at local midnight: of every offset, and of zones with quarters of an hour and summer time.
func TestDAUsOfEveryZone(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	at := time.Date(2023, 8, 10, 18, 14, 0, 0, time.UTC) // one minute before the 11th of August in Kathmandu
	for i := range 2 {                                   // and one in it
		r.ReportStats(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), []*insightsv1.AgentReport{{
			AgentId: f.Agents[i][i].String(), CollectedAt: timestamppb.New(at.Add(time.Duration(i) * time.Minute)), ConnectionCount: 1,
			SessionCounts: map[string]int64{"ssh": 1},
		}})
	}
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for hours := -12; hours <= 14; hours++ {
		params := url.Values{"tz_offset": {fmt.Sprint(hours)}}
		status, body := r.Get(t, owner, "/api/v2/insights/daus", params)
		want := at.In(time.FixedZone("", hours*3600)).Format(time.DateOnly) + " 2"
		if got := dausOf(t, status, body); len(got) != 1 || got[0] != want || body["tz_hour_offset"] != float64(hours) {
			t.Errorf("offset %d: %v (%v), want %s", hours, got, body["tz_hour_offset"], want)
		}
	}
	for zone, want := range map[string]string{
		"Asia/Kathmandu": "2023-08-10 1, 2023-08-11 1", "America/New_York": "2023-08-10 2", "Pacific/Kiritimati": "2023-08-11 2",
		"Pacific/Chatham": "2023-08-11 2",
	} {
		status, body := r.Get(t, owner, "/api/v2/insights/daus", url.Values{"timezone": {zone}})
		if got := strings.Join(dausOf(t, status, body), ", "); got != want {
			t.Errorf("%s: %s, want %s", zone, got, want)
		}
		status, body = r.Get(t, owner, "/api/v2/templates/"+f.Templates[1].String()+"/daus", url.Values{"timezone": {zone}})
		last := want[strings.LastIndex(want, ", ")+1:]
		last = strings.TrimSpace(last[:len(last)-1]) + " 1"
		if got := strings.Join(dausOf(t, status, body), ", "); got != last {
			t.Errorf("one template, %s: %s, want %s", zone, got, last)
		}
	}
}

func TestDAUsAccess(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	auditor := r.Token(t, access.RoleOrganizationAuditor, f.Organization)
	if status, body := r.Get(t, auditor, "/api/v2/insights/daus", nil); status != 403 {
		t.Errorf("deployment: %d %v", status, body)
	}
	if status, body := r.Get(t, auditor, "/api/v2/templates/"+f.Templates[0].String()+"/daus", nil); status != 200 {
		t.Errorf("own template: %d %v", status, body)
	}
	owner := r.Token(t, access.RoleOwner, servertest.Everywhere)
	for name, c := range map[string]struct {
		token, path string
		status      int
	}{
		"no id":              {owner, "/api/v2/templates/x/daus", 400},
		"unknown template":   {owner, "/api/v2/templates/00000000-0000-0000-0000-000000000001/daus", 200},
		"unknown to auditor": {auditor, "/api/v2/templates/00000000-0000-0000-0000-000000000001/daus", 404},
	} {
		if status, body := r.Get(t, c.token, c.path, nil); status != c.status {
			t.Errorf("%s: %d %v, want %d", name, status, body, c.status)
		}
	}
	if _, err := insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateDAUs(
		servertest.As(t.Context(), owner), &insightsv1.GetTemplateDAUsRequest{},
	); err == nil {
		t.Error("no template is all templates")
	}
}
