package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/server/servertest"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// BenchmarkPeople asks over REST about 10,000 people who worked for an hour: nearly all of it is the way out.
func BenchmarkPeople(b *testing.B) {
	for name, open := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "Postgres": storetest.Postgres} {
		b.Run(name, func(b *testing.B) { benchmarkPeople(b, open(b)) })
	}
}

func benchmarkPeople(b *testing.B, database string) {
	const people, templates = 10_000, 50
	s := servertest.Run(b, database, storetest.Now, nil)
	c := store.Catalog{Organizations: []store.Organization{{ID: uuid.New(), Name: "acme"}}}
	for i := range templates {
		c.Templates = append(c.Templates, store.Template{
			ID: uuid.New(), OrganizationID: c.Organizations[0].ID, Name: fmt.Sprint("template-", i),
		})
	}
	var visits []store.Visit
	for i := range people {
		c.Users = append(c.Users, store.User{ID: uuid.New(), Username: fmt.Sprintf("user-%05d", i), Kind: "human", Status: "active"})
		visits = append(visits, store.Visit{User: c.Users[i].ID})
	}
	everything := store.Authority{Organization: func(uuid.UUID) bool { return true }}
	if refusals, err := s.Store.ApplyCatalog(b.Context(), c, everything); err != nil || len(refusals) > 0 {
		b.Fatal(refusals, err)
	}
	subjects, err := s.Store.Subjects(b.Context(), visits)
	if err != nil {
		b.Fatal(err)
	}
	day := storetest.Now.Truncate(24 * time.Hour)
	var rows []store.OpenRow
	for i, v := range visits {
		for half := range int32(2) {
			rows = append(rows, store.OpenRow{Template: c.Templates[i%templates].ID, Row: minute.Row{
				Subject: subjects[v], HalfHour: int32(day.Unix()/1800) + 16 + half, Kind: minute.Session, App: "vscode",
				Minutes: 1<<(1+i%30) - 1, Connected: true,
			}})
		}
	}
	if err := s.Store.Merge(b.Context(), rows); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Store.Fold(b.Context()); err != nil {
		b.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer " + s.Token(b, access.RoleOwner, uuid.Nil)}}
	window := url.Values{"start_time": {day.Format(time.RFC3339)}, "end_time": {storetest.Now.Format(time.RFC3339)}}
	for name, path := range map[string]string{
		"activity": "/api/v2/insights/user-activity?" + window.Encode(), "latency": "/api/v2/insights/user-latency?" + window.Encode(),
		"query": "/api/v2/insights/query?metrics=used_seconds&dimensions=user&dimensions=app&" + window.Encode(),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			begin := processorTime(b)
			for b.Loop() {
				if status, _, text := s.Fetch(b, header, path); status != http.StatusOK || len(text) < people*100 {
					b.Fatalf("status %d, %d bytes", status, len(text))
				}
			}
			b.ReportMetric(float64((processorTime(b)-begin).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// processorTime is what this program, who asks included, took of the processor: it depends less on who else is at work.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
