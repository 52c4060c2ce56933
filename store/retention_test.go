package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
)

// Who was deleted is gone from the whole database once everything of them is beyond retention, whoever is there stays, and of their
// builds that are beyond it no values are left.
func TestRetentionLeavesNothing(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCanaries(t, open(t))
			deleted := store.Deleted{Users: c.Users[:1], Workspaces: []uuid.UUID{c.Workspaces[0][0], c.Workspaces[1][0]}}
			c.applyAll(t, store.Catalog{Deleted: deleted}, 0)
			day := func(n int) time.Time { return storetest.Now.Truncate(24*time.Hour).AddDate(0, 0, n) }
			for _, h := range []store.Horizons{
				{},
				{Usage: day(0), Latency: day(0), Audit: day(0)},
				{Usage: day(1).Add(-time.Hour), Latency: day(1).Add(-time.Hour)}, // the day is kept as a whole
			} {
				expired, err := c.Expire(t.Context(), h)
				if err != nil {
					t.Fatal(err)
				}
				for kind, n := range expired {
					if !slices.Contains(store.ExpiredKinds, kind) || n > 0 {
						t.Errorf("%d %s are gone too early", n, kind)
					}
				}
			}
			// A new database holds what a backup does, and nothing of pages that are free.
			left := func() []string {
				t.Helper()
				database := newDatabases[kind](t)
				if err := restore(t, database, backup(t, c.Database)); err != nil {
					t.Fatal(err)
				}
				return storetest.Traces(t, database, c.words)
			}
			if found := left(); len(found) < len(c.words)-2 {
				t.Fatalf("of %d words only %q are left", len(c.words), found)
			}
			if _, err := c.Expire(t.Context(), store.Horizons{Usage: day(1), Latency: day(1), Audit: day(1)}); err != nil {
				t.Fatal(err)
			}
			// What is left is the seats at the workspaces of the other, of everybody who is there.
			if n, want := stored(t, c.Store, `SELECT COUNT(*) FROM seats`), len(c.visits)/2/len(c.Users)*(len(c.Users)-1); n != want {
				t.Errorf("%d seats are left, want %d", n, want)
			}
			gone, alive := c.catalog.Users[0].Username, c.catalog.Users[1].Username
			var want []string
			for what := range c.words {
				if strings.HasSuffix(what, alive) && !strings.HasPrefix(what, "pseudonym") {
					want = append(want, what)
				}
			}
			found := left()
			slices.Sort(want)
			slices.Sort(found)
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("beyond the retention of %s (-want +got):\n%s", gone, diff)
			}
			data, err := c.MyData(t.Context(), c.Users[1])
			if err != nil || len(data.Usage) != 0 || len(data.Latency) != 0 || len(data.StatusChanges) != 1 || len(data.Builds) != 1 ||
				len(data.Builds[0].Parameters) != 0 {
				t.Errorf("of who is there: %+v, %v", data, err)
			}
			tokens, err := c.Tokens(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				if token.PrincipalKind == access.KindUser && token.PrincipalID == c.Users[0] || token.PrincipalID == c.Agents[0][0] {
					t.Errorf("a token of who is gone: %+v", token)
				}
			}
			n, err := c.Expire(t.Context(), store.Horizons{Usage: day(1), Latency: day(1), Audit: day(1)})
			if err != nil || n[store.ExpiredCatalog]+n[store.ExpiredBuilds]+n[store.ExpiredUsage] != 0 {
				t.Errorf("again: %v, %v", n, err)
			}
		})
	}
}

// stored is how many days of something are in a database.
func stored(t *testing.T, s *store.Store, statement string) int {
	t.Helper()
	var days int
	if err := s.QueryForTest(statement, &days); err != nil {
		t.Fatal(err)
	}
	return days
}

