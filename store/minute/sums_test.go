package minute

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// summed is TableOf with sums.
func summed(day int32, rows []Row) *Table {
	t := TableOf(day, rows)
	t.Sum()
	return t
}

// summedLatency is LatencyTableOf with sums.
func summedLatency(day int32, rows []Row) *LatencyTable {
	t := LatencyTableOf(day, rows)
	t.Sum()
	return t
}

// anyCompany draws templates with days as people work: most at one seat of one template with an editor or two, some with estimates,
// sessions that nothing opens, or latencies at two seats.
var anyCompany = rapid.Custom(func(t *rapid.T) [][]Row {
	templates := make([][]Row, rapid.IntRange(1, 3).Draw(t, "templates"))
	for range rapid.IntRange(1, 8).Draw(t, "person-days") {
		person, day := rapid.SampledFrom(somePeople).Draw(t, "person"), rapid.Int32Range(firstDay, firstDay+2).Draw(t, "day")
		template := int(person+rapid.Int64Range(0, 3).Draw(t, "moves")/3) % len(templates)
		begin := rapid.Int32Range(0, HalfHoursPerDay-1).Draw(t, "begin")
		for range rapid.IntRange(1, 4).Draw(t, "apps") {
			of := rapid.OneOf(anySession, anyRow(1)).Draw(t, "of")
			from := min(begin+rapid.Int32Range(0, 3).Draw(t, "later"), HalfHoursPerDay-1)
			to := min(from+rapid.Int32Range(0, 12).Draw(t, "halves"), HalfHoursPerDay-1)
			for half := from; half <= to; half++ {
				r := of
				r.HalfHour = day*HalfHoursPerDay + half
				r.Subject = SubjectOf(person, SeatOf(of.Subject))
				templates[template] = append(templates[template], r)
			}
		}
	}
	for i := range templates {
		templates[i] = Normalize(templates[i])
	}
	return templates
})

// anyShifts draws templates with days of people who work in several editors of a family, often over midnight, and now and then in another
// template.
var anyShifts = rapid.Custom(func(t *rapid.T) [][]Row {
	templates := make([][]Row, rapid.IntRange(1, 3).Draw(t, "templates"))
	for range rapid.IntRange(1, 6).Draw(t, "shifts") {
		person, day := rapid.SampledFrom(somePeople).Draw(t, "person"), rapid.Int32Range(firstDay, firstDay+2).Draw(t, "day")
		template := int(person) % len(templates)
		begin := day*HalfHoursPerDay + rapid.SampledFrom([]int32{0, 20, 42, 45, 47}).Draw(t, "begin")
		for half := begin; half < begin+rapid.Int32Range(1, 8).Draw(t, "halves"); half++ {
			if rapid.IntRange(0, 5).Draw(t, "moves") == 5 {
				template = (template + 1) % len(templates)
			}
			for range rapid.IntRange(0, 3).Draw(t, "apps") {
				r := anySession.Draw(t, "session")
				if rapid.IntRange(0, 3).Draw(t, "of the web") == 3 {
					r.Kind, r.App, r.Connected = App, "jupyter", false
				}
				r.HalfHour, r.Subject = half, SubjectOf(person, SeatOf(r.Subject))
				templates[template] = append(templates[template], r)
			}
		}
	}
	for i := range templates {
		templates[i] = Normalize(templates[i])
	}
	return templates
})

// anySession draws an editor at work.
var anySession = rapid.Custom(func(t *rapid.T) Row {
	return Row{
		Subject: SubjectOf(1, rapid.SampledFrom(someSeats).Draw(t, "seat")), Kind: Session, Connected: true,
		App:     rapid.SampledFrom([]string{"ssh", "vscode", "zed"}).Draw(t, "editor"),
		Minutes: fullMask &^ Mask(rapid.Uint32Max(uint32(fullMask)-1).Draw(t, "away")),
	}
})

