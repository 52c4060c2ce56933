package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/apps"
)

const (
	// agentStatsEvery is how often names follow the catalog.
	agentStatsEvery = 15 * time.Second
	// agentStatsMargin is how much later than two of its intervals an agent may report and is still there.
	agentStatsMargin = time.Minute
)

// agentLabels are the labels that say whose series it is. Agents are shown in their order, which the series of a family
// then have as well. Without the organization, namesakes of two organizations would be one series on a server that both
// report to and two values of one series on two servers, and no question could tell which.
var agentLabels = []string{"agent_name", "username", "workspace_name", exposition.OrganizationLabel, "template_name"}

// agentNames are the values of agentLabels.
type agentNames [5]string

// choosable are the agentLabels that an operator chooses among. The organization stands beside what is chosen.
var choosable = []string{"agent_name", "template_name", "username", "workspace_name"}

// checkAggregation checks a choice of labels.
func checkAggregation(by []string) error {
	for _, label := range by {
		if !slices.Contains(choosable, label) && label != "none" {
			return fmt.Errorf("aggregate agent stats by: %q is none of %v and not none", label, choosable)
		}
	}
	if len(by) > 1 && slices.Contains(by, "none") {
		return errors.New("aggregate agent stats by: none stands alone")
	}
	return nil
}

// agentValues are what the newest report of an agent says.
type agentValues struct {
	traffic       traffic
	connections   float64
	latency       float64       // seconds; 0: not measured
	region        string        // of its relay; empty: none
	apps          []appSessions // with open sessions, by name
	direct, relay float64       // peers reached so
	forwarded     []forwardedSeries
}

// appSessions are the open sessions of an app.
type appSessions struct {
	app    string
	family string // of the app
	alone  bool   // the app is told of one agent, whose owner has a name
	open   float64
}

// traffic counts bytes by the minutes of the server's clock.
type traffic struct {
	minute             int64
	rx, tx             float64 // so far
	rxBefore, txBefore float64 // of the minute before
}

// turn goes to another minute.
func (t *traffic) turn(minute int64) {
	switch minute - t.minute {
	case 0:
		return
	case 1:
		t.rxBefore, t.txBefore = t.rx, t.tx
	default:
		t.rxBefore, t.txBefore = 0, 0
	}
	t.minute, t.rx, t.tx = minute, 0, 0
}

// agentGauge is a family with what an agent's values say about it. The labels given to write are those of the agent.
type agentGauge struct {
	family *exposition.Family
	write  func(s *exposition.Series, labels []string, v *agentValues)
}

// perAgent are the labels that Coder's families of agent stats have, and the organization.
var perAgent = agentLabels[:4]

