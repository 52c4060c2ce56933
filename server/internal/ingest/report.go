package ingest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/minute"
)

// Limits of what one report may carry.
const (
	maxReportInterval = 10 * time.Minute
	maxMapEntries     = 64
	maxLatency        = 10 * time.Minute
	maxSessionLength  = 31 * 24 * time.Hour
)

// rejection says why an item is not stored, and whether sending it again is useless.
type rejection struct {
	cause     rejectCause
	reason    string
	permanent bool
}

func invalidItem(format string, args ...any) *rejection {
	return &rejection{causeInvalid, fmt.Sprintf(format, args...), true}
}

func unknownItem(what string, id uuid.UUID) *rejection {
	return &rejection{causeUnknown, fmt.Sprintf("%s %s is not in the catalog", what, id), false}
}

func erasedItem() *rejection { return &rejection{causeDeleted, "the user was erased", true} }

// limits are what is taken of reports.
type limits struct {
	oldest, newest time.Time  // between which they were made
	apps           *apps.List // whose names come first where names are too many
}

// limits returns what is taken now. Who backfills is bound by the future only.
func (g *Service) limits(backfill bool) limits {
	now := g.clock()
	l := limits{oldest: now.Add(-g.options.MaxAge), newest: now.Add(g.options.MaxAhead), apps: g.store.Apps()}
	if backfill {
		l.oldest = time.Unix(0, 0)
	}
	return l
}

func (l limits) check(field string, at time.Time) *rejection {
	switch {
	case at.Before(l.oldest):
		return &rejection{
			causeTooOld,
			fmt.Sprintf("%s %s is older than the limit %s", field, at.UTC().Format(time.RFC3339), l.oldest.UTC().Format(time.RFC3339)),
			true,
		}
	case at.After(l.newest):
		return &rejection{causeTooNew, fmt.Sprintf(
			"%s %s is in the future; the limit is %s", field, at.UTC().Format(time.RFC3339), l.newest.UTC().Format(time.RFC3339),
		), true}
	}
	return nil
}

// agentReport is a valid report in the service's own terms.
type agentReport struct {
	agent       uuid.UUID
	collected   time.Time
	interval    time.Duration    // 0: not said
	minutes     int64            // how many, up to that of collected
	sessions    map[string]int64 // open ones by app, normalised
	connections int64
	latency     float64 // milliseconds; 0: not measured
	version     string
	legacy      bool  // the sessions came in the older fields
	direct      int64 // peers reached directly
	relayed     int64 // peers reached through a relay
	region      string
	rxBytes     int64
	txBytes     int64
	metrics     []*insightsv1.Metric // not checked yet
}

// parseReport checks a report against the rules of the contract.
func parseReport(r *insightsv1.AgentReport, l limits) (agentReport, *rejection) {
	agent, err := call.ParseID(r.GetAgentId())
	if err != nil {
		return agentReport{}, invalidItem("agent_id: %v", err)
	}
	collected, err := call.ParseTime(r.GetCollectedAt())
	if err != nil {
		return agentReport{}, invalidItem("collected_at: %v", err)
	}
	if rejected := l.check("collected_at", collected); rejected != nil {
		return agentReport{}, rejected
	}
	interval := time.Duration(0)
	if r.GetInterval() != nil {
		interval = r.GetInterval().AsDuration()
		if r.GetInterval().CheckValid() != nil || interval < 0 || interval > maxReportInterval {
			return agentReport{}, invalidItem("interval: must be from 0 to %v", maxReportInterval)
		}
	}
	if rejected := checkGauges(r); rejected != nil {
		return agentReport{}, rejected
	}
	sessions := r.GetSessionCounts()
	legacy := len(sessions) == 0
	if legacy {
		sessions = map[string]int64{
			"vscode": r.GetSessionCountVscode(), "jetbrains": r.GetSessionCountJetbrains(),
			"reconnecting_pty": r.GetSessionCountReconnectingPty(), "ssh": r.GetSessionCountSsh(),
		}
	}
	open, _ := store.NormalizeSessions(l.apps, sessions)
	return agentReport{
		agent:       agent,
		collected:   collected,
		interval:    interval,
		minutes:     max(1, int64((interval+time.Minute-1)/time.Minute)),
		sessions:    open,
		connections: r.GetConnectionCount(),
		latency:     max(0, r.GetConnectionMedianLatencyMs()),
		version:     r.GetAgentVersion(),
		legacy:      legacy,
		direct:      r.GetPeersP2P(),
		relayed:     r.GetPeersDerp(),
		region:      r.GetDerpRegion(),
		rxBytes:     r.GetRxBytes(),
		txBytes:     r.GetTxBytes(),
		metrics:     r.GetMetrics(),
	}, nil
}

