package server_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// The rows of every table, in every format, are those that the question itself answers over REST and gRPC.
func TestExports(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	idle, old := uuid.NewString(), before(24*30, 0)
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Users: []*insightsv1.User{
			{Id: p.Users[0].String(), Username: `=HYPERLINK("http://x";"a,b")`}, {Id: idle, Username: "idle", CreatedAt: old},
		},
		Workspaces: []*insightsv1.Workspace{
			{Id: uuid.NewString(), OwnerId: idle, TemplateId: p.Templates[0].String(), Name: "idle", CreatedAt: old},
		},
	})
	p.everybody(t, func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs, r.AgentVersion = 400, "1" })
	for m := range 10 {
		p.send(t, p.session(1, before(30, m), func(r *insightsv1.AgentReport) {
			r.ConnectionMedianLatencyMs, r.SessionCounts = 400, map[string]int64{"my_editor": 1}
		}))
	}
	p.declare(t, "wiki", "docs")
	p.open(t, "wiki")
	p.build(t, before(24, 0), "-1+1")
	readStatusVector(t).apply(t, p.running)
	byMethod := map[string]question{}
	for _, q := range questions(t, p.Templates[0]) {
		byMethod[q.method] = q
	}
	sources, err := rest.ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for name, from := range sources {
		t.Run(name, func(t *testing.T) {
			q := byMethod[from.Method]
			params := url.Values{}
			wiretest.AddParams(params, "", q.request.ProtoReflect())
			var body map[string]any
			p.GetInto(t, p.owner, q.path, q.params(), &body)
			want := tableOf(from, time.UTC).rows(t, body)
			if len(want) > 0 {
				filled++
			}
			answer := from.Answer.New().Interface()
			if err := p.Conn.Invoke(servertest.As(t.Context(), p.owner), from.Method, q.request, answer); err != nil {
				t.Fatal(err)
			}
			for format := range rest.ExportFormats {
				got := p.export(t, p.owner, name, format, params)
				checkTable(t, from, format, got, want)
				if format == "parquet" {
					continue // it is written with the time
				}
				var own bytes.Buffer
				writeTable(t, &own, from, format, answer)
				if diff := cmp.Diff(own.String(), string(got)); diff != "" {
					t.Errorf("gRPC and export differ (-gRPC +export):\n%s", diff)
				}
			}
		})
	}
	if filled < len(sources)-5 { // no advice, no projection, no hours of three people, no findings, no options
		t.Errorf("%d of %d tables have rows", filled, len(sources))
	}
}

// export fetches a table.
func (p *patient) export(t *testing.T, token, table, format string, params url.Values) []byte {
	t.Helper()
	params = maps.Clone(params)
	params.Set("format", format)
	status, header, text := p.Fetch(
		t, http.Header{"Coder-Session-Token": {token}}, strings.Replace(rest.ExportRoute, "{table}", table, 1)+"?"+params.Encode(),
	)
	if status != http.StatusOK || header.Get("Content-Type") != rest.ExportFormats[format].ContentType ||
		header.Get("Content-Disposition") != fmt.Sprintf(`attachment; filename="%s.%s"`, table, format) {
		t.Fatalf("%s as %s: %d %v %.300s", table, format, status, header, text)
	}
	return text
}