// agentGauges are the families that the fields of reports feed. What of them falls on the same labels is added up, but for
// latencies: of those the median is shown.
var agentGauges = []agentGauge{
	{&exposition.Family{
		Name: "coderd_agentstats_rx_bytes", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Bytes that an agent received during the last full minute: what is sampled once a minute adds up to all.",
	}, func(s *exposition.Series, labels []string, v *agentValues) { s.Add(v.traffic.rxBefore, labels...) }},
	{&exposition.Family{
		Name: "coderd_agentstats_tx_bytes", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Bytes that an agent sent during the last full minute: what is sampled once a minute adds up to all.",
	}, func(s *exposition.Series, labels []string, v *agentValues) { s.Add(v.traffic.txBefore, labels...) }},
	{&exposition.Family{
		Name: "coderd_agentstats_connection_count", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Distinct network flows that an agent saw during its last interval.",
	}, func(s *exposition.Series, labels []string, v *agentValues) { s.Add(v.connections, labels...) }},
	{&exposition.Family{
		Name: "coderd_agentstats_connection_median_latency_seconds", Kind: exposition.GaugeFamily, Labels: perAgent, Combine: median,
		Help: "Median round trip from an agent to its peers, in seconds; absent while nothing is measured.",
	}, func(s *exposition.Series, labels []string, v *agentValues) {
		if v.latency > 0 {
			s.Add(v.latency, labels...)
		}
	}},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_vscode", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open sessions of VS Code and its relatives.",
	}, writeSessions(apps.VSCode)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_jetbrains", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open sessions of JetBrains editors.",
	}, writeSessions(apps.JetBrains)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_reconnecting_pty", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open web terminals.",
	}, writeSessions(apps.ReconnectingPTY)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_ssh", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open SSH sessions.",
	}, writeSessions(apps.SSH)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_sftp", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open SFTP sessions.",
	}, writeSessions(apps.SFTP)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count_unknown", Kind: exposition.GaugeFamily, Labels: perAgent,
		Help: "Open sessions of apps that belong to no other family.",
	}, writeSessions(apps.Unknown)},
	{&exposition.Family{
		Name: "coderd_agentstats_session_count", Kind: exposition.GaugeFamily, Labels: append(slices.Clone(perAgent), "app_name", "family"),
		Help: "Open sessions of an app, with the family of the app; absent while there are none, and for AI tools unless told per person.",
	}, func(s *exposition.Series, labels []string, v *agentValues) {
		for _, a := range v.apps {
			if a.alone {
				s.Add(a.open, append(labels, a.app, a.family)...)
			}
		}
	}},
	{&exposition.Family{
		Name: peersFamily, Kind: exposition.GaugeFamily, Labels: append(slices.Clone(agentLabels), "connection_type"),
		Help: "Peers that an agent reaches, directly (p2p) or through a relay (derp).",
	}, func(s *exposition.Series, labels []string, v *agentValues) {
		s.Add(v.direct, append(labels, connectionDirect)...)
		s.Add(v.relay, append(labels, connectionRelay)...)
	}},
	{&exposition.Family{
		Name: "coderd_agents_connection_latencies_seconds", Kind: exposition.GaugeFamily,
		Labels: append(slices.Clone(perAgent), "derp_region", "preferred"), Combine: median,
		Help: "Median round trip from an agent to its peers, in seconds, under the region of the relay that it prefers.",
	}, func(s *exposition.Series, labels []string, v *agentValues) {
		if v.latency > 0 && v.region != "" {
			s.Add(v.latency, append(labels, v.region, "true")...)
		}
	}},
}

// The peers of an agent come in fields of its reports, or as series that it forwards.
const (
	peersFamily      = "coderd_agentstats_currently_reachable_peers"
	connectionDirect = "p2p"
	connectionRelay  = "derp"
)

func writeSessions(family string) func(*exposition.Series, []string, *agentValues) {
	return func(s *exposition.Series, labels []string, v *agentValues) {
		open := 0.0
		for _, a := range v.apps {
			if a.family == family {
				open += a.open
			}
		}
		s.Add(open, labels...)
	}
}

// agentState is an agent that reports to this server.
type agentState struct {
	agentValues

	names     *agentNames // nil: not read yet
	collected int64       // when its newest report was made, by its clock, in nanoseconds since 1970
	expires   int64       // by the server's clock
	stream    *agentStream
	gone      bool // its stream is closed
}

// agentStats is the present of the agents that report to this server, for the metrics page. It knows agents from their
// reports and their names from the catalog; an agent without names is not shown, and neither is one that left: whose stream
// is closed, that has not reported for two intervals and a minute, or that is no longer in the catalog.
type agentStats struct {
	store    *store.Store
	clock    func() time.Time
	interval time.Duration // between reports when they do not say
	usage    bool          // false: what is forwarded is shown alone

	gauges    []shownGauge
	forwarded forwardedFamilies

	mu     sync.Mutex
	agents map[uuid.UUID]*agentState
	named  []*agentState // in the order of their names
}

// shownGauge is an agentGauge with the labels that are chosen.
type shownGauge struct {
	agentFamily

	write func(s *exposition.Series, labels []string, v *agentValues)
}

