package ingest

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
)

// Limits of what agents forward.
const (
	maxForwardedSeries   = 100 // of one agent
	maxForwardedLabels   = 32  // of one series
	maxForwardedFamilies = 500 // of all agents
)

// forwardedCause says why a forwarded series is not shown, as the label reason of insights_agent_series_dropped_total
// shows it.
type forwardedCause string

const (
	forwardedInvalid  forwardedCause = "invalid"  // breaks a rule of the contract
	forwardedReserved forwardedCause = "reserved" // has a name of this service, of its server, of the control plane, or of Prometheus
	forwardedConflict forwardedCause = "conflict" // its name, or one of its samples, is that of another family
	forwardedLimit    forwardedCause = "limit"    // one too many
)

// forwardedCauses is the closed list.
var forwardedCauses = []forwardedCause{forwardedInvalid, forwardedReserved, forwardedConflict, forwardedLimit}

// forwardedSeries is a series that an agent forwards.
type forwardedSeries struct {
	family *forwardedFamily
	labels string // its own, as text
	value  float64
}

// forwardedFamily is a family of forwarded series. Those of all agents that fall on the same labels are added up.
type forwardedFamily struct {
	agentFamily

	own     []string // the labels that its series have; nil: any
	expires int64    // when the last of its series does
}

// knownForwarded are the families that agents are known to forward.
var knownForwarded = []*exposition.Family{
	{
		Name: "coderd_agentstats_startup_script_seconds", Kind: exposition.GaugeFamily,
		Labels: append(slices.Clone(agentLabels), "success"), Combine: median,
		Help: "Time that the startup script of an agent took, in seconds.",
	},
	{
		Name: "agent_scripts_executed_total", Kind: exposition.CounterFamily, Labels: append(slices.Clone(agentLabels), "success"),
		Help: "Scripts that an agent ran, those on a schedule too.",
	},
}

// controlPlanePrefixes are those of names of Coder's control plane. Agents cannot forward them.
var controlPlanePrefixes = []string{"coderd_", "coder_"}

// forwardedFamilies are the families of what the agents of this server forward. A family takes the names that [exposition.Claims]
// says. They belong to the family that came first, for as long as there are series of it.
type forwardedFamilies struct {
	by           []string
	metrics      *metrics
	controlPlane *exposition.ControlPlane    // whose names are not for agents
	byName       map[string]*forwardedFamily // by every name that it takes
	families     int

	text  []byte // of labels
	names []string
}

func newForwardedFamilies(by []string, m *metrics, controlPlane *exposition.ControlPlane) forwardedFamilies {
	f := forwardedFamilies{by: by, metrics: m, controlPlane: controlPlane, byName: map[string]*forwardedFamily{}}
	for _, known := range knownForwarded {
		f.add(&forwardedFamily{aggregated(known, by), known.Labels[len(agentLabels):], math.MaxInt64})
	}
	return f
}

// add adds a family whose names are free.
func (f *forwardedFamilies) add(of *forwardedFamily) {
	for _, name := range exposition.Claims(of.Name, of.Kind) {
		f.byName[name] = of
	}
	f.families++
}

// take returns the series of a report. What cannot be shown is counted and left out. Peers that come this way become
// values.
func (f *forwardedFamilies) take(forwarded []*insightsv1.Metric, v *agentValues, expires int64) []forwardedSeries {
	taken := make([]forwardedSeries, 0, min(len(forwarded), maxForwardedSeries))
	for i, m := range forwarded {
		if len(taken) == maxForwardedSeries {
			f.metrics.dropForwarded(forwardedLimit, len(forwarded)-i)
			break
		}
		if v.takePeers(m) {
			continue
		}
		of, cause := f.check(m)
		if cause != "" {
			f.metrics.dropForwarded(cause, 1)
			continue
		}
		of.expires = max(of.expires, expires)
		one := forwardedSeries{family: of, value: m.GetValue()}
		// An agent forwards the same series again and again.
		if len(taken) < len(v.forwarded) && v.forwarded[len(taken)].labels == string(f.text) {
			one.labels = v.forwarded[len(taken)].labels
		} else {
			one.labels = string(f.text)
		}
		same := func(s forwardedSeries) bool { return s.family == one.family && s.labels == one.labels }
		if again := slices.IndexFunc(taken, same); again >= 0 {
			taken[again] = one
			continue
		}
		taken = append(taken, one)
	}
	return taken
}

// takePeers takes a series of peers for what the fields of a report say.
func (v *agentValues) takePeers(m *insightsv1.Metric) bool {
	if m.GetName() != peersFamily || m.GetType() != string(exposition.GaugeFamily) || !(m.GetValue() >= 0) || len(m.GetLabels()) != 1 {
		return false
	}
	switch m.GetLabels()["connection_type"] {
	case connectionDirect:
		v.direct = m.GetValue()
	case connectionRelay:
		v.relay = m.GetValue()
	default:
		return false
	}
	return true
}

