// Package reports is the arithmetic that reports make of answers: the hours of a week, projections, advice, ratios. It works on
// plain values and knows nothing of messages or the store.
package reports

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// projected is a value to come and the interval that it lies in with a probability of 80 %, if values scatter about a straight
// line as those before did.
type projected struct{ Value, Low, High float64 }

// Of a projection.
const (
	fewestToProject = 4 // values: fewer say nothing about how they scatter
	outsideInterval = 0.2
)

// Project goes on with values that stand at equal distances, none of them negative, by the line of least squares. Too few
// values have no projection.
func Project(values []float64, ahead int) []projected {
	if len(values) < fewestToProject {
		return nil
	}
	n := float64(len(values))
	middle, mean := (n-1)/2, 0.0
	for _, v := range values {
		mean += v / n
	}
	var spread, together float64 // sums of squares of the places, and of their products with the values
	for i, v := range values {
		spread += (float64(i) - middle) * (float64(i) - middle)
		together += (float64(i) - middle) * (v - mean)
	}
	at := func(place float64) float64 { return mean + together/spread*(place-middle) }
	var rest float64 // sum of squares of what the line does not explain
	for i, v := range values {
		rest += (v - at(float64(i))) * (v - at(float64(i)))
	}
	scatter := studentQuantile(1-outsideInterval/2, n-2) * math.Sqrt(rest/(n-2))
	weeks := make([]projected, ahead)
	for i := range weeks {
		place := n + float64(i)
		value, half := at(place), scatter*math.Sqrt(1+1/n+(place-middle)*(place-middle)/spread)
		weeks[i] = projected{max(value, 0), max(value-half, 0), max(value+half, 0)}
	}
	return weeks
}

// studentQuantile is the value that a variable of Student's distribution stays below with a probability above one half.
func studentQuantile(probability, degrees float64) float64 {
	x := mathext.InvRegIncBeta(degrees/2, 0.5, 2*(1-probability))
	return math.Sqrt(degrees * (1 - x) / x)
}
