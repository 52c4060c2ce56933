package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/template-insights/insights/server/internal/guard"
)

// send notes a request until its answer is sent, and cuts who does not read it.
func send(next http.Handler, requests *guard.Requests) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, end := requests.Begin()
		defer end()
		// the real clock: it is the network's
		to := &sender{ResponseWriter: w, connection: http.NewResponseController(w), deadline: time.Now().Add(guard.AnswerTimeout)}
		next.ServeHTTP(to, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

type requestKey struct{}

// requestOf is the id of the request that is noted in a context.
func requestOf(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// takeAnswer takes an answer that is too large to be sent within the process.
func takeAnswer(requests *guard.Requests) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, req, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if err := invoke(ctx, method, req, answer, conn, opts...); err != nil {
			return err
		}
		requests.Take(requestOf(ctx), answer.(proto.Message))
		return nil
	}
}

// sender sends an answer in parts, each of which has to be taken in time.
type sender struct {
	http.ResponseWriter
	connection *http.ResponseController
	deadline   time.Time
}

// Write implements [http.ResponseWriter].
func (s *sender) Write(b []byte) (n int, err error) {
	for {
		part := b[n:min(len(b), n+guard.SendPart)]
		if err := s.connection.SetWriteDeadline(guard.PartDeadline(s.deadline)); err != nil {
			return n, fmt.Errorf("bound the time to send an answer: %w", err)
		}
		sent, err := s.ResponseWriter.Write(part)
		if n += sent; err != nil || n == len(b) {
			return n, err
		}
	}
}

// Unwrap lets [http.ResponseController] reach the writer itself.
func (s *sender) Unwrap() http.ResponseWriter { return s.ResponseWriter }
