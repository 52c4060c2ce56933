package wiretest

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// UnreadCall is a call over gRPC whose caller takes no byte of the answer, however often it says that it is there.
type UnreadCall struct {
	Ended chan struct{} // closed when the call is refused, or its connection is over

	conn net.Conn
	mu   sync.Mutex
	wire *http2.Framer
}

// stream is the only one of its connection.
const stream = 1

// CallUnread calls a method of a server without TLS.
func CallUnread(t testing.TB, address, method, token string, req proto.Message) *UnreadCall {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &UnreadCall{Ended: make(chan struct{}), conn: conn, wire: http2.NewFramer(conn, conn)}
	var headers bytes.Buffer
	encoder := hpack.NewEncoder(&headers)
	for _, header := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", method},
		{":authority", "insights"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"authorization", "Bearer " + token},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: header[0], Value: header[1]}) // to memory
	}
	wire, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(wire))), wire...) //nolint:gosec // of a test
	_, err = conn.Write([]byte(http2.ClientPreface))
	for _, write := range []func() error{
		func() error { return err },
		func() error { return c.wire.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) },
		func() error {
			return c.wire.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: headers.Bytes(), EndHeaders: true})
		},
		func() error { return c.wire.WriteData(stream, true, message) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	go c.read()
	return c
}

// read answers what keeps a connection alive.
func (c *UnreadCall) read() {
	defer close(c.Ended)
	for {
		frame, err := c.wire.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = c.write((*http2.Framer).WriteSettingsAck)
			}
		case *http2.PingFrame:
			err = c.write(func(wire *http2.Framer) error { return wire.WritePing(true, frame.Data) })
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *UnreadCall) write(what func(*http2.Framer) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return what(c.wire)
}

// Take takes so many bytes of the answer.
func (c *UnreadCall) Take(bytes uint32) error {
	return c.write(func(wire *http2.Framer) error {
		if err := wire.WriteWindowUpdate(0, bytes); err != nil {
			return err
		}
		return wire.WriteWindowUpdate(stream, bytes)
	})
}

// Cancel leaves without the answer, and keeps the connection.
func (c *UnreadCall) Cancel() error {
	return c.write(func(wire *http2.Framer) error { return wire.WriteRSTStream(stream, http2.ErrCodeCancel) })
}

// Close closes the connection.
func (c *UnreadCall) Close() error { return c.conn.Close() }
