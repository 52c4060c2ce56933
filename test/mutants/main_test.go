package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every mutant still fits the code, and its test is still there.
func TestTableFits(t *testing.T) {
	t.Parallel()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
		if _, err := m.mutate(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		test, _, _ := strings.Cut(m.test, "/")
		if !strings.Contains(testsOf(t, filepath.Join(root, m.pkg)), "\nfunc "+test+"(") {
			t.Errorf("%s: package %s has no test %s", m.name, m.pkg, test)
		}
	}
	if len(mutants) < 25 {
		t.Errorf("%d mutants only", len(mutants))
	}
}

// testsOf is the text of a package's tests.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// The whole way on the quickest of them: the bug is caught. One that no test can see is not.
func TestPlant(t *testing.T) {
	if testing.Short() {
		t.Skip("builds four times: make test")
	}
	t.Parallel()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	l := newLaboratory(root, t.TempDir())
	caught := mutant{
		"an empty scope covers everything", "store/access/scope.go", "	return s.all\n", "	return s.all || len(s.templates) == 0\n",
		"store/access", "TestZeroScopeCoversNothing",
	}
	if err := l.plant(t.Context(), caught); err != nil {
		t.Errorf("%s: %v", caught.name, err)
	}
	for _, m := range []struct{ what, mutated, test, want string }{
		{"no bug", "	return true && s.all\n", caught.test, "the test passes"},
		{"one that does not compile", "	return s.al\n", caught.test, "build: "},
		{"no test", caught.mutated, "TestThatIsGone", "there is no test TestThatIsGone"},
	} {
		changed := caught
		changed.mutated, changed.test = m.mutated, m.test
		if err := l.plant(t.Context(), changed); err == nil || !strings.Contains(err.Error(), m.want) {
			t.Errorf("%s: %v, want %q", m.what, err, m.want)
		}
	}
}
