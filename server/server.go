// Package server puts the rooms below it together and serves them: options, listeners, TLS, start, health and drain. It
// knows the order in which things start and stop, and nothing of what a report, a question or a metric means.
//
// Every call, over gRPC or REST, passes the same chain of interceptors. A report goes through one group commit into the
// store; a question becomes one window and one pass over the store. docs/architecture.md has the way through the rooms.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/admin"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/definitions"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/server/internal/gauges"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/server/internal/ingest"
	"github.com/template-insights/insights/server/internal/insights"
	"github.com/template-insights/insights/server/internal/query"
	"github.com/template-insights/insights/server/internal/rest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
)

// Options say how a server listens and what it accepts. All fields without "nil", "zero" or "empty" in their comment are needed.
// Each room of the server checks its own.
type Options struct {
	Store       *store.Store
	Logger      *slog.Logger
	Clock       func() time.Time // nil: time.Now
	Version     string           // of the program, for clients of Coder that ask; empty: not told
	GRPCAddress string           // host:port; port 0 takes a free one
	HTTPAddress string           // REST, OpenAPI and the page
	// where people reach HTTPAddress: scheme and host alone; empty: not known, and nobody signs in through the issuer
	ExternalURL       string
	AvatarHosts       []string      // from which the page may show pictures of people; empty: none
	PrometheusAddress string        // metrics at / and /metrics; empty: nowhere
	PrometheusToken   string        // what scrapes must bear; empty: they need nothing
	PprofAddress      string        // profiles of the program, without a token; empty: nowhere
	TLS               *tls.Config   // nil: plaintext
	IngestMaxAge      time.Duration // the oldest report of an agent that is taken
	IngestMaxAhead    time.Duration // how far in the future a report may be
	ReportInterval    time.Duration // what agents are told
	// after about this time an agent is asked to go to another server; after at most twice it is cut off; zero: never
	MaxStreamAge     time.Duration
	DrainDelay       time.Duration  // how long health checks may take to notice that the server is about to stop; zero: no time
	UsageStats       bool           // false: reports are acknowledged and nothing of them is stored
	PrivacyFloor     int            // how many people must take part in what is published where small groups are hidden; zero: 5
	PublishAfter     time.Duration  // how long after its end a day is published where small groups are hidden; zero: 24 hours
	AIPerPerson      bool           // false: what belongs to the family ai of apps is told of at least PrivacyFloor people together alone
	Location         *time.Location // whose days are published there; nil: UTC
	UsageRetention   time.Duration  // how long usage is kept; zero: for ever
	LatencyRetention time.Duration  // how long latencies are kept; zero: for ever
	AuditRetention   time.Duration  // how long the audit trail is kept; zero: for ever
	ConfirmRetention bool           // what is beyond retention goes at once, however much of what is stored it is
	OIDC             *guard.OIDC    // whose JSON web tokens are accepted; nil: nobody's
	CoderURL         string         // of a Coder deployment whose session keys are accepted as those of users; empty: nobody's
	// per second, for a moment twice as many: unary calls of one principal, failed authentications from one address; zero: no limit
	RateLimit int
	// connections to each address that it listens at, at most half of them from one address; zero: no limit
	MaxConnections    int
	IDEApps           []string // session apps and slugs that count as an IDE in the older activity API; nil: those that are known as such
	CollectAgentStats bool     // show the present of the agents that report here as metrics
	// labels that these metrics keep, beside the organization: agent_name, template_name, username, workspace_name, or none alone; nil: all
	AgentStatsBy   []string
	SeriesBudget   int            // label sets of one family of metrics that a scrape shows; zero: 200,000
	MetricsCompat  []string       // whose names and labels metrics have besides the usual ones: seed, coder; nil: nobody's
	MetricsActors  []string       // whose figures gauges with Coder's names are: person, service, system, all; nil: all
	Definitions    string         // a file that says what things mean here besides what is built in; empty: nothing
	Reflection     bool           // serve gRPC reflection
	AllowDataLoss  bool           // serve although a crash of the database may take what was acknowledged
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
}

// defaultPublishAfter is how long after its end a day is published, unless it is configured otherwise.
const defaultPublishAfter = 24 * time.Hour

