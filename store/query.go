package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// Dimensions of a [Query].
const (
	ByTime         = "time" // stretches of time that the query brings along
	ByTemplate     = "template"
	ByOrganization = "organization"
	ByGroup        = "group" // that the person is a member of in a half hour
	ByUser         = "user"
	ByWorkspace    = "workspace"
	ByVersion      = "template_version" // that the workspace ran with in a half hour
	ByApp          = "app"              // a session app, or a workspace app that the template declares
	ByFamily       = "family"           // of a session app, or [WorkspaceApp]
	ByEditor       = "editor"           // a session app in which people program
	ByActor        = "actor"
	ByPurpose      = "purpose" // of the workspace
	ByRegion       = "region"  // the relay through which the person reached the workspace

	// ByParameter with a name behind it is the value of that parameter that the workspace ran with in a half hour, or ByPreset.
	ByParameter = "parameter:"
	ByPreset    = ByParameter + "preset" // the preset that it ran with
)

// Query asks how templates were used, cut by up to [minute.MaxDimensions] dimensions and narrowed by filters. A scope of the members of
// groups is a filter by these groups, and there are no others.
type Query struct {
	Scope      access.Scope
	Actors     minute.Actors
	Window     minute.Window // its intervals are days
	By         []string
	Times      [][]minute.Stretch // of each ByTime, in the order of By
	Filters    []QueryFilter      // by dimensions other than ByTime
	Workspaces bool               // asks for [minute.Cell.Workspaces]
	Peaks      bool               // asks for [minute.Cell.Peak]
	Latency    bool               // asks for latencies: of apps those of the half hours in which the person used them
	MaxCells   int                // as [minute.Cut.MaxCells]

	Time           bool // asks for the time of workspaces; not together with ByApp, ByFamily, ByEditor and ByRegion
	Visitors       bool // asks for [TimeFigures.Visitors], which takes time
	Builds         bool // asks for builds, as Time does
	OnlyWorkspaces bool // asks for no usage: rows are of Time and Builds alone
}

// QueryFilter narrows a query to what has one of some values in a dimension, or to what has none of them.
type QueryFilter struct {
	By     string
	Values []string // as [QueryKey.Value]
	Not    bool
}

// QueryResult is the answer to a query. It has a row for all that was used, and for every stretch and every group of the catalog that is
// the only dimension.
type QueryResult struct {
	Whole  Figures
	Rows   []QueryRow
	Others []OtherActor // that the query leaves out
}

// Figures are what was counted of a cell.
type Figures struct {
	minute.Cell

	Latency minute.LatencyCell // without samples unless asked for
	Time    TimeFigures        // empty unless asked for, as are the next
	Builds  BuildFigures
}

// QueryRow is the figures of what has some values.
type QueryRow struct {
	*Figures

	Keys []*QueryKey // by dimension; rows share them
}

// QueryKey is a value of a dimension.
type QueryKey struct {
	Value    string // an id or a name; empty for ByTime
	Label    string // what people read; empty for ByTime
	Number   int64  // of ByTime: the value of the stretch
	Deleted  bool   // is not in the catalog any more
	Everyone bool   // a group that has all members of its organization
	Family   string // of an app, an editor and a family
	Together int    // how many people it is told of at least, and never of one alone; 0: it is told of each
}

// ErrTooManyCells says that the answer to a query takes more memory than it may.
var ErrTooManyCells = minute.ErrCells

// Query answers in one pass over usage.
func (s *Store) Query(ctx context.Context, q Query) (result QueryResult, err error) {
	x, err := s.index(ctx, q.Scope)
	if err != nil {
		return result, err
	}
	of, err := s.population(ctx, q.Actors)
	if err != nil {
		return result, err
	}
	r := dimensionReader{s, ctx, x, q, of, &queryWorkspaces{}}
	cut, dimensions, err := r.cut(r.dimension)
	if err != nil {
		return result, err
	}
	if q.OnlyWorkspaces {
		cut.Dimensions = nil // who is left out is all that is asked
	}
	if q.Workspaces {
		seats, err := r.seats()
		if err != nil {
			return result, err
		}
		cut.WorkspaceOf = seats.workspaceOf
	}
	cells, others, err := s.cutUsage(ctx, x, cut, q.Latency)
	if err != nil {
		return result, err
	}
	result.Whole, result.Others = cells[0].Figures, together(others)
	if !q.OnlyWorkspaces {
		if result.Rows, err = rowsOf(cells, dimensions); err != nil {
			return result, err
		}
	}
	return result, r.addWorkspaces(&result)
}

