package server_test

import (
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Who asks too often is told when to come back, on both transports; others do not notice.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	const perSecond = 5
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.RateLimit = perSecond })
	hasty, calm := r.Token(t, access.RoleOwner, servertest.Everywhere), r.Token(t, access.RoleOwner, servertest.Everywhere)
	client := insightsv1.NewAccessServiceClient(r.Conn)
	begin := time.Now()
	let, refused := 0, 0
	for refused == 0 && let < 1000 {
		_, err := client.WhoAmI(servertest.As(t.Context(), hasty), &insightsv1.WhoAmIRequest{})
		if err == nil {
			let++
			continue
		}
		refused++
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
		var wait time.Duration
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				wait = info.GetRetryDelay().AsDuration()
			}
		}
		if wait <= 0 || wait > time.Second {
			t.Errorf("told to wait %v", wait)
		}
	}
	if most := 2*perSecond + int(time.Since(begin).Seconds()*perSecond) + 1; let < 2*perSecond || let > most {
		t.Errorf("let %d calls through, want %d to %d", let, 2*perSecond, most)
	}
	var code int
	var header http.Header
	for range 1000 {
		if code, header, _ = r.Fetch(t, http.Header{"Coder-Session-Token": {hasty}}, "/api/v2/access/me"); code != http.StatusOK {
			break
		}
	}
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); code != http.StatusTooManyRequests || err != nil || seconds < 1 {
		t.Errorf("over REST: %d, Retry-After %q", code, header.Get("Retry-After"))
	}
	servertest.Must(t, client.WhoAmI, calm, &insightsv1.WhoAmIRequest{})
}

// All ways in count together.
func TestFailedAuthenticationsEverywhere(t *testing.T) {
	t.Parallel()
	r := run(t, storetest.SQLite(t), storetest.Now, func(c *server.Options) { c.RateLimit, c.Logger = 5, slog.New(slog.DiscardHandler) })
	valid := r.Token(t, access.RoleOwner, servertest.Everywhere)
	guesses := map[string]func() (heldBack bool){
		"REST": func() bool {
			code, header, _ := r.Fetch(t, http.Header{"Coder-Session-Token": {"tia_x"}}, "/api/v2/access/me")
			return code == http.StatusTooManyRequests && header.Get("Retry-After") == "1"
		},
		"gRPC": func() bool {
			_, err := insightsv1.NewAccessServiceClient(r.Conn).WhoAmI(servertest.As(t.Context(), "tia_x"), &insightsv1.WhoAmIRequest{})
			return status.Code(err) == codes.ResourceExhausted
		},
		"stream": func() bool {
			stream, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(servertest.As(t.Context(), "tia_x"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			return status.Code(err) == codes.ResourceExhausted
		},
	}
	for name, guess := range guesses {
		for n := 0; !guess(); n++ {
			if n > 100 {
				t.Fatalf("%s: never held back", name)
			}
		}
	}
	if code, _, _ := r.Fetch(t, http.Header{"Coder-Session-Token": {valid}}, "/api/v2/access/me"); code != http.StatusOK {
		t.Errorf("a valid token over REST: %d", code)
	}
	servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).WhoAmI, valid, &insightsv1.WhoAmIRequest{})
}
