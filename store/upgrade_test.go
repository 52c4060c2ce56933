package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/storetest"
	"github.com/template-insights/insights/store/usage"
)

// The files are dumps of databases that an early program, whose schema had version 1, filled with reports and folded. These
// are its tokens of an owner and its answers.
var (
	earlyTokens = map[string]string{
		"sqlite":   "tia_kkufml27ec_zb5vh3vnqnt3fblgkoyp5qkajccl6k2a2mhsrdlmdllpxfhikqea",
		"postgres": "tia_22bnpfj5t6_k7tlxsnmeg5oagakkyydcqwiyer5skp7ebxs7yzebhlvwfvoz3lg",
	}
	earlyMinutes = map[string]int64{"user0": 5, "user2": 3, "user1": 2}
	earlyLatency = store.Latency{ // of user0; the others have none
		// What it measured, in bins of today: it said 18.63 and 22.68.
		P50: 18.849102750624418, P95: 22.96489849245245, Samples: 2, Rating: "good", RatingP95: "good",
	}
)

// early is a database of that program.
func early(t *testing.T, kind string) string {
	t.Helper()
	dump, err := os.ReadFile("testdata/schema_1." + kind + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	database := newDatabases[kind](t)
	execute(t, database, string(dump))
	return database
}

// execute runs statements in a database.
func execute(t *testing.T, database, statements string) {
	t.Helper()
	driver, source := "pgx", database
	if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, source = "sqlite", file
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), statements)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// Organizations that have one name are told apart by an upgrade, and whoever has a name of its own keeps it.
func TestUpgradeTellsNamesakesApart(t *testing.T) {
	t.Parallel()
	for kind := range newDatabases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := early(t, kind)
			want := map[string]string{ // names after the upgrade by those before, each with the last digit of the id
				"one 1": "one", "ONE 2": "ONE-00000000-0000-4000-8000-000000000002", "one 3": "one-00000000-0000-4000-8000-000000000003",
				"two 4": "two",
			}
			statement := "INSERT INTO organizations (id, name, display_name) VALUES "
			for given := range want {
				name, digit, _ := strings.Cut(given, " ")
				statement += fmt.Sprintf("('00000000-0000-4000-8000-00000000000%s', '%s', ''),", digit, name)
			}
			execute(t, database, strings.TrimSuffix(statement, ","))
			if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
				t.Fatal(err)
			}
			names, err := storetest.Open(t, database, storetest.Now).OrganizationNames(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for given, want := range want {
				_, digit, _ := strings.Cut(given, " ")
				if got := names[uuid.MustParse("00000000-0000-4000-8000-00000000000"+digit)]; got != want {
					t.Errorf("organization %s is called %q now, want %q", given, got, want)
				}
			}
		})
	}
}

// An upgrade numbers people by the upper part of what numbered users, and those whose upper part is taken otherwise.
func TestUpgradeNumbersPeople(t *testing.T) {
	t.Parallel()
	for kind := range newDatabases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := early(t, kind)
			// Who comes first of two keeps the number: a user of whom there is usage, and one of whom there is none. The last has no upper
			// part.
			execute(t, database, `
				INSERT INTO subjects SELECT '00000000-0000-4000-8000-000000000001', (MIN(subject) >> 24) << 24 FROM subjects;
				INSERT INTO subjects SELECT '00000000-0000-4000-8000-000000000002', ((MAX(subject) >> 24) << 24) + 16777215 FROM subjects;
				INSERT INTO subjects VALUES ('00000000-0000-4000-8000-000000000003', 5)`)
			if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
				t.Fatal(err)
			}
			checkEarly(t, kind, database)
			var people, moved int
			s := storetest.Open(t, database, storetest.Now)
			if err := s.QueryForTest(`SELECT COUNT(DISTINCT person) FROM people`, &people); err != nil {
				t.Fatal(err)
			}
			if err := s.QueryForTest(`SELECT COUNT(former_subject) FROM people`, &moved); err != nil {
				t.Fatal(err)
			}
			if people != 6 || moved != 3 {
				t.Errorf("%d people, %d with another number than the upper part; want 6 and 3", people, moved)
			}
		})
	}
}

