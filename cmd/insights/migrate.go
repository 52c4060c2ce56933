package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

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
	Plan bool `help:"Only say what there is to do, how long it takes, and what it needs."`
}

// Run migrates the database, or says what that takes.
func (m migrateCommand) Run(ctx context.Context, c console) error {
	if !m.Plan {
		return store.Migrate(ctx, m.options())
	}
	u, err := store.PlanUpgrade(ctx, m.options())
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.out, planText(u))
	return err
}

// planText says what bringing a database up to date takes.
func planText(u store.Upgrade) string {
	text := fmt.Sprintf("The schema of %s is current: version %d.\n", u.Database, u.Have)
	if u.Have != u.Want {
		text = fmt.Sprintf("The schema of %s has version %d, this program needs %d.\n", u.Database, u.Have, u.Want) +
			fmt.Sprintf("In one transaction, for which reports and questions wait: %d rows of usage are moved.\n", u.Rows) +
			"No program of before works on the new schema. The only way back is a backup: insights backup.\n"
	}
	if u.Pages > 0 {
		seconds := max((u.Pages+store.RewrittenPages-1)/store.RewrittenPages, (u.Bytes+store.RewrittenBytes-1)/store.RewrittenBytes)
		text += fmt.Sprintf("While servers run: %d pages of usage, %.1f MB, are rewritten, at most %d or %.0f MB a second: %s. "+
			"Answers stay what they are.\n",
			u.Pages, float64(u.Bytes)/1e6, store.RewrittenPages, store.RewrittenBytes/1e6, time.Duration(seconds)*time.Second) +
			"Disk until then: about a tenth of these bytes more, at most half.\n"
	}
	return text
}

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
