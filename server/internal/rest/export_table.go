package rest

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// exportTable is a list in the answer to a question, as rows and columns. What its columns are, the contract says: one for
// each field of the list's messages that is no list of messages, in order; before them those of the lists that it lies in.
type exportTable struct {
	Name   string
	Method string // full name of the RPC
	Path   string // of fields from the answer to the list; one that ends in a message is a table of one row; * is all lists of a message
	Word   string // what columns of a list within a list begin with; of * the column that says which list
}

// ExportTables is all that can be exported.
var ExportTables = []exportTable{
	{"insights", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report", ""},
	{"active-users", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "interval_reports", ""},
	{"apps", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.apps_usage", ""},
	{"editors", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.apps_usage.editors", "editor"},
	{"parameters", insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "report.parameters_usage.values", "value"},
	{"user-activity", insightsv1.InsightsService_GetUserActivity_FullMethodName, "report.users", ""},
	{"user-apps", insightsv1.InsightsService_GetUserActivity_FullMethodName, "report.users.apps", "app"},
	{"user-latency", insightsv1.InsightsService_GetUserLatency_FullMethodName, "report.users", ""},
	{"daus", insightsv1.InsightsService_GetDeploymentDAUs_FullMethodName, "entries", ""},
	{"template-daus", insightsv1.InsightsService_GetTemplateDAUs_FullMethodName, "entries", ""},
	{"user-status-counts", insightsv1.InsightsService_GetUserStatusCounts_FullMethodName, "status_counts.*", "status"},
	{"activity", insightsv1.InsightsService_GetActivity_FullMethodName, "activity.user_activity", "user"},
	{"activity-users", insightsv1.InsightsService_GetActivity_FullMethodName, "users", ""},
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

// Column is a column of a table.
type Column struct {
	Name string
	Kind protoreflect.Kind
	List bool
}

// columns are the columns of the rows that walk yields.
func (t exportTable) columns(answer protoreflect.MessageDescriptor) (columns []Column, err error) {
	m, word := answer, ""
	for _, name := range strings.Split(t.Path, ".") {
		f := m.Fields().ByName(protoreflect.Name(name))
		if lists := listsOf(m); name == "*" && len(lists) > 0 {
			columns, f = append(columns, Column{t.Word, protoreflect.StringKind, false}), lists[0]
		}
		switch {
		case f == nil || f.Message() == nil:
			return nil, fmt.Errorf("table %s: %s has no messages in %s", t.Name, m.FullName(), name)
		case f.IsMap():
			m = f.MapValue().Message()
		default:
			m = f.Message()
		}
		if f.Cardinality() == protoreflect.Repeated {
			columns, word = appendColumns(columns, m, word), t.Word
		}
	}
	if len(columns) == 0 {
		columns = appendColumns(columns, m, "")
	}
	return columns, nil
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

// isCell is whether a field is in the row of its message: lists of messages are tables of their own.
func isCell(f protoreflect.FieldDescriptor) bool {
	return f.Message() == nil || f.Cardinality() != protoreflect.Repeated
}

func appendColumns(columns []Column, m protoreflect.MessageDescriptor, word string) []Column {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		name := string(f.Name())
		if word != "" && !strings.HasPrefix(name, word) {
			name = word + "_" + name
		}
		switch {
		case !isCell(f):
		case f.Message() != nil:
			columns = appendColumns(columns, f.Message(), name)
		default:
			columns = append(columns, Column{name, f.Kind(), f.IsList()})
		}
	}
	return columns
}

func appendCells(row []protoreflect.Value, m protoreflect.Message) []protoreflect.Value {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case !isCell(f):
		case f.Message() != nil:
			row = appendCells(row, m.Get(f).Message())
		default:
			row = append(row, m.Get(f))
		}
	}
	return row
}

// Walk yields the rows of an answer one after the other. They share their memory.
func (t exportTable) Walk(answer protoreflect.Message, yield func(row []protoreflect.Value) error) error {
	return walkPath(answer, strings.Split(t.Path, "."), nil, yield)
}

func walkPath(m protoreflect.Message, path []string, row []protoreflect.Value, yield func([]protoreflect.Value) error) error {
	if len(path) == 0 {
		if len(row) == 0 { // of a table without a list
			row = appendCells(row, m)
		}
		return yield(row)
	}
	if path[0] == "*" {
		for _, f := range listsOf(m.Descriptor()) {
			if err := walkList(m.Get(f).List(), path[1:], append(row, protoreflect.ValueOfString(string(f.Name()))), yield); err != nil {
				return err
			}
		}
		return nil
	}
	switch f := m.Descriptor().Fields().ByName(protoreflect.Name(path[0])); {
	case f.IsList():
		return walkList(m.Get(f).List(), path[1:], row, yield)
	case f.IsMap():
		return walkMap(m.Get(f).Map(), path[1:], row, yield)
	case !m.Has(f):
		return nil
	default:
		return walkPath(m.Get(f).Message(), path[1:], row, yield)
	}
}

func walkList(list protoreflect.List, path []string, row []protoreflect.Value, yield func([]protoreflect.Value) error) error {
	for i := range list.Len() {
		m := list.Get(i).Message()
		if err := walkPath(m, path, appendCells(row, m), yield); err != nil {
			return err
		}
	}
	return nil
}

// walkMap takes the values of a map for a list, in the order of their keys.
func walkMap(entries protoreflect.Map, path []string, row []protoreflect.Value, yield func([]protoreflect.Value) error) error {
	for _, k := range sortedKeys(entries) {
		m := entries.Get(k).Message()
		if err := walkPath(m, path, appendCells(row, m), yield); err != nil {
			return err
		}
	}
	return nil
}