// checkEarly asks what the early program was asked.
func checkEarly(t *testing.T, kind, database string) {
	t.Helper()
	f := storetest.Fixture{Store: storetest.Open(t, database, storetest.Now), Everything: storetest.Everything(t)}
	answer := f.Ask(t)
	if _, left, err := f.RewritePages(t.Context(), 0); err != nil || left > 0 {
		t.Fatalf("%d pages of format 1 are left: %v", left, err)
	}
	f.Store = storetest.Open(t, database, storetest.Now) // which remembers no pages
	if diff := cmp.Diff(answer, f.Ask(t)); diff != "" {
		t.Errorf("answer (-before +after pages were rewritten):\n%s", diff)
	}
	minutes := map[string]int64{}
	var periods []store.GroupMember
	for _, u := range answer.Activity {
		minutes[u.Username] = u.Minutes
		d, err := f.MyData(t.Context(), u.UserID)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range d.Groups {
			periods = append(periods, g.Members...)
		}
	}
	since := func(p store.GroupMember) bool { return p.FromAt.IsZero() && p.ToAt.IsZero() }
	if len(periods) != 2 || !since(periods[0]) || !since(periods[1]) {
		t.Errorf("members of the group: %+v, want two who have always been in it and are", periods)
	}
	if diff := cmp.Diff(earlyMinutes, minutes); diff != "" {
		t.Errorf("minutes (-early +now):\n%s", diff)
	}
	if u := answer.Latency[0]; u.Username != "user0" || u.Latency != earlyLatency {
		t.Errorf("latency %+v, want %+v of user0", u, earlyLatency)
	}
	token, err := access.ParseToken(earlyTokens[kind])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authenticate(t.Context(), token); err != nil {
		t.Errorf("the token of an owner: %v", err)
	}
	if _, err := f.FirstToken(t.Context(), ""); !errors.Is(err, store.ErrNotFirst) {
		t.Errorf("a first token beside an owner: %v", err)
	}
}

// A database of an early program is upgraded, and answers as before; by the backup of before it goes back, and forth again.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for kind, newDatabase := range newDatabases {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			database := early(t, kind)
			before := backup(t, database)
			if header := linesOf(t, before)[0]; !strings.Contains(header, `"schema":1,`) {
				t.Fatalf("a backup of another schema: %s", header)
			}
			if _, err := store.Open(t.Context(), store.Options{Database: database}); !errors.Is(err, store.ErrSchema) {
				t.Errorf("opening it before the upgrade: %v", err)
			}
			plan, err := store.PlanUpgrade(t.Context(), store.Options{Database: database})
			if err != nil || plan.Have != 1 || plan.Want <= plan.Have || plan.Rows != 1 || plan.Pages != 2 || plan.Bytes == 0 {
				t.Errorf("plan %+v, %v", plan, err)
			}
			if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
				t.Fatal(err)
			}
			checkEarly(t, kind, database)
			plan, err = store.PlanUpgrade(t.Context(), store.Options{Database: database})
			if err != nil || plan.Have != plan.Want || plan.Backlog != (usage.Backlog{}) {
				t.Errorf("plan afterwards %+v, %v", plan, err)
			}

			back := newDatabase(t)
			if err := store.Load(t.Context(), store.Options{Database: back}, bytes.NewReader(before)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rowsOf(t, before), rowsOf(t, backup(t, back))); diff != "" {
				t.Errorf("rows (-before the upgrade +after going back):\n%s", diff)
			}
			if err := store.Migrate(t.Context(), store.Options{Database: back}); err != nil {
				t.Fatal(err)
			}
			checkEarly(t, kind, back)
		})
		t.Run(kind+" restored at once", func(t *testing.T) {
			t.Parallel()
			before := backup(t, early(t, kind))
			for other, newDatabase := range newDatabases {
				database := newDatabase(t)
				if err := restore(t, database, before); err != nil {
					t.Fatalf("into %s: %v", other, err)
				}
				checkEarly(t, kind, database)
			}
		})
	}
}
