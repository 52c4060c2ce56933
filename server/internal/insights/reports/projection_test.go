package reports

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// By hand: the line through 0 0 0 6 rises by 1.8, 10.8 is left in squares, and Student's quantile for two degrees is 1.8856.
func TestProject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values []float64
		want   []projected
	}{
		"too few":     {[]float64{1, 2, 3}, nil},
		"a line":      {[]float64{1, 2, 3, 4, 5}, []projected{{6, 6, 6}, {7, 7, 7}}},
		"always none": {[]float64{0, 0, 0, 0}, []projected{{0, 0, 0}, {0, 0, 0}}},
		"it falls":    {[]float64{6, 4, 2, 0}, []projected{{0, 0, 0}, {0, 0, 0}}},
		"scattered":   {[]float64{0, 0, 0, 6}, []projected{{6, 0, 12.928}, {7.8, 0, 16.2285}}},
	} {
		if diff := cmp.Diff(c.want, Project(c.values, 2), cmp.AllowUnexported(projected{}), cmpopts.EquateApprox(0, 0.001)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The values stand in every table of the distribution.
func TestStudentQuantile(t *testing.T) {
	t.Parallel()
	for degrees, want := range map[float64]float64{1: 3.078, 2: 1.886, 3: 1.638, 10: 1.372, 30: 1.310} {
		if got := studentQuantile(0.9, degrees); math.Abs(got-want) > 0.0005 {
			t.Errorf("%v degrees: %.4f, want %.3f", degrees, got, want)
		}
	}
}
