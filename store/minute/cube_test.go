package minute

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fact is a minute of use at a seat.
type fact struct {
	template int
	subject  int64
	kind     Kind
	app      string
	minute   int64
}

// facts are all minutes of use: the reference says which of the minutes of rows are.
func facts(templates [][]Row) (all []fact) {
	ref := newReference(templates)
	for template, rows := range templates {
		for _, r := range rows {
			kind, estimate := r.Kind.Measured()
			counted := ref.uses[use{template, r.Subject >> 24, kind, r.App, estimate}]
			for i := range int64(30) {
				if m := int64(r.HalfHour)*30 + i; r.Minutes>>i&1 != 0 && counted[m] && kind != Login {
					all = append(all, fact{template, r.Subject, kind, r.App, m})
				}
			}
		}
	}
	return all
}

// valuesOf are the values that a fact has in a dimension.
func (f fact) valuesOf(d Dimension) (values []int64) {
	switch {
	case d.OfTemplate != nil:
		values = []int64{d.OfTemplate(f.template)}
	case d.OfUse != nil:
		values = []int64{d.OfUse(f.template, f.kind, f.app)}
	case d.OfSubject != nil:
		values = []int64{d.OfSubject(f.subject)}
	case d.OfHalfHour != nil:
		values = d.OfHalfHour(f.subject, int32((f.minute+30<<20)/30-1<<20))
	default:
		for _, s := range d.OfMinute {
			if s.Start <= f.minute && f.minute < s.End {
				values = append(values, s.Value)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(values), func(v int64) bool { return v == NoValue })
}

// inside reports whether a fact is in the window and passes all filters.
func (f fact) inside(c Cut) bool {
	in := c.Window.Start <= f.minute && f.minute < c.Window.End
	for _, filter := range c.Filters {
		found := false
		for _, v := range f.valuesOf(filter.Dimension) {
			found = found || filter.Values[v]
		}
		in = in && found != filter.Not
	}
	return in
}

// keysOf are the cells of a fact.
func (f fact) keysOf(c Cut) []CellKey {
	keys := []CellKey{Whole}
	if len(c.Dimensions) == 0 {
		return keys
	}
	for _, v := range f.valuesOf(c.Dimensions[0]) {
		if len(c.Dimensions) == 1 {
			keys = append(keys, CellKey{v, NoValue})
			continue
		}
		for _, w := range f.valuesOf(c.Dimensions[1]) {
			keys = append(keys, CellKey{v, w})
		}
	}
	return keys
}

// referenceCells counts facts the slow way.
func referenceCells(c Cut, all []fact) map[CellKey]Cell {
	in := map[CellKey]map[int64]minutes{} // by cell and person
	visited := map[CellKey]map[int64]bool{}
	for _, f := range all {
		if !f.inside(c) || !c.Of.counts(f.subject>>24) {
			continue
		}
		for _, key := range f.keysOf(c) {
			if in[key] == nil {
				in[key], visited[key] = map[int64]minutes{}, map[int64]bool{}
			}
			person := c.Of.As(f.subject >> 24)
			if in[key][person] == nil {
				in[key][person] = minutes{}
			}
			in[key][person][f.minute] = true
			if c.WorkspaceOf == nil {
				continue
			}
			if workspace := c.WorkspaceOf(f.subject); workspace != NoValue {
				visited[key][workspace] = true
			}
		}
	}
	cells := map[CellKey]Cell{Whole: {}}
	for key, people := range in {
		cell := Cell{People: int64(len(people)), Workspaces: int64(len(visited[key]))}
		atOnce := map[int64]int64{}
		for _, used := range people {
			cell.Minutes += int64(len(used))
			cell.Launches += launches(used)
			for i, start := range c.Window.Bounds {
				end := append(c.Window.Bounds[1:], c.Window.End)[i]
				if slices.ContainsFunc(slices.Collect(maps.Keys(used)), func(m int64) bool { return start <= m && m < end }) {
					cell.Days++
				}
			}
			for m := range used {
				if c.Peaks {
					atOnce[m]++
					cell.Peak = max(cell.Peak, atOnce[m])
				}
			}
		}
		cells[key] = cell
	}
	return cells
}

var anyDimension = rapid.Custom(func(t *rapid.T) Dimension {
	seed := rapid.Int64Range(0, 1000).Draw(t, "seed")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return Dimension{OfUse: func(template int, kind Kind, app string) int64 {
			return (seed+int64(template)*7+int64(kind)*3+int64(len(app))*5)%4 - 1
		}}
	case 1:
		return Dimension{OfSubject: PersonOf}
	case 2:
		return Dimension{OfSubject: func(subject int64) int64 { return (seed+subject)%4 - 1 }}
	case 3:
		return Dimension{OfHalfHour: func(subject int64, halfHour int32) []int64 {
			return [][]int64{nil, {0}, {1}, {0, 1}, {0, 1, 2}}[(seed+subject%7+int64(halfHour+1<<20)/5)%5]
		}}
	case 4:
		return Dimension{OfTemplate: func(template int) int64 { return (seed+int64(template))%4 - 1 }}
	default:
		d, length := Dimension{OfMinute: []Stretch{}}, rapid.Int64Range(20, 700).Draw(t, "length")
		for start := seed - 2000; start < 6000; start += length + seed%3*10 {
			d.OfMinute = append(d.OfMinute, Stretch{start, start + length, (start + 2000) % 4})
		}
		return d
	}
})

var anyCut = rapid.Custom(func(t *rapid.T) Cut {
	c := Cut{
		Window: anyWindow.Draw(t, "window"), Of: anyUsers.Draw(t, "population"), Peaks: true,
		Dimensions:  rapid.SliceOfN(anyDimension, 0, MaxDimensions).Draw(t, "dimensions"),
		WorkspaceOf: func(subject int64) int64 { return subject&3 - 1 }, // people share workspaces
	}
	// Of most others little is left.
	if rapid.Bool().Draw(t, "all days") {
		start := time.Unix(firstDay*86_400, 0).UTC()
		c.Window = NewWindow(start, start.AddDate(0, 0, 4)).Split(start, start.AddDate(0, 0, 4), 1)
	}
	if rapid.Bool().Draw(t, "everybody") {
		c.Of.Counted = Everybody
	}
	if rapid.Bool().Draw(t, "everything") {
		return c
	}
	for _, d := range rapid.SliceOfN(anyDimension, 1, 2).Draw(t, "filters") {
		values := rapid.MapOf(rapid.Int64Range(0, 3), rapid.Just(true)).Draw(t, "values")
		c.Filters = append(c.Filters, Filter{d, values, rapid.Bool().Draw(t, "not")})
	}
	return c
})

// cubeOf counts the rows of each template, as tables of days.
func cubeOf(tb rapid.TB, c Cut, templates [][]Row) *Cube {
	return cubeOfTables(tb, c, templates, TableOf)
}

// cubeOfTables counts tables that are made of rows.
func cubeOfTables(tb rapid.TB, c Cut, templates [][]Row, tableOf func(int32, []Row) *Table) *Cube {
	q := NewCube(c)
	for day, tables := range daysOf(templates, tableOf) {
		var list []Source[*Table]
		for template, table := range tables {
			list = append(list, Source[*Table]{template, table})
		}
		if err := q.Add(day, list); err != nil {
			tb.Fatalf("add day %d: %v", day, err)
		}
	}
	return q
}

// cellsOf is the cells of a cube, of which the whole must be the first, by their values, each of which must come once.
func cellsOf(tb rapid.TB, q *Cube) map[CellKey]Cell {
	tb.Helper()
	cells := map[CellKey]Cell{}
	for i, cell := range q.Cells() {
		if _, twice := cells[cell.Key]; twice || i == 0 && cell.Key != Whole {
			tb.Fatalf("cell %d has the values %v again, or is not the whole", i, cell.Key)
		}
		cells[cell.Key] = cell.Cell
	}
	return cells
}

func TestCubeAgainstReference(t *testing.T) { // not beside others: it has all lanes, on whichever machine
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(maxLanes))
	rapid.Check(t, func(t *rapid.T) {
		templates, c := anyTemplates.Draw(t, "templates"), anyCut.Draw(t, "cut")
		all, q := facts(templates), cubeOf(t, c, templates)
		if diff := cmp.Diff(referenceCells(c, all), cellsOf(t, q)); diff != "" {
			t.Fatalf("cells (-want +got):\n%s", diff)
		}
		var want []OtherTally
		for _, a := range c.Of.Counted.Others().List() {
			left := c
			left.Dimensions, left.Of.Counted = nil, 1<<a
			of := OtherTally{Actor: a, Minutes: referenceCells(left, all)[Whole].Minutes}
			for _, f := range all {
				person := left.Of.As(f.subject >> 24)
				if f.inside(left) && left.Of.counts(person) && !slices.Contains(of.People, person) {
					of.People = append(of.People, person)
				}
			}
			if slices.Sort(of.People); len(of.People) > 0 {
				want = append(want, of)
			}
		}
		if diff := cmp.Diff(want, q.Others()); diff != "" {
			t.Fatalf("others (-want +got):\n%s", diff)
		}
	})
}