// agentFamily is a family with the agent's labels that are chosen.
type agentFamily struct {
	*exposition.Family

	from []int // the names that are the values of its first labels
}

func newAgentStats(c Options, m *metrics) *agentStats {
	a := &agentStats{
		store: c.Store, clock: c.Clock, interval: c.ReportInterval, usage: c.UsageStats, agents: map[uuid.UUID]*agentState{},
		forwarded: newForwardedFamilies(c.AgentStatsBy, m, c.ControlPlane),
	}
	if a.usage {
		for _, g := range agentGauges {
			a.gauges = append(a.gauges, shownGauge{aggregated(g.family, c.AgentStatsBy), g.write})
		}
	}
	return a
}

// aggregated chooses the agent's labels of a family: those that it has, or those that are asked for when that is fewer
// than all. A family's own labels always stay.
func aggregated(f *exposition.Family, by []string) agentFamily {
	chosen := f.Labels
	if len(by) > 0 && slices.ContainsFunc(choosable, func(label string) bool { return !slices.Contains(by, label) }) {
		chosen = by
		if !slices.Contains(by, "none") {
			chosen = append(slices.Clone(by), exposition.OrganizationLabel)
		}
	}
	a := agentFamily{Family: new(exposition.Family)}
	*a.Family = *f
	a.Labels = nil
	for i, label := range agentLabels {
		if slices.Contains(chosen, label) {
			a.Labels, a.from = append(a.Labels, label), append(a.from, i)
		}
	}
	for _, label := range f.Labels {
		if !slices.Contains(agentLabels, label) {
			a.Labels = append(a.Labels, label)
		}
	}
	return a
}

// names appends the values of the agent's labels.
func (f agentFamily) names(to []string, n *agentNames) []string {
	for _, i := range f.from {
		to = append(to, n[i])
	}
	return to
}

