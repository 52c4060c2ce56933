package reports

import (
	"slices"
	"time"

	"github.com/template-insights/insights/store/minute"
)

// Peaks are the users at once in quarters of hours that follow one another.
type Peaks struct {
	First int64 // the first of the quarters, by its number since the Unix epoch
	Users []int32
}

// Between is the greatest number of users at once from one minute since the Unix epoch to another.
func (p Peaks) Between(start, end int64) int64 {
	from := max(start/minute.MinutesPerQuarter-p.First, 0)
	to := min((end+minute.MinutesPerQuarter-1)/minute.MinutesPerQuarter-p.First, int64(len(p.Users)))
	if from >= to {
		return 0
	}
	return int64(slices.Max(p.Users[from:to]))
}

// hourLoad is how many users an hour of the week had at once: at most, and at the peak of it in the mean of all weeks.
type hourLoad struct {
	Weekday time.Weekday
	Hour    int
	Peak    int64
	Mean    float64
}

// Hours folds peaks into the hours of a week, from Monday on, as the clocks of a location show them. Hours that never were are
// left out, and one of fewer users than the fewest counts as one of nobody, in the mean as well.
func (p Peaks) Hours(location *time.Location, fewest int64) (hours []hourLoad) {
	type hour struct {
		year, yearDay, hour int
		weekday             time.Weekday
	}
	type load struct{ peak, sum, times int64 }
	var week [7 * 24]load
	for i := 0; i < len(p.Users); {
		shown := func(i int) hour {
			t := time.Unix((p.First+int64(i))*minute.MinutesPerQuarter*60, 0).In(location)
			return hour{t.Year(), t.YearDay(), t.Hour(), t.Weekday()}
		}
		at, peak := shown(i), int64(0)
		for ; i < len(p.Users) && shown(i) == at; i++ {
			peak = max(peak, int64(p.Users[i]))
		}
		if peak < fewest {
			peak = 0
		}
		l := &week[(int(at.weekday)+6)%7*24+at.hour]
		l.peak, l.sum, l.times = max(l.peak, peak), l.sum+peak, l.times+1
	}
	for i, l := range week {
		if l.times > 0 {
			hours = append(hours, hourLoad{time.Weekday((i/24 + 1) % 7), i % 24, l.peak, float64(l.sum) / float64(l.times)})
		}
	}
	return hours
}
