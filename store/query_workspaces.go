package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
	"github.com/template-insights/insights/store/workspace"
)

// TimeFigures are the minutes of workspaces, added up over them. They ran in those that are attended, unattended or unknown: what
// [workspace.Attend] says.
type TimeFigures struct {
	Running, Attended, Unattended, Unknown int64
	// Owners are whose workspaces ran, and UnknownOwners whose for some unknown minute.
	Owners, UnknownOwners int64
	// Visitors are the persons of each actor who attended: 0 unless asked for.
	Visitors [minute.ActorKinds]int64
}

// BuildFigures are the builds of workspaces, by when they were asked for.
type BuildFigures struct {
	Builds, Failed int64
	// Ready is the number of starts after which all agents of the workspace connected, P50 and P95 how many seconds that took: percentiles
	// as minute.Percentile has them, 0 without any.
	Ready    int64
	P50, P95 float64
	// Owners are whose builds they are, FailedOwners whose failed, and ReadyOwners whose workspaces got ready.
	Owners, FailedOwners, ReadyOwners int64
}

// queryWorkspaces are the workspaces of the templates of a query, and what their builds say of its window.
type queryWorkspaces struct {
	read    bool
	list    []queryWorkspace
	numbers map[uuid.UUID]int
	builds  []queryBuild
	choices []queryChoice
	bytes   int // that all of it takes, about
}

type queryWorkspace struct {
	key      QueryKey
	owner    QueryKey // without a value: nobody that the catalog knows
	ownerID  uuid.UUID
	actor    minute.Actor
	template int // by the index
	purpose  string
	deleted  time.Time
	agents   []queryAgent      // until its builds are read
	running  workspace.Minutes // in the window, if the query asks for time and counts the owner
	states   []queryState      // those of the window, ascending, if the query asks what workspaces run with
}

// queryAgent is when an agent was made and first connected.
type queryAgent struct{ made, connected Instant }

// queryState is from which minute on a workspace runs with a choice.
type queryState struct {
	from   int64
	choice int
}

// queryBuild is a build that was asked for in the window, if the query asks for builds and counts the owner.
type queryBuild struct {
	asked             int64 // the minute
	workspace, choice int32
	failed, ready     bool
	seconds           float64 // until it was ready
}

// queryChoice is what builds make a workspace of.
type queryChoice struct {
	template    int // by the index
	version     uuid.UUID
	versionName string
	preset      string
	parameters  map[string]string // nil unless something is asked of them
}

// What is kept takes so many bytes, about; an entry of a cube takes cellBytes.
const (
	cellBytes      = 64
	workspaceBytes = 400
	agentBytes     = 48
	rowBytes       = 160 // a build while those of its workspace are read
	buildBytes     = 32
	choiceBytes    = 200
	spanBytes      = 16
)

// ErrTooManyWorkspaces says that the workspaces of a query and their builds take more memory than they may.
var ErrTooManyWorkspaces = errors.New("too many workspaces and builds")

// fits fails with ErrTooManyWorkspaces where what is kept, with some bytes more, takes more memory than the cells of the query may.
func (r dimensionReader) fits(more int) error {
	if r.q.MaxCells > 0 && r.all.bytes+more > r.q.MaxCells*cellBytes {
		return ErrTooManyWorkspaces
	}
	return nil
}

// counts reports whether the query counts what somebody owns.
func (r dimensionReader) counts(w queryWorkspace) bool { return r.q.Actors.Has(w.actor) }