// cut is the cut of the query, and its dimensions with the names of their values.
func (r dimensionReader) cut(dimension func(by string) (queryDimension, error)) (minute.Cut, []queryDimension, error) {
	cut := minute.Cut{Window: r.q.Window, Of: r.of, Peaks: r.q.Peaks, MaxCells: r.q.MaxCells}
	var dimensions []queryDimension
	times := r.q.Times
	for _, by := range r.q.By {
		var d queryDimension
		var err error
		if by == ByTime {
			d, times = byTime(times[0]), times[1:]
		} else if d, err = dimension(by); err != nil {
			return cut, nil, err
		}
		dimensions, cut.Dimensions = append(dimensions, d), append(cut.Dimensions, d.Dimension)
	}
	filters, err := r.filters(dimension)
	cut.Filters = filters
	return cut, dimensions, err
}

// queryCell is the figures of a cell.
type queryCell struct {
	key minute.CellKey
	Figures
}

// cutUsage runs one pass over usage and, if asked to, one over latencies. The first cell is the whole.
func (s *Store) cutUsage(
	asked context.Context, x usage.Index, cut minute.Cut, latency bool,
) ([]queryCell, []minute.OtherTally, error) {
	cube, latencies := minute.NewCube(cut), minute.NewLatencyCube(cut)
	passes, ctx := errgroup.WithContext(asked)
	passes.Go(func() error { return usage.EachDay(ctx, s.usage, x, cut.Window, usage.Minutes, cube.Add) })
	if latency && !cut.OfUses() {
		passes.Go(func() error {
			add := func(day int32, of []minute.Source[*minute.LatencyTable]) error { return latencies.Add(day, of, nil) }
			return usage.EachDay(ctx, s.usage, x, cut.Window, usage.Latencies, add)
		})
	}
	err := passes.Wait()
	if err == nil && latency && cut.OfUses() { // one pass at a time may ask what uses are
		err = s.cutLatencies(asked, x, cut.Window, latencies)
	}
	if err != nil {
		return nil, nil, err
	}
	counted, samples := cube.Cells(), latencies.Cells()
	cells := make([]queryCell, 0, len(counted))
	for _, c := range counted {
		cells = append(cells, queryCell{c.Key, Figures{Cell: c.Cell, Latency: samples[c.Key]}})
		delete(samples, c.Key)
	}
	for key, cell := range samples { // of what has no usage
		cells = append(cells, queryCell{key, Figures{Latency: cell}})
	}
	return cells, cube.Others(), nil
}

