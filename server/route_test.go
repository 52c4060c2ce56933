package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/template-insights/insights/gen/openapi"
)

// route is the REST form of an RPC.
type route struct {
	verb, path string
	list       bool // the answer is its one list
}

// readRoutes reads the REST form of every RPC, by its full method name, from the description at /openapi.json.
func readRoutes(t testing.TB) map[string]route {
	t.Helper()
	var description struct {
		Paths map[string]map[string]struct {
			OperationID string
			Responses   map[string]struct{ Schema struct{ Type string } }
		}
	}
	if err := json.Unmarshal(openapi.Document, &description); err != nil {
		t.Fatal(err)
	}
	routes := map[string]route{}
	for path, verbs := range description.Paths {
		for verb, operation := range verbs {
			if strings.HasPrefix(operation.OperationID, "Export_") { // a file, which is no RPC
				continue
			}
			routes["/insights.v1."+strings.Replace(operation.OperationID, "_", "/", 1)] = route{
				strings.ToUpper(verb), path, operation.Responses["200"].Schema.Type == "array",
			}
		}
	}
	return routes
}

// request writes a message as a REST call; nil if its path cannot be filled in.
func (r route) request(ctx context.Context, t testing.TB, server string, m proto.Message) *http.Request {
	t.Helper()
	path, query := r.path, url.Values{}
	var body io.Reader
	if r.verb == http.MethodPost {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	} else {
		addParams(query, "", m.ProtoReflect())
		for name := range query {
			if field := "{" + name + "}"; strings.Contains(path, field) {
				path = strings.Replace(path, field, url.PathEscape(query.Get(name)), 1)
				query.Del(name)
			}
		}
	}
	if strings.Contains(path, "{") {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, r.verb, server+path+"?"+query.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// addParams writes a message as parameters of a query.
func addParams(query url.Values, prefix string, m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := prefix + string(f.Name())
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				query.Add(name, v.List().Get(i).String())
			}
		case f.Message() != nil:
			addParams(query, name+".", v.Message())
		default:
			query.Set(name, v.String())
		}
		return true
	})
}
