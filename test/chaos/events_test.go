package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/minute"
)

// eventsPerCall is how many builds, and as many logins, the control plane reports at a time.
const eventsPerCall = 5

// history is what the control plane tells of builds and logins. Usage is united, but these are counted: each counts once,
// however often it is told.
type history struct {
	fleet *fleet
	told  int          // builds that were acknowledged, and as many logins
	again atomic.Int64 // calls made again because nobody knows what became of them
	stop  func()       // returns when all that was told is acknowledged
}

// tell lets the control plane report until the history is stopped: everything until it is acknowledged, and then once more.
func (f *fleet) tell(t *testing.T, address string) *history {
	t.Helper()
	h := &history{fleet: f}
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	conn := dial(t, address)
	var telling sync.WaitGroup
	telling.Go(func() {
		defer conn.Close()
		for !isClosed(stop) {
			for range 2 {
				if err := h.report(ctx, insightsv1.NewIngestServiceClient(conn)); err != nil {
					t.Error("report events:", err)
					return
				}
			}
			h.told += eventsPerCall
			select {
			case <-stop:
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	h.stop = endOnce(t, stop, &telling, cancel)
	return h
}

// report tells the events that follow those that were told, until they are acknowledged.
func (h *history) report(ctx context.Context, client insightsv1.IngestServiceClient) error {
	request := &insightsv1.ReportEventsRequest{}
	for n := h.told; n < h.told+eventsPerCall; n++ {
		a := h.fleet.agents[n%len(h.fleet.agents)]
		at := timestamppb.New(time.Unix((a.first+int64(n/len(h.fleet.agents)))*60, 0)) // a minute in which that user does not log in again
		request.Events = append(request.Events,
			&insightsv1.Event{At: at, Kind: &insightsv1.Event_Login{Login: &insightsv1.LoginEvent{UserId: a.owner.String()}}},
			&insightsv1.Event{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
				Id: uuid.NewSHA1(a.workspace, fmt.Append(nil, n)).String(), WorkspaceId: a.workspace.String(),
				TemplateVersionId: h.fleet.version.String(), Number: int64(n + 1), Transition: "start", Status: "succeeded", CreatedAt: at,
				StartedAt: at, FinishedAt: at,
			}}})
	}
	return retried(ctx, always, &h.again, func() error {
		ctx, cancel := context.WithTimeout(h.fleet.asControlPlane(ctx), patience)
		defer cancel()
		answer, err := client.ReportEvents(ctx, request)
		if err == nil && len(answer.GetRejected()) > 0 {
			err = fmt.Errorf("rejected: %v", answer.GetRejected())
		}
		return err
	})
}

// check holds what a new server counts, which reads everything when it starts, against what was told. Servers note first
// connections now and then and when they stop, so those of the campaign have to be stopped by now.
func (h *history) check(t *testing.T) {
	t.Helper()
	const builds = "coderd_workspace_builds_total"
	p := startServer(t, newServerConfig(t, h.fleet.database))
	p.awaitReady(t, true)
	await(t, "the counts of a new server", func() bool { _, known := p.sum(t, builds); return known })
	connected := 0
	for _, a := range h.fleet.agents {
		if a.settled.Load() > 0 {
			connected++
		}
	}
	for name, want := range map[string]int{builds: h.told, "coderd_agents_first_connection_seconds_count": connected} {
		if got := p.metric(t, name); got != float64(want) {
			t.Errorf("%s: %v, want %d", name, got, want)
		}
	}
	logins := map[uuid.UUID]map[int64]struct{}{}
	h.fleet.eachBit(t, func(kind minute.Kind, a *agent, b bit) {
		if kind == minute.Login && a != nil {
			if logins[a.owner] == nil {
				logins[a.owner] = map[int64]struct{}{}
			}
			logins[a.owner][b.minute] = struct{}{}
		}
	})
	stored := 0
	for _, minutes := range logins {
		stored += len(minutes)
	}
	if stored != h.told {
		t.Errorf("%d logins are stored, %d were told", stored, h.told)
	}
	t.Logf(
		"%d builds and %d logins, each told twice, %d calls made again, %d first connections: each counts once", h.told, h.told,
		h.again.Load(), connected,
	)
	if h.told == 0 {
		t.Error("nothing was told: the campaign proves nothing")
	}
	p.stop(t)
}
