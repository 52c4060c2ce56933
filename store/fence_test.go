package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/migrations"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

// beforeSeats is a database of the last schema that knew users instead of persons at workspaces, and a pool on it.
func beforeSeats(t *testing.T, kind string) (database string, db *sql.DB) {
	t.Helper()
	database = newDatabases[kind](t)
	driver, source, dialect := "pgx", database, goose.DialectPostgres
	if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, dialect = "sqlite", goose.DialectSQLite3
		source = file + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_txlock=immediate"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	files, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	earlier := fstest.MapFS{}
	for _, name := range files {
		parts := strings.Split(name, ".")
		if name >= "00021" || len(parts) == 3 && parts[1] != kind {
			continue
		}
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		earlier[name] = &fstest.MapFile{Data: text}
	}
	provider, err := goose.NewProvider(dialect, db, earlier)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return database, db
}

// Statements of a program of before, for a number of a user and for a row.
const (
	formerSubject = `INSERT INTO subjects (user_id, subject) VALUES ($1, $2)`
	formerMerge   = `INSERT INTO usage_open (half_hour, template_id, subject, kind, app, minutes, connected, latencies)
		VALUES ($1, $2, $3, 0, 'ssh', $4, TRUE, '') ON CONFLICT (half_hour, template_id, subject, kind, app)
		DO UPDATE SET minutes = usage_open.minutes | excluded.minutes`
)

// formerServer is a server of before that is not stopped for an upgrade.
type formerServer struct {
	db           *sql.DB
	template     uuid.UUID
	acknowledged map[uuid.UUID]minute.Mask // of the half hour, by user
	merged       *atomic.Int64
	ended        error // what it was told last
}

// run merges minutes until the database refuses: of users who are new, whose numbers often share the upper part, and of others.
func (s *formerServer) run(ctx context.Context, halfHour int32) error {
	var users []uuid.UUID
	subjects := map[uuid.UUID]int64{}
	for i := 0; ; i++ {
		user := uuid.New()
		if i%3 == 0 {
			subject := 1 + rand.Int64N(1<<62)
			if i%2 == 0 && len(users) > 0 {
				subject = subjects[users[len(users)-1]] ^ (1 + rand.Int64N(minute.MaxSeat))
			}
			if _, err := s.db.ExecContext(ctx, formerSubject, user.String(), subject); err != nil {
				return err
			}
			users, subjects[user] = append(users, user), subject
		}
		user = users[rand.IntN(len(users))]
		bit := minute.Mask(1) << rand.IntN(minute.MinutesPerHalfHour)
		if _, err := s.db.ExecContext(ctx, formerMerge, halfHour, s.template.String(), subjects[user], int32(bit)); err != nil {
			return err
		}
		s.acknowledged[user] |= bit
		s.merged.Add(1)
	}
}

// An upgrade beside servers of before that go on: what they acknowledged is counted, for each of their users and nobody else, and from
// then on they can acknowledge nothing.
func TestUpgradeIsAFence(t *testing.T) {
	t.Parallel()
	for kind := range newDatabases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database, db := beforeSeats(t, kind)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			halfHour := int32(storetest.Now.Unix() / 1800)
			servers := make([]formerServer, 4)
			var merged atomic.Int64
			var running sync.WaitGroup
			for i := range servers {
				servers[i] = formerServer{db: db, template: uuid.New(), acknowledged: map[uuid.UUID]minute.Mask{}, merged: &merged}
				running.Go(func() { servers[i].ended = servers[i].run(ctx, halfHour) })
			}
			for merged.Load() < 200 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := store.Migrate(ctx, store.Options{Database: database}); err != nil {
				t.Error(err)
			}
			running.Wait()
			d := storetest.OpenDB(t, database)
			engine := usage.New(d, func() time.Time { return storetest.Now }, 0)
			for _, s := range servers {
				if text := fmt.Sprint(s.ended); !strings.Contains(text, "usage_open") && !strings.Contains(text, "subjects") ||
					errors.Is(d.Classify(s.ended), store.ErrRefused) { // reports that are refused are not sent again
					t.Errorf("a server of before ended with %v", s.ended)
				}
				got := map[uuid.UUID]minute.Mask{}
				for user := range s.acknowledged {
					var person int64
					if err := d.Reads.Raw(`SELECT person FROM people WHERE user_id = ?`, user).Row().Scan(&person); err != nil {
						t.Fatalf("person of %s: %v", user, err)
					}
					rows, err := usage.RowsOf(ctx, engine, []int64{person}, usage.Minutes)
					if err != nil {
						t.Fatal(err)
					}
					for at, rows := range rows {
						for _, r := range rows {
							if at.Template != s.template || r.HalfHour != halfHour || minute.SeatOf(r.Subject) != 0 {
								t.Errorf("a row of %s at %v: %+v", user, at, r)
							}
							got[user] |= r.Minutes
						}
					}
				}
				if diff := cmp.Diff(s.acknowledged, got); diff != "" {
					t.Errorf("minutes (-acknowledged +counted):\n%s", diff)
				}
			}
		})
	}
}
