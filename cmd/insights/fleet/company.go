// Package fleet is a simulated company: a catalog of workspaces, people who work in them in the rhythm of working days,
// and agents and a proxy that report it. The same seed gives the same company, and the same minute the same work.
package fleet

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// Sizes of the company.
const (
	templates  = 12
	users      = 150
	workspaces = 200
	month      = 30 * 24 * time.Hour
)

// Company is a company at a moment, with a month behind it.
type Company struct {
	// Catalog is all that the control plane knows.
	Catalog *insightsv1.ApplyCatalogRequest
	// Events are those of the last month: builds, their jobs, logins, and what became of the agents and of people.
	Events []*insightsv1.Event

	people     []*person
	workspaces []*workspace
	random     *rand.Rand
	now        time.Time
}

// workspace is where one person works.
type workspace struct {
	id, agent    uuid.UUID
	owner        *person
	organization string // of its template
	version      *insightsv1.TemplateVersion
	builds       int64 // so far
	seed         uint64
	use          float64 // part of the owner's days of work on which it is used
	editor       string  // session app that the person prefers
	app          string  // workspace app that the person likes, or ""
	latency      float64 // typical round trip in milliseconds
}

var organizationNames = []string{"platform", "product", "research"}

var templateKinds = []struct {
	name, displayName string
	apps              []string
}{
	{"docker", "Docker", []string{"code-server", "terminal-ui"}},
	{"kubernetes", "Kubernetes pod", []string{"code-server", "k9s"}},
	{"data-science", "Data science", []string{"jupyter", "rstudio"}},
	{"frontend", "Frontend", []string{"code-server", "storybook"}},
}

var appNames = map[string]string{
	"code-server": "code-server", "terminal-ui": "Terminal UI", "k9s": "K9s", "jupyter": "JupyterLab", "rstudio": "RStudio",
	"storybook": "Storybook",
}

// editors are the session apps by popularity.
var editors = []string{
	"vscode", "vscode", "vscode", "vscode", "cursor", "cursor", "jetbrains", "jetbrains", "ssh", "ssh", "reconnecting_pty", "zed",
}

// NewCompany makes the company of a seed as it is at a moment.
func NewCompany(seed uint64, now time.Time) *Company {
	c := &Company{Catalog: &insightsv1.ApplyCatalogRequest{}, random: rand.New(rand.NewPCG(seed, seed)), now: now}
	for _, name := range organizationNames {
		c.Catalog.Organizations = append(c.Catalog.Organizations, &insightsv1.Organization{
			Id: c.id().String(), Name: name, DisplayName: name,
		})
	}
	for i := range templates {
		c.addTemplate(i)
	}
	for i := range users {
		c.addPerson(i)
	}
	for i := range workspaces {
		c.addWorkspace(i)
	}
	c.Events = append(c.Events, c.logins(now.Add(-month), now)...)
	return c
}

// id is the next id of the company.
func (c *Company) id() uuid.UUID {
	id, err := uuid.NewRandomFromReader(randomReader{c.random})
	if err != nil {
		panic(err) // the reader never fails
	}
	return id
}

type randomReader struct{ *rand.Rand }