// OIDC is an issuer whose JSON web tokens are accepted.
type OIDC = guard.OIDC

// CompatSeed names the labels of metrics that the older documentation tells of.
const CompatSeed = gauges.CompatSeed

func (o Options) check() error {
	if o.Store == nil || o.Logger == nil {
		return errors.New("server needs a store and a logger")
	}
	if o.MaxConnections < 0 {
		return errors.New("server needs a limit of connections that is not negative")
	}
	if o.DrainDelay < 0 || o.DrainDelay > maxDrainDelay {
		return fmt.Errorf("server needs a drain delay from 0 to %v", maxDrainDelay)
	}
	if o.SeriesBudget < 0 {
		return errors.New("server needs a series budget that is not negative")
	}
	return checkSettings(o.Store.Settings(), o.AllowDataLoss)
}

// apps are what is known of apps without the file of definitions.
func (o Options) apps() *apps.List {
	known := apps.BuiltIn()
	if o.AIPerPerson {
		return known
	}
	return known.Extend([]apps.FamilyDefinition{{Name: apps.AI, Together: o.PrivacyFloor}}, nil)
}

// Limits of connections.
const (
	MaxHTTPHeader = 12 << 10        // bytes of lines: room for a token of 8 KiB; net/http allows some KiB more
	MaxCalls      = 100             // calls and streams that are open on one connection; further ones wait
	drainTimeout  = 6 * time.Second // of all that is open when the server stops; what is left then is cut
	maxDrainDelay = time.Minute

	streamBytes     = 64 << 10 // that may be on their way on one stream before they are read
	connectionBytes = 1 << 20  // and on one connection before they are received
)

// Server listens for gRPC, REST and scrapes. Make it with New, then Run it once.
type Server struct {
	options     Options
	grpc        *grpc.Server
	health      *healthCheck
	guard       *guard.Guard
	requests    *guard.Requests
	ingest      *ingest.Service
	insights    *insights.Service
	usage       *gauges.Usage
	deployment  *gauges.Deployment
	definitions *definitions.Service
	erasures    *admin.Erasures
	gateway     *rest.Gateway
	page        *exposition.Endpoint
	http        *http.Server
	prometheus  *http.Server
	pprof       *http.Server // nil: profiles are not served

	grpcListener, httpListener, prometheusListener, pprofListener net.Listener
}

// New puts a server together and listens, so that the addresses are known, but answers nobody yet. It fails if an option is out
// of its range or an RPC has no access rule.
func New(o Options) (*Server, error) {
	s, err := assemble(o)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.gateway.Close())
	}
	return s, nil
}

// Check fails with all that would keep a server with these options, whose store is not open, from starting on a database: it
// listens nowhere, and changes nothing in the database.
func Check(ctx context.Context, o Options, database store.Options) error {
	settings, err := store.Check(ctx, database)
	errs := []error{err, checkSettings(settings, o.AllowDataLoss)}
	o.Store = new(store.Store) // rooms remember it, and ask it nothing before they run
	s, err := assemble(o)
	if err == nil {
		err = s.gateway.Close()
	}
	return errors.Join(append(errs, err)...)
}

