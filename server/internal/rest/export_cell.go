package rest

import (
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// cell is a field in the row of its message, with what the contract says of it.
type cell struct {
	field  protoreflect.FieldDescriptor
	name   string
	item   int                             // of a list whose messages have columns, which one
	absent func(protoreflect.Message) bool // whether a message has no value in it; nil: each message has one
	date   string                          // name of the column of its date; empty: none
}

// cells holds the []cell of each descriptor of a message, because looking at options is slow.
var cells sync.Map

// cellsOf are the cells of a message, in order. Lists of messages are tables of their own, unless the contract names columns for them.
func cellsOf(m protoreflect.MessageDescriptor) []cell {
	if known, ok := cells.Load(m); ok {
		return known.([]cell)
	}
	var of []cell
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Message() == nil || f.Cardinality() != protoreflect.Repeated {
			date := proto.GetExtension(f.Options(), insightsv1.E_DateColumn).(string)
			of = append(of, cell{field: f, name: string(f.Name()), absent: absence(f), date: date})
			continue
		}
		for item, name := range proto.GetExtension(f.Options(), insightsv1.E_Columns).([]string) {
			of = append(of, cell{field: f, name: name, item: item})
		}
	}
	cells.Store(m, of)
	return of
}

// absence says by the options of a field when a message has no value in it.
func absence(f protoreflect.FieldDescriptor) func(protoreflect.Message) bool {
	option := f.Options()
	switch {
	case proto.HasExtension(option, insightsv1.E_Absent):
		none := proto.GetExtension(option, insightsv1.E_Absent).(float64)
		return func(m protoreflect.Message) bool { return m.Get(f).Float() == none }
	case proto.HasExtension(option, insightsv1.E_AbsentIf):
		name := proto.GetExtension(option, insightsv1.E_AbsentIf).(string)
		reason := f.ContainingMessage().Fields().ByName(protoreflect.Name(name))
		return func(m protoreflect.Message) bool { return m.Get(reason).Bool() }
	case f.IsList(), f.Kind() == protoreflect.BoolKind && !f.HasPresence():
		return nil
	case f.HasPresence(), proto.GetExtension(option, insightsv1.E_OmitEmpty).(bool):
		return func(m protoreflect.Message) bool { return !m.Has(f) }
	default:
		return nil
	}
}

// message is the message of the cell in a message; one that is not valid if there is none.
func (c cell) message(m protoreflect.Message) protoreflect.Message {
	if !c.field.IsList() {
		return m.Get(c.field).Message()
	}
	list := m.Get(c.field).List()
	if c.item < list.Len() {
		return list.Get(c.item).Message()
	}
	return m.NewField(c.field).List().NewElement().Message().Type().Zero()
}

// of is the value of the cell in a message, or no valid value if there is none.
func (c cell) of(m protoreflect.Message) (v protoreflect.Value) {
	if !m.IsValid() || c.absent != nil && c.absent(m) {
		return v
	}
	return m.Get(c.field)
}