// workspaces reads the workspaces of the query's templates, once.
func (r dimensionReader) workspaces() (*queryWorkspaces, error) {
	if r.all.read {
		return r.all, nil
	}
	r.all.numbers = map[uuid.UUID]int{}
	condition, args := r.x.WhereColumn("workspaces.template_id", "1 = 1")
	query := r.db.Reads.WithContext(r.ctx).Raw(`SELECT workspaces.id, workspaces.name, workspaces.purpose, workspaces.deleted_at,
			workspaces.template_id, workspaces.owner_id, COALESCE(users.username, ''), COALESCE(users.kind, ''),
			COALESCE(users.deleted_at, -1)
		FROM workspaces LEFT JOIN users ON users.id = workspaces.owner_id WHERE `+condition, args...)
	err := r.db.Rows(query, func(rows db.Records) error {
		var id, template, owner uuid.UUID
		var name, purpose, username, kind string
		var deleted Instant
		var ownerDeleted int64
		return rows.Each(func() error {
			n, known := r.x.Number(template)
			if !known {
				return nil // younger than the index
			}
			w := queryWorkspace{
				key:     QueryKey{Value: id.String(), Label: username + "/" + name, Deleted: !deleted.IsZero()},
				ownerID: owner, actor: ActorOf(kind), template: n, purpose: purpose, deleted: deleted.Time,
			}
			if ownerDeleted >= 0 {
				w.owner = QueryKey{Value: owner.String(), Label: username, Deleted: ownerDeleted != 0}
			}
			r.all.numbers[id] = len(r.all.list)
			r.all.list = append(r.all.list, w)
			r.all.bytes += workspaceBytes
			return r.fits(0)
		}, rows.ID(&id), &name, &purpose, &deleted, rows.ID(&template), rows.ID(&owner), &username, &kind, &ownerDeleted)
	})
	if err != nil {
		return nil, fmt.Errorf("read workspaces: %w", err)
	}
	if r.q.Builds {
		if err := r.readAgents(); err != nil {
			return nil, fmt.Errorf("read agents: %w", err)
		}
	}
	if err := r.readBuilds(); err != nil {
		return nil, fmt.Errorf("read builds: %w", err)
	}
	r.all.read = true
	return r.all, nil
}

// readAgents adds the agents that builds of the window may have made, or younger ones.
func (r dimensionReader) readAgents() error {
	condition, args := r.x.WhereColumn("workspaces.template_id", "agents.created_at >= ?", r.q.Window.Start*60_000_000)
	query := r.db.Reads.WithContext(r.ctx).Raw(`SELECT agents.workspace_id, agents.created_at, COALESCE(agent_states.first_connected_at, 0)
		FROM agents JOIN workspaces ON workspaces.id = agents.workspace_id LEFT JOIN agent_states ON agent_states.agent_id = agents.id
		WHERE `+condition, args...)
	return r.db.Rows(query, func(rows db.Records) error {
		var of uuid.UUID
		var a queryAgent
		return rows.Each(func() error {
			n, known := r.all.numbers[of]
			if !known {
				return nil
			}
			r.all.list[n].agents = append(r.all.list[n].agents, a)
			r.all.bytes += agentBytes
			return r.fits(0)
		}, rows.ID(&of), &a.made, &a.connected)
	})
}

// builtRow is a build as it is read.
type builtRow struct {
	workspace.Build

	choice int
	failed bool
}

// readBuilds reads all builds of one workspace after the other, because what became of one that began may be known from much later ones,
// and keeps what they say of the window.
func (r dimensionReader) readBuilds() error {
	ofParameter := r.asks(func(by string) bool { return strings.HasPrefix(by, ByParameter) && by != ByPreset })
	parameters := `''`
	if ofParameter {
		parameters = `COALESCE(builds.parameters, '')`
	}
	condition, args := r.x.WhereColumn("builds.template_id", "1 = 1")
	query := r.db.Reads.WithContext(r.ctx).Raw(`SELECT builds.id, builds.workspace_id, builds.number, builds.transition, builds.status,
			builds.created_at, builds.started_at, builds.finished_at, builds.template_version_id, COALESCE(template_versions.name, ''),
			builds.preset, `+parameters+`
		FROM builds LEFT JOIN template_versions ON template_versions.id = builds.template_version_id WHERE `+condition+`
		ORDER BY builds.workspace_id`, args...)
	type choiceKey struct {
		template           int
		version            uuid.UUID
		preset, parameters string
	}
	choices := map[choiceKey]int{}
	last, list := -1, []builtRow(nil)
	err := r.db.Rows(query, func(rows db.Records) error {
		var of uuid.UUID
		var b builtRow
		var c queryChoice
		var status string
		var asked, began, ended Instant
		var chosen []byte
		return rows.Each(func() error {
			n, known := r.all.numbers[of]
			if !known {
				return nil
			}
			if n != last {
				r.keep(last, list)
				last, list = n, list[:0]
			}
			key := choiceKey{r.all.list[n].template, c.version, c.preset, string(chosen)}
			if b.choice, known = choices[key]; !known {
				c.template, b.choice = key.template, len(r.all.choices)
				if c.parameters = nil; ofParameter {
					var err error
					if c.parameters, err = parametersIn(chosen); err != nil {
						return fmt.Errorf("parameters of build %s: %w", b.ID, err)
					}
				}
				choices[key], r.all.choices = b.choice, append(r.all.choices, c)
				r.all.bytes += choiceBytes + 2*len(chosen)
			}
			b.Succeeded, b.failed = status == "succeeded", status == "failed"
			b.Asked, b.Began, b.Ended = asked.Time, began.Time, ended.Time
			list = append(list, b)
			return r.fits(rowBytes * len(list))
		}, rows.ID(&b.ID), rows.ID(&of), &b.Number, &b.Transition, &status, &asked, &began, &ended, rows.ID(&c.version), &c.versionName,
			&c.preset, rows.Bytes(&chosen))
	})
	r.keep(last, list)
	return err
}

