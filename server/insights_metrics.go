package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

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
	activeUsersFamily = &family{
		name:   "coderd_insights_templates_active_users",
		help:   "Users with any activity in a template during the last five minutes.",
		kind:   gaugeFamily,
		labels: []string{"template_name", "organization_name"},
	}
	usageSecondsFamily = &family{
		name:   "coderd_insights_applications_usage_seconds",
		help:   "Time that users of a template spent in an application during the last five minutes, in seconds, added up over users.",
		kind:   gaugeFamily,
		labels: []string{"template_name", "application_name", "slug", "organization_name"},
	}
	parametersFamily = &family{
		name:   "coderd_insights_parameters",
		help:   "Workspaces whose newest build of the last five minutes used this value of a template parameter.",
		kind:   gaugeFamily,
		labels: []string{"template_name", "parameter_name", "parameter_type", "parameter_value", "organization_name"},
	}
)

// insightsCollector shows the insights of the last five minutes as gauges. Its owner refreshes them in the background;
// a scrape only hands out what is there. Before the first refresh that is nothing.
type insightsCollector struct {
	store    *store.Store
	clock    func() time.Time
	logger   *slog.Logger
	every    time.Duration
	atOnce   chan struct{} // asks for a refresh
	snapshot atomic.Pointer[samples]
}

func newInsightsCollector(o gaugesOptions) *insightsCollector {
	return &insightsCollector{store: o.Store, clock: o.Clock, logger: o.Logger, every: insightsEvery, atOnce: make(chan struct{}, 1)}
}

// families implements [producer].
func (c *insightsCollector) families() []*family {
	return []*family{activeUsersFamily, usageSecondsFamily, parametersFamily}
}

// produce implements [producer].
func (c *insightsCollector) produce(p *metricsPage) {
	if snapshot := c.snapshot.Load(); snapshot != nil {
		snapshot.produce(p, c.families())
	}
}

// run keeps the snapshot fresh until the context is done.
func (c *insightsCollector) run(ctx context.Context) {
	keepFresh(ctx, c.every, c.atOnce, c.logger, "insights", c.refresh)
}

// forget asks for a snapshot without those who were erased.
func (c *insightsCollector) forget(context.Context) error {
	nudge(c.atOnce)
	return nil
}

// refresh replaces the snapshot by one of the present.
func (c *insightsCollector) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, insightsTimeout)
	defer cancel()
	now := c.clock()
	scope, err := metricsScope(ctx, c.store, store.PrivacyFull)
	if err != nil {
		return err
	}
	start := now.Add(-insightsWindow)
	templates, err := c.store.PerTemplate(ctx, scope, minute.NewWindow(start, now))
	if err != nil {
		return err
	}
	parameters, err := c.store.ParameterUsage(ctx, scope, start, now)
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
	snapshot := samples{}
	addTemplates(snapshot, templates, names)
	addParameters(snapshot, parameters, names)
	c.snapshot.Store(&snapshot)
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

func addTemplates(to samples, templates map[uuid.UUID]store.TemplateInsights, names map[uuid.UUID]store.TemplateName) {
	for id, insights := range templates {
		name := names[id]
		to.add(activeUsersFamily, float64(insights.ActiveUsers), name.Template, name.Organization)
		for _, app := range insights.Apps {
			slug := app.Slug
			if app.Builtin {
				slug = ""
			}
			to.add(usageSecondsFamily, float64(app.Minutes*60), name.Template, app.DisplayName, slug, name.Organization)
		}
	}
}

// addParameters shows a count in full with every template of its definition, but once per name. A sensitive parameter
// is left out: its values are never shown, and a count without the value says nothing.
func addParameters(to samples, parameters []store.ParameterUsage, names map[uuid.UUID]store.TemplateName) {
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
			for _, v := range p.Values {
				to.add(parametersFamily, float64(v.Count), name.Template, p.Definition.Name, p.Definition.Type, v.Value, name.Organization)
			}
		}
	}
}
