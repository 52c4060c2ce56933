package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
	"github.com/template-insights/insights/store/minute"
	"github.com/template-insights/insights/store/storetest"
)

// Names come from memory until they change, whoever changes them: each answer is that of a store which remembers nothing.
func TestNamesFollowChanges(t *testing.T) {
	t.Parallel()
	day := storetest.Now.Truncate(24 * time.Hour)
	today := minute.NewWindow(day, day.Add(24*time.Hour))
	for name, open := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "Postgres": storetest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := open(t)
			f := storetest.NewFixture(t, database)
			used := []store.OpenRow{f.Row(0, 0, 20, 1), f.Row(0, 1, 20, 0b11), f.Row(0, 2, 20, 0b111)}
			f.MustMerge(t, used...)
			other := storetest.Open(t, database, storetest.Now)
			list := func(s *store.Store) (names []string) {
				users, _, err := s.UserActivity(t.Context(), f.Everything, minute.Everybody, today)
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range users {
					names = append(names, fmt.Sprintf("%s %s %s %v %d", u.UserID, u.Username, u.Kind, u.Deleted, u.Minutes))
				}
				return names
			}
			user := func(name string) store.Catalog {
				return store.Catalog{Users: []store.User{{
					ID: f.Users[0], Username: name, Kind: "human", Status: "active", OrganizationIDs: []uuid.UUID{f.Organization},
				}}}
			}
			apply := func(c store.Catalog) error {
				_, err := other.ApplyCatalog(t.Context(), c, store.Authority{Organization: func(uuid.UUID) bool { return true }})
				return err
			}
			before := list(f.Store)
			for _, step := range []struct {
				name   string
				change func() error
			}{
				{"renamed", func() error { return apply(user("ada")) }},
				{"renamed again", func() error { return apply(user("grace")) }},
				{"deleted", func() error { return apply(store.Catalog{Deleted: store.Deleted{Users: f.Users[1:2]}}) }},
				{"erased", func() error { return other.EraseUser(t.Context(), f.Users[2]) }},
				{"expired", func() error { // and their agents report late; a later statement of retention fails
					if err := f.ExecForTest(`ALTER TABLE builds RENAME TO unknown`); err != nil {
						return err
					}
					if _, err := other.Expire(t.Context(), store.Horizons{Usage: day.AddDate(0, 0, 2)}); err == nil {
						t.Error("retention does not fail")
					}
					f.MustMerge(t, used...)
					return f.ExecForTest(`ALTER TABLE unknown RENAME TO builds`)
				}},
				{"hidden", func() error {
					if _, err := other.SetPrivacyMode(t.Context(), access.Principal{}, f.Organization, store.PrivacyPseudonym); err != nil {
						return err
					}
					return other.Treat(t.Context())
				}},
			} {
				if err := step.change(); err != nil {
					t.Fatal(step.name, err)
				}
				got := list(f.Store)
				if cmp.Equal(before, got) {
					t.Errorf("%s: the answer is as before: %v", step.name, got)
				}
				if diff := cmp.Diff(list(storetest.Open(t, database, storetest.Now)), got); diff != "" {
					t.Errorf("%s (-fresh +remembered):\n%s", step.name, diff)
				}
				before = got
			}
			if err := f.ExecForTest(`UPDATE users SET username = 'past the store'`); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, list(f.Store)); diff != "" {
				t.Errorf("names were read again though nothing changed (-before +after):\n%s", diff)
			}
			if err := f.Forget(t.Context()); err != nil {
				t.Fatal(err)
			}
			if cmp.Equal(before, list(f.Store)) {
				t.Error("forgotten names are told")
			}
		})
	}
}