// wholeDimension draws a dimension that days by sums may have: of intervals of a window, of persons, templates or uses.
func wholeDimension(w Window) *rapid.Generator[Dimension] {
	return rapid.Custom(func(t *rapid.T) Dimension {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return Dimension{OfSubject: PersonOf}
		case 1:
			return Dimension{OfTemplate: func(template int) int64 { return int64(template%3) - 1 }}
		case 2:
			return Dimension{OfUse: func(_ int, _ Kind, app string) int64 { return int64(len(app)) }}
		case 3:
			return anyDimension.Draw(t, "dimension")
		default:
			d := Dimension{OfMinute: []Stretch{}}
			for i := range w.Bounds {
				from, to := w.interval(i)
				d.OfMinute = append(d.OfMinute, Stretch{from, to, int64(i % 3)})
			}
			return d
		}
	})
}

// silent is summed without rows: sums have to tell.
func silent(day int32, rows []Row) *Table {
	t := summed(day, rows)
	clear(t.minutes)
	return t
}

// Cubes of tables with sums, without, and some of each, have the cells that the reference has, often from sums.
func TestCubeOfSums(t *testing.T) {
	t.Parallel()
	companies, told := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		templates := rapid.OneOf(anyCompany, anyTemplates, anyShifts, anyShifts).Draw(t, "templates")
		c := Cut{
			Window: rapid.OneOf(anyCalendar, anyWindow, wholeDays, wholeDays).Draw(t, "window"),
			Of:     rapid.OneOf(anyUsers, mostUsers, rapid.Just(Everyone)).Draw(t, "population"),
		}
		c.Dimensions = rapid.SliceOfN(wholeDimension(c.Window), 0, MaxDimensions).Draw(t, "dimensions")
		for _, d := range rapid.SliceOfN(wholeDimension(c.Window), 0, 1).Draw(t, "filters") {
			values := rapid.MapOf(rapid.Int64Range(0, 5), rapid.Just(true)).Draw(t, "values")
			c.Filters = append(c.Filters, Filter{d, values, rapid.Bool().Draw(t, "not")})
		}
		if rapid.Bool().Draw(t, "workspaces") {
			c.WorkspaceOf = func(subject int64) int64 { return subject&3 - 1 }
		}
		c.Peaks = rapid.IntRange(0, 9).Draw(t, "peaks") == 0
		want := referenceCells(c, facts(templates))
		some := func(day int32, rows []Row) *Table {
			if rapid.Bool().Draw(t, "sums") {
				return summed(day, rows)
			}
			return TableOf(day, rows)
		}
		for _, tableOf := range []func(int32, []Row) *Table{TableOf, summed, some} {
			if diff := cmp.Diff(want, cellsOf(t, cubeOfTables(t, c, templates, tableOf))); diff != "" {
				t.Fatalf("cells (-want +got):\n%s", diff)
			}
		}
		if want[Whole].Minutes > 0 {
			companies++
			if cmp.Equal(want, cellsOf(t, cubeOfTables(t, c, templates, silent))) {
				told++
			}
		}
	})
	if told*5 < companies {
		t.Errorf("of %d companies with usage sums tell %d", companies, told)
	}
	t.Logf("of %d companies with usage sums tell %d", companies, told)
}

