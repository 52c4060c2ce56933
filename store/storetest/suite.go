// Package storetest holds what every database must do for the store, as a suite, and starts real databases for tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
)

// Now is the moment at which the suite's stores live: noon of a Tuesday.
var Now = time.Date(2023, 8, 15, 12, 0, 0, 0, time.UTC)

// Run runs the suite. Open returns the name of a fresh database with a current schema.
func Run(t *testing.T, open func(testing.TB) string) {
	for name, test := range map[string]func(*testing.T, *Fixture){
		"merge is union":                    mergeIsUnion,
		"gate and latencies come apart":     gateAndLatenciesApart,
		"fold changes no answer":            foldChangesNoAnswer,
		"folders and writers at once":       foldersAndWriters,
		"catalog keeps what belongs":        catalogKeepsParents,
		"catalog stays in its organization": catalogConfined,
		"organizations have names alone":    organizationNames,
		"directory follows the catalog":     directoryFollows,
		"app takes its newest definition":   newestApp,
		"agents are called by their names":  agentNames,
		"parameters of newest starts":       parametersOfLatestBuilds,
		"parameters of newest versions":     parametersOfNewestVersions,
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
		"first token":                       firstToken,
		"first token beside an owner":       firstTokenBesideOwner,
		"sessions":                          sessions,
		"tokens for one call":               oneCall,
		"roles":                             roles,
		"subjects are given once":           subjectsOnce,
		"what is not stored":                unstoredItems,
		"usage that is not stored":          unstoredUsage,
		"roles of another system":           rolesOfAnotherSystem,
		"how far an import has come":        importedUntil,
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
	Subject      map[uuid.UUID]int64 // of users
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
	var err error
	if f.Subject, err = f.Subjects(t.Context(), f.Users[:]); err != nil {
		t.Fatal(err)
	}
	f.Everything = Everything(t)
	return f
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

// Open opens a store whose clock stands still and whose page cache is small, and closes it with the test.
func Open(t testing.TB, database string, now time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{
		Database: database, Pooler: isPooled(database), Clock: func() time.Time { return now }, PageCache: 16 << 10,
		PrivacyKey: PrivacyKey(t, database),
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
	a.Insights, errs[0] = f.TemplateInsights(ctx, f.Everything, today(), store.Floor{})
	a.Activity, _, errs[1] = f.UserActivity(ctx, f.Everything, today())
	a.Latency, _, errs[2] = f.UserLatency(ctx, f.Everything, today())
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return a
}

func mergeIsUnion(t *testing.T, f *Fixture) {
	rows := []store.OpenRow{
		f.Row(0, 0, 18, 0b1111), f.Row(0, 0, 18, 0b11000), f.Row(1, 0, 18, 0b100001), // overlap of two templates
		f.Row(0, 1, 23, 1), f.latency(0, 0, 18, 0b11, 100, 110), f.latency(0, 0, 18, 0b110, 120, 130),
	}
	f.MustMerge(t, rows...)
	want := f.Ask(t)
	if got := want.Activity[0].Minutes; got != 6 {
		t.Errorf("user in two templates: %d minutes, want 6", got)
	}
	if got := want.Latency[0].P50; got != minute.BinValue(110) {
		t.Errorf("P50 = %v, want the first sample of each minute: %v", got, minute.BinValue(110))
	}
	for range 5 {
		rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		for _, r := range rows {
			f.MustMerge(t, r)
		}
		if diff := cmp.Diff(want, f.Ask(t)); diff != "" {
			t.Fatalf("resending changed the answer (-first +again):\n%s", diff)
		}
	}
}

// gateAndLatenciesApart: what reports say one after the other about one half hour is united in the database.
func gateAndLatenciesApart(t *testing.T, f *Fixture) {
	behindGate := func(minutes minute.Mask) store.OpenRow {
		r := f.Row(0, 0, 18, minutes)
		r.Connected = false
		return r
	}
	for i, step := range []struct {
		row  store.OpenRow
		want int64
	}{
		{behindGate(0b1), 0},
		{f.Row(0, 0, 18, 0b1), 1},
		{behindGate(0b10), 2},
		{behindGate(0b1), 2},
		{f.Row(0, 0, 18, 0b100), 3},
		{f.latency(0, 0, 18, 0b1, 100), 3},
		{f.latency(0, 0, 18, 0b11, 200, 210), 3},
		{f.latency(0, 0, 18, 0b1, 250), 3},
	} {
		f.MustMerge(t, step.row)
		var got int64
		if users := f.Ask(t).Activity; len(users) > 0 {
			got = users[0].Minutes
		}
		if got != step.want {
			t.Errorf("after row %d: %d minutes, want %d", i, got, step.want)
		}
	}
	u := f.Ask(t).Latency[0]
	if want := (minute.BinValue(100) + minute.BinValue(210)) / 2; u.Samples != 2 || u.P50 != want {
		t.Errorf("%d samples, P50 %v; want the first of each of two minutes, P50 %v", u.Samples, u.P50, want)
	}
}

func foldChangesNoAnswer(t *testing.T, f *Fixture) {
	rows := []store.OpenRow{
		f.Row(0, 0, 18, 0b1111), f.Row(1, 0, 19, 0b1), f.latency(0, 0, 18, 0b11, 100, 110), f.Row(0, 2, 22, 1), f.Row(0, 1, 23, 0b101),
	}
	f.MustMerge(t, rows...)
	want := f.Ask(t)
	report, err := f.Fold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Half hour 22 ended at 11:30 and 23 at noon: too young at 12:00.
	if diff := cmp.Diff(store.FoldReport{Pages: 2, Rows: 3}, report); diff != "" {
		t.Errorf("fold (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, f.Ask(t)); diff != "" {
		t.Errorf("fold changed the answer (-before +after):\n%s", diff)
	}
	// Late, repeated and contradicting rows after the fold: bits unite, the earlier latency stays.
	f.MustMerge(t, append(rows, f.latency(0, 0, 18, 0b1, 200))...)
	if diff := cmp.Diff(want, f.Ask(t)); diff != "" {
		t.Errorf("a repeat after the fold changed the answer:\n%s", diff)
	}
	// The second fold takes the repeats too; the third adds to the page what is in no row any more.
	for late, rows := range [][]store.OpenRow{
		{f.Row(0, 0, 18, 0b10000)}, {f.Row(0, 0, 18, 0b100000), f.latency(0, 0, 18, 0b1001, 200, 130)},
	} {
		f.MustMerge(t, rows...)
		before := f.Ask(t)
		if got, want := before.Activity[0].Minutes, want.Activity[0].Minutes+int64(late+1); got != want {
			t.Errorf("late minute: got %d minutes, want %d", got, want)
		}
		if _, err := f.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, f.Ask(t)); diff != "" {
			t.Errorf("fold %d changed the answer:\n%s", late+2, diff)
		}
	}
}

// foldersAndWriters: three writers, two folders and a reader at once; every bit written must be there in the end, and
// no reader may see fewer than were acknowledged before it asked.
func foldersAndWriters(t *testing.T, f *Fixture) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	second := Open(t, f.Database, Now)
	var work, background sync.WaitGroup
	done := make(chan struct{})
	for _, s := range []*store.Store{f.Store, second} {
		background.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.Fold(ctx); err != nil {
					t.Error("fold:", err)
					return
				}
			}
		})
	}
	const halfHours = 20 // all of them old enough to be folded
	for writer := range 3 {
		work.Go(func() {
			s := []*store.Store{f.Store, second}[writer%2]
			var acknowledged int64
			for _, bit := range rand.Perm(30) {
				var rows []store.OpenRow
				for h := range int32(halfHours) {
					rows = append(rows, f.Row(0, writer, h, 1<<bit), f.Row(1, writer, h, 1<<bit))
				}
				if err := s.Merge(ctx, rows); err != nil {
					t.Error("merge:", err)
					return
				}
				acknowledged += halfHours
				users, _, err := s.UserActivity(ctx, f.Everything, today())
				if err != nil {
					t.Error("read:", err)
					return
				}
				for _, u := range users {
					if u.UserID == f.Users[writer] && u.Minutes < acknowledged {
						t.Errorf("writer %d: %d minutes acknowledged, %d in the answer", writer, acknowledged, u.Minutes)
					}
				}
			}
		})
	}
	work.Wait()
	close(done)
	background.Wait()
	for _, u := range f.Ask(t).Activity {
		if u.Minutes != halfHours*30 {
			t.Errorf("%s: %d minutes, want %d", u.Username, u.Minutes, halfHours*30)
		}
	}
}
