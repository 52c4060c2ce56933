package exposition

import (
	"slices"

	"github.com/prometheus/common/expfmt"

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
	_, free := p.take(f.Name, f.Kind)
	if free {
		p.writeHeader(f, f.Kind)
	}
	sets, shown := 0, 0
	var labels []byte
	for i := 0; i < len(all); {
		d, first := all[i], i
		d.Below, d.Native = slices.Clone(d.Below), slices.Clip(d.Native)
		for i++; i < len(all) && slices.Equal(all[i].Labels, all[first].Labels); i++ {
			d.Add(all[i].Distribution)
		}
		since := millis(d.Since.Time)
		if sets++; !free || sets > p.budget {
			continue
		}
		shown++
		labels = labels[:0]
		for l, name := range f.Labels {
			labels = AppendLabel(labels, 0, name, d.Labels[l])
		}
		if p.format == expfmt.TypeProtoDelim {
			p.text = p.metric.appendDistribution(p.text, f, labels, d, since)
			continue
		}
		for b, n := range d.Below {
			p.writeLine(f.Name, BucketSuffix, labels, p.bound(d.Bounds[b]), float64(n))
		}
		p.writeLine(f.Name, BucketSuffix, labels, "+Inf", float64(d.Count))
		p.writeLine(f.Name, SumSuffix, labels, "", d.Sum)
		p.writeLine(f.Name, CountSuffix, labels, "", float64(d.Count))
		p.writeCreated(f.Name, labels, since)
		p.flushText()
	}
	p.end(f, sets-shown)
}
