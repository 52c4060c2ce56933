package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// sessionLength is how long a session of the page lasts at most.
const sessionLength = 12 * time.Hour

// shortestSession is how long a session lasts at least.
const shortestSession = time.Minute

// SignIn implements [insightsv1.AccessServiceServer].
func (a *accessService) SignIn(ctx context.Context, _ *insightsv1.SignInRequest) (*insightsv1.SignInResponse, error) {
	if end := principalOf(ctx).Until; !end.IsZero() && end.Before(a.clock().Add(shortestSession)) {
		return nil, newCallError(codes.FailedPrecondition, reasonInvalid, "This token begins no session.", "It may end at any moment, and a session would go on.", nil)
	}
	secret, until, err := a.store.SignIn(ctx, principalOf(ctx), sessionLength)
	if err != nil {
		return nil, err
	}
	cookie := a.cookie.with(secret.Reveal(), until.Sub(a.clock()))
	return &insightsv1.SignInResponse{ExpiresAt: timestamppb.New(until)}, grpc.SetHeader(ctx, metadata.Pairs(setCookieKey, cookie))
}

// SignOut implements [insightsv1.AccessServiceServer].
func (a *accessService) SignOut(ctx context.Context, _ *insightsv1.SignOutRequest) (*insightsv1.SignOutResponse, error) {
	if err := a.store.SignOut(ctx, principalOf(ctx).Token); err != nil {
		return nil, err
	}
	return &insightsv1.SignOutResponse{}, grpc.SetHeader(ctx, metadata.Pairs(setCookieKey, a.cookie.with("", -time.Second)))
}