// A retention that would take many days waits for a day, on whichever of several servers and whatever restarts, unless somebody takes it
// back; and for a clock that jumped.
func TestRetentionBrake(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := open(t)
			now := time.Now() // Postgres has the real time
			server := func(ahead time.Duration) *store.Store { return storetest.Open(t, database, now.Add(ahead)) }
			s := server(0)
			exec := func(statement string, args ...any) {
				t.Helper()
				if err := s.ExecForTest(statement, args...); err != nil {
					t.Fatal(err)
				}
			}
			// 40 days of the past, of which the last ten have latencies, today in the present, and 40 days of the trail.
			template, today := uuid.New(), now.Unix()/86400
			for n := range int64(40) {
				latency := []byte{}
				if n < 10 {
					latency = []byte{1}
				}
				exec(`INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)`,
					template, today-1-n, []byte{1}, latency)
				exec(`INSERT INTO audit_events (id, at, principal_kind, principal_id, action, target) VALUES (?, ?, 'user', ?, '', '')`,
					uuid.New(), store.At(now.Add(-time.Duration(n)*day)), uuid.New())
			}
			exec(`INSERT INTO usage_rows (half_hour, template_id, subject, kind, app, minutes, connected, latencies)
				VALUES (?, ?, 1, 0, '', 1, TRUE, '')`, today*48, template)
			pass := func(d time.Duration) { // for the database; the clocks of SQLite and of servers stand still
				exec(`UPDATE clock_mark SET at = at - ?`, d.Microseconds())
				exec(`UPDATE announced_deletions SET at = at - ?`, d.Microseconds())
			}
			// look is what a server does: kinds that it announces with the days of each, whether something is due, and what is left.
			look := func(what string, s *store.Store, r store.Retention, announced string, due bool, usage int) store.Brake {
				t.Helper()
				b, err := s.BrakeRetention(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, a := range b.Announced {
					got = append(got, fmt.Sprintf("%s %d/%d", a.Kind, a.Days, a.Stored))
				}
				for _, a := range b.TakenBack {
					got = append(got, "not "+a.Kind)
				}
				if strings.Join(got, " ") != announced || b.Due != due {
					t.Errorf("%s: announced %q, due: %v, want %q, %v", what, got, b.Due, announced, due)
				}
				if _, err := s.Expire(t.Context(), b.Horizons); err != nil {
					t.Fatal(err)
				}
				if left := stored(t, s, `SELECT COUNT(*) FROM usage_pages`); left != usage {
					t.Errorf("%s: %d days are left, want %d", what, left, usage)
				}
				return b
			}
			wide := store.Retention{Usage: 400 * day, Latency: 90 * day, Audit: 400 * day}
			narrow, narrower := wide, wide
			narrow.Usage, narrower.Usage = 30*day, 20*day

			look("at the start", s, wide, "", false, 40)
			look("everyday", s, store.Retention{Usage: 38 * day}, "", false, 38)
			look("shortened", s, narrow, "usage 8/39", false, 38)
			pass(12 * time.Hour)
			look("by another server", server(time.Minute), narrow, "usage 8/39", false, 38)
			look("taken back", s, wide, "not usage", false, 38)
			look("shortened again", s, narrow, "usage 8/39", false, 38)
			pass(20 * time.Hour)
			look("after a restart", server(0), narrow, "usage 8/39", false, 38)
			look("more", s, narrower, "usage 18/39", false, 38)
			pass(20 * time.Hour)
			look("less than a day after more", s, narrower, "usage 18/39", false, 38)
			all := store.Retention{Usage: 20 * day, Latency: 5 * day, Audit: 10 * day}
			look("all kinds", s, all, "usage 18/39 latency 5/10 audit 29/40", false, 38)
			pass(5 * time.Hour)
			look("a day after usage", s, store.Retention{Usage: 20 * day, Latency: 5 * day}, "usage 18/39 latency 5/10 not audit", true, 20)
			if left := stored(t, s, `SELECT COUNT(*) FROM usage_pages WHERE length(latency) > 0`); left != 10 {
				t.Errorf("latencies went with usage: %d are left", left)
			}
			pass(20 * time.Hour)
			look("a day after latencies", s, store.Retention{Usage: 20 * day, Latency: 5 * day}, "latency 5/10", true, 20)
			if left := stored(t, s, `SELECT COUNT(*) FROM usage_pages WHERE length(latency) > 0`); left != 5 {
				t.Errorf("%d days have latencies, want 5", left)
			}
			look("done", s, store.Retention{Usage: 20 * day, Latency: 5 * day}, "", false, 20)
			look("confirmed", s, store.Retention{Usage: 15 * day, Confirmed: true}, "", false, 15)

			// A server that is two days ahead, and later a clock that was.
			if b := look("ahead", server(49*time.Hour), store.Retention{Usage: 14 * day}, "", false, 15); !b.Doubted {
				t.Error("the clock of a server is not that of all, and it is believed")
			}
			pass(49 * time.Hour)
			if b := look("jumped", s, store.Retention{Usage: 14 * day, Confirmed: true}, "", false, 15); !b.Doubted {
				t.Error("a clock that jumped is believed")
			}
			for range 23 {
				pass(time.Hour)
				if b := look("within a day", server(0), store.Retention{Usage: 14 * day}, "", false, 15); !b.Doubted {
					t.Error("a clock that jumped within a day is believed")
				}
			}
			pass(time.Hour)
			look("a day after", s, store.Retention{Usage: 14 * day}, "", false, 14)
		})
	}
}

