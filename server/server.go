// Package server is how the outside comes in: gRPC services, interceptors, the REST gateway, metrics and the page.
//
// Every call, over gRPC or REST, passes the same chain of interceptors. What comes in as a report goes through one group
// commit into the store; what is asked becomes one window and one pass over the store.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// Config says how a server listens and what it accepts. All fields without "nil" or "zero" in their comment are needed.
type Config struct {
	Store             *store.Store
	Logger            *slog.Logger
	Clock             func() time.Time // nil: time.Now
	GRPCAddress       string           // host:port; port 0 takes a free one
	HTTPAddress       string           // REST, OpenAPI and the page
	ExternalURL       string           // where people reach HTTPAddress: scheme and host alone; empty: not known, and nobody signs in through the issuer
	PrometheusAddress string           // metrics at / and /metrics; empty: nowhere
	PrometheusToken   string           // what scrapes must bear; empty: they need nothing
	PprofAddress      string           // profiles of the program, without a token; empty: nowhere
	TLS               *tls.Config      // nil: plaintext
	IngestMaxAge      time.Duration    // the oldest report of an agent that is taken
	IngestMaxAhead    time.Duration    // how far in the future a report may be
	ReportInterval    time.Duration    // what agents are told
	MaxStreamAge      time.Duration    // after about this time an agent is asked to go to another server; after at most twice it is cut off; zero: never
	UsageStats        bool             // false: reports are acknowledged and nothing of them is stored
	PrivacyFloor      int              // how many people must take part in what is published where small groups are hidden; zero: DefaultPrivacyFloor
	Location          *time.Location   // whose days are published there; nil: UTC
	UsageRetention    time.Duration    // how long usage is kept; zero: for ever
	LatencyRetention  time.Duration    // how long latencies are kept; zero: for ever
	AuditRetention    time.Duration    // how long the audit trail is kept; zero: for ever
	OIDC              *OIDC            // whose JSON web tokens are accepted; nil: nobody's
	CoderURL          string           // of a Coder deployment whose session tokens are accepted as those of users; empty: nobody's
	RateLimit         int              // per second, for a moment twice as many: unary calls of one principal, failed authentications from one address; zero: no limit
	MaxConnections    int              // connections to each address that it listens at, at most half of them from one address; zero: no limit
	IDEApps           []string         // session apps and slugs that count as an IDE in the older activity API; nil: DefaultIDEApps
	CollectAgentStats bool             // show the present of the agents that report here as metrics
	AgentStatsBy      []string         // labels that these metrics keep: agent_name, template_name, username, workspace_name, or none alone; nil: all
	SeriesBudget      int              // label sets of one family of metrics that a scrape shows; zero: DefaultSeriesBudget
	MetricsCompat     []string         // whose names and labels metrics have besides the usual ones: CompatSeed, CompatCoder
	Reflection        bool             // serve gRPC reflection
	TrustedProxies    []netip.Prefix   // whose X-Forwarded-For is believed
}

// Sets of further names and labels of metrics, for dashboards that need them.
const (
	CompatSeed  = "seed"  // labels of the older documentation: action and owner_email, which holds the username
	CompatCoder = "coder" // names that Coder gives its metrics today and the documentation does not
)

// onlineWithin is how long ago an agent that is online reported at most.
func (c Config) onlineWithin() time.Duration { return max(5*time.Minute, 3*c.ReportInterval) }

func (c Config) validate() error {
	if c.Store == nil || c.Logger == nil {
		return errors.New("server needs a store and a logger")
	}
	if c.OIDC != nil {
		if err := c.OIDC.validate(); err != nil {
			return err
		}
	}
	if err := checkCoderURL(c.CoderURL); err != nil {
		return err
	}
	if u, err := url.Parse(c.ExternalURL); c.ExternalURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || c.ExternalURL != u.Scheme+"://"+u.Host || u.Host == "") {
		return fmt.Errorf("server needs an external URL of scheme and host alone, not %q", c.ExternalURL)
	}
	if c.RateLimit < 0 || c.MaxConnections < 0 {
		return errors.New("server needs limits of calls and connections that are not negative")
	}
	if err := checkAggregation(c.AgentStatsBy); err != nil {
		return err
	}
	if c.PrivacyFloor < 0 {
		return errors.New("server needs a privacy floor that is not negative")
	}
	if c.SeriesBudget < 0 {
		return errors.New("server needs a series budget that is not negative")
	}
	for _, compat := range c.MetricsCompat {
		if compat != CompatSeed && compat != CompatCoder {
			return fmt.Errorf("server knows metrics that are compatible with %s and %s, not with %q", CompatSeed, CompatCoder, compat)
		}
	}
	if c.MaxStreamAge < 0 {
		return errors.New("server needs a stream age that is not negative")
	}
	if c.UsageRetention < 0 || c.LatencyRetention < 0 || c.AuditRetention < 0 {
		return errors.New("server needs retentions that are not negative")
	}
	if c.IngestMaxAge <= 0 || c.IngestMaxAhead < 0 || c.ReportInterval <= 0 {
		return errors.New("server needs positive times for the ingest limits and the report interval")
	}
	return nil
}

