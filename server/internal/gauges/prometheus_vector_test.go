package gauges

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/server/servertest/wiretest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// prometheusVector is the format insights-prometheus/1.
type prometheusVector struct {
	Clock         struct{ Now time.Time }
	Organizations []struct {
		ID   uuid.UUID
		Name string
	}
	Templates []struct {
		ID             uuid.UUID
		Name           string
		OrganizationID uuid.UUID `json:"organization_id"`
		Apps           []struct {
			Slug        string
			DisplayName string `json:"display_name"`
			Icon        string
		}
	}
	Users []struct {
		ID       uuid.UUID
		Username string
	}
	Workspaces []struct {
		ID         uuid.UUID
		TemplateID uuid.UUID `json:"template_id"`
		OwnerID    uuid.UUID `json:"owner_id"`
		AgentID    uuid.UUID `json:"agent_id"`
	}
	AgentStats []struct {
		WorkspaceID     uuid.UUID `json:"workspace_id"`
		Start, End      time.Time
		StepSeconds     int            `json:"step_seconds"`
		RowCount        int            `json:"row_count"`
		ConnectionCount int            `json:"connection_count"`
		SessionCounts   map[string]int `json:"session_counts"`
	} `json:"agent_stats"`
	AppSessions []struct {
		WorkspaceID uuid.UUID `json:"workspace_id"`
		UserID      uuid.UUID `json:"user_id"`
		SlugOrPort  string    `json:"slug_or_port"`
		StartedAt   time.Time `json:"started_at"`
		EndedAt     time.Time `json:"ended_at"`
	} `json:"app_sessions"`
	TemplateVersions []struct {
		ID         string
		TemplateID uuid.UUID `json:"template_id"`
		Parameters []struct{ Name, Type string }
	} `json:"template_versions"`
	Builds []struct {
		WorkspaceID       uuid.UUID `json:"workspace_id"`
		TemplateVersionID string    `json:"template_version_id"`
		BuildNumber       int64     `json:"build_number"`
		CreatedAt         time.Time `json:"created_at"`
		Parameters        []store.BuildParameter
	}
	Expected []struct {
		Metric string
		Labels map[string]string
		Value  float64
	}
}

// feed fills the store with the input of the vector.
func (v prometheusVector) feed(t testing.TB, f *insightsFixture) {
	t.Helper()
	name := func(text string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(text)) }
	var c store.Catalog
	templateOf, agentOf := map[uuid.UUID]uuid.UUID{}, map[uuid.UUID]uuid.UUID{}
	for _, o := range v.Organizations {
		c.Organizations = append(c.Organizations, store.Organization{ID: o.ID, Name: o.Name})
	}
	for _, u := range v.Users {
		c.Users = append(c.Users, store.User{
			ID: u.ID, Username: u.Username, Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{},
		})
	}
	for _, w := range v.Workspaces {
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: w.ID, TemplateID: w.TemplateID, OwnerID: w.OwnerID, Name: "w"})
		c.Agents = append(c.Agents, store.Agent{ID: w.AgentID, WorkspaceID: w.ID, Name: "main"})
		templateOf[w.ID], agentOf[w.TemplateID] = w.TemplateID, w.AgentID
	}
	for _, x := range v.Templates {
		c.Templates = append(c.Templates, store.Template{ID: x.ID, Name: x.Name, OrganizationID: x.OrganizationID})
		for _, a := range x.Apps {
			c.Apps = append(c.Apps, store.App{AgentID: agentOf[x.ID], Slug: a.Slug, DisplayName: a.DisplayName, Icon: a.Icon})
		}
	}
	for _, x := range v.TemplateVersions {
		version := store.TemplateVersion{ID: name(x.ID), TemplateID: x.TemplateID}
		for _, p := range x.Parameters {
			version.Parameters = append(version.Parameters, store.Parameter{Name: p.Name, Type: p.Type})
		}
		c.Versions = append(c.Versions, version)
	}
	f.apply(t, c)

	for _, s := range v.AgentStats {
		var at []time.Time
		for row := s.Start; row.Before(s.End); row = row.Add(time.Duration(s.StepSeconds) * time.Second) {
			at = append(at, row)
		}
		if len(at) != s.RowCount || s.ConnectionCount == 0 {
			t.Fatalf("%d rows with %d connections, want %d with some", len(at), s.ConnectionCount, s.RowCount)
		}
		for app := range s.SessionCounts {
			f.merge(t, templateOf[s.WorkspaceID], v.Users[0].Username, minute.Session, app, at...)
		}
	}
	for _, s := range v.AppSessions {
		var at []time.Time
		for m := s.StartedAt.Truncate(time.Minute); m.Before(s.EndedAt); m = m.Add(time.Minute) {
			at = append(at, m)
		}
		f.merge(t, templateOf[s.WorkspaceID], v.Users[0].Username, minute.App, s.SlugOrPort, at...)
	}
	var builds []store.Build
	for _, b := range v.Builds {
		builds = append(builds, store.Build{
			ID: uuid.New(), WorkspaceID: b.WorkspaceID, TemplateID: templateOf[b.WorkspaceID], TemplateVersionID: name(b.TemplateVersionID),
			Number: b.BuildNumber, Transition: "start", Status: "succeeded", CreatedAt: store.At(b.CreatedAt), Parameters: b.Parameters,
		})
	}
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
}

func TestInsightsVector(t *testing.T) {
	text, err := os.ReadFile("../../testdata/vectors/prometheus/insights_collector.json")
	if err != nil {
		t.Fatal(err)
	}
	var v prometheusVector
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	// The vector allows this one.
	want := map[string]float64{usageSeries("coder", "golden-template", "SFTP", ""): 0}
	for _, e := range v.Expected {
		want[wiretest.SeriesName(e.Metric, e.Labels)] = e.Value
	}
	wiretest.OnEachDatabase(t, func(t *testing.T, database string) {
		f := newInsightsFixture(t, database, v.Clock.Now)
		v.feed(t, f)
		f.refresh(t)
		if diff := cmp.Diff(want, f.gather(t)); diff != "" {
			t.Errorf("series (-want +got):\n%s", diff)
		}
	})
}
