package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/template-insights/insights/cmd/insights/coder"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
)

// addressFlags say where a server listens.
type addressFlags struct {
	GRPCAddress       listenAddress `name:"grpc-address" default:"127.0.0.1:9090" env:"INSIGHTS_GRPC_ADDRESS" placeholder:"HOST:PORT" help:"Where agents and services reach gRPC. Default: ${default}."`
	HTTPAddress       listenAddress `name:"http-address" default:"127.0.0.1:8080" env:"INSIGHTS_HTTP_ADDRESS" placeholder:"HOST:PORT" help:"Where REST, its OpenAPI description and the page are. Default: ${default}."`
	PrometheusAddress listenAddress `env:"INSIGHTS_PROMETHEUS_ADDRESS,CODER_PROMETHEUS_ADDRESS" placeholder:"HOST:PORT" help:"Where Prometheus scrapes, in plain text. Default: 127.0.0.1:2112."`
	PrometheusEnable  bool          `default:"true" env:"INSIGHTS_PROMETHEUS_ENABLE,CODER_PROMETHEUS_ENABLE" help:"false serves no metrics, unless an address says where. Default: ${default}."`
}

// prometheus is where metrics are served: an address enables them as much as the switch does. Empty is nowhere.
func (f addressFlags) prometheus() string {
	if f.PrometheusAddress == "" && f.PrometheusEnable {
		return "127.0.0.1:2112"
	}
	return string(f.PrometheusAddress)
}

// logFlags say what is logged.
type logFlags struct {
	LogLevel  string `default:"info" enum:"debug,info,warn,error" env:"INSIGHTS_LOG_LEVEL" help:"The least important messages to log: ${enum}. debug shows every call. Default: ${default}."`
	LogFormat string `default:"text" enum:"text,json" env:"INSIGHTS_LOG_FORMAT" help:"${enum}; json for log collectors. Default: ${default}."`
}

func (f logFlags) logger(out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.LogLevel)) // one of the names above
	options := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

