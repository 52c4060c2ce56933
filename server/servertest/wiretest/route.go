package wiretest

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
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/template-insights/insights/gen/openapi"
)

// Route is the REST form of an RPC.
type Route struct {
	Verb, Path string
	Bare       bool // the answer is its one field
}

// Routes reads the REST form of every RPC, by its full method name, from the description at /openapi.json.
func Routes(t testing.TB) map[string]Route {
	t.Helper()
	var description struct {
		Paths map[string]map[string]struct {
			OperationID string
			Responses   map[string]struct {
				Schema struct {
					Type string
					Ref  string `json:"$ref"`
				}
			}
		}
	}
	if err := json.Unmarshal(openapi.Document, &description); err != nil {
		t.Fatal(err)
	}
	routes := map[string]Route{}
	for path, verbs := range description.Paths {
		for verb, operation := range verbs {
			id := operation.OperationID
			if strings.HasPrefix(id, "Export") || strings.HasSuffix(id, "2") { // a file or an archive, or the second route of an RPC
				continue
			}
			answer := operation.Responses["200"].Schema
			routes["/insights.v1."+strings.Replace(id, "_", "/", 1)] = Route{
				strings.ToUpper(verb), path, answer.Type == "array" || !strings.HasSuffix(answer.Ref, "Response"),
			}
		}
	}
	return routes
}

// Request writes a message as a REST call; nil if its path cannot be filled in.
func (r Route) Request(ctx context.Context, t testing.TB, server string, m proto.Message) *http.Request {
	t.Helper()
	path, query := r.Path, url.Values{}
	var body io.Reader
	if r.Verb == http.MethodPost {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	} else {
		AddParams(query, "", m.ProtoReflect())
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
	req, err := http.NewRequestWithContext(ctx, r.Verb, server+path+"?"+query.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// AddParams writes a message as parameters of a query.
func AddParams(query url.Values, prefix string, m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := prefix + string(f.Name())
		switch {
		case f.IsList():
			for i := range v.List().Len() {
				query.Add(name, v.List().Get(i).String())
			}
		case f.Message() != nil:
			AddParams(query, name+".", v.Message())
		default:
			query.Set(name, v.String())
		}
		return true
	})
}

// Method is what the contract says of an RPC, by its full method name.
func Method(t testing.TB, name string) protoreflect.MethodDescriptor {
	t.Helper()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(
		protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return found.(protoreflect.MethodDescriptor)
}