// check finds the family of a series and leaves its labels in text, or says why it cannot be shown.
func (f *forwardedFamilies) check(m *insightsv1.Metric) (*forwardedFamily, forwardedCause) {
	name, kind, value := m.GetName(), exposition.FamilyKind(m.GetType()), m.GetValue()
	if kind != exposition.CounterFamily && kind != exposition.GaugeFamily || len(name) > call.MaxStringBytes ||
		!model.LegacyValidation.IsValidMetricName(name) {
		return nil, forwardedInvalid
	}
	if math.IsNaN(value) || math.IsInf(value, 0) || kind == exposition.CounterFamily && value < 0 {
		return nil, forwardedInvalid
	}
	of := f.byName[name]
	if of == nil || of.Name != name || of.Kind != kind {
		of = nil
		if cause := f.free(name, kind); cause != "" {
			return nil, cause
		}
	}
	if of != nil && of.own != nil {
		return of, f.writeOwnLabels(m.GetLabels(), of.own)
	}
	if cause := f.writeLabels(m.GetLabels()); cause != "" {
		return nil, cause
	}
	if of == nil {
		if f.families >= maxForwardedFamilies {
			return nil, forwardedLimit
		}
		//metricsdocgen:skip names are those that agents choose
		of = &forwardedFamily{
			agentFamily: aggregated(&exposition.Family{Name: name, Kind: kind, Labels: agentLabels, Help: "Forwarded by agents."}, f.by),
		}
		f.add(of)
	}
	return of, ""
}

// free says why a family cannot have its name. Neither can a counter that is called _total and nothing else: without that it has
// no name.
func (f *forwardedFamilies) free(name string, kind exposition.FamilyKind) forwardedCause {
	for _, claim := range exposition.Claims(name, kind) {
		switch {
		case claim == "":
			return forwardedInvalid
		case f.byName[claim] != nil:
			return forwardedConflict
		case exposition.Reserved(claim) || f.controlPlane.Claims(claim) ||
			slices.ContainsFunc(controlPlanePrefixes, func(prefix string) bool { return strings.HasPrefix(claim, prefix) }):
			return forwardedReserved
		}
	}
	return ""
}

// writeOwnLabels writes labels that have to be these.
func (f *forwardedFamilies) writeOwnLabels(labels map[string]string, own []string) forwardedCause {
	f.text = f.text[:0]
	for _, name := range own {
		value, ok := labels[name]
		if !ok || len(labels) != len(own) || call.CheckText(value) != nil {
			return forwardedInvalid
		}
		f.text = exposition.AppendLabel(f.text, 0, name, value)
	}
	return ""
}

// writeLabels writes labels in the order of their names. One without a value is as good as none.
func (f *forwardedFamilies) writeLabels(labels map[string]string) forwardedCause {
	if len(labels) > maxForwardedLabels {
		return forwardedInvalid
	}
	f.text, f.names = f.text[:0], f.names[:0]
	for name := range labels {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names)
	for _, name := range f.names {
		switch value := labels[name]; {
		case len(name) > call.MaxStringBytes || !model.LegacyValidation.IsValidLabelName(name) || call.CheckText(value) != nil:
			return forwardedInvalid
		case strings.HasPrefix(name, model.ReservedLabelPrefix) || slices.Contains(agentLabels, name):
			return forwardedReserved
		case value != "":
			f.text = exposition.AppendLabel(f.text, 0, name, value)
		}
	}
	return ""
}

// sweep forgets families that have no series any more, and those whose names are the control plane's by now.
func (f *forwardedFamilies) sweep(now int64) {
	families := map[*forwardedFamily]bool{}
	maps.DeleteFunc(f.byName, func(_ string, of *forwardedFamily) bool {
		claimed := of.own == nil && slices.ContainsFunc(exposition.Claims(of.Name, of.Kind), f.controlPlane.Claims)
		if of.expires <= now || claimed {
			return true
		}
		families[of] = true
		return false
	})
	f.families = len(families)
}

// Families are those that have series, and those that agents are known to forward.
func (f *forwardedFamilies) Families() []*exposition.Family {
	var all []*exposition.Family
	for name, of := range f.byName {
		if name == of.Name {
			all = append(all, of.Family)
		}
	}
	return all
}

// forwardedBy is a series with the agent that it is of.
type forwardedBy struct {
	agent  *agentNames
	series *forwardedSeries
}

// produceForwarded writes what agents forward.
func produceForwarded(p *exposition.Writer, agents []agentSample) {
	all := map[*forwardedFamily][]forwardedBy{}
	for i := range agents {
		for j := range agents[i].forwarded {
			one := &agents[i].forwarded[j]
			all[one.family] = append(all[one.family], forwardedBy{agents[i].names, one})
		}
	}
	labels := make([]string, 0, len(agentLabels))
	for _, of := range slices.SortedFunc(maps.Keys(all), func(a, b *forwardedFamily) int { return strings.Compare(a.Name, b.Name) }) {
		p.Family(of.Family, func(s *exposition.Series) {
			for _, one := range all[of] {
				s.AddWith(one.series.labels, one.series.value, of.names(labels, one.agent)...)
			}
		})
	}
}
