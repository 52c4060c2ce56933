package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/template-insights/insights/store/storetest"
)

// asProgram is what this test program does when it is called by one of these names.
var asProgram = map[string]func() int{
	"insights":  func() int { main(); return exitOK },
	"same-json": sameJSON,
}

// documents are those whose commands are run.
var documents = []string{"quick-start", "connecting-agents", "access", "operations", "troubleshooting"}

// What the documents tell readers to do works, and answers what they say. Each is run in an empty folder with a server of its own.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, name := range documents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runDocument(t, name, t.TempDir(), nil)
		})
	}
}

// What is said about Coder works with a deployment.
func TestMovingFromCoder(t *testing.T) {
	t.Parallel()
	url, _ := newCoder(t)
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Symlink(deploy, filepath.Join(folder, "deploy")); err != nil {
		t.Fatal(err)
	}
	_, database, _ := strings.Cut(url, "@")
	runDocument(t, "moving-from-coder", folder, []string{"127.0.0.1:5432/coder", database}, "CODER_PG_CONNECTION_URL="+url)
}

// linkPrograms makes a folder in which this test program has the names of programs.
func linkPrograms(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name := range asProgram {
		if err := os.Symlink(self, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// runDocument runs a document in a folder, with some of its text replaced and variables of the environment.
func runDocument(t *testing.T, name, folder string, replace []string, environment ...string) {
	t.Helper()
	script, err := filepath.Abs("../../scripts/docs.sh")
	if err != nil {
		t.Fatal(err)
	}
	programs := linkPrograms(t)
	text, err := os.ReadFile(filepath.Join("../../docs", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	http, grpc, prometheus := storetest.FreeAddress(t), storetest.FreeAddress(t), storetest.FreeAddress(t)
	moved := strings.NewReplacer(
		append(replace, "127.0.0.1:8080", http, "127.0.0.1:9090", grpc, "127.0.0.1:2112", prometheus)...,
	).Replace(string(text))
	document := filepath.Join(t.TempDir(), name+".md")
	if err := os.WriteFile(document, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), script, document)
	command.Dir = folder
	command.Env = append(os.Environ(), "HOME="+folder, "PATH="+programs+":"+os.Getenv("PATH"), "SAME_JSON=same-json", "NEWCOMER=",
		"INSIGHTS_HTTP_ADDRESS="+http, "INSIGHTS_GRPC_ADDRESS="+grpc, "INSIGHTS_PROMETHEUS_ADDRESS="+prometheus)
	command.Env = append(command.Env, environment...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) } // it ends what it started
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	t.Logf("%s", regexp.MustCompile(`(?m)^== .*`).FindAll(out, -1))
}

// Code of documents stands in programs that are compiled and run by tests.
func TestDocumentedCode(t *testing.T) {
	t.Parallel()
	var programs string
	for _, file := range []string{"../../client/example_test.go", "../../client/example/main.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		programs += string(text)
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
			blocks++
			if !strings.Contains(programs, block[1]) {
				t.Errorf("%s has code that no example has:\n%s", filepath.Base(file), block[1])
			}
		}
	}
	if blocks == 0 {
		t.Error("no document has code")
	}
}

// Every reason that a diagnosis may give is explained.
func TestDocumentedReasons(t *testing.T) {
	t.Parallel()
	contract, err := os.ReadFile("../../api/insights/v1/insights.proto")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, finding, _ := strings.Cut(string(contract), "message Finding {")
	reasons := regexp.MustCompile("(?m)^  // - (`\\w+`):").FindAllStringSubmatch(finding, -1)
	if len(reasons) == 0 {
		t.Fatal("the contract names no reason")
	}
	for _, reason := range reasons {
		if !strings.Contains(string(text), "\n| "+reason[1]+" |") {
			t.Errorf("troubleshooting.md does not explain %s", reason[1])
		}
	}
}

// sameJSON holds the JSON in a file against the example on standard input.
func sameJSON() int {
	var got, want any
	text, err := os.ReadFile(os.Args[1])
	example, err2 := io.ReadAll(os.Stdin)
	if err := errors.Join(err, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(example, &want)); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, text)
		return exitError
	}
	if !alike(got, want) {
		fmt.Fprintf(os.Stderr, "the answer is not like the example:\n%s\n%s\n", text, example)
		return exitError
	}
	return exitOK
}

// varying is what differs from one answer to the next: times, ids that the server chooses and secrets.
var varying = regexp.MustCompile(
	`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|tia_\w+|\w{10}|…)$`,
)

// alike reports whether an answer is what an example shows, but for what varies, of which only the form counts, and text that ends
// with an ellipsis there.
func alike(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for name, value := range want {
			if other, known := got[name]; !known || !alike(other, value) {
				return false
			}
		}
		return true
	case []any:
		got, ok := got.([]any)
		return ok && slices.EqualFunc(got, want, alike)
	case string:
		got, ok := got.(string)
		if begin, cut := strings.CutSuffix(want, "…"); cut {
			return ok && strings.HasPrefix(got, begin)
		}
		return ok && (got == want || varying.MatchString(got) && varying.MatchString(want))
	default:
		return got == want
	}
}

// An example that is like everything would prove nothing.
func TestAlike(t *testing.T) {
	t.Parallel()
	for want, answers := range map[string]map[string]bool{
		`{"a": 1, "at": "2026-11-20T00:00:00Z"}`: {
			`{"a": 1, "at": "2020-01-01T12:00:00.5+01:00"}`: true, `{"a": 2, "at": "2026-11-20T00:00:00Z"}`: false, `{"a": 1}`: false,
			`{"a": 1, "at": "now"}`: false, `{"a": 1, "at": "2026-11-20T00:00:00Z", "b": 1}`: false,
		},
		`["a", "said by…"]`: {
			`["a", "said by ada"]`: true, `["a"]`: false, `["b", "said by ada"]`: false, `["a", "said to ada"]`: false, `{}`: false,
		},
		`{"a": []}`: {`{"a": []}`: true, `{"a": null}`: false, `{"a": [1]}`: false},
	} {
		for answer, like := range answers {
			var w, a any
			if err := errors.Join(json.Unmarshal([]byte(want), &w), json.Unmarshal([]byte(answer), &a)); err != nil {
				t.Fatal(err)
			}
			if alike(a, w) != like {
				t.Errorf("%s like %s: %v", answer, want, !like)
			}
		}
	}
}
