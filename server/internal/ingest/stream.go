package ingest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/failpoint"
	"github.com/template-insights/insights/store/minute"
)

// streamWindow bounds the reports of one stream that wait for their commit. A sender that is further ahead is held back
// by flow control, so that none fills the queue before the others: an agent reports twice a minute.
const streamWindow = 32

// MaxAgentStreams bounds the streams of one agent. It has one, and for a moment the broken ones before it: a dead connection
// is noticed within 30 seconds.
const MaxAgentStreams = 8

// maxRemembered bounds the rows that a stream remembers: many times what an agent has in a half hour. A stream that
// carries more agents than fit writes some repeats again, which changes nothing.
const maxRemembered = 256

// agentStream is one open StreamStats call. Reports are taken in order and settled in any order; what is acknowledged is
// the settled beginning of them.
type agentStream struct {
	ingest *Service
	stream grpc.BidiStreamingServer[insightsv1.StreamStatsRequest, insightsv1.StreamStatsResponse]
	agent  uuid.UUID     // whose stream it is; uuid.Nil: of a control plane, for many
	slots  chan struct{} // one for each report that waits
	failed context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // of the call, ended early when an answer cannot be sent

	senders sync.WaitGroup

	mu        sync.Mutex
	pending   []pendingReport // in order of their sequences
	first     uint64          // number of pending[0] since the stream began
	taken     uint64
	answer    insightsv1.StreamStatsResponse // what is to be sent next
	unsent    bool
	sending   bool
	closed    bool
	committed []store.OpenRow // of the newest half hour only: what repeats need not write again
}

type pendingReport struct {
	sequence uint64
	settled  bool
	rejected bool
}

// StreamStats implements [insightsv1.IngestServiceServer].
func (g *Service) StreamStats(stream grpc.BidiStreamingServer[insightsv1.StreamStatsRequest, insightsv1.StreamStatsResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	s := &agentStream{
		ingest: g, stream: stream, ctx: ctx, failed: cancel, slots: make(chan struct{}, streamWindow), agent: call.PrincipalOf(ctx).Agent,
	}
	if err := g.join(s); err != nil {
		return err
	}
	defer g.leave(s)
	defer g.metrics.openStream()()
	s.send(func(a *insightsv1.StreamStatsResponse) { a.ReportInterval = durationpb.New(g.options.ReportInterval) })
	if g.options.MaxStreamAge > 0 {
		old := time.AfterFunc(streamAge(g.options.MaxStreamAge), s.sendDrain)
		defer old.Stop()
	}
	err := s.receive()
	if errors.Is(err, io.EOF) {
		err = s.finish()
	}
	s.Close()
	if err == nil {
		s.senders.Wait()
	}
	return err // a sender that is held up by an agent that does not read ends with the stream
}

// join makes a stream known to drain; one that opens while the server drains is told at once. An agent that has too many
// is asked to come back.
func (g *Service) join(s *agentStream) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.agent != uuid.Nil {
		if g.agentStreams[s.agent] == MaxAgentStreams {
			return call.TooMany(call.RetryAfter)
		}
		g.agentStreams[s.agent]++
	}
	g.streams[s] = struct{}{}
	g.metrics.streams.Inc()
	if g.draining {
		s.sendDrain()
	}
	return nil
}

func (g *Service) leave(s *agentStream) {
	if caller := call.PrincipalOf(s.stream.Context()); g.stats != nil && caller.Kind == access.KindAgent {
		g.stats.leave(caller.Agent, s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.streams, s)
	g.metrics.streams.Dec()
	if s.agent == uuid.Nil {
		return
	}
	if g.agentStreams[s.agent]--; g.agentStreams[s.agent] == 0 {
		delete(g.agentStreams, s.agent)
	}
}

// Drain asks the agents of all streams to finish and to go elsewhere. It does not wait for them.
func (g *Service) Drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining = true
	for s := range g.streams {
		s.sendDrain()
	}
}

