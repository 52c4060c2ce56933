package reports

import (
	"fmt"
	"math"
)

// Choice is a value of a parameter and the number of workspaces that have it.
type Choice struct {
	Value      string
	Workspaces int64
	Withdrawn  bool // it cannot be chosen any more
}

// defaultChange is the advice to make a value the default of a parameter.
type defaultChange struct {
	From, To   string
	Workspaces int64 // of them with the value
	Total      int64 // workspaces with any value
}

// fewestWorkspaces is how many workspaces have to choose before their choice is advice.
const fewestWorkspaces = 5

// AdviseDefault advises to make what more than half of the workspaces chose the default; nil if there is no such value, or if the
// default, of which empty means that there is none, needs no change.
func AdviseDefault(now string, choices []Choice) *defaultChange {
	total := Workspaces(choices)
	if now == "" || total < fewestWorkspaces {
		return nil
	}
	for _, c := range choices {
		if !c.Withdrawn && c.Value != now && 2*c.Workspaces > total {
			return &defaultChange{now, c.Value, c.Workspaces, total}
		}
	}
	return nil
}

// Workspaces is the number of workspaces with any value.
func Workspaces(choices []Choice) (total int64) {
	for _, c := range choices {
		total += c.Workspaces
	}
	return total
}

// About says the advice about a parameter in a sentence.
func (d defaultChange) About(parameter string) string {
	return fmt.Sprintf("%.0f %% of %d workspaces change %s from %s to %s: consider %s as the default.",
		math.Floor(100*float64(d.Workspaces)/float64(d.Total)), d.Total, parameter, d.From, d.To, d.To)
}
