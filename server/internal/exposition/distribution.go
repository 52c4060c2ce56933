package exposition

import (
	"slices"

	"github.com/template-insights/insights/store"
)

// DistributionSeries is a series of a histogram whose observations are counted already, as the database does.
type DistributionSeries struct {
	Labels []string
	Bounds []float64 // rising, without the infinite one
	store.Distribution
}

// Distributions writes a histogram. Distributions with the same labels add up; they have the same bounds then.
func (p *Writer) Distributions(f *Family, all []DistributionSeries) {
	if !p.wants(f.Name) || len(all) == 0 {
		return
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b DistributionSeries) int { return slices.Compare(a.Labels, b.Labels) })
	p.writeHeader(f)
	written := 0
	var labels []byte
	for i := 0; i < len(all); {
		d, since, first := all[i], millis(all[i].Since.Time), i
		d.Below = slices.Clone(d.Below)
		for i++; i < len(all) && slices.Equal(all[i].Labels, all[first].Labels); i++ {
			d.Count, d.Sum, since = d.Count+all[i].Count, d.Sum+all[i].Sum, earlier(since, millis(all[i].Since.Time))
			for b, n := range all[i].Below {
				d.Below[b] += n
			}
		}
		if written++; written > p.budget {
			continue
		}
		labels = labels[:0]
		for l, name := range f.Labels {
			labels = AppendLabel(labels, 0, name, d.Labels[l])
		}
		for b, n := range d.Below {
			p.writeLine(f.Name, BucketSuffix, labels, p.bound(d.Bounds[b]), float64(n))
		}
		p.writeLine(f.Name, BucketSuffix, labels, "+Inf", float64(d.Count))
		p.writeLine(f.Name, SumSuffix, labels, "", d.Sum)
		p.writeLine(f.Name, CountSuffix, labels, "", float64(d.Count))
		p.writeCreated(f.Name, labels, since)
		if len(p.text) >= flushAt {
			p.flush()
		}
	}
	p.flush()
	if written > p.budget {
		p.dropped(f.Name, written-p.budget)
	}
}
