package guard

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/template-insights/insights/server/internal/call"
)

// errorSteps are for what every error goes through.
type errorSteps struct {
	logger   *slog.Logger
	notReady func(forIngest bool) string
}

// mapError logs what the caller must not see and returns what it may.
func (s errorSteps) mapError(ctx context.Context, method string, err error) error {
	if known := new(call.Error); !errors.As(err, &known) && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = call.Unavailable(err) // a deadline of ours and not of the caller: the database does not answer
	}
	mapped := call.ErrorOf(err)
	var internal *call.InternalError
	if errors.As(mapped, &internal) {
		s.logger.ErrorContext(ctx, "call failed", "method", method, "error_id", internal.ID, "error", internal.Cause)
	} else if known := new(call.Error); errors.As(mapped, &known) && known.Status.Code() == codes.Unavailable && known.Cause != nil {
		s.logger.WarnContext(ctx, "call could not be answered", "method", method, "error", known.Cause)
		return call.NotReady(s.notReady(true), known.Cause) // reports or not: it may have failed because nothing is committed
	}
	return mapped
}

func (s errorSteps) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	answer, err := handler(ctx, req)
	if err != nil {
		return nil, s.mapError(ctx, info.FullMethod, err)
	}
	return answer, nil
}

func (s errorSteps) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := handler(srv, stream); err != nil {
		return s.mapError(stream.Context(), info.FullMethod, err)
	}
	return nil
}
