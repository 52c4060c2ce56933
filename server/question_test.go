package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
)

// question is a valid call of an RPC about usage, over gRPC and over REST.
type question struct {
	method  string // full name
	path    string
	request proto.Message
}

// questions are the calls of all RPCs of InsightsService: about everything, but about one template where the path names one.
func questions(t testing.TB, template uuid.UUID) (list []question) {
	t.Helper()
	methods, routes := insightsv1.File_insights_v1_insights_proto.Services().ByName("InsightsService").Methods(), wiretest.Routes(t)
	for i := range methods.Len() {
		method := methods.Get(i)
		name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
		if routes[name].Verb != http.MethodGet {
			t.Errorf("%s has no route", name)
			continue
		}
		path := strings.Replace(routes[name].Path, "{template_id}", template.String(), 1)
		var about []servertest.Thing
		if path != routes[name].Path {
			about = []servertest.Thing{{Template: template}}
		}
		list = append(list, question{name, path, new(servertest.World).Request(t, string(method.Name()), about)})
	}
	return list
}

// params are the parameters of the question over REST.
func (q question) params() url.Values {
	params := url.Values{}
	wiretest.AddParams(params, "", q.request.ProtoReflect())
	params.Del("template_id") // stands in the path
	return params
}

func (q question) query() string { return q.params().Encode() }

// until returns the question with another end of its window, if it has one.
func (q question) until(end string) question {
	q.request = proto.Clone(q.request)
	for _, name := range []protoreflect.Name{"end_time", "end"} {
		if q.has(name) {
			q.request.ProtoReflect().Set(q.request.ProtoReflect().Descriptor().Fields().ByName(name), protoreflect.ValueOfString(end))
		}
	}
	return q
}

// about returns the request about other templates; nil if a question of its kind is not about so many.
func (q question) about(templates []string) proto.Message {
	asked := proto.Clone(q.request)
	m, fields := asked.ProtoReflect(), asked.ProtoReflect().Descriptor().Fields()
	one, several := fields.ByName("template_id"), fields.ByName("template_ids")
	switch {
	case several != nil:
		list := m.NewField(several)
		for _, template := range templates {
			list.List().Append(protoreflect.ValueOfString(template))
		}
		m.Set(several, list)
	case one != nil && len(templates) == 1:
		m.Set(one, protoreflect.ValueOfString(templates[0]))
	default:
		return nil
	}
	return asked
}

// has returns whether a question has a field.
func (q question) has(field protoreflect.Name) bool {
	return q.request.ProtoReflect().Descriptor().Fields().ByName(field) != nil
}

// url is the path with the parameters.
func (q question) url() string { return q.path + "?" + q.query() }
