package query

import (
	"slices"

	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/store"
)

// asks reports whether the question has one of some metrics.
func (q question) asks(some []string) bool {
	return slices.ContainsFunc(q.metrics, func(m string) bool { return slices.Contains(some, m) })
}

// workspacesFit says which dimensions and filters do not go with the time of workspaces and with builds.
func (q question) workspacesFit() error {
	for _, m := range q.metrics {
		if slices.Contains(ofUsage, m) {
			continue
		}
		unfit := []string{store.ByApp, store.ByFamily, store.ByEditor, store.ByRegion}
		if slices.Contains(builds, m) {
			unfit = append(unfit, dimensionHourOfWeek)
		}
		for _, d := range unfit {
			if q.narrowedBy(d) {
				return call.InvalidParam("metrics", "cannot be %s with %s among dimensions or filters", m, d)
			}
		}
	}
	return nil
}

// people is how many persons stand at least behind each kind of figures that is asked for.
func (q question) people(f *store.Figures) int64 {
	var numbers []int64
	for _, kind := range []struct {
		metrics []string
		people  int64
	}{{ofUsage, f.People}, {latency, f.Latency.People}, {times, f.Time.Owners}, {builds, f.Builds.Owners}} {
		if q.asks(kind.metrics) {
			numbers = append(numbers, kind.people)
		}
	}
	return slices.Min(numbers)
}

// crowds are the numbers of those who stand behind single figures, 0 of what was not asked for. Nobody of them may be told of in an hour.
func crowds(f *store.Figures) []int64 {
	return append([]int64{
		f.People, f.Latency.People, f.Time.Owners, f.Time.UnknownOwners, f.Builds.Owners, f.Builds.FailedOwners, f.Builds.ReadyOwners,
	}, f.Time.Visitors[:]...)
}

// tellsOfFew reports whether some figure is about somebody, but about fewer than five persons.
func tellsOfFew(f *store.Figures) bool {
	return slices.ContainsFunc(crowds(f), func(n int64) bool { return n > 0 && n < fewest })
}

// empty reports whether nothing was counted of a cell.
func empty(f *store.Figures) bool {
	return f.People == 0 && f.Latency.Samples == 0 && f.Time.Running == 0 && f.Builds.Builds == 0
}
