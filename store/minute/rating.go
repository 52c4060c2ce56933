package minute

// Rating is what to think of a latency.
type Rating string

// Ratings.
const (
	Good     Rating = "good"     // below 150 ms
	Moderate Rating = "moderate" // from 150 to 300 ms
	Poor     Rating = "poor"     // above 300 ms
	Unrated  Rating = "unknown"  // there is no sample
)

// Bounds of ratings, in milliseconds.
const (
	goodBelow    = 150
	moderateUpTo = 300
)

// Rating rates the latency that so many percent, 1 to 100, of a person's samples do not exceed: the sample at rank ⌈percent·n/100⌉ of
// n in ascending order. All latencies of the bin of that sample are rated alike, hence this is the rating of what was measured,
// while Percentile may lie between two samples.
func (c *LatencyCounter) Rating(person int64, percent int64) Rating {
	h := c.of(person)
	n := h.samples
	if n == 0 {
		return Unrated
	}
	return rate(h.bin((n*percent+99)/100 - 1))
}

// rate is the rating of a bin, by the latency that stands for the bin.
func rate(bin byte) Rating {
	switch ms := BinValue(bin); {
	case ms < goodBelow:
		return Good
	case ms <= moderateUpTo:
		return Moderate
	default:
		return Poor
	}
}
