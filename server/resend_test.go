package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Everything comes twice, out of order, over two streams of each agent to two servers on one database, and is folded
// meanwhile: the answers are those of one quiet server.
func TestResend(t *testing.T) {
	t.Parallel()
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := storetest.Postgres(t)
			change := func(c *server.Options) {
				c.UsageStats, c.IngestMaxAge = v.usageStats(), 10*365*24*time.Hour
			}
			servers := []*running{run(t, database, v.Clock.Now, change), run(t, database, v.Clock.Now, change)}
			later := storetest.Open(t, database, v.Clock.Now.Add(2*time.Hour)) // folds all that there is
			controlPlane, owner := servers[0].Token(t, access.RoleControlPlane, servertest.Everywhere),
				servers[0].Token(t, access.RoleOwner, servertest.Everywhere)
			servers[0].Apply(t, controlPlane, v.catalog())
			agents := agentTokens(t, servers[0], controlPlane, v)

			seed := rand.Uint64()
			t.Logf("seed of the order: %d", seed)
			order := rand.New(rand.NewPCG(seed, 0))
			reports, sessions, events := shuffledTwice(order, v.reports()), shuffledTwice(order, v.sessions()),
				shuffledTwice(order, v.events())
			for half := range 2 {
				stop := func() {}
				if half == 1 {
					stop = foldBeside(t, later)
				}
				var waits []func()
				for i, r := range servers {
					waits = append(waits, streamAll(t, r, agents, quarter(reports, 2*half+i)))
				}
				for i, r := range servers {
					r.ReportEvents(t, controlPlane, quarter(events, 2*half+i))
					r.ReportSessions(t, controlPlane, quarter(sessions, 2*half+i))
				}
				v.estimate(t, servers[half].Store)
				for _, wait := range waits {
					wait()
				}
				stop()
				if half == 0 {
					fold(t, later)
				}
			}
			v.check(t, servers[0], owner)
			fold(t, later)
			v.check(t, servers[1], owner)
		})
	}
}

// shuffledTwice is a list with every message twice, in another order.
func shuffledTwice[M any](order *rand.Rand, list []M) []M {
	list = slices.Concat(list, list)
	order.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// quarter is one of four parts of a list.
func quarter[M any](list []M, i int) []M { return list[len(list)*i/4 : len(list)*(i+1)/4] }

func agentTokens(t *testing.T, r *running, controlPlane string, v vector) map[string]string {
	t.Helper()
	req := &insightsv1.CreateAgentTokensRequest{}
	for _, w := range v.Workspaces {
		req.AgentIds = append(req.AgentIds, w.AgentID)
	}
	answer := servertest.Must(t, insightsv1.NewAccessServiceClient(r.Conn).CreateAgentTokens, controlPlane, req)
	tokens := map[string]string{}
	for _, a := range answer.GetTokens() {
		tokens[a.GetAgentId()] = a.GetSecret()
	}
	return tokens
}

// streamAll starts a stream for each agent with reports and returns a function that waits for their end.
func streamAll(t *testing.T, r *running, tokens map[string]string, reports []*insightsv1.AgentReport) (wait func()) {
	agents := map[string][]*insightsv1.AgentReport{}
	for _, report := range reports {
		agents[report.GetAgentId()] = append(agents[report.GetAgentId()], report)
	}
	var sending sync.WaitGroup
	for agent, own := range agents {
		sending.Go(func() {
			if err := stream(t.Context(), r, tokens[agent], own); err != nil {
				t.Errorf("agent %s: %v", agent, err)
			}
		})
	}
	t.Cleanup(sending.Wait) // also when the test fails before it waits
	return sending.Wait
}

// stream sends reports of one agent over a stream of its own and waits until all of them are settled.
func stream(ctx context.Context, r *running, token string, reports []*insightsv1.AgentReport) error {
	ctx, cancel := context.WithTimeout(servertest.As(ctx, token), time.Minute)
	defer cancel()
	s, err := insightsv1.NewIngestServiceClient(r.Conn).StreamStats(ctx)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- send(s, reports) }()
	for settled := uint64(0); settled < uint64(len(reports)); {
		answer, err := s.Recv()
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", settled, len(reports), err)
		}
		if rejected := answer.GetRejected(); len(rejected) > 0 {
			return fmt.Errorf("report %d rejected: %s", rejected[0].GetSequence(), rejected[0].GetReason())
		}
		settled = answer.GetAcknowledgedSequence()
	}
	return <-sent
}

func send(s insightsv1.IngestService_StreamStatsClient, reports []*insightsv1.AgentReport) error {
	sequence := uint64(0)
	for batch := range slices.Chunk(reports, 20) {
		req := &insightsv1.StreamStatsRequest{}
		for _, r := range batch {
			sequence++
			r = proto.CloneOf(r)
			r.Sequence = sequence
			req.Reports = append(req.Reports, r)
		}
		if err := s.Send(req); err != nil {
			return err
		}
	}
	return s.CloseSend()
}

// foldBeside folds again and again until the returned function is called.
func foldBeside(t *testing.T, s *store.Store) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var folding sync.WaitGroup
	folding.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Fold(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("fold beside writers: %v", err)
			}
		}
	})
	stop = func() {
		cancel()
		folding.Wait()
	}
	t.Cleanup(stop) // also when the test fails before it stops
	return stop
}

// fold moves everything into pages.
func fold(t *testing.T, s *store.Store) {
	t.Helper()
	for {
		report, err := s.Fold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if report.Late == 0 {
			return
		}
	}
}
