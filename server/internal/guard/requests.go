package guard

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/template-insights/insights/server/internal/call"
)

// Bounds of answers that are not sent yet, as gRPC encodes them.
const (
	smallAnswer = 64 << 10 // bytes; one of no more takes no room
	answerRoom  = 16 << 20 // bytes of all larger ones together; one that is alone may have more

	unknownAnswer = answerRoom / 2 // bytes that an RPC is expected to answer of which nothing is known
)

// RequestKey carries, from the gateway to the server, to which REST request a call belongs.
const RequestKey = "insights-request"

// Requests are those whose answers are not sent to the last byte. Until then they keep the place of their questions and the room of
// their answers, so that who reads slowly, or not at all, has a share of the server and no more.
type Requests struct {
	room *semaphore.Weighted // bytes

	mu       sync.Mutex
	begun    uint64
	open     map[string]*request // those over REST
	expected map[string]int64    // bytes of the next answer of an RPC; absent: nobody asked it yet
}

// request is one over REST with its calls, which come one after the other, or a call over gRPC.
type request struct {
	rest     bool
	users    int           // the gateway, the transport that sends, and calls that are not answered
	leave    func()        // gives its place among the questions of its caller back; nil: it has none
	room     int64         // bytes that it takes
	answer   proto.Message // a large one, for the gateway to take; nil: there is none
	conn     *answerConn   // over which a call over gRPC came; nil: there is none, or it is not known
	deadline time.Time     // until when all of its answer over gRPC has to be sent
}

// NewRequests returns those of a server that begins.
func NewRequests() *Requests {
	return &Requests{room: semaphore.NewWeighted(answerRoom), open: map[string]*request{}, expected: map[string]int64{}}
}

// Begin notes a request over REST. Its calls have the id in their metadata under RequestKey; end says that its answer is sent.
func (r *Requests) Begin() (id string, end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	id = strconv.FormatUint(r.begun, 10)
	begun := &request{rest: true, users: 1}
	r.open[id] = begun
	return id, func() {
		r.mu.Lock()
		delete(r.open, id)
		r.mu.Unlock()
		r.finish(begun)
	}
}

// join is the request that a call belongs to, until the call finishes. What the metadata says is believed from the gateway only.
func (r *Requests) join(ctx context.Context) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	joined := &request{users: 1, deadline: time.Now().Add(AnswerTimeout)}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return joined
	}
	if call.IsInMemory(p.Addr) {
		md, _ := metadata.FromIncomingContext(ctx)
		for _, id := range md.Get(RequestKey) {
			if begun := r.open[id]; begun != nil {
				begun.users++
				return begun
			}
		}
	}
	if address, ok := p.Addr.(answerAddr); ok {
		joined.conn = address.conn
	}
	return joined
}

// finish lets go of a request; the last one gives back what it takes.
func (r *Requests) finish(q *request) {
	r.mu.Lock()
	q.users--
	last := q.users == 0
	r.mu.Unlock()
	if !last {
		return
	}
	r.room.Release(q.room)
	if q.leave != nil {
		q.leave()
	}
}

// errNoRoom is for the log.
var errNoRoom = errors.New("answers that are not sent yet leave no room for a large one")

// reserve waits until there is room for the answer that an RPC is expected to give. Who has room already does not wait: two of them
// would wait for each other.
func (r *Requests) reserve(ctx context.Context, q *request, method string) error {
	r.mu.Lock()
	expected, known := r.expected[method]
	r.mu.Unlock()
	if !known {
		expected = unknownAnswer
	}
	switch {
	case expected == 0: // not even behind those who wait
		return nil
	case q.room > 0:
		return r.take(q, expected)
	}
	if err := r.room.Acquire(ctx, expected); err != nil {
		return err
	}
	q.room = expected
	return nil
}

// take takes further room if there is some.
func (r *Requests) take(q *request, bytes int64) error {
	bytes = min(bytes, answerRoom-q.room)
	if bytes > 0 && !r.room.TryAcquire(bytes) {
		return call.Unavailable(errNoRoom)
	}
	q.room += bytes
	return nil
}

// keep lets an answer take the room that it needs, beside what its request had before, until the request is finished. It returns what is
// sent to the caller: to the gateway nothing of a large answer, for it takes the answer itself without four copies of it on the way; over
// gRPC an answer that tells when it is sent.
func (r *Requests) keep(q *request, before int64, method string, answer any) (any, error) {
	message, _ := answer.(proto.Message)
	size := int64(proto.Size(message))
	if size <= smallAnswer {
		size = 0
	}
	r.mu.Lock()
	expected, known := r.expected[method]
	if half := expected / 2; known && half > smallAnswer { // what was large a moment ago may be so again
		r.expected[method] = max(min(size, answerRoom), half)
	} else {
		r.expected[method] = min(size, answerRoom)
	}
	r.mu.Unlock()
	if more := before + size - q.room; more > 0 {
		if err := r.take(q, more); err != nil {
			return nil, err
		}
	} else {
		r.room.Release(-more)
		q.room += more
	}
	if q.conn != nil {
		return q.conn.hold(q, message), nil
	}
	if size == 0 || !q.rest {
		return answer, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q.answer = message
	return message.ProtoReflect().New().Interface(), nil
}

// Take fills in the answer to the last call of a request, if it was so large that it was kept.
func (r *Requests) Take(id string, into proto.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.open[id]
	if q == nil || q.answer == nil {
		return
	}
	q.answer.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		into.ProtoReflect().Set(field, value)
		return true
	})
	q.answer = nil
}
