package store

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Distribution is how values, in seconds, are spread.
type Distribution struct {
	Count int64
	Sum   float64
	Below []int64 // per bound: how many values are at most that
	Since Instant // there was no value before that; zero: nobody knows
	// how many values are in which bucket of a native histogram, the others being 0; nil: nobody counted
	Native []NativeCount
}

// NativeSchema is the schema of native histograms: bucket i holds what is above 2^((i-1)/8) and at most 2^(i/8).
const NativeSchema = 3

// NativeCount is how many values are in a bucket of a native histogram.
type NativeCount struct {
	Bucket int
	Count  int64
}

// Add adds values that are spread over the same bounds.
func (d *Distribution) Add(o Distribution) {
	d.Count, d.Sum = d.Count+o.Count, d.Sum+o.Sum
	for i, n := range o.Below {
		d.Below[i] += n
	}
	if d.Since.IsZero() || !o.Since.IsZero() && o.Since.Before(d.Since.Time) {
		d.Since = o.Since
	}
	d.Native = append(d.Native, o.Native...)
}

func newDistribution(bounds []float64) Distribution {
	return Distribution{Below: make([]int64, len(bounds))}
}

// distribution is the columns of a statement that spread times in microseconds, which began at since, over bounds, and the
// arguments that they take.
func distribution(micros, since string, bounds []float64) (columns string, args []any) {
	var text strings.Builder
	text.WriteString(`COUNT(*), CAST(SUM(` + micros + `) AS double precision), MIN(` + since + `)`)
	for _, b := range bounds {
		text.WriteString(`, SUM(CASE WHEN ` + micros + ` <= ? THEN 1 ELSE 0 END)`)
		args = append(args, int64(b*float64(time.Second/time.Microsecond)))
	}
	return text.String(), args
}

// nativeBucket is the bucket of a native histogram that holds the time from one instant to a later one, NULL for none at all. What is
// on the bound of a bucket is in it, however the database rounds.
func nativeBucket(from, to string) string {
	seconds := `CAST(` + to + ` - ` + from + ` AS double precision) / 1000000`
	return fmt.Sprintf(
		`CASE WHEN %s > %s THEN CAST(CEIL(LN(%s) * %v - 1e-9) AS bigint) END`, to, from, seconds, float64(int(1)<<NativeSchema)/math.Ln2,
	)
}

// scan reads the columns that name what is spread, and then those of [distribution].
func (d *Distribution) scan(row interface{ Scan(...any) error }, names ...any) error {
	to := append(names, &d.Count, &d.Sum, &d.Since)
	for i := range d.Below {
		to = append(to, &d.Below[i])
	}
	err := row.Scan(to...)
	d.Sum /= float64(time.Second / time.Microsecond)
	return err
}
