package main

import (
	"context"
	"os"

	"github.com/template-insights/insights/store"
)

type restoreCommand struct {
	databaseFlag
	File string `arg:"" help:"What insights backup wrote; - is standard input."`
}

// Run restores the backup.
func (f restoreCommand) Run(ctx context.Context) error {
	if f.File == "-" {
		return store.Restore(ctx, f.direct(), os.Stdin)
	}
	file, err := os.Open(f.File)
	if err != nil {
		return err
	}
	defer file.Close()
	return store.Restore(ctx, f.direct(), file)
}
