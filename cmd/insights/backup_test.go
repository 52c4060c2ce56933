package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/template-insights/insights/store/storetest"
)

// A backup is a file for its owner alone, which another database is made of; what fails leaves nothing and destroys nothing.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	do := func(want int, says string, args ...string) (out string) {
		t.Helper()
		code, out, errs := command(t, nil, args...)
		if code != want || !strings.Contains(errs, says) {
			t.Errorf("%v: code %d, %s; want %d and %q", args, code, errs, want, says)
		}
		return out
	}
	from := "--database=" + storetest.SQLite(t)
	do(exitOK, "", "token", "create", from, "--role=owner")
	do(exitOK, "", "backup", from, "--output", at("a.backup"))
	made, err := os.ReadFile(at("a.backup"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(at("a.backup")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	do(exitError, "exists", "backup", from, "--output", at("a.backup"))
	if again, err := os.ReadFile(at("a.backup")); err != nil || string(again) != string(made) {
		t.Errorf("the earlier backup changed: %v", err)
	}

	to := "--database=sqlite:" + at("restored.db")
	do(exitOK, "", "restore", to, at("a.backup"))
	if was, is := do(exitOK, "", "token", "list", from), do(exitOK, "", "token", "list", to); was != is || !strings.Contains(is, "owner") {
		t.Errorf("tokens of before:\n%s\nand after:\n%s", was, is)
	}
	do(exitError, "not empty", "restore", to, at("a.backup"))
	do(exitError, "no such file", "restore", to, at("none.backup"))

	do(exitError, "nothing to back up", "backup", "--database=sqlite:"+at("empty.db"), "--output", at("b.backup"))
	if _, err := os.Stat(at("b.backup")); !os.IsNotExist(err) {
		t.Errorf("a backup that failed is there: %v", err)
	}

	piped := do(exitOK, "", "backup", from, "--output=-")
	if err := os.WriteFile(at("piped.backup"), []byte(piped), 0o600); err != nil {
		t.Fatal(err)
	}
	do(exitOK, "", "restore", "--database=sqlite:"+at("piped.db"), at("piped.backup"))
	do(exitUsage, "output", "backup", from)
}