// Servers that look at once make one announcement, whose day begins once.
func TestServersAnnounceOnce(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database, now := open(t), time.Now()
			s := storetest.Open(t, database, now)
			for n := range int64(30) {
				err := s.ExecForTest(`INSERT INTO usage_pages (template_id, day, version, usage, latency) VALUES (?, ?, 1, ?, ?)`,
					uuid.New(), now.Unix()/86400-n, []byte{1}, []byte{})
				if err != nil {
					t.Fatal(err)
				}
			}
			var looks sync.WaitGroup
			brakes := make([]store.Brake, 8)
			for i := range brakes {
				s := storetest.Open(t, database, now.Add(time.Duration(i)*time.Second))
				looks.Go(func() {
					var err error
					if brakes[i], err = s.BrakeRetention(t.Context(), store.Retention{Usage: 48 * time.Hour}); err != nil {
						t.Error(err)
					}
				})
			}
			looks.Wait()
			for _, b := range brakes {
				if len(b.Announced) != 1 || b.Due || b.Announced[0].At != brakes[0].Announced[0].At {
					t.Errorf("%+v beside %+v", b, brakes[0])
				}
			}
		})
	}
}

// Servers that run say what they promise, those of one promise are counted together, and one that ended is forgotten.
func TestPromises(t *testing.T) {
	t.Parallel()
	for kind, open := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := storetest.Open(t, open(t), time.Now()) // Postgres has the real time
			promise := store.Promise{PrivacyFloor: 5, Timezone: "UTC", Retention: store.Retention{Usage: 1, Latency: 2, Audit: 3}}
			strict := store.Promise{PrivacyFloor: 9, AIPerPerson: true, Timezone: "Asia/Tokyo"}
			say := func(server byte, p store.Promise) {
				t.Helper()
				if err := s.RecordPromise(t.Context(), uuid.UUID{server}, p); err != nil {
					t.Fatal(err)
				}
			}
			check := func(what string, want ...store.Promises) {
				t.Helper()
				if got, _, err := s.Promises(t.Context()); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
				}
			}
			check("nobody")
			say(1, strict)
			say(2, promise)
			say(3, promise)
			say(3, promise)
			check("three servers", store.Promises{Promise: promise, Servers: 2}, store.Promises{Promise: strict, Servers: 1})
			past := (store.PromiseSilence + time.Second).Microseconds()
			if err := s.ExecForTest(`UPDATE promises SET at = at - ? WHERE privacy_floor = 5`, past); err != nil {
				t.Fatal(err)
			}
			check("two ended", store.Promises{Promise: strict, Servers: 1})
			say(3, promise)
			check("one came back", store.Promises{Promise: promise, Servers: 1}, store.Promises{Promise: strict, Servers: 1})
			if n := stored(t, s, `SELECT COUNT(*) FROM promises`); n != 2 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}