// anyCalendar draws a window of the days of a company in a zone whose clock may jump meanwhile.
var anyCalendar = rapid.Custom(func(t *rapid.T) Window {
	offset := func(label string) int64 { return 900 * rapid.Int64Range(-48, 56).Draw(t, label) }
	before, jump := offset("before"), rapid.SampledFrom([]int64{0, 1800, 3600, -3600, 86_400}).Draw(t, "jump")
	starts := []int64{(firstDay-1)*86_400 - before}
	for day := int64(firstDay); day < 5; day++ {
		shift := before
		if day >= 1 {
			shift += jump
		}
		if next := day*86_400 - shift; next > starts[len(starts)-1] {
			starts = append(starts, next/60)
		}
	}
	starts[0] /= 60
	slices.Sort(starts)
	from := rapid.IntRange(0, len(starts)-2).Draw(t, "from")
	to := rapid.IntRange(from+1, len(starts)-1).Draw(t, "to")
	w := Window{Start: starts[from], End: starts[to]}
	if rapid.Bool().Draw(t, "intervals") {
		w.Bounds = slices.Compact(slices.Clone(starts[from:to]))
	}
	return w
})

// wholeDays draws a window with all that is drawn, and days of a zone of whole half hours for intervals or none.
var wholeDays = rapid.Custom(func(t *rapid.T) Window {
	w := window((firstDay-1)*minutesPerDay, 5*minutesPerDay)
	if each := rapid.Int64Range(0, 3).Draw(t, "days of an interval"); each > 0 {
		w.Bounds = []int64{w.Start}
		midnight := w.Start + MinutesPerHalfHour*rapid.Int64Range(1, HalfHoursPerDay).Draw(t, "midnight")
		for ; midnight < w.End; midnight += each * minutesPerDay {
			w.Bounds = append(w.Bounds, midnight)
		}
	}
	return w
})

// mostUsers draws a population without one of the people, who may be another one of them.
var mostUsers = rapid.Custom(func(t *rapid.T) Population {
	person := rapid.Permutation(somePeople).Draw(t, "people")
	of := Population{Counted: People, Actors: map[int64]Actor{person[0]: Service}}
	if rapid.Bool().Draw(t, "two of one user") {
		of.CountedAs = map[int64]int64{person[1]: person[rapid.SampledFrom([]int{0, 2}).Draw(t, "as")]}
	}
	return of
})

// Tables with sums, without, and some of each, are counted alike, and as the reference has it; often from totals.
func TestSumsAgainstReference(t *testing.T) {
	t.Parallel()
	companies, told := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		used, byTotals := sumsMeetReference(t)
		if companies += used; byTotals {
			told += used
		}
	})
	if told*5 < companies {
		t.Errorf("of %d companies with usage totals tell %d", companies, told)
	}
	t.Logf("of %d companies with usage totals tell %d", companies, told)
}

func FuzzSums(f *testing.F) { fuzzProperty(f, func(t *rapid.T) { sumsMeetReference(t) }) }

// hollow is summed without rows and without the sums of persons: totals have to tell.
func hollow(day int32, rows []Row) *Table {
	t := summed(day, rows)
	clear(t.minutes)
	for i := range t.sums.apps {
		t.sums.apps[i].minutes = 0
	}
	return t
}

