// Command openapi finishes the description of the REST API that protoc-gen-openapiv2 wrote, in OpenAPI 2.0, and writes it again in
// OpenAPI 3.1. 64-bit integers, which the plugin takes for strings, are JSON numbers here; a query parameter is required when its
// comment in the contract ends with "Required."; and files can be exported, of which the plugin does not know.
//
//	openapi FILE-IN-2.0 FILE-IN-3.1
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

func main() {
	err := errors.New("which files?")
	if len(os.Args) == 3 {
		err = run(os.Args[1], os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(file2, file3 string) error {
	document, err := os.ReadFile(file2)
	if err != nil {
		return err
	}
	for _, step := range []func([]byte) ([]byte, error){correct, describeExports} {
		if document, err = step(document); err != nil {
			return fmt.Errorf("%s: %w", file2, err)
		}
	}
	newer, err := convert(document)
	if err != nil {
		return fmt.Errorf("%s: %w", file3, err)
	}
	return errors.Join(os.WriteFile(file2, document, 0o644), os.WriteFile(file3, newer, 0o644))
}

var (
	// Quotes within a text are escaped: what looks like a type is one.
	asString = regexp.MustCompile(`"type": "string",(\s+"format": "u?int64")`)
	wide     = regexp.MustCompile(`"format":\s*"u?int64"`)
	asNumber = regexp.MustCompile(`"type": "integer",\s+"format": "u?int64"`)

	asOptional = regexp.MustCompile(`(Required\.",\s+"in": "query",\s+"required": )false`)
	required   = regexp.MustCompile(`Required\.",\s+"in":\s*"query"`)
	asRequired = regexp.MustCompile(`Required\.",\s+"in": "query",\s+"required": true`)
)

// correct fails when the document is written in another way than this reads it.
func correct(document []byte) ([]byte, error) {
	document = asString.ReplaceAll(document, []byte(`"type": "integer",$1`))
	if all, numbers := len(wide.FindAll(document, -1)), len(asNumber.FindAll(document, -1)); all != numbers {
		return nil, fmt.Errorf("%d of %d 64-bit integers are not described as numbers", all-numbers, all)
	}
	document = asOptional.ReplaceAll(document, []byte("${1}true"))
	if all, said := len(required.FindAll(document, -1)), len(asRequired.FindAll(document, -1)); all != said {
		return nil, fmt.Errorf("%d of %d required parameters are not described as such", all-said, all)
	}
	return document, nil
}

// endOfPaths is where further paths go, so that all else stays as and where the plugin wrote it.
var endOfPaths = []byte("\n  },\n  \"definitions\": {")

// describeExports adds a path for each table that can be exported.
func describeExports(document []byte) ([]byte, error) {
	paths, err := exportPaths(document)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(paths, "  ", "  ")
	if err != nil {
		return nil, err
	}
	before, after, found := bytes.Cut(document, endOfPaths)
	if !found || bytes.Contains(after, endOfPaths) {
		return nil, errors.New("it is not clear where the paths end")
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(string(text), "{"), "\n  }")
	return bytes.Join([][]byte{before, []byte(","), []byte(inner), endOfPaths, after}, nil), nil
}
