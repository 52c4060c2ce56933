package usage

import (
	"slices"
	"testing"

	"github.com/template-insights/insights/store/minute"
)

// sized is a table of a size.
type sized int

func (sized) Rows() []minute.Row { return nil }

func (sized) RowsOf(int64) []minute.Row { return nil }

func (s sized) Size() int { return int(s) }

// What was used last stays, as far as the size allows.
func TestPageCache(t *testing.T) {
	t.Parallel()
	c := newPageCache(100)
	put := func(day int32, size int) { c.put(pageKey{day: day, column: usageColumn}, sized(size)) }
	want := func(days ...int32) {
		t.Helper()
		got, size := []int32{}, 0
		for _, key := range c.pages.Keys() {
			page, _ := c.pages.Peek(key)
			got, size = append(got, key.day), size+page.Size()
		}
		if slices.Sort(got); !slices.Equal(got, days) || size != c.size {
			t.Errorf("the cache holds the days %v and %d bytes, and counts %d bytes, want %v", got, size, c.size, days)
		}
	}
	put(1, 40)
	put(2, 40)
	put(2, 40)
	want(1, 2)
	if got := c.get(pageKey{day: 1, column: usageColumn}); got != sized(40) {
		t.Errorf("got %v", got)
	}
	for _, absent := range []pageKey{
		{day: 3, column: usageColumn}, {day: 1, column: latencyColumn}, {day: 1, version: 1, column: usageColumn},
	} {
		if got := c.get(absent); got != nil {
			t.Errorf("got %v for %v", got, absent)
		}
	}
	put(3, 30)
	want(1, 3)
	put(4, 101)
	want(1, 3)
	put(5, 100)
	want(5)
}
