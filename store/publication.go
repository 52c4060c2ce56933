package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/apps"
	"github.com/template-insights/insights/store/db"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/usage"
)

// Where the privacy mode hides small groups, the store publishes atoms. An atom is the use of one template on one day, in one app or
// with one value of a parameter; the store publishes it if the number of its people is at least the floor. A day is counted once, some
// time after its end, and nothing that comes later changes its atoms. An answer is a sum of published atoms, or the number of distinct
// people in published atoms, rounded down to a multiple of the floor. Further questions, and the same question asked again, tell nothing
// new to a caller that knows all published atoms and these numbers.

// Floor says from how many people on something is told. The zero value tells everything.
type Floor struct {
	People int             // that must take part in an atom, or it is not told
	Days   []minute.Window // of the window of a question, which has whole days and whole days as its intervals
	Zone   *time.Location  // whose days these are
}

func (f Floor) hides() bool { return f.People > 0 }

// dates are the days by their dates, as [minute.DateOf].
func (f Floor) dates() map[int32]minute.Window {
	dates := make(map[int32]minute.Window, len(f.Days))
	for _, day := range f.Days {
		dates[minute.DateOf(time.Unix(60*day.Start, 0).In(f.Zone))] = day
	}
	return dates
}

// Publication says how a server publishes days.
type Publication struct {
	Floor int            // how many people must take part in an atom
	Zone  *time.Location // whose days are published
	After time.Duration  // how long after its end a day is
}

// publishedDay is the published atoms of a template and day. Without a template it is what was published of the day alone.
type publishedDay struct {
	TemplateID uuid.UUID
	Day        int32
	Floor      int // no atom of fewer people is in the body
	Body       []byte
}

// publishedAtoms is the body of a publishedDay.
type publishedAtoms struct {
	People     []byte            `json:"people,omitempty"` // with any use, as [minute.PackPersons]
	Estimated  bool              `json:"estimated,omitempty"`
	Apps       []publishedApp    `json:"apps,omitempty"`
	Others     []publishedOthers `json:"others,omitempty"`
	Parameters []publishedValue  `json:"parameters,omitempty"`
	Statuses   []publishedStatus `json:"statuses,omitempty"` // without a template
}

// publishedApp is the use of one entry: of a family of session apps, or of a workspace app.
type publishedApp struct {
	Family   string `json:"family,omitempty"`
	Slug     string `json:"slug,omitempty"`
	People   int    `json:"people"`
	Minutes  int64  `json:"minutes"`
	Launches int64  `json:"launches"`
}

// publishedOthers is the use of those who are no people.
type publishedOthers struct {
	Actor   minute.Actor `json:"actor"`
	People  []byte       `json:"people"` // as [minute.PackPersons]
	Minutes int64        `json:"minutes"`
}

// publishedValue is the choice of one value of a parameter. What it is a value of, the version of the template says.
type publishedValue struct {
	Version    uuid.UUID `json:"version"`
	Name       string    `json:"name"`
	Value      string    `json:"value,omitempty"`
	Hidden     bool      `json:"hidden,omitempty"` // the value looks like a credential, and is not kept
	People     int       `json:"people"`
	Workspaces int64     `json:"workspaces"`
}

// For how long days wait to be published.
const (
	importPatience = 24 * time.Hour     // for an import that does not go on: one that was ended may until then
	followPatience = 7 * 24 * time.Hour // for the usage of a system that is or was followed
)

// errAwaited says that a day turned out to be awaited still while it was counted.
var errAwaited = errors.New("usage of the day is awaited")

