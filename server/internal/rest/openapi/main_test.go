package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCorrect(t *testing.T) {
	t.Parallel()
	got, err := correct([]byte(`{
  "seconds": {
    "type": "string",
    "format": "int64",
    "description": "Not a \"type\": \"string\",\n\"format\": \"int64\"."
  },
  "by_name": {
    "additionalProperties": {
      "type": "string",
      "format": "uint64"
    }
  },
  "time": {
    "type": "string",
    "format": "date-time"
  },
  "count": {
    "type": "integer",
    "format": "int64"
  },
  "parameters": [
    {
      "name": "start",
      "description": "Begin. Required.",
      "in": "query",
      "required": false,
      "type": "string"
    },
    {
      "name": "end",
      "description": "End. Not \"Required.\"",
      "in": "query",
      "required": false,
      "type": "string"
    }
  ]
}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "seconds": {
    "type": "integer",
    "format": "int64",
    "description": "Not a \"type\": \"string\",\n\"format\": \"int64\"."
  },
  "by_name": {
    "additionalProperties": {
      "type": "integer",
      "format": "uint64"
    }
  },
  "time": {
    "type": "string",
    "format": "date-time"
  },
  "count": {
    "type": "integer",
    "format": "int64"
  },
  "parameters": [
    {
      "name": "start",
      "description": "Begin. Required.",
      "in": "query",
      "required": true,
      "type": "string"
    },
    {
      "name": "end",
      "description": "End. Not \"Required.\"",
      "in": "query",
      "required": false,
      "type": "string"
    }
  ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("corrected (-want +got):\n%s", diff)
	}
}

// A form of the document that is not known is no reason to leave strings in it.
func TestCorrectFails(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		`{"format": "int64", "type": "string"}`, `{"type":"string","format":"uint64"}`, `{"format": "int64"}`,
		`{"description": "Required.", "in": "query", "type": "string"}`,
	} {
		if _, err := correct([]byte(document)); err == nil || !strings.Contains(err.Error(), "1 of 1") {
			t.Errorf("%s: error %v", document, err)
		}
	}
}
