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

func (sized) Sum() {}

func (s sized) Size() int { return int(s) }

// summed is a table that counts how often it is added up.
type summed struct {
	sized
	times *int
}

func (s summed) Sum() { *s.times++ }

// A page that another question put there already is not added up again.
func TestPageIsSummedOnce(t *testing.T) {
	t.Parallel()
	c, times := newPageCache(100*pageFrame), 0
	for range 2 {
		c.put(pageKey{column: usageColumn}, summed{1, &times})
	}
	c.put(pageKey{version: 1, column: usageColumn}, summed{1, &times})
	if times != 2 {
		t.Errorf("two pages were added up %d times", times)
	}
}

// What was used last stays, as far as the size allows; sizes are counted in frames of pages.
func TestPageCache(t *testing.T) {
	t.Parallel()
	c := newPageCache(100 * pageFrame)
	put := func(day int32, size int) { c.put(pageKey{day: day, column: usageColumn}, sized((size-1)*pageFrame)) }
	want := func(days ...int32) {
		t.Helper()
		got, size := []int32{}, 0
		for _, key := range c.pages.Keys() {
			page, _ := c.pages.Peek(key)
			got, size = append(got, key.day), size+pageFrame+page.Size()
		}
		if slices.Sort(got); !slices.Equal(got, days) || size != c.size {
			t.Errorf("the cache holds the days %v and %d bytes, and counts %d bytes, want %v", got, size, c.size, days)
		}
	}
	put(1, 40)
	put(2, 40)
	put(2, 40)
	want(1, 2)
	if got := c.get(pageKey{day: 1, column: usageColumn}); got != sized(39*pageFrame) {
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

// Pages count with all that they keep in memory, those of one person as well as those of many.
func TestPagesAreSized(t *testing.T) {
	t.Parallel()
	for _, people := range []int64{1, 200} {
		var rows []minute.Row
		for person := range people {
			for half := range int32(8) {
				rows = append(rows, minute.Row{
					HalfHour: 18 + half, Subject: minute.SubjectOf(1+person, 1), Kind: minute.Session, App: "ssh", Minutes: 0b111,
					Connected: true,
				})
			}
		}
		page, err := minute.EncodePage(0, rows)
		if err != nil {
			t.Fatal(err)
		}
		table, err := minute.ReadUsage(0, page.Usage, nil)
		if err != nil {
			t.Fatal(err)
		}
		table.Sum()
		if size := sizeOf(table); size < len(page.Usage) || size > 3*len(page.Usage) {
			t.Errorf("%d people: %d bytes of a file are counted as %d", people, len(page.Usage), size)
		}
	}
}

// What panics while a page is read panics where the question is answered, which can recover from it.
func TestPanicsWhileReading(t *testing.T) {
	t.Parallel()
	of := Tables[*minute.Table]{read: func(day int32, _ []byte, _ minute.Former) (*minute.Table, error) {
		if day == 2 {
			panic("read")
		}
		return minute.TableOf(day, nil), nil
	}}
	defer func() {
		if p := recover(); p != "read" {
			t.Errorf("recovered from %v", p)
		}
	}()
	e := &Engine{pages: newPageCache(1 << 20)}
	_, err := of.tables(e, []storedPage{{key: pageKey{day: 1}}, {key: pageKey{day: 2}}, {key: pageKey{day: 3}}}, nil)
	t.Errorf("it returned %v", err)
}
