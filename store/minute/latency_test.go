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
		{math.Nextafter(150, 0), 147},
		{150, 148},
		{math.Nextafter(150, 200), 148},
		{math.Nextafter(300, 0), 161},
		{300, 161},
		{math.Nextafter(300, 400), 162},
		{600, 176},
		{29_979, 254},
		{29_980, 255},
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

// A bin of format 1 becomes the bin that its middle is in, which is rated alike.
func TestFormerBins(t *testing.T) {
	t.Parallel()
	for i, bin := range formerBins {
		middle := 0.1 * math.Pow(300_000, (float64(i)+0.5)/256)
		if off := math.Abs(BinValue(bin)-middle) / middle; off > 0.025 {
			t.Errorf("%g ms became %g ms", middle, BinValue(bin))
		}
		if rate(bin) != ratingOf(middle) {
			t.Errorf("%g ms became %s", middle, rate(bin))
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
		{text: "80ff", minutes: 1, bins: []byte{255}},
		{text: "9d01800a", minutes: 1<<29 | 1, bins: []byte{10, 1}},
		{text: "850185028503", minutes: 1 << 5, bins: []byte{1}},
		{text: "8A0b", minutes: 1 << 10, bins: []byte{11}},
		{text: "0095", minutes: 1, bins: []byte{Bin(157.96)}}, // of format 1: from 154.1 to 161.9 ms
		{text: "059585008595", minutes: 1 << 5, bins: []byte{Bin(157.96)}},
		{text: "85020595", minutes: 1 << 5, bins: []byte{2}},
		{text: "9e00", fails: true},
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
	latencies := anyRow(1).Filter(func(r Row) bool { return r.Kind.HasBins() })
	rapid.Check(t, func(t *rapid.T) {
		a, b := latencies.Draw(t, "a"), latencies.Draw(t, "b")
		b.HalfHour, b.Subject, b.Kind = a.HalfHour, a.Subject, a.Kind
		want := Union([]Row{a}, []Row{b})[0]
		m, bins, err := ParseLatencies(FormatLatencies(a.Minutes, a.Bins) + FormatLatencies(b.Minutes, b.Bins))
		if err != nil || m != want.Minutes || !bytes.Equal(bins, want.Bins) {
			t.Fatalf("minutes %b, bins %v, error %v, want %+v", m, bins, err, want)
		}
	})
}
