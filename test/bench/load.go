package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// connections carry the streams; a connection of its own for each would measure the kernel, and the server takes a hundred on
// one.
func (s sizes) connections() int { return max(16, s.Streams/50) }

// load is a fleet of agents whose time advances by 30 s with each of their reports, however quickly they come.
type load struct {
	sizes    sizes
	name     string // of the database
	store    *store.Store
	server   *serverProcess
	agents   []uuid.UUID
	template uuid.UUID // of the first agent and others
	token    string
	rounds   atomic.Int64 // reports of each agent so far, over all runs
}

// outcome is what a run of the load found.
type outcome struct {
	mu        sync.Mutex
	all       int64 // acknowledged in the whole run
	fresh     int64 // of them, the first of their agent and minute
	measured  int64 // acknowledged after the warm-up
	latencies []float64
}

// percentile of the acknowledgements, in milliseconds.
func (o *outcome) percentile(p float64) float64 {
	if len(o.latencies) == 0 {
		return 0
	}
	slices.Sort(o.latencies)
	return o.latencies[int(p*float64(len(o.latencies)-1))]
}

// introduce lets every agent report once.
func (l *load) introduce(ctx context.Context) error {
	_, err := l.stream(ctx, func(s *stream) { s.end, s.rounds = time.Now().Add(time.Hour), 1 })
	return err
}

// run streams for the warm-up and the measurement. With a rate it offers that many reports per second, otherwise as many
// as are acknowledged.
func (l *load) run(ctx context.Context, rate int) (*outcome, error) {
	measureFrom := time.Now().Add(l.sizes.WarmUp)
	return l.stream(ctx, func(s *stream) {
		s.measureFrom, s.end = measureFrom, measureFrom.Add(l.sizes.Length)
		if rate > 0 {
			s.pause = time.Duration(float64(time.Second) * float64(l.sizes.Streams) / float64(rate))
		}
	})
}

// stream opens all streams, each prepared by a function, and waits for their end.
func (l *load) stream(ctx context.Context, prepare func(*stream)) (*outcome, error) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.token))
	defer cancel()
	o := &outcome{}
	failures := make(chan error, l.sizes.Streams)
	var streams sync.WaitGroup
	start := l.rounds.Load()
	var rounds atomic.Int64
	for c := range l.sizes.connections() {
		conn, err := grpc.NewClient(l.server.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		for i := c; i < l.sizes.Streams; i += l.sizes.connections() {
			streams.Go(func() {
				s := &stream{load: l, outcome: o, first: i, round: start}
				prepare(s)
				if err := s.run(ctx, insightsv1.NewIngestServiceClient(conn)); err != nil {
					failures <- err
				}
				for r := rounds.Load(); s.round > r && !rounds.CompareAndSwap(r, s.round); r = rounds.Load() {
				}
			})
		}
	}
	streams.Wait()
	l.rounds.Store((rounds.Load()/2 + 1) * 2) // on a minute that nobody has reported yet
	select {
	case err := <-failures:
		return nil, fmt.Errorf("stream: %w", err)
	default:
		return o, nil
	}
}

// stream carries the reports of every so-manieth agent in turn.
type stream struct {
	*load
	outcome          *outcome
	first            int
	round            int64
	rounds           int64         // how many at most; 0: until the end
	pause            time.Duration // between reports; 0: none
	measureFrom, end time.Time
}

// past is where simulated time begins: long enough ago that folding is part of the work.
var past = time.Now().Add(-4 * 24 * time.Hour).Truncate(time.Hour)

func (s *stream) run(ctx context.Context, client insightsv1.IngestServiceClient) error {
	grpcStream, err := client.StreamStats(ctx)
	if err != nil {
		return err
	}
	type sent struct {
		at    time.Time
		fresh bool
	}
	window := make(chan sent, s.sizes.Window)
	received := make(chan error, 1)
	go func() {
		received <- func() error {
			var acknowledged uint64
			for {
				answer, err := grpcStream.Recv()
				if err != nil {
					return err
				}
				if len(answer.GetRejected()) > 0 {
					return fmt.Errorf("rejected: %s", answer.GetRejected()[0].GetReason())
				}
				now := time.Now()
				for ; acknowledged < answer.GetAcknowledgedSequence(); acknowledged++ {
					r, ok := <-window
					if !ok {
						return nil
					}
					s.outcome.count(now, s.measureFrom, s.end, r.at, r.fresh)
				}
			}
		}()
	}()
	next := time.Now().Add(time.Duration(rand.Int64N(int64(s.pause) + 1)))
	var sequence uint64
	for last := s.round + s.rounds; ; s.round++ {
		if s.rounds > 0 && s.round == last {
			if err := grpcStream.CloseSend(); err != nil {
				return err
			}
			return ignoreEnd(<-received)
		}
		for i := s.first; i < len(s.agents); i += s.sizes.Streams {
			due := time.Now()
			if s.pause > 0 {
				// What is late is measured from when it was due: a stall delays all that comes after it.
				due = next
				time.Sleep(time.Until(due))
				next = next.Add(s.pause)
			}
			if !time.Now().Before(s.end) {
				if err := grpcStream.CloseSend(); err != nil {
					return err
				}
				return ignoreEnd(<-received)
			}
			sequence++
			report := &insightsv1.AgentReport{
				AgentId: s.agents[i].String(), Sequence: sequence,
				CollectedAt: timestamppb.New(past.Add(time.Duration(s.round) * 30 * time.Second)), ConnectionCount: 2,
				ConnectionMedianLatencyMs: 20 + float64(i%100), SessionCounts: map[string]int64{"vscode": 1}, RxBytes: 1000, TxBytes: 2000,
			}
			select {
			case window <- sent{due, s.round%2 == 0}:
			case err := <-received:
				return fmt.Errorf("stream ended early: %w", err)
			}
			if err := grpcStream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}); err != nil {
				return <-received
			}
		}
	}
}

// count notes one acknowledgement; of the first of every twenty within the measurement its latency.
func (o *outcome) count(now, measureFrom, end, sent time.Time, fresh bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all++
	if fresh {
		o.fresh++
	}
	if now.Before(measureFrom) || now.After(end) {
		return
	}
	o.measured++
	if o.measured%20 == 1 {
		o.latencies = append(o.latencies, float64(now.Sub(sent).Microseconds())/1000)
	}
}

// ignoreEnd takes the regular end of a stream for what it is.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
