// Mutants shows that the tests would notice: it plants one bug after the other and wants a named test to fail.
//
// Nothing in the tree changes: the compiler sees the mutated file through an overlay.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// testTimeout bounds one run of a test.
const testTimeout = 3 * time.Minute

func main() {
	only := flag.String("run", "", "plant only the bugs whose names match this `expression`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run plants the bugs that are asked for and prints a line for each.
func run(ctx context.Context, only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "insights-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	l := newLaboratory(root, folder)
	planted, survived := 0, 0
	for _, m := range mutants {
		if !match.MatchString(m.name) {
			continue
		}
		planted++
		begin := time.Now()
		verdict := "caught by " + m.test
		if err := l.plant(ctx, m); err != nil {
			survived++
			verdict = "NOT CAUGHT: " + err.Error()
		}
		fmt.Printf("%-58s %-28s %4.0f s  %s\n", m.name, m.file, time.Since(begin).Seconds(), verdict)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Printf("planted %d, caught %d\n", planted, planted-survived)
	if planted == 0 || survived > 0 {
		return fmt.Errorf("%d of %d bugs would go unnoticed", survived, planted)
	}
	return nil
}

// findRoot is the folder of the module.
func findRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// mutate returns the file of a mutant with its bug.
func (m mutant) mutate(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("%s has the text that is to be replaced %d times, want once: %q", m.file, n, m.old)
	}
	return []byte(strings.Replace(string(text), m.old, m.mutated, 1)), nil
}

// laboratory is where tests meet mutants.
type laboratory struct {
	root, folder string
	healthy      map[string]error  // what the tests say without a bug, by package and test
	built        int               // test programs
	programs     map[string]string // without a bug, by package
}

func newLaboratory(root, folder string) *laboratory {
	return &laboratory{root: root, folder: folder, healthy: map[string]error{}, programs: map[string]string{}}
}

// plant returns nil if the test of a mutant passes without its bug and fails with it.
func (l *laboratory) plant(ctx context.Context, m mutant) error {
	text, err := m.mutate(l.root)
	if err != nil {
		return err
	}
	key := m.pkg + " " + m.test
	if _, known := l.healthy[key]; !known {
		l.healthy[key] = l.tryHealthy(ctx, m)
	}
	if err := l.healthy[key]; err != nil {
		return fmt.Errorf("the test fails without it: %w", err)
	}
	mutated, overlay := filepath.Join(l.folder, "mutated.go"), filepath.Join(l.folder, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(l.root, m.file): mutated}})
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(mutated, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return err
	}
	program, err := l.build(ctx, m.pkg, overlay)
	if err != nil {
		return err
	}
	defer os.Remove(program)
	var failed *failedTestError
	switch err := l.try(ctx, m, program); {
	case errors.As(err, &failed):
		return nil
	case err != nil:
		return err
	}
	return errors.New("the test passes")
}

// failedTestError means that a test ran and failed.
type failedTestError struct{ output string }

func (e *failedTestError) Error() string { return "the test fails:\n" + e.output }

// tryHealthy runs the test of a mutant without its bug.
func (l *laboratory) tryHealthy(ctx context.Context, m mutant) (err error) {
	if l.programs[m.pkg] == "" {
		if l.programs[m.pkg], err = l.build(ctx, m.pkg, ""); err != nil {
			return err
		}
	}
	return l.try(ctx, m, l.programs[m.pkg])
}

// build makes the test program of a package, with an overlay if there is one.
func (l *laboratory) build(ctx context.Context, pkg, overlay string) (program string, err error) {
	l.built++
	program = filepath.Join(l.folder, fmt.Sprintf("%d.test", l.built))
	build := exec.CommandContext(
		ctx, "go", "test", "-c", "-tags", "failpoints", "-ldflags=-s -w", "-overlay", overlay, "-o", program, "./"+pkg,
	)
	build.Dir = l.root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return program, nil
}

// try runs the test of a mutant.
func (l *laboratory) try(ctx context.Context, m mutant, program string) error {
	var parts []string
	for part := range strings.SplitSeq(m.test, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	test := exec.CommandContext(
		ctx, program, "-test.count=1", "-test.v", "-test.timeout="+testTimeout.String(), "-test.run="+strings.Join(parts, "/"),
	)
	test.Dir = filepath.Join(l.root, m.pkg)
	out, err := test.CombinedOutput()
	name, _, _ := strings.Cut(m.test, "/")
	switch {
	case strings.Contains(string(out), "--- FAIL: "+name):
		return &failedTestError{tail(out)}
	case err != nil:
		return fmt.Errorf("run %s: %w\n%s", m.test, err, tail(out))
	case !strings.Contains(string(out), "--- PASS: "+m.test):
		return fmt.Errorf("there is no test %s", m.test)
	}
	return nil
}

// tail is the end of an output, where the reasons are.
func tail(out []byte) string { return string(out[max(0, len(out)-2000):]) }