// parametersIn are the values of parameters as they are stored, by name.
func parametersIn(text []byte) (map[string]string, error) {
	var list []BuildParameter
	if len(text) > 0 {
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, err
		}
	}
	values := make(map[string]string, len(list))
	for _, p := range list {
		values[p.Name] = p.Value
	}
	return values, nil
}

// asks reports whether the query has such a dimension or a filter by one.
func (r dimensionReader) asks(such func(by string) bool) bool {
	return slices.ContainsFunc(r.q.By, such) || slices.ContainsFunc(r.q.Filters, func(f QueryFilter) bool { return such(f.By) })
}

// keep keeps what all builds of a workspace say of the window.
func (r dimensionReader) keep(n int, list []builtRow) {
	if len(list) == 0 {
		return
	}
	w, window := &r.all.list[n], r.q.Window
	builds, of := make([]workspace.Build, len(list)), make(map[uuid.UUID]*builtRow, len(list))
	for i := range list {
		builds[i], of[list[i].ID] = list[i].Build, &list[i]
	}
	history := workspace.NewHistory(builds, w.deleted, r.clock())
	if r.q.Time && r.counts(*w) {
		w.running = history.Runs().Running.Intersect(workspace.Minutes{{From: window.Start, To: window.End}})
		r.all.bytes += spanBytes * len(w.running)
	}
	if r.asks(byStart) {
		for _, s := range history.States() {
			if s.From < window.End && window.Start < s.To {
				w.states = append(w.states, queryState{s.From, of[s.Build].choice})
			}
		}
		r.all.bytes += spanBytes * len(w.states)
	}
	if r.q.Builds && r.counts(*w) {
		r.keepBuilds(n, builds, of)
	}
	r.all.bytes -= agentBytes * len(w.agents)
	w.agents = nil
}

// keepBuilds keeps the builds of a workspace that were asked for in the window. When an agent was done with its preparations is not
// stored, so it is ready as soon as it connects.
func (r dimensionReader) keepBuilds(n int, builds []workspace.Build, of map[uuid.UUID]*builtRow) {
	var agents []workspace.Agent
	for _, a := range r.all.list[n].agents {
		agents = append(agents, workspace.Agent{Made: a.made.Time, Connected: a.connected.Time, Ready: a.connected.Time})
	}
	ready := workspace.TimesToReady(builds, agents)
	for _, b := range builds {
		kept := queryBuild{asked: b.Asked.Unix() / 60, workspace: int32(n), choice: int32(of[b.ID].choice), failed: of[b.ID].failed}
		if kept.asked < r.q.Window.Start || kept.asked >= r.q.Window.End {
			continue
		}
		if way, started := ready[b.ID]; started && way.Ready() {
			kept.ready, kept.seconds = true, way.Total().Seconds()
		}
		r.all.builds = append(r.all.builds, kept)
		r.all.bytes += buildBytes
	}
}

// at is the values, by choice, of what a workspace runs with in a half hour of the window.
func (w *queryWorkspace) at(halfHour int32, values []int64) []int64 {
	next, _ := slices.BinarySearchFunc(w.states, int64(halfHour)*minute.MinutesPerHalfHour, func(s queryState, m int64) int {
		return cmp.Compare(s.from, m+1)
	})
	if next == 0 {
		return nil
	}
	n := w.states[next-1].choice
	if values[n] == minute.NoValue {
		return nil
	}
	return values[n : n+1]
}

