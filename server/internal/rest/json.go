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
		return marshalMessage(m)
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

// jsonSizes holds, by the descriptor of a message, how many bytes of JSON the last large one had for each of protobuf, as a float64: what
// grows to its size in steps is copied at each.
var jsonSizes sync.Map

const (
	largeMessage = 64 << 10 // bytes of protobuf
	mostJSON     = 4.0      // bytes for each of protobuf that are expected, so that a message of empty fields costs the next one nothing
)

// marshalMessage writes a message.
func marshalMessage(m proto.Message) ([]byte, error) {
	// The chain asked the messages within for their sizes already. Here they say how much memory to take, and no more.
	of, size := m.ProtoReflect(), proto.MarshalOptions{UseCachedSize: true}.Size(m)
	ratio := 1.25
	if last, known := jsonSizes.Load(of.Descriptor()); known && size > largeMessage {
		ratio = 1.02 * last.(float64)
	}
	b, err := appendMessage(make([]byte, 0, int(ratio*float64(size))), of)
	if err == nil && size > largeMessage {
		jsonSizes.Store(of.Descriptor(), min(float64(len(b))/float64(size), mostJSON))
	}
	return b, err
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

// jsonMessage is a kind of message and what is looked up once to write one: lists have many messages, and looking at descriptors is slow.
type jsonMessage struct {
	text   bool // is written as protojson does: as text
	fields []jsonField
}

// jsonField is a field of a kind of message.
type jsonField struct {
	descriptor protoreflect.FieldDescriptor
	key        string // the name as JSON, and a colon
	omitEmpty  bool   // an empty field is left out
	form       jsonForm
	value      jsonValue // of the field, or of each item or entry
}

// jsonForm is how the values of a field are written.
type jsonForm int

const (
	oneValue     jsonForm = iota
	nullableForm          // one value, or null
	listForm
	mapForm
)

// jsonValue is a kind of values.
type jsonValue struct {
	kind       protoreflect.Kind
	descriptor protoreflect.FieldDescriptor
}

// jsonMessages holds the *jsonMessage of each descriptor of a message.
var jsonMessages sync.Map

func jsonMessageOf(m protoreflect.MessageDescriptor) *jsonMessage {
	if known, ok := jsonMessages.Load(m); ok {
		return known.(*jsonMessage)
	}
	of := &jsonMessage{
		text:   m.FullName() == "google.protobuf.Timestamp" || m.FullName() == "google.protobuf.Duration",
		fields: make([]jsonField, m.Fields().Len()),
	}
	for i := range of.fields {
		of.fields[i] = newJSONField(m.Fields().Get(i))
	}
	jsonMessages.Store(m, of)
	return of
}

func newJSONField(f protoreflect.FieldDescriptor) jsonField {
	omit := proto.GetExtension(f.Options(), insightsv1.E_OmitEmpty).(bool)
	field := jsonField{
		descriptor: f, key: string(appendString(nil, string(f.Name()))) + ":", value: jsonValue{f.Kind(), f},
		omitEmpty: omit || f.ContainingOneof() != nil && !f.HasOptionalKeyword(),
	}
	switch {
	case f.IsList():
		field.form = listForm
	case f.IsMap():
		field.form, field.value = mapForm, jsonValue{f.MapValue().Kind(), f.MapValue()}
	case f.HasPresence():
		field.form = nullableForm
	}
	return field
}

func appendMessage(b []byte, m protoreflect.Message) ([]byte, error) {
	of := jsonMessageOf(m.Descriptor())
	if of.text {
		text, err := protojson.Marshal(m.Interface())
		return append(b, text...), err
	}
	b = append(b, '{')
	first := true
	for i := range of.fields {
		f := &of.fields[i]
		if f.omitEmpty && !m.Has(f.descriptor) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		var err error
		if b, err = appendField(append(b, f.key...), f, m); err != nil {
			return nil, fmt.Errorf("write JSON of %s: %w", f.descriptor.FullName(), err)
		}
	}
	return append(b, '}'), nil
}

func appendField(b []byte, f *jsonField, m protoreflect.Message) (_ []byte, err error) {
	switch f.form {
	case listForm:
		list := m.Get(f.descriptor).List()
		b = append(b, '[')
		for i := range list.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, f.value, list.Get(i)); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case mapForm:
		return appendMap(b, f.value, m.Get(f.descriptor).Map())
	case nullableForm:
		if !m.Has(f.descriptor) {
			return append(b, "null"...), nil
		}
	}
	return appendValue(b, f.value, m.Get(f.descriptor))
}

func appendMap(b []byte, of jsonValue, entries protoreflect.Map) (_ []byte, err error) {
	b = append(b, '{')
	for i, k := range sortedKeys(entries) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k.String()), ':')
		if b, err = appendValue(b, of, entries.Get(k)); err != nil {
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

func appendValue(b []byte, of jsonValue, v protoreflect.Value) ([]byte, error) {
	switch of.kind {
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
		value := of.descriptor.Enum().Values().ByNumber(v.Enum())
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

// isPlain says of each byte whether it stands for itself in text: a table is quicker than to ask.
var isPlain = func() (plain [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return plain
}()

// appendString appends text as JSON that is safe inside HTML as well.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if !isPlain[s[i]] {
			text, _ := json.Marshal(s) // a string cannot fail
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