func writeTable(t *testing.T, to *bytes.Buffer, from rest.ExportSource, format string, answer proto.Message) {
	t.Helper()
	w, err := rest.ExportFormats[format].Open(to, from.Columns)
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Walk(answer.ProtoReflect(), nil, w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// The dates beside times are those of the days that the question is about, whatever offset its times have.
func TestExportDates(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	file := p.export(t, p.owner, "capacity", "csv", url.Values{
		"start_time": {"2023-08-13T22:00:00Z"}, "end_time": {"2023-08-14T22:00:00Z"}, "timezone": {"Europe/Berlin"},
	})
	const want = "\ufeffstart_time,start_date,end_time,end_date,template_ids,active_users,peak_users,empty_window,small_groups_hidden\r\n" +
		`"2023-08-13T22:00:00Z","2023-08-14","2023-08-14T22:00:00Z","2023-08-15","[]",0,0,false,false` + "\r\n"
	if diff := cmp.Diff(want, string(file)); diff != "" {
		t.Errorf("the file (-want +got):\n%s", diff)
	}
}

// An export is refused as its question is, and tells what is wrong with either.
func TestExportRefusals(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	member := p.Token(t, access.RoleMember, servertest.Everywhere)
	const window = "start_time=2023-08-01T00:00:00Z&end_time=2023-08-15T00:00:00Z"
	for name, c := range map[string]struct {
		token, query string
		status       int
		says         string
	}{
		"unknown table": {p.owner, "everything?" + window, 404, "There is no such route."},
		"unknown format": {
			p.owner, "apps?format=xls&" + window, 400, `{"field":"format","detail":"must be one of [csv ndjson parquet]"}`,
		},
		"two formats":       {p.owner, "apps?format=csv&format=csv&" + window, 400, `"field":"format"`},
		"unknown parameter": {p.owner, "apps?colour=red&format=csv&" + window, 400, `"validations":[{"field":"colour"`},
		"no window":         {p.owner, "apps", 400, `"field":"start_time"`},
		"bad window":        {p.owner, "apps?start_time=x&end_time=y", 400, `"field":"start_time"`},
		"foreign template": {
			p.Token(t, access.RoleOrganizationAuditor, p.Organization), "apps?template_ids=" + nowhere + "&" + window, 404,
			call.MessageNotFound,
		},
		"nobody":           {"", "apps?" + window, 401, call.MessageUnauthenticated},
		"a member":         {member, "user-activity?" + window, 404, call.MessageNotFound},
		"a member, counts": {member, "daus", 403, call.MessageForbidden},
	} {
		header := http.Header{}
		if c.token != "" {
			header.Set("Coder-Session-Token", c.token)
		}
		status, answered, text := p.Fetch(t, header, "/api/v2/insights/export/"+c.query)
		if status != c.status || !strings.Contains(string(text), c.says) ||
			answered.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%s: %d %s %s, want %d and %s", name, status, answered.Get("Content-Type"), text, c.status, c.says)
		}
	}
	auditor := p.Token(t, access.RoleAuditor, servertest.Everywhere)
	for _, table := range []string{"capacity-hours", "high-latency-users"} {
		p.export(t, auditor, table, "csv", url.Values{"start_time": {"2023-08-01T00:00:00Z"}, "end_time": {"2023-08-15T00:00:00Z"}})
	}
	want := []string{`GetSupportReport as file {"start_time":"2023-08-01T00:00:00Z","end_time":"2023-08-15T00:00:00Z"}`}
	if diff := cmp.Diff(want, p.trail(t, auditor, &insightsv1.ListAuditEventsRequest{})); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
}

// More rows than are held at a time are written as they come, and none is lost.
func TestExportStreams(t *testing.T) {
	t.Parallel()
	sources, err := rest.ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	from := sources["daus"]
	answer := &insightsv1.GetDeploymentDAUsResponse{}
	const count = 2*rest.RowGroup + 1
	for i := range count {
		answer.Entries = append(answer.Entries, &insightsv1.DAUEntry{Date: fmt.Sprint(i), Amount: int64(i)})
	}
	for format := range rest.ExportFormats {
		var out bytes.Buffer
		w, err := rest.ExportFormats[format].Open(&out, from.Columns)
		if err != nil {
			t.Fatal(err)
		}
		rows, grown, before := 0, 0, 0
		if err := from.Walk(answer.ProtoReflect(), nil, func(row []protoreflect.Value) error {
			if rows++; out.Len() > before {
				grown, before = grown+1, out.Len()
			}
			return w.Write(row)
		}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if rows != count || grown < 2 {
			t.Errorf("%s: %d rows, written at %d times", format, rows, grown)
		}
		if format != "parquet" {
			continue
		}
		r, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if r.NumRows() != count || r.NumRowGroups() != 3 {
			t.Errorf("%d rows in %d groups", r.NumRows(), r.NumRowGroups())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for i, row := range readParquet(t, from.Columns, out.Bytes()) { // groups share memory
			if row["date"] != fmt.Sprint(i) || row["amount"] != float64(i) {
				t.Fatalf("row %d: %v", i, row)
			}
		}
	}
}

// A file may have more rows than an answer in JSON, which somebody reads whole.
func TestExportManyRows(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	r := run(t, f.Database, storetest.Now, nil)
	const apps, days = 30, 350
	today := storetest.Now.Truncate(24 * time.Hour)
	var rows []store.OpenRow
	for day := range days {
		for app := range apps {
			rows = append(rows, store.OpenRow{Template: f.Templates[0], Row: minute.Row{
				HalfHour: int32(today.AddDate(0, 0, -day-1).Unix()/1800) + int32(app), Subject: f.Subject[f.Users[0]], Kind: minute.Session,
				App: fmt.Sprint("app", app), Minutes: 1, Connected: true,
			}})
		}
	}
	if err := f.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Coder-Session-Token": {r.Token(t, access.RoleOwner, servertest.Everywhere)}}
	params := url.Values{
		"start_time": {today.AddDate(0, 0, -days).Format(time.RFC3339)}, "end_time": {today.Format(time.RFC3339)},
		"metrics": {"used_seconds"}, "dimensions": {"app,interval"}, "interval": {"day"},
	}
	if status, _, text := r.Fetch(t, header, "/api/v2/insights/query?"+params.Encode()); status != http.StatusBadRequest {
		t.Errorf("as JSON: %d %.300s", status, text)
	}
	status, _, text := r.Fetch(t, header, "/api/v2/insights/export/query?"+params.Encode())
	if lines := strings.Count(string(text), "\r\n"); status != http.StatusOK || lines != apps*days+1 {
		t.Errorf("as a file: %d, %d lines", status, lines)
	}
}
