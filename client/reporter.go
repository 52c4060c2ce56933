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
		progress, err := r.stream(streams)
		if progress {
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

// stream sends over one stream until it breaks, or the server drains and everything sent is settled (nil). It says
// whether anything was settled.
func (r *Reporter) stream(ctx context.Context) (progress bool, err error) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.token))
	defer cancel()
	stream, err := r.ingest.StreamStats(ctx)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	for _, q := range r.queue {
		q.sequence = 0 // of the stream before
	}
	r.mu.Unlock()
	var sequence uint64
	answers, broken := make(chan *insightsv1.StreamStatsResponse), make(chan error, 1)
	var receiving sync.WaitGroup
	receiving.Go(func() { broken <- receive(ctx, stream, answers) })
	defer receiving.Wait()
	defer cancel()
	draining := false
	for {
		changed, pause := r.changes(draining)
		if !draining {
			for _, report := range r.takeUnsent(&sequence) {
				// io.EOF means that the stream broke; why, the receiver learns.
				if stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}) != nil {
					return progress, <-broken
				}
			}
		} else if r.outstanding() == 0 {
			return progress, stream.CloseSend()
		}
		select {
		case answer := <-answers:
			progress = r.settle(answer) || progress
			draining = draining || answer.GetDrain()
		case err := <-broken:
			return progress, err
		case <-changed:
		case <-pause:
		}
	}
}

func receive(ctx context.Context, stream insightsv1.IngestService_StreamStatsClient, answers chan<- *insightsv1.StreamStatsResponse) error {
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case answers <- answer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changes returns when there may be something to send: at a change, or when a rejected report has waited long enough.
func (r *Reporter) changes(draining bool) (changed <-chan struct{}, pause <-chan time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if draining {
		return nil, nil // nothing new is sent
	}
	for _, q := range r.queue {
		if q.sequence == 0 && !q.notBefore.IsZero() {
			return r.changed, time.After(time.Until(q.notBefore))
		}
	}
	return r.changed, nil
}

// takeUnsent numbers the reports that are to be sent now.
func (r *Reporter) takeUnsent(sequence *uint64) []*insightsv1.AgentReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	var unsent []*insightsv1.AgentReport
	for _, q := range r.queue {
		if q.sequence != 0 || time.Now().Before(q.notBefore) {
			continue
		}
		*sequence++
		q.sequence, q.report.Sequence = *sequence, *sequence
		unsent = append(unsent, q.report)
	}
	return unsent
}

// outstanding is how many reports of this stream are not settled.
func (r *Reporter) outstanding() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, q := range r.queue {
		if q.sequence != 0 {
			n++
		}
	}
	return n
}

// settle takes what an answer settles off the queue and says whether there was any.
func (r *Reporter) settle(answer *insightsv1.StreamStatsResponse) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer.GetReportInterval() != nil {
		r.interval = answer.GetReportInterval().AsDuration()
	}
	rejected := map[uint64]*insightsv1.StreamRejection{}
	for _, rejection := range answer.GetRejected() {
		rejected[rejection.GetSequence()] = rejection
	}
	before := len(r.queue)
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
	clear(r.queue[len(kept):])
	r.queue = kept
	if len(kept) < before {
		r.notify()
	}
	return len(kept) < before
}
