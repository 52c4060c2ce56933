package ingest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/storetest"
)

// evilNames are texts that no name may be.
var evilNames = map[string]string{
	"NUL": "a\x00b", "line end": "a\nb", "escape": "\x1b[31m", "delete": "\x7f", "C1": "\u0085", "text turned around": "\u202egpj.exe",
	"embedded": "\u202ax", "isolated": "\u2066x", "end of isolation": "x\u2069",
	"zero width": "a\u200bb", "joined": "\u200d", "end of a paragraph": "a\u2029b", "byte order mark": "\ufeffa", "tag": "a\U000e0061",
	"too long":          strings.Repeat("a", call.MaxStringBytes+1),
	"too long in bytes": strings.Repeat("\u00e4", call.MaxStringBytes/2) + "a",
}

// goodNames are texts that a name may be, however odd.
var goodNames = []string{
	"v2.30.1", strings.Repeat("a", call.MaxStringBytes), strings.Repeat("\u00e4", call.MaxStringBytes/2), "\u05e9\u05dc\u05d5\u05dd", "a b",
	"'; --", "<b>", "\U0001f600",
}

// checkLimits wants no rejection after the good changes of an item, and one that names the field after the bad ones.
func checkLimits[C any](t *testing.T, good map[string]C, bad map[string]map[string]C, changed func(C) *rejection) {
	t.Helper()
	for name, change := range good {
		if rejected := changed(change); rejected != nil {
			t.Errorf("%s: %+v", name, *rejected)
		}
	}
	for field, cases := range bad {
		for name, change := range cases {
			if rejected := changed(change); rejected == nil || !rejected.permanent || !strings.HasPrefix(rejected.reason, field) {
				t.Errorf("%s, %s: %+v", field, name, rejected)
			}
		}
	}
}

