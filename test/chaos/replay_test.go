package chaos

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
)

// Half of all deliveries are repeats: a moment later, much later, of whole days at once, in any order, by two replicas, while
// both rows and pages are folded all the time. What comes out is what one delivery of each would be.
func TestReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		random := newRandom(t)
		const agents, batch = 20, 500
		f := newFleet(t, database, agents)
		replicas := []*process{startServer(t, newServerConfig(t, database)), startServer(t, newServerConfig(t, database))}
		clients := make([]insightsv1.IngestServiceClient, len(replicas))
		for i, p := range replicas {
			p.awaitReady(t, true)
			conn := dial(t, p.GRPC)
			defer conn.Close()
			clients[i] = insightsv1.NewIngestServiceClient(conn)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var background, senders sync.WaitGroup
		folder, err := store.Open(ctx, store.Options{Database: database})
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		folds := 0
		background.Go(func() {
			for ctx.Err() == nil {
				if report, err := folder.Fold(ctx); err == nil && report.Pages > 0 {
					folds++
				}
			}
		})
		var delivered, retries atomic.Int64
		deliver := func(random *rand.Rand, numbers []int) { // of all agents' reports, counted through
			reports := make([]*insightsv1.AgentReport, len(numbers))
			for i, n := range numbers {
				f.ledger.note(wasSent, n%agents, n/agents)
				reports[i] = f.agents[n%agents].report(n / agents)
			}
			var answer *insightsv1.ReportStatsResponse
			err := retried(t.Context(), always, &retries, func() (err error) {
				answer, err = f.reportOnce(t.Context(), clients[random.IntN(len(clients))], reports...)
				return err
			})
			if err != nil || int(answer.GetAcknowledged()) != len(reports) {
				t.Errorf("%d of %d acknowledged: %v %v", answer.GetAcknowledged(), len(reports), answer.GetRejected(), err)
				return
			}
			for _, n := range numbers {
				f.ledger.note(wasAcked, n%agents, n/agents)
			}
			delivered.Add(int64(len(numbers)))
		}
		distinct := *deliveries / 2
		work := make(chan int)
		for range 4 {
			seed := random.Uint64()
			senders.Go(func() {
				random := rand.New(rand.NewPCG(seed, 0))
				for first := range work { // the first number of a batch
					numbers := make([]int, 0, batch)
					for n := first; n < min(first+batch/2, distinct); n++ {
						// A report of now, and one of a moment or of long ago.
						back := random.IntN(1000)
						if random.IntN(2) == 0 {
							back = random.IntN(distinct)
						}
						numbers = append(numbers, n, max(0, n-back))
					}
					random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
					deliver(random, numbers)
				}
			})
		}
		begin := time.Now()
		for first := 0; first < distinct; first += batch / 2 {
			work <- first
		}
		close(work)
		senders.Wait()
		// All that one agent ever said, once more, the newest first.
		var again []int
		for n := 0; n < distinct; n += agents {
			again = append(again, n)
		}
		slices.Reverse(again)
		for numbers := range slices.Chunk(again, batch) {
			deliver(random, numbers)
		}
		took := time.Since(begin)
		cancel()
		background.Wait()
		v := f.check(t, replicas[0].GRPC)
		t.Logf(
			"%d deliveries of %d reports in %v, %d passes of folding that moved rows", delivered.Load(), distinct,
			took.Round(time.Millisecond), folds,
		)
		if v.acked != distinct || folds == 0 {
			t.Errorf("%d of %d reports are acknowledged, %d folds", v.acked, distinct, folds)
		}
		for _, p := range replicas {
			p.stop(t)
		}
	})
}
