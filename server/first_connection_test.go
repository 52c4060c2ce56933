package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// fleetSize is how many agents connect for the first time.
const fleetSize = 1000

// replica is one of several servers of a database, which can be restarted where it was.
type replica struct {
	*server.Server
	config  server.Options
	stop    context.CancelFunc
	stopped chan error
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	var err error
	if r.Server, err = server.New(r.config); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.stopped = make(chan error, 1)
	go func() { r.stopped <- r.Run(ctx) }()
}

func (r *replica) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.stopped; err != nil {
		t.Errorf("server: %v", err)
	}
}

// TestFirstConnectionsOnce: three replicas of one database are restarted one after the other while a thousand agents report
// to whichever is there. Every replica shows each agent's first connection once.
func TestFirstConnectionsOnce(t *testing.T) {
	t.Parallel()
	now := storetest.Now
	s := storetest.Open(t, storetest.Postgres(t), now)
	replicas := make([]*replica, 3)
	addresses := resolver.State{}
	for i := range replicas {
		replicas[i] = &replica{config: server.Options{
			Store: s, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return now },
			GRPCAddress: storetest.FreeAddress(t), HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
			IngestMaxAge: time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
		}}
		replicas[i].start(t)
		addresses.Endpoints = append(addresses.Endpoints, resolver.Endpoint{
			Addresses: []resolver.Address{{Addr: replicas[i].GRPCAddress()}},
		})
	}
	agents, secrets := thousandAgents(t, s, now)

	balanced := manual.NewBuilderWithScheme("replicas")
	balanced.InitialState(addresses)
	conns := make([]*grpc.ClientConn, 12) // so many that one replica alone could hold all streams
	for i := range conns {
		var err error
		conns[i], err = grpc.NewClient("replicas:///", grpc.WithResolvers(balanced),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	running, stopReporting := context.WithCancel(ctx)
	var reporting sync.WaitGroup
	reporters := make([]*client.Reporter, fleetSize)
	for i := range reporters {
		reporters[i] = client.NewReporter(conns[i%len(conns)], grpc.PerRPCCredentials(client.Token(secrets[i].Reveal())))
		reporting.Go(func() { _ = reporters[i].Run(running) }) // ends with the context
	}
	// Everybody reports, and again during and after each restart; later reports say nothing new of the first connection.
	report := func(at time.Time) {
		t.Helper()
		for i, r := range reporters {
			if err := r.Report(ctx, &insightsv1.AgentReport{AgentId: agents[i].String(), CollectedAt: timestamppb.New(at)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush := func() {
		t.Helper()
		for _, r := range reporters {
			if err := r.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	report(now)
	flush()
	for i, r := range replicas {
		report(now.Add(time.Duration(2*i+1) * time.Second))
		r.end(t)
		r.start(t)
		report(now.Add(time.Duration(2*i+2) * time.Second))
		flush()
	}
	for i, r := range replicas {
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		contentType, body := servertest.ScrapeOf(t, r.PrometheusAddress(), "text/plain")
		samples, _ := wiretest.ParseMetrics(t, contentType, body)
		var count, within10, within30 float64
		for series, value := range samples {
			switch {
			case strings.HasPrefix(series, `{__name__="coderd_agents_first_connection_seconds_count"`):
				count += value
			case strings.HasPrefix(series, `{__name__="coderd_agents_first_connection_seconds_bucket"`) &&
				strings.Contains(series, `le="10.0"`):
				within10 += value
			case strings.HasPrefix(series, `{__name__="coderd_agents_first_connection_seconds_bucket"`) &&
				strings.Contains(series, `le="30.0"`):
				within30 += value
			}
		}
		if count != fleetSize || within10 != 0 || within30 != fleetSize {
			t.Errorf(
				"replica %d shows %v first connections, %v within 10 s and %v within 30 s, want %d, none and all", i, count, within10,
				within30, fleetSize,
			)
		}
	}
	stopReporting()
	reporting.Wait()
	for _, r := range replicas {
		r.end(t)
	}
}

// thousandAgents are agents that were made 20 seconds ago, with their tokens.
func thousandAgents(t *testing.T, s *store.Store, now time.Time) (agents []uuid.UUID, secrets []access.Token) {
	t.Helper()
	organization, template, owner := uuid.New(), uuid.New(), uuid.New()
	c := store.Catalog{
		Organizations: []store.Organization{{ID: organization, Name: "acme"}},
		Templates:     []store.Template{{ID: template, OrganizationID: organization, Name: "go"}},
		Users: []store.User{
			{ID: owner, Username: "ann", Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{organization}},
		},
	}
	var tokens []store.Token
	for i := range fleetSize {
		agent, workspace := uuid.New(), uuid.New()
		agents = append(agents, agent)
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: workspace, OwnerID: owner, TemplateID: template, Name: fmt.Sprintf("w%d", i),
		})
		c.Agents = append(c.Agents, store.Agent{
			ID: agent, WorkspaceID: workspace, Name: "main", CreatedAt: store.At(now.Add(-20 * time.Second)),
		})
		tokens = append(tokens, store.Token{PrincipalKind: access.KindAgent, PrincipalID: agent})
	}
	everywhere := store.Authority{Organization: func(uuid.UUID) bool { return true }}
	if refusals, err := s.ApplyCatalog(t.Context(), c, everywhere); err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	secrets, err := s.CreateTokens(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	return agents, secrets
}
