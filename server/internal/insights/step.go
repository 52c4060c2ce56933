package insights

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/template-insights/insights/store/minute"
)

// timeStep is a number of calendar units, such as two weeks.
type timeStep struct{ days, months int }

// Bounds of steps.
const (
	maxStepNumber = 1000
	maxSteps      = 366
)

// units are the steps that the grammar names; unitNames are their names, the shortest first.
var (
	units     = map[string]timeStep{"day": {days: 1}, "week": {days: 7}, "month": {months: 1}, "year": {months: 12}}
	unitNames = slices.SortedFunc(maps.Keys(units), func(a, b string) int {
		return cmp.Or(cmp.Compare(units[a].months, units[b].months), cmp.Compare(units[a].days, units[b].days))
	})
)

var (
	stepGrammar = regexp.MustCompile(`^([0-9]{1,6}) ?(` + strings.Join(unitNames, "|") + `)s?$`)
	errStep     = fmt.Errorf("must be a number from 1 to %d and one of %v, such as 1 week or 90 days", maxStepNumber, unitNames)
	errSteps    = fmt.Errorf("makes more than %d steps from start to end", maxSteps)
)

// parseStep reads the interval of the older activity API.
func parseStep(text string) (timeStep, error) {
	parts := stepGrammar.FindStringSubmatch(text)
	if parts == nil {
		return timeStep{}, errStep
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 1 || n > maxStepNumber {
		return timeStep{}, errStep
	}
	unit := units[parts[2]]
	return timeStep{n * unit.days, n * unit.months}, nil
}

// windows cuts the time from start, the begin of a day, to end into steps, the last one at end. A month later is the same
// day of that month, or its last one, counted from start, so that 31 January is followed by 28 February and 31 March.
func (s timeStep) windows(start, end time.Time) ([]minute.Window, error) {
	var windows []minute.Window
	for n, from := 1, start; from.Before(end); n++ {
		to := s.after(start, n)
		if to.After(end) {
			to = end
		}
		if w := minute.NewWindow(from, to); w.Start < w.End { // a zone may skip a whole day
			windows = append(windows, w)
		}
		if len(windows) > maxSteps {
			return nil, errSteps
		}
		from = to
	}
	return windows, nil
}

// after is the begin of the day n steps after start.
func (s timeStep) after(start time.Time, n int) time.Time {
	year, month, day := start.Date()
	months := int(month) + n*s.months
	last := time.Date(year, time.Month(months+1), 0, 0, 0, 0, 0, time.UTC).Day()
	return minute.StartOfDay(year, time.Month(months), min(day, last)+n*s.days, start.Location())
}
