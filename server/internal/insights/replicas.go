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
// question that a replica fails is asked again elsewhere.
func (s *Service) FromReplica(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if info.Server != s {
		return handler(ctx, req)
	}
	for {
		question, source := s.store.WithReplica(ctx)
		answer, err := handler(question, req)
		if err == nil || source == nil || ctx.Err() != nil || !isTrouble(err) {
			return answer, err
		}
		source.LeaveOut()
		s.options.Logger.WarnContext(ctx, "replica failed, asking elsewhere", "replica", source.Name, "error", err)
	}
}

// isTrouble says whether an error may be that of a database, so that another one may answer.
func isTrouble(err error) bool {
	switch status.Code(call.ErrorOf(err)) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal:
		return true
	}
	return false
}

// asOf is until when the answer to a question that is asked now has everything that was acknowledged.
func (s *Service) asOf(ctx context.Context) time.Time { return s.clock().Add(-store.Behind(ctx)) }
