package minute

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"sort"
)

// Latencies are kept as bins of equal width on a logarithmic scale: one byte, 0.1 ms to 30 s. Ratings change at edges of bins, so
// that what was measured and the bin that it is in are rated alike.
const (
	binCount         = 256
	binsPerOctave    = 14 // an octave goes from a latency to twice that latency
	firstModerateBin = 148
	firstPoorBin     = firstModerateBin + binsPerOctave
)

// binEdges are the least latencies of the bins, in milliseconds. 300 ms itself is not poor, so the bins of poor latencies begin
// with the next number.
var binEdges = func() (edges [binCount]float64) {
	for i := range edges {
		edges[i] = goodBelow * math.Exp2(float64(i-firstModerateBin)/binsPerOctave)
	}
	edges[firstPoorBin] = math.Nextafter(moderateUpTo, math.Inf(1))
	return edges
}()

// binValues are the harmonic means of the edges of each bin, in milliseconds: of both edges they are equally far, 2.5 %.
var binValues = func() (values [binCount]float64) {
	width := math.Exp2(1.0 / binsPerOctave)
	for i, edge := range binEdges {
		values[i] = edge * 2 * width / (1 + width)
	}
	return values
}()

// formerBins has for each bin of format 1 the bin that its middle is in. Those bins cut 0.1 ms to 30 s, again on a logarithmic
// scale, into 256.
var formerBins = func() (bins [binCount]byte) {
	width := math.Log(30_000/0.1) / binCount
	for i := range bins {
		bins[i] = Bin(0.1 * math.Exp((float64(i)+0.5)*width))
	}
	return bins
}()

// Bin returns the bin of a latency in milliseconds, which must be positive and finite. What lies outside the range goes
// to the first or the last bin.
func Bin(ms float64) byte {
	above := sort.Search(binCount, func(i int) bool { return binEdges[i] > ms })
	return byte(max(above-1, 0))
}

// BinValue returns the latency in milliseconds that stands for a bin. Inside the range it differs from what was measured by at
// most 2.5 %.
func BinValue(bin byte) float64 { return binValues[bin] }

// markedBins is set in the byte of the minute where the bin of a sample in text is one of [Bin]. In texts of before it is one
// of format 1.
const markedBins = 0x80

// FormatLatencies writes the minutes and bins of a row with latencies as text: per minute, in ascending order, four hex digits,
// two for the minute of the half hour plus 0x80, and two for the bin. (Texts of before have no 0x80, and bins of format 1.)
// Such texts are united by concatenation, because ParseLatencies takes the first bin of a minute.
func FormatLatencies(m Mask, bins []byte) string {
	pairs := make([]byte, 0, 2*len(bins))
	for i, rest := 0, m; rest != 0; i, rest = i+1, rest&(rest-1) {
		pairs = append(pairs, markedBins|byte(bits.TrailingZeros32(uint32(rest))), bins[i])
	}
	return hex.EncodeToString(pairs)
}

// ParseLatencies reads the text of FormatLatencies, or several of them in one, in the order of their arrival: of a minute
// the first bin counts. A bin of format 1 becomes the bin that its middle is in. It fails on anything but whole pairs of a minute
// from 00 to 1d or from 80 to 9d and a bin.
func ParseLatencies(text string) (Mask, []byte, error) {
	pairs, err := hex.DecodeString(text)
	if err != nil {
		return 0, nil, fmt.Errorf("parse latencies: %w", err)
	}
	if len(pairs)%2 != 0 {
		return 0, nil, fmt.Errorf("parse latencies: %d digits are no whole number of pairs", len(text))
	}
	var m Mask
	var first [MinutesPerHalfHour]byte
	for ; len(pairs) > 0; pairs = pairs[2:] {
		minute, bin := pairs[0]&^markedBins, pairs[1]
		if minute >= MinutesPerHalfHour {
			return 0, nil, fmt.Errorf("parse latencies: minute %d of a half hour", minute)
		}
		if pairs[0]&markedBins == 0 {
			bin = formerBins[bin]
		}
		if bit := Mask(1) << minute; m&bit == 0 {
			m |= bit
			first[minute] = bin
		}
	}
	bins := make([]byte, 0, m.Count())
	for rest := m; rest != 0; rest &= rest - 1 {
		bins = append(bins, first[bits.TrailingZeros32(uint32(rest))])
	}
	return m, bins, nil
}
