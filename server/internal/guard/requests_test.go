package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store/access"
)

// asker asks questions as the gateway does, or, without a request, over gRPC.
type asker struct {
	limit *rateLimiter
	who   uuid.UUID
}

// ask asks a question whose answer has about so many bytes.
func (a asker) ask(ctx context.Context, request string, size int) error {
	ctx, _ = call.WithIdentity(ctx, access.Principal{Kind: access.KindUser, ID: a.who}, nil)
	if request != "" {
		ctx = peer.NewContext(ctx, &peer.Peer{Addr: bufconn.Listen(1).Addr()})
		ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(RequestKey, request))
	}
	info := &grpc.UnaryServerInfo{FullMethod: insightsv1.InsightsService_GetTemplateInsights_FullMethodName}
	_, err := a.limit.unary(ctx, nil, info, func(context.Context, any) (any, error) {
		return &insightsv1.Error{Message: strings.Repeat("x", size)}, nil
	})
	return err
}

// A request over REST has one place, however many questions it asks, until its answer is sent.
func TestRequestsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	requests := NewRequests()
	a := asker{newRateLimiter(0, requests), uuid.New()}
	var ends []func()
	for range maxQuestions {
		id, end := requests.Begin()
		ends = append(ends, end)
		for range 3 {
			if err := a.ask(t.Context(), id, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := a.ask(short, "", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a further question: %v, want it to wait until its caller goes", err)
	}
	if err := (asker{a.limit, uuid.New()}).ask(t.Context(), "", 1); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	ends[0]()
	if err := a.ask(t.Context(), "", 1); err != nil {
		t.Errorf("after an answer was sent: %v", err)
	}
	for _, end := range ends[1:] {
		end()
	}
	if len(requests.open) != 0 || len(a.limit.asking) != 0 || !requests.room.TryAcquire(answerRoom) {
		t.Errorf("in the end %d requests and %d callers are known, or there is less room", len(requests.open), len(a.limit.asking))
	}
}

// A request whose caller leaves while a question is answered keeps its place until that is done.
func TestRequestsOutliveTheirCaller(t *testing.T) {
	t.Parallel()
	requests := NewRequests()
	a := asker{newRateLimiter(0, requests), uuid.New()}
	id, end := requests.Begin()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(RequestKey, id))
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: bufconn.Listen(1).Addr()})
	ctx, _ = call.WithIdentity(ctx, access.Principal{Kind: access.KindUser, ID: a.who}, nil)
	info := &grpc.UnaryServerInfo{FullMethod: insightsv1.InsightsService_GetTemplateInsights_FullMethodName}
	_, err := a.limit.unary(ctx, nil, info, func(context.Context, any) (any, error) {
		end()
		if len(a.limit.asking) != 1 {
			t.Error("the place is free while the question is answered")
		}
		return &insightsv1.Error{Message: strings.Repeat("x", 2*smallAnswer)}, nil
	})
	if err != nil || len(a.limit.asking) != 0 || !requests.room.TryAcquire(answerRoom) {
		t.Errorf("%v; in the end %d callers are known, or there is less room", err, len(a.limit.asking))
	}
}

// Large answers that are not sent are bounded over all callers: further ones wait, and one that nobody expected is refused. Small ones
// always have room.
func TestRoomForAnswers(t *testing.T) {
	t.Parallel()
	requests := NewRequests()
	limit := newRateLimiter(0, requests)
	ask := func(size int) (end func(), err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		id, end := requests.Begin()
		return end, asker{limit, uuid.New()}.ask(ctx, id, size)
	}
	small := func() {
		t.Helper()
		for range 20 {
			end, err := ask(smallAnswer / 2)
			if err != nil {
				t.Fatalf("a small answer: %v", err)
			}
			defer end()
		}
	}
	small()
	alone, err := ask(answerRoom + 1)
	if err != nil {
		t.Fatalf("an answer that is alone: %v", err)
	}
	if _, err := ask(2 * smallAnswer); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question whose answer may be large, without room: %v, want it to wait", err)
	}
	alone()
	small()
	first, err := ask(answerRoom/2 - 100)
	if err != nil {
		t.Fatalf("a large answer: %v", err)
	}
	second, err := ask(answerRoom/2 - 100)
	if err != nil {
		t.Errorf("another one that has room: %v", err)
	}
	first()
	small()
	first, err = ask(answerRoom / 4)
	if err != nil {
		t.Errorf("room that was given back: %v", err)
	}
	small()
	refused, err := ask(answerRoom/2 - 100)
	var of *call.Error
	if !errors.As(err, &of) || of.GRPCStatus().Code() != codes.Unavailable {
		t.Errorf("a large answer that nobody expected, without room: %v", err)
	}
	for _, end := range []func(){first, second, refused} {
		end()
	}
	if !requests.room.TryAcquire(answerRoom) {
		t.Error("there is less room in the end")
	}
}

// A request that has room already is refused more instead of waiting for others that may wait for it; what it keeps reaches the gateway.
func TestRequestsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	requests := NewRequests()
	a := asker{newRateLimiter(0, requests), uuid.New()}
	one, endOne := requests.Begin()
	if err := a.ask(t.Context(), one, answerRoom/4); err != nil {
		t.Fatal(err)
	}
	var taken insightsv1.Error
	if requests.Take(one, &taken); len(taken.GetMessage()) != answerRoom/4 {
		t.Errorf("the gateway takes %d bytes", len(taken.GetMessage()))
	}
	two, endTwo := requests.Begin()
	if err := a.ask(t.Context(), two, answerRoom/4); err != nil {
		t.Fatal(err)
	}
	if err := a.ask(t.Context(), one, answerRoom/2); status.Code(call.ErrorOf(err)) != codes.Unavailable {
		t.Errorf("more for a request beside another one: %v", err)
	}
	endTwo()
	if err := a.ask(t.Context(), one, answerRoom); err != nil {
		t.Errorf("more for a request that is alone: %v", err)
	}
	endOne()
	if !requests.room.TryAcquire(answerRoom) {
		t.Error("there is less room in the end")
	}
}

// Questions with small answers do not even wait behind those that wait for room.
func TestSmallAnswersDoNotWait(t *testing.T) {
	t.Parallel()
	requests := NewRequests()
	requests.expected["small"], requests.expected["large"] = 0, answerRoom
	full, waits := &request{users: 1}, &request{users: 1}
	if err := requests.reserve(t.Context(), full, "large"); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- requests.reserve(t.Context(), waits, "large") }()
	wiretest.WaitFor(t, 10*time.Second, "one to wait", func() bool { return !requests.room.TryAcquire(0) })
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := requests.reserve(short, &request{}, "small"); err != nil {
		t.Errorf("a question with a small answer: %v", err)
	}
	requests.finish(full)
	if err := <-waiting; err != nil {
		t.Errorf("who waited for room: %v", err)
	}
	requests.finish(waits)
}
