package minute

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// tallyOf counts the rows of each template in all detail, as tables of days. It shows so many channels, also those never used.
func tallyOf(tb rapid.TB, w Window, of Population, templates [][]Row, channels int, channelOf ChannelOf) Tally {
	return tallyOfTables(tb, w, of, templates, TableOf, channels, channelOf, Peaks, IntervalMinutes)
}

// tallyOfTables is tallyOf with tables made by a function, and some details.
func tallyOfTables(
	tb rapid.TB, w Window, of Population, templates [][]Row, table func(int32, []Row) *Table, channels int, channelOf ChannelOf,
	details ...Detail,
) Tally {
	c := NewCounter(w, of, len(templates), channelOf, details...)
	for day, sources := range daysOf(templates, table) {
		var list []Source[*Table]
		for template, table := range sources {
			list = append(list, Source[*Table]{template, table})
		}
		if err := c.Add(day, list); err != nil {
			tb.Fatalf("add day %d: %v", day, err)
		}
	}
	t := c.Tally()
	for len(t.Channels) < channels {
		t.Channels = append(t.Channels, ChannelTally{})
	}
	return t
}

// daysOf yields the table of each template, by day.
func daysOf[T any](templates [][]Row, table func(int32, []Row) T) func(func(int32, []T) bool) {
	return func(yield func(int32, []T) bool) {
		for day := int32(firstDay - 1); day <= 4; day++ {
			var tables []T
			for _, rows := range templates {
				tables = append(tables, table(day, rows))
			}
			if !yield(day, tables) {
				return
			}
		}
	}
}

// window returns the minutes start <= m < end.
func window(start, end int64, bounds ...int64) Window {
	return Window{Start: start, End: end, Bounds: bounds}
}