// assemble puts a server together.
func assemble(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	registry := prometheus.NewRegistry() // of its own, so that several servers live in one process
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	calls := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	registry.MustRegister(calls)
	tellSettings(o.Store, o.Logger, registry)
	o.PrivacyFloor = cmp.Or(o.PrivacyFloor, insights.DefaultPrivacyFloor)
	page, controlPlane := exposition.New(registry, o.SeriesBudget), exposition.NewControlPlane()
	s := &Server{options: o, page: page, requests: guard.NewRequests()}
	// What is wrong with one room is told beside what is wrong with another.
	var guardErr, ingestErr, insightsErr, err error
	s.ingest, ingestErr = ingest.New(ingest.Options{
		Store: o.Store, Logger: o.Logger, Clock: o.Clock, Registry: registry, Page: page, MaxAge: o.IngestMaxAge,
		MaxAhead: o.IngestMaxAhead, ReportInterval: o.ReportInterval, MaxStreamAge: o.MaxStreamAge, UsageStats: o.UsageStats,
		Promise: store.Promise{
			PrivacyFloor: o.PrivacyFloor, AIPerPerson: o.AIPerPerson, Timezone: cmp.Or(o.Location, time.UTC).String(),
			Retention: store.Retention{
				Usage: o.UsageRetention, Latency: o.LatencyRetention, Audit: o.AuditRetention, Confirmed: o.ConfirmRetention,
			},
		},
		Publication: store.Publication{
			Floor: o.PrivacyFloor, Zone: cmp.Or(o.Location, time.UTC), After: cmp.Or(o.PublishAfter, defaultPublishAfter),
		},
		CollectAgentStats: o.CollectAgentStats, AgentStatsBy: o.AgentStatsBy, ControlPlane: controlPlane,
	})
	s.health = newHealthCheck(o.Store, o.Logger, s.ingest.CommitHealth)
	s.guard, guardErr = guard.New(guard.Options{
		Store: o.Store, Logger: o.Logger, Clock: o.Clock, Requests: s.requests, NotReady: s.health.notReady, OIDC: o.OIDC,
		CoderURL: o.CoderURL, RateLimit: o.RateLimit,
	}, calls)
	onlineWithin := max(5*time.Minute, 3*o.ReportInterval)
	s.insights, insightsErr = insights.New(insights.Options{
		Store: o.Store, Logger: o.Logger, Clock: o.Clock, Registry: registry, PrivacyFloor: o.PrivacyFloor, Location: o.Location,
		IDEApps: o.IDEApps, UsageStats: o.UsageStats, UsageRetention: o.UsageRetention, LatencyRetention: o.LatencyRetention,
		ReportInterval: o.ReportInterval, OnlineWithin: onlineWithin,
	})
	gateway := rest.Options{
		Store: o.Store, Logger: o.Logger, Registry: registry, Requests: s.requests, ExternalURL: o.ExternalURL, CoderURL: o.CoderURL,
		AvatarHosts: o.AvatarHosts, TrustedProxies: o.TrustedProxies, Version: o.Version,
	}
	gauged := gauges.Options{
		Store: o.Store, Logger: o.Logger, Clock: o.Clock, Registry: registry, MetricsCompat: o.MetricsCompat, OnlineWithin: onlineWithin,
		MetricsActors: o.MetricsActors, ControlPlane: controlPlane,
	}
	if s.deployment, err = gauges.NewDeployment(gauged); err != nil {
		return nil, errors.Join(err, guardErr, ingestErr, insightsErr, gateway.Check())
	}
	s.usage = gauges.NewUsage(gauged)
	page.MustAdd(s.usage)
	page.MustAdd(s.deployment)
	s.definitions, err = definitions.New(definitions.Options{
		File: o.Definitions, Logger: o.Logger, Clock: o.Clock, ControlPlane: controlPlane, Apps: o.apps(), KnowApps: o.Store.KnowApps,
		Changed: s.deployment.Nudge,
		Own: slices.DeleteFunc(page.Families(), func(f *exposition.Family) bool {
			return slices.Contains(exposition.ControlPlaneFamilies, f)
		}),
	})
	if err = errors.Join(err, guardErr, ingestErr, insightsErr, gateway.Check()); err != nil {
		return nil, err
	}
	s.erasures = admin.NewErasures(o.Store, o.Logger, registry, s.ingest.Forget, s.usage.Forget, s.deployment.Forget,
		o.Store.Forget)
	s.grpc = grpc.NewServer(slices.Concat(
		s.transport(), s.guard.ServerOptions(), []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.insights.FromReplica)},
	)...)
	cookie := guard.NewSessionCookie(o.TLS != nil || strings.HasPrefix(o.ExternalURL, "https:"), o.CoderURL != "")
	s.register(cookie)
	if err := s.guard.ReadRules(s.grpc.GetServiceInfo()); err != nil {
		return nil, err
	}
	calls.InitializeMetrics(s.grpc)
	gateway.Issuer, gateway.Cookie, gateway.NotReady = s.guard.Issuer(), cookie, s.health.notReady
	if s.gateway, err = rest.New(gateway); err != nil {
		return nil, err
	}
	s.http, s.prometheus = newHTTPServer(o, s.gateway), newHTTPServer(o, requireToken(o.PrometheusToken, page.Handler()))
	s.prometheus.TLSConfig = nil // scrapes stay plaintext: the address is loopback unless an operator says otherwise
	if o.PprofAddress != "" {
		s.pprof = newHTTPServer(o, pprofHandler())
		s.pprof.TLSConfig = nil
	}
	return s, nil
}

