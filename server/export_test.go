package server_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// The rows of every table, in every format, are those that the question itself answers over REST and gRPC.
func TestExports(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.Apply(t, p.controlPlane, &insightsv1.ApplyCatalogRequest{
		Users: []*insightsv1.User{{Id: p.Users[0].String(), Username: `=HYPERLINK("http://x";"a,b")`}},
	})
	p.everybody(t, func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs, r.AgentVersion = 400, "1" })
	for m := range 10 {
		p.send(t, p.session(1, before(30, m), func(r *insightsv1.AgentReport) { r.ConnectionMedianLatencyMs = 400 }))
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
			var body any
			p.GetInto(t, p.owner, q.path, q.params(), &body)
			want := jsonRows(body, strings.Split(from.Path, "."), from.Word, map[string]any{})
			if len(want) > 0 {
				filled++
			}
			answer := from.Answer.New().Interface()
			if err := p.Conn.Invoke(servertest.As(t.Context(), p.owner), from.Method, q.request, answer); err != nil {
				t.Fatal(err)
			}
			var lines bytes.Buffer
			writeTable(t, &lines, from, "ndjson", answer)

			got := p.export(t, p.owner, name, "ndjson", params)
			if diff := cmp.Diff(lines.String(), string(got)); diff != "" {
				t.Errorf("gRPC and export differ (-gRPC +export):\n%s", diff)
			}
			rows := readLines(t, got)
			for i, row := range rows {
				if i >= len(want) {
					t.Fatalf("%d rows, REST has %d", len(rows), len(want))
				}
				empty := map[string]any{} // JSON leaves some out, and does not say what an empty list is of
				for _, c := range from.Columns {
					empty[c.Name] = map[bool]any{true: []any{}, false: zeroOf(c.Kind)}[c.List]
				}
				maps.DeleteFunc(want[i], func(name string, value any) bool { return empty[name] == nil && fmt.Sprint(value) == "[]" })
				maps.Copy(empty, want[i])
				want[i] = empty
				if diff := cmp.Diff(want[i], row); diff != "" {
					t.Errorf("row %d (-REST +NDJSON):\n%s", i, diff)
				}
			}
			if len(rows) < len(want) {
				t.Errorf("%d rows, REST has %d", len(rows), len(want))
			}
			if diff := cmp.Diff(rows, readCSV(t, from.Columns, p.export(t, p.owner, name, "csv", params))); diff != "" {
				t.Errorf("NDJSON and CSV differ (-NDJSON +CSV):\n%s", diff)
			}
			if diff := cmp.Diff(rows, readParquet(t, p.export(t, p.owner, name, "parquet", params))); diff != "" {
				t.Errorf("NDJSON and Parquet differ (-NDJSON +Parquet):\n%s", diff)
			}
		})
	}
	if filled < len(sources)-4 { // no advice, no projection, no hours of three people, no findings
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
	if err := from.Walk(answer.ProtoReflect(), w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// jsonRows are the rows of a table as the JSON of an answer has them.
func jsonRows(at any, path []string, word string, row map[string]any) (rows []map[string]any) {
	if len(path) == 0 {
		if len(row) == 0 {
			addCells(row, "", at.(map[string]any))
		}
		return []map[string]any{row}
	}
	within := func(item any, path []string, prefix string) {
		next := maps.Clone(row)
		addCells(next, prefix, item.(map[string]any))
		rows = append(rows, jsonRows(item, path, word, next)...)
	}
	object := at.(map[string]any)
	if path[0] == "*" {
		for _, key := range slices.Sorted(maps.Keys(object)) {
			row[word] = key
			for _, item := range object[key].([]any) {
				within(item, path[1:], "")
			}
		}
		return rows
	}
	prefix := word
	if len(row) == 0 {
		prefix = ""
	}
	switch value := object[path[0]].(type) {
	case nil:
	case []any:
		for _, item := range value {
			within(item, path[1:], prefix)
		}
	case map[string]any:
		if path[0] != "users" {
			return jsonRows(value, path[1:], word, row)
		}
		for _, key := range slices.Sorted(maps.Keys(value)) { // the one map of all answers
			within(value[key], path[1:], prefix)
		}
	}
	return rows
}

func addCells(row map[string]any, word string, object map[string]any) {
	for key, value := range object {
		name := key
		if !strings.HasPrefix(key, word) {
			name = word + "_" + key
		}
		list, _ := value.([]any)
		inner, isObject := value.(map[string]any)
		switch {
		case isObject:
			addCells(row, name, inner)
		case len(list) > 0 && strings.HasPrefix(fmt.Sprintf("%T", list[0]), "map"):
		case value == nil:
		default:
			row[name] = value
		}
	}
}

func zeroOf(kind protoreflect.Kind) any {
	switch kind {
	case protoreflect.StringKind:
		return ""
	case protoreflect.BoolKind:
		return false
	default:
		return 0.0
	}
}

func readLines(t *testing.T, text []byte) (rows []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(text) {
		var row map[string]any
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func readCSV(t *testing.T, columns []rest.Column, text []byte) (rows []map[string]any) {
	t.Helper()
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	for _, line := range lines[1:] {
		row := map[string]any{}
		for i, c := range columns {
			if lines[0][i] != c.Name {
				t.Fatalf("header %v", lines[0])
			}
			if c.Kind == protoreflect.StringKind && !c.List {
				row[c.Name] = strings.TrimPrefix(line[i], "'")
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(line[i]), &value); err != nil {
				t.Fatalf("%s: %v: %s", c.Name, err, line[i])
			}
			row[c.Name] = value
		}
		rows = append(rows, row)
	}
	return rows
}

func readParquet(t *testing.T, text []byte) (rows []map[string]any) {
	t.Helper()
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(text), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	batches := array.NewTableReader(table, 0)
	defer batches.Release()
	for batches.Next() {
		data, err := batches.RecordBatch().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var some []map[string]any
		if err := json.Unmarshal(data, &some); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, some...)
	}
	return rows
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
	want := []string{`GetSupportReport {"start_time":"2023-08-01T00:00:00Z","end_time":"2023-08-15T00:00:00Z"}`}
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
		if err := from.Walk(answer.ProtoReflect(), func(row []protoreflect.Value) error {
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
	}
}
