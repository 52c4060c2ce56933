package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// BenchmarkParameters asks which values of parameters the workspaces of 10,000 people in 50 templates have, who each started theirs once
// or 120 times, daily: in the last 30 days, in 30 days 30 days ago, and on the last day, in all templates, and in one. What they were
// started with is remembered, or read.
func BenchmarkParameters(b *testing.B) {
	for name, open := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "Postgres": storetest.Postgres} {
		for _, starts := range []int{1, 120} {
			b.Run(fmt.Sprintf("%s/starts=%d", name, starts), func(b *testing.B) {
				database := open(b)
				templates := manyStarts(b, database, starts)
				s, err := store.Open(b.Context(), store.Options{Database: database, PageCache: 256 << 20}) // as much as a server remembers
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				one, err := storetest.Everything(b).Within(templates[:1])
				if err != nil {
					b.Fatal(err)
				}
				for scope, of := range map[string]access.Scope{"all templates": storetest.Everything(b), "one template": one} {
					for _, w := range []struct {
						name      string
						from, to  int // days ago
						workspace int64
					}{{"last 30 days", 30, 0, 1}, {"30 days before", 60, 30, int64(min(starts-1, 1))}, {"last day", 1, 0, 1}} {
						start, end := storetest.Now.AddDate(0, 0, -w.from), storetest.Now.AddDate(0, 0, -w.to)
						b.Run(scope+"/"+w.name+"/remembered", func(b *testing.B) {
							checkParameters(b, s, of, start, end, w.workspace)
							for b.Loop() {
								checkParameters(b, s, of, start, end, w.workspace)
							}
						})
						b.Run(scope+"/"+w.name+"/read", func(b *testing.B) {
							for b.Loop() {
								if err := s.Forget(b.Context()); err != nil {
									b.Fatal(err)
								}
								checkParameters(b, s, of, start, end, w.workspace)
							}
						})
					}
				}
			})
		}
	}
}

// people of BenchmarkParameters, and their templates.
const benchedPeople, benchedTemplates = 10_000, 50

// manyStarts fills a database with workspaces that were all started so many times, a day apart, the last time an hour ago.
func manyStarts(b *testing.B, database string, starts int) []uuid.UUID {
	b.Helper()
	s, c := storetest.Open(b, database, storetest.Now), store.Catalog{Organizations: []store.Organization{{ID: uuid.New(), Name: "acme"}}}
	var templates []uuid.UUID
	for i := range benchedTemplates {
		id := uuid.New()
		templates = append(templates, id)
		c.Templates = append(c.Templates, store.Template{ID: id, OrganizationID: c.Organizations[0].ID, Name: fmt.Sprint("template-", i)})
		c.Versions = append(c.Versions, store.TemplateVersion{ID: id, TemplateID: id, Name: "v1", Parameters: []store.Parameter{
			{Name: "region", Type: "string"}, {Name: "cpu", Type: "number"}, {Name: "disk", Type: "number"},
		}})
	}
	var newest []store.Build
	for i := range benchedPeople {
		owner, workspace, template := uuid.New(), uuid.New(), templates[i%benchedTemplates]
		c.Users = append(c.Users, store.User{ID: owner, Username: fmt.Sprint("user-", i), Kind: store.Human, Status: "active"})
		c.Workspaces = append(c.Workspaces, store.Workspace{ID: workspace, OwnerID: owner, TemplateID: template, Name: "main"})
		newest = append(newest, store.Build{
			ID: uuid.New(), WorkspaceID: workspace, TemplateID: template, TemplateVersionID: template, Number: int64(starts),
			Transition: "start", Status: "succeeded", CreatedAt: store.At(storetest.Now.Add(-time.Hour)),
			Parameters: []store.BuildParameter{
				{Name: "region", Value: fmt.Sprint(i % 3)},
				{Name: "cpu", Value: fmt.Sprint(i % 4)},
				{Name: "disk", Value: fmt.Sprint(i % 2)},
			},
		})
	}
	if _, err := s.ApplyCatalog(b.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }}); err != nil {
		b.Fatal(err)
	}
	if err := s.RecordBuilds(b.Context(), newest); err != nil {
		b.Fatal(err)
	}
	id := `gen_random_uuid()`
	if strings.HasPrefix(database, "sqlite:") {
		id = `lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-'
			|| hex(randomblob(6)))`
	}
	err := s.ExecForTest(`INSERT INTO builds (id, workspace_id, template_id, template_version_id, number, transition, status, created_at,
			started_at, finished_at, parameters, superseded_at)
		WITH RECURSIVE earlier(days) AS (SELECT 1 UNION ALL SELECT days + 1 FROM earlier WHERE days < ?)
		SELECT `+id+`, workspace_id, template_id, template_version_id, number - days, transition, status,
			created_at - 86400000000 * days, 0, 0, parameters,
			created_at - 86400000000 * (days - 1) FROM builds, earlier WHERE days < ?`, starts, starts)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.ExecForTest(`ANALYZE builds`); err != nil { // as databases do in the background
		b.Fatal(err)
	}
	return templates
}

// checkParameters asks about values, and fails unless each workspace of the scope counts so many times.
func checkParameters(b *testing.B, s *store.Store, scope access.Scope, start, end time.Time, each int64) {
	b.Helper()
	found, err := s.ParameterUsage(b.Context(), scope, minute.People, start, end, store.Floor{})
	if err != nil {
		b.Fatal(err)
	}
	want, workspaces := each*benchedPeople, int64(0)
	if !scope.All() {
		want /= benchedTemplates
	}
	for _, p := range found {
		if p.Definition.Name == "cpu" {
			for _, v := range p.Values {
				workspaces += v.Count
			}
		}
	}
	if workspaces != want {
		b.Fatalf("%d workspaces, want %d", workspaces, want)
	}
}
