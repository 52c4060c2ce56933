package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// JSONMarshaler writes messages the way that existing REST clients read them: proto names, 64-bit integers as numbers,
// empty lists as [], unset messages as null, and nothing at all for an empty field that the contract marks so. Equal
// messages have equal bytes. It reads what protojson reads: nothing with unknown fields or with one twice.
type JSONMarshaler struct{}

var _ runtime.Marshaler = JSONMarshaler{}

// ContentType implements [runtime.Marshaler].
func (JSONMarshaler) ContentType(any) string { return "application/json; charset=utf-8" }

// Marshal implements [runtime.Marshaler]. The value is a message or a list of messages.
func (JSONMarshaler) Marshal(v any) ([]byte, error) {
	if m, ok := v.(proto.Message); ok {
		return appendMessage(make([]byte, 0, 5*proto.Size(m)/4), m.ProtoReflect())
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return nil, fmt.Errorf("write JSON: %T is no message", v)
	}
	b := []byte{'['}
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		m, ok := list.Index(i).Interface().(proto.Message)
		if !ok {
			return nil, fmt.Errorf("write JSON: %T is no list of messages", v)
		}
		var err error
		if b, err = appendMessage(b, m.ProtoReflect()); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// Unmarshal implements [runtime.Marshaler].
func (JSONMarshaler) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("read JSON: %T is no message", v)
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		return explainJSON(data, err)
	}
	return nil
}

// NewDecoder implements [runtime.Marshaler].
func (j JSONMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return io.EOF
		}
		err = j.Unmarshal(data, v)
		if body, ok := r.(*requestBody); ok {
			errors.As(err, &body.fault)
		}
		return err
	})
}

// NewEncoder implements [runtime.Marshaler].
func (j JSONMarshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := j.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// jsonField is a field and what is looked up once to write it.
type jsonField struct {
	descriptor protoreflect.FieldDescriptor
	key        string // the name as JSON, and a colon
	omitEmpty  bool   // an empty field is left out
}

// jsonFields holds the []jsonField of each descriptor of a message: lists have many messages, and looking at options is
// slow.
var jsonFields sync.Map

func fieldsOf(m protoreflect.MessageDescriptor) []jsonField {
	if known, ok := jsonFields.Load(m); ok {
		return known.([]jsonField)
	}
	fields := make([]jsonField, m.Fields().Len())
	for i := range fields {
		f := m.Fields().Get(i)
		omit := proto.GetExtension(f.Options(), insightsv1.E_OmitEmpty).(bool)
		fields[i] = jsonField{
			f, string(appendString(nil, string(f.Name()))) + ":", omit || f.ContainingOneof() != nil && !f.HasOptionalKeyword(),
		}
	}
	jsonFields.Store(m, fields)
	return fields
}

func appendMessage(b []byte, m protoreflect.Message) ([]byte, error) {
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration": // strings, in the form that protojson gives them
		text, err := protojson.Marshal(m.Interface())
		return append(b, text...), err
	}
	b = append(b, '{')
	first := true
	for _, f := range fieldsOf(m.Descriptor()) {
		if f.omitEmpty && !m.Has(f.descriptor) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		var err error
		if b, err = appendField(append(b, f.key...), f.descriptor, m); err != nil {
			return nil, fmt.Errorf("write JSON of %s: %w", f.descriptor.FullName(), err)
		}
	}
	return append(b, '}'), nil
}

func appendField(b []byte, f protoreflect.FieldDescriptor, m protoreflect.Message) (_ []byte, err error) {
	switch {
	case f.IsList():
		list := m.Get(f).List()
		b = append(b, '[')
		for i := range list.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, f, list.Get(i)); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case f.IsMap():
		return appendMap(b, f, m.Get(f).Map())
	case f.HasPresence() && !m.Has(f):
		return append(b, "null"...), nil
	}
	return appendValue(b, f, m.Get(f))
}

func appendMap(b []byte, f protoreflect.FieldDescriptor, entries protoreflect.Map) (_ []byte, err error) {
	b = append(b, '{')
	for i, k := range sortedKeys(entries) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k.String()), ':')
		if b, err = appendValue(b, f.MapValue(), entries.Get(k)); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// sortedKeys are the keys of a map in the order of their text.
func sortedKeys(entries protoreflect.Map) (keys []protoreflect.MapKey) {
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return strings.Compare(x.String(), y.String()) })
	return keys
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.StringKind:
		return appendString(b, v.String()), nil
	case protoreflect.BytesKind:
		text, err := json.Marshal(v.Bytes())
		return append(b, text...), err
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			return strconv.AppendInt(b, int64(v.Enum()), 10), nil
		}
		return appendString(b, string(value.Name())), nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return nil, fmt.Errorf("%v is no JSON number", v.Float())
		}
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	default: // signed integers
		return strconv.AppendInt(b, v.Int(), 10), nil
	}
}

// appendString appends text as JSON that is safe inside HTML as well.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string cannot fail
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
