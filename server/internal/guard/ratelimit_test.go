package guard

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Of one principal a few questions are answered at a time, some more wait, and the rest is told to come back; others do not
// notice, and neither do other calls of the same one.
func TestQuestionsAtATime(t *testing.T) {
	t.Parallel()
	l := newRateLimiter(0, NewRequests())
	began, end := make(chan struct{}), make(chan struct{})
	l.requests.expected[insightsv1.InsightsService_GetTemplateInsights_FullMethodName] = 0
	ask := func(ctx context.Context, who uuid.UUID, method string) error {
		ctx, _ = call.WithIdentity(ctx, access.Principal{Kind: access.KindUser, ID: who}, nil)
		_, err := l.unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			began <- struct{}{}
			<-end
			return nil, nil
		})
		return err
	}
	const question = insightsv1.InsightsService_GetTemplateInsights_FullMethodName
	greedy, calm := uuid.New(), uuid.New()
	var asking sync.WaitGroup
	errs := make(chan error, 100)
	for range maxQuestions {
		asking.Go(func() { errs <- ask(t.Context(), greedy, question) })
		<-began
	}
	impatient, leave := context.WithCancel(t.Context())
	for i := range maxQueued {
		ctx := t.Context()
		if i == 0 {
			ctx = impatient
		}
		asking.Go(func() { errs <- ask(ctx, greedy, question) })
	}
	open := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		if q := l.asking[limitedCaller{access.KindUser, greedy, false}]; q != nil {
			return q.open
		}
		return 0
	}
	wiretest.WaitFor(t, 10*time.Second, "all to wait", func() bool { return open() == maxQuestions+maxQueued })
	if err := ask(t.Context(), greedy, question); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one question more: %v", err)
	}
	select {
	case <-began:
		t.Error("more questions are answered at a time")
	default:
	}
	for who, method := range map[uuid.UUID]string{calm: question, greedy: insightsv1.AccessService_WhoAmI_FullMethodName} {
		asking.Go(func() { errs <- ask(t.Context(), who, method) })
		<-began
	}
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait any longer: %v", err)
	}
	if got := open(); got != maxQuestions+maxQueued-1 {
		t.Errorf("%d questions are open then", got)
	}
	close(end)
	for range maxQueued - 1 {
		<-began
	}
	asking.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if len(l.asking) != 0 {
		t.Errorf("%d callers are remembered in the end", len(l.asking))
	}
}

// Who guesses tokens is held to a rate; a valid token passes from the same address, however many fail beside it.
func TestFailedAuthentications(t *testing.T) {
	t.Parallel()
	const perSecond, tries = 5, 10_000
	f := storetest.NewFixture(t, storetest.SQLite(t))
	authenticate := newAuthenticator(Options{Store: f.Store, Logger: slog.New(slog.DiscardHandler), Clock: time.Now, RateLimit: perSecond})
	secrets, err := f.CreateTokens(t.Context(), []store.Token{{PrincipalKind: access.KindAgent, PrincipalID: f.Agents[0][0]}})
	if err != nil {
		t.Fatal(err)
	}
	valid := secrets[0].Reveal()
	enter := func(address net.Addr, token string) error {
		ctx := metadata.NewIncomingContext(
			peer.NewContext(t.Context(), &peer.Peer{Addr: address}), metadata.Pairs("authorization", "Bearer "+token),
		)
		_, _, err := authenticate.enter(ctx)
		return err
	}
	attacker, neighbor := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 1), Port: 5}, &net.TCPAddr{IP: net.IPv4(198, 51, 100, 2), Port: 5}
	begin := time.Now()
	told, held := 0, 0
	for i := range tries {
		guess := "tia_x"
		if i%100 == 0 {
			guess = access.NewToken().Reveal()
			if err := enter(attacker, valid); err != nil {
				t.Fatalf("a valid token after %d guesses: %v", i, err)
			}
		}
		switch err := call.ErrorOf(enter(attacker, guess)); status.Code(err) {
		case codes.Unauthenticated:
			told++
		case codes.ResourceExhausted:
			held++
		default:
			t.Fatalf("a guess: %v", err)
		}
	}
	if most := 2*perSecond + int(time.Since(begin).Seconds()*perSecond) + 1; told < 2*perSecond || told > most || told+held != tries {
		t.Errorf("of %d guesses %d were told why, want %d to %d; %d were held back", tries, told, 2*perSecond, most, held)
	}
	if err := enter(neighbor, "tia_x"); status.Code(call.ErrorOf(err)) != codes.Unauthenticated {
		t.Errorf("a guess from another address: %v", err)
	}
}

// What is remembered of callers is bounded.
func TestLimitersAreBounded(t *testing.T) {
	t.Parallel()
	l := newLimiters[int](1)
	for i := range maxLimiters + 1 {
		if wait := l.take(i); wait > 0 {
			t.Fatalf("caller %d waits %v at the first time", i, wait)
		}
		if i == maxLimiters-1 && l.known.Len() != maxLimiters {
			t.Errorf("%d of %d callers are remembered", l.known.Len(), maxLimiters)
		}
	}
	if l.known.Len() != maxLimiters {
		t.Errorf("%d callers are remembered beyond the bound", l.known.Len())
	}
}

func TestNetworkOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"198.51.100.1:5": "198.51.100.1", "198.51.100.1": "198.51.100.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::1": "2001:db8:1:2::/64", "[::ffff:198.51.100.1]:5": "198.51.100.1", "fe80::1%eth0": "fe80::/64", "": "",
		"unknown": "unknown",
	} {
		if got := networkOf(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
