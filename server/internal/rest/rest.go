package rest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
)

// queryParser reads query parameters into a request: by their proto names, lists separated by commas or repeated.
type queryParser struct{}

// errQuery is all that the gateway lets through of what is wrong with a query; writeError looks again.
var errQuery = errors.New("query parameters have invalid values")

// Parse implements [runtime.QueryParameterParser].
func (queryParser) Parse(target proto.Message, query url.Values, bound *utilities.DoubleArray) error {
	if len(checkQuery(target.ProtoReflect().Descriptor(), query)) > 0 {
		return errQuery
	}
	split := url.Values{}
	for name, values := range query {
		switch f := queryField(target.ProtoReflect().Descriptor(), name); {
		case f.IsList():
			values = splitList(values)
		case f.Kind() == protoreflect.Int32Kind && values[0] == "":
			continue // as if it were not there
		}
		if len(values) > 0 {
			split[name] = values
		}
	}
	return (&runtime.DefaultQueryParser{}).Parse(target, split, bound)
}

// splitList takes the members of a list apart; blanks around them do not count. A parameter without a value has no member. An empty
// member is one, as over gRPC, for the server to refuse: somebody meant to name something there.
func splitList(values []string) []string {
	var members []string
	for _, value := range values {
		if value == "" {
			continue
		}
		for member := range strings.SplitSeq(value, ",") {
			members = append(members, strings.TrimSpace(member))
		}
	}
	return members
}

// queryField finds the field behind a parameter, also inside of messages: principal.kind.
func queryField(m protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	first, rest, nested := strings.Cut(name, ".")
	f := m.Fields().ByName(protoreflect.Name(first))
	if f == nil || !nested {
		return f
	}
	if f.Message() == nil || f.IsList() || f.IsMap() {
		return nil
	}
	return queryField(f.Message(), rest)
}

// checkQuery names every parameter that the request does not have or that cannot be read.
func checkQuery(m protoreflect.MessageDescriptor, query url.Values) []call.FieldError {
	var found []call.FieldError
	for _, name := range slices.Sorted(maps.Keys(query)) {
		f := queryField(m, name)
		switch {
		case f == nil || f.Message() != nil:
			found = append(found, call.FieldError{
				Field: call.Shorten(name), Detail: fmt.Sprintf("Query param %q is not a valid query param", call.Shorten(name)),
			})
		case !utf8.ValidString(strings.Join(query[name], "")):
			found = append(found, call.FieldError{Field: name, Detail: fmt.Sprintf("Query param %q must be UTF-8", name)})
		case !f.IsList() && len(query[name]) > 1:
			found = append(found, call.FieldError{Field: name, Detail: fmt.Sprintf("Query param %q must be given once", name)})
		case f.Kind() == protoreflect.Int32Kind && query.Get(name) != "":
			if _, err := strconv.ParseInt(query.Get(name), 10, 32); err != nil {
				found = append(found, call.FieldError{Field: name, Detail: fmt.Sprintf("Query param %q must be a valid integer", name)})
			}
		}
	}
	return found
}

// queryKey is where a REST call's query is in its context.
type queryKey struct{}

// refuseQuery refuses parameters of requests all of whose fields are in the path: the gateway does not show them to the parser.
func refuseQuery(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	query, _ := ctx.Value(queryKey{}).(url.Values)
	m := req.(proto.Message).ProtoReflect().Descriptor()
	if faults := checkQuery(m, query); len(faults) > 0 && isInPath(ctx, m) {
		return call.Invalid(call.MessageInvalidValues, faults...)
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

// isInPath reports whether the path of a REST call has all fields of its request.
func isInPath(ctx context.Context, m protoreflect.MessageDescriptor) bool {
	path, _ := runtime.HTTPPathPattern(ctx)
	for i := range m.Fields().Len() {
		if !strings.Contains(path, "{"+string(m.Fields().Get(i).Name())+"}") {
			return false
		}
	}
	return true
}

// writeError answers a REST call that failed.
func writeError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	s := status.Convert(err)
	body := &insightsv1.Error{Message: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			body.Detail = d.GetMetadata()[call.DetailKey]
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				body.Validations = append(body.Validations, &insightsv1.Validation{Field: v.GetField(), Detail: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.GetRetryDelay().AsDuration().Seconds()))))
		}
	}
	switch {
	case s.Code() == codes.InvalidArgument && len(s.Details()) == 0:
		explainRequest(ctx, body, r)
	case r.Method == http.MethodPost && r.URL.RawQuery == "":
		explainBody(body)
	}
	writeErrorBody(w, runtime.HTTPStatusFromCode(s.Code()), body)
}

// explainBody says of fields that they are of the body: all that a POST has are.
func explainBody(body *insightsv1.Error) {
	switch body.GetMessage() {
	case call.MessageInvalidValue, call.MessageInvalidValues:
		body.Message = call.MessageInvalidFields
	}
	for _, v := range body.GetValidations() {
		v.Detail = strings.TrimPrefix(v.GetDetail(), call.Param(v.GetField()))
	}
}

// explainRequest says what is wrong with a request that the gateway itself could not read.
func explainRequest(ctx context.Context, body *insightsv1.Error, r *http.Request) {
	body.Detail, body.Message = body.GetMessage(), "The request cannot be read."
	if fault := faultOf(r.Context()); fault != nil {
		body.Detail = fault.Detail
		if fault.Field != "" {
			body.Message, body.Detail = call.MessageInvalidFields, ""
			body.Validations = []*insightsv1.Validation{{Field: fault.Field, Detail: fault.Detail}}
		}
		return
	}
	name, ok := runtime.RPCMethod(ctx)
	if !ok {
		return
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(
		protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")),
	)
	if err != nil {
		return
	}
	if fields := checkQuery(found.(protoreflect.MethodDescriptor).Input(), r.URL.Query()); len(fields) > 0 {
		body.Message, body.Detail = call.MessageInvalidValues, ""
		for _, f := range fields {
			body.Validations = append(body.Validations, &insightsv1.Validation{Field: f.Field, Detail: f.Detail})
		}
	}
}

// writeRoutingError answers a call that no route fits.
func writeRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, code int) {
	message := "There is no such route."
	if code == http.StatusMethodNotAllowed {
		message = "The route does not know this method."
	}
	writeErrorBody(w, code, &insightsv1.Error{Message: message})
}

func writeErrorBody(w http.ResponseWriter, code int, body *insightsv1.Error) {
	text, err := JSONMarshaler{}.Marshal(body)
	if err != nil {
		text = []byte(`{"message":"Internal error."}`)
	}
	w.Header().Set("Content-Type", JSONMarshaler{}.ContentType(nil))
	w.WriteHeader(code)
	_, _ = w.Write(text)
}
