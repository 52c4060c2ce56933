package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// bit is what one report of the campaign sets, and no other: a minute of an app of an agent's owner.
type bit struct {
	app    string
	minute int64 // since the Unix epoch
}

// agent streams reports, resends what was not acknowledged after its stream broke, and keeps a ledger of both.
type agent struct {
	id    uuid.UUID
	owner uuid.UUID
	token string
	first int64 // minute of the first report

	mu       sync.Mutex
	made     int              // reports thought of so far
	open     map[int]bit      // sent or to be sent, not acknowledged
	acked    map[bit]struct{} // the ledger
	rejected []string
	resent   atomic.Int64
	streams  atomic.Int64
}

// minutesPerApp keeps the campaign's minutes within the age limit: more reports than that are of another app.
const minutesPerApp = 6000

// window is how many reports an agent has under way.
const window = 32

func (a *agent) bit(n int) bit {
	return bit{fmt.Sprintf("app_%d", n/minutesPerApp), a.first + int64(n%minutesPerApp)}
}

// run streams until stop is closed and everything is acknowledged, or the context is done.
func (a *agent) run(ctx context.Context, address string, stop <-chan struct{}) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}}))
	if err != nil {
		return err
	}
	defer conn.Close()
	for ctx.Err() == nil {
		if a.stream(ctx, insightsv1.NewIngestServiceClient(conn), stop) {
			return nil
		}
	}
	return ctx.Err()
}

// stream is one stream: first what is still open from the last one, then new reports. It returns true when all is done.
func (a *agent) stream(ctx context.Context, client insightsv1.IngestServiceClient, stop <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token))
	defer cancel()
	stream, err := client.StreamStats(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	a.streams.Add(1)
	var sequence uint64
	sent := map[uint64]int{} // this stream's sequences
	var mu sync.Mutex
	progress := make(chan struct{}, 1)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			mu.Lock()
			a.settle(answer, sent)
			mu.Unlock()
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { cancel(); <-failed }()
	send := func(n int) error {
		mu.Lock()
		sequence++
		sent[sequence] = n
		b := a.bit(n)
		report := &insightsv1.AgentReport{
			AgentId: a.id.String(), Sequence: sequence, CollectedAt: timestamppb.New(time.Unix(b.minute*60+30, 0)),
			ConnectionCount: 1, SessionCounts: map[string]int64{b.app: 1}, ConnectionMedianLatencyMs: 12,
		}
		mu.Unlock()
		return stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}})
	}
	a.mu.Lock()
	again := slices.Sorted(maps.Keys(a.open))
	a.mu.Unlock()
	for _, n := range again {
		a.resent.Add(1)
		if send(n) != nil {
			return false
		}
	}
	for {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		a.mu.Lock()
		n, open := a.made, len(a.open)
		if !stopping && open < window {
			a.open[n] = a.bit(n)
			a.made++
		}
		a.mu.Unlock()
		switch {
		case stopping && open == 0:
			return true
		case !stopping && open < window:
			if send(n) != nil {
				return false
			}
			continue
		}
		select {
		case <-progress:
		case <-failed:
			return false
		}
	}
}

// settle moves what an answer acknowledges into the ledger.
func (a *agent) settle(answer *insightsv1.StreamStatsResponse, sent map[uint64]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range answer.GetRejected() {
		a.rejected = append(a.rejected, r.GetReason())
		delete(a.open, sent[r.GetSequence()])
		delete(sent, r.GetSequence())
	}
	for sequence, n := range sent {
		if sequence <= answer.GetAcknowledgedSequence() {
			a.acked[a.bit(n)] = struct{}{}
			delete(a.open, n)
			delete(sent, sequence)
		}
	}
}
