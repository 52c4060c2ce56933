package gauges

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

const (
	insightsWindow  = 5 * time.Minute // what the gauges are about; its end is the present
	insightsEvery   = 15 * time.Second
	insightsTimeout = 30 * time.Second // of one refresh
)

// The three families have the names and labels that existing dashboards and alerts know from Coder. What falls on the same
// labels, such as a template and its deleted namesake, is added up.
var (
	activeUsersFamily = &exposition.Family{
		Name:   "coderd_insights_templates_active_users",
		Help:   "Users with any activity in a template during the last five minutes. Every account counts, or those of --metrics-actors.",
		Kind:   exposition.GaugeFamily,
		Labels: []string{"template_name", "organization_name"},
	}
	usageSecondsFamily = &exposition.Family{
		Name: "coderd_insights_applications_usage_seconds",
		Help: "Time that users of a template spent in an application during the last five minutes, in seconds, added up over users. " +
			"Every account counts, or those of --metrics-actors.",
		Kind:   exposition.GaugeFamily,
		Labels: []string{"template_name", "application_name", "slug", "organization_name"},
	}
	parametersFamily = &exposition.Family{
		Name: "coderd_insights_parameters",
		Help: "Workspaces whose newest successful start of the last five minutes used this value of a template parameter. " +
			"Workspaces of every account count, or of those of --metrics-actors.",
		Kind:   exposition.GaugeFamily,
		Labels: []string{"template_name", "parameter_name", "parameter_type", "parameter_value", "organization_name"},
	}
)

// Usage shows the insights of the last five minutes as gauges. Its owner refreshes them in the background;
// a scrape only hands out what is there. Before the first refresh that is nothing.
type Usage struct {
	store    *store.Store
	clock    func() time.Time
	logger   *slog.Logger
	actors   minute.Actors
	every    time.Duration
	atOnce   chan struct{} // asks for a refresh
	snapshot latest[exposition.Samples]
}

// NewUsage makes the collector of the usage of the last five minutes.
func NewUsage(o Options) *Usage {
	return &Usage{
		store: o.Store, clock: o.Clock, logger: o.Logger, actors: o.actors(), every: insightsEvery, atOnce: make(chan struct{}, 1),
	}
}

// Families implements [producer].
func (c *Usage) Families() []*exposition.Family {
	return []*exposition.Family{activeUsersFamily, usageSecondsFamily, parametersFamily}
}

// Produce implements [producer].
func (c *Usage) Produce(p *exposition.Writer) {
	if snapshot := c.snapshot.load(); snapshot != nil {
		snapshot.Produce(p, c.Families())
	}
}

// Run keeps the snapshot fresh until the context is done.
func (c *Usage) Run(ctx context.Context) {
	background.KeepFresh(ctx, c.every, c.atOnce, c.logger, "insights", c.Refresh)
}

// Forget drops the snapshot and asks for one without those who were erased or are hidden now.
func (c *Usage) Forget(context.Context) error {
	c.snapshot.drop()
	background.Nudge(c.atOnce)
	return nil
}

// Refresh replaces the snapshot by one of the present.
func (c *Usage) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, insightsTimeout)
	defer cancel()
	begun := c.snapshot.begin()
	now := c.clock()
	scope, err := metricsScope(ctx, c.store, store.PrivacyFull)
	if err != nil {
		return err
	}
	start := now.Add(-insightsWindow)
	templates, err := c.store.PerTemplate(ctx, scope, c.actors, minute.NewWindow(start, now))
	if err != nil {
		return err
	}
	parameters, err := c.store.ParameterUsage(ctx, scope, c.actors, start, now, store.Floor{})
	if err != nil {
		return err
	}
	ids := slices.Collect(maps.Keys(templates))
	for _, p := range parameters {
		ids = append(ids, p.Templates...)
	}
	names, err := c.store.TemplateNames(ctx, ids)
	if err != nil {
		return err
	}
	snapshot := exposition.Samples{}
	addTemplates(snapshot, templates, names)
	addParameters(snapshot, parameters, names)
	c.snapshot.store(&snapshot, begun)
	return nil
}

// metricsScope is the templates that metrics are about, whoever scrapes: those whose privacy mode is as strict as that at most.
// They are read with the rights of an auditor, which is to see all insights and to change nothing.
func metricsScope(ctx context.Context, s *store.Store, strictest store.PrivacyMode) (access.Scope, error) {
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return access.Scope{}, err
	}
	var shown []uuid.UUID // none: all
	if !strictest.AtLeast(modes.Strictest()) {
		organizations, err := s.OrganizationsOf(ctx, nil)
		if err != nil {
			return access.Scope{}, err
		}
		for template, organization := range organizations {
			if strictest.AtLeast(modes.Of(organization)) {
				shown = append(shown, template)
			}
		}
		if len(shown) == 0 {
			return access.Scope{}, nil
		}
	}
	system := access.Principal{Kind: access.KindService, Name: "metrics"}.With(access.Binding{Role: access.RoleAuditor})
	scope, err := access.Templates(system, access.ViewInsights, shown, nil)
	if err != nil {
		return scope, fmt.Errorf("find what metrics may show: %w", err)
	}
	return scope, nil
}

func addTemplates(to exposition.Samples, templates map[uuid.UUID]store.TemplateInsights, names map[uuid.UUID]store.TemplateName) {
	for id, insights := range templates {
		name := names[id]
		to.Add(activeUsersFamily, float64(insights.ActiveUsers), name.Template, name.Organization)
		for _, app := range insights.Entries() {
			slug := app.Slug
			if app.Builtin {
				slug = ""
			}
			to.Add(usageSecondsFamily, float64(app.Minutes*60), name.Template, app.DisplayName, slug, name.Organization)
		}
	}
}

// A parameter has this many series, those of the most frequent values; all others are in the series of otherValue. Hidden values have
// one beside.
const (
	mostValues = 50
	otherValue = "(other)"
)

// shownParameter is a parameter as labels name it.
type shownParameter struct{ template, name, kind, organization string }

// shownValue is a value as a label names it.
type shownValue struct {
	text   string
	hidden bool
}

// addParameters shows a count in full with every template of its definition, but once per name. A sensitive parameter
// is left out: its values are never shown, and a count without the value says nothing.
func addParameters(to exposition.Samples, parameters []store.ParameterUsage, names map[uuid.UUID]store.TemplateName) {
	counts := map[shownParameter]map[shownValue]int64{}
	for _, p := range parameters {
		if p.Definition.Sensitive {
			continue
		}
		shown := map[store.TemplateName]bool{}
		for _, id := range p.Templates {
			name := names[id]
			if shown[name] {
				continue
			}
			shown[name] = true
			of := shownParameter{name.Template, p.Definition.Name, p.Definition.Type, name.Organization}
			if counts[of] == nil {
				counts[of] = map[shownValue]int64{}
			}
			for _, v := range p.Values {
				counts[of][shownValue{v.Value, v.Hidden}] += v.Count
			}
		}
	}
	for of, values := range counts {
		frequent := slices.SortedFunc(maps.Keys(values), func(a, b shownValue) int {
			return cmp.Or(cmp.Compare(values[b], values[a]), cmp.Compare(a.text, b.text))
		})
		shown := 0
		for _, v := range frequent {
			text := v.text
			if !v.hidden {
				if shown++; shown > mostValues {
					text = otherValue
				}
			}
			to.Add(parametersFamily, float64(values[v]), of.template, of.name, of.kind, text, of.organization)
		}
	}
}
