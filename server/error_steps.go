package server

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// mapError logs what the caller must not see and returns what it may.
func mapError(ctx context.Context, logger *slog.Logger, method string, err error) error {
	if known := new(callError); !errors.As(err, &known) && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = unavailable(err) // a deadline of ours and not of the caller: the database does not answer
	}
	mapped := callErrorOf(err)
	var internal *internalError
	if errors.As(mapped, &internal) {
		logger.ErrorContext(ctx, "call failed", "method", method, "error_id", internal.id, "error", internal.cause)
	} else if call := new(callError); errors.As(mapped, &call) && call.status.Code() == codes.Unavailable && call.cause != nil {
		logger.WarnContext(ctx, "call could not be answered", "method", method, "error", call.cause)
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
