// Package storetest holds what every database must do for the store, as a suite, and starts real databases for tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
)

// Now is the moment at which the suite's stores live: noon of a Tuesday.
var Now = time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)

// Run runs the suite. Open returns the name of a fresh database with a current schema.
func Run(t *testing.T, open func(testing.TB) string) {
	for name, test := range map[string]func(*testing.T, *Fixture){
		"catalog keeps what belongs":        catalogKeepsParents,
		"catalog stays in its organization": catalogConfined,
		"organizations have names alone":    organizationNames,
		"groups keep their past":            groupsKeepTheirPast,
		"times of members":                  timesOfMembers,
		"past of groups expires":            pastOfGroupsExpires,
		"directory follows the catalog":     directoryFollows,
		"app takes its newest definition":   newestApp,
		"families with a floor":             familiesWithFloor,
		"known apps among many":             knownAmongMany,
		"names of those who are left out":   namesOfOthers,
		"agents are called by their names":  agentNames,
		"parameters of newest starts":       parametersOfLatestBuilds,
		"parameters of newest versions":     parametersOfNewestVersions,
		"parameters of random builds":       parametersOfRandomBuilds,
		"tokens":                            tokens,
		"retention":                         retention,
		"privacy modes":                     privacyModes,
		"privacy mode decided once":         privacyModeDecidedOnce,
		"page tokens":                       pageTokens,
		"newest events count":               newestEvents,
		"series of the control plane":       controlPlaneSeries,
		"what lives":                        liveOnes,
		"first connections":                 firstConnections,
		"ended builds":                      endedBuilds,
		"corrections lower no count":        corrections,
		"values that look like credentials": hiddenValues,
		"values take time to look at":       hiddenValuesTakeTime,
		"jobs":                              jobs,
		"what was built":                    whatWasBuilt,
		"first token":                       firstToken,
		"first token beside an owner":       firstTokenBesideOwner,
		"sessions":                          sessions,
		"tokens for one call":               oneCall,
		"roles":                             roles,
		"subjects are given once":           subjectsOnce,
		"regions of seats":                  regionsOfSeats,
		"what is not stored":                unstoredItems,
		"roles of another system":           rolesOfAnotherSystem,
		"how far an import has come":        importedUntil,
		"who follows another system":        following,
		"when the first import began":       firstImport,
		"actors":                            actors,
		"days are published once":           published,
		"floor of what was published":       publishedFloor,
		"machines of what was published":    publishedMachines,
		"statuses are published once":       publishedStatuses,
		"queries of what was published":     publishedQueries,
		"publication in order":              publicationInOrder,
		"publication gives way":             publicationGivesWay,
		"queries":                           queries,
		"queries by app":                    queriesByApp,
		"bounds of workspaces":              boundsOfWorkspaces,
		"queries of workspaces":             queriesOfWorkspaces,
		"queries by parameters":             queriesByParameter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, NewFixture(t, open(t)))
		})
	}
}

// Fixture is a store with a small catalog: one organization, two templates, three users with a workspace and an agent
// in each template.
type Fixture struct {
	*store.Store
	Database     string
	Organization uuid.UUID
	Templates    [2]uuid.UUID
	Users        [3]uuid.UUID
	Agents       [2][3]uuid.UUID // by template and user
	Workspaces   [2][3]uuid.UUID
	Subject      map[uuid.UUID]int64 // of users, at no workspace
	Everything   access.Scope
}

// Anyone may write everything.
var anyone = store.Authority{Organization: func(uuid.UUID) bool { return true }, ManageAccess: true}

// NewFixture fills a fresh database.
func NewFixture(t *testing.T, database string) *Fixture {
	t.Helper()
	f := &Fixture{Store: Open(t, database, Now), Database: database, Organization: uuid.New()}
	c := store.Catalog{Organizations: []store.Organization{{ID: f.Organization, Name: "acme"}}}
	for i := range f.Users {
		f.Users[i] = uuid.New()
		c.Users = append(c.Users, store.User{
			ID: f.Users[i], Username: fmt.Sprintf("user%d", i), Kind: "human", Status: "active",
			OrganizationIDs: []uuid.UUID{f.Organization},
		})
	}
	for t := range f.Templates {
		f.Templates[t] = uuid.New()
		c.Templates = append(c.Templates, store.Template{
			ID: f.Templates[t], OrganizationID: f.Organization, Name: fmt.Sprintf("template%d", t),
		})
		for u := range f.Users {
			f.Workspaces[t][u], f.Agents[t][u] = uuid.New(), uuid.New()
			c.Workspaces = append(c.Workspaces, store.Workspace{
				ID: f.Workspaces[t][u], OwnerID: f.Users[u], TemplateID: f.Templates[t], Name: "w",
			})
			c.Agents = append(c.Agents, store.Agent{
				ID: f.Agents[t][u], WorkspaceID: f.Workspaces[t][u], Name: "main", CreatedAt: store.At(Now.Add(-time.Hour)),
			})
		}
	}
	f.apply(t, c)
	subjects, err := f.Subjects(t.Context(), AtNoWorkspace(f.Users[:]...))
	if err != nil {
		t.Fatal(err)
	}
	f.Subject = map[uuid.UUID]int64{}
	for visit, subject := range subjects {
		f.Subject[visit.User] = subject
	}
	f.Everything = Everything(t)
	return f
}