func TestReportLimits(t *testing.T) {
	t.Parallel()
	l := limits{storetest.Now.Add(-time.Hour), storetest.Now.Add(time.Minute), apps.BuiltIn()}
	type report = insightsv1.AgentReport
	type change = func(*report)
	at := func(when time.Time) change { return func(r *report) { r.CollectedAt = timestamppb.New(when) } }
	interval := func(d time.Duration) change { return func(r *report) { r.Interval = durationpb.New(d) } }
	latency := func(ms float64) change { return func(r *report) { r.ConnectionMedianLatencyMs = ms } }
	protocols := func(n int) change {
		return func(r *report) {
			r.ConnectionsByProto = map[string]int64{}
			for i := range n {
				r.ConnectionsByProto[fmt.Sprint("proto", i)] = math.MaxInt64
			}
		}
	}
	type cases = map[string]change
	good := cases{
		"nothing": func(*report) {}, "oldest": at(l.oldest), "newest": at(l.newest),
		"no interval": interval(0), "longest interval": interval(maxReportInterval),
		"64 protocols": protocols(maxMapEntries), "largest numbers": func(r *report) {
			r.RxBytes, r.TxPackets, r.ConnectionCount = math.MaxInt64, math.MaxInt64, math.MaxInt64
		},
		"no latency": latency(0), "negative zero": latency(math.Copysign(0, -1)), "latency below zero": latency(-1),
		"smallest latency": latency(math.SmallestNonzeroFloat64), "highest latency": latency(600_000),
		"largest negative": latency(-math.MaxFloat64),
		"many sessions": func(r *report) {
			r.SessionCounts = map[string]int64{"vscode": math.MaxInt64, "VSCode": math.MaxInt64, "x": math.MinInt64}
		},
	}
	for i, name := range goodNames {
		good[fmt.Sprint("version ", i)] = func(r *report) { r.AgentVersion = name }
		good[fmt.Sprint("region ", i)] = func(r *report) { r.DerpRegion = name }
		good[fmt.Sprint("protocol ", i)] = func(r *report) { r.ConnectionsByProto = map[string]int64{name: 0} }
	}
	bad := map[string]cases{
		"agent_id": {
			"none": func(r *report) { r.AgentId = "" }, "nil": func(r *report) { r.AgentId = uuid.Nil.String() },
			"braces": func(r *report) { r.AgentId = "{" + r.AgentId + "}" }, "NUL": func(r *report) { r.AgentId += "\x00" },
		},
		"collected_at": {
			"none": func(r *report) { r.CollectedAt = nil }, "too old": at(l.oldest.Add(-1)), "too new": at(l.newest.Add(1)),
			"before 1970": at(time.Unix(-1, 0)),
			"no time":     func(r *report) { r.CollectedAt = &timestamppb.Timestamp{Seconds: math.MaxInt64} },
		},
		"interval": {
			"negative": interval(-1), "too long": interval(maxReportInterval + 1),
			"no duration": func(r *report) { r.Interval = &durationpb.Duration{Seconds: math.MaxInt64} },
		},
		"connections_by_proto": {
			"65": protocols(maxMapEntries + 1), "negative": func(r *report) { r.ConnectionsByProto = map[string]int64{"tcp": -1} },
		},
		"connection_median_latency_ms": {
			"too high": latency(math.Nextafter(600_000, math.Inf(1))), "largest": latency(math.MaxFloat64), "NaN": latency(math.NaN()),
			"infinite": latency(math.Inf(1)), "negative infinite": latency(math.Inf(-1)),
		},
		"peers_p2p":        {"negative": func(r *report) { r.PeersP2P = -1 }},
		"peers_derp":       {"negative": func(r *report) { r.PeersDerp = -1 }},
		"connection_count": {"negative": func(r *report) { r.ConnectionCount = math.MinInt64 }},
		"rx_packets":       {"negative": func(r *report) { r.RxPackets = -1 }},
		"rx_bytes":         {"negative": func(r *report) { r.RxBytes = -1 }},
		"tx_packets":       {"negative": func(r *report) { r.TxPackets = -1 }},
		"tx_bytes":         {"negative": func(r *report) { r.TxBytes = -1 }},
		"agent_version":    {}, "derp_region": {},
	}
	for name, text := range evilNames {
		bad["agent_version"][name] = func(r *report) { r.AgentVersion = text }
		bad["derp_region"][name] = func(r *report) { r.DerpRegion = text }
		bad["connections_by_proto"][name] = func(r *report) { r.ConnectionsByProto = map[string]int64{text: 1} }
	}
	changed := func(change change) *rejection {
		r := &report{AgentId: uuid.NewString(), CollectedAt: timestamppb.New(storetest.Now), SessionCounts: map[string]int64{"vscode": 1}}
		change(r)
		_, rejected := parseReport(r, l)
		return rejected
	}
	checkLimits(t, good, bad, changed)
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	l := limits{storetest.Now.Add(-time.Hour), storetest.Now.Add(time.Minute), apps.BuiltIn()}
	type session = insightsv1.AppSession
	type change = func(*session)
	lasts := func(d time.Duration) change {
		return func(s *session) { s.StartedAt = timestamppb.New(s.GetEndedAt().AsTime().Add(-d)) }
	}
	type cases = map[string]change
	good := cases{
		"nothing": func(*session) {}, "no time": lasts(0), "longest": lasts(maxSessionLength),
		"oldest":   func(s *session) { s.StartedAt, s.EndedAt = timestamppb.New(l.oldest), timestamppb.New(l.oldest) },
		"terminal": func(s *session) { s.AccessMethod, s.SlugOrPort = "terminal", "" },
	}
	for i, name := range goodNames {
		good[fmt.Sprint("slug ", i)] = func(s *session) { s.SlugOrPort = name }
	}
	bad := map[string]cases{
		"agent_id": {"none": func(s *session) { s.AgentId = "" }}, "user_id": {"none": func(s *session) { s.UserId = "" }},
		"access_method": {"none": func(s *session) { s.AccessMethod = "" }, "upper case": func(s *session) { s.AccessMethod = "Path" }},
		"started_at":    {"none": func(s *session) { s.StartedAt = nil }},
		"ended_at": {
			"none": func(s *session) { s.EndedAt = nil }, "before its begin": lasts(-1), "too long": lasts(maxSessionLength + 1),
			"too old": func(s *session) {
				s.StartedAt, s.EndedAt = timestamppb.New(l.oldest.Add(-1)), timestamppb.New(l.oldest.Add(-1))
			},
		},
		"slug_or_port": {
			"none": func(s *session) { s.SlugOrPort = "" }, "terminal in disguise": func(s *session) { s.SlugOrPort = store.TerminalApp },
		},
	}
	for name, text := range evilNames {
		bad["slug_or_port"][name] = func(s *session) { s.SlugOrPort = text }
	}
	changed := func(change change) *rejection {
		s := &session{
			AgentId: uuid.NewString(), UserId: uuid.NewString(), AccessMethod: "path", SlugOrPort: "code-server",
			StartedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), EndedAt: timestamppb.New(storetest.Now),
		}
		change(s)
		_, rejected := parseSession(s, l)
		return rejected
	}
	checkLimits(t, good, bad, changed)
}
