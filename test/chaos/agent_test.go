package chaos

import (
	"cmp"
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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// bit is what one report of a campaign sets, and no other: a minute of an app of an agent's owner.
type bit struct {
	app    string
	minute int64 // since the Unix epoch
}

// minutesPerApp keeps a campaign's minutes within the age limit: more reports than that are of another app.
const minutesPerApp = 6000

// agent streams reports, resends what was not acknowledged after its stream broke, and writes both down.
type agent struct {
	number    int // in its fleet
	id        uuid.UUID
	owner     uuid.UUID
	workspace uuid.UUID
	template  uuid.UUID
	token     string
	first     int64 // minute of the first report
	ledger    *ledger
	acked     *atomic.Int64 // of the whole fleet
	delays    *delays

	mu       sync.Mutex
	made     int              // reports thought of so far
	open     map[int]struct{} // sent or to be sent, not acknowledged
	again    []int            // of those, what this stream has to send
	sent     map[uint64]sentReport
	sequence uint64
	draining bool
	last     time.Time // a new report was made

	settled atomic.Int64 // acknowledgements
	resent  atomic.Int64
	streams atomic.Int64
	drains  atomic.Int64
}

type sentReport struct {
	number int
	at     time.Time
}

// bit is the one that report n sets.
func (a *agent) bit(n int) bit {
	return bit{fmt.Sprintf("app_%d", n/minutesPerApp), a.first + int64(n%minutesPerApp)}
}

// report is the one that sets bit n.
func (a *agent) report(n int) *insightsv1.AgentReport {
	b := a.bit(n)
	return &insightsv1.AgentReport{
		AgentId: a.id.String(), CollectedAt: timestamppb.New(time.Unix(b.minute*60+30, 0)),
		ConnectionCount: 1, SessionCounts: map[string]int64{b.app: 1}, ConnectionMedianLatencyMs: 12,
	}
}

// reportOf is the report that sets a bit, if one of this agent can.
func (a *agent) reportOf(b bit) (n int, ok bool) {
	var app int
	if _, err := fmt.Sscanf(b.app, "app_%d", &app); err != nil || b.minute < a.first || b.minute >= a.first+minutesPerApp {
		return 0, false
	}
	return app*minutesPerApp + int(b.minute-a.first), true
}

// manner is how agents report.
type manner struct {
	address string
	window  int           // reports under way; 0: 32
	every   time.Duration // one new report in so long; 0: as fast as the window allows
	connect time.Duration // that making a connection may take; 0: a second, after which an agent tries again
	tls     credentials.TransportCredentials
}

func (m manner) dial() (*grpc.ClientConn, error) {
	transport := m.tls
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	return grpc.NewClient("passthrough:"+m.address, grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: cmp.Or(m.connect, time.Second),
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
}

// run streams until stop is closed and everything is acknowledged, or the context is done.
func (a *agent) run(ctx context.Context, m manner, stop <-chan struct{}) error {
	if m.window == 0 {
		m.window = 32
	}
	conn, err := m.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for ctx.Err() == nil {
		if a.stream(ctx, insightsv1.NewIngestServiceClient(conn), m, stop) {
			return nil
		}
	}
	return fmt.Errorf("agent %d: %w", a.number, ctx.Err())
}

// step is what a stream does next.
type step int

const (
	stepSend  step = iota // a report
	stepWait              // for an answer, or for time to pass
	stepLeave             // the server drains, and all is settled that this stream sent
	stepDone              // all is acknowledged, and no more is wanted
)

// stream is one stream: first what is still open from the last one, then new reports. It returns true when all is done.
func (a *agent) stream(ctx context.Context, client insightsv1.IngestServiceClient, m manner, stop <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token))
	defer cancel()
	stream, err := client.StreamStats(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	a.streams.Add(1)
	a.begin()
	progress, failed := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(failed)
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			a.settle(answer)
			select {
			case progress <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { cancel(); <-failed }()
	for {
		report, next, pause := a.next(m, isClosed(stop))
		switch next {
		case stepSend:
			if stream.Send(&insightsv1.StreamStatsRequest{Reports: []*insightsv1.AgentReport{report}}) != nil {
				return false
			}
			continue
		case stepLeave:
			if stream.CloseSend() == nil {
				<-failed // the server ends it
			}
			return false
		case stepDone:
			return true
		}
		stopped := stop
		if isClosed(stop) {
			stopped = nil
		}
		select {
		case <-progress:
		case <-pause:
		case <-stopped:
		case <-failed:
			return false
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// begin makes the agent ready for a new stream.
func (a *agent) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.again, a.sent, a.sequence, a.draining = slices.Sorted(maps.Keys(a.open)), map[uint64]sentReport{}, 0, false
	a.resent.Add(int64(len(a.again)))
}

// next decides what to do, and on stepWait how long at most.
func (a *agent) next(m manner, stopping bool) (*insightsv1.AgentReport, step, <-chan time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.draining && len(a.sent) == 0:
		return nil, stepLeave, nil
	case a.draining:
		return nil, stepWait, nil
	case len(a.again) > 0:
		n := a.again[0]
		a.again = a.again[1:]
		return a.numbered(n), stepSend, nil
	case stopping && len(a.open) == 0:
		return nil, stepDone, nil
	case stopping || len(a.open) >= m.window:
		return nil, stepWait, nil
	}
	if wait := m.every - time.Since(a.last); m.every > 0 && wait > 0 {
		return nil, stepWait, time.After(wait)
	}
	a.last = time.Now()
	n := a.make()
	a.open[n] = struct{}{}
	return a.numbered(n), stepSend, nil
}

// make thinks of a new report and notes that it is about to be sent. The caller holds the lock.
func (a *agent) make() int {
	n := a.made
	a.made++
	a.ledger.note(wasSent, a.number, n)
	return n
}

// think is make for a report that does not go over the agent's stream.
func (a *agent) think() (int, *insightsv1.AgentReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.make()
	return n, a.report(n)
}

// numbered is report n with the stream's next sequence. The caller holds the lock.
func (a *agent) numbered(n int) *insightsv1.AgentReport {
	a.sequence++
	a.sent[a.sequence] = sentReport{n, time.Now()}
	report := a.report(n)
	report.Sequence = a.sequence
	return report
}

// settle writes down what an answer says.
func (a *agent) settle(answer *insightsv1.StreamStatsResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer.GetDrain() && !a.draining {
		a.draining = true
		a.drains.Add(1)
	}
	for _, r := range answer.GetRejected() {
		sent := a.sent[r.GetSequence()]
		delete(a.sent, r.GetSequence())
		if r.GetPermanent() {
			a.ledger.note(wasRejected, a.number, sent.number)
			delete(a.open, sent.number)
		} else {
			a.again = append(a.again, sent.number)
		}
	}
	for sequence, sent := range a.sent {
		if sequence <= answer.GetAcknowledgedSequence() {
			a.acknowledge(sent.number)
			a.delays.add(time.Since(sent.at))
			delete(a.sent, sequence)
		}
	}
}

// acknowledge notes that a report is durable. The caller holds the lock.
func (a *agent) acknowledge(n int) {
	a.ledger.note(wasAcked, a.number, n)
	a.acked.Add(1)
	a.settled.Add(1)
	delete(a.open, n)
}

// delays collects how long something took each time.
type delays struct {
	mu   sync.Mutex
	list []time.Duration
}

func (d *delays) add(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, took)
}

// take empties the collection and returns what was in it.
func (d *delays) take() *delays {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := &delays{list: d.list}
	d.list = nil
	return taken
}

// String is the number of delays and how they are spread.
func (d *delays) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 {
		return "none"
	}
	slices.Sort(d.list)
	quantile := func(q float64) time.Duration {
		return d.list[min(len(d.list)-1, int(q*float64(len(d.list))))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", len(d.list), quantile(0.5), quantile(0.99), quantile(1))
}
