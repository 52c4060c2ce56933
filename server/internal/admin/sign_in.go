package admin

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/guard"
)

// sessionLength is how long a session of the page lasts at most.
const sessionLength = 12 * time.Hour

// shortestSession is how long a session lasts at least.
const shortestSession = time.Minute

// SignIn implements [insightsv1.AccessServiceServer]. A session key of Coder is the session itself: Coder is asked about it as long as the
// session is used, so that it ends with the key and may what the key may.
func (a *Access) SignIn(ctx context.Context, _ *insightsv1.SignInRequest) (*insightsv1.SignInResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	if key := guard.CoderSessionIn(headers); key != "" {
		return a.signedIn(ctx, key, a.clock().Add(sessionLength))
	}
	if end := call.PrincipalOf(ctx).Until; !end.IsZero() && end.Before(a.clock().Add(shortestSession)) {
		return nil, call.NewError(
			codes.FailedPrecondition, call.ReasonInvalid, "This token begins no session.",
			"It may end at any moment, and a session would go on.", nil,
		)
	}
	secret, until, err := a.store.SignIn(ctx, call.PrincipalOf(ctx), sessionLength)
	if err != nil {
		return nil, err
	}
	return a.signedIn(ctx, secret.Reveal(), until)
}

// signedIn makes the browser keep the token of a session.
func (a *Access) signedIn(ctx context.Context, token string, until time.Time) (*insightsv1.SignInResponse, error) {
	cookie := a.cookie.With(token, until.Sub(a.clock()))
	return &insightsv1.SignInResponse{ExpiresAt: timestamppb.New(until)}, grpc.SetHeader(ctx, metadata.Pairs(guard.SetCookieKey, cookie))
}

// SignOut implements [insightsv1.AccessServiceServer].
func (a *Access) SignOut(ctx context.Context, _ *insightsv1.SignOutRequest) (*insightsv1.SignOutResponse, error) {
	if err := a.store.SignOut(ctx, call.PrincipalOf(ctx).Token); err != nil {
		return nil, err
	}
	return &insightsv1.SignOutResponse{}, grpc.SetHeader(ctx, metadata.Pairs(guard.SetCookieKey, a.cookie.With("", -time.Second)))
}
