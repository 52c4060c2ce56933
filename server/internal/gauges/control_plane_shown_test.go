package gauges

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
)

// Histograms that differ in a label that is not shown are added up, if all of them are whole and have the same bounds.
func TestControlPlaneHistograms(t *testing.T) {
	t.Parallel()
	family := &exposition.Family{Name: "acme_seconds", Help: "H.", Kind: exposition.HistogramFamily, Labels: []string{"queue"}}
	families := exposition.NewControlPlane()
	families.Extend([]*exposition.Family{family})
	histogram := func(person string, sum, count float64, below map[string]float64) (all []store.ControlPlaneSeries) {
		add := func(suffix string, value float64, more map[string]string) {
			labels := map[string]string{"queue": "q", exposition.InitiatorLabel: person}
			maps.Copy(labels, more)
			text, err := json.Marshal(labels)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, store.ControlPlaneSeries{Name: family.Name + suffix, Labels: string(text), Value: value})
		}
		add(exposition.SumSuffix, sum, nil)
		add(exposition.CountSuffix, count, nil)
		for bound, n := range below {
			add(exposition.BucketSuffix, n, map[string]string{exposition.BoundLabel: bound})
		}
		return all
	}
	ann := histogram("ann", 40, 5, map[string]float64{"1": 2, "60": 4, "+Inf": 5})
	for name, c := range map[string]struct {
		bob  map[string]float64
		want store.Distribution // of all
	}{
		"one":          {nil, store.Distribution{Count: 5, Sum: 40, Below: []int64{2, 4}}},
		"two":          {map[string]float64{"1": 3, "60": 3, "+Inf": 3}, store.Distribution{Count: 8, Sum: 42, Below: []int64{5, 7}}},
		"other bounds": {map[string]float64{"1": 3, "+Inf": 3}, store.Distribution{Below: []int64{0, 0}}},
		"one is cut":   {map[string]float64{"1": 3, "60": 3}, store.Distribution{Below: []int64{0, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &snapshot{distributions: map[*exposition.Family][]exposition.DistributionSeries{}}
			reported := ann
			if c.bob != nil {
				reported = slices.Concat(ann, histogram("bob", 2, 3, c.bob))
			}
			if err := s.addControlPlane(families, reported, nil); err != nil {
				t.Fatal(err)
			}
			got := store.Distribution{Below: []int64{0, 0}}
			for _, all := range s.distributions {
				for _, d := range all {
					got.Add(d.Distribution)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
