package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

type exportCommand struct {
	Table  string `arg:"" help:"What to export, such as user-activity or apps; docs/export.md lists the tables."`
	Format string `default:"csv" enum:"csv,ndjson,parquet" help:"${enum}. Default: ${default}."`
	Output string `short:"o" placeholder:"FILE" help:"Write this file, whole or not at all; what exists and is no regular file is written through. Default: standard output."`
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
	p := c.progress("export", 0)
	defer p.end()
	return writeOutput(c, f.Output, func(w io.Writer) error {
		if _, err := io.Copy(io.MultiWriter(w, p), rows); err != nil {
			return fmt.Errorf("copy the export: %w", err)
		}
		return nil
	})
}
