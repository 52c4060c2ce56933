package server_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
)

// Whatever the bytes of a request of any RPC are: it is taken or refused, and never an error of the server's own.
func FuzzCall(f *testing.F) {
	w := newNeighbors(f)
	tokens := []string{w.Token(f, access.RoleOwner, servertest.Everywhere), w.ControlPlane}
	methods := hostileMethods(f, w)
	for i, method := range methods {
		for _, about := range []string{"a1", "mixed", "unknown"} {
			f.Add(uint8(i), wiretest.Marshal(f, w.Request(f, string(method.Name()), w.About(about))))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		method := methods[int(which)%len(methods)]
		kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
		if err != nil {
			t.Fatal(err)
		}
		request := kind.New().Interface()
		if proto.Unmarshal(text, request) != nil {
			return
		}
		for _, token := range tokens {
			if code := w.codeOf(t, method, token, request); slices.Contains(ownErrors, code) {
				t.Errorf("%s of %v: %v", method.Name(), request, code)
			}
		}
	})
}