// transport is how connections are held.
func (s *Server) transport() []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(call.MaxMessage),
		grpc.ForceServerCodecV2(guard.NewSendingCodec(rest.NewPartsCodec())),
		grpc.MaxHeaderListSize(rest.MaxGRPCHeader),
		grpc.MaxConcurrentStreams(MaxCalls),
		grpc.ConnectionTimeout(10 * time.Second),
		// Of a stream that is not read no more than this waits in memory.
		grpc.StaticStreamWindowSize(streamBytes),
		grpc.StaticConnWindowSize(connectionBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 20 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionAge: ingest.ConnectionAge(s.options.MaxStreamAge), MaxConnectionAgeGrace: s.options.MaxStreamAge,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if s.options.TLS != nil {
		// TLS buffers whole records itself, so a large buffer behind it would only take memory of each idle connection.
		options = append(options, grpc.Creds(gatewayCredentials{credentials.NewTLS(s.options.TLS)}), grpc.ReadBufferSize(4<<10))
	}
	return options
}

// questions are the two rooms that answer the InsightsService.
type questions struct {
	*insights.Service
	general
}

// general is the room of the general question: a name of its own, because both rooms call theirs a Service.
type general = *query.Service

// register adds the services.
func (s *Server) register(cookie guard.SessionCookie) {
	insightsv1.RegisterIngestServiceServer(s.grpc, s.ingest)
	insightsv1.RegisterCatalogServiceServer(s.grpc, admin.NewCatalog(s.options.Store))
	insightsv1.RegisterInsightsServiceServer(s.grpc, questions{s.insights, query.New(s.options.Store, s.insights, s.options.Clock)})
	insightsv1.RegisterAccessServiceServer(s.grpc, admin.NewAccess(s.options.Store, s.options.Clock, s.insights, cookie))
	insightsv1.RegisterPrivacyServiceServer(s.grpc, admin.NewPrivacy(s.options.Store, s.erasures))
	insightsv1.RegisterDefinitionsServiceServer(s.grpc, s.definitions)
	s.health.register(s.grpc)
	if s.options.Reflection {
		reflection.RegisterV1(s.grpc)
	}
}

func (s *Server) listen() (err error) {
	for _, l := range []struct {
		name, address string
		listener      *net.Listener
		optional      bool
	}{
		{"gRPC", s.options.GRPCAddress, &s.grpcListener, false},
		{"HTTP", s.options.HTTPAddress, &s.httpListener, false},
		{"Prometheus", s.options.PrometheusAddress, &s.prometheusListener, true},
		{"pprof", s.options.PprofAddress, &s.pprofListener, true},
	} {
		if l.optional && l.address == "" {
			continue
		}
		if err = CheckAddress(l.address); err == nil {
			*l.listener, err = net.Listen("tcp", l.address)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("listen for %s: %w", l.name, err), s.closeListeners())
		}
		*l.listener = guard.LimitConnections(*l.listener, s.options.MaxConnections, s.options.Logger)
	}
	return nil
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{s.grpcListener, s.httpListener, s.prometheusListener, s.pprofListener} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// newHTTPServer bounds what a client may hold open.
func newHTTPServer(o Options, handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, TLSConfig: o.TLS, MaxHeaderBytes: MaxHTTPHeader,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: guard.AnswerTimeout, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
}

// ServiceInfo describes the services that are served over gRPC.
func (s *Server) ServiceInfo() map[string]grpc.ServiceInfo { return s.grpc.GetServiceInfo() }

// GRPCAddress is where gRPC is served.
func (s *Server) GRPCAddress() string { return s.grpcListener.Addr().String() }

