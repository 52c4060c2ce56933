package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progressEvery is how often a terminal is told.
const progressEvery = time.Second

// progress tells a person at a terminal how far a long command is. It counts what is written to it.
type progress struct {
	to        io.Writer
	what      string
	done, all int64     // bytes; all is 0 where nobody knows
	last      time.Time // when it was told, or began
	told      bool
}

// progress is told on standard error, if that is a terminal.
func (c console) progress(what string, all int64) *progress {
	p := &progress{to: io.Discard, what: what, all: all, last: time.Now()}
	if isTerminal(c.err) {
		p.to = c.err
	}
	return p
}

// isTerminal reports whether a person is, or may be, at the other end of a file.
func isTerminal(end any) bool {
	file, ok := end.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Write implements [io.Writer].
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	if time.Since(p.last) >= progressEvery {
		p.tell()
		p.last = time.Now()
	}
	return len(b), nil
}

func (p *progress) tell() {
	p.told = true
	fmt.Fprintf(p.to, "\r%s: %.1f MiB", p.what, float64(p.done)/(1<<20))
	if p.all > 0 {
		fmt.Fprintf(p.to, ", %d %%", 100*p.done/p.all)
	}
}

// end gives the line back.
func (p *progress) end() {
	if p.told {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