// cutLatencies collects latencies with the usage beside them. It reads some days of one and then of the other: whoever held both open would
// wait for a second connection while having the first.
func (s *Store) cutLatencies(ctx context.Context, x usage.Index, w minute.Window, c *minute.LatencyCube) error {
	const minutes, together = 24 * 60, 7 // days in memory
	first, last := w.Days()
	for ; first <= last; first += together {
		part := minute.Window{Start: int64(first) * minutes, End: int64(min(first+together, last+1)) * minutes}
		uses := map[int32][]minute.Source[*minute.Table]{}
		err := usage.EachDay(ctx, s.usage, x, part, usage.Minutes, func(day int32, of []minute.Source[*minute.Table]) error {
			uses[day] = of
			return nil
		})
		if err != nil {
			return err
		}
		err = usage.EachDay(ctx, s.usage, x, part, usage.Latencies, func(day int32, of []minute.Source[*minute.LatencyTable]) error {
			return c.Add(day, of, uses[day])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rowsOf names the values of cells but the whole, which is the first. A cell with a value that has no name any more is left out.
func rowsOf(cells []queryCell, dimensions []queryDimension) ([]QueryRow, error) {
	cells = cells[1:]
	named := make([]map[int64]*QueryKey, len(dimensions))
	for i, d := range dimensions {
		numbers := map[int64]bool{}
		for c := range cells {
			numbers[cells[c].key[i]] = true
		}
		if len(dimensions) == 1 {
			for _, n := range d.always {
				if !numbers[n] {
					numbers[n] = true
					cells = append(cells, queryCell{key: minute.CellKey{n, minute.NoValue}})
				}
			}
		}
		var err error
		if named[i], err = d.keys(numbers); err != nil {
			return nil, err
		}
	}
	rows, keys := make([]QueryRow, 0, len(cells)), make([]*QueryKey, 0, len(cells)*len(dimensions))
	for c := range cells {
		of := keys[len(keys):len(keys):cap(keys)]
		for i := range dimensions {
			if k, known := named[i][cells[c].key[i]]; known {
				of = append(of, k)
			}
		}
		if len(of) == len(dimensions) {
			rows, keys = append(rows, QueryRow{&cells[c].Figures, of}), keys[:len(keys)+len(of)]
		}
	}
	return rows, nil
}

// FirstUse is the first day, in UTC, of which usage of the templates of a scope is stored; false: there is none.
func (s *Store) FirstUse(ctx context.Context, scope access.Scope) (day int32, known bool, err error) {
	facts, err := s.facts(ctx, scope, factReader.usage)
	if err != nil {
		return 0, false, err
	}
	for _, f := range facts {
		if first := int32(f.FirstUse.Unix() / (24 * 60 * 60)); !f.FirstUse.IsZero() && (!known || first < day) {
			day, known = first, true
		}
	}
	return day, known, nil
}

// queryDimension is a dimension with the names of its values.
type queryDimension struct {
	minute.Dimension

	numberOf func(value string) (int64, error)                         // of a filter; minute.NoValue: nothing has it
	keys     func(numbers map[int64]bool) (map[int64]*QueryKey, error) // of those numbers, and maybe more
	always   []int64                                                   // have rows without use as well
}

// dimensionReader reads what a query needs to know of its dimensions.
type dimensionReader struct {
	*Store

	ctx context.Context
	x   usage.Index
	q   Query
	of  minute.Population
	all *queryWorkspaces // empty until something asks for them
}

// filters are the filters of the query.
func (r dimensionReader) filters(dimension func(by string) (queryDimension, error)) (filters []minute.Filter, err error) {
	asked := r.q.Filters
	if groups := r.q.Scope.Groups(); len(groups) > 0 {
		members := QueryFilter{By: ByGroup}
		for _, id := range groups {
			members.Values = append(members.Values, id.String())
		}
		asked = append(slices.Clone(asked), members)
	}
	for _, f := range asked {
		d, err := dimension(f.By)
		if err != nil {
			return nil, err
		}
		filter := minute.Filter{Dimension: d.Dimension, Values: map[int64]bool{}, Not: f.Not}
		for _, value := range f.Values {
			n, err := d.numberOf(value)
			if err != nil {
				return nil, err
			}
			if n != minute.NoValue { // what has no value would pass
				filter.Values[n] = true
			}
		}
		filters = append(filters, filter)
	}
	return filters, nil
}

// dimension reads what a dimension needs.
func (r dimensionReader) dimension(by string) (queryDimension, error) {
	switch by {
	case ByTemplate, ByOrganization:
		return r.byTemplate(by)
	case ByGroup:
		return r.byGroup()
	case ByUser:
		return r.byUser(), nil
	case ByApp, ByFamily, ByEditor:
		return r.byApp(by)
	case ByActor:
		return r.byActor(), nil
	case ByWorkspace, ByPurpose:
		return r.byWorkspace(by)
	case ByRegion:
		return r.byRegion()
	}
	if byStart(by) {
		return r.byStart(by)
	}
	return queryDimension{}, fmt.Errorf("unknown dimension %q", by)
}

// byTime is stretches of time.
func byTime(times []minute.Stretch) queryDimension {
	keys := map[int64]*QueryKey{}
	d := queryDimension{keys: func(map[int64]bool) (map[int64]*QueryKey, error) { return keys, nil }}
	d.OfMinute = times
	for _, t := range times {
		if _, known := keys[t.Value]; !known {
			keys[t.Value] = &QueryKey{Number: t.Value}
			d.always = append(d.always, t.Value)
		}
	}
	return d
}

// queryValues are values of a dimension, numbered from 0.
type queryValues struct {
	keys    []QueryKey
	numbers map[string]int64
}

// add returns the number of a value, which may be a new one.
func (v *queryValues) add(key QueryKey) int64 {
	n, known := v.numbers[key.Value]
	if !known {
		if v.numbers == nil {
			v.numbers = map[string]int64{}
		}
		n = int64(len(v.keys))
		v.numbers[key.Value] = n
		v.keys = append(v.keys, key)
	}
	return n
}

// dimension is one of these values.
func (v *queryValues) dimension(d minute.Dimension) queryDimension {
	return queryDimension{
		Dimension: d,
		numberOf: func(value string) (int64, error) {
			if n, known := v.numbers[value]; known {
				return n, nil
			}
			return minute.NoValue, nil
		},
		keys: func(numbers map[int64]bool) (map[int64]*QueryKey, error) {
			keys := make(map[int64]*QueryKey, len(numbers))
			for n := range numbers {
				keys[n] = &v.keys[n]
			}
			return keys, nil
		},
	}
}

// byTemplate is templates, or their organizations.
func (r dimensionReader) byTemplate(by string) (queryDimension, error) {
	condition, args := r.x.WhereColumn("templates.id", "1 = 1")
	var found []struct {
		ID, OrganizationID                                 uuid.UUID
		Name, DisplayName, Organization, OrganizationShown string
		Deleted                                            bool
	}
	err := r.db.Reads.WithContext(r.ctx).Raw(`SELECT templates.id, templates.name, templates.display_name,
			templates.deleted_at <> 0 AS deleted, templates.organization_id, COALESCE(organizations.name, '') AS organization,
			COALESCE(organizations.display_name, '') AS organization_shown
		FROM templates LEFT JOIN organizations ON organizations.id = templates.organization_id WHERE `+condition, args...,
	).Scan(&found).Error
	if err != nil {
		return queryDimension{}, fmt.Errorf("read templates: %w", err)
	}
	v, of := &queryValues{}, make([]int64, len(r.x.IDs))
	for i, id := range r.x.IDs {
		of[i] = minute.NoValue
		if by == ByTemplate { // also one that the catalog does not know
			of[i] = v.add(QueryKey{Value: id.String(), Label: id.String(), Deleted: true})
		}
	}
	for _, t := range found {
		n, known := r.x.Number(t.ID)
		switch {
		case !known: // younger than the index
		case by == ByTemplate:
			v.keys[n] = QueryKey{Value: t.ID.String(), Label: cmp.Or(t.DisplayName, t.Name), Deleted: t.Deleted}
		default:
			id := t.OrganizationID.String()
			of[n] = v.add(QueryKey{Value: id, Label: cmp.Or(t.OrganizationShown, t.Organization, id)})
		}
	}
	return v.dimension(minute.Dimension{OfTemplate: func(template int) int64 { return of[template] }}), nil
}

func (r dimensionReader) byActor() queryDimension {
	v := &queryValues{}
	for _, a := range minute.Everybody.List() {
		v.add(QueryKey{Value: a.String(), Label: a.String()})
	}
	return v.dimension(minute.Dimension{OfSubject: func(subject int64) int64 {
		return int64(r.of.Actors[minute.PersonOf(subject)])
	}})
}

// byUser is users. The number of one is that of the person.
func (r dimensionReader) byUser() queryDimension {
	return queryDimension{
		Dimension: minute.Dimension{OfSubject: func(subject int64) int64 { return r.of.As(minute.PersonOf(subject)) }},
		numberOf: func(value string) (int64, error) {
			id, _ := uuid.Parse(value) // nobody has what is no id, nor the zero that stands for it
			known, err := r.knownPeople(r.db.Reads.WithContext(r.ctx), []uuid.UUID{id})
			if person, ok := known[id]; ok {
				return person, err
			}
			return minute.NoValue, err
		},
		keys: func(numbers map[int64]bool) (map[int64]*QueryKey, error) {
			tallies := make([]minute.UserTally, 0, len(numbers))
			for person := range numbers {
				tallies = append(tallies, minute.UserTally{Person: person})
			}
			people, err := r.people(r.ctx, tallies)
			keys := make(map[int64]*QueryKey, len(people))
			for _, p := range people {
				if p.ID != uuid.Nil { // else nobody's name is known
					keys[p.Person] = &QueryKey{Value: p.ID.String(), Label: p.Username, Deleted: p.DeletedAt != 0}
				}
			}
			return keys, err
		},
	}
}

// byApp is apps, their families, or editors.
func (r dimensionReader) byApp(by string) (queryDimension, error) {
	known := r.Apps()
	declared := make([]map[string]bool, len(r.x.IDs)) // slugs, by template
	list, err := r.templateApps(r.ctx, r.x)
	if err != nil {
		return queryDimension{}, err
	}
	names := map[string]string{} // by slug: the first of the display names in all templates, whichever the pass meets first
	for _, a := range list {
		template, _ := r.x.Number(a.TemplateID)
		if declared[template] == nil {
			declared[template] = map[string]bool{}
		}
		declared[template][a.Slug] = true
		if name, other := cmp.Or(a.DisplayName, a.Slug), names[a.Slug]; other == "" || name < other {
			names[a.Slug] = name
		}
	}
	v := &queryValues{}
	d := v.dimension(minute.Dimension{OfUse: func(template int, kind minute.Kind, app string) int64 {
		key := QueryKey{Value: app, Family: WorkspaceApp}
		if kind == minute.Session {
			of := known.Of(app)
			key.Label, key.Family, key.Together = of.DisplayName, of.Family, known.Together(app)
			if by == ByEditor && !of.IDE {
				return minute.NoValue
			}
		} else {
			if !declared[template][app] || by == ByEditor {
				return minute.NoValue
			}
			key.Label, key.Together = names[app], known.Together(NormalizeSessionName(app))
		}
		if by == ByFamily {
			key = familyKey(known, key.Family)
		}
		n := v.add(key)
		if kind == minute.Session {
			v.keys[n] = key // one row tells of both, as of a session app
		}
		return n
	}})
	d.numberOf = func(value string) (int64, error) { // of an app that the pass may see only later
		key := QueryKey{Value: value, Label: known.Of(value).DisplayName, Family: known.Of(value).Family, Together: known.Together(value)}
		if by == ByFamily {
			key = familyKey(known, value)
		}
		return v.add(key), nil
	}
	return d, nil
}

// familyKey is the value of a family.
func familyKey(known *apps.List, name string) QueryKey {
	f, _ := known.Family(name)
	shown := map[string]string{WorkspaceApp: "Workspace Apps", UnknownSession: "Other Editors"}[name]
	return QueryKey{Value: name, Label: cmp.Or(f.DisplayName, shown, name), Family: name, Together: f.Together}
}

// seatsOf are the workspaces of seats.
type seatsOf struct {
	workspaces queryValues
	purposes   []string        // by workspace
	subjects   map[int64]int64 // to the workspace
}

func (s *seatsOf) workspaceOf(subject int64) int64 {
	if n, known := s.subjects[subject]; known {
		return n
	}
	return minute.NoValue
}

// seats reads the workspaces of the templates of the query that people have seats at.
func (r dimensionReader) seats() (*seatsOf, error) {
	condition, args := r.x.WhereColumn("workspaces.template_id", "1 = 1")
	query := r.db.Reads.WithContext(r.ctx).Raw(`SELECT seats.subject, workspaces.id, workspaces.name, workspaces.purpose,
			workspaces.deleted_at, COALESCE(users.username, '')
		FROM seats JOIN workspaces ON workspaces.id = seats.workspace_id LEFT JOIN users ON users.id = workspaces.owner_id
		WHERE `+condition, args...)
	s := &seatsOf{subjects: map[int64]int64{}}
	err := r.db.Rows(query, func(rows db.Records) error {
		var subject, deleted int64
		var id uuid.UUID
		var name, purpose, owner string
		return rows.Each(func() error {
			n := s.workspaces.add(QueryKey{Value: id.String(), Label: owner + "/" + name, Deleted: deleted != 0})
			if int(n) == len(s.purposes) {
				s.purposes = append(s.purposes, purpose)
			}
			s.subjects[subject] = n
			return nil
		}, &subject, rows.ID(&id), &name, &purpose, &deleted, &owner)
	})
	if err != nil {
		return nil, fmt.Errorf("read seats: %w", err)
	}
	return s, nil
}

// byWorkspace is workspaces, or what they are for.
func (r dimensionReader) byWorkspace(by string) (queryDimension, error) {
	s, err := r.seats()
	if err != nil || by == ByWorkspace {
		return s.workspaces.dimension(minute.Dimension{OfSubject: s.workspaceOf}), err
	}
	v := &queryValues{}
	for _, purpose := range WorkspacePurposes {
		v.add(QueryKey{Value: purpose, Label: purpose})
	}
	return v.dimension(minute.Dimension{OfSubject: func(subject int64) int64 {
		if n := s.workspaceOf(subject); n != minute.NoValue {
			return v.numbers[s.purposes[n]]
		}
		return minute.NoValue
	}}), nil
}

// byGroup is the groups of the organizations of the query's templates, each of which a person is a member of for some half hours.
func (r dimensionReader) byGroup() (queryDimension, error) {
	d, members, err := r.groupMembers()
	if err != nil {
		return queryDimension{}, err
	}
	people, err := r.knownPeople(r.db.Reads.WithContext(r.ctx), slices.Collect(maps.Keys(members)))
	if err != nil {
		return queryDimension{}, fmt.Errorf("find members of groups: %w", err)
	}
	of := map[int64][]groupMember{}
	for user, in := range members {
		if person, known := people[user]; known {
			of[person] = append(of[person], in...)
		}
	}
	d.OfHalfHour = func(subject int64, halfHour int32) []int64 {
		return groupsIn(of[r.of.As(minute.PersonOf(subject))], halfHour)
	}
	return d, nil
}

// groupMember is when somebody is in a group, by its number in the dimension.
type groupMember struct {
	group int64
	in    minute.Membership
}

// groupsIn are the groups in which somebody is in a half hour.
func groupsIn(of []groupMember, halfHour int32) (in []int64) {
	for _, m := range of {
		if m.in.Has(halfHour) {
			in = append(in, m.group)
		}
	}
	return in
}

// groupMembers is groups as a dimension that says of nothing yet which it is in, and their members by user.
func (r dimensionReader) groupMembers() (d queryDimension, of map[uuid.UUID][]groupMember, err error) {
	groups, err := r.groups()
	if err != nil {
		return d, nil, err
	}
	v, ids := &queryValues{}, make([]uuid.UUID, len(groups))
	d = v.dimension(minute.Dimension{})
	for i, g := range groups {
		ids[i] = g.ID
		n := v.add(QueryKey{Value: g.ID.String(), Label: g.Name, Deleted: !g.DeletedAt.IsZero(), Everyone: g.Everyone})
		if g.DeletedAt.IsZero() {
			d.always = append(d.always, n)
		}
	}
	members, err := memberships(r.db.Reads.WithContext(r.ctx), ids)
	if err != nil {
		return d, nil, err
	}
	of = map[uuid.UUID][]groupMember{}
	for _, g := range groups {
		for user, periods := range members[g.ID] {
			of[user] = append(of[user], groupMember{v.numbers[g.ID.String()], minute.MembershipOf(periods)})
		}
	}
	return d, of, nil
}

// groups are those of the organizations of the query's templates, deleted ones too.
func (r dimensionReader) groups() (groups []Group, err error) {
	reading := r.db.Reads.WithContext(r.ctx)
	if !r.q.Scope.All() {
		within, err := r.organizationsOfScope(r.ctx, r.q.Scope)
		if err != nil {
			return nil, err
		}
		reading = reading.Where("organization_id IN ?", keysOf(within))
	}
	if of := r.q.Scope.Groups(); len(of) > 0 {
		reading = reading.Where("id IN ?", of)
	}
	if err := reading.Order("id").Find(&groups).Error; err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return groups, nil
}

func keysOf(set map[uuid.UUID]bool) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	return ids
}

// byRegion is relays: of a half hour the last that was noted for the seat at or before it.
func (r dimensionReader) byRegion() (queryDimension, error) {
	type reached struct {
		halfHour int32
		region   int64
	}
	v, of := &queryValues{}, map[int64][]reached{}
	// Not what another one took the place of before the window.
	query := r.db.Reads.WithContext(r.ctx).Raw(`SELECT subject, half_hour, region FROM (SELECT subject, half_hour, region,
			LEAD(half_hour) OVER (PARTITION BY subject ORDER BY half_hour) AS next FROM seat_regions WHERE half_hour < ?) AS known
		WHERE next IS NULL OR next > ? ORDER BY subject, half_hour`,
		(r.q.Window.End+minute.MinutesPerHalfHour-1)/minute.MinutesPerHalfHour, r.q.Window.Start/minute.MinutesPerHalfHour)
	err := r.db.Rows(query, func(rows db.Records) error {
		var subject int64
		var halfHour int32
		var region string
		return rows.Each(func() error {
			at := reached{halfHour, minute.NoValue}
			if region != "" {
				at.region = v.add(QueryKey{Value: region, Label: region})
			}
			of[subject] = append(of[subject], at)
			return nil
		}, &subject, &halfHour, &region)
	})
	if err != nil {
		return queryDimension{}, fmt.Errorf("read regions of seats: %w", err)
	}
	return v.dimension(minute.Dimension{OfHalfHour: func(subject int64, halfHour int32) []int64 {
		all := of[subject]
		next, _ := slices.BinarySearchFunc(all, halfHour, func(at reached, h int32) int { return cmp.Compare(at.halfHour, h+1) })
		if next == 0 || all[next-1].region == minute.NoValue {
			return nil
		}
		return []int64{all[next-1].region}
	}}), nil
}
