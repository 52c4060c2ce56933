package server

import (
	"slices"

	"github.com/template-insights/insights/store"
)

// distributionSeries is a series of a histogram whose observations are counted already, as the database does.
type distributionSeries struct {
	labels []string
	bounds []float64 // rising, without the infinite one
	store.Distribution
}

// distributions writes a histogram. Distributions with the same labels add up; they have the same bounds then.
func (p *metricsPage) distributions(f *family, all []distributionSeries) {
	if !p.wants(f.name) || len(all) == 0 {
		return
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b distributionSeries) int { return slices.Compare(a.labels, b.labels) })
	p.writeHeader(f)
	written := 0
	var labels []byte
	for i := 0; i < len(all); {
		d, since, first := all[i], millis(all[i].Since.Time), i
		d.Below = slices.Clone(d.Below)
		for i++; i < len(all) && slices.Equal(all[i].labels, all[first].labels); i++ {
			d.Count, d.Sum, since = d.Count+all[i].Count, d.Sum+all[i].Sum, earlier(since, millis(all[i].Since.Time))
			for b, n := range all[i].Below {
				d.Below[b] += n
			}
		}
		if written++; written > p.budget {
			continue
		}
		labels = labels[:0]
		for l, name := range f.labels {
			labels = appendLabel(labels, 0, name, d.labels[l])
		}
		for b, n := range d.Below {
			p.writeLine(f.name, bucketSuffix, labels, p.bound(d.bounds[b]), float64(n))
		}
		p.writeLine(f.name, bucketSuffix, labels, "+Inf", float64(d.Count))
		p.writeLine(f.name, sumSuffix, labels, "", d.Sum)
		p.writeLine(f.name, countSuffix, labels, "", float64(d.Count))
		p.writeCreated(f.name, labels, since)
		if len(p.text) >= flushAt {
			p.flush()
		}
	}
	p.flush()
	if written > p.budget {
		p.dropped(f.name, written-p.budget)
	}
}
