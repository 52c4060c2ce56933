package main

import (
	"context"

	"github.com/template-insights/insights/store"
)

// databaseFlag says which database a command works on.
type databaseFlag struct {
	Database          string `default:"sqlite:insights.db" env:"INSIGHTS_DATABASE" placeholder:"NAME" help:"Where everything is kept: sqlite:FILE, or a postgres:// URL when several servers share one database. Put a URL with a password into the environment. Default: ${default}."`
	DatabasePooler    string `default:"none" enum:"none,transaction" env:"INSIGHTS_DATABASE_POOLER" help:"${enum}; transaction where the database is named by way of a pooler, such as PgBouncer, that lends connections for a transaction at a time. Default: ${default}."`
	MigrationDatabase string `env:"INSIGHTS_MIGRATION_DATABASE" placeholder:"URL" help:"Postgres itself, for migrations, where a pooler stands before it. Without it nothing is migrated by way of a pooler: the schema must be current."`
}

func (f databaseFlag) options() store.Options {
	return store.Options{Database: f.Database, Pooler: f.DatabasePooler == "transaction"}
}

// direct are the options for what a pooler cannot do.
func (f databaseFlag) direct() store.Options {
	if f.MigrationDatabase != "" {
		return store.Options{Database: f.MigrationDatabase}
	}
	return f.options()
}

type migrateCommand struct {
	databaseFlag
}

// Run migrates the database.
func (m migrateCommand) Run(ctx context.Context) error { return store.Migrate(ctx, m.direct()) }

// open opens the database for a command that asks nothing of usage.
func (f databaseFlag) open(ctx context.Context) (*store.Store, error) {
	return openDatabase(ctx, f.direct(), f.options())
}

// openDatabase migrates a database if it has to, unless a pooler is in the way, and opens it.
func openDatabase(ctx context.Context, direct, o store.Options) (*store.Store, error) {
	if !direct.Pooler {
		if err := store.Migrate(ctx, direct); err != nil {
			return nil, err
		}
	}
	return store.Open(ctx, o)
}
