package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeOutput calls write with the file that --output names; "-" and "" are standard output. What exists and is no regular file, such
// as a pipe or a device, is written through. Otherwise a file beside it is written, which takes its place when it is whole and on disk:
// .FILE.partial is what a program that was killed leaves, and the next one begins anew.
func writeOutput(c console, output string, write func(io.Writer) error) error {
	if output == "" || output == "-" {
		return write(c.out)
	}
	mode := fs.FileMode(0o600)
	switch info, err := os.Stat(output); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("--output: %w", err)
	case c.writesTo(info):
		return write(c.out) // /dev/stdout is another name for what the shell opened
	case !info.Mode().IsRegular():
		return writeThrough(output, write)
	default:
		mode = info.Mode().Perm()
	}
	target := followLinks(output)
	folder, name := filepath.Split(target)
	file, err := createPartial(folder+"."+name+".partial", mode)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	mine, err := file.Stat()
	err = errors.Join(err, write(file), file.Sync(), file.Close())
	if there, gone := os.Stat(file.Name()); gone != nil || !os.SameFile(mine, there) {
		return errors.Join(err, fmt.Errorf("--output: another program writes %s as well", file.Name()))
	}
	if err == nil {
		err = os.Rename(file.Name(), target)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// writesTo reports whether a file is standard output.
func (c console) writesTo(file fs.FileInfo) bool {
	out, ok := c.out.(*os.File)
	if !ok {
		return false
	}
	info, err := out.Stat()
	return err == nil && os.SameFile(info, file)
}

// writeThrough writes to what is there.
func writeThrough(name string, write func(io.Writer) error) error {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return errors.Join(write(file), file.Close())
}

// followLinks is what a link leads to, whether it exists or not; anything else stays as it is. Links that lead nowhere but to each
// other were refused before.
func followLinks(name string) string {
	for {
		next, err := os.Readlink(name)
		if err != nil {
			return name
		}
		if !filepath.IsAbs(next) {
			folder, _ := filepath.Split(name) // unlike Dir and Join it leaves .. alone, which may be behind another link
			next = folder + next
		}
		name = next
	}
}

// createPartial makes a file anew, whatever a program that was killed left of it.
func createPartial(name string, mode fs.FileMode) (*os.File, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(mode); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(name))
	}
	return file, nil
}
