package main

import (
	"context"
)

type exportCommand struct {
	Table  string `arg:"" help:"What to export, such as user-activity or apps; docs/export.md lists the tables."`
	Format string `default:"csv" enum:"csv,ndjson,parquet" help:"${enum}. Default: ${default}."`
	Output string `short:"o" placeholder:"FILE" help:"Write this file, whole or not at all; what exists and is no regular file is written through. Default: standard output."`
	remoteFlags
}

// Run writes the table.
func (f exportCommand) Run(ctx context.Context, c console) error {
	query, err := f.query()
	if err != nil {
		return err
	}
	return f.export(ctx, c, f.Table, f.Format, f.Output, query)
}
