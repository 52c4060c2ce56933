package insights

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/replica"
)

// FromReplica is an interceptor that has a replica of the database answer questions, the same one for the whole length of each. A
// question that fails there is asked again of the primary.
func (s *Service) FromReplica(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if info.Server != s {
		return handler(ctx, req)
	}
	question, choice := s.store.WithReplica(ctx)
	if choice.LeftOut != nil {
		s.options.Logger.WarnContext(ctx, "replicas are left out for some seconds", "error", choice.LeftOut)
	}
	defer s.replicas.show(s.store.Replicas())
	answer, err := handler(question, req)
	if err == nil && choice.Replica != nil {
		s.replicas.questions.WithLabelValues(choice.Replica.Address).Inc()
	}
	if err == nil || choice.Replica == nil || ctx.Err() != nil {
		return answer, err
	}
	switch status.Code(call.ErrorOf(err)) {
	case codes.Unavailable:
		choice.Replica.LeaveOut()
	case codes.DeadlineExceeded, codes.Canceled, codes.Internal: // of the replica, or of the question
	default:
		return answer, err
	}
	s.options.Logger.WarnContext(ctx, "replica failed, asking the primary", "replica", choice.Replica.Name, "error", err)
	return handler(ctx, req)
}

// replicaMetrics say how questions go to replicas, by the address of each.
type replicaMetrics struct {
	used, lag *prometheus.GaugeVec
	questions *prometheus.CounterVec
}

func newReplicaMetrics(registry prometheus.Registerer, replicas []*replica.Replica) replicaMetrics {
	m := replicaMetrics{
		used: promauto.With(registry).NewGaugeVec(prometheus.GaugeOpts{
			Name: "insights_replica_used",
			Help: "1 where a replica of the database (--read-database) may answer questions, 0 where the last question left it out.",
		}, []string{"address"}),
		lag: promauto.With(registry).NewGaugeVec(prometheus.GaugeOpts{
			Name: "insights_replica_lag_seconds",
			Help: "How far a replica was behind the database when a question last asked it.",
		}, []string{"address"}),
		questions: promauto.With(registry).NewCounterVec(prometheus.CounterOpts{
			Name: "insights_replica_questions_total",
			Help: "Questions that a replica answered.",
		}, []string{"address"}),
	}
	for _, r := range replicas {
		m.questions.WithLabelValues(r.Address)
	}
	m.show(replicas)
	return m
}

// show brings gauges up to date with what is known of replicas.
func (m replicaMetrics) show(replicas []*replica.Replica) {
	for _, r := range replicas {
		used := 0.0
		if r.Used() {
			used = 1
		}
		m.used.WithLabelValues(r.Address).Set(used)
		m.lag.WithLabelValues(r.Address).Set(r.Lag())
	}
}

// AsOf is until when the answer to a question that is asked now has everything that was acknowledged.
func (s *Service) AsOf(ctx context.Context) time.Time { return s.clock().Add(-store.Behind(ctx)) }
