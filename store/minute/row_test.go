package minute

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// firstDay is the day on which generated rows begin. It lies before the epoch, where divisions round the wrong way.
const firstDay = -1

// The people and seats of generated rows.
var (
	somePeople = []int64{1, 2, 1 << 38, 3<<37 + 5}
	someSeats  = []int32{0, 1, 2, MaxSeat}
)

// anyRow draws a row out of few keys, so that lists of them overlap.
func anyRow(days int32) *rapid.Generator[Row] {
	return rapid.Custom(func(t *rapid.T) Row {
		r := Row{
			HalfHour: anyHalfHour(days).Draw(t, "half hour"),
			Subject:  SubjectOf(rapid.SampledFrom(somePeople).Draw(t, "person"), rapid.SampledFrom(someSeats).Draw(t, "seat")),
			Kind:     Kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")),
			Minutes:  rapid.OneOf(rapid.Just(Mask(0)), rapid.Just(fullMask), rapid.Custom(anyMask)).Draw(t, "minutes"),
		}
		switch r.Kind {
		case Session:
			r.Connected = rapid.Bool().Draw(t, "connected")
			r.App = rapid.SampledFrom([]string{"ssh", "vscode", "zed"}).Draw(t, "session")
		case ImportedSession:
			r.App = rapid.SampledFrom([]string{"ssh", "vscode", "unknown"}).Draw(t, "session")
		case App, ImportedApp:
			r.App = rapid.SampledFrom([]string{"", "8080", "jupyter", "ssh"}).Draw(t, "app")
		case Connection, ImportedConnection:
			r.Bins = make([]byte, r.Minutes.Count())
			for i := range r.Bins {
				r.Bins[i] = rapid.Byte().Draw(t, "bin")
			}
		}
		return r
	})
}

// anyHalfHour draws any half hour of some days, and often one of the first and the last, so that runs and edges occur.
func anyHalfHour(days int32) *rapid.Generator[int32] {
	return rapid.Custom(func(t *rapid.T) int32 {
		day := rapid.Int32Range(firstDay, firstDay+days-1).Draw(t, "day")
		ofDay := rapid.OneOf(rapid.Int32Range(0, HalfHoursPerDay-1), rapid.SampledFrom([]int32{0, 1, 2, 45, 46, 47}))
		return day*HalfHoursPerDay + ofDay.Draw(t, "half hour of the day")
	})
}

func anyMask(t *rapid.T) Mask { return Mask(rapid.Uint32Max(uint32(fullMask)).Draw(t, "mask")) }

// anyRows draws a sorted list without duplicates. Often a person has several rows in a half hour, at the same seat or at others.
func anyRows(days int32, most int) *rapid.Generator[[]Row] {
	return rapid.Custom(func(t *rapid.T) []Row {
		rows := rapid.SliceOfN(anyRow(days), 0, most).Draw(t, "rows")
		for i := 1; i < len(rows); i++ {
			if rapid.Bool().Draw(t, "beside the one before") {
				rows[i].HalfHour = rows[i-1].HalfHour
				rows[i].Subject = SubjectOf(PersonOf(rows[i-1].Subject), SeatOf(rows[i].Subject))
			}
		}
		return Normalize(rows)
	})
}

// sameRows compares lists of rows; an empty list of bins is none.
func sameRows(a, b []Row) string { return cmp.Diff(a, b, cmpopts.EquateEmpty()) }

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, of          Kind
		estimate, hasBins bool
	}{
		{Session, Session, false, false},
		{App, App, false, false},
		{Connection, Connection, false, true},
		{Login, Login, false, false},
		{ImportedSession, Session, true, false},
		{ImportedApp, App, true, false},
		{ImportedConnection, Connection, true, true},
		{kinds, kinds, false, false},
	} {
		if of, estimate := c.kind.Measured(); of != c.of || estimate != c.estimate || c.kind.HasBins() != c.hasBins {
			t.Errorf("kind %d is an estimate of %d: %t, has bins: %t", c.kind, of, estimate, c.kind.HasBins())
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	row := func(subject int64, m Mask, bins ...byte) Row {
		return Row{Subject: subject, Kind: Connection, Minutes: m, Bins: bins}
	}
	session := func(m Mask, connected bool) Row {
		return Row{Kind: Session, App: "ssh", Minutes: m, Connected: connected}
	}
	tests := []struct {
		name                 string
		earlier, later, want []Row
	}{
		{"nothing", nil, nil, nil},
		{"different keys", []Row{row(2, 1, 9)}, []Row{row(1, 1, 8)}, []Row{row(1, 1, 8), row(2, 1, 9)}},
		{"minutes and gate", []Row{session(0b011, false)}, []Row{session(0b110, true)}, []Row{session(0b111, true)}},
		{"the earlier bin stays", []Row{row(1, 0b0101, 10, 12)}, []Row{row(1, 0b1110, 21, 22, 23)}, []Row{row(1, 0b1111, 10, 21, 12, 23)}},
		{"nothing new", []Row{row(1, 0b11, 1, 2)}, []Row{row(1, 0b10, 9)}, []Row{row(1, 0b11, 1, 2)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := sameRows(tt.want, Union(tt.earlier, tt.later)); diff != "" {
				t.Error(diff)
			}
			if diff := sameRows(tt.want, Normalize(slices.Concat(tt.earlier, tt.later))); diff != "" {
				t.Errorf("normalized: %s", diff)
			}
		})
	}
}

func TestUnionLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, unionLaws)
}

func unionLaws(t *rapid.T) {
	rows := anyRows(2, 30)
	a, b, c := rows.Draw(t, "a"), rows.Draw(t, "b"), rows.Draw(t, "c")
	before := cloneRows(a)
	check := func(law string, x, y []Row) {
		if diff := sameRows(x, y); diff != "" {
			t.Fatalf("%s: %s", law, diff)
		}
	}
	check("idempotent", a, Union(a, a))
	check("associative", Union(Union(a, b), c), Union(a, Union(b, c)))
	check("the later of three changes nothing known", Union(a, b), Union(Union(a, b), a))
	check("normalize is union", Union(a, b), Normalize(cloneRows(slices.Concat(a, b))))
	check("commutative, but for bins", withoutBins(Union(a, b)), withoutBins(Union(b, a)))
	check("inputs stay", before, a)
	for i, r := range Union(a, b) {
		if err := r.check(r.day()); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
	}
}

func cloneRows(rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Bins = slices.Clone(rows[i].Bins)
	}
	return rows
}

func withoutBins(rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Bins = nil
	}
	return rows
}

func TestHalfHours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		first, last int64
		want        map[int32]Mask
	}{
		{"one minute", 31, 31, map[int32]Mask{1: 0b10}},
		{"over an edge", 28, 61, map[int32]Mask{0: 0b11 << 28, 1: fullMask, 2: 0b11}},
		{"before the epoch", -1, 0, map[int32]Mask{-1: 1 << 29, 0: 1}},
		{"none", 5, 4, map[int32]Mask{}},
	} {
		got := map[int32]Mask{}
		for halfHour, minutes := range HalfHours(c.first, c.last) {
			got[halfHour] = minutes
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
