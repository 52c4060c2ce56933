package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const static = `# HELP b_total Kept | by hand.
# TYPE b_total counter
b_total{z="",a=""} 0
# HELP c Of a library.
# TYPE c summary
c_sum 0
c_count 0
`

const generated = `# HELP b_total Scanned.
# TYPE b_total gauge
b_total{y=""} 0
# HELP a_seconds Scanned.
# TYPE a_seconds histogram
a_seconds_bucket{who="",le="+Inf"} 0
a_seconds_sum{who=""} 0
a_seconds_count{who=""} 0
`

const want = "before\n" + beginMarker + `

| Name | Type | Description | Labels |
| - | - | - | - |
| ` + "`a_seconds` | histogram | Scanned. | `who` |" + `
| ` + "`b_total` | counter | Kept \\| by hand. | `a` `z` |" + `
| ` + "`c` | summary | Of a library. |  |" + `

` + endMarker + "\nafter\n"

// files writes files of metrics and a document, and returns their paths.
func files(t *testing.T, static, doc string) (paths [3]string) {
	t.Helper()
	for i, text := range []string{static, generated, doc} {
		paths[i] = filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// What is kept by hand wins, whole, and the document outside the markers stays.
func TestRun(t *testing.T) {
	t.Parallel()
	const doc = "before\n" + beginMarker + "\n| old |\n" + endMarker + "\nafter\n"
	paths := files(t, static, doc)
	var printed bytes.Buffer
	if err := run(paths[0], paths[1], paths[2], true, &printed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, printed.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	if kept, err := os.ReadFile(paths[2]); err != nil || string(kept) != doc {
		t.Errorf("a dry run changed the document: %q, %v", kept, err)
	}
	for range 2 { // a second time nothing changes
		if err := run(paths[0], paths[1], paths[2], false, &printed); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(paths[2])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(written)); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ static, doc, err string }{
		"no markers":       {static, "text\n", beginMarker},
		"no end":           {static, beginMarker + "\ntext\n", endMarker},
		"no begin":         {static, "text\n" + endMarker, beginMarker},
		"end before begin": {static, endMarker + "\n" + beginMarker, endMarker},
		"broken metrics":   {"a{\n", beginMarker + endMarker, "read "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			paths := files(t, c.static, c.doc)
			err := run(paths[0], paths[1], paths[2], false, nil)
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want one about %q", err, c.err)
			}
			if kept, err := os.ReadFile(paths[2]); err != nil || string(kept) != c.doc {
				t.Errorf("the document is %q now: %v", kept, err)
			}
		})
	}
}
