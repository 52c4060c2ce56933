package server

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/template-insights/insights/store/access"
)

// maxLimiters bounds the callers that are remembered; when there are more all begin anew.
const maxLimiters = 100_000

// rateLimiter lets each caller make so many unary calls per second, and for a moment twice as many. Streams are held back by
// their windows.
type rateLimiter struct {
	perSecond int // 0: no limit

	mu      sync.Mutex
	callers map[limitedCaller]*rate.Limiter
}

// limitedCaller is whose calls are counted together: a principal with all its tokens.
type limitedCaller struct {
	kind access.Kind
	id   uuid.UUID
}

func newRateLimiter(perSecond int) *rateLimiter {
	return &rateLimiter{perSecond: perSecond, callers: map[limitedCaller]*rate.Limiter{}}
}

func (l *rateLimiter) of(p access.Principal) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	caller := limitedCaller{p.Kind, p.ID}
	limiter, known := l.callers[caller]
	if !known {
		if len(l.callers) >= maxLimiters {
			clear(l.callers)
		}
		limiter = rate.NewLimiter(rate.Limit(l.perSecond), 2*l.perSecond)
		l.callers[caller] = limiter
	}
	return limiter
}

func (l *rateLimiter) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if l.perSecond == 0 || isPublic(info.FullMethod) {
		return handler(ctx, req)
	}
	r := l.of(principalOf(ctx)).Reserve()
	if wait := r.Delay(); wait > 0 {
		r.Cancel()
		return nil, tooMany(wait)
	}
	return handler(ctx, req)
}

// tooMany is the error for a caller who asks too often.
func tooMany(wait time.Duration) error {
	return newCallError(codes.ResourceExhausted, reasonTooMany, "Too many requests; wait a moment.", "", nil,
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
}