// sumsMeetReference reports besides whether there was any usage, as a number, and whether totals told of it.
func sumsMeetReference(t *rapid.T) (used int, told bool) {
	templates := rapid.OneOf(anyCompany, anyTemplates, anyShifts, anyShifts).Draw(t, "templates")
	w := rapid.OneOf(anyCalendar, anyWindow, wholeDays, wholeDays).Draw(t, "window")
	of := rapid.OneOf(anyUsers, mostUsers, rapid.Just(Everyone)).Draw(t, "population")
	channelOf := rapid.OneOf(anyChannels, someChannels, someChannels).Draw(t, "channels")
	ref := newReference(templates)
	want := ref.tally(w, of, 5, channelOf)
	mixed := func(day int32, rows []Row) *Table {
		if (int(day)+len(rows))%2 == 0 {
			return TableOf(day, rows)
		}
		return summed(day, rows)
	}
	rough := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Tally{}, "Peaks")}
	for name, table := range map[string]func(int32, []Row) *Table{"without sums": TableOf, "with sums": summed, "mixed": mixed} {
		got := tallyOfTables(t, w, of, templates, table, 5, channelOf, IntervalMinutes)
		if diff := cmp.Diff(want, got, rough); diff != "" {
			t.Fatalf("%s: %s", name, diff)
		}
	}
	told = togetherMeetsReference(t, w, of, templates, mixed, channelOf, want)
	got := tallyOfTables(t, w, of, templates, summed, 5, channelOf, Peaks)
	if diff := cmp.Diff(want.Peaks, got.Peaks, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("peaks: %s", diff)
	}
	of.CountedAs = nil // the reference takes the samples of one person
	latencies := latencyCounterOfTables(t, w, of, templates, summedLatency)
	plain := latencyCounterOf(t, w, of, templates)
	ref = ref.of(of, of.Counted.Has)
	for _, person := range somePeople {
		if a, b := *latencies.of(person), *plain.of(person); a != b {
			t.Fatalf("latencies of %d differ", person)
		}
		if n := latencies.Samples(person); n != int64(len(ref.latencies(w, person))) {
			t.Fatalf("%d samples of person %d", n, person)
		}
	}
	return min(want.ActiveUsers, 1), told
}

// togetherMeetsReference counts without asking for users, but for those of some channels, and reports whether totals tell all of it.
func togetherMeetsReference(
	t *rapid.T, w Window, of Population, templates [][]Row, mixed func(int32, []Row) *Table, channelOf ChannelOf, want Tally,
) (told bool) {
	named := rapid.Uint8().Draw(t, "named")
	isNamed := func(channel int) bool { return named>>channel&1 != 0 }
	want.Channels, want.UsersIn = slices.Clone(want.Channels), map[int][]int{}
	for channel := range want.Channels {
		if !isNamed(channel) {
			want.Channels[channel].Users = 0
			continue
		}
		for _, u := range want.Users {
			if !slices.ContainsFunc(u.Channels, func(c UserChannel) bool { return c.Channel == channel }) {
				continue
			}
			if want.UsersIn[channel] == nil {
				want.UsersIn[channel] = make([]int, len(templates))
			}
			for _, template := range u.Templates {
				want.UsersIn[channel][template]++
			}
		}
	}
	want.Users, want.Peaks = nil, nil
	for name, table := range map[string]func(int32, []Row) *Table{"without sums": TableOf, "with sums": summed, "mixed": mixed} {
		got := tallyOfTables(t, w, of, templates, table, 5, channelOf, UsersOf(isNamed))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("together, %s: %s", name, diff)
		}
	}
	return cmp.Equal(want, tallyOfTables(t, w, of, templates, hollow, 5, channelOf, UsersOf(isNamed)), cmpopts.EquateEmpty())
}

// someChannels draws a mapping in which sessions are channels within families, as in answers.
var someChannels = rapid.Custom(func(t *rapid.T) ChannelOf {
	ignored := rapid.SampledFrom([]Kind{Login, App, Session, kinds}).Draw(t, "ignored")
	apart := rapid.Bool().Draw(t, "apart")
	return func(_ int, kind Kind, app string, _ bool) (channel, within int) {
		switch {
		case kind == ignored:
			return Ignored, NoChannel
		case kind == Session && app == "ssh" && apart:
			return 1, NoChannel
		case kind == Session && app == "vscode":
			return 3, 0
		case kind == Session:
			return 4, 0
		case kind == App && app == "jupyter":
			return 2, NoChannel
		}
		return NoChannel, NoChannel
	}
})

