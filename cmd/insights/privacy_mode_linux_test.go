package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// newTerminal returns the end of a terminal where a person sits, and the one of a program.
func newTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(person.Close(), program.Close()) })
	return person, program
}

// atTerminal runs the program for a person who types something, and returns what the person sees beside the output.
func atTerminal(t *testing.T, typed string, args ...string) (code int, out, seen string) {
	t.Helper()
	person, program := newTerminal(t)
	if _, err := io.WriteString(person, typed); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	code = run(t.Context(), args, nil, program, &stdout, program)
	if _, err := io.WriteString(program, "\x00"); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	for b := make([]byte, 1<<10); !strings.Contains(screen.String(), "\x00"); {
		n, err := person.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		screen.Write(b[:n])
	}
	return code, stdout.String(), strings.ReplaceAll(screen.String(), "\r", "")
}

// Before the first person comes in, a person at a terminal is asked how much may be known of persons, and told what each mode means.
func TestPrivacyModeIsAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typed   string
		want    store.PrivacyMode
		decided bool
	}{
		"an answer":             {"pseudonym\n", store.PrivacyPseudonym, true},
		"an answer at last":     {"nobody\nFULL\n  aggregate \n", store.PrivacyAggregate, true},
		"the mode that holds":   {"full\n", store.PrivacyFull, true},
		"none":                  {"\n", store.PrivacyFull, false},
		"the end of what comes": {"\x04", store.PrivacyFull, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := storetest.SQLite(t)
			code, token, seen := atTerminal(t, c.typed, "token", "first", "--database="+database)
			if code != exitOK || !strings.HasPrefix(token, "tia_") || strings.Count(token, "\n") != 1 {
				t.Fatalf("%d %s%s", code, token, seen)
			}
			for _, mode := range store.PrivacyModeNames {
				if !strings.Contains(seen, mode) || !strings.Contains(seen, store.PrivacyMode(mode).Meaning()) {
					t.Errorf("does not say what %s means: %s", mode, seen)
				}
			}
			if strings.Contains(seen, undecided) == c.decided {
				t.Errorf("decided %v: %s", c.decided, seen)
			}
			if mode, decided := modeOf(t, database); mode != c.want || decided != c.decided {
				t.Errorf("the mode is %s, decided %v", mode, decided)
			}
		})
	}
}

// Who is asked may leave: nothing was done then, and the question comes again.
func TestPrivacyModeIsAskedAgain(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	_, program := newTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	_, err := askPrivacyMode(ctx, console{in: program, out: &out, err: program})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves gets %v", err)
	}
	from, _ := newCoder(t)
	code, _, seen := atTerminal(t, "pseudonym\n", "import", "coder", "--database="+database, "--from="+from)
	if mode, decided := modeOf(t, database); code != exitOK || mode != store.PrivacyPseudonym || !decided {
		t.Errorf("%d, the mode is %s, decided %v: %s", code, mode, decided, seen)
	}
	if _, _, seen := atTerminal(t, "", "import", "coder", "--database="+database, "--from="+from); strings.Contains(seen, "Privacy mode") {
		t.Errorf("asked again: %s", seen)
	}
}