func TestCounterRules(t *testing.T) {
	t.Parallel()
	session := func(half int32, person int64, app string, m Mask, connected bool) Row {
		return Row{HalfHour: half, Subject: SubjectOf(person, 1), Kind: Session, App: app, Minutes: m, Connected: connected}
	}
	app := func(half int32, person int64, slug string, m Mask) Row {
		return Row{HalfHour: half, Subject: SubjectOf(person, 1), Kind: App, App: slug, Minutes: m}
	}
	// at is the row at another seat.
	at := func(seat int32, r Row) Row {
		r.Subject = SubjectOf(PersonOf(r.Subject), seat)
		return r
	}
	estimate := func(half int32, person int64, kind Kind, app string, m Mask) Row {
		return Row{HalfHour: half, Subject: SubjectOf(person, 0), Kind: kind, App: app, Minutes: m}
	}
	user := func(person, minutes int64, templates ...int) UserTally {
		return UserTally{Person: person, Minutes: minutes, Templates: templates}
	}
	// Channel 0 is the session ssh and its sibling zed, channel 1 the app jupyter; all else but logins is activity only.
	channelOf := func(_ int, kind Kind, name string, _ bool) (int, int) {
		switch {
		case kind == Session && (name == "ssh" || name == "zed"):
			return 0, NoChannel
		case kind == App && name == "jupyter":
			return 1, NoChannel
		case kind == Login:
			return Ignored, NoChannel
		}
		return NoChannel, NoChannel
	}
	day := window(0, 1440)
	tests := []struct {
		name      string
		window    Window
		templates [][]Row
		want      Tally
	}{
		{"nothing", day, [][]Row{nil}, Tally{Channels: make([]ChannelTally, 2)}},
		{
			"sessions without a connection do not count, apps do", day,
			[][]Row{{session(0, 1, "ssh", 0b11, false), app(0, 1, "jupyter", 0b1), session(1, 1, "ssh", 0b1, false)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 1, 0)}, Channels: []ChannelTally{{}, {1, 1, 1, []int{0}}}},
		},
		{
			"one connected session opens the half hour for all of them", day,
			[][]Row{{session(0, 1, "ssh", 0b11, false), session(0, 1, "vscode", 0b100, true)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 3, 0)}, Channels: []ChannelTally{{2, 1, 1, []int{0}}, {}}},
		},
		{
			"the gate of another template, person or half hour stays shut", day,
			[][]Row{
				{session(0, 1, "ssh", 0b1, false), session(1, 1, "ssh", 0b1, true), session(0, 2, "ssh", 0b1, true)},
				{session(0, 1, "ssh", 0b1, true)},
			},
			Tally{
				Templates: []int{0, 1}, Users: []UserTally{user(1, 2, 0, 1), user(2, 1, 0)},
				Channels: []ChannelTally{{3, 2, 2, []int{0, 1}}, {}},
			},
		},
		{
			"the gate opens outside the window", window(2, 5),
			[][]Row{{session(0, 1, "ssh", 0b1, true), session(0, 1, "vscode", 0b11110, false)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 3, 0)}, Channels: make([]ChannelTally, 2)},
		},
		{
			"a minute in two apps and two templates is one", day,
			[][]Row{
				{session(0, 1, "ssh", 0b111, true), session(0, 1, "zed", 0b110, true), app(0, 1, "jupyter", 0b1)},
				{session(0, 1, "zed", 0b1100, true)},
			},
			Tally{
				Templates: []int{0, 1}, Users: []UserTally{user(1, 4, 0, 1)},
				Channels: []ChannelTally{{4, 1, 1, []int{0, 1}}, {1, 1, 1, []int{0}}},
			},
		},
		{
			"estimates count where nothing of their kind was measured, and need no gate", day,
			[][]Row{
				{
					estimate(0, 1, ImportedSession, "ssh", 0b111), estimate(1, 1, ImportedSession, "ssh", 0b111),
					estimate(1, 1, ImportedApp, "jupyter", 0b11),
					app(0, 1, "jupyter", 0b1000),
					session(1, 1, "zed", 0b1, false),
				},
				{estimate(0, 1, ImportedApp, "jupyter", 0b11000)},
			},
			Tally{
				Templates: []int{0, 1}, Users: []UserTally{user(1, 7, 0, 1)}, Estimated: true,
				Channels: []ChannelTally{{3, 1, 1, []int{0}}, {4, 1, 1, []int{0, 1}}},
			},
		},
		{
			"an estimate beside a measurement of its kind leaves no mark", day,
			[][]Row{{estimate(0, 1, ImportedApp, "jupyter", 0b11000), app(0, 1, "jupyter", 1)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 1, 0)}, Channels: []ChannelTally{{}, {1, 1, 1, []int{0}}}},
		},
		{
			"a session connected at one seat opens the half hour at all of them", day,
			[][]Row{{session(0, 1, "ssh", 0b11, false), at(2, session(0, 1, "vscode", 0b100, true)), session(0, 2, "ssh", 0b1, false)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 3, 0)}, Channels: []ChannelTally{{2, 1, 1, []int{0}}, {}}},
		},
		{
			"a measurement at one seat beats the estimates at all of them", day,
			[][]Row{{
				estimate(0, 1, ImportedSession, "ssh", 0b11), session(0, 1, "ssh", 0b100, true),
				at(3, estimate(0, 1, ImportedSession, "ssh", 0b11000)), estimate(0, 2, ImportedSession, "ssh", 0b1),
			}},
			Tally{
				Templates: []int{0}, Users: []UserTally{user(1, 1, 0), user(2, 1, 0)}, Estimated: true,
				Channels: []ChannelTally{{2, 2, 2, []int{0}}, {}},
			},
		},
		{
			"the gate that is open at one seat is open at all", day,
			[][]Row{{session(0, 1, "ssh", 0b1, false), at(2, session(0, 1, "zed", 0b10, true))}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 2, 0)}, Channels: []ChannelTally{{2, 1, 1, []int{0}}, {}}},
		},
		{
			"a minute at two seats is one, and a run of half hours over seats one launch", day,
			[][]Row{{app(0, 1, "jupyter", 0b11), at(2, app(0, 1, "jupyter", 0b110)), at(MaxSeat, app(1, 1, "jupyter", 0b1))}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 4, 0)}, Channels: []ChannelTally{{}, {4, 1, 1, []int{0}}}},
		},
		{
			"latencies are no usage, and logins are ignored", day,
			[][]Row{{
				{Subject: SubjectOf(1, 0), Kind: Connection, Minutes: 1, Bins: []byte{1}},
				estimate(0, 1, Login, "", 1),
				{Subject: SubjectOf(1, 0), Kind: ImportedConnection, Minutes: 1, Bins: []byte{1}},
			}},
			Tally{Channels: make([]ChannelTally, 2)},
		},
		{
			"a run of half hours is one launch, also over midnight and two templates", window(0, 2*1440),
			[][]Row{
				{app(46, 1, "jupyter", 1), app(48, 1, "jupyter", 1), app(50, 1, "jupyter", 1), app(95, 1, "jupyter", 1)},
				{app(47, 1, "jupyter", 1)},
			},
			Tally{
				Templates: []int{0, 1}, Users: []UserTally{user(1, 5, 0, 1)},
				Channels: []ChannelTally{{}, {5, 3, 1, []int{0, 1}}},
			},
		},
		{
			"intervals cut half hours", window(10, 1440, 10, 20),
			[][]Row{{app(0, 1, "8080", 1<<9|1<<10), app(0, 2, "8080", 1<<19|1<<20)}, {app(0, 1, "8080", 1<<29)}},
			Tally{
				Templates: []int{0, 1}, Users: []UserTally{user(1, 2, 0, 1), user(2, 2, 0)}, Channels: make([]ChannelTally, 2),
				Intervals: []IntervalTally{{10, 20, 2, []int{0}}, {20, 1440, 2, []int{0, 1}}},
			},
		},
		{
			"an interval goes on for days", window(0, 4*1440, 0, 1380),
			[][]Row{{app(60, 1, "8080", 1), app(100, 1, "8080", 1)}},
			Tally{
				Templates: []int{0}, Users: []UserTally{user(1, 2, 0)}, Channels: make([]ChannelTally, 2),
				Intervals: []IntervalTally{{0, 1380, 0, nil}, {1380, 4 * 1440, 1, []int{0}}},
			},
		},
		{
			"more users at once in the first minute than in the last", day,
			[][]Row{{app(0, 1, "8080", 0b11), app(0, 2, "8080", 0b01)}},
			Tally{Templates: []int{0}, Users: []UserTally{user(1, 2, 0), user(2, 1, 0)}, Channels: make([]ChannelTally, 2)},
		},
		{
			"intervals without usage stay", window(0, 3*1440, 0, 1440, 2*1440),
			[][]Row{{app(100, 1, "8080", 1)}},
			Tally{
				Templates: []int{0}, Users: []UserTally{user(1, 1, 0)}, Channels: make([]ChannelTally, 2),
				Intervals: []IntervalTally{{0, 1440, 0, nil}, {1440, 2880, 0, nil}, {2880, 4320, 1, []int{0}}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.ActiveUsers = len(tt.want.Users)
			got := tallyOf(t, tt.window, Everyone, tt.templates, 2, channelOf)
			rough := cmp.Options{
				cmpopts.IgnoreFields(UserTally{}, "Intervals", "Channels", "IntervalMinutes"), cmpopts.IgnoreFields(Tally{}, "Peaks"),
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), rough); diff != "" {
				t.Error(diff)
			}
			want := newReference(tt.templates).tally(tt.window, Everyone, 2, channelOf)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("reference: %s", diff)
			}
			added := tallyOfTables(t, tt.window, Everyone, tt.templates, summed, 2, channelOf, IntervalMinutes)
			if diff := cmp.Diff(want, added, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Tally{}, "Peaks")); diff != "" {
				t.Errorf("from sums: %s", diff)
			}
		})
	}
}

