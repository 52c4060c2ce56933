package chaos

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

// Agents come and go in every way there is. Nothing is left of them in the server.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	database := storetest.SQLite(t)
	f := newFleet(t, database, 1)
	p := startServer(t, newServerConfig(t, database))
	p.awaitReady(t, true)
	ways := map[string]func(insightsv1.IngestService_StreamStatsClient, net.Conn, context.CancelFunc){
		"says goodbye": func(s insightsv1.IngestService_StreamStatsClient, _ net.Conn, _ context.CancelFunc) {
			_ = s.CloseSend()
			for {
				if _, err := s.Recv(); err != nil {
					return
				}
			}
		},
		"cancels": func(_ insightsv1.IngestService_StreamStatsClient, _ net.Conn, cancel context.CancelFunc) { cancel() },
		"closes": func(_ insightsv1.IngestService_StreamStatsClient, conn net.Conn, _ context.CancelFunc) {
			_ = conn.Close()
		},
		"resets": func(_ insightsv1.IngestService_StreamStatsClient, conn net.Conn, _ context.CancelFunc) {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		},
		"closes half": func(_ insightsv1.IngestService_StreamStatsClient, conn net.Conn, _ context.CancelFunc) {
			_ = conn.(*net.TCPConn).CloseWrite()
		},
	}
	comeAndGo := func(n int) {
		for name, leave := range ways {
			for range n {
				if err := f.agents[0].comeAndGo(t.Context(), p.GRPC, leave); err != nil {
					t.Fatal(name, err)
				}
			}
		}
	}
	comeAndGo(5)
	p.awaitStreams(t, 0)
	goroutines, files := p.metric(t, "go_goroutines"), p.metric(t, "process_open_fds")
	comeAndGo(*comings)
	p.awaitStreams(t, 0)
	const poolFiles = 2 * 9 // of connections to the database that the work of minutes opens for good, one by one
	await(t, "as many goroutines and files as before", func() bool {
		return p.metric(t, "go_goroutines") <= goroutines+5 && p.metric(t, "process_open_fds") <= files+poolFiles
	})
	t.Logf("%d agents came and went: %v goroutines and %v files before, %v and %v after", *comings*len(ways), goroutines, files,
		p.metric(t, "go_goroutines"), p.metric(t, "process_open_fds"))
	p.stop(t)
}

// comeAndGo opens a stream, reports, hears of it, and leaves.
func (a *agent) comeAndGo(
	ctx context.Context, address string, leave func(insightsv1.IngestService_StreamStatsClient, net.Conn, context.CancelFunc),
) error {
	var raw net.Conn
	conn, err := grpc.NewClient("passthrough:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (_ net.Conn, err error) {
			raw, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return raw, err
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token), time.Minute)
	defer cancel()
	stream, err := insightsv1.NewIngestServiceClient(conn).StreamStats(ctx)
	if err != nil {
		return err
	}
	_, report := a.think()
	report.Sequence = 1
	if err := stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}); err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if answer.GetAcknowledgedSequence() == 1 {
			break
		}
	}
	leave(stream, raw, cancel)
	return nil
}