// note takes the values of a report, unless it is a repeat or older than the newest one. One that was made more than ten
// minutes ago is about the past and changes nothing.
func (a *agentStats) note(r *agentReport, stream *agentStream) {
	now := a.clock()
	if now.Sub(r.collected) > maxReportInterval {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.agents[r.agent]
	if s == nil {
		s = &agentState{}
		a.agents[r.agent] = s
	}
	s.stream, s.gone = stream, false
	s.expires = now.Add(2*max(a.interval, r.interval) + agentStatsMargin).UnixNano()
	at := r.collected.UnixNano()
	if at <= s.collected {
		return
	}
	s.collected = at
	if a.usage {
		s.take(r, a.store.Apps(), now.Unix()/60)
	}
	if len(r.metrics) > 0 {
		s.agentValues.forwarded = a.forwarded.take(r.metrics, &s.agentValues, s.expires)
	}
}

// Show takes the values of reports that came to another system. Nothing of them is stored.
func (g *Service) Show(reports []*insightsv1.AgentReport) {
	if g.stats == nil {
		return
	}
	l := g.limits(false)
	for _, r := range reports {
		if report, rejected := parseReport(r, l); rejected == nil {
			g.stats.note(&report, nil)
		}
	}
}

// take replaces the values by those of a report, whose apps are what a list says of them.
func (v *agentValues) take(r *agentReport, known *apps.List, minute int64) {
	v.traffic.turn(minute)
	v.traffic.rx += float64(r.rxBytes)
	v.traffic.tx += float64(r.txBytes)
	v.connections, v.latency, v.region = float64(r.connections), r.latency/1000, r.region
	v.direct, v.relay = float64(r.direct), float64(r.relayed)
	v.apps = make([]appSessions, 0, len(r.sessions)) // a scrape may be reading the one before
	for app, n := range r.sessions {
		v.apps = append(v.apps, appSessions{app, known.Of(app).Family, known.Together(app) == 0, float64(n)})
	}
	slices.SortFunc(v.apps, func(a, b appSessions) int { return strings.Compare(a.app, b.app) })
}

// leave notes that the stream of an agent is closed. The agent may have opened another one before.
func (a *agentStats) leave(agent uuid.UUID, stream *agentStream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.agents[agent]; s != nil && s.stream == stream {
		s.stream, s.gone = nil, true
	}
}

// hide leaves out the agents whose privacy mode lets nothing be told about single users.
func (a *agentStats) hide(ctx context.Context, names map[uuid.UUID]store.AgentName) error {
	modes, err := a.store.PrivacyModes(ctx)
	if err != nil || !modes.Strictest().AtLeast(store.PrivacyAggregate) {
		return err
	}
	organizations, err := a.store.AgentOrganizations(ctx, slices.Collect(maps.Keys(names)))
	if err != nil {
		return err
	}
	maps.DeleteFunc(names, func(id uuid.UUID, _ store.AgentName) bool {
		return modes.Of(organizations[id]).AtLeast(store.PrivacyAggregate)
	})
	return nil
}

// refresh forgets agents whose time is over and gives the others the names that they have in the catalog now.
func (a *agentStats) refresh(ctx context.Context) error {
	type known struct {
		id    uuid.UUID
		state *agentState
		names *agentNames
	}
	now := a.clock().UnixNano()
	a.mu.Lock()
	agents := make([]known, 0, len(a.agents))
	for id, s := range a.agents {
		if s.expires <= now {
			delete(a.agents, id)
			continue
		}
		agents = append(agents, known{id, s, s.names})
	}
	a.forwarded.sweep(now)
	a.mu.Unlock()

	ids := make([]uuid.UUID, len(agents))
	for i := range agents {
		ids[i] = agents[i].id
	}
	found, err := a.store.AgentNames(ctx, ids)
	if err == nil {
		err = a.hide(ctx, found)
	}
	if err != nil {
		return err
	}
	var left []uuid.UUID
	shown := make([]known, 0, len(agents))
	for _, k := range agents {
		n, ok := found[k.id]
		if !ok {
			left = append(left, k.id)
			continue
		}
		if names := (agentNames{n.Agent, n.Owner, n.Workspace, n.Organization, n.Template}); k.names == nil || *k.names != names {
			k.names = &names
		}
		shown = append(shown, k)
	}
	slices.SortFunc(shown, func(a, b known) int { return slices.Compare(a.names[:], b.names[:]) })
	named := make([]*agentState, 0, len(shown))

	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range left {
		delete(a.agents, id)
	}
	for _, k := range shown {
		k.state.names = k.names
		named = append(named, k.state)
	}
	a.named = named
	return nil
}

// agentSample is one agent at the moment of a scrape.
type agentSample struct {
	agentValues

	names *agentNames
}

// snapshot are the agents that are there.
func (a *agentStats) snapshot() []agentSample {
	now := a.clock()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]agentSample, 0, len(a.named))
	for _, s := range a.named {
		if !s.gone && s.expires > now.UnixNano() {
			s.traffic.turn(now.Unix() / 60)
			all = append(all, agentSample{s.agentValues, s.names})
		}
	}
	return all
}

// Families implements [producer].
func (a *agentStats) Families() []*exposition.Family {
	var all []*exposition.Family
	for _, g := range a.gauges {
		all = append(all, g.Family)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(all, a.forwarded.Families()...)
}

// Produce implements [producer].
func (a *agentStats) Produce(p *exposition.Writer) {
	agents := a.snapshot()
	labels := make([]string, 0, len(agentLabels)+2)
	for _, g := range a.gauges {
		p.Family(g.Family, func(s *exposition.Series) {
			for i := range agents {
				g.write(s, g.names(labels, agents[i].names), &agents[i].agentValues)
			}
		})
	}
	produceForwarded(p, agents)
}

// median is that of a list that is not empty; it sorts the list.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
