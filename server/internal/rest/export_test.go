package rest

import (
	"encoding/csv"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// Every question about usage has a table, and no column has the name of another.
func TestExportTables(t *testing.T) {
	t.Parallel()
	sources, err := ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]bool{}
	for name, from := range sources {
		exported[from.Method] = true
		seen := map[string]bool{}
		for _, c := range from.Columns {
			if _, err := arrowType(c.Kind); err != nil || seen[c.Name] {
				t.Errorf("table %s: column %s is there twice, or of a kind that cannot be written: %v", name, c.Name, err)
			}
			seen[c.Name] = true
		}
	}
	for _, method := range insightsv1.InsightsService_ServiceDesc.Methods {
		name := "/" + insightsv1.InsightsService_ServiceDesc.ServiceName + "/" + method.MethodName
		// Lists and what is in them are the catalog's, and values are keys of the rows of queries.
		if !exported[name] && !strings.HasPrefix(method.MethodName, "List") &&
			!slices.Contains([]string{"GetTemplate", "QueryValues"}, method.MethodName) {
			t.Errorf("%s cannot be exported", method.MethodName)
		}
	}
	if len(sources) != len(ExportTables) {
		t.Errorf("%d tables have %d names", len(ExportTables), len(sources))
	}
	for table, want := range map[string]string{
		"parameters": "template_ids display_name name type description sensitive unused_options default_value value value_count " +
			"value_orphan value_hidden",
		"parameter-options": "template_ids display_name name type description sensitive unused_options default_value option_name " +
			"option_description option_value option_icon",
		"user-latency": "template_ids user_id username avatar_url latency_ms_p50 latency_ms_p95 latency_ms_samples latency_ms_rating " +
			"latency_ms_rating_p95 kind deleted",
		"user-status-counts": "status date day count suppressed",
		"activity":           "time date duration user_id user_duration user_count",
		"capacity-weeks":     "start_time start_date end_time end_date peak_users active_users small_groups_hidden",
	} {
		var got []string
		for _, c := range sources[table].Columns {
			got = append(got, c.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("columns of %s: %v, want %s", table, got, want)
		}
	}
}

// A list of an answer is in a table, and so is every other message like those of a table. Reasons are told by the diagnosis.
func TestEveryListIsExported(t *testing.T) {
	t.Parallel()
	sources, err := ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	covered := map[protoreflect.FullName]map[string]bool{} // by answer: paths, true of those to rows
	rows := map[protoreflect.FullName]bool{}               // types
	for _, from := range sources {
		answer := from.Answer.Descriptor()
		if covered[answer.FullName()] == nil {
			covered[answer.FullName()] = map[string]bool{"report.reasons": true}
		}
		paths, m := []string{""}, answer
		for _, step := range strings.Split(from.Path, ".") {
			fields, err := fieldsOfStep(m, step)
			if err != nil {
				t.Fatal(err)
			}
			var longer []string
			for _, f := range fields {
				for _, p := range paths {
					longer = append(longer, strings.TrimPrefix(p+"."+string(f.Name()), "."))
				}
			}
			paths, m = longer, rowMessage(fields[0])
			for _, p := range paths {
				covered[answer.FullName()][p] = covered[answer.FullName()][p]
			}
		}
		for _, p := range paths {
			covered[answer.FullName()][p] = true
		}
		rows[m.FullName()] = true
	}
	beside := []protoreflect.FullName{ // what is left out is said beside the rows, as reasons are
		(&insightsv1.OtherActor{}).ProtoReflect().Descriptor().FullName(),
		(&insightsv1.WithheldPart{}).ProtoReflect().Descriptor().FullName(),
	}
	var check func(answer protoreflect.FullName, m protoreflect.MessageDescriptor, path string)
	check = func(answer protoreflect.FullName, m protoreflect.MessageDescriptor, path string) {
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			inner, at := rowMessage(f), strings.TrimPrefix(path+"."+string(f.Name()), ".")
			if inner == nil || slices.Contains(beside, inner.FullName()) {
				continue
			}
			toRows, known := covered[answer][at]
			known = known || proto.HasExtension(f.Options(), insightsv1.E_Columns)
			if f.Cardinality() == protoreflect.Repeated && !known || rows[inner.FullName()] && !toRows {
				t.Errorf("no table has %s of %s", at, answer)
			}
			check(answer, inner, at)
		}
	}
	for _, from := range sources {
		check(from.Answer.Descriptor().FullName(), from.Answer.Descriptor(), "")
	}
}