// Limits of connections.
const (
	maxHTTPHeader  = 12 << 10        // bytes of lines: room for a token of 8 KiB; net/http allows some KiB more
	maxGRPCHeader  = 24 << 10        // bytes, 32 more for each header
	maxCalls       = 100             // calls and streams that are open on one connection; further ones wait
	drainTimeout   = 6 * time.Second // of all that is open when the server stops; what is left then is cut
	healthInterval = 5 * time.Second

	streamBytes     = 64 << 10 // that may be on their way on one stream before they are read
	connectionBytes = 1 << 20  // and on one connection before they are received
)

// Server listens for gRPC, REST and scrapes. Make it with New, then Run it once.
type Server struct {
	config       Config
	grpc         *grpc.Server
	health       *health.Server
	ingest       *ingest
	insights     *insightsCollector
	deployment   *deploymentCollector
	authenticate *authenticator
	erasures     *erasures
	gateway      *gateway
	http         *http.Server
	prometheus   *http.Server
	pprof        *http.Server // nil: profiles are not served

	grpcListener, httpListener, prometheusListener, pprofListener net.Listener
}

// New puts a server together and listens, so that the addresses are known, but answers nobody yet. It fails if an RPC has
// no access rule.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.IDEApps == nil {
		c.IDEApps = DefaultIDEApps
	}
	if c.PrivacyFloor == 0 {
		c.PrivacyFloor = DefaultPrivacyFloor
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.SeriesBudget == 0 {
		c.SeriesBudget = DefaultSeriesBudget
	}
	m := newMetrics(c.SeriesBudget)
	calls := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	s := &Server{
		config: c, health: health.NewServer(), ingest: newIngest(c, m), insights: newInsightsCollector(c.Store, c.Clock, c.Logger),
		deployment: newDeploymentCollector(c, m.registry), authenticate: newAuthenticator(c),
	}
	s.erasures = &erasures{store: c.Store, logger: c.Logger, forget: []func(context.Context) error{s.ingest.forget, s.insights.forget, s.deployment.forget}}
	m.registry.MustRegister(calls)
	m.page.mustAdd(s.insights)
	m.page.mustAdd(s.deployment)
	authorize := &authorizer{store: c.Store}
	s.grpc = grpc.NewServer(append(s.transport(), serverOptions(chain(c.Logger, calls, s.authenticate, newRateLimiter(c.RateLimit), authorize))...)...)
	s.register()
	var err error
	if authorize.rules, err = readRules(s.grpc.GetServiceInfo()); err != nil {
		return nil, err
	}
	calls.InitializeMetrics(s.grpc)
	if s.gateway, err = newGateway(c, s.authenticate.issuer); err != nil {
		return nil, err
	}
	s.http, s.prometheus = newHTTPServer(c, m.api.instrument(s.gateway)), newHTTPServer(c, requireToken(c.PrometheusToken, m.page.handler()))
	s.prometheus.TLSConfig = nil // scrapes stay plaintext: the address is loopback unless an operator says otherwise
	if c.PprofAddress != "" {
		s.pprof = newHTTPServer(c, pprofHandler())
		s.pprof.TLSConfig = nil
	}
	return s, s.listen()
}

// transport is how connections are held.
func (s *Server) transport() []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ForceServerCodecV2(newPartsCodec()),
		grpc.MaxHeaderListSize(maxGRPCHeader),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.ConnectionTimeout(10 * time.Second),
		// Of a stream that is not read no more than this waits in memory.
		grpc.StaticStreamWindowSize(streamBytes),
		grpc.StaticConnWindowSize(connectionBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 20 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionAge: connectionAge(s.config.MaxStreamAge), MaxConnectionAgeGrace: s.config.MaxStreamAge,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if s.config.TLS != nil {
		// TLS buffers whole records itself, so a large buffer behind it would only take memory of each idle connection.
		options = append(options, grpc.Creds(gatewayCredentials{credentials.NewTLS(s.config.TLS)}), grpc.ReadBufferSize(4<<10))
	}
	return options
}

