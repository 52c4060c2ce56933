package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/template-insights/insights/store"
)

type backupCommand struct {
	databaseFlag
	Output string `required:"" placeholder:"FILE" help:"The file to make, for you alone to read: the hashes of tokens are in it. What exists and is no regular file is written through; - is standard output."`
}

// Run writes the backup. An earlier one stays, and nothing is left of one that fails.
func (f backupCommand) Run(ctx context.Context, c console) error {
	if info, err := os.Stat(f.Output); err == nil && info.Mode().IsRegular() && !c.writesTo(info) {
		return fmt.Errorf("--output: %s exists, and an earlier backup is not overwritten", f.Output)
	}
	p := c.progress("backup", 0)
	defer p.end()
	return writeOutput(c, f.Output, func(w io.Writer) error { return store.Backup(ctx, f.options(), io.MultiWriter(w, p)) })
}