// Options of fields name what is there, and each kind of absence is an empty cell in every format.
func TestEmptyCells(t *testing.T) {
	t.Parallel()
	for i := range insightsv1.File_insights_v1_insights_proto.Messages().Len() {
		checkOptions(t, insightsv1.File_insights_v1_insights_proto.Messages().Get(i))
	}
	for i := range insightsv1.File_insights_v1_reports_proto.Messages().Len() {
		checkOptions(t, insightsv1.File_insights_v1_reports_proto.Messages().Get(i))
	}
	sources, err := ExportSources()
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	insights := func(r *insightsv1.TemplateInsightsReport) proto.Message {
		return &insightsv1.GetTemplateInsightsResponse{Report: r}
	}
	for name, c := range map[string]struct {
		table, column string
		answer        proto.Message
		zone          *time.Location
		csv, json     string
	}{
		"a ratio of nothing": {
			"roi", "adoption", &insightsv1.GetROIReportResponse{Report: &insightsv1.ROIReport{Adoption: -1}}, nil, "", "null",
		},
		"a ratio": {
			"roi", "adoption", &insightsv1.GetROIReportResponse{Report: &insightsv1.ROIReport{Adoption: 0.5}}, nil, "0.5", "0.5",
		},
		"a ratio of 0": {"roi", "adoption", &insightsv1.GetROIReportResponse{Report: &insightsv1.ROIReport{}}, nil, "0", "0"},
		"no latency": {"user-latency", "latency_ms_p95", &insightsv1.GetUserLatencyResponse{Report: &insightsv1.UserLatencyReport{
			Users: []*insightsv1.UserLatency{{LatencyMs: &insightsv1.ConnectionLatency{P50: -1, P95: -1}}},
		}}, nil, "", "null"},
		"no message": {"user-latency", "latency_ms_samples", &insightsv1.GetUserLatencyResponse{Report: &insightsv1.UserLatencyReport{
			Users: []*insightsv1.UserLatency{{}},
		}}, nil, "", "null"},
		"a list of no message": {"insights", "unknown_usage_template_ids", insights(&insightsv1.TemplateInsightsReport{}), nil, "", "null"},
		"an empty list":        {"insights", "template_ids", insights(&insightsv1.TemplateInsightsReport{}), nil, `"[]"`, "[]"},
		"a suppressed number": {
			"insights", "active_users", insights(&insightsv1.TemplateInsightsReport{Suppressed: true}), nil, "", "null",
		},
		"a number":         {"insights", "active_users", insights(&insightsv1.TemplateInsightsReport{}), nil, "0", "0"},
		"what is not true": {"insights", "estimated", insights(&insightsv1.TemplateInsightsReport{}), nil, "false", "false"},
		"no time": {
			"diagnosis", "first_at", &insightsv1.GetDiagnosisResponse{Findings: []*insightsv1.Finding{{}}}, nil, "", "null",
		},
		"the date of no time": {
			"diagnosis", "first_date", &insightsv1.GetDiagnosisResponse{Findings: []*insightsv1.Finding{{}}}, nil, "", "null",
		},
		"empty text": {"diagnosis", "message", &insightsv1.GetDiagnosisResponse{Findings: []*insightsv1.Finding{{}}}, nil, `""`, `""`},
		"a date by the offset": {
			"insights", "start_date", insights(&insightsv1.TemplateInsightsReport{StartTime: "2026-11-19T23:00:00-05:00"}), nil,
			`"2026-11-19"`, `"2026-11-19"`,
		},
		"a date by the zone": {
			"insights", "start_date", insights(&insightsv1.TemplateInsightsReport{StartTime: "2026-11-19T23:00:00Z"}), berlin,
			`"2026-11-20"`, `"2026-11-20"`,
		},
	} {
		from := sources[c.table]
		at := slices.IndexFunc(from.Columns, func(col Column) bool { return col.Name == c.column })
		rows := 0
		if err := from.Walk(c.answer.ProtoReflect(), c.zone, func(row []protoreflect.Value) error {
			rows++
			if len(row) != len(from.Columns) {
				t.Errorf("%s: %d cells in %d columns", name, len(row), len(from.Columns))
			}
			if got := string(appendCell(nil, row[at])); got != c.csv {
				t.Errorf("%s: %s in CSV, want %s", name, got, c.csv)
			}
			if got := string(appendJSON(nil, row[at])); got != c.json {
				t.Errorf("%s: %s in NDJSON, want %s", name, got, c.json)
			}
			if !row[at].IsValid() && !from.Columns[at].Optional {
				t.Errorf("%s: the cell is empty, and the column is not optional", name)
			}
			return nil
		}); err != nil || rows != 1 {
			t.Errorf("%s: %d rows, %v", name, rows, err)
		}
	}
}

