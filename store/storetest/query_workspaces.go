package storetest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/workspace"
)

// yard is a company whose workspaces run, are used and are built anew at random, and what a reference needs to know of it.
type yard struct {
	*Fixture

	random     *rand.Rand
	begin      time.Time
	group      uuid.UUID
	joined     time.Time         // when the first user became a member of the group
	somewhere  map[[3]int64]bool // template, user and half hour
	workspaces []yardWorkspace
}

type yardWorkspace struct {
	id              uuid.UUID
	template, owner int
	purpose         string
	builds          []store.Build
	agents          map[uuid.UUID]time.Time // by the build, when its agent first connected; zero: never
	visits          map[int64]bool          // minutes
}

// yardDays is how long the company is there.
const yardDays = 2

func (y *yard) moment() time.Time {
	return y.begin.Add(time.Duration(y.random.Int64N(yardDays*24*3600)) * time.Second)
}

// newYard fills a database.
func newYard(t *testing.T, f *Fixture, seed uint64) *yard {
	t.Helper()
	y := &yard{
		Fixture: f, random: rand.New(rand.NewPCG(seed, 1)), begin: Now.Truncate(24*time.Hour).AddDate(0, 0, -yardDays), group: uuid.New(),
		somewhere: map[[3]int64]bool{},
	}
	y.joined = y.begin.Add(time.Duration(y.random.IntN(12*3600)) * time.Second)
	c := store.Catalog{
		Users: []store.User{{
			ID: f.Users[2], Username: "user2", Kind: "service", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization},
		}},
		Groups: []store.Group{{ID: y.group, OrganizationID: f.Organization, Name: "leads", Members: []store.GroupMember{
			{UserID: f.Users[0], FromAt: store.At(y.joined)},
		}}},
	}
	var ids [2][2]uuid.UUID
	for template := range ids {
		for i := range ids[template] {
			ids[template][i] = uuid.New()
			c.Versions = append(c.Versions, store.TemplateVersion{
				ID: ids[template][i], TemplateID: f.Templates[template], Name: fmt.Sprint("v", i),
				Parameters: []store.Parameter{{Name: "size", Type: "string"}},
			})
		}
	}
	for i := range 8 {
		w := yardWorkspace{
			id: uuid.New(), template: i % 2, owner: i % 3, purpose: store.WorkspacePurposes[y.random.IntN(3)],
			agents: map[uuid.UUID]time.Time{}, visits: map[int64]bool{},
		}
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: w.id, OwnerID: f.Users[w.owner], TemplateID: f.Templates[w.template], Name: fmt.Sprint("y", i), Purpose: w.purpose,
		})
		c.Agents = append(c.Agents, y.build(&w, ids[w.template])...)
		y.workspaces = append(y.workspaces, w)
	}
	f.apply(t, c)
	y.record(t)
	return y
}

// build gives a workspace builds and agents.
func (y *yard) build(w *yardWorkspace, versions [2]uuid.UUID) (agents []store.Agent) {
	at, number := y.begin, int64(0)
	for range 1 + y.random.IntN(8) {
		at = at.Add(time.Duration(1+y.random.Int64N(8*3600)) * time.Second)
		number++
		if y.random.IntN(6) == 0 {
			number++ // nobody told of a build
		}
		b := store.Build{
			ID: uuid.New(), At: store.At(at), WorkspaceID: w.id, TemplateID: y.Templates[w.template],
			TemplateVersionID: versions[y.random.IntN(2)], Number: number, Transition: []string{"start", "start", "stop"}[y.random.IntN(3)],
			Status: []string{"succeeded", "succeeded", "succeeded", "failed"}[y.random.IntN(4)],
			Preset: []string{"", "tiny"}[y.random.IntN(2)], CreatedAt: store.At(at),
			Parameters: []store.BuildParameter{{Name: "size", Value: []string{"big", "small", ""}[y.random.IntN(3)]}},
		}
		b.StartedAt = store.At(at.Add(time.Duration(y.random.IntN(90)) * time.Second))
		b.FinishedAt = store.At(b.StartedAt.Add(time.Duration(y.random.IntN(300)) * time.Second))
		w.builds = append(w.builds, b)
		if b.Transition == "start" {
			agents = append(agents, store.Agent{ID: b.ID, WorkspaceID: w.id, Name: "main", CreatedAt: b.StartedAt})
			if w.agents[b.ID] = (time.Time{}); y.random.IntN(3) > 0 {
				w.agents[b.ID] = b.FinishedAt.Add(time.Duration(y.random.IntN(120)) * time.Second)
			}
		}
		at = b.FinishedAt.Time
	}
	return agents
}

