package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

type exportCommand struct {
	Table  string `arg:"" help:"What to export, such as user-activity or apps; docs/export.md lists the tables."`
	Format string `default:"csv" enum:"csv,ndjson,parquet" help:"${enum}. Default: ${default}."`
	Output string `short:"o" placeholder:"FILE" help:"Write this file, whole or not at all. Default: standard output."`
	remoteFlags
}

// Run writes the table.
func (f exportCommand) Run(ctx context.Context, c console) (err error) {
	query, err := f.query()
	if err != nil {
		return err
	}
	query.Set("format", f.Format)
	rows, err := f.ask(ctx, c, "/api/v2/insights/export/"+f.Table, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if f.Output == "" {
		return f.copy(c.out, rows)
	}
	file, err := os.CreateTemp(filepath.Dir(f.Output), "."+filepath.Base(f.Output)+"-")
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	if err := errors.Join(f.copy(file, rows), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), f.Output); err != nil {
		return errors.Join(fmt.Errorf("write the export: %w", err), os.Remove(file.Name()))
	}
	return nil
}

func (f exportCommand) copy(to io.Writer, rows io.Reader) error {
	if _, err := io.Copy(to, rows); err != nil {
		return fmt.Errorf("copy the export: %w", err)
	}
	return nil
}
