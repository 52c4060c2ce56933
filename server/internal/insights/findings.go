package insights

import (
	"fmt"
	"slices"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// Reasons of findings.
const (
	reasonEmptyWindow  = "empty_window"
	ReasonOff          = "collection_off"
	reasonSmallGroups  = "small_groups"
	reasonNotPublished = "not_published"
	reasonOtherActors  = "other_actors"
	reasonRetention    = "beyond_retention"
	reasonOutOfRange   = "out_of_range"
	reasonNoWorkspaces = "no_workspaces"
	reasonCollecting   = "collecting"
	reasonNoConnection = "no_connections"
	reasonOffline      = "agents_offline"
	reasonTooOld       = "agent_too_old"
	reasonNeverSeen    = "app_never_seen"
	reasonUndeclared   = "undeclared_apps"
	reasonNoSamples    = "no_latency_samples"
	reasonRelayed      = "relayed_only"
	reasonNoBuilds     = "no_builds"
	reasonNoParameters = "no_parameters"
	reasonWeakDatabase = "weak_database"
	reasonAnnounced    = "deletion_announced"
	reasonHeld         = "deletion_held"
	reasonFollowsLate  = "follows_late"
	reasonUnlikeCoder  = "differs_from_coder"
)

// collectingFor is how long after its first sign of life a template may be waiting for its first usage.
const collectingFor = 10 * time.Minute

// findAll looks for everything, the most telling first.
func (d *diagnosis) findAll() {
	if d.q.empty() { // whatever else is the matter
		d.add(reasonEmptyWindow, append([]string{sectionParameters}, usageSections...),
			func(store.TemplateFacts) (evidence, bool) { return evidence{}, true },
			func(*insightsv1.Finding) string { return "The window is empty: it ends when it begins." },
			"Choose an end after the start.")
		return
	}
	d.findCollection()
	if d.q.floor.People > 0 {
		if d.q.start.Before(d.q.asOf) {
			d.findSmallGroups() // the others would tell of few people
		}
		d.findUnpublished()
		return
	}
	others := d.findOthers()
	d.findRange()
	if !others {
		d.findConnections()
	}
	d.findAgents()
	d.findApps()
	d.findLatency()
	d.findParameters()
}

// findSettings says that something may be gone which was there. It explains no empty section better than anything else does.
func (d *diagnosis) findSettings() {
	var weak []string
	for _, s := range d.options.Store.Settings() {
		if !s.Holds {
			weak = append(weak, s.Name+"="+s.Value)
		}
	}
	d.add(reasonWeakDatabase, append([]string{sectionParameters}, usageSections...),
		func(store.TemplateFacts) (evidence, bool) { return evidence{}, len(weak) > 0 },
		func(*insightsv1.Finding) string {
			return fmt.Sprintf("The database has %s: what came before a crash of its machine may be gone.", strings.Join(weak, " and "))
		},
		"Give these settings of the database their defaults back.")
}

// retained is what a setting of retention is about.
type retained struct {
	kind, what, flag string
	retention        time.Duration
	sections         []string
}

func (o Options) kept() []retained {
	return []retained{
		{
			store.ExpiredUsage, "Usage", "--usage-retention", o.UsageRetention,
			[]string{sectionActiveUsers, sectionAppsUsage, sectionUserActivity, sectionParameters},
		},
		{store.ExpiredLatency, "Latency", "--latency-retention", o.LatencyRetention, []string{sectionUserLatency}},
	}
}

// findDeletions says what is about to go, and what does not go although it is older than is promised. How much that is says something of
// templates that the caller may not read, so it is not told.
func (d *diagnosis) findDeletions(held store.Brake) {
	if d.q.empty() {
		return
	}
	for _, kept := range d.options.kept() {
		for _, a := range held.Announced {
			d.add(reasonAnnounced, kept.sections,
				func(store.TemplateFacts) (evidence, bool) {
					return evidence{first: a.At.Time, last: a.Due()}, a.Kind == kept.kind
				},
				func(f *insightsv1.Finding) string {
					return fmt.Sprintf(
						"%s of more than %s ago is deleted for good from %s on, as announced at %s.", kept.what,
						count(int64(a.Keep.Hours()/24), "day"), f.GetLastAt(), f.GetFirstAt(),
					)
				},
				"Raise "+kept.flag+" on all servers before that to keep it, or start one with --confirm-retention to delete it at once.")
		}
		d.add(reasonHeld, kept.sections,
			func(store.TemplateFacts) (evidence, bool) { return evidence{}, held.Doubted && kept.retention > 0 },
			func(*insightsv1.Finding) string {
				return kept.what + " is not deleted although its time may be over: " +
					"the clock of the database jumped by more than a day, or is not that of a server."
			},
			"Set the clocks of the database and of all servers right; deletion goes on a day later.")
	}
}

// followsLate is how far behind a system that is followed may be without a word.
const followsLate = 3 * time.Minute

// findFollowed says that usage of another system is not here yet.
func (d *diagnosis) findFollowed(followed []store.Followed) {
	for _, f := range followed {
		d.add(reasonFollowsLate, append([]string{sectionParameters}, usageSections...),
			func(store.TemplateFacts) (evidence, bool) {
				return evidence{last: f.UsageUntil}, !d.q.empty() && d.reachesPresent() && d.q.asked.Sub(f.UsageUntil) > followsLate
			},
			func(found *insightsv1.Finding) string {
				if found.GetLastAt() == "" {
					return "Usage comes from another system, of which the past is being imported."
				}
				return "Usage comes from another system, and is here until " + found.GetLastAt() + "."
			},
			"Wait, or look into the log of the servers: one of them follows that system (--follow-coder).")
	}
}

// findDifference says whom Coder counts and an answer about people does not: where groups are hidden, no more than the answer tells.
func (d *diagnosis) findDifference(imported time.Time, told []*insightsv1.OtherActor) {
	who, least, next := []string(nil), "", "Ask with actor=all to count as Coder does."
	if hides := d.q.mode != store.PrivacyFull || d.q.floor.People > 0; hides {
		least, next = "at least ", "Nothing: the privacy mode hides the others."
		if len(told) == 0 {
			who = []string{"service and system accounts", "whatever else is hidden here"}
		}
	}
	for _, o := range told {
		who = append(who, least+count(o.GetActors(), o.GetActor()+" account"))
	}
	d.add(reasonUnlikeCoder, []string{sectionActiveUsers}, func(store.TemplateFacts) (evidence, bool) {
		return evidence{first: imported}, !imported.IsZero() && d.q.actors == minute.People && len(who) > 0
	}, func(*insightsv1.Finding) string { return "Coder also counts " + strings.Join(who, " and ") + "." }, next)
}

func (d *diagnosis) findCollection() {
	d.add(ReasonOff, append([]string{sectionParameters}, usageSections...),
		func(f store.TemplateFacts) (evidence, bool) {
			return evidence{}, !d.options.UsageStats || d.off[f.TemplateID]
		},
		func(*insightsv1.Finding) string { return "Collection is off: reports are acknowledged and not stored." },
		"Start the server with --usage-stats=true, or set another privacy mode, if usage may be collected here.")
	for _, kept := range d.options.kept() {
		horizon := d.q.asked.Add(-kept.retention)
		d.add(reasonRetention, kept.sections,
			func(store.TemplateFacts) (evidence, bool) {
				return evidence{first: horizon}, kept.retention > 0 && d.q.start.Before(horizon)
			},
			func(f *insightsv1.Finding) string {
				return fmt.Sprintf(
					"%s is kept for %s; the window begins before %s, the oldest that is left.", kept.what,
					count(int64(kept.retention.Hours()/24), "day"), f.GetFirstAt(),
				)
			},
			"Choose a later window, or raise "+kept.flag+" for the future.")
	}
}

// findUnpublished says from when on days are not published yet.
func (d *diagnosis) findUnpublished() {
	d.add(reasonNotPublished, append([]string{sectionParameters}, usageSections...),
		func(store.TemplateFacts) (evidence, bool) { return evidence{}, d.q.end.After(d.q.asOf) },
		func(*insightsv1.Finding) string {
			if d.q.asOf.IsZero() {
				return "No day is published yet."
			}
			return "Days from " + d.show(d.q.asOf) + " on are not published yet."
		},
		"Ask about earlier days, or wait: a day is published some time after its end, see --publish-after.")
}

// findSmallGroups says that what is not there may be hidden, and not whether it is.
func (d *diagnosis) findSmallGroups() {
	for _, hidden := range []struct {
		section string
		holds   func(store.TemplateFacts) bool
	}{
		{sectionActiveUsers, d.unused},
		{sectionAppsUsage, func(store.TemplateFacts) bool { return !d.observed.insights.AnyApp() }},
		{sectionParameters, func(store.TemplateFacts) bool { return len(*d.observed.parameters) == 0 }},
	} {
		d.add(reasonSmallGroups, []string{hidden.section},
			func(f store.TemplateFacts) (evidence, bool) { return evidence{}, hidden.holds(f) },
			func(*insightsv1.Finding) string {
				return fmt.Sprintf(
					"Nothing is published: on every day of the window fewer than %d people of a template took part, or nobody.",
					d.q.floor.People,
				)
			},
			"Ask about larger templates, or about days with more people.")
	}
}

// findOthers says that all who were active are left out, and reports whether they are.
func (d *diagnosis) findOthers() bool {
	o := d.observed
	nobody := (o.insights == nil || o.insights.ActiveUsers == 0) && (o.activity == nil || *o.activity == 0) &&
		(o.latency == nil || o.latency.users == 0)
	others := nobody && len(o.others) > 0 && d.q.mode == store.PrivacyFull // elsewhere they may be few
	d.add(reasonOtherActors, usageSections,
		func(store.TemplateFacts) (evidence, bool) { return evidence{}, others },
		func(*insightsv1.Finding) string {
			return "Nobody whom the answer counts was active, but other accounts were."
		},
		"Ask with actor=all to see them.")
	return others
}

func (d *diagnosis) findRange() {
	d.add(reasonOutOfRange, usageSections,
		func(f store.TemplateFacts) (evidence, bool) {
			last := f.LastUse // the end of a day, which may not be over
			if d.q.asked.Before(last) {
				last = d.q.asked
			}
			outside := !f.FirstUse.IsZero() && (f.FirstUse.Before(d.q.start) || last.After(d.q.end))
			return evidence{first: f.FirstUse, last: last}, d.unused(f) && outside
		},
		func(f *insightsv1.Finding) string {
			return fmt.Sprintf("There is no usage in the window, but there is some between %s and %s.", f.GetFirstAt(), f.GetLastAt())
		},
		"Choose a window that includes days with usage.")
	d.add(reasonOutOfRange, []string{sectionParameters},
		func(f store.TemplateFacts) (evidence, bool) {
			return evidence{affected: f.Starts, total: f.Starts, first: f.FirstStart.Time, last: f.LastStart.Time},
				f.Starts > 0 && f.StartsInWindow == 0
		},
		func(f *insightsv1.Finding) string {
			return fmt.Sprintf(
				"No build of the window started a workspace; there were %s between %s and %s.", count(f.GetTotal(), "build"),
				f.GetFirstAt(), f.GetLastAt(),
			)
		},
		"Choose a window in which workspaces were started.")
}

func (d *diagnosis) findConnections() {
	d.add(reasonNoWorkspaces, usageSections,
		func(f store.TemplateFacts) (evidence, bool) { return evidence{}, d.unused(f) && f.Workspaces == 0 },
		func(*insightsv1.Finding) string { return "Nobody had a workspace in the window." },
		"Create a workspace, or check that the control plane applies the catalog.")
	d.add(reasonCollecting, usageSections,
		func(f store.TemplateFacts) (evidence, bool) {
			young := d.q.asked.Add(-collectingFor)
			waiting := f.NewestAgent.After(young) || f.NewestConnection.After(young)
			return evidence{affected: f.Agents, total: f.Agents, first: f.NewestAgent.Time, last: f.NewestReport.Time},
				d.unused(f) && d.reachesPresent() && waiting
		},
		func(f *insightsv1.Finding) string {
			if f.GetLastAt() == "" {
				return fmt.Sprintf("The newest agent is from %s and has not reported yet.", f.GetFirstAt())
			}
			return fmt.Sprintf(
				"The newest agent is from %s, the newest report from %s: collection has just begun.", f.GetFirstAt(), f.GetLastAt(),
			)
		},
		"Wait for a few minutes; agents report every "+d.options.ReportInterval.String()+" and answers are fresh at once.")
	d.add(reasonNoConnection, usageSections,
		func(f store.TemplateFacts) (evidence, bool) {
			return evidence{affected: f.Workspaces, total: f.Workspaces, last: f.LastStart.Time}, d.unused(f) && f.Workspaces > 0
		},
		func(f *insightsv1.Finding) string {
			text := count(f.GetTotal(), "workspace") + " existed in the window, but nobody connected."
			if f.GetLastAt() != "" {
				text += " The last start of a workspace was at " + f.GetLastAt() + "."
			}
			return text
		},
		"Connect with an editor, SSH, a terminal or an app; creating a workspace alone is no usage.")
}

func (d *diagnosis) findAgents() {
	d.add(reasonOffline, usageSections,
		func(f store.TemplateFacts) (evidence, bool) {
			offline := f.Agents - f.AgentsOnline
			return evidence{affected: offline, total: f.Agents, last: f.NewestReport.Time}, d.reachesPresent() && offline > 0
		},
		func(f *insightsv1.Finding) string {
			text := fmt.Sprintf("%d of %s did not report in the last %s", f.GetAffected(), count(f.GetTotal(), "agent"), d.online)
			if f.GetLastAt() == "" {
				return text + ", nor ever before."
			}
			return text + "; the newest report is from " + f.GetLastAt() + "."
		},
		"Start the workspaces, and check that agents reach this server and hold a valid token.")
	d.add(reasonTooOld, []string{sectionAppsUsage},
		func(f store.TemplateFacts) (evidence, bool) {
			return evidence{affected: f.AgentsLegacy, total: f.Agents}, f.AgentsLegacy > 0
		},
		func(f *insightsv1.Finding) string {
			return fmt.Sprintf(
				"%d of %s send sessions in the older form, which knows VS Code, JetBrains, SSH and the web terminal only.", f.GetAffected(),
				count(f.GetTotal(), "agent"),
			)
		},
		"Restart the workspaces with a newer agent, so that other editors are counted under their names.")
}

func (d *diagnosis) findApps() {
	insights := d.observed.insights
	if insights == nil {
		return
	}
	var slugs []string
	d.add(reasonNeverSeen, []string{sectionAppsUsage},
		func(f store.TemplateFacts) (evidence, bool) {
			var e evidence
			for _, a := range insights.Unused {
				if a.TemplateID == f.TemplateID {
					slugs = append(slugs, a.Slug)
					e.affected++
				}
			}
			e.total = e.affected
			for _, a := range insights.Apps {
				if !a.Builtin && slices.Contains(a.Templates, f.TemplateID) {
					e.total++
				}
			}
			return e, e.affected > 0
		},
		func(f *insightsv1.Finding) string {
			return fmt.Sprintf(
				"%d of %s were not used in the window: %s.", f.GetAffected(), count(f.GetTotal(), "declared app"), some(slugs),
			)
		},
		"Check that the apps open from the workspace and that their slugs are those that the proxy reports; remove what nobody needs.")
	d.add(reasonUndeclared, []string{sectionAppsUsage},
		func(f store.TemplateFacts) (evidence, bool) {
			return evidence{}, !d.unused(f) && !insights.AnyApp()
		},
		func(*insightsv1.Finding) string {
			return "Only ports, terminals of the proxy, apps that no agent declares, or apps that are told of more people were used."
		},
		"Declare the apps in the template, so that they are counted under their names.")
}

// some names at most five, each once.
func some(names []string) string {
	slices.Sort(names)
	names = slices.Compact(names)
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func (d *diagnosis) findLatency() {
	if m := d.observed.latency; m != nil && m.withSamples < m.users {
		d.add(reasonNoSamples, []string{sectionUserLatency},
			func(f store.TemplateFacts) (evidence, bool) { return evidence{}, !d.unused(f) },
			func(f *insightsv1.Finding) string {
				f.Affected, f.Total = int64(m.users-m.withSamples), int64(m.users) // of people, who may use several templates
				return fmt.Sprintf("No latency was measured for %d of %s.", f.GetAffected(), count(f.GetTotal(), "active user"))
			},
			"Check that agents reach their peers, directly or through a relay; use through the browser alone is not measured.")
	}
	var regions []string
	d.add(reasonRelayed, []string{sectionUserLatency},
		func(f store.TemplateFacts) (evidence, bool) {
			if f.AgentsRelayed > 0 && f.Region != "" {
				regions = append(regions, f.Region)
			}
			return evidence{affected: f.AgentsRelayed, total: f.AgentsWithPeers}, f.AgentsRelayed > 0
		},
		func(f *insightsv1.Finding) string {
			text := fmt.Sprintf(
				"%d of %s with connections were reached through a relay and never directly", f.GetAffected(), count(f.GetTotal(), "agent"),
			)
			if len(regions) > 0 {
				text += ", for example in region " + some(regions)
			}
			return text + "."
		},
		"Check that UDP passes between clients and workspaces; a relay adds its distance to every round trip.")
}

func (d *diagnosis) findParameters() {
	d.add(reasonNoBuilds, []string{sectionParameters},
		func(f store.TemplateFacts) (evidence, bool) { return evidence{}, f.Starts == 0 },
		func(*insightsv1.Finding) string { return "No build that started a workspace was ever reported." },
		"Start a workspace, and check that the control plane reports builds and that they succeed.")
	if d.observed.parameters == nil {
		return
	}
	d.add(reasonNoParameters, []string{sectionParameters},
		func(f store.TemplateFacts) (evidence, bool) {
			chosen := slices.ContainsFunc(*d.observed.parameters, func(p store.ParameterUsage) bool {
				return slices.Contains(p.Templates, f.TemplateID)
			})
			return evidence{affected: f.StartsInWindow, total: f.StartsInWindow}, f.StartsInWindow > 0 && !chosen
		},
		func(f *insightsv1.Finding) string {
			return count(f.GetTotal(), "build") + " of the window came without values of parameters."
		},
		"Add parameters to the template if people should choose; otherwise there is nothing to show.")
}
