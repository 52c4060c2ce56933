package rest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// exportTable is a list in the answer to a question, as rows and columns. What its columns are, the contract says: one for
// each field of the list's messages that is no list of messages, or one with columns, in order; before them those of the lists that it
// lies in.
type exportTable struct {
	Name   string
	Method string // full name of the RPC
	// Path is of fields from the answer to the list, separated by dots. One that ends in a message is a table of one row. Fields of
	// one type that are separated by commas are one list, the messages among them as well; * is all lists of a message.
	Path string
	Word string // what columns of a list within a list begin with; of * the column that says which list
}

// ExportTables is all that can be exported.
var ExportTables = []exportTable{
	{"insights", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report", ""},
	{"active-users", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "interval_reports", ""},
	{"apps", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.apps_usage,unknown_usage", ""},
	{"editors", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.apps_usage,unknown_usage.editors", "editor"},
	{"parameters", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.parameters_usage.values", "value"},
	{"parameter-options", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.parameters_usage.options", "option"},
	{"template-usage", insightsv1.InsightsService_ListTemplateUsage_FullMethodName, "report.templates", ""},
	{"template-days", insightsv1.InsightsService_ListTemplateUsage_FullMethodName, "report.templates.intervals", "interval"},
	{"user-activity", insightsv1.InsightsService_GetUserActivity_FullMethodName, "report.users", ""},
	{"user-apps", insightsv1.InsightsService_GetUserActivity_FullMethodName, "report.users.apps", "app"},
	{"user-latency", insightsv1.InsightsService_GetUserLatency_FullMethodName, "report.users", ""},
	{"daus", insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, "entries", ""},
	{"template-daus", insightsv1.InsightsService_GetTemplateDAUs_FullMethodName, "entries", ""},
	{"user-status-counts", insightsv1.InsightsService_GetUserStatusCounts_FullMethodName, "status_counts.*", "status"},
	{"activity", insightsv1.InsightsService_GetActivity_FullMethodName, "activity.user_activity", "user"},
	{"activity-users", insightsv1.InsightsService_GetActivity_FullMethodName, "users", ""},
	{"query", insightsv1.InsightsService_QueryUsage_FullMethodName, "rows", ""},
	{"diagnosis", insightsv1.InsightsService_GetDiagnosis_FullMethodName, "findings", ""},
	{"capacity", insightsv1.InsightsService_GetCapacityReport_FullMethodName, "report", ""},
	{"capacity-hours", insightsv1.InsightsService_GetCapacityReport_FullMethodName, "report.hours", ""},
	{"capacity-weeks", insightsv1.InsightsService_GetCapacityReport_FullMethodName, "report.weeks", ""},
	{"capacity-projection", insightsv1.InsightsService_GetCapacityReport_FullMethodName, "report.projection", ""},
	{"sparse-templates", insightsv1.InsightsService_GetCapacityReport_FullMethodName, "report.sparse_templates", ""},
	{"unused-apps", insightsv1.InsightsService_GetOptimizationReport_FullMethodName, "report.unused_apps", ""},
	{"unused-options", insightsv1.InsightsService_GetOptimizationReport_FullMethodName, "report.unused_options", ""},
	{"default-changes", insightsv1.InsightsService_GetOptimizationReport_FullMethodName, "report.default_changes", ""},
	{"high-latency-users", insightsv1.InsightsService_GetSupportReport_FullMethodName, "report.high_latency_users", ""},
	{"low-usage-users", insightsv1.InsightsService_GetSupportReport_FullMethodName, "report.low_usage_users", ""},
	{"app-preferences", insightsv1.InsightsService_GetSupportReport_FullMethodName, "report.app_preferences", ""},
	{"roi", insightsv1.InsightsService_GetROIReport_FullMethodName, "report", ""},
	{"roi-templates", insightsv1.InsightsService_GetROIReport_FullMethodName, "report.templates", ""},
}

// Column is a column of a table. A cell of an optional one may be empty.
type Column struct {
	Name     string
	Kind     protoreflect.Kind
	List     bool
	Optional bool
}

// columns are the columns of the rows that Walk yields.
func (t exportTable) columns(answer protoreflect.MessageDescriptor) (columns []Column, err error) {
	m, word := answer, ""
	for _, step := range strings.Split(t.Path, ".") {
		fields, err := fieldsOfStep(m, step)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		if step == allLists {
			columns = append(columns, Column{Name: t.Word, Kind: protoreflect.StringKind})
		}
		m = rowMessage(fields[0])
		if len(fields) > 1 || fields[0].Cardinality() == protoreflect.Repeated {
			columns, word = appendColumns(columns, m, word, false), t.Word
		}
	}
	if len(columns) == 0 {
		columns = appendColumns(columns, m, "", false)
	}
	return columns, nil
}

// allLists is the step of a path that goes to all lists of a message.
const allLists = "*"

// fieldsOfStep are the fields that a step of a path goes to, all with messages of one type.
func fieldsOfStep(m protoreflect.MessageDescriptor, step string) (fields []protoreflect.FieldDescriptor, err error) {
	if step == allLists {
		fields = listsOf(m)
	} else {
		for _, name := range strings.Split(step, ",") {
			fields = append(fields, m.Fields().ByName(protoreflect.Name(name)))
		}
	}
	if len(fields) == 0 || slices.ContainsFunc(fields, func(f protoreflect.FieldDescriptor) bool {
		return f == nil || rowMessage(f) == nil || rowMessage(f).FullName() != rowMessage(fields[0]).FullName()
	}) {
		return nil, fmt.Errorf("%s has no messages of one type in %s", m.FullName(), step)
	}
	return fields, nil
}

// rowMessage is the type of the messages in a field, or nil.
func rowMessage(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if f.IsMap() {
		return f.MapValue().Message()
	}
	return f.Message()
}

// listsOf are the lists of messages in a message.
func listsOf(m protoreflect.MessageDescriptor) (lists []protoreflect.FieldDescriptor) {
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.IsList() && f.Message() != nil {
			lists = append(lists, f)
		}
	}
	return lists
}

func appendColumns(columns []Column, m protoreflect.MessageDescriptor, word string, optional bool) []Column {
	named := func(name string) string {
		if word != "" && !strings.HasPrefix(name, word) {
			return word + "_" + name
		}
		return name
	}
	for _, c := range cellsOf(m) {
		name := named(c.name)
		if c.field.Message() != nil {
			columns = appendColumns(columns, c.field.Message(), name, true)
			continue
		}
		optional := optional || c.absent != nil
		columns = append(columns, Column{name, c.field.Kind(), c.field.IsList(), optional})
		if c.date != "" {
			columns = append(columns, Column{named(c.date), protoreflect.StringKind, false, optional})
		}
	}
	return columns
}

// Walk yields the rows of an answer one after the other. They share their memory. A cell that is empty is no valid value. Dates are
// those of the zone; nil: of the offset of each time.
func (s ExportSource) Walk(answer protoreflect.Message, zone *time.Location, yield func(row []protoreflect.Value) error) error {
	return walk{zone, yield}.path(answer, strings.Split(s.Path, "."), make([]protoreflect.Value, 0, len(s.Columns)))
}

// walk is one way through an answer.
type walk struct {
	zone  *time.Location
	yield func(row []protoreflect.Value) error
}

func (w walk) path(m protoreflect.Message, path []string, row []protoreflect.Value) error {
	if len(path) == 0 {
		if len(row) == 0 { // of a table without a list
			row = w.appendCells(row, m)
		}
		return w.yield(row)
	}
	fields, err := fieldsOfStep(m.Descriptor(), path[0])
	if err != nil {
		return err
	}
	for _, f := range fields {
		row := row
		if path[0] == allLists {
			row = append(row, protoreflect.ValueOfString(string(f.Name())))
		}
		switch {
		case f.IsList():
			err = w.list(m.Get(f).List(), path[1:], row)
		case f.IsMap():
			err = w.values(m.Get(f).Map(), path[1:], row)
		case !m.Has(f):
		case len(fields) > 1:
			err = w.row(m.Get(f).Message(), path[1:], row)
		default:
			err = w.path(m.Get(f).Message(), path[1:], row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w walk) row(m protoreflect.Message, path []string, row []protoreflect.Value) error {
	return w.path(m, path, w.appendCells(row, m))
}

func (w walk) list(list protoreflect.List, path []string, row []protoreflect.Value) error {
	for i := range list.Len() {
		if err := w.row(list.Get(i).Message(), path, row); err != nil {
			return err
		}
	}
	return nil
}

// values takes the values of a map for a list, in the order of their keys.
func (w walk) values(entries protoreflect.Map, path []string, row []protoreflect.Value) error {
	for _, k := range sortedKeys(entries) {
		if err := w.row(entries.Get(k).Message(), path, row); err != nil {
			return err
		}
	}
	return nil
}

// appendCells appends the cells of a message, all empty if it is none.
func (w walk) appendCells(row []protoreflect.Value, m protoreflect.Message) []protoreflect.Value {
	for _, c := range cellsOf(m.Descriptor()) {
		if c.field.Message() != nil {
			row = w.appendCells(row, c.message(m))
			continue
		}
		v := c.of(m)
		row = append(row, v)
		if c.date != "" {
			row = append(row, w.date(v))
		}
	}
	return row
}

// date is the date of an RFC 3339 time.
func (w walk) date(v protoreflect.Value) (date protoreflect.Value) {
	if !v.IsValid() || !strings.Contains(v.String(), "T") { // an error would be as good, but slower
		return date
	}
	at, err := time.Parse(time.RFC3339, v.String())
	if err != nil {
		return date
	}
	if w.zone != nil {
		at = at.In(w.zone)
	}
	return protoreflect.ValueOfString(at.Format(time.DateOnly))
}
