package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// rangeTag is what a flag that holds a number or a time says of the values that make sense: 1s..1h, or 0|1s..1h where 0 means
// something of its own.
const rangeTag = "range"

// checkRanges refuses values beyond the ranges of their flags, all of them at once: a slip of the keyboard must not delete or flood.
func checkRanges(flags []*kong.Flag) error {
	var errs []error
	for _, flag := range flags {
		ranged := flag.Tag.Get(rangeTag)
		if ranged == "" {
			continue
		}
		var within bool
		switch value := flag.Target.Interface().(type) {
		case time.Duration:
			within = isWithin(value, ranged, time.ParseDuration)
		case int:
			within = isWithin(value, ranged, strconv.Atoi)
		}
		if !within {
			errs = append(errs, usageError(fmt.Sprintf("--%s: %v must be %s", flag.Name, flag.Target.Interface(), showRange(ranged))))
		}
	}
	return errors.Join(errs...)
}

func isWithin[T cmp.Ordered](value T, ranged string, parse func(string) (T, error)) bool {
	var zero T
	low, high, _ := strings.Cut(strings.TrimPrefix(ranged, "0|"), "..")
	least, err := parse(low)
	most, err2 := parse(high)
	return err == nil && err2 == nil && value >= least && value <= most || value == zero && strings.HasPrefix(ranged, "0|")
}

// showRange says a range in words.
func showRange(ranged string) string {
	return strings.NewReplacer("0|", "0 or ", "..", " to ").Replace(ranged)
}
