package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

const (
	healthInterval  = 5 * time.Second         // between two looks at what is well
	troubleInterval = time.Second             // between two looks at what is not
	healthTimeout   = 2500 * time.Millisecond // of each thing that is looked at
	healthPatience  = 10 * time.Second        // trouble that is over sooner, as a failover may be, is none
)

// healthCheck knows whether calls should come to this server, and whether reports should. Of several servers one that cannot commit
// while another can is better left alone; where none can, sending callers elsewhere helps nobody.
type healthCheck struct {
	*health.Server

	store   *store.Store
	logger  *slog.Logger
	commits func() (last, failing time.Time) // of reports

	// Of the goroutine that looks.
	committed time.Time // when this server last committed
	answered  time.Time // when the database last answered
	mark      int64     // the newest that was seen since this server cannot commit; 0: it can, or none was seen
	others    time.Time // when a newer one was seen, which is another server's; zero: none was

	mu       sync.Mutex
	services map[string]bool // all by name, and whether they take reports
	reasons  reasons
	stopping bool
}

// reasons are why calls should not come to a server, and why reports should not. Empty: they should.
type reasons struct{ calls, reports string }

func (r reasons) of(reports bool) string {
	if reports {
		return r.reports
	}
	return r.calls
}

// newHealthCheck begins with a server that is well: it has just opened its database.
func newHealthCheck(s *store.Store, logger *slog.Logger, commits func() (last, failing time.Time)) *healthCheck {
	now := time.Now()
	return &healthCheck{
		Server: health.NewServer(), store: s, logger: logger, commits: commits, committed: now, answered: now,
		services: map[string]bool{"": false},
	}
}

// register adds the service of health checks, which knows the server, without a name, and each service that was added before.
func (h *healthCheck) register(s *grpc.Server) {
	for service := range s.GetServiceInfo() {
		h.services[service] = service == insightsv1.IngestService_ServiceDesc.ServiceName
	}
	healthpb.RegisterHealthServer(s, h)
	h.services[healthpb.Health_ServiceDesc.ServiceName] = false
	for service := range h.services {
		h.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
	}
}

// reasonKey is the trailer of a health check that says why a service is not served.
const reasonKey = "insights-not-serving"

// Check implements [healthpb.HealthServer].
func (h *healthCheck) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if reason := h.notReady(h.services[req.GetService()]); reason != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs(reasonKey, reason)) // a caller who cannot be told still gets the status
	}
	return h.Server.Check(ctx, req)
}

// notReady says why calls, or reports alone, should not come to this server. Empty: they should.
func (h *healthCheck) notReady(forIngest bool) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reasons.of(forIngest)
}

// stop tells health checks that the server is about to stop.
func (h *healthCheck) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	const why = "the server is about to stop"
	h.stopping, h.reasons = true, reasons{why, why}
	h.Shutdown()
}

// run looks until the context is done.
func (h *healthCheck) run(ctx context.Context) {
	for {
		wait := healthInterval
		if h.look(ctx) != nil {
			wait = troubleInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look finds out how the server is, tells health checks, and returns what is not well.
func (h *healthCheck) look(ctx context.Context) error {
	trouble := h.ask(ctx)
	if ctx.Err() != nil {
		return trouble
	}
	now := time.Now() // the real clock: it is about how long something takes
	last, failing := h.commits()
	if last.After(h.committed) {
		h.committed = last
	}
	var why reasons
	switch unable := now.Sub(h.committed) >= healthPatience; {
	case now.Sub(h.answered) >= healthPatience:
		why.calls = "the database does not answer"
	case unable && now.Sub(h.others) < 3*healthInterval:
		why.calls = "this server cannot commit, and another one can"
	case unable:
		why.reports = "nothing can be committed"
	case !failing.IsZero() && now.Sub(failing) >= healthPatience:
		why.reports = "no report can be committed"
	}
	if why.calls != "" {
		why.reports = why.calls
	}
	h.tell(ctx, why, trouble)
	return trouble
}

// ask commits a mark. If that fails it asks whether the database answers at all, and whether another server has committed a mark since
// this was asked last: the first answer may be from before the trouble.
func (h *healthCheck) ask(ctx context.Context) error {
	marking, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	trouble := h.store.MarkCommit(marking)
	if trouble == nil {
		h.committed = time.Now()
		h.answered, h.mark, h.others = h.committed, 0, time.Time{}
		return nil
	}
	reading, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	mark, err := h.store.CommitMark(reading)
	if err != nil {
		return fmt.Errorf("%w; %w", trouble, err)
	}
	h.answered = time.Now()
	if h.mark != 0 && mark > h.mark {
		h.others = h.answered
	}
	h.mark = mark
	return trouble
}

// tell answers health checks from now on with why calls and reports should not come.
func (h *healthCheck) tell(ctx context.Context, why reasons, trouble error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopping {
		return
	}
	for service, forIngest := range h.services {
		status := healthpb.HealthCheckResponse_SERVING
		if why.of(forIngest) != "" {
			status = healthpb.HealthCheckResponse_NOT_SERVING
		}
		h.SetServingStatus(service, status)
	}
	if why != h.reasons {
		h.logger.WarnContext(ctx, "health changed", "not_ready", why.calls, "not_ready_for_ingest", why.reports, "error", trouble)
	}
	h.reasons = why
}
