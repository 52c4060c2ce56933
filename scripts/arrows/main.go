// Command arrows fails unless the linter finds imports against the arrows between the rooms of the server. It plants every
// import that is forbidden into a copy of the folders, and runs the linter with the rules of the repository on it.
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

// arrows are the rooms that each room may import.
var arrows = map[string][]string{
	"call": {}, "background": {}, "exposition": {}, "insights/reports": {"call"},
	"guard":       {"call"},
	"insights":    {"call", "insights/reports"},
	"ingest":      {"exposition", "call", "background"},
	"gauges":      {"exposition", "background"},
	"definitions": {"exposition", "call", "background"},
	"admin":       {"insights", "guard", "call", "background"},
	"rest":        {"guard", "call", "exposition"},
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
		"server/planted.go": "// Package server is planted.\npackage server\n",
	}
	for room := range arrows {
		files["server/internal/"+room+"/planted.go"], files[fileOf(room)] = "// Package planted is planted.\npackage planted\n", plant(room)
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
	return check(out.String())
}

// fileOf is a file of tests outside of the package, because nothing imports those: what is planted makes no circle.
func fileOf(room string) string { return "server/internal/" + room + "/planted_test.go" }

// plant imports the server and every other room.
func plant(room string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package planted_test\n\nimport (\n\t_ %q\n", module+"/server")
	for other := range arrows {
		if other != room {
			fmt.Fprintf(&b, "\t_ %q\n", module+"/server/internal/"+other)
		}
	}
	return b.String() + ")\n"
}

// check compares what the linter found with the arrows.
func check(found string) error {
	var errs []error
	for room, to := range arrows {
		for other := range arrows {
			if other == room {
				continue
			}
			told := false
			for line := range strings.Lines(found) {
				told = told || strings.Contains(line, fileOf(room)) && strings.Contains(line, `'`+module+"/server/internal/"+other+`'`)
			}
			if allowed := slices.Contains(to, other); told == allowed {
				errs = append(errs, fmt.Errorf("%s imports %s: allowed %t, found %t", room, other, allowed, told))
			}
		}
	}
	return errors.Join(errs...)
}
