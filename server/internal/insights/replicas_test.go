package insights

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/replica"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// A question that its replica fails is asked again elsewhere, one that is refused is not, and calls of other services read nothing from
// replicas.
func TestFromReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Postgres: make test")
	}
	t.Parallel()
	clusters, urls := storetest.StartReplicas(t, 1)
	st, err := store.Open(t.Context(), store.Options{Database: urls[0], ReadDatabases: urls[1:], MaxReplicaLag: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	other := storetest.NewFixture(t, urls[0]) // another program
	for c := (replica.Choice{}); c.Replica == nil; _, c = st.WithReplica(t.Context()) {
		if err := other.MarkCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := clusters[1].Exec(t.Context(), "postgres", `SELECT pg_wal_replay_pause()`); err != nil {
		t.Fatal(err)
	}
	if err := other.MarkCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	registry := prometheus.NewRegistry()
	s, err := New(Options{
		Store: st, Clock: func() time.Time { return storetest.Now }, Registry: registry, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	replicaURL, err := url.Parse(urls[1])
	if err != nil {
		t.Fatal(err)
	}
	shown := func(family string) float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if m := f.GetMetric(); f.GetName() == family && len(m) == 1 && m[0].GetLabel()[0].GetValue() == replicaURL.Host {
				return m[0].GetGauge().GetValue() + m[0].GetCounter().GetValue()
			}
		}
		t.Fatalf("no %s: %v", family, families)
		return 0
	}
	show := func(when string, used, questions float64) {
		t.Helper()
		if u, q := shown("insights_replica_used"), shown("insights_replica_questions_total"); u != used || q != questions {
			t.Errorf("%s: used %v, %v questions, want %v, %v", when, u, q, used, questions)
		}
	}
	show("before any question", 1, 0)
	refusal := call.InvalidParam("interval", "must be something else")
	for name, c := range map[string]struct {
		server any
		err    error
		asked  int
	}{
		"another service": {st, nil, 1},
		"refused":         {s, refusal, 1},
	} {
		asked := 0
		_, err := s.FromReplica(t.Context(), nil, &grpc.UnaryServerInfo{Server: c.server}, func(ctx context.Context, _ any) (any, error) {
			if asked++; ctx == t.Context() != (c.server != s) {
				t.Errorf("%s: reads from a replica: %t", name, ctx != t.Context())
			}
			return nil, c.err
		})
		if !errors.Is(err, c.err) || asked != c.asked {
			t.Errorf("%s: asked %d times, want %d: %v", name, asked, c.asked, err)
		}
	}
	if err := other.MarkCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FromReplica(t.Context(), nil, &grpc.UnaryServerInfo{Server: s}, func(context.Context, any) (any, error) {
		return nil, nil
	}); err != nil {
		t.Error(err)
	}
	show("after a question that it answered", 1, 1)
	if lag := shown("insights_replica_lag_seconds"); lag <= 0 || lag > 600 {
		t.Errorf("the replica, which replays nothing, is %v s behind", lag)
	}
	asked, hour := 0, minute.NewWindow(time.Unix(0, 0), time.Unix(3600, 0))
	answer, err := s.FromReplica(t.Context(), nil, &grpc.UnaryServerInfo{Server: s}, func(ctx context.Context, _ any) (any, error) {
		if asked++; asked == 1 {
			if asOf := s.AsOf(ctx); !asOf.Before(storetest.Now) {
				t.Errorf("the answer is as of %v", asOf)
			}
			if err := clusters[1].Kill(); err != nil {
				t.Error(err)
			}
		}
		_, _, err := st.Intervals(ctx, storetest.Everything(t), minute.People, hour, store.Floor{})
		return "answer", err
	})
	if err != nil || answer != "answer" || asked != 2 || !strings.Contains(log.String(), "replica failed") {
		t.Errorf("asked %d times: %v %v\n%s", asked, answer, err, log.String())
	}
	show("after one that failed there", 0, 1)
}