// A day of which all is asked is counted from its sums, so that the rows may be gone; what sums do not tell is counted from rows.
func TestSumsTell(t *testing.T) {
	t.Parallel()
	row := func(half int32, person int64, kind Kind, app string) Row {
		return Row{HalfHour: half, Subject: SubjectOf(person, 1), Kind: kind, App: app, Minutes: 0b111, Connected: kind == Session}
	}
	work := []Row{row(20, 1, Session, "ssh"), row(20, 1, Session, "vscode"), row(21, 1, Session, "vscode"), row(22, 1, Session, "zed")}
	beside := slices.Concat(work, []Row{row(22, 1, Session, "vscode")})
	families := func(_ int, kind Kind, app string, _ bool) (channel, within int) {
		switch {
		case kind == Login:
			return Ignored, NoChannel
		case app == "ssh":
			return 1, NoChannel
		case app == "vscode":
			return 2, 0
		}
		return 3, 0
	}
	logins := func(_ int, kind Kind, _ string, _ bool) (channel, within int) {
		if kind == Login {
			return Ignored, NoChannel
		}
		return NoChannel, NoChannel
	}
	twoSeats := slices.Clone(work)
	twoSeats[1].Subject, twoSeats[3].Subject = SubjectOf(1, 2), SubjectOf(1, 7)
	day := window(0, 1440, 0, 600, 630)
	for _, c := range []struct {
		name      string
		window    Window
		templates [][]Row
		channelOf ChannelOf
		details   []Detail
		told      bool
	}{
		{"a day", day, [][]Row{work}, families, nil, true},
		{"with the minutes of intervals", day, [][]Row{work}, families, []Detail{IntervalMinutes}, true},
		{"two apps of a family in one half hour", day, [][]Row{beside}, families, nil, true},
		{"without channels", day, [][]Row{beside}, logins, nil, true},
		{"users at once", day, [][]Row{work}, families, []Detail{Peaks}, false},
		{"an interval that begins within a half hour with use", window(0, 1440, 0, 601), [][]Row{work}, families, nil, false},
		{"an interval that begins within another half hour", window(0, 1440, 0, 599), [][]Row{work}, families, nil, true},
		{"at several seats", day, [][]Row{twoSeats}, families, []Detail{IntervalMinutes}, true},
		{"a window that ends within a half hour with use", window(0, 662), [][]Row{work}, families, nil, false},
		{"a window that ends within another half hour", window(0, 721), [][]Row{work}, families, nil, true},
		{"a window with all of the work", window(600, 690), [][]Row{work}, families, nil, true},
		{"a window with a part of an app", window(600, 630), [][]Row{work}, families, nil, false},
		{"a window without the work", window(0, 600), [][]Row{work}, families, nil, true},
		{"two templates", day, [][]Row{work, {row(30, 1, App, "jupyter")}}, families, []Detail{IntervalMinutes}, true},
		{"two templates in one half hour", day, [][]Row{work, {row(22, 1, App, "jupyter")}}, families, nil, false},
		{"two templates, one in the window", window(600, 720), [][]Row{work, {row(30, 1, App, "jupyter")}}, families, nil, true},
		{"logins in the half hours of work", day, [][]Row{work, {row(21, 1, Login, "")}}, families, nil, true},
		{"something ignored", day, [][]Row{slices.Concat([]Row{row(3, 1, Login, "")}, work)}, families, nil, false},
		{"all ignored", day, [][]Row{{row(3, 1, Login, "")}}, families, nil, true},
	} {
		for _, of := range []Population{Everyone, {Counted: NoActors}} {
			rows := func(day int32, rows []Row) *Table {
				t := summed(day, Normalize(slices.Clone(rows)))
				for i := range t.minutes {
					t.minutes[i] = 0
				}
				return t
			}
			details := append(c.details, Users)
			want := tallyOfTables(t, c.window, of, c.templates, TableOf, 5, c.channelOf, details...)
			got := tallyOfTables(t, c.window, of, c.templates, rows, 5, c.channelOf, details...)
			whole := tallyOfTables(t, c.window, of, c.templates, summed, 5, c.channelOf, details...)
			if diff := cmp.Diff(want, whole, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: %s", c.name, diff)
			}
			told := cmp.Equal(want, got, cmpopts.EquateEmpty())
			if told != c.told {
				t.Errorf("%s, %v: sums tell %t, want %t", c.name, of.Counted.List(), told, c.told)
			}
		}
	}
}

