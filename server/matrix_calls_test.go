package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// neighbors are the two organizations of the table in a server.
type neighbors struct {
	*running
	*servertest.World
}

func newNeighbors(t testing.TB, configure ...func(*server.Options)) *neighbors {
	t.Helper()
	database := storetest.SQLite(t)
	r := run(t, database, storetest.Now, func(c *server.Options) {
		c.PrivacyFloor = 1
		for _, set := range configure {
			set(c)
		}
	})
	w := &neighbors{r, servertest.NewWorld(t, r.Server)}
	storetest.PublishAnew(t, r.Store, database, store.Publication{Floor: 1, Zone: time.UTC, After: -24 * time.Hour})
	return w
}

// answer is how a call ended: the outcome, what was answered, and everything that the caller can see of a refusal.
type answer struct {
	outcome  outcome
	response proto.Message
	text     string
}

// outcomeOf tells the outcomes by code. A request that names nothing may be invalid to those who are let in, a service that is not built
// yet says so, and what is hidden where small groups are is told only to who may ask.
func outcomeOf(t testing.TB, err error, scope string) outcome {
	t.Helper()
	switch code := status.Code(err); {
	case code == codes.OK, code == codes.Unimplemented, code == codes.InvalidArgument && scope == "none",
		err != nil && strings.Contains(err.Error(), "This is not told here."):
		return allowed
	case code == codes.Unauthenticated:
		return unauthenticated
	case code == codes.PermissionDenied:
		return forbidden
	case code == codes.NotFound:
		return notFound
	default:
		t.Errorf("neither let in nor refused: %v", err)
		return ""
	}
}

// turnedAway returns the items that an answer turns away, without the ids that they name.
func turnedAway(response proto.Message, about []servertest.Thing) string {
	field := response.ProtoReflect().Descriptor().Fields().ByName("rejected")
	if field == nil || response.ProtoReflect().Get(field).List().Len() == 0 {
		return ""
	}
	text, _ := protojson.Marshal(response)
	var compact bytes.Buffer
	_ = json.Compact(&compact, text) // protojson varies its blanks
	return anonymize(compact.String(), about)
}

// anonymize takes the ids of things out of a text.
func anonymize(text string, about []servertest.Thing) string {
	for _, x := range about {
		for _, id := range []uuid.UUID{x.Organization, x.Template, x.Version, x.Workspace, x.Agent} {
			text = strings.ReplaceAll(text, id.String(), "ID")
		}
	}
	return text
}

// visible is all that a gRPC caller can see of an error.
func visible(err error, header, trailer metadata.MD) string {
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(status.Convert(err).Proto())
	return fmt.Sprintf("%s %v", text, metadata.Join(header, trailer)) // which of the two says it depends on what a stream said before
}

// callGRPC makes a call over gRPC, as a stream of one message if the RPC is one.
func (w *neighbors) callGRPC(
	t testing.TB, method protoreflect.MethodDescriptor, headers map[string]string, req proto.Message, scope string,
) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), time.Minute)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	response := kind.New().Interface()
	var header, trailer metadata.MD
	if method.IsStreamingServer() {
		response, header, trailer, err = w.stream(ctx, method, name, req, response)
	} else {
		err = w.Conn.Invoke(ctx, name, req, response, grpc.Header(&header), grpc.Trailer(&trailer))
	}
	a := answer{outcome: outcomeOf(t, err, scope), response: response, text: visible(err, header, trailer)}
	if turned := turnedAway(response, w.About(scope)); a.outcome == allowed && turned != "" {
		a.outcome, a.text = rejected, turned
	}
	return a
}

// stream sends one message and reads until the server says what became of it.
func (w *neighbors) stream(
	ctx context.Context, method protoreflect.MethodDescriptor, name string, req, response proto.Message,
) (proto.Message, metadata.MD, metadata.MD, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.Conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}, name)
	if err != nil {
		return response, nil, nil, err
	}
	if err := stream.SendMsg(req); err != nil && err != io.EOF { //nolint:errorlint // io.EOF: RecvMsg says why
		return response, nil, nil, err
	}
	_ = stream.CloseSend()
	for {
		next := response.ProtoReflect().New().Interface()
		if err = stream.RecvMsg(next); err != nil {
			break
		}
		proto.Merge(response, next)
		if !method.IsStreamingClient() {
			break // one answer is enough of a stream without an end
		}
	}
	if err == io.EOF { //nolint:errorlint // it is never wrapped
		err = nil
	}
	header, _ := stream.Header()
	return response, header, stream.Trailer(), err
}

// restCodes are the statuses of REST as codes.
var restCodes = map[int]codes.Code{
	200: codes.OK, 400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.NotFound,
	501: codes.Unimplemented,
}

// callREST makes a call over REST. It says false if REST cannot.
func (w *neighbors) callREST(
	t testing.TB, to wiretest.Route, method protoreflect.MethodDescriptor, headers map[string]string, req proto.Message, scope string,
) (answer, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := to.Request(ctx, t, "http://"+w.HTTPAddress(), req)
	if r == nil {
		return answer{}, false
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	httpStatus, answered, body := servertest.Exchange(t, r)
	code, known := restCodes[httpStatus]
	if !known {
		code = codes.Unknown
	}
	a := answer{
		outcome: outcomeOf(t, status.Error(code, string(body)), scope), text: fmt.Sprintf("%d %v %s", httpStatus, seen(answered), body),
	}
	if httpStatus != http.StatusOK {
		return a, true
	}
	if to.Bare { // the name of the field is not in the answer
		body = fmt.Appendf(nil, `{%q: %s}`, method.Output().Fields().Get(0).Name(), body)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	a.response = kind.New().Interface()
	if err := protojson.Unmarshal(body, a.response); err != nil {
		t.Fatalf("%s: %v: %s", method.FullName(), err, body)
	}
	if turned := turnedAway(a.response, w.About(scope)); turned != "" {
		a.outcome, a.text = rejected, turned
	}
	return a, true
}

// seen are the headers of an answer but for the time of day.
func seen(h http.Header) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name != "Date" {
			lines = append(lines, fmt.Sprintf("%s: %s", name, h[name]))
		}
	}
	return lines
}
