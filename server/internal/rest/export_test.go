package rest

import (
	"encoding/csv"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
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
		if !exported[name] && !strings.HasPrefix(method.MethodName, "List") { // lists are the catalog's
			t.Errorf("%s cannot be exported", method.MethodName)
		}
	}
	if len(sources) != len(ExportTables) {
		t.Errorf("%d tables have %d names", len(ExportTables), len(sources))
	}
	for table, want := range map[string]string{
		"parameters": "template_ids display_name name type description sensitive unused_options default_value value value_count " +
			"value_orphan",
		"user-latency":       "template_ids user_id username avatar_url latency_ms_p50 latency_ms_p95 latency_ms_samples latency_ms_rating",
		"user-status-counts": "status date count suppressed",
		"activity":           "time duration user_id user_duration user_count",
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