// AtNoWorkspace are users of whose usage no workspace is known.
func AtNoWorkspace(users ...uuid.UUID) []store.Visit {
	visits := make([]store.Visit, len(users))
	for i, user := range users {
		visits[i] = store.Visit{User: user}
	}
	return visits
}

// Everything is the scope of who may see every template.
func Everything(t testing.TB) access.Scope {
	t.Helper()
	owner := access.Principal{Kind: access.KindService, ID: uuid.New()}.With(access.Binding{Role: access.RoleOwner})
	scope, err := access.Templates(owner, access.ViewInsights, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return scope
}

// pageCacheVariable names the bytes of the page cache of stores: 0 lets rows tell of all days, very many let sums tell.
const pageCacheVariable = "INSIGHTS_TEST_PAGE_CACHE"

// pageCache is what the variable says, or so small that sums tell of some days and rows of others.
func pageCache(t testing.TB) int {
	t.Helper()
	given := os.Getenv(pageCacheVariable)
	if given == "" {
		return 16 << 10
	}
	bytes, err := strconv.Atoi(given)
	if err != nil {
		t.Fatalf("%s: %v", pageCacheVariable, err)
	}
	return bytes
}

// Open opens a store whose clock stands still and whose page cache is small, and closes it with the test.
func Open(t testing.TB, database string, now time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{
		Database: database, Pooler: isPooled(database), CitusWorkers: CitusWorkers(database),
		Clock: func() time.Time { return now }, PageCache: pageCache(t), PrivacyKey: PrivacyKey(t, database),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// OpenDB opens the connections to a database, and closes them with the test.
func OpenDB(t testing.TB, database string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Database: database, Pooler: isPooled(database), CitusWorkers: CitusWorkers(database)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (f *Fixture) apply(t testing.TB, c store.Catalog) {
	t.Helper()
	refusals, err := f.ApplyCatalog(t.Context(), c, anyone)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
}

// Row is a connected half hour of a user's session at a time of the day of Now.
func (f *Fixture) Row(template, user int, halfHour int32, minutes minute.Mask) store.OpenRow {
	day := int32(Now.Unix()/86400) * minute.HalfHoursPerDay
	return store.OpenRow{Template: f.Templates[template], Row: minute.Row{
		HalfHour: day + halfHour, Subject: f.Subject[f.Users[user]], Kind: minute.Session, App: "vscode", Minutes: minutes, Connected: true,
	}}
}

func (f *Fixture) latency(template, user int, halfHour int32, minutes minute.Mask, bins ...byte) store.OpenRow {
	r := f.Row(template, user, halfHour, minutes)
	r.Kind, r.App, r.Connected, r.Bins = minute.Connection, "", false, bins
	return r
}

// MustMerge makes rows durable.
func (f *Fixture) MustMerge(t testing.TB, rows ...store.OpenRow) {
	t.Helper()
	if err := f.Merge(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
}

// today is the window of the day of Now.
func today() minute.Window {
	start := Now.Truncate(24 * time.Hour)
	return minute.NewWindow(start, start.Add(24*time.Hour))
}

// Answer is every usage answer for the day of Now.
type Answer struct {
	Insights store.TemplateInsights
	Activity []store.UserUsage
	Latency  []store.UserLatency
}

// Ask asks all usage questions for the day of Now.
func (f *Fixture) Ask(t testing.TB) Answer {
	t.Helper()
	return f.AskIn(t.Context(), t)
}

// AskIn is Ask in a context, such as that of a question which a replica answers.
func (f *Fixture) AskIn(ctx context.Context, t testing.TB) (a Answer) {
	t.Helper()
	var errs [3]error
	a.Insights, errs[0] = f.TemplateInsights(ctx, f.Everything, minute.People, today(), store.Floor{})
	a.Activity, _, errs[1] = f.UserActivity(ctx, f.Everything, minute.People, today())
	a.Latency, _, errs[2] = f.UserLatency(ctx, f.Everything, minute.People, today())
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return a
}
