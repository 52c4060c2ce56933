package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder"
	"github.com/template-insights/insights/store"
)

type importCoderCommand struct {
	databaseFlag
	privacyKeyFlag
	privacyModeFlag
	logFlags
	From           string        `required:"" env:"INSIGHTS_IMPORT_FROM" placeholder:"URL" help:"The database of the Coder deployment, postgres://. It is only read; deploy/coder/grants.sql makes a role that may read what is needed and no more. Put a URL with a password into the environment."`
	Organization   string        `placeholder:"NAME" help:"Import this organization alone, by name or id, and no roles beyond it. Default: all of them."`
	DryRun         bool          `help:"Change nothing; print what would change."`
	Follow         bool          `help:"Then keep up with the deployment: what happens there is here a little later."`
	FollowInterval time.Duration `default:"30s" env:"INSIGHTS_FOLLOW_INTERVAL" range:"1s..1m" help:"How often to look for usage then; half as often for everything else. Default: ${default}."`
}

// Run imports, and follows if it is told to.
func (f importCoderCommand) Run(ctx context.Context, c console) (err error) {
	if f.DryRun && f.Follow {
		return usageError("--dry-run ends, --follow does not: choose one")
	}
	from, err := coder.Open(ctx, f.From)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := store.CheckExists(f.Database); err != nil { // before a key is made beside it
		return err
	}
	key, err := f.openFor(f.Database)
	if err != nil {
		return err
	}
	o := f.options()
	o.PrivacyKey, o.ErasedList = key, f.ErasedList
	to, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	logger := f.logger(c.err)
	i, err := coder.NewImporter(ctx, from, to, coder.Options{
		Organization: f.Organization, DryRun: f.DryRun, Interval: f.FollowInterval, Logger: logger,
	})
	if err != nil {
		return err
	}
	if !f.DryRun {
		mode, err := f.choose(ctx, c, to)
		if err == nil && mode != "" {
			_, err = to.DecidePrivacyMode(ctx, mode)
		}
		if err != nil {
			return err
		}
		if err := to.RecordAudit(ctx, store.KindCommandLine, uuid.Nil, "import coder", "from="+from.String()); err != nil {
			return err
		}
	}
	if f.Follow {
		return i.Follow(ctx)
	}
	if err := i.Run(ctx); err != nil {
		return err
	}
	if err := i.Report().Write(c.out); err != nil || !f.DryRun {
		return err
	}
	population, err := i.Population(ctx)
	if err != nil {
		return err
	}
	return population.Write(c.out)
}
