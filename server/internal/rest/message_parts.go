package rest

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An empty message takes two bytes on the wire and hundreds in memory, and it is decoded before anyone asks who sent it. So
// messages are counted before they are decoded.
const (
	maxParts   = 50_000   // messages within one message
	smallBytes = 32 << 10 // a message of that size cannot hold enough to matter
)

var errParts = fmt.Errorf("more than %d parts in one message; send fewer at once", maxParts)

// partsCodec is the codec of protobuf for messages of no more than so many parts.
type partsCodec struct{ encoding.CodecV2 }

// NewPartsCodec is the codec of gRPC for messages of no more than so many parts.
func NewPartsCodec() partsCodec { return partsCodec{encoding.GetCodecV2("proto")} }

// Unmarshal implements [encoding.CodecV2].
func (c partsCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(proto.Message)
	if !ok || data.Len() <= smallBytes {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	if err := countParts(message.ProtoReflect().Descriptor(), buffer.ReadOnlyData(), new(int)); err != nil {
		return err
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), message)
}

// countParts adds the messages within one on the wire, entries of maps included. What cannot be read is left to who decodes it.
func countParts(d protoreflect.MessageDescriptor, wire []byte, parts *int) error {
	for len(wire) > 0 {
		number, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return nil
		}
		wire = wire[n:]
		if n = protowire.ConsumeFieldValue(number, kind, wire); n < 0 {
			return nil
		}
		if field := d.Fields().ByNumber(number); kind == protowire.BytesType && field != nil && field.Message() != nil {
			if *parts++; *parts > maxParts {
				return errParts
			}
			within, _ := protowire.ConsumeBytes(wire)
			if err := countParts(field.Message(), within, parts); err != nil {
				return err
			}
		}
		wire = wire[n:]
	}
	return nil
}
