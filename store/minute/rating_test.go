package minute

import (
	"math"
	"testing"
)

// ratingOf is the rating of a latency in milliseconds, by what ratings mean.
func ratingOf(ms float64) Rating {
	if ms < 150 {
		return Good
	}
	if ms > 300 {
		return Poor
	}
	return Moderate
}

// Ratings go by the sample at rank ⌈p·n⌉, not by what lies between two samples.
func TestRating(t *testing.T) {
	t.Parallel()
	times := func(n int, ms float64) (samples []float64) {
		for range n {
			samples = append(samples, ms)
		}
		return samples
	}
	for name, c := range map[string]struct {
		samples  []float64
		p50, p95 Rating
	}{
		"none":                             {nil, Unrated, Unrated},
		"one":                              {[]float64{400}, Poor, Poor},
		"below the first border":           {[]float64{math.Nextafter(150, 0)}, Good, Good},
		"on the first border":              {[]float64{150}, Moderate, Moderate},
		"below the second border":          {[]float64{299}, Moderate, Moderate},
		"on the second border":             {[]float64{300}, Moderate, Moderate},
		"above the second border":          {[]float64{math.Nextafter(300, 301)}, Poor, Poor},
		"the median lies between two":      {[]float64{100, 400}, Good, Poor}, // 250 ms
		"the median of three":              {[]float64{100, 200, 400}, Moderate, Poor},
		"one of twenty is slow":            {append(times(19, 100), 400), Good, Good}, // rank 19; between two it is 115 ms
		"two of twenty are slow":           {append(times(18, 100), 400, 400), Good, Poor},
		"one of twenty-one is slow":        {append(times(20, 100), 400), Good, Good},
		"two of twenty-one are slow":       {append(times(19, 100), 400, 400), Good, Poor},
		"five of a hundred are slow":       {append(times(95, 100), times(5, 400)...), Good, Good},
		"six of a hundred are slow":        {append(times(94, 100), times(6, 400)...), Good, Poor},
		"half of them":                     {append(times(10, 100), times(10, 400)...), Good, Poor},
		"half of them and one":             {append(times(10, 100), times(11, 400)...), Poor, Poor},
		"P95 lies between moderate and it": {append(times(19, 290), 2000), Moderate, Moderate}, // 375 ms
	} {
		h := &histogram{}
		for _, ms := range c.samples {
			h.bins[Bin(ms)]++
			h.samples++
		}
		counter := LatencyCounter{roster: roster{numbers: map[int64]int32{1: 0}}, people: []*histogram{h}}
		if p50, p95 := counter.Rating(1, 50), counter.Rating(1, 95); p50 != c.p50 || p95 != c.p95 {
			t.Errorf("%s: %s and %s, want %s and %s", name, p50, p95, c.p50, c.p95)
		}
	}
	if got := (&LatencyCounter{}).Rating(1, 50); got != Unrated {
		t.Errorf("a person without samples is %s", got)
	}
}
