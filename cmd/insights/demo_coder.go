package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/cmd/insights/coder"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// demoPast is how much of the history of a deployment a demo shows.
const demoPast = 31 * 24 * time.Hour

// showCoder serves what a Coder deployment knows, and says how it differs from what Coder shows.
func (d *demo) showCoder(ctx context.Context, url string, config server.Options) error {
	from, err := coder.Open(ctx, url)
	if err != nil {
		return err
	}
	defer from.Close()
	fmt.Fprintf(d.console.out, "Reading a month of the %s ...\n", from)
	i, err := coder.NewImporter(ctx, from, d.store, coder.Options{Past: demoPast, Logger: config.Logger})
	if err != nil {
		return err
	}
	if err := i.Run(ctx); err != nil {
		return err
	}
	comparison, err := i.Compare(ctx)
	if err != nil {
		return err
	}
	population, err := i.Population(ctx)
	if err != nil {
		return err
	}
	return serve(ctx, config, func(srv *server.Server) error {
		if err := errors.Join(comparison.Write(d.console.out), population.Write(d.console.out)); err != nil {
			return err
		}
		owner := store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleOwner}
		token, err := d.token(ctx, owner)
		if err != nil {
			return err
		}
		link, err := d.issue(ctx, store.Token{
			Name: "demo sign-in", PrincipalKind: owner.PrincipalKind, PrincipalID: owner.PrincipalID, Purpose: store.PurposeSignIn,
			ExpiresAt: store.At(time.Now().Add(12 * time.Hour)),
		})
		if err != nil {
			return err
		}
		today := time.Now().UTC().Truncate(24 * time.Hour)
		_, err = fmt.Fprintf(d.console.out, `
Template Insights is running. Stop it with Ctrl-C.

  page     http://%[1]s/#token=%[2]s
           signs in as an owner, once
  REST     http://%[1]s
  gRPC     %[3]s
  token    %[4]s

Try
  curl -H 'Coder-Session-Token: %[4]s' 'http://%[1]s/api/v2/insights/templates?start_time=%[5]s&end_time=%[6]s'
`, srv.HTTPAddress(), link, srv.GRPCAddress(), token, today.AddDate(0, 0, -7).Format(time.RFC3339), today.Format(time.RFC3339))
		return err
	})
}