// checkGauges checks what a report says about the agent rather than about usage.
func checkGauges(r *insightsv1.AgentReport) *rejection {
	for _, s := range []struct{ field, value string }{{"agent_version", r.GetAgentVersion()}, {"derp_region", r.GetDerpRegion()}} {
		if err := call.CheckText(s.value); err != nil {
			return invalidItem("%s: %v", s.field, err)
		}
	}
	if len(r.GetConnectionsByProto()) > maxMapEntries {
		return invalidItem("connections_by_proto: %d entries, at most %d", len(r.GetConnectionsByProto()), maxMapEntries)
	}
	for name, n := range r.GetConnectionsByProto() {
		if err := call.CheckText(name); err != nil {
			return invalidItem("connections_by_proto: name: %v", err)
		}
		if n < 0 {
			return invalidItem("connections_by_proto: must not be negative, got %d", n)
		}
	}
	for _, n := range []struct {
		field string
		value int64
	}{
		{"peers_p2p", r.GetPeersP2P()},
		{"peers_derp", r.GetPeersDerp()},
		{"connection_count", r.GetConnectionCount()},
		{"rx_packets", r.GetRxPackets()},
		{"rx_bytes", r.GetRxBytes()},
		{"tx_packets", r.GetTxPackets()},
		{"tx_bytes", r.GetTxBytes()},
	} {
		if n.value < 0 {
			return invalidItem("%s: must not be negative, got %d", n.field, n.value)
		}
	}
	if ms := r.GetConnectionMedianLatencyMs(); math.IsNaN(ms) || math.IsInf(ms, -1) || ms > float64(maxLatency.Milliseconds()) {
		return invalidItem("connection_median_latency_ms: must be a finite number up to %d", maxLatency.Milliseconds())
	}
	return nil
}

// rows are the half hours that a report touches, with these sessions open.
func (r agentReport) rows(p store.Placement, sessions []string) []store.OpenRow {
	last := r.collected.Unix() / 60
	first := max(0, last-r.minutes+1) // nothing is from before 1970
	rows := make([]store.OpenRow, 0, len(sessions)+1)
	for _, app := range sessions {
		rows = appendRows(
			rows, p.Template, minute.Row{Subject: p.Subject, Kind: minute.Session, App: app, Connected: r.connections > 0}, first, last,
		)
	}
	if r.latency > 0 {
		rows = appendRows(
			rows, p.Template, minute.Row{Subject: p.Subject, Kind: minute.Connection, Bins: []byte{minute.Bin(r.latency)}}, last, last,
		)
	}
	return rows
}

// appendRows adds rows like r for the minutes from first to last, counted from the Unix epoch.
func appendRows(rows []store.OpenRow, template uuid.UUID, r minute.Row, first, last int64) []store.OpenRow {
	for halfHour, minutes := range minute.HalfHours(first, last) {
		r.HalfHour, r.Minutes = halfHour, minutes
		rows = append(rows, store.OpenRow{Template: template, Row: r})
	}
	return rows
}

// appSession is a valid session of an app.
type appSession struct {
	agent, user uuid.UUID
	app         string
	first, last int64 // minutes since the Unix epoch; first > last: none
}

// accessTerminal is how people reach a terminal; accessMethods are all ways to reach an app.
const accessTerminal = "terminal"

var accessMethods = []string{"path", "subdomain", accessTerminal}

// parseSession checks a session against the rules of the contract.
func parseSession(r *insightsv1.AppSession, l limits) (appSession, *rejection) {
	var s appSession
	var err error
	if s.agent, err = call.ParseID(r.GetAgentId()); err != nil {
		return s, invalidItem("agent_id: %v", err)
	}
	if s.user, err = call.ParseID(r.GetUserId()); err != nil {
		return s, invalidItem("user_id: %v", err)
	}
	if !slices.Contains(accessMethods, r.GetAccessMethod()) {
		return s, invalidItem("access_method: must be one of %v", accessMethods)
	}
	s.app = store.TerminalApp
	if r.GetAccessMethod() != accessTerminal {
		s.app = r.GetSlugOrPort()
		if err := call.CheckText(s.app); err != nil || s.app == "" || s.app == store.TerminalApp || s.app == otherApp {
			return s, invalidItem("slug_or_port: want 1 to %d bytes without control characters", call.MaxStringBytes)
		}
	}
	started, err := call.ParseTime(r.GetStartedAt())
	if err != nil {
		return s, invalidItem("started_at: %v", err)
	}
	ended, err := call.ParseTime(r.GetEndedAt())
	if err != nil {
		return s, invalidItem("ended_at: %v", err)
	}
	if ended.Before(started) || ended.Sub(started) > maxSessionLength {
		return s, invalidItem("ended_at: must be from started_at to 31 days after it")
	}
	if rejected := l.check("ended_at", ended); rejected != nil {
		return s, rejected
	}
	if started.Before(l.oldest) {
		started = l.oldest
	}
	const minuteMicros = 60_000_000
	s.first, s.last = started.Unix()/60, (ended.UnixMicro()+minuteMicros-1)/minuteMicros-1 // up to the end, not with it
	return s, nil
}

// rows are the half hours that a session touches.
func (s appSession) rows(template uuid.UUID, subject int64) []store.OpenRow {
	return appendRows(nil, template, minute.Row{Subject: subject, Kind: minute.App, App: s.app}, s.first, s.last)
}