// People of whom a total tells are counted from it, so that rows and the sums of each may be gone; the others are taken out of it.
func TestTotalsTell(t *testing.T) {
	t.Parallel()
	at := func(app string, half int32, person int64) Row {
		r := Row{HalfHour: half, Subject: SubjectOf(person, 1), Kind: Session, App: app, Minutes: 0b111, Connected: true}
		if app == "jupyter" || app == "" {
			r.Kind, r.Connected = App, false
		}
		return r
	}
	families := func(_ int, kind Kind, app string, _ bool) (channel, within int) {
		switch {
		case kind == App && app == "":
			return Ignored, NoChannel
		case kind == App:
			return 4, NoChannel
		case app == "ssh":
			return 1, NoChannel
		case app == "vscode":
			return 2, 0
		}
		return 3, 0
	}
	together := func(int, Kind, string, bool) (channel, within int) { return 0, NoChannel }
	days := window(0, 2*1440, 0, 1440)
	without := Population{Counted: People, Actors: map[int64]Actor{2: Service}}
	work := []Row{at("vscode", 20, 1), at("ssh", 20, 1), at("zed", 21, 1), at("jupyter", 22, 1), at("vscode", 20, 2), at("vscode", 23, 2)}
	for _, c := range []struct {
		name      string
		window    Window
		of        Population
		channelOf ChannelOf
		templates [][]Row
		told      bool
	}{
		{"a day", days, Everyone, families, [][]Row{work}, true},
		{"two editors of a family at once", days, Everyone, families, [][]Row{append(slices.Clone(work), at("zed", 20, 1))}, true},
		{"a run over midnight", days, Everyone, families, [][]Row{{at("vscode", 47, 1), at("zed", 48, 1), at("ssh", 48, 1)}}, true},
		{"in both editors", days, Everyone, families, [][]Row{{
			at("vscode", 47, 1), at("zed", 47, 1), at("zed", 48, 1), at("vscode", 48, 1),
		}}, true},
		{"into another template", days, Everyone, families, [][]Row{{at("vscode", 47, 1)}, {at("zed", 48, 1)}}, true},
		{"a day after the next", window(0, 3*1440), Everyone, families, [][]Row{{at("vscode", 47, 1), at("vscode", 96, 1)}}, true},
		{"one template after the other", days, Everyone, families, [][]Row{
			{at("vscode", 20, 1)}, {at("vscode", 21, 1), at("zed", 30, 1)},
		}, true},
		{"in the next interval", window(0, 1440, 0, 630), Everyone, families, [][]Row{{at("zed", 20, 1)}, {at("zed", 21, 1)}}, true},
		{"in the one before", window(0, 1440, 0, 630), Everyone, families, [][]Row{{at("zed", 21, 1)}, {at("zed", 20, 1)}}, true},
		{"two templates in one half hour", days, Everyone, families, [][]Row{work, {at("vscode", 21, 1)}}, false},
		{"somebody who is left out", days, without, families, [][]Row{work}, false},
		{"an app of somebody who is left out", days, without, families, [][]Row{append(slices.Clone(work), at("zed", 30, 2))}, false},
		{"a window with a part of the day", window(0, 661), Everyone, families, [][]Row{work}, false},
		{"something ignored", days, Everyone, families, [][]Row{append(slices.Clone(work), at("", 30, 1))}, false},
		{"a channel of editors and other apps", days, Everyone, together, [][]Row{work}, false},
		{"five editors", days, Everyone, families, [][]Row{{
			at("a", 1, 1), at("b", 2, 1), at("c", 3, 1), at("d", 4, 1), at("e", 5, 1), at("vscode", 5, 2),
		}}, false},
	} {
		templates := make([][]Row, len(c.templates))
		for i, rows := range c.templates {
			templates[i] = Normalize(slices.Clone(rows))
		}
		want := tallyOfTables(t, c.window, c.of, templates, TableOf, 5, c.channelOf)
		if diff := cmp.Diff(want, tallyOfTables(t, c.window, c.of, templates, summed, 5, c.channelOf), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		got := tallyOfTables(t, c.window, c.of, templates, hollow, 5, c.channelOf)
		if told := cmp.Equal(want, got, cmpopts.EquateEmpty()); told != c.told {
			t.Errorf("%s: totals tell %t, want %t", c.name, told, c.told)
		}
	}
}

// Of a day with more apps than a sum has room for, rows tell.
func TestSumsOfManyApps(t *testing.T) {
	t.Parallel()
	every := func(int, Kind, string, bool) (channel, within int) { return 0, NoChannel }
	for _, apps := range []int{maxApps - 1, maxApps, maxApps + 1, 80} {
		for name, at := range map[string]func(i int) int32{
			"at once": func(int) int32 { return 20 }, "one after the other": func(i int) int32 { return int32(i % HalfHoursPerDay) },
		} {
			var rows []Row
			for i := range apps {
				rows = append(rows, Row{
					HalfHour: at(i), Subject: SubjectOf(1, 1), Kind: App, App: fmt.Sprint("app-", i),
					Minutes: Mask(1) << (i % MinutesPerHalfHour),
				})
			}
			rows, w := Normalize(rows), window(0, 1440, 0, 720)
			for _, details := range [][]Detail{{Users}, nil} {
				want := tallyOfTables(t, w, Everyone, [][]Row{rows}, TableOf, 5, every, details...)
				got := tallyOfTables(t, w, Everyone, [][]Row{rows}, summed, 5, every, details...)
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%d apps %s: %s", apps, name, diff)
				}
			}
			if told := len(summed(0, rows).sums.apps) > 0; told != (apps <= maxApps) {
				t.Errorf("%d apps %s: sums tell %t", apps, name, told)
			}
		}
	}
}

