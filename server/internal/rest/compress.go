package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// compressFrom is from how many bytes on an answer is compressed for clients that take gzip.
const compressFrom = 1 << 10

// compressible reports whether compressing a kind of content makes it smaller: Parquet and archives are compressed already.
func compressible(contentType string) bool {
	return !strings.HasPrefix(contentType, ExportFormats["parquet"].ContentType) && contentType != ArchiveType
}

// sendSecretsPlain keeps answers with secrets uncompressed: the size of a compressed answer says something of what is in it.
func sendSecretsPlain(_ context.Context, w http.ResponseWriter, answer proto.Message) error {
	if holdsSecret(answer.ProtoReflect().Descriptor()) {
		w.Header().Set(gzhttp.HeaderNoCompression, "secret")
	}
	return nil
}

// holdsSecret reports whether a message, or one within it, has a field that the contract marks as one to be redacted.
func holdsSecret(m protoreflect.MessageDescriptor) bool {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if options, ok := f.Options().(*descriptorpb.FieldOptions); ok && options.GetDebugRedact() {
			return true
		}
		if f.Message() != nil && holdsSecret(f.Message()) {
			return true
		}
	}
	return false
}
