package main

import (
	"encoding/json"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3conv"
)

// convert turns a description in OpenAPI 2.0 into one in 3.1, which also says what the older version has no words for: that a message
// or time may be null, what a field is beside the message that it holds, and that errors are JSON where answers are files.
func convert(document []byte) ([]byte, error) {
	var older openapi2.T
	if err := json.Unmarshal(document, &older); err != nil {
		return nil, err
	}
	described, err := fieldDescriptions(document)
	if err != nil {
		return nil, err
	}
	newer, err := openapi2conv.ToV3(&older)
	if err != nil {
		return nil, err
	}
	openapi3conv.Upgrade(newer)
	newer.OpenAPI = "3.1.1" // the library calls it by the newest version that means the same
	for name, message := range newer.Components.Schemas {
		for field, schema := range message.Value.Properties {
			message.Value.Properties[field] = nullable(schema, described[name][field])
		}
	}
	for _, path := range newer.Paths.Map() {
		for _, o := range path.Operations() {
			for status, response := range o.Responses.Map() {
				keepContent(response.Value.Content, status)
			}
		}
	}
	text, err := json.MarshalIndent(newer, "", "  ")
	return append(text, '\n'), err
}

// fieldDescriptions are those of all fields by message and field: the library drops them beside a reference.
func fieldDescriptions(document []byte) (map[string]map[string]string, error) {
	var all struct {
		Definitions map[string]struct {
			Properties map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal(document, &all); err != nil {
		return nil, err
	}
	found := map[string]map[string]string{}
	for name, message := range all.Definitions {
		found[name] = map[string]string{}
		for field, property := range message.Properties {
			found[name][field] = property.Description
		}
	}
	return found, nil
}

// nullable is the schema of a field that is null where it holds no message or time.
func nullable(field *openapi3.SchemaRef, description string) *openapi3.SchemaRef {
	const null = "null"
	if field.Ref != "" {
		return openapi3.NewSchemaRef("", &openapi3.Schema{
			Description: description,
			AnyOf:       openapi3.SchemaRefs{field, openapi3.NewSchemaRef("", &openapi3.Schema{Type: &openapi3.Types{null}})},
		})
	}
	if field.Value.Format == "date-time" {
		field.Value.Type = &openapi3.Types{openapi3.TypeString, null}
	}
	return field
}

// keepContent leaves a response the kinds of content that it has: JSON for errors, and for answers JSON or files.
func keepContent(content openapi3.Content, status string) {
	if len(content) < 2 {
		return
	}
	for kind := range content {
		if strings.HasSuffix(kind, "/json") != (status == "default") {
			delete(content, kind)
		}
	}
}
