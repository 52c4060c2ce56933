package guard

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store/access"
)

// Bounds of what one caller may ask.
const (
	maxLimiters  = 100_000 // callers that are remembered; who called longest ago begins anew when there are more
	maxQuestions = 4       // questions of the InsightsService that one principal has answered at a time, up to the last byte
	maxQueued    = 12      // questions of one principal that wait for those; more are refused
)

// limiters let each of many do something so many times per second, and for a moment twice as many.
type limiters[K comparable] struct {
	perSecond int // 0: no limit

	known *lru.Cache[K, *rate.Limiter]
}

func newLimiters[K comparable](perSecond int) *limiters[K] {
	return &limiters[K]{perSecond: perSecond, known: newLRU[K, *rate.Limiter](maxLimiters)}
}

// take counts one time, and returns 0, or how long to wait before it could be counted.
func (l *limiters[K]) take(who K) time.Duration {
	if l.perSecond == 0 {
		return 0
	}
	r := l.of(who).Reserve()
	wait := r.Delay()
	if wait > 0 {
		r.Cancel()
	}
	return wait
}

func (l *limiters[K]) of(who K) *rate.Limiter {
	if limiter, known := l.known.Get(who); known {
		return limiter
	}
	limiter := rate.NewLimiter(rate.Limit(l.perSecond), 2*l.perSecond)
	if earlier, known, _ := l.known.PeekOrAdd(who, limiter); known { // by another call at the same time
		return earlier
	}
	return limiter
}

// rateLimiter bounds how often each caller calls, and how many questions it has answered at once. Streams are held back by
// their windows.
type rateLimiter struct {
	calls    *limiters[limitedCaller]
	requests *Requests

	mu     sync.Mutex
	asking map[limitedCaller]*questions // of those who ask right now
}

// limitedCaller is whose calls are counted together: a principal with all its tokens.
type limitedCaller struct {
	kind    access.Kind
	id      uuid.UUID
	limited bool // by a credential whose issuer is asked about it, for which others of the principal do not wait
}

// questions are those of one caller.
type questions struct {
	open    int           // answered and waiting
	answers chan struct{} // one for each that is being answered
}

func newRateLimiter(perSecond int, requests *Requests) *rateLimiter {
	return &rateLimiter{
		calls: newLimiters[limitedCaller](perSecond), requests: requests, asking: map[limitedCaller]*questions{},
	}
}

func (l *rateLimiter) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if IsPublic(info.FullMethod) {
		return handler(ctx, req)
	}
	p := call.PrincipalOf(ctx)
	caller := limitedCaller{p.Kind, p.ID, call.IsLimited(ctx)}
	if wait := l.calls.take(caller); wait > 0 {
		return nil, call.TooMany(wait)
	}
	if !strings.HasPrefix(info.FullMethod, "/"+insightsv1.InsightsService_ServiceDesc.ServiceName+"/") {
		return handler(ctx, req)
	}
	request := l.requests.join(ctx)
	defer l.requests.finish(request)
	if request.leave == nil { // a file of several tables asks all its questions in one place
		var err error
		if request.leave, err = l.place(ctx, caller); err != nil {
			return nil, err
		}
	}
	before, kind := request.room, info.FullMethod
	if call.IsExport(ctx) {
		kind += " as a file" // which says nothing of the next page
	}
	if err := l.requests.reserve(ctx, request, kind); err != nil {
		return nil, err
	}
	answer, err := handler(ctx, req)
	if err != nil {
		return nil, err
	}
	return l.requests.keep(request, before, kind, answer)
}

// place waits until a question of a caller may be answered, and returns what makes room for the next one.
func (l *rateLimiter) place(ctx context.Context, caller limitedCaller) (leave func(), err error) {
	q, ok := l.enter(caller)
	if !ok {
		return nil, call.TooMany(call.RetryAfter)
	}
	select {
	case q.answers <- struct{}{}:
		return func() { <-q.answers; l.leave(caller) }, nil
	case <-ctx.Done():
		l.leave(caller)
		return nil, ctx.Err()
	}
}

// enter counts a question of a caller, unless too many wait.
func (l *rateLimiter) enter(caller limitedCaller) (*questions, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asking[caller]
	if q == nil {
		q = &questions{answers: make(chan struct{}, maxQuestions)}
		l.asking[caller] = q
	}
	if q.open == maxQuestions+maxQueued {
		return nil, false
	}
	q.open++
	return q, true
}

func (l *rateLimiter) leave(caller limitedCaller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asking[caller]
	if q.open--; q.open == 0 {
		delete(l.asking, caller)
	}
}

// networkOf is whose attempts from an address are counted together: an IPv4 address, or the 64 bits of an IPv6 address that
// one customer of a provider has.
func networkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		port, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = port.Addr()
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
