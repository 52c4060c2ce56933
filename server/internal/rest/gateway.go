// Package rest serves HTTP: the gateway that turns REST calls into calls of the gRPC server, JSON, exported files, sign-in
// and the files of the web page. It has no rights of its own and reads no data but through the gRPC server, so that no REST
// call walks round the guard.
package rest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/gen/openapi"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
	"github.com/template-insights/insights/store"
)

// Gateway turns REST calls into calls of the gRPC server, over a connection within the process, so that none of them
// walks round the interceptors. It has no rights of its own.
type Gateway struct {
	http.Handler

	Listener   *bufconn.Listener // for the gRPC server to serve
	connection lanes
}

// lanes are two connections to the gRPC server. The number of calls that are open on one is limited, and calls with session
// keys may wait for Coder: they have a connection of their own, so that nobody else waits with them.
type lanes struct{ own, keys *grpc.ClientConn }

// Invoke implements [grpc.ClientConnInterface].
func (l lanes) Invoke(ctx context.Context, method string, request, answer any, opts ...grpc.CallOption) error {
	return l.of(ctx).Invoke(ctx, method, request, answer, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (l lanes) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return l.of(ctx).NewStream(ctx, desc, method, opts...)
}

// of is the connection for a call with these credentials.
func (l lanes) of(ctx context.Context) *grpc.ClientConn {
	if md, _ := metadata.FromOutgoingContext(ctx); guard.CoderSessionIn(md) != "" {
		return l.keys
	}
	return l.own
}

func (l lanes) Close() error { return errors.Join(l.own.Close(), l.keys.Close()) }

// useQueryParser sets the parser of the gateway library, which has one for the whole program.
var useQueryParser = sync.OnceFunc(func() { runtime.SetQueryParameterParser(queryParser{})(nil) })

// Options say how REST is served. All fields without "nil" or "empty" in their comment are needed.
type Options struct {
	Store    *store.Store
	Logger   *slog.Logger
	Registry prometheus.Registerer // of what REST tells about its use
	Requests *guard.Requests       // to which its calls belong
	Issuer   *guard.TokenVerifier  // through which people may sign in; nil: nobody can
	Cookie   guard.SessionCookie
	Version  string // of the program; empty: not told
	// where people reach the page: scheme and host alone; empty: not known, and nobody signs in through the issuer
	ExternalURL    string
	CoderURL       string         // of a Coder deployment with whose session tokens people sign in; empty: with none
	AvatarHosts    []string       // from which the page may show pictures of people, each a host with or without a port; empty: none
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	// NotReady says why calls should not come to this server, or why reports alone should not; empty: they should.
	NotReady func(forIngest bool) string
}

// hostPattern is a host with or without a port: nothing else may get into the policy of the page.
var hostPattern = regexp.MustCompile(`^([a-z0-9-]+\.)*[a-z0-9-]+(:[0-9]+)?$`)

// Check fails if an option is out of its range.
func (o Options) Check() error {
	u, err := url.Parse(o.ExternalURL)
	if o.ExternalURL != "" &&
		(err != nil || u.Scheme != "https" && u.Scheme != "http" || o.ExternalURL != u.Scheme+"://"+u.Host || u.Host == "") {
		return fmt.Errorf("the external URL must be of scheme and host alone, an IPv6 host in brackets, not %q", o.ExternalURL)
	}
	for _, host := range o.AvatarHosts {
		if !hostPattern.MatchString(host) {
			return fmt.Errorf("a host of avatars must be a name in lower case, with or without a port, not %q", host)
		}
	}
	return nil
}

// New makes the gateway. It fails if an option is out of its range.
func New(c Options) (*Gateway, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	useQueryParser()
	g := &Gateway{Listener: bufconn.Listen(1 << 20)}
	for _, lane := range []**grpc.ClientConn{&g.connection.own, &g.connection.keys} {
		connection, err := grpc.NewClient("passthrough:gateway",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return g.Listener.DialContext(ctx) }),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
			grpc.WithChainUnaryInterceptor(refuseQuery, takeAnswer(c.Requests)))
		if err != nil {
			return nil, fmt.Errorf("open gateway: %w", err)
		}
		*lane = connection
	}
	api := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, JSONMarshaler{}),
		runtime.WithIncomingHeaderMatcher(passHeader),
		runtime.WithOutgoingHeaderMatcher(func(name string) (string, bool) { return "Set-Cookie", name == guard.SetCookieKey }),
		runtime.WithOutgoingTrailerMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD {
			return metadata.MD{
				call.CallerAddressKey: {clientAddress(r, c.TrustedProxies)}, guard.CallerAgentKey: guard.CertificateAgents(r.TLS),
				"session-token": c.Cookie.Tokens(r), guard.RequestKey: {requestOf(r.Context())},
			}
		}),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(), // a form that is posted is no question
		runtime.WithMiddlewares(noteRoute),
		runtime.WithForwardResponseOption(sendSecretsPlain),
		runtime.WithErrorHandler(writeError),
		runtime.WithRoutingErrorHandler(writeRoutingError),
	)
	ctx := context.Background()
	err := errors.Join(
		insightsv1.RegisterIngestServiceHandlerClient(ctx, api, insightsv1.NewIngestServiceClient(g.connection)),
		insightsv1.RegisterCatalogServiceHandlerClient(ctx, api, insightsv1.NewCatalogServiceClient(g.connection)),
		insightsv1.RegisterInsightsServiceHandlerClient(ctx, api, insightsv1.NewInsightsServiceClient(g.connection)),
		insightsv1.RegisterAccessServiceHandlerClient(ctx, api, insightsv1.NewAccessServiceClient(g.connection)),
		insightsv1.RegisterDefinitionsServiceHandlerClient(ctx, api, insightsv1.NewDefinitionsServiceClient(g.connection)),
		insightsv1.RegisterPrivacyServiceHandlerClient(ctx, api, insightsv1.NewPrivacyServiceClient(g.connection)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open gateway: %w", err), g.Close())
	}
	sources, err := ExportSources()
	if err == nil {
		err = errors.Join(
			api.HandlePath(http.MethodGet, ExportRoute, g.export(api, sources)),
			api.HandlePath(http.MethodGet, ArchiveRoute, g.exportAll(api, sources)),
		)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open gateway: %w", err), g.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", limitRequest(api))
	mux.HandleFunc("GET /openapi.json", serveOpenAPI(openapi.Document))
	mux.HandleFunc("GET /openapi-3.1.json", serveOpenAPI(openapi.Document31))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", c.serveReadiness)
	mux.Handle("GET /api/v2/buildinfo", limitRequest(http.HandlerFunc(c.serveBuildInfo)))
	accounts := insightsv1.NewAccessServiceClient(g.connection)
	mux.Handle("GET "+SessionPath, limitRequest(serveSession(api, accounts)))
	signIn := newIssuerSignIn(c, accounts)
	signIn.route(mux)
	page, err := newBuiltPage(signIn != nil, c.CoderURL, c.AvatarHosts)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	page.route(mux)
	compress, err := gzhttp.NewWrapper(
		gzhttp.MinSize(compressFrom), gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false),
		gzhttp.ContentTypeFilter(compressible),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open gateway: %w", err), g.Close())
	}
	handler := protectBrowsers(compress(canonicalPaths(mux, page.missing)), c.AvatarHosts)
	g.Handler = send(newAPIMetrics(c.Registry).instrument(mux, handler), c.Requests)
	return g, nil
}