// ConnectionAge is when a connection is closed to new streams. It is before the streams on it are asked to end, so that their
// agents reconnect, to a new server perhaps, instead of coming back on the same connection. gRPC adds up to a tenth either way.
func ConnectionAge(streamAge time.Duration) time.Duration { return streamAge * 3 / 4 }

// streamAge is when a stream is asked to end: up to a tenth before or after its age, so that those of one restart do not all
// come back at once.
func streamAge(age time.Duration) time.Duration { return age*9/10 + rand.N(age/5+1) }

func (s *agentStream) sendDrain() {
	s.send(func(a *insightsv1.StreamStatsResponse) { a.Drain = true })
}

// receive takes reports until the agent has no more (io.EOF), or breaks a rule that ends the stream.
func (s *agentStream) receive() error {
	var sequence uint64
	for {
		req, err := s.stream.Recv()
		if err != nil {
			return err
		}
		// The caller's rights may have changed since the last message.
		caller := call.PrincipalOf(s.stream.Context())
		if err := checkSize(caller, req); err != nil {
			return err
		}
		for _, message := range req.GetReports() {
			if message.GetSequence() <= sequence {
				return call.Invalid("sequence must rise within a stream", call.FieldError{
					Field: "reports.sequence", Detail: "must be greater than the one before",
				})
			}
			sequence = message.GetSequence()
			if err := s.take(caller, message); err != nil {
				return err
			}
		}
	}
}

// take brings one report on its way: into a commit, or straight to its rejection or acknowledgement. An error ends the
// stream.
func (s *agentStream) take(caller access.Principal, message *insightsv1.AgentReport) error {
	g := s.ingest
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	number := s.add(message.GetSequence())
	r, rows, rejected, err := s.takeReport(caller, message)
	if err != nil {
		return err
	}
	if rejected != nil {
		s.reject(number, rejected)
		return nil
	}
	rows = s.news(rows)
	if len(rows) == 0 {
		s.settle(number, r.collected, nil)
		return nil
	}
	err = g.submit(s.ctx, entry{rows, func(err error) {
		refused, err := outcome(err, "report")
		switch {
		case err != nil:
			s.failed(err)
		case refused != nil:
			s.reject(number, refused)
		default:
			s.settle(number, r.collected, rows)
		}
	}})
	if err != nil {
		return call.Unavailable(err)
	}
	return nil
}

// takeReport holds the agent back while the database does not say where the report belongs, as it does while nothing can be committed.
func (s *agentStream) takeReport(
	caller access.Principal, message *insightsv1.AgentReport,
) (r agentReport, rows []store.OpenRow, rejected *rejection, err error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		r, rows, rejected, err = s.ingest.takeReport(s.ctx, caller, message, s.ingest.limits(caller.Holds(access.IngestAny)), s)
		if err == nil || !store.Unavailable(err) {
			return r, rows, rejected, err
		}
		select {
		case <-s.ctx.Done():
			return r, nil, nil, context.Cause(s.ctx)
		case <-time.After(wait):
		}
	}
}

// add appends a report to those that wait and returns its number.
func (s *agentStream) add(sequence uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, pendingReport{sequence: sequence})
	s.taken++
	return s.taken - 1
}

// settle marks a report as durable and remembers its rows.
func (s *agentStream) settle(number uint64, collected time.Time, rows []store.OpenRow) {
	s.ingest.metrics.reports.Inc()
	s.ingest.metrics.lagSeconds.Observe(max(0, s.ingest.clock().Sub(collected).Seconds()))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(rows)
	s.advance(number)
}

