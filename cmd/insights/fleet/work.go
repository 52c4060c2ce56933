package fleet

import (
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// block is a stretch of work with one app.
type block struct {
	from, to time.Time
	app      string
	proxied  bool // a workspace app, which the proxy reports; otherwise a session, which the agent reports
}

// blocks are the work of a UTC day. They depend on the workspace, its owner and the day alone.
func (w *workspace) blocks(day time.Time) []block {
	hours := w.owner.hours(day)
	r := rand.New(rand.NewPCG(w.seed, uint64(day.Unix())))
	if len(hours) == 0 || r.Float64() > w.use {
		return nil
	}
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	begin, last := hours[0].from, hours[len(hours)-1]
	var work []block
	for _, h := range hours {
		work = append(work, block{from: h.from, to: h.to, app: w.editor})
	}
	if r.Float64() < 0.5 {
		work = append(work, block{from: last.from, to: last.from.Add(minutes(10 + r.IntN(60))), app: "reconnecting_pty"})
	}
	if r.Float64() < 0.05 {
		work = append(work, block{from: begin, to: begin.Add(minutes(5)), app: "sftp"})
	}
	if w.app != "" {
		for at := begin; at.Before(last.to); at = at.Add(2 * time.Hour) {
			work = append(work, block{from: at, to: earlier(at.Add(minutes(15+r.IntN(90))), last.to), app: w.app, proxied: true})
		}
	}
	return work
}

// sessions counts the open sessions at a moment by app.
func (w *workspace) sessions(at time.Time) map[string]int64 {
	open := map[string]int64{}
	for _, b := range w.around(at) {
		if !b.proxied && !at.Before(b.from) && at.Before(b.to) {
			open[b.app]++
		}
	}
	return open
}

// around are the blocks that may contain a moment.
func (w *workspace) around(at time.Time) []block {
	var work []block
	for day := range daysAround(at, at) {
		work = append(work, w.blocks(day)...)
	}
	return work
}

// daysAround are the days whose work may lie between two moments: a local day reaches into two UTC days.
func daysAround(from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		first, last := from.UTC().Truncate(24*time.Hour).Add(-24*time.Hour), to.Add(24*time.Hour)
		for day := first; !day.After(last); day = day.Add(24 * time.Hour) {
			if !yield(day) {
				return
			}
		}
	}
}

// latencyAt is the round trip at a moment in milliseconds: around the typical one, sometimes much more.
func (w *workspace) latencyAt(at time.Time) float64 {
	r := rand.New(rand.NewPCG(w.seed, uint64(at.Unix()/60)))
	return w.latency * math.Exp(0.3*r.NormFloat64())
}

// report is what the agent of a workspace says at a moment about the interval before it. One in five cannot reach its peers
// but through a relay as well.
func (w *workspace) report(at time.Time, interval time.Duration) *insightsv1.AgentReport {
	r := &insightsv1.AgentReport{
		AgentId: w.agent.String(), CollectedAt: timestamppb.New(at), Interval: durationpb.New(interval), AgentVersion: "v2.30.1",
	}
	if r.SessionCounts = w.sessions(at); len(r.SessionCounts) > 0 {
		r.ConnectionCount, r.PeersP2P, r.ConnectionMedianLatencyMs, r.DerpRegion = 3, 1, w.latencyAt(at), "Frankfurt"
		r.RxBytes, r.TxBytes = 120_000, 480_000
		if w.seed%5 == 0 {
			r.PeersDerp = 1
		}
	}
	return r
}

// forwarded are the series that the agent of a workspace forwards: how its startup script went, and how many scripts it ran,
// one of them every ten minutes.
func (c *Company) forwarded(w *workspace, at time.Time) []*insightsv1.Metric {
	success := map[string]string{"success": "true"}
	return []*insightsv1.Metric{
		{Name: "coderd_agentstats_startup_script_seconds", Type: "gauge", Value: float64(3 + w.seed%90), Labels: success},
		{
			Name: "agent_scripts_executed_total", Type: "counter", Value: 1 + float64(at.Sub(c.now.Add(-month))/(10*time.Minute)),
			Labels: success,
		},
	}
}

// historyInterval is what one report of the past covers.
const historyInterval = 10 * time.Minute

// history are the reports of a workspace with sessions during the last month.
func (c *Company) history(w *workspace) iter.Seq[*insightsv1.AgentReport] {
	return func(yield func(*insightsv1.AgentReport) bool) {
		first := c.now.Add(-month).Truncate(historyInterval).Add(historyInterval - time.Second)
		for at := first; at.Before(c.now); at = at.Add(historyInterval) {
			if r := w.report(at, historyInterval); len(r.GetSessionCounts()) > 0 && !yield(r) {
				return
			}
		}
	}
}

// History calls f with the reports of the last month, workspace by workspace.
func (c *Company) History(f func(*insightsv1.AgentReport) error) error {
	for _, w := range c.workspaces {
		for r := range c.history(w) {
			if err := f(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// AppSessions returns the visits to workspace apps between two moments.
func (c *Company) AppSessions(from, to time.Time) []*insightsv1.AppSession {
	var sessions []*insightsv1.AppSession
	for _, w := range c.workspaces {
		if w.app == "" {
			continue
		}
		for day := range daysAround(from, to) {
			for _, b := range w.blocks(day) {
				begin, end := later(b.from, from), earlier(b.to, to)
				if !b.proxied || !begin.Before(end) {
					continue
				}
				sessions = append(sessions, &insightsv1.AppSession{
					AgentId: w.agent.String(), UserId: w.owner.id.String(), AccessMethod: "subdomain", SlugOrPort: b.app,
					StartedAt: timestamppb.New(begin), EndedAt: timestamppb.New(end),
				})
			}
		}
	}
	return sessions
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