func (r randomReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (c *Company) addTemplate(i int) {
	kind, organization := templateKinds[i%len(templateKinds)], c.Catalog.GetOrganizations()[i%len(organizationNames)]
	// Half of the templates are younger than five weeks.
	created := c.now.Add(-time.Duration(10+7*i) * 24 * time.Hour)
	t := &insightsv1.Template{
		Id: c.id().String(), OrganizationId: organization.GetId(), Name: fmt.Sprintf("%s-%d", kind.name, i/len(templateKinds)+1),
		DisplayName: kind.displayName, Icon: "/icon/" + kind.name + ".svg", CreatedAt: timestamppb.New(created),
	}
	c.Catalog.Templates = append(c.Catalog.Templates, t)
	c.Catalog.TemplateVersions = append(c.Catalog.TemplateVersions, &insightsv1.TemplateVersion{
		Id: c.id().String(), TemplateId: t.GetId(), Name: "v1", CreatedAt: timestamppb.New(created), Parameters: parameters(),
	})
}

// parameters are those of every template.
func parameters() []*insightsv1.Parameter {
	options := func(values ...string) []*insightsv1.ParameterOption {
		var list []*insightsv1.ParameterOption
		for _, v := range values {
			list = append(list, &insightsv1.ParameterOption{Name: v, Value: v})
		}
		return list
	}
	return []*insightsv1.Parameter{
		{
			Name: "region", DisplayName: "Region", Type: "string", Description: "Where the workspace runs.", DefaultValue: "eu-west",
			Options: options("eu-west", "us-east", "ap-south"),
		},
		{
			Name: "cpu", DisplayName: "CPU cores", Type: "number", Description: "How many **cores** it gets.", DefaultValue: "4",
			Options: options("2", "4", "8", "16"),
		},
		{
			Name: "memory_gb", DisplayName: "Memory", Type: "number", Description: "Gigabytes of memory.", DefaultValue: "8",
			Options: options("8", "16", "32"),
		},
		{Name: "dotfiles", DisplayName: "Dotfiles", Type: "string", Description: "A repository to install from.", DefaultValue: ""},
	}
}

func (c *Company) addWorkspace(i int) {
	n := i % templates
	template, version := c.Catalog.GetTemplates()[n], c.Catalog.GetTemplateVersions()[n]
	w := &workspace{
		id: c.id(), agent: c.id(), owner: c.people[i%users], organization: template.GetOrganizationId(), version: version,
		seed: c.random.Uint64(), use: 1, editor: editors[c.random.IntN(len(editors))], latency: 8 + 60*c.random.ExpFloat64(),
	}
	if i >= users { // It is somebody's second one.
		w.use = 0.5
	}
	apps := templateKinds[n%len(templateKinds)].apps
	if c.random.Float64() < 0.6 {
		w.app = apps[c.random.IntN(len(apps))]
	}
	created := timestamppb.New(c.now.Add(-month - time.Duration(c.random.IntN(20*24))*time.Hour))
	c.Catalog.Workspaces = append(c.Catalog.Workspaces, &insightsv1.Workspace{
		Id: w.id.String(), OwnerId: w.owner.id.String(), TemplateId: template.GetId(), Name: fmt.Sprintf("dev-%d", i/users+1),
		CreatedAt: created,
	})
	c.Catalog.Agents = append(c.Catalog.Agents, &insightsv1.Agent{
		Id: w.agent.String(), WorkspaceId: w.id.String(), Name: "main", CreatedAt: c.agentCreated(w),
	})
	for _, slug := range apps {
		c.Catalog.Apps = append(c.Catalog.Apps, &insightsv1.App{
			AgentId: w.agent.String(), Slug: slug, DisplayName: appNames[slug], Icon: "/icon/" + slug + ".svg",
		})
	}
	c.workspaces = append(c.workspaces, w)
	c.Events = append(c.Events, w.ready(apps, c.now))
	for _, age := range []time.Duration{25, 11, 2} {
		w.builds++
		at := c.now.Add(-age*24*time.Hour - time.Duration(c.random.IntN(1000))*time.Minute)
		p := c.provision(w, w.builds, at)
		p.begin(at.Add(time.Second))
		p.end(at.Add(time.Duration(20+c.random.IntN(100))*time.Second), "succeeded")
		c.Events = append(c.Events, p.events(at)...)
	}
}

// agentCreated is when the agent of a workspace was made: some seconds before its first report.
func (c *Company) agentCreated(w *workspace) *timestamppb.Timestamp {
	first := c.now
	for r := range c.history(w) {
		first = r.GetCollectedAt().AsTime()
		break
	}
	return timestamppb.New(first.Add(-time.Duration(5+w.seed%200) * time.Second))
}
