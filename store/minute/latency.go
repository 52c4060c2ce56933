package minute

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
)

// Latencies are kept as bins of equal width on a logarithmic scale: one byte, 0.1 ms to 30 s.
const (
	binCount     = 256
	minLatencyMS = 0.1
	maxLatencyMS = 30_000
)

// binWidth is the natural logarithm of the ratio of a bin's edges. Half of it is the largest relative error: 2.5 %.
var binWidth = math.Log(maxLatencyMS/minLatencyMS) / binCount

// binValues are the geometric centres of the bins, in milliseconds.
var binValues = func() (values [binCount]float64) {
	for i := range values {
		values[i] = minLatencyMS * math.Exp((float64(i)+0.5)*binWidth)
	}
	return values
}()

// Bin returns the bin of a latency in milliseconds, which must be positive and finite. What lies outside the range goes
// to the first or the last bin.
func Bin(ms float64) byte {
	return byte(min(max(math.Floor(math.Log(ms/minLatencyMS)/binWidth), 0), binCount-1))
}

// BinValue returns the latency in milliseconds that stands for a bin, its geometric centre. Inside the range it differs
// from what was measured by at most 2.5 %.
func BinValue(bin byte) float64 { return binValues[bin] }

// FormatLatencies writes the minutes and bins of a Connection row as text: per minute, in ascending order, four hex
// digits, two for the minute of the half hour and two for the bin. Such texts are united by concatenation, because
// ParseLatencies takes the first bin of a minute.
func FormatLatencies(m Mask, bins []byte) string {
	pairs := make([]byte, 0, 2*len(bins))
	for i, rest := 0, m; rest != 0; i, rest = i+1, rest&(rest-1) {
		pairs = append(pairs, byte(bits.TrailingZeros32(uint32(rest))), bins[i])
	}
	return hex.EncodeToString(pairs)
}

// ParseLatencies reads the text of FormatLatencies, or several of them in one, in the order of their arrival: of a minute
// the first bin counts. It fails on anything but whole pairs of a minute from 00 to 1d and a bin.
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
		minute := pairs[0]
		if minute >= MinutesPerHalfHour {
			return 0, nil, fmt.Errorf("parse latencies: minute %d of a half hour", minute)
		}
		if bit := Mask(1) << minute; m&bit == 0 {
			m |= bit
			first[minute] = pairs[1]
		}
	}
	bins := make([]byte, 0, m.Count())
	for rest := m; rest != 0; rest &= rest - 1 {
		bins = append(bins, first[bits.TrailingZeros32(uint32(rest))])
	}
	return m, bins, nil
}
