package gauges

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
)

// addControlPlane adds what the control plane reported, with the present names of organizations. A histogram is shown when all of it is
// there and adds up: that of each person who is not shown, too, with the others that have the same labels.
func (s *snapshot) addControlPlane(
	families *exposition.ControlPlane, reported []store.ControlPlaneSeries, organizations map[uuid.UUID]string,
) error {
	histograms := map[string]map[string]*reportedHistogram{} // by the labels that are shown, and by all of them
	for _, r := range reported {
		var labels map[string]string
		if err := json.Unmarshal([]byte(r.Labels), &labels); err != nil {
			return fmt.Errorf("read labels of %s: %w", r.Name, err)
		}
		f, suffix := families.Family(r.Name)
		if f == nil {
			continue // of a server with other definitions
		}
		if text, about := labels[exposition.OrganizationLabel]; about {
			id, _ := uuid.Parse(text) // servers of older versions keep a name, of which nobody knows whose it is by now
			name, known := organizations[id]
			if !known {
				continue
			}
			labels[exposition.OrganizationLabel] = name
		}
		values := make([]string, len(f.Labels))
		for i, name := range f.Labels {
			values[i] = labels[name]
		}
		if f.Kind != exposition.HistogramFamily {
			s.Add(f, r.Value, values...)
			continue
		}
		bound := labels[exposition.BoundLabel]
		delete(labels, exposition.BoundLabel)
		shown, all := fmt.Sprintf("%s %q", f.Name, values), fmt.Sprintf("%q", labels)
		if histograms[shown] == nil {
			histograms[shown] = map[string]*reportedHistogram{}
		}
		h, known := histograms[shown][all]
		if !known {
			h = &reportedHistogram{family: f, labels: values}
			histograms[shown][all] = h
		}
		h.add(suffix, bound, r.Value)
	}
	for _, parts := range histograms {
		s.addHistograms(slices.Collect(maps.Values(parts)))
	}
	return nil
}

// addHistograms adds histograms with the same labels, which the page adds up: all, or none if one is not whole or has other bounds.
func (s *snapshot) addHistograms(parts []*reportedHistogram) {
	var all []exposition.DistributionSeries
	for _, h := range parts {
		d, whole := h.series()
		if !whole || len(all) > 0 && !slices.Equal(d.Bounds, all[0].Bounds) {
			return
		}
		all = append(all, d)
	}
	f := parts[0].family
	s.distributions[f] = append(s.distributions[f], all...)
}

// reportedHistogram is what is known of one label set of a histogram.
type reportedHistogram struct {
	family     *exposition.Family
	labels     []string
	buckets    []reportedBucket
	sum, count *float64
}

type reportedBucket struct{ bound, below float64 }

func (h *reportedHistogram) add(suffix, bound string, value float64) {
	switch suffix {
	case exposition.SumSuffix:
		h.sum = &value
	case exposition.CountSuffix:
		h.count = &value
	case exposition.BucketSuffix:
		b, _ := strconv.ParseFloat(bound, 64) // it was one when it was taken
		h.buckets = append(h.buckets, reportedBucket{b, value})
	}
}

// series puts the parts together, if all are there that every histogram has, and each bucket holds what those below it do.
func (h *reportedHistogram) series() (d exposition.DistributionSeries, whole bool) {
	slices.SortFunc(h.buckets, func(a, b reportedBucket) int { return cmp.Compare(a.bound, b.bound) })
	n := len(h.buckets)
	if h.sum == nil || h.count == nil || n == 0 || !math.IsInf(h.buckets[n-1].bound, 1) || h.buckets[n-1].below != *h.count ||
		!slices.IsSortedFunc(h.buckets, func(a, b reportedBucket) int { return cmp.Compare(a.below, b.below) }) {
		return d, false
	}
	d = exposition.DistributionSeries{Labels: h.labels, Distribution: store.Distribution{Count: int64(*h.count), Sum: *h.sum}}
	for _, b := range h.buckets[:n-1] {
		d.Bounds, d.Below = append(d.Bounds, b.bound), append(d.Below, int64(b.below))
	}
	return d, true
}
