package server_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// editorsOf are the names of the session apps of a report, ascending.
func editorsOf(r *insightsv1.TemplateInsightsReport) []string {
	var names []string
	for _, a := range append(r.GetAppsUsage(), r.GetUnknownUsage()) {
		for _, e := range a.GetEditors() {
			names = append(names, e.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// What agents call their sessions, in the map or in the older fields, comes out as the vector says.
func TestSessionCountVector(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors/ingest/session_counts.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Names   []struct{ Given, Want string }
		Reports []struct {
			Name   string
			Fields map[string]int64
			Map    map[string]int64
			Want   map[string]int64
		}
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	type given struct {
		report insightsv1.AgentReport
		want   []string
	}
	cases := map[string]*given{}
	for _, n := range v.Names {
		cases["name "+n.Given] = &given{insightsv1.AgentReport{SessionCounts: map[string]int64{n.Given: 1}}, []string{n.Want}}
	}
	for _, r := range v.Reports {
		cases[r.Name] = &given{insightsv1.AgentReport{
			SessionCounts: r.Map, SessionCountVscode: r.Fields["vscode"], SessionCountJetbrains: r.Fields["jetbrains"],
			SessionCountReconnectingPty: r.Fields["reconnecting_pty"], SessionCountSsh: r.Fields["ssh"],
		}, slices.Sorted(maps.Keys(r.Want))}
	}
	for database, open := range servertest.Databases {
		for name, c := range cases {
			t.Run(database+"/"+name, func(t *testing.T) {
				t.Parallel()
				f := storetest.NewFixture(t, open(t))
				r := run(t, f.Database, storetest.Now, nil)
				report := &insightsv1.AgentReport{
					SessionCounts: c.report.GetSessionCounts(), SessionCountVscode: c.report.GetSessionCountVscode(),
					SessionCountJetbrains:       c.report.GetSessionCountJetbrains(),
					SessionCountReconnectingPty: c.report.GetSessionCountReconnectingPty(), SessionCountSsh: c.report.GetSessionCountSsh(),
					AgentId: f.Agents[0][0].String(), CollectedAt: timestamppb.New(storetest.Now.Add(-time.Minute)), ConnectionCount: 1,
				}
				r.ReportStats(t, r.Token(t, access.RoleControlPlane, servertest.Everywhere), []*insightsv1.AgentReport{report})
				answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateInsights,
					r.Token(t, access.RoleOwner, servertest.Everywhere),
					&insightsv1.GetTemplateInsightsRequest{StartTime: "2023-08-15T00:00:00Z", EndTime: "2023-08-15T13:00:00Z"})
				if diff := gocmp.Diff(c.want, editorsOf(answer.GetReport()), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("session apps (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A coming form of the answer lists each session app by itself, with its family. Here they stand inside of the entries of
// their families, with the same templates and times.
func TestNextVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/vectors/next/*.json")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				vector
				Expected struct {
					Report struct {
						Apps []nextApp `json:"apps_usage"`
					}
				}
			}
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			r := run(t, storetest.SQLite(t), v.Clock.Now, nil)
			v.feed(t, r)
			answer := servertest.Must(t, insightsv1.NewInsightsServiceClient(r.Conn).GetTemplateInsights,
				r.Token(t, access.RoleOwner, servertest.Everywhere),
				&insightsv1.GetTemplateInsightsRequest{
					StartTime: v.Query.StartTime, EndTime: v.Query.EndTime, TemplateIds: v.Query.TemplateIDs,
				})
			var got []nextApp
			for _, a := range answer.GetReport().GetAppsUsage() {
				if a.GetType() == "app" {
					got = append(got, nextApp{a.GetTemplateIds(), a.GetSlug(), a.GetSeconds(), a.GetFamily()})
				}
				for _, e := range a.GetEditors() {
					got = append(got, nextApp{e.GetTemplateIds(), e.GetName(), e.GetSeconds(), a.GetFamily()})
				}
			}
			bySlug := func(a, b nextApp) int { return cmp.Compare(a.Slug, b.Slug) }
			slices.SortFunc(got, bySlug)
			slices.SortFunc(v.Expected.Report.Apps, bySlug)
			if diff := gocmp.Diff(v.Expected.Report.Apps, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("apps (-want +got):\n%s", diff)
			}
		})
	}
}

// nextApp is an entry of the coming form, without what people see.
type nextApp struct {
	TemplateIDs []string `json:"template_ids"`
	Slug        string
	Seconds     int64
	Family      string
}
