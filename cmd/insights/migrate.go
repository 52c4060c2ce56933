package main

import (
	"context"
	"errors"

	"github.com/template-insights/insights/store"
)

// databaseFlag says which database a command works on.
type databaseFlag struct {
	Database          string `default:"sqlite:insights.db" env:"INSIGHTS_DATABASE" placeholder:"NAME" help:"Where everything is kept: sqlite:FILE, or a postgres:// URL when several servers share one database. Put a URL with a password into the environment. Default: ${default}."`
	DatabasePooler    string `default:"none" enum:"none,transaction" env:"INSIGHTS_DATABASE_POOLER" help:"${enum}; transaction where the database is named by way of a pooler, such as PgBouncer, that lends connections for a transaction at a time. Default: ${default}."`
	MigrationDatabase string `env:"INSIGHTS_MIGRATION_DATABASE" placeholder:"URL" help:"Postgres itself, for migrations, where a pooler stands before it. Without it nothing is migrated by way of a pooler: the schema must be current."`
}

func (f databaseFlag) options() store.Options {
	return store.Options{Database: f.Database, Pooler: f.DatabasePooler == "transaction", MigrationDatabase: f.MigrationDatabase}
}

type migrateCommand struct {
	databaseFlag
}

// Run migrates the database.
func (m migrateCommand) Run(ctx context.Context) error { return store.Migrate(ctx, m.options()) }

// open opens a database that is there, for a command that asks nothing of usage. It makes and migrates none: a mistyped name stays one.
func (f databaseFlag) open(ctx context.Context) (*store.Store, error) {
	return store.Open(ctx, f.options())
}

// openDatabase opens a database for the commands that make one, and brings its schema up to date first, unless a pooler is in the way.
func openDatabase(ctx context.Context, o store.Options) (*store.Store, error) {
	if err := store.Migrate(ctx, o); err != nil && !errors.Is(err, store.ErrPooler) {
		return nil, err
	}
	return store.Open(ctx, o)
}
