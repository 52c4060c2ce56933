package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/template-insights/insights/gen/openapi"
	"github.com/template-insights/insights/server/internal/rest"
)

// Every table is a path with the parameters of its question, in both versions, and the newer version is valid.
func TestExportsAreDescribed(t *testing.T) {
	t.Parallel()
	var older struct{ Paths map[string]pathItem }
	if err := json.Unmarshal(openapi.Document, &older); err != nil {
		t.Fatal(err)
	}
	newer, err := openapi3.NewLoader().LoadFromData(openapi.Document31)
	if err != nil {
		t.Fatal(err)
	}
	if err := newer.Validate(context.Background()); err != nil || !strings.HasPrefix(newer.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %s: %v", newer.OpenAPI, err)
	}
	for _, table := range rest.ExportTables {
		path := strings.Replace(rest.ExportRoute, "{table}", table.Name, 1)
		export, described := older.Paths[path]["get"]
		if !described || len(export.Parameters) < 2 || export.Parameters[0].Name != "format" {
			t.Errorf("%s in 2.0: %+v", path, export)
		}
		item := newer.Paths.Value(path)
		if item == nil || len(item.Get.Parameters) != len(export.Parameters) {
			t.Errorf("%s in 3.1: %+v", path, item)
			continue
		}
		if content := item.Get.Responses.Value("200").Value.Content; len(content) != len(rest.ExportFormats) || content["text/csv"] == nil {
			t.Errorf("%s in 3.1 answers %v", path, content)
		}
		if content := item.Get.Responses.Default().Value.Content; len(content) != 1 || content["application/json"] == nil {
			t.Errorf("%s in 3.1 fails with %v", path, content)
		}
	}
	archive := newer.Paths.Value(rest.ArchiveRoute)
	if archive == nil || archive.Get.Responses.Value("200").Value.Content[rest.ArchiveType] == nil {
		t.Fatalf("the archive in 3.1: %+v", archive)
	}
	for i, p := range archive.Get.Parameters {
		if p.Value.Required != (i == 0) || i == 0 && len(p.Value.Schema.Value.Items.Value.Enum) != len(rest.ExportTables) {
			t.Errorf("parameter %s of the archive: %+v", p.Value.Name, p.Value)
		}
	}
}

// What the older version has no words for stands in the newer one.
func TestConvert(t *testing.T) {
	t.Parallel()
	text, err := convert([]byte(`{
  "swagger": "2.0", "info": {"title": "t", "version": "v"}, "produces": ["application/json"],
  "paths": {"/a": {"get": {
    "operationId": "A",
    "parameters": [
      {"name": "ids", "in": "query", "required": false, "type": "array", "items": {"type": "string"}, "collectionFormat": "multi"}
    ],
    "responses": {
      "200": {"description": "", "schema": {"$ref": "#/definitions/A"}}, "default": {"description": "", "schema": {"type": "string"}}
    }
  }}},
  "definitions": {"A": {"type": "object", "properties": {
    "at": {"type": "string", "format": "date-time", "description": "When."},
    "b": {"$ref": "#/definitions/A", "description": "Another."},
    "n": {"type": "integer", "format": "int64"}
  }}}
}`))
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	a := document.Components.Schemas["A"]
	for value, valid := range map[string]bool{
		`{"at": null, "b": null, "n": 1}`: true, `{"at": "2023-08-15T00:00:00Z", "b": {"b": null}}`: true, `{"n": null}`: false,
		`{"n": "1"}`: false, `{"b": 1}`: false, `{"at": 1}`: false,
	} {
		var v any
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			t.Fatal(err)
		}
		if err := document.ValidateSchemaJSON(a.Value, v); (err == nil) != valid {
			t.Errorf("%s: %v", value, err)
		}
	}
	if got := a.Value.Properties["b"].Value.Description; got != "Another." {
		t.Errorf("the field beside a reference says %q", got)
	}
	if p := document.Paths.Value("/a").Get.Parameters[0].Value; p.Style != "form" || p.Explode == nil || !*p.Explode {
		t.Errorf("a list in a query: %+v", p)
	}
}

// A form of the document that is not known is no reason to leave paths out of it.
func TestExportsNeedTheirQuestions(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`{"paths": {}}`: "is not described", "{\"paths\": {\n  },\n  \"definitions\": {}}": "is not described", "nothing": "invalid",
	} {
		if _, err := describeExports([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", document, err)
		}
	}
	if _, err := describeExports([]byte(strings.ReplaceAll(string(openapi.Document), "\n", ""))); err == nil {
		t.Error("a document on one line is described")
	}
}
