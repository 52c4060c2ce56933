package guard

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// How an answer is sent. Who takes less of it in that time is cut.
const (
	AnswerTimeout = time.Minute // for reading a request, answering it and sending the answer

	SendPart    = 16 << 10         // bytes that are sent at a time
	sendTimeout = 16 * time.Second // for those: who reads less than 1 KiB/s is cut
)

// PartDeadline is until when the next part of an answer has to be taken, of which all has to be taken until a deadline.
func PartDeadline(all time.Time) time.Time {
	if part := time.Now().Add(sendTimeout); part.Before(all) { // the real clock: it is the network's
		return part
	}
	return all
}

// Listen returns a listener for calls over gRPC. Its connections are closed when an answer to a question is not taken in time.
func (r *Requests) Listen(l net.Listener) net.Listener { return answerListener{l, r} }

type answerListener struct {
	net.Listener
	requests *Requests
}

// Accept implements [net.Listener].
func (l answerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &answerConn{Conn: conn, requests: l.requests, unsent: map[*unsent]bool{}}, nil
}

// answerConn is a connection that knows the answers that are not sent over it.
type answerConn struct {
	net.Conn
	requests *Requests

	mu     sync.Mutex
	unsent map[*unsent]bool // nil: the connection is closed
}

// answerAddr tells the calls of a connection about it.
type answerAddr struct {
	net.Addr
	conn *answerConn
}

// RemoteAddr implements [net.Conn].
func (c *answerConn) RemoteAddr() net.Addr { return answerAddr{c.Conn.RemoteAddr(), c} }

// Close implements [net.Conn]. The transport does not tell of each answer that it throws away with a connection.
func (c *answerConn) Close() error {
	c.mu.Lock()
	thrownAway := c.unsent
	c.unsent = nil
	c.mu.Unlock()
	for u := range thrownAway {
		u.end()
	}
	return c.Conn.Close()
}

// hold keeps the request of an answer until that is sent, and returns what the transport gets.
func (c *answerConn) hold(q *request, answer proto.Message) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsent == nil {
		return answer
	}
	c.requests.mu.Lock()
	q.users++
	c.requests.mu.Unlock()
	u := &unsent{answer: answer, request: q, conn: c}
	u.cut = time.AfterFunc(time.Until(PartDeadline(q.deadline)), func() { _ = c.Close() })
	c.unsent[u] = true
	return u
}

// unsent is an answer to a question over gRPC. The transport gives its parts back, as to a pool, when it has sent them.
type unsent struct {
	mem.NopBufferPool
	answer  proto.Message
	request *request
	conn    *answerConn
	cut     *time.Timer

	parts int // that are not sent; of the connection's lock
}

// Put implements [mem.BufferPool].
func (u *unsent) Put(*[]byte) {
	c := u.conn
	c.mu.Lock()
	u.parts--
	held, sent := c.unsent[u], u.parts == 0
	switch {
	case held && sent:
		delete(c.unsent, u)
	case held:
		u.cut.Reset(time.Until(PartDeadline(u.request.deadline)))
	}
	c.mu.Unlock()
	if held && sent {
		u.end()
	}
}

// end gives back what the answer had.
func (u *unsent) end() {
	u.cut.Stop()
	u.conn.requests.finish(u.request)
}

// sendingCodec encodes answers so that their requests learn when they are sent. No compressor is registered: the transport would give
// back what it compresses before that is sent.
type sendingCodec struct{ encoding.CodecV2 }

// NewSendingCodec lets requests learn when their answers are sent, which a codec encodes.
func NewSendingCodec(c encoding.CodecV2) sendingCodec { return sendingCodec{c} }

// minPart is more bytes than the transport takes for too few to give them back.
const minPart = 2 << 10

// Marshal implements [encoding.CodecV2].
func (c sendingCodec) Marshal(v any) (mem.BufferSlice, error) {
	u, ok := v.(*unsent)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	rest, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, max(proto.Size(u.answer), minPart)), u.answer)
	if err != nil {
		return nil, err // the connection is cut soon
	}
	var parts mem.BufferSlice
	for {
		part := rest
		if last := len(rest) < 2*SendPart; !last { // the last part is no small one, unless it is the only one
			part = rest[:SendPart:SendPart]
		}
		rest = rest[len(part):]
		parts = append(parts, mem.NewBuffer(&part, u))
		if len(rest) == 0 {
			break
		}
	}
	u.conn.mu.Lock()
	defer u.conn.mu.Unlock()
	u.parts = len(parts)
	return parts, nil
}
