package main

import (
	"context"
	"errors"
	"os"

	"github.com/template-insights/insights/store"
)

type backupCommand struct {
	databaseFlag
	Output string `required:"" placeholder:"FILE" help:"The file to make, for you alone to read: the hashes of tokens are in it. - is standard output."`
}

// Run writes the backup. Nothing is left of one that fails.
func (f backupCommand) Run(ctx context.Context, c console) error {
	if f.Output == "-" {
		return store.Backup(ctx, f.options(), c.out)
	}
	file, err := os.OpenFile(f.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // an earlier backup stays
	if err != nil {
		return err
	}
	err = store.Backup(ctx, f.options(), file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Output))
	}
	return nil
}
