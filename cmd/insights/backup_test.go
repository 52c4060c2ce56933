package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
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

	do(exitError, "which insights migrate makes", "backup", "--database=sqlite:"+at("empty.db"), "--output", at("b.backup"))
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

// Only what is meant to makes a database, and nothing else leaves a file where there is none.
func TestWhatMakesADatabase(t *testing.T) {
	t.Parallel()
	id := uuid.NewString()
	for line, makes := range map[string]bool{
		"migrate": true, "token first": true, "token list": false, "token create --role=owner": false, "token revoke x": false,
		"grant list": false, "grant create --role=owner --user=" + id: false, "grant revoke " + id: false, "backup --output=-": false,
		"import coder --from=postgres://127.0.0.1:1/coder": false,
	} {
		folder := t.TempDir()
		code, _, errs := command(t, nil, append(strings.Fields(line), "--database=sqlite:"+filepath.Join(folder, "new.db"))...)
		left, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		if (code == exitOK) != makes || (len(left) > 0) != makes {
			t.Errorf("%s: code %d, %d files: %s", line, code, len(left), errs)
		}
	}
}

// A restore that is killed can be repeated, and no server starts before.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	f := storetest.NewFixture(t, storetest.SQLite(t))
	for range 300 { // more than a reader of gzip waits for
		target := rand.Text() + rand.Text() + rand.Text() + rand.Text()
		if err := f.RecordAudit(t.Context(), store.KindCommandLine, uuid.Nil, "test", target); err != nil {
			t.Fatal(err)
		}
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "insights.backup")
	must(t, "backup", "--database="+f.Database, "--output="+file)
	made, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	url, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, database := range map[string]string{"sqlite": "sqlite:" + filepath.Join(folder, "new.db"), "postgres": url} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed := exec.CommandContext(t.Context(), filepath.Join(linkPrograms(t), "insights"), "restore", "--database="+database, "-")
			in, err := killed.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var says bytes.Buffer
			killed.Stderr = &says
			if err := killed.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- killed.Wait() }()
			if _, err := in.Write(made[:len(made)-20]); err != nil {
				t.Fatal(err)
			}
			begun := func() bool {
				s, err := store.Open(t.Context(), store.Options{Database: database})
				if err == nil {
					t.Fatal("opened", s.Close())
				}
				return strings.Contains(err.Error(), "repeat insights restore")
			}
			for deadline := time.Now().Add(patience); !begun(); time.Sleep(10 * time.Millisecond) {
				select {
				case err := <-ended:
					t.Fatalf("it ends before it begins: %v: %s", err, &says)
				default:
				}
				if time.Now().After(deadline) {
					t.Fatal("it does not begin")
				}
			}
			if err := errors.Join(killed.Process.Kill(), <-ended); err == nil {
				t.Fatal("it was not killed")
			}
			code, _, errs := command(t, nil, "serve", "--database="+database, "--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0")
			if code != exitError || !strings.Contains(errs, "a restore that did not end: repeat insights restore") {
				t.Errorf("serve: %d %s", code, errs)
			}
			must(t, "restore", "--database="+database, file)
			must(t, "token", "list", "--database="+database)
		})
	}
}
