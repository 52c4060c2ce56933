package server_test

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// vector is an input with the answer that the service must give.
type vector struct {
	Clock    struct{ Now time.Time }
	Settings struct {
		UsageStatsEnabled *bool `json:"usage_stats_enabled"`
	}
	Templates []struct {
		ID             string
		Name           string
		OrganizationID string `json:"organization_id"`
		Deleted        bool
		Apps           []*insightsv1.App
	}
	Users      []*insightsv1.User
	Workspaces []struct {
		ID         string
		Name       string
		OwnerID    string `json:"owner_id"`
		TemplateID string `json:"template_id"`
		AgentID    string `json:"agent_id"`
	}
	TemplateVersions []*insightsv1.TemplateVersion `json:"template_versions"`
	Builds           []vectorBuild
	AgentStats       []vectorStats   `json:"agent_stats"`
	AppSessions      []vectorSession `json:"app_sessions"`
	Estimates        []vectorEstimate
	Query            vectorQuery
	ExpectedStatus   int `json:"expected_status"`
	Expected         any
	Alternates       map[string][]any `json:"expected_alternates"`
}

type vectorBuild struct {
	ID                string
	WorkspaceID       string `json:"workspace_id"`
	TemplateVersionID string `json:"template_version_id"`
	Number            int64  `json:"build_number"`
	Transition        string
	CreatedAt         time.Time                    `json:"created_at"`
	Parameters        []*insightsv1.BuildParameter // each with a source that the service does not need
}

// vectorStats is a run of reports: one every step from start until before end.
type vectorStats struct {
	AgentID         string `json:"agent_id"`
	Start           time.Time
	End             time.Time
	StepSeconds     int              `json:"step_seconds"`
	ConnectionCount int64            `json:"connection_count"`
	MedianLatency   float64          `json:"connection_median_latency_ms"`
	SessionCounts   map[string]int64 `json:"session_counts"`
}

type vectorSession struct {
	AgentID      string    `json:"agent_id"`
	UserID       string    `json:"user_id"`
	AccessMethod string    `json:"access_method"`
	SlugOrPort   string    `json:"slug_or_port"`
	StartedAt    time.Time `json:"started_at"`
	EndedAt      time.Time `json:"ended_at"`
}

// vectorEstimate is what another system knew of a half hour: in how many minutes a person used an app in a template.
type vectorEstimate struct {
	UserID     uuid.UUID `json:"user_id"`
	TemplateID uuid.UUID `json:"template_id"`
	HalfHour   time.Time `json:"half_hour"`
	App        string
	Minutes    int
}

type vectorQuery struct {
	Endpoint    string
	StartTime   string   `json:"start_time"`
	EndTime     string   `json:"end_time"`
	TemplateIDs []string `json:"template_ids"`
	Interval    string
	Sections    []string
	TZOffset    *int `json:"tz_offset"`
}

// vectors reads all vectors of this service by the names of their files.
func vectors(t testing.TB) map[string]vector {
	t.Helper()
	found := map[string]vector{}
	for _, folder := range []string{"template", "user-activity", "latency", "edge", "daus", "seats"} {
		files, err := fs.Glob(os.DirFS("testdata/vectors"), folder+"/*.json")
		if err != nil || len(files) == 0 {
			t.Fatal("no vectors in", folder, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join("testdata/vectors", file))
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			found[strings.TrimSuffix(file, ".json")] = v
		}
	}
	return found
}

func (v vector) usageStats() bool {
	return v.Settings.UsageStatsEnabled == nil || *v.Settings.UsageStatsEnabled
}

// catalog is what the control plane knows. Each agent of a template declares all its apps.
func (v vector) catalog() *insightsv1.ApplyCatalogRequest {
	c := &insightsv1.ApplyCatalogRequest{Users: v.Users, TemplateVersions: v.TemplateVersions}
	organizations := map[string]bool{}
	apps := map[string][]*insightsv1.App{}
	created := timestamppb.New(v.Clock.Now.AddDate(-1, 0, 0))
	for _, t := range v.Templates {
		if !organizations[t.OrganizationID] {
			organizations[t.OrganizationID] = true
			c.Organizations = append(c.Organizations, &insightsv1.Organization{Id: t.OrganizationID, Name: t.OrganizationID})
		}
		template := &insightsv1.Template{Id: t.ID, OrganizationId: t.OrganizationID, Name: t.Name, CreatedAt: created}
		if t.Deleted {
			template.DeletedAt = timestamppb.New(v.Clock.Now)
		}
		c.Templates = append(c.Templates, template)
		apps[t.ID] = t.Apps
	}
	for _, u := range c.Users {
		u.CreatedAt = created
	}
	for _, version := range c.TemplateVersions {
		version.Name, version.CreatedAt = "version", created
	}
	for _, w := range v.Workspaces {
		c.Workspaces = append(c.Workspaces, &insightsv1.Workspace{
			Id: w.ID, OwnerId: w.OwnerID, TemplateId: w.TemplateID, Name: w.Name, CreatedAt: created,
		})
		c.Agents = append(c.Agents, &insightsv1.Agent{Id: w.AgentID, WorkspaceId: w.ID, Name: "main", CreatedAt: created})
		for _, a := range apps[w.TemplateID] {
			c.Apps = append(c.Apps, &insightsv1.App{
				AgentId: w.AgentID, Slug: a.GetSlug(), DisplayName: a.GetDisplayName(), Icon: a.GetIcon(),
			})
		}
	}
	return c
}

