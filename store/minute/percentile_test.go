package minute

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func latencyCounterOf(tb rapid.TB, w Window, of Population, templates [][]Row) *LatencyCounter {
	return latencyCounterOfTables(tb, w, of, templates, LatencyTableOf)
}

// latencyCounterOfTables is latencyCounterOf with tables made by a function.
func latencyCounterOfTables(
	tb rapid.TB, w Window, of Population, templates [][]Row, table func(int32, []Row) *LatencyTable,
) *LatencyCounter {
	c := NewLatencyCounter(w, of)
	for day, tables := range daysOf(templates, table) {
		var sources []Source[*LatencyTable]
		for template, table := range tables {
			sources = append(sources, Source[*LatencyTable]{template, table})
		}
		if err := c.Add(day, sources); err != nil {
			tb.Fatalf("add day %d: %v", day, err)
		}
	}
	return c
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	row := func(half int32, m Mask, bins ...byte) Row {
		return Row{HalfHour: half, Subject: SubjectOf(1, 1), Kind: Connection, Minutes: m, Bins: bins}
	}
	// at is the row at another seat, estimate the row as an estimate.
	at := func(seat int32, r Row) Row {
		r.Subject = SubjectOf(1, seat)
		return r
	}
	estimate := func(r Row) Row {
		r.Kind = ImportedConnection
		return r
	}
	tests := []struct {
		name      string
		window    Window
		templates [][]Row
		p         float64
		want      float64
	}{
		{"no sample", window(0, 1440), nil, 0.5, -1},
		{"none in the window", window(2, 5), [][]Row{{row(0, 0b11, 1, 2)}}, 0.5, -1},
		{"one", window(0, 1440), [][]Row{{row(0, 1, 100)}}, 0.95, BinValue(100)},
		{"halfway between two", window(0, 1440), [][]Row{{row(0, 0b11, 120, 100)}}, 0.5, (BinValue(100) + BinValue(120)) / 2},
		{"the middle of three", window(0, 1440), [][]Row{{row(0, 0b111, 120, 0, 100)}}, 0.5, BinValue(100)},
		{"the least", window(0, 1440), [][]Row{{row(0, 0b111, 120, 0, 100)}}, 0, BinValue(0)},
		{"the largest", window(0, 1440), [][]Row{{row(0, 0b111, 120, 255, 100)}}, 1, BinValue(255)},
		{"the edge of the window", window(1, 2), [][]Row{{row(0, 0b1111, 9, 100, 9, 9)}}, 0.5, BinValue(100)},
		{"of two seats the lower", window(0, 1440), [][]Row{{row(0, 1, 120), at(2, row(0, 0b11, 100, 110))}}, 1, BinValue(110)},
		{"also when the lower is the first", window(0, 1440), [][]Row{{row(0, 1, 100), at(2, row(0, 1, 120))}}, 1, BinValue(100)},
		{"of two seats out of the window none", window(1, 2), [][]Row{{row(0, 0b11, 9, 100), at(2, row(0, 1, 8))}}, 0.5, BinValue(100)},
		{"no minute of two seats stays for the next day", window(0, 2000), [][]Row{
			{row(0, 1, 8), row(48, 1, 110), at(2, row(0, 1, 9)), at(2, row(48, 1, 100))},
		}, 1, BinValue(100)},
		{"an estimate where nothing was measured", window(0, 1440), [][]Row{
			{estimate(row(0, 0b11, 90, 90)), row(1, 1, 100)},
		}, 0, BinValue(90)},
		{"the lower of two estimates", window(0, 1440), [][]Row{
			{at(0, estimate(row(0, 1, 80))), estimate(row(0, 1, 70))},
		}, 1, BinValue(70)},
		{"no estimate where something was measured", window(0, 1440), [][]Row{
			{at(0, estimate(row(0, 0b11, 90, 90))), row(0, 1, 100), estimate(row(0, 0b11, 80, 80))},
		}, 0, BinValue(100)},
		{"an estimate beside a measurement in another template", window(0, 1440), [][]Row{
			{estimate(row(0, 1, 90))}, {row(0, 1, 100)},
		}, 0, BinValue(90)},
		{"templates add up", window(0, 1440), [][]Row{{row(0, 1, 100)}, {row(0, 1, 120)}, {row(0, 1, 120)}}, 0.5, BinValue(120)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := latencyCounterOf(t, tt.window, Everyone, tt.templates).Percentile(1, tt.p); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %g, want %g", got, tt.want)
			}
			summed := latencyCounterOfTables(t, tt.window, Everyone, tt.templates, summedLatency)
			if got := summed.Percentile(1, tt.p); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("from sums: got %g, want %g", got, tt.want)
			}
		})
	}
}

func TestLatencyCounterAgainstReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, latencyCounterMeetsReference)
}

func latencyCounterMeetsReference(t *rapid.T) {
	templates, w := anyTemplates.Draw(t, "templates"), anyWindow.Draw(t, "window")
	person := rapid.SampledFrom(append(somePeople, 99)).Draw(t, "person")
	p := rapid.OneOf(rapid.SampledFrom([]float64{0, 0.5, 0.95, 1}), rapid.Float64Range(0, 1)).Draw(t, "p")
	of := anyPopulation.Draw(t, "population")
	ref := newReference(templates).of(of, of.Counted.Has)
	want := ref.latencies(w, person)
	got := latencyCounterOf(t, w, of, templates)
	if n := got.Samples(person); n != int64(len(want)) {
		t.Fatalf("%d samples, want %d", n, len(want))
	}
	if a, b := got.Percentile(person, p), percentile(want, p); math.Abs(a-b) > 1e-9*math.Abs(b) {
		t.Fatalf("percentile %g is %g, want %g", p, a, b)
	}
	both := slices.Sorted(slices.Values(append(want, ref.latencies(w, 2)...)))
	if a, b := got.Together([]int64{person, 2}).Percentile(0, p), percentile(both, p); math.Abs(a-b) > 1e-9*math.Abs(b) {
		t.Fatalf("percentile %g of two is %g, want %g", p, a, b)
	}
}

func TestLatencyCounterRefuses(t *testing.T) {
	t.Parallel()
	c := NewLatencyCounter(window(0, 20_000), Everyone)
	if err := c.Add(5, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(5, nil); err == nil {
		t.Error("the same day again: no error")
	}
	if err := c.Add(6, []Source[*LatencyTable]{{0, LatencyTableOf(7, nil)}}); err == nil {
		t.Error("a table of another day: no error")
	}
}
