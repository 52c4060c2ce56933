package usage_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

// BenchmarkPresent asks about a day of 10,000 people in 50 templates of which so many half hours are not folded: those of an hour and the
// running one, or the running one alone. Eight questions at once share what they read of the present, or do not, as those about
// templates one by one.
func BenchmarkPresent(b *testing.B) {
	for name, open := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "Postgres": storetest.Postgres} {
		for _, present := range []int32{3, 1} {
			b.Run(fmt.Sprintf("%s/%d half hours", name, present), func(b *testing.B) { benchmarkPresent(b, open(b), present) })
		}
	}
}

func benchmarkPresent(b *testing.B, database string, present int32) {
	const people, templates, worked = 10_000, 50, 16 // half hours up to the running one
	running := int32(storetest.Now.Unix() / 1800)
	folds := time.Unix(int64(running+1-present)*1800, 0).Add(usage.FoldAge)
	e := usage.New(storetest.OpenDB(b, database), func() time.Time { return folds }, 256<<20)
	ids := make([]uuid.UUID, templates)
	for i := range ids {
		ids[i] = uuid.New()
	}
	for half := running + 1 - worked; half <= running; half++ {
		var rows []usage.OpenRow
		for p := range people {
			rows = append(rows, usage.OpenRow{Template: ids[p%templates], Row: minute.Row{
				Subject: minute.SubjectOf(int64(p+1), 1), HalfHour: half, Kind: minute.Session, App: "vscode", Minutes: 1<<30 - 1,
				Connected: true,
			}})
		}
		if err := e.Merge(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := e.Fold(b.Context()); err != nil {
		b.Fatal(err)
	}
	start := storetest.Now.Truncate(24 * time.Hour)
	w := minute.NewWindow(start, start.Add(24*time.Hour))
	for _, questions := range []int{1, 8} {
		for _, shared := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d at once/shared=%t", questions, shared), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var asked sync.WaitGroup
					for range questions {
						asked.Go(func() {
							tally, err := e.Count(b.Context(), usage.NewIndex(ids, shared), minute.Everyone, w,
								func(int, minute.Kind, string, bool) (channel, within int) {
									return minute.NoChannel, minute.NoChannel
								}, minute.Users)
							if err != nil || len(tally.Users) != people {
								b.Errorf("%d people, %v", len(tally.Users), err)
							}
						})
					}
					asked.Wait()
				}
			})
		}
	}
}
