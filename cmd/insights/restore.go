package main

import (
	"context"
	"io"
	"os"

	"github.com/template-insights/insights/store"
)

type restoreCommand struct {
	databaseFlag
	File string `arg:"" help:"What insights backup wrote; - is standard input."`
}

// Run restores the backup.
func (f restoreCommand) Run(ctx context.Context, c console) error {
	file := os.Stdin
	if f.File != "-" {
		var err error
		if file, err = os.Open(f.File); err != nil {
			return err
		}
		defer file.Close()
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var all int64
	if info.Mode().IsRegular() {
		all = info.Size()
	}
	p := c.progress("restore", all)
	defer p.end()
	return store.Restore(ctx, f.options(), io.TeeReader(file, p))
}
