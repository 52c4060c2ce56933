package guard

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
)

// serveAnswers answers each question of somebody over gRPC with so many bytes.
func serveAnswers(t *testing.T, size int) (*rateLimiter, string) {
	t.Helper()
	limit, who := newRateLimiter(0, NewRequests()), access.Principal{Kind: access.KindUser, ID: uuid.New()}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(NewSendingCodec(encoding.GetCodecV2("proto"))),
		grpc.ChainUnaryInterceptor(
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				ctx, _ = call.WithIdentity(ctx, who, nil)
				return handler(ctx, req)
			},
			limit.unary,
			func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
				return &insightsv1.Error{Message: strings.Repeat("x", size)}, nil
			},
		),
	)
	insightsv1.RegisterInsightsServiceServer(server, insightsv1.UnimplementedInsightsServiceServer{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(limit.requests.Listen(l)) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return limit, l.Addr().String()
}

// An answer over gRPC keeps its room and the place of its question until its last byte is sent, or nobody waits for it any more.
func TestAnswersOverGRPCKeepTheirRoom(t *testing.T) {
	t.Parallel()
	const size = answerRoom / 2
	for name, end := range map[string]func(*wiretest.UnreadCall) error{
		"sent":             func(c *wiretest.UnreadCall) error { return c.Take(size + 100) },
		"cancelled":        (*wiretest.UnreadCall).Cancel,
		"connection broke": (*wiretest.UnreadCall).Close,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit, address := serveAnswers(t, size)
			asking := func() int {
				limit.mu.Lock()
				defer limit.mu.Unlock()
				return len(limit.asking)
			}
			taken := func() bool {
				free := limit.requests.room.TryAcquire(answerRoom/2 + 1)
				if free {
					limit.requests.room.Release(answerRoom/2 + 1)
				}
				return !free
			}
			for range 2 { // one after the other
				c := wiretest.CallUnread(t, address, insightsv1.InsightsService_GetTemplateInsights_FullMethodName, "", nil)
				wiretest.WaitFor(t, 10*time.Second, "the answer", func() bool { return asking() == 1 && taken() })
				if err := c.Take(size / 2); err != nil {
					t.Fatal(err)
				}
				time.Sleep(100 * time.Millisecond) // for half of it to be sent
				if asking() != 1 || !taken() {
					t.Error("half of an answer gives all its room back")
				}
				if err := end(c); err != nil {
					t.Fatal(err)
				}
				wiretest.WaitFor(t, 10*time.Second, "room", func() bool { return asking() == 0 && !taken() })
			}
		})
	}
}

// Answers of all sizes arrive over gRPC as they are, and take nothing afterwards.
func TestAnswersOverGRPCArrive(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, minPart, SendPart, 2*SendPart - 4, 2 * SendPart, 5*SendPart + 1, answerRoom / 8} {
		limit, address := serveAnswers(t, size)
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 3 * maxQuestions {
			var answer insightsv1.Error
			err := conn.Invoke(t.Context(), insightsv1.InsightsService_GetTemplateInsights_FullMethodName, &insightsv1.Error{}, &answer)
			if err != nil || len(answer.GetMessage()) != size {
				t.Fatalf("%d bytes arrive of %d: %v", len(answer.GetMessage()), size, err)
			}
		}
		wiretest.WaitFor(t, 10*time.Second, "room", func() bool {
			limit.mu.Lock()
			defer limit.mu.Unlock()
			return len(limit.asking) == 0
		})
	}
}

// Who takes less than 1 KiB/s of an answer over gRPC is cut, and who takes more is cut a minute after asking.
func TestSlowReadersOverGRPCAreCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		parts int           // that are taken, one in fifteen seconds
		cut   time.Duration // after asking
	}{
		"nothing is taken":  {0, sendTimeout},
		"one part is taken": {1, 15*time.Second + sendTimeout},
		"parts are taken":   {100, AnswerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				requests := NewRequests()
				near, far := net.Pipe()
				defer near.Close()
				conn := &answerConn{Conn: far, requests: requests, unsent: map[*unsent]bool{}}
				asked := time.Now()
				left := make(chan time.Time, 1)
				q := &request{conn: conn, deadline: asked.Add(AnswerTimeout), leave: func() { left <- time.Now() }}
				u := conn.hold(q, &insightsv1.Error{}).(*unsent)
				u.parts = 1000
				for range test.parts {
					time.Sleep(15 * time.Second)
					u.Put(nil)
				}
				if _, err := near.Read(make([]byte, 1)); err == nil {
					t.Error("the connection is open")
				}
				if cut := (<-left).Sub(asked); cut != test.cut {
					t.Errorf("it is cut after %v, want %v", cut, test.cut)
				}
				if _, again := conn.hold(&request{}, &insightsv1.Error{}).(*unsent); again {
					t.Error("a connection that is closed holds answers")
				}
			})
		})
	}
}