// byStart reports whether a dimension is about the builds of workspaces.
func byStart(by string) bool { return by == ByVersion || strings.HasPrefix(by, ByParameter) }

// ofChoices is the values of a dimension about builds, and that of each choice.
func (r dimensionReader) ofChoices(by string) (*queryValues, []int64, error) {
	all, err := r.workspaces()
	if err != nil {
		return nil, nil, err
	}
	v, of := &queryValues{}, make([]int64, len(all.choices))
	switch by {
	case ByVersion:
		for i, c := range all.choices {
			of[i] = v.add(QueryKey{Value: c.version.String(), Label: cmp.Or(c.versionName, c.version.String())})
		}
	case ByPreset:
		for i, c := range all.choices {
			if of[i] = minute.NoValue; c.preset != "" {
				of[i] = v.add(QueryKey{Value: c.preset, Label: c.preset})
			}
		}
	default:
		err = r.parameterValues(strings.TrimPrefix(by, ByParameter), all, v, of)
	}
	return v, of, err
}

// byStart is what workspaces run with: of a half hour that of the newest start that had succeeded at its first minute.
func (r dimensionReader) byStart(by string) (queryDimension, error) {
	seats, err := r.seats()
	if err != nil {
		return queryDimension{}, err
	}
	v, of, err := r.ofChoices(by)
	if err != nil {
		return queryDimension{}, err
	}
	workspaces := r.all.ofSeats(seats)
	return v.dimension(minute.Dimension{OfHalfHour: func(subject int64, halfHour int32) []int64 {
		if n := seats.workspaceOf(subject); n != minute.NoValue && workspaces[n] >= 0 {
			return r.all.list[workspaces[n]].at(halfHour, of)
		}
		return nil
	}}), nil
}

// ofSeats is the numbers of the workspaces of seats, -1 for one that is not known.
func (all *queryWorkspaces) ofSeats(seats *seatsOf) []int {
	of := make([]int, len(seats.workspaces.keys))
	for i, key := range seats.workspaces.keys {
		n, known := all.numbers[uuid.MustParse(key.Value)]
		if of[i] = n; !known {
			of[i] = -1 // younger
		}
	}
	return of
}

// things are workspaces or builds as the subjects of a [minute.SumCube].
type things struct {
	dimensionReader

	builds bool
}

// workspaceOf is the number of the workspace that a subject is or is of.
func (t things) workspaceOf(subject int64) int {
	if t.builds {
		return int(t.all.builds[subject].workspace)
	}
	return int(subject)
}

// dimension is one of workspaces and of their owners.
func (t things) dimension(by string) (queryDimension, error) {
	switch {
	case by == ByTemplate || by == ByOrganization:
		d, err := t.byTemplate(by)
		template := d.OfTemplate
		d.Dimension = minute.Dimension{OfSubject: func(subject int64) int64 {
			return template(t.all.list[t.workspaceOf(subject)].template)
		}}
		return d, err
	case by == ByWorkspace:
		return t.bySubject(func(w queryWorkspace) QueryKey { return w.key }), nil
	case by == ByUser:
		return t.byOwner()
	case by == ByGroup:
		return t.byGroupOfOwner()
	case by == ByActor:
		return t.bySubject(func(w queryWorkspace) QueryKey { return QueryKey{Value: w.actor.String(), Label: w.actor.String()} }), nil
	case by == ByPurpose:
		return t.bySubject(func(w queryWorkspace) QueryKey { return QueryKey{Value: w.purpose, Label: w.purpose} }), nil
	case byStart(by) && t.builds:
		v, of, err := t.ofChoices(by)
		return v.dimension(minute.Dimension{OfSubject: func(subject int64) int64 { return of[t.all.builds[subject].choice] }}), err
	case byStart(by):
		v, of, err := t.ofChoices(by)
		return v.dimension(minute.Dimension{OfHalfHour: func(subject int64, halfHour int32) []int64 {
			return t.all.list[subject].at(halfHour, of)
		}}), err
	}
	return queryDimension{}, fmt.Errorf("dimension %q of workspaces", by)
}

// bySubject is a dimension of which each workspace has one value, or none if that is empty.
func (t things) bySubject(of func(w queryWorkspace) QueryKey) queryDimension {
	v, values := &queryValues{}, make([]int64, len(t.all.list))
	for i, w := range t.all.list {
		if values[i] = minute.NoValue; of(w).Value != "" {
			values[i] = v.add(of(w))
		}
	}
	return v.dimension(minute.Dimension{OfSubject: func(subject int64) int64 { return values[t.workspaceOf(subject)] }})
}

