package store

import (
	"strings"
	"time"
)

// Distribution is how values, in seconds, are spread.
type Distribution struct {
	Count int64
	Sum   float64
	Below []int64 // per bound: how many values are at most that
	Since Instant // there was no value before that; zero: nobody knows
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