// anyTemplates draws rows of up to three days in each of up to three templates.
var anyTemplates = rapid.SliceOfN(anyRows(3, 40), 1, 3)

// anyWindow draws a window about those days, in some zone, with intervals or without.
var anyWindow = rapid.Custom(func(t *rapid.T) Window {
	zone := time.FixedZone("", 15*60*rapid.IntRange(-48, 56).Draw(t, "zone"))
	at := func(label string, most int64) time.Time {
		minute := rapid.OneOf(
			rapid.Int64Range(-1500, most),
			rapid.Map(rapid.Int64Range(-50, most/30), func(half int64) int64 { return half * 30 }),
			// within an hour of a midnight
			rapid.Map(rapid.Int64Range(-1, most/1440*120+60), func(n int64) int64 { return n/120*1440 + n%120 - 60 }),
		).Draw(t, label)
		return time.Unix(firstDay*86_400+minute*60-rapid.Int64Range(0, 59).Draw(t, "seconds"), 0).In(zone)
	}
	start, end := at("start", 3000), at("end", 6000)
	w := NewWindow(start, end)
	if days := rapid.IntRange(0, 3).Draw(t, "days"); days > 0 {
		w = w.Split(start, end, days)
	}
	return w
})

// anyChannels draws a mapping to five channels, of which the last two lie within the first two, to none, or to Ignored.
var anyChannels = rapid.Custom(func(t *rapid.T) ChannelOf {
	seed := rapid.IntRange(0, 1000).Draw(t, "seed")
	return func(template int, kind Kind, app string, _ bool) (channel, within int) {
		channel = (seed+template*7+int(kind)*3+len(app)*5)%7 - 2
		if channel >= 3 {
			return channel, channel - 3
		}
		return channel, NoChannel
	}
})

func TestCounterAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, counterMeetsReference)
}

func counterMeetsReference(t *rapid.T) {
	templates, w, channelOf := anyTemplates.Draw(t, "templates"), anyWindow.Draw(t, "window"), anyChannels.Draw(t, "channels")
	of := anyUsers.Draw(t, "population")
	want := newReference(templates).tally(w, of, 5, channelOf)
	got := tallyOf(t, w, of, templates, 5, channelOf)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}

// Users are counted by several lanes when there are many of them.
func TestCounterOfManyUsers(t *testing.T) {
	t.Parallel()
	for seed := range 10 {
		few, w, channelOf := anyTemplates.Example(seed), anyWindow.Example(seed), anyChannels.Example(seed)
		of := anyUsers.Example(seed)
		many := make([][]Row, len(few))
		for i, rows := range few {
			for again := range int64(3 * maxLanes) {
				for _, r := range rows {
					r.Subject += SubjectOf(again<<34, 0)
					many[i] = append(many[i], r)
				}
			}
			many[i] = Normalize(many[i])
		}
		want := newReference(many).tally(w, of, 5, channelOf)
		if diff := cmp.Diff(want, tallyOf(t, w, of, many, 5, channelOf), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func TestCounterLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		templates, w, channelOf := anyTemplates.Draw(t, "templates"), anyWindow.Draw(t, "window"), anyChannels.Draw(t, "channels")
		of := anyPopulation.Draw(t, "population")
		whole := tallyOf(t, w, of, templates, 5, channelOf)

		resent := make([][]Row, len(templates))
		for i, rows := range templates {
			resent[i] = Normalize(rapid.Permutation(slices.Concat(rows, rows)).Draw(t, "resent"))
		}
		if diff := cmp.Diff(whole, tallyOf(t, w, of, resent, 5, channelOf)); diff != "" {
			t.Fatalf("resent: %s", diff)
		}

		cut := max(w.Start, min(rapid.Int64Range(-3000, 6000).Draw(t, "cut"), w.End))
		before := tallyOf(t, window(w.Start, cut), of, templates, 5, channelOf)
		after := tallyOf(t, window(cut, max(cut, w.End)), of, templates, 5, channelOf)
		minutes := map[int64]int64{}
		for _, u := range slices.Concat(before.Users, after.Users) {
			minutes[u.Person] += u.Minutes
		}
		for _, u := range whole.Users {
			if minutes[u.Person] != u.Minutes {
				t.Fatalf("person %d has %d minutes, its parts %d", u.Person, u.Minutes, minutes[u.Person])
			}
		}
		for i, c := range whole.Channels {
			if sum := before.Channels[i].Minutes + after.Channels[i].Minutes; sum != c.Minutes {
				t.Fatalf("channel %d has %d minutes, its parts %d", i, c.Minutes, sum)
			}
		}

		all := tallyOf(t, w, of, templates, 0, func(int, Kind, string, bool) (int, int) { return NoChannel, NoChannel })
		var union, sum int64
		for _, u := range all.Users {
			union += u.Minutes
		}
		for _, c := range tallyOf(t, w, of, templates, 5, func(_ int, _ Kind, app string, _ bool) (int, int) {
			return len(app) % 5, NoChannel
		}).Channels {
			sum += c.Minutes
		}
		one := tallyOf(t, w, of, templates, 2, func(int, Kind, string, bool) (int, int) { return 1, 0 }).Channels[0]
		if one.Minutes != union || sum < union || one.Users != len(all.Users) {
			t.Fatalf("minutes: %d of users, %d of one channel, %d of all channels", union, one.Minutes, sum)
		}
	})
}