// Sums are a part of what a table takes, and what they take is told.
func TestSumsAreSized(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 100, 0)
	usage, latency := TableOf(0, rows), LatencyTableOf(0, rows)
	before, beforeLatency := usage.Size(), latency.Size()
	usage.Sum()
	latency.Sum()
	after, afterLatency := usage.Size(), latency.Size()
	if after <= before || afterLatency <= beforeLatency || 10*(after+afterLatency) > 13*(before+beforeLatency) {
		t.Errorf("a day of 100 people takes %d and %d bytes, with sums %d and %d", before, beforeLatency, after, afterLatency)
	}
}

// BenchmarkSums counts a month of 10,000 people for each question, in turn from minutes, from sums of persons and, where nothing is asked
// of each, from totals, and tells the least processor time of each and the ratios.
func BenchmarkSums(b *testing.B) {
	month := benchMonth(b)
	start := time.Unix(0, 0).In(time.FixedZone("", -5*3600))
	w := NewWindow(start, start.AddDate(0, 0, benchDays)).Split(start, start.AddDate(0, 0, benchDays), 1)
	sources := benchSources(b, month, func(day int32, p Page) (*Table, error) { return ReadUsage(day, p.Usage, nil) })
	count := func(from int, channelOf ChannelOf, lap func(), details ...Detail) error {
		c := NewCounter(w, Everyone, benchTemplates, channelOf, details...)
		for d, day := range sources[from] {
			if err := c.Add(int32(d), day); err != nil {
				return err
			}
			lap()
		}
		if users := c.Tally().ActiveUsers; users != benchTemplates*benchUsers {
			return fmt.Errorf("%d users", users)
		}
		return nil
	}
	everybody := func(channelOf ChannelOf, details ...Detail) func(*testing.B) {
		return benchRatio([]string{"minutes", "sums", "totals"}, func(from int, lap func()) error {
			if from == 2 {
				return count(1, channelOf, lap, details...)
			}
			return count(from, channelOf, lap, append(details, Users)...)
		})
	}
	b.Run("insights", everybody(benchChannel))
	b.Run("editors", everybody(benchEditor))
	b.Run("named", everybody(benchChannel, UsersOf(func(channel int) bool { return channel == 5 })))
	b.Run("days", everybody(func(int, Kind, string, bool) (int, int) { return NoChannel, NoChannel }))
	b.Run("activity", benchRatio([]string{"minutes", "sums"}, func(from int, lap func()) error {
		return count(from, benchEditor, lap, IntervalMinutes)
	}))
	latencies := benchSources(b, month, func(day int32, p Page) (*LatencyTable, error) { return ReadLatency(day, p.Latency, nil) })
	b.Run("latency", benchRatio([]string{"minutes", "sums"}, func(from int, lap func()) error {
		c := NewLatencyCounter(w, Everyone)
		for d, day := range latencies[from] {
			if err := c.Add(int32(d), day); err != nil {
				return err
			}
			lap()
		}
		return nil
	}))
}

