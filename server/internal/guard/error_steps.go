package guard

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/template-insights/insights/server/internal/call"
)

// mapError logs what the caller must not see and returns what it may.
func mapError(ctx context.Context, logger *slog.Logger, method string, err error) error {
	if known := new(call.Error); !errors.As(err, &known) && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = call.Unavailable(err) // a deadline of ours and not of the caller: the database does not answer
	}
	mapped := call.ErrorOf(err)
	var internal *call.InternalError
	if errors.As(mapped, &internal) {
		logger.ErrorContext(ctx, "call failed", "method", method, "error_id", internal.ID, "error", internal.Cause)
	} else if call := new(call.Error); errors.As(mapped, &call) && call.Status.Code() == codes.Unavailable && call.Cause != nil {
		logger.WarnContext(ctx, "call could not be answered", "method", method, "error", call.Cause)
	}
	return mapped
}

func mapUnaryErrors(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, req)
		if err != nil {
			return nil, mapError(ctx, logger, info.FullMethod, err)
		}
		return answer, nil
	}
}

func mapStreamErrors(logger *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := handler(srv, stream); err != nil {
			return mapError(stream.Context(), logger, info.FullMethod, err)
		}
		return nil
	}
}
