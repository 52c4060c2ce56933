package insights

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// Sections of answers that may be empty.
const (
	sectionActiveUsers  = "active_users"
	sectionAppsUsage    = "apps_usage"
	sectionUserActivity = "user_activity"
	sectionUserLatency  = "user_latency"
	sectionParameters   = "parameters_usage"
)

// usageSections are those that are empty without usage.
var usageSections = []string{sectionActiveUsers, sectionAppsUsage, sectionUserActivity, sectionUserLatency}

// GetDiagnosis implements [insightsv1.InsightsServiceServer].
func (s *Service) GetDiagnosis(ctx context.Context, req *insightsv1.GetDiagnosisRequest) (*insightsv1.GetDiagnosisResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionDeadline)
	defer cancel()
	q, err := s.ask(ctx, req, totals)
	if err != nil {
		return nil, err
	}
	insights, err := s.store.TemplateInsights(ctx, q.scope, q.actors, q.window, q.floor)
	if err != nil {
		return nil, err
	}
	parameters, err := s.store.ParameterUsage(ctx, q.scope, q.actors, q.start, q.end, q.floor)
	if err != nil {
		return nil, err
	}
	o := observed{insights: &insights, parameters: &parameters, others: insights.Others}
	if q.floor.People == 0 {
		users, _, err := s.store.UserLatency(ctx, q.scope, q.actors, q.window)
		if err != nil {
			return nil, err
		}
		latency := latencies(users)
		o.latency = &latency
	}
	d, err := s.diagnose(ctx, q, o, append([]string{sectionParameters}, usageSections...))
	if err != nil {
		return nil, err
	}
	d.findSettings()
	held, err := s.store.HeldDeletions(ctx)
	if err != nil {
		return nil, err
	}
	d.findDeletions(held)
	followed, err := s.store.Followed(ctx)
	if err != nil {
		return nil, err
	}
	d.findFollowed(followed)
	imported, err := s.store.FirstImportSince(ctx, q.asked.AddDate(0, 0, -28)) // who came from Coder still knows its figures
	if err != nil {
		return nil, err
	}
	others := s.Others(q.mode, q.floor.People, insights.Others)
	d.findDifference(imported, others)
	return &insightsv1.GetDiagnosisResponse{
		Findings: d.found, DataAsOf: q.dataAsOf(), CollectionMode: CollectionMode(q.mode), Floor: int64(q.floor.People),
		DataSince: d.show(d.firstUse()), Actors: ActorsOf(q.actors), OtherActors: others,
		LateExcluded: q.floor.People > 0,
	}, nil
}

// observed is what an answer found, of each part that it has.
type observed struct {
	insights   *store.TemplateInsights
	parameters *[]store.ParameterUsage
	activity   *int // users
	latency    *measured
	narrowed   bool // to actors that are no people: that there are none of them needs no explanation
	others     []store.OtherActor
}

// measured is how many active users there are, and of how many of them a latency is known.
type measured struct{ users, withSamples int }

func latencies(users []store.UserLatency) measured {
	m := measured{users: len(users)}
	for _, u := range users {
		if u.Samples > 0 {
			m.withSamples++
		}
	}
	return m
}

// empty are the sections of an answer that have nothing to show.
func (o observed) empty() (sections []string) {
	for _, section := range []struct {
		name  string
		empty bool
	}{
		{sectionActiveUsers, o.insights != nil && o.insights.ActiveUsers == 0},
		{sectionAppsUsage, o.insights != nil && !o.insights.AnyApp()},
		{sectionParameters, o.parameters != nil && len(*o.parameters) == 0},
		{sectionUserActivity, o.activity != nil && *o.activity == 0 && !o.narrowed},
		{sectionUserLatency, o.latency != nil && o.latency.users == 0 && !o.narrowed},
	} {
		if section.empty {
			sections = append(sections, section.name)
		}
	}
	return sections
}

// reasons says why sections of an answer are empty, each with what explains it best, and of others what they lack as far as
// the answer itself shows it: a full answer costs no query.
func (s *Service) reasons(ctx context.Context, q question, o observed) ([]*insightsv1.SectionReason, error) {
	var reasons []*insightsv1.SectionReason
	empty := o.empty()
	if len(empty) > 0 {
		d, err := s.diagnose(ctx, q, o, empty)
		if err != nil {
			return nil, err
		}
		for _, section := range empty {
			i := slices.IndexFunc(d.found, func(f *insightsv1.Finding) bool { return slices.Contains(f.GetSections(), section) })
			if i >= 0 {
				reasons = append(reasons, &insightsv1.SectionReason{Section: section, Reason: d.found[i].GetReason()})
			}
		}
	}
	for _, partial := range []struct {
		section, reason string
		holds           bool
	}{
		{sectionActiveUsers, reasonRetention, o.insights != nil && s.expired(q.start, s.options.UsageRetention)},
		{sectionAppsUsage, reasonRetention, o.insights != nil && s.expired(q.start, s.options.UsageRetention)},
		{sectionAppsUsage, reasonNeverSeen, o.insights != nil && len(o.insights.Unused) > 0},
		{sectionUserActivity, reasonRetention, o.activity != nil && s.expired(q.start, s.options.UsageRetention)},
		{sectionParameters, reasonRetention, o.parameters != nil && s.expired(q.start, s.options.UsageRetention)},
		{sectionUserLatency, reasonRetention, o.latency != nil && s.expired(q.start, s.options.LatencyRetention)},
		{sectionUserLatency, reasonNoSamples, o.latency != nil && o.latency.withSamples < o.latency.users},
	} {
		told := slices.ContainsFunc(reasons, func(r *insightsv1.SectionReason) bool { return r.GetSection() == partial.section })
		if partial.holds && !told {
			reasons = append(reasons, &insightsv1.SectionReason{Section: partial.section, Reason: partial.reason})
		}
	}
	return reasons, nil
}