// Publish publishes the oldest day that is due and was not published, and reports whether there was one. While an import runs none is
// due, nor is a day that a system that is followed has not told of, and one that was counted meanwhile is not published: what comes later
// would be late for ever. Any number of servers may
// publish at once; the first one to commit a day has published it. Of a day that an import brought, templates that have something published
// stay as they are.
func (s *Store) Publish(ctx context.Context, p Publication) (published bool, err error) {
	day, due, err := s.nextPublication(ctx, p)
	if err != nil || !due {
		return false, err
	}
	atoms, err := s.countAtoms(ctx, p, day)
	if err != nil {
		return false, fmt.Errorf("count day %d for publication: %w", day, err)
	}
	rows := make([]publishedDay, 0, len(atoms))
	for template, of := range atoms {
		body, err := json.Marshal(of)
		if err != nil {
			return false, fmt.Errorf("write the published day %d of template %s: %w", day, template, err)
		}
		rows = append(rows, publishedDay{template, day, p.Floor, body})
	}
	err = s.db.InTransaction(ctx, func(tx *gorm.DB) error {
		claimed := tx.Exec(`INSERT INTO publications (day, published) VALUES (?, ?)
			ON CONFLICT (day) DO UPDATE SET published = excluded.published WHERE NOT publications.published`, day, true)
		if claimed.Error != nil || claimed.RowsAffected == 0 { // another server published it meanwhile
			return claimed.Error
		}
		if awaited, err := s.awaited(tx, day, p.Zone); err != nil || awaited {
			return cmp.Or(err, errAwaited)
		}
		if len(rows) == 0 {
			return nil
		}
		return tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(rows, writeBatch).Error
	})
	if errors.Is(err, errAwaited) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("publish day %d: %w", day, err)
	}
	return true, nil
}

// nextPublication is the date of the oldest day that is to be published now.
func (s *Store) nextPublication(ctx context.Context, p Publication) (day int32, due bool, err error) {
	reads := s.db.Reads.WithContext(ctx)
	var open, newest sql.Null[int64]
	for text, into := range map[string]*sql.Null[int64]{
		`SELECT MIN(day) FROM publications WHERE NOT published`: &open,
		`SELECT MAX(day) FROM publications WHERE published`:     &newest,
	} {
		if err := reads.Raw(text).Row().Scan(into); err != nil {
			return 0, false, fmt.Errorf("look for days to publish: %w", err)
		}
	}
	last := minute.DateOf(s.clock().Add(-p.After).In(p.Zone)) - 1
	day = int32(newest.V) + 1
	if !newest.Valid {
		if day, err = s.firstDay(ctx, last); err != nil {
			return 0, false, err
		}
	}
	if open.Valid {
		day = min(day, int32(open.V))
	}
	if day > last {
		return day, false, nil
	}
	awaited, err := s.awaited(reads, day, p.Zone)
	return day, !awaited, err
}

// awaited reports whether an import runs, or usage of a day is not here yet of a system that is followed.
func (s *Store) awaited(tx *gorm.DB, day int32, zone *time.Location) (bool, error) {
	_, end := minute.DayOf(day, zone)
	running, args := `running_at > ?`, []any{At(s.clock().Add(-importPatience))}
	if patient := s.clock().Add(-followPatience); end.After(patient) {
		running, args = running+` OR followed_until > ? AND usage_until < ?`, append(args, At(patient), At(end))
	}
	var imports int64
	err := tx.Raw(`SELECT COUNT(*) FROM imports WHERE `+running, args...).Row().Scan(&imports)
	if err != nil {
		return false, fmt.Errorf("look for imports that run: %w", err)
	}
	return imports > 0, nil
}

// firstDay is the day before the first one of which anything is stored that is published, or another one if that is earlier.
func (s *Store) firstDay(ctx context.Context, other int32) (int32, error) {
	oldest, err := s.Oldest(ctx)
	for _, kind := range []string{ExpiredUsage, ExpiredBuilds} {
		if at, stored := oldest[kind]; stored {
			other = min(other, minute.DateOf(at.UTC())-1)
		}
	}
	return other, err
}

