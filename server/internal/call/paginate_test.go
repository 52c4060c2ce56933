package call

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store/storetest"
)

// CutInOrder cuts what Cut does of the list in order, after whichever position.
func TestCutInOrder(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, storetest.SQLite(t), storetest.Now)
	open, err := OpenPage(t.Context(), db, &insightsv1.GetUserActivityRequest{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	position := rapid.Custom(func(t *rapid.T) Position {
		return Position{rapid.Int64Range(-2, 2).Draw(t, "rank"), fmt.Sprintf("%02d", rapid.IntRange(0, 20).Draw(t, "id"))}
	})
	rapid.Check(t, func(t *rapid.T) {
		positions := rapid.SliceOfNDistinct(position, 0, 20, rapid.ID).Draw(t, "positions")
		p := open
		p.Size, p.After = rapid.IntRange(0, 8).Draw(t, "size"), rapid.Ptr(position, true).Draw(t, "after")
		list := make([]Placed[Position], len(positions))
		for i := range positions {
			list[i] = Placed[Position]{Position: Position{Rank: positions[i].Rank}, Item: &positions[i]}
		}
		items, next := CutInOrder(p, list, func(x *Position) string { return x.ID })
		var got []Position
		for _, x := range items {
			got = append(got, *x.Item)
		}
		want, wantNext := Cut(p, slices.SortedFunc(slices.Values(positions), Position.Compare), func(x Position) Position { return x })
		if !slices.Equal(want, got) || behind(t, p, wantNext) != behind(t, p, next) {
			t.Fatalf("got %v, then after %v; want %v, then after %v", got, behind(t, p, next), want, behind(t, p, wantNext))
		}
	})
}

// behind is the position behind a token, the zero one if there is none.
func behind(t *rapid.T, p Page, token string) Position {
	if token == "" {
		return Position{}
	}
	at, err := p.read(token)
	if err != nil {
		t.Fatal(err)
	}
	return *at
}