// byOwner is users. A filter may name one by an id of before, as [dimensionReader.byUser] takes it.
func (t things) byOwner() (queryDimension, error) {
	d := t.bySubject(func(w queryWorkspace) QueryKey { return w.owner })
	numberOf := d.numberOf
	d.numberOf = func(value string) (int64, error) {
		id, _ := uuid.Parse(value)
		kept, err := t.keptAs(t.db.Reads.WithContext(t.ctx), []uuid.UUID{id})
		if err != nil {
			return minute.NoValue, err
		}
		return numberOf(idIn(kept, id).String())
	}
	return d, nil
}

// byGroupOfOwner is groups, each of which the owner is a member of for some half hours.
func (t things) byGroupOfOwner() (queryDimension, error) {
	d, members, err := t.groupMembers()
	d.OfHalfHour = func(subject int64, halfHour int32) []int64 {
		return groupsIn(members[t.all.list[t.workspaceOf(subject)].ownerID], halfHour)
	}
	return d, err
}

// RunningTime is how long the workspaces of each template of a scope were running in a window, summed over the workspaces that belong to
// some actors: what a [Query] for their time tells by template, for whom they ran left out. Templates without any are absent.
func (s *Store) RunningTime(
	ctx context.Context, scope access.Scope, actors minute.Actors, w minute.Window,
) (map[uuid.UUID]time.Duration, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	r := dimensionReader{s, ctx, x, Query{Scope: scope, Actors: actors, Window: w, Time: true}, minute.Population{}, &queryWorkspaces{}}
	all, err := r.workspaces()
	if err != nil {
		return nil, err
	}
	running := map[uuid.UUID]time.Duration{}
	for _, w := range all.list {
		if minutes := w.running.Count(); minutes > 0 {
			running[x.IDs[w.template]] += time.Duration(minutes) * time.Minute
		}
	}
	return running, nil
}

// Kinds of minutes that are added up: of workspaces, and of builds, of which each has one.
const (
	kindRunning = iota
	kindAttended
	kindUnknown
	kindVisited // by each visitor who is a person; those of the other actors follow

	kindBuilt  = 0
	kindFailed = 1
	kindReady  = 2
)

// addWorkspaces adds to the answer what the query asks of workspaces.
func (r dimensionReader) addWorkspaces(result *QueryResult) error {
	if !r.q.Time && !r.q.Builds {
		return nil
	}
	if _, err := r.workspaces(); err != nil {
		return err
	}
	if r.q.Time {
		if err := r.addSums(result, things{r, false}, r.sumTime, timeFigures); err != nil {
			return fmt.Errorf("add up the time of workspaces: %w", err)
		}
	}
	if r.q.Builds {
		if err := r.addSums(result, things{r, true}, r.sumBuilds, buildFigures); err != nil {
			return fmt.Errorf("count builds: %w", err)
		}
	}
	return nil
}

func timeFigures(c minute.SumCell) Figures {
	return Figures{Time: TimeFigures{
		Running: c.Minutes[kindRunning], Attended: c.Minutes[kindAttended], Unknown: c.Minutes[kindUnknown],
		Unattended: c.Minutes[kindRunning] - c.Minutes[kindAttended] - c.Minutes[kindUnknown],
		Owners:     c.People[kindRunning], UnknownOwners: c.People[kindUnknown],
		Visitors: [minute.ActorKinds]int64(c.People[kindVisited:]),
	}}
}

func buildFigures(c minute.SumCell) Figures {
	f := BuildFigures{
		Builds: c.Minutes[kindBuilt], Failed: c.Minutes[kindFailed], Ready: c.Minutes[kindReady],
		Owners: c.People[kindBuilt], FailedOwners: c.People[kindFailed], ReadyOwners: c.People[kindReady],
	}
	if f.Ready > 0 {
		f.P50, f.P95 = minute.Percentile(c.Samples, 0.5), minute.Percentile(c.Samples, 0.95)
	}
	return Figures{Builds: f}
}

