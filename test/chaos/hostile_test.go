package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

// quietly lets a fleet report while something happens, and tells how its acknowledgements took before and meanwhile.
func quietly(t *testing.T, f *fleet, p *process, what string, happen func()) {
	t.Helper()
	load := f.report(t, manner{address: p.GRPC, every: 10 * time.Millisecond})
	f.awaitAll(t)
	f.delays.take()
	f.awaitAcks(t, 300)
	alone := f.delays.take()
	before, _ := p.memory()
	happen()
	meanwhile := f.delays.take()
	after, most := p.memory()
	load.stop()
	t.Logf(
		"acknowledgements of others: %v; during %s: %v; %d MiB before, %d after, %d at most", alone, what, meanwhile, before, after, most,
	)
	if len(meanwhile.list) == 0 {
		t.Errorf("no report was acknowledged during %s", what)
	}
	p.checkMemory(t, faultMemory)
	f.check(t, p.GRPC)
	p.stop(t)
}

// Calls are made and reset at once, as fast as the server reads them.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	f := newFleet(t, database, 4)
	p := startServer(t, newServerConfig(t, database))
	quietly(t, f, p, "rapid resets", func() {
		before := p.metric(t, "go_goroutines")
		begin, sent, connections := time.Now(), 0, 0
		for sent < *resets {
			n, err := rapidReset(t.Context(), p.GRPC, *resets-sent)
			if n == 0 {
				t.Fatal(err)
			}
			sent += n
			connections++
		}
		t.Logf(
			"%d calls reset over %d connections in %v; %v goroutines before, %v right after", sent, connections,
			time.Since(begin).Round(time.Millisecond), before, p.metric(t, "go_goroutines"),
		)
		await(t, "as many goroutines as before", func() bool { return p.metric(t, "go_goroutines") <= before+10 })
	})
}

// rapidReset makes and resets calls over one connection until there were enough or the server has had enough.
func rapidReset(ctx context.Context, address string, most int) (sent int, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the connection
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return 0, err
	}
	framer := http2.NewFramer(conn, nil)
	if err := framer.WriteSettings(); err != nil {
		return 0, err
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for id := uint32(1); sent < most; id, sent = id+2, sent+1 {
		block.Reset()
		for _, h := range []hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"},
			{Name: ":path", Value: "/insights.v1.IngestService/StreamStats"},
			{Name: ":authority", Value: address},
			{Name: "content-type", Value: "application/grpc"},
			{Name: "te", Value: "trailers"},
		} {
			if err := encoder.WriteField(h); err != nil {
				return sent, err
			}
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return sent, err
		}
		if err := framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Connections that say nothing, or too little too slowly, are closed by the server.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	database := storetest.SQLite(t)
	f := newFleet(t, database, 4)
	config := newServerConfig(t, database)
	plain := startServer(t, config)
	config.GRPC, config.HTTP, config.Prometheus, config.TLS = storetest.FreeAddress(t), storetest.FreeAddress(t), storetest.FreeAddress(t),
		newTLSFiles(t, a)
	secure := startServer(t, config)
	secure.awaitTCP(t)
	quietly(t, f, plain, "silence", func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var closing sync.WaitGroup
		var mu sync.Mutex
		slowest := map[string]time.Duration{}
		for i := range *sockets {
			address, says := plain.GRPC, "nothing to gRPC"
			first := ""
			switch i % 6 {
			case 1:
				says, first = "half a preface to gRPC", http2.ClientPreface[:10]
			case 2:
				address, says = plain.HTTP, "nothing to REST"
			case 3:
				address, says, first = plain.HTTP, "half a header to REST", "GET /api/v2/templates HTTP/1.1\r\nHost: x\r\nX-"
			case 4:
				address, says = secure.GRPC, "no handshake to gRPC"
			case 5:
				address, says = secure.HTTP, "no handshake to REST"
			}
			closing.Go(func() {
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				begin := time.Now()
				_, _ = io.WriteString(conn, first)
				_ = conn.SetReadDeadline(begin.Add(patience))
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: the server keeps the connection", says)
				}
				mu.Lock()
				defer mu.Unlock()
				slowest[says] = max(slowest[says], time.Since(begin))
			})
		}
		closing.Wait()
		for says, took := range slowest {
			t.Logf("%s: closed after %v at most", says, took.Round(100*time.Millisecond))
		}
	})
	secure.stop(t)
}