// reports are the reports of all agents that exist at the vector's present.
func (v vector) reports() []*insightsv1.AgentReport {
	var reports []*insightsv1.AgentReport
	for _, s := range v.AgentStats {
		for at := s.Start; at.Before(s.End) && at.Before(v.Clock.Now); at = at.Add(time.Duration(s.StepSeconds) * time.Second) {
			reports = append(reports, &insightsv1.AgentReport{
				AgentId: s.AgentID, CollectedAt: timestamppb.New(at), ConnectionCount: s.ConnectionCount,
				ConnectionMedianLatencyMs: s.MedianLatency, SessionCounts: s.SessionCounts,
			})
		}
	}
	return reports
}

// sessions are the sessions of apps, of which those that still run end at the vector's present.
func (v vector) sessions() []*insightsv1.AppSession {
	var sessions []*insightsv1.AppSession
	for _, s := range v.AppSessions {
		if !s.StartedAt.Before(v.Clock.Now) {
			continue
		}
		if s.EndedAt.After(v.Clock.Now) {
			s.EndedAt = v.Clock.Now
		}
		sessions = append(sessions, &insightsv1.AppSession{
			AgentId: s.AgentID, UserId: s.UserID, AccessMethod: s.AccessMethod, SlugOrPort: s.SlugOrPort,
			StartedAt: timestamppb.New(s.StartedAt), EndedAt: timestamppb.New(s.EndedAt),
		})
	}
	return sessions
}

// events are the builds that exist at the vector's present.
func (v vector) events() []*insightsv1.Event {
	var events []*insightsv1.Event
	for _, b := range v.Builds {
		if !b.CreatedAt.Before(v.Clock.Now) {
			continue
		}
		at := timestamppb.New(b.CreatedAt)
		events = append(events, &insightsv1.Event{At: at, Kind: &insightsv1.Event_Build{Build: &insightsv1.Build{
			Id: b.ID, WorkspaceId: b.WorkspaceID, TemplateVersionId: b.TemplateVersionID, Number: b.Number,
			Transition: b.Transition, Status: "succeeded", CreatedAt: at, Parameters: b.Parameters,
		}}})
	}
	return events
}

func (q vectorQuery) params() url.Values {
	if q.TZOffset != nil {
		return url.Values{"tz_offset": {strconv.Itoa(*q.TZOffset)}}
	}
	params := url.Values{"start_time": {q.StartTime}, "end_time": {q.EndTime}}
	for name, value := range map[string]string{
		"template_ids": strings.Join(q.TemplateIDs, ","), "interval": q.Interval, "sections": strings.Join(q.Sections, ","),
	} {
		if value != "" {
			params.Set(name, value)
		}
	}
	return params
}

// feed tells a server all that the vector says.
func (v vector) feed(t *testing.T, r *running) {
	t.Helper()
	controlPlane := r.Token(t, access.RoleControlPlane, servertest.Everywhere)
	r.Apply(t, controlPlane, v.catalog())
	r.ReportEvents(t, controlPlane, v.events())
	r.ReportSessions(t, controlPlane, v.sessions())
	for batch := range slices.Chunk(v.reports(), 500) {
		r.ReportStats(t, controlPlane, batch)
	}
	v.estimate(t, r.Store)
}

// estimate tells a store what another system knew.
func (v vector) estimate(t *testing.T, s *store.Store) {
	t.Helper()
	var rows []store.OpenRow
	for _, e := range v.Estimates {
		visit := store.Visit{User: e.UserID}
		subjects, err := s.Subjects(t.Context(), []store.Visit{visit})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, store.OpenRow{Template: e.TemplateID, Row: minute.Row{
			HalfHour: int32(e.HalfHour.Unix() / 1800), Subject: subjects[visit], Kind: minute.ImportedSession, App: e.App,
			Minutes: 1<<e.Minutes - 1,
		}})
	}
	if err := s.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// check asks a server for the vector's answer, which is one about everybody. Where all accounts are people, that about people is the
// same.
func (v vector) check(t *testing.T, r *running, owner string) {
	t.Helper()
	of := []string{"all"}
	if !slices.ContainsFunc(v.Users, func(u *insightsv1.User) bool { return !slices.Contains([]string{"", store.Human}, u.GetKind()) }) {
		of = append(of, "")
	}
	for _, actor := range of {
		params := v.Query.params()
		if actor != "" {
			params.Set("actor", actor)
		}
		status, body := r.Get(t, owner, v.Query.Endpoint, params)
		if status != v.ExpectedStatus {
			t.Fatalf("actor %q: status %d, want %d: %v", actor, status, v.ExpectedStatus, body)
		}
		for _, difference := range v.compare("", v.Expected, body) {
			t.Errorf("actor %q: %s", actor, difference)
		}
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for database, open := range servertest.Databases {
		for name, v := range vectors(t) {
			t.Run(database+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := run(t, open(t), v.Clock.Now, func(c *server.Options) { c.UsageStats = v.usageStats() })
				v.feed(t, r)
				v.check(t, r, r.Token(t, access.RoleOwner, servertest.Everywhere))
			})
		}
	}
}
