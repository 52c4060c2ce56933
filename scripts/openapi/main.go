// Command openapi corrects the description of the REST API that protoc-gen-openapiv2 wrote: 64-bit integers, which that takes for
// strings, are JSON numbers here, and a query parameter is required when its comment in the contract ends with "Required.".
//
//	openapi FILE
package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
)

func main() {
	err := errors.New("which file?")
	if len(os.Args) == 2 {
		err = run(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if text, err = correct(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, text, 0o644)
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