// record writes what agents and the control plane say.
func (y *yard) record(t *testing.T) {
	t.Helper()
	var rows []store.OpenRow
	for i := range y.workspaces {
		w := &y.workspaces[i]
		if err := y.RecordBuilds(t.Context(), w.builds); err != nil {
			t.Fatal(err)
		}
		for agent, connected := range w.agents {
			if connected.IsZero() {
				continue
			}
			err := y.TouchAgents(t.Context(), []store.AgentState{
				{AgentID: agent, FirstConnectedAt: store.At(connected), LastSeenAt: store.At(connected)},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		visit := store.Visit{User: y.Users[y.random.IntN(3)], Workspace: w.id}
		subjects, err := y.Subjects(t.Context(), []store.Visit{visit})
		if err != nil {
			t.Fatal(err)
		}
		for range y.random.IntN(30) {
			half := int32(y.moment().Unix() / 1800)
			mask := minute.Mask(1 + y.random.Uint32N(1<<30-1))
			rows = append(rows, store.OpenRow{Template: y.Templates[w.template], Row: minute.Row{
				HalfHour: half, Subject: subjects[visit], Kind: minute.Session, App: "vscode", Minutes: mask, Connected: true,
			}})
			for m := range int64(30) {
				if mask>>m&1 != 0 {
					w.visits[int64(half)*30+m] = true
				}
			}
		}
	}
	for range 20 { // the owner is somewhere
		half, template, owner := int32(y.moment().Unix()/1800), y.random.IntN(2), y.random.IntN(3)
		y.somewhere[[3]int64{int64(template), int64(owner), int64(half)}] = true
		rows = append(rows, store.OpenRow{Template: y.Templates[template], Row: minute.Row{
			HalfHour: half, Subject: y.Subject[y.Users[owner]], Kind: minute.App, App: "wiki", Minutes: 1 << y.random.IntN(30),
		}})
	}
	y.MustMerge(t, rows...)
}

// thing is a minute of a workspace that runs, or a build.
type thing struct {
	of     *yardWorkspace
	minute int64
	build  store.Build // what it runs with, or itself; none if it has no id
	kind   string
	ready  float64 // seconds; -1: it did not get so far
}

// valuesOf are the values of a thing in a dimension.
func (y *yard) valuesOf(x thing, by string, times []minute.Stretch) (values []string) {
	half := time.Unix(x.minute/30*1800, 0)
	switch by {
	case store.ByTime:
		for _, s := range times {
			if s.Start <= x.minute && x.minute < s.End {
				values = append(values, fmt.Sprint(s.Value))
			}
		}
	case store.ByTemplate:
		values = []string{y.Templates[x.of.template].String()}
	case store.ByOrganization:
		values = []string{y.Organization.String()}
	case store.ByUser:
		values = []string{y.Users[x.of.owner].String()}
	case store.ByWorkspace:
		values = []string{x.of.id.String()}
	case store.ByPurpose:
		values = []string{x.of.purpose}
	case store.ByActor:
		values = []string{[]string{"person", "person", "service"}[x.of.owner]}
	case store.ByGroup:
		if x.of.owner == 0 && !half.Before(y.joined) {
			values = []string{y.group.String()}
		}
	case store.ByVersion:
		values = []string{x.build.TemplateVersionID.String()}
	case store.ByPreset:
		values = []string{x.build.Preset}
	default:
		values = []string{"none"}
		for _, p := range x.build.Parameters {
			values = []string{p.Value}
		}
	}
	ofStart := by == store.ByVersion || strings.HasPrefix(by, store.ByParameter)
	if ofStart && x.build.ID == uuid.Nil || by == store.ByPreset && values[0] == "" {
		return nil
	}
	return values
}

// things are the minutes in which workspaces ran within a window, and the builds that were asked for.
func (y *yard) things(window minute.Window) (minutes, builds []thing) {
	for i := range y.workspaces {
		w := &y.workspaces[i]
		known, all, agents := map[uuid.UUID]store.Build{}, []workspace.Build(nil), []workspace.Agent(nil)
		for _, b := range w.builds {
			known[b.ID] = b
			all = append(all, workspace.Build{
				ID: b.ID, Number: b.Number, Transition: b.Transition, Succeeded: b.Status == "succeeded", Asked: b.CreatedAt.Time,
				Began: b.StartedAt.Time, Ended: b.FinishedAt.Time,
			})
			if b.Transition == "start" {
				agents = append(agents, workspace.Agent{Made: b.StartedAt.Time, Connected: w.agents[b.ID], Ready: w.agents[b.ID]})
			}
		}
		history := workspace.NewHistory(all, time.Time{}, Now)
		states := history.States()
		for _, s := range history.Runs().Running {
			for m := max(s.From, window.Start); m < min(s.To, window.End); m++ {
				x := thing{of: w, minute: m, kind: "unattended"}
				if w.visits[m] {
					x.kind = "attended"
				} else if y.somewhere[[3]int64{int64(w.template), int64(w.owner), m / 30}] {
					x.kind = "unknown"
				}
				for _, state := range states {
					if state.From <= m/30*30 && m/30*30 < state.To {
						x.build = known[state.Build]
					}
				}
				minutes = append(minutes, x)
			}
		}
		ready := workspace.TimesToReady(all, agents)
		for _, b := range w.builds {
			x := thing{of: w, minute: b.CreatedAt.Unix() / 60, build: b, kind: b.Status, ready: -1}
			if way, known := ready[b.ID]; known && way.Ready() {
				x.ready = way.Total().Seconds()
			}
			if window.Start <= x.minute && x.minute < window.End {
				builds = append(builds, x)
			}
		}
	}
	return minutes, builds
}

// passes reports whether a thing is what a query counts.
func (y *yard) passes(x thing, q store.Query) bool {
	if x.of.owner == 2 && !q.Actors.Has(minute.Service) { // the others are people
		return false
	}
	return !slices.ContainsFunc(q.Filters, func(f store.QueryFilter) bool {
		has := slices.ContainsFunc(y.valuesOf(x, f.By, nil), func(v string) bool { return slices.Contains(f.Values, v) })
		return has == f.Not
	})
}

// rows are the figures of every row of a query, and of everything, the slow way.
func (y *yard) rows(q store.Query) map[string]string {
	minutes, builds := y.things(q.Window)
	cells := map[string][2][]thing{}
	put := func(row string, of int, x thing) {
		cell := cells[row]
		cell[of] = append(cell[of], x)
		cells[row] = cell
	}
	for of, list := range [][]thing{minutes, builds} {
		for _, x := range list {
			if !y.passes(x, q) {
				continue
			}
			put("everything", of, x)
			rows := []string{""}
			for _, by := range q.By {
				var longer []string
				for _, row := range rows {
					for _, v := range y.valuesOf(x, by, slices.Concat(q.Times...)) {
						longer = append(longer, row+" "+v)
					}
				}
				rows = longer
			}
			for _, row := range rows {
				if len(q.By) > 0 {
					put(row, of, x)
				}
			}
		}
	}
	rows := map[string]string{}
	for row, cell := range cells {
		rows[row] = figuresOfThings(cell[0], cell[1])
	}
	return rows
}

func figuresOfThings(minutes, builds []thing) string {
	kinds, owners, builders, waits := map[string]int{}, map[int]bool{}, map[int]bool{}, []float64(nil)
	for _, x := range minutes {
		kinds[x.kind]++
		owners[x.of.owner] = true
	}
	for _, x := range builds {
		kinds[x.kind]++
		builders[x.of.owner] = true
		if x.ready >= 0 {
			waits = append(waits, x.ready)
		}
	}
	slices.Sort(waits)
	at := func(p float64) float64 {
		if len(waits) == 0 {
			return 0
		}
		place := p * float64(len(waits)-1)
		low, part := math.Modf(place)
		next := min(int(low)+1, len(waits)-1)
		return waits[int(low)] + (waits[next]-waits[int(low)])*part
	}
	return textOf(len(minutes), kinds["attended"], kinds["unattended"], kinds["unknown"], len(owners), len(builds), kinds["failed"],
		len(waits), len(builders), at(0.5), at(0.95))
}

func textOf[N int | int64](running, attended, unattended, unknown, owners, builds, failed, ready, builders N, p50, p95 float64) string {
	return fmt.Sprintf("running %d = %d + %d + %d of %d, %d builds, %d failed, %d ready of %d: %.3f %.3f", running, attended, unattended,
		unknown, owners, builds, failed, ready, builders, p50, p95)
}

// drawQuery is a random question.
func (y *yard) drawQuery() store.Query {
	draw := func(list []string, most int) []string {
		list = slices.Clone(list)
		y.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		return list[:y.random.IntN(most+1)]
	}
	start := y.begin.Unix()/60 + y.random.Int64N(12*60)
	q := store.Query{
		Scope: y.Everything, Actors: minute.People, Time: true, Builds: true, OnlyWorkspaces: true,
		Window: minute.Window{Start: start, End: start + 12*60 + y.random.Int64N(24*60)},
		By:     draw(append(slices.Clone(yardDimensions), store.ByTime), 2),
	}
	if y.random.IntN(2) == 0 {
		q.Actors = minute.Everybody
	}
	var times []minute.Stretch
	for at := q.Window.Start; at < q.Window.End; at += 7 * 60 {
		times = append(times, minute.Stretch{Start: at, End: min(at+7*60, q.Window.End), Value: (at - q.Window.Start) % 3})
	}
	q.Times = [][]minute.Stretch{times} // of ByTime, which the caller may ask for instead
	for _, by := range draw(yardDimensions, 2) {
		x := thing{of: &y.workspaces[y.random.IntN(len(y.workspaces))], minute: q.Window.Start}
		x.build = x.of.builds[y.random.IntN(len(x.of.builds))]
		q.Filters = append(q.Filters, store.QueryFilter{
			By: by, Values: append(y.valuesOf(x, by, nil), uuid.NewString()), Not: y.random.IntN(2) == 0,
		})
	}
	return q
}

// yardDimensions are those that a reference knows, but for time.
var yardDimensions = []string{
	store.ByTemplate, store.ByOrganization, store.ByUser, store.ByWorkspace, store.ByPurpose, store.ByActor, store.ByGroup, store.ByVersion,
	store.ByPreset, store.ByParameter + "size",
}

// queriesOfWorkspaces: the time of workspaces and their builds are told as a reference tells them that looks at every minute.
func queriesOfWorkspaces(t *testing.T, f *Fixture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	y := newYard(t, f, seed)
	filled := map[string]int{}
	all := append(slices.Clone(yardDimensions), store.ByTime)
	for i := range 6 * len(all) {
		q := y.drawQuery()
		if by := all[i%len(all)]; !slices.Contains(q.By, by) {
			q.By = []string{by}
		}
		if i%2 == 0 {
			q.Filters = nil
		}
		result, err := f.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		figures := func(x *store.Figures) string {
			return textOf(x.Time.Running, x.Time.Attended, x.Time.Unattended, x.Time.Unknown, x.Time.Owners, x.Builds.Builds,
				x.Builds.Failed, x.Builds.Ready, x.Builds.Owners, x.Builds.P50, x.Builds.P95)
		}
		nothing, want, got := figuresOfThings(nil, nil), y.rows(q), map[string]string{}
		if figures(&result.Whole) != nothing {
			got["everything"] = figures(&result.Whole)
		}
		for _, r := range result.Rows {
			var row strings.Builder
			for i, k := range r.Keys {
				value := k.Value
				if q.By[i] == store.ByTime {
					value = fmt.Sprint(k.Number)
				}
				row.WriteString(" " + value)
			}
			if _, twice := got[row.String()]; twice {
				t.Fatalf("two rows %q of %+v", row.String(), q)
			}
			if figures(r.Figures) != nothing {
				got[row.String()] = figures(r.Figures)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("by %v with %+v in %+v (-want +got):\n%s", q.By, q.Filters, q.Window, diff)
		}
		for _, by := range q.By {
			filled[by] += len(want)
		}
	}
	for _, by := range all {
		if filled[by] == 0 {
			t.Errorf("nothing was told by %s", by)
		}
	}
}

// queriesByParameter: values are shown as the older question shows them, and no filter finds one that is hidden.
func queriesByParameter(t *testing.T, f *Fixture) {
	const token, shared = "ghp_0123456789abcdefghijABCDEFGHIJ012345", "https://ada:hunter2@acme.io/x"
	older, newest := uuid.New(), uuid.New()
	parameters := func(sensitive bool) []store.Parameter {
		return []store.Parameter{{Name: "text", Type: "string"}, {Name: "later secret", Type: "string", Sensitive: sensitive}}
	}
	change := store.Catalog{Versions: []store.TemplateVersion{
		{ID: older, TemplateID: f.Templates[0], CreatedAt: store.At(Now.Add(-time.Hour)), Parameters: parameters(false)},
		{ID: newest, TemplateID: f.Templates[0], CreatedAt: store.At(Now), Parameters: parameters(true)},
	}}
	texts := []string{token, shared, shared, shared, shared, shared, "plain"}
	builds := make([]store.Build, len(texts))
	for i, text := range texts {
		owner, of := uuid.New(), uuid.New()
		change.Users = append(change.Users, store.User{ID: owner, Username: fmt.Sprint("owner", i), Kind: "human", Status: "active"})
		change.Workspaces = append(change.Workspaces, store.Workspace{ID: of, OwnerID: owner, TemplateID: f.Templates[0], Name: "w"})
		builds[i] = store.Build{
			ID: uuid.New(), WorkspaceID: of, TemplateID: f.Templates[0], TemplateVersionID: older, Number: 1, Transition: "start",
			Status: "succeeded", CreatedAt: store.At(Now),
			Parameters: []store.BuildParameter{
				{Name: "text", Value: text}, {Name: "later secret", Value: "hunter2"}, {Name: "unknown", Value: "x"},
			},
		}
	}
	f.apply(t, change)
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	ask := func(name string, filters ...store.QueryFilter) (values []string, whole int64) {
		t.Helper()
		result, err := f.Query(t.Context(), store.Query{
			Scope: f.Everything, Actors: minute.People, Window: today(), By: []string{store.ByParameter + name}, Filters: filters,
			Builds: true, OnlyWorkspaces: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range result.Rows {
			values = append(values, fmt.Sprintf("%s:%d", r.Keys[0].Value, r.Builds.Builds))
		}
		slices.Sort(values)
		return values, result.Whole.Builds.Builds
	}
	check := func(what string, withToken int64) {
		t.Helper()
		usage, err := f.ParameterUsage(t.Context(), f.Everything, minute.People, Now, Now.Add(time.Minute), store.Floor{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range usage {
			var want []string
			for _, v := range u.Values {
				want = append(want, fmt.Sprintf("%s:%d", v.Value, v.Count))
			}
			slices.Sort(want)
			if got, _ := ask(u.Definition.Name); !slices.Equal(want, got) {
				t.Errorf("%s: %s is %q in a query, and %q", what, u.Definition.Name, got, want)
			}
		}
		filter := store.QueryFilter{By: store.ByParameter + "text", Values: []string{token}}
		if _, n := ask("text", filter); len(usage) != 2 || n != withToken {
			t.Errorf("%s: %d parameters; a filter finds %d builds with the token, want %d", what, len(usage), n, withToken)
		}
		filter.Not = true
		if _, n := ask("text", filter); n != int64(len(texts))-withToken {
			t.Errorf("%s: a filter finds %d builds without the token", what, n)
		}
	}
	check("hidden", 0)
	if got, _ := ask("text"); !slices.Equal([]string{store.HiddenValue + ":1", shared + ":5", "plain:1"}, got) {
		t.Errorf("texts: %q", got)
	}
	if _, err := f.SetParameterRelease(t.Context(), f.Templates[0], "text", true); err != nil {
		t.Fatal(err)
	}
	check("released", 1)
	if got, _ := ask("unknown"); len(got) > 0 {
		t.Errorf("a parameter that no version has: %q", got)
	}
}

// boundsOfWorkspaces: what is kept of workspaces and builds is what they say of the window, and a query that would keep more than it may
// is refused.
func boundsOfWorkspaces(t *testing.T, f *Fixture) {
	const workspaces, runsLongAgo = 50, 20
	day := Now.Truncate(24 * time.Hour)
	longAgo := day.Add(-400 * 24 * time.Hour)
	var c store.Catalog
	var builds []store.Build
	for i := range workspaces {
		of := uuid.New()
		c.Workspaces = append(c.Workspaces, store.Workspace{
			ID: of, OwnerID: f.Users[0], TemplateID: f.Templates[0], Name: fmt.Sprint("w", i),
		})
		number := int64(0)
		build := func(transition string, at time.Time) {
			number++
			builds = append(builds, store.Build{
				ID: uuid.New(), WorkspaceID: of, TemplateID: f.Templates[0], Number: number, Transition: transition, Status: "succeeded",
				CreatedAt: store.At(at), StartedAt: store.At(at), FinishedAt: store.At(at),
			})
		}
		for run := range runsLongAgo {
			at := longAgo.Add(time.Duration(run) * time.Hour)
			build("start", at)
			build("stop", at.Add(time.Minute))
		}
		build("start", day)
		build("stop", day.Add(time.Minute))
	}
	f.apply(t, c)
	if err := f.RecordBuilds(t.Context(), builds); err != nil {
		t.Fatal(err)
	}
	short, long := today(), minute.Window{Start: longAgo.Unix() / 60, End: today().End}
	for _, tt := range []struct {
		name   string
		window minute.Window
		cells  int
		want   int64 // runs, and half of the builds; 0: that is refused
	}{
		{"a day", short, 550, workspaces},
		{"all days", long, 2000, workspaces * (runsLongAgo + 1)},
		{"too many workspaces", short, 200, 0},
		{"too many builds", long, 550, 0},
	} {
		for what, q := range map[string]store.Query{
			"time": {Time: true}, "builds": {Builds: true}, "time by version": {Time: true, By: []string{store.ByVersion}},
		} {
			q.Scope, q.Actors, q.Window, q.OnlyWorkspaces, q.MaxCells = f.Everything, minute.People, tt.window, true, tt.cells
			result, err := f.Query(t.Context(), q)
			got := result.Whole.Time.Running + result.Whole.Builds.Builds/2
			if got != tt.want || (err != nil || tt.want == 0) && !errors.Is(err, store.ErrTooManyWorkspaces) {
				t.Errorf("%s of %s: %d and %v, want %d", what, tt.name, got, err, tt.want)
			}
		}
	}
}
