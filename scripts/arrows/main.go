// Command arrows fails unless the linter finds imports against the arrows between the rooms of the server, and between those of the store.
// It plants every import into a copy of the folders, and runs the linter with the rules of the repository on it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/template-insights/insights"

// building is a package with rooms under it. No room imports the package itself.
type building struct {
	front  string              // the package
	inside string              // the folder of the rooms
	arrows map[string][]string // the rooms that each room may import
}

var buildings = []building{
	{"server", "server/internal/", map[string][]string{
		"call": {}, "background": {}, "exposition": {}, "insights/reports": {"call"},
		"guard":       {"call"},
		"insights":    {"call", "insights/reports"},
		"query":       {"insights", "call"},
		"ingest":      {"exposition", "call", "background"},
		"gauges":      {"exposition", "background"},
		"definitions": {"exposition", "call", "background"},
		"admin":       {"insights", "guard", "call", "background"},
		"rest":        {"guard", "call", "exposition"},
	}},
	{"store", "store/", map[string][]string{
		"db":      {},
		"usage":   {"db"},
		"archive": {"db"},
	}},
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "arrows")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	rules, err := os.ReadFile(".golangci.yml")
	if err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	files := map[string]string{
		".golangci.yml": string(rules), "go.mod": "module " + module + "\n\ngo 1.26\n",
	}
	for _, b := range buildings {
		files[b.front+"/planted.go"] = "// Package planted is planted.\npackage planted\n"
		for room := range b.arrows {
			files[b.inside+room+"/planted.go"], files[b.fileOf(room)] = "// Package planted is planted.\npackage planted\n", b.plant(room)
		}
	}
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	lint := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(root, "tools/go.mod"), "golangci-lint", "run",
		"--config", filepath.Join(folder, ".golangci.yml"), "--enable-only", "depguard", "--max-same-issues", "0",
		"--max-issues-per-linter", "0", "./...")
	lint.Dir = folder
	var out bytes.Buffer
	lint.Stdout, lint.Stderr = &out, &out
	if err := lint.Run(); err == nil {
		return errors.New("the linter finds nothing")
	}
	var errs []error
	for _, b := range buildings {
		errs = append(errs, b.check(out.String()))
	}
	return errors.Join(errs...)
}

// fileOf is a file of tests outside of the package, because nothing imports those: what is planted makes no circle.
func (b building) fileOf(room string) string { return b.inside + room + "/planted_test.go" }

// plant imports the package in front and every other room.
func (b building) plant(room string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "package planted_test\n\nimport (\n\t_ %q\n", module+"/"+b.front)
	for other := range b.arrows {
		if other != room {
			fmt.Fprintf(&text, "\t_ %q\n", module+"/"+b.inside+other)
		}
	}
	return text.String() + ")\n"
}

// check compares what the linter found with the arrows.
func (b building) check(found string) error {
	var errs []error
	told := func(room, imported string) bool {
		for line := range strings.Lines(found) {
			if strings.Contains(line, b.fileOf(room)) && strings.Contains(line, `'`+module+"/"+imported+`'`) {
				return true
			}
		}
		return false
	}
	for room, to := range b.arrows {
		if !told(room, b.front) {
			errs = append(errs, fmt.Errorf("%s imports %s, and the linter does not tell", room, b.front))
		}
		for other := range b.arrows {
			if other == room {
				continue
			}
			if allowed, told := slices.Contains(to, other), told(room, b.inside+other); told == allowed {
				errs = append(errs, fmt.Errorf("%s imports %s: allowed %t, found %t", room, other, allowed, told))
			}
		}
	}
	return errors.Join(errs...)
}