// reject marks a report as settled without being stored.
func (s *agentStream) reject(number uint64, r *rejection) {
	s.ingest.metrics.reject(r.cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer.Rejected = append(s.answer.Rejected, &insightsv1.StreamRejection{
		Sequence: s.pending[number-s.first].sequence, Reason: r.reason, Permanent: r.permanent,
	})
	s.pending[number-s.first].rejected = true
	s.advance(number)
	s.changed()
}

// advance settles a report and acknowledges the settled beginning. A rejected report keeps its slot until its rejection
// is sent, so that rejections cannot pile up. The caller holds the lock.
func (s *agentStream) advance(number uint64) {
	s.pending[number-s.first].settled = true
	n := 0
	for ; n < len(s.pending) && s.pending[n].settled; n++ {
		s.answer.AcknowledgedSequence = s.pending[n].sequence
		if !s.pending[n].rejected {
			<-s.slots
		}
	}
	if n == 0 {
		return
	}
	s.pending = s.pending[n:]
	s.first += uint64(n)
	s.changed()
}

// send adds something to the next answer.
func (s *agentStream) send(add func(*insightsv1.StreamStatsResponse)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.answer)
	s.changed()
}

// changed starts a sender for the new answer unless one is at work; an idle stream has none. The caller holds the lock.
func (s *agentStream) changed() {
	s.unsent = true
	if s.sending || s.closed {
		return
	}
	s.sending = true
	s.senders.Add(1)
	s.ingest.senders.Go(func() {
		defer s.senders.Done()
		if err := background.Contain(s.sendAll); err != nil {
			s.failed(err)
		}
	})
}

// Close ends sending: no further sender starts.
func (s *agentStream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// sendAll sends answers until there is nothing more to say; what happens while it sends becomes one answer. After an error it
// counts as sending for ever: nothing can be sent any more.
func (s *agentStream) sendAll() error {
	for {
		s.mu.Lock()
		if !s.unsent {
			s.sending = false
			s.mu.Unlock()
			return nil
		}
		answer := &insightsv1.StreamStatsResponse{
			AcknowledgedSequence: s.answer.AcknowledgedSequence, Rejected: s.answer.Rejected,
			ReportInterval: s.answer.ReportInterval, Drain: s.answer.Drain,
		}
		s.answer.Rejected, s.answer.ReportInterval = nil, nil
		s.unsent = false
		s.mu.Unlock()
		failpoint.Hit(failpoint.BeforeAcknowledgement)
		if err := s.stream.Send(answer); err != nil {
			return err
		}
		for range answer.Rejected {
			<-s.slots
		}
	}
}

// finish waits until everything is settled after the agent closed its side: then all slots are free.
func (s *agentStream) finish() error {
	for range streamWindow {
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	return nil
}

// news are the rows with something that is not durable yet, as far as this stream knows: an agent that reports every
// 30 seconds writes once a minute.
func (s *agentStream) news(rows []store.OpenRow) []store.OpenRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := rows[:0]
	for _, r := range rows {
		if known := s.known(r); known == nil || r.Minutes&^known.Minutes != 0 || r.Connected && !known.Connected {
			kept = append(kept, r)
		}
	}
	return kept
}

// known is what was committed of a row's key.
func (s *agentStream) known(r store.OpenRow) *store.OpenRow {
	for i := range s.committed {
		c := &s.committed[i]
		if c.HalfHour == r.HalfHour && c.Subject == r.Subject && c.Template == r.Template && c.Kind == r.Kind && c.App == r.App {
			return c
		}
	}
	return nil
}

// remember notes what was committed; only the newest half hour is kept. The caller holds the lock.
func (s *agentStream) remember(rows []store.OpenRow) {
	for _, r := range rows {
		if len(s.committed) > 0 && r.HalfHour != s.committed[0].HalfHour {
			if r.HalfHour < s.committed[0].HalfHour {
				continue
			}
			s.committed = s.committed[:0]
		}
		if known := s.known(r); known != nil {
			known.Minutes |= r.Minutes
			known.Connected = known.Connected || r.Connected
			continue
		}
		if len(s.committed) == maxRemembered {
			s.committed = s.committed[:0]
		}
		s.committed = append(s.committed, store.OpenRow{Template: r.Template, Row: minute.Row{
			HalfHour: r.HalfHour, Subject: r.Subject, Kind: r.Kind, App: r.App, Minutes: r.Minutes, Connected: r.Connected,
		}})
	}
}
