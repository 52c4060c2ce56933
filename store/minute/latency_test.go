package minute

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestBin(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ms   float64
		want byte
	}{
		{math.SmallestNonzeroFloat64, 0},
		{0.01, 0},
		{0.1, 0},
		{29_999, 255},
		{30_000, 255},
		{1e9, 255},
		{math.MaxFloat64, 255},
	}
	for _, tt := range tests {
		if got := Bin(tt.ms); got != tt.want {
			t.Errorf("Bin(%g) = %d, want %d", tt.ms, got, tt.want)
		}
	}
}

func TestBinError(t *testing.T) {
	t.Parallel()
	worst, last := 0.0, byte(0)
	for ms := 0.1; ms < 30_000; ms *= 1.0001 {
		bin := Bin(ms)
		if bin != last && bin != last+1 {
			t.Fatalf("bin %d of %g ms follows bin %d", bin, ms, last)
		}
		worst, last = max(worst, math.Abs(BinValue(bin)-ms)/ms), bin
	}
	if worst > 0.025 {
		t.Errorf("relative error %.4f", worst)
	}
	for i := range 256 {
		if got := Bin(BinValue(byte(i))); int(got) != i {
			t.Errorf("the value of bin %d is in bin %d", i, got)
		}
	}
}

func TestParseLatencies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		minutes Mask
		bins    []byte
		fails   bool
	}{
		{text: ""},
		{text: "00ff", minutes: 1, bins: []byte{255}},
		{text: "1d01000a", minutes: 1<<29 | 1, bins: []byte{10, 1}},
		{text: "050105020503", minutes: 1 << 5, bins: []byte{1}},
		{text: "0A0b", minutes: 1 << 10, bins: []byte{11}},
		{text: "1e00", fails: true},
		{text: "00", fails: true},
		{text: "000", fails: true},
		{text: "00ff01", fails: true},
		{text: "00fg", fails: true},
	}
	for _, tt := range tests {
		m, bins, err := ParseLatencies(tt.text)
		if (err != nil) != tt.fails {
			t.Errorf("%q: error %v", tt.text, err)
		}
		if m != tt.minutes || !bytes.Equal(bins, tt.bins) {
			t.Errorf("%q: minutes %b, bins %v", tt.text, m, bins)
		}
	}
}

func TestLatencyTextIsUnion(t *testing.T) {
	t.Parallel()
	connection := anyRow(1).Filter(func(r Row) bool { return r.Kind == Connection })
	rapid.Check(t, func(t *rapid.T) {
		a, b := connection.Draw(t, "a"), connection.Draw(t, "b")
		b.HalfHour, b.Subject = a.HalfHour, a.Subject
		want := Union([]Row{a}, []Row{b})[0]
		m, bins, err := ParseLatencies(FormatLatencies(a.Minutes, a.Bins) + FormatLatencies(b.Minutes, b.Bins))
		if err != nil || m != want.Minutes || !bytes.Equal(bins, want.Bins) {
			t.Fatalf("minutes %b, bins %v, error %v, want %+v", m, bins, err, want)
		}
	})
}