// HTTPAddress is where REST is served.
func (s *Server) HTTPAddress() string { return s.httpListener.Addr().String() }

// PrometheusAddress is where metrics are served; empty: nowhere.
func (s *Server) PrometheusAddress() string {
	if s.prometheusListener == nil {
		return ""
	}
	return s.prometheusListener.Addr().String()
}

// PprofAddress is where profiles are served; empty if nowhere.
func (s *Server) PprofAddress() string {
	if s.pprof == nil {
		return ""
	}
	return s.pprofListener.Addr().String()
}

// Run serves until the context is done and then drains: health checks are told, after the drain delay nobody is let in any more, agents
// are told to go elsewhere, calls may finish, and what was taken is committed. It returns at most ten seconds after the delay. An error
// means that the server could not go on.
func (s *Server) Run(ctx context.Context) error {
	if err := s.keepErased(ctx); err != nil {
		if ctx.Err() != nil {
			err = nil // it was stopped before it began
		}
		return errors.Join(err, s.closeListeners(), s.gateway.Close())
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var work sync.WaitGroup
	owned := []func(context.Context){s.ingest.Run, s.guard.Run, s.erasures.Run, s.definitions.Run, s.health.run}
	if s.prometheusListener != nil {
		owned = append(owned, s.usage.Run, s.deployment.Run)
	}
	for _, run := range owned {
		work.Go(func() { run(background) })
	}
	serving, failed := errgroup.WithContext(ctx)
	serving.Go(func() error { return serveGRPC(s.grpc, s.requests.Listen(s.grpcListener)) })
	serving.Go(func() error { return serveGRPC(s.grpc, s.gateway.Listener) })
	serving.Go(func() error { return serveHTTP(s.http, s.httpListener) })
	if s.prometheusListener != nil {
		serving.Go(func() error { return serveHTTP(s.prometheus, s.prometheusListener) })
	}
	if s.pprof != nil {
		serving.Go(func() error { return serveHTTP(s.pprof, s.pprofListener) })
	}
	<-failed.Done()
	s.health.stop()
	if ctx.Err() != nil { // not when it could not go on
		time.Sleep(s.options.DrainDelay)
	}
	s.stop(context.WithoutCancel(ctx))
	err := serving.Wait()
	s.guard.Wait()
	stopBackground()
	work.Wait()
	return errors.Join(err, s.gateway.Close())
}

// ShowAgents shows what agents reported to another system, as metrics and as if they had reported here. Nothing of it is stored.
func (s *Server) ShowAgents(reports []*insightsv1.AgentReport) { s.ingest.Show(reports) }

// FollowFails tells Prometheus whether this server, which was told to follow another system, cannot.
func (s *Server) FollowFails(fails bool) { s.ingest.FollowFails(fails) }

// Refresh writes down what agents said of themselves, reads the file of definitions, and brings what metrics show of the database and of
// the list of the erased up to date. All of it happens by and by while the server runs.
func (s *Server) Refresh(ctx context.Context) error {
	return errors.Join(
		s.ingest.Refresh(ctx), s.definitions.Refresh(ctx), s.usage.Refresh(ctx), s.deployment.Refresh(ctx), s.erasures.Refresh(ctx),
	)
}

// keepErased erases again whom a backup brought back, before anybody sees them.
func (s *Server) keepErased(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, admin.EraseTimeout)
	defer cancel()
	if err := s.erasures.Begin(ctx); err != nil {
		return fmt.Errorf("keep erased users away: %w", err)
	}
	return nil
}

func serveGRPC(server *grpc.Server, l net.Listener) error {
	if err := server.Serve(l); !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
		return err
	}
	return nil
}

func serveHTTP(server *http.Server, l net.Listener) (err error) {
	if server.TLSConfig != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop ends what is open, gently at first: REST before gRPC, because it goes through it.
func (s *Server) stop(ctx context.Context) {
	s.ingest.Drain()
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	cut := context.AfterFunc(ctx, s.grpc.Stop)
	defer cut()
	for _, server := range []*http.Server{s.http, s.prometheus, s.pprof} {
		if server != nil && server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
	s.grpc.GracefulStop()
}
