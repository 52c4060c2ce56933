package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// says writes a text.
func says(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// What exists stays what it is: pipes and devices are written through, links lead on, and files keep their mode until a whole new
// one takes their place.
func TestOutput(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	holds := func(name, want string) {
		t.Helper()
		if text, err := os.ReadFile(at(name)); err != nil || string(text) != want {
			t.Errorf("%s holds %q, %v; want %q", name, text, err, want)
		}
	}
	var printed bytes.Buffer
	c := console{out: &printed, err: io.Discard}

	must(os.Mkdir(at("real"), 0o700))
	must(os.Mkdir(at("real/deep"), 0o700))
	must(os.Symlink("real/deep", at("folder")))
	must(os.WriteFile(at("real/old.csv"), []byte("old"), 0o640))
	must(os.Symlink("../old.csv", at("real/deep/link"))) // from folder/link a cleaned path would lead elsewhere
	must(writeOutput(c, at("folder/link"), says("new")))
	holds("real/old.csv", "new")
	info, err := os.Stat(at("real/old.csv"))
	link, err2 := os.Lstat(at("real/deep/link"))
	must(errors.Join(err, err2))
	if info.Mode() != 0o640 || link.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("modes %v and %v", info.Mode(), link.Mode())
	}

	must(os.Symlink(at("real/made.csv"), at("dangling")))
	must(writeOutput(c, at("dangling"), says("made")))
	holds("real/made.csv", "made")
	if info, err := os.Stat(at("real/made.csv")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}

	must(os.WriteFile(at("real/.made.csv.partial"), []byte("of one that was killed, and longer"), 0o600))
	must(writeOutput(c, at("dangling"), says("again")))
	holds("real/made.csv", "again")
	broken := errors.New("broken")
	err = writeOutput(c, at("dangling"), func(w io.Writer) error { return errors.Join(says("half")(w), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
	holds("real/made.csv", "again")
	err = writeOutput(c, at("dangling"), func(w io.Writer) error {
		return errors.Join(says("slow")(w), writeOutput(c, at("real/made.csv"), says("other")))
	})
	if err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("two at once: %v", err)
	}
	holds("real/made.csv", "other")
	if left, err := filepath.Glob(at("real/.*.partial")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	must(os.Symlink("turn", at("round")))
	must(os.Symlink("round", at("turn")))
	for _, wrong := range []string{"round", "real", "none/x.csv"} {
		if err := writeOutput(c, at(wrong), says("x")); err == nil {
			t.Errorf("wrote %s", wrong)
		}
	}

	must(syscall.Mkfifo(at("pipe"), 0o600))
	must(os.Symlink("pipe", at("to-pipe")))
	pipe, err := os.OpenFile(at("pipe"), os.O_RDWR, 0) // waits for no writer
	must(err)
	defer pipe.Close()
	must(pipe.SetReadDeadline(time.Now().Add(patience)))
	must(writeOutput(c, at("to-pipe"), says("through")))
	if info, err := os.Stat(at("pipe")); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Fatalf("the pipe is %v, %v now", info.Mode(), err)
	}
	text := make([]byte, len("through"))
	if _, err := io.ReadFull(pipe, text); err != nil || string(text) != "through" {
		t.Errorf("through a pipe came %q, %v", text, err)
	}

	for _, name := range []string{"", "-"} {
		must(writeOutput(c, name, says("out ")))
	}
	if printed.String() != "out out " {
		t.Errorf("standard output: %q", printed.String())
	}
}

// What the shell appends to is appended to, by whichever name.
func TestOutputToStandardOutput(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, []byte("before "), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	err = writeOutput(console{out: out}, name, says("after"))
	if text, err2 := os.ReadFile(name); err != nil || err2 != nil || string(text) != "before after" {
		t.Errorf("it holds %q, %v, %v", text, err, err2)
	}
}

// A terminal is told how far a command is, and gets its line back; what is no terminal is told nothing.
func TestProgress(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	p := progress{to: &told, what: "restore", all: 4 << 20}
	for range 2 { // the second one comes too soon
		if _, err := p.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	p.end()
	if want := "\rrestore: 1.0 MiB, 25 %\r\x1b[K"; told.String() != want {
		t.Errorf("told %q, want %q", told.String(), want)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	quiet := console{err: file}.progress("restore", 0)
	quiet.last = time.Time{}
	if _, err := quiet.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	quiet.end()
	if info, err := file.Stat(); err != nil || info.Size() > 0 {
		t.Errorf("%d bytes in a file, %v", info.Size(), err)
	}
}