func checkOptions(t *testing.T, m protoreflect.MessageDescriptor) {
	t.Helper()
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if proto.HasExtension(f.Options(), insightsv1.E_Absent) && f.Kind() != protoreflect.DoubleKind {
			t.Errorf("%s: the option absent is for doubles", f.FullName())
		}
		if proto.HasExtension(f.Options(), insightsv1.E_DateColumn) && f.Kind() != protoreflect.StringKind {
			t.Errorf("%s: the option date_column is for times", f.FullName())
		}
		name := proto.GetExtension(f.Options(), insightsv1.E_AbsentIf).(string)
		if reason := m.Fields().ByName(protoreflect.Name(name)); name != "" && (reason == nil || reason.Kind() != protoreflect.BoolKind) {
			t.Errorf("%s: absent_if names no bool beside it", f.FullName())
		}
	}
}

// documentedTables is a row of the documentation: its tables and the question that they come of.
var documentedTables = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| `(/api/[^`]*)`")

// The documentation names every table beside its question, and no other.
func TestExportTablesAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/export.md")
	if err != nil {
		t.Fatal(err)
	}
	got, want, routes := map[string]string{}, map[string]string{}, wiretest.Routes(t)
	for _, row := range documentedTables.FindAllStringSubmatch(string(text), -1) {
		for _, table := range strings.Split(row[1], ", ") {
			got[strings.Trim(table, "`")] = row[2]
		}
	}
	for _, table := range ExportTables {
		want[table.Name] = routes[table.Method].Path
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-exported +documented):\n%s", diff)
	}
}

// hostileCells are what spreadsheets have run or could run.
var hostileCells = []string{
	"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201", "=cmd|' /C calc'!A0",
	`=HYPERLINK("http://x","y")`, "=1\",=2", "'=1", "=", "-",
	"a\r\n=1", `a","=1`, "a;=1", "\xff=1",
}

// Text in a cell stays text, and is what it was but for an apostrophe before it.
func TestCSVCells(t *testing.T) {
	t.Parallel()
	for _, text := range append([]string{"", "ann", `a "b"`, "a,b", "ä\U0001F600", "1"}, hostileCells...) {
		line := "1," + string(appendCell(nil, protoreflect.ValueOfString(text))) + ",2\r\n"
		rows, err := csv.NewReader(strings.NewReader(line)).ReadAll()
		if err != nil || len(rows) != 1 || len(rows[0]) != 3 {
			t.Fatalf("%q is %q: %v, %v", text, line, rows, err)
		}
		cell := rows[0][1]
		first, _ := utf8.DecodeRuneInString(cell)
		if strings.ContainsRune(formulaStarts, first) && cell != "" {
			t.Errorf("%q is a formula: %q", text, cell)
		}
		if want := strings.ReplaceAll(text, "\r\n", "\n"); cell != want && cell != "'"+want { // the reader makes one of two
			t.Errorf("%q became %q", text, cell)
		}
	}
}
