package server_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/rest"
)

// jsonTable reads the rows of a table out of the JSON of its question: all messages of the type that its rows have, wherever they
// stand in the answer.
type jsonTable struct {
	answer protoreflect.MessageDescriptor
	levels []protoreflect.FullName // types of the messages that lie in one another and make a row
	word   string                  // what columns of the second level begin with; the name of the column where, if there is one
	where  bool                    // one column has the field that a row was found in
	zone   *time.Location          // of the dates; nil: the offset of each time
}

// tableOf follows the path of a table through the contract.
func tableOf(from rest.ExportSource, zone *time.Location) jsonTable {
	table := jsonTable{answer: from.Answer.Descriptor(), word: from.Word, zone: zone}
	m := table.answer
	for _, step := range strings.Split(from.Path, ".") {
		names := strings.Split(step, ",")
		f := m.Fields().ByName(protoreflect.Name(names[0]))
		if step == "*" {
			f, table.where = m.Fields().Get(0), true
		}
		if m = f.Message(); f.IsMap() {
			m = f.MapValue().Message()
		}
		if f.Cardinality() == protoreflect.Repeated || len(names) > 1 {
			table.levels = append(table.levels, m.FullName())
		}
	}
	if len(table.levels) == 0 {
		table.levels = append(table.levels, m.FullName())
	}
	return table
}

// rows are the rows that an answer has.
func (j jsonTable) rows(t rapid.TB, answer map[string]any) []map[string]any {
	return j.within(t, answer, j.answer, 0, "", map[string]any{})
}

func (j jsonTable) within(
	t rapid.TB, object map[string]any, m protoreflect.MessageDescriptor, level int, where string, row map[string]any,
) (rows []map[string]any) {
	if m.FullName() == j.levels[level] {
		prefix := ""
		if row = maps.Clone(row); level > 0 {
			prefix = j.word
		}
		if j.where {
			row[j.word] = where
		}
		if j.addCells(t, row, prefix, object, m); level == len(j.levels)-1 {
			return []map[string]any{row}
		}
		level++
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		visit := func(value any, m protoreflect.MessageDescriptor) {
			rows = append(rows, j.within(t, value.(map[string]any), m, level, string(f.Name()), row)...)
		}
		switch value := object[string(f.Name())].(type) {
		case []any:
			if f.Message() != nil {
				for _, item := range value {
					visit(item, f.Message())
				}
			}
		case map[string]any:
			if !f.IsMap() {
				visit(value, f.Message())
				continue
			}
			for _, key := range slices.Sorted(maps.Keys(value)) {
				visit(value[key], f.MapValue().Message())
			}
		}
	}
	return rows
}

// addCells adds the cells of a message to a row. What JSON leaves out is null, but for lists and what is true or false. So is a
// number that is negative, because it stands for none, every number of what is suppressed, and of reports all but the active users where
// small groups are hidden.
func (j jsonTable) addCells(t rapid.TB, row map[string]any, prefix string, object map[string]any, m protoreflect.MessageDescriptor) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		named := func(name string) string {
			if strings.HasPrefix(name, prefix) {
				return name
			}
			return prefix + "_" + name
		}
		name, value := named(string(f.Name())), object[string(f.Name())]
		number, isNumber := value.(float64)
		switch {
		case f.Message() != nil && f.Cardinality() == protoreflect.Repeated:
			list, _ := value.([]any)
			for i, column := range proto.GetExtension(f.Options(), insightsv1.E_Columns).([]string) {
				var inner map[string]any
				if i < len(list) {
					inner, _ = list[i].(map[string]any)
				}
				j.addCells(t, row, named(column), inner, f.Message())
			}
			continue
		case f.Message() != nil:
			inner, _ := value.(map[string]any)
			j.addCells(t, row, name, inner, f.Message())
			continue
		case object == nil:
		case f.IsList() && value == nil:
			value = []any{}
		case f.Kind() == protoreflect.BoolKind && value == nil:
			value = false
		case isNumber && (number < 0 || object["suppressed"] == true ||
			object["small_groups_hidden"] == true && f.Name() != "active_users"):
			value = nil
		}
		row[name] = value
		column := proto.GetExtension(f.Options(), insightsv1.E_DateColumn).(string)
		text, _ := value.(string)
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			if column == "" {
				t.Errorf("%s is a time without a date that spreadsheets read", f.FullName())
			}
			if j.zone != nil {
				at = at.In(j.zone)
			}
			row[named(column)] = at.Format(time.DateOnly)
		} else if column != "" {
			row[named(column)] = nil
		}
	}
}

// checkTable holds a file against the rows that it must have, cell by cell, so the sums of its columns are theirs as well.
func checkTable(t rapid.TB, from rest.ExportSource, format string, file []byte, want []map[string]any) {
	t.Helper()
	got := map[string]func(rapid.TB, []rest.Column, []byte) []map[string]any{
		"csv": readCSV, "ndjson": readLines, "parquet": readParquet,
	}[format](t, from.Columns, file)
	if format == "csv" { // to whom text that is empty and no text are one
		want = slices.Clone(want)
		for i, row := range want {
			want[i] = maps.Clone(row)
			for _, c := range from.Columns {
				if text, _ := row[c.Name].(string); c.Kind == protoreflect.StringKind && !c.List {
					want[i][c.Name] = text
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("table %s as %s is not what the JSON of its question has (-JSON +table):\n%s", from.Name, format, diff)
	}
}

func readLines(t rapid.TB, _ []rest.Column, text []byte) (rows []map[string]any) {
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

func readCSV(t rapid.TB, columns []rest.Column, text []byte) (rows []map[string]any) {
	t.Helper()
	text, marked := bytes.CutPrefix(text, []byte("\xef\xbb\xbf"))
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) == 0 || !marked {
		t.Fatalf("byte order mark %v, %v: %s", marked, err, text)
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
			if line[i] != "" || !c.Optional {
				if err := json.Unmarshal([]byte(line[i]), &value); err != nil {
					t.Fatalf("%s: %v: %s", c.Name, err, line[i])
				}
			}
			row[c.Name] = value
		}
		rows = append(rows, row)
	}
	return rows
}

func readParquet(t rapid.TB, _ []rest.Column, text []byte) (rows []map[string]any) {
	t.Helper()
	table, err := pqarrow.ReadTable(
		context.Background(), bytes.NewReader(text), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator,
	)
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
