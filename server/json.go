package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// jsonMarshaler writes messages the way that existing REST clients read them: proto names, 64-bit integers as numbers,
// empty lists as [], unset messages as null, and nothing at all for an empty field that the contract marks so. Equal
// messages have equal bytes. It reads what protojson reads: nothing with unknown fields or with one twice.
type jsonMarshaler struct{}

var _ runtime.Marshaler = jsonMarshaler{}

// ContentType implements [runtime.Marshaler].
func (jsonMarshaler) ContentType(any) string { return "application/json; charset=utf-8" }

// Marshal implements [runtime.Marshaler]. The value is a message or a list of messages.
func (jsonMarshaler) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	if m, ok := v.(proto.Message); ok {
		err := writeMessage(&b, m.ProtoReflect())
		return b.Bytes(), err
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return nil, fmt.Errorf("write JSON: %T is no message", v)
	}
	b.WriteByte('[')
	for i := range list.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		m, ok := list.Index(i).Interface().(proto.Message)
		if !ok {
			return nil, fmt.Errorf("write JSON: %T is no list of messages", v)
		}
		if err := writeMessage(&b, m.ProtoReflect()); err != nil {
			return nil, err
		}
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}

// Unmarshal implements [runtime.Marshaler].
func (jsonMarshaler) Unmarshal(data []byte, v any) error {
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
func (j jsonMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return io.EOF
		}
		return j.Unmarshal(data, v)
	})
}

// NewEncoder implements [runtime.Marshaler].
func (j jsonMarshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := j.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

func writeMessage(b *bytes.Buffer, m protoreflect.Message) error {
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration": // strings, in the form that protojson gives them
		text, err := protojson.Marshal(m.Interface())
		b.Write(text)
		return err
	}
	b.WriteByte('{')
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) && (omitEmpty(f) || f.ContainingOneof() != nil && !f.HasOptionalKeyword()) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		writeString(b, string(f.Name()))
		b.WriteByte(':')
		if err := writeField(b, f, m); err != nil {
			return fmt.Errorf("write JSON of %s: %w", f.FullName(), err)
		}
	}
	b.WriteByte('}')
	return nil
}

// omitEmpty is whether the contract leaves an empty field out.
func omitEmpty(f protoreflect.FieldDescriptor) bool {
	return proto.GetExtension(f.Options(), insightsv1.E_OmitEmpty).(bool)
}

func writeField(b *bytes.Buffer, f protoreflect.FieldDescriptor, m protoreflect.Message) error {
	switch {
	case f.IsList():
		list := m.Get(f).List()
		b.WriteByte('[')
		for i := range list.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeValue(b, f, list.Get(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case f.IsMap():
		return writeMap(b, f, m.Get(f).Map())
	case f.HasPresence() && !m.Has(f):
		b.WriteString("null")
		return nil
	}
	return writeValue(b, f, m.Get(f))
}

func writeMap(b *bytes.Buffer, f protoreflect.FieldDescriptor, entries protoreflect.Map) error {
	var keys []protoreflect.MapKey
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return bytes.Compare([]byte(x.String()), []byte(y.String())) })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		writeString(b, k.String())
		b.WriteByte(':')
		if err := writeValue(b, f.MapValue(), entries.Get(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeValue(b *bytes.Buffer, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return writeMessage(b, v.Message())
	case protoreflect.StringKind:
		writeString(b, v.String())
	case protoreflect.BytesKind:
		text, err := json.Marshal(v.Bytes())
		b.Write(text)
		return err
	case protoreflect.BoolKind:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			b.WriteString(strconv.Itoa(int(v.Enum())))
			return nil
		}
		writeString(b, string(value.Name()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return fmt.Errorf("%v is no JSON number", v.Float())
		}
		b.WriteString(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	default: // integers
		b.WriteString(v.String())
	}
	return nil
}

// writeString writes text as JSON that is safe inside HTML as well.
func writeString(b *bytes.Buffer, s string) {
	text, _ := json.Marshal(s) // a string cannot fail
	b.Write(text)
}
