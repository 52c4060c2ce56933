package server_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
)

// hostileTexts and hostileNumbers are what no field expects.
var (
	hostileTexts = []string{
		"", " ", "\x00", "a\x00b", "\n", "'; DROP TABLE users; --", "%", "../../etc/passwd", "\u202e", "\U0010ffff", "null", "-1",
		"9999-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z", "00000000-0000-0000-0000-000000000000", "{}", "[]", strings.Repeat("a", 4096),
	}
	hostileNumbers = []int64{-1, 0, 1, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
)

// replacements are the ways to make a message hostile: in each, one field of it, at any depth, holds what it should not.
func replacements(m protoreflect.Message, at string) (ways []func(), names []string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := at + "." + string(f.Name())
		set := func(v protoreflect.Value, what string) {
			ways = append(ways, func() { m.Set(f, v) })
			names = append(names, name+" = "+what)
		}
		switch {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range m.Get(f).List().Len() {
				more, named := replacements(m.Get(f).List().Get(i).Message(), fmt.Sprintf("%s[%d]", name, i))
				ways, names = append(ways, more...), append(names, named...)
			}
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			for _, text := range hostileTexts {
				list := m.NewField(f)
				list.List().Append(protoreflect.ValueOfString(text))
				set(list, fmt.Sprintf("%.20q", text))
			}
		case f.IsList():
		case f.Message() != nil:
			if m.Has(f) {
				more, named := replacements(m.Get(f).Message(), name)
				ways, names = append(ways, more...), append(names, named...)
				set(m.NewField(f), "nothing in it")
			}
		case f.Kind() == protoreflect.StringKind:
			for _, text := range hostileTexts {
				set(protoreflect.ValueOfString(text), fmt.Sprintf("%.20q", text))
			}
		default:
			for _, n := range hostileNumbers {
				if v, ok := numberOf(f.Kind(), n); ok {
					set(v, fmt.Sprint(n))
				}
			}
		}
	}
	return ways, names
}

// numberOf is a number as a field of a kind holds it.
func numberOf(kind protoreflect.Kind, n int64) (protoreflect.Value, bool) {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n)), true
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n), true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n)), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n)), true
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n)), true
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{math.NaN(), math.Inf(1), -1, 1e308}[uint64(n)%4]), true
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n > 0), true
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), true
	default:
		return protoreflect.Value{}, false
	}
}

// ownErrors are the codes of errors of the server's own.
var ownErrors = []codes.Code{codes.Internal, codes.Unknown, codes.DataLoss, codes.Unavailable, codes.DeadlineExceeded}

// hostileMethods are the RPCs that hostile requests are made of: Watch never ends, and SignOut ends the token.
func hostileMethods(t testing.TB, w *neighbors) []protoreflect.MethodDescriptor {
	t.Helper()
	return slices.DeleteFunc(servedMethods(t, w.ServiceInfo()), func(m protoreflect.MethodDescriptor) bool {
		return m.Name() == "Watch" || m.Name() == "SignOut"
	})
}

// Whatever stands in a field of any request, at any depth: it is taken or refused, and never an error of the server's own.
func TestHostileFields(t *testing.T) {
	t.Parallel()
	w := newNeighbors(t)
	tokens := map[string]string{
		"an owner": w.Token(t, access.RoleOwner, servertest.Everywhere), "a control plane": w.ControlPlane,
	}
	cells := 0
	for _, method := range hostileMethods(t, w) {
		rpc := string(method.Name())
		request := func() proto.Message { return w.Request(t, rpc, w.About("a1")) }
		whole := request()
		_, names := replacements(whole.ProtoReflect(), rpc)
		for who, token := range tokens {
			for i, name := range names {
				hostile := proto.CloneOf(whole)
				ways, _ := replacements(hostile.ProtoReflect(), rpc)
				ways[i]()
				cells++
				if code := w.codeOf(t, method, token, hostile); slices.Contains(ownErrors, code) {
					t.Errorf("%s asks with %s: %v", who, name, code)
				}
			}
		}
	}
	t.Logf("%d requests", cells)
}

// codeOf makes a call and returns the code that it ends with.
func (w *neighbors) codeOf(t testing.TB, method protoreflect.MethodDescriptor, token string, request proto.Message) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(
		metadata.NewOutgoingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+token)), time.Minute,
	)
	defer cancel()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	response := kind.New().Interface()
	if method.IsStreamingClient() {
		_, _, _, err = w.stream(ctx, method, name, request, response)
	} else {
		err = w.Conn.Invoke(ctx, name, request, response)
	}
	return status.Code(err)
}
