package minute

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"pgregory.net/rapid"
)

func encodePage(tb rapid.TB, day int32, rows []Row) Page {
	p, err := EncodePage(day, rows)
	if err != nil {
		tb.Fatalf("encode page: %v", err)
	}
	return p
}

func TestPageRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, pageRoundTrip)
}

func pageRoundTrip(t *rapid.T) {
	rows := anyRows(1, 60).Draw(t, "rows")
	p := encodePage(t, firstDay, rows)
	got, err := DecodePage(firstDay, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRows(rows, got); diff != "" {
		t.Fatal(diff)
	}
	if again := encodePage(t, firstDay, got); !bytes.Equal(again.Usage, p.Usage) || !bytes.Equal(again.Latency, p.Latency) {
		t.Fatal("the same rows make another page")
	}
}

func TestTablesLeaveOutOtherDays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := anyRows(3, 60).Draw(t, "rows")
		var all []Row
		for day, tables := range daysOf([][]Row{rows}, TableOf) {
			all = Union(all, Union(tables[0].Rows(), LatencyTableOf(day, rows).Rows()))
		}
		if diff := sameRows(rows, all); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRowsOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := anyRows(1, 60).Draw(t, "rows")
		for _, person := range append(somePeople, 0, 3, MaxPerson) {
			var want []Row
			for _, r := range rows {
				if PersonOf(r.Subject) == person {
					want = append(want, r)
				}
			}
			got := Union(TableOf(firstDay, rows).RowsOf(person), LatencyTableOf(firstDay, rows).RowsOf(person))
			if diff := sameRows(want, got); diff != "" {
				t.Fatalf("person %d: %s", person, diff)
			}
		}
	})
}

