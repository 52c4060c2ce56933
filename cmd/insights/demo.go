package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/template-insights/insights/client"
	"github.com/template-insights/insights/cmd/insights/fleet"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

type demoCommand struct {
	addressFlags
	logFlags
	Database       string        `env:"INSIGHTS_DATABASE" placeholder:"NAME" help:"Keep the demo in this database, sqlite:FILE or postgres://. Default: a temporary file, gone in the end."`
	From           string        `env:"INSIGHTS_DEMO_FROM" placeholder:"URL" help:"Instead of the company, show the last month of the Coder deployment with this database, postgres://, which is only read, and compare the last day with what Coder says of it."`
	ReportInterval time.Duration `default:"10s" env:"INSIGHTS_REPORT_INTERVAL" range:"1s..1h" help:"How often the simulated agents report. Default: ${default}."`
}

// demoSeed is which company is simulated: always the same.
const demoSeed = 1

// Run serves the simulated company until the context is done.
func (f demoCommand) Run(ctx context.Context, c console) (err error) {
	if f.Database == "" {
		folder, err := os.MkdirTemp("", "insights-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		f.Database = "sqlite:" + filepath.Join(folder, "insights.db")
	}
	key, err := privacyKeyFlag{}.openFor(f.Database)
	if err != nil {
		return err
	}
	s, err := openDatabase(ctx, store.Options{Database: f.Database, PageCache: 64 << 20, PrivacyKey: key})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	d := &demo{store: s, console: c, interval: f.ReportInterval}
	config := server.Options{
		Store: s, Logger: f.logger(c.err), GRPCAddress: string(f.GRPCAddress), HTTPAddress: string(f.HTTPAddress),
		PrometheusAddress: f.prometheus(),
		IngestMaxAge:      7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: f.ReportInterval, UsageStats: true,
		CollectAgentStats: true, MetricsCompat: []string{server.CompatSeed}, Reflection: true,
	}
	if f.From != "" {
		return d.showCoder(ctx, f.From, config)
	}
	d.company = fleet.NewCompany(demoSeed, time.Now())
	agents, stop := context.WithCancel(ctx)
	defer stop()
	streaming := make(chan error, 1)
	err = serve(ctx, config, func(srv *server.Server) error {
		connect := func(token string) (*grpc.ClientConn, error) {
			return client.NewConn(srv.GRPCAddress(), client.Token(token), grpc.WithTransportCredentials(insecure.NewCredentials()))
		}
		if err := d.start(ctx, connect, srv); err != nil {
			return err
		}
		go func() {
			var watching sync.WaitGroup
			watching.Go(func() { d.company.Watch(agents, "http://"+srv.HTTPAddress(), d.owner, d.interval, config.Logger) })
			err := d.company.Stream(agents, connect, d.controlPlane, d.proxy, d.interval, config.Logger)
			watching.Wait()
			streaming <- err
		}()
		return nil
	})
	stop()
	if d.started {
		err = errors.Join(err, <-streaming)
	}
	return err
}

// demo is a running demo.
type demo struct {
	store    *store.Store
	console  console
	interval time.Duration
	company  *fleet.Company
	started  bool

	controlPlane, proxy, owner string // tokens
}

// start loads the company's past and says how to look at it.
func (d *demo) start(ctx context.Context, connect fleet.Connect, srv *server.Server) error {
	fmt.Fprintln(d.console.out, "Loading a company of 150 people in 200 workspaces with a month behind it ...")
	// Nobody of them lives, so nobody has to be asked.
	if _, err := d.store.DecidePrivacyMode(ctx, store.PrivacyFull); err != nil {
		return err
	}
	var err error
	if d.controlPlane, err = d.token(ctx, store.RoleBinding{
		PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleControlPlane,
	}); err != nil {
		return err
	}
	d.proxy, err = d.token(ctx, store.RoleBinding{PrincipalKind: access.KindService, PrincipalID: uuid.New(), Role: access.RoleProxy})
	if err != nil {
		return err
	}
	if err := d.company.Load(ctx, connect, d.controlPlane); err != nil {
		return fmt.Errorf("load the demo: %w", err)
	}
	if _, err := d.store.Fold(ctx); err != nil {
		return err
	}
	d.started = true
	return d.welcome(ctx, srv)
}

// token gives a role to a principal and makes a token for it.
func (d *demo) token(ctx context.Context, b store.RoleBinding) (string, error) {
	if _, err := d.store.GrantRole(ctx, b); err != nil {
		return "", err
	}
	return d.issue(ctx, store.Token{Name: "demo " + string(b.Role), PrincipalKind: b.PrincipalKind, PrincipalID: b.PrincipalID})
}

// issue makes a token.
func (d *demo) issue(ctx context.Context, t store.Token) (string, error) {
	secrets, err := d.store.CreateTokens(ctx, []store.Token{t})
	if err != nil {
		return "", err
	}
	return secrets[0].Reveal(), nil
}

// welcome prints addresses, tokens and what to try.
func (d *demo) welcome(ctx context.Context, srv *server.Server) error {
	people, template := d.company.Catalog.GetUsers(), d.company.Catalog.GetTemplates()[0]
	tokens := make([]string, 3)
	for i, b := range []store.RoleBinding{
		{Role: access.RoleOwner},
		{Role: access.RoleTemplateAdmin, TemplateID: uuid.MustParse(template.GetId())},
		{Role: access.RoleMember},
	} {
		b.PrincipalKind, b.PrincipalID = access.KindUser, uuid.MustParse(people[i].GetId())
		var err error
		if tokens[i], err = d.token(ctx, b); err != nil {
			return err
		}
	}
	d.owner = tokens[0]
	// It is behind the #, where no server and no log sees it, and good for one sign-in.
	link, err := d.issue(ctx, store.Token{
		Name: "demo sign-in", PrincipalKind: access.KindUser, PrincipalID: uuid.MustParse(people[0].GetId()), Purpose: store.PurposeSignIn,
		ExpiresAt: store.At(time.Now().Add(12 * time.Hour)),
	})
	if err != nil {
		return err
	}
	metrics := "off"
	if address := srv.PrometheusAddress(); address != "" {
		metrics = "http://" + address + "/metrics"
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	window := fmt.Sprintf("start_time=%s&end_time=%s", today.AddDate(0, 0, -7).Format(time.RFC3339), today.Format(time.RFC3339))
	_, err = fmt.Fprintf(d.console.out, `
Template Insights is running. Stop it with Ctrl-C.

  page     http://%[1]s/#token=%[10]s
           signs in as an owner, once; later sign in with a token
  REST     http://%[1]s
  OpenAPI  http://%[1]s/openapi.json
  gRPC     %[2]s
  metrics  %[3]s

Tokens
  owner                         %[4]s
  template admin of %-11[5]s %[6]s
  member, who may see nothing   %[7]s

Try
  curl -H 'Coder-Session-Token: %[4]s' 'http://%[1]s/api/v2/insights/templates?%[8]s&interval=day'
  curl -H 'Coder-Session-Token: %[4]s' 'http://%[1]s/api/v2/insights/user-activity?%[8]s'
  curl -H 'Coder-Session-Token: %[6]s' 'http://%[1]s/api/v2/insights/user-latency?%[8]s&template_ids=%[9]s'

`, srv.HTTPAddress(), srv.GRPCAddress(), metrics, tokens[0], template.GetName(), tokens[1], tokens[2], window, template.GetId(), link)
	return err
}