// register adds the services.
func (s *Server) register() {
	insightsv1.RegisterIngestServiceServer(s.grpc, s.ingest)
	insightsv1.RegisterCatalogServiceServer(s.grpc, newCatalogService(s.config.Store))
	insightsv1.RegisterInsightsServiceServer(s.grpc, newInsightsService(s.config))
	insightsv1.RegisterAccessServiceServer(s.grpc, newAccessService(s.config))
	insightsv1.RegisterPrivacyServiceServer(s.grpc, newPrivacyService(s.config.Store, s.erasures))
	healthpb.RegisterHealthServer(s.grpc, s.health)
	if s.config.Reflection {
		reflection.RegisterV1(s.grpc)
	}
}

func (s *Server) listen() (err error) {
	for _, l := range []struct {
		name, address string
		listener      *net.Listener
		optional      bool
	}{
		{"gRPC", s.config.GRPCAddress, &s.grpcListener, false},
		{"HTTP", s.config.HTTPAddress, &s.httpListener, false},
		{"Prometheus", s.config.PrometheusAddress, &s.prometheusListener, true},
		{"pprof", s.config.PprofAddress, &s.pprofListener, true},
	} {
		if l.optional && l.address == "" {
			continue
		}
		if *l.listener, err = net.Listen("tcp", l.address); err != nil {
			return errors.Join(fmt.Errorf("listen for %s: %w", l.name, err), s.closeListeners())
		}
		*l.listener = limitConnections(*l.listener, s.config.MaxConnections, s.config.Logger)
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
func newHTTPServer(c Config, handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, TLSConfig: c.TLS, MaxHeaderBytes: maxHTTPHeader,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
}

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

// Run serves until the context is done and then drains: agents are told to go elsewhere, calls may finish, and what was
// taken is committed. It returns after at most ten seconds more. An error means that the server could not go on.
func (s *Server) Run(ctx context.Context) error {
	if err := s.keepErased(ctx); err != nil {
		if ctx.Err() != nil {
			err = nil // it was stopped before it began
		}
		return errors.Join(err, s.closeListeners(), s.gateway.close())
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var work sync.WaitGroup
	owned := []func(context.Context){s.ingest.run, s.authenticate.watch, s.erasures.run, s.watchHealth}
	if s.prometheusListener != nil {
		owned = append(owned, s.insights.run, s.deployment.run)
	}
	for _, run := range owned {
		work.Go(func() { run(background) })
	}
	serving, failed := errgroup.WithContext(ctx)
	serving.Go(func() error { return serveGRPC(s.grpc, s.grpcListener) })
	serving.Go(func() error { return serveGRPC(s.grpc, s.gateway.listener) })
	serving.Go(func() error { return serveHTTP(s.http, s.httpListener) })
	if s.prometheusListener != nil {
		serving.Go(func() error { return serveHTTP(s.prometheus, s.prometheusListener) })
	}
	if s.pprof != nil {
		serving.Go(func() error { return serveHTTP(s.pprof, s.pprofListener) })
	}
	<-failed.Done()
	s.stop(context.WithoutCancel(ctx))
	err := serving.Wait()
	s.authenticate.handlers.Wait()
	stopBackground()
	work.Wait()
	return errors.Join(err, s.gateway.close())
}

// keepErased erases again whom a backup brought back, before anybody sees them.
func (s *Server) keepErased(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, eraseTimeout)
	defer cancel()
	n, err := s.config.Store.KeepErased(ctx)
	if err != nil {
		return fmt.Errorf("keep erased users away: %w", err)
	}
	if n > 0 {
		s.config.Logger.WarnContext(ctx, "erased users were back, and are erased again", "users", n)
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
	s.health.Shutdown()
	s.ingest.drain()
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

// watchHealth tells health checks whether the database answers.
func (s *Server) watchHealth(ctx context.Context) {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for healthy := true; ; {
		ping, cancel := context.WithTimeout(ctx, healthInterval)
		err := s.config.Store.Ping(ping)
		cancel()
		if ctx.Err() != nil {
			return
		}
		status := healthpb.HealthCheckResponse_SERVING
		if err != nil {
			status = healthpb.HealthCheckResponse_NOT_SERVING
		}
		if (err == nil) != healthy {
			healthy = err == nil
			s.config.Logger.WarnContext(ctx, "health changed", "healthy", healthy, "error", err)
		}
		s.health.SetServingStatus("", status)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