// expired reports whether something from that moment on is not all kept.
func (s *Service) expired(start time.Time, retention time.Duration) bool {
	return retention > 0 && start.Before(s.clock().Add(-retention))
}

// diagnose explains what an answer found in some of its sections, the most telling first. What it says of others means nothing.
func (s *Service) diagnose(ctx context.Context, q question, o observed, sections []string) (*diagnosis, error) {
	d := &diagnosis{options: s.options, q: q, observed: o, online: s.options.OnlineWithin}
	var err error
	if d.off, err = s.templatesOff(ctx, q.mode); err != nil {
		return nil, err
	}
	if slices.Equal(sections, []string{sectionParameters}) { // as always where nobody reports builds
		d.facts, err = s.store.StartFacts(ctx, q.scope, q.start, q.end)
	} else {
		d.facts, err = s.store.Facts(ctx, q.scope, q.start, q.end, q.asked.Add(-d.online))
	}
	if err != nil {
		return nil, err
	}
	if len(d.facts) == 0 {
		d.facts = []store.TemplateFacts{{}} // what holds of no template
	}
	d.findAll()
	return d, nil
}

// templatesOff are the templates of which nothing is stored because of their privacy mode, if the strictest among them says so.
func (s *Service) templatesOff(ctx context.Context, strictest store.PrivacyMode) (map[uuid.UUID]bool, error) {
	if strictest != store.PrivacyOff {
		return nil, nil
	}
	modes, err := s.store.PrivacyModes(ctx)
	if err != nil {
		return nil, err
	}
	organizations, err := s.store.OrganizationsOf(ctx, call.ScopeOf(ctx).Templates())
	if err != nil {
		return nil, err
	}
	off := map[uuid.UUID]bool{}
	for template, organization := range organizations {
		off[template] = modes.Of(organization) == store.PrivacyOff
	}
	return off, nil
}

// diagnosis is one question and what is known about its answer.
type diagnosis struct {
	options  Options
	q        question
	observed observed
	facts    []store.TemplateFacts
	off      map[uuid.UUID]bool // templates of which nothing is stored
	online   time.Duration      // how long ago an agent that is online reported at most
	found    []*insightsv1.Finding
}

// evidence is what a finding rests on, in one template.
type evidence struct {
	affected, total int64
	first, last     time.Time
}

// add adds a finding if it holds for at least one template.
func (d *diagnosis) add(
	reason string, sections []string, of func(f store.TemplateFacts) (evidence, bool), message func(*insightsv1.Finding) string,
	next string,
) {
	finding := &insightsv1.Finding{Sections: sections, Reason: reason, NextStep: next}
	var sum evidence
	holds := false
	for _, f := range d.facts {
		e, ok := of(f)
		if !ok {
			continue
		}
		holds = true
		if f.TemplateID != uuid.Nil {
			finding.TemplateIds = append(finding.TemplateIds, f.TemplateID.String())
		}
		sum.affected += e.affected
		sum.total += e.total
		if !e.first.IsZero() && (sum.first.IsZero() || e.first.Before(sum.first)) {
			sum.first = e.first
		}
		if e.last.After(sum.last) {
			sum.last = e.last
		}
	}
	if !holds {
		return
	}
	finding.Affected, finding.Total, finding.FirstAt, finding.LastAt = sum.affected, sum.total, d.show(sum.first), d.show(sum.last)
	finding.Message = message(finding)
	// A part of the templates is told as such: what is said of it would contradict the numbers of all.
	if part := len(finding.TemplateIds); part > 0 && part < len(d.facts) {
		finding.Message = fmt.Sprintf("Of %d of %s: %s", part, count(int64(len(d.facts)), "template"), lowerFirst(finding.Message))
	}
	d.found = append(d.found, finding)
}

// firstUse is when the first day of the templates with reports of use began; zero: there is none, or it is not published.
func (d *diagnosis) firstUse() (first time.Time) {
	if d.q.floor.People > 0 {
		return first
	}
	for _, f := range d.facts {
		if !f.FirstUse.IsZero() && (first.IsZero() || f.FirstUse.Before(first)) {
			first = f.FirstUse
		}
	}
	return first.UTC().Truncate(24 * time.Hour) // whether or not its half hour is still known
}

// show writes a time in the question's location; none is empty.
func (d *diagnosis) show(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(d.q.start.Location()).Format(time.RFC3339)
}

// unused reports whether a template has no usage in the window.
func (d *diagnosis) unused(f store.TemplateFacts) bool {
	return d.observed.insights == nil || !slices.Contains(d.observed.insights.Templates, f.TemplateID)
}

// reachesPresent reports whether the window is about what happens now.
func (d *diagnosis) reachesPresent() bool { return d.q.end.After(d.q.asked.Add(-time.Hour)) }

// lowerFirst writes a sentence as it goes on after a colon; all of ours begin in ASCII.
func lowerFirst(sentence string) string { return strings.ToLower(sentence[:1]) + sentence[1:] }

// count writes a number of things.
func count(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
