// Package client is what the author of an agent or of a service needs beyond the generated code: a connection that retries what
// may be retried and follows a token that changes, and a reporter that keeps what is not acknowledged, in memory or on disk,
// resends it and backs off.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Bounds of a reporter.
const (
	maxQueued    = 256                    // reports that are not settled, in memory
	maxReport    = 255 << 10              // bytes; a server ends a stream with a message of more than 256 KiB, for ever if it comes again
	minBackoff   = 100 * time.Millisecond // before the first try to reconnect; times are random up to it
	maxBackoff   = 30 * time.Second
	rejectPause  = 5 * time.Second // before a report that may succeed later is sent again
	flushTimeout = 5 * time.Second // for what is left when Run ends
)

// Reporter sends the reports of one agent. Make it with NewReporter or NewSpoolingReporter and let Run work while Report is
// called.
type Reporter struct {
	ingest insightsv1.IngestServiceClient
	calls  []grpc.CallOption

	mu       sync.Mutex
	spool    *Spool    // nil: reports are kept in memory only
	queue    []*queued // not settled, oldest first
	settled  int       // reports that left the queue
	draining bool      // the server asked the present stream to end
	interval time.Duration
	changed  chan struct{} // closed and replaced at every change
}

// queued is a report on its way.
type queued struct {
	report    *insightsv1.AgentReport
	segment   *segment  // of the spool, if there is one
	sequence  uint64    // on the present stream; 0: not sent on it
	notBefore time.Time // of a report that was rejected and may succeed later
}

// NewReporter returns a reporter that keeps up to 256 reports in memory. The connection says whose they are, as one of [NewConn]
// does; over a connection that many agents share, grpc.PerRPCCredentials with a [TokenSource] among the options does.
func NewReporter(conn grpc.ClientConnInterface, options ...grpc.CallOption) *Reporter {
	return &Reporter{ingest: insightsv1.NewIngestServiceClient(conn), calls: options, changed: make(chan struct{})}
}

// NewSpoolingReporter returns a reporter that keeps reports in a spool, which only it uses from now on. What the spool holds is
// sent first.
func NewSpoolingReporter(conn grpc.ClientConnInterface, spool *Spool, options ...grpc.CallOption) *Reporter {
	r := NewReporter(conn, options...)
	r.spool = spool
	r.fill()
	return r
}

// Interval is how often the server wants reports; 0 before it said so.
func (r *Reporter) Interval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// Report takes a report over; its sequence is the reporter's. When it returns nil, the report will be sent for as long as the
// reporter runs, and if it has a spool, the report is on disk and outlives it. While there is no room, because 256 reports are not
// settled or the spool is full, Report waits: for the server, or for the context, whose error it returns then. Nothing that was
// taken over is dropped to make room. An error means that this report was not taken over, as one of more than 255 KiB never is and
// none is while the disk is full. It says nothing of the next one.
func (r *Reporter) Report(ctx context.Context, report *insightsv1.AgentReport) error {
	if size := proto.Size(report); size > maxReport {
		return fmt.Errorf("report has %d bytes, at most %d", size, maxReport)
	}
	report = proto.CloneOf(report)
	for {
		taken, changed, err := r.add(report)
		if taken || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// add takes a report over if there is room, and says what to wait for otherwise.
func (r *Reporter) add(report *insightsv1.AgentReport) (taken bool, changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.spool != nil:
		if err := r.spool.append(report); errors.Is(err, errSpoolFull) {
			return false, r.changed, nil
		} else if err != nil {
			return false, nil, err
		}
		r.fill()
	case len(r.queue) == maxQueued:
		return false, r.changed, nil
	default:
		r.queue = append(r.queue, &queued{report: report})
	}
	r.notify()
	return true, nil, nil
}

// fill takes reports from the spool while there is room in memory. What cannot be read now is tried again with the next change.
// The caller holds the lock, or nobody else has the reporter yet.
func (r *Reporter) fill() {
	for r.spool != nil && len(r.queue) < maxQueued {
		report, segment, err := r.spool.take()
		if err != nil {
			slog.Error("reports stay in the spool", "error", err)
			return
		}
		if report == nil {
			return
		}
		r.queue = append(r.queue, &queued{report: report, segment: segment})
	}
}

// Flush waits until all reports that were taken over are settled: durable at the server, or rejected for good.
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

// Run keeps a stream open and sends what was taken over until the context is done, and then for at most five seconds what is
// left; what is still left then stays in the spool, and is lost without one. A stream that breaks is opened again after a random
// time of up to 100 milliseconds, which doubles up to 30 seconds while nothing is settled. It returns the context's error.
func (r *Reporter) Run(ctx context.Context) error {
	streams, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var flushing sync.WaitGroup
	flushing.Go(func() {
		<-ctx.Done()
		flush, cancel := context.WithTimeout(streams, flushTimeout)
		defer cancel()
		_ = r.Flush(flush) // what is left then is in the spool, or lost with the agent
		stop()
	})
	for failures := 0; streams.Err() == nil; {
		before := r.settledCount()
		err := r.stream(streams)
		if r.settledCount() > before {
			failures = 0
		}
		if err != nil && streams.Err() == nil {
			slog.Log(ctx, severity(err), "stream of reports broke", "error", err)
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

// severity is how loud to say that a stream broke: streams break when servers restart, but who is refused has to do something.
func severity(err error) slog.Level {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.Unimplemented:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// stream sends over one stream until it breaks, or the server drains and everything sent is settled (nil).
func (r *Reporter) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.ingest.StreamStats(ctx, r.calls...)
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
	before, kept := len(r.queue), r.queue[:0]
	for _, q := range r.queue {
		rejection := rejected[q.sequence]
		switch {
		case q.sequence != 0 && rejection != nil && rejection.GetPermanent():
			slog.Warn("report was rejected for good", "agent_id", q.report.GetAgentId(), "reason", rejection.GetReason())
			r.release(q)
		case q.sequence != 0 && rejection != nil:
			q.sequence, q.notBefore = 0, time.Now().Add(rejectPause)
			kept = append(kept, q)
		case q.sequence == 0 || q.sequence > answer.GetAcknowledgedSequence():
			kept = append(kept, q)
		default:
			r.release(q)
		}
	}
	clear(r.queue[len(kept):])
	r.queue = kept
	r.settled += before - len(kept)
	r.fill()
	r.notify()
}

// release gives the room of a settled report in the spool back. If that fails, the report is sent again by the next process, which
// changes nothing. The caller holds the lock.
func (r *Reporter) release(q *queued) {
	if q.segment == nil {
		return
	}
	if err := r.spool.settle(q.segment); err != nil {
		slog.Error("settled reports stay in the spool", "error", err)
	}
}
