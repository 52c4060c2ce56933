package insights

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// FromReplica is an interceptor that has a replica of the database answer questions, the same one for the whole length of each. A
// question that fails there is asked again of the primary.
func (s *Service) FromReplica(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if info.Server != s {
		return handler(ctx, req)
	}
	question, choice := s.store.WithReplica(ctx)
	if choice.LeftOut != nil {
		s.options.Logger.WarnContext(ctx, "replicas are left out for some seconds", "error", choice.LeftOut)
	}
	answer, err := handler(question, req)
	if err == nil || choice.Replica == nil || ctx.Err() != nil {
		return answer, err
	}
	switch status.Code(call.ErrorOf(err)) {
	case codes.Unavailable:
		choice.Replica.LeaveOut()
	case codes.DeadlineExceeded, codes.Canceled, codes.Internal: // of the replica, or of the question
	default:
		return answer, err
	}
	s.options.Logger.WarnContext(ctx, "replica failed, asking the primary", "replica", choice.Replica.Name, "error", err)
	return handler(ctx, req)
}

// asOf is until when the answer to a question that is asked now has everything that was acknowledged.
func (s *Service) asOf(ctx context.Context) time.Time { return s.clock().Add(-store.Behind(ctx)) }