// serveReadiness says whether calls should come to this server, and for=ingest whether reports should; if not, why not.
func (o Options) serveReadiness(w http.ResponseWriter, r *http.Request) {
	purpose := r.URL.Query().Get("for")
	if purpose != "" && purpose != "ingest" {
		http.Error(w, `for: want "ingest", or nothing`, http.StatusBadRequest)
		return
	}
	if reason := o.NotReady(purpose == "ingest"); reason != "" {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// maxAnswer bounds the answers that the gateway turns into JSON.
const maxAnswer = 64 << 20

// Close ends the connections to the gRPC server.
func (g *Gateway) Close() error { return g.connection.Close() }

// clientAddress is the address of the client, or what a trusted proxy says it is: the last address in X-Forwarded-For
// that is not a trusted proxy's own.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	direct, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	client := direct.Addr().Unmap()
	isTrusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(client); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil || hop.Zone() != "" { // a zone is text, and means something on the proxy's machine only
			break
		}
		client = hop.Unmap()
	}
	return client.String()
}

// passHeader lets through what the interceptors read. The library passes on some more by itself.
func passHeader(name string) (string, bool) {
	name = strings.ToLower(name)
	return name, slices.Contains([]string{"coder-session-token", "session-token", "traceparent", "x-request-id"}, name)
}