// benchEditor tells editors apart within their family, as answers do.
func benchEditor(template int, kind Kind, app string, shown bool) (channel, within int) {
	if at := slices.Index([]string{"vscode", "cursor", "jetbrains", "zed", "ssh"}, app); at >= 0 && kind == Session {
		return 10 + at, at / 4 // a family of all but SSH
	}
	return benchChannel(template, kind, app, shown)
}

// benchSources reads the pages of a month twice: without sums, and with them.
func benchSources[T interface{ Sum() }](b *testing.B, month [][]Page, read func(int32, Page) (T, error)) (from [2][][]Source[T]) {
	for i := range from {
		for d, pages := range month {
			var day []Source[T]
			for template, page := range pages {
				table, err := read(int32(d), page)
				if err != nil {
					b.Fatal(err)
				}
				if i == 1 {
					table.Sum()
				}
				day = append(day, Source[T]{template, table})
			}
			from[i] = append(from[i], day)
		}
	}
	return from
}

// benchRatio counts in turn in several ways. The least time is that of each lap, so that other work on the machine shows less.
func benchRatio(ways []string, count func(way int, lap func()) error) func(*testing.B) {
	return func(b *testing.B) {
		least := make([][]time.Duration, len(ways))
		for b.Loop() {
			for way := range ways {
				laps, before := 0, processorTime(b)
				lap := func() {
					now := processorTime(b)
					if laps == len(least[way]) {
						least[way] = append(least[way], time.Hour)
					}
					least[way][laps] = min(least[way][laps], now-before)
					laps, before = laps+1, now
				}
				if err := count(way, lap); err != nil {
					b.Fatal(err)
				}
				lap()
			}
		}
		whole := make([]time.Duration, len(ways))
		for way, laps := range least {
			for _, lap := range laps {
				whole[way] += lap
			}
			b.ReportMetric(float64(whole[way].Microseconds())/1000, ways[way]+"-ms")
			if way > 0 {
				b.ReportMetric(float64(whole[way-1])/float64(whole[way]), "by-"+ways[way])
			}
		}
	}
}

// processorTime is what the process has used of processors.
func processorTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkSum adds up the days of 200 people.
func BenchmarkSum(b *testing.B) {
	rows := fleet(1, benchUsers, 0)
	usage, latency := TableOf(0, rows), LatencyTableOf(0, rows)
	for name, sum := range map[string]func(){"usage": usage.Sum, "latency": latency.Sum} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				sum()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchUsers), "ns/person")
		})
	}
	b.Logf("%d and %d bytes of sums, %d and %d in all", usage.sums.size(), latency.sums.size(), usage.Size(), latency.Size())
}