// countAtoms counts the atoms of a day of all templates, those without one included that somebody used or started workspaces of, and the
// users by status at its end.
func (s *Store) countAtoms(ctx context.Context, p Publication, day int32) (map[uuid.UUID]*publishedAtoms, error) {
	x, err := s.everything(ctx)
	if err != nil {
		return nil, err
	}
	atoms := map[uuid.UUID]*publishedAtoms{}
	of := func(template uuid.UUID) *publishedAtoms {
		if atoms[template] == nil {
			atoms[template] = &publishedAtoms{}
		}
		return atoms[template]
	}
	start, end := minute.DayOf(day, p.Zone)
	if err := s.countApps(ctx, x, minute.NewWindow(start, end), p.Floor, of); err != nil {
		return nil, err
	}
	if err := s.countValues(ctx, x, start, end, p.Floor, of); err != nil {
		return nil, err
	}
	statuses, err := s.statusesAt(ctx, end)
	if len(statuses) > 0 {
		of(uuid.Nil).Statuses = statuses
	}
	return atoms, err
}

// countApps counts the atoms of apps and of any use.
func (s *Store) countApps(
	ctx context.Context, x usage.Index, day minute.Window, floor int, of func(template uuid.UUID) *publishedAtoms,
) error {
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return err
	}
	people, err := s.population(ctx, minute.People)
	if err != nil {
		return err
	}
	counters := map[int]*minute.Counter{} // by template
	err = usage.EachDay(ctx, s.usage, x, day, usage.Minutes, func(utc int32, sources []minute.Source[*minute.Table]) error {
		for i, source := range sources {
			if counters[source.Template] == nil {
				counters[source.Template] = minute.NewCounter(day, people, len(x.IDs), channels.ofEntry, minute.Users)
			}
			if err := counters[source.Template].Add(utc, sources[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
	for template, counter := range counters {
		if t := counter.Tally(); len(t.Users) > 0 || len(t.Others) > 0 {
			of(x.IDs[template]).addTally(t, floor, channels)
		}
	}
	return err
}

// addTally adds the atoms of a tally that are published.
func (a *publishedAtoms) addTally(t minute.Tally, floor int, channels *appChannels) {
	for _, o := range t.Others {
		if len(o.People) >= floor {
			a.Others = append(a.Others, publishedOthers{o.Actor, minute.PackPersons(o.People), o.Minutes})
		}
	}
	if len(t.Users) < floor {
		return
	}
	people := make([]int64, len(t.Users))
	for i, u := range t.Users {
		people[i] = u.Person
	}
	a.People, a.Estimated = minute.PackPersons(people), t.Estimated
	for channel, c := range t.Channels {
		if c.Users >= floor {
			app := publishedApp{People: c.Users, Minutes: c.Minutes, Launches: c.Launches}
			if e := channels.entry(channel); e.Builtin {
				app.Family = e.Family
			} else {
				app.Slug = e.Slug
			}
			a.Apps = append(a.Apps, app)
		}
	}
}

// countValues counts the atoms of values of parameters, by the newest start of each workspace on the day that succeeded. Whether a value
// is hidden depends on the people of its atom alone.
func (s *Store) countValues(
	ctx context.Context, x usage.Index, start, end time.Time, floor int, of func(template uuid.UUID) *publishedAtoms,
) error {
	newest, err := s.newestStarts(ctx, x, minute.People, start, end)
	if err != nil {
		return err
	}
	choices, err := s.choicesOfOwners(ctx, newest)
	if err != nil {
		return err
	}
	suspicion, values := newest.suspicion(), parameterAtoms{}
	err = eachParameter(ctx, choices, func(c choice, p askedParameter, value string, chosen bool) {
		of(c.TemplateID)
		if chosen {
			values.add(parameterAtom{c.TemplateID, p.key, value}, c, p, suspicion.of(c.TemplateID, p.Parameter, value))
		}
	})
	for atom, chosen := range values {
		if len(chosen.people) < floor {
			continue
		}
		v := publishedValue{
			Version: chosen.version, Name: chosen.definition.Name, Value: atom.value, Hidden: chosen.hidden(), People: len(chosen.people),
			Workspaces: chosen.workspaces,
		}
		if v.Hidden {
			v.Value = ""
		}
		a := of(atom.template)
		a.Parameters = append(a.Parameters, v)
	}
	return err
}

// PublishedUntil is the date after the newest day that was published; false: none was.
func (s *Store) PublishedUntil(ctx context.Context) (date int32, published bool, err error) {
	var newest sql.Null[int32]
	if err := s.db.Lookups.WithContext(ctx).Raw(`SELECT MAX(day) FROM publications WHERE published`).Row().Scan(&newest); err != nil {
		return 0, false, fmt.Errorf("look for the newest day that was published: %w", err)
	}
	return newest.V + 1, newest.Valid, nil
}

// eachPublished calls f for the published atoms of each template and day of a question, and the floor of their time.
func (s *Store) eachPublished(
	ctx context.Context, x usage.Index, floor Floor, f func(template int, day minute.Window, then int, atoms publishedAtoms) error,
) error {
	dates := floor.dates()
	if len(dates) == 0 {
		return nil
	}
	condition, args := x.Where("1 = 1")
	return s.eachPublishedRow(ctx, condition, args, slices.Sorted(maps.Keys(dates)), func(row publishedDay, atoms publishedAtoms) error {
		template, known := x.Number(row.TemplateID)
		day, askedFor := dates[row.Day]
		if !known || !askedFor {
			return nil
		}
		return f(template, day, row.Floor, atoms)
	})
}

// eachPublishedRow calls f for the published rows under a condition from the first to the last of some dates, which ascend.
func (s *Store) eachPublishedRow(
	ctx context.Context, condition string, args []any, dates []int32, f func(publishedDay, publishedAtoms) error,
) error {
	query := s.db.Reads.WithContext(ctx).Raw(`SELECT template_id, day, floor, body FROM published_days WHERE day >= ? AND day <= ? AND `+
		condition, append([]any{dates[0], dates[len(dates)-1]}, args...)...)
	err := s.db.Rows(query, func(r db.Records) error {
		var row publishedDay
		return r.Each(func() error {
			var atoms publishedAtoms
			if err := json.Unmarshal(row.Body, &atoms); err != nil {
				return fmt.Errorf("day %d of template %s: %w", row.Day, row.TemplateID, err)
			}
			return f(row, atoms)
		}, r.ID(&row.TemplateID), &row.Day, &row.Floor, r.Bytes(&row.Body))
	})
	if err != nil {
		return fmt.Errorf("read published days: %w", err)
	}
	return nil
}

// publishedInsights is TemplateInsights of published atoms alone. The answer does not tell editors apart: the difference between an
// entry and the sum of its editors could be the usage of one person.
func (s *Store) publishedInsights(ctx context.Context, scope access.Scope, w minute.Window, floor Floor) (TemplateInsights, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return TemplateInsights{}, err
	}
	channels, err := s.appChannels(ctx, x)
	if err != nil {
		return TemplateInsights{}, err
	}
	p := publication{least: floor.People, multiple: floor.People, intervals: w.Intervals(), of: channels}
	p.inInterval = make([]published, len(p.intervals))
	if err := s.eachPublished(ctx, x, floor, p.add); err != nil {
		return TemplateInsights{}, err
	}
	answer := TemplateInsights{
		Templates: x.Of(p.inWindow.templates.list()), ActiveUsers: p.count(p.inWindow), Estimated: p.estimated, Others: together(p.others),
	}
	for i, w := range p.intervals {
		answer.Intervals = append(answer.Intervals, Interval{
			w.Start, w.End, x.Of(p.inInterval[i].templates.list()), p.count(p.inInterval[i]),
		})
	}
	channels.fill(&answer, x, p.tallies())
	return answer, nil
}

// publication adds up the published atoms of an answer.
type publication struct {
	least      int // the floor of the question
	multiple   int // numbers of people are multiples of this floor: of the question or of one of the atoms, whichever is the greatest
	estimated  bool
	intervals  []minute.Window
	inWindow   published
	inInterval []published
	of         *appChannels
	channels   []publishedChannel
	others     []minute.OtherTally // of each atom in which at least as many as the floor are of an actor that is left out
}

// published is the people and the templates of some published atoms.
type published struct {
	templates set[int]
	people    set[int64]
}

// publishedChannel is the sum of the atoms of a channel.
type publishedChannel struct {
	minutes, launches int64
	templates         set[int]
}

// add adds the atoms of a template and day in which enough people take part. then is the floor of their time.
func (p *publication) add(template int, day minute.Window, then int, atoms publishedAtoms) error {
	p.multiple = max(p.multiple, then)
	if err := p.addOthers(atoms); err != nil {
		return err
	}
	people, err := minute.UnpackPersons(atoms.People)
	if err != nil || len(people) < p.least {
		return err
	}
	p.estimated = p.estimated || atoms.Estimated
	to := []*published{&p.inWindow}
	for i, w := range p.intervals {
		if w.Start <= day.Start && day.Start < w.End {
			to = append(to, &p.inInterval[i])
		}
	}
	for _, at := range to {
		at.templates.add(template)
		for _, person := range people {
			at.people.add(person)
		}
	}
	for _, app := range atoms.Apps {
		channel, known := p.of.published(template, app)
		if !known || app.People < p.least {
			continue
		}
		for len(p.channels) <= channel {
			p.channels = append(p.channels, publishedChannel{})
		}
		to := &p.channels[channel]
		to.minutes, to.launches = to.minutes+app.Minutes, to.launches+app.Launches
		to.templates.add(template)
	}
	return nil
}

// addOthers adds what is published of actors that are left out.
func (p *publication) addOthers(atoms publishedAtoms) error {
	for _, o := range atoms.Others {
		people, err := minute.UnpackPersons(o.People)
		if err != nil {
			return err
		}
		if len(people) >= p.least {
			p.others = append(p.others, minute.OtherTally{Actor: o.Actor, People: people, Minutes: o.Minutes})
		}
	}
	return nil
}

// count is the number of people in some published atoms, rounded down.
func (p *publication) count(in published) int { return len(in.people) - len(in.people)%p.multiple }

// tallies are the channels as [appChannels.fill] takes them.
func (p *publication) tallies() []minute.ChannelTally {
	tallies := make([]minute.ChannelTally, len(p.channels))
	for i, c := range p.channels {
		tallies[i] = minute.ChannelTally{Minutes: c.minutes, Launches: c.launches, Templates: c.templates.list()}
	}
	return tallies
}

// PublishedQuery is Query of published atoms alone, by ByTime with stretches of whole days, ByTemplate, ByOrganization, ByApp and ByFamily.
// Its figures are sums of atoms of apps, Minutes and Launches, if ofApps is set; otherwise People, distinct ones in atoms, rounded down,
// and Days, these numbers of each day added up. A family of session apps has no value ByApp.
func (s *Store) PublishedQuery(ctx context.Context, q Query, floor Floor, ofApps bool) (result QueryResult, err error) {
	x, err := s.index(ctx, q.Scope)
	if err != nil {
		return result, err
	}
	r := dimensionReader{Store: s, ctx: ctx, x: x, q: q}
	cut := publishedCut{
		publication: publication{least: floor.People, multiple: floor.People}, known: s.Apps(), apps: ofApps, by: q.By, max: q.MaxCells,
	}
	cut.cells = map[minute.CellKey]*publishedCell{minute.Whole: {}}
	if _, cut.dimensions, err = r.cut(r.dimension); err != nil {
		return result, err
	}
	for _, f := range q.Filters {
		d, err := r.dimension(f.By)
		if err != nil {
			return result, err
		}
		filter := publishedFilter{by: f.By, of: d, values: map[int64]bool{}, not: f.Not}
		for _, value := range f.Values {
			n, err := d.numberOf(value)
			if err != nil {
				return result, err
			}
			if n != minute.NoValue {
				filter.values[n] = true
			}
		}
		cut.filters = append(cut.filters, filter)
	}
	if err := s.eachPublished(ctx, x, floor, cut.add); err != nil {
		return result, err
	}
	cells := cut.figures()
	result.Others = together(cut.others)
	result.Whole = cells[0].Figures
	result.Rows, err = rowsOf(cells, cut.dimensions)
	return result, err
}

// publishedCut puts published atoms into the cells of a query.
type publishedCut struct {
	publication

	known      *apps.List
	apps       bool // atoms of apps are cut, not those of any use
	by         []string
	dimensions []queryDimension
	filters    []publishedFilter
	cells      map[minute.CellKey]*publishedCell
	members    int // people in cells and days
	max        int // of members
}

// publishedFilter lets atoms pass.
type publishedFilter struct {
	by     string
	of     queryDimension
	values map[int64]bool
	not    bool
}

// publishedCell is a cell of published atoms.
type publishedCell struct {
	people            map[int64]set[int64] // by the begin of their day
	minutes, launches int64
}

// add adds the atoms of a template and day.
func (c *publishedCut) add(template int, day minute.Window, then int, atoms publishedAtoms) error {
	c.multiple = max(c.multiple, then)
	if c.apps {
		for _, app := range atoms.Apps {
			if _, known := c.known.Family(app.Family); app.Family != "" && !known {
				app.Family = UnknownSession // as a family that there is no more
			}
			if app.People < c.least || !c.passes(template, day, app) {
				continue
			}
			for _, cell := range c.cellsOf(template, day, app) {
				cell.minutes, cell.launches = cell.minutes+app.Minutes, cell.launches+app.Launches
			}
		}
		return nil
	}
	if !c.passes(template, day, publishedApp{}) {
		return nil
	}
	if err := c.addOthers(atoms); err != nil {
		return err
	}
	people, err := minute.UnpackPersons(atoms.People)
	if err != nil || len(people) < c.least {
		return err
	}
	for _, cell := range c.cellsOf(template, day, publishedApp{}) {
		if cell.people == nil {
			cell.people = map[int64]set[int64]{}
		}
		of := cell.people[day.Start]
		before := len(of)
		for _, person := range people {
			of.add(person)
		}
		cell.people[day.Start] = of
		if c.members += len(of) - before; c.max > 0 && c.members > c.max {
			return ErrTooManyCells
		}
	}
	return nil
}

// passes reports whether an atom passes all filters.
func (c *publishedCut) passes(template int, day minute.Window, app publishedApp) bool {
	return !slices.ContainsFunc(c.filters, func(f publishedFilter) bool {
		return f.values[valueOfAtom(f.by, f.of, template, day, app)] == f.not
	})
}

// cellsOf are the cells that an atom of enough people belongs to. Where there is none of those, there is no cell: it would tell that
// somebody was there.
func (c *publishedCut) cellsOf(template int, day minute.Window, app publishedApp) []*publishedCell {
	cells := []*publishedCell{c.cells[minute.Whole]}
	if len(c.dimensions) == 0 {
		return cells
	}
	key := minute.Whole
	for i, d := range c.dimensions {
		if key[i] = valueOfAtom(c.by[i], d, template, day, app); key[i] == minute.NoValue {
			return cells
		}
	}
	if c.cells[key] == nil {
		c.cells[key] = &publishedCell{}
	}
	return append(cells, c.cells[key])
}

// valueOfAtom is the value of an atom in a dimension.
func valueOfAtom(by string, d queryDimension, template int, day minute.Window, app publishedApp) int64 {
	switch {
	case by == ByTime:
		for _, t := range d.OfMinute {
			if t.Start <= day.Start && day.Start < t.End {
				return t.Value
			}
		}
		return minute.NoValue
	case d.OfTemplate != nil:
		return d.OfTemplate(template)
	case app.Family == "":
		return d.OfUse(template, minute.App, app.Slug)
	case by == ByFamily:
		n, _ := d.numberOf(app.Family) // fails never: families come from no database
		return n
	default: // an app of which the family alone is published
		return minute.NoValue
	}
}

// figures are those of the cells, the whole first.
func (c *publishedCut) figures() []queryCell {
	cells := []queryCell{{minute.Whole, c.figuresOf(c.cells[minute.Whole])}}
	for key, cell := range c.cells {
		if key != minute.Whole {
			cells = append(cells, queryCell{key, c.figuresOf(cell)})
		}
	}
	return cells
}

func (c *publishedCut) figuresOf(cell *publishedCell) Figures {
	f := Figures{Cell: minute.Cell{Minutes: cell.minutes, Launches: cell.launches}}
	all := published{}
	for _, people := range cell.people {
		f.Days += int64(c.count(published{people: people}))
		for person := range people {
			all.people.add(person)
		}
	}
	f.People = int64(c.count(all))
	return f
}

// set is a set that lists its members in their order; nil is empty.
type set[T cmp.Ordered] map[T]struct{}

func (s *set[T]) add(member T) {
	if *s == nil {
		*s = set[T]{}
	}
	(*s)[member] = struct{}{}
}

func (s set[T]) list() []T { return slices.Sorted(maps.Keys(s)) }

// publishedParameters is ParameterUsage of published atoms alone. It has no options that nobody chose.
func (s *Store) publishedParameters(ctx context.Context, scope access.Scope, floor Floor) ([]ParameterUsage, error) {
	x, err := s.index(ctx, scope)
	if err != nil {
		return nil, err
	}
	type value struct {
		template uuid.UUID
		publishedValue
	}
	var values []value
	var templates []uuid.UUID
	ids := map[uuid.UUID]bool{}
	err = s.eachPublished(ctx, x, floor, func(template int, _ minute.Window, _ int, atoms publishedAtoms) error {
		templates = append(templates, x.IDs[template])
		for _, v := range atoms.Parameters {
			if v.People >= floor.People {
				values, ids[v.Version] = append(values, value{x.IDs[template], v}), true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	versions, err := s.versionsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	newest, err := s.newestParameters(ctx, templates)
	if err != nil {
		return nil, err
	}
	groups := parameterGroups{}
	for _, v := range values {
		for _, p := range versions[v.Version].Parameters {
			if p.Name != v.Name {
				continue
			}
			g := groups.of(askedParameter{p, parameterKey(p)})
			g.templates[v.template] = true
			g.add(v.Value, v.Workspaces, v.Hidden)
		}
	}
	usage := groups.usage(newest)
	for i := range usage {
		usage[i].Unused = nil
	}
	return usage, nil
}

// parameterAtom is a value of a parameter in a template.
type parameterAtom struct {
	template   uuid.UUID
	key, value string // of the definition; chosen
}

// parameterAtoms are those who chose the values of atoms.
type parameterAtoms map[parameterAtom]*parameterChoices

// add adds a choice of the value of an atom.
func (atoms parameterAtoms) add(atom parameterAtom, c choice, p askedParameter, suspect bool) {
	chosen := atoms[atom]
	if chosen == nil {
		chosen = &parameterChoices{definition: p, version: c.TemplateVersionID, people: map[uuid.UUID]struct{}{}, suspect: true}
		atoms[atom] = chosen
	}
	chosen.suspect = chosen.suspect && suspect
	chosen.workspaces += c.Workspaces
	if c.OwnerID != uuid.Nil {
		chosen.people[c.OwnerID] = struct{}{}
	}
}

// parameterChoices is the people that chose the value of an atom, as far as owners are told apart, and the number of their workspaces.
type parameterChoices struct {
	definition askedParameter
	version    uuid.UUID // of a template, with that definition
	workspaces int64
	people     map[uuid.UUID]struct{}
	suspect    bool // the value looks like a credential, and no definition names it
}

// hidden reports whether the value is hidden: it is under suspicion, unless many owners chose it.
func (c *parameterChoices) hidden() bool { return c.suspect && len(c.people) < fewestOwners }
