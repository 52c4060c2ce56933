package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/store/storetest"
)

// openAPI is what the description says that matters here.
type openAPI struct {
	Paths       map[string]map[string]operation
	Definitions map[string]schema
}

type operation struct {
	Parameters []struct{ Name, In string }
	Responses  map[string]struct{ Schema schema }
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Format               string
	Items                *schema
	Properties           map[string]schema
	AdditionalProperties *schema `json:"additionalProperties"`
}

// check lists where a value is not what a schema says. Nothing may be there that is not described.
func (d openAPI) check(at string, s schema, value any) []string {
	if s.Ref != "" {
		s = d.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")]
	}
	wrong := []string{fmt.Sprintf("%s is %v, described as %s %s", at, value, s.Type, s.Format)}
	switch value := value.(type) {
	case nil:
		if s.Type == "object" || s.Format == "date-time" { // a message that is not there
			return nil
		}
	case string:
		if s.Type == "string" {
			return nil
		}
	case bool:
		if s.Type == "boolean" {
			return nil
		}
	case float64:
		whole := value == math.Trunc(value)
		if s.Type == "number" && s.Format == "double" ||
			s.Type == "integer" && whole && slices.Contains([]string{"int32", "int64", "uint64"}, s.Format) {
			return nil
		}
	case []any:
		if s.Type == "array" {
			wrong = nil
			for i, item := range value {
				wrong = append(wrong, d.check(fmt.Sprintf("%s[%d]", at, i), *s.Items, item)...)
			}
		}
	case map[string]any:
		if s.Type == "object" {
			return d.checkObject(at, s, value)
		}
	}
	return wrong
}

func (d openAPI) checkObject(at string, s schema, value map[string]any) (wrong []string) {
	for _, key := range slices.Sorted(maps.Keys(value)) {
		property, described := s.Properties[key]
		switch {
		case described:
			wrong = append(wrong, d.check(at+"."+key, property, value[key])...)
		case s.AdditionalProperties != nil:
			wrong = append(wrong, d.check(at+"."+key, *s.AdditionalProperties, value[key])...)
		default:
			wrong = append(wrong, fmt.Sprintf("%s.%s is not described", at, key))
		}
	}
	return wrong
}

// The descriptions in OpenAPI 2.0 and 3.1 say what the server answers, with data and without, and which parameters it takes.
func TestAnswersFollowOpenAPI(t *testing.T) {
	t.Parallel()
	p := newPatient(t, storetest.SQLite(t), nil)
	p.everybody(t, nil)
	p.declare(t, "wiki", "unused")
	p.open(t, "wiki")
	p.build(t, before(24, 0), "big")
	readStatusVector(t).apply(t, p.running)
	ask := func(token, path string, params url.Values) (status int, body any) {
		t.Helper()
		status, header, text := p.Fetch(t, http.Header{"Coder-Session-Token": {token}}, path+"?"+params.Encode())
		if err := json.Unmarshal(text, &body); err != nil {
			t.Fatalf("%s: %v: %s", path, err, text)
		}
		if got := header.Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("%s: Content-Type %s", path, got)
		}
		if got := header.Get("Cache-Control"); got != "private" && !strings.HasPrefix(path, "/openapi") {
			t.Errorf("%s: Cache-Control %s", path, got)
		}
		return status, body
	}
	_, document := ask("", "/openapi.json", nil)
	var d openAPI
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	_, _, text = p.Fetch(t, http.Header{}, "/openapi-3.1.json")
	newer, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	takes := map[string][]string{} // parameters, by method
	for _, q := range questions(t, p.Templates[0]) {
		route := strings.Replace(q.path, p.Templates[0].String(), "{template_id}", 1)
		get, described := d.Paths[route]["get"]
		if !described {
			t.Errorf("%s is not described", route)
			continue
		}
		fields := q.request.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			takes[q.method] = append(takes[q.method], string(fields.Get(i).Name()))
		}
		says := d.checkParameters(t, route, takes[q.method])
		for name, c := range map[string]struct {
			token    string
			params   url.Values
			status   int
			response string
		}{
			"an answer":    {p.owner, q.params(), 200, "200"},
			"no token":     {"", q.params(), 401, "default"},
			"a bad param":  {p.owner, url.Values{"foo": {"1"}}, 400, "default"},
			"small pages":  {p.owner, withPage(q, says), 200, "200"},
			"empty window": {p.owner, withEmptyWindow(q), 200, "200"},
		} {
			status, body := ask(c.token, q.path, c.params)
			if status != c.status {
				t.Errorf("%s of %s: %d %v", name, route, status, body)
				continue
			}
			for _, wrong := range d.check(name+" of "+route, get.Responses[c.response].Schema, body) {
				t.Error(wrong)
			}
			schema := newer.Paths.Value(route).Get.Responses.Value(c.response).Value.Content["application/json"].Schema.Value
			if err := newer.ValidateSchemaJSON(schema, body, openapi3.EnableJSONSchema2020()); err != nil {
				t.Errorf("%s of %s is not what OpenAPI 3.1 says: %v", name, route, err)
			}
		}
	}
	all := []string{"tables", "format"}
	for _, table := range rest.ExportTables {
		all = append(all, takes[table.Method]...)
		route := strings.Replace(rest.ExportRoute, "{table}", table.Name, 1)
		d.checkParameters(t, route, append([]string{"format"}, takes[table.Method]...))
		if newer.Paths.Value(route) == nil {
			t.Errorf("%s is not described in OpenAPI 3.1", route)
		}
	}
	d.checkParameters(t, rest.ArchiveRoute, slices.Compact(slices.Sorted(slices.Values(all))))
}

// checkParameters holds the parameters that are described of a route against those that it takes, and returns them.
func (d openAPI) checkParameters(t *testing.T, route string, takes []string) (says []string) {
	t.Helper()
	for _, parameter := range d.Paths[route]["get"].Parameters {
		says = append(says, parameter.Name)
	}
	takes = slices.Sorted(slices.Values(takes))
	slices.Sort(says)
	if diff := cmp.Diff(takes, says); diff != "" {
		t.Errorf("parameters of %s (-taken +described):\n%s", route, diff)
	}
	return says
}

// withPage asks for pages of one where there are pages.
func withPage(q question, parameters []string) url.Values {
	params := q.params()
	if slices.Contains(parameters, "page_size") {
		params.Set("page_size", "1")
	}
	return params
}

// withEmptyWindow asks about no time at all.
func withEmptyWindow(q question) url.Values {
	params := q.params()
	for start, end := range map[string]string{"start_time": "end_time", "start": "end"} {
		if params.Has(start) {
			params.Set(end, params.Get(start))
		}
	}
	return params
}