// Each lane asks once for what its users used.
func TestCounterAsksOncePerApp(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 20, 0)
	asked := map[string]int{}
	c := NewCounter(window(0, 1440), Everyone, 1, func(template int, kind Kind, app string, _ bool) (int, int) {
		asked[fmt.Sprint(template, kind, app)]++
		return 0, NoChannel
	})
	if err := c.Add(0, []Source[*Table]{{0, TableOf(0, rows)}}); err != nil {
		t.Fatal(err)
	}
	for app, times := range asked {
		if times > len(c.lanes) {
			t.Errorf("%d lanes asked %d times for %s", len(c.lanes), times, app)
		}
	}
	if len(asked) != 9 {
		t.Errorf("asked for %v", asked)
	}
}

// What panics in a lane can be recovered from where the counter is used.
func TestCounterPanics(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 20, 0)
	c := NewCounter(window(0, 1440), Everyone, 1, func(int, Kind, string, bool) (int, int) { panic("asked") })
	defer func() {
		if p := recover(); p != "asked" {
			t.Errorf("recovered %v", p)
		}
	}()
	_ = c.Add(0, []Source[*Table]{{0, TableOf(0, rows)}})
	t.Error("no panic")
}

func TestCounterRefuses(t *testing.T) {
	t.Parallel()
	empty := func(day int32) *Table { return TableOf(day, nil) }
	tests := []struct {
		name    string
		day     int32
		sources []Source[*Table]
	}{
		{"the same day again", 5, nil},
		{"a day before", 4, nil},
		{"a table of another day", 6, []Source[*Table]{{0, empty(7)}}},
		{"a template twice", 6, []Source[*Table]{{1, empty(6)}, {1, empty(6)}}},
		{"an unknown template", 6, []Source[*Table]{{2, empty(6)}}},
		{"a negative template", 6, []Source[*Table]{{-1, empty(6)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := NewCounter(window(0, 20_000), Everyone, 2, nil)
			if err := c.Add(5, []Source[*Table]{{0, empty(5)}, {1, empty(5)}}); err != nil {
				t.Fatal(err)
			}
			if err := c.Add(tt.day, tt.sources); err == nil {
				t.Error("no error")
			}
		})
	}
}