type serveCommand struct {
	databaseFlag
	privacyKeyFlag
	privacyModeFlag
	addressFlags
	logFlags
	ReadDatabase     []string       `sep:" " env:"INSIGHTS_READ_DATABASE" placeholder:"URL" help:"A replica of the Postgres database, one server, that answers questions about usage in its place; may be given several times, or several with spaces between."`
	MaxReplicaLag    time.Duration  `default:"10s" env:"INSIGHTS_MAX_REPLICA_LAG" range:"1s..1h" help:"How far a replica that answers may be behind. Default: ${default}."`
	CitusWorkers     []string       `sep:" " env:"INSIGHTS_CITUS_WORKERS" placeholder:"URL" help:"A node of the Citus cluster whose coordinator is the database, which takes what is about the templates that it has without a way through the coordinator; may be given several times, or several with spaces between."`
	PprofAddress     listenAddress  `env:"INSIGHTS_PPROF_ADDRESS" placeholder:"HOST:PORT" help:"Where go tool pprof finds profiles of the program, without a token: loopback only. Default: nowhere."`
	IngestMaxAge     time.Duration  `default:"168h" env:"INSIGHTS_INGEST_MAX_AGE" range:"1m..8760h" help:"The oldest report of an agent that is taken. Raise it if agents may be offline for longer. Default: ${default}."`
	IngestMaxAhead   time.Duration  `default:"5m" env:"INSIGHTS_INGEST_MAX_AHEAD" range:"0s..24h" help:"How far ahead an agent's clock may be. Default: ${default}."`
	ReportInterval   time.Duration  `default:"30s" env:"INSIGHTS_REPORT_INTERVAL" range:"1s..1h" help:"How often agents are told to report. Default: ${default}."`
	MaxStreamAge     time.Duration  `default:"1h" env:"INSIGHTS_MAX_STREAM_AGE" range:"0|1m..168h" help:"After about how long an agent is asked to open a new stream, so that servers that are new get their share; 0 is never. Default: ${default}."`
	DrainDelay       time.Duration  `default:"0s" env:"INSIGHTS_DRAIN_DELAY" range:"0s..1m" help:"How long the server goes on after it was told to end (SIGTERM) and says that it is not ready, so that load balancers notice before connections are refused: up to 1m. Default: ${default}."`
	UsageStats       string         `default:"true" enum:"true,false" env:"INSIGHTS_USAGE_STATS,CODER_STATS_COLLECTION_USAGE_STATS_ENABLE" help:"false takes reports and stores nothing of them, where usage may not be collected. Default: ${default}."`
	UsageRetention   time.Duration  `default:"9600h" env:"INSIGHTS_USAGE_RETENTION" range:"0|24h..876000h" help:"How long usage is kept; what is older is deleted every day. Default: ${default} (400 days)."`
	LatencyRetention time.Duration  `default:"2160h" env:"INSIGHTS_LATENCY_RETENTION" range:"0|24h..876000h" help:"How long latencies are kept; what is older is deleted every day. Default: ${default} (90 days)."`
	AuditRetention   time.Duration  `default:"9600h" env:"INSIGHTS_AUDIT_RETENTION" range:"0|24h..876000h" help:"How long the audit trail is kept; what is older is deleted every day. Default: ${default} (400 days)."`
	PrivacyFloor     int            `default:"5" env:"INSIGHTS_PRIVACY_FLOOR" range:"2..1000" help:"How many people must take part in what is shown under another privacy mode than full, and to who may see totals only. Default: ${default}."`
	PublishAfter     time.Duration  `default:"24h" env:"INSIGHTS_PUBLISH_AFTER" range:"1h..168h" help:"How long after its end a day is counted for what is shown there, once for all: what is reported later is left out. Default: ${default}."`
	AIPerPerson      bool           `name:"ai-per-person" env:"INSIGHTS_AI_PER_PERSON" help:"Tell the use of AI tools of each person, as that of other apps. Otherwise it is told, in every privacy mode, of as many people together as --privacy-floor says, and people see their own."`
	Timezone         string         `default:"UTC" env:"INSIGHTS_TIMEZONE" placeholder:"NAME" help:"The IANA name of the time zone whose whole days are shown there. Default: ${default}."`
	ConfirmRetention bool           `env:"INSIGHTS_CONFIRM_RETENTION" help:"Delete at once what is beyond retention, although it is more than a tenth of the stored days; otherwise that waits for a day, so that a mistake can be taken back. Take it away when it is done."`
	RateLimit        int            `default:"50" env:"INSIGHTS_RATE_LIMIT" range:"0..10000000" help:"Calls per second of one principal, streams aside, and failed authentications per second from one address; 0 is no limit. Default: ${default}."`
	PageCache        int            `default:"256" env:"INSIGHTS_PAGE_CACHE" placeholder:"MIB" range:"0..1048576" help:"MiB of memory for the days that questions read last: 10,000 active users and a month take 70, with latencies 185; 0 reads all from the database. Default: ${default}."`
	MaxConnections   int            `default:"20000" env:"INSIGHTS_MAX_CONNECTIONS" range:"0..10000000" help:"Connections to each of the addresses, at most half of them from one client address; raise it for more agents, and double it behind a load balancer that hides them; 0 is no limit. Default: ${default}."`
	PrometheusToken  string         `name:"prometheus-token-file" env:"INSIGHTS_PROMETHEUS_TOKEN_FILE" placeholder:"FILE" help:"A file with the token that scrapes must bear, needed beyond loopback: the credentials_file of Prometheus."`
	OIDCIssuer       string         `name:"oidc-issuer" env:"INSIGHTS_OIDC_ISSUER" placeholder:"URL" help:"Accept JSON web tokens of this issuer as those of users."`
	OIDCAudience     string         `name:"oidc-audience" env:"INSIGHTS_OIDC_AUDIENCE" placeholder:"NAME" help:"What those tokens must be meant for."`
	OIDCClientSecret string         `name:"oidc-client-secret-file" env:"INSIGHTS_OIDC_CLIENT_SECRET_FILE" placeholder:"FILE" help:"A file with the secret of the page, if the issuer gave it one; its client id is the audience."`
	ExternalURL      string         `name:"external-url" env:"INSIGHTS_EXTERNAL_URL" placeholder:"URL" help:"Where people reach the page: scheme and host, such as https://insights.example.com. With it they can sign in through the OIDC issuer, which must know URL/sign-in/oidc/callback as a redirect URI."`
	AvatarHosts      []string       `env:"INSIGHTS_AVATAR_HOSTS" placeholder:"HOST,..." help:"Hosts, with or without a port, from which browsers may load the pictures of people in the catalog; they see who looks then. Default: none, and the page shows initials."`
	OIDCUserClaim    string         `name:"oidc-user-claim" default:"sub" env:"INSIGHTS_OIDC_USER_CLAIM" placeholder:"NAME" help:"The claim that holds the user's id in the catalog. Default: ${default}."`
	CoderURL         string         `name:"auth-coder-url" env:"INSIGHTS_AUTH_CODER_URL" placeholder:"URL" help:"Accept the session keys of this Coder deployment as those of users, whom insights import coder brought here, as far as it allows them: each is shown to it at most every few seconds."`
	FollowCoder      string         `env:"INSIGHTS_FOLLOW_CODER" placeholder:"URL" help:"Bring everything from the database of this Coder deployment, postgres://, and keep up with it, as insights import coder --follow does: one of several servers does that. Put a URL with a password into the environment or a file."`
	FollowCoderFile  string         `env:"INSIGHTS_FOLLOW_CODER_FILE" placeholder:"FILE" help:"A file with that URL."`
	FollowInterval   time.Duration  `default:"30s" env:"INSIGHTS_FOLLOW_INTERVAL" range:"1s..1m" help:"How often that database is looked at for usage; half as often for everything else. Default: ${default}."`
	IDEApps          []string       `name:"ide-apps" env:"INSIGHTS_IDE_APPS" placeholder:"NAME,..." help:"Session apps and app slugs that count as an IDE in the older activity API. Default: all that are known as such, of every family, and the usual web IDEs."`
	CollectStats     bool           `name:"prometheus-collect-agent-stats" env:"INSIGHTS_PROMETHEUS_COLLECT_AGENT_STATS,CODER_PROMETHEUS_COLLECT_AGENT_STATS" help:"Show the present of the agents that report to this server as metrics (coderd_agentstats_* and what agents forward), with names of users and workspaces."`
	AggregateStatsBy []string       `name:"prometheus-aggregate-agent-stats-by" env:"INSIGHTS_PROMETHEUS_AGGREGATE_AGENT_STATS_BY,CODER_PROMETHEUS_AGGREGATE_AGENT_STATS_BY" placeholder:"LABEL,..." help:"Labels that these metrics keep: agent_name, template_name, username, workspace_name, with the organization beside them, or none. Values of equal labels are added up; of latencies and script times the median is shown. Default: all."`
	SeriesBudget     int            `name:"prometheus-series-budget" default:"200000" env:"INSIGHTS_PROMETHEUS_SERIES_BUDGET" range:"1..100000000" help:"Label sets that one family of metrics shows at most. What is more is left out and counted. Default: ${default}, two for each of 100,000 agents."`
	MetricsCompat    []string       `env:"INSIGHTS_METRICS_COMPAT" enum:"seed,coder" placeholder:"NAME" help:"Other names and labels of metrics for dashboards that need them: seed adds action and owner_email (which holds the username) to coderd_workspace_builds_total, coder adds the name coderd_prometheusmetrics_agents_execution_seconds and takes username and workspace_name from coderd_agents_first_connection_seconds, as newer releases of Coder do."`
	MetricsActors    []string       `env:"INSIGHTS_METRICS_ACTORS" enum:"person,service,system,all" placeholder:"NAME,..." help:"Whose usage and workspaces the gauges with the names of Coder count, coderd_insights_* and coderd_api_active_users_duration_hour: person, service, system. Default: all, as Coder does."`
	Definitions      string         `env:"INSIGHTS_DEFINITIONS" placeholder:"FILE" help:"A YAML file that says what things mean here besides what is built in, such as further families of metrics of a control plane. It is read again when it changes."`
	TLSCert          string         `name:"tls-cert" env:"INSIGHTS_TLS_CERT" placeholder:"FILE" help:"Certificate (PEM) for gRPC and REST, needed beyond loopback. This file and those of the next two flags are read again when they change."`
	TLSKey           string         `name:"tls-key" env:"INSIGHTS_TLS_KEY" placeholder:"FILE" help:"Its private key (PEM)."`
	TLSClientCA      string         `name:"tls-client-ca" env:"INSIGHTS_TLS_CLIENT_CA" placeholder:"FILE" help:"Certificates (PEM) of who signs clients; every client needs one then. One for spiffe://DOMAIN/agent/ID lets in that agent's tokens only."`
	Insecure         bool           `env:"INSIGHTS_INSECURE" help:"Listen beyond loopback without TLS, and for scrapes without a token: only where something else protects the network, for tokens travel in the clear."`
	TrustedProxies   []netip.Prefix `env:"INSIGHTS_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Networks of reverse proxies whose X-Forwarded-For is believed, in logs and where addresses are counted."`
	AllowDataLoss    bool           `env:"INSIGHTS_ALLOW_DATA_LOSS" help:"Serve although a crash of the database would take what was acknowledged, because it does not keep what this service sets (synchronous_commit)."`
	Check            bool           `help:"Say everything that would keep the server from starting, and exit. Nothing is changed, and nothing listens."`
	GRPCReflection   bool           `name:"grpc-reflection" env:"INSIGHTS_GRPC_REFLECTION" help:"Describe the services to tools such as grpcurl."`
}