// referenceLatencies collects samples the slow way.
func referenceLatencies(c Cut, templates [][]Row) map[CellKey]LatencyCell {
	type sample struct {
		template int
		person   int64
		minute   int64
	}
	measured := map[sample]bool{} // by half hour
	for template, rows := range templates {
		for _, r := range rows {
			if r.Kind == Connection {
				measured[sample{template, r.Subject >> 24, int64(r.HalfHour)}] = true
			}
		}
	}
	uses := map[sample][]fact{} // by half hour
	for _, f := range facts(templates) {
		at := sample{f.template, f.subject >> 24, (f.minute+30<<20)/30 - 1<<20}
		uses[at] = append(uses[at], f)
	}
	lowest, people := map[CellKey]map[sample]byte{}, map[CellKey]map[int64]bool{}
	for template, rows := range templates {
		for _, r := range rows {
			bins := r.Bins
			for i := range int64(30) {
				if !r.Kind.HasBins() || r.Minutes>>i&1 == 0 {
					continue
				}
				bin := bins[0]
				bins = bins[1:]
				half := sample{template, r.Subject >> 24, int64(r.HalfHour)}
				if r.Kind != Connection && measured[half] || !c.Of.counts(r.Subject>>24) {
					continue
				}
				of := []fact{{}}
				if c.OfUses() {
					of = uses[half]
				}
				at := sample{template, r.Subject >> 24, int64(r.HalfHour)*30 + i}
				for _, f := range of {
					f.template, f.subject, f.minute = template, r.Subject, at.minute
					if !f.inside(c) {
						continue
					}
					for _, key := range f.keysOf(c) {
						if lowest[key] == nil {
							lowest[key], people[key] = map[sample]byte{}, map[int64]bool{}
						}
						people[key][c.Of.As(at.person)] = true
						if known, ok := lowest[key][at]; !ok || bin < known {
							lowest[key][at] = bin
						}
					}
				}
			}
		}
	}
	cells := map[CellKey]LatencyCell{}
	for key, samples := range lowest {
		var list []float64
		for _, bin := range samples {
			list = append(list, BinValue(bin))
		}
		slices.Sort(list)
		cells[key] = LatencyCell{int64(len(list)), int64(len(people[key])), percentile(list, 0.5), percentile(list, 0.95)}
	}
	return cells
}

func TestLatencyCubeAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		templates, c := anyTemplates.Draw(t, "templates"), anyCut.Draw(t, "cut")
		q, usage := NewLatencyCube(c), map[int32][]Source[*Table]{}
		for day, tables := range daysOf(templates, TableOf) {
			for template, table := range tables {
				usage[day] = append(usage[day], Source[*Table]{template, table})
			}
		}
		for day, tables := range daysOf(templates, LatencyTableOf) {
			var list []Source[*LatencyTable]
			for template, table := range tables {
				list = append(list, Source[*LatencyTable]{template, table})
			}
			if err := q.Add(day, list, usage[day]); err != nil {
				t.Fatalf("add day %d: %v", day, err)
			}
		}
		if diff := cmp.Diff(referenceLatencies(c, templates), q.Cells()); diff != "" {
			t.Fatalf("cells (-want +got):\n%s", diff)
		}
	})
}

// A cube counts what a counter does.
func TestCubeMeetsCounter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		templates, w := anyTemplates.Draw(t, "templates"), anyWindow.Draw(t, "window")
		of := anyUsers.Draw(t, "population")
		tally := tallyOf(t, w, of, templates, 0, func(template int, kind Kind, _ string, _ bool) (int, int) {
			if kind == Login {
				return Ignored, NoChannel
			}
			return template, NoChannel
		})
		cells := cellsOf(t, cubeOf(t, Cut{Window: w, Of: of, Peaks: true, Dimensions: []Dimension{
			{OfUse: func(template int, _ Kind, _ string) int64 { return int64(template) }},
		}}, templates))
		whole := Cell{People: int64(len(tally.Users))}
		for _, u := range tally.Users {
			whole.Minutes, whole.Days = whole.Minutes+u.Minutes, whole.Days+int64(u.Intervals)
		}
		for _, most := range tally.Peaks {
			whole.Peak = max(whole.Peak, int64(most))
		}
		got := cells[Whole]
		got.Launches = 0 // a counter has none of everything together
		if diff := cmp.Diff(whole, got); diff != "" {
			t.Fatalf("whole (-counter +cube):\n%s", diff)
		}
		for template, c := range tally.Channels {
			cell := cells[CellKey{int64(template), NoValue}]
			if cell.People != int64(c.Users) || cell.Minutes != c.Minutes || cell.Launches != c.Launches {
				t.Fatalf("template %d: counter %+v, cube %+v", template, c, cell)
			}
		}
	})
}

