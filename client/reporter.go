// Package client is what the author of an agent needs beyond the generated code: a reporter that keeps what is not
// acknowledged, resends it and backs off.
package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Bounds of a reporter.
const (
	maxQueued    = 256                    // reports that are not settled; then Report waits
	minBackoff   = 100 * time.Millisecond // before the first try to reconnect
	maxBackoff   = 30 * time.Second
	rejectPause  = 5 * time.Second // before a report that may succeed later is sent again
	flushTimeout = 5 * time.Second // for what is left when Run ends
)

// Reporter sends the reports of one agent. Make it with NewReporter and let Run work while Report is called.
type Reporter struct {
	ingest insightsv1.IngestServiceClient
	token  string

	mu       sync.Mutex
	queue    []*queued // not settled, oldest first
	settled  int       // reports that left the queue
	draining bool      // the server asked the present stream to end
	interval time.Duration
	changed  chan struct{} // closed and replaced at every change
}

// queued is a report on its way.
type queued struct {
	report    *insightsv1.AgentReport
	sequence  uint64    // on the present stream; 0: not sent on it
	notBefore time.Time // of a report that was rejected and may succeed later
}

// NewReporter returns a reporter that calls over a connection as the agent whose token it has.
func NewReporter(conn grpc.ClientConnInterface, token string) *Reporter {
	return &Reporter{ingest: insightsv1.NewIngestServiceClient(conn), token: token, changed: make(chan struct{})}
}

// Interval is how often the server wants reports; 0 before it said so.
func (r *Reporter) Interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// Report queues a report; its sequence is the reporter's. While 256 reports are not settled it waits: for the server, or
// for the context, whose error it returns then.
func (r *Reporter) Report(ctx context.Context, report *insightsv1.AgentReport) error {
	report = proto.CloneOf(report)
	for {
		r.mu.Lock()
		if len(r.queue) < maxQueued {
			r.queue = append(r.queue, &queued{report: report})
			r.notify()
			r.mu.Unlock()
			return nil
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush waits until all queued reports are settled: durable, or rejected for good.
func (r *Reporter) Flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		left, changed := len(r.queue), r.changed
		r.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes everyone who waits for a change. The caller holds the lock.
func (r *Reporter) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Run keeps a stream open and sends what is queued until the context is done, and then for at most five seconds what is
// left. It returns the context's error.
func (r *Reporter) Run(ctx context.Context) error {
	streams, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var flushing sync.WaitGroup
	flushing.Go(func() {
		<-ctx.Done()
		flush, cancel := context.WithTimeout(streams, flushTimeout)
		defer cancel()
		_ = r.Flush(flush) // what is left then is lost with the agent
		stop()
	})
	for failures := 0; streams.Err() == nil; {
		before := r.settledCount()
		err := r.stream(streams)
		if r.settledCount() > before {
			failures = 0
		}
		if err != nil && streams.Err() == nil {
			slog.DebugContext(ctx, "stream of reports broke", "error", err)
		}
		wait := min(maxBackoff, minBackoff<<min(failures, 16))
		failures++
		select {
		case <-streams.Done():
		case <-time.After(rand.N(wait)):
		}
	}
	flushing.Wait()
	return ctx.Err()
}

// stream sends over one stream until it breaks, or the server drains and everything sent is settled (nil).
func (r *Reporter) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.token))
	defer cancel()
	stream, err := r.ingest.StreamStats(ctx)
	if err != nil {
		return err
	}
	r.begin()
	broken := make(chan error, 1)
	var receiving sync.WaitGroup
	receiving.Go(func() {
		// It waits for nothing but the server: Send may be held up until an answer is read.
		for {
			answer, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			r.settle(answer)
		}
	})
	defer receiving.Wait()
	defer cancel()
	var sequence uint64
	for {
		now := r.take(&sequence)
		for _, report := range now.unsent {
			// io.EOF means that the stream broke; why, the receiver learns.
			if stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}) != nil {
				return <-broken
			}
		}
		if now.drained {
			return stream.CloseSend()
		}
		select {
		case err := <-broken:
			return err
		case <-now.changed:
		case <-now.pause:
		}
	}
}

func (r *Reporter) settledCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settled
}

// begin makes the queue ready for a new stream.
func (r *Reporter) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = false
	for _, q := range r.queue {
		q.sequence = 0 // of the stream before
	}
}

// work is what a stream has to do now, and what it waits for then.
type work struct {
	unsent  []*insightsv1.AgentReport
	drained bool // the server drains and has settled everything that was sent
	changed <-chan struct{}
	pause   <-chan time.Time // until a rejected report has waited long enough
}

// take numbers the reports that are to be sent now: none while the server drains.
func (r *Reporter) take(sequence *uint64) work {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := work{changed: r.changed, drained: r.draining}
	for _, q := range r.queue {
		switch wait := time.Until(q.notBefore); {
		case q.sequence != 0:
			now.drained = false
		case r.draining:
		case wait <= 0:
			*sequence++
			q.sequence, q.report.Sequence = *sequence, *sequence
			now.unsent = append(now.unsent, q.report)
		case now.pause == nil:
			now.pause = time.After(wait)
		}
	}
	return now
}

// settle takes what an answer settles off the queue.
func (r *Reporter) settle(answer *insightsv1.StreamStatsResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = r.draining || answer.GetDrain()
	if answer.GetReportInterval() != nil {
		r.interval = answer.GetReportInterval().AsDuration()
	}
	rejected := map[uint64]*insightsv1.StreamRejection{}
	for _, rejection := range answer.GetRejected() {
		rejected[rejection.GetSequence()] = rejection
	}
	kept := r.queue[:0]
	for _, q := range r.queue {
		rejection := rejected[q.sequence]
		switch {
		case q.sequence != 0 && rejection != nil && rejection.GetPermanent():
			slog.Warn("report was rejected for good", "agent_id", q.report.GetAgentId(), "reason", rejection.GetReason())
		case q.sequence != 0 && rejection != nil:
			q.sequence, q.notBefore = 0, time.Now().Add(rejectPause)
			kept = append(kept, q)
		case q.sequence == 0 || q.sequence > answer.GetAcknowledgedSequence():
			kept = append(kept, q)
		}
	}
	r.settled += len(r.queue) - len(kept)
	clear(r.queue[len(kept):])
	r.queue = kept
	r.notify()
}