// Run serves until the context is done.
func (f serveCommand) Run(ctx context.Context, c console) (err error) {
	config, err := f.config(c)
	from, followErr := f.followed()
	err = errors.Join(err, followErr)
	if f.Check {
		err = errors.Join(err, f.check(f.Database), server.Check(ctx, config, f.storeOptions()))
		if err == nil {
			_, err = fmt.Fprintln(c.out, "Nothing would keep the server from starting.")
		}
		return err
	}
	if err != nil {
		return err
	}
	key, err := f.openFor(f.Database)
	if err != nil {
		return err
	}
	o := f.storeOptions()
	o.PrivacyKey = key
	s, err := openDatabase(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := f.decide(ctx, s, config.Logger); err != nil {
		return err
	}
	config.Store = s
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait() // before the store is closed
	defer stop()
	return serve(ctx, config, func(serving *server.Server) error {
		if from != "" {
			follower.Go(func() {
				coder.KeepFollowing(
					following, from, s, coder.Options{
						Interval: f.FollowInterval, Show: f.show(serving), Failing: serving.FollowFails, Logger: config.Logger,
					},
				)
			})
		}
		return nil
	})
}

// show is who gets the reports of the agents of a deployment that is followed; nil: nobody.
func (f serveCommand) show(serving *server.Server) func([]*insightsv1.AgentReport) {
	if !f.CollectStats {
		return nil
	}
	return serving.ShowAgents
}

// followed is the URL of the database of a Coder deployment that is followed; empty: none is.
func (f serveCommand) followed() (string, error) {
	inFile, err := readSecret("--follow-coder-file", f.FollowCoderFile)
	switch {
	case err != nil:
		return "", err
	case inFile != "" && f.FollowCoder != "":
		return "", usageError("--follow-coder and --follow-coder-file name the same: choose one")
	case inFile == "" && f.FollowCoder == "":
		return "", nil
	}
	if f.UsageStats != "true" {
		return "", usageError("--follow-coder brings usage, which --usage-stats=false does not allow")
	}
	from := cmp.Or(inFile, f.FollowCoder)
	return from, coder.CheckURL(from)
}

// storeOptions are what the flags say of the database, but for the privacy key.
func (f serveCommand) storeOptions() store.Options {
	o := f.options()
	o.ReadDatabases, o.MaxReplicaLag, o.PageCache, o.ErasedList = f.ReadDatabase, f.MaxReplicaLag, f.PageCache<<20, f.ErasedList
	o.CitusWorkers = f.CitusWorkers
	return o
}

// location is the time zone whose days are published.
func (f serveCommand) location() (*time.Location, error) {
	zone, err := time.LoadLocation(f.Timezone)
	if err != nil || f.Timezone == "Local" {
		return nil, usageError(fmt.Sprintf("--timezone %s: want the IANA name of a time zone", f.Timezone))
	}
	return zone, nil
}

// oidc is the issuer that the flags name, if they name any part of one.
func (f serveCommand) oidc() (*server.OIDC, error) {
	secret, err := readSecret("--oidc-client-secret-file", f.OIDCClientSecret)
	if err != nil || f.OIDCIssuer == "" && f.OIDCAudience == "" {
		return nil, err
	}
	return &server.OIDC{Issuer: f.OIDCIssuer, Audience: f.OIDCAudience, ClientSecret: secret, UserClaim: f.OIDCUserClaim}, nil
}

// config is what the flags come to, but for the store, and all that is wrong with them.
func (f serveCommand) config(c console) (server.Options, error) {
	config := server.Options{
		Logger: f.logger(c.err), Version: versionNumber(),
		GRPCAddress: string(f.GRPCAddress), HTTPAddress: string(f.HTTPAddress), PrometheusAddress: f.prometheus(),
		PprofAddress: string(f.PprofAddress),
		IngestMaxAge: f.IngestMaxAge, IngestMaxAhead: f.IngestMaxAhead, ReportInterval: f.ReportInterval, MaxStreamAge: f.MaxStreamAge,
		DrainDelay:  f.DrainDelay,
		ExternalURL: f.ExternalURL, AvatarHosts: f.AvatarHosts, CoderURL: f.CoderURL, UsageStats: f.UsageStats == "true",
		UsageRetention: f.UsageRetention, LatencyRetention: f.LatencyRetention, AuditRetention: f.AuditRetention,
		ConfirmRetention: f.ConfirmRetention,
		PrivacyFloor:     f.PrivacyFloor, PublishAfter: f.PublishAfter, AIPerPerson: f.AIPerPerson,
		RateLimit: f.RateLimit, MaxConnections: f.MaxConnections,
		IDEApps: f.IDEApps, Reflection: f.GRPCReflection, TrustedProxies: f.TrustedProxies,
		CollectAgentStats: f.CollectStats, AgentStatsBy: f.AggregateStatsBy, SeriesBudget: f.SeriesBudget, MetricsCompat: f.MetricsCompat,
		MetricsActors: f.MetricsActors,
		Definitions:   f.Definitions, AllowDataLoss: f.AllowDataLoss,
	}
	var errs []error
	refuse := func(err error) { errs = append(errs, err) }
	var err error
	config.Location, err = f.location()
	refuse(err)
	hides := f.PrivacyMode != "" && f.PrivacyMode != string(store.PrivacyFull)
	if hides && f.PrivacyKeyFile == "" && !strings.HasPrefix(f.Database, "sqlite:") {
		refuse(usageError(fmt.Sprintf("--privacy-mode %s hides names, which needs --privacy-key-file", f.PrivacyMode)))
	}
	if f.PprofAddress != "" && !isLoopback(config.PprofAddress) {
		refuse(usageError(
			fmt.Sprintf("--pprof-address %s is beyond loopback: profiles show what is in memory, to anyone who asks", f.PprofAddress),
		))
	}
	config.TLS, err = f.tls(config.Logger)
	refuse(err)
	config.OIDC, err = f.oidc()
	refuse(err)
	config.PrometheusToken, err = readSecret("--prometheus-token-file", f.PrometheusToken)
	refuse(err)
	for _, at := range []struct {
		flag, address, needs string
		met                  bool
	}{
		{"--grpc-address", config.GRPCAddress, "--tls-cert and --tls-key", f.TLSCert != ""},
		{"--http-address", config.HTTPAddress, "--tls-cert and --tls-key", f.TLSCert != ""},
		{"--prometheus-address", config.PrometheusAddress, "--prometheus-token-file", f.PrometheusToken != ""},
	} {
		if at.address != "" && !at.met && !f.Insecure && !isLoopback(at.address) {
			refuse(usageError(fmt.Sprintf(
				"%s %s is beyond loopback: set %s, or --insecure if the network is protected otherwise", at.flag, at.address, at.needs,
			)))
		}
	}
	return config, errors.Join(errs...)
}

// readSecret reads the secret in the file that a flag names, if it names one.
func readSecret(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", flag, err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("read %s: %s is empty", flag, file)
	}
	return secret, nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// tls follows the files of the certificates; nil without any.
func (f serveCommand) tls(logger *slog.Logger) (*tls.Config, error) {
	if f.TLSCert == "" && f.TLSKey == "" && f.TLSClientCA == "" {
		return nil, nil
	}
	if f.TLSCert == "" || f.TLSKey == "" {
		return nil, usageError("TLS needs both --tls-cert and --tls-key")
	}
	return server.TLSFiles{Certificate: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSClientCA}.Config(logger)
}

// serve runs a server until the context is done. It calls started when the server can be reached.
func serve(ctx context.Context, config server.Options, started func(*server.Server) error) error {
	s, err := server.New(config)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(running) }()
	logStart(ctx, config, s)
	if err := started(s); err != nil {
		stop()
		return errors.Join(err, <-stopped)
	}
	err = <-stopped
	config.Logger.InfoContext(ctx, "stopped")
	return err
}

// logStart says in one line what runs where and how.
func logStart(ctx context.Context, config server.Options, s *server.Server) {
	protection := "none"
	if config.TLS != nil {
		protection = "TLS"
		if config.TLS.ClientAuth == tls.RequireAndVerifyClientCert {
			protection = "mutual TLS"
		}
	}
	config.Logger.InfoContext(ctx, "serving", "database", config.Store.String(), "grpc", s.GRPCAddress(), "http", s.HTTPAddress(),
		"prometheus", s.PrometheusAddress(), "pprof", s.PprofAddress(), "protection", protection, "usage_stats", config.UsageStats,
		"reflection", config.Reflection)
}