// addSums sums things up and adds what they tell to the rows with the same values, or as new rows.
func (r dimensionReader) addSums(
	result *QueryResult, t things, sum func(*minute.SumCube) error, tell func(minute.SumCell) Figures,
) error {
	cut, dimensions, err := r.cut(t.dimension)
	if err != nil {
		return err
	}
	cube := minute.NewSumCube(cut)
	if err := sum(cube); err != nil {
		return err
	}
	counted := cube.Cells()
	cells := []queryCell{{minute.Whole, tell(counted[minute.Whole])}}
	delete(counted, minute.Whole)
	for key, cell := range counted {
		cells = append(cells, queryCell{key, tell(cell)})
	}
	result.Whole.join(&cells[0].Figures)
	rows, err := rowsOf(cells, dimensions)
	if err != nil {
		return err
	}
	places := make(map[rowValues]int, len(result.Rows))
	for i, row := range result.Rows {
		places[row.values()] = i
	}
	for _, row := range rows {
		if i, known := places[row.values()]; known {
			result.Rows[i].join(row.Figures)
		} else {
			result.Rows = append(result.Rows, row)
		}
	}
	return nil
}

// join takes what other figures say of workspaces.
func (f *Figures) join(other *Figures) {
	if other.Time != (TimeFigures{}) {
		f.Time = other.Time
	}
	if other.Builds != (BuildFigures{}) {
		f.Builds = other.Builds
	}
}

// rowValues are what rows that are counted in several passes are matched by.
type rowValues [minute.MaxDimensions]struct {
	value  string
	number int64
}

func (r QueryRow) values() (v rowValues) {
	for i, k := range r.Keys {
		v[i].value, v[i].number = k.Value, k.Number
	}
	return v
}

// sumBuilds counts builds in the minute in which they were asked for.
func (r dimensionReader) sumBuilds(cube *minute.SumCube) error {
	owners, today := r.ownerNumbers(), int32(math.MinInt32)
	for _, n := range r.all.inOrder() {
		b := r.all.builds[n]
		if day := int32(b.asked / (24 * 60)); day != today {
			if today = day; r.ctx.Err() != nil {
				return r.ctx.Err() //nolint:wrapcheck // the caller says what was interrupted
			}
			if err := cube.Turn(day); err != nil {
				return err
			}
		}
		if !cube.Look(n) {
			continue
		}
		owner := owners[b.workspace]
		cube.Add(kindBuilt, owner, b.asked, b.asked+1, nil)
		if b.failed {
			cube.Add(kindFailed, owner, b.asked, b.asked+1, nil)
		}
		if b.ready {
			cube.Add(kindReady, owner, b.asked, b.asked+1, &b.seconds)
		}
	}
	return nil
}

// inOrder are the numbers of the builds in the order of time.
func (all *queryWorkspaces) inOrder() []int64 {
	order := make([]int64, len(all.builds))
	for i := range order {
		order[i] = int64(i)
	}
	slices.SortFunc(order, func(a, b int64) int { return cmp.Compare(all.builds[a].asked, all.builds[b].asked) })
	return order
}

// ownerNumbers numbers the owners of workspaces, from 1.
func (r dimensionReader) ownerNumbers() []int64 {
	numbers, of := map[uuid.UUID]int64{}, make([]int64, len(r.all.list))
	for i, w := range r.all.list {
		if numbers[w.ownerID] == 0 {
			numbers[w.ownerID] = int64(len(numbers) + 1)
		}
		of[i] = numbers[w.ownerID]
	}
	return of
}

// sumTime adds up the minutes in which workspaces ran, and for whom.
func (r dimensionReader) sumTime(cube *minute.SumCube) error {
	seats, err := r.seats()
	if err != nil {
		return err
	}
	people, err := r.ownersAsPeople()
	if err != nil {
		return err
	}
	days := runningDays{
		dimensionReader: r, cube: cube, seats: seats, workspaces: r.all.ofSeats(seats), people: people, owners: r.ownerNumbers(),
		visits: make([][]workspaceVisit, len(r.all.list)),
	}
	next, last := r.q.Window.Days()
	until := func(day int32) error {
		for ; next < day; next++ {
			if err := days.add(next, nil); err != nil {
				return err
			}
		}
		return nil
	}
	err = usage.EachDay(r.ctx, r.usage, r.x, r.q.Window, usage.Minutes, func(day int32, sources []minute.Source[*minute.Table]) error {
		if err := until(day); err != nil {
			return err
		}
		next = day + 1
		return days.add(day, sources)
	})
	if err != nil {
		return err
	}
	return until(last + 1)
}