// A run of half hours goes on over midnight, and a workspace is one for people of several lanes.
func TestCubeRules(t *testing.T) {
	t.Parallel()
	var rows []Row
	for person := range int64(4) {
		for half := range int32(2) {
			rows = append(rows, Row{
				Subject: SubjectOf(person+1, 1), HalfHour: HalfHoursPerDay - 1 + half, Kind: App, App: "jupyter", Minutes: 1,
			})
		}
	}
	start := time.Unix(0, 0).UTC()
	end := start.AddDate(0, 0, 2)
	got := cellsOf(t, cubeOf(t, Cut{
		Window: NewWindow(start, end).Split(start, end, 1), Of: Everyone, WorkspaceOf: func(int64) int64 { return 7 },
	}, [][]Row{Normalize(rows)}))
	want := map[CellKey]Cell{Whole: {Minutes: 8, People: 4, Launches: 4, Days: 8, Workspaces: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}

// Where one value does not hold for the whole day of a person, and where a half hour is cut, rows tell what sums do not.
func TestCubeSumsGiveWay(t *testing.T) {
	t.Parallel()
	at := func(half, seat int32, app string) Row {
		return Row{Subject: SubjectOf(1, seat), HalfHour: half, Kind: App, App: app, Minutes: fullMask}
	}
	bySeat := Dimension{OfSubject: func(subject int64) int64 { return int64(SeatOf(subject)) }}
	byApp := Dimension{OfUse: func(_ int, _ Kind, app string) int64 { return int64(len(app)) }}
	for name, c := range map[string]struct {
		cut  Cut
		rows []Row
	}{
		"an edge of the window":   {Cut{Window: window(10, 1440)}, []Row{at(0, 1, "a"), at(5, 1, "a")}},
		"an edge of an interval":  {Cut{Window: window(0, 1440, 0, 45)}, []Row{at(1, 1, "a")}},
		"seats with other values": {Cut{Window: window(0, 1440), Dimensions: []Dimension{bySeat}}, []Row{at(0, 1, "a"), at(1, 2, "a")}},
		"a seat that is filtered": {
			Cut{Window: window(0, 1440), Filters: []Filter{{Dimension: bySeat, Values: map[int64]bool{2: true}}}},
			[]Row{at(0, 1, "a"), at(1, 2, "a")},
		},
		"halves of a day": {
			Cut{Window: window(0, 1440), Dimensions: []Dimension{{OfMinute: []Stretch{{0, 720, 1}, {720, 1440, 2}}}}},
			[]Row{at(0, 1, "a"), at(40, 1, "a")},
		},
		"runs over midnight in two cells": {
			Cut{Window: window(0, 2880, 0, 1440), Dimensions: []Dimension{byApp}},
			[]Row{at(46, 1, "a"), at(47, 1, "a"), at(47, 1, "bb"), at(48, 1, "a"), at(48, 1, "bb")},
		},
		"days in another zone, the later first": {
			Cut{Window: window(0, 4320), Dimensions: []Dimension{{OfMinute: []Stretch{{15, 1455, 0}, {1455, 2895, 1}}}}},
			[]Row{at(47, 1, "a"), at(49, 1, "a"), at(48, 1, "b")},
		},
		"two cells of a day in another zone": {
			Cut{Window: window(0, 4320), Dimensions: []Dimension{byApp, {OfMinute: []Stretch{{15, 1470, 0}}}}},
			[]Row{at(47, 1, "a"), at(47, 1, "bb"), at(48, 1, "a"), at(48, 1, "bb")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut, templates := c.cut, [][]Row{Normalize(c.rows)}
			cut.Of = Everyone
			want := referenceCells(cut, facts(templates))
			for _, tableOf := range []func(int32, []Row) *Table{TableOf, summed} {
				if diff := cmp.Diff(want, cellsOf(t, cubeOfTables(t, cut, templates, tableOf))); diff != "" {
					t.Errorf("cells (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestCubeOfManyPeople(t *testing.T) {
	t.Parallel()
	for seed := range 10 {
		few, c := anyTemplates.Example(seed), anyCut.Example(seed)
		many := make([][]Row, len(few))
		for i, rows := range few {
			for again := range int64(3 * maxLanes) {
				for _, r := range rows {
					r.Subject += SubjectOf(again<<33, 0) // some in other lanes
					many[i] = append(many[i], r)
				}
			}
			many[i] = Normalize(many[i])
		}
		if diff := cmp.Diff(referenceCells(c, facts(many)), cellsOf(t, cubeOf(t, c, many))); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

// Without stretches no minute has a value, whatever tells.
func TestCubeOfNoStretches(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 20, 0)
	c := Cut{Window: window(0, 1440), Of: Everyone, Dimensions: []Dimension{{}}}
	want := referenceCells(c, facts([][]Row{rows}))
	for name, tableOf := range map[string]func(int32, []Row) *Table{"rows": TableOf, "sums": summed} {
		if diff := cmp.Diff(want, cellsOf(t, cubeOfTables(t, c, [][]Row{rows}, tableOf))); diff != "" {
			t.Errorf("%s: cells (-want +got):\n%s", name, diff)
		}
	}
}

func TestCubeBounds(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 100, 0)
	for _, tt := range []struct {
		name  string
		most  int
		peaks bool
		want  error
	}{
		{"people of cells", 200, false, nil},
		{"one less", 199, false, ErrCells},
		{"minutes of peaks", 1000, true, ErrCells},
		{"no bound", 0, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, table := range []*Table{TableOf(0, rows), summed(0, rows)} {
				q := NewCube(Cut{
					Window: window(0, 1440), Of: Everyone, Dimensions: []Dimension{{OfSubject: PersonOf}},
					Peaks: tt.peaks, MaxCells: tt.most,
				})
				if err := q.Add(0, []Source[*Table]{{0, table}}); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

// A sample is of each app that its person used in its half hour and template behind the gate, at whichever seat.
func TestLatencyCubeRules(t *testing.T) {
	t.Parallel()
	sample := func(half int32, person int64) Row {
		return Row{Subject: SubjectOf(person, 1), HalfHour: half, Kind: Connection, Minutes: 1 << 29, Bins: []byte{100}}
	}
	session := func(half int32, person int64, seat int32, app string, connected bool) Row {
		return Row{Subject: SubjectOf(person, seat), HalfHour: half, Kind: Session, App: app, Minutes: 1, Connected: connected}
	}
	templates := [][]Row{
		Normalize([]Row{
			session(0, 1, 1, "a", true), session(0, 1, 2, "bb", false), sample(0, 1),
			session(1, 1, 1, "a", true), sample(1, 1), sample(2, 1),
			session(0, 2, 1, "bb", false), sample(0, 2),
		}),
		Normalize([]Row{session(0, 2, 1, "bb", true), sample(1, 2)}),
	}
	byApp := Dimension{OfUse: func(_ int, _ Kind, app string) int64 { return int64(len(app)) }}
	of := func(samples, people int64) LatencyCell {
		return LatencyCell{samples, people, BinValue(100), BinValue(100)}
	}
	for _, tt := range []struct {
		name string
		cut  Cut
		want map[CellKey]LatencyCell
	}{
		{"everything", Cut{}, map[CellKey]LatencyCell{Whole: of(5, 2)}},
		{
			"by app",
			Cut{Dimensions: []Dimension{byApp}},
			map[CellKey]LatencyCell{Whole: of(2, 1), {1, NoValue}: of(2, 1), {2, NoValue}: of(1, 1)},
		},
		{"of an app", Cut{Filters: []Filter{{byApp, map[int64]bool{2: true}, false}}}, map[CellKey]LatencyCell{Whole: of(1, 1)}},
		{"of others", Cut{Filters: []Filter{{byApp, map[int64]bool{2: true}, true}}}, map[CellKey]LatencyCell{Whole: of(2, 1)}},
		{
			"of one app by app",
			Cut{Dimensions: []Dimension{byApp}, Filters: []Filter{{byApp, map[int64]bool{2: true}, false}}},
			map[CellKey]LatencyCell{Whole: of(1, 1), {2, NoValue}: of(1, 1)},
		},
	} {
		tt.cut.Window, tt.cut.Of = window(29, 1440), Everyone // the window begins after the use in the first half hour
		q := NewLatencyCube(tt.cut)
		var usage []Source[*Table]
		var samples []Source[*LatencyTable]
		for template, rows := range templates {
			usage = append(usage, Source[*Table]{template, TableOf(0, rows)})
			samples = append(samples, Source[*LatencyTable]{template, LatencyTableOf(0, rows)})
		}
		if err := q.Add(0, samples, usage); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, q.Cells()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(referenceLatencies(tt.cut, templates), q.Cells()); diff != "" {
			t.Errorf("%s (-reference +got):\n%s", tt.name, diff)
		}
	}
}

func TestLatencyCubeRefuses(t *testing.T) {
	t.Parallel()
	many := NewLatencyCube(Cut{
		Window: window(0, 1440), Of: Everyone, Dimensions: []Dimension{{OfSubject: PersonOf}}, MaxCells: 50 * histogramWeight,
	})
	if err := many.Add(0, []Source[*LatencyTable]{{0, LatencyTableOf(0, fleet(1, 100, 0))}}, nil); !errors.Is(err, ErrCells) {
		t.Errorf("too many cells: %v", err)
	}
	q := NewLatencyCube(Cut{Window: window(0, 20_000), Of: Everyone})
	if err := q.Add(5, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := q.Add(5, nil, nil); err == nil {
		t.Error("the same day again is taken")
	}
	if err := q.Add(6, []Source[*LatencyTable]{{0, LatencyTableOf(7, nil)}}, nil); err == nil {
		t.Error("a table of another day is taken")
	}
}

func TestCubeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		day  int32
		of   int32
	}{{"the same day again", 5, 5}, {"a day before", 4, 4}, {"a table of another day", 6, 7}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := NewCube(Cut{Window: window(0, 20_000), Of: Everyone})
			if err := q.Add(5, nil); err != nil {
				t.Fatal(err)
			}
			if err := q.Add(tt.day, []Source[*Table]{{0, TableOf(tt.of, nil)}}); err == nil {
				t.Error("no error")
			}
		})
	}
}

// What panics in a lane can be recovered from where the cube is used.
func TestCubePanics(t *testing.T) {
	t.Parallel()
	q := NewCube(Cut{
		Window: window(0, 1440), Of: Everyone, Dimensions: []Dimension{{OfSubject: func(int64) int64 { panic("asked") }}},
	})
	defer func() {
		if p := recover(); p != "asked" {
			t.Errorf("recovered %v", p)
		}
	}()
	_ = q.Add(0, []Source[*Table]{{0, TableOf(0, fleet(1, 20, 0))}})
	t.Error("no panic")
}

// BenchmarkCube cuts a month of 10,000 people, in turn from minutes and from sums, as BenchmarkSums counts it.
func BenchmarkCube(b *testing.B) {
	sources := benchSources(b, benchMonth(b), func(day int32, p Page) (*Table, error) { return ReadUsage(day, p.Usage, nil) })
	start := time.Unix(0, 0).In(time.FixedZone("", -5*3600))
	w := NewWindow(start, start.AddDate(0, 0, benchDays)).Split(start, start.AddDate(0, 0, benchDays), 1)
	perDay, perWeek := Dimension{}, Dimension{}
	for day := range w.Bounds {
		from, to := w.interval(day)
		perDay.OfMinute = append(perDay.OfMinute, Stretch{from, to, int64(day)})
		perWeek.OfMinute = append(perWeek.OfMinute, Stretch{from, to, int64(day / 7)})
	}
	apps := Dimension{OfUse: func(_ int, _ Kind, app string) int64 { return int64(len(app)) }}
	templates := Dimension{OfTemplate: func(template int) int64 { return int64(template) }}
	for name, dimensions := range map[string][]Dimension{
		"none": nil, "day": {perDay}, "week": {perWeek}, "template,week": {templates, perWeek}, "template,app": {templates, apps},
		"person,day": {{OfSubject: PersonOf}, perDay},
	} {
		b.Run(name, benchRatio([]string{"minutes", "sums"}, func(from int, lap func()) error {
			q := NewCube(Cut{Window: w, Of: Everyone, Dimensions: dimensions})
			for day, sources := range sources[from] {
				if err := q.Add(int32(day), sources); err != nil {
					return err
				}
				lap()
			}
			if people := q.Cells()[0].People; people != benchTemplates*benchUsers {
				return fmt.Errorf("%d people", people)
			}
			return nil
		}))
	}
}
