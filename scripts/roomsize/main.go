// Command roomsize fails for each package that is larger than it may be.
//
//	roomsize LIMITS
//
// It reads folders below the present one. limits.txt says how limits are written.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

func main() {
	err := errors.New("which limits?")
	if len(os.Args) == 2 {
		err = run(os.DirFS("."), os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "roomsize:", err)
		os.Exit(1)
	}
}

func run(tree fs.FS, limits string) error {
	text, err := fs.ReadFile(tree, limits)
	if err != nil {
		return err
	}
	var all []error
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := parseLimit(line)
		if err == nil {
			err = l.check(tree)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s:%d: %w", limits, i+1, err))
		}
	}
	return errors.Join(all...)
}

// size is that of a package without its tests.
type size struct{ files, lines int }

// limit is the largest size of packages; -1: any.
type limit struct {
	size

	folder string
	below  bool // also the packages below the folder
}

func parseLimit(line string) (l limit, err error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return limit{}, errors.New("a limit is a folder, a number of files and a number of lines")
	}
	l.folder, l.below = strings.CutSuffix(fields[0], "/...")
	if l.files, err = parseNumber(fields[1]); err != nil {
		return limit{}, err
	}
	l.lines, err = parseNumber(fields[2])
	return l, err
}

func parseNumber(text string) (int, error) {
	if text == "-" {
		return -1, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}

// check tells of the packages that are too large, and of a limit that is about none.
func (l limit) check(tree fs.FS) error {
	var all []error
	packages := 0
	err := fs.WalkDir(tree, l.folder, func(folder string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if entry.Name() == "testdata" {
			return fs.SkipDir
		}
		s, err := measure(tree, folder)
		if err != nil {
			return err
		}
		if s.files > 0 {
			packages++
		}
		if l.files >= 0 && s.files > l.files {
			all = append(
				all, fmt.Errorf("%s has %d files and may have %d: cut it, or move what is of another room", folder, s.files, l.files),
			)
		}
		if l.lines >= 0 && s.lines > l.lines {
			all = append(
				all, fmt.Errorf("%s has %d lines and may have %d: cut it, or move what is of another room", folder, s.lines, l.lines),
			)
		}
		if !l.below {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && packages == 0 {
		err = fmt.Errorf("there is no package in %s", l.folder)
	}
	return errors.Join(append(all, err)...)
}

// measure reads the Go files of a folder.
func measure(tree fs.FS, folder string) (s size, err error) {
	names, err := fs.Glob(tree, path.Join(folder, "*.go"))
	if err != nil {
		return size{}, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return size{}, err
		}
		s.files++
		s.lines += bytes.Count(text, []byte("\n"))
	}
	return s, nil
}