// ownersAsPeople are the persons that the owners of workspaces are; 0: nobody whose usage is known.
func (r dimensionReader) ownersAsPeople() ([]int64, error) {
	owners := map[uuid.UUID]bool{}
	for _, w := range r.all.list {
		owners[w.ownerID] = true
	}
	known, err := r.knownPeople(r.db.Reads.WithContext(r.ctx), slices.Collect(maps.Keys(owners)))
	if err != nil {
		return nil, fmt.Errorf("find owners of workspaces: %w", err)
	}
	people := make([]int64, len(r.all.list))
	for i, w := range r.all.list {
		people[i] = known[w.ownerID]
	}
	return people, nil
}

// runningDays adds up one day after the other.
type runningDays struct {
	dimensionReader

	cube       *minute.SumCube
	seats      *seatsOf
	workspaces []int // of seats
	// By workspace:
	people []int64            // who owns it; 0: nobody whose usage is known
	owners []int64            // the same by number, from 1
	visits [][]workspaceVisit // of the day
}

// workspaceVisit is use of a workspace.
type workspaceVisit struct {
	workspace.Span

	person int64
}

// placeless is a person in a template, in a workspace that nobody knows.
type placeless struct {
	template int
	person   int64
}

// add adds what is known of a day.
func (d *runningDays) add(day int32, sources []minute.Source[*minute.Table]) error {
	if err := d.ctx.Err(); err != nil {
		return err //nolint:wrapcheck // the caller says what was interrupted
	}
	if err := d.cube.Turn(day); err != nil {
		return err
	}
	somewhere := d.meet(sources)
	from := int64(day) * minute.MinutesPerHalfHour * minute.HalfHoursPerDay
	whole := workspace.Minutes{{From: from, To: from + minute.MinutesPerHalfHour*minute.HalfHoursPerDay}}
	for n := range d.all.list {
		if running := d.all.list[n].running.Intersect(whole); len(running) > 0 && d.cube.Look(int64(n)) {
			d.attend(n, running, somewhere[placeless{d.all.list[n].template, d.people[n]}])
		}
	}
	return nil
}

// meet notes where somebody was on the day, and returns the half hours of those of whom that is not known.
func (d *runningDays) meet(sources []minute.Source[*minute.Table]) map[placeless][]workspace.Span {
	for n := range d.visits {
		d.visits[n] = d.visits[n][:0]
	}
	somewhere := map[placeless][]workspace.Span{}
	for _, s := range sources {
		s.Table.EachUse(func(subject, from, to int64) {
			person := d.of.As(minute.PersonOf(subject))
			if seat := d.seats.workspaceOf(subject); seat == minute.NoValue {
				at, begin := placeless{s.Template, person}, from/minute.MinutesPerHalfHour*minute.MinutesPerHalfHour
				somewhere[at] = append(somewhere[at], workspace.Span{From: begin, To: begin + minute.MinutesPerHalfHour})
			} else if n := d.workspaces[seat]; n >= 0 {
				d.visits[n] = append(d.visits[n], workspaceVisit{workspace.Span{From: from, To: to}, person})
			}
		})
	}
	return somewhere
}

// attend adds the minutes in which a workspace ran on the day.
func (d *runningDays) attend(n int, running workspace.Minutes, somewhere []workspace.Span) {
	here := make([]workspace.Span, len(d.visits[n]))
	for i, v := range d.visits[n] {
		here[i] = v.Span
	}
	of := workspace.Attend(running, workspace.Use{Here: workspace.MinutesOf(here...), Somewhere: workspace.MinutesOf(somewhere...)})
	for _, k := range []struct {
		kind    int
		minutes workspace.Minutes
	}{{kindRunning, running}, {kindAttended, of.Attended}, {kindUnknown, of.Unknown}} {
		for _, s := range k.minutes {
			d.cube.Add(k.kind, d.owners[n], s.From, s.To, nil)
		}
	}
	if !d.q.Visitors {
		return
	}
	for _, v := range d.visits[n] {
		for _, s := range running.Intersect(workspace.Minutes{v.Span}) {
			d.cube.Add(kindVisited+int(d.of.Actors[v.person]), v.person, s.From, s.To, nil)
		}
	}
}