// passedByItself are the headers that the library passes on.
var passedByItself = []string{"Authorization", "X-Forwarded-For", "X-Forwarded-Host"}

// MaxGRPCHeader bounds the headers of a call over gRPC: bytes, 32 more for each header.
const MaxGRPCHeader = 24 << 10

// MaxPassed bounds the headers that the gateway passes on, as gRPC counts them; what it adds itself is less than the rest.
const MaxPassed = MaxGRPCHeader - 4<<10

// passedSize is how gRPC counts the headers that the gateway passes on.
func passedSize(r *http.Request) int {
	size := len(r.Host)
	for name, values := range r.Header {
		if _, ok := passHeader(name); !ok && name != "Cookie" && !slices.Contains(passedByItself, name) {
			continue
		}
		for _, value := range values {
			size += len(name) + len(value) + 32
		}
	}
	return size
}

// contentPolicy lets the page load what is part of it and talk to this server, and nothing else: no script of a name, no font from
// elsewhere, no picture but from these hosts, no frame around it.
func contentPolicy(avatarHosts []string) string {
	pictures := strings.Join(append([]string{"'self'"}, avatarHosts...), " ")
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src " + pictures + "; connect-src 'self'; base-uri 'none'; " +
		"form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
}

// protectBrowsers tells browsers what no answer may do, whatever it is and whatever became of the request.
func protectBrowsers(next http.Handler, avatarHosts []string) http.Handler {
	policy := contentPolicy(avatarHosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// canonicalPaths lets each path be written in one way only, so that nothing in front of the server and nothing behind it can
// take a request for another one: without empty and dot segments, without a slash at the end, and without percent signs,
// which no path of the server needs.
func canonicalPaths(next http.Handler, missing http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != path.Clean(r.URL.Path) {
			missing(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// lostOnTheWay reports whether a credential has characters that metadata cannot hold. The gateway would leave it out, and one of two
// credentials would pass for the only one.
func lostOnTheWay(h http.Header) bool {
	return slices.ContainsFunc(guard.CredentialHeaders, func(name string) bool {
		return slices.ContainsFunc(h.Values(name), func(value string) bool {
			return strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' })
		})
	})
}

// limitRequest refuses what the API never needs. A page of another site can make a browser send a body, but not call it JSON
// without asking first, and no answer of the server allows it.
func limitRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private") // answers depend on who asks
		query, err := url.ParseQuery(r.URL.RawQuery)
		switch {
		case err != nil:
			writeErrorBody(w, http.StatusBadRequest, &insightsv1.Error{Message: "The query cannot be read."})
			return
		case passedSize(r) > MaxPassed:
			writeErrorBody(w, http.StatusRequestHeaderFieldsTooLarge, &insightsv1.Error{Message: "The headers are too large."})
			return
		case lostOnTheWay(r.Header):
			writeErrorBody(w, http.StatusUnauthorized, &insightsv1.Error{Message: call.MessageUnauthenticated})
			return
		case r.Header.Get("Content-Encoding") != "":
			writeErrorBody(w, http.StatusUnsupportedMediaType, &insightsv1.Error{Message: "Content-Encoding is not supported."})
			return
		case r.ContentLength != 0 && !isJSON(r.Header):
			writeErrorBody(w, http.StatusUnsupportedMediaType, &insightsv1.Error{
				Message: "The Content-Type of the body must be application/json.",
			})
			return
		case r.ContentLength > call.MaxMessage:
			writeErrorBody(w, http.StatusRequestEntityTooLarge, &insightsv1.Error{
				Message: fmt.Sprintf("The body has %d bytes, at most %d.", r.ContentLength, call.MaxMessage),
			})
			return
		}
		r.Header.Del("Grpc-Timeout") // deadlines are the server's
		body := &requestBody{ReadCloser: http.MaxBytesReader(w, r.Body, call.MaxMessage)}
		r.Body = body
		next.ServeHTTP(w, r.WithContext(context.WithValue(context.WithValue(r.Context(), queryKey{}, query), bodyKey{}, body)))
	})
}

// isJSON reports whether a request says that its body is JSON.
func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}

// serveOpenAPI serves a description of the API.
func serveOpenAPI(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", JSONMarshaler{}.ContentType(nil))
		w.Header().Set("Content-Length", strconv.Itoa(len(document)))
		_, _ = w.Write(document)
	}
}
