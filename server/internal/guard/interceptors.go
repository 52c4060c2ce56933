// Package guard is the chain of interceptors that every call passes: metrics, log, errors, deadline, recovery,
// authentication, rate, access and audit. It knows tokens, JSON web tokens and session keys of Coder, and the access rules
// of the contract; it knows nothing of what a call does once it is let in.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// Options say whom the guard lets in. All fields without "zero", "nil" or "empty" in their comment are needed.
type Options struct {
	Store    *store.Store
	Logger   *slog.Logger
	Clock    func() time.Time
	Requests *Requests // to which calls of the gateway belong
	// why calls should not come to this server, or why reports alone should not; empty: they should
	NotReady func(forIngest bool) string
	OIDC     *OIDC  // whose JSON web tokens are accepted; nil: nobody's
	CoderURL string // of a Coder deployment whose session keys are accepted as those of users; empty: nobody's
	// per second, for a moment twice as many: unary calls of one principal, failed authentications from one address; zero: no limit
	RateLimit int
}

func (o Options) check() error {
	if o.OIDC != nil {
		if err := o.OIDC.validate(); err != nil {
			return err
		}
	}
	if o.RateLimit < 0 {
		return errors.New("the limit of calls must not be negative")
	}
	return checkCoderURL(o.CoderURL)
}

// Guard is the chain of interceptors that every call passes.
type Guard struct {
	authenticate *authenticator
	authorize    *Authorizer
	steps        []step
}

// New fails if an option is out of its range. No call is let in before rules are read.
func New(o Options, metrics *grpcprom.ServerMetrics) (*Guard, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	g := &Guard{authenticate: newAuthenticator(o), authorize: &Authorizer{Store: o.Store}}
	limit := newRateLimiter(o.RateLimit, o.Requests)
	g.steps = chain(o.Logger, metrics, errorSteps{o.Logger, o.NotReady}, g.authenticate, limit, g.authorize)
	return g, nil
}

// ServerOptions returns the options of a gRPC server whose calls pass the guard.
func (g *Guard) ServerOptions() []grpc.ServerOption { return serverOptions(g.steps) }

// ReadRules reads the access rules of what is served. One RPC without a rule is an error.
func (g *Guard) ReadRules(served map[string]grpc.ServiceInfo) (err error) {
	g.authorize.Rules, err = ReadRules(served)
	return err
}

// Issuer verifies JSON web tokens; nil: they do not count.
func (g *Guard) Issuer() *TokenVerifier { return g.authenticate.issuer }

// Run looks after the credentials of open streams until the context is done.
func (g *Guard) Run(ctx context.Context) { g.authenticate.watch(ctx) }

// Wait waits for the handlers of streams that were ended early.
func (g *Guard) Wait() { g.authenticate.handlers.Wait() }

// step is one interceptor of the chain, for both shapes of calls.
type step struct {
	name   string
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

// chain is what every call passes, outermost first. Metrics and log stand outside, so that refusals and panics are
// counted and written down as well. Requests are validated by their services, which alone know the rules of their
// fields; the ids that an access rule reads are validated by it.
func chain(
	logger *slog.Logger, metrics *grpcprom.ServerMetrics, mapped errorSteps, authenticate *authenticator, limit *rateLimiter,
	authorize *Authorizer,
) []step {
	audible := selector.MatchFunc(func(_ context.Context, call interceptors.CallMeta) bool { return !IsPublic(call.FullMethod()) })
	write := logging.LoggerFunc(func(ctx context.Context, level logging.Level, message string, fields ...any) {
		logger.Log(ctx, slog.Level(level), message, fields...) //nolint:sloglint // the middleware brings the message
	})
	options := []logging.Option{
		logging.WithLogOnEvents(logging.FinishCall), logging.WithDurationField(logging.DurationToDurationField),
		logging.WithLevels(levelOf),
		logging.WithDisableLoggingFields(
			logging.ComponentFieldKey, logging.MethodTypeFieldKey, logging.SystemTag[0], "grpc.start_time", "grpc.request.deadline",
			"peer.address",
		),
		logging.WithFieldsFromContext(func(ctx context.Context) logging.Fields {
			return logging.Fields{"caller_address", call.CallerAddress(ctx)}
		}),
	}
	return []step{
		{"metrics", metrics.UnaryServerInterceptor(), metrics.StreamServerInterceptor()},
		{
			"log", selector.UnaryServerInterceptor(logging.UnaryServerInterceptor(write, options...), audible),
			selector.StreamServerInterceptor(logging.StreamServerInterceptor(write, options...), audible),
		},
		{"errors", mapped.unary, mapped.stream},
		{"deadline", limitUnary, passStream},
		{"recovery", recoverUnary(logger), recoverStream(logger)},
		{"authentication", authenticate.unary, authenticate.stream},
		{"rate", limit.unary, passStream},
		{"access", authorize.unary, authorize.stream},
		{"audit", authorize.auditUnary, passStream},
	}
}

// callTimeout bounds every unary call, whatever its caller allows.
const callTimeout = time.Minute

func limitUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := handler(ctx, req)
	if ctx.Err() != nil {
		err = call.ErrorOf(err) // here, where it is known that the deadline is the call's and not one of the database's
	}
	return answer, err
}

// passStream leaves streams alone: they live as long as their agents, what they ask of the database has deadlines of its
// own, their windows hold them back, and none is audited.
func passStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, stream)
}

// serverOptions turns the chain into those of the server.
func serverOptions(steps []step) []grpc.ServerOption {
	var unary []grpc.UnaryServerInterceptor
	var stream []grpc.StreamServerInterceptor
	for _, s := range steps {
		unary, stream = append(unary, s.unary), append(stream, s.stream)
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(stream...)}
}

// panicked turns a panic into an error; the caller learns an id, the log the stack.
func panicked(logger *slog.Logger) recovery.Option {
	return recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		logger.ErrorContext(ctx, "panic in a call", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		return fmt.Errorf("panic: %v", p)
	})
}

func recoverUnary(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(panicked(logger))
}

func recoverStream(logger *slog.Logger) grpc.StreamServerInterceptor {
	return recovery.StreamServerInterceptor(panicked(logger))
}

// levelOf is how loud the end of a call is in the log: what the server is to blame for is louder than what callers are.
func levelOf(code codes.Code) logging.Level {
	switch code {
	case codes.OK, codes.Canceled:
		return logging.LevelDebug
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return logging.LevelError
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return logging.LevelWarn
	default:
		return logging.LevelInfo
	}
}