func TestPageWithManyApps(t *testing.T) {
	t.Parallel()
	for _, apps := range []int{255, 256, 65_535, 65_536} {
		t.Run(fmt.Sprint(apps), func(t *testing.T) {
			t.Parallel()
			var rows []Row
			for i := range apps {
				rows = append(rows, Row{Kind: App, App: fmt.Sprintf("%05d", i), Minutes: 1})
			}
			got, err := DecodePage(0, encodePage(t, 0, rows), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(rows, got, func(a, b Row) bool { return Compare(a, b) == 0 && a.Minutes == b.Minutes }) {
				t.Error("other rows come back")
			}
			last := rows[len(rows)-1].App
			tally := tallyOf(t, window(0, 1440), Everyone, [][]Row{got}, 1, func(_ int, _ Kind, app string, _ bool) (int, int) {
				if app == last {
					return 0, NoChannel
				}
				return NoChannel, NoChannel
			})
			if tally.Channels[0].Minutes != 1 {
				t.Errorf("app %s has %d minutes", last, tally.Channels[0].Minutes)
			}
		})
	}
}

func TestPageWithManySubjects(t *testing.T) {
	t.Parallel()
	for _, subjects := range []int{65_535, 65_536} {
		t.Run(fmt.Sprint(subjects), func(t *testing.T) {
			t.Parallel()
			var rows []Row
			for i := range subjects {
				rows = append(rows, Row{Subject: int64(i) - 100, Kind: App, Minutes: Mask(i) & fullMask})
			}
			got, err := DecodePage(0, encodePage(t, 0, rows), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(rows, got, func(a, b Row) bool { return Compare(a, b) == 0 && a.Minutes == b.Minutes }) {
				t.Error("other rows come back")
			}
		})
	}
}

func TestEncodePageRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rows []Row
	}{
		{"another day", []Row{{HalfHour: 48}}},
		{"the day before the epoch", []Row{{HalfHour: -1}}},
		{"an unknown kind", []Row{{Kind: 7}}},
		{"a minute too many", []Row{{Minutes: 1 << 30}}},
		{"too few bins", []Row{{Kind: Connection, Minutes: 3, Bins: []byte{1}}}},
		{"too many bins of an estimate", []Row{{Kind: ImportedConnection, Minutes: 1, Bins: []byte{1, 2}}}},
		{"a connection with an app", []Row{{Kind: Connection, App: "ssh"}}},
		{"a session with bins", []Row{{Kind: Session, Minutes: 1, Bins: []byte{1}}}},
		{"an app with a gate", []Row{{Kind: App, Connected: true}}},
		{"unsorted rows", []Row{{Subject: 2}, {Subject: 1}}},
		{"a duplicate", []Row{{Subject: 1}, {Subject: 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := EncodePage(0, tt.rows); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	p := encodePage(t, 5, fleet(1, 3, 5))
	text := func(s string) arrow.Array { return stringColumn([]string{s}) }
	sealed := func(names []string, columns ...arrow.Array) []byte {
		file, err := encode(5, names, columns)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	garbage, err := seal(append(bytes.Repeat([]byte{0xff}, 100), 0, 0, 0, 0, 'A', 'R', 'R', 'O', 'W', '1'))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		day        int32
		file       []byte
	}{
		{"another day", `of day "5", not of day 6`, 6, p.Usage},
		{"another version", `version "3" is unknown`, 5, ofVersion(t, p.Usage, "3")},
		{"version 1 without subjects of today", `version "1" is not understood`, 5, ofVersion(t, p.Usage, "1")},
		{"the latency file", "0 columns app", 5, p.Latency},
		{"another column type", "column app is of type utf8", 5, sealed([]string{"app"}, text("ssh"))},
		{"a column twice", "2 columns app", 5, sealed([]string{"app", "app"}, text("ssh"), text("ssh"))},
		{"not Arrow at all", "out of range", 5, garbage},
		{"text", "damaged", 5, []byte(strings.Repeat("lorem ipsum ", 20))},
		{"a byte", "damaged", 5, []byte{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := ReadUsage(tt.day, tt.file, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := ReadLatency(5, p.Usage, nil); err == nil {
		t.Error("the usage file as latency file: no error")
	}
	if _, err := ReadLatency(5, ofVersion(t, p.Latency, "1"), nil); err == nil {
		t.Error("a latency file of version 1 without subjects of today: no error")
	}
}

// TestReadChecksRows reads files that are whole but hold what no page may.
func TestReadChecksRows(t *testing.T) {
	t.Parallel()
	usage := func(change func(*Table)) []byte {
		table := TableOf(0, fleet(1, 2, 0))
		change(table)
		file, err := encodeUsage(table)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	latency := func(change func(*LatencyTable)) []byte {
		table := LatencyTableOf(0, fleet(1, 2, 0))
		change(table)
		file, err := encodeLatency(table)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := []struct {
		name, want     string
		usage, latency []byte
	}{
		{"half hour", "row 3 is out of range", usage(func(t *Table) { t.halfHour[3] = 48 }), nil},
		{"kind", "row 3 is out of range", usage(func(t *Table) { t.kind[3] = uint8(Connection) }), nil},
		{"unknown kind", "row 3 is out of range", usage(func(t *Table) { t.kind[3] = uint8(kinds) }), nil},
		{"minutes", "row 3 is out of range", usage(func(t *Table) { t.minutes[3] = -1 }), nil},
		{"app", "row 3 is out of range", usage(func(t *Table) { t.narrow[3] = uint8(len(t.apps)) }), nil},
		{"subjects", "not sorted", usage(func(t *Table) { slices.Reverse(t.subjects) }), nil},
		{"a subject without rows", "not sorted", usage(func(t *Table) { t.subjects = append(t.subjects, 1<<62) }), nil},
		{"latency half hour", "row 3 is out of range", nil, latency(func(t *LatencyTable) { t.halfHour[3] = 255 })},
		{"latency kind", "row 3 is out of range", nil, latency(func(t *LatencyTable) { t.kind[3] = uint8(Session) })},
		{"unknown latency kind", "row 3 is out of range", nil, latency(func(t *LatencyTable) { t.kind[3] = uint8(kinds) })},
		{"latency minutes", "row 3 is out of range", nil, latency(func(t *LatencyTable) { t.minutes[3] ^= 1 })},
		{"offsets", "out of range", nil, latency(func(t *LatencyTable) { t.offsets[3]++ })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := DecodePage(0, Page{tt.usage, tt.latency}, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// unsealed returns a file without its checksum.
func unsealed(file []byte) []byte {
	at, err := footer(file)
	if err != nil {
		panic(err)
	}
	return append(bytes.Clone(file[:at-sealSize]), file[at:]...)
}

func TestDamagedPage(t *testing.T) {
	t.Parallel()
	rows := fleet(1, 2, 0)
	p := encodePage(t, 0, rows)
	check := func(what string, damaged Page) {
		if got, err := DecodePage(0, damaged, nil); err == nil && sameRows(rows, got) != "" {
			t.Errorf("%s: other rows and no error", what)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	damage := func(name string, file []byte, page func([]byte) Page) {
		for i := 1; i < len(file); i++ {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << r.IntN(8)
			check(fmt.Sprintf("%s file, byte %d flipped", name, i), page(flipped))
			check(fmt.Sprintf("%s file, %d bytes left", name, i), page(file[:i]))
		}
	}
	damage("usage", p.Usage, func(file []byte) Page { return Page{Usage: file, Latency: p.Latency} })
	damage("latency", p.Latency, func(file []byte) Page { return Page{Usage: p.Usage, Latency: file} })
}

// TestForeignReader reads a page as a stranger would: as a plain Arrow file, by its footer.
func TestForeignReader(t *testing.T) {
	t.Parallel()
	p := encodePage(t, 0, fleet(1, 10, 0))
	for _, file := range [][]byte{p.Usage, p.Latency} {
		r, err := ipc.NewFileReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := r.RecordBatchAt(0)
		if err != nil || r.NumRecords() != 1 {
			t.Fatalf("%d batches, %v", r.NumRecords(), err)
		}
		if version, _ := r.Schema().Metadata().GetValue("insights.version"); version != "2" || batch.NumRows() == 0 {
			t.Errorf("version %q, %d rows", version, batch.NumRows())
		}
	}
}

// TestPageSize holds the bytes per user-day of plausible days against what was promised.
func TestPageSize(t *testing.T) {
	t.Parallel()
	for _, users := range []int{100, 1000} {
		p := encodePage(t, 19_000, fleet(7, users, 19_000))
		usage, latency := len(p.Usage)/users, len(p.Latency)/users
		t.Logf("%d users: %d bytes of usage, %d of latency per user-day", users, usage, latency)
		if usage > 250 || latency > 600 {
			t.Errorf("%d users: %d bytes of usage, %d of latency per user-day", users, usage, latency)
		}
	}
}
