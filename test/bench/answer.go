package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"
)

// answer is what somebody says to a question, in a form that can be compared: facts with their numbers. NaN is a number that
// the other side may say what it likes about.
type answer map[string][]float64

// add notes a fact about a thing, and in which templates it holds.
func (a answer) add(thing string, templates []uuid.UUID, numbers ...float64) {
	a[thing] = numbers
	for _, t := range templates {
		a[thing+" in "+t.String()] = nil
	}
}

// differs says what is not the same in another answer; it is empty if all is, numbers within a relative tolerance.
func (a answer) differs(other answer, tolerance float64) string {
	for fact, numbers := range a {
		others, ok := other[fact]
		if !ok {
			return fmt.Sprintf("%q is missing", fact)
		}
		if !slices.EqualFunc(numbers, others, func(x, y float64) bool {
			return math.IsNaN(x) || math.IsNaN(y) || math.Abs(x-y) <= tolerance*math.Abs(x)
		}) {
			return fmt.Sprintf("%q is %v, not %v", fact, others, numbers)
		}
	}
	for fact := range other {
		if _, ok := a[fact]; !ok {
			return fmt.Sprintf("%q is too much", fact)
		}
	}
	return ""
}