// awaitTCP waits until the server listens.
func (p *process) awaitTCP(t *testing.T) {
	t.Helper()
	await(t, "a server that listens", func() bool {
		conn, err := net.Dial("tcp", p.GRPC)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Messages that are small on the wire and large in memory, ones that are too large, and nonsense. Their stream ends, and nobody
// else notices.
func TestHugeMessages(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	f := newFleet(t, database, 4)
	p := startServer(t, newServerConfig(t, database))
	empties := func(bytes int) []byte { // reports without a word
		var message []byte
		for len(message) < bytes {
			message = protowire.AppendTag(message, 1, protowire.BytesType)
			message = protowire.AppendBytes(message, nil)
		}
		return message
	}
	var nested []byte // one report with as many series
	for len(nested) < 4<<20-100 {
		nested = protowire.AppendTag(nested, 21, protowire.BytesType)
		nested = protowire.AppendBytes(nested, nil)
	}
	nested = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nested)
	messages := map[string][]byte{
		"empty reports of 256 KiB": empties(256 << 10), "empty reports of 4 MiB": empties(4<<20 - 2), "empty series of 4 MiB": nested,
		"too large": make([]byte, 4<<20+1), "nonsense": bytes.Repeat([]byte{0xff}, 1000), "cut short": empties(1000)[:999],
	}
	quietly(t, f, p, "huge messages", func() {
		var sending sync.WaitGroup
		for name, message := range messages {
			for range 8 {
				sending.Go(func() {
					for _, token := range []string{"", f.agents[0].token} {
						if err := sendRaw(t.Context(), p.GRPC, token, message); err == nil {
							t.Errorf("%s: taken", name)
						}
					}
				})
			}
		}
		sending.Wait()
	})
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

// Marshal implements [encoding.Codec].
func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

// Unmarshal implements [encoding.Codec].
func (rawCodec) Unmarshal([]byte, any) error { return nil }

// Name implements [encoding.Codec].
func (rawCodec) Name() string { return "proto" }

// sendRaw makes a unary call with a message as it is on the wire.
func sendRaw(ctx context.Context, address, token string, message []byte) error {
	conn, err := manner{address: address}.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), time.Minute)
	defer cancel()
	return conn.Invoke(ctx, insightsv1.IngestService_ReportStats_FullMethodName, message, nil, grpc.ForceCodec(rawCodec{}))
}

// Agents that send without end and never read what they are answered, and one that sends as fast as it is let, are in nobody's
// way, and cost the server little.
func TestNoisyNeighbors(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 24)
	quiet, deaf, loud := f.agents[:8], f.agents[8:16], f.agents[16:]
	p := startServer(t, newServerConfig(t, database))
	var others delays // of those who are loud, who do not count
	for _, a := range loud {
		a.delays = &others
	}
	load := f.reportAs(t, quiet, manner{address: p.GRPC, every: 20 * time.Millisecond})
	await(t, "acknowledgements", func() bool { return quiet[0].settled.Load() > 20 })
	measure := func() *delays {
		f.delays.take()
		<-time.After(*outage / 2)
		return f.delays.take()
	}
	alone := measure()
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	for _, a := range deaf {
		sending.Go(func() { a.shout(ctx, p.GRPC) })
	}
	beside := measure()
	noise := f.reportAs(t, loud, manner{address: p.GRPC, window: 500})
	besideAll := measure()
	cancel()
	sending.Wait()
	noise.stop()
	load.stop()
	t.Logf(
		"acknowledgements of quiet agents: alone %v; beside agents that never read %v; and others that flood %v", alone, beside, besideAll,
	)
	if len(beside.list) == 0 || len(besideAll.list) == 0 || len(others.take().list) == 0 {
		t.Error("somebody was not heard at all")
	}
	p.checkMemory(t, faultMemory)
	f.check(t, p.GRPC)
	p.stop(t)
}

// shout sends reports until the context is done, and reads nothing.
func (a *agent) shout(ctx context.Context, address string) {
	conn, err := manner{address: address}.dial()
	if err != nil {
		return
	}
	defer conn.Close()
	stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token),
	)
	if err != nil {
		return
	}
	for sequence := uint64(1); ctx.Err() == nil; sequence++ {
		_, report := a.think()
		report.Sequence = sequence
		if stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}) != nil {
			return
		}
	}
}
