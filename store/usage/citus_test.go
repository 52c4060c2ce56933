//go:build citus

package usage_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

// company is usage of many people in many templates, minute after minute.
type company struct {
	*usage.Engine
	templates [50]uuid.UUID
	minutes   atomic.Int64
}

func newCompany(t testing.TB, database string) *company {
	c := &company{Engine: usage.New(storetest.OpenDB(t, database), func() time.Time { return storetest.Now }, 0)}
	for i := range c.templates {
		c.templates[i] = uuid.New()
	}
	return c
}

// minute merges the next minute of so many people.
func (c *company) minute(ctx context.Context, people int) error {
	n := c.minutes.Add(1) - 1
	rows := make([]usage.OpenRow, people)
	for p := range rows {
		rows[p] = usage.OpenRow{Template: c.templates[p%len(c.templates)], Row: minute.Row{
			Subject: minute.SubjectOf(int64(p+1), 1), HalfHour: int32(storetest.Now.Unix()/1800) - int32(n/30), Kind: minute.Session,
			App: "vscode", Minutes: 1 << (n % 30), Connected: true,
		}}
	}
	return c.Merge(ctx, rows)
}

// BenchmarkCitus merges minutes of people, four at a time, into one Postgres and into a Citus cluster.
func BenchmarkCitus(b *testing.B) {
	plain, err := storetest.SharedCluster(b).Create(b.Context(), "migrated")
	if err != nil {
		b.Fatal(err)
	}
	for _, people := range []int{1000, 8000} {
		for _, on := range []struct{ name, database string }{{"plain", plain}, {"Citus", storetest.Citus(b)}} {
			b.Run(fmt.Sprintf("%s/%d people", on.name, people), func(b *testing.B) {
				c := newCompany(b, on.database)
				var begun atomic.Int64
				var writers sync.WaitGroup
				begin := time.Now()
				for range 4 {
					writers.Go(func() {
						for begun.Add(1) <= int64(b.N) {
							if err := c.minute(b.Context(), people); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				writers.Wait()
				b.ReportMetric(float64(b.N*people)/time.Since(begin).Seconds(), "rows/s")
			})
		}
	}
}

// BenchmarkCitusQuestions asks about ten days of 10,000 people, of all templates and of one, with pages in memory and without.
func BenchmarkCitusQuestions(b *testing.B) {
	plain, err := storetest.SharedCluster(b).Create(b.Context(), "migrated")
	if err != nil {
		b.Fatal(err)
	}
	databases := []struct{ name, database string }{{"plain", plain}, {"Citus", storetest.Citus(b)}}
	companies := map[string]*company{}
	for _, on := range databases {
		c := newCompany(b, on.database)
		for day := range int64(10) {
			for half := range int64(4) {
				c.minutes.Store(30 * (48*day + half))
				if err := c.minute(b.Context(), 10_000); err != nil {
					b.Fatal(err)
				}
			}
		}
		if _, err := c.Fold(b.Context()); err != nil {
			b.Fatal(err)
		}
		companies[on.name] = c
	}
	w := minute.NewWindow(storetest.Now.AddDate(0, 0, -10), storetest.Now)
	for _, cache := range []int{0, 256 << 20} {
		for _, templates := range []int{1, len(companies["plain"].templates)} {
			for _, on := range databases {
				c := companies[on.name]
				e := usage.New(storetest.OpenDB(b, on.database), func() time.Time { return storetest.Now }, cache)
				x := usage.NewIndex(c.templates[:templates], templates > 1)
				b.Run(fmt.Sprintf("%d templates/cache=%t/%s", templates, cache > 0, on.name), func(b *testing.B) {
					for b.Loop() {
						tally, err := e.Count(b.Context(), x, minute.Everyone, w,
							func(int, minute.Kind, string, bool) (channel, within int) {
								return minute.NoChannel, minute.NoChannel
							}, minute.Users)
						if err != nil || len(tally.Users) != 10_000*templates/len(c.templates) {
							b.Fatalf("%d people, %v", len(tally.Users), err)
						}
					}
				})
			}
		}
	}
}

// What is merged goes to the node that has it, and to no other: the coordinator sees none of it, and no transaction spans nodes.
func TestCitusStatements(t *testing.T) {
	database := storetest.Citus(t)
	c := newCompany(t, database)
	merge := func(times int) {
		t.Helper()
		for range times {
			if err := c.minute(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	merge(1) // finds out where templates are
	const times = 10
	counts := storetest.CountStatements(t, database)
	merge(times)
	counted := counts("UPDATE usage_rows%", "%PREPARE TRANSACTION%")
	t.Logf("updates and transactions that span nodes, by node: %v", counted)
	updates := int64(0)
	for node, n := range counted {
		if n[1] != 0 || node == 0 && n[0] != 0 {
			t.Errorf("node %d ran %d updates and %d transactions that span nodes", node, n[0], n[1])
		}
		updates += n[0]
	}
	if want := int64(times * len(c.templates)); updates != want {
		t.Errorf("%d updates of %d groups of rows", updates, want)
	}
}
