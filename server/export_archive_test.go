package server_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// An archive has the same files as the tables have alone, each with the parameters that its question has. Each question is asked
// once.
func TestExportArchive(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.everybody(t, func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = 400 })
	window := url.Values{"start_time": {"2023-08-12T22:00:00Z"}, "end_time": {"2023-08-14T22:00:00Z"}, "timezone": {"Europe/Berlin"}}
	alone := map[string]url.Values{
		"active-users": {"interval": {"day"}}, "apps": nil, "user-activity": {"search": {"user1"}}, "user-apps": {"search": {"user1"}},
		"user-latency": {"search": {"user1"}}, "capacity": nil,
	}
	auditor := p.Token(t, access.RoleAuditor, servertest.Everywhere)
	for _, format := range []string{"csv", "ndjson"} {
		query := url.Values{"tables": {"active-users, apps,user-activity", "user-apps,user-latency,capacity"}, "format": {format}}
		for name, values := range window {
			query[name] = values
		}
		query.Set("interval", "day")
		query.Set("search", "user1")
		status, header, body := p.Fetch(t, http.Header{"Coder-Session-Token": {auditor}}, rest.ArchiveRoute+"?"+query.Encode())
		if status != http.StatusOK || header.Get("Content-Type") != rest.ArchiveType ||
			header.Get("Content-Disposition") != `attachment; filename="insights.zip"` {
			t.Fatalf("%d %v %.300s", status, header, body)
		}
		archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, file := range archive.File {
			table := strings.TrimSuffix(file.Name, "."+format)
			names = append(names, table)
			params := url.Values{}
			for _, values := range []url.Values{window, alone[table]} {
				for name := range values {
					params[name] = values[name]
				}
			}
			if diff := cmp.Diff(string(p.export(t, p.owner, table, format, params)), string(content(t, file))); diff != "" {
				t.Errorf("%s (-alone +archive):\n%s", file.Name, diff)
			}
		}
		if want := []string{"active-users", "apps", "user-activity", "user-apps", "user-latency", "capacity"}; !slices.Equal(names, want) {
			t.Errorf("files %v, want %v", names, want)
		}
	}
	asked := map[string]int{}
	me := servertest.Must(t, insightsv1.NewAccessServiceClient(p.Conn).WhoAmI, auditor, &insightsv1.WhoAmIRequest{})
	for _, event := range p.trail(t, p.owner, &insightsv1.ListAuditEventsRequest{Principal: me.GetPrincipal()}) {
		action, _, _ := strings.Cut(event, " {")
		asked[action]++
	}
	if diff := cmp.Diff(map[string]int{"GetUserActivity as file": 2, "GetUserLatency as file": 2}, asked); diff != "" {
		t.Errorf("trail of two archives (-want +got):\n%s", diff)
	}
}

func content(t *testing.T, file *zip.File) []byte {
	t.Helper()
	in, err := file.Open()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// An archive is refused as any of its tables is, before it begins.
func TestExportArchiveRefusals(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	const window = "&start_time=2023-08-01T00:00:00Z&end_time=2023-08-15T00:00:00Z"
	for name, c := range map[string]struct {
		token, query string
		status       int
		says         string
	}{
		"no tables":         {p.owner, "format=csv" + window, 400, `"field":"tables"`},
		"an empty name":     {p.owner, "tables=apps," + window, 400, `"field":"tables"`},
		"unknown table":     {p.owner, "tables=apps,everything" + window, 400, `"field":"tables"`},
		"a table twice":     {p.owner, "tables=apps,apps" + window, 400, `"field":"tables"`},
		"unknown format":    {p.owner, "tables=apps&format=zip" + window, 400, `"field":"format"`},
		"unknown parameter": {p.owner, "tables=apps,user-activity&colour=red" + window, 400, `"field":"colour"`},
		"no question's own": {p.owner, "tables=apps&search=x" + window, 400, `"field":"search"`},
		"no window":         {p.owner, "tables=apps", 400, `"field":"start_time"`},
		"a window of one":   {p.owner, "tables=apps,activity" + window, 400, `"field":"start"`},
		"nobody":            {"", "tables=apps" + window, 401, call.MessageUnauthenticated},
		"totals alone": {
			p.Token(t, access.RoleMember, servertest.Everywhere), "tables=daus", 403, call.MessageForbidden,
		},
		"one table": {
			p.Token(t, access.RoleMember, servertest.Everywhere), "tables=user-activity" + window, 404, call.MessageNotFound,
		},
	} {
		header := http.Header{}
		if c.token != "" {
			header.Set("Coder-Session-Token", c.token)
		}
		status, answered, text := p.Fetch(t, header, rest.ArchiveRoute+"?"+c.query)
		if status != c.status || !strings.Contains(string(text), c.says) ||
			answered.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: %d %s %s, want %d and %s", name, status, answered.Get("Content-Type"), text, c.status, c.says)
		}
	}
}
