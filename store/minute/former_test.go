package minute

import (
	"bytes"
	"math"
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"pgregory.net/rapid"
)

// formerRows are the rows of the page of format 1, of day 0, that the program of before wrote into testdata.
var formerRows = []Row{
	{HalfHour: 0, Subject: 5<<24 | 7, Kind: Session, App: "ssh", Minutes: 0b111, Connected: true},
	{HalfHour: 0, Subject: 5<<24 | 7, Kind: Connection, Minutes: 0b101, Bins: []byte{0, 149}},
	{HalfHour: 47, Subject: 5<<24 | 7, Kind: App, App: "8080", Minutes: 1 << 29},
	{HalfHour: 20, Subject: 5<<24 | 8, Kind: Session, App: "vscode", Minutes: fullMask},
	{HalfHour: 20, Subject: 5<<24 | 8, Kind: Connection, Minutes: 0b1110, Bins: []byte{120, 121, 255}},
	{HalfHour: 21, Subject: 5<<24 | 8, Kind: Login, Minutes: 1},
	{HalfHour: 3, Subject: 1 << 62, Kind: ImportedSession, App: "jetbrains", Minutes: 0b11},
	{HalfHour: 3, Subject: 1 << 62, Kind: ImportedApp, App: "jupyter", Minutes: 0b1},
}

// recordedPage returns that page.
func recordedPage(tb testing.TB) (p Page) {
	for name, file := range map[string]*[]byte{"usage": &p.Usage, "latency": &p.Latency} {
		var err error
		if *file, err = os.ReadFile("testdata/format1/" + name + ".arrow"); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

// backwards maps numbers of format 1 to subjects in the opposite order.
func backwards(old int64) int64 { return math.MaxInt64 - old }

// translated returns rows of format 1 as they are to be read.
func translated(rows []Row, former Former) []Row {
	rows = cloneRows(rows)
	for i := range rows {
		rows[i].Subject = former(rows[i].Subject)
		for j, bin := range rows[i].Bins {
			rows[i].Bins[j] = Bin(0.1 * math.Pow(300_000, (float64(bin)+0.5)/256))
		}
	}
	return Normalize(rows)
}

func TestRecordedPageOfFormat1(t *testing.T) {
	t.Parallel()
	for name, former := range map[string]Former{
		"the order stays": func(old int64) int64 { return (old &^ MaxSeat) + old&MaxSeat<<SeatBits },
		"one moves to the front": func(old int64) int64 {
			if old == 5<<24|8 {
				return SubjectOf(1, 0)
			}
			return old &^ MaxSeat
		},
		"the order turns": backwards,
		"two become one":  func(old int64) int64 { return old &^ MaxSeat },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := DecodePage(0, recordedPage(t), former)
			if err != nil {
				t.Fatal(err)
			}
			if diff := sameRows(translated(formerRows, former), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if written := encodeFormer(t, 0, formerRows); !bytes.Equal(written.Usage, recordedPage(t).Usage) ||
		!bytes.Equal(written.Latency, recordedPage(t).Latency) {
		t.Error("encodeFormer writes another page than the program of before")
	}
}

func TestFormerPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, formerPageIsTranslated)
}

// formerPageIsTranslated reads a page of format 1, also one that is written anew: format 2 holds the same.
func formerPageIsTranslated(t *rapid.T) {
	old := rapid.Custom(func(t *rapid.T) Row {
		r := anyRow(1).Filter(func(r Row) bool { return r.Kind != ImportedConnection }).Draw(t, "row")
		r.Subject = rapid.SampledFrom([]int64{1, 77, 1<<24 | 5, 1<<62 | 1, math.MaxInt64}).Draw(t, "old")
		return r
	})
	rows := Normalize(rapid.SliceOfN(old, 0, 40).Draw(t, "rows"))
	former := rapid.SampledFrom([]Former{
		backwards,
		func(old int64) int64 { return old },
		func(old int64) int64 { return old ^ 77 },
	}).Draw(t, "former")
	want := translated(rows, former)
	got, err := DecodePage(firstDay, encodeFormer(t, firstDay, rows), former)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRows(want, got); diff != "" {
		t.Fatal(diff)
	}
	again, err := DecodePage(firstDay, encodePage(t, firstDay, got), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRows(want, again); diff != "" {
		t.Fatalf("written anew: %s", diff)
	}
}

// encodeFormer writes a page of format 1.
func encodeFormer(tb rapid.TB, day int32, rows []Row) (p Page) {
	usage, err := encodeUsage(TableOf(day, rows))
	if err != nil {
		tb.Fatal(err)
	}
	p.Usage = ofVersion(tb, usage, formerVersion)
	t := LatencyTableOf(day, rows)
	if t.rows() == 0 {
		return p
	}
	latency, err := encode(day, []string{"subject", "half_hour", "minutes", "bins"}, []arrow.Array{
		t.subjectColumn(),
		column(arrow.PrimitiveTypes.Uint8, t.rows(), t.halfHour),
		column(arrow.PrimitiveTypes.Int32, t.rows(), arrow.Int32Traits.CastToBytes(t.minutes)),
		column(arrow.BinaryTypes.Binary, t.rows(), arrow.Int32Traits.CastToBytes(t.offsets), t.bins),
	}, ipc.WithLZ4())
	if err != nil {
		tb.Fatal(err)
	}
	p.Latency = ofVersion(tb, latency, formerVersion)
	return p
}

// ofVersion returns a file, which may be empty, with another version, of one character, in both of its schemas: that of the
// first message and that of the footer.
func ofVersion(tb rapid.TB, file []byte, version string) []byte {
	if len(file) == 0 {
		return file
	}
	file = unsealed(file)
	written := []byte("\x01\x00\x00\x00" + pageVersion + "\x00")
	for _, at := range []int{bytes.Index(file, written), bytes.LastIndex(file, written)} {
		file[at+4] = version[0]
	}
	sealed, err := seal(file)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}
